//! Conversations as text.

use super::Tokenizer;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant`, …
    pub role: String,
    /// What was said.
    pub content: String,
}

/// ChatML where the tokenizer has its marks (`<|im_start|>`, `<|im_end|>`), else a line a message.
pub(super) fn render(tokenizer: &Tokenizer, messages: &[ChatMessage]) -> String {
    let chatml = tokenizer.token_id("<|im_start|>").is_some() && tokenizer.token_id("<|im_end|>").is_some();
    let mut text = String::new();
    for ChatMessage { role, content } in messages {
        if chatml {
            text.push_str(&format!("<|im_start|>{role}\n{content}<|im_end|>\n"));
        } else {
            text.push_str(&format!("{role}: {content}\n"));
        }
    }
    text.push_str(if chatml { "<|im_start|>assistant\n" } else { "assistant: " });
    text
}
