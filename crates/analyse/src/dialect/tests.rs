//! One recorded stream in every dialect, with values worked out by hand.

use stopwatt_core::clock::Nanos;
use stopwatt_core::{ChunkKind, ChunkShape, ChunkStamp, EndKind, RequestRecord, RequestRow};
use stopwatt_wire::event::{EventReader, StreamEvent};
use stopwatt_wire::sse::{Event, Scanner, SseError};

use super::*;
use crate::testing::{log, ok_request, trial_ended};
use crate::{Input, Recorded, Settings, analyse, request_metrics};

const MS: Nanos = 1_000_000;
const VLLM: &[u8] = include_bytes!("../../tests/data/vllm-chat-stream.sse");
const LLAMACPP: &[u8] = include_bytes!("../../tests/data/llamacpp-chat-stream.sse");
const TRANSFORMERS: &[u8] = include_bytes!("../../tests/data/transformers-chat-stream.sse");
const REASONING: &[u8] = include_bytes!("../../tests/data/reasoning-tools.sse");
const IN_CHUNKS: &[u8] = include_bytes!("../../tests/data/tokens-in-chunks.sse");

/// The request that a stream makes when its events arrive at these milliseconds after the request was taken up, the
/// connection stands after 2 ms, and the stream closes 10 ms after its last event.
fn record(stream: &[u8], at_ms: &[i64]) -> RequestRecord {
    let mut r = RequestRecord { connected_ns: Some(2 * MS), output_asked: 64, ..ok_request(0, 0, &[]) };
    (r.input_usage, r.output_usage, r.finish) = (None, None, None);
    let (mut times, mut reader) = (at_ms.iter().map(|t| t * MS), EventReader::default());
    let on_event = |event: Event<'_>| {
        let t_ns = times.next().expect("a time for each event");
        r.chunks.push(match reader.read(event).unwrap() {
            StreamEvent::Chunk(c) => {
                r.finish = c.finish.or(r.finish);
                if let Some(usage) = c.usage {
                    (r.input_usage, r.output_usage) = (usage.prompt, usage.completion);
                }
                ChunkStamp { t_ns, tokens: c.tokens, kind: c.kind, shape: c.shape }
            }
            StreamEvent::Done => {
                ChunkStamp { t_ns, tokens: None, kind: ChunkKind::Done, shape: ChunkShape::KNOWN }
            }
            StreamEvent::Error(e) => panic!("{e:?}"),
        });
        Ok::<(), SseError>(())
    };
    Scanner::new().feed(stream, on_event).unwrap();
    assert_eq!(times.next(), None, "a time too many");
    r.end_ns = at_ms.last().unwrap() * MS + 10 * MS;
    r
}

/// Role after 10 ms, seven words from 50 to 110, the finish chunk at 120, usage at 130, `[DONE]` at 140.
fn vllm_stream() -> RequestRecord {
    record(VLLM, &[10, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140])
}

/// The request alone in a trial of a second.
fn only(dialect: Dialect, record: &RequestRecord) -> PointView {
    let facts = log(&[trial_ended(0, 0, 0, 1_000)]);
    let requests = [record.clone()];
    let record = Recorded::of(&requests);
    let doc = analyse(&Input { log: &facts, record: &record, settings: &Settings::default() });
    view(dialect, &facts, &requests, &doc).points.remove(0)
}

/// Means of the named keys, in the tool's unit; NaN where there is none.
#[track_caller]
fn check(dialect: Dialect, record: &RequestRecord, expected: &[(&str, f64)]) {
    let point = only(dialect, record);
    for (key, expected) in expected {
        let figure = point.figure(key).unwrap_or_else(|| panic!("{dialect} has no {key}"));
        let value = figure.statistic("mean").or(figure.statistic("value")).unwrap_or(f64::NAN);
        let same = (value - expected).abs() < 1e-9 * expected.abs().max(1.0);
        assert!(same || value.is_nan() && expected.is_nan(), "{dialect} {key}: {value}, not {expected}");
    }
}

