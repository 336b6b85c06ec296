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
//! - two requests of a phase differ in the first token of their unique parts, unless their numbers are a multiple
//!   of about half the vocabulary apart, and never continue the prefix of a member that shares more;
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
        let mut continuation = None;
        if let Some(prefix) = shape.prefix {
            let mut shared = self.source.shared(prefix.group, key);
            let common = prefix.tokens.min(shape.input) as usize;
            tokens.extend(shared.by_ref().take(common).map(|t| self.first + t));
            continuation = shared.next();
        }
        let own = shape.input as usize - tokens.len();
        tokens.extend(self.source.unique(key, continuation).take(own).map(|t| self.first + t));
    }

    /// A recorded prompt of `input` tokens: each of its blocks has `block_tokens` tokens that depend on the block's id
    /// alone, so that prompts share what their ids share. What the blocks do not fill is the request's own.
    pub fn prompt_of_blocks(
        &self,
        blocks: &[u64],
        block_tokens: u32,
        input: u32,
        key: PromptKey,
    ) -> Vec<u32> {
        let shared = blocks
            .iter()
            .flat_map(|&block| self.source.block(block, key).take(block_tokens as usize))
            .take(input as usize);
        let mut tokens: Vec<u32> = shared.map(|t| self.first + t).collect();
        let own = input as usize - tokens.len();
        tokens.extend(self.source.unique(key, None).take(own).map(|t| self.first + t));
        tokens
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
        // Enough for 64 bits, though the first digit uses one symbol less.
        let digits = 64_u32.div_ceil((base - 1).ilog2());
        Self { seed, salt, base, offsets: (0..digits).map(|_| draws.below(base)).collect() }
    }

    fn shared(&self, group: u32, key: PromptKey) -> impl Iterator<Item = u32> + use<'_> {
        let [a, b] = key.prefix_key(group);
        self.random(Purpose::SharedPrefix, [a, b])
    }

    fn block(&self, block: u64, key: PromptKey) -> impl Iterator<Item = u32> + use<'_> {
        self.random(Purpose::Block, [block, u64::from(key.epoch) << 1 | key.phase_bit()])
    }

    /// The number of the request, lowest digit first so that neighbours differ at once, then random symbols. The
    /// first symbol is never `avoid`: what a member of the group with a longer prefix has in this place.
    fn unique(&self, key: PromptKey, avoid: Option<u32>) -> impl Iterator<Item = u32> + use<'_> {
        let mut number = key.number();
        let digits = self.offsets.iter().enumerate().map(move |(place, &offset)| {
            let base = u64::from(if place == 0 { self.base - 1 } else { self.base });
            let digit = ((number % base + u64::from(offset)) % base) as u32;
            number /= base;
            if place == 0 && avoid.is_some_and(|a| digit >= a) { digit + 1 } else { digit }
        });
        digits.chain(self.random(Purpose::UniquePrompt, [key.number(), 0]))
    }

    fn random(&self, purpose: Purpose, [a, b]: [u64; 2]) -> impl Iterator<Item = u32> + use<'_> {
        let mut draws = Draws::new(purpose, [self.seed, self.salt, a, b]);
        std::iter::repeat_with(move || draws.below(self.base))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::prefix::BlockHash;
    use crate::workload::{Length, Prefix, PrefixShare, Workload};

    fn measured(index: u64) -> PromptKey {
        PromptKey { phase: Phase::Measure, epoch: 0, index }
    }

    fn shape(input: u32, prefix: Option<(u32, u32)>) -> RequestShape {
        RequestShape { input, output: 1, prefix: prefix.map(|(group, tokens)| Prefix { group, tokens }) }
    }

    fn chain(tokens: &[u32], block_size: usize) -> Vec<BlockHash> {
        tokens
            .chunks_exact(block_size)
            .scan(BlockHash::ROOT, |hash, block| {
                *hash = hash.child(block);
                Some(*hash)
            })
            .collect()
    }

    /// 2,000 requests with a byte-sized vocabulary, the hardest case; warm-up first.
    #[track_caller]
    fn check_sharing(share: PrefixShare) {
        let prompts = TokenPrompts::new(1, 0, 32..127).unwrap();
        let mut workload = Workload::new(Length::uniform(40, 400).unwrap(), Length::fixed(1).unwrap());
        workload.prefix_share = share;
        let mut first_owner: HashMap<BlockHash, (Phase, u64, u32)> = HashMap::new();
        for phase in [Phase::Warmup, Phase::Measure] {
            for (index, shape) in (0..1_000).zip(workload.shapes(7)) {
                let tokens = prompts.prompt(&shape, PromptKey { phase, epoch: 0, index });
                let shared = shape.prefix.map_or(0, |p| p.tokens);
                for (i, hash) in chain(&tokens, 16).into_iter().enumerate() {
                    let (owner_phase, owner, owner_shared) =
                        *first_owner.entry(hash).or_insert((phase, index, shared));
                    assert_eq!(owner_phase, phase, "request {index} shares block {i} with warm-up");
                    // One token of their own in this block, and numbers that 94 symbols cannot tell apart there.
                    let exhausted =
                        shared % 16 == 15 && owner_shared == shared && (index - owner).is_multiple_of(47);
                    let common = i < shared as usize / 16 || owner == index || exhausted;
                    assert!(common, "request {index} shares its own block {i} with request {owner}");
                }
            }
        }
    }

    #[test]
    fn a_cache_can_hit_the_shared_prefix_and_nothing_else() {
        check_sharing(PrefixShare::NONE);
        check_sharing(PrefixShare::new(0.5, 5).unwrap());
    }

    #[test]
    fn neighbours_differ_in_their_first_own_token() {
        let prompts = TokenPrompts::new(3, 0, 100..1_100).unwrap();
        let first: Vec<u32> =
            (0..500).map(|i| prompts.prompt(&shape(20, Some((0, 12))), measured(i))[12]).collect();
        let distinct: std::collections::HashSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), 500);
    }

    #[test]
    fn seed_salt_phase_and_epoch_change_what_they_say() {
        let s = shape(64, Some((2, 32)));
        let of = |seed, salt, phase, epoch| {
            TokenPrompts::new(seed, salt, 0..32_000).unwrap().prompt(&s, PromptKey { phase, epoch, index: 5 })
        };
        let base = of(1, 1, Phase::Measure, 0);
        assert_eq!(of(1, 1, Phase::Measure, 0), base);
        for other in [of(2, 1, Phase::Measure, 0), of(1, 2, Phase::Measure, 0), of(1, 1, Phase::Warmup, 0)] {
            assert_ne!(other[..32], base[..32]);
            assert_ne!(other[32..], base[32..]);
        }
        let next_epoch = of(1, 1, Phase::Measure, 1);
        assert_ne!(next_epoch[..32], base[..32]);
        assert_eq!(next_epoch[33..], base[33..]);
    }

    #[test]
    fn prompts_are_these_on_every_platform() {
        let prompts = TokenPrompts::new(42, 0, 0..32_000).unwrap();
        assert_eq!(
            prompts.prompt(&shape(8, Some((1, 3))), measured(0)),
            [13719, 11701, 2391, 30840, 14423, 3730, 16980, 1506]
        );
    }

    #[test]
    fn equal_block_ids_give_equal_tokens_and_other_ids_others() {
        let prompts = TokenPrompts::new(1, 0, 0..32_000).unwrap();
        let of = |blocks: &[u64], input, index| prompts.prompt_of_blocks(blocks, 16, input, measured(index));
        let (a, b) = (of(&[5, 6, 7], 40, 0), of(&[5, 6, 8], 60, 1));
        assert_eq!((a.len(), b.len()), (40, 60));
        assert_eq!(a[..32], b[..32]);
        assert_ne!(a[32], b[32]);
        // Beyond its blocks a prompt is its own; the same blocks in another place are the same tokens.
        assert_ne!(of(&[5], 20, 2)[16..], of(&[5], 20, 3)[16..]);
        assert_eq!(of(&[9, 5], 32, 4)[16..], a[..16]);
        let trial = |epoch| prompts.prompt_of_blocks(&[5], 16, 16, PromptKey { epoch, ..measured(0) });
        assert_ne!(trial(0), trial(1));
    }

    #[test]
    fn a_small_vocabulary_is_refused() {
        let refused = TokenPrompts::new(0, 0, 10..20).unwrap_err();
        assert_eq!(refused, PromptError::SmallVocabulary { ids: 10 });
        assert!(refused.hint().is_some());
    }

    proptest! {
        #[test]
        fn lengths_and_ids_are_exact(
            seed: u64, index in 0..1_u64 << 62, input in 1_u32..600, share in 0_u32..600, first in 0_u32..1_000, ids in 64_u32..200_000
        ) {
            let prompts = TokenPrompts::new(seed, 0, first..first + ids).unwrap();
            let tokens = prompts.prompt(&shape(input, Some((0, share.min(input)))), measured(index));
            prop_assert_eq!(tokens.len(), input as usize);
            prop_assert!(tokens.iter().all(|t| (first..first + ids).contains(t)));
        }

        #[test]
        fn a_group_begins_alike_and_then_parts(seed: u64, a in 1_u32..100, b in 1_u32..100, group in 0_u32..9) {
            let prompts = TokenPrompts::new(seed, 0, 0..50_000).unwrap();
            let x = prompts.prompt(&shape(200, Some((group, a))), measured(0));
            let y = prompts.prompt(&shape(200, Some((group, b))), measured(1));
            let common = x.iter().zip(&y).take_while(|(x, y)| x == y).count();
            let shorter = a.min(b) as usize;
            prop_assert_eq!(common, shorter);
            let other = prompts.prompt(&shape(200, Some((group + 9, a))), measured(2));
            prop_assert_ne!(&other[..a.min(4) as usize + 8], &x[..a.min(4) as usize + 8]);
        }
    }
}
