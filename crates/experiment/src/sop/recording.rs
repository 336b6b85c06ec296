//! One side of a measurement being written: each iteration is a row like a request, so that analysis, reports and
//! comparisons need not know what was measured.
//!
//! ```text
//! iteration   intended = dispatched = written = start ──(tokens)──► end
//! ```
//!
//! An iteration has no first byte: that is how analysis knows that its latency ends with it, not with its last token.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stopwatt_core::log::{Fact, MeanOf, PlannedPoint};
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::text::Lang;
use stopwatt_core::verdict::{BY_SIGNAL, Code, Remark};
use stopwatt_core::{ChunkKind, ChunkStamp, Clock, EndKind, Nanos, Phase, RequestRecord};
use stopwatt_load::Stop;
use stopwatt_record::run_dir::{Create, RunError, RunWriter};
use stopwatt_sensor::host;

use super::command::Program;
use super::config::{Protocol, SopConfig, TargetKind};
use super::error::SopError;
use super::target::{Ended, Iteration, Note, Occasion, Ready, Target, TargetError};
use super::warmup::{LEAST, Warmup};
use super::watcher::{Watcher, Window};
use crate::bench::Progress;
use crate::fingerprint::{self, Looked};

/// Who is told what is going on.
pub type Watch<'a> = &'a mut (dyn FnMut(Progress<'_>) + Send);

/// The stages of the procedure, in order, as they stand in `run.log`.
pub mod stage {
    /// What the machine and the target are.
    pub const FINGERPRINT: &str = "fingerprint";
    /// Warm-up until the target is steady.
    pub const STABILISE: &str = "stabilise";
    /// The trials.
    pub const MEASURE: &str = "measure";
    /// Hashes of what the target made.
    pub const OUTPUTS: &str = "outputs";
    /// Instruments that need runs of their own.
    pub const INSTRUMENTS: &str = "instruments";
}

/// A run being written.
pub(super) struct Recording<'a> {
    config: &'a SopConfig,
    writer: RunWriter,
    clock: Clock,
    stop: &'a Stop,
    next_id: u64,
    fingerprinted: bool,
    placed: bool,
    /// Hash of the outputs of an earlier trial.
    outputs: Option<String>,
    /// Last lines of the target's standard error, for those who may keep them.
    text: String,
}

impl<'a> Recording<'a> {
    /// Creates the run's folder.
    pub(super) fn create(
        config: &'a SopConfig,
        lock: &serde_json::Value,
        root: &Path,
        out: Option<PathBuf>,
        stop: &'a Stop,
    ) -> Result<Self, RunError> {
        let clock = Clock::start();
        let create = Create {
            root: root.to_owned(),
            out,
            name: "run".to_owned(),
            clock,
            keep_chunks: config.record.chunks,
        };
        let writer = RunWriter::create(create, lock)?;
        Ok(Self {
            config,
            writer,
            clock,
            stop,
            next_id: 0,
            fingerprinted: false,
            placed: false,
            outputs: None,
            text: String::new(),
        })
    }

    pub(super) fn writer(&self) -> &RunWriter {
        &self.writer
    }

    pub(super) fn stage(&self, stage: &str) -> Result<(), RunError> {
        self.writer.log(Fact::Stage { stage: stage.to_owned() })
    }

    fn occasion(&self, trial: Option<u32>) -> Occasion {
        Occasion {
            seed: self.config.seed,
            mode: self.config.pipeline.mode.clone(),
            trial,
            iterations: self.config.iterations(),
        }
    }

    /// Gets the target ready; the first time, logs what it and the machine are, and the plan.
    pub(super) fn prepare(
        &mut self,
        target: &mut dyn Target,
        trial: Option<u32>,
        watch: Watch<'_>,
    ) -> Result<Ready, SopError> {
        // Before the target works, so that nothing of its own counts as other people's load.
        let first = !std::mem::replace(&mut self.fingerprinted, true);
        let look = || {
            let program = Program::of(&self.config.target, false, self.stop);
            let command = program.map(|p| p.words(&self.occasion(trial))).map_err(|e| e.to_string());
            fingerprint::look(&Looked { command, inputs: self.config.input.clone() })
        };
        let looked = first.then(look);
        let ready = target.prepare(&self.occasion(trial))?;
        let Some(mut fingerprint) = looked else { return Ok(ready) };
        // Where the machine does not show its clocks, what the user says of them counts.
        fingerprint.fixed_clock = fingerprint.fixed_clock.or(self.config.pipeline.fixed_clock);
        let facts = ready.facts.iter().map(|(k, v)| (k.clone(), v.clone()));
        fingerprint.engine.extend(facts);
        fingerprint.engine.insert("model".to_owned(), ready.name.clone());
        self.writer.log(Fact::Fingerprint { fingerprint })?;
        let (protocol, seed) = match (self.config.target.kind, self.config.target.protocol) {
            (TargetKind::Layout, _) => {
                ("layout", "of random weights, of the text without a file, and of the random arm")
            }
            (TargetKind::Kernel, _) => ("kernel", "of the operands that its result is checked on"),
            (TargetKind::Workload, _) => ("workload", "of the inputs, with the trial and the iteration"),
            (_, Protocol::JsonLines) => (Protocol::JsonLines.name(), "told to the target"),
            (_, Protocol::Wall) => (Protocol::Wall.name(), "in the target's environment"),
        };
        let features = BTreeMap::from([
            ("protocol".to_owned(), protocol.to_owned()),
            ("seed".to_owned(), seed.to_owned()),
        ]);
        self.writer.log(Fact::EngineProbed { model: ready.name.clone(), features })?;
        let label = ready.name.clone();
        watch(Progress::Point { index: 0, of: 1, label: label.clone() });
        let point = PlannedPoint {
            label,
            concurrency: None,
            rate_rps: None,
            input: None,
            output: None,
            engine_settings: BTreeMap::new(),
        };
        self.writer.log(Fact::Plan { points: vec![point], trials: self.config.pipeline.trials })?;
        for note in &ready.notes {
            match note {
                Note::Stage(stage) => self.stage(stage)?,
                Note::File { name, bytes } => self.writer.write_file(name, bytes)?,
                Note::Warning(remark) => self.warn(remark, watch)?,
            }
        }
        Ok(ready)
    }

    /// Iterates until the target is steady, and at least as often as asked.
    pub(super) fn warm_up(
        &mut self,
        target: &mut dyn Target,
        watcher: &mut dyn Watcher,
        watch: Watch<'_>,
    ) -> Result<(), SopError> {
        let pipeline = &self.config.pipeline;
        if pipeline.warmup_iter == 0 {
            let detail = "warm-up is switched off".to_owned();
            self.writer.log(Fact::WarmupEnded { point: 0, requests: 0, steady: None, detail })?;
            return Ok(());
        }
        watch(Progress::WarmupStarted);
        watcher.warm_up_begins(&self.writer)?;
        let mut series = Warmup::new(pipeline.warmup_iter, pipeline.warmup_max_s, self.clock.now());
        let mut heating_since = None;
        let settled = loop {
            let now = self.clock.now();
            let more = match series.wanted(now) {
                Some(more) => more,
                None => {
                    let settled = watcher.settled(&self.writer)?;
                    let since = *heating_since.get_or_insert(now);
                    let over = (now - since) as f64 * 1e-9 >= self.config.measure.thermal_max_s;
                    if settled != Some(false) || over {
                        break settled;
                    }
                    // Looks grow with the series, which each of them reads as a whole.
                    (series.iterations() / 8).max(LEAST)
                }
            };
            self.iterate(target, more, Phase::Warmup, 0, &mut |iteration, _| series.take(iteration))?;
        };
        let (steady, mut detail) = series.verdict();
        match settled {
            None => {}
            Some(true) => detail.push_str("; temperature and clock of the GPUs are flat"),
            Some(false) => {
                let longest = format!("{}", self.config.measure.thermal_max_s);
                self.warn(&Remark::new(Code::StillHeating, [longest]), watch)?;
            }
        }
        let requests = series.iterations();
        self.writer.log(Fact::WarmupEnded { point: 0, requests, steady: Some(steady), detail })?;
        watch(Progress::WarmupEnded { steady: Some(steady), requests });
        watcher.warm_up_ended(&self.writer)?;
        Ok(())
    }

    /// One trial.
    pub(super) fn trial(
        &mut self,
        target: &mut dyn Target,
        trial: u32,
        pid: Option<u32>,
        watcher: &mut dyn Watcher,
        watch: Watch<'_>,
    ) -> Result<(), SopError> {
        let n = self.config.iterations();
        let of = self.config.pipeline.trials;
        watch(Progress::Trial { index: trial, of, requests: Some(n), seconds: None });
        self.writer.log(Fact::TrialStarted { point: 0, trial })?;
        let before = pid.and_then(host::tree_usage);
        watcher.trial_begins(&self.writer, trial, pid)?;
        let mut seen = Seen::default();
        self.iterate(target, n, Phase::Measure, trial, &mut |iteration, record| {
            seen.take(iteration);
            watch(Progress::Request(record));
        })?;
        let window = seen.window(trial);
        watcher.trial_ended(&self.writer, window)?;
        let after = pid.and_then(host::tree_usage);
        // A trial that the log calls ended has its rows on the disk, whatever happens next.
        self.writer.settle()?;
        self.writer.log(Fact::TrialEnded {
            point: 0,
            trial,
            start_ns: self.clock.from_raw(window.start_ns),
            end_ns: self.clock.from_raw(window.end_ns),
            client_cpu_s: None,
            engine_cpu_s: after.as_ref().zip(before).map(|(a, b)| (a.cpu_s - b.cpu_s).max(0.0)),
            engine_rss_bytes: after.map(|u| u.peak_rss_bytes.unwrap_or(u.rss_bytes)),
            planned: None,
            counters_before: BTreeMap::new(),
            counters_after: BTreeMap::new(),
            reads: None,
        })?;
        let means = seen.means();
        if !means.is_empty() {
            self.writer.log(Fact::TargetMetrics { point: 0, trial, means })?;
        }
        if seen.placed && !std::mem::replace(&mut self.placed, true) {
            self.warn(&Remark::new(Code::DurationsPlaced, []), watch)?;
        }
        Ok(())
    }

    /// Iterations as rows. What was measured before an error is kept.
    fn iterate(
        &mut self,
        target: &mut dyn Target,
        n: u64,
        phase: Phase,
        trial: u32,
        seen: &mut dyn FnMut(&Iteration, &RequestRecord),
    ) -> Result<(), SopError> {
        let mut failed: Option<RunError> = None;
        let (writer, clock, stop) = (&self.writer, self.clock, self.stop);
        let mut next_id = self.next_id;
        let outcome = target.iterate(n, &mut |iteration| {
            let record = row(&iteration, next_id, phase, trial, clock);
            next_id += 1;
            seen(&iteration, &record);
            if let Err(error) = writer.push(record) {
                failed.get_or_insert(error);
                // Nothing measured from here on could be kept.
                stop.interrupt();
            }
        });
        self.next_id = next_id;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(outcome?),
        }
    }

    /// Asks for the hash of the outputs, and whether it is that of the trial before.
    pub(super) fn outputs(
        &mut self,
        target: &mut dyn Target,
        trial: Option<u32>,
        watch: Watch<'_>,
    ) -> Result<(), SopError> {
        let sha256 = target.outputs()?;
        self.writer.log(Fact::Outputs { trial, sha256: sha256.clone() })?;
        let before = std::mem::replace(&mut self.outputs, sha256.clone());
        if let (Some(before), Some(now)) = (before, sha256)
            && before != now
            && !self.config.target.outputs_vary
        {
            self.warn(&Remark::new(Code::OutputsDiffer, []), watch)?;
        }
        Ok(())
    }

    /// Ends the target and logs how it ended.
    pub(super) fn teardown(&mut self, target: &mut dyn Target, trial: Option<u32>) -> Result<(), RunError> {
        let Ended { exit, killed, log, text } = target.teardown();
        self.text.push_str(&text);
        self.writer.log(Fact::TargetEnded { trial, exit, killed, log })
    }

    fn warn(&self, remark: &Remark, watch: Watch<'_>) -> Result<(), RunError> {
        watch(Progress::Warning(remark.sentence(Lang::En)));
        self.writer.log(Fact::warning(remark))
    }

    /// Writes the last line and closes the files. What went wrong with the target is handed back: the run says it too.
    pub(super) fn close(self, outcome: Result<(), SopError>) -> Result<Finished, SopError> {
        let (status, reason) = match &outcome {
            Ok(()) if self.stop.is_interrupted() => (RunStatus::Incomplete, Some(BY_SIGNAL.to_owned())),
            Ok(()) => (RunStatus::Complete, None),
            Err(error) => (RunStatus::Incomplete, Some(error.to_string())),
        };
        let ended = Fact::RunEnded {
            status,
            reason,
            client_rss_bytes: host::own_peak_rss_bytes(),
            wall_drift_ns: self.clock.wall_drift(),
        };
        let path = self.writer.path().to_owned();
        let logged = self.writer.log(ended);
        let kept = match self.text.is_empty() {
            true => Ok(()),
            false => self.writer.write_file("engine.log", self.text.as_bytes()),
        };
        let finished = self.writer.finish();
        let failure = match outcome {
            Ok(()) => None,
            Err(SopError::Target(error)) => Some(error),
            Err(other) => return Err(other),
        };
        logged.and(kept).and(finished)?;
        Ok(Finished { path, failure })
    }
}

