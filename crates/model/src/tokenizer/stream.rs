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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streamed(tokens: &[u32]) -> Vec<String> {
        let tokenizer = Tokenizer::byte();
        let mut stream = DecodeStream::default();
        let mut parts: Vec<String> = tokens.iter().map(|&t| stream.push(&tokenizer, t)).collect();
        parts.push(stream.finish(&tokenizer));
        parts
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let tokens: Vec<u32> = "a中b".bytes().map(u32::from).collect();
        assert_eq!(streamed(&tokens), ["a", "", "", "中", "b", ""]);
    }

    #[test]
    fn bytes_that_never_become_a_character_are_marked() {
        assert_eq!(streamed(&[0x61, 0xe4, 0xb8]), ["a", "", "", "\u{fffd}"]);
        assert_eq!(streamed(&[0xff, 0x62]).concat(), "\u{fffd}b");
    }

    #[test]
    fn special_and_unknown_tokens_are_silent() {
        assert_eq!(streamed(&[0x61, 257, 319, 100_000, 0x62]), ["a", "", "", "", "b", ""]);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(text in ".{0,40}") {
            let tokenizer = Tokenizer::byte();
            let tokens = tokenizer.encode(&text).unwrap();
            prop_assert_eq!(streamed(&tokens).concat(), text);
        }

        #[test]
        fn any_tokens_give_the_text_of_decoding_them_at_once(tokens in prop::collection::vec(0u32..320, 0..40)) {
            prop_assert_eq!(streamed(&tokens).concat(), Tokenizer::byte().decode(&tokens));
        }
    }
}
