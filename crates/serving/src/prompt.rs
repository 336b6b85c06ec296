//! Prompts: *with what* a request of a given shape asks.
//!
//! A prompt is `[shared prefix of the group][unique part]`. The unique part begins with the number of the request,
//! written in digits of the vocabulary, so that two prompts differ there by construction and not just probably: a
//! prefix cache hits what the workload shares and nothing else.
//!
//! Invariants, each held by a test below:
//!
//! - a token prompt has exactly the asked length and only ids of the given range;
//! - members of a group begin alike for as long as the shorter of their prefixes;
//! - two requests differ in the first token of their unique parts, unless their numbers are a vocabulary apart;
//! - warm-up and measurement share nothing, so a cold cache is cold when measuring begins ([`PromptKey`]).
//!
//! The content is random on purpose: constant tokens make an engine look better than it is. Text prompts hit their
//! length only approximately; the server's usage says what was really sent.

mod text;

use std::ops::Range;

pub use text::TextPrompts;

use crate::random::{Draws, Purpose};
use crate::workload::RequestShape;
use stopwatt_core::Phase;

/// Which prompt of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PromptKey {
    /// Warm-up and measured requests have different prefixes and different unique parts.
    pub phase: Phase,
    /// Shared prefixes differ between epochs. Count trials here to find each trial with a cold cache, or leave it
    /// at 0 to let a trial profit from those before it.
    pub epoch: u32,
    /// Number of the request, unique in its phase within the run; below 2⁶³.
    pub index: u64,
}

impl PromptKey {
    /// One number for phase and index: neighbours differ, and so do the phases.
    fn number(self) -> u64 {
        self.index << 1 | self.phase_bit()
    }

    fn phase_bit(self) -> u64 {
        u64::from(self.phase == Phase::Warmup)
    }

    fn prefix_key(self, group: u32) -> [u64; 2] {
        [u64::from(group) << 1 | self.phase_bit(), u64::from(self.epoch)]
    }
}

/// Why prompts cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// Too few ids to tell requests apart.
    #[error("vocabulary of {ids} token ids is too small for random prompts")]
    SmallVocabulary {
        /// Ids in the range.
        ids: u32,
    },
    /// A calibration that is not above zero.
    #[error("{chars_per_token} characters a token")]
    Calibration {
        /// The value.
        chars_per_token: f64,
    },
}

impl PromptError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::SmallVocabulary { .. } => Some("give a range of at least 64 ordinary token ids"),
            Self::Calibration { .. } => None,
        }
    }
}

/// Makes prompts of token ids, exact in length.
#[derive(Debug, Clone)]
pub struct TokenPrompts {
    source: Source,
    first: u32,
}

impl TokenPrompts {
    /// Prompts of ids in `vocabulary`, which should hold ordinary tokens only (no end of text, no markers).
    ///
    /// `seed` is the run's seed. `salt` changes the content but nothing else: give each run its own where an engine
    /// may remember the prompts of an earlier one.
    pub fn new(seed: u64, salt: u64, vocabulary: Range<u32>) -> Result<Self, PromptError> {
        let ids = vocabulary.end.saturating_sub(vocabulary.start);
        if ids < 64 {
            return Err(PromptError::SmallVocabulary { ids });
        }
        Ok(Self { source: Source::new(seed, salt, ids), first: vocabulary.start })
    }

    /// The prompt of a request.
    pub fn prompt(&self, shape: &RequestShape, key: PromptKey) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.prompt_into(shape, key, &mut tokens);
        tokens
    }

    /// The prompt of a request, in place of what `tokens` held.
    pub fn prompt_into(&self, shape: &RequestShape, key: PromptKey, tokens: &mut Vec<u32>) {
        tokens.clear();
        tokens.reserve(shape.input as usize);
        let mut shared = 0;
        if let Some(prefix) = shape.prefix {
            shared = prefix.tokens.min(shape.input);
            tokens
                .extend(self.source.shared(prefix.group, key).take(shared as usize).map(|t| self.first + t));
        }
        let own = (shape.input - shared) as usize;
        tokens.extend(self.source.unique(key).take(own).map(|t| self.first + t));
    }
}

/// Endless sequences of symbols 0..base, shared and unique.
#[derive(Debug, Clone)]
struct Source {
    seed: u64,
    salt: u64,
    base: u32,
    /// Added to the digits of a request number, so that prompts do not begin with zeros.
    offsets: Vec<u32>,
}

impl Source {
    fn new(seed: u64, salt: u64, base: u32) -> Self {
        let mut draws = Draws::new(Purpose::Whitening, [seed, salt, 0, 0]);
        let digits = 64_u32.div_ceil(base.ilog2());
        Self { seed, salt, base, offsets: (0..digits).map(|_| draws.below(base)).collect() }
    }

    fn shared(&self, group: u32, key: PromptKey) -> impl Iterator<Item = u32> + use<'_> {
        let [a, b] = key.prefix_key(group);
        self.random(Purpose::SharedPrefix, [a, b])
    }

    /// The number of the request, lowest digit first so that neighbours differ at once, then random symbols.
    fn unique(&self, key: PromptKey) -> impl Iterator<Item = u32> + use<'_> {
        let mut number = key.number();
        let base = u64::from(self.base);
        let digits = self.offsets.iter().map(move |&offset| {
            let digit = number % base;
            number /= base;
            ((digit + u64::from(offset)) % base) as u32
        });
        digits.chain(self.random(Purpose::UniquePrompt, [key.number(), 0]))
    }

    fn random(&self, purpose: Purpose, [a, b]: [u64; 2]) -> impl Iterator<Item = u32> + use<'_> {
        let mut draws = Draws::new(purpose, [self.seed, self.salt, a, b]);
        std::iter::repeat_with(move || draws.below(self.base))
    }
}
