//! One run in progress: warm-up and trials of each point, everything written down as it happens.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::engine::EngineCounters;
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::log::{Fact, PlannedPoint};
use stopwatt_core::text::Lang;
use stopwatt_core::verdict::{Code, Remark};
use stopwatt_core::{Clock, Nanos, Phase, RequestRecord};
use stopwatt_load::{Client, Pace, Stop, Target};
use stopwatt_record::run_dir::{RunError, RunWriter};
use stopwatt_sensor::host::{self, TreeUsage};
use stopwatt_sensor::nvml::Whose;

use super::capacity::fix_rate;
use super::config::BenchConfig;
use super::error::BenchError;
use super::probe::Capabilities;
use super::progress::Progress;
use super::prompts::Prompts;
use super::resume::Unfinished;
use super::reuse::Reuse;
use super::scenario::{Extent, LoadPlan, Plan, PointPlan};
use super::shard::Sharding;
use super::stretch::{Stretch, nanos};
use super::warmup::{Bounds, Watch};
use crate::sensing::{Sensing, SensingOptions, on_gpus, visible_to};

/// How often the engine process is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// The process of an engine of ours, and what was seen of it.
#[derive(Debug)]
pub(super) struct Ours {
    pid: u32,
    /// Largest resident memory of the process and its descendants at any look.
    peak: AtomicU64,
    /// It is gone: what would still be sent meets nothing.
    gone: AtomicBool,
}

