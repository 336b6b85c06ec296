use stopwatt_core::engine::{Gauge, KV_USAGE, PREEMPTIONS, WAITING};
use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::{Estimate, MetricSummary, TrialValues, Validity, ValidityReason};
use stopwatt_core::text::Lang;
use stopwatt_core::verdict::{Case as Figures, Code};
use stopwatt_core::{Phase, RequestRecord};

use super::*;
use crate::compare::{Facts, Options, Side, compare};
use crate::testing::{log, ok_request, trial_ended};
use crate::{Input, Recorded, Settings, analyse};

const FLAT: [f64; 5] = [10.0, 10.1, 9.9, 10.05, 9.95];
const SLOWER: [f64; 5] = [12.5, 12.6, 12.4, 12.55, 12.45];

/// A run with one point: trial values by metric, and whatever a test adds.
#[derive(Clone)]
struct Run {
    doc: MetricsDoc,
    facts: Facts,
    log: Vec<LogEvent>,
    requests: Vec<RequestRow>,
    sensors: Option<Sensors>,
    kernels: Option<Kernels>,
}

impl Run {
    fn new(e2e: &[f64]) -> Self {
        let mut doc =
            analyse(&Input { log: &[], record: &Recorded::of(&[]), settings: &Settings::default() });
        doc.validity = Validity { valid: true, reasons: Vec::new() };
        doc.points = vec![Point {
            label: "c=8".to_owned(),
            concurrency: Some(8),
            rate_rps: None,
            input: Some(128.0),
            output: Some(128.0),
            engine_settings: Default::default(),
            wall_s: 1.0,
            requests: 1000,
            errors: Default::default(),
            metrics: doc.metrics.clone(),
            engine: Default::default(),
            power: Default::default(),
            trials: Default::default(),
        }];
        let run = Self {
            doc,
            facts: Facts::default(),
            log: Vec::new(),
            requests: Vec::new(),
            sensors: None,
            kernels: None,
        };
        run.with("e2e", e2e)
    }

    fn with(mut self, metric: &str, values: &[f64]) -> Self {
        let point = &mut self.doc.points[0];
        let summary = MetricSummary {
            unit: "1".to_owned(),
            ..MetricSummary::unavailable(Metric::Itl, "a metric of a test")
        };
        point.metrics.entry(metric.to_owned()).or_insert(summary);
        let mean = values.iter().copied().map(Some).collect();
        point.trials.insert(metric.to_owned(), TrialValues { mean, ..TrialValues::default() });
        self
    }

    fn set(mut self, key: &str, value: &str) -> Self {
        self.facts = Facts::of_run(&[], &serde_json::json!({ "settings": { key: { "value": value } } }));
        self
    }

    fn gauge(mut self, key: &str, mean: f64) -> Self {
        let value = |v| Estimate { value: Some(v), n: 9, trials: 5, ..Estimate::default() };
        let gauges = &mut self.doc.points[0].engine.gauges;
        gauges.insert(key.to_owned(), Gauge { mean: value(mean), max: value(mean) });
        self
    }

    fn total(mut self, key: &str, rise: f64) -> Self {
        let value = Estimate { value: Some(rise), n: 5, trials: 5, ..Estimate::default() };
        self.doc.points[0].engine.totals.insert(key.to_owned(), value);
        self
    }

    fn sensors(mut self, csv: &str) -> Self {
        self.sensors = Sensors::of_csv(csv);
        self.log = log(&[trial_ended(0, 0, 0, 10_000)]);
        self
    }

    fn kernel(mut self, name: &str, launches: u64, ms: f64, counters: &[(&str, f64)]) -> Self {
        let metrics = counters.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        let one = KernelUse { launches, time_s: Some(ms / 1e3), metrics };
        self.kernels.get_or_insert_default().0.insert(name.to_owned(), one);
        self
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            doc: Some(&self.doc),
            log: &self.log,
            requests: &self.requests,
            sensors: self.sensors.as_ref(),
            kernels: self.kernels.as_ref(),
        }
    }
}

fn options(gates: &[&str]) -> Options {
    let primary = ["e2e", "e2e_from_schedule"].map(|m| (m.to_owned(), "mean".to_owned()));
    Options {
        primary: primary.to_vec(),
        gates: gates.iter().map(|g| g.parse().unwrap()).collect(),
        ..Options::default()
    }
}

