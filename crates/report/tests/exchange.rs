//! Files of other tools through the whole way: read, made a run, analysed, written again.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use serde_json::{Value, json};
use stopwatt_analyse::Settings;
use stopwatt_analyse::dialect::Dialect;
use stopwatt_core::gpu::GpuFacts;
use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::{Clock, Metric, fingerprint::Fingerprint};
use stopwatt_record::import;
use stopwatt_record::run_dir::Run;
use stopwatt_record::{Create, Layers};
use stopwatt_report::exchange::{ExportError, Select, to_openmetrics, to_trace_events, to_vllm};
use stopwatt_report::{ANALYSIS_KEY, Analysed};

/// The run that a file makes.
/// The run that a file becomes, and the folder that holds it.
fn imported(bytes: &[u8], metric: Option<Metric>) -> (tempfile::TempDir, Analysed) {
    let dir = tempfile::tempdir().unwrap();
    let foreign = import::read(bytes, metric).unwrap();
    let mut lock = Layers::<import::ImportSettings>::new().resolve().unwrap().lock();
    let settings = Settings { resamples: 50, ..Settings::default() };
    lock.as_object_mut().unwrap().insert(ANALYSIS_KEY.to_owned(), serde_json::to_value(settings).unwrap());
    let create = Create {
        root: dir.path().to_owned(),
        out: None,
        name: "import".to_owned(),
        clock: Clock::start(),
        keep_chunks: true,
    };
    let path = import::write(foreign, create, &lock).unwrap();
    let run = Analysed::read(&Run::open(&path).unwrap(), None).unwrap();
    (dir, run)
}

fn three_requests() -> Value {
    json!({
        "date": "20261122-094425", "backend": "openai", "endpoint_type": "openai", "label": null,
        "model_id": "m", "tokenizer_id": "t", "num_prompts": 3, "request_rate": "inf", "burstiness": 1.0,
        "max_concurrency": 2, "duration": 2.0, "completed": 3, "failed": 0, "request_throughput": 1.5,
        "output_throughput": 4.5, "total_token_throughput": 28.5,
        "input_lens": [16, 16, 16], "output_lens": [3, 4, 2],
        "ttfts": [0.05, 0.06, 0.055], "itls": [[0.01, 0.02], [0.01, 0.01, 0.03], [0.02]],
        "latencies": [0.08, 0.11, 0.075], "start_times": [10.0, 10.5, 11.875],
        "queue_times": [0.0, 0.0, 0.0], "generated_texts": ["", "", ""], "errors": ["", "", ""],
    })
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 2e-9 * a.abs().max(1.0)
}