/// A measurement that came to its end: by itself, by a signal, or because the target failed.
#[derive(Debug)]
pub struct Finished {
    /// The run's folder.
    pub path: PathBuf,
    /// What went wrong with the target.
    pub failure: Option<TargetError>,
}

/// An iteration as a row.
fn row(iteration: &Iteration, id: u64, phase: Phase, trial: u32, clock: Clock) -> RequestRecord {
    let start = clock.from_raw(iteration.start_ns);
    // One token a stamp where the numbers say so.
    let each = iteration.tokens.filter(|n| *n as usize == iteration.token_ns.len()).map(|_| 1);
    let chunk = |raw: &Nanos| ChunkStamp::new(clock.from_raw(*raw), each, ChunkKind::Content);
    RequestRecord {
        id,
        phase,
        trial,
        output_asked: iteration.tokens.unwrap_or(0),
        output_usage: iteration.tokens,
        intended_ns: start,
        dispatched_ns: Some(start),
        written_ns: Some(start),
        end_ns: clock.from_raw(iteration.end_ns),
        end: EndKind::Ok,
        chunks: iteration.token_ns.iter().map(chunk).collect(),
        ..RequestRecord::blank()
    }
}

/// What a trial comes to.
#[derive(Debug, Default)]
struct Seen {
    start_ns: Option<Nanos>,
    end_ns: Nanos,
    iterations: u64,
    /// Iterations that told their tokens, and their sum.
    told: u64,
    tokens: u64,
    sums: BTreeMap<String, (f64, u64)>,
    placed: bool,
}

