//! `stopwatt run`: any target under the measurement procedure.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_experiment::bench::Stop;
use stopwatt_experiment::sop::{self, SopConfig, TargetError, TargetKind};
use stopwatt_record::config::Resolved;
use stopwatt_record::run_dir::Run;

use super::gpu_settings::GpuFlags;
use super::place::{self, Delivery, Place};
use super::procedure::{Judging, ProcedureArgs, benchmark, launcher, lock, watcher, write_reports};
use super::{Failure, Language, bench, report};
use crate::exit::Outcome;
use crate::progress::Progress;
use crate::stop::Signals;

/// Measure any program or engine by the measurement procedure, and write a run
///
/// Fingerprint, warm-up until the times are steady, trials of equal length on the monotonic clock, a hash of the outputs,
/// then the report. The program speaks JSON lines (docs/run.md), or is timed from start to exit with --protocol wall.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt run --command 'python3 target.py' --repeats 1000 --trials 5
  stopwatt run --command 'python3 target.py' --override pipeline.mode=iterative --out runs/iter
  stopwatt run --protocol wall --command './step --seed {seed}' --override target.tokens=128
  stopwatt run -c config.yaml --allow-commands --override pipeline.mode=linear --out runs/linear
  stopwatt run -c kernel.yaml --repeats 500
  stopwatt run -c layout.yaml --override pipeline.mode=iterative --out runs/iter
  stopwatt run -c config.yaml --override target.kind=bench --dry-run")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    procedure: ProcedureArgs,
    /// Folder of the run, also as file:///DIR, or an object store as s3://BUCKET/PREFIX; nothing may be there
    /// [default: stopwatt-runs/ID]
    #[arg(long, value_name = "PLACE", value_parser = super::place::parse, help_heading = "Result")]
    out: Option<Place>,
    /// Prepare the target and write the record, without measuring
    #[arg(long, help_heading = "Measurement")]
    no_measure: bool,
    /// Exit with 4 when the run is invalid
    #[arg(long, help_heading = "Result")]
    strict: bool,
}

/// Runs the command.
pub(crate) fn run(args: &RunArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let procedure = &args.procedure;
    if procedure.schema(out)? {
        return Ok(Outcome::Done);
    }
    let more: Vec<String> =
        args.no_measure.then(|| "pipeline.no_measure=true".to_owned()).into_iter().collect();
    let resolved = procedure.resolve(None, &more, &[])?;
    if procedure.shown(&[&resolved], out)? {
        return Ok(Outcome::Done);
    }
    procedure.refuse_foreign_command(&resolved)?;
    let config = &resolved.value;
    let place = match (&args.out, &config.report.out_dir) {
        (Some(place), _) => Some(place.clone()),
        (None, Some(text)) => Some(place::parse(text).map_err(|problem| {
            Failure::new(Outcome::Configuration, anyhow::anyhow!("report.out_dir: {problem}"))
        })?),
        (None, None) => None,
    };
    if config.target.kind == TargetKind::Bench {
        return engine(args, &resolved, place, out);
    }
    let judged = config.quality.is_asked(config)?;
    let lang = procedure.lang;
    let (delivery, folder) = Delivery::prepare(place.as_ref())?;
    let gpu = procedure.gpu.clone();
    let what = What { lock: lock(&resolved)?, folder, each_trial_anew: false, judged, lang, gpu };
    let measured = match program_run(&resolved, what, procedure.progress()) {
        Ok(measured) => measured,
        Err(error) => return Err(delivery.give_back(error)),
    };
    let written = measured.written;
    report::print(&written, procedure.format, procedure.lang.into(), out)?;
    delivery.send(&written.path)?;
    if let Some(outcome) = measured.signal {
        return Ok(outcome);
    }
    if let Some(failure) = measured.failure {
        return Err(failure.into());
    }
    let doc = &written.analysed.doc;
    Ok(match doc.status {
        RunStatus::Incomplete => Outcome::MeasurementFailed,
        RunStatus::Complete if measured.timed_out => Outcome::SolverTimeout,
        RunStatus::Complete if config.pipeline.no_measure => Outcome::Done,
        RunStatus::Complete if args.strict && !doc.validity.valid => Outcome::MeasurementFailed,
        RunStatus::Complete => Outcome::Done,
    })
}

