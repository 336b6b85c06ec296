//! The settings of `stopwatt profile` and of the measured part of `stopwatt roofline`, as they are locked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_kernel::timing::{Fixed, Method};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileConfig {
    /// Seed of the operands that results are checked on.
    pub seed: u64,
    /// `cpu`, `cuda`, `cuda:N`, `torch` or `torch:N`.
    pub device: String,
    /// Families of operators; empty means all.
    pub family: Vec<String>,
    /// Operators; empty means all of the families.
    pub op: Vec<String>,
    /// Shapes as `m=16,n=4096,k=4096`; empty takes the grid.
    pub shape: Vec<String>,
    /// Number formats of the weights.
    pub dtype: Vec<String>,
    /// The fine grid.
    pub full: bool,
    /// The operators of this model in place of a grid: a name, or a file.
    pub model: Option<String>,
    /// Devices that share each layer of the model.
    pub tp: u32,
    /// `cold`, `warm` or both.
    pub cache: Vec<String>,
    /// Threads on a CPU; empty means one and all.
    pub threads: Vec<u32>,
    /// How kernels are sampled.
    pub method: MethodConfig,
    /// Longest time of the whole, in minutes; `null` for as long as it takes.
    pub max_minutes: Option<f64>,
}

impl Default for ProfileConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            device: "cpu".to_owned(),
            family: Vec::new(),
            op: Vec::new(),
            shape: Vec::new(),
            dtype: vec!["bf16".to_owned()],
            full: false,
            model: None,
            tp: 1,
            cache: vec!["cold".to_owned(), "warm".to_owned()],
            threads: Vec::new(),
            method: MethodConfig::default(),
            max_minutes: None,
        }
    }
}

/// How kernels are sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MethodConfig {
    /// With `iterations`: exactly so many calls before anything counts.
    pub warmup: Option<u32>,
    /// Exactly so many samples of one call each, whatever they say.
    pub iterations: Option<u32>,
    /// Rounds of each kernel, with others in between; more where they disagree. `null`: 3, or 1 with counts.
    #[schemars(range(min = 1))]
    pub rounds: Option<u32>,
    /// Half the width of the 95 % interval of a round's median, relative to it, at which sampling ends.
    #[schemars(range(min = 0.0))]
    pub precision: f64,
    /// Longest time of one kernel, in seconds, shared among its rounds.
    #[schemars(range(min = 0.001))]
    pub kernel_s: f64,
}

impl Default for MethodConfig {
    fn default() -> Self {
        let Method { precision, .. } = Method::default();
        Self { warmup: None, iterations: None, rounds: None, precision, kernel_s: 1.5 }
    }
}

impl MethodConfig {
    /// The method in force. Either count alone fixes both; the other keeps its usual value: 10 and 100 calls.
    #[must_use]
    pub fn method(&self) -> Method {
        let fixed = (self.warmup.is_some() || self.iterations.is_some())
            .then(|| Fixed { warmup: self.warmup.unwrap_or(10), iterations: self.iterations.unwrap_or(100) });
        let usual = Method { precision: self.precision, limit_s: self.kernel_s, fixed, ..Method::default() };
        if self.rounds() == 1 {
            return usual;
        }
        // A GPU that reaches its power limit needs a few tenths of a second until its clock stays about the same.
        Method { warmup_s: 0.03, least_samples: 12, sustain_s: 0.2, ..usual }
    }

    /// Rounds of each kernel.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        let counts = self.warmup.is_some() || self.iterations.is_some();
        self.rounds.unwrap_or(if counts { 1 } else { 3 }).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_count_fixes_both() {
        let with = |warmup, iterations| {
            MethodConfig { warmup, iterations, ..MethodConfig::default() }.method().fixed
        };
        assert_eq!(with(None, None), None);
        assert_eq!(with(Some(3), None), Some(Fixed { warmup: 3, iterations: 100 }));
        assert_eq!(with(None, Some(7)), Some(Fixed { warmup: 10, iterations: 7 }));
    }

    #[test]
    fn counts_are_taken_once_unless_rounds_are_asked_for() {
        let with =
            |iterations, rounds| MethodConfig { iterations, rounds, ..MethodConfig::default() }.rounds();
        assert_eq!((with(None, None), with(Some(5), None), with(Some(5), Some(4))), (3, 1, 4));
    }
}
