//! Free text, word by word.

use std::borrow::Cow;

use super::home::without_home;
use super::names::{is_secret_name, is_token};
use super::{REDACTED, url};
use crate::config::environment;

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
