//! The slopes: levels of the memory hierarchy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Extent, Measured};

/// A level of the memory hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LevelName {
    /// First-level data cache; shared memory where it is the same.
    L1,
    /// Second-level cache; of a GPU the half that is near.
    L2,
    /// The half of a GPU's second-level cache that lies behind the other.
    L2Far,
    /// Third-level cache.
    L3,
    /// Main memory, HBM.
    Memory,
}

impl LevelName {
    /// Name in tables and plots.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LevelName::L1 => "L1",
            LevelName::L2 => "L2",
            LevelName::L2Far => "L2 far",
            LevelName::L3 => "L3",
            LevelName::Memory => "memory",
        }
    }
}

/// What a bandwidth kernel does. Bytes count what the program reads and writes, not what a cache fetches besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Sums what it reads.
    Read,
    /// Writes one value.
    Write,
    /// Writes past the caches.
    WriteStreaming,
    /// `a[i] = b[i]`.
    Copy,
    /// The same, written past the caches.
    CopyStreaming,
    /// `a[i] = b[i] + s·c[i]`.
    Triad,
}

impl Access {
    /// Name in tables and plots.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::WriteStreaming => "write (streaming)",
            Access::Copy => "copy",
            Access::CopyStreaming => "copy (streaming)",
            Access::Triad => "triad",
        }
    }
}

/// Bandwidth of a level under one access.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Bandwidth {
    /// What was done.
    pub access: Access,
    /// Bytes a second, both ways together.
    pub bytes_per_s: Measured,
}

/// A level of the memory hierarchy, as one unit or the whole device sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Level {
    /// Which.
    pub name: LevelName,
    /// One unit, or all.
    pub extent: Extent,
    /// What it holds for the units that worked, as the system states it; `None` where it does not.
    pub capacity_bytes: Option<u64>,
    /// Bandwidths on its plateau.
    pub bandwidths: Vec<Bandwidth>,
    /// Seconds from one dependent load to the next; `None` where it was not measured.
    pub latency_s: Option<Measured>,
}

impl Level {
    /// Bandwidth under an access.
    #[must_use]
    pub fn bandwidth(&self, access: Access) -> Option<&Measured> {
        self.bandwidths.iter().find(|b| b.access == access).map(|b| &b.bytes_per_s)
    }

    /// Bandwidth of pure reading: the slope of this level in a roofline.
    #[must_use]
    pub fn read_bandwidth(&self) -> Option<&Measured> {
        self.bandwidth(Access::Read)
    }
}
