//! Workloads: *what* is asked of an engine.
//!
//! ```text
//! Profile ──► Workload ──► RequestShape ──► prompt (with what) ──► request
//! (named)     (lengths)    (this request)   arrival (when)
//! trace ─────────┘  └────► Dialogue: later turns
//! ```
//!
//! A shape is a function of the seed and the number of the request, so any share of a workload can be made
//! without the rest, in any order, on any machine.
//!
//! Invariants, each held by a test below:
//!
//! - lengths stay in their bounds and are at least one token;
//! - a shared prefix is shorter than its prompt;
//! - one seed gives one sequence, on every platform.

mod dialogue;
mod length;
mod prefix_share;
mod profile;
mod recorded;
mod think;

use std::sync::Arc;

pub use dialogue::{Dialogue, LaterTurn};
pub use length::{Bin, Length, LengthError, LengthSpec};
pub use prefix_share::{PrefixShare, PrefixShareError};
pub use profile::{BatchRange, Profile, ProfileError, ProfileSpec};
pub use recorded::Recorded;
pub use think::{ThinkTime, ThinkTimeError};

use crate::random::{Draws, Purpose};

/// The lengths of a request, and which part of its prompt others share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestShape {
    /// Prompt tokens, the shared prefix included.
    pub input: u32,
    /// Output tokens to ask for.
    pub output: u32,
    /// The shared prefix; `None` when the prompt is all its own.
    pub prefix: Option<Prefix>,
}

/// The begin of a prompt that all requests of a group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Which group.
    pub group: u32,
    /// Tokens in common. Two members with different lengths share the shorter one.
    pub tokens: u32,
}

/// Where shapes come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Prompt lengths.
    pub input: Length,
    /// Output lengths.
    pub output: Length,
    /// How much of the prompts is shared.
    pub prefix_share: PrefixShare,
    /// Later turns; `None` when every request stands for itself.
    pub dialogue: Option<Dialogue>,
    /// Recorded requests, in place of drawn ones; the lengths above are then only drawn where the record has none.
    pub recorded: Option<Arc<Recorded>>,
}

impl Workload {
    /// A workload of these lengths in which no prompt shares a prefix.
    pub fn new(input: Length, output: Length) -> Self {
        Self { input, output, prefix_share: PrefixShare::NONE, dialogue: None, recorded: None }
    }

    /// The shape of request `index`; of a conversation, of its first turn.
    pub fn shape(&self, seed: u64, index: u64) -> RequestShape {
        let mut draws = Draws::new(Purpose::Shape, [seed, index, 0, 0]);
        let input = self.input.draw(&mut draws);
        let output = self.output.draw(&mut draws);
        if let Some(recorded) = &self.recorded {
            let first = recorded.entry(index).turns.first();
            let (input, output) = (
                first.and_then(|t| t.input).unwrap_or(input),
                first.and_then(|t| t.output).unwrap_or(output),
            );
            let prefix = first.and_then(|t| t.prefix).filter(|p| p.tokens > 0 && p.tokens < input);
            return RequestShape { input, output, prefix };
        }
        let group = self.prefix_share.draw_group(&mut draws);
        let tokens = self.prefix_share.tokens_of(input);
        RequestShape { input, output, prefix: (tokens > 0).then_some(Prefix { group, tokens }) }
    }

    /// The longest prompt that can be drawn or is recorded, later turns of conversations with all before them included.
    pub fn longest_prompt(&self) -> u32 {
        let (input, output) = (self.input.bounds().1, self.output.bounds().1);
        if let Some(recorded) = &self.recorded {
            let of = |entry: &crate::trace::Entry| {
                let turns = entry.turns.iter().take(recorded.most_turns as usize);
                let lengths = turns.map(|t| (t.input.unwrap_or(input), t.output.unwrap_or(output)));
                let prompt_and_said = lengths.fold((0, 0_u32), |(_, said), (input, output)| {
                    let prompt = said.saturating_add(input);
                    (prompt, prompt.saturating_add(output))
                });
                prompt_and_said.0
            };
            return recorded.entries().iter().map(of).max().unwrap_or(input);
        }
        let Some(dialogue) = &self.dialogue else { return input };
        let (turns, added) = (dialogue.turns.bounds().1, dialogue.added.bounds().1);
        input.saturating_add(turns.saturating_sub(1).saturating_mul(added.saturating_add(output)))
    }

    /// Whether requests may belong together.
    pub fn converses(&self) -> bool {
        self.dialogue.is_some() || self.recorded.as_ref().is_some_and(|r| r.most_turns > 1)
    }

