//! Takes credentials and home directories out of what is stored or shown.
//!
//! Names decide first (`api_key`, `Authorization`, `?token=`), then shapes (`Bearer …`, `sk-…`, `user:password@`).
//! Nothing here can recognise a secret that looks like any other word, so keys are not settings in the first place:
//! they come from a variable or a file that is named, never from one that is stored.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;

use crate::config::environment;

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

/// Free text (a message, a line of a file, an argument) without the secrets and home directories in it.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // What makes the next word a secret: `Bearer`, or `password:`.
    let mut next_is_secret = false;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let space = &piece[word.len()..];
        if word.is_empty() {
            out.push_str(piece);
            continue;
        }
        let bare = word.trim_matches(['"', '\'', '`', ',', ';', '[', ']', '{', '}', '(', ')']);
        let is_scheme = ["bearer", "basic"].iter().any(|s| bare.eq_ignore_ascii_case(s));
        if next_is_secret && is_scheme {
            out.push_str(word);
        } else if next_is_secret && matches!(word, "=" | ":") {
            out.push_str(word);
            out.push_str(space);
            continue;
        } else if next_is_secret || is_token(bare) {
            out.push_str(&word.replace(bare, REDACTED));
        } else {
            out.push_str(&redact_word(word));
        }
        let name = bare.trim_end_matches([':', '=']).trim_end_matches(['"', '\'']);
        let assigns = bare.ends_with([':', '=']) || name.len() == bare.len();
        next_is_secret = is_scheme
            || (assigns
                && is_secret_name(name)
                && (bare.ends_with([':', '=']) || followed_by_value(text, piece)))
            || (name.starts_with("--") && is_secret_name(name));
        out.push_str(space);
    }
    without_home(&out, environment::home().as_deref())
}

/// Whether `name` is followed by `=` or `:` as its own word.
fn followed_by_value(text: &str, piece: &str) -> bool {
    let end = piece.as_ptr() as usize - text.as_ptr() as usize + piece.len();
    text.get(end..).is_some_and(|rest| rest.trim_start().starts_with(['=', ':']))
}

/// One word: a URL, `name=value`, or `name:value`.
fn redact_word(word: &str) -> Cow<'_, str> {
    if word.contains("://") {
        let start = word.find("://").map_or(0, |i| {
            word[..i].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '+').map_or(0, |j| j + 1)
        });
        return format!("{}{}", redact_word(&word[..start]), url(&word[start..])).into();
    }
    for separator in ['=', ':'] {
        if let Some((name, value)) = word.split_once(separator) {
            let name_part = name.trim_matches(['"', '\'', '{', '[', '(']);
            let value_part = value.trim_matches(['"', '\'', '}', ']', ')', ',', ';']);
            if !value_part.is_empty() && (is_secret_name(name_part) || is_token(value_part)) {
                return format!("{name}{separator}{}", value.replace(value_part, REDACTED)).into();
            }
        }
    }
    word.into()
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

