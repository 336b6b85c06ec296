//! What the JSON readers share.

use serde_json::Value;

use super::{Said, tokens};

/// What a parser said of a row, without quoting it: it may hold a prompt.
pub(super) fn not_json(error: &serde_json::Error) -> String {
    format!("it is not JSON (column {})", error.column())
}

/// A number of tokens under a key; `None` when the key is absent or null.
pub(super) fn count(row: &Value, key: &str) -> Result<Option<u32>, String> {
    match row.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(n) => tokens(key, n).map(Some),
            None => Err(format!("`{key}` is not a number of tokens")),
        },
    }
}

/// A message list in the form of the chat API. Content parts are joined; parts that are no text are left out.
pub(super) fn messages(list: &Value) -> Result<Vec<Said>, String> {
    let list = list.as_array().ok_or("`messages` is not a list")?;
    if list.is_empty() {
        return Err("`messages` is empty".to_owned());
    }
    list.iter()
        .map(|m| {
            let role = m.get("role").and_then(Value::as_str).ok_or("a message has no `role`")?;
            let text = match m.get("content") {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(parts)) => {
                    let texts: Vec<_> =
                        parts.iter().filter_map(|p| p.get("text").and_then(Value::as_str)).collect();
                    texts.join("\n")
                }
                _ => return Err("a message has no `content`".to_owned()),
            };
            Ok(Said { role: role.to_owned(), text })
        })
        .collect()
}
