//! The files are held to the fields of the published interfaces, written here from their references: HPA of
//! Kubernetes' `autoscaling/v2`, `ScaledObject` of KEDA's `keda.sh/v1alpha1` with its Prometheus scaler. No cluster has
//! seen them.

use serde_json::{Value, json};
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_record::config::read_file;

use super::*;
use crate::rules::{self, prometheus};

fn estimate(value: Value) -> Value {
    json!({ "value": value, "n": 40, "trials": 3, "reason": "told",
            "interval": { "kind": "confidence", "level": 0.95, "lo": 3.5, "hi": 4.5 } })
}

/// A run whose search ended at `found`, with 4 requests waiting there and none running.
fn doc(found: Value) -> MetricsDoc {
    let absent = json!({ "value": null, "n": 0, "trials": 0, "reason": "not told", "interval": null });
    let gauge = |v: Value| json!({ "mean": estimate(v), "max": absent });
    let mut summary = json!({ "unit": "s", "better": "lower", "definition": "ttft_any/1" });
    for statistic in ["mean", "std", "min", "max", "p50", "p95", "p99", "p999"] {
        summary[statistic] = estimate(json!(0.5));
    }
    let point = |waiting: f64| {
        json!({ "label": "p", "concurrency": 8, "rate_rps": null, "input": 64.0, "output": 16.0, "wall_s": 10.0,
            "requests": 40, "errors": {}, "metrics": { "ttft": summary },
            "engine": { "readings": 9, "missed": 0, "slowest_reading_s": null, "totals": {},
                "gauges": { "waiting": gauge(json!(waiting)), "running": gauge(json!(0.0)),
                    "kv_usage": { "mean": absent, "max": absent } } } })
    };
    let look = |load: f64, point: u32| {
        json!({ "point": point, "load": load, "again": false, "trials": 3, "requests": 40, "verdict": "holds",
                "veto": null, "objectives": [], "queue_growth": null })
    };
    let parsed = serde_json::from_value(json!({
        "format": "1.1", "run_id": "r1", "status": "complete",
        "env": { "gpu": null, "driver": null, "fixed_clock": null, "seed": 1, "hash": "h" },
        "pipeline": { "mode": "bench:find", "repeats": 1, "warmup": 0 },
        "latency_ms": { "mean": null, "p50": null, "p95": null },
        "throughput_toks_s": null, "l2_hit_pct": null, "ept_j_per_tok": null, "quality_delta_pct": null,
        "reasons": {}, "metrics": {}, "headline_point": null, "points": [point(9.0), point(4.0)],
        "search": { "find": "max-concurrency", "objectives": ["p99 ttft < 1s"], "found": found, "confirmed": true,
            "unresolved": [], "stopped": null, "knee": absent, "looks": [look(16.0, 0), look(8.0, 1)] },
        "client": { "cpu_s": null, "rss_bytes": null }, "validity": { "valid": true, "reasons": [] } }));
    parsed.unwrap()
}

fn resolved() -> MetricsDoc {
    doc(json!({ "value": 8.0, "n": 40, "trials": 3, "reason": null,
                "interval": { "kind": "confidence", "level": 0.95, "lo": 8.0, "hi": 9.0 } }))
}

fn signals(signal: Signal, source: Source, cold: Option<f64>) -> Signals {
    Signals {
        knee: Knee::read(&resolved(), signal).unwrap(),
        headroom: 0.8,
        source,
        namespace: "llm".to_owned(),
        deployment: "engine".to_owned(),
        prometheus_url: "http://prometheus:9090".to_owned(),
        min: 1,
        max: 6,
        cold_start: cold.map(|seconds| ColdStart { seconds, from: "--cold-start".to_owned() }),
    }
}

fn yaml(text: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.yaml");
    std::fs::write(&path, text).unwrap();
    read_file(&path).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

#[track_caller]
fn follows(schema: &Value, text: &str) -> Value {
    let doc = yaml(text);
    let validator = jsonschema::validator_for(schema).unwrap();
    let problems: Vec<_> =
        validator.iter_errors(&doc).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:?}\n{text}");
    doc
}

/// An object with these fields and no others.
fn object(fields: Value) -> Value {
    let required: Vec<&String> = fields.as_object().unwrap().keys().collect();
    json!({ "type": "object", "required": required, "additionalProperties": false, "properties": fields })
}

