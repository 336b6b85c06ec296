//! Takes credentials and home directories out of what is stored or shown.
//!
//! Names decide first (`api_key`, `Authorization`, `?token=`), then shapes (`Bearer …`, `sk-…`, `user:password@`).
//! Nothing here can recognise a secret that looks like any other word, so keys are not settings in the first place:
//! they come from a variable or a file that is named, never from one that is stored.

mod home;
mod names;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;

pub use names::is_secret_name;
use names::is_token;
pub use text::text;

/// Stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// The last part of a path: what may be told of a file.
pub fn file_name(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A URL without user, password and secret query values. Text that is no URL comes back as it was.
pub fn url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(r, f)| (r, Some(f)));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(r, q)| (r, Some(q)));
    let (authority, path) = rest.find('/').map_or((rest, ""), |i| rest.split_at(i));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let mut out = format!("{scheme}://");
    if host.len() < authority.len() {
        out.push_str(REDACTED);
        out.push('@');
    }
    out.push_str(host);
    out.push_str(path);
    if let Some(query) = query {
        let pairs: Vec<Cow<'_, str>> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, value))
                    if is_secret_name(name) || name.eq_ignore_ascii_case("key") || is_token(value) =>
                {
                    format!("{name}={REDACTED}").into()
                }
                _ => pair.into(),
            })
            .collect();
        out.push('?');
        out.push_str(&pairs.join("&"));
    }
    if let Some(fragment) = fragment {
        out.push('#');
        out.push_str(if is_token(fragment) { REDACTED } else { fragment });
    }
    out
}

/// A value that belongs to `key`, with every secret in it replaced. Of headers only the names stay.
pub fn json(key: &str, value: &Value) -> Value {
    let name = key.rsplit('.').next().unwrap_or(key);
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        _ if is_secret_name(name) => REDACTED.into(),
        Value::Number(_) => value.clone(),
        Value::String(s) if is_header_list(name) => header(s).into(),
        Value::String(s) => text(s).into(),
        Value::Array(items) => items.iter().map(|v| json(name, v)).collect(),
        Value::Object(map) if is_header_list(name) => {
            map.keys().map(|k| (k.clone(), Value::from(REDACTED))).collect()
        }
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), json(k, v))).collect(),
    }
}

/// `Name: value` with the value gone.
fn header(line: &str) -> String {
    match line.split_once(':') {
        Some((name, _)) => format!("{}: {REDACTED}", name.trim()),
        None => REDACTED.to_owned(),
    }
}

fn is_header_list(name: &str) -> bool {
    matches!(name, "header" | "headers" | "extra_headers")
}