/// Arrays of `file` come back as they were, start times since the first.
#[track_caller]
fn check_round_trip(file: &Value, run: &Analysed) {
    let out = to_vllm(run, Select::default()).unwrap();
    let numbers =
        |v: &Value| -> Vec<f64> { v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    // Requests are written in the order in which they were sent.
    let starts = numbers(&file["start_times"]);
    let mut order: Vec<usize> = (0..starts.len()).collect();
    order.sort_by(|a, b| starts[*a].total_cmp(&starts[*b]));
    for key in ["input_lens", "output_lens", "ttfts", "latencies"] {
        let (was, is) = (numbers(&file[key]), numbers(&out[key]));
        let same = order.iter().zip(&is).all(|(i, v)| close(was[*i], *v));
        assert!(same && was.len() == is.len(), "{key}: {was:?} became {is:?}");
    }
    for (i, is) in order.iter().zip(out["itls"].as_array().unwrap()) {
        let (was, is) = (numbers(&file["itls"][*i]), numbers(is));
        assert!(was.len() == is.len() && was.iter().zip(&is).all(|(a, b)| close(*a, *b)), "{was:?} {is:?}");
    }
    for (i, is) in order.iter().zip(numbers(&out["start_times"])) {
        assert!(close(starts[*i] - starts[order[0]], is));
    }
    for key in ["completed", "failed", "total_input_tokens", "total_output_tokens"] {
        if let Some(was) = file[key].as_u64() {
            assert_eq!(out[key].as_u64(), Some(was), "{key}");
        }
    }
    for name in ["ttft", "tpot", "itl", "e2el"] {
        for statistic in ["mean", "median", "std", "p90", "p95", "p99"] {
            let key = format!("{statistic}_{name}_ms");
            if let Some(was) = file[&key].as_f64() {
                let is = out[&key].as_f64().unwrap();
                // Stamps are whole nanoseconds.
                assert!((was - is).abs() < 2e-6, "{key}: {was} became {is}");
            }
        }
    }
}

#[test]
fn vllm_in_and_out_again() {
    let file = three_requests();
    let (_dir, run) = imported(file.to_string().as_bytes(), None);
    check_round_trip(&file, &run);
    let m = &run.doc.metrics;
    assert_eq!(m["ttft"].p50.value, Some(0.055));
    assert_eq!((m["ttft"].definition.as_str(), m["tpot"].definition.as_str()), ("vllm:ttft", "vllm:tpot"));
    assert_eq!(m["output_throughput"].mean.value, Some(4.5));
    assert_eq!(m["longest_gap"].max.value, Some(0.03));
    assert_eq!((run.doc.pipeline.repeats, run.doc.points[0].concurrency), (3, Some(2)));
    assert!(run.doc.validity.valid, "{:?}", run.doc.validity);
    let out = to_vllm(&run, Select::default()).unwrap();
    assert_eq!((out["model_id"].as_str(), out["request_rate"].as_str()), (Some("m"), Some("inf")));
    assert_eq!(out["generated_texts"], json!(["", "", ""]));
}

/// A file that `vllm bench serve` 0.32.0 wrote of a run against the exact engine: what vLLM computed from its own
/// values is what the dialect computes from them.
#[test]
fn vllms_own_numbers_come_out_of_its_own_values() {
    check_vllm(include_bytes!("data/vllm-0.32.0-completions.json"));
    check_vllm(include_bytes!("data/vllm-0.32.0-chat.json"));
}

#[track_caller]
fn check_vllm(bytes: &[u8]) {
    let file: Value = serde_json::from_slice(bytes).unwrap();
    let (_dir, run) = imported(bytes, None);
    check_round_trip(&file, &run);
    let out = to_vllm(&run, Select::default()).unwrap();
    for key in ["max_output_tokens_per_s", "max_concurrent_requests"] {
        assert_eq!(out[key].as_f64(), file[key].as_f64(), "{key}");
    }
    let m = &run.doc.metrics;
    assert!(close(m["ttft"].mean.value.unwrap() * 1e3, file["mean_ttft_ms"].as_f64().unwrap()));
    assert!(close(m["output_throughput"].mean.value.unwrap(), file["output_throughput"].as_f64().unwrap()));
}

/// A file that AIPerf 0.13.0 wrote of eight requests to the exact engine.
#[test]
fn aiperf_gives_statistics() {
    let bytes = include_bytes!("data/aiperf-0.13.0.json");
    let file: Value = serde_json::from_slice(bytes).unwrap();
    let (_dir, run) = imported(bytes, None);
    let m = &run.doc.metrics;
    let of = |key: &str, statistic: &str| file[key][statistic].as_f64().unwrap() / 1e3;
    for (metric, key) in
        [("ttft", "time_to_first_token"), ("tpot", "inter_token_latency"), ("e2e", "request_latency")]
    {
        let s = &m[metric];
        assert!(
            close(s.mean.value.unwrap(), of(key, "avg")) && close(s.p99.value.unwrap(), of(key, "p99")),
            "{metric}"
        );
        assert_eq!((s.mean.n, s.mean.interval, s.p999.value), (8, None, None));
        assert_eq!(s.definition, format!("aiperf:{key}"));
    }
    assert!(close(m["chunk_gap"].max.value.unwrap(), of("inter_chunk_latency", "max")));
    // What it calls ITL is one value a request: ours is not there.
    assert_eq!(m["itl"].mean.value, None);
    assert_eq!(m["output_throughput"].mean.value, file["output_token_throughput"]["avg"].as_f64());
    assert_eq!((run.doc.points[0].requests, run.doc.points[0].concurrency), (8, Some(2)));
    assert!(matches!(to_vllm(&run, Select::default()), Err(ExportError::NoRequests)));
}

/// A file that guidellm 0.8.1 wrote of six requests to the exact engine: what guidellm computed from its own stamps is
/// what the dialect computes from them.
#[test]
fn guidellms_own_numbers_come_out_of_its_own_stamps() {
    let bytes = include_bytes!("data/guidellm-0.8.1.json");
    let file: Value = serde_json::from_slice(bytes).unwrap();
    let (_dir, run) = imported(bytes, None);
    assert_eq!((run.record.rows().len(), run.doc.points[0].concurrency), (6, Some(2)));
    assert_eq!(run.doc.metrics["ttft"].definition, "guidellm:time_to_first_token_ms");
    assert!(run.doc.metrics["itl"].mean.reason.as_deref().unwrap().contains("no time of single tokens"));
    let view = run.dialect(Dialect::Guidellm).unwrap();
    let told = &file["benchmarks"][0]["metrics"];
    let statistics =
        [("mean", "/mean"), ("median", "/median"), ("std", "/std_dev"), ("p95", "/percentiles/p95")];
    for key in
        ["time_to_first_token_ms", "inter_token_latency_ms", "time_per_output_token_ms", "request_latency"]
    {
        let figure = view.points[0].figure(key).unwrap();
        for (ours, theirs) in statistics {
            let theirs = told[key]["successful"].pointer(theirs).unwrap().as_f64().unwrap();
            let is = figure.statistic(ours).unwrap();
            // UNIX seconds in 64 bits are good to a quarter of a microsecond.
            assert!((is - theirs).abs() < 2e-3, "{key} {ours}: {theirs} became {is}");
        }
    }
    for key in ["requests_per_second", "output_tokens_per_second"] {
        let theirs = told[key]["successful"]["mean"].as_f64().unwrap();
        let is = view.points[0].figure(key).unwrap().statistic("value").unwrap();
        assert!((is / theirs - 1.0).abs() < 2e-3, "{key}: {theirs} became {is}");
    }
    // Without its requests the file still has its statistics.
    let mut bare = file.clone();
    bare["benchmarks"][0]["requests"] = Value::Null;
    let (_dir, run) = imported(bare.to_string().as_bytes(), None);
    let ttft = &run.doc.metrics["ttft"];
    let mean = told["time_to_first_token_ms"]["successful"]["mean"].as_f64().unwrap();
    assert!(close(ttft.mean.value.unwrap() * 1e3, mean) && ttft.mean.n == 6 && ttft.mean.interval.is_none());
}

#[test]
fn what_cannot_be_exported_says_why() {
    let (_dir, run) = imported(three_requests().to_string().as_bytes(), None);
    let point = to_vllm(&run, Select { point: Some(3), trial: None });
    assert!(matches!(point, Err(ExportError::Point { asked: 3, points: 1 })));
    let trial = to_vllm(&run, Select { point: None, trial: Some(1) });
    assert!(matches!(trial, Err(ExportError::Trial { asked: 1, .. })));
    let (_dir, table) = imported(b"run,value\n1,0.05\n2,0.06", Some(Metric::Ttft));
    assert!(matches!(to_vllm(&table, Select::default()), Err(ExportError::NoRequests)));
    assert_eq!(table.doc.metrics["ttft"].mean.trials, 2);
    assert!(table.doc.metrics["ttft"].mean.interval.is_some());
}

#[test]
fn a_dialect_of_an_imported_run_says_that_it_is_one() {
    let (_dir, run) = imported(three_requests().to_string().as_bytes(), None);
    let view = run.dialect(Dialect::Vllm).unwrap();
    assert!(view.notes.iter().any(|n| n.contains("imported")), "{:?}", view.notes);
    let text = stopwatt_report::dialect_terminal(
        &view,
        stopwatt_report::Style { color: false, width: 120, files: None },
    );
    assert!(text.contains("TTFT (ms)") && text.contains("55.00"), "{text}");
    let csv = stopwatt_report::dialect_csv(&view);
    assert!(csv.lines().any(|l| l.starts_with("vllm,0.33.0,c=2,ttft,TTFT,ms,median,55")), "{csv}");
    assert!(csv.lines().any(|l| l.contains(",ours.p50,")), "{csv}");
}

#[test]
fn sensors_become_openmetrics_under_the_names_of_dcgm() {
    let (dir, mut run) = imported(three_requests().to_string().as_bytes(), None);
    assert!(matches!(to_openmetrics(&run), Err(ExportError::NoSensors)));
    let Fact::RunStarted { clock, .. } = &run.log[0].fact else { panic!("{:?}", run.log[0]) };
    let zero_s = clock.t0_unix_ns as f64 * 1e-9;
    let folder = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let csv = "t_s,power_w,energy_j,mem_used_bytes,cpu_busy,gpu0_power_w,gpu1_power_w\n\
        0.5,300.5,20,2097152,0.25,100.5,200\n1.0,,,,,110,\n";
    std::fs::write(folder.join("power.csv"), csv).unwrap();
    let gpu = |index, name: &str| GpuFacts { index, name: Some(name.to_owned()), ..GpuFacts::default() };
    let gpu_facts = vec![gpu(2, "NVIDIA \"H100\""), gpu(3, "other")];
    let fingerprint = Fingerprint { gpu_facts, ..Fingerprint::default() };
    run.log.push(LogEvent { t_ns: 0, fact: Fact::Fingerprint { fingerprint } });
    let sensors = |gpus| Fact::Sensors { found: Vec::new(), missing: Vec::new(), gpus };
    run.log.push(LogEvent { t_ns: 0, fact: sensors(Some(vec![2])) });
    let labels =
        format!("gpu=\"2\",device=\"nvidia2\",modelName=\"NVIDIA \\\"H100\\\"\",run=\"{}\"", run.doc.run_id);
    let line = |name: &str, labels: &str, value: &str, t: f64| {
        format!("{name}{{{labels}}} {value} {:.3}", zero_s + t)
    };

    let text = to_openmetrics(&run).unwrap();
    let has = |wanted: String| assert!(text.lines().any(|l| l == wanted), "{wanted}\n{text}");
    has(line("DCGM_FI_DEV_POWER_USAGE_INSTANT", &labels, "300.5", 0.5));
    has(line("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", &labels, "20000", 0.5));
    has(line("DCGM_FI_DEV_FB_USED", &labels, "2", 0.5));
    has(line("stopwatt_cpu_busy_ratio", &format!("run=\"{}\"", run.doc.run_id), "0.25", 0.5));
    assert!(!text.contains("GPU_TEMP"), "a column without readings is no metric");
    assert_eq!(text.lines().last(), Some("# EOF"));

    // Sums over several GPUs are nobody's power; each GPU has its own.
    run.log.push(LogEvent { t_ns: 0, fact: sensors(Some(vec![2, 3])) });
    let text = to_openmetrics(&run).unwrap();
    let power: Vec<&str> = text.lines().filter(|l| l.starts_with("DCGM")).collect();
    assert_eq!(power.len(), 3, "{text}");
    assert!(power[0].contains("gpu=\"2\"") && power[0].contains(" 100.5 "));
    assert!(
        power[2].contains("gpu=\"3\"")
            && power[2].contains("modelName=\"other\"")
            && power[2].contains(" 200 ")
    );
}

#[test]
fn a_trace_has_requests_engine_and_machine_on_one_axis() {
    let (dir, mut run) = imported(three_requests().to_string().as_bytes(), None);
    let folder = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(folder.join("power.csv"), "t_s,power_w,gpu0_power_w,gpu1_power_w\n0.5,300,100,200\n")
        .unwrap();
    for (at_ns, tokens, running) in
        [(1_000_000_000, 100.0, 2.0), (3_000_000_000, 700.0, 1.0), (4_000_000_000, 5.0, 0.0)]
    {
        let counters = [("generation_tokens".to_owned(), tokens), ("running".to_owned(), running)].into();
        let fact = Fact::EngineReading { at_ns, took_s: 0.0, counters, problem: None };
        run.log.push(LogEvent { t_ns: at_ns, fact });
    }
    let trace = to_trace_events(&run, Select::default()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let named = |name: &str| -> Vec<&Value> { events.iter().filter(|e| e["name"] == name).collect() };

    // Requests start at 0, 0.5 and 1.875 s and take 80, 110 and 75 ms: the second and third fit into the first lane.
    let whole: Vec<&Value> =
        events.iter().filter(|e| e["name"].as_str().is_some_and(|n| n.starts_with("request "))).collect();
    assert_eq!(whole.len(), 3);
    assert!(whole.iter().all(|e| e["tid"] == 0 && e["ph"] == "X"), "{whole:?}");
    let at = |e: &Value, key: &str| e[key].as_f64().unwrap();
    assert!(
        close(at(whole[1], "ts") - at(whole[0], "ts"), 5e5) && close(at(whole[1], "dur"), 1.1e5),
        "{whole:?}"
    );
    let waits: Vec<f64> = named("first token").iter().map(|e| at(e, "dur")).collect();
    assert!(close(waits[0], 5e4) && close(waits[1], 6e4) && close(waits[2], 5.5e4), "{waits:?}");
    // Slices of a request lie inside it, one after the other.
    for (wait, stream) in named("first token").iter().zip(named("stream")) {
        assert!(close(at(wait, "ts") + at(wait, "dur"), at(stream, "ts")));
    }

    // 600 tokens in 2 s; the total that fell afterwards says nothing.
    let rates = named("output tokens/s");
    assert_eq!(rates.len(), 1);
    assert!(close(rates[0]["args"]["value"].as_f64().unwrap(), 300.0) && close(at(rates[0], "ts"), 1e6));
    assert_eq!(named("running").len(), 3);
    for (name, value) in [("power (W)", 300.0), ("power of GPU 0 (W)", 100.0), ("power of GPU 1 (W)", 200.0)]
    {
        let power = named(name);
        assert!(
            power.len() == 1 && power[0]["args"]["value"] == value && close(at(power[0], "ts"), 5e5),
            "{power:?}"
        );
    }
    assert!(matches!(
        to_trace_events(&run, Select { point: None, trial: Some(7) }),
        Err(ExportError::Trial { asked: 7, .. })
    ));
    assert!(matches!(
        to_trace_events(&run, Select { point: Some(3), trial: None }),
        Err(ExportError::Point { asked: 3, points: 1 })
    ));
}

#[test]
fn requests_that_overlap_have_lanes_of_their_own() {
    let mut file = three_requests();
    file["start_times"] = json!([10.0, 10.05, 10.09]);
    let (_dir, run) = imported(file.to_string().as_bytes(), None);
    let trace = to_trace_events(&run, Select::default()).unwrap();
    let lanes: Vec<u64> = trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["name"].as_str().is_some_and(|n| n.starts_with("request ")))
        .map(|e| e["tid"].as_u64().unwrap())
        .collect();
    // The first ends after 80 ms, so that the third, 90 ms after it, takes its lane.
    assert_eq!(lanes, [0, 1, 0]);
}
