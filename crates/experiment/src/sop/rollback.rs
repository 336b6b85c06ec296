//! What becomes of a change: accepted, measured once more, or rolled back.
//!
//! ```text
//!                        ┌─ every gate passed ──────────────────────► accepted: its configuration goes into use
//! attempt ─► comparison ─┼─ two of latency, L2, energy are worse ───► rolled back at once
//!                        ├─ missed, tries left ─► causes ─► attempt
//!                        └─ missed again ───────────────────────────► rolled back, or kept: not shown to be better
//! ```
//!
//! A gate that nobody measured is missed, and measuring again would not help: then there is no second attempt.

use std::path::Path;

use serde::{Deserialize, Serialize};
use stopwatt_core::comparison::{ComparisonDoc, GateState, MetricComparison};
use stopwatt_core::metric::Direction;
use stopwatt_record::run_dir::{RunError, write_atomically};

/// The metrics of which two that are worse end a change at once.
const WATCHED: [(&str, &str); 3] = [("e2e", "mean"), ("l2_hit_rate", "mean"), ("energy_per_token", "mean")];

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Every gate was cleared: the candidate goes into use.
    Accepted,
    /// A gate was missed, or several metrics are worse: the baseline is put back.
    RolledBack,
    /// The measurement does not tell: the baseline stays.
    Kept,
}

impl Decision {
    /// Name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::RolledBack => "rolled_back",
            Self::Kept => "kept",
        }
    }

    /// Whose configuration is in use from now on.
    pub const fn in_use(self) -> &'static str {
        match self {
            Self::Accepted => "candidate",
            Self::RolledBack | Self::Kept => "baseline",
        }
    }
}

/// What follows from an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// It is decided, and why.
    Decided(Decision, String),
    /// Measure again, and why.
    Again(String),
}

/// Judges an attempt with `left` further ones in the budget.
pub fn judge(doc: &ComparisonDoc, left: u32) -> Next {
    if doc.gate == Some(GateState::Passed) {
        return Next::Decided(Decision::Accepted, "every gate is cleared".to_owned());
    }
    let worse: Vec<&str> = worse(doc).iter().map(|row| row.metric.as_str()).collect();
    if worse.len() >= 2 {
        return Next::Decided(Decision::RolledBack, format!("{} are worse", worse.join(" and ")));
    }
    let (state, missed) = match doc.gate {
        Some(GateState::Failed) => (GateState::Failed, "a gate is missed"),
        _ => (GateState::Inconclusive, "the measurement does not tell whether every gate is cleared"),
    };
    let missing: Vec<&str> = doc.gates.iter().filter(|g| is_unmeasured(g)).map(|g| g.gate.as_str()).collect();
    let decision = if state == GateState::Failed { Decision::RolledBack } else { Decision::Kept };
    if !missing.is_empty() && state == GateState::Inconclusive {
        let why = format!("{missed}; not measured: {}", missing.join(", "));
        return Next::Decided(decision, why);
    }
    match left {
        0 => Next::Decided(decision, missed.to_owned()),
        _ => Next::Again(missed.to_owned()),
    }
}

/// Whether a gate has no number that measuring again could sharpen.
fn is_unmeasured(gate: &stopwatt_core::comparison::GateResult) -> bool {
    gate.state == GateState::Inconclusive && gate.p_holm.is_none()
}

/// Watched metrics whose whole interval lies on the worse side.
fn worse(doc: &ComparisonDoc) -> Vec<&MetricComparison> {
    let watched = |row: &&MetricComparison| WATCHED.contains(&(row.metric.as_str(), row.statistic.as_str()));
    let is_worse = |row: &&MetricComparison| match (row.better, row.ci95) {
        (Direction::Lower, Some([lo, _])) => lo > 0.0,
        (Direction::Higher, Some([_, hi])) => hi < 0.0,
        _ => false,
    };
    doc.comparisons.iter().filter(watched).filter(is_worse).collect()
}

/// Puts a configuration into use: writes the file that Stopwatt owns, whole or not at all.
///
/// # Errors
/// The file cannot be written; the old one is then still there.
pub fn put_in_use(active: &Path, configuration: &[u8]) -> Result<(), RunError> {
    write_atomically(active, configuration)
}

