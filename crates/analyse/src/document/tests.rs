//! Whole documents: by hand, against the schema, and for records of any kind.

use proptest::prelude::*;
use stopwatt_core::metrics_doc::{MetricsDoc, RunStatus};
use stopwatt_core::{EndKind, Metric, Phase, RequestRecord};

use crate::testing::{log, ok_request, trial_ended, whole_requests, whole_run};
use crate::{Input, Recorded, Settings, analyse, slo};

fn settings() -> Settings {
    Settings { mode: "bench:sweep".to_owned(), seed: 42, resamples: 100, ..Settings::default() }
}

fn document(
    facts: &[stopwatt_core::log::Fact],
    requests: &[RequestRecord],
    settings: &Settings,
) -> MetricsDoc {
    analyse(&Input { log: &log(facts), record: &Recorded::of(requests), settings })
}

#[track_caller]
fn mean(metrics: &stopwatt_core::metrics_doc::Metrics, metric: Metric, expected: f64) {
    let value = metrics[metric.name()].mean.value.unwrap();
    assert!((value - expected).abs() < 1e-12, "{}: {value}, expected {expected}", metric.name());
}

#[test]
fn by_hand() {
    let doc = document(&whole_run(), &whole_requests(), &settings());
    assert_eq!(
        (doc.run_id.as_str(), doc.format.as_str(), doc.status),
        ("example", "1.0", RunStatus::Complete)
    );
    assert_eq!((doc.pipeline.repeats, doc.pipeline.warmup), (10, 1));
    assert_eq!(doc.headline_point, Some(1));
    assert_eq!(doc.metrics, doc.points[1].metrics);
    let [a, b] = &doc.points[..] else { panic!("two points") };
    assert_eq!((a.requests, b.requests, a.wall_s, a.concurrency), (4, 6, 4.0, Some(1)));
    assert_eq!((a.input, a.output), (Some(16.0), Some(4.0)));
    // Two and three requests of 16 + 4 tokens in each window of 2 s.
    mean(&a.metrics, Metric::OutputThroughput, 4.0);
    mean(&b.metrics, Metric::OutputThroughput, 6.0);
    mean(&b.metrics, Metric::TotalThroughput, 30.0);
    mean(&b.metrics, Metric::RequestThroughput, 1.5);
    // 0.100 s in the first trial, 0.110 s in the second.
    mean(&b.metrics, Metric::Ttft, 0.105);
    mean(&b.metrics, Metric::E2e, 0.165);
    mean(&b.metrics, Metric::Tpot, 0.02);
    mean(&b.metrics, Metric::Itl, 0.02);
    mean(&b.metrics, Metric::ErrorRate, 0.0);
    assert_eq!(b.metrics["itl"].mean.n, 18);
    assert_eq!(b.metrics["chunk_gap"].definition, "chunk_gap/1");
    // t(1) = 12.706 205 and s/√2 = 0.005 for the trial means 0.100 and 0.110.
    let i = b.metrics["ttft"].mean.interval.unwrap();
    assert!(
        (i.hi - (0.105 + 12.706_205 * 0.005)).abs() < 1e-7 && (i.lo - 0.041_468_975).abs() < 1e-7,
        "{i:?}"
    );
    assert!((doc.latency_ms.mean.unwrap() - 165.0).abs() < 1e-9);
    assert_eq!(doc.throughput_toks_s, Some(6.0));
    assert_eq!(doc.reasons["latency_ms.p95"], "needs n >= 20");
    assert_eq!(doc.metrics["goodput"].mean.reason.as_deref(), Some("no objective was given (--slo)"));
    assert_eq!(doc.client.rss_bytes, Some(9 << 20));
    assert!(doc.validity.valid && doc.validity.reasons.is_empty(), "{:?}", doc.validity);
}

#[test]
fn snapshot_of_a_small_run() {
    let mut requests = whole_requests();
    requests.truncate(5);
    requests[2].end = EndKind::Http;
    let settings = Settings { slos: slo::parse("ttft < 105ms").unwrap(), ..settings() };
    let mut doc = document(&whole_run()[..6], &requests, &settings);
    let shown = [Metric::Ttft, Metric::E2eWithFailures, Metric::OutputThroughput, Metric::SloAttainment];
    for metrics in doc.points.iter_mut().map(|p| &mut p.metrics).chain([&mut doc.metrics]) {
        metrics.retain(|name, _| shown.iter().any(|m| m.name() == name));
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&doc).unwrap());
}

