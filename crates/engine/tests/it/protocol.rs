//! HTTP and the API around generation: routes, errors, limits, connections.

use std::time::Duration;

use serde_json::{Value, json};
use stopwatt_engine::exact::ExactHandle;
use stopwatt_engine::exact::truth::TruthEnd;
use stopwatt_engine::{ExactConfig, Kind, ServeConfig, ServeError, Shutdown, Token};

use crate::client::{Client, End, post_bytes};
use crate::exact::{chat, completion, fast, start};

fn server() -> (ExactHandle, Client) {
    start(ExactConfig { max_model_len: 64, ..fast() })
}

#[track_caller]
fn refused(path: &str, body: &Value, status: u16, param: Option<&str>) {
    let (_server, mut client) = server();
    let answer = client.post(path, body);
    let error = &answer.json()["error"];
    assert_eq!((answer.status, error["param"].as_str()), (status, param), "{error}");
    assert_eq!(error["code"], status);
    assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()));
    assert_eq!(client.get("/health").status, 200, "the connection is still of use");
}

#[test]
fn routes_answer_as_vllm() {
    let (_server, mut client) = server();
    assert_eq!(client.get("/health").status, 200);
    assert!(client.get("/version").json()["version"].is_string());
    let models = client.get("/v1/models").json();
    assert_eq!(models["data"][0]["id"], "stopwatt-exact");
    assert_eq!(models["data"][0]["max_model_len"], 64);
    assert_eq!(client.get("/nothing?here").status, 404);
    assert_eq!(client.get("/v1/completions").status, 405);
    assert_eq!(client.post("/v1/models", &json!({})).status, 405);
    let tokens = client
        .post("/tokenize", &json!({"model": "stopwatt-exact", "prompt": "a b a", "return_token_strs": true}));
    let tokens = tokens.json();
    assert_eq!((&tokens["count"], &tokens["max_model_len"]), (&json!(3), &json!(64)));
    assert_eq!(tokens["tokens"][0], tokens["tokens"][2]);
    assert_eq!(tokens["token_strs"], json!(["a", "b", "a"]));
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let completions = "/v1/completions";
    refused(completions, &completion(json!({"model": "other"})), 404, Some("model"));
    refused(completions, &completion(json!({"max_tokens": 62})), 400, Some("max_tokens"));
    refused(completions, &completion(json!({"prompt": vec![1; 64]})), 400, Some("prompt"));
    refused(completions, &completion(json!({"prompt": ""})), 400, Some("prompt"));
    refused(completions, &completion(json!({"n": 2})), 400, Some("n"));
    refused(completions, &completion(json!({"prompt": [[1], [2]]})), 400, None);
    refused("/v1/chat/completions", &chat(json!({"messages": []})), 400, Some("messages"));
    refused("/v1/chat/completions", &json!([1]), 400, None);
    refused("/tokenize", &json!({"model": "other", "prompt": "x"}), 404, Some("model"));
}

#[test]
fn what_fits_exactly_is_served() {
    let (_server, mut client) = server();
    let answer = client.post("/v1/completions", &completion(json!({"max_tokens": 61, "stream": false})));
    assert_eq!(answer.usage().unwrap()["total_tokens"], 64);
    let ids = json!({"prompt": [7, 7, 7, 7], "stream": false, "max_tokens": 1});
    assert_eq!(client.post("/v1/completions", &completion(ids)).usage().unwrap()["prompt_tokens"], 4);
}

