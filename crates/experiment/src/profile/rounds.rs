//! One operator measured in several rounds, and the row that comes of it.
//!
//! ```text
//! round 1: other operators … this one … others │ round 2: … │ round 3: … │ they disagree: up to as many again ─► row
//! ```
//!
//! Each round sets the operator up anew, on other operands at another place, and samples it among others in another
//! order. What a moment decides (the clock near the power limit, the temperature, where buffers lie) so differs between
//! rounds, and their spread is what another run may find.

use stopwatt_core::kernel_table::{Clocks, KernelRow, Outcome, Sampled};
use stopwatt_stats::rounds::{Round, Together, together};

/// Half the width of the interval, relative to the median, beyond which rounds that disagree are followed by further
/// ones, and in the end make a row unsteady.
pub(super) const NARROW: f64 = 0.01;
/// Rounds disagree when their own noise alone would make them differ so much with less than this probability.
const DISAGREE: f64 = 0.01;
/// What a device's clock and the cutting of calls into samples cannot tell, relative to a median.
const RESOLUTION: f64 = 0.0005;

/// One visit to an operator.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Visit {
    pub(super) time: Sampled,
    pub(super) clocks: Clocks,
    pub(super) kernel: Option<String>,
}

/// The rounds of one operator so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rounds {
    pub(super) visits: Vec<Visit>,
    /// Largest deviation of the result, from the visit that checked it.
    pub(super) deviation: f64,
}

impl Rounds {
    fn together(&self) -> Option<Together> {
        let round = |visit: &Visit| {
            let Sampled { median_s: median, lo_s, hi_s, .. } = visit.time;
            // Half the width of a 95 % interval is 1.96 standard errors.
            let error = lo_s.zip(hi_s).map_or(0.0, |(lo, hi)| (hi - lo) / 2.0 / 1.96);
            Round { median, error }
        };
        together(&self.visits.iter().map(round).collect::<Vec<_>>(), 0.95, RESOLUTION).ok()
    }

    /// The rounds differ by more than their noise, and the interval is wide because of it.
    pub(super) fn disagree(&self) -> bool {
        self.together().is_some_and(|all| {
            let half = all.ci.map_or(0.0, |ci| (ci.hi - ci.lo) / 2.0);
            all.p.is_some_and(|p| p < DISAGREE) && half > NARROW * all.median
        })
    }