fn explained(a: &Run, b: &Run, gates: &[&str]) -> ComparisonDoc {
    let side = |name: &str, run: &Run| Side::of_run(name, &run.doc, run.facts.clone());
    let mut doc = compare(&side("before", a), &[side("after", b)], &options(gates));
    explain(&mut doc, a.seen(), &[b.seen()]);
    doc
}

/// Kinds of the causes, largest first.
#[track_caller]
fn check(a: &Run, b: &Run, expected: &[CauseKind]) -> Vec<Cause> {
    let doc = explained(a, b, &[]);
    let kinds: Vec<CauseKind> = doc.causes.iter().map(|c| c.kind).collect();
    assert_eq!(kinds, expected, "{:#?}", doc.causes);
    assert!(doc.causes.iter().all(|c| (0.0..=1.0).contains(&c.weight) && !c.evidence.is_empty()));
    doc.causes
}

#[track_caller]
fn near(weight: f64, expected: f64) {
    assert!((weight - expected).abs() < 0.02, "{weight} instead of {expected}");
}

#[test]
fn the_same_twice_has_no_cause() {
    let doc = explained(&Run::new(&FLAT), &Run::new(&FLAT), &[]);
    assert!(doc.causes.is_empty() && doc.unchecked.is_empty() && !doc.asks_for_a_cause());
    // Differences that changed nothing are no causes either.
    let busy = |run: Run| run.set("load.max_in_flight", "9").gauge(WAITING, 3.0);
    check(&Run::new(&FLAT).set("load.max_in_flight", "1").gauge(WAITING, 0.0), &busy(Run::new(&FLAT)), &[]);
}

#[test]
fn a_change_without_evidence_has_no_cause_and_says_what_was_not_checked() {
    let doc = explained(&Run::new(&FLAT), &Run::new(&SLOWER), &[]);
    assert!(doc.causes.is_empty() && doc.asks_for_a_cause());
    let unchecked: Vec<CauseKind> = doc.unchecked.iter().map(|u| u.kind).collect();
    assert_eq!(
        unchecked,
        [CauseKind::Environment, CauseKind::Kernel, CauseKind::Memory, CauseKind::Queueing]
    );
    assert!(doc.unchecked[1].reason(Lang::Ko).contains("커널"));
}

#[test]
fn another_machine_is_environment_and_other_work_is_input() {
    let fingerprint = |cpu: &str| {
        let fingerprint =
            stopwatt_core::fingerprint::Fingerprint { cpu: Some(cpu.to_owned()), ..Default::default() };
        Facts::of_run(&log(&[Fact::Fingerprint { fingerprint }]), &serde_json::Value::Null)
    };
    let on = |cpu: &str, e2e: &[f64]| Run { facts: fingerprint(cpu), ..Run::new(e2e) };
    let causes = check(&on("A", &FLAT), &on("B", &SLOWER), &[CauseKind::Environment]);
    assert_eq!(causes[0].evidence[0].detail, "machine.cpu: A → B");
    assert!(!causes[0].computed && causes[0].weight == 1.0);
    let causes = check(
        &Run::new(&FLAT).set("workload.input", "64"),
        &Run::new(&SLOWER).set("workload.input", "128"),
        &[CauseKind::Input],
    );
    assert_eq!(causes[0].evidence[0].sentence(Lang::Ko), "workload.input: 64 → 128");
}

#[test]
fn clocks_explain_their_part_of_the_change() {
    let clocks = |mhz: u32, temp: u32, words: &str| {
        format!(
            "t_s,power_w,sm_clock_mhz,temp_c,throttle\n1,300,{mhz},{temp},{words}\n2,300,{mhz},{temp},{words}\n"
        )
    };
    let cool = Run::new(&FLAT).sensors(&clocks(1980, 60, "none"));
    let hot = Run::new(&SLOWER).sensors(&clocks(1771, 84, "power_cap+sw_thermal"));
    let causes = check(&cool, &hot, &[CauseKind::Environment]);
    let codes: Vec<&str> = causes[0].evidence.iter().map(|e| e.code.as_str()).collect();
    assert_eq!(codes, ["throttled", "throttled", "clock_differs", "temperature_differs"]);
    // Clocks fell by a factor of 1.118, latency rose by 1.25: ln 1.118 / ln 1.25 = 0.4999.
    near(causes[0].evidence[2].share.unwrap(), 0.5);
    // A clock that rose does not make anything slower.
    check(
        &Run::new(&FLAT).sensors(&clocks(1771, 84, "none")),
        &Run::new(&SLOWER).sensors(&clocks(1980, 60, "none")),
        &[],
    );
}