    /// Mean tokens of prompts and of outputs, for planning: of a conversation over its turns, each with all before it.
    pub fn nominal_lengths(&self) -> (f64, f64) {
        let (input, output) = (self.input.nominal_mean(), self.output.nominal_mean());
        let Some(dialogue) = self.dialogue.as_ref().filter(|_| self.recorded.is_none()) else {
            return (input, output);
        };
        let before = (dialogue.turns.nominal_mean() - 1.0).max(0.0) / 2.0;
        (input + before * (dialogue.added.nominal_mean() + output), output)
    }

    /// How many turns conversation `index` has; 1 for a request that stands for itself.
    pub fn turns(&self, seed: u64, index: u64) -> u32 {
        match (&self.recorded, &self.dialogue) {
            (Some(recorded), _) => recorded.turns(index).len() as u32,
            (None, Some(dialogue)) => dialogue.turns_of(seed, index),
            (None, None) => 1,
        }
    }

    /// Turn `turn` of conversation `index`, from 1.
    pub fn later_turn(&self, seed: u64, index: u64, turn: u32) -> LaterTurn {
        let drawn = match &self.dialogue {
            Some(dialogue) => dialogue.later(&self.output, seed, index, turn),
            None => Dialogue { turns: self.input.clone(), added: self.input.clone(), think: ThinkTime::NONE }
                .later(&self.output, seed, index, turn),
        };
        let stated = self.recorded.as_ref().and_then(|r| r.turns(index).get(turn as usize));
        match stated {
            Some(t) => LaterTurn {
                added: t.input.unwrap_or(drawn.added),
                output: t.output.unwrap_or(drawn.output),
                think_ns: t.think_ns.unwrap_or(drawn.think_ns),
            },
            None => drawn,
        }
    }

    /// The shapes of requests 0, 1, 2 and so on, without end. Shard `i` of `n` takes `.skip(i).step_by(n)`.
    pub fn shapes(&self, seed: u64) -> impl Iterator<Item = RequestShape> + '_ {
        (0..).map(move |index| self.shape(seed, index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chat_shapes_are_these_on_every_platform() {
        let chat = Profile::built_in("chat").unwrap().workload();
        let shapes: Vec<_> =
            chat.shapes(42).take(4).map(|s| (s.input, s.output, s.prefix.map_or(0, |p| p.tokens))).collect();
        assert_eq!(shapes, [(187, 411, 37), (126, 280, 25), (150, 142, 30), (125, 426, 25)]);
    }

    #[test]
    fn a_lognormal_draw_is_the_same_on_every_platform() {
        let length: Length = "lognormal:300:200:1:4000".parse().unwrap();
        let shapes: Vec<_> =
            Workload::new(length.clone(), length).shapes(1).take(3).map(|s| (s.input, s.output)).collect();
        assert_eq!(shapes, [(495, 106), (599, 188), (102, 56)]);
    }

    #[test]
    fn the_share_of_prefix_tokens_is_the_ratio_asked_for() {
        for profile in Profile::built_ins() {
            let workload = profile.workload();
            let (mut shared, mut all) = (0_u64, 0_u64);
            for shape in workload.shapes(3).take(2_000) {
                shared += u64::from(shape.prefix.map_or(0, |p| p.tokens));
                all += u64::from(shape.input);
            }
            let ratio = shared as f64 / all as f64;
            assert!((ratio - profile.prefix_share().ratio()).abs() < 0.01, "{}: {ratio}", profile.name());
        }
    }

    proptest! {
        #[test]
        fn shapes_keep_their_bounds(seed: u64, lo in 1_u32..500, span in 0_u32..5_000, ratio in 0.0..0.999_f64, groups in 1_u32..9) {
            let length = Length::try_from(LengthSpec::Uniform { lo, hi: lo + span }).unwrap();
            let mut workload = Workload::new(length.clone(), length);
            workload.prefix_share = PrefixShare::new(ratio, groups).unwrap();
            for (index, shape) in workload.shapes(seed).take(50).enumerate() {
                prop_assert!((lo..=lo + span).contains(&shape.input));
                prop_assert!((lo..=lo + span).contains(&shape.output));
                if let Some(prefix) = shape.prefix {
                    prop_assert!(prefix.tokens < shape.input && prefix.tokens > 0 && prefix.group < groups);
                }
                prop_assert_eq!(shape, workload.shape(seed, index as u64));
            }
        }
    }
}