#[cfg(test)]
mod tests {
    use stopwatt_core::comparison::GateResult;

    use super::*;

    fn row(metric: &str, better: Direction, ci95: Option<[f64; 2]>) -> MetricComparison {
        serde_json::from_value(serde_json::json!({
            "run": "candidate", "point": null, "metric": metric, "statistic": "mean", "unit": "s",
            "better": better, "baseline": 1.0, "candidate": 1.0, "absolute": false, "delta": 0.0,
            "ci95": ci95, "hedges_g": null, "hedges_g_ci95": null, "p": null, "p_holm": null,
            "trials": [5, 5], "cv": [null, null], "primary": true, "verdict": null, "reason": null
        }))
        .unwrap()
    }

    fn gate(state: GateState, p_holm: Option<f64>) -> GateResult {
        let (run, gate, detail) = ("candidate".to_owned(), "e2e mean <= -20%".to_owned(), String::new());
        GateResult { run, point: None, gate, state, p_holm, detail }
    }

    fn doc(state: GateState, gates: Vec<GateResult>, comparisons: Vec<MetricComparison>) -> ComparisonDoc {
        let side = serde_json::json!({"name": "x", "run_id": null, "valid": true, "fixed_clock": null});
        let mut doc: ComparisonDoc = serde_json::from_value(serde_json::json!({
            "format": "1.0", "baseline": side, "candidates": [side], "design": "paired", "level": 0.95,
            "margin": 0.01, "comparisons": [], "unmatched": [], "differences": [], "gates": [],
            "gate": null, "warnings": []
        }))
        .unwrap();
        (doc.gate, doc.gates, doc.comparisons) = (Some(state), gates, comparisons);
        doc
    }

    fn decided(next: Next) -> Option<Decision> {
        match next {
            Next::Decided(decision, _) => Some(decision),
            Next::Again(_) => None,
        }
    }

    #[test]
    fn a_change_that_clears_its_gates_is_accepted() {
        let doc = doc(GateState::Passed, vec![gate(GateState::Passed, Some(0.001))], vec![]);
        assert_eq!(decided(judge(&doc, 1)), Some(Decision::Accepted));
    }

    #[test]
    fn a_miss_is_measured_once_more_and_the_second_one_rolls_back() {
        let doc = doc(GateState::Failed, vec![gate(GateState::Failed, None)], vec![]);
        assert_eq!(decided(judge(&doc, 1)), None);
        assert_eq!(decided(judge(&doc, 0)), Some(Decision::RolledBack));
    }

    #[test]
    fn two_of_three_that_are_worse_end_it_at_once() {
        let latency = || row("e2e", Direction::Lower, Some([0.02, 0.05]));
        let energy = row("energy_per_token", Direction::Lower, Some([0.01, 0.2]));
        let l2 = row("l2_hit_rate", Direction::Higher, Some([-0.2, -0.1]));
        let failed = |rows| doc(GateState::Failed, vec![gate(GateState::Failed, None)], rows);
        assert_eq!(decided(judge(&failed(vec![latency(), energy]), 1)), Some(Decision::RolledBack));
        assert_eq!(decided(judge(&failed(vec![latency(), l2]), 1)), Some(Decision::RolledBack));
        let straddles = row("l2_hit_rate", Direction::Higher, Some([-0.2, 0.1]));
        assert_eq!(decided(judge(&failed(vec![latency(), straddles]), 1)), None);
    }

    #[test]
    fn what_was_not_measured_is_not_tried_again_and_never_accepted() {
        let doc = doc(GateState::Inconclusive, vec![gate(GateState::Inconclusive, None)], vec![]);
        assert_eq!(decided(judge(&doc, 1)), Some(Decision::Kept));
        assert_eq!(Decision::Kept.in_use(), "baseline");
    }

    #[test]
    fn a_straddling_gate_is_measured_again() {
        let doc = doc(GateState::Inconclusive, vec![gate(GateState::Inconclusive, Some(0.3))], vec![]);
        assert_eq!(decided(judge(&doc, 1)), None);
        assert_eq!(decided(judge(&doc, 0)), Some(Decision::Kept));
    }
}
