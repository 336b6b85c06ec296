//! What an event of a stream held beside its kind, as bits.
//!
//! Load tools disagree about which event is a token: one counts any choice, one wants text, one wants `reasoning` but
//! not `reasoning_content`. The bits keep what they look at, so that one record can be read by every tool's rule.

use serde::{Deserialize, Serialize};

/// What an event held. `UNKNOWN` for a run that was recorded before shapes were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChunkShape(u16);

impl ChunkShape {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self(0);
    /// The event was JSON and its shape was noted; set in every known shape.
    pub const KNOWN: Self = Self(1);
    /// At least one choice.
    pub const CHOICE: Self = Self(1 << 1);
    /// The choice is a chat delta.
    pub const DELTA: Self = Self(1 << 2);
    /// The delta has the key `role`.
    pub const ROLE: Self = Self(1 << 3);
    /// `content` or `text` is the empty string.
    pub const EMPTY_TEXT: Self = Self(1 << 4);
    /// `content` or `text` is not empty.
    pub const TEXT: Self = Self(1 << 5);
    /// `reasoning` is not empty.
    pub const REASONING: Self = Self(1 << 6);
    /// `reasoning_content` is not empty.
    pub const REASONING_CONTENT: Self = Self(1 << 7);
    /// A tool or function call.
    pub const TOOL: Self = Self(1 << 8);
    /// A name or arguments in a tool call that are not empty.
    pub const TOOL_TEXT: Self = Self(1 << 9);
    /// Token counts (`usage` is an object).
    pub const USAGE: Self = Self(1 << 10);

    /// The bits as they stand in a file.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From the bits of a file; bits of a newer version are kept.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Adds `other` where `condition` holds.
    #[must_use]
    pub const fn with_if(self, condition: bool, other: Self) -> Self {
        if condition { self.with(other) } else { self }
    }

    /// Whether any bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is known.
    pub const fn is_unknown(self) -> bool {
        self.0 == 0
    }
}
