//! The run that `ocr run` writes: a row a page request and the log of what was planned and done, as of every run, so
//! that the catalogue, reports and comparisons need not know that pages were read.
//!
//! ```text
//! point   pages at once × resolution × degradation        trial   one time that all pages of a point are read
//! ```
//!
//! Nothing in it tells of a document: rows hold times and counts, the log the hash of the truth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_analyse::Settings;
use stopwatt_core::log::{Fact, MeanOf, PlannedPoint};
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::verdict::BY_SIGNAL;
use stopwatt_core::{Clock, Phase, RequestRecord};
use stopwatt_experiment::fingerprint::{InputConfig, Looked, look};
use stopwatt_load::Stop;
use stopwatt_ocr::read::endpoint::Endpoint;
use stopwatt_ocr::read::exec::Program;
use stopwatt_ocr::read::{Attempt, Failure, Task};
use stopwatt_ocr::run::{Pass, Point, Reader, Reads};
use stopwatt_quality::Counts;
use stopwatt_record::config::Layers;
use stopwatt_record::redact;
use stopwatt_record::run_dir::{Create, RunError, RunWriter};
use stopwatt_sensor::host;

use super::run::{Problem, private};

/// What was asked; the settings of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OcrSettings {
    /// `exec` or `endpoint`.
    pub(super) reader: String,
    /// Name of the program's file, or of the model.
    pub(super) name: String,
    /// Arguments of the program; of paths the last part.
    pub(super) arguments: Vec<String>,
    /// Address of the service.
    pub(super) url: Option<String>,
    pub(super) mode: String,
    pub(super) types: Vec<String>,
    pub(super) dpi: Vec<u32>,
    pub(super) degrade: Vec<String>,
    pub(super) concurrency: Vec<u32>,
    pub(super) repeat: u32,
    pub(super) warmup: usize,
    pub(super) timeout_s: f64,
    pub(super) max_tokens: u32,
    pub(super) min_samples: u64,
    pub(super) normalisation: String,
    pub(super) seed: u64,
}

impl OcrSettings {
    fn lock(&self) -> anyhow::Result<serde_json::Value> {
        let mut layers = Layers::<Self>::new();
        if let serde_json::Value::Object(all) = serde_json::to_value(self)? {
            for (key, value) in all {
                layers = layers.flag(&key, "ocr run", Some(value));
            }
        }
        let mut lock = layers.resolve()?.lock();
        let analysis = Settings { mode: "ocr".to_owned(), seed: self.seed, ..Settings::default() };
        if let Some(lock) = lock.as_object_mut() {
            lock.insert(stopwatt_report::ANALYSIS_KEY.to_owned(), serde_json::to_value(analysis)?);
        }
        Ok(lock)
    }
}

/// Words of a command that say how it reads; a path tells its last part alone.
pub(super) fn arguments(words: &[String]) -> Vec<String> {
    let word = |w: &String| if w.contains('/') { redact::file_name(w) } else { redact::text(w) };
    words.iter().skip(1).map(word).collect()
}

/// What reads.
pub(super) enum Source {
    Exec(Program),
    Endpoint(Endpoint),
}

/// A run being written.
pub(super) struct Recording<'a> {
    writer: RunWriter,
    clock: Clock,
    stop: &'a Stop,
    source: Source,
    done: &'a (dyn Fn() + Sync),
    next_id: AtomicU64,
    labels: Vec<String>,
    /// Pages of the trial that is being read, and its begin.
    trial: Option<(Pass, i64, f64)>,
}

impl<'a> Recording<'a> {
    /// Creates the run's folder, readable by its owner only, and says with what and on what is measured.
    pub(super) fn create(
        out: Option<PathBuf>,
        settings: &OcrSettings,
        truth: &Path,
        (source, reader): (Source, &Reader),
        stop: &'a Stop,
        done: &'a (dyn Fn() + Sync),
    ) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let create = Create {
            root: crate::command::runs_root(),
            out,
            name: "ocr".to_owned(),
            clock,
            keep_chunks: true,
        };
        let writer = RunWriter::create(create, &settings.lock()?)?;
        private(writer.path(), 0o700)?;
        let command = match &source {
            Source::Exec(program) => Ok(program.words.clone()),
            Source::Endpoint(_) => Err("the service was not started by Stopwatt".to_owned()),
        };
        let inputs =
            InputConfig { dataset: Some(truth.to_string_lossy().into_owned()), ..InputConfig::default() };
        let mut fingerprint = look(&Looked { command, inputs });
        fingerprint.engine.insert("model".to_owned(), reader.name.clone());
        writer.log(Fact::Fingerprint { fingerprint })?;
        let features = BTreeMap::from([("reader".to_owned(), reader.kind.clone())]);
        writer.log(Fact::EngineProbed { model: reader.name.clone(), features })?;
        let next_id = AtomicU64::new(0);
        Ok(Self { writer, clock, stop, source, done, next_id, labels: Vec::new(), trial: None })
    }

    /// Writes a file that only the owner can read.
    pub(super) fn file(&self, name: &str, content: &str) -> anyhow::Result<()> {
        self.writer.write_file(name, content.as_bytes())?;
        private(&self.writer.path().join(name), 0o600)
    }

    /// Writes the last line and closes the files; `cut` says why not everything was read.
    pub(super) fn close(self, cut: Option<String>) -> Result<PathBuf, RunError> {
        let reason = cut.or_else(|| self.stop.is_interrupted().then(|| BY_SIGNAL.to_owned()));
        let status = if reason.is_some() { RunStatus::Incomplete } else { RunStatus::Complete };
        let path = self.writer.path().to_owned();
        let logged = self.writer.log(Fact::RunEnded {
            status,
            reason,
            client_rss_bytes: host::own_peak_rss_bytes(),
            wall_drift_ns: self.clock.wall_drift(),
        });
        self.writer.finish()?;
        logged?;
        Ok(path)
    }
}

