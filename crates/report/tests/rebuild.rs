//! Reports from a run directory on disk.

mod sample;

use std::path::Path;

use sample::{Plan, Sample};
use stopwatt_core::Clock;
use stopwatt_core::log::Fact;
use stopwatt_core::text::Lang;
use stopwatt_record::events::Chunks;
use stopwatt_record::{Create, Run, RunWriter};
use stopwatt_report::{Analysed, RebuildError, html, write_all};

/// Writes the record of a sample as a run does, and gives back its directory.
fn recorded(run: &Sample, root: &Path, config: &serde_json::Value) -> RunWriter {
    let options = Create {
        root: root.to_owned(),
        out: Some(root.join("run")),
        name: "bench".into(),
        clock: Clock { t0_monotonic_ns: 0, t0_unix_ns: 1_786_702_530 * sample::SECOND },
        keep_chunks: true,
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

    let analysed = write_all(&Run::open(&dir).unwrap(), Lang::En).unwrap();
    assert_eq!(analysed.requests.len(), sample.requests.len());
    let first = files(&dir);
    for name in ["metrics.json", "report.csv", "report.html"] {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    let moved = root.path().join("elsewhere");
    std::fs::rename(&dir, &moved).unwrap();
    write_all(&Run::open(&moved).unwrap(), Lang::En).unwrap();
    assert!(files(&moved) == first, "the same record in another place gives other bytes");
    let page = String::from_utf8(first[2].clone()).unwrap();
    assert!(!page.contains(root.path().to_str().unwrap()), "no path of this machine is in the page");
}

#[test]
fn the_page_says_what_the_record_says() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(&Plan::single());
    recorded(&sample, root.path(), &sample.config).finish().unwrap();
    let analysed = Analysed::read(&Run::open(&root.path().join("run")).unwrap()).unwrap();
    assert_eq!(analysed.doc.metrics["ttft"].p50.value, sample.doc.metrics["ttft"].p50.value);
    assert!(html(&analysed.view(Lang::En)).contains("SmolLM2-135M-Instruct"));
}

#[test]
fn a_run_that_is_being_written_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let sample = Sample::new(&Plan { trial_s: 1., ..Plan::single() });
    let writer = recorded(&sample, root.path(), &sample.config);
    let run = Run::open(&root.path().join("run")).unwrap();
    let error = write_all(&run, Lang::En).unwrap_err();
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
    assert!(matches!(Analysed::read(&run), Err(RebuildError::Settings { .. })));
    assert_eq!(run.requests(Chunks::Read).unwrap().count(), sample.requests.len());
}