    /// Completes `row`, which is left as it is when there was no round.
    pub(super) fn fill(&self, row: &mut KernelRow) {
        let (Some(first), Some(all)) = (self.visits.first(), self.together()) else { return };
        let times = || self.visits.iter().map(|v| v.time);
        let n: u32 = times().map(|t| t.n).sum();
        let middle = |of: &dyn Fn(&Visit) -> Option<f64>| {
            let mut values: Vec<f64> = self.visits.iter().filter_map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let limited: Vec<bool> = self.visits.iter().filter_map(|v| v.clocks.power_limited).collect();
        let time = Sampled {
            n,
            calls: first.time.calls,
            discarded: times().map(|t| t.discarded).sum(),
            median_s: all.median,
            mad_s: middle(&|v| Some(v.time.mad_s)).unwrap_or(first.time.mad_s),
            mean_s: times().map(|t| t.mean_s * f64::from(t.n)).sum::<f64>() / f64::from(n.max(1)),
            lo_s: all.ci.map(|ci| ci.lo.max(0.0)).or(first.time.lo_s),
            hi_s: all.ci.map(|ci| ci.hi).or(first.time.hi_s),
            settled: times().all(|t| t.settled),
            rounds: self.visits.len() as u32,
            between: all.between,
        };
        row.clocks = Clocks {
            sm_mhz: middle(&|v| v.clocks.sm_mhz),
            mem_mhz: middle(&|v| v.clocks.mem_mhz),
            power_w: middle(&|v| v.clocks.power_w),
            power_limited: (!limited.is_empty()).then(|| limited.contains(&true)),
        };
        row.outcome = Outcome::Measured { time, deviation: self.deviation };
        row.unsteady = self.disagree().then(|| self.reason(all));
    }

    /// What is known about rounds that disagree.
    fn reason(&self, all: Together) -> String {
        let medians: Vec<f64> = self.visits.iter().map(|v| v.time.median_s).collect();
        let span = |values: &[f64]| {
            let (lo, hi) = values
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
            (hi > lo).then_some((lo, hi))
        };
        let mut words = match span(&medians) {
            Some((lo, hi)) => {
                format!(
                    "medians of {} rounds lie {:.1} % apart",
                    medians.len(),
                    100.0 * (hi - lo) / all.median
                )
            }
            None => format!("{} rounds", medians.len()),
        };
        let clocks: Vec<f64> = self.visits.iter().filter_map(|v| v.clocks.sm_mhz).collect();
        if let Some((lo, hi)) = span(&clocks) {
            words += &format!(", clock {lo:.0} to {hi:.0} MHz");
        }
        let limited = self.visits.iter().filter(|v| v.clocks.power_limited == Some(true)).count();
        if limited > 0 {
            words += &format!(", held by the power limit in {limited}");
        }
        let mut kernels: Vec<&str> = self.visits.iter().filter_map(|v| v.kernel.as_deref()).collect();
        kernels.sort_unstable();
        kernels.dedup();
        if kernels.len() > 1 {
            words += &format!(", {} different kernels", kernels.len());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes, Launch, Op, OpKind, Provider, Shape};

    use super::*;

    fn rounds(medians: &[f64]) -> Rounds {
        let visit = |&m: &f64| Visit {
            time: Sampled {
                n: 12,
                calls: 2,
                discarded: 1,
                median_s: m,
                mad_s: 0.001 * m,
                mean_s: m,
                lo_s: Some(0.999 * m),
                hi_s: Some(1.001 * m),
                settled: true,
                rounds: 1,
                between: None,
            },
            clocks: Clocks { sm_mhz: Some(1980.0 / m), power_limited: Some(m > 1.03), ..Clocks::default() },
            kernel: Some("k".to_owned()),
        };
        Rounds { visits: medians.iter().map(visit).collect(), deviation: 0.5 }
    }

    fn row() -> KernelRow {
        KernelRow {
            op: Op {
                kind: OpKind::Linear,
                shape: Shape::Matrix { m: 1, n: 1, k: 1 },
                dtypes: Dtypes::all(Dtype::Bf16),
            },
            provider: Provider::Native,
            kernel: None,
            grid: None,
            block: None,
            launch: Launch::Graph,
            cache: CacheState::Cold,
            clocks: Clocks::default(),
            outcome: Outcome::Skipped { reason: String::new() },
            unsteady: None,
        }
    }

    fn filled(medians: &[f64]) -> (Sampled, Option<String>) {
        let mut row = row();
        rounds(medians).fill(&mut row);
        let Outcome::Measured { time, .. } = row.outcome else { panic!("it was measured") };
        (time, row.unsteady)
    }

    #[test]
    fn rounds_that_agree_make_a_narrow_row() {
        let (time, unsteady) = filled(&[1.0, 1.001, 0.999]);
        assert_eq!((time.n, time.rounds, time.discarded, unsteady), (36, 3, 3, None));
        assert!(time.hi_s.unwrap() - time.lo_s.unwrap() < 0.01);
    }

    #[test]
    fn rounds_in_different_states_widen_the_interval_and_say_why() {
        // Each round is tight around its own place.
        let (time, unsteady) = filled(&[1.0, 1.05, 1.01, 1.06, 1.0, 1.02]);
        let half = (time.hi_s.unwrap() - time.lo_s.unwrap()) / 2.0 / time.median_s;
        assert!(half > NARROW && time.between.unwrap() > 0.02, "{half}");
        assert_eq!(
            unsteady.as_deref(),
            Some("medians of 6 rounds lie 5.9 % apart, clock 1868 to 1980 MHz, held by the power limit in 2")
        );
    }

    #[test]
    fn a_wild_round_is_never_hidden() {
        let (time, unsteady) = filled(&[1.0, 1.0, 5.0]);
        assert_eq!(time.median_s, 1.0);
        assert!(time.hi_s.unwrap() > 5.0 && unsteady.is_some());
    }

    #[test]
    fn one_round_keeps_its_own_interval() {
        let (time, unsteady) = filled(&[1.0]);
        assert_eq!((time.rounds, time.lo_s, time.between, unsteady), (1, Some(0.999), None, None));
    }
}
