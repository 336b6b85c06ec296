//! How good the outputs are, found out after the measurement: by a command of the user's that prints scores, or by asking
//! an engine a fixed set of prompts without sampling.
//!
//! ```text
//! quality.command ──► its standard output ──► scores ─────────────────────────┐
//! quality.prompts ──► answers of the baseline, twice; of the candidate ─► equal? ┴─► Fact::Quality of each run
//! ```
//!
//! The record holds hashes, lengths and scores: no prompt, no answer, no output of the command.

mod answers;
mod scores;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use stopwatt_core::log::Fact;
use stopwatt_core::metric::Direction;
use stopwatt_core::quality::{Quality, QualityMethod, QualityScale};
use stopwatt_load::Stop;

use super::config::{SopConfig, TargetKind};
use super::error::SopError;
use crate::bench::{BenchConfig, with_engine};
use answers::{Answer, Prompts};

/// A baseline that changes more than one answer of this many by itself is no measure of a candidate's.
const UNSTEADY: usize = 10;

/// How quality is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QualityConfig {
    /// Whether it is, when a command or prompts are given.
    pub enable: bool,
    /// A command that judges outputs and prints a number, a JSON object or JSON lines with a score for each item. It is
    /// split into words, without a shell; `{seed}`, `{mode}` and `{url}` (the engine's) are replaced.
    pub command: Option<String>,
    /// Longest time that the command may take, in seconds.
    #[schemars(range(min = 0.001))]
    pub timeout_s: f64,
    /// Which scores are better.
    pub better: Better,
    /// What a score is: `share` between 0 and 1, `percent` between 0 and 100, `relative` of any size, as perplexity is.
    pub scale: QualityScale,
    /// Prompts to ask, a JSONL file: `{"prompt": …}` or `{"messages": […]}` a line, with an `id` or without. What counts is
    /// whether the candidate answers as the baseline does.
    pub prompts: Option<PathBuf>,
    /// Text whose perplexity is measured under the transform of the layout, for `target.kind: layout`. `max_samples` chunks of
    /// 128 tokens are taken (40).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<PathBuf>,
    /// Engine to ask, for a target that is a program; a `bench` target has its own.
    pub url: Option<String>,
    /// Its model; `null` takes the only one that it lists.
    pub model: Option<String>,
    /// Name of the environment variable that holds its API key.
    pub api_key_env: Option<String>,
    /// Longest answer, in tokens.
    #[schemars(range(min = 1))]
    pub max_tokens: u32,
    /// Prompts asked at once. Engines that batch may answer otherwise than for one at a time.
    #[schemars(range(min = 1))]
    pub concurrency: u32,
    /// Most prompts taken from the file; `null` takes all.
    pub max_samples: Option<u64>,
    /// Which task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub task: Option<Value>,
    /// Samples at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub batch_size: Option<Value>,
    /// Longest sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub max_length: Option<Value>,
}

impl Default for QualityConfig {
    fn default() -> Self {
        Self {
            enable: true,
            command: None,
            timeout_s: 3600.0,
            better: Better::Higher,
            scale: QualityScale::Share,
            prompts: None,
            text: None,
            url: None,
            model: None,
            api_key_env: None,
            max_tokens: 64,
            concurrency: 1,
            max_samples: None,
            task: None,
            batch_size: None,
            max_length: None,
        }
    }
}

/// Which scores are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Larger ones, as accuracy.
    #[default]
    Higher,
    /// Smaller ones, as error rate or perplexity.
    Lower,
}

impl Better {
    fn direction(self) -> Direction {
        match self {
            Self::Higher => Direction::Higher,
            Self::Lower => Direction::Lower,
        }
    }
}

impl QualityConfig {
    /// Whether quality is asked for.
    ///
    /// # Errors
    /// Both ways at once, or prompts without an engine.
    pub fn is_asked(&self, config: &SopConfig) -> Result<bool, SopError> {
        let refuse = |setting, problem: &str| Err(SopError::Setting { setting, problem: problem.to_owned() });
        if !self.enable {
            return Ok(false);
        }
        if self.text.is_some() && (self.command.is_some() || self.prompts.is_some()) {
            return refuse("quality.text", "outputs are judged by a text, a command or prompts: one of them");
        }
        match (&self.command, &self.prompts) {
            (Some(_), Some(_)) => refuse(
                "quality.prompts",
                "outputs are judged by a command or by prompts; leave one of them out",
            ),
            (None, Some(_)) if config.target.kind == TargetKind::Command && self.url.is_none() => refuse(
                "quality.prompts",
                "prompts are asked of an engine; name it with quality.url, or measure one with target.kind=bench",
            ),
            (command, prompts) => Ok(command.is_some() || prompts.is_some() || self.text.is_some()),
        }
    }
}

/// One side whose outputs are judged.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// Its settings.
    pub config: &'a SopConfig,
    /// The program that guards engines.
    pub program: &'a Path,
    /// The API key of its engine.
    pub api_key: Option<&'a str>,
    /// Ends it.
    pub stop: &'a Stop,
}

/// Judges the outputs of a run by itself; `None` when that was not asked for.
///
/// # Errors
/// Settings that make no sense. What goes wrong while judging is a fact: the reason why there is no quality.
pub fn quality(side: &Judged<'_>) -> Result<Option<Fact>, SopError> {
    if !side.config.quality.is_asked(side.config)? {
        return Ok(None);
    }
    let found = match &side.config.quality.prompts {
        None => side.scores(),
        Some(_) => side.answers(1).map(|mut times| side.of_answers(&times.remove(0), None)),
    };
    Ok(Some(fact(found)))
}

