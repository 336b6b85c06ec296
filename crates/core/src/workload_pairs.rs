//! What `stopwatt targets` says: the same work done in two ways, how much faster the second is, and whether both gave the
//! same.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::comparison::{GateState, Verdict};
use crate::metrics_doc::{Estimate, Interval};

/// `targets.json`: every pair of one visit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PairsDoc {
    /// `MAJOR.MINOR` of the run format.
    pub format: String,
    /// Version of Stopwatt that measured.
    pub stopwatt: String,
    /// When it began, in UNIX nanoseconds.
    pub measured_unix_ns: Nanos,
    /// Which hardware, as in the names of expectation files.
    pub hardware_key: String,
    /// `none`, `minimal`, `deep-dive` or `roofline`. Times never come from a profiled pass.
    pub profile: String,
    /// Each pair, in the order asked for.
    pub pairs: Vec<PairResult>,
}

/// What became of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PairState {
    /// Measured, and every check was passed.
    Verified,
    /// A check failed: no speed-up is told.
    Failed,
    /// This machine lacks what the pair needs; `reason` says what.
    #[default]
    Skipped,
}

impl PairState {
    /// Name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One pair.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PairResult {
    /// Identifier, for instance `ch16:flash_sdp`.
    pub target: String,
    /// One line for people.
    pub title: String,
    /// What became of it.
    pub state: PairState,
    /// Why it was skipped or failed.
    pub reason: Option<String>,
    /// `cpu`, `cuda:0`, …
    pub device: String,
    /// `built-in`, `program`, or `own command`: a test of one side.
    pub form: String,
    /// Sizes of the work.
    pub shape: Option<String>,
    /// The one thing that differs between the sides.
    pub variable: String,
    /// Whether small sizes were run: for a look at whether it works, not for its worth.
    pub small: bool,
    /// Measured iterations of each trial.
    pub iterations: u64,
    /// Trials of each side: each is a process or set-up of its own, in turns.
    pub trials: u32,
    /// What was checked.
    pub checks: Vec<PairCheck>,
    /// Time of the baseline over time of the optimised side; `None` unless verified.
    pub speedup: Option<Speedup>,
    /// Iterations after which what the optimised side needs once (capture, compilation) is earned back; `None` where it
    /// needs nothing, tells nothing, or is not faster with confidence.
    pub break_even_iterations: Option<f64>,
    /// Its interval, that of the speed-up.
    #[serde(default)]
    pub break_even_interval: Option<Interval>,
    /// What became of the trace that a profile asked for; `None` when it asked for none.
    #[serde(default)]
    pub trace: Option<String>,
    /// The plain side.
    pub baseline: Option<PairSide>,
    /// The side whose worth is asked for.
    pub optimised: Option<PairSide>,
    /// Against what was stored for this hardware; `None` when that was not asked for.
    pub expected: Option<PairJudged>,
}

/// A check of validity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairCheck {
    /// What is checked.
    pub name: String,
    /// Whether it was passed.
    pub passed: bool,
    /// What was seen.
    pub detail: String,
}

/// How much faster the optimised side is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Speedup {
    /// Geometric mean over trials of the ratio of mean times.
    pub value: f64,
    /// Its interval; `None` where trials do not support one.
    pub interval: Option<Interval>,
    /// The ratio of each trial: what later visits are compared with.
    pub trials: Vec<f64>,
    /// Faster, slower, the same within the margin, or not known.
    pub verdict: Verdict,
}

/// One side of a pair.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PairSide {
    /// `pipeline.mode` of its run.
    pub mode: String,
    /// Folder of its run, from where this file lies.
    pub run: String,
    /// Time of an iteration, mean, in seconds.
    pub seconds: Estimate,
    /// Tokens a second; `None` where there are no tokens.
    pub tokens_per_s: Option<Estimate>,
    /// Energy of a token, in joules; `None` where nothing measured it.
    pub joules_per_token: Option<Estimate>,
    /// Bytes that it needed at most, or holds, beside its inputs; `None` when it does not tell.
    pub memory_bytes: Option<f64>,
    /// Values of its own, by name.
    pub metrics: BTreeMap<String, Estimate>,
}

/// A speed-up against an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairJudged {
    /// `passed`: not worse by the margin, with confidence; `failed`: worse with confidence.
    pub state: GateState,
    /// Why there is no answer.
    pub reason: Option<String>,
    /// The earlier speed-up.
    pub before: Option<f64>,
    /// Speed-up now over speed-up then, less 1.
    pub change: Option<f64>,
    /// Interval of the change.
    pub interval: Option<Interval>,
}

/// `stopwatt targets compare`: two visits, pair by pair.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PairsComparison {
    /// `MAJOR.MINOR` of the run format.
    pub format: String,
    /// Hardware of the first visit.
    pub before_hardware_key: String,
    /// Hardware of the second.
    pub after_hardware_key: String,
    /// Pairs that both measured and verified, by identifier.
    pub pairs: BTreeMap<String, PairChange>,
    /// Pairs that only one of them has a speed-up of, with the reason.
    pub left_out: BTreeMap<String, String>,
}

/// How the speed-up of a pair changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairChange {
    /// Speed-up of the first visit.
    pub before: f64,
    /// Of the second.
    pub after: f64,
    /// The second over the first, less 1.
    pub change: f64,
    /// Its interval; `None` where trials do not support one.
    pub interval: Option<Interval>,
    /// Whether the interval contains no change; `None` without one.
    pub same: Option<bool>,
}
