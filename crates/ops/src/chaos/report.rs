//! What a fault did, over its repeats.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::metrics_doc::{Estimate, Interval, IntervalKind};
use stopwatt_stats::interval::t_mean;

use super::fault::Fault;

/// What `stopwatt chaos` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ChaosReport {
    /// Version of this shape.
    pub format: u32,
    /// What was tested: `stopwatt`, or the program of `--router-cmd`.
    pub proxy: String,
    /// Backends behind it.
    pub backends: u32,
    /// Requests a second.
    pub rate: f64,
    /// Tokens of each stream.
    pub tokens: u32,
    /// How long a fault lasts, in seconds.
    pub fault_s: f64,
    /// After this time a client gives up, in seconds.
    pub deadline_s: f64,
    /// Seed of delays and of the order of arrivals.
    pub seed: u64,
    /// One for each fault.
    pub faults: Vec<FaultReport>,
}

/// What a fault did. Times are means over repeats, counts are means a repeat; each with its 95 % interval by Student's
/// t.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FaultReport {
    /// Which.
    pub fault: Fault,
    /// How often it was repeated.
    pub repeats: u32,
    /// From its beginning until the proxy knew, in seconds.
    pub detect_s: Estimate,
    /// From its beginning until the backend was given no more requests, in seconds.
    pub eject_s: Estimate,
    /// From its end until the backend was given requests again, in seconds.
    pub recover_s: Estimate,
    /// Requests sent.
    pub sent: Estimate,
    /// Those of them that got a complete answer.
    pub answered: Estimate,
    /// Those that failed without a single token.
    pub lost: Estimate,
    /// Streams that broke after their first token and were ended with an error event.
    pub marked: Estimate,
    /// Streams that broke after their first token without a word.
    pub cut: Estimate,
    /// Requests that reached the client's own deadline.
    pub late: Estimate,
    /// Second attempts of the proxy.
    pub retried: Estimate,
    /// Complete answers among the requests that were sent while the fault lasted, 0 to 1.
    pub goodput: Estimate,
    /// Backends that were ejected although nothing was wrong with them.
    pub false_ejections: Estimate,
}

/// What one repeat showed. `None` is what did not happen or cannot be seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Repeat {
    pub(super) detect_s: Option<f64>,
    pub(super) eject_s: Option<f64>,
    pub(super) recover_s: Option<f64>,
    pub(super) sent: u32,
    pub(super) answered: u32,
    pub(super) lost: u32,
    pub(super) marked: u32,
    pub(super) cut: u32,
    pub(super) late: u32,
    pub(super) retried: Option<u64>,
    pub(super) goodput: Option<f64>,
    pub(super) false_ejections: Option<u32>,
}

impl FaultReport {
    pub(super) fn of(fault: Fault, repeats: &[Repeat]) -> Self {
        let of = |value: &dyn Fn(&Repeat) -> Option<f64>, absent: &str| {
            let values: Vec<f64> = repeats.iter().filter_map(value).collect();
            estimate(&values, repeats.len(), absent)
        };
        let count = |value: fn(&Repeat) -> u32| of(&|r| Some(f64::from(value(r))), "");
        let unseen = "it did not happen, or cannot be seen from outside";
        Self {
            fault,
            repeats: u32::try_from(repeats.len()).unwrap_or(u32::MAX),
            detect_s: of(&|r| r.detect_s, unseen),
            eject_s: of(&|r| r.eject_s, unseen),
            recover_s: of(&|r| r.recover_s, unseen),
            sent: count(|r| r.sent),
            answered: count(|r| r.answered),
            lost: count(|r| r.lost),
            marked: count(|r| r.marked),
            cut: count(|r| r.cut),
            late: count(|r| r.late),
            retried: of(&|r| r.retried.map(|n| n as f64), "another program does not say"),
            goodput: of(&|r| r.goodput, "no request was sent while the fault lasted"),
            false_ejections: of(&|r| r.false_ejections.map(f64::from), "cannot be seen from outside"),
        }
    }
}

/// The mean of what was seen in `values`, out of so many repeats.
fn estimate(values: &[f64], repeats: usize, absent: &str) -> Estimate {
    if values.is_empty() {
        return Estimate::unavailable(absent);
    }
    let interval = t_mean(values, 0.95);
    let missing = repeats - values.len();
    let reason = match (&interval, missing) {
        (Err(e), _) => Some(e.to_string()),
        (Ok(_), 0) => None,
        (Ok(_), n) => Some(format!("did not happen in {n} of {repeats} repeats")),
    };
    Estimate {
        value: Some(values.iter().sum::<f64>() / values.len() as f64),
        n: values.len() as u64,
        trials: values.len() as u64,
        interval: interval.ok().map(|ci| Interval {
            kind: IntervalKind::Confidence,
            level: ci.level,
            lo: ci.lo,
            hi: ci.hi,
        }),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_have_intervals_and_what_was_not_seen_has_a_reason() {
        let repeat =
            |eject: Option<f64>, lost| Repeat { eject_s: eject, lost, sent: 10, ..Repeat::default() };
        let report =
            FaultReport::of(Fault::Stall, &[repeat(Some(2.0), 0), repeat(Some(2.4), 1), repeat(None, 2)]);
        assert!((report.eject_s.value.unwrap() - 2.2).abs() < 1e-12);
        assert_eq!(report.eject_s.reason.as_deref(), Some("did not happen in 1 of 3 repeats"));
        let ci = report.lost.interval.unwrap();
        // Mean 1, standard error 1/√3, t(0.975, 2) = 4.302 65.
        assert!((ci.hi - (1.0 + 4.302_652_73 / 3.0_f64.sqrt())).abs() < 1e-6, "{ci:?}");
        assert_eq!(report.recover_s.value, None);
        assert!(report.retried.reason.is_some());
    }
}