fn behavior() -> Value {
    let policy = object(json!({ "type": { "enum": ["Pods", "Percent"] },
        "value": { "type": "integer", "minimum": 1 },
        "periodSeconds": { "type": "integer", "minimum": 1, "maximum": 1800 } }));
    let rules = object(json!({
        "stabilizationWindowSeconds": { "type": "integer", "minimum": 0, "maximum": 3600 },
        "policies": { "type": "array", "minItems": 1, "items": policy } }));
    object(json!({ "scaleUp": rules, "scaleDown": rules }))
}

fn metadata() -> Value {
    object(json!({ "name": { "type": "string" }, "namespace": { "type": "string" } }))
}

const QUANTITY: &str = r"^[0-9]+(\.[0-9]+)?$";
const ALL: [(Signal, Source); 4] = [
    (Signal::Waiting, Source::Stopwatt),
    (Signal::Waiting, Source::Vllm),
    (Signal::Ttft, Source::Stopwatt),
    (Signal::Ttft, Source::Vllm),
];

#[test]
fn a_scaled_object_has_the_fields_of_v1alpha1() {
    let count = json!({ "type": "integer", "minimum": 0 });
    let trigger = object(json!({ "type": { "const": "prometheus" },
        "metricType": { "enum": ["AverageValue", "Value"] },
        "metadata": object(json!({ "serverAddress": { "type": "string" }, "query": { "type": "string" },
            "threshold": { "type": "string", "pattern": QUANTITY }, "ignoreNullValues": { "const": "false" } })) }));
    let schema = object(
        json!({ "apiVersion": { "const": "keda.sh/v1alpha1" }, "kind": { "const": "ScaledObject" },
        "metadata": metadata(),
        "spec": object(json!({ "scaleTargetRef": object(json!({ "name": { "type": "string" } })),
            "pollingInterval": count, "cooldownPeriod": count, "minReplicaCount": count, "maxReplicaCount": count,
            "advanced": object(json!({ "horizontalPodAutoscalerConfig": object(json!({ "behavior": behavior() })) })),
            "triggers": { "type": "array", "minItems": 1, "items": trigger } })) }),
    );
    for (signal, source) in ALL {
        follows(&schema, &signals(signal, source, Some(90.0)).keda());
    }
    let doc = follows(&schema, &signals(Signal::Waiting, Source::Stopwatt, Some(400.0)).keda());
    let spec = &doc["spec"];
    // 4 waiting × 0.8; 2 × 400 s; 400 s.
    assert_eq!(spec["triggers"][0]["metadata"]["threshold"], "3.2");
    assert_eq!(spec["triggers"][0]["metadata"]["query"], "sum(stopwatt_upstream_waiting)");
    assert_eq!(spec["cooldownPeriod"], 800);
    let behavior = &spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
    assert_eq!(behavior["scaleDown"]["stabilizationWindowSeconds"], 800);
    assert_eq!(behavior["scaleUp"]["policies"][0]["periodSeconds"], 400);
}

