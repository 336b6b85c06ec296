//! Tests of the whole directory: writing, every way to end, reading.

mod directory;
mod disk;
mod log;
mod rows;

use std::path::Path;

use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::{ChunkKind, ChunkShape, ChunkStamp, Clock, EndKind, FinishReason, Phase, RequestRecord};

use super::*;
use crate::events::Chunks;

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
        session: None,
        turn: None,
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
            .map(|i| {
                let t_ns = t + 50_000_000 + 10_000_000 * i as i64 + (i as i64 * 7_919) % 100_000;
                ChunkStamp::new(t_ns, Some(1), ChunkKind::Content)
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
