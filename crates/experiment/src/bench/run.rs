//! Running a plan: warm-up and trials of each point, everything written down as it happens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use stopwatt_core::log::{EngineCounters, Fact, PlannedPoint};
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::{Clock, EndKind, Nanos, Phase, RequestRecord};
use stopwatt_load::{Client, Completed, Drain, Ended, Limits, Outcome, Pace, Stop, Target};
use stopwatt_record::process;
use stopwatt_record::run_dir::{Create, RunError, RunWriter};
use stopwatt_serving::arrival::{ArrivalProcess, ArrivalSpec};
use stopwatt_serving::workload::{Profile, Workload};

use super::child::EngineChild;
use super::config::{ArrivalKind, BenchConfig, ScenarioKind};
use super::error::BenchError;
use super::probe::{self, Capabilities};
use super::progress::Progress;
use super::prompts::{Place, Prompts, TokenCounter};
use super::scenario::{self, EngineLimits, Extent, LoadPlan, Plan, PointPlan};
use super::warmup::{Bounds, Enough, Watch};

/// Context of the built-in engine unless a scenario or setting needs another: 8K of input and room for output.
const BUILT_IN_CONTEXT: u32 = 8192 + 1024;
/// How often the engine process is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// Everything a benchmark needs.
pub struct Setup {
    /// The settings.
    pub config: BenchConfig,
    /// What `config.lock.json` will hold.
    pub config_lock: serde_json::Value,
    /// Where runs live.
    pub root: PathBuf,
    /// The run's own folder; `None` makes one under `root`.
    pub out: Option<PathBuf>,
    /// The API key, for the `Authorization` header only.
    pub api_key: Option<String>,
    /// Counts tokens where the engine does not.
    pub tokenizer: Option<Box<dyn TokenCounter>>,
    /// The program that is started as the built-in engine.
    pub program: PathBuf,
}

/// A benchmark that came to its end, by itself or by a signal.
#[derive(Debug)]
pub struct Finished {
    /// The run's folder.
    pub path: PathBuf,
}