/// Judges the outputs of both sides of a pair.
///
/// # Errors
/// As [`quality`].
pub fn quality_of_both(baseline: &Judged<'_>, candidate: &Judged<'_>) -> Result<Option<[Fact; 2]>, SopError> {
    let asked = [baseline, candidate].map(|side| side.config.quality.is_asked(side.config));
    let [Ok(true), Ok(true)] = asked else {
        let [a, b] = asked;
        return match (a?, b?) {
            (false, false) => Ok(None),
            _ => Err(SopError::Setting {
                setting: "quality",
                problem: "both sides of a pair are judged, or neither".to_owned(),
            }),
        };
    };
    if baseline.config.quality.prompts.is_none() {
        return Ok(Some([fact(baseline.scores()), fact(candidate.scores())]));
    }
    let ours = match baseline.answers(2) {
        Ok(times) => times,
        Err(reason) => {
            let other = format!("the baseline's answers are not known: {reason}");
            return Ok(Some([fact(Err(reason)), fact(Err(other))]));
        }
    };
    let unsteady = ours[0].iter().zip(&ours[1]).filter(|(once, again)| once != again).count();
    if unsteady * UNSTEADY > ours[0].len() {
        let reason = format!(
            "the baseline answers {unsteady} of {} prompts otherwise when it is asked again, so that answers cannot be \
             compared; judge outputs by quality.command",
            ours[0].len()
        );
        return Ok(Some([fact(Err(reason.clone())), fact(Err(reason))]));
    }
    let theirs = candidate.answers(1).map(|times| candidate.of_answers(&times[0], Some(&ours[0])));
    Ok(Some([fact(Ok(baseline.of_answers(&ours[1], Some(&ours[0])))), fact(theirs)]))
}

fn fact(found: Result<Quality, String>) -> Fact {
    match found {
        Ok(quality) => Fact::Quality { quality },
        Err(reason) => Fact::QualityUnavailable { reason },
    }
}

impl Judged<'_> {
    /// Does `work` with the address of the engine, which runs meanwhile; `None` where the target has none.
    fn with_url<T>(&self, work: impl FnOnce(Option<&BenchConfig>) -> Result<T, String>) -> Result<T, String> {
        let quality = &self.config.quality;
        if self.config.target.kind == TargetKind::Bench {
            let bench = super::bench_config(self.config).map_err(|e| e.to_string())?;
            let served = with_engine(&bench, self.program, self.api_key, self.stop, |url| {
                let mut at = bench.clone();
                at.target.url = Some(url.to_owned());
                work(Some(&at))
            });
            return served.map_err(|e| e.to_string())?;
        }
        let mut bench = BenchConfig::default();
        bench.target.url.clone_from(&quality.url);
        bench.target.model.clone_from(&quality.model);
        work(quality.url.is_some().then_some(&bench))
    }

    fn scores(&self) -> Result<Quality, String> {
        let quality = &self.config.quality;
        if quality.text.is_some() {
            return super::layout::perplexity(self.config, self.stop);
        }
        let command = quality.command.as_deref().unwrap_or_default();
        // An engine is started for the command only when it asks for one.
        let items = if command.contains("{url}") {
            self.with_url(|bench| {
                let url = bench.and_then(|b| b.target.url.as_deref());
                scores::of_command(self, command, url)
            })?
        } else {
            scores::of_command(self, command, None)?
        };
        let (better, scale) = (quality.better.direction(), quality.scale);
        Ok(Quality { method: QualityMethod::Command, better, scale, items })
    }

    /// The answers to every prompt, asked `times` times.
    fn answers(&self, times: usize) -> Result<Vec<Vec<Answer>>, String> {
        let quality = &self.config.quality;
        let file = quality.prompts.as_deref().unwrap_or(Path::new(""));
        let prompts = Prompts::read(file, quality.max_samples)?;
        self.with_url(|bench| {
            let bench = bench.ok_or("there is no engine to ask")?;
            (0..times).map(|_| answers::ask(self, bench, &prompts)).collect()
        })
    }

    fn of_answers(&self, answers: &[Answer], baseline: Option<&[Answer]>) -> Quality {
        let item = |(i, answer): (usize, &Answer)| answer.item(baseline.and_then(|b| b.get(i)));
        Quality {
            method: QualityMethod::Answers,
            better: Direction::Higher,
            scale: QualityScale::Share,
            items: answers.iter().enumerate().map(item).collect(),
        }
    }
}

/// First 16 hex digits of the SHA-256: names a thing without telling it.
fn short_hash(bytes: &[u8]) -> String {
    let mut hex = format!("{:x}", Sha256::digest(bytes));
    hex.truncate(16);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_judged_one_way_at_a_time() {
        let asked = |change: fn(&mut SopConfig)| {
            let mut config = SopConfig::default();
            change(&mut config);
            config.quality.is_asked(&config)
        };
        assert!(matches!(asked(|_| ()), Ok(false)));
        assert!(matches!(asked(|c| c.quality.command = Some("x".to_owned())), Ok(true)));
        let off = asked(|c| {
            c.quality.command = Some("x".to_owned());
            c.quality.enable = false;
        });
        assert!(matches!(off, Ok(false)));
        let prompts = |c: &mut SopConfig| c.quality.prompts = Some("p.jsonl".into());
        assert!(asked(prompts).is_err(), "no engine");
        let both = asked(|c| {
            c.quality.prompts = Some("p.jsonl".into());
            c.quality.url = Some("http://x".to_owned());
            c.quality.command = Some("x".to_owned());
        });
        assert!(both.is_err());
    }
}
