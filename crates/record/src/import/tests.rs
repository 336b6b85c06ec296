//! Formats that are told apart, what becomes of their content, and what is refused.

use serde_json::json;

use super::*;

fn vllm() -> Value {
    json!({
        "date": "20261122-094425", "endpoint_type": "openai", "backend": "openai", "label": null,
        "model_id": "m", "tokenizer_id": "t", "num_prompts": 2, "request_rate": "inf", "burstiness": 1.0,
        "max_concurrency": 2, "duration": 1.5, "completed": 1, "failed": 1, "request_throughput": 0.667,
        "output_throughput": 2.0, "total_token_throughput": 12.0, "mean_ttft_ms": 50.0, "median_ttft_ms": 50.0,
        "p99_ttft_ms": 50.0,
    })
}

fn detailed() -> Value {
    let mut file = vllm();
    let more = json!({
        "input_lens": [16, 16], "output_lens": [3, 0], "ttfts": [0.05, 0.0], "itls": [[0.01, 0.02], []],
        "latencies": [0.08, 0.0], "start_times": [100.25, 100.5], "queue_times": [0.0, 0.125],
        "generated_texts": ["secret words", ""], "errors": ["", "Internal Server Error"],
    });
    file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    file
}

fn parse(file: &Value) -> Result<Foreign, ImportError> {
    read(file.to_string().as_bytes(), None)
}

#[test]
fn requests_of_vllm_become_rows() {
    let f = parse(&detailed()).unwrap();
    assert_eq!((f.imported.tool.as_str(), f.model.as_deref()), ("vllm", Some("m")));
    assert!(f.imported.gaps && f.imported.aggregates.is_empty() && f.imported.samples.is_empty());
    assert_eq!((f.points[0].concurrency, f.windows[0].end_ns), (Some(2), 1_500_000_000));
    let [a, b] = &f.rows[..] else { panic!("two rows") };
    assert_eq!(
        (a.dispatched_ns, a.end, a.output_usage, a.end_ns),
        (Some(0), EndKind::Ok, Some(3), 80_000_000)
    );
    let times: Vec<i64> = a.chunks.iter().map(|c| c.t_ns).collect();
    assert_eq!(times, [50_000_000, 60_000_000, 80_000_000]);
    assert_eq!((b.dispatched_ns, b.intended_ns, b.end), (Some(250_000_000), 125_000_000, EndKind::Http));
    assert_eq!((b.error_len, b.error_hash.as_deref().map(str::len)), (Some(21), Some(16)));
    assert!(!format!("{f:?}").contains("secret"));
}

#[test]
fn without_details_statistics_stay() {
    let f = parse(&vllm()).unwrap();
    assert!(f.rows.is_empty());
    let get = |m: &str, s: &str| {
        f.imported.aggregates.iter().find(|a| a.metric == m && a.statistic == s).map(|a| (a.value, a.n))
    };
    assert_eq!((get("ttft", "mean"), get("ttft", "p50")), (Some((0.05, 1)), Some((0.05, 1))));
    assert_eq!((get("output_throughput", "mean"), get("goodput", "mean")), (Some((2.0, 1)), None));
    assert_eq!(f.imported.counts[0].failed, 1);
}

#[test]
fn requests_without_a_begin_give_values() {
    let mut file = detailed();
    file.as_object_mut().unwrap().remove("start_times");
    let f = parse(&file).unwrap();
    assert!(f.rows.is_empty());
    let values: Vec<(&str, &[f64])> =
        f.imported.samples.iter().map(|s| (s.metric.as_str(), &s.values[..])).collect();
    assert_eq!(values, [("ttft", &[0.05][..]), ("itl", &[0.01, 0.02]), ("chunk_gap", &[0.01, 0.02])]);
}

#[test]
fn appended_results_are_points() {
    let text = format!("{}\n{}", detailed(), vllm());
    let f = read(text.as_bytes(), None).unwrap();
    assert_eq!((f.points.len(), f.windows.len(), f.rows.len()), (2, 2, 2));
    assert!(f.imported.aggregates.iter().all(|a| a.point == 1));
}

#[test]
fn tables_need_a_metric_and_two_columns() {
    let table = "run,value\n1,0.05\n1,0.07\n\n2,0.06\n";
    let f = read(table.as_bytes(), Some(Metric::Ttft)).unwrap();
    let values: Vec<&[f64]> = f.imported.samples.iter().map(|s| &s.values[..]).collect();
    assert_eq!(values, [&[0.05, 0.07][..], &[0.06]]);
    assert_eq!((f.windows.len(), f.windows[1].trial), (2, 1));
    assert!(matches!(read(table.as_bytes(), None), Err(ImportError::NoMetric)));
    for (text, line) in
        [("run,value\n1,x", 2), ("run,value\n1,1\n2", 3), ("run,value\n1,-1", 2), ("run,value\n1,NaN", 2)]
    {
        match read(text.as_bytes(), Some(Metric::Ttft)) {
            Err(ImportError::Row { line: found, .. }) => assert_eq!(found, line, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_wrong_file_is_refused_with_what_it_is() {
    let refuse = |bytes: &[u8]| read(bytes, None).unwrap_err();
    assert!(matches!(refuse(b""), ImportError::Empty));
    assert!(matches!(refuse(&[0xff, 0xfe]), ImportError::NotText));
    assert!(matches!(refuse(b"{\"a\":\n 1,}"), ImportError::Json { line: 2, .. }));
    let unknown = refuse(b"{\"wall\":1,\"brick\":2}").to_string();
    assert!(unknown.contains("the keys brick, wall"), "{unknown}");
    assert!(matches!(refuse(b"[1]"), ImportError::Unknown { .. }));
    assert!(refuse(b"hello").to_string().contains("`hello`"));
    assert!(refuse(b"hello").hint().is_some());

    let mut short = detailed();
    short["itls"] = json!([[0.01]]);
    let error = parse(&short).unwrap_err();
    assert!(
        matches!(&error, ImportError::Length { key, found: 1, expected: 2, .. } if key == "itls"),
        "{error}"
    );
    let mut words = detailed();
    words["ttfts"] = json!(["a", "b"]);
    assert!(matches!(parse(&words), Err(ImportError::Key { .. })));
    let mut no_duration = vllm();
    no_duration.as_object_mut().unwrap().remove("duration");
    assert!(parse(&no_duration).unwrap_err().to_string().contains("`duration`"));
}

#[test]
fn failures_of_vllm_by_their_words() {
    let mut file = detailed();
    for (text, end) in [
        ("Traceback (most recent call last):\n …TimeoutError", EndKind::Timeout),
        ("Traceback …\n aiohttp.client_exceptions.ClientConnectorError: x", EndKind::Connect),
        ("Traceback …\n json.decoder.JSONDecodeError: x", EndKind::Malformed),
        ("Traceback …\n ValueError", EndKind::Unknown),
        ("Never received a valid chunk to calculate TTFT.", EndKind::NoTokens),
    ] {
        file["errors"][1] = json!(text);
        assert_eq!(parse(&file).unwrap().rows[1].end, end, "{text}");
    }
}

#[test]
fn every_cut_of_a_file_is_an_error_and_no_panic() {
    let text = detailed().to_string();
    for end in (0..text.len()).step_by(7).filter(|i| text.is_char_boundary(*i)) {
        assert!(read(&text.as_bytes()[..end], None).is_err(), "cut at {end}");
    }
}