/// Runs a benchmark. Whatever happens after measuring began leaves a readable run.
pub fn run(
    setup: Setup,
    stop: &Stop,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<Finished, BenchError> {
    let config = &setup.config;
    let profile = load_profile(&config.workload.profile)?;
    if let Some(text) = &config.slo {
        stopwatt_analyse::slo::parse(text)
            .map_err(|e| BenchError::Setting { setting: "slo", problem: e.to_string() })?;
    }
    // Planning without an engine first, so that a wrong setting is told before anything is started.
    let built_in = config.target.url.is_none();
    let early = EngineLimits { max_context: built_in.then(|| built_in_context(config)), built_in };
    scenario::plan(config, early, &profile)?;

    let child = match &config.target.url {
        Some(_) => None,
        None => {
            watch(Progress::EngineStarting);
            Some(EngineChild::start(
                &setup.program,
                &config.engine,
                built_in_context(config),
                config.record.keep_engine_log,
            )?)
        }
    };
    let url =
        child.as_ref().map_or_else(|| config.target.url.clone().unwrap_or_default(), |c| c.ready.url.clone());
    let target = target(&url, config, setup.api_key.as_deref())?;
    let mut capabilities = probe::probe(&target, config)?;
    watch(Progress::EngineReady { model: capabilities.model.clone(), url: target.base_url() });
    let limits = EngineLimits { max_context: capabilities.max_context, built_in };
    let plan = scenario::plan(config, limits, &profile)?;
    let clock = Clock::start();
    let salt = clock.t0_unix_ns.unsigned_abs();
    capabilities.features.insert("prompt_salt".to_owned(), salt.to_string());
    let prompts = Prompts::new(&target, &capabilities, config, setup.tokenizer, salt)?;
    let create = Create {
        root: setup.root.clone(),
        out: setup.out.clone(),
        name: "bench".to_owned(),
        clock,
        keep_chunks: config.record.chunks,
    };
    let writer = RunWriter::create(create, &setup.config_lock)?;
    let path = writer.path().to_owned();
    let session = Session {
        config,
        target: &target,
        capabilities: &capabilities,
        prompts: &prompts,
        writer: &writer,
        clock,
        stop,
        pid: child.as_ref().map(EngineChild::pid),
        failure: Mutex::new(None),
    };
    let outcome = session.measure(&plan, child.as_ref().map(|c| &c.ready.facts), watch);
    let (status, reason) = match &outcome {
        Ok(()) if stop.is_interrupted() => {
            (RunStatus::Incomplete, Some("interrupted by a signal".to_owned()))
        }
        Ok(()) => (RunStatus::Complete, None),
        Err(error) => (RunStatus::Incomplete, Some(error.to_string())),
    };
    let ended = Fact::RunEnded {
        status,
        reason,
        client_rss_bytes: process::own_usage().peak_rss_bytes,
        wall_drift_ns: clock.wall_drift(),
    };
    // The first failure is the one to tell; closing still does what it can.
    let logged = writer.log(ended);
    if let Some(text) = child.and_then(EngineChild::into_log) {
        writer.write_file("engine.log", text.as_bytes())?;
    }
    let finished = writer.finish();
    outcome?;
    logged?;
    finished?;
    Ok(Finished { path })
}

/// A built-in profile by name, or one from a file.
fn load_profile(name: &str) -> Result<Profile, BenchError> {
    let path = Path::new(name);
    if path.extension().is_some() || path.exists() {
        return stopwatt_record::config::read_file(path)
            .map_err(|source| BenchError::WorkloadFile { source });
    }
    Profile::built_in(name).map_err(|source| BenchError::Profile { source })
}

/// Context to start the built-in engine with: what was asked for, else what the longest listed input needs.
fn built_in_context(config: &BenchConfig) -> u32 {
    if let Some(tokens) = config.engine.max_context {
        return tokens;
    }
    let output = |text: &str| text.parse::<stopwatt_serving::workload::Length>().map_or(0, |l| l.bounds().1);
    let longest = config
        .workload
        .inputs
        .iter()
        .copied()
        .max()
        .unwrap_or(0)
        .max(config.workload.input.as_deref().map_or(0, output));
    let asked = longest.saturating_add(config.workload.output.as_deref().map_or(512, output));
    let guide = if config.scenario == ScenarioKind::Guide { 8192 + 512 } else { 0 };
    BUILT_IN_CONTEXT.max(asked).max(guide)
}

fn target(url: &str, config: &BenchConfig, key: Option<&str>) -> Result<Target, BenchError> {
    let mut target = Target::parse(url)?;
    for header in &config.target.headers {
        let (name, value) = header.split_once(':').ok_or_else(|| BenchError::Setting {
            setting: "target.headers",
            problem: "write each header as `Name: value`".to_owned(),
        })?;
        target = target.with_header(name.trim(), value)?;
    }
    if let Some(key) = key {
        target = target.with_api_key(key)?;
    }
    if let Some(file) = &config.target.ca_cert {
        let pem = std::fs::read(file).map_err(|e| BenchError::Setting {
            setting: "target.ca_cert",
            problem: format!("cannot read the file: {e}"),
        })?;
        target = target.with_ca_cert(&pem)?;
    }
    Ok(target)
}

struct Session<'a> {
    config: &'a BenchConfig,
    target: &'a Target,
    capabilities: &'a Capabilities,
    prompts: &'a Prompts,
    writer: &'a RunWriter,
    clock: Clock,
    stop: &'a Stop,
    pid: Option<u32>,
    /// The first failure of the record, found on the recording thread.
    failure: Mutex<Option<RunError>>,
}

/// One stretch of load.
struct Stretch<'a> {
    point: u32,
    trial: u32,
    phase: Phase,
    workload: &'a Workload,
    pace: Pace,
    /// Requests to send; `None` when time ends it.
    count: Option<u64>,
    max_duration: Option<Duration>,
}

