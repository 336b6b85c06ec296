//! `--tokenizer FILE`: counts the tokens of generated text.

use std::path::Path;

use anyhow::Context as _;
use stopwatt_experiment::bench::TokenCounter;
use stopwatt_model::Tokenizer;

struct Counter(Tokenizer);

impl TokenCounter for Counter {
    fn count(&self, text: &str) -> u32 {
        // A text that cannot be tokenised counts as nothing; the mismatch with the usage then shows.
        self.0.count(text).map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX))
    }
}

/// Loads a `tokenizer.json`.
pub(crate) fn load(path: &Path) -> anyhow::Result<Box<dyn TokenCounter>> {
    let tokenizer = Tokenizer::for_counting(path).context("failed to load --tokenizer")?;
    Ok(Box::new(Counter(tokenizer)))
}