impl Ours {
    pub(super) fn new(pid: u32) -> Self {
        Self { pid, peak: AtomicU64::new(0), gone: AtomicBool::new(false) }
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    /// What it uses now, with the peak up to now.
    fn usage(&self) -> Option<TreeUsage> {
        let mut usage = host::tree_usage(self.pid)?;
        let seen = self.peak.fetch_max(usage.rss_bytes, Ordering::Relaxed);
        let seen = seen.max(usage.rss_bytes);
        usage.peak_rss_bytes = usage.peak_rss_bytes.or((seen > 0).then_some(seen));
        Some(usage)
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// One run in progress.
pub(super) struct Session<'a> {
    pub(super) config: &'a BenchConfig,
    pub(super) target: &'a Target,
    pub(super) capabilities: &'a Capabilities,
    pub(super) prompts: &'a Prompts,
    pub(super) writer: &'a RunWriter,
    pub(super) clock: Clock,
    pub(super) stop: &'a Stop,
    /// The engine, when it is ours.
    pub(super) engine: Option<Ours>,
    /// This program, which can be started as a server.
    pub(super) program: &'a Path,
    /// Sensors beside the measurement; `None` before and after it.
    pub(super) sensing: Mutex<Option<Sensing>>,
    /// Gathers the fingerprint of this machine; `None` once it is logged.
    pub(super) machine: Mutex<Option<JoinHandle<Fingerprint>>>,
    /// The first failure of the record, found on the recording thread.
    pub(super) failure: Mutex<Option<RunError>>,
    /// Which share of the load is sent, and when its trials begin; `None` for the whole at any time.
    pub(super) sharding: Option<&'a Sharding>,
}

impl Session<'_> {
    pub(super) fn measure(
        &self,
        plan: &Plan,
        done: Option<&Unfinished>,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        let mut client = self.begin(plan, watch)?;
        let mut next_id = match done {
            Some(done) => done.copy(self.writer)?,
            None => 0,
        };
        let mut points = plan.points.clone();
        if let Some(known) = done.and_then(Unfinished::capacity).filter(|_| plan.capacity_concurrency > 0) {
            points.iter_mut().for_each(|point| fix_rate(point, known.rate_rps));
        } else if let Some(first) = points.first().filter(|_| plan.capacity_concurrency > 0) {
            let rate = self.capacity(&mut client, first, plan.capacity_concurrency, &mut next_id, watch)?;
            let Some(rate) = rate else { return Ok(()) };
            for point in &mut points {
                fix_rate(point, rate);
            }
        }
        let planned: Vec<PlannedPoint> = points.iter().map(|p| p.planned.clone()).collect();
        self.writer.log(Fact::Plan { points: planned, trials: self.config.measure.repeats })?;

        self.watched(|| {
            points.iter().enumerate().try_for_each(|(index, point)| {
                let finished = done.is_some_and(|d| d.finished(index as u32, &point.planned));
                if self.stop.is_interrupted() || finished {
                    return Ok(());
                }
                watch(Progress::Point { index, of: points.len(), label: point.planned.label.clone() });
                self.point(index as u32, point, &mut client, &mut next_id, watch)
            })
        })?;
        self.take_failure()
    }

    /// Does `work` with the fingerprint logged before it when it is ready by then, else after it.
    pub(super) fn with_fingerprint<T>(
        &self,
        facts: Option<&BTreeMap<String, String>>,
        work: impl FnOnce() -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        self.log_fingerprint(facts, false)?;
        let worked = work();
        let logged = self.log_fingerprint(facts, true);
        // The first failure is the one to tell.
        let value = worked?;
        logged.map(|()| value)
    }

    /// Writes down what will be measured and what is worse than asked for; with the client for it.
    pub(super) fn begin(
        &self,
        plan: &Plan,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Client, BenchError> {
        let (model, features) = (self.capabilities.model.clone(), self.capabilities.features.clone());
        self.writer.log(Fact::EngineProbed { model, features })?;
        for remark in plan.warnings.iter().chain(&self.capabilities.warnings).chain(self.prompts.warnings()) {
            self.warn(remark, watch)?;
        }
        let client = Client::new(self.target)?.with_kernel_stamps(self.kernel_stamps()?);
        self.know_ceiling(plan, watch)?;
        Ok(client)
    }

    /// Does `work` while the engine's own metrics and the machine's sensors are read, and its process is looked at when it
    /// is ours.
    pub(super) fn watched(&self, work: impl FnOnce() -> Result<(), BenchError>) -> Result<(), BenchError> {
        self.sense(self.engine.as_ref().map(Ours::pid))?;
        let worked = self.read_beside(work);
        let sensing = self.sensing.lock().unwrap_or_else(PoisonError::into_inner).take();
        let told = sensing.map_or(Ok(()), |s| s.finish(self.writer, !self.stop.is_interrupted()));
        // The first failure is the one to tell.
        worked.and(told.map_err(BenchError::from))
    }

    /// Begins to read the machine's sensors, and what a process uses.
    pub(super) fn sense(&self, watched: Option<u32>) -> Result<(), BenchError> {
        let measure = &self.config.measure;
        if !measure.power {
            return Ok(());
        }
        let local = matches!(self.target.host(), "localhost" | "127.0.0.1" | "::1");
        let started_by_us = self.engine.is_some();
        let commands = super::sweep::commands(self.config).unwrap_or_default();
        let options = SensingOptions {
            gpus: measure.gpus.clone(),
            visible: visible_to(commands.first().map(Vec::as_slice)),
            // An engine of ours is on the GPUs by now, so only those that run here can be told from it.
            whose: Whose { started_by_us, before: (!started_by_us).then(on_gpus).flatten() },
            hz: measure.power_sample_hz,
            watched,
            meter: measure.power_csv.clone(),
            elsewhere: (!local).then(|| "the engine runs on another machine".to_owned()),
            search_path: stopwatt_record::config::environment::var("PATH").map(Into::into),
        };
        let started = Sensing::start(options, self.writer.path(), self.clock);
        *self.sensing.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
        Ok(())
    }

    /// Does `work` while the engine's own metrics are read and its process is looked at.
    pub(super) fn read_beside<T>(&self, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Dropped with this scope, which ends the series of readings.
            let (_reading, stopped) = std::sync::mpsc::channel();
            let every = self.config.measure.scrape_s;
            if let Some(page) = self.capabilities.metrics.as_ref().filter(|_| every > 0.0) {
                let every = Duration::from_secs_f64(every);
                scope.spawn(move || page.record(self.target, self.clock, self.writer, every, &stopped));
            }
            if let Some(engine) = &self.engine {
                let done = &done;
                scope.spawn(move || self.sample(engine, done));
            }
            let result = work();
            done.store(true, Ordering::Release);
            result
        })
    }

