//! Reports from a run directory on disk.

mod sample;

use std::path::Path;

use sample::{Plan, Sample};
use stopwatt_core::Clock;
use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::MetricSummary;
use stopwatt_core::text::Lang;
use stopwatt_record::events::Chunks;
use stopwatt_record::{Create, Run, RunWriter};
use stopwatt_report::{Analysed, RebuildError, html, write_all};

/// Writes the record of a sample as a run does, and gives back its directory.
fn recorded(run: &Sample, root: &Path, config: &serde_json::Value) -> RunWriter {
    recorded_with(run, root, config, true)
}

fn recorded_with(run: &Sample, root: &Path, config: &serde_json::Value, keep_chunks: bool) -> RunWriter {
    let options = Create {
        root: root.to_owned(),
        out: Some(root.join("run")),
        name: "bench".into(),
        clock: Clock { t0_monotonic_ns: 0, t0_unix_ns: 1_786_702_530 * sample::SECOND },
        keep_chunks,
    };
    let writer = RunWriter::create(options, config).expect("a run directory");
    for event in run.log.iter().filter(|e| !matches!(e.fact, Fact::RunStarted { .. })) {
        writer.log(event.fact.clone()).expect("a line of the log");
    }
    for request in &run.requests {
        writer.push(request.clone()).expect("a row");
    }
    writer
}

fn files(dir: &Path) -> [Vec<u8>; 3] {
    ["metrics.json", "report.csv", "report.html"].map(|name| std::fs::read(dir.join(name)).expect("a report"))
}

#[test]
fn reports_come_from_the_record_alone_byte_for_byte() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(&Plan::single());
    recorded(&sample, root.path(), &sample.config).finish().unwrap();
    let dir = root.path().join("run");

    let analysed = write_all(&Run::open(&dir).unwrap(), Lang::En, None).unwrap();
    assert_eq!(analysed.record.rows().len(), sample.requests.len());
    let first = files(&dir);
    for name in ["metrics.json", "report.csv", "report.html"] {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    let moved = root.path().join("elsewhere");
    std::fs::rename(&dir, &moved).unwrap();
    write_all(&Run::open(&moved).unwrap(), Lang::En, None).unwrap();
    assert!(files(&moved) == first, "the same record in another place gives other bytes");
    let page = String::from_utf8(first[2].clone()).unwrap();
    assert!(!page.contains(root.path().to_str().unwrap()), "no path of this machine is in the page");
}

#[test]
fn the_page_says_what_the_record_says() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(&Plan::single());
    recorded(&sample, root.path(), &sample.config).finish().unwrap();
    let analysed = Analysed::read(&Run::open(&root.path().join("run")).unwrap(), None).unwrap();
    assert_eq!(analysed.doc.metrics["ttft"].p50.value, sample.doc.metrics["ttft"].p50.value);
    assert!(html(&analysed.view(Lang::En)).contains("SmolLM2-135M-Instruct"));
}

#[test]
fn a_run_that_is_being_written_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(&Plan { trial_s: 1., ..Plan::single() });
    let writer = recorded(&sample, root.path(), &sample.config);
    let run = Run::open(&root.path().join("run")).unwrap();
    let error = write_all(&run, Lang::En, None).unwrap_err();
    assert!(matches!(error, RebuildError::Running { .. }) && error.hint().is_some());
    assert!(!run.path().join("report.html").exists());
    writer.finish().unwrap();
}

#[test]
fn settings_that_cannot_be_read_are_not_guessed() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(&Plan { trial_s: 1., ..Plan::single() });
    let config = serde_json::json!({ "settings": {}, "analysis": { "level": "high" } });
    recorded(&sample, root.path(), &config).finish().unwrap();
    let run = Run::open(&root.path().join("run")).unwrap();
    assert!(matches!(Analysed::read(&run, None), Err(RebuildError::Settings { .. })));
    assert_eq!(run.requests(Chunks::Read).unwrap().count(), sample.requests.len());
}

