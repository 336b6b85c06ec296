//! `stopwatt pair`: baseline and candidate in turns, a new process for each trial.
//!
//! ```text
//! A₀ B₀  B₁ A₁  A₂ B₂  B₃ A₃  …      pair i is trial i of both runs
//! ```
//!
//! What drifts over minutes (heat, other load) meets both sides alike, and each pair in the other order than the one
//! before, so that a steady drift cancels.

use std::path::{Path, PathBuf};

use stopwatt_load::Stop;

use super::error::SopError;
use super::recording::{Finished, Recording, Watch, stage};
use super::run::Setup;
use super::target::{Target, TargetError};
use super::watcher::Watcher;
use crate::bench::{self, BenchError, Turns};

/// Which side is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What a change is judged against.
    Baseline,
    /// The change.
    Candidate,
}

impl Side {
    /// Name of its folder and in comparisons.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Candidate => "candidate",
        }
    }
}

/// The order of measuring: each pair the other way round than the one before.
pub fn order(trials: u32) -> impl Iterator<Item = (Side, u32)> {
    let pair = |i: u32| match i % 2 {
        0 => [Side::Baseline, Side::Candidate],
        _ => [Side::Candidate, Side::Baseline],
    };
    (0..trials).flat_map(move |i| pair(i).map(|side| (side, i)))
}

/// Measures both sides in turns into `dir/baseline` and `dir/candidate`. The trials of the baseline's settings count.
///
/// # Errors
/// As [`run`](super::run::run).
pub fn pair(
    baseline: &Setup<'_>,
    candidate: &Setup<'_>,
    dir: &Path,
    watchers: [&mut dyn Watcher; 2],
    stop: &Stop,
    watch: Watch<'_>,
) -> Result<[Finished; 2], SopError> {
    let [watcher_a, watcher_b] = watchers;
    let mut a = Measured::create(baseline, Side::Baseline, dir, watcher_a, stop)?;
    let mut b = Measured::create(candidate, Side::Candidate, dir, watcher_b, stop)?;
    let mut failed: Option<(Side, SopError)> = None;
    for (side, trial) in order(baseline.config.pipeline.trials) {
        let measured = match side {
            Side::Baseline => a.trial(trial, watch),
            Side::Candidate => b.trial(trial, watch),
        };
        if let Err(error) = measured {
            failed = Some((side, error));
            break;
        }
    }
    let (first, second) = match failed {
        None => {
            let first = a.instruments(stop);
            let second = if first.is_ok() { b.instruments(stop) } else { Ok(()) };
            (first, second)
        }
        // Not what went wrong, but what was asked for: both say so.
        Some((_, SopError::Target(TargetError::Interrupted))) => {
            (Err(TargetError::Interrupted.into()), Err(TargetError::Interrupted.into()))
        }
        Some((Side::Baseline, error)) => (Err(error), Err(TargetError::OtherSide.into())),
        Some((Side::Candidate, error)) => (Err(TargetError::OtherSide.into()), Err(error)),
    };
    // Both are closed before either's failure is told.
    let (first, second) = (a.recording.close(first), b.recording.close(second));
    Ok([first?, second?])
}

/// Measures one side alone as a pair does, a new process for each trial: into `out`, or into a new folder under `root`.
///
/// # Errors
/// As [`run`](super::run::run).
pub fn each_trial_anew(
    setup: &Setup<'_>,
    root: &Path,
    out: Option<PathBuf>,
    watcher: &mut dyn Watcher,
    stop: &Stop,
    watch: Watch<'_>,
) -> Result<Finished, SopError> {
    let recording = Recording::create(setup.config, &setup.lock, root, out, stop)?;
    let mut side = Measured { setup, recording, watcher };
    let mut outcome = Ok(());
    for trial in 0..setup.config.pipeline.trials {
        outcome = side.trial(trial, watch);
        if outcome.is_err() {
            break;
        }
    }
    let outcome = outcome.and_then(|()| side.instruments(stop));
    side.recording.close(outcome)
}