#[test]
fn one_recorded_stream_in_every_dialect() {
    let r = vllm_stream();
    assert_eq!((r.input_usage, r.output_usage), (Some(36), Some(8)));
    let ours = request_metrics(&RequestRow::of(&r));
    assert_eq!((ours.ttft, ours.e2e, ours.tpot), (Some(0.048), Some(0.108), Some(0.06 / 7.0)));
    // The finish chunk has empty content and no role: a token. (120 − 50) / 7.
    check(Dialect::Vllm, &r, &[("ttft", 50.0), ("e2el", 120.0), ("tpot", 10.0), ("itl", 10.0)]);
    check(
        Dialect::Vllm,
        &r,
        &[("total_output_tokens", 8.0), ("total_input_tokens", 36.0), ("duration", 0.15)],
    );
    check(Dialect::Vllm, &r, &[("output_throughput", 8.0 / 0.15), ("max_output_tokens_per_s", 8.0)]);
    // The role chunk too: (120 − 10) / 7; gaps 40 and seven of 10.
    check(Dialect::VllmRs, &r, &[("ttft", 10.0), ("e2el", 120.0), ("tpot", 110.0 / 7.0), ("itl", 13.75)]);
    check(Dialect::VllmRs, &r, &[("total_input_tokens", 16.0), ("max_output_tokens_per_s", 9.0)]);
    // Until [DONE]: (140 − 50) / 7.
    check(
        Dialect::Sglang,
        &r,
        &[("ttft", 50.0), ("e2e_latency", 140.0), ("tpot", 90.0 / 7.0), ("itl", 10.0)],
    );
    check(Dialect::Sglang, &r, &[("concurrency", 0.14 / 0.15), ("total_output_tokens", 8.0)]);
    // (110 − 50) / 7 is called ITL, 110 / 8 is called TPOT.
    check(
        Dialect::Guidellm,
        &r,
        &[
            ("time_to_first_token_ms", 50.0),
            ("inter_token_latency_ms", 60.0 / 7.0),
            ("time_per_output_token_ms", 13.75),
            ("request_latency", 0.14),
            ("requests_per_second", 1.0 / 0.14),
        ],
    );
    check(
        Dialect::Aiperf,
        &r,
        &[
            ("time_to_first_token", 50.0),
            ("time_to_second_token", 10.0),
            ("inter_token_latency", 60.0 / 7.0),
            ("inter_chunk_latency", 10.0),
            ("request_latency", 110.0),
            ("benchmark_duration", 0.11),
            ("output_token_throughput", 8.0 / 0.11),
        ],
    );
    check(
        Dialect::InferencePerf,
        &r,
        &[
            ("time_to_first_token", 0.05),
            ("time_per_output_token", 0.06 / 7.0),
            ("normalized_time_per_output_token", 0.15 / 8.0),
            ("inter_token_latency", 0.01),
            ("request_latency", 0.15),
        ],
    );
    check(
        Dialect::Mlperf,
        &r,
        &[
            ("result_first_token_latency", 50e6),
            ("result_latency", 150e6),
            ("result_time_per_output_token", 100e6 / 7.0),
            ("result_token_throughput", 8.0 / 0.15),
            ("result_completed_samples_per_sec", 0.0),
        ],
    );
}

#[test]
fn reasoning_and_tool_calls() {
    let r = record(REASONING, &[10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]);
    let ours = request_metrics(&RequestRow::of(&r));
    assert_eq!((ours.ttft, ours.ttft_answer, ours.e2e), (Some(0.018), Some(0.048), Some(0.078)));
    // reasoning_content is no token, a call is, `{}` is not: 50, 60, 70, 80 and N = 9.
    check(Dialect::Vllm, &r, &[("ttft", 50.0), ("e2el", 80.0), ("tpot", 3.75), ("itl", 10.0)]);
    check(Dialect::VllmRs, &r, &[("ttft", 10.0), ("e2el", 90.0), ("tpot", 10.0)]);
    // Reasoning is, calls are not: 20 … 60, until 110.
    check(Dialect::Sglang, &r, &[("ttft", 20.0), ("e2e_latency", 110.0), ("tpot", 11.25), ("itl", 10.0)]);
    check(
        Dialect::Guidellm,
        &r,
        &[
            ("time_to_first_token_ms", 20.0),
            ("time_to_first_output_token_ms", 50.0),
            ("inter_token_latency_ms", 7.5),
            ("time_per_output_token_ms", 80.0 / 9.0),
        ],
    );
    // The call with empty arguments says nothing: the last one is at 70.
    check(
        Dialect::Aiperf,
        &r,
        &[
            ("time_to_first_token", 20.0),
            ("time_to_first_output_token", 50.0),
            ("request_latency", 70.0),
            ("inter_token_latency", 6.25),
        ],
    );
    check(
        Dialect::InferencePerf,
        &r,
        &[("time_to_first_token", 0.05), ("time_per_output_token", 0.01 / 8.0)],
    );
    check(Dialect::Mlperf, &r, &[("result_first_token_latency", 20e6), ("result_latency", 120e6)]);
}

