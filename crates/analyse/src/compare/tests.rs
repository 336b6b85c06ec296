use stopwatt_core::metrics_doc::{MetricsDoc, Point, TrialValues, Validity};

use super::*;
use crate::{Input, Recorded, Settings, analyse};

/// A run of one point with these end-to-end means, and the same throughput everywhere.
fn run(name: &str, e2e: &[f64]) -> Side {
    Side::of_run(name, &doc(e2e), Facts::default())
}

fn doc(e2e: &[f64]) -> MetricsDoc {
    let mut doc = analyse(&Input { log: &[], record: &Recorded::of(&[]), settings: &Settings::default() });
    doc.validity = Validity { valid: true, reasons: Vec::new() };
    doc.points = vec![labelled("c=8", 8, e2e)];
    doc
}

fn labelled(label: &str, concurrency: u32, e2e: &[f64]) -> Point {
    let values =
        |v: &[f64]| TrialValues { mean: v.iter().copied().map(Some).collect(), ..Default::default() };
    let all =
        analyse(&Input { log: &[], record: &Recorded::of(&[]), settings: &Settings::default() }).metrics;
    Point {
        label: label.to_owned(),
        concurrency: Some(concurrency),
        rate_rps: None,
        input: Some(128.0),
        output: Some(128.0),
        engine_settings: Default::default(),
        power: Default::default(),
        wall_s: 1.0,
        requests: 10,
        errors: Default::default(),
        metrics: all,
        engine: Default::default(),
        trials: [("e2e".to_owned(), values(e2e)), ("error_rate".to_owned(), values(&vec![0.0; e2e.len()]))]
            .into(),
    }
}

fn options(gates: &[&str]) -> Options {
    Options {
        primary: vec![("e2e".to_owned(), "mean".to_owned()), ("error_rate".to_owned(), "mean".to_owned())],
        gates: gates.iter().map(|g| g.parse().unwrap()).collect(),
        ..Options::default()
    }
}

const BASE: [f64; 5] = [10.0, 10.1, 9.9, 10.05, 9.95];
const FASTER: [f64; 5] = [7.5, 7.6, 7.4, 7.55, 7.45];

#[track_caller]
fn verdict(b: &[f64], expected: Verdict) -> MetricComparison {
    let doc = compare(&run("a", &BASE), &[run("b", b)], &options(&[]));
    let e2e = doc.comparisons.iter().find(|c| c.metric == "e2e").unwrap().clone();
    assert_eq!(e2e.verdict, Some(expected), "{e2e:?}");
    e2e
}

#[test]
fn four_verdicts() {
    let faster = verdict(&FASTER, Verdict::Improved);
    assert!((faster.delta.unwrap() + 0.25).abs() < 1e-9);
    assert!(faster.ci95.unwrap()[1] < -0.23 && faster.hedges_g.unwrap() < -10.0);
    verdict(&[12.0, 12.1, 11.9, 12.0, 12.0], Verdict::Regressed);
    verdict(&[10.02, 10.08, 9.93, 10.03, 9.96], Verdict::Equivalent);
    let noisy = verdict(&[9.0, 11.5, 8.5, 11.0, 10.5], Verdict::Inconclusive);
    assert!(noisy.reason.unwrap().contains("trials a side"));
}

#[test]
fn shares_differ_in_points_and_equal_constants_are_equivalent() {
    let doc = compare(&run("a", &BASE), &[run("b", &FASTER)], &options(&[]));
    let errors = doc.comparisons.iter().find(|c| c.metric == "error_rate").unwrap();
    assert!(errors.absolute);
    assert_eq!((errors.delta, errors.verdict), (Some(0.0), Some(Verdict::Equivalent)));
}

#[test]
fn one_trial_is_inconclusive_however_many_requests() {
    let doc = compare(&run("a", &[10.0]), &[run("b", &[5.0])], &options(&["e2e <= -20%"]));
    assert_eq!(doc.comparisons[0].verdict, Some(Verdict::Inconclusive));
    assert_eq!(doc.comparisons[0].reason.as_deref(), Some("needs at least 2 trials on each side"));
    assert_eq!(doc.gate, Some(GateState::Inconclusive));
}

#[track_caller]
fn gate(b: &Side, gates: &[&str], expected: GateState) {
    let doc = compare(&run("a", &BASE), std::slice::from_ref(b), &options(gates));
    assert_eq!(doc.gate, Some(expected), "{:?}", doc.gates);
}

#[test]
fn a_gate_needs_the_whole_interval() {
    gate(&run("b", &FASTER), &["e2e <= -20%"], GateState::Passed);
    gate(&run("b", &FASTER), &["e2e mean <= -30%"], GateState::Failed);
    gate(&run("b", &FASTER), &["e2e <= -25%"], GateState::Inconclusive);
    gate(&run("b", &FASTER), &["e2e <= -20%", "error_rate <= +0.1pp"], GateState::Passed);
    gate(&run("b", &BASE), &["e2e <= -20%"], GateState::Failed);
}