#[test]
fn longer_answers_explain_longer_requests() {
    let tokens = |run: Run, n: f64| run.with("output_tokens", &[n; 5]);
    let causes =
        check(&tokens(Run::new(&FLAT), 100.0), &tokens(Run::new(&SLOWER), 112.0), &[CauseKind::Input]);
    // ln 1.12 / ln 1.25
    near(causes[0].weight, 0.508);
    assert!(causes[0].computed && causes[0].evidence[0].code == "output_lengths");
}

#[test]
fn another_kernel_explains_the_time_it_takes() {
    let a = Run::new(&FLAT).kernel("gemm_fused", 100, 80.0, &[]).kernel("softmax", 100, 20.0, &[]);
    let b = Run::new(&SLOWER).kernel("gemm", 100, 75.0, &[]).kernel("bias", 100, 30.0, &[]).kernel(
        "softmax",
        100,
        20.2,
        &[],
    );
    let causes = check(&a, &b, &[CauseKind::Kernel]);
    let codes: Vec<&str> = causes[0].evidence.iter().map(|e| e.code.as_str()).collect();
    assert_eq!(codes, ["kernel_appeared", "kernel_appeared", "kernel_gone"]);
    // All kernels: 100 → 125.2 ms explains the whole of +25 %.
    near(causes[0].weight, 1.0);
    // The same kernels in the same time explain nothing.
    check(&a, &Run { kernels: a.kernels.clone(), ..Run::new(&SLOWER) }, &[]);
}

#[test]
fn more_hits_without_a_gain_is_memory() {
    let l2 = |run: Run, rate: f64, mib: f64| {
        let spread = [0.001, -0.001, 0.0, 0.0005, -0.0005].map(|e| rate + e);
        run.with("l2_hit_rate", &spread).kernel("gemm", 10, 5.0, &[("dram__bytes_read.sum", mib * 1048576.0)])
    };
    let causes =
        check(&l2(Run::new(&FLAT), 0.71, 512.0), &l2(Run::new(&FLAT), 0.90, 530.0), &[CauseKind::Memory]);
    let codes: Vec<&str> = causes[0].evidence.iter().map(|e| e.code.as_str()).collect();
    assert_eq!(codes, ["l2_without_gain", "dram_not_less"]);
    assert!(causes[0].evidence[0].detail.contains("71.0 → 90.0 %"), "{:?}", causes[0].evidence[0]);
    let less =
        check(&l2(Run::new(&FLAT), 0.71, 512.0), &l2(Run::new(&FLAT), 0.90, 300.0), &[CauseKind::Memory]);
    assert_eq!(less[0].evidence[1].code, "dram_less");
    // With the gain there is nothing to explain by it.
    let gain = explained(&l2(Run::new(&SLOWER), 0.71, 512.0), &l2(Run::new(&FLAT), 0.90, 300.0), &[]);
    assert!(gain.causes.is_empty(), "{:?}", gain.causes);
}

#[test]
fn waiting_explains_its_part_by_littles_law() {
    let busy = |run: Run, waiting: f64, preempted: f64| {
        run.gauge(WAITING, waiting)
            .gauge(KV_USAGE, 0.5)
            .total(PREEMPTIONS, preempted)
            .with("request_throughput", &[4.0; 5])
    };
    let causes =
        check(&busy(Run::new(&FLAT), 1.0, 0.0), &busy(Run::new(&SLOWER), 9.0, 50.0), &[CauseKind::Queueing]);
    // 8 more requests at 4 a second wait 2 s longer: 0.8 of the 2.5 s.
    near(causes[0].weight, 0.8);
    assert_eq!(
        causes[0].evidence[0].detail,
        "requests waiting in the engine: 1.00 → 9.00 on average, 250 → 2250 ms of waiting each (Little's law)"
    );
    assert_eq!(causes[0].evidence[1].detail, "preemptions per 1,000 requests: 0.00 → 50.0");
    // A queue that became shorter does not make requests slower.
    check(&busy(Run::new(&FLAT), 9.0, 50.0), &busy(Run::new(&SLOWER), 1.0, 0.0), &[]);
}

