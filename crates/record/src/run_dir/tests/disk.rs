//! A disk that fills up.

use std::sync::Arc;

use super::*;
use crate::storage::full_disk::FullDisk;

#[test]
fn a_full_disk_is_told_at_the_next_call_and_what_was_closed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FullDisk::with_bytes_left(1 << 20);
    let run = RunWriter::create_in(Arc::new(disk.clone()), create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    for id in 0..40_000 {
        run.push(record(id, 0)).unwrap();
    }
    // One group is full and gets closed; then the disk runs full under the next one.
    wait_until(|| path.join("events/0000.parquet").is_file());
    let closed = read(&path, Chunks::Read).len();
    assert!(closed >= 32_768);
    disk.set_bytes_left(100);

    let mut told = None;
    for id in 40_000..200_000 {
        if let Err(error) = run.push(record(id, 0)) {
            told = Some(error);
            break;
        }
    }
    let told = told.expect("a full disk must be told");
    assert!(told.is_full_disk(), "{told:?}");
    assert!(told.hint().unwrap().contains("free some space"));
    assert!(run.log(ended(RunStatus::Incomplete)).unwrap_err().is_full_disk());
    assert!(run.write_file("metrics.json", &[b' '; 200]).unwrap_err().is_full_disk());
    assert!(run.finish().unwrap_err().is_full_disk());

    assert_eq!(names(&path), ["config.lock.json", "events", "run.log"], "no half-written file is left");
    assert_eq!(names(&path.join("events")), ["0000.parquet"]);
    assert_eq!(read(&path, Chunks::Read).len(), closed);
    let run = Run::open(&path).unwrap();
    assert_eq!((run.status(), run.is_running(), run.log().len()), (RunStatus::Incomplete, false, 1));
}

#[test]
fn rows_wait_in_memory_until_the_disk_has_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FullDisk::with_bytes_left(1 << 20);
    let run = RunWriter::create_in(Arc::new(disk.clone()), create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    disk.set_bytes_left(0);
    let mut failed = false;
    for id in 0..40_000 {
        failed |= run.push(record(id, 0)).is_err();
    }
    wait_until(|| failed || run.log(Fact::TrialStarted { point: 0, trial: 0 }).is_err());
    disk.set_bytes_left(1 << 30);
    run.finish().unwrap();
    assert_eq!(read(&path, Chunks::Skip).len(), 40_000);
}

#[test]
fn a_disk_that_fills_up_while_joining_keeps_the_parts() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FullDisk::with_bytes_left(1 << 30);
    let run = RunWriter::create_in(Arc::new(disk.clone()), create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    for id in 0..33_000 {
        run.push(record(id, 0)).unwrap();
    }
    wait_until(|| path.join("events/0000.parquet").is_file());
    // Enough for the small last part, not for the joined file.
    let first = std::fs::metadata(path.join("events/0000.parquet")).unwrap().len();
    disk.set_bytes_left(first as i64);
    assert!(run.finish().unwrap_err().is_full_disk());
    assert_eq!(names(&path), ["config.lock.json", "events", "run.log", "streams.parquet"]);
    assert_eq!(read(&path, Chunks::Skip).len(), 33_000);
}

#[test]
fn a_run_that_cannot_begin_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [0, 20, 90, 150] {
        let disk = Arc::new(FullDisk::with_bytes_left(bytes));
        let error = RunWriter::create_in(disk, create(dir.path(), true), &config()).unwrap_err();
        assert!(error.is_full_disk(), "{bytes} bytes left: {error:?}");
        assert_eq!(names(dir.path()), [""; 0], "{bytes} bytes left");
    }
}