/// 60 requests of 100 tokens, 8 ms apart; in the second trial every stream of four stands still for 2 s once.
#[test]
fn a_freeze_of_two_seconds_cannot_hide() {
    let facts = [trial_ended(0, 0, 0, 60_000), trial_ended(0, 1, 60_000, 120_000)];
    let mut requests = Vec::new();
    for id in 0..60u64 {
        let trial = u32::from(id >= 30);
        let freezes = (50..54).contains(&id);
        let begin = id as i64 * 1_500;
        let at = |i: i64| begin + 50 + 8 * i + if freezes && i >= 40 { 2_000 } else { 0 };
        let tokens: Vec<i64> = (0..100).map(at).collect();
        requests.push(RequestRecord { trial, ..ok_request(id, begin * 1_000_000, &tokens) });
    }
    let doc = document(&facts, &requests, &settings());
    let m = &doc.metrics;
    let itl = &m["itl"];
    // 4 of 5 940 gaps are 0.07 %: beyond p99.9 (0.1 %), and far beyond p99.
    assert_eq!((itl.p99.value, itl.p99.n), (Some(0.008), 5_940));
    assert_eq!(itl.p999.value, Some(0.008));
    assert!((itl.max.value.unwrap() - 2.008).abs() < 1e-9);
    assert_eq!(
        (m["stalls"].max.value, m["stalls"].min.value, m["stalls"].mean.trials),
        (Some(4.0), Some(0.0), 2)
    );
    assert!((m["longest_gap"].max.value.unwrap() - 2.008).abs() < 1e-9);
    // Three more and p99.9 shows it too: h = 5 939 × 0.999 = 5 933.06, and the 7 largest begin at 5 933.
    let freeze = |r: &mut RequestRecord| r.chunks[40..].iter_mut().for_each(|c| c.t_ns += 2_000_000_000);
    requests[40..43].iter_mut().for_each(freeze);
    let itl = &document(&facts, &requests, &settings()).metrics["itl"];
    assert!((itl.p999.value.unwrap() - 2.008).abs() < 1e-9, "{:?}", itl.p999);
    assert_eq!((itl.p99.value, itl.mean.value.map(|v| v < 0.011)), (Some(0.008), Some(true)));
    // The limit is a setting.
    let strict = Settings { stall_s: 3.0, ..settings() };
    assert_eq!(document(&facts, &requests, &strict).metrics["stalls"].max.value, Some(0.0));
}

#[test]
fn goodput_counts_requests_that_meet_every_objective() {
    // The first trial has a TTFT of 100 ms, the second of 110 ms; TPOT is 20 ms in both.
    let with = |text| {
        let settings = Settings { slos: slo::parse(text).unwrap(), ..settings() };
        document(&whole_run(), &whole_requests(), &settings).points[1].metrics.clone()
    };
    let m = with("ttft < 105ms, tpot < 20ms");
    mean(&m, Metric::Goodput, 0.75); // 1.5 and 0 a second
    mean(&m, Metric::SloAttainment, 0.5);
    let m = with("ttft < 1s, tpot < 19ms");
    mean(&m, Metric::Goodput, 0.0);
    mean(&with("e2e < 170ms"), Metric::SloAttainment, 1.0);
}

#[test]
fn failures_count_as_failures_and_stopped_requests_count_nowhere() {
    let mut requests = whole_requests();
    let at = |point, trial| {
        requests.iter().position(|r| (r.point, r.trial, r.phase) == (point, trial, Phase::Measure)).unwrap()
    };
    let (failed, stopped) = (at(1, 0), at(1, 1));
    requests[failed].end = EndKind::Timeout;
    requests[stopped].end = EndKind::Cancelled;
    let doc = document(&whole_run(), &requests, &settings());
    let p = &doc.points[1];
    assert_eq!((p.requests, p.errors.clone()), (5, [("timeout".to_owned(), 1)].into()));
    mean(&p.metrics, Metric::ErrorRate, (1.0 / 3.0 + 0.0) / 2.0);
    assert_eq!((p.metrics["e2e"].p50.n, p.metrics["e2e_with_failures"].p50.n), (4, 5));
    assert_eq!(p.metrics["e2e_with_failures"].max.value, None);
    mean(&p.metrics, Metric::RequestThroughput, 1.0);
}

#[test]
fn cache_hits_come_from_counters_then_from_usage() {
    let mut facts = whole_run();
    let mut requests = whole_requests();
    let rate = |facts: &[_], requests: &[_]| {
        document(facts, requests, &settings()).points[0].metrics["kv_hit_rate"].mean.clone()
    };
    assert!(rate(&facts, &requests).reason.unwrap().contains("neither"));
    for r in &mut requests {
        r.cached_usage = Some(4);
    }
    assert_eq!(rate(&facts, &requests).value, Some(0.25));
    if let stopwatt_core::log::Fact::TrialEnded { counters_before, counters_after, .. } = &mut facts[4] {
        for (counters, queries, hits) in [(counters_before, 100.0, 50.0), (counters_after, 300.0, 200.0)] {
            counters.insert("prefix_cache_queries_tokens".to_owned(), queries);
            counters.insert("prefix_cache_hits_tokens".to_owned(), hits);
        }
    }
    assert_eq!(rate(&facts, &requests).value, Some(0.75));
}

