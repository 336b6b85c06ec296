//! What is in the directory, and who may write there.

use super::*;

#[test]
fn a_clean_end_leaves_one_file_of_events_and_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    assert_eq!(path.file_name().unwrap().to_str(), Some(run.id().as_str()));
    assert!(Run::open(&path).unwrap().is_running());
    assert_eq!(Run::open(&path).unwrap().status(), RunStatus::Incomplete);

    run.log(Fact::TrialStarted { point: 0, trial: 0 }).unwrap();
    for id in 0..10 {
        run.push(record(id, 3)).unwrap();
    }
    run.write_file("metrics.json", b"{}").unwrap();
    run.log(ended(RunStatus::Complete)).unwrap();
    run.finish().unwrap();

    assert_eq!(
        names(&path),
        ["config.lock.json", "events.parquet", "metrics.json", "run.log", "streams.parquet"]
    );
    let run = Run::open(&path).unwrap();
    assert_eq!((run.status(), run.is_running()), (RunStatus::Complete, false));
    assert_eq!(run.request_count().unwrap(), 10);
    assert_eq!(run.log().len(), 3);
    assert!(run.log().windows(2).all(|w| w[0].t_ns <= w[1].t_ns));
    assert_eq!(run.config().unwrap(), config());
}

#[test]
fn an_abandoned_run_keeps_its_parts_and_is_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    run.push(record(7, 2)).unwrap();
    drop(run);
    assert_eq!(names(&path), ["config.lock.json", "events", "run.log", "streams.parquet"]);
    assert_eq!(read(&path, Chunks::Read), [record(7, 2)]);
    let run = Run::open(&path).unwrap();
    assert_eq!((run.status(), run.is_running()), (RunStatus::Incomplete, false));
}

#[test]
fn an_explicit_directory_must_be_absent_or_empty() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a/b");
    let options = Create { out: Some(out.clone()), ..create(dir.path(), true) };
    let run = RunWriter::create(options.clone(), &config()).unwrap();
    assert_eq!(run.path(), out);
    assert!(matches!(RunWriter::create(options.clone(), &config()), Err(RunError::Locked { .. })));
    run.finish().unwrap();
    let error = RunWriter::create(options.clone(), &config()).unwrap_err();
    assert!(matches!(error, RunError::NotEmpty { .. }));
    assert!(error.hint().unwrap().contains("--out"));

    let file = dir.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    assert!(matches!(
        RunWriter::create(Create { out: Some(file.clone()), ..options.clone() }, &config()),
        Err(RunError::Io { .. })
    ));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "kept");

    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    RunWriter::create(Create { out: Some(empty), ..options }, &config()).unwrap();
}

#[test]
fn files_cannot_leave_the_directory_or_replace_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    for name in ["../x", "a/b", "", ".hidden", "run.log", "lock", "events.parquet", "config.lock.json"] {
        assert!(matches!(run.write_file(name, b""), Err(RunError::FileName { .. })), "{name}");
    }
    run.write_file("report.html", b"a").unwrap();
    run.write_file("report.html", b"b").unwrap();
    assert_eq!(std::fs::read(run.path().join("report.html")).unwrap(), b"b");
}