impl Seen {
    fn take(&mut self, iteration: &Iteration) {
        self.start_ns = Some(self.start_ns.map_or(iteration.start_ns, |s| s.min(iteration.start_ns)));
        self.end_ns = self.end_ns.max(iteration.end_ns);
        self.iterations += 1;
        self.told += u64::from(iteration.tokens.is_some());
        self.tokens += u64::from(iteration.tokens.unwrap_or(0));
        self.placed |= iteration.placed;
        for (name, value) in &iteration.metrics {
            let (sum, n) = self.sums.entry(name.clone()).or_default();
            *sum += value;
            *n += 1;
        }
    }

    fn window(&self, trial: u32) -> Window {
        Window {
            trial,
            start_ns: self.start_ns.unwrap_or(self.end_ns),
            end_ns: self.end_ns,
            iterations: self.iterations,
            tokens: (self.told == self.iterations).then_some(self.tokens),
        }
    }

    fn means(&self) -> BTreeMap<String, MeanOf> {
        let mean = |(sum, n): &(f64, u64)| MeanOf { mean: sum / *n as f64, n: *n };
        self.sums.iter().map(|(name, sum)| (name.clone(), mean(sum))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iteration(start_ns: Nanos, end_ns: Nanos) -> Iteration {
        Iteration { start_ns, end_ns, tokens: Some(2), ..Iteration::default() }
    }

    #[test]
    fn a_row_holds_the_times_as_they_were_whatever_is_run() {
        let clock = Clock { t0_monotonic_ns: 1_000, t0_unix_ns: 0 };
        let with_tokens = Iteration { token_ns: vec![1_500, 1_900], ..iteration(1_100, 2_000) };
        let row = row(&with_tokens, 3, Phase::Measure, 1, clock);
        assert_eq!((row.intended_ns, row.dispatched_ns, row.end_ns), (100, Some(100), 1_000));
        assert_eq!((row.first_byte_ns, row.output_usage), (None, Some(2)));
        let chunks: Vec<_> = row.chunks.iter().map(|c| (c.t_ns, c.tokens)).collect();
        assert_eq!(chunks, [(500, Some(1)), (900, Some(1))]);
    }

    #[test]
    fn a_window_reaches_from_the_first_begin_to_the_last_end() {
        let mut seen = Seen::default();
        for (start, end, loss) in [(10, 20, 1.0), (30, 60, 2.0)] {
            let metrics = BTreeMap::from([("loss".to_owned(), loss)]);
            seen.take(&Iteration { metrics, ..iteration(start, end) });
        }
        let window = Window { trial: 4, start_ns: 10, end_ns: 60, iterations: 2, tokens: Some(4) };
        assert_eq!(seen.window(4), window);
        assert_eq!(seen.means()["loss"], MeanOf { mean: 1.5, n: 2 });
        seen.take(&Iteration { tokens: None, ..iteration(60, 70) });
        assert_eq!(seen.window(4).tokens, None);
    }
}