#[test]
fn a_run_that_was_cut_off_has_what_it_measured() {
    let facts = whole_run();
    let requests = whole_requests();
    let doc = document(&facts[..5], &requests[..5], &settings());
    assert_eq!(doc.status, RunStatus::Incomplete);
    assert_eq!((doc.points.len(), doc.points[0].requests), (1, 4));
    // The second trial never ended: from its first intended to its last end, 670 ms with two requests of four tokens.
    let throughput = &doc.points[0].metrics["output_throughput"];
    assert!((throughput.max.value.unwrap() - 8.0 / 0.67).abs() < 1e-9);
    assert!(!doc.validity.valid);
    let empty = document(&[], &[], &settings());
    assert_eq!((empty.headline_point, empty.points.len(), empty.metrics.len()), (None, 0, Metric::ALL.len()));
    assert!(!empty.validity.valid);
}

#[test]
fn without_chunks_what_depends_on_them_is_absent() {
    let mut requests = whole_requests();
    requests.iter_mut().for_each(|r| r.chunks.clear());
    let doc = document(&whole_run(), &requests, &settings());
    assert_eq!(doc.metrics["ttft"].mean.reason.as_deref(), Some("chunks were not recorded (--no-chunks)"));
    mean(&doc.metrics, Metric::OutputThroughput, 6.0);
    assert_eq!(doc.reasons["latency_ms.mean"], "chunks were not recorded (--no-chunks)");
}

fn schema() -> jsonschema::Validator {
    let schema = schemars::schema_for!(MetricsDoc).to_value();
    jsonschema::validator_for(&schema).unwrap()
}

/// What must hold of every document.
#[track_caller]
fn sound(doc: &MetricsDoc, schema: &jsonschema::Validator) {
    let json = serde_json::to_value(doc).unwrap();
    let problems: Vec<String> = schema.iter_errors(&json).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(&serde_json::from_value::<MetricsDoc>(json).unwrap(), doc, "a value was not finite");
    for metrics in doc.points.iter().map(|p| &p.metrics).chain([&doc.metrics]) {
        assert_eq!(metrics.len(), Metric::ALL.len());
        for (name, summary) in metrics {
            for (statistic, e) in summary.statistics() {
                assert!(e.interval.is_some() || e.reason.is_some(), "{name} {statistic} is silent");
                if let Some(i) = e.interval {
                    let v = e.value.unwrap();
                    assert!(
                        0.0 <= i.lo && i.lo <= v * (1.0 + 1e-9) && v <= i.hi * (1.0 + 1e-9),
                        "{name} {statistic} {e:?}"
                    );
                }
            }
        }
    }
    assert_eq!(doc.validity.valid, doc.validity.reasons.iter().all(|r| !r.fatal));
}

#[test]
fn whole_and_empty_documents_follow_the_schema() {
    let schema = schema();
    sound(&document(&whole_run(), &whole_requests(), &settings()), &schema);
    sound(&document(&[], &[], &settings()), &schema);
}

prop_compose! {
    /// A request of any kind, with stamps in any state.
    fn any_request()(
        point in 0u32..3,
        trial in 0u32..3,
        end in prop::sample::select(EndKind::ALL),
        warmup in prop::bool::weighted(0.1),
        begin in 0i64..8_000,
        gaps in prop::collection::vec(0i64..300, 0..6),
        usage in prop::option::of(0u32..9),
        tokenizer in prop::option::of(0u32..9),
        cached in prop::option::of(0u32..20),
        late in 0i64..50,
        connected in prop::option::of(0i64..20),
        dispatched in prop::bool::weighted(0.9),
    ) -> RequestRecord {
        let mut t = begin + late + 20;
        let tokens: Vec<i64> = gaps.iter().map(|g| { t += g; t }).collect();
        let mut r = ok_request(0, begin * 1_000_000, &tokens);
        (r.point, r.trial, r.end, r.output_usage, r.output_tokenizer, r.cached_usage) = (point, trial, end, usage, tokenizer, cached);
        r.phase = if warmup { Phase::Warmup } else { Phase::Measure };
        r.dispatched_ns = dispatched.then_some((begin + late) * 1_000_000);
        r.connected_ns = connected.map(|c| (begin + late + c) * 1_000_000).filter(|_| dispatched);
        r
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_record_gives_a_sound_document_whatever_its_order(
        mut requests in prop::collection::vec(any_request(), 0..60),
        lines in 0usize..=10,
        rotate in 0usize..60,
        slo in prop::bool::ANY,
    ) {
        for (r, id) in requests.iter_mut().zip(0..) {
            r.id = id;
        }
        let slos = if slo { slo::parse("ttft < 100ms, itl < 50ms").unwrap() } else { vec![] };
        let settings = Settings { resamples: 20, slos, ..settings() };
        let facts = &whole_run()[..lines];
        let doc = document(facts, &requests, &settings);
        sound(&doc, &schema());
        if !requests.is_empty() {
            let by = rotate % requests.len();
            requests.rotate_left(by);
        }
        let again = document(facts, &requests, &settings);
        prop_assert_eq!(serde_json::to_string(&again).unwrap(), serde_json::to_string(&doc).unwrap());
    }
}
