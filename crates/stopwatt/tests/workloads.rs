//! Recorded traffic, conversations and shared prefixes from the outside, against the exact engine.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Exact, Place, only_run};
use serde_json::Value;
use stopwatt_core::{EndKind, Nanos, Phase, RequestRecord};
use stopwatt_record::{Chunks, Run};

/// Measures `place`'s workload file and gives the measured requests in order of planning, and the summary.
fn measured(place: &Place, exact: &Exact, args: &[&str]) -> (Vec<RequestRecord>, Value) {
    let fixed = ["bench", "--url", &exact.url, "--warmup", "0", "--repeats", "1", "--format", "json"];
    let doc = place.run(&[&fixed, args].concat()).expect(0).json();
    let run = Run::open(&only_run(&place.path("runs"))).unwrap();
    let mut rows: Vec<_> = run.requests(Chunks::Read).unwrap().map(Result::unwrap).collect();
    rows.retain(|r| r.phase == Phase::Measure);
    rows.sort_by_key(|r| r.id);
    (rows, doc)
}

fn quick() -> Exact {
    Exact::start(&["--ttft", "2ms", "--itl", "0"])
}

/// Milliseconds of each planned time after the first.
fn planned_ms(rows: &[RequestRecord]) -> Vec<Nanos> {
    rows.iter().map(|r| (r.intended_ns - rows[0].intended_ns) / 1_000_000).collect()
}

fn lengths(rows: &[RequestRecord]) -> Vec<(u32, u32)> {
    assert!(rows.iter().all(|r| r.end == EndKind::Ok), "{rows:?}");
    rows.iter().map(|r| (r.input_usage.unwrap(), r.output_usage.unwrap())).collect()
}

#[test]
fn an_azure_trace_is_replayed_at_its_times_with_its_lengths() {
    let (place, exact) = (Place::new(), quick());
    std::fs::write(
        place.path("azure.csv"),
        "TIMESTAMP,ContextTokens,GeneratedTokens\n\
         2023-11-16 18:17:03.0000000,48,10\n\
         2023-11-16 18:17:04.0000000,31,8\n\
         2023-11-16 18:17:05.5000000,110,27\n\
         2023-11-16 18:17:13.0000000,9,9\n",
    )
    .unwrap();
    let (rows, doc) =
        measured(&place, &exact, &["--trace", "azure.csv", "--speedup", "10", "--from", "1s", "--for", "5s"]);
    assert_eq!(planned_ms(&rows), [0, 150]);
    assert_eq!(lengths(&rows), [(31, 8), (110, 27)]);
    assert!(rows.iter().all(|r| r.dispatched_ns.unwrap() >= r.intended_ns));
    assert!(doc["points"][0]["label"].as_str().unwrap().starts_with("trace ×10"), "{doc}");
}

#[test]
fn a_mooncake_trace_is_replayed_and_its_bad_row_is_told_or_skipped() {
    let (place, exact) = (Place::new(), quick());
    std::fs::write(
        place.path("mooncake.jsonl"),
        "{\"timestamp\": 0, \"input_length\": 70, \"output_length\": 3, \"hash_ids\": [1, 2]}\n\
         {\"timestamp\": 100, \"input_length\": 96, \"output_length\": 4, \"hash_ids\": [1, 3]}\n\
         {\"timestamp\": 0.5, \"input_length\": 0, \"output_length\": 4, \"hash_ids\": []}\n",
    )
    .unwrap();
    let trace = ["--trace", "mooncake.jsonl", "--override", "workload.block_tokens=64"];
    let stopped = place.run(&[&["bench", "--url", &exact.url], &trace[..]].concat()).expect(1);
    assert!(stopped.stderr.contains("mooncake.jsonl: line 3: `input_length` is 0"), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("--bad-rows skip"), "{}", stopped.stderr);
    let (rows, _) = measured(&place, &exact, &[&trace[..], &["--bad-rows", "skip"]].concat());
    assert_eq!((lengths(&rows), planned_ms(&rows)), (vec![(70, 3), (96, 4)], vec![0, 100]));
    let log = std::fs::read_to_string(only_run(&place.path("runs")).join("run.log")).unwrap();
    assert!(log.contains("\"skipped_rows\":1") && log.contains("line 3"), "{log}");
}

#[test]
fn a_conversation_carries_the_engines_answers_and_thinks() {
    let (place, exact) = (Place::new(), quick());
    let (rows, _) = measured(
        &place,
        &exact,
        &[
            &["--turns", "3", "--think-time", "0.05", "--turn-input", "20", "--input", "40", "--output", "6"]
                [..],
            &["--concurrency", "2", "--requests", "8"],
        ]
        .concat(),
    );
    // Three turns, three turns, and the last conversation is cut to two, so that eight requests are sent.
    let mut turns: Vec<_> = rows.iter().map(|r| (r.session.unwrap(), r.turn.unwrap())).collect();
    turns.sort_unstable();
    assert_eq!(turns, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]);
    for row in rows.iter().filter(|r| r.turn > Some(0)) {
        let before =
            rows.iter().find(|r| r.session == row.session && r.turn.map(|t| t + 1) == row.turn).unwrap();
        let said = before.input_usage.unwrap() + before.output_usage.unwrap();
        // What was said before, twenty new tokens, and what the chat template adds.
        let grown = row.input_usage.unwrap() - said;
        assert!((15..40).contains(&grown), "{grown}");
        assert_eq!(row.intended_ns, before.end_ns + 50_000_000);
    }
}

#[test]
fn prompts_and_conversations_of_files_are_sent() {
    let (place, exact) = (Place::new(), quick());
    std::fs::write(
        place.path("prompts.jsonl"),
        "{\"prompt\": \"canary one\", \"output\": 5}\n\
         {\"messages\": [{\"role\": \"user\", \"content\": \"canary two\"}], \"output\": 7}\n",
    )
    .unwrap();
    let (rows, _) =
        measured(&place, &exact, &["--dataset", "prompts.jsonl", "--concurrency", "1", "--requests", "2"]);
    let mut outputs: Vec<u32> = lengths(&rows).into_iter().map(|l| l.1).collect();
    outputs.sort_unstable();
    assert_eq!(outputs, [5, 7]);
    for file in std::fs::read_dir(only_run(&place.path("runs"))).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"canary"), "a prompt is in a file of the run");
    }
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let (place, exact) = (Place::new(), quick());
    for (args, said) in [
        (&["--think-time", "2"][..], "workload.turns"),
        (&["--arrival", "trace"], "--trace"),
        (&["--turns", "2", "--endpoint", "completions"], "chat"),
        (&["--shard", "4/4", "--start-at", "2026-11-22T00:00:00Z"], "load.shard"),
        (&["--shard", "0/4"], "--start-at"),
        (&["--shard", "0/4", "--start-at", "+5s"], "RFC 3339"),
        (&["--image-size", "big"], "WIDTHxHEIGHT"),
        (&["--prefix-groups", "0"], "0 groups"),
    ] {
        let ended = place.run(&[&["bench", "--url", &exact.url], args].concat()).expect(2);
        assert!(ended.stderr.contains(said), "{args:?}: {}", ended.stderr);
    }
    place.run(&["bench", "--url", &exact.url, "--trace", "nothing.csv"]).expect(1);
}