/// `c=8 150 DPI clean`.
fn label(point: &Point) -> String {
    let mut words = vec![format!("c={}", point.concurrency)];
    words.extend(point.dpi.map(|dpi| format!("{dpi} DPI")));
    words.extend(point.degrade.clone());
    words.join(" ")
}

impl Reads for Recording<'_> {
    type Error = Problem;

    fn planned(&mut self, points: &[Point], trials: u32) -> Result<(), Problem> {
        self.labels = points.iter().map(label).collect();
        let planned = points.iter().map(|point| PlannedPoint {
            label: label(point),
            concurrency: u32::try_from(point.concurrency).ok(),
            rate_rps: None,
            input: None,
            output: None,
            engine_settings: [
                point.dpi.map(|dpi| ("dpi".to_owned(), dpi.to_string())),
                point.degrade.clone().map(|degrade| ("degrade".to_owned(), degrade)),
            ]
            .into_iter()
            .flatten()
            .collect(),
        });
        Ok(self.writer.log(Fact::Plan { points: planned.collect(), trials })?)
    }

    fn read(&mut self, tasks: &[Task], pass: Pass) -> Result<Vec<Attempt>, Problem> {
        let cpu_s = || host::own_and_children().map_or(0.0, |u| u.cpu_s);
        let counts = pass.phase == Phase::Measure;
        if counts && self.trial.is_none_or(|(last, ..)| last != pass) {
            self.writer.log(Fact::TrialStarted { point: pass.point, trial: pass.trial })?;
            self.trial = Some((pass, self.clock.now(), cpu_s()));
        }
        let failed = std::sync::Mutex::new(None::<RunError>);
        let push = |record: RequestRecord| {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let Pass { point, trial, phase, .. } = pass;
            let row = RequestRecord { id, point, trial, phase, ..record };
            if let Err(error) = self.writer.push(row) {
                // Nothing read from here on could be kept.
                self.stop.interrupt();
                if let Ok(mut failed) = failed.lock() {
                    failed.get_or_insert(error);
                }
            }
            (self.done)();
        };
        let attempts = match &self.source {
            Source::Exec(program) => {
                let stopped = || self.stop.is_interrupted();
                program.read(tasks, pass.concurrency, self.clock, &stopped, &push)
            }
            Source::Endpoint(endpoint) => {
                endpoint.read(tasks, pass.concurrency, self.clock, self.stop, &push)?
            }
        };
        if let Some(error) = failed.into_inner().ok().flatten() {
            return Err(error.into());
        }
        if !counts {
            let (requests, detail) = (tasks.len() as u64, "pages read before anything counts".to_owned());
            self.writer.log(Fact::WarmupEnded { point: 0, requests, steady: None, detail })?;
        }
        useful(attempts)
    }

    fn trial_ended(&mut self, pass: Pass, errors: Counts) -> Result<(), Problem> {
        let Some((_, start_ns, cpu_before)) = self.trial.take() else { return Ok(()) };
        if self.stop.is_interrupted() {
            return Ok(());
        }
        let end_ns = self.clock.now();
        self.writer.settle()?;
        let Pass { point, trial, .. } = pass;
        self.writer.log(Fact::TrialEnded {
            point,
            trial,
            start_ns,
            end_ns,
            client_cpu_s: host::own_and_children().map(|u| (u.cpu_s - cpu_before).max(0.0)),
            engine_cpu_s: None,
            engine_rss_bytes: None,
            planned: None,
            counters_before: BTreeMap::new(),
            counters_after: BTreeMap::new(),
            reads: None,
        })?;
        if let Some(mean) = errors.rate() {
            let name = match self.labels.as_slice() {
                [_] => "cer".to_owned(),
                labels => labels.get(point as usize).map_or_else(|| "cer".to_owned(), |l| format!("cer {l}")),
            };
            let means = BTreeMap::from([(name, MeanOf { mean, n: errors.reference })]);
            self.writer.log(Fact::TargetMetrics { point, trial, means })?;
        }
        Ok(())
    }
}

/// Refuses to go on where nothing at all was read for a reason that holds for every page.
fn useful(attempts: Vec<Attempt>) -> Result<Vec<Attempt>, Problem> {
    let all = |failure| !attempts.is_empty() && attempts.iter().all(|a| a.failure == Some(failure));
    if all(Failure::Start) {
        return Err(Problem::Start);
    }
    if all(Failure::Refused) {
        return Err(Problem::Refused);
    }
    Ok(attempts)
}
