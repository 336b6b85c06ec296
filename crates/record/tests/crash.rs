//! A writer in a process of its own that is killed, or meets a real limit of the system.
//!
//! The child is this very test binary, told by its arguments to run [`child_writes_until_it_dies`] alone.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::{ChunkKind, ChunkStamp, Clock, EndKind, Phase, RequestRecord, RequestRow};
use stopwatt_record::{Chunks, Create, Run, RunWriter};

const ROOT: &str = "STOPWATT_TEST_ROOT";

fn record(id: u64) -> RequestRecord {
    RequestRecord {
        id,
        point: 0,
        trial: 0,
        phase: Phase::Measure,
        input_asked: 16,
        output_asked: 4,
        input_usage: Some(16),
        output_usage: Some(4),
        session: None,
        turn: None,
        cached_usage: None,
        output_tokenizer: None,
        intended_ns: 0,
        dispatched_ns: Some(1),
        connected_ns: None,
        written_ns: Some(2),
        first_byte_ns: Some(3),
        end_ns: 10,
        end: EndKind::Ok,
        status: Some(200),
        error_len: None,
        // Different in each row, so that rows take their room on the disk.
        error_hash: Some(format!("{:016x}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        finish: None,
        chunks: (0..4).map(|t_ns| ChunkStamp::new(t_ns, Some(1), ChunkKind::Content)).collect(),
    }
}

#[test]
#[ignore = "the child of the other tests"]
fn child_writes_until_it_dies() {
    let root = PathBuf::from(std::env::var_os(ROOT).expect("started by another test"));
    let options =
        Create { root, out: None, name: "bench".to_owned(), clock: Clock::start(), keep_chunks: true };
    let run = RunWriter::create(options, &serde_json::json!({})).unwrap();
    println!("writing {}", run.path().display());
    let mut told = None;
    for id in 0..400_000 {
        if let Err(error) = run.push(record(id)) {
            told = Some(error);
            break;
        }
        if id % 500 == 0 {
            run.log(Fact::TrialStarted { point: 0, trial: id as u32 }).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let full = told.as_ref().is_some_and(|e| e.is_full_disk());
    let finished = run.finish();
    println!("told {full} finished {}", finished.is_ok());
}

/// Starts the child, under `sh -c "{limits} exec child"`, and returns it with the run it writes.
fn start(root: &Path, limits: &str) -> (Child, PathBuf, impl Iterator<Item = String>) {
    let script = format!("{limits} exec \"$0\" child_writes_until_it_dies --exact --ignored --nocapture");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().expect("a test binary has a path"))
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines().map(Result::unwrap);
    let path = lines
        .find_map(|l| l.split_once("writing ").map(|(_, p)| PathBuf::from(p)))
        .expect("the child names its run");
    (child, path, lines)
}

#[test]
fn a_killed_writer_leaves_a_readable_incomplete_run() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, path, _lines) = start(dir.path(), "");
    for _ in 0..3_000 {
        if path.join("events/0000.parquet").is_file() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Run::open(&path).unwrap().is_running());
    child.kill().unwrap();
    child.wait().unwrap();

    let run = Run::open(&path).unwrap();
    assert!(!run.is_running(), "a dead writer holds no lock");
    assert_eq!(run.status(), RunStatus::Incomplete);
    assert!(run.log().len() > 1);
    let rows: Vec<RequestRecord> = run.requests(Chunks::Read).unwrap().map(Result::unwrap).collect();
    assert!(rows.len() > 100, "{} rows", rows.len());
    assert!(rows.iter().enumerate().all(|(i, r)| *r == record(i as u64)));
    assert_eq!(run.request_count().unwrap(), rows.len() as u64);
    assert_eq!(run.streams().unwrap(), None, "histograms are written at the end");
    let summed: Vec<_> = run.rows().unwrap().map(Result::unwrap).collect();
    assert!(summed.iter().zip(&rows).all(|(s, r)| *s == RequestRow::of(r)) && summed.len() == rows.len());
}

#[test]
fn a_file_size_limit_of_the_system_is_told_and_loses_nothing_that_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    // 512 blocks of 512 or 1024 bytes, by the shell: less than one full group of these rows.
    let (mut child, path, mut lines) = start(dir.path(), "trap '' XFSZ; ulimit -f 512;");
    let verdict = lines.find(|l| l.starts_with("told"));
    child.wait().unwrap();
    assert_eq!(verdict.as_deref(), Some("told true finished false"));
    let run = Run::open(&path).unwrap();
    let rows: Vec<RequestRecord> = run.requests(Chunks::Read).unwrap().map(Result::unwrap).collect();
    assert!(rows.iter().enumerate().all(|(i, r)| *r == record(i as u64)));
    let left: Vec<_> = std::fs::read_dir(path.join("events")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.iter().all(|p| p.extension().is_some_and(|e| e == "parquet")), "{left:?}");
}
