//! A load that somebody measured, and what came of it.

use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_serving::trace::{Entry, Turn};
use stopwatt_serving::workload::{Length, Prefix, Recorded, Workload};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// When it was sent, in nanoseconds.
    pub at_ns: i64,
    /// Prompt tokens.
    pub input: u32,
    /// Output tokens.
    pub output: u32,
    /// When its answer had ended, in nanoseconds.
    pub end_ns: i64,
    /// Its conversation, and which turn of it, from 0; `None` for a request that stands for itself.
    pub talk: Option<(u64, u32)>,
    /// What it shares with other prompts; `None` when nothing is known to be shared.
    pub prefix: Option<Prefix>,
    /// Prompt tokens that the server said it found in its prefix cache; `None` when it said nothing.
    pub cached: Option<u32>,
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
    /// What the simulator needs to repeat a trial; `None` for one without requests. Turns of a conversation follow each
    /// other after the pauses that were measured, whatever the answers take.
    #[must_use]
    pub fn replay(&self, trial: usize) -> Option<(Workload, Load, u32)> {
        let sent = self.trials.get(trial).filter(|t| !t.is_empty())?;
        let mean = |of: fn(&Sent) -> u32| {
            let sum: f64 = sent.iter().map(|s| f64::from(of(s))).sum();
            Length::fixed((sum / sent.len() as f64).round().max(1.0) as u32).ok()
        };
        let begin = sent.first()?.at_ns;
        let mut entries: Vec<Entry> = Vec::new();
        // Where the turns of a conversation stand, and the last of them so far.
        let mut talks: HashMap<u64, (usize, &Sent)> = HashMap::new();
        for s in sent {
            let mut turn = Turn { input: Some(s.input), output: Some(s.output), ..Turn::default() };
            if let Some((place, before)) = s.talk.and_then(|(talk, _)| talks.get_mut(&talk)) {
                turn.input = Some(s.input.saturating_sub(before.input + before.output).max(1));
                turn.think_ns = Some((s.at_ns - before.end_ns).max(0));
                entries[*place].turns.push(turn);
                *before = s;
                continue;
            }
            if let Some((talk, _)) = s.talk {
                talks.insert(talk, (entries.len(), s));
            }
            turn.prefix = s.prefix;
            entries.push(Entry { at_ns: Some(s.at_ns - begin), turns: vec![turn], blocks: Vec::new() });
        }
        let most_turns = entries.iter().map(|e| e.turns.len()).max()? as u32;
        let mut workload = Workload::new(mean(|s| s.input)?, mean(|s| s.output)?);
        workload.recorded = Recorded::new(self.label.clone(), entries, 16, most_turns, 0).map(Arc::new);
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