#[test]
fn a_missing_metric_never_passes() {
    gate(&run("b", &FASTER), &["l2_hit_rate >= +10pp"], GateState::Inconclusive);
    gate(&run("b", &FASTER), &["e2e p95 <= -20%"], GateState::Inconclusive);
}

#[test]
fn an_invalid_run_never_passes() {
    let mut invalid = doc(&FASTER);
    invalid.validity.valid = false;
    gate(&Side::of_run("b", &invalid, Facts::default()), &["e2e <= -20%"], GateState::Inconclusive);
}

#[test]
fn other_work_or_another_machine_forbids_a_pass() {
    let with = |key: &str, value: &str| {
        let config = serde_json::json!({ "settings": { key: { "value": value } } });
        Facts::of_run(&[], &config)
    };
    let side = |name: &str, e2e: &[f64], facts| Side::of_run(name, &doc(e2e), facts);
    let a = side("a", &BASE, with("workload.input", "128"));
    let b = side("b", &FASTER, with("workload.input", "64"));
    let doc = compare(&a, std::slice::from_ref(&b), &options(&["e2e <= -20%"]));
    assert!(doc.differences[0].forbids && doc.gate == Some(GateState::Inconclusive));
    let allowed = Options { allow_differences: true, ..options(&["e2e <= -20%"]) };
    assert_eq!(compare(&a, &[b], &allowed).gate, Some(GateState::Passed));
    let tuned = side("b", &FASTER, with("load.max_in_flight", "64"));
    let doc =
        compare(&side("a", &BASE, with("load.max_in_flight", "1")), &[tuned], &options(&["e2e <= -20%"]));
    assert!(!doc.differences[0].forbids && doc.gate == Some(GateState::Passed));
}

#[test]
fn points_are_matched_by_setting() {
    let many = |e2e: &[f64], levels: &[u32]| {
        let mut doc = doc(e2e);
        doc.points = levels.iter().map(|&c| labelled(&format!("c={c}"), c, e2e)).collect();
        Side::of_run("x", &doc, Facts::default())
    };
    let doc = compare(&many(&BASE, &[1, 8]), &[many(&FASTER, &[8, 16])], &options(&[]));
    assert!(doc.comparisons.iter().all(|c| c.point.as_deref() == Some("c=8")));
    assert_eq!(doc.unmatched, ["x: c=1", "x: c=16"]);
}

#[test]
fn engines_of_a_sweep_are_matched_by_their_settings_not_by_order() {
    let sweep = |engines: &[(&str, &str, f64)]| {
        let mut doc = doc(&BASE);
        let of = |(name, value, e2e): &(&str, &str, f64)| Point {
            engine_settings: [((*name).to_owned(), (*value).to_owned())].into(),
            ..labelled(&format!("{name}={value}"), 8, &BASE.map(|v| v * e2e))
        };
        doc.points = engines.iter().map(of).collect();
        Side::of_run("x", &doc, Facts::default())
    };
    // As the second side's seed shuffled them, and with an engine that the first does not have.
    let a = sweep(&[("seqs", "1", 1.0), ("seqs", "8", 2.0)]);
    let b = sweep(&[("seqs", "8", 2.0), ("seqs", "16", 9.0), ("seqs", "1", 1.0)]);
    let found = compare(&a, &[b], &options(&[]));
    let deltas: Vec<_> = found.comparisons.iter().filter(|c| c.metric == "e2e").map(|c| c.delta).collect();
    assert_eq!(deltas, [Some(0.0), Some(0.0)]);
    assert_eq!(found.unmatched, ["x: seqs=16"]);
    // Where engines have other settings altogether, several of one load cannot be told apart.
    let other = compare(&a, &[sweep(&[("util", "0.7", 1.0), ("util", "0.9", 1.0)])], &options(&[]));
    assert!(other.comparisons.is_empty() && other.unmatched.len() == 4, "{:?}", other.unmatched);
}

#[test]
fn a_gate_without_a_number_repeats_why_there_is_none() {
    let mut without = doc(&FASTER);
    let summary = without.points[0].metrics.get_mut("l2_hit_rate").unwrap();
    summary.mean.reason = Some("ncu was not found".to_owned());
    let b = Side::of_run("b", &without, Facts::default());
    let found = compare(&run("a", &BASE), &[b], &options(&["l2_hit_rate >= +10pp"]));
    let detail = &found.gates[0].detail;
    assert!(detail.contains("candidate: ncu was not found") && detail.contains("baseline"), "{detail}");
}

/// A side with these scores, item by item.
fn scored(name: &str, scores: &[f64]) -> Side {
    use stopwatt_core::log::{Fact, LogEvent};
    use stopwatt_core::quality::{Quality, QualityItem, QualityMethod, QualityScale};
    let item =
        |(i, s): (usize, &f64)| QualityItem { key: i.to_string(), score: Some(*s), ..Default::default() };
    let quality = Quality {
        method: QualityMethod::Command,
        better: Direction::Higher,
        scale: QualityScale::Share,
        items: scores.iter().enumerate().map(item).collect(),
    };
    run(name, &BASE).with_quality(&[LogEvent { t_ns: 1, fact: Fact::Quality { quality } }])
}