impl Session<'_> {
    fn measure(
        &self,
        plan: &Plan,
        facts: Option<&BTreeMap<String, String>>,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        self.write_head(facts)?;
        for detail in plan.warnings.iter().chain(&self.capabilities.warnings).chain(self.prompts.warnings()) {
            self.warn("fallback", detail, watch)?;
        }
        let mut client = Client::new(self.target)?;
        let mut next_id = 0;
        let mut points = plan.points.clone();
        if plan.capacity_concurrency > 0 {
            watch(Progress::Capacity);
            let rate = self.capacity(&mut client, &points, plan.capacity_concurrency, &mut next_id, watch)?;
            let Some(rate) = rate else { return Ok(()) };
            for point in &mut points {
                fix_rate(point, rate);
            }
        }
        let planned: Vec<PlannedPoint> = points.iter().map(|p| p.planned.clone()).collect();
        self.writer.log(Fact::Plan { points: planned, trials: self.config.measure.repeats })?;

        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            if let Some(pid) = self.pid {
                let done = &done;
                scope.spawn(move || self.sample(pid, done));
            }
            let result = points.iter().enumerate().try_for_each(|(index, point)| {
                if self.stop.is_interrupted() {
                    return Ok(());
                }
                watch(Progress::Point { index, of: points.len(), label: point.planned.label.clone() });
                self.point(index as u32, point, &mut client, &mut next_id, watch)
            });
            done.store(true, std::sync::atomic::Ordering::Release);
            result
        })?;
        self.take_failure()
    }

    fn write_head(&self, facts: Option<&BTreeMap<String, String>>) -> Result<(), BenchError> {
        let mut fingerprint = stopwatt_record::host::fingerprint();
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
        let (model, features) = (self.capabilities.model.clone(), self.capabilities.features.clone());
        self.writer.log(Fact::EngineProbed { model, features })?;
        Ok(())
    }

    fn warn(
        &self,
        code: &str,
        detail: &str,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        watch(Progress::Warning(detail.to_owned()));
        self.writer.log(Fact::Warning { code: code.to_owned(), fatal: false, detail: detail.to_owned() })?;
        Ok(())
    }

    /// Warm-up, then every trial of a point.
    fn point(
        &self,
        index: u32,
        point: &PointPlan,
        client: &mut Client,
        next_id: &mut u64,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        self.warm_up(index, point, client, next_id, watch)?;
        for trial in 0..point.trials {
            if self.stop.is_interrupted() {
                return Ok(());
            }
            let (requests, seconds) = match point.extent {
                Extent::Requests(n) => (Some(n), None),
                Extent::Time(d) => (None, Some(d.as_secs_f64())),
            };
            watch(Progress::Trial { index: trial, of: point.trials, requests, seconds });
            self.writer.log(Fact::TrialStarted { point: index, trial })?;
            let counters_before = self.counters();
            let before = self.pid.and_then(process::usage);
            let stretch = Stretch {
                point: index,
                trial,
                phase: Phase::Measure,
                workload: &point.workload,
                pace: self.pace(point, index, trial)?,
                count: requests,
                max_duration: seconds.map(Duration::from_secs_f64),
            };
            let open = matches!(stretch.pace, Pace::Open { .. });
            let outcome = self.send(stretch, client, next_id, &Enough::default(), &mut |record| {
                watch(Progress::Request { failed: record.end.is_failure() });
                false
            })?;
            let after = self.pid.and_then(process::usage);
            self.writer.log(Fact::TrialEnded {
                point: index,
                trial,
                start_ns: outcome.start_ns,
                end_ns: outcome.end_ns,
                client_cpu_s: Some(outcome.cpu_s),
                engine_cpu_s: after.as_ref().zip(before).map(|(a, b)| a.cpu_s - b.cpu_s),
                engine_rss_bytes: after.and_then(|u| u.peak_rss_bytes),
                planned: open.then_some(outcome.planned),
                counters_before,
                counters_after: self.counters(),
            })?;
            if outcome.starved > 0 {
                let detail =
                    format!("{} requests were due before the client had rendered them", outcome.starved);
                self.warn("client_starved", &detail, watch)?;
            }
            self.take_failure()?;
        }
        Ok(())
    }

    fn warm_up(
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

    /// A closed loop of unmeasured requests until `enough` says so.
    fn closed(
        &self,
        point: u32,
        workload: &Workload,
        concurrency: u32,
        client: &mut Client,
        next_id: &mut u64,
        enough: &mut (dyn FnMut(&RequestRecord) -> bool + Send),
    ) -> Result<Outcome, BenchError> {
        let stretch = Stretch {
            point,
            trial: 0,
            phase: Phase::Warmup,
            workload,
            pace: Pace::Closed { concurrency: concurrency as usize },
            count: None,
            max_duration: None,
        };
        self.send(stretch, client, next_id, &Enough::default(), enough)
    }

    /// Requests per second that the engine completes with `concurrency` in flight; `None` when interrupted.
    fn capacity(
        &self,
        client: &mut Client,
        points: &[PointPlan],
        concurrency: u32,
        next_id: &mut u64,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Option<f64>, BenchError> {
        let Some(point) = points.first() else { return Ok(None) };
        let (wanted, mut ok, mut ended) = (4 * u64::from(concurrency), 0_u64, 0_u64);
        let mut ends: Vec<Nanos> = Vec::new();
        self.closed(0, &point.workload, concurrency, client, next_id, &mut |record| {
            ended += 1;
            if record.end == EndKind::Ok {
                ok += 1;
                ends.push(record.end_ns);
            }
            ended >= wanted
        })?;
        if self.stop.is_interrupted() {
            return Ok(None);
        }
        // The ramp at the begin and the drain at the end are left out: from the end of the first wave to `wanted`.
        ends.sort_unstable();
        let (first, last) = (concurrency as usize, (wanted as usize).min(ends.len()));
        let span = match (ends.get(first), ends.get(last.wrapping_sub(1))) {
            (Some(&a), Some(&b)) if b > a => (b - a) as f64 * 1e-9,
            _ => {
                let problem = format!("only {ok} of {ended} requests succeeded");
                return Err(BenchError::Answer { what: "the capacity test", problem });
            }
        };
        let rate = (last - 1 - first) as f64 / span;
        let detail = format!("capacity: {rate:.3} requests/s with {concurrency} in flight");
        self.warn("capacity", &detail, watch)?;
        Ok(Some(rate))
    }

    fn pace(&self, point: &PointPlan, index: u32, trial: u32) -> Result<Pace, BenchError> {
        let (arrival, rate) = match point.load {
            LoadPlan::Closed { concurrency } => {
                return Ok(Pace::Closed { concurrency: concurrency as usize });
            }
            LoadPlan::Open { arrival, rate } => (arrival, rate),
            LoadPlan::ShareOfCapacity { arrival, share } => (arrival, share),
        };
        let load = &self.config.load;
        let burstiness = load.burstiness.unwrap_or(1.0);
        let spec = match arrival {
            ArrivalKind::Constant | ArrivalKind::Closed => ArrivalSpec::Constant { rate_rps: rate },
            ArrivalKind::Poisson => ArrivalSpec::Poisson { rate_rps: rate },
            ArrivalKind::Gamma => ArrivalSpec::Gamma { rate_rps: rate, burstiness },
            ArrivalKind::Ramp => {
                let end = load.rate_end.unwrap_or(rate);
                let duration_s = match point.extent {
                    Extent::Time(d) => d.as_secs_f64(),
                    // As long as the mean rate needs for the requests.
                    Extent::Requests(n) => 2.0 * n as f64 / (rate + end),
                };
                ArrivalSpec::Ramp { from_rps: rate, to_rps: end, duration_s, spacing: Default::default() }
            }
        };
        let process = ArrivalProcess::try_from(spec).map_err(|source| BenchError::Arrival { source })?;
        let offsets = process.offsets(stretch_seed(self.config.seed, index, trial));
        let arrivals: Box<dyn Iterator<Item = Nanos> + Send> = match point.extent {
            Extent::Requests(n) => Box::new(offsets.take(usize::try_from(n).unwrap_or(usize::MAX))),
            Extent::Time(_) => Box::new(offsets),
        };
        Ok(Pace::Open { arrivals, max_in_flight: load.max_in_flight.map(|n| n as usize) })
    }

    /// Sends one stretch. `seen` is called for each ended request and may say that it is enough.
    fn send(
        &self,
        stretch: Stretch<'_>,
        client: &mut Client,
        next_id: &mut u64,
        enough: &Enough,
        seen: &mut (dyn FnMut(&RequestRecord) -> bool + Send),
    ) -> Result<Outcome, BenchError> {
        let measure = &self.config.measure;
        let limits = Limits {
            connect_timeout: Duration::from_secs_f64(measure.connect_timeout_s),
            idle_timeout: Duration::from_secs_f64(measure.idle_timeout_s),
            total_timeout: Duration::from_secs_f64(measure.timeout_s),
            max_duration: stretch.max_duration,
            drain: Drain::Wait,
            keep_text: self.prompts.wants_text(),
            keep_chunks: true,
        };
        let Stretch { point, trial, phase, workload, pace, count, .. } = stretch;
        let shape_seed =
            stretch_seed(self.config.seed, point, trial) ^ u64::from(phase == Phase::Warmup) << 60;
        let place = Place { point, trial, phase, first_id: *next_id, shape_seed };
        let mut jobs = |index: u64| {
            if count.is_some_and(|n| index >= n) || !enough.wants_more() {
                return None;
            }
            Some(self.prompts.job(workload, place, index))
        };
        let mut on_done = |done: Completed| {
            let record = self.prompts.count_tokens(done);
            if seen(&record) {
                enough.say();
            }
            if let Err(error) = self.writer.push(record) {
                let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failure.get_or_insert(error);
                // Nothing measured from here on could be kept.
                self.stop.interrupt();
            }
        };
        let outcome = client.run(pace, &mut jobs, &limits, self.stop, self.clock, &mut on_done)?;
        *next_id += outcome.sent;
        if outcome.ended == Ended::Interrupted {
            self.take_failure()?;
        }
        Ok(outcome)
    }

    fn take_failure(&self) -> Result<(), BenchError> {
        let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failure.take().map_or(Ok(()), |error| Err(error.into()))
    }

    fn counters(&self) -> EngineCounters {
        if !self.capabilities.metrics {
            return EngineCounters::new();
        }
        probe::counters(self.target).unwrap_or_default()
    }

    /// Looks at the engine process until `done`.
    fn sample(&self, pid: u32, done: &std::sync::atomic::AtomicBool) {
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            if let Some(rss_bytes) = process::usage(pid).and_then(|u| u.rss_bytes) {
                // A record that cannot be written is told by the next request.
                if self.writer.log(Fact::EngineSample { rss_bytes }).is_err() {
                    return;
                }
            }
            std::thread::sleep(SAMPLE_EVERY);
        }
    }
}

/// Replaces a share of the capacity by a rate.
fn fix_rate(point: &mut PointPlan, capacity: f64) {
    if let LoadPlan::ShareOfCapacity { arrival, share } = point.load {
        let rate = share * capacity;
        point.load = LoadPlan::Open { arrival, rate };
        point.planned.rate_rps = Some(rate);
        point.planned.label = format!("{} rate={rate:.2}/s", point.planned.label);
    }
}

fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9) as Nanos
}

/// One seed for each stretch of load, so that no two share arrivals.
fn stretch_seed(seed: u64, point: u32, trial: u32) -> u64 {
    seed ^ (u64::from(point) << 40) ^ (u64::from(trial) << 20)
}
