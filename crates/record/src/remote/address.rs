//! The address of a run in an object store.

use std::fmt;

use super::RemoteError;

/// `s3://BUCKET/PREFIX`, `gs://…` or `az://CONTAINER/PREFIX`. Holds no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) kind: Kind,
    text: String,
    /// Where the prefix begins in `text`.
    prefix: usize,
}

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Amazon S3 and what speaks like it.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl Address {
    /// The address that `text` is; `None` when it is no address of an object store, for instance a path.
    ///
    /// # Errors
    /// The text begins like one and is not one.
    pub fn of(text: &str) -> Result<Option<Self>, RemoteError> {
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(None) };
        let kind = match scheme {
            "s3" => Kind::S3,
            "gs" => Kind::Google,
            "az" => Kind::Azure,
            _ => return Ok(None),
        };
        // What is refused may hold a password, and is not repeated.
        let wrong = |problem| RemoteError::Address { scheme: scheme.to_owned(), problem };
        let rest = rest.trim_end_matches('/');
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || !bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Err(wrong("the name of a bucket has letters, digits, `-`, `_` and `.` only"));
        }
        let odd = |c: char| c.is_control() || "?#%*\\{}^`[]\"<>|~".contains(c);
        if prefix.chars().any(odd) {
            return Err(wrong("its path has a character that stores do not keep as it is"));
        }
        if !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(wrong("its path has an empty, `.` or `..` part"));
        }
        let prefix = scheme.len() + "://".len() + bucket.len() + usize::from(!prefix.is_empty());
        Ok(Some(Self { kind, text: format!("{scheme}://{rest}"), prefix }))
    }

    /// The part behind the bucket; empty for the bucket itself.
    #[cfg(feature = "object-store")]
    pub(super) fn prefix(&self) -> &str {
        &self.text[self.prefix..]
    }

    /// The address one level below.
    #[cfg(feature = "object-store")]
    pub(super) fn below(&self, name: &str) -> Result<Self, RemoteError> {
        let wrong = RemoteError::Address { scheme: "object store".to_owned(), problem: "it is none" };
        Self::of(&format!("{}/{name}", self.text))?.ok_or(wrong)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_bucket_and_a_prefix() {
        for (text, kind, prefix) in [
            ("s3://bucket/load/shard-0", Kind::S3, "load/shard-0"),
            ("s3://bucket/load/shard-0/", Kind::S3, "load/shard-0"),
            ("gs://my.bucket/a b", Kind::Google, "a b"),
            ("az://container", Kind::Azure, ""),
        ] {
            let address = Address::of(text).unwrap().unwrap();
            assert_eq!((address.kind, &address.text[address.prefix..]), (kind, prefix), "{text}");
            assert_eq!(address.to_string(), text.trim_end_matches('/'));
        }
    }

    #[test]
    fn paths_and_other_addresses_are_left_to_others() {
        for text in ["runs/a", "/runs/s3", "file:///runs/a", "http://host/run", "latest"] {
            assert_eq!(Address::of(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for text in [
            "s3://",
            "s3:///a",
            "s3://key:hunter2@host/a",
            "s3://b/a/../c",
            "gs://b/a//c",
            "az://b/a?sig=hunter2",
        ] {
            let error = Address::of(text).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
