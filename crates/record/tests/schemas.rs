//! What is really written is valid by the schemas that are published.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stopwatt_core::ceiling::{CeilingStage, ClientCeiling};
use stopwatt_core::engine_run::{EngineCause, EngineLog, EngineOutcome, EngineRun};
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::gpu::GpuSetting;
use stopwatt_core::log::{Fact, JoinedShard, MeanOf, PlannedPoint, ReadStamps, SharedClock};
use stopwatt_core::metrics_doc::*;
use stopwatt_core::search::{FindKind, ObjectiveLook, SearchLook, Verdict};
use stopwatt_core::software::{MachineState, Software};
use stopwatt_core::{Clock, Metric};
use stopwatt_record::{Create, Layers, RunWriter, schemas};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    seed: u64,
    rates: Vec<f64>,
    url: Option<String>,
}

fn validator(name: &str) -> jsonschema::Validator {
    let text = schemas::all().into_iter().find(|(n, _)| *n == name).expect("a schema of ours").1;
    let schema = serde_json::from_str(&text).expect("a schema is JSON");
    jsonschema::validator_for(&schema).expect("a schema is valid")
}

#[track_caller]
fn check(schema: &str, document: &Value) {
    let errors: Vec<String> =
        validator(schema).iter_errors(document).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{schema}: {errors:?}\n{document:#}");
}

fn every_fact() -> Vec<Fact> {
    let counters = BTreeMap::from([("kv_hits".to_owned(), 1.0), ("broken".to_owned(), f64::INFINITY)]);
    vec![
        Fact::Fingerprint {
            fingerprint: Fingerprint {
                cpu: Some("x".to_owned()),
                software: Some(Software { git_dirty: Some(true), ..Software::default() }),
                state: Some(MachineState { load_average: Some(0.25), ..MachineState::default() }),
                inputs: BTreeMap::from([("batch".to_owned(), "8".to_owned())]),
                unknown: BTreeMap::from([("software.packages".to_owned(), "why".to_owned())]),
                ..Fingerprint::default()
            },
        },
        Fact::Sensors { found: vec!["nvml".to_owned()], missing: Vec::new(), gpus: Some(vec![1]) },
        Fact::StartTemperature { point: 0, trial: 1, temperature_c: 61.0, waited_s: 2.5 },
        Fact::ForeignGpuProcesses { point: 0, trial: 1, count: 2, memory_bytes: None },
        Fact::GpuSettings {
            settings: vec![GpuSetting {
                gpu: 0,
                setting: "power_limit_w".to_owned(),
                from: Some("700".to_owned()),
                to: "500".to_owned(),
                restored: true,
            }],
        },
        Fact::EngineProbed {
            model: "m".to_owned(),
            features: BTreeMap::from([("ignore_eos".to_owned(), "yes".to_owned())]),
        },
        Fact::Plan {
            points: vec![PlannedPoint {
                label: "c=1".to_owned(),
                concurrency: Some(1),
                rate_rps: None,
                input: Some(1),
                output: None,
                engine_settings: BTreeMap::from([("util".to_owned(), "0.7".to_owned())]),
            }],
            trials: 5,
        },
        Fact::Capacity { capacity: Capacity { concurrency: 16, rate_rps: 3.5, requests: 47 } },
        Fact::SearchStarted {
            find: FindKind::MaxRate,
            objectives: vec!["p99 ttft < 0.5s".to_owned()],
            level: 0.95,
        },
        Fact::SearchLook {
            look: SearchLook {
                point: 0,
                load: 2.0,
                again: false,
                trials: 2,
                requests: 40,
                verdict: Verdict::Unclear,
                veto: None,
                objectives: vec![ObjectiveLook {
                    objective: "p99 ttft < 0.5s".to_owned(),
                    value: Some(0.4),
                    tested: Some(0.0),
                    lo: Some(0.0),
                    hi: Some(0.07),
                    allowed: 0.01,
                    verdict: Verdict::Unclear,
                }],
                queue_growth: Some(0.001),
            },
        },
        Fact::SearchEnded { stopped: None },
        Fact::WarmupEnded { point: 0, requests: 3, steady: Some(true), detail: String::new() },
        Fact::TrialStarted { point: 0, trial: 0 },
        Fact::TrialEnded {
            point: 0,
            trial: 0,
            start_ns: 0,
            end_ns: 1,
            client_cpu_s: Some(0.5),
            engine_cpu_s: None,
            engine_rss_bytes: None,
            planned: Some(3),
            counters_before: counters.clone(),
            counters_after: counters,
            reads: Some(ReadStamps { kernel: 5, lag_p50_s: Some(1e-5), ..ReadStamps::default() }),
        },
        Fact::ClientCeiling { ceiling: ceiling() },
        Fact::EngineReading {
            at_ns: 5,
            took_s: 0.001,
            counters: BTreeMap::new(),
            problem: Some("/metrics answers 404".to_owned()),
        },
        Fact::CacheExpected { point: 0, trial: 0, tokens: 3 },
        Fact::Tabled {
            file: "kernels.parquet".to_owned(),
            entries: 3,
            resumed: 0,
            skipped: BTreeMap::from([("not supported".to_owned(), 1)]),
        },
        Fact::Resumed { run_id: "20261122-061530-bench-7f3a".to_owned(), points: 3 },
        Fact::EngineEnded {
            engine: EngineRun {
                settings: BTreeMap::from([("util".to_owned(), "0.7".to_owned())]),
                outcome: EngineOutcome::Died,
                ready_s: None,
                exit: Some("exit status 1".to_owned()),
                cause: Some(EngineCause::Oom),
                detail: None,
                log: EngineLog { lines: 3, sha256: "00".repeat(32), tail: Some(vec!["bye".to_owned()]) },
            },
        },
        Fact::Stage { stage: "measure".to_owned() },
        Fact::TargetMetrics {
            point: 0,
            trial: 0,
            means: BTreeMap::from([("loss".to_owned(), MeanOf { mean: -0.5, n: 200 })]),
        },
        Fact::Outputs { trial: Some(0), sha256: Some("00".repeat(32)) },
        Fact::TargetEnded {
            trial: None,
            exit: Some("exit status 0".to_owned()),
            killed: false,
            log: EngineLog { lines: 0, sha256: "00".repeat(32), tail: None },
        },
        Fact::Decision { decision: "accepted".to_owned(), detail: "every gate is cleared".to_owned() },
        Fact::EngineSample { rss_bytes: 1 },
        Fact::WorkloadRead {
            format: "azure".to_owned(),
            requests: 2,
            skipped_rows: 1,
            first_skipped: Some("line 3".to_owned()),
            lengths: "stated".to_owned(),
        },
        Fact::Shard {
            index: 0,
            of: 2,
            start_unix_ns: 1,
            late_ns: 0,
            clock_error_ns: 100,
            synchronised: None,
            boot: Some("7f3a".to_owned()),
        },
        Fact::Merged {
            shards: vec![JoinedShard {
                index: 0,
                run_id: "20261122-061530-bench-7f3a".to_owned(),
                requests: 3,
                status: RunStatus::Complete,
                shift_ns: 0,
                clock: SharedClock::Monotonic,
                error_ns: 0,
                late_ns: 0,
            }],
        },
        Fact::Warning { code: "late".to_owned(), fatal: false, detail: String::new(), values: vec![] },
        Fact::RunEnded {
            status: RunStatus::Complete,
            reason: None,
            client_rss_bytes: None,
            wall_drift_ns: -1,
        },
    ]
}

fn ceiling() -> ClientCeiling {
    let stage = CeilingStage {
        streams: 64,
        events_per_write: 1,
        gap_s: 0.01,
        events_per_s: 6400.0,
        reads_per_s: 6400.0,
        client_cores: 0.1,
        cpu_s_per_million: 15.6,
        ttft_error_p50_s: Some(1e-4),
        ttft_error_p99_s: None,
        itl_error_p99_s: None,
        tpot_error_p99_s: None,
        lag_p99_s: Some(2e-4),
    };
    ClientCeiling {
        stopwatt: "0.1.0".to_owned(),
        measured_unix_ns: 1,
        quick: true,
        events_per_s: 1e5,
        reads_per_s: 1e5,
        streams: None,
        stages: vec![stage],
    }
}

#[test]
fn a_calibration_is_valid_by_its_schema() {
    check("calibration.schema.json", &serde_json::to_value(ceiling()).unwrap());
}

#[test]
fn a_run_is_valid_by_its_schemas() {
    let dir = tempfile::tempdir().unwrap();
    let resolved = Layers::<Config>::new()
        .overrides(&["rates=1,2.5"])
        .flag("seed", "--seed", Some(3))
        .resolve()
        .unwrap();
    let options = Create {
        root: dir.path().to_owned(),
        out: None,
        name: "bench".to_owned(),
        clock: Clock::start(),
        keep_chunks: true,
    };
    let run = RunWriter::create(options, &resolved.lock()).unwrap();
    for fact in every_fact() {
        run.log(fact).unwrap();
    }
    let path = run.path().to_owned();
    run.finish().unwrap();

    check(
        "config.lock.schema.json",
        &serde_json::from_slice(&std::fs::read(path.join("config.lock.json")).unwrap()).unwrap(),
    );
    let log = std::fs::read_to_string(path.join("run.log")).unwrap();
    assert_eq!(log.lines().count(), every_fact().len() + 1);
    for line in log.lines() {
        check("run.log.schema.json", &serde_json::from_str(line).unwrap());
    }
}

fn summary() -> Value {
    let ttft = MetricSummary::unavailable(Metric::Ttft, "not measured");
    let point = Point {
        label: "c=1".to_owned(),
        concurrency: Some(1),
        rate_rps: None,
        input: None,
        output: None,
        engine_settings: BTreeMap::new(),
        wall_s: 1.0,
        requests: 1,
        errors: BTreeMap::from([("timeout".to_owned(), 1)]),
        metrics: BTreeMap::from([("ttft".to_owned(), ttft.clone())]),
        engine: Default::default(),
        power: Default::default(),
        trials: Default::default(),
    };
    let doc = MetricsDoc {
        format: "1.0".to_owned(),
        run_id: "20261122-061530-bench-7f3a".to_owned(),
        status: RunStatus::Complete,
        env: Env::default(),
        pipeline: Pipeline::default(),
        latency_ms: LatencyMs::default(),
        throughput_toks_s: Some(3.0),
        l2_hit_pct: None,
        ept_j_per_tok: None,
        quality_delta_pct: None,
        reasons: BTreeMap::new(),
        metrics: BTreeMap::from([("ttft".to_owned(), ttft)]),
        custom: BTreeMap::from([("loss".to_owned(), Estimate::unavailable("not told"))]),
        headline_point: Some(0),
        points: vec![point],
        capacity: None,
        search: None,
        engines: Vec::new(),
        best: None,
        client: ClientUse::default(),
        quality: None,
        cost: None,
        reproduces: None,
        validity: Validity::default(),
    };
    serde_json::to_value(doc).expect("a summary is JSON")
}

#[test]
fn the_summary_is_valid_and_a_stray_key_is_not() {
    let good = summary();
    check("metrics.schema.json", &good);
    let mut stray = good.clone();
    stray["metrics"]["ttft"]["p95"]["guess"] = 1.into();
    assert!(!validator("metrics.schema.json").is_valid(&stray));
    for key in ["run_id", "throughput_toks_s", "ept_j_per_tok"] {
        let mut missing = good.clone();
        missing.as_object_mut().unwrap().remove(key);
        assert!(!validator("metrics.schema.json").is_valid(&missing), "{key} may be null, not absent");
    }
    // A newer minor version may add what this one does not know.
    let read: MetricsDoc = serde_json::from_value(stray).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), good);
}