    /// Logs the fingerprint when it is ready, or waits for it; once.
    fn log_fingerprint(
        &self,
        facts: Option<&BTreeMap<String, String>>,
        wait: bool,
    ) -> Result<(), BenchError> {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = machine.take_if(|m| wait || m.is_finished()) else { return Ok(()) };
        // A look at the machine that failed leaves its facts unknown.
        let mut fingerprint = thread.join().unwrap_or_default();
        if !matches!(self.target.host(), "localhost" | "127.0.0.1" | "::1") {
            // The clocks that matter are the engine's, on another machine.
            fingerprint.fixed_clock = None;
        }
        fingerprint.engine.insert("model".to_owned(), self.capabilities.model.clone());
        for key in ["engine", "engine_version", "max_context", "endpoint"] {
            if let Some(value) = self.capabilities.features.get(key) {
                fingerprint.engine.insert(key.to_owned(), value.clone());
            }
        }
        for (key, value) in facts.into_iter().flatten() {
            fingerprint.engine.insert(key.clone(), value.clone());
        }
        self.writer.log(Fact::Fingerprint { fingerprint })?;
        Ok(())
    }

    pub(super) fn warn(
        &self,
        remark: &Remark,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        watch(Progress::Warning(remark.sentence(Lang::En)));
        self.writer.log(Fact::warning(remark))?;
        Ok(())
    }

    /// Warm-up, then every trial of a point.
    pub(super) fn point(
        &self,
        index: u32,
        point: &PointPlan,
        client: &mut Client,
        next_id: &mut u64,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        self.warm_up(index, point, client, next_id, watch)?;
        for trial in 0..point.trials {
            if self.stop.is_interrupted() || self.engine_is_gone() {
                return Ok(());
            }
            self.trial(index, point, trial, client, next_id, watch, &mut |_| ())?;
        }
        Ok(())
    }

    /// One trial of a point. `seen` is called for each measured request as it ends.
    pub(super) fn trial(
        &self,
        index: u32,
        point: &PointPlan,
        trial: u32,
        client: &mut Client,
        next_id: &mut u64,
        watch: &mut (dyn FnMut(Progress) + Send),
        seen: &mut (dyn FnMut(&RequestRecord) + Send),
    ) -> Result<(), BenchError> {
        let (requests, seconds) = match point.extent {
            Extent::Requests(n) => (Some(n + point.settle), None),
            Extent::Time(d) => (None, Some(d.as_secs_f64())),
        };
        watch(Progress::Trial { index: trial, of: point.trials, requests, seconds });
        self.writer.log(Fact::TrialStarted { point: index, trial })?;
        let counters_before = self.counters();
        let before = self.engine.as_ref().and_then(Ours::usage);
        let stretch = Stretch {
            point: index,
            trial,
            phase: Phase::Measure,
            workload: &point.workload,
            pace: self.pace(point, index, trial)?,
            count: requests,
            settle: point.settle,
            max_duration: seconds.map(Duration::from_secs_f64),
        };
        let open = matches!(stretch.pace, Pace::Open { .. });
        let (workload, seed, first_id) = (&point.workload, self.shape_seed(&stretch), *next_id);
        // What recorded prompts, conversations and other shares of the load have in common is not known here.
        let alone = self.sharding.is_none_or(|s| s.share.of == 1);
        let drawn = workload.recorded.is_none() && workload.dialogue.is_none();
        let mut reuse = (alone && drawn).then(|| Reuse::new(self.prompts.common()));
        let mut ends: Option<(Nanos, Nanos)> = None;
        let outcome = self.send(stretch, client, next_id, &mut |record| {
            watch(Progress::Request(record));
            if let Some(reuse) = &mut reuse {
                reuse.add(&workload.shape(seed, record.id - first_id));
            }
            if record.phase == Phase::Measure {
                let (first, _) = *ends.get_or_insert((record.end_ns, record.end_ns));
                ends = Some((first, record.end_ns));
                seen(record);
            }
            false
        })?;
        if let Some(tokens) = reuse.as_ref().map(Reuse::tokens) {
            self.writer.log(Fact::CacheExpected { point: index, trial, tokens })?;
        }
        // What settles is not measured: the window then reaches from the first measured completion to the last.
        let (start_ns, end_ns) =
            ends.filter(|_| point.settle > 0).unwrap_or((outcome.start_ns, outcome.end_ns));
        let after = self.engine.as_ref().and_then(Ours::usage);
        // A trial that the log calls ended has its rows on the disk, whatever happens next.
        self.writer.settle()?;
        self.writer.log(Fact::TrialEnded {
            point: index,
            trial,
            start_ns,
            end_ns,
            client_cpu_s: Some(outcome.cpu_s),
            engine_cpu_s: after.as_ref().zip(before).map(|(a, b)| a.cpu_s - b.cpu_s),
            engine_rss_bytes: after.and_then(|u| u.peak_rss_bytes),
            planned: open.then(|| outcome.planned.saturating_sub(point.settle)),
            counters_before,
            counters_after: self.counters(),
            reads: Some(outcome.reads),
        })?;
        if outcome.starved > 0 {
            self.warn(&Remark::new(Code::ClientStarved, [outcome.starved.to_string()]), watch)?;
        }
        if let Some(sensing) = &mut *self.sensing.lock().unwrap_or_else(PoisonError::into_inner) {
            sensing.trial_ended(self.writer, index, trial, (start_ns, end_ns))?;
        }
        self.take_failure()
    }

