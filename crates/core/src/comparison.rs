//! The shape of what `compare` says: a baseline against one or more candidates, metric by metric.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cause::{Cause, Unchecked};
use crate::metric::Direction;

/// What a comparison says of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better than the baseline, beyond noise and beyond the margin.
    Improved,
    /// Worse than the baseline, beyond noise and beyond the margin.
    Regressed,
    /// Different by less than the margin, with confidence.
    Equivalent,
    /// The trials support none of these; `reason` says why.
    Inconclusive,
}

/// How a gate or all gates together ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// The interval's bound clears the limit.
    Passed,
    /// The whole interval misses the limit.
    Failed,
    /// The interval straddles the limit, the metric is missing, or the runs may not be compared.
    Inconclusive,
}

/// A run, an imported file or a table of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparedRun {
    /// The name it was given on the command line.
    pub name: String,
    /// Identifier of the run; `None` for samples.
    pub run_id: Option<String>,
    /// Whether its own validity verdict is good; `None` for samples.
    pub valid: Option<bool>,
    /// Whether clocks were fixed; `None` when nothing could tell.
    pub fixed_clock: Option<bool>,
}

/// One metric of one candidate at one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricComparison {
    /// Name of the candidate.
    pub run: String,
    /// Label of the point in the baseline; `None` for samples.
    pub point: Option<String>,
    /// Name of the metric.
    pub metric: String,
    /// Which statistic of each trial is compared: `mean`, `p50`, `p95` or `p99`.
    pub statistic: String,
    /// Unit of `baseline` and `candidate`.
    pub unit: String,
    /// Which direction is an improvement.
    pub better: Direction,
    /// Mean over the baseline's trials.
    pub baseline: Option<f64>,
    /// Mean over the candidate's trials.
    pub candidate: Option<f64>,
    /// Whether `delta` and `ci95` are a difference in the unit (shares) instead of relative to the baseline.
    pub absolute: bool,
    /// Candidate against baseline: −0.2 is 20 % less.
    pub delta: Option<f64>,
    /// Interval of `delta` at the level of the comparison (95 % unless set otherwise).
    pub ci95: Option<[f64; 2]>,
    /// Hedges g on trial values; positive when the candidate's mean is larger.
    pub hedges_g: Option<f64>,
    /// Its interval.
    pub hedges_g_ci95: Option<[f64; 2]>,
    /// Two-sided p of no difference.
    pub p: Option<f64>,
    /// The same, corrected for all primary metrics together (Holm); `None` for the others.
    pub p_holm: Option<f64>,
    /// Trials of baseline and candidate that have a value.
    pub trials: [u64; 2],
    /// Coefficient of variation between trials of baseline and candidate.
    pub cv: [Option<f64>; 2],
    /// What is compared: the value of each trial of baseline and candidate, in their order.
    #[serde(default)]
    pub values: [Vec<Option<f64>>; 2],
    /// Whether it belongs to the metrics that are judged.
    pub primary: bool,
    /// The judgement; `None` for metrics that are shown without one.
    pub verdict: Option<Verdict>,
    /// Why there is no number or no clear verdict.
    pub reason: Option<String>,
}

/// Something in which two runs differ besides their results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Name of the candidate.
    pub run: String,
    /// What differs, for instance `workload.input` or `machine.cpu`.
    pub what: String,
    /// In the baseline; `None` when absent.
    pub baseline: Option<String>,
    /// In the candidate; `None` when absent.
    pub candidate: Option<String>,
    /// Whether it makes the comparison unfair, so that no gate can pass.
    pub forbids: bool,
}

/// One gate and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateResult {
    /// Name of the candidate.
    pub run: String,
    /// Label of the point; `None` for samples.
    pub point: Option<String>,
    /// The gate as it was written.
    pub gate: String,
    /// How it ended.
    pub state: GateState,
    /// One-sided p against the limit, corrected for all gates together (Holm).
    pub p_holm: Option<f64>,
    /// The evidence, for people.
    pub detail: String,
}

/// Everything that a comparison says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparisonDoc {
    /// `MAJOR.MINOR` of the run format.
    pub format: String,
    /// What the others are judged against.
    pub baseline: ComparedRun,
    /// What is judged.
    pub candidates: Vec<ComparedRun>,
    /// `independent`, or `paired` by position.
    pub design: String,
    /// Level of every interval.
    pub level: f64,
    /// Relative difference below which a change does not matter; for shares the same number of percentage points.
    pub margin: f64,
    /// Every metric of every candidate at every point that both have.
    pub comparisons: Vec<MetricComparison>,
    /// Points that only one side has.
    pub unmatched: Vec<String>,
    /// In what the runs differ besides their results.
    pub differences: Vec<Difference>,
    /// Gates that were asked for.
    pub gates: Vec<GateResult>,
    /// All gates together; `None` when none was asked for.
    pub gate: Option<GateState>,
    /// Why the runs differ, or why there is no verdict; what explains most comes first. Empty when no cause was found.
    #[serde(default)]
    pub causes: Vec<Cause>,
    /// Causes that could not be looked for.
    #[serde(default)]
    pub unchecked: Vec<Unchecked>,
    /// What a reader must know before believing it.
    pub warnings: Vec<String>,
}

impl ComparisonDoc {
    /// Whether anything asks for a cause: a judged metric that is not equivalent, or a gate that was not cleared.
    pub fn asks_for_a_cause(&self) -> bool {
        self.comparisons.iter().any(|c| c.verdict.is_some_and(|v| v != Verdict::Equivalent))
            || self.gates.iter().any(|g| g.state != GateState::Passed)
    }
}

/// Whether a candidate may replace its baseline, judged over several workloads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptanceDoc {
    /// `MAJOR.MINOR` of the run format.
    pub format: String,
    /// `passed`: accepted.
    pub acceptance: GateState,
    /// Why it is not accepted; empty when it is.
    pub reasons: Vec<String>,
    /// Each workload with what was found of it.
    pub pairs: Vec<AcceptedPair>,
}

/// One workload, before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedPair {
    /// The comparison with its gates.
    pub comparison: ComparisonDoc,
    /// What each of the two runs must hold, and whether it does.
    pub artefacts: Vec<Artefact>,
}

/// A file that a run must hold to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artefact {
    /// Name of the run.
    pub run: String,
    /// Name of the file.
    pub file: String,
    /// Whether it is there.
    pub present: bool,
    /// Why it is not there, where the run says so: that is as good as the file.
    pub unavailable: Option<String>,
}

impl Artefact {
    /// Whether the file is there or the run says why it is not.
    pub fn accounted_for(&self) -> bool {
        self.present || self.unavailable.is_some()
    }
}