/// Whether a setting, header or parameter of this name holds a secret. `api_key_env` does not: it names one.
pub fn is_secret_name(name: &str) -> bool {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before_was_lower = false;
    for c in name.trim_start_matches('-').chars() {
        if !c.is_ascii_alphanumeric() || (c.is_ascii_uppercase() && before_was_lower) {
            words.push(std::mem::take(&mut word));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        before_was_lower = c.is_ascii_lowercase();
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    let Some((last, before)) = words.split_last() else { return false };
    let previous = before.last().map_or("", String::as_str);
    match last.as_str() {
        "password" | "passwd" | "passphrase" | "secret" | "secrets" | "authorization" | "cookie"
        | "cookies" | "credential" | "credentials" | "apikey" | "bearer" | "signature" | "sig" | "pwd" => {
            true
        }
        "key" => matches!(
            previous,
            "api" | "secret" | "private" | "access" | "auth" | "ssh" | "signing" | "subscription"
        ),
        "token" => {
            before.is_empty()
                || matches!(
                    previous,
                    "auth"
                        | "access"
                        | "api"
                        | "bearer"
                        | "hf"
                        | "id"
                        | "refresh"
                        | "session"
                        | "security"
                        | "github"
                        | "oauth"
                )
        }
        _ => false,
    }
}

/// Whether a word has the shape of a well-known kind of token.
fn is_token(word: &str) -> bool {
    const SHAPES: [(&str, usize); 14] = [
        ("sk-", 16),
        ("sk_", 16),
        ("hf_", 16),
        ("ghp_", 20),
        ("gho_", 20),
        ("ghs_", 20),
        ("github_pat_", 20),
        ("glpat-", 16),
        ("xoxb-", 16),
        ("xoxp-", 16),
        ("nvapi-", 16),
        ("gsk_", 16),
        ("AKIA", 16),
        ("eyJ", 40),
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    SHAPES
        .iter()
        .any(|(prefix, length)| word.starts_with(prefix) && word.len() >= *length && word.chars().all(plain))
}

/// `~` in place of a home directory, of this user or of another.
fn without_home(text: &str, home: Option<&str>) -> String {
    let mut out = match home {
        Some(home) => replace_path(text, home.trim_end_matches('/')),
        None => text.to_owned(),
    };
    for parent in ["/home/", "/Users/", "C:\\Users\\"] {
        let mut from = 0;
        while let Some(at) = out.get(from..).and_then(|t| t.find(parent)).map(|i| i + from) {
            let name_at = at + parent.len();
            let begins =
                out[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '.' && c != '_');
            let name_len = out[name_at..]
                .find(|c: char| {
                    matches!(c, '/' | '\\' | '"' | '\'' | ':' | ',' | ';' | ')') || c.is_whitespace()
                })
                .unwrap_or(out.len() - name_at);
            if begins && name_len > 0 {
                out.replace_range(at..name_at + name_len, "~");
                from = at + 1;
            } else {
                from = name_at;
            }
        }
    }
    out
}

/// `path` and what is below it, but not `/root` in `/rootfs`.
fn replace_path(text: &str, path: &str) -> String {
    if path.len() < 2 {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(path) {
        let after = &rest[at + path.len()..];
        let ends = after.chars().next().is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'));
        let begins = rest[..at]
            .chars()
            .next_back()
            .or(out.chars().next_back())
            .is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-' | '/'));
        out.push_str(&rest[..at]);
        out.push_str(if ends && begins { "~" } else { path });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn urls_lose_user_and_secret_parameters() {
        let same =
            ["http://127.0.0.1:8000/v1", "https://h/p?max_tokens=3&token_ids=1#top", "no url", "host@x"];
        for text in same {
            assert_eq!(url(text), text);
        }
        assert_eq!(url("https://kim:pa@ss@host:1/x@y"), "https://[redacted]@host:1/x@y");
        assert_eq!(
            url("http://tok@h?api_key=1&a=2&Key=3"),
            "http://[redacted]@h?api_key=[redacted]&a=2&Key=[redacted]"
        );
        assert_eq!(url("http://h?x=hf_0123456789abcdefgh"), "http://h?x=[redacted]");
    }

    #[test]
    fn names_tell_secrets_from_settings() {
        for name in [
            "api_key",
            "api-key",
            "apiKey",
            "X-Api-Key",
            "Authorization",
            "Proxy-Authorization",
            "hf_token",
            "token",
            "Set-Cookie",
            "client_secret",
            "--api-key",
            "OPENAI_API_KEY",
            "password",
            "accessToken",
            "X-Amz-Security-Token",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "api_key_env",
            "max_tokens",
            "tokenizer",
            "first_token",
            "return_token_ids",
            "key",
            "seed",
            "keep_chunks",
            "monkey",
            "",
            "num_token",
            "cookie_file",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn text_loses_what_looks_like_a_credential() {
        let check = |given: &str, expected: &str| assert_eq!(text(given), expected);
        check("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]");
        check("curl -H 'Authorization: Bearer abc'", "curl -H 'Authorization: Bearer [redacted]'");
        check("api_key = \"abc\"  # mine", "api_key = \"[redacted]\"  # mine");
        check("api_key: abc", "api_key: [redacted]");
        check("--api-key=abc --model m", "--api-key=[redacted] --model m");
        check("--api-key abc --model m", "--api-key [redacted] --model m");
        check("target.api_key=abc", "target.api_key=[redacted]");
        check("failed at https://u:p@h/x, retry", "failed at https://[redacted]@h/x, retry");
        check("url=https://u:p@h/x", "url=https://[redacted]@h/x");
        check("found sk-0123456789abcdefghij here", "found [redacted] here");
        check("{\"api_key\":\"abc\"}", "{\"api_key\":\"[redacted]\"}");
        check("a token is a word, 8 tokens: fine", "a token is a word, 8 tokens: fine");
        check("  warmup_request: 8\n", "  warmup_request: 8\n");
        check("2 | tokenizer = x", "2 | tokenizer = x");
    }

    #[test]
    fn home_directories_become_a_tilde() {
        let check = |given: &str, expected: &str| assert_eq!(without_home(given, Some("/root")), expected);
        check("/root/models/x.gguf", "~/models/x.gguf");
        check("/rootfs/x /a/root/x", "/rootfs/x /a/root/x");
        check("at /home/kim/x and /Users/Kim/y", "at ~/x and ~/y");
        check("\"/home/kim\"", "\"~\"");
        check("/srv/home/x /home/", "/srv/home/x /home/");
        check("C:\\Users\\kim\\x", "~\\x");
    }

    #[test]
    fn values_are_redacted_by_their_key() {
        let given = json!({
            "target": {
                "url": "http://u:p@h", "api_key_env": "MY_KEY", "api_key": "abc",
                "headers": ["X-Tenant: blue", "Authorization: Bearer x", "odd"],
            },
            "extra_body": { "user": "kim", "token": 5, "max_tokens": 5, "nested": [{ "password": "x" }] },
        });
        let expected = json!({
            "target": {
                "url": "http://[redacted]@h", "api_key_env": "MY_KEY", "api_key": "[redacted]",
                "headers": ["X-Tenant: [redacted]", "Authorization: [redacted]", "[redacted]"],
            },
            "extra_body": {
                "user": "kim", "token": "[redacted]", "max_tokens": 5, "nested": [{ "password": "[redacted]" }],
            },
        });
        assert_eq!(json("", &given), expected);
    }

    #[test]
    fn only_the_name_of_a_file_is_told() {
        assert_eq!(file_name("/home/kim/a.yaml"), "a.yaml");
        assert_eq!(file_name("a.yaml"), "a.yaml");
        assert_eq!(file_name("/"), "/");
    }
}
