//! A load that somebody measured, and what came of it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_serving::trace::{Entry, Turn};
use stopwatt_serving::workload::{Length, Recorded, Workload};

use crate::simulate::Load;

/// Means that a client measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Means {
    /// Time to the first token, in seconds.
    pub ttft_s: f64,
    /// Time an output token after the first, in seconds; `null` when no request has a second one.
    pub tpot_s: Option<f64>,
    /// Time to the last token, in seconds.
    pub e2e_s: f64,
    /// Output tokens a second.
    pub output_tokens_per_s: f64,
}

/// A request of a measured load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// When it was sent, in nanoseconds.
    pub at_ns: i64,
    /// Prompt tokens.
    pub input: u32,
    /// Output tokens.
    pub output: u32,
}

/// One setting of a measured load.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The run.
    pub run: String,
    /// Its name for people.
    pub label: String,
    /// Clients of a closed loop; `None` in an open one, whose times are replayed.
    pub concurrency: Option<u32>,
    /// Requests of each trial, in the order in which they were sent. A trial begins with an idle engine.
    pub trials: Vec<Vec<Sent>>,
    /// What was measured over all trials.
    pub measured: Means,
    /// Coefficient of variation of E2E between trials; `None` with fewer than two.
    pub repeat_cv: Option<f64>,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that came whole but without a text, so that they count in E2E and in output tokens alone.
    pub without_text: u64,
}

impl Observed {
    /// What the simulator needs to repeat a trial; `None` for one without requests.
    #[must_use]
    pub fn replay(&self, trial: usize) -> Option<(Workload, Load, u32)> {
        let sent = self.trials.get(trial).filter(|t| !t.is_empty())?;
        let mean = |of: fn(&Sent) -> u32| {
            let sum: f64 = sent.iter().map(|s| f64::from(of(s))).sum();
            Length::fixed((sum / sent.len() as f64).round().max(1.0) as u32).ok()
        };
        let begin = sent.first()?.at_ns;
        let entry = |s: &Sent| Entry {
            at_ns: Some(s.at_ns - begin),
            turns: vec![Turn { input: Some(s.input), output: Some(s.output), ..Turn::default() }],
            blocks: Vec::new(),
        };
        let mut workload = Workload::new(mean(|s| s.input)?, mean(|s| s.output)?);
        let entries = sent.iter().map(entry).collect();
        workload.recorded = Recorded::new(self.label.clone(), entries, 16, 1, 0).map(Arc::new);
        let load = self.concurrency.map_or(Load::Recorded, |concurrency| Load::Closed { concurrency });
        Some((workload, load, sent.len() as u32))
    }

    /// Mean tokens of prompts and outputs.
    #[must_use]
    pub fn mean_lengths(&self) -> [f64; 2] {
        let all = || self.trials.iter().flatten();
        let n = all().count().max(1) as f64;
        [
            all().map(|s| f64::from(s.input)).sum::<f64>() / n,
            all().map(|s| f64::from(s.output)).sum::<f64>() / n,
        ]
    }
}