#[test]
fn a_run_without_its_chunks_keeps_what_they_came_to() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(&Plan::single());
    recorded_with(&sample, root.path(), &sample.config, false).finish().unwrap();
    let run = Run::open(&root.path().join("run")).unwrap();
    let metrics = Analysed::read(&run, None).unwrap().doc.metrics;
    let exact = &sample.doc.metrics;
    for name in ["ttft", "tpot", "e2e"] {
        let values = |m: &MetricSummary| m.statistics().map(|(_, e)| e.value);
        assert_eq!(values(&metrics[name]), values(&exact[name]), "{name} needs no chunks");
    }
    let (got, known) = (&metrics["itl"], &exact["itl"]);
    assert_eq!((got.p99.n, got.max.value), (known.p99.n, known.max.value));
    assert_eq!(got.definition, format!("{}; quantiles within 0.05 %", known.definition));
    for (a, b) in [(&got.p50, &known.p50), (&got.p95, &known.p95), (&got.p99, &known.p99)] {
        let (a, b) = (a.value.unwrap(), b.value.unwrap());
        assert!((a - b).abs() <= b / 2048.0, "{a} {b}");
    }

    // Without the histograms there is nothing to make them from.
    std::fs::remove_file(run.path().join("streams.parquet")).unwrap();
    let metrics = Analysed::read(&run, None).unwrap().doc.metrics;
    assert_eq!((metrics["ttft"].p50.value, metrics["itl"].p50.value), (exact["ttft"].p50.value, None));
    assert!(metrics["itl"].p50.reason.as_ref().unwrap().contains("lost"));
}

#[test]
fn histograms_that_are_missing_are_made_anew_from_the_chunks() {
    let root = tempfile::tempdir().unwrap();
    // More gaps than are kept one by one.
    let sample = Sample::new(&Plan { concurrency: vec![16], trial_s: 75., resamples: 100, ..Plan::sweep() });
    recorded(&sample, root.path(), &sample.config).finish().unwrap();
    let run = Run::open(&root.path().join("run")).unwrap();
    let analysed = write_all(&run, Lang::En, None).unwrap();
    let gaps = analysed.doc.points.iter().map(|p| p.metrics["itl"].p50.n).sum::<u64>();
    assert!(gaps > stopwatt_analyse::recorded::EXACT_GAPS, "{gaps}");
    assert!(analysed.doc.metrics["itl"].definition.contains("within 0.05 %"));
    let first = files(run.path());
    let histograms = std::fs::read(run.path().join("streams.parquet")).unwrap();

    std::fs::remove_file(run.path().join("streams.parquet")).unwrap();
    write_all(&run, Lang::En, None).unwrap();
    assert!(files(run.path()) == first, "the same record gives other bytes");
    assert!(run.streams().unwrap().is_some() && !histograms.is_empty());

    for (point, exact) in analysed.doc.points.iter().zip(&sample.doc.points) {
        let (got, known) = (&point.metrics["itl"], &exact.metrics["itl"]);
        assert_eq!(
            (got.mean.n, got.min.value, got.max.value),
            (known.mean.n, known.min.value, known.max.value)
        );
        for ((name, a), (_, b)) in got.statistics().into_iter().zip(known.statistics()) {
            let (value, other) = (a.value.unwrap(), b.value.unwrap());
            assert!((value - other).abs() <= other / 2048.0, "{name}: {value} {other}");
            if let (Some(a), Some(b)) = (a.interval, b.interval) {
                // Of the same kind: as wide within a factor, and around the same place.
                assert!((0.4..2.5).contains(&((a.hi - a.lo) / (b.hi - b.lo))), "{name}: {a:?} {b:?}");
                assert!(a.lo <= other && other <= a.hi, "{name}: {a:?} {other}");
            }
        }
    }
}
