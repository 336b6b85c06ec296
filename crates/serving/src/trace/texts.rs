//! Prompts as text: JSON lines and ShareGPT conversations.

use serde_json::Value;

use super::json::{count, messages, not_json};
use super::{Entry, Said, Turn};

/// Names under which prompt files state the output length.
const OUTPUT: [&str; 3] = ["output", "output_tokens", "max_tokens"];

/// `{"prompt": "…", "output": 128}` or `{"messages": [{"role": "user", "content": "…"}], "output": 128}`.
pub(super) fn prompt(line: &str) -> Result<Entry, String> {
    let row: Value = serde_json::from_str(line).map_err(|e| not_json(&e))?;
    let messages = match (row.get("prompt"), row.get("messages")) {
        (Some(Value::String(text)), _) if !text.is_empty() => {
            vec![Said { role: "user".to_owned(), text: text.clone() }]
        }
        (Some(_), _) => return Err("`prompt` is not a text, or an empty one".to_owned()),
        (None, Some(list)) => messages(list)?,
        (None, None) => return Err("it has neither `prompt` nor `messages`".to_owned()),
    };
    let mut output = None;
    for key in OUTPUT {
        output = output.or(count(&row, key)?);
    }
    let turn = Turn { messages, input: count(&row, "input")?, output, ..Turn::default() };
    Ok(Entry { at_ns: None, turns: vec![turn], blocks: Vec::new() })
}

/// `{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}, …]}`.
pub(super) fn conversation(row: &Value) -> Result<Entry, String> {
    let said = row.get("conversations").and_then(Value::as_array).ok_or("it has no `conversations`")?;
    let mut turns: Vec<Turn> = Vec::new();
    let mut pending: Vec<Said> = Vec::new();
    for message in said {
        let text = |key: &str| message.get(key).and_then(Value::as_str);
        let (Some(from), Some(value)) = (text("from").or(text("role")), text("value").or(text("content")))
        else {
            return Err("a message has no `from` and `value`".to_owned());
        };
        let role = match from {
            "human" | "user" => "user",
            "system" => "system",
            "gpt" | "assistant" | "chatgpt" | "bing" | "bard" => {
                // An answer to nothing begins conversations that were cut in the middle.
                if pending.iter().any(|m| m.role == "user") {
                    let messages = std::mem::take(&mut pending);
                    turns.push(Turn { messages, answer: Some(value.to_owned()), ..Turn::default() });
                }
                continue;
            }
            // Tool output and the like belong to what is asked.
            _ => "user",
        };
        if !value.is_empty() {
            pending.push(Said { role: role.to_owned(), text: value.to_owned() });
        }
    }
    if turns.is_empty() {
        return Err("nobody asks and is answered in it".to_owned());
    }
    Ok(Entry { at_ns: None, turns, blocks: Vec::new() })
}