/// Measures two engines in turns into `dir/baseline` and `dir/candidate`: each run's folder, and what went wrong there.
///
/// Engines that are started get the same prompts. One that runs already, and may be the other side's too, gets prompts of
/// its own: its prefix cache must not know them.
///
/// # Errors
/// Settings that make no sense, or a folder that cannot be created.
pub fn pair_engines(
    baseline: bench::Setup,
    candidate: bench::Setup,
    dir: &Path,
    stop: &Stop,
    watch: Watch<'_>,
) -> Result<[(PathBuf, Option<BenchError>); 2], SopError> {
    let trials = baseline.config.measure.repeats;
    let salt = stopwatt_core::clock::unix_now().unsigned_abs();
    let runs_already = [&baseline, &candidate].iter().any(|s| s.config.target.url.is_some());
    let into = |setup: bench::Setup, side: Side| bench::Setup { out: Some(dir.join(side.name())), ..setup };
    let mut a = Turns::create(into(baseline, Side::Baseline), salt, stop)?;
    let mut b = Turns::create(into(candidate, Side::Candidate), salt ^ u64::from(runs_already), stop)?;
    let mut failed: Option<(Side, BenchError)> = None;
    for (side, trial) in order(trials) {
        if stop.is_interrupted() {
            break;
        }
        let measured = match side {
            Side::Baseline => a.trial(trial, watch),
            Side::Candidate => b.trial(trial, watch),
        };
        if let Err(error) = measured {
            failed = Some((side, error));
            break;
        }
    }
    let other = || Err(BenchError::EngineStart { problem: TargetError::OtherSide.to_string() });
    let (a, b) = match failed {
        None => (a.close(Ok(())), b.close(Ok(()))),
        Some(_) if stop.is_interrupted() => (a.close(Ok(())), b.close(Ok(()))),
        // Both runs say why they end; what is told is what really went wrong.
        Some((Side::Baseline, error)) => (a.close(Err(error)), (b.close(other()).0, None)),
        Some((Side::Candidate, error)) => ((a.close(other()).0, None), b.close(Err(error))),
    };
    Ok([a, b])
}

/// One side being measured.
struct Measured<'a> {
    setup: &'a Setup<'a>,
    recording: Recording<'a>,
    watcher: &'a mut dyn Watcher,
}

impl<'a> Measured<'a> {
    fn create(
        setup: &'a Setup<'a>,
        side: Side,
        dir: &Path,
        watcher: &'a mut dyn Watcher,
        stop: &'a Stop,
    ) -> Result<Self, SopError> {
        let out = Some(dir.join(side.name()));
        let recording = Recording::create(setup.config, &setup.lock, dir, out, stop)?;
        Ok(Self { setup, recording, watcher })
    }

    /// A process of its own, warmed up and measured once.
    fn trial(&mut self, trial: u32, watch: Watch<'_>) -> Result<(), SopError> {
        let mut target = self.setup.launch.launch(&[])?;
        let outcome = self.stages(target.as_mut(), trial, watch);
        let ended = self.recording.teardown(target.as_mut(), Some(trial));
        outcome?;
        Ok(ended?)
    }

    fn stages(&mut self, target: &mut dyn Target, trial: u32, watch: Watch<'_>) -> Result<(), SopError> {
        let Self { recording, watcher, .. } = self;
        recording.stage(stage::FINGERPRINT)?;
        let ready = recording.prepare(target, Some(trial), watch)?;
        recording.stage(stage::STABILISE)?;
        recording.warm_up(target, *watcher, watch)?;
        recording.stage(stage::MEASURE)?;
        recording.trial(target, trial, ready.pid, *watcher, watch)?;
        recording.stage(stage::OUTPUTS)?;
        recording.outputs(target, Some(trial), watch)
    }

    fn instruments(&mut self, stop: &Stop) -> Result<(), SopError> {
        self.recording.stage(stage::INSTRUMENTS)?;
        Ok(self.watcher.after_trials(self.recording.writer(), self.setup.launch, stop)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_is_the_other_way_round_than_the_one_before() {
        let letters: String = order(4)
            .map(|(side, trial)| format!("{}{trial} ", if side == Side::Baseline { 'A' } else { 'B' }))
            .collect();
        assert_eq!(letters, "A0 B0 B1 A1 A2 B2 B3 A3 ");
    }
}
