//! One load of a calibration: an exact engine of its own, a closed loop, and what came of it.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use stopwatt_core::ceiling::CeilingStage;
use stopwatt_core::{Clock, EndKind, Phase, RequestRecord};
use stopwatt_load::{Client, Drain, Job, Limits, Outcome, Pace, Path as Endpoint, Stop, Target};
use stopwatt_stats::quantile::{quantile, sort};
use stopwatt_wire::openai::{Options, Prompt};

use super::TOKENS;
use super::truth::{self, Errors};
use crate::bench::{BenchError, EngineChild};

/// Time to the first token of paced streams, in milliseconds.
const TTFT_MS: u32 = 50;

/// One load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) streams: u32,
    pub(super) events_per_write: u32,
    /// 0: as fast as it goes.
    pub(super) gap_s: f64,
    /// How long it lasts at most.
    pub(super) seconds: f64,
}

impl Load {
    fn is_paced(self) -> bool {
        self.gap_s > 0.0
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_paced() {
            write!(f, "{} streams, a token every {:.0} ms", self.streams, self.gap_s * 1e3)
        } else {
            write!(f, "{} streams, flood, {} in a write", self.streams, self.events_per_write)
        }
    }
}

/// Measures one load.
pub(super) fn measure(program: &Path, load: Load, stop: &Stop) -> Result<CeilingStage, BenchError> {
    let log = load.is_paced().then(truth::temporary_file);
    let child = engine(program, load, log.as_deref())?;
    let outcome = drive(&child, load, stop);
    // Its end closes the log.
    drop(child);
    let truth = log.as_deref().map(truth::read);
    if let Some(log) = &log {
        // A file of the temporary folder that cannot be removed is the system's to clear.
        let _ = std::fs::remove_file(log);
    }
    let (outcome, clock, records) = outcome?;
    let truth = truth
        .transpose()
        .map_err(|e| BenchError::Calibration { problem: format!("read the engine's log: {e}") })?;
    let errors = truth.map(|truth| {
        let mut errors = Errors::default();
        // The first wave opens connections and begins at one moment, which no real load does.
        for record in records.iter().filter(|r| r.id >= u64::from(load.streams)) {
            if let Some(truth) = truth.get(&record.id) {
                errors.add(record, truth, clock);
            }
        }
        errors
    });
    stage(load, &outcome, errors)
}

fn engine(program: &Path, load: Load, log: Option<&Path>) -> Result<EngineChild, BenchError> {
    let mut command = Command::new(program);
    command.args(["serve", "--kind", "exact", "--port", "0", "--exit-with-parent"]);
    let ttft = if load.is_paced() { TTFT_MS } else { 0 };
    command.arg("--ttft").arg(format!("{ttft}ms"));
    command.arg("--itl").arg(format!("{}ms", load.gap_s * 1e3));
    command.arg("--coalesce").arg(load.events_per_write.to_string());
    if let Some(log) = log {
        command.arg("--truth-log").arg(log);
    }
    EngineChild::spawn(command, false)
}

fn drive(
    child: &EngineChild,
    load: Load,
    stop: &Stop,
) -> Result<(Outcome, Clock, Vec<RequestRecord>), BenchError> {
    let target = Target::parse(&child.ready.url)?;
    let options = Options {
        model: child.ready.model.clone(),
        stream: true,
        include_usage: true,
        ignore_eos: true,
        ..Options::default()
    };
    let template = crate::bench::template(&options)?;
    // Paced: one wave to begin with and one to look at, whose end is waited for. A flood is cut off.
    let requests = if load.is_paced() { u64::from(2 * load.streams) } else { u64::MAX };
    let mut jobs = |id: u64| {
        (id < requests).then(|| Job {
            id,
            point: 0,
            trial: 0,
            phase: Phase::Measure,
            session: None,
            turn: None,
            input_asked: 5,
            output_asked: TOKENS,
            path: Endpoint::Completions,
            body: template.completions(Prompt::Text("Tell me a story."), TOKENS),
        })
    };
    let limits = Limits {
        max_duration: (!load.is_paced()).then(|| Duration::from_secs_f64(load.seconds)),
        drain: Drain::Cancel,
        idle_timeout: Duration::from_secs(5),
        total_timeout: Duration::from_secs(30),
        ..Limits::default()
    };
    let clock = Clock::start();
    let mut records = Vec::new();
    let outcome = Client::new(&target)?.run(
        Pace::Closed { concurrency: load.streams as usize },
        &mut jobs,
        &limits,
        stop,
        clock,
        &mut |done| {
            if load.is_paced() && done.record.end == EndKind::Ok {
                records.push(done.record);
            }
        },
    )?;
    Ok((outcome, clock, records))
}

fn stage(load: Load, outcome: &Outcome, errors: Option<Errors>) -> Result<CeilingStage, BenchError> {
    let seconds = (outcome.end_ns - outcome.start_ns) as f64 * 1e-9;
    let reads = outcome.reads;
    if reads.pieces == 0 || seconds <= 0.0 {
        return Err(BenchError::Calibration { problem: format!("nothing came through ({load})") });
    }
    let mut errors = errors.unwrap_or_default();
    let at = |values: &mut Vec<f64>, p: f64| {
        sort(values);
        (!values.is_empty()).then(|| quantile(values, p))
    };
    let events_per_s = reads.pieces as f64 / seconds;
    let client_cores = outcome.cpu_s / seconds;
    Ok(CeilingStage {
        streams: load.streams,
        events_per_write: load.events_per_write,
        gap_s: load.gap_s,
        events_per_s,
        reads_per_s: (reads.kernel + reads.user) as f64 / seconds,
        client_cores,
        cpu_s_per_million: client_cores * 1e6 / events_per_s,
        ttft_error_p50_s: at(&mut errors.ttft_error, 0.5),
        ttft_error_p99_s: at(&mut errors.ttft_error, 0.99),
        itl_error_p99_s: at(&mut errors.itl_error, 0.99),
        tpot_error_p99_s: at(&mut errors.tpot_error, 0.99),
        lag_p99_s: reads.lag_p99_s,
    })
}