/// How a program is measured, beside its settings.
pub(super) struct What {
    /// What is locked.
    pub(super) lock: serde_json::Value,
    /// Folder of the run; `None` makes one.
    pub(super) folder: Option<PathBuf>,
    /// A new process for each trial, as in a pair.
    pub(super) each_trial_anew: bool,
    /// Its outputs are judged afterwards.
    pub(super) judged: bool,
    /// Language of the report.
    pub(super) lang: Language,
    /// Settings of GPUs for the time of the measurement.
    pub(super) gpu: GpuFlags,
}

/// A program that was measured.
pub(super) struct Measured {
    pub(super) written: report::Written,
    /// What a signal asked for, if there was one.
    pub(super) signal: Option<Outcome>,
    /// What went wrong with the target.
    pub(super) failure: Option<TargetError>,
    /// A solver's time was over.
    pub(super) timed_out: bool,
}

/// Measures a program and writes the reports.
pub(super) fn program_run(
    resolved: &Resolved<SopConfig>,
    what: What,
    mut progress: Progress,
) -> anyhow::Result<Measured> {
    let config = &resolved.value;
    super::refuse_missing_gpus(config.measure.gpus.as_deref())?;
    let stop = Stop::new();
    let launch = launcher(resolved, &stop)?;
    let on_signal = stop.clone();
    let signals = Signals::install(move || on_signal.interrupt())?;
    let setup = sop::Setup { config, lock: what.lock, launch: launch.as_ref() };
    let mut held = what.gpu.hold(config.measure.gpus.as_deref())?;
    let mut watcher = watcher(config, &sop::FirstStart::default(), &stop);
    let measure = if what.each_trial_anew { sop::each_trial_anew } else { sop::run };
    let finished =
        measure(&setup, &super::runs_root(), what.folder, watcher.as_mut(), &stop, &mut |event| {
            progress.show(event);
        })?;
    progress.end();
    held.release_into(&finished.path)?;
    if what.judged && finished.failure.is_none() {
        judge(config, &finished.path, &stop)?;
    }
    let written = write_reports(&finished.path, config, what.lang)?;
    let timed_out = launch.timed_out();
    Ok(Measured { written, signal: signals.outcome(), failure: finished.failure, timed_out })
}

/// Judges the outputs when that was asked for, and notes what was found in the run.
fn judge(config: &SopConfig, path: &Path, stop: &Stop) -> anyhow::Result<()> {
    if stop.is_interrupted() || config.pipeline.no_measure {
        return Ok(());
    }
    let judging = Judging::of(config)?;
    if let Some(fact) = sop::quality(&judging.side(config, stop))? {
        Run::open(path)?.note(fact)?;
    }
    Ok(())
}

/// An engine: `stopwatt bench` with the procedure's warm-up and repeats.
fn engine(
    args: &RunArgs,
    resolved: &Resolved<SopConfig>,
    place: Option<Place>,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let (benchmark, lock) = benchmark(resolved)?;
    let shown = bench::Shown {
        out: place,
        format: args.procedure.format,
        lang: args.procedure.lang,
        dialect: None,
        strict: args.strict,
        quiet: args.procedure.quiet,
        gpu: args.procedure.gpu.clone(),
    };
    let asked = resolved.value.quality.is_asked(&resolved.value)?;
    bench::measure(&benchmark, lock, None, &shown, out, &mut |path, stop| {
        if asked { judge(&resolved.value, path, stop) } else { Ok(()) }
    })
}
