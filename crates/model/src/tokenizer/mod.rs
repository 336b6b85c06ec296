//! Text to tokens and back.
//!
//! Two kinds: bytes, for random models, and whatever `tokenizers` reads, for models from files.

mod chat;
mod stream;

use std::path::Path;

use chat::Chat;
pub use chat::ChatMessage;
pub use stream::DecodeStream;

/// Tokens of the byte tokenizer: 256 bytes, begin, end, and padding to a multiple of 64.
pub const BYTE_VOCAB: usize = 320;
const BYTE_BOS: u32 = 256;
const BYTE_EOS: u32 = 257;

/// A tokenizer, its special tokens and its chat template.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    kind: Kind,
    specials: Specials,
    chat: Chat,
}

/// What a model's files say about its special tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Specials {
    /// Begins a text.
    pub(crate) bos: Option<u32>,
    /// Any of them ends an answer.
    pub(crate) eos: Vec<u32>,
    /// Put before every plain prompt by us; `None` where the tokenizer does so itself, or nothing does.
    pub(crate) prefix: Option<u32>,
    /// Chat template, in Jinja.
    pub(crate) template: Option<String>,
}

#[derive(Debug, Clone)]
enum Kind {
    Byte(VocabMask),
    Hf(Box<tokenizers::Tokenizer>),
}

/// Why text or a tokenizer file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file is not a tokenizer.
    #[error("not a usable tokenizer")]
    File(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The text could not be encoded.
    #[error("text cannot be encoded")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The chat template does not compile, or refuses the conversation.
    #[error("the model's chat template refuses the conversation")]
    Template(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The tokens that a model may generate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VocabMask(Vec<bool>);

impl VocabMask {
    /// Whether a token may be generated.
    pub fn allows(&self, token: u32) -> bool {
        self.0.get(token as usize).copied().unwrap_or(false)
    }

    /// Sets the logit of every other token to −∞.
    pub fn apply(&self, logits: &mut [f32]) {
        for (i, logit) in logits.iter_mut().enumerate() {
            if !self.0.get(i).copied().unwrap_or(false) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

impl Tokenizer {
    /// One token a byte. Only printable ASCII may be generated, so the text of a random model is always valid UTF-8
    /// and its length in bytes is its length in tokens; a random model never ends a text by itself.
    pub fn byte() -> Self {
        let mask = (0..BYTE_VOCAB).map(|t| (0x20..0x7f).contains(&t)).collect();
        let specials = Specials { bos: Some(BYTE_BOS), eos: vec![BYTE_EOS], ..Specials::default() };
        Self { kind: Kind::Byte(VocabMask(mask)), specials, chat: Chat::Lines }
    }

    /// Reads a Hugging Face `tokenizer.json`.
    pub(crate) fn from_file(path: &Path, specials: Specials) -> Result<Self, TokenizerError> {
        let inner = tokenizers::Tokenizer::from_file(path).map_err(TokenizerError::File)?;
        Self::from_hf(inner, specials)
    }

    /// Reads a Hugging Face `tokenizer.json` alone, to count the tokens of text that another engine made.
    pub fn for_counting(path: &Path) -> Result<Self, TokenizerError> {
        Self::from_file(path, Specials::default())
    }

    /// Tokens of `text` without any special token.
    pub fn count(&self, text: &str) -> Result<usize, TokenizerError> {
        Ok(self.tokens(text, false)?.len())
    }

    pub(crate) fn from_hf(inner: tokenizers::Tokenizer, specials: Specials) -> Result<Self, TokenizerError> {
        let has = |mark| inner.token_to_id(mark).is_some();
        let chat = match &specials.template {
            Some(source) => Chat::template(source.clone())?,
            None if has("<|im_start|>") && has("<|im_end|>") => Chat::Marks,
            None => Chat::Lines,
        };
        Ok(Self { kind: Kind::Hf(Box::new(inner)), specials, chat })
    }

    /// Tokens of a prompt, with the special tokens that the model wants around plain text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let tokens = self.tokens(text, true)?;
        Ok(self.specials.prefix.into_iter().chain(tokens).collect())
    }

    fn tokens(&self, text: &str, special: bool) -> Result<Vec<u32>, TokenizerError> {
        match &self.kind {
            Kind::Byte(_) => Ok(text.bytes().map(u32::from).collect()),
            Kind::Hf(inner) => {
                let encoding = inner.encode_fast(text, special).map_err(TokenizerError::Encode)?;
                Ok(encoding.get_ids().to_vec())
            }
        }
    }

    /// Text of tokens, without special tokens. Bytes that are not UTF-8 become U+FFFD; unknown tokens nothing.
    pub fn decode(&self, tokens: &[u32]) -> String {
        match &self.kind {
            Kind::Byte(_) => {
                let bytes: Vec<u8> = tokens.iter().filter_map(|&t| u8::try_from(t).ok()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Kind::Hf(inner) => inner.decode(tokens, true).unwrap_or_default(),
        }
    }

    /// An empty stream of tokens to text.
    pub fn decode_stream(&self) -> DecodeStream {
        DecodeStream::default()
    }

    /// Tokens of a conversation, up to where the assistant begins to answer.
    pub fn encode_chat(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, TokenizerError> {
        let literal = |token: Option<u32>| match &self.kind {
            Kind::Byte(_) => None,
            Kind::Hf(inner) => token.and_then(|id| inner.id_to_token(id)),
        };
        let (bos, eos) = (literal(self.specials.bos), literal(self.specials.eos.first().copied()));
        let text = self.chat.render(messages, bos.as_deref(), eos.as_deref())?;
        self.tokens(&text, false)
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        match &self.kind {
            Kind::Byte(_) => BYTE_VOCAB,
            Kind::Hf(inner) => inner.get_vocab_size(true),
        }
    }

    /// Token of a literal, for instance a special one.
    pub fn token_id(&self, literal: &str) -> Option<u32> {
        match &self.kind {
            Kind::Byte(_) => None,
            Kind::Hf(inner) => inner.token_to_id(literal),
        }
    }

    /// Tokens that end an answer.
    pub fn eos(&self) -> &[u32] {
        &self.specials.eos
    }

    /// Token that begins a text, where the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.specials.bos
    }

    /// The tokens that may be generated; `None` means all.
    pub fn mask(&self) -> Option<&VocabMask> {
        match &self.kind {
            Kind::Byte(mask) => Some(mask),
            Kind::Hf(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_tokens() {
        let tokenizer = Tokenizer::byte();
        let tokens = tokenizer.encode("aé").unwrap();
        assert_eq!(tokens, [0x61, 0xc3, 0xa9]);
        assert_eq!(tokenizer.decode(&tokens), "aé");
        assert!(tokens.iter().all(|&t| (t as usize) < tokenizer.vocab_size()));
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(256), &[257][..]));
        let message = ChatMessage { role: "user".into(), content: "hi".into() };
        assert_eq!(tokenizer.decode(&tokenizer.encode_chat(&[message]).unwrap()), "user: hi\nassistant: ");
    }

    #[test]
    fn only_printable_text_may_be_generated() {
        let tokenizer = Tokenizer::byte();
        let mask = tokenizer.mask().unwrap();
        let mut logits = vec![1.0; BYTE_VOCAB + 2];
        mask.apply(&mut logits);
        let allowed: Vec<u32> = (0..logits.len() as u32).filter(|&t| logits[t as usize] == 1.0).collect();
        assert_eq!(allowed, (0x20..0x7f).collect::<Vec<u32>>());
        assert!(allowed.iter().all(|&t| mask.allows(t)) && !mask.allows(257) && !mask.allows(10_000));
    }
}
