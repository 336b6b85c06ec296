//! Spans as a receiver of OTLP gets them, read with the types of `opentelemetry-proto`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use stopwatt_load::Target;
use stopwatt_ops::feedback::Feedback;
use stopwatt_ops::fleet::Fleet;
use stopwatt_ops::proxy::Tracing;
use stopwatt_ops::trace::{Endpoint, Exporter, Ids, hex, key};
use stopwatt_ops::upstream::Spec;

use crate::support::*;

/// A request that a receiver got: head in lower case, and body.
type Got = (String, Vec<u8>);

/// A receiver that answers with these statuses in turn, then with 200.
fn receiver(statuses: &'static [u16]) -> (String, Arc<Mutex<Vec<Got>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let got = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&got);
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut line, mut length) = (String::new(), String::new(), 0);
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head += &line;
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            to.lock().unwrap().push((head, body));
            let status = statuses.get(n).copied().unwrap_or(200);
            let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (format!("http://{addr}"), got)
}

fn spans(got: &[Got]) -> Vec<Span> {
    let requests = got.iter().filter(|(head, _)| head.contains("/v1/traces"));
    let decoded = requests.map(|(_, body)| ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
    decoded.flat_map(|r| r.resource_spans).flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
}

fn attributes(span: &Span) -> BTreeMap<&str, Value> {
    let value = |v: &Option<AnyValue>| v.clone().and_then(|v| v.value).unwrap();
    span.attributes.iter().map(|kv| (kv.key.as_str(), value(&kv.value))).collect()
}

fn text(value: &Value) -> &str {
    match value {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

struct Traced {
    proxy: Option<Proxy>,
    exporter: Option<Exporter>,
    /// The exporter asks it for names, and does not keep it.
    _fleet: Arc<Fleet>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Traced {
    fn start(specs: &[String], path: &str, statuses: &'static [u16], names: bool, content: bool) -> Self {
        let (url, got) = receiver(statuses);
        let target = Target::parse(&url).unwrap();
        let endpoint = Endpoint::new(target, path, Some("authorization=Basic%20a2V5")).unwrap();
        let parsed = specs.iter().map(|s| Spec::parse(s).unwrap()).collect();
        let fleet = Fleet::new(parsed, stopwatt_ops::fleet::Settings::default(), |_| None).unwrap();
        let fleet = Arc::new(fleet);
        let exporter = Exporter::start(endpoint, &fleet, content).unwrap();
        let feedback = Arc::new(Feedback::new(content, Some(exporter.scores())));
        let keepers = exporter.keeper().into_iter().collect();
        let observers = exporter.observer().into_iter().collect();
        let proxy = Proxy::observed(specs, observers, |s| {
            s.tracing = Some(Tracing { ids: Ids::new(), names });
            s.feedback = Some(feedback);
            s.keepers = keepers;
        });
        proxy.telemetry.add(exporter.source());
        Self { proxy: Some(proxy), exporter: Some(exporter), _fleet: fleet, got }
    }

    fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }

    /// Ends the proxy and sends what waits.
    fn end(mut self) -> Vec<Got> {
        drop(self.proxy.take());
        drop(self.exporter.take());
        self.got.lock().unwrap().clone()
    }
}

const CLIENT: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

#[test]
fn a_request_is_a_span_with_its_attempts_below_it() {
    let engine = engine(|_| {});
    let specs = [
        format!("{},name=gone,weight=1000", nobody()),
        format!("{},name=here,variant=b,gpu-hour=2", spec(&engine)),
    ];
    let specs = specs.map(|s| s.replace("name=gone", "name=gone,variant=b"));
    let traced = Traced::start(&specs, "/api/public/otel", &[], false, false);
    let body =
        CHAT.replace("\"stream\":true", "\"stream\":true,\"temperature\":0.5,\"seed\":7,\"user\":\"alice\"");
    let headers = format!("{CLIENT}x-session-id: visit-9\r\nx-stopwatt-prompt-version: v3\r\n");
    let answer = traced.proxy().post("/v1/chat/completions", &headers, &body);
    assert!(answer.is_done(), "{answer:?}");
    assert_eq!(answer.header("x-stopwatt-trace-id"), Some("0af7651916cd43dd8448eb211c80319c"));
    let seen = traced.proxy().recorded(1).remove(0);
    let got = traced.end();
    assert!(got[0].0.starts_with("POST /api/public/otel/v1/traces "), "{}", got[0].0);
    for header in [
        "content-type: application/x-protobuf",
        "x-langfuse-ingestion-version: 4",
        "authorization: Basic a2V5",
    ] {
        assert!(got[0].0.contains(header), "{header} in {}", got[0].0);
    }
    let spans = spans(&got);
    assert_eq!(spans.len(), 3, "{spans:?}");
    let (own, first, second) = (&spans[0], &spans[1], &spans[2]);
    assert_eq!(hex(&own.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&own.parent_span_id), "b7ad6b7169203331");
    assert_eq!((own.name.as_str(), own.kind, &own.status), ("chat stopwatt-exact", 3, &None));
    let took = own.end_time_unix_nano - own.start_time_unix_nano;
    assert_eq!(took, (seen.ended - seen.received) as u64);
    let now = stopwatt_core::clock::unix_now() as u64;
    assert!(own.start_time_unix_nano < now && own.start_time_unix_nano > now - 60_000_000_000);
    let a = attributes(own);
    assert_eq!(text(&a[key::LANGFUSE_TYPE]), "generation");
    assert_eq!((text(&a[key::OPERATION]), text(&a[key::REQUEST_MODEL])), ("chat", "stopwatt-exact"));
    assert_eq!((text(&a[key::VARIANT]), text(&a[key::LANGFUSE_VERSION])), ("b", "b"));
    assert_eq!((&a[key::OUTPUT_TOKENS], &a[key::SEED]), (&Value::IntValue(20), &Value::IntValue(7)));
    assert_eq!(a[key::TEMPERATURE], Value::DoubleValue(0.5));
    // A JSON string, as Langfuse parses it.
    let started: String = serde_json::from_str(text(&a[key::LANGFUSE_STARTED])).unwrap();
    assert!(started.len() == 24 && started.ends_with('Z'), "{started}");
    let usage: serde_json::Value = serde_json::from_str(text(&a[key::LANGFUSE_USAGE])).unwrap();
    assert_eq!(usage["output"], 20);
    assert_eq!(usage["total"].as_u64().unwrap(), 20 + u64::from(seen.prompt_tokens.unwrap()));
    let cost: serde_json::Value = serde_json::from_str(text(&a[key::LANGFUSE_COST])).unwrap();
    assert_eq!(cost["total"].as_f64(), seen.cost_dollars);
    let Value::ArrayValue(tags) = &a[key::LANGFUSE_TAGS] else { panic!() };
    assert_eq!(tags.values.len(), 3);
    assert_eq!(text(&a[key::USER]), format!("{:016x}", seen.user.unwrap()));
    assert_eq!(text(&a[key::SESSION]), format!("{:016x}", seen.session.unwrap()));
    assert!(!a.contains_key(key::LANGFUSE_INPUT) && !a.contains_key(key::LANGFUSE_OUTPUT));
    for (attempt, name) in [(first, "gone"), (second, "here")] {
        assert_eq!((&attempt.trace_id, &attempt.parent_span_id), (&own.trace_id, &own.span_id));
        assert_eq!(text(&attributes(attempt)[key::UPSTREAM]), name);
    }
    assert_eq!(
        (text(&attributes(first)[key::ERROR]), first.status.as_ref().unwrap().code),
        ("connect_refused", 2)
    );
    assert!(second.status.is_none() && second.end_time_unix_nano == own.end_time_unix_nano);
    // Nothing that names anybody or anything that was said is in what was sent.
    for (_, body) in &got {
        for word in ["alice", "visit-9", "\"hi\""] {
            assert!(!body.windows(word.len()).any(|w| w == word.as_bytes()), "{word}");
        }
    }
}

#[test]
fn an_upstream_is_told_its_attempt_s_span() {
    let raw = Raw::start(Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"));
    let traced = Traced::start(&[raw.spec()], "/", &[], false, false);
    traced.proxy().post("/v1/completions", CLIENT, "{}");
    let said = raw.requests.lock().unwrap()[0].clone();
    let spans = spans(&traced.end());
    let header = format!("traceparent: 00-0af7651916cd43dd8448eb211c80319c-{}-01", hex(&spans[1].span_id));
    assert!(said.contains(&header), "{header} in {said}");
    assert_eq!(said.matches("traceparent").count(), 1);
}

#[test]
fn content_and_names_are_sent_where_they_were_asked_for() {
    let engine = engine(|_| {});
    let traced = Traced::start(&[spec(&engine)], "/", &[], true, true);
    let body = CHAT.replace("\"stream\":true", "\"stream\":true,\"user\":\"alice\"");
    let answer = traced.proxy().post("/v1/chat/completions", "", &body);
    assert!(answer.is_done());
    let spans = spans(&traced.end());
    let a = attributes(&spans[0]);
    assert_eq!(text(&a[key::USER]), "alice");
    assert!(text(&a[key::LANGFUSE_INPUT]).contains("\"hi\""));
    assert!(text(&a[key::LANGFUSE_OUTPUT]).len() > 20);
}

#[test]
fn a_client_that_wants_no_record_gets_none_and_failures_are_told() {
    let engine = engine(|c| c.faults.http_500 = 1.0);
    let traced = Traced::start(&[spec(&engine)], "/", &[], false, false);
    let silent = CLIENT.replace("-01\r\n", "-00\r\n");
    assert_eq!(traced.proxy().post("/v1/chat/completions", &silent, CHAT).status, 500);
    assert_eq!(traced.proxy().post("/v1/chat/completions", "", CHAT).status, 500);
    let spans = spans(&traced.end());
    assert_eq!(spans.len(), 2, "one request and its attempt: {spans:?}");
    let a = attributes(&spans[0]);
    assert_eq!((text(&a[key::ERROR]), text(&a[key::LANGFUSE_LEVEL])), ("http_status", "ERROR"));
    assert_eq!(spans[0].status.as_ref().unwrap().code, 2);
}

#[test]
fn a_receiver_that_restarts_loses_nothing_and_one_that_refuses_is_counted() {
    let engine = engine(|_| {});
    for (statuses, sent, refused) in [(&[503_u16][..], 2, 0), (&[400][..], 0, 2)] {
        let traced = Traced::start(&[spec(&engine)], "/", statuses, false, false);
        traced.proxy().chat();
        let line = |page: &str, name: &str| {
            let found = page.lines().find(|l| l.starts_with(name)).unwrap().rsplit(' ').next().unwrap();
            found.parse::<u64>().unwrap()
        };
        wait_for("a batch to be dealt with", || {
            let page = traced.proxy().get("/metrics").body;
            line(&page, "stopwatt_spans_sent_total") == sent
                && line(&page, "stopwatt_spans_dropped_total{reason=\"refused\"}") == refused
        });
    }
}

#[test]
fn what_users_say_becomes_a_score_or_a_span() {
    let engine = engine(|_| {});
    for (path, langfuse) in [("/api/public/otel", true), ("/", false)] {
        let traced = Traced::start(&[spec(&engine)], path, &[], false, false);
        let proxy = traced.proxy();
        let answer = proxy.chat();
        let id = answer.header("x-stopwatt-trace-id").unwrap().to_owned();
        proxy.recorded(1);
        let said =
            format!(r#"{{"trace_id":"{id}","name":"helpful","value":false,"comment":"secret words"}}"#);
        assert_eq!(proxy.post("/feedback", "", &said).status, 202);
        assert_eq!(proxy.post("/feedback", "", "{}").status, 400);
        let unknown = said.replace(&id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(proxy.post("/feedback", "", &unknown).status, 404);
        let got = traced.end();
        let all = spans(&got);
        if langfuse {
            let (head, body) = got.iter().find(|(head, _)| head.contains("/scores")).unwrap();
            assert!(head.starts_with("POST /api/public/scores ") && head.contains("application/json"));
            let score: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!(score["traceId"], id);
            assert_eq!((&score["value"], &score["dataType"]), (&0.into(), &"BOOLEAN".into()));
            assert_eq!(score["observationId"], hex(&all[0].span_id));
        } else {
            let span = all.iter().find(|s| s.name == "feedback helpful").unwrap();
            assert_eq!((hex(&span.trace_id), &span.parent_span_id), (id, &all[0].span_id));
            assert_eq!(span.events[0].name, key::EVALUATION);
        }
        assert!(got.iter().all(|(_, body)| !body.windows(6).any(|w| w == b"secret")));
    }
}

#[test]
fn without_traces_nothing_of_them_is_there() {
    let engine = engine(|_| {});
    let proxy = Proxy::start(&[spec(&engine)], |_| {});
    assert_eq!(proxy.chat().header("x-stopwatt-trace-id"), None);
    assert_eq!(proxy.post("/feedback", "", "{}").status, 404);
}
