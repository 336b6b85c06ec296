//! A made-up run that looks like a real one, always the same: for tests and for looking at reports.
//!
//! A closed loop of `c` streams against an engine whose prefill and step times grow with the batch, with jitter,
//! a few failures and a cold warm-up. Its summary is what analysis makes of it.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

mod engine;
pub mod odd;
pub mod pair;

use std::collections::BTreeMap;

use stopwatt_analyse::{Input, Recorded, Settings, analyse, slo};
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::log::{Fact, LogEvent, PlannedPoint};
use stopwatt_core::metrics_doc::{MetricsDoc, RunStatus};
use stopwatt_core::text::Lang;
use stopwatt_core::{Clock, Nanos, RequestRecord};
use stopwatt_report::{Hardware, Trace, View};

/// One second in nanoseconds.
pub const SECOND: Nanos = 1_000_000_000;

/// What to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Streams of each point.
    pub concurrency: Vec<u32>,
    /// Trials at each point.
    pub trials: u32,
    /// Length of a trial.
    pub trial_s: f64,
    /// Input and output tokens of a point's requests, on average.
    pub lengths: (u32, u32),
    /// One request in so many fails; 0 for none.
    pub failure_every: u64,
    /// Name the engine gives its model.
    pub model: String,
    /// Resamples of the intervals.
    pub resamples: u32,
    /// Seed of the jitter, and name of the run.
    pub seed: u64,
    /// By how much a step takes longer.
    pub slowdown: f64,
}

impl Plan {
    /// A sweep over five loads.
    pub fn sweep() -> Self {
        Self {
            concurrency: vec![1, 2, 4, 8, 16],
            trials: 5,
            trial_s: 4.,
            lengths: (256, 96),
            failure_every: 61,
            model: "SmolLM2-135M-Instruct".into(),
            resamples: 200,
            seed: 42,
            slowdown: 1.,
        }
    }

    /// One load, as the default command measures it.
    pub fn single() -> Self {
        Self { concurrency: vec![4], trial_s: 6., failure_every: 0, ..Self::sweep() }
    }

    /// Many requests, to see that a page stays small.
    pub fn large(requests: u64) -> Self {
        let per_second = 150.;
        Self {
            concurrency: vec![256],
            trials: 4,
            trial_s: requests as f64 / per_second / 4.,
            lengths: (64, 8),
            failure_every: 997,
            // Intervals of so many values are the work of analysis, not of a page.
            resamples: 20,
            ..Self::sweep()
        }
    }
}

/// A run in memory.
#[derive(Debug, Clone)]
pub struct Sample {
    pub doc: MetricsDoc,
    pub log: Vec<LogEvent>,
    pub requests: Vec<RequestRecord>,
    pub record: Recorded,
    pub config: serde_json::Value,
    pub trace: Trace,
    pub hardware: Hardware,
}

impl Sample {
    /// The measured roofline of an H100, without any request.
    pub fn of_a_device() -> Self {
        let mut run = Self::new(&Plan { concurrency: Vec::new(), ..Plan::single() });
        let measured = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../benchmarks/gpu-kernels/data/roofline.json");
        let roofline = std::fs::read_to_string(measured).expect("the measured roofline");
        run.hardware.roofline = Some(serde_json::from_str(&roofline).expect("it is one"));
        run
    }

