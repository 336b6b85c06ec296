//! Where a run goes: a folder, by its path or its address.

use std::path::PathBuf;

/// A path, or a `file:///…` address of one. Other addresses are refused.
pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(PathBuf::from(text)) };
    match scheme {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err("a file address names a folder of this machine: write file:///DIR".to_owned());
            }
            decoded(path).map(PathBuf::from).ok_or_else(|| "it is not a valid address".to_owned())
        }
        "s3" | "gs" => Err(format!(
            "{scheme}:// is not available in this version; write to a shared folder, or mount the bucket as one"
        )),
        _ => Err(format!("`{scheme}` is no place for a run; write a folder or file:///DIR")),
    }
}

/// `%20` and the like replaced.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        bytes.push((digit(rest.next())? * 16 + digit(rest.next())?) as u8);
    }
    String::from_utf8(bytes).ok().filter(|t| !t.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_by_path_and_by_address() {
        for (text, path) in [
            ("runs/a", "runs/a"),
            ("/runs/50%", "/runs/50%"),
            ("file:///runs/a%20b", "/runs/a b"),
            ("file://localhost/runs", "/runs"),
        ] {
            assert_eq!(folder(text), Ok(PathBuf::from(path)));
        }
        for text in
            ["file://host/runs", "file:///a%2", "file:///a%zz", "s3://bucket/run", "gs://b/r", "ftp://a/b"]
        {
            assert!(folder(text).is_err(), "{text}");
        }
    }
}