#[test]
fn an_autoscaler_has_the_fields_of_v2() {
    let target = |kind: &str, key: &str| {
        object(json!({ "type": { "const": kind }, key: { "type": "string", "pattern": QUANTITY } }))
    };
    let metric = object(json!({ "type": { "const": "External" }, "external": object(json!({
        "metric": object(json!({ "name": { "type": "string", "pattern": "^[a-z0-9_]+$" } })),
        "target": { "oneOf": [target("AverageValue", "averageValue"), target("Value", "value")] } })) }));
    let reference = object(json!({ "apiVersion": { "const": "apps/v1" }, "kind": { "const": "Deployment" },
        "name": { "type": "string" } }));
    let count = json!({ "type": "integer", "minimum": 1 });
    let schema = object(json!({ "apiVersion": { "const": "autoscaling/v2" },
        "kind": { "const": "HorizontalPodAutoscaler" }, "metadata": metadata(),
        "spec": object(json!({ "scaleTargetRef": reference, "minReplicas": count, "maxReplicas": count,
            "behavior": behavior(), "metrics": { "type": "array", "minItems": 1, "items": metric } })) }));
    for (signal, source) in ALL {
        follows(&schema, &signals(signal, source, Some(90.0)).hpa());
    }
    let doc = follows(&schema, &signals(Signal::Ttft, Source::Vllm, None).hpa());
    let external = &doc["spec"]["metrics"][0]["external"];
    assert_eq!(external["metric"]["name"], "vllm_time_to_first_token_seconds_p95");
    // 0.5 s × 0.8, for all replicas together.
    assert_eq!(external["target"], json!({ "type": "Value", "value": "0.4" }));
    assert_eq!(doc["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 300);
}

#[test]
fn alert_thresholds_become_rules() {
    for (signal, source) in ALL {
        let text = signals(signal, source, Some(20.0)).alerts();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.yaml");
        std::fs::write(&path, &text).unwrap();
        let settings: rules::Settings = read_file(&path).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let file = prometheus::rule_file(&settings.alerts().unwrap());
        let wanted = match signal {
            Signal::Ttft => "slo=\\\"ttft_at_capacity\\\"".to_owned(),
            _ => format!("expr: \"{} > 3.2\"\n        for: 20s", signal.metric(source)),
        };
        assert!(file.contains(&wanted), "{wanted}\nis not in\n{file}");
    }
}

#[test]
fn every_number_says_where_it_comes_from() {
    let s = signals(Signal::Waiting, Source::Stopwatt, Some(90.0));
    for text in [s.keda(), s.hpa(), s.alerts()] {
        assert!(
            text.contains("run r1: p99 ttft < 1s holds up to 8 requests in flight and fails at 9"),
            "{text}"
        );
        assert!(text.contains("waiting there (mean): 4 [3.5, 4.5] at 95 %, n = 40, 3 trials"), "{text}");
        let numbers = text.lines().filter(|l| !l.trim_start().starts_with('#')).filter(|l| {
            let value = l.split_once(": ").map_or("", |(_, v)| v).trim_start_matches('"');
            value.starts_with(|c: char| c.is_ascii_digit())
        });
        let numbers: Vec<&str> = numbers.collect();
        assert!(numbers.len() >= 2 && numbers.iter().all(|l| l.contains(" # ")), "{numbers:?}");
    }
}

#[test]
fn the_times_stay_within_what_kubernetes_takes() {
    let times = |cold| {
        let s = signals(Signal::Waiting, Source::Stopwatt, cold);
        (s.step_s(), s.down_window_s())
    };
    assert_eq!(times(None), (15, 300));
    assert_eq!(times(Some(0.5)), (15, 300));
    assert_eq!(times(Some(200.2)), (201, 401));
    assert_eq!(times(Some(1e5)), (1800, 3600));
}

#[test]
fn a_run_that_did_not_find_the_edge_is_refused() {
    let of = |doc: &MetricsDoc, signal| Knee::read(doc, signal).unwrap_err();
    let open = doc(json!({ "value": 8.0, "n": 1, "trials": 1, "interval": null, "reason": "lies higher" }));
    let error = of(&open, Signal::Waiting);
    assert_eq!(error, SignalsError::Unresolved { run_id: "r1".to_owned(), reason: "lies higher".to_owned() });
    let none = doc(json!({ "value": null, "n": 0, "trials": 0, "interval": null, "reason": "none" }));
    assert!(matches!(of(&none, Signal::Waiting), SignalsError::Unresolved { .. }));
    let bare = MetricsDoc { search: None, ..resolved() };
    assert!(matches!(of(&bare, Signal::Waiting), SignalsError::NoSearch { .. }));
    assert!(matches!(of(&resolved(), Signal::Running), SignalsError::Zero { .. }));
    assert!(
        matches!(of(&resolved(), Signal::Kv), SignalsError::NoSignal { reason, .. } if reason == "not told")
    );
}

#[test]
fn a_run_that_is_unsure_says_so_in_the_file() {
    let mut doc = resolved();
    doc.validity.valid = false;
    doc.search.as_mut().unwrap().confirmed = false;
    let s = Signals {
        knee: Knee::read(&doc, Signal::Waiting).unwrap(),
        ..signals(Signal::Ttft, Source::Vllm, None)
    };
    assert_eq!(s.keda().matches("# Careful: the run r1").count(), 2);
}
