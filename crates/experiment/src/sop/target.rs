//! What can be measured: something that is prepared once and then does the same again and again.
//!
//! ```text
//! Launch ──► Target::prepare ──► iterate, iterate, … ──► outputs ──► teardown
//! (how)      (ready)             (timed)                 (hashes)    (how it ended)
//! ```
//!
//! Stamps are raw nanoseconds of CLOCK_MONOTONIC ([`stopwatt_core::clock::monotonic_raw`]), so that a child process and
//! this one mean the same moment.

use std::collections::BTreeMap;

use stopwatt_core::Nanos;
use stopwatt_core::engine_run::EngineLog;
use stopwatt_core::verdict::Remark;

/// Starts targets. A target is started anew for each trial of a pair, and behind a profiler for cache counters.
pub trait Launch {
    /// A target that has not been prepared. `prefix` is put in front of its command, for instance `ncu` with its
    /// options; a target without a command refuses one.
    ///
    /// # Errors
    /// The target cannot be started like this.
    fn launch(&self, prefix: &[String]) -> Result<Box<dyn Target>, TargetError>;

    /// Whether a solver's time was over before it was done, so that the best so far was measured.
    fn timed_out(&self) -> bool {
        false
    }
}

/// Something that does the same again and again.
pub trait Target {
    /// Gets ready: starts what must be started, loads what must be loaded. Called once, first.
    ///
    /// # Errors
    /// It cannot.
    fn prepare(&mut self, occasion: &Occasion) -> Result<Ready, TargetError>;

    /// Does it `n` times and hands over each time as it comes, in order. What was handed over before an error counts.
    ///
    /// # Errors
    /// It could not do all of them.
    fn iterate(&mut self, n: u64, take: &mut dyn FnMut(Iteration)) -> Result<(), TargetError>;

    /// A hash of what it made, never the content; `None` when it does not tell.
    ///
    /// # Errors
    /// It does not answer.
    fn outputs(&mut self) -> Result<Option<String>, TargetError>;

    /// Does it once on fresh inputs drawn from `seed`, outside the time, and hands over the output; `None` when it does not
    /// tell. Only sides of a workload pair are asked.
    ///
    /// # Errors
    /// It cannot.
    fn verify(&mut self, _seed: u64) -> Result<Option<Vec<f32>>, TargetError> {
        Ok(None)
    }

    /// Ends it for sure, whatever state it is in.
    fn teardown(&mut self) -> Ended;
}

/// What a target is prepared for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    /// Seed of everything drawn.
    pub seed: u64,
    /// What is run: `pipeline.mode`.
    pub mode: String,
    /// Which trial; `None` for all trials of a run.
    pub trial: Option<u32>,
    /// Iterations of one trial.
    pub iterations: u64,
}

/// A target that is ready.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ready {
    /// What it is called.
    pub name: String,
    /// What it says of itself.
    pub facts: BTreeMap<String, String>,
    /// Its process, where there is one that stays.
    pub pid: Option<u32>,
    /// What it leaves in the run, in order.
    pub notes: Vec<Note>,
}

/// What a target leaves in the run when it is first ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A stage that it has gone through.
    Stage(String),
    /// A file.
    File {
        /// Its name, without a folder.
        name: String,
        /// What it holds.
        bytes: Vec<u8>,
    },
    /// A finding.
    Warning(Remark),
}

/// One time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Iteration {
    /// When it began, raw.
    pub start_ns: Nanos,
    /// When it ended, raw.
    pub end_ns: Nanos,
    /// Tokens that it made; `None` where there are none.
    pub tokens: Option<u32>,
    /// When each token was there, raw; empty where the target does not tell.
    pub token_ns: Vec<Nanos>,
    /// Values of the target's own, by name.
    pub metrics: BTreeMap<String, f64>,
    /// The target told how long it took, not when: the stamps are placed back to back.
    pub placed: bool,
}

impl Iteration {
    /// How long it took, in seconds.
    pub fn seconds(&self) -> f64 {
        (self.end_ns - self.start_ns) as f64 * 1e-9
    }
}

/// A target that is gone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ended {
    /// How its process ended; `None` without one.
    pub exit: Option<String>,
    /// It had to be killed.
    pub killed: bool,
    /// What it wrote on standard error.
    pub log: EngineLog,
    /// The last lines of it, for those who may keep them.
    pub text: String,
}

/// What a target was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Getting ready.
    Prepare,
    /// Being measured, or warmed up.
    Iterate,
    /// Telling the hash of its outputs.
    Outputs,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Prepare => "while it got ready",
            Self::Iterate => "in the loop",
            Self::Outputs => "when asked for its outputs",
        })
    }
}

/// What went wrong with a target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The program could not be started.
    #[error("failed to start {program}")]
    Start {
        /// Its name, without its folder.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It ended by itself.
    #[error("the target ended {during} after {iterations} iterations ({exit})")]
    Died {
        /// What it was doing.
        during: Step,
        /// Iterations that it had made.
        iterations: u64,
        /// How it ended.
        exit: String,
    },
    /// A process that is an iteration failed.
    #[error("iteration {iteration} failed ({exit})")]
    Failed {
        /// Which one, from 1.
        iteration: u64,
        /// How it ended.
        exit: String,
    },
    /// It said something that is not part of the protocol.
    #[error("line {line} of the target's output ({bytes} bytes) is not what was expected: {problem}")]
    Line {
        /// Which line, from 1.
        line: u64,
        /// Its length.
        bytes: usize,
        /// What was expected, and what is wrong; never the content.
        problem: String,
    },
    /// It took too long.
    #[error("the target gave no answer {during} within {seconds} s")]
    TimedOut {
        /// What it was doing.
        during: Step,
        /// How long it was waited for.
        seconds: f64,
    },
    /// A kernel cannot be set up, or failed.
    #[error("the kernel cannot be measured: {reason}")]
    Kernel {
        /// What the device said.
        reason: String,
    },
    /// A layout cannot be set up.
    #[error("the layout cannot be measured: {reason}")]
    Layout {
        /// What is wrong, with its setting.
        reason: String,
    },
    /// A side of a workload pair cannot be set up, or failed.
    #[error("the workload failed: {reason}")]
    Workload {
        /// What is wrong.
        reason: String,
    },
    /// This machine lacks what the target needs.
    #[error("cannot be run here: {reason}")]
    Skipped {
        /// What is missing.
        reason: String,
    },
    /// A command cannot have words in front of it.
    #[error("this target cannot be started behind a profiler")]
    NoPrefix,
    /// The other side of a pair failed, so this one was not measured further.
    #[error("the other side of the pair failed")]
    OtherSide,
    /// The run was interrupted.
    #[error("interrupted by a signal")]
    Interrupted,
}

impl TargetError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("give the program's path, or install it; no shell is involved")
            }
            Self::Died { .. } | Self::Failed { .. } => {
                Some("run its command by hand, or keep what it writes with --keep-engine-log")
            }
            Self::Line { .. } => Some("docs/run.md shows the protocol; `protocol: wall` times any program"),
            Self::TimedOut { during: Step::Prepare, .. } => Some("raise target.prepare_timeout_s"),
            Self::TimedOut { during: Step::Iterate, .. } => Some("raise target.iterate_timeout_s"),
            Self::TimedOut { during: Step::Outputs, .. } => Some("raise target.outputs_timeout_s"),
            _ => None,
        }
    }
}
