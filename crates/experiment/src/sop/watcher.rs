//! Where instruments are plugged in: power, energy, clocks around each trial; counters in a run of their own afterwards.
//!
//! ```text
//! prepare ─► warm_up_begins ─► warm-up ─► warm_up_ended
//!         ─► trial_begins(0) ─► loop ─► trial_ended(0) ─► … ─► outputs ─► teardown ─► after_trials
//! ```
//!
//! Nothing of the target runs between `trial_begins` and the loop, or between the loop and `trial_ended`, so a series
//! of readings that is begun in the one and ended in the other covers the loop. What an instrument finds it writes into
//! the record that it is handed: a fact of `run.log`, or a file such as `power.csv`. Stamps here are raw;
//! `record.clock().from_raw` makes them those of the run.

use stopwatt_core::Nanos;
use stopwatt_load::Stop;
use stopwatt_record::run_dir::{RunError, RunWriter};

use super::target::Launch;

/// The measuring window of a trial: from the begin of its first iteration to the end of its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Which trial.
    pub trial: u32,
    /// Begin, raw.
    pub start_ns: Nanos,
    /// End, raw.
    pub end_ns: Nanos,
    /// Iterations in it.
    pub iterations: u64,
    /// Tokens made in it; `None` unless every iteration tells.
    pub tokens: Option<u64>,
}

/// Watches a measurement. Every hook may do nothing.
pub trait Watcher {
    /// Warm-up begins: time to open devices and to begin reading temperatures.
    ///
    /// # Errors
    /// The record could not be written.
    fn warm_up_begins(&mut self, _record: &RunWriter) -> Result<(), RunError> {
        Ok(())
    }

    /// Whether the machine has stopped to heat up, asked when the times of the warm-up are steady; `None` when nothing
    /// tells.
    ///
    /// # Errors
    /// The record could not be written.
    fn settled(&mut self, _record: &RunWriter) -> Result<Option<bool>, RunError> {
        Ok(None)
    }

    /// Warm-up has ended.
    ///
    /// # Errors
    /// The record could not be written.
    fn warm_up_ended(&mut self, _record: &RunWriter) -> Result<(), RunError> {
        Ok(())
    }

    /// The loop of a trial begins when this returns. `pid` is the target's process, where one stays.
    ///
    /// # Errors
    /// The record could not be written.
    fn trial_begins(&mut self, _record: &RunWriter, _trial: u32, _pid: Option<u32>) -> Result<(), RunError> {
        Ok(())
    }

    /// The loop of a trial has ended. Not called for a trial that was cut off.
    ///
    /// # Errors
    /// The record could not be written.
    fn trial_ended(&mut self, _record: &RunWriter, _window: Window) -> Result<(), RunError> {
        Ok(())
    }

    /// Every trial is measured and the target is gone: time for runs of their own, such as the target behind `ncu`
    /// (`launch` takes the words to put in front of its command), and for closing files.
    ///
    /// # Errors
    /// The record could not be written.
    fn after_trials(
        &mut self,
        _record: &RunWriter,
        _launch: &dyn Launch,
        _stop: &Stop,
    ) -> Result<(), RunError> {
        Ok(())
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Watcher for Nobody {}