#[test]
fn quality_passes_by_the_bound_of_its_interval_and_never_when_it_is_missing() {
    let gate = "quality_loss mean <= +0.1pp";
    let state = |a: Side, b: Side| {
        let doc = compare(&a, &[b], &options(&[gate]));
        (doc.gate.unwrap(), doc.gates[0].detail.clone())
    };
    let right =
        |n: usize, wrong: usize| -> Vec<f64> { (0..n).map(|i| f64::from(u8::from(i >= wrong))).collect() };
    // Equal answers: enough of them pass, fewer do not, and say how many could.
    assert_eq!(state(scored("a", &right(4000, 9)), scored("b", &right(4000, 9))).0, GateState::Passed);
    let (few, detail) = state(scored("a", &right(500, 9)), scored("b", &right(500, 9)));
    assert_eq!(few, GateState::Inconclusive);
    assert!(detail.contains("500 items") && detail.contains("3838"), "{detail}");
    let (worse, _) = state(scored("a", &right(1000, 9)), scored("b", &right(1000, 60)));
    assert_eq!(worse, GateState::Failed);
    let (missing, detail) = state(scored("a", &right(1000, 9)), run("b", &BASE));
    assert_eq!(missing, GateState::Inconclusive);
    assert!(detail.contains("b: the record says nothing of quality"), "{detail}");
    let doc = compare(&scored("a", &right(100, 20)), &[scored("b", &right(100, 25))], &options(&[]));
    let row = doc.comparisons.iter().find(|c| c.metric == "quality_loss").unwrap();
    assert!((row.baseline.unwrap() - 0.2).abs() < 1e-9 && row.verdict.is_none());
    assert!((row.delta.unwrap() - 0.05).abs() < 1e-12 && row.ci95.unwrap()[0] > 0.0, "{row:?}");
}

#[test]
fn values_are_paired_by_position_never_by_rank() {
    // The same values in another order: by rank they would not differ at all.
    let a = [1.0, 2.0, 3.0, 4.0, 5.0];
    let b = [5.0, 1.0, 4.0, 2.0, 3.0];
    let paired = Options { paired: true, ..options(&[]) };
    let doc = compare(&run("a", &a), &[run("b", &b)], &paired);
    let [lo, hi] = doc.comparisons.iter().find(|c| c.metric == "e2e").unwrap().ci95.unwrap_or([-9.0, 9.0]);
    assert!(hi - lo > 1.0, "an interval of {lo} to {hi} knows more than these pairs tell");
    let uneven = compare(&run("a", &a), &[run("b", &b[..4])], &paired);
    assert!(uneven.comparisons[0].reason.as_deref().unwrap().contains("cannot be paired"));
}

#[test]
fn samples_are_grouped_by_run() {
    let a = Side::of_csv("a", "run,value\n1,10\n1,12\n2,11\n", "time", Direction::Lower).unwrap();
    let b = Side::of_csv("b", "x,5\ny,6\n", "time", Direction::Lower).unwrap();
    let doc = compare(&a, &[b], &Options::default());
    assert_eq!((doc.comparisons[0].baseline, doc.comparisons[0].trials), (Some(11.0), [2, 2]));
    assert!(doc.comparisons[0].primary);
    let bad = Side::of_csv("a", "run,value\n1,10\n2;11\n", "time", Direction::Lower).unwrap_err();
    assert_eq!(bad.to_string(), "line 3 is not of the form run,value: it has no comma");
    assert_eq!(Side::of_csv("a", "run,value\n", "t", Direction::Lower).unwrap_err(), CsvError::Empty);
}

#[test]
fn gates_read_and_write_the_same() {
    for text in ["e2e p50 <= -20%", "kv_hit_rate mean >= +10 pp", "tpot mean <= +2.5%"] {
        let gate: Gate = text.parse().unwrap();
        assert_eq!(gate.to_string(), text);
        assert_eq!(gate.to_string().parse::<Gate>().unwrap(), gate);
    }
    for text in ["e2e", "e2e < 5%", "e2e p42 <= 5%", "e2e <= fast", "<= 5%", "e2e <= 5"] {
        assert!(text.parse::<Gate>().is_err(), "{text}");
    }
    assert_eq!(prd().len(), 4);
}

#[test]
fn holm_covers_all_gates_together() {
    // Alone it passes at p just below 0.025; with three more gates it needs p / 4.
    let near = [9.7, 7.9, 8.4, 7.2, 7.6];
    let alone = compare(&run("a", &BASE), &[run("b", &near)], &options(&["e2e <= -5%"]));
    assert_eq!(alone.gate, Some(GateState::Passed), "{:?}", alone.gates);
    let four = ["e2e <= -5%", "e2e <= -4.9%", "e2e <= -4.8%", "e2e <= -4.7%"];
    let together = compare(&run("a", &BASE), &[run("b", &near)], &options(&four));
    assert_eq!(together.gate, Some(GateState::Inconclusive), "{:?}", together.gates);
}