    pub(super) fn warm_up(
        &self,
        index: u32,
        point: &PointPlan,
        client: &mut Client,
        next_id: &mut u64,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        let measure = &self.config.measure;
        if measure.warmup == 0 {
            let detail = "warm-up is switched off".to_owned();
            self.writer.log(Fact::WarmupEnded { point: index, requests: 0, steady: None, detail })?;
            watch(Progress::WarmupEnded { steady: None, requests: 0 });
            return Ok(());
        }
        watch(Progress::WarmupStarted);
        // An open loop is warmed up by a closed one: what warms is the engine, not the queue.
        let concurrency = match point.load {
            LoadPlan::Closed { concurrency } => concurrency,
            LoadPlan::Open { .. } | LoadPlan::ShareOfCapacity { .. } => 4,
        };
        let bounds = Bounds {
            least: measure.warmup,
            wanted: measure.warmup.max(2 * u64::from(concurrency)),
            until_ns: self.clock.now() + nanos(measure.warmup_max_s),
        };
        let mut series = Watch::new(bounds);
        self.closed(index, &point.workload, concurrency, client, next_id, &mut |record| {
            series.ended(record)
        })?;
        if self.stop.is_interrupted() {
            return Ok(());
        }
        let (steady, detail) = series.verdict();
        let requests = series.requests();
        self.writer.log(Fact::WarmupEnded { point: index, requests, steady: Some(steady), detail })?;
        watch(Progress::WarmupEnded { steady: Some(steady), requests });
        Ok(())
    }

    pub(super) fn take_failure(&self) -> Result<(), BenchError> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), |error| Err(error.into()))
    }

    fn counters(&self) -> EngineCounters {
        self.capabilities.metrics.as_ref().map(|page| page.counters(self.target)).unwrap_or_default()
    }

    /// Whether the engine was ours and is gone.
    pub(super) fn engine_is_gone(&self) -> bool {
        self.engine.as_ref().is_some_and(Ours::is_gone)
    }

    /// Looks at the engine process until `done`.
    fn sample(&self, engine: &Ours, done: &AtomicBool) {
        while !done.load(Ordering::Acquire) {
            match engine.usage() {
                Some(usage) => {
                    let sample =
                        (usage.rss_bytes > 0).then_some(Fact::EngineSample { rss_bytes: usage.rss_bytes });
                    // A record that cannot be written is told by the next request.
                    if sample.is_some_and(|fact| self.writer.log(fact).is_err()) {
                        return;
                    }
                }
                None if cfg!(target_os = "linux") => engine.gone.store(true, Ordering::Release),
                None => {}
            }
            std::thread::sleep(SAMPLE_EVERY);
        }
    }
}