#[test]
fn noise_and_few_trials_are_the_sample_size() {
    let causes = check(&Run::new(&FLAT), &Run::new(&[9.0, 11.5, 8.5, 11.0, 10.8]), &[CauseKind::SampleSize]);
    let codes: Vec<&str> = causes[0].evidence.iter().map(|e| e.code.as_str()).collect();
    assert_eq!(codes, ["noisy_trials", "more_trials"]);
    let few = check(&Run::new(&FLAT), &Run::new(&[9.0]), &[CauseKind::SampleSize]);
    assert_eq!(few[0].evidence[0].code, "too_few_trials");
    // The verdict is clear and the gate is not: the limit lies inside the interval.
    let doc = explained(&Run::new(&SLOWER), &Run::new(&FLAT), &["e2e <= -20.2%"]);
    assert_eq!(doc.causes[0].evidence[0].code, "gate_needs_trials", "{:?} {:?}", doc.causes, doc.gates);
}

#[test]
fn one_wild_trial_is_an_outlier() {
    let wild = [10.0, 10.1, 9.9, 10.05, 9.95, 30.0];
    let causes = explained(&Run::new(&FLAT), &Run::new(&wild), &[]).causes;
    let outlier = causes.iter().find(|c| c.kind == CauseKind::Outliers).unwrap();
    let e = &outlier.evidence[0];
    assert!(
        e.detail.contains("after #6") && e.detail.ends_with("+33.3 % with them and +0.0 % without"),
        "{e:?}"
    );
    near(outlier.weight, 1.0);
}

#[test]
fn few_slow_requests_can_carry_a_mean() {
    // Twenty requests a trial of about 100 ms; in the candidate two of each trial take 3 s.
    let requests = |slow: u64| -> Vec<RequestRow> {
        let one = |id: u64| {
            let begin = id as i64 * 5_000;
            let ms = if id % 20 < slow { 3_000 } else { 100 + id as i64 % 7 };
            let request = ok_request(id, begin * 1_000_000, &[begin + ms / 2, begin + ms]);
            RequestRow::of(&RequestRecord { trial: (id / 20) as u32, phase: Phase::Measure, ..request })
        };
        (0..100).map(one).collect()
    };
    let with = |slow: u64, e2e: [f64; 5]| Run { requests: requests(slow), ..Run::new(&e2e) };
    let causes = check(
        &with(0, [0.103, 0.1031, 0.1029, 0.103, 0.103]),
        &with(2, [0.393, 0.3931, 0.3929, 0.393, 0.393]),
        &[CauseKind::Outliers],
    );
    let e = &causes[0].evidence[0];
    assert_eq!(
        (e.code.as_str(), e.values[1].as_str(), e.values[2].as_str()),
        ("outlier_requests", "0", "10")
    );
    near(causes[0].weight, 1.0);
}

#[test]
fn the_client_is_named_by_its_own_findings_and_its_lateness() {
    let limited = |mut run: Run| {
        run.doc.validity.reasons.push(ValidityReason {
            code: Code::ClientBound.name().to_owned(),
            fatal: true,
            detail: String::new(),
            hint: None,
            cases: vec![Figures { point: None, values: vec!["0.98".to_owned()] }],
            more: 0,
        });
        run
    };
    let causes = check(&Run::new(&FLAT), &limited(Run::new(&SLOWER)), &[CauseKind::Client]);
    assert_eq!(causes[0].evidence[0].detail, "after: the client used 0.98 cores");
    let late =
        |e2e: &[f64], lag: f64| Run::new(&FLAT).with("e2e_from_schedule", e2e).with("send_lag", &[lag; 5]);
    let causes = check(&late(&FLAT, 0.0), &late(&SLOWER, 2.0), &[CauseKind::Client]);
    near(causes[0].weight, 0.8);
}

#[test]
fn causes_stand_by_what_they_explain() {
    let tokens = |run: Run, n: f64| run.with("output_tokens", &[n; 5]).with("request_throughput", &[4.0; 5]);
    let a = tokens(Run::new(&FLAT), 100.0).gauge(WAITING, 0.0);
    let b = tokens(Run::new(&SLOWER), 103.0).gauge(WAITING, 8.0);
    let causes = check(&a, &b, &[CauseKind::Queueing, CauseKind::Input]);
    assert!(causes[0].weight > causes[1].weight);
}
