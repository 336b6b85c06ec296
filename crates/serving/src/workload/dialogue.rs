//! Conversations of several turns, drawn.

use super::{Length, ThinkTime};
use crate::random::{Draws, Purpose};
use stopwatt_core::Nanos;

/// Conversations: each request carries everything said before.
#[derive(Debug, Clone, PartialEq)]
pub struct Dialogue {
    /// Turns of a conversation.
    pub turns: Length,
    /// Tokens that a later turn adds.
    pub added: Length,
    /// Pause between an answer and the next turn.
    pub think: ThinkTime,
}

/// A later turn of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaterTurn {
    /// Tokens that it adds to the prompt.
    pub added: u32,
    /// Output tokens to ask for.
    pub output: u32,
    /// Pause before it.
    pub think_ns: Nanos,
}

impl Dialogue {
    /// How many turns conversation `index` has.
    pub fn turns_of(&self, seed: u64, index: u64) -> u32 {
        self.turns.draw(&mut Draws::new(Purpose::Turn, [seed, index, 0, 0]))
    }

    /// Turn `turn` of conversation `index`, from 1; turn 0 is the shape of the request that begins it.
    pub fn later(&self, output: &Length, seed: u64, index: u64, turn: u32) -> LaterTurn {
        let mut draws = Draws::new(Purpose::Turn, [seed, index, u64::from(turn), 0]);
        let (added, output) = (self.added.draw(&mut draws), output.draw(&mut draws));
        LaterTurn { added, output, think_ns: self.think.draw(&mut draws) }
    }
}
