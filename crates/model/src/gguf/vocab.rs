//! The tokenizer inside a GGUF file: byte-level BPE, as Llama 3, SmolLM and GPT-2 use it.

use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use super::GgufError;
use super::header::{Header, Value};
use crate::tokenizer::{Specials, Tokenizer};

/// Kinds of token, as the file numbers them.
const CONTROL: f64 = 3.0;
const USER_DEFINED: f64 = 4.0;

/// How Llama 3 cuts text into words (from its `tokenizer.json`).
const LLAMA3_WORDS: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// Builds the tokenizer of a file.
pub(super) fn tokenizer(header: &Header) -> Result<Tokenizer, GgufError> {
    let missing = |key: &str| GgufError::Missing { key: key.to_owned() };
    let model = header.text("tokenizer.ggml.model")?.ok_or_else(|| missing("tokenizer.ggml.model"))?;
    if model != "gpt2" {
        return Err(GgufError::Vocabulary { kind: model.to_owned() });
    }
    let tokens = header.texts("tokenizer.ggml.tokens")?.ok_or_else(|| missing("tokenizer.ggml.tokens"))?;
    let merges = header.texts("tokenizer.ggml.merges")?.ok_or_else(|| missing("tokenizer.ggml.merges"))?;
    let vocab: Vocab = tokens.iter().cloned().zip(0..).collect();
    let merges = merges
        .iter()
        .map(|m| m.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())))
        .collect::<Option<Vec<_>>>()
        .ok_or(GgufError::Metadata { key: "tokenizer.ggml.merges".into(), must: "pairs of tokens" })?;
    let words = header.text("tokenizer.ggml.pre")?.unwrap_or("default");
    let llama3 = matches!(words, "llama-bpe" | "llama3" | "llama-v3");
    let bpe = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .ignore_merges(llama3)
        .build()
        .map_err(GgufError::Tokenizer)?;

    let mut inner = tokenizers::Tokenizer::new(bpe);
    inner.with_pre_tokenizer(Some(word_cutter(words)?));
    inner.with_decoder(Some(ByteLevel::default()));
    let kinds = header.numbers("tokenizer.ggml.token_type")?.unwrap_or_default();
    let of_kind =
        |wanted: f64| tokens.iter().zip(kinds).filter(move |(_, kind)| **kind == wanted).map(|(t, _)| t);
    let special: Vec<_> =
        of_kind(CONTROL).map(|t| AddedToken::from(t.as_str(), true).normalized(false)).collect();
    let added: Vec<_> = of_kind(USER_DEFINED).map(|t| AddedToken::from(t.as_str(), false)).collect();
    inner.add_special_tokens(&special);
    inner.add_tokens(&added);

    let token = |key: &str| -> Result<Option<u32>, GgufError> {
        let id = header.count(key)?;
        Ok(id.filter(|&id| id < tokens.len()).map(|id| id as u32))
    };
    let bos = token("tokenizer.ggml.bos_token_id")?;
    let eos = [token("tokenizer.ggml.eos_token_id")?, token("tokenizer.ggml.eot_token_id")?];
    let add_bos = match header.metadata.get("tokenizer.ggml.add_bos_token") {
        Some(Value::Bool(add)) => *add,
        _ => llama3,
    };
    let template = header.text("tokenizer.chat_template")?.map(str::to_owned);
    let eos = eos.into_iter().flatten().collect();
    let specials = Specials { bos, eos, prefix: bos.filter(|_| add_bos), template };
    Tokenizer::from_hf(inner, specials).map_err(|e| GgufError::Tokenizer(Box::new(e)))
}

/// How text is cut before merges are looked up.
fn word_cutter(name: &str) -> Result<PreTokenizerWrapper, GgufError> {
    Ok(match name {
        "gpt-2" => ByteLevel::new(false, true, true).into(),
        "smollm" => {
            let parts = vec![Digits::new(true).into(), ByteLevel::new(false, true, true).into()];
            Sequence::new(parts).into()
        }
        "llama-bpe" | "llama3" | "llama-v3" => {
            let pattern = SplitPattern::Regex(LLAMA3_WORDS.to_owned());
            let split =
                Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(GgufError::Tokenizer)?;
            Sequence::new(vec![split.into(), ByteLevel::new(false, true, false).into()]).into()
        }
        other => return Err(GgufError::WordCutter { name: other.to_owned() }),
    })
}
