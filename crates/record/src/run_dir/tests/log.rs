//! `run.log` and its format version.

use std::io;

use stopwatt_core::{FORMAT_MAJOR, FORMAT_MINOR};

use super::*;

#[test]
fn a_torn_last_line_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    run.log(Fact::TrialStarted { point: 0, trial: 0 }).unwrap();
    drop(run);
    let log = path.join(LOG);
    let whole = std::fs::read(&log).unwrap();
    let second = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
    for cut in second..whole.len() - 1 {
        std::fs::write(&log, &whole[..cut]).unwrap();
        assert_eq!(Run::open(&path).unwrap().log().len(), 1, "cut at {cut}");
    }
    // Damage in the middle is not a torn line.
    let mut middle = whole[..second].to_vec();
    middle.extend_from_slice(b"{\"t_ns\":\n");
    middle.extend_from_slice(&whole[second..]);
    std::fs::write(&log, middle).unwrap();
    assert!(matches!(Run::open(&path), Err(RunError::Damaged { line: 2, .. })));
}

#[test]
fn a_counter_that_is_not_a_number_does_not_spoil_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    let counters = [("good".to_owned(), 1.5), ("bad".to_owned(), f64::NAN)];
    run.log(Fact::TrialEnded {
        point: 0,
        trial: 0,
        start_ns: 0,
        end_ns: 1,
        client_cpu_s: None,
        engine_cpu_s: None,
        engine_rss_bytes: None,
        planned: None,
        counters_before: counters.clone().into(),
        counters_after: counters.into(),
        reads: None,
    })
    .unwrap();
    drop(run);
    let run = Run::open(&path).unwrap();
    let Fact::TrialEnded { counters_before, .. } = &run.log()[1].fact else { panic!() };
    assert_eq!(counters_before.len(), 1);
}

/// Rewrites the format version of a run.
fn with_format(path: &Path, format: &str, more: &str) {
    let log = path.join(LOG);
    let text = std::fs::read_to_string(&log).unwrap();
    let own = format!("\"format\":\"{FORMAT_MAJOR}.{FORMAT_MINOR}\"");
    assert!(text.contains(&own));
    std::fs::write(&log, text.replace(&own, &format!("\"format\":\"{format}\"")) + more).unwrap();
}

#[test]
fn a_newer_minor_is_read_and_a_newer_major_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    run.push(record(1, 1)).unwrap();
    run.finish().unwrap();
    let news = "{\"t_ns\":5,\"fact\":{\"event\":\"eclipse\",\"depth\":2}}\n{\"t_ns\":6,\"fact\":{\"event\":\"trial_started\",\"point\":0,\"trial\":0,\"mood\":\"new field\"}}\n";

    let own = format!("{FORMAT_MAJOR}.{FORMAT_MINOR}");
    with_format(&path, &own, news);
    assert!(matches!(Run::open(&path), Err(RunError::Damaged { .. })), "this version does not write that");
    with_format(&path, "1.7", "");
    let run = Run::open(&path).unwrap();
    assert_eq!((run.log().len(), run.format()), (2, "1.7"), "the unknown event is passed over");
    assert_eq!(read(&path, Chunks::Read).len(), 1);

    let log = path.join(LOG);
    let text = std::fs::read_to_string(&log).unwrap().replace("\"1.7\"", "\"2.0\"");
    std::fs::write(&log, text).unwrap();
    let error = Run::open(&path).unwrap_err();
    assert!(matches!(&error, RunError::NewerFormat { found, .. } if found == "2.0"));
    assert_eq!(
        error.to_string(),
        "the run has format 2.0, this version reads 1.x; Stopwatt 9.9.9 wrote it and reads it"
    );
}

#[test]
fn what_is_not_a_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Run::open(dir.path()), Err(RunError::NotARun { .. })));
    for text in
        ["", "\n", "hello\n", "{\"t_ns\":0,\"fact\":{\"event\":\"trial_started\",\"point\":0,\"trial\":0}}\n"]
    {
        std::fs::write(dir.path().join(LOG), text).unwrap();
        assert!(matches!(Run::open(dir.path()), Err(RunError::NotARun { .. })), "{text:?}");
    }
    let error =
        RunError::Io { action: "write", path: "x".into(), source: io::ErrorKind::PermissionDenied.into() };
    assert!(error.hint().is_some());
}
