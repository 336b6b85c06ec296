//! The horizontal roofs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Extent, Measured};
use crate::kernel_table::Dtype;

/// Which part of the device multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComputeUnit {
    /// One number at a time.
    Scalar,
    /// Vector instructions; CUDA cores.
    Vector,
    /// Tiles: tensor cores, AMX.
    Matrix,
}

/// Most operations a second in a number format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Peak {
    /// Format of the factors.
    pub dtype: Dtype,
    /// What multiplies.
    pub unit: ComputeUnit,
    /// Instructions, for instance `avx512 fma` or `mma.sync m16n8k16`.
    pub instructions: String,
    /// One unit, or all.
    pub extent: Extent,
    /// Operations a second; a multiplication and an addition are two.
    pub flop_per_s: Measured,
}
