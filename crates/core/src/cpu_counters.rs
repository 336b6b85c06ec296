//! What the CPU's hardware counters say of a trial. Only the type; `sensor` fills it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts over the target's processes in a measuring window. `None` where the CPU has no such event, or it never got its
/// turn.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CpuTrial {
    /// Clock cycles.
    pub cycles: Option<f64>,
    /// Instructions.
    pub instructions: Option<f64>,
    /// Reads of the first-level data cache.
    pub l1d_reads: Option<f64>,
    /// Those that it could not answer.
    pub l1d_read_misses: Option<f64>,
    /// Accesses to the last cache.
    pub llc_references: Option<f64>,
    /// Those that it could not answer.
    pub llc_misses: Option<f64>,
    /// Smallest share of the time in which an event was really counted, 0 to 1: the rest is scaled up.
    pub counted_share: Option<f64>,
}

impl CpuTrial {
    /// Share of the first-level data cache's reads that hit.
    pub fn l1d_hit(&self) -> Option<f64> {
        hit(self.l1d_reads?, self.l1d_read_misses?)
    }

    /// Share of the last cache's accesses that hit.
    pub fn llc_hit(&self) -> Option<f64> {
        hit(self.llc_references?, self.llc_misses?)
    }
}

/// Events that take turns are scaled apart, so that misses may exceed accesses by a little.
fn hit(accesses: f64, misses: f64) -> Option<f64> {
    (accesses > 0.0).then(|| (1.0 - misses / accesses).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_needs_both_counts_and_an_access() {
        let counted = CpuTrial {
            l1d_reads: Some(200.0),
            l1d_read_misses: Some(10.0),
            llc_references: Some(0.0),
            llc_misses: Some(0.0),
            ..CpuTrial::default()
        };
        assert_eq!((counted.l1d_hit(), counted.llc_hit()), (Some(0.95), None));
        assert_eq!(CpuTrial { l1d_read_misses: None, ..counted }.l1d_hit(), None);
        assert_eq!(CpuTrial { l1d_read_misses: Some(201.0), ..counted }.l1d_hit(), Some(0.0));
    }
}
