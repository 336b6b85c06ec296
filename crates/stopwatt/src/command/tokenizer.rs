//! `--tokenizer FILE`: counts the tokens of generated text.

use std::path::Path;

use anyhow::Context as _;
use stopwatt_experiment::bench::TokenCounter;
use stopwatt_model::Tokenizer;

struct Counter(Tokenizer);

impl TokenCounter for Counter {
    fn count(&self, text: &str) -> u32 {
        // A text that cannot be tokenised counts as nothing; the mismatch with the usage then shows.
        self.0.encode(text).map_or(0, |ids| u32::try_from(ids.len()).unwrap_or(u32::MAX))
    }
}

/// Loads a `tokenizer.json`.
pub(crate) fn load(path: &Path) -> anyhow::Result<Box<dyn TokenCounter>> {
    let tokenizer = Tokenizer::from_file(path, None, Vec::new()).context("failed to load --tokenizer")?;
    Ok(Box::new(Counter(tokenizer)))
}
