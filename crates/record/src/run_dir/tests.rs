//! Tests of the whole directory: writing, every way to end, reading.

use std::io;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::{ChunkKind, ChunkStamp, Clock, EndKind, FinishReason, Phase, RequestRecord};

use super::*;
use crate::events::Chunks;
use crate::storage::full_disk::FullDisk;

fn create(root: &Path, keep_chunks: bool) -> Create {
    Create { root: root.to_owned(), out: None, name: "bench".to_owned(), clock: Clock::start(), keep_chunks }
}

fn ended(status: RunStatus) -> Fact {
    Fact::RunEnded { status, reason: None, client_rss_bytes: None, wall_drift_ns: 0 }
}

fn config() -> serde_json::Value {
    serde_json::json!({ "versions": { "stopwatt": "9.9.9" }, "settings": {} })
}

/// A request with `chunks` chunks.
fn record(id: u64, chunks: usize) -> RequestRecord {
    let t = id as i64 * 1_000_000;
    RequestRecord {
        id,
        point: 0,
        trial: 1,
        phase: Phase::Measure,
        input_asked: 128,
        output_asked: chunks as u32,
        input_usage: Some(128),
        output_usage: Some(chunks as u32),
        cached_usage: None,
        output_tokenizer: None,
        intended_ns: t,
        dispatched_ns: Some(t + 1_000),
        connected_ns: None,
        written_ns: Some(t + 2_000),
        first_byte_ns: Some(t + 50_000_000),
        end_ns: t + 50_000_000 + 10_000_000 * chunks as i64,
        end: EndKind::Ok,
        status: Some(200),
        error_len: None,
        error_hash: None,
        finish: Some(FinishReason::Length),
        chunks: (0..chunks)
            .map(|i| ChunkStamp {
                t_ns: t + 50_000_000 + 10_000_000 * i as i64 + (i as i64 * 7_919) % 100_000,
                tokens: Some(1),
                kind: ChunkKind::Content,
            })
            .collect(),
    }
}

#[track_caller]
fn read(path: &Path, chunks: Chunks) -> Vec<RequestRecord> {
    Run::open(path).unwrap().requests(chunks).unwrap().map(Result::unwrap).collect()
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn some<T: std::fmt::Debug>(s: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(s)
}

fn any_chunk() -> impl Strategy<Value = ChunkStamp> {
    (any::<i64>(), some(any::<u32>()), proptest::sample::select(ChunkKind::ALL))
        .prop_map(|(t_ns, tokens, kind)| ChunkStamp { t_ns, tokens, kind })
}

fn any_record() -> impl Strategy<Value = RequestRecord> {
    let plan = (
        any::<u64>(),
        any::<u32>(),
        any::<u32>(),
        proptest::sample::select(Phase::ALL),
        any::<u32>(),
        any::<u32>(),
    );
    let tokens = (some(any::<u32>()), some(any::<u32>()), some(any::<u32>()), some(any::<u32>()));
    let stamps = (
        any::<i64>(),
        some(any::<i64>()),
        some(any::<i64>()),
        some(any::<i64>()),
        some(any::<i64>()),
        any::<i64>(),
    );
    let end = (
        proptest::sample::select(EndKind::ALL),
        some(any::<u16>()),
        some(any::<u32>()),
        some("[0-9a-f]{16}"),
        some(proptest::sample::select(FinishReason::ALL)),
    );
    (plan, tokens, stamps, end, proptest::collection::vec(any_chunk(), 0..6)).prop_map(
        |(plan, tokens, stamps, end, chunks)| RequestRecord {
            id: plan.0,
            point: plan.1,
            trial: plan.2,
            phase: plan.3,
            input_asked: plan.4,
            output_asked: plan.5,
            input_usage: tokens.0,
            output_usage: tokens.1,
            cached_usage: tokens.2,
            output_tokenizer: tokens.3,
            intended_ns: stamps.0,
            dispatched_ns: stamps.1,
            connected_ns: stamps.2,
            written_ns: stamps.3,
            first_byte_ns: stamps.4,
            end_ns: stamps.5,
            end: end.0,
            status: end.1,
            error_len: end.2,
            error_hash: end.3,
            finish: end.4,
            chunks,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_record_comes_back_as_it_was(records in proptest::collection::vec(any_record(), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
        let path = run.path().to_owned();
        for r in &records {
            run.push(r.clone()).unwrap();
        }
        run.finish().unwrap();
        prop_assert_eq!(&read(&path, Chunks::Read), &records);
        let bare: Vec<_> = records.into_iter().map(|r| RequestRecord { chunks: Vec::new(), ..r }).collect();
        prop_assert_eq!(read(&path, Chunks::Skip), bare);
    }
}

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

    assert_eq!(names(&path), ["config.lock.json", "events.parquet", "metrics.json", "run.log"]);
    let run = Run::open(&path).unwrap();
    assert_eq!((run.status(), run.is_running()), (RunStatus::Complete, false));
    assert_eq!(run.request_count().unwrap(), 10);
    assert_eq!(run.log().len(), 3);
    assert!(run.log().windows(2).all(|w| w[0].t_ns <= w[1].t_ns));
    assert_eq!(run.config().unwrap(), config());
}

#[test]
fn dropped_chunks_are_null_lists_and_read_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), false), &config()).unwrap();
    let path = run.path().to_owned();
    run.push(record(1, 5)).unwrap();
    run.finish().unwrap();
    let rows = read(&path, Chunks::Read);
    assert_eq!(rows, [RequestRecord { chunks: Vec::new(), ..record(1, 5) }]);
}

