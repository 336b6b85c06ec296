//! Four shares of a load and the same load whole, against the exact engine.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::{Ended, Exact, Place, SHARED_LOAD, soon};
use serde_json::Value;
use stopwatt_core::{Nanos, Phase, RequestRecord};
use stopwatt_record::{Chunks, Run};

fn rows(run: &Path) -> (Run, Vec<RequestRecord>) {
    let run = Run::open(run).unwrap();
    let rows = run.requests(Chunks::Read).unwrap().map(Result::unwrap);
    let mut rows: Vec<_> = rows.filter(|r| r.phase == Phase::Measure).collect();
    rows.sort_by_key(|r| (r.trial, r.intended_ns));
    (run, rows)
}

/// Trial, planned time since the begin of its trial and lengths asked for.
fn schedule(rows: &[RequestRecord], begins: &[Nanos]) -> Vec<(u32, Nanos, u32, u32)> {
    rows.iter()
        .map(|r| (r.trial, r.intended_ns - begins[r.trial as usize], r.input_asked, r.output_asked))
        .collect()
}

fn begins(run: &Run) -> Vec<Nanos> {
    use stopwatt_core::log::Fact;
    let start = |fact: &Fact| match fact {
        Fact::TrialEnded { start_ns, .. } => Some(*start_ns),
        _ => None,
    };
    run.log().iter().filter_map(|e| start(&e.fact)).collect()
}

fn p50(doc: &Value, metric: &str) -> f64 {
    doc["metrics"][metric]["p50"]["value"].as_f64().unwrap()
}

#[test]
fn four_shares_joined_are_the_whole_load() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "30ms", "--itl", "3ms"]);
    let bench = |more: &[&str]| {
        let mut command = place.command(&["bench", "--url", &exact.url, "--format", "json"]);
        command
            .args(SHARED_LOAD)
            .args(more)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let start = soon();
    let shards: Vec<_> = (0..4)
        .map(|i| {
            let (shard, out) = (format!("{i}/4"), format!("shard-{i}"));
            bench(&["--shard", &shard, "--start-at", &start, "--out", &out])
        })
        .collect();
    for shard in shards {
        Ended::from(shard.wait_with_output().unwrap()).expect(0);
    }
    let whole = Ended::from(bench(&["--out", "whole"]).wait_with_output().unwrap()).expect(0).json();
    let joined = place
        .run(&["merge", "shard-3", "shard-1", "shard-0", "shard-2", "--out", "joined", "--format", "json"])
        .expect(0)
        .json();

    let (whole_run, whole_rows) = rows(&place.path("whole"));
    let expected = schedule(&whole_rows, &begins(&whole_run));
    // What the shares planned is the whole plan, to the nanosecond.
    let mut planned = Vec::new();
    for i in 0..4 {
        let (run, rows) = rows(&place.path(&format!("shard-{i}")));
        assert_eq!(rows.len(), 24);
        planned.extend(schedule(&rows, &begins(&run)));
    }
    planned.sort_unstable();
    assert_eq!(planned, expected);
    // On one clock it is the same again, as far as each share could read its clocks.
    let (joined_run, joined_rows) = rows(&place.path("joined"));
    let ids: std::collections::BTreeSet<u64> = joined_rows.iter().map(|r| r.id).collect();
    assert_eq!((joined_rows.len(), ids.len()), (96, 96), "every request once, with an id of its own");
    let sent = schedule(&joined_rows, &begins(&joined_run));
    for ((trial, at, ..), (planned_trial, planned_at, ..)) in sent.iter().zip(&expected) {
        assert_eq!(trial, planned_trial);
        assert!((at - planned_at).abs() < 5_000_000, "{at} for {planned_at}");
    }
    assert_eq!(joined["points"][0]["rate_rps"], whole["points"][0]["rate_rps"]);
    // The engine is scripted, so both measure 30 ms and what a loaded machine adds.
    for metric in ["ttft", "e2e"] {
        let (a, b) = (p50(&joined, metric), p50(&whole, metric));
        assert!((a - b).abs() < 0.02, "{metric}: joined {a}, whole {b}");
    }
    let codes = |doc: &Value| -> Vec<String> {
        let reasons = doc["validity"]["reasons"].as_array().unwrap();
        reasons.iter().map(|r| r["code"].as_str().unwrap().to_owned()).collect()
    };
    for code in ["shards_missing", "shards_apart", "incomplete"] {
        assert!(!codes(&joined).contains(&code.to_owned()), "{:?}", codes(&joined));
    }
    let log = std::fs::read_to_string(place.path("joined").join("run.log")).unwrap();
    assert!(log.contains("\"event\":\"merged\"") && log.contains("\"clock\":\"monotonic\""), "{log}");

    // One is missing: readable, and invalid.
    let three = place
        .run(&["merge", "shard-3", "shard-1", "shard-2", "--out", "three", "--format", "json"])
        .expect(0)
        .json();
    assert!(codes(&three).contains(&"shards_missing".to_owned()) && three["validity"]["valid"] == false);
    place.run(&["report", "three"]).expect(0);
    // What is no share, or not of this load, is refused.
    place.run(&["merge", "whole", "shard-1"]).expect(1);
    let twice = place.run(&["merge", "shard-1", "shard-1"]).expect(1);
    assert!(twice.stderr.contains("both share 1"), "{}", twice.stderr);
}