#[test]
fn vllm_counts_reasoning_but_not_reasoning_content() {
    let of = |key: &str| {
        let line = format!("data: {{\"choices\":[{{\"delta\":{{\"{key}\":\"hm\"}}}}]}}\n\n");
        let words = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        record(format!("{line}{words}").as_bytes(), &[20, 50])
    };
    check(Dialect::Vllm, &of("reasoning"), &[("ttft", 20.0)]);
    check(Dialect::Vllm, &of("reasoning_content"), &[("ttft", 50.0)]);
}

#[test]
fn several_tokens_in_a_chunk() {
    // Two tokens at 50, three at 80, one without text at 100, usage at 110, [DONE] at 120: N = 6.
    let r = record(IN_CHUNKS, &[50, 80, 100, 110, 120]);
    // Completions: every chunk counts, its text empty or not. (100 − 50) / 5.
    check(Dialect::Vllm, &r, &[("ttft", 50.0), ("tpot", 10.0), ("itl", 25.0), ("e2el", 100.0)]);
    // It asks for no usage: 64 tokens were asked for. (120 − 50) / 63.
    check(Dialect::Sglang, &r, &[("total_output_tokens", 64.0), ("tpot", 70.0 / 63.0), ("itl", 30.0)]);
    check(
        Dialect::Guidellm,
        &r,
        &[("inter_token_latency_ms", 6.0), ("time_per_output_token_ms", 80.0 / 6.0)],
    );
    // The first chunk has two tokens: (80 − 50) / (6 − 2).
    check(Dialect::Aiperf, &r, &[("inter_token_latency", 7.5), ("inter_chunk_latency", 30.0)]);
    // Five times of tokens: 50, 50, 80, 80, 80, so the gaps are 0, 30, 0, 0.
    check(Dialect::InferencePerf, &r, &[("inter_token_latency", 0.0075), ("time_per_output_token", 0.006)]);
    assert_eq!(request_metrics(&RequestRow::of(&r)).tpot, Some(0.05 / 4.0));
}

#[test]
fn a_finish_chunk_without_content_is_a_token_to_the_rust_client_alone() {
    let times: Vec<i64> = (0..19).map(|i| 10 + 10 * i).collect();
    // Role with null content at 10, 16 words at 20 … 170, `{}` at 180, usage at 190 (the 19th), then [DONE].
    let r = record(LLAMACPP, &[&times[..], &[200]].concat());
    assert_eq!(r.output_usage, Some(16));
    check(Dialect::Vllm, &r, &[("ttft", 20.0), ("e2el", 170.0), ("tpot", 10.0)]);
    check(Dialect::VllmRs, &r, &[("ttft", 10.0), ("e2el", 180.0), ("tpot", 170.0 / 15.0)]);
}

#[test]
fn usage_in_the_finish_chunk_and_no_done() {
    // Role at 10, seven words at 20 … 80, `{}` with usage at 90; the stream closes at 100.
    let r = record(TRANSFORMERS, &[10, 20, 30, 40, 50, 60, 70, 80, 90]);
    check(Dialect::Vllm, &r, &[("total_output_tokens", 8.0), ("e2el", 80.0)]);
    check(Dialect::Sglang, &r, &[("total_output_tokens", 8.0), ("e2e_latency", 90.0)]);
    check(Dialect::Guidellm, &r, &[("request_latency", 0.1)]);
    // With content in that chunk, vLLM's client takes it for a token and does not see the usage.
    let text = String::from_utf8(TRANSFORMERS.to_vec()).unwrap();
    let with_content = text.replace("\"delta\":{},", "\"delta\":{\"content\":\"\"},");
    let r = record(with_content.as_bytes(), &[10, 20, 30, 40, 50, 60, 70, 80, 90]);
    check(Dialect::Vllm, &r, &[("total_output_tokens", f64::NAN), ("e2el", 90.0)]);
    check(
        Dialect::Vllm,
        &RequestRecord { output_tokenizer: Some(7), ..r.clone() },
        &[("total_output_tokens", 7.0)],
    );
    check(Dialect::VllmRs, &r, &[("total_output_tokens", 8.0)]);
}

