//! May a change replace what it changed? Over at least two workloads, with every gate passed and every file there.

use std::collections::BTreeMap;

use stopwatt_core::comparison::{AcceptanceDoc, AcceptedPair, GateState};
use stopwatt_core::{FORMAT_MAJOR, FORMAT_MINOR};

/// Workloads that a change must be shown on.
pub const WORKLOADS: usize = 2;

/// One workload, before and after, with what the work was: names to values, equal for equal work.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The comparison, with its gates, and the files of both runs.
    pub pair: AcceptedPair,
    /// What was asked of the baseline.
    pub work: BTreeMap<String, String>,
}

/// Judges all workloads together: every one must pass alone, so nothing needs a correction for their number.
pub fn accept(workloads: Vec<Workload>) -> AcceptanceDoc {
    let mut failed = false;
    let mut reasons = Vec::new();
    for (i, Workload { pair, .. }) in (1..).zip(&workloads) {
        match pair.comparison.gate {
            Some(GateState::Passed) => {}
            Some(GateState::Failed) => {
                failed = true;
                reasons.push(format!("workload {i}: a gate failed"));
            }
            Some(GateState::Inconclusive) => reasons.push(format!("workload {i}: a gate is inconclusive")),
            None => reasons.push(format!("workload {i}: no gate was judged")),
        }
        let missing: Vec<String> = pair
            .artefacts
            .iter()
            .filter(|a| !a.accounted_for())
            .map(|a| format!("{}/{}", a.run, a.file))
            .collect();
        if !missing.is_empty() {
            reasons.push(format!("workload {i}: missing {}", missing.join(", ")));
        }
    }
    let mut kinds: Vec<&BTreeMap<String, String>> = workloads.iter().map(|w| &w.work).collect();
    kinds.sort();
    kinds.dedup();
    if kinds.len() < WORKLOADS {
        reasons.push(format!(
            "{} different workload{} instead of at least {WORKLOADS}",
            kinds.len(),
            if kinds.len() == 1 { "" } else { "s" }
        ));
    }
    AcceptanceDoc {
        format: format!("{FORMAT_MAJOR}.{FORMAT_MINOR}"),
        acceptance: match (failed, reasons.is_empty()) {
            (true, _) => GateState::Failed,
            (false, true) => GateState::Passed,
            (false, false) => GateState::Inconclusive,
        },
        reasons,
        pairs: workloads.into_iter().map(|w| w.pair).collect(),
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::comparison::Artefact;
    use stopwatt_core::metric::Direction;

    use super::*;
    use crate::compare::{Options, Side, compare};

    fn workload(name: &str, gate: Option<GateState>, present: bool) -> Workload {
        let side = |n: &str| Side::of_csv(n, "a,1\nb,2\n", "t", Direction::Lower).unwrap();
        let mut comparison = compare(&side("before"), &[side("after")], &Options::default());
        comparison.gate = gate;
        let ncu = |unavailable: Option<&str>| Artefact {
            run: "after".to_owned(),
            file: "ncu.json".to_owned(),
            present,
            unavailable: unavailable.map(str::to_owned),
        };
        Workload {
            pair: AcceptedPair { comparison, artefacts: vec![ncu(None)] },
            work: [("workload.profile".to_owned(), name.to_owned())].into(),
        }
    }

    #[track_caller]
    fn check(workloads: Vec<Workload>, expected: GateState, reason: &str) {
        let doc = accept(workloads);
        assert_eq!(doc.acceptance, expected, "{:?}", doc.reasons);
        assert!(
            doc.reasons.iter().any(|r| r.contains(reason)) || reason.is_empty() && doc.reasons.is_empty()
        );
    }

    #[test]
    fn every_workload_must_pass_with_its_files() {
        let passed = |name: &str| workload(name, Some(GateState::Passed), true);
        check(vec![passed("chat"), passed("document")], GateState::Passed, "");
        check(vec![passed("chat"), passed("chat")], GateState::Inconclusive, "1 different workload instead");
        check(vec![passed("chat")], GateState::Inconclusive, "at least 2");
        let failed = workload("document", Some(GateState::Failed), true);
        check(vec![passed("chat"), failed], GateState::Failed, "workload 2: a gate failed");
        let open = workload("document", Some(GateState::Inconclusive), true);
        check(vec![passed("chat"), open], GateState::Inconclusive, "inconclusive");
        let bare = workload("document", Some(GateState::Passed), false);
        check(vec![passed("chat"), bare.clone()], GateState::Inconclusive, "missing after/ncu.json");
        let mut stated = bare;
        stated.pair.artefacts[0].unavailable = Some("no profiler".to_owned());
        check(vec![passed("chat"), stated], GateState::Passed, "");
    }
}
