//! What an interrupted run has finished, so that another one can go on from there.
//!
//! The new run takes over the clock of the old one, so every stamp stays what it was, and the points keep their
//! places in the plan. Across a restart of the machine the wall clock joins the two.

use std::collections::BTreeMap;
use std::path::Path;

use stopwatt_core::engine_run::{EngineOutcome, EngineRun};
use stopwatt_core::log::{Fact, PlannedPoint};
use stopwatt_core::metrics_doc::{Capacity, RunStatus};
use stopwatt_core::{Clock, clock};
use stopwatt_record::events::Chunks;
use stopwatt_record::run_dir::{Run, RunError, RunWriter};

/// Wall and monotonic clock of one boot agree to within this, in nanoseconds.
const SAME_BOOT_NS: i64 = 2_000_000_000;

/// Why a run cannot be continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It is still being written.
    #[error("run {id} is still being written")]
    Running {
        /// Its name.
        id: String,
    },
    /// It came to its end.
    #[error("run {id} is complete: there is nothing to resume")]
    Complete {
        /// Its name.
        id: String,
    },
    /// It searched, which cannot be cut in two.
    #[error("run {id} is a search over load, which cannot be resumed")]
    Search {
        /// Its name.
        id: String,
    },
}

/// An interrupted run.
#[derive(Debug)]
pub struct Unfinished {
    run: Run,
    plan: Vec<PlannedPoint>,
    /// Trials that ended, by point.
    ended: BTreeMap<u32, u32>,
    trials: u32,
    capacity: Option<Capacity>,
    engines: Vec<EngineRun>,
}

impl Unfinished {
    /// Reads a run.
    ///
    /// # Errors
    /// It cannot be read, is being written, is complete, or searched.
    pub fn read(path: &Path) -> Result<Self, ResumeError> {
        let run = Run::open(path)?;
        let id = || run.id().to_string();
        if run.is_running() {
            return Err(ResumeError::Running { id: id() });
        }
        if run.status() == RunStatus::Complete {
            return Err(ResumeError::Complete { id: id() });
        }
        let (mut plan, mut trials, mut ended) = (Vec::new(), 0, BTreeMap::new());
        let (mut capacity, mut engines) = (None, Vec::new());
        for event in run.log() {
            match &event.fact {
                Fact::Plan { points, trials: t } => (plan, trials) = (points.clone(), *t),
                Fact::TrialEnded { point, .. } => *ended.entry(*point).or_insert(0) += 1,
                Fact::Capacity { capacity: found } => capacity = Some(*found),
                Fact::SearchStarted { .. } => return Err(ResumeError::Search { id: id() }),
                Fact::EngineEnded { engine } if engine.outcome != EngineOutcome::Interrupted => {
                    engines.push(engine.clone());
                }
                _ => {}
            }
        }
        Ok(Self { run, plan, ended, trials, capacity, engines })
    }

    /// The settings that it was locked with.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn config(&self) -> Result<serde_json::Value, ResumeError> {
        Ok(self.run.config()?)
    }

    /// The clock that the new run goes on with.
    pub(super) fn clock(&self) -> Clock {
        let old = self.run.clock();
        if old.wall_drift().abs() < SAME_BOOT_NS {
            return old;
        }
        let since = clock::unix_now() - old.t0_unix_ns;
        Clock { t0_monotonic_ns: clock::monotonic_raw() - since, ..old }
    }

    /// The points that it planned, in order.
    pub(super) fn plan(&self) -> &[PlannedPoint] {
        &self.plan
    }

    /// The capacity that it measured.
    pub(super) fn capacity(&self) -> Option<&Capacity> {
        self.capacity.as_ref()
    }

    /// Whether every trial of the point at this place ended.
    pub(super) fn finished(&self, index: u32, planned: &PlannedPoint) -> bool {
        self.plan.get(index as usize) == Some(planned) && self.has_all_trials(index)
    }

    fn has_all_trials(&self, index: u32) -> bool {
        self.ended.get(&index).is_some_and(|ended| *ended >= self.trials)
    }

    /// Whether the engine with these settings came to its end there, measured or dead.
    pub(super) fn engine_is_done(&self, settings: &BTreeMap<String, String>) -> bool {
        self.engines.iter().any(|e| e.settings == *settings)
    }

    /// Writes what it has finished into a new run; the next free id of a request is returned.
    pub(super) fn copy(&self, writer: &RunWriter) -> Result<u64, RunError> {
        let finished = |point: &u32| self.has_all_trials(*point);
        let points = (0..self.plan.len() as u32).filter(|p| finished(p)).count() as u64;
        writer.log(Fact::Resumed { run_id: self.run.id().to_string(), points })?;
        for event in self.run.log() {
            let wanted = match &event.fact {
                Fact::WarmupEnded { point, .. }
                | Fact::TrialStarted { point, .. }
                | Fact::TrialEnded { point, .. } => finished(point),
                Fact::EngineEnded { engine } => engine.outcome != EngineOutcome::Interrupted,
                Fact::Fingerprint { .. } | Fact::EngineProbed { .. } | Fact::Capacity { .. } => true,
                Fact::Plan { .. } | Fact::Warning { .. } => true,
                _ => false,
            };
            if wanted {
                writer.log(event.fact.clone())?;
            }
        }
        let mut next_id = 0;
        for record in self.run.requests(Chunks::Read)? {
            let record = record?;
            next_id = next_id.max(record.id + 1);
            if finished(&record.point) {
                writer.push(record)?;
            }
        }
        Ok(next_id)
    }
}
