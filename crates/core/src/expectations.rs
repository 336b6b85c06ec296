//! What is expected of a machine: the trial values of earlier runs, one file for each kind of hardware.
//!
//! A later run is compared with the stored trials as with another run, so that the noise of both sides counts, not a
//! tolerance that somebody chose.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::comparison::{ComparisonDoc, GateState, Verdict};
use crate::fingerprint::Fingerprint;
use crate::metric::Direction;
use crate::metrics_doc::{Estimate, TrialValues};
use crate::{FORMAT_MAJOR, FORMAT_MINOR};

/// `expectations_{hardware_key}.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Expectations {
    /// `MAJOR.MINOR` of the run format.
    pub format: String,
    /// Which hardware: the middle of the file's name.
    pub hardware_key: String,
    /// What was measured and stored, by the name of the target.
    pub targets: BTreeMap<String, Expectation>,
}

/// What one run showed of a target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// The run.
    pub run_id: String,
    /// When it began, in UNIX nanoseconds; `None` when the record does not tell.
    pub measured_unix_ns: Option<Nanos>,
    /// Version of Stopwatt that measured.
    pub stopwatt: String,
    /// Hash of its environment, as in `env.hash` of `metrics.json`.
    pub env_hash: String,
    /// Whether clocks were fixed; `None` when nothing could tell.
    pub fixed_clock: Option<bool>,
    /// The work and the machine by name: a run that differs in them cannot be judged by this.
    pub facts: BTreeMap<String, String>,
    /// Each setting that was measured.
    pub points: Vec<ExpectedPoint>,
}

/// One setting of a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedPoint {
    /// Name for people.
    pub label: String,
    /// Requests kept in flight; `None` in an open loop.
    pub concurrency: Option<u32>,
    /// Planned request rate; `None` in a closed loop.
    pub rate_rps: Option<f64>,
    /// Input tokens asked for, mean over the point's requests.
    pub input: Option<f64>,
    /// Output tokens asked for, mean over the point's requests.
    pub output: Option<f64>,
    /// Settings of the engine, where it was started with several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub engine_settings: BTreeMap<String, String>,
    /// What is expected, by metric.
    pub metrics: BTreeMap<String, ExpectedMetric>,
}

/// What is expected of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedMetric {
    /// Unit of every value below.
    pub unit: String,
    /// Which direction is an improvement.
    pub better: Direction,
    /// Which definition was used, for instance `ttft_any/1`.
    pub definition: String,
    /// Each statistic with its sample size and interval, by name: `mean`, `p50`, `p95`, `p99`.
    pub estimates: BTreeMap<String, Estimate>,
    /// The value of each trial: what later runs are compared with.
    pub trials: TrialValues,
}

/// What `expect` says of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectationReport {
    /// `MAJOR.MINOR` of the run format.
    pub format: String,
    /// All runs together: `failed` when one regressed, `inconclusive` when one could not be judged.
    pub state: GateState,
    /// Each run.
    pub judged: Vec<JudgedRun>,
}

/// One run against what is expected of its target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgedRun {
    /// The name it was given on the command line.
    pub run: String,
    /// Whose expectations.
    pub target: String,
    /// On which hardware.
    pub hardware_key: String,
    /// `passed`: no judged metric is worse by the margin.
    pub state: GateState,
    /// Why it could not be judged.
    pub reason: Option<String>,
    /// Expectation against run; `None` when nothing is expected yet.
    pub comparison: Option<ComparisonDoc>,
}

impl JudgedRun {
    /// Judges a comparison whose gates are those of the expectation. A metric that regressed fails, also within the
    /// margin: then it is worse for certain, and nobody knows yet whether by more.
    pub fn of(run: String, target: String, hardware_key: String, comparison: ComparisonDoc) -> Self {
        let regressed = comparison.comparisons.iter().any(|c| c.verdict == Some(Verdict::Regressed));
        let state = match (regressed, comparison.gate) {
            (true, _) => GateState::Failed,
            (false, Some(state)) => state,
            (false, None) => GateState::Inconclusive,
        };
        let reason = comparison.gate.is_none().then(|| "none of the judged metrics is expected".to_owned());
        Self { run, target, hardware_key, state, reason, comparison: Some(comparison) }
    }
}

impl ExpectationReport {
    /// All runs together.
    pub fn of(judged: Vec<JudgedRun>) -> Self {
        let any = |state| judged.iter().any(|j| j.state == state);
        let state = if any(GateState::Failed) {
            GateState::Failed
        } else if any(GateState::Inconclusive) || judged.is_empty() {
            GateState::Inconclusive
        } else {
            GateState::Passed
        };
        Self { format: format!("{FORMAT_MAJOR}.{FORMAT_MINOR}"), state, judged }
    }
}

/// Most letters of a hardware key: file names have limits.
const KEY_LENGTH: usize = 96;

/// The hardware as a part of a file name: number and names of the GPUs, else the CPU and the number of CPUs.
/// `2x-nvidia-h100-80gb-hbm3`, `amd-epyc-7b13-2cpu`.
pub fn hardware_key(machine: &Fingerprint) -> String {
    let mut gpus = BTreeMap::<String, usize>::new();
    for name in &machine.gpus {
        *gpus.entry(slug(name)).or_default() += 1;
    }
    let words: Vec<String> = match gpus.is_empty() {
        false => gpus.iter().map(|(name, n)| format!("{n}x-{name}")).collect(),
        true => {
            let cpu = machine.cpu.as_deref().map_or_else(|| "unknown-cpu".to_owned(), slug);
            vec![machine.cpus.map_or_else(|| cpu.clone(), |n| format!("{cpu}-{n}cpu"))]
        }
    };
    let mut key = words.join("_");
    if key.len() > KEY_LENGTH {
        // FNV-1a of the whole key keeps long names apart.
        let hash = key
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        key.truncate(KEY_LENGTH);
        key = format!("{key}-{hash:016x}");
    }
    key
}

/// Lower-case letters and digits, everything else one dash; ASCII, so that it can be cut anywhere.
fn slug(name: &str) -> String {
    let letters = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let words = letters.collect::<String>();
    let words: Vec<&str> = words.split('-').filter(|w| !w.is_empty()).collect();
    if words.is_empty() { "unknown".to_owned() } else { words.join("-") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_names_the_hardware_and_is_a_file_name() {
        let gpus = |names: &[&str]| Fingerprint {
            cpu: Some("Any".into()),
            gpus: names.iter().map(|n| (*n).to_owned()).collect(),
            ..Fingerprint::default()
        };
        let h100 = "NVIDIA H100 80GB HBM3";
        assert_eq!(hardware_key(&gpus(&[h100, h100])), "2x-nvidia-h100-80gb-hbm3");
        assert_eq!(hardware_key(&gpus(&[h100, "NVIDIA L4"])), "1x-nvidia-h100-80gb-hbm3_1x-nvidia-l4");
        let cpu = Fingerprint {
            cpu: Some("Intel(R) Xeon(R) CPU @ 2.20GHz".into()),
            cpus: Some(2),
            ..Default::default()
        };
        assert_eq!(hardware_key(&cpu), "intel-r-xeon-r-cpu-2-20ghz-2cpu");
        assert_eq!(hardware_key(&Fingerprint::default()), "unknown-cpu");
        assert_eq!(hardware_key(&gpus(&["../../etc", "가속기"])), "1x-etc_1x-unknown");
        let long = hardware_key(&gpus(&[&"x".repeat(200)]));
        assert!(long.len() == KEY_LENGTH + 17 && long != hardware_key(&gpus(&[&"x".repeat(201)])));
    }
}