#[test]
fn an_abandoned_run_keeps_its_parts_and_is_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    run.push(record(7, 2)).unwrap();
    drop(run);
    assert_eq!(names(&path), ["config.lock.json", "events", "run.log"]);
    assert_eq!(read(&path, Chunks::Read), [record(7, 2)]);
    let run = Run::open(&path).unwrap();
    assert_eq!((run.status(), run.is_running()), (RunStatus::Incomplete, false));
}

#[test]
fn a_lone_row_is_closed_within_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    run.push(record(0, 1)).unwrap();
    wait_until(|| run.path().join("events/0000.parquet").is_file());
    assert_eq!(read(run.path(), Chunks::Read), [record(0, 1)], "readable while the run goes on");
}

#[test]
fn many_rows_make_many_parts_and_few_groups() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    for id in 0..100_000 {
        run.push(record(id, usize::from(id % 7 == 0))).unwrap();
    }
    run.finish().unwrap();
    let rows = read(&path, Chunks::Skip);
    assert_eq!(rows.len(), 100_000);
    assert!(rows.iter().enumerate().all(|(i, r)| r.id == i as u64), "rows lost their order");
}

/// A record whose stamps do not compress.
fn noisy(id: u64) -> RequestRecord {
    let mut r = record(id, 40);
    for (i, c) in r.chunks.iter_mut().enumerate() {
        c.t_ns += ((id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 + 2 * i as u64) >> 40) as i64;
        c.tokens = (i % 5 != 0).then_some(i as u32);
        c.kind = ChunkKind::ALL[i % ChunkKind::ALL.len()];
    }
    r
}

#[test]
fn large_groups_are_copied_and_small_ones_merged_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    for id in 0..30_000 {
        run.push(noisy(id)).unwrap();
    }
    run.finish().unwrap();
    let mut n = 0;
    for (i, row) in Run::open(&path).unwrap().requests(Chunks::Read).unwrap().enumerate() {
        assert_eq!(row.unwrap(), noisy(i as u64));
        n += 1;
    }
    assert_eq!(n, 30_000);
    let file = parquet::file::serialized_reader::SerializedFileReader::new(
        std::fs::File::open(path.join(EVENTS)).unwrap(),
    )
    .unwrap();
    use parquet::file::reader::FileReader;
    // Two full groups of 13,108 rows and the rest, unless a slow machine closed a part before it was full.
    assert!((2..=8).contains(&file.num_row_groups()), "{}", file.num_row_groups());
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
    std::fs::write(&log, text.replace("\"format\":\"1.0\"", &format!("\"format\":\"{format}\"")) + more)
        .unwrap();
}

#[test]
fn a_newer_minor_is_read_and_a_newer_major_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunWriter::create(create(dir.path(), true), &config()).unwrap();
    let path = run.path().to_owned();
    run.push(record(1, 1)).unwrap();
    run.finish().unwrap();
    let news = "{\"t_ns\":5,\"fact\":{\"event\":\"eclipse\",\"depth\":2}}\n{\"t_ns\":6,\"fact\":{\"event\":\"trial_started\",\"point\":0,\"trial\":0,\"mood\":\"new field\"}}\n";

    with_format(&path, "1.0", news);
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
    assert_eq!(names(&path), ["config.lock.json", "events", "run.log"]);
    assert_eq!(read(&path, Chunks::Skip).len(), 33_000);
}

#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("nothing happened for 30 s");
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
