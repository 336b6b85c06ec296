//! Tokens to text, one at a time.

use super::Tokenizer;

/// Text of a stream of tokens. A character whose bytes are spread over several tokens is held back until it is whole.
///
/// Each step decodes only the tokens since the last text together with the few before it, which decide about spaces.
#[derive(Debug, Clone, Default)]
pub struct DecodeStream {
    tokens: Vec<u32>,
    /// Tokens before this index only give context.
    context: usize,
    /// Text of the tokens before this index has been returned.
    given: usize,
}

impl DecodeStream {
    /// Adds a token and returns the text that is now certain; empty when it needs further tokens.
    pub fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> String {
        self.tokens.push(token);
        let text = self.fresh(tokenizer);
        if text.ends_with('\u{fffd}') {
            return String::new();
        }
        self.mark_given();
        text
    }

    /// Text of what is still held back; its incomplete bytes become U+FFFD.
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> String {
        let text = self.fresh(tokenizer);
        self.mark_given();
        text
    }

    fn fresh(&self, tokenizer: &Tokenizer) -> String {
        let known = tokenizer.decode(&self.tokens[self.context..self.given]);
        let mut all = tokenizer.decode(&self.tokens[self.context..]);
        if all.len() <= known.len() { String::new() } else { all.split_off(known.len()) }
    }

    fn mark_given(&mut self) {
        self.tokens.drain(..self.context);
        self.context = self.given - self.context;
        self.given = self.tokens.len();
    }
}