#[test]
fn failures_as_the_tools_see_them() {
    let verdict = |dialect, end| {
        let r = RequestRecord { end, ..vllm_stream() };
        match read(dialect, &r) {
            Verdict::Success(_) => 's',
            Verdict::CutSuccess => 'c',
            Verdict::Failure => 'f',
            Verdict::Absent => '-',
        }
    };
    let all = |end| Dialect::ALL.iter().map(|d| verdict(*d, end)).collect::<String>();
    // In order: vllm, vllm-rs, sglang, guidellm, aiperf, inference-perf, mlperf.
    assert_eq!(all(EndKind::Ok), "sssssss");
    assert_eq!(all(EndKind::StreamError), "cccfccf");
    assert_eq!(all(EndKind::Malformed), "fcffccf");
    assert_eq!(all(EndKind::Http), "fffffff");
    assert_eq!(all(EndKind::Truncated), "fffffff");
    assert_eq!(all(EndKind::Cancelled), "-------");
    let mut empty = vllm_stream();
    empty.chunks.retain(|c| !matches!(c.kind, ChunkKind::Content | ChunkKind::Empty));
    empty.end = EndKind::NoTokens;
    let success = |d: &&Dialect| matches!(read(**d, &empty), Verdict::Success(_));
    let names: Vec<&str> = Dialect::ALL.iter().filter(success).map(|d| d.name()).collect();
    assert_eq!(names, ["vllm-rs", "sglang", "inference-perf"]);
}

/// Four requests a second apart with 2, 3, 5 and 2 tokens, 10, 20, 30 and 40 ms apart.
fn four() -> Vec<RequestRecord> {
    [(2, 10), (3, 20), (5, 30), (2, 40)]
        .into_iter()
        .zip(0..)
        .map(|((n, gap), i): ((i64, i64), i64)| {
            let times: Vec<i64> = (0..n).map(|k| i * 1_000 + 100 + k * gap).collect();
            ok_request(i as u64, i * 1_000 * MS, &times)
        })
        .collect()
}

fn statistics_of(dialect: Dialect, requests: &[RequestRecord], key: &str) -> Vec<(String, Option<f64>)> {
    let facts = log(&[trial_ended(0, 0, 0, 10_000)]);
    let record = Recorded::of(requests);
    let doc = analyse(&Input { log: &facts, record: &record, settings: &Settings::default() });
    let mut point = view(dialect, &facts, requests, &doc).points.remove(0);
    point.figures.retain(|f| f.key == key);
    point.figures[0]
        .statistics
        .iter()
        .map(|s| (s.name.clone(), s.value.map(|v| (v * 1e6).round() / 1e6)))
        .collect()
}

#[test]
fn percentiles_by_the_tools_methods() {
    let get = |dialect, key, name: &str| {
        statistics_of(dialect, &four(), key).into_iter().find(|(n, _)| n == name).and_then(|(_, v)| v)
    };
    // TPOT 10, 20, 30, 40 ms. numpy: h = 3 × 0.9 = 2.7; σ = √125.
    assert_eq!(get(Dialect::Vllm, "tpot", "p90"), Some(37.0));
    assert_eq!(get(Dialect::Vllm, "tpot", "median"), Some(25.0));
    assert_eq!(get(Dialect::Vllm, "tpot", "std"), Some(11.18034));
    // Weights 1, 2, 4, 1 of 8: half of them are reached at 30; the mean is (10 + 40 + 120 + 40) / 8.
    assert_eq!(get(Dialect::Guidellm, "inter_token_latency_ms", "median"), Some(30.0));
    assert_eq!(get(Dialect::Guidellm, "inter_token_latency_ms", "mean"), Some(26.25));
    assert_eq!(get(Dialect::Guidellm, "inter_token_latency_ms", "p90"), Some(40.0));
    // LoadGen: ⌊4 × 0.5⌋ is the third.
    assert_eq!(get(Dialect::Mlperf, "result_time_per_output_token", "p50"), Some(30e6));
}

