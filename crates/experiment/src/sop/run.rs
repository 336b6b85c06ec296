//! `stopwatt run`: one target under the procedure.
//!
//! ```text
//! fingerprint ─► stabilise ─► measure: trials of repeats/trials iterations ─► outputs ─► instruments
//! ```

use std::path::PathBuf;

use stopwatt_load::Stop;

use super::config::SopConfig;
use super::error::SopError;
use super::recording::{Finished, Recording, Watch, stage};
use super::target::{Launch, Target};
use super::watcher::Watcher;

/// Everything that a measurement needs.
pub struct Setup<'a> {
    /// The settings.
    pub config: &'a SopConfig,
    /// What `config.lock.json` will hold.
    pub lock: serde_json::Value,
    /// Starts the target.
    pub launch: &'a dyn Launch,
}

/// Measures a target and writes a run: into `out`, or into a new folder under `root`. Whatever happens to the target
/// leaves a readable run with what was measured.
///
/// # Errors
/// The record cannot be written, or an instrument fails. A target that fails is no error here: it stands in what is
/// returned.
pub fn run(
    setup: &Setup<'_>,
    root: &std::path::Path,
    out: Option<PathBuf>,
    watcher: &mut dyn Watcher,
    stop: &Stop,
    watch: Watch<'_>,
) -> Result<Finished, SopError> {
    let mut target = setup.launch.launch(&[])?;
    let mut recording = Recording::create(setup.config, &setup.lock, root, out, stop)?;
    let outcome = stages(setup, &mut recording, target.as_mut(), watcher, watch);
    let ended = recording.teardown(target.as_mut(), None);
    let outcome = outcome.and_then(|()| Ok(ended?)).and_then(|()| {
        if stop.is_interrupted() || setup.config.pipeline.no_measure {
            return Ok(());
        }
        recording.stage(stage::INSTRUMENTS)?;
        Ok(watcher.after_trials(recording.writer(), setup.launch, stop)?)
    });
    recording.close(outcome)
}

fn stages(
    setup: &Setup<'_>,
    recording: &mut Recording<'_>,
    target: &mut dyn Target,
    watcher: &mut dyn Watcher,
    watch: Watch<'_>,
) -> Result<(), SopError> {
    recording.stage(stage::FINGERPRINT)?;
    let ready = recording.prepare(target, None, watch)?;
    if !setup.config.pipeline.no_measure {
        recording.stage(stage::STABILISE)?;
        recording.warm_up(target, watcher, watch)?;
        recording.stage(stage::MEASURE)?;
        for trial in 0..setup.config.pipeline.trials {
            recording.trial(target, trial, ready.pid, watcher, watch)?;
        }
    }
    recording.stage(stage::OUTPUTS)?;
    recording.outputs(target, None, watch)
}
