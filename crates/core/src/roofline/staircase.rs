//! Time of an operator over finely stepped sizes: it climbs in steps, since devices work in tiles and waves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Measured;
use crate::kernel_table::{Op, Shape};

/// Which size is stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Rows of the input.
    M,
    /// Columns of the output.
    N,
    /// Length of the sum.
    K,
}

impl Axis {
    /// Name in tables and plots.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Axis::M => "m",
            Axis::N => "n",
            Axis::K => "k",
        }
    }

    /// The operator with another value of this size; itself when it is no product.
    #[must_use]
    pub fn set(self, op: &Op, size: u32) -> Op {
        let Shape::Matrix { m, n, k } = op.shape else { return *op };
        let shape = match self {
            Axis::M => Shape::Matrix { m: size, n, k },
            Axis::N => Shape::Matrix { m, n: size, k },
            Axis::K => Shape::Matrix { m, n, k: size },
        };
        Op { shape, ..*op }
    }
}

/// One size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StairPoint {
    /// Value of the stepped size.
    pub size: u32,
    /// Seconds a call.
    pub seconds: Measured,
    /// Kernel that ran, where that is known.
    pub kernel: Option<String>,
    /// Blocks of its launch, where that is known.
    pub grid: Option<u32>,
}

/// A rise in time from one size to the next.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Stair {
    /// First size above the step.
    pub size: u32,
    /// Typical time above less that below, in seconds.
    pub rise_s: f64,
}

/// A staircase and what was found in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Staircase {
    /// The operator at the first size.
    pub op: Op,
    /// Which size is stepped.
    pub axis: Axis,
    /// Ascending sizes.
    pub points: Vec<StairPoint>,
    /// Steps, ascending.
    pub stairs: Vec<Stair>,
    /// Most common distance between steps, in the stepped size; `None` when fewer than two were found or when no
    /// distance repeats.
    pub tile: Option<u32>,
    /// Spread of the time around its line between two steps, relative to it; `None` without points enough.
    pub ripple: Option<f64>,
}