#[test]
fn aiperf_ranks_failures_as_infinite_beside_the_rest() {
    let mut requests = four();
    requests[3].end = EndKind::Timeout;
    let all = statistics_of(Dialect::Aiperf, &requests, "adj_request_latency");
    let get = |name: &str| all.iter().find(|(n, _)| n == name).and_then(|(_, v)| *v);
    // 110, 140, 220, ∞; the nearest rank of 3 × 0.5 = 1.5 rounds to the even 2.
    assert_eq!((get("p50"), get("p90"), get("mean"), get("min")), (Some(220.0), None, None, Some(110.0)));
    assert!(statistics_of(Dialect::Aiperf, &four(), "adj_request_latency").is_empty());
}

#[test]
fn every_dialect_has_terms_and_every_term_has_a_formula() {
    for &dialect in Dialect::ALL {
        let terms: Vec<&Term> = TERMS.iter().filter(|t| t.dialect == dialect).collect();
        assert!(terms.iter().any(|t| t.ours == Some(stopwatt_core::Metric::Ttft)), "{dialect}");
        let keys: std::collections::BTreeSet<_> = terms.iter().map(|t| t.key).collect();
        assert_eq!(keys.len(), terms.len(), "{dialect}: a key stands twice");
        for term in terms {
            assert!(!term.formula.is_empty() && !term.formula.ends_with('.'), "{}", term.key);
            if let Some(metric) = term.ours {
                assert_eq!(metric.info().unit == "s", matches!(term.unit, "ms" | "s" | "ns"), "{}", term.key);
            }
        }
    }
    let confused: Vec<&str> = same_word(stopwatt_core::Metric::Itl).map(|t| t.dialect.name()).collect();
    assert_eq!(confused, ["guidellm", "aiperf", "inference-perf"]);
}

/// The table in docs/dialects.md is what the code computes.
#[test]
fn the_documentation_shows_these_numbers() {
    let r = vllm_stream();
    let shown = |dialect: Dialect, key: &str| {
        let figure = only(dialect, &r).figure(key).cloned().unwrap_or_else(|| panic!("{dialect} {key}"));
        let scale = match figure.unit.as_str() {
            "s" => 1e3,
            "ns" => 1e-6,
            _ => 1.0,
        };
        format!("{:.2}", figure.statistic("mean").unwrap() * scale)
    };
    let rows = [
        (Dialect::Vllm, ["ttft", "tpot", "itl", "e2el"]),
        (Dialect::VllmRs, ["ttft", "tpot", "itl", "e2el"]),
        (Dialect::Sglang, ["ttft", "tpot", "itl", "e2e_latency"]),
        (
            Dialect::Guidellm,
            [
                "time_to_first_token_ms",
                "time_per_output_token_ms",
                "inter_token_latency_ms",
                "request_latency",
            ],
        ),
        (Dialect::Aiperf, ["time_to_first_token", "", "inter_token_latency", "request_latency"]),
        (
            Dialect::InferencePerf,
            ["time_to_first_token", "time_per_output_token", "inter_token_latency", "request_latency"],
        ),
        (
            Dialect::Mlperf,
            ["result_first_token_latency", "result_time_per_output_token", "", "result_latency"],
        ),
    ];
    let docs = include_str!("../../../../docs/dialects.md");
    for (dialect, keys) in rows {
        let cells = keys.map(|k| if k.is_empty() { "–".to_owned() } else { shown(dialect, k) }).join(" | ");
        let line = format!("| `{}` {} | {cells} |", dialect.name(), dialect.version());
        assert!(docs.contains(&line), "docs/dialects.md lacks the line:\n{line}");
    }
}

/// Holds a file of `schemas/` to the type that is printed; `UPDATE_SCHEMAS=1` writes it anew.
#[track_caller]
fn check_schema<T: schemars::JsonSchema>(name: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(name);
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "schemas/{name} is stale: UPDATE_SCHEMAS=1 cargo test -p stopwatt-analyse schemas"
    );
}

#[test]
fn the_schemas_in_the_repository_are_up_to_date() {
    check_schema::<DialectView>("dialect.schema.json");
    check_schema::<Explained>("explain.schema.json");
}
