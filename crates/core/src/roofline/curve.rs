//! What a level's plateau hides: bandwidth and latency over size, mix and pattern.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Extent, Measured};

/// What a curve shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum CurveKind {
    /// Bytes a second over bytes of working set.
    WorkingSet {
        /// What was done.
        access: Access,
    },
    /// Seconds a dependent load over bytes of working set, in random order.
    Latency,
    /// Bytes a second over the share of the bytes that is read (0 to 1), in main memory.
    Mix {
        /// Stores go past the caches.
        streaming: bool,
    },
    /// Bytes of use a second over the bytes from one 4-byte load to the next, in main memory.
    Stride,
    /// Bytes of use a second over the bytes fetched at each random place, in main memory.
    Random,
}

/// One point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CurvePoint {
    /// Abscissa, as the kind says.
    pub x: f64,
    /// Ordinate, as the kind says.
    pub y: Measured,
}

/// A measured function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Curve {
    /// What it shows.
    #[serde(flatten)]
    pub kind: CurveKind,
    /// One unit, or all.
    pub extent: Extent,
    /// Points, by ascending abscissa.
    pub points: Vec<CurvePoint>,
}

/// What mixing reads and writes costs against doing one and then the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turnaround {
    /// Share of the bytes that is read where the loss is greatest.
    pub read_share: f64,
    /// Bandwidth there.
    pub bytes_per_s: f64,
    /// Bandwidth there if the bus turned at no cost.
    pub free_bytes_per_s: f64,
}

impl Turnaround {
    /// Share of the bandwidth that is lost.
    #[must_use]
    pub fn loss(&self) -> f64 {
        1.0 - self.bytes_per_s / self.free_bytes_per_s
    }
}

impl Curve {
    /// Where a mix of reads and writes loses most against its ends.
    ///
    /// Were turning free, `share` of the bytes would go at the speed of pure reading and the rest at that of pure
    /// writing: 1 / (share / read + (1 − share) / write). `None` unless this is a mix with both ends measured and
    /// something between.
    #[must_use]
    pub fn turnaround(&self) -> Option<Turnaround> {
        if !matches!(self.kind, CurveKind::Mix { .. }) {
            return None;
        }
        let end = |x: f64| self.points.iter().find(|p| p.x == x && p.y.value > 0.0).map(|p| p.y.value);
        let (write, read) = (end(0.0)?, end(1.0)?);
        self.points
            .iter()
            .filter(|p| p.x > 0.0 && p.x < 1.0)
            .map(|p| Turnaround {
                read_share: p.x,
                bytes_per_s: p.y.value,
                free_bytes_per_s: 1.0 / (p.x / read + (1.0 - p.x) / write),
            })
            .max_by(|a, b| a.loss().total_cmp(&b.loss()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(points: &[(f64, f64)]) -> Curve {
        let point = |&(x, value): &(f64, f64)| CurvePoint {
            x,
            y: Measured { value, n: 3, mad: 0.0, lo: None, hi: None },
        };
        Curve {
            kind: CurveKind::Mix { streaming: true },
            extent: Extent::Device,
            points: points.iter().map(point).collect(),
        }
    }

    #[test]
    fn a_free_turn_follows_the_harmonic_mean() {
        // Half at 30, half at 10: 1 / (0.5/30 + 0.5/10) = 15; measured 12 loses a fifth.
        let turn = mix(&[(0.0, 10.0), (0.5, 12.0), (1.0, 30.0)]).turnaround().expect("all three are there");
        assert!((turn.free_bytes_per_s - 15.0).abs() < 1e-12);
        assert!((turn.loss() - 0.2).abs() < 1e-12);
    }

    #[test]
    fn a_mix_without_its_ends_says_nothing() {
        assert_eq!(mix(&[(0.5, 12.0), (1.0, 30.0)]).turnaround(), None);
        assert_eq!(mix(&[(0.0, 12.0), (1.0, 30.0)]).turnaround(), None);
    }

    #[test]
    fn a_curve_reads_back_as_it_was_written() {
        let curve = mix(&[(0.0, 1.0)]);
        let text = serde_json::to_string(&curve).expect("numbers are finite");
        assert_eq!(serde_json::from_str::<Curve>(&text).expect("our own text"), curve);
    }
}