#[test]
fn bad_json_and_bad_http() {
    let (server, mut client) = server();
    client.send(post_bytes("/v1/completions", "{\"model\":", ""));
    assert_eq!(client.answer().status, 400);
    client.send("nonsense\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 400);
    assert!(answer.head.contains("connection: close"));
    assert!(client.is_closed());
    let mut idle = Client::connect(server.addr());
    idle.send("GET /hea");
    idle.silent_after(Duration::from_millis(50));
    assert_eq!(idle.fill(), Err(End::Silent), "half a request is waited for");
    idle.send("lth HTTP/1.1\r\n\r\n");
    idle.silent_after(Duration::from_secs(10));
    assert_eq!(idle.answer().status, 200);
}

#[test]
fn too_large_a_body_is_refused_while_it_is_sent() {
    let serve = ServeConfig { max_body_bytes: 1000, ..ServeConfig::new(Kind::Exact(fast())) };
    let (addr, stop) = spawn(serve);
    let mut client = Client::connect(addr);
    client.begin_post("/v1/completions", &completion(json!({"prompt": "x ".repeat(50_000)})), "");
    let answer = client.answer();
    assert_eq!((answer.status, answer.end), (413, End::Complete));
    assert_eq!(answer.json()["error"]["code"], 413);
    stop();
}

/// Runs `serve` on a thread; the second value ends it.
pub(crate) fn spawn(config: ServeConfig) -> (std::net::SocketAddr, impl FnOnce()) {
    let shutdown = Shutdown::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    let handle = shutdown.clone();
    let serve =
        move || stopwatt_engine::serve(config, |l| sender.send(l.addr).expect("the test waits"), handle);
    let thread = std::thread::spawn(serve);
    let addr = receiver.recv().expect("the server listens");
    let stop = move || {
        shutdown.trigger();
        thread.join().expect("no panic").expect("an orderly end");
    };
    (addr, stop)
}

#[test]
fn requests_can_be_sent_ahead() {
    let (_server, mut client) = server();
    let body = completion(json!({"max_tokens": 3})).to_string();
    client.send(
        post_bytes("/v1/completions", &body, "").repeat(3)
            + "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
    );
    for _ in 0..3 {
        assert_eq!(client.answer().generated().split_whitespace().count(), 3);
    }
    assert_eq!(client.answer().status, 200);
}

#[test]
fn bodies_in_chunks_and_after_100_continue() {
    let (_server, mut client) = server();
    let body = completion(json!({"max_tokens": 2, "stream": false})).to_string();
    let (a, b) = body.split_at(10);
    client.send("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    client.send(format!("{:x}\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n", a.len(), b.len()));
    assert_eq!(client.answer().usage().unwrap()["completion_tokens"], 2);
}

#[test]
fn a_client_of_http_1_0_gets_a_stream_that_ends_with_the_connection() {
    let (_server, mut client) = server();
    let body = completion(json!({"max_tokens": 2})).to_string();
    client.send(post_bytes("/v1/completions", &body, "").replace("HTTP/1.1", "HTTP/1.0"));
    let answer = client.answer();
    assert!(!answer.head.contains("chunked"));
    assert_eq!(answer.generated().split_whitespace().count(), 2);
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
}

#[test]
fn a_client_that_goes_away_is_noticed() {
    let (server, mut client) = start(ExactConfig { itl_s: 10.0, ..fast() });
    client.begin_post("/v1/completions", &completion(json!({"max_tokens": 5})), "");
    client.fill().unwrap();
    drop(client);
    let truth = server.wait_for_truth(1).remove(0);
    assert_eq!(truth.end, TruthEnd::ClientGone);
    let metrics = Client::connect(server.addr()).get("/metrics").text();
    assert!(metrics.contains("finished_reason=\"abort\"} 1\n"), "{metrics}");
    assert!(metrics.contains("vllm:num_requests_running{engine=\"0\",model_name=\"stopwatt-exact\"} 0\n"));
}

#[test]
fn metrics_count_what_was_served() {
    let (_server, mut client) = server();
    client.post("/v1/completions", &completion(json!({"max_tokens": 5})));
    let text = client.get("/metrics").text();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|l| l.starts_with(name) && !l.starts_with('#'));
        line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    assert_eq!(value("vllm:prompt_tokens_total"), 3.0);
    assert_eq!(value("vllm:generation_tokens_total"), 5.0);
    assert_eq!(value("vllm:time_to_first_token_seconds_count"), 1.0);
    assert_eq!(value("vllm:inter_token_latency_seconds_count"), 4.0);
    assert_eq!(value("vllm:e2e_request_latency_seconds_count"), 1.0);
    assert!(value("vllm:time_to_first_token_seconds_sum") >= 0.004);
    assert!(value("process_cpu_seconds_total") > 0.0);
    assert!(text.contains("finished_reason=\"length\"} 1\n"));
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let (addr, stop) = spawn(ServeConfig { max_connections: 1, ..ServeConfig::new(Kind::Exact(fast())) });
    let mut first = Client::connect(addr);
    assert_eq!(first.get("/health").status, 200);
    let mut second = Client::connect(addr);
    second.send("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
    second.silent_after(Duration::from_millis(50));
    assert_eq!(second.fill(), Err(End::Silent));
    drop(first);
    second.silent_after(Duration::from_secs(10));
    assert_eq!(second.answer().status, 200);
    stop();
}

#[test]
fn open_streams_may_end_after_a_shutdown_was_asked_for() {
    let config = ExactConfig { itl_s: 0.02, ..fast() };
    let (addr, stop) = spawn(ServeConfig::new(Kind::Exact(config)));
    let (mut busy, mut idle) = (Client::connect(addr), Client::connect(addr));
    assert_eq!(idle.get("/health").status, 200);
    busy.begin_post("/v1/completions", &completion(json!({"max_tokens": 6})), "");
    busy.fill().unwrap();
    let reader = std::thread::spawn(move || busy.answer());
    stop();
    let answer = reader.join().unwrap();
    assert_eq!((answer.end, answer.generated().split_whitespace().count()), (End::Complete, 6));
    assert!(idle.is_closed());
    assert!(std::net::TcpStream::connect(addr).is_err(), "nobody listens any more");
}

#[test]
fn other_machines_need_a_token() {
    let mut config = ServeConfig::new(Kind::Exact(fast()));
    config.listen = "0.0.0.0:0".parse().unwrap();
    let refused = stopwatt_engine::serve(config, |_| panic!("it must not listen"), Shutdown::new());
    assert!(matches!(refused, Err(ServeError::Exposed { .. })), "{refused:?}");

    let token = Some(Token::new("s3cret"));
    let mut config = ServeConfig { token, ..ServeConfig::new(Kind::Exact(fast())) };
    assert!(!format!("{config:?}").contains("s3cret"));
    config.listen = "0.0.0.0:0".parse().unwrap();
    let (addr, stop) = spawn(config);
    let mut client = Client::connect(([127, 0, 0, 1], addr.port()).into());
    let body = completion(json!({"max_tokens": 1}));
    assert_eq!(client.post("/v1/completions", &body).status, 401);
    assert_eq!(client.post_as("/v1/completions", &body, "authorization: Bearer s3cret\r\n").status, 200);
    stop();
}

#[test]
fn settings_that_cannot_be_served_are_refused() {
    let bad = ExactConfig { ttft_s: f64::NAN, ..fast() };
    assert!(matches!(stopwatt_engine::exact::spawn(bad), Err(ServeError::Setting { .. })));
    let missing = ExactConfig { truth_log: Some("/nonexistent/truth".into()), ..fast() };
    assert!(matches!(stopwatt_engine::exact::spawn(missing), Err(ServeError::TruthLog(_))));
    let taken = stopwatt_engine::exact::spawn(fast()).unwrap();
    let again = ServeConfig { listen: taken.addr(), ..ServeConfig::new(Kind::Exact(fast())) };
    let error = stopwatt_engine::serve(again, |_| (), Shutdown::new()).unwrap_err();
    assert!(matches!(error, ServeError::Listen { .. }) && error.hint().is_some());
}