    /// Makes the run.
    pub fn new(plan: &Plan) -> Self {
        let mut log = vec![];
        let mut say = |t_ns: Nanos, fact: Fact| log.push(LogEvent { t_ns, fact });
        let clock = Clock { t0_monotonic_ns: 5_000_000_000_000, t0_unix_ns: 1_786_702_530 * SECOND };
        let run_id = "20260814-101530-bench-7f3a".to_owned();
        say(0, Fact::RunStarted { run_id, format: "1.0".into(), clock });
        say(2_000_000, Fact::Fingerprint { fingerprint: fingerprint() });
        say(9_000_000, Fact::EngineProbed { model: plan.model.clone(), features: features() });
        let points: Vec<PlannedPoint> = plan.concurrency.iter().map(|&c| planned(c, plan.lengths)).collect();
        say(10_000_000, Fact::Plan { points: points.clone(), trials: plan.trials });

        let mut world = engine::World::new(plan);
        for (i, point) in points.iter().enumerate() {
            world.point(i as u32, point.concurrency.unwrap_or(1), &mut say);
        }
        let requests = world.requests;
        let ended = Fact::RunEnded {
            status: RunStatus::Complete,
            reason: None,
            client_rss_bytes: Some(14 << 20),
            wall_drift_ns: 1_200,
        };
        say(world.now, ended);
        log.sort_by_key(|e| e.t_ns);
        let settings = Settings {
            mode: if points.len() > 1 { "bench:sweep" } else { "bench:single" }.into(),
            seed: 42,
            resamples: plan.resamples,
            slos: slo::parse("ttft < 500ms, e2e < 4s").expect("two objectives"),
            ..Settings::default()
        };
        let record = Recorded::of(&requests);
        let doc = analyse(&Input { log: &log, record: &record, settings: &settings });
        Self {
            doc,
            log,
            requests,
            record,
            config: config(plan),
            trace: Trace::default(),
            hardware: Hardware::default(),
        }
    }

    /// The view of it.
    pub fn view(&self, lang: Lang) -> View<'_> {
        View {
            doc: &self.doc,
            log: &self.log,
            record: &self.record,
            config: &self.config,
            trace: &self.trace,
            hardware: &self.hardware,
            lang,
        }
    }
}

fn planned(concurrency: u32, (input, output): (u32, u32)) -> PlannedPoint {
    PlannedPoint {
        label: format!("c={concurrency} in={input} out={output}"),
        concurrency: Some(concurrency),
        rate_rps: None,
        input: Some(input),
        output: Some(output),
        engine_settings: BTreeMap::new(),
    }
}

fn fingerprint() -> Fingerprint {
    Fingerprint {
        stopwatt: "0.1.0".into(),
        os: Some("Linux 6.18.3".into()),
        cpu: Some("AMD EPYC 7B13".into()),
        cpus: Some(2),
        cpu_features: ["avx2", "fma", "f16c"].map(String::from).to_vec(),
        memory_bytes: Some(25_126_412_288),
        gpus: vec![],
        gpu_facts: vec![],
        driver: None,
        fixed_clock: None,
        engine: BTreeMap::from([
            ("model".into(), "SmolLM2-135M-Instruct".into()),
            ("engine".into(), "stopwatt real".into()),
            ("engine_version".into(), "0.1.0".into()),
            ("max_context".into(), "8192".into()),
        ]),
        ..Fingerprint::default()
    }
}

fn features() -> BTreeMap<String, String> {
    [("token_ids", "yes"), ("ignore_eos", "yes"), ("stream_usage", "yes"), ("metrics", "yes")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

fn config(plan: &Plan) -> serde_json::Value {
    let default = || serde_json::json!({ "from": "default" });
    let flag = |name: &str| serde_json::json!({ "from": "flag", "name": name });
    let set = |value: serde_json::Value, origin: serde_json::Value| serde_json::json!({ "value": value, "origin": origin });
    let variable = serde_json::json!({ "from": "environment", "name": "STOPWATT_SEED" });
    serde_json::json!({
        "versions": { "stopwatt": "0.1.0", "format": "1.0" },
        "settings": {
            "measure.concurrency": set(plan.concurrency.clone().into(), flag("--concurrency")),
            "measure.repeats": set(plan.trials.into(), default()),
            "scenario": set("sweep".into(), flag("--scenario")),
            "seed": set(42.into(), variable),
            "slo": set("ttft < 0.5s, e2e < 4s".into(), flag("--slo")),
            "target.endpoint": set("completions".into(), default()),
            "target.model": set(plan.model.clone().into(), default()),
            "target.url": set(serde_json::Value::Null, default()),
            "workload.input": set(plan.lengths.0.into(), default()),
            "workload.output": set(plan.lengths.1.into(), default()),
        },
        "hashes": { "settings": "5b1f", "files": {} },
    })
}
