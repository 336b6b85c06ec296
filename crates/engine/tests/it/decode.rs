//! The kinds that decide step by step: what their clients see, whatever computes the steps.

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use serde_json::{Value, json};
use stopwatt_core::clock::monotonic_raw;
use stopwatt_engine::{
    Kind, RealConfig, SchedulerConfig, ServeConfig, ServeError, Shutdown, SimulatedConfig, Weights,
};
use stopwatt_serving::step::{LinearCoefficients, LinearStepModel, StepModel, StepShape};

use crate::client::{Answer, Client, End};
use crate::protocol::spawn;

/// A linear model in which only a step's base costs anything.
fn steps_of(base_s: f64) -> LinearStepModel {
    let free = LinearCoefficients {
        base_s,
        per_prefill_token_s: 0.0,
        per_decode_seq_s: 0.0,
        per_context_token_s: 0.0,
    };
    LinearStepModel::try_from(free).expect("a valid model")
}

pub(crate) fn simulated(step_s: f64, scheduler: SchedulerConfig) -> ServeConfig {
    let config = SimulatedConfig {
        step: steps_of(step_s),
        max_model_len: 256,
        scheduler,
        ..SimulatedConfig::default()
    };
    ServeConfig { model_name: "m".to_owned(), ..ServeConfig::new(Kind::Simulated(config)) }
}

pub(crate) fn real() -> RealConfig {
    let weights = Weights::Random { size: "tiny".to_owned(), seed: 1 };
    let scheduler = SchedulerConfig { kv_cache_tokens: Some(1024), ..SchedulerConfig::default() };
    RealConfig { weights, max_model_len: Some(256), threads: Some(1), scheduler, ..RealConfig::default() }
}

fn serve_real(config: RealConfig) -> (SocketAddr, impl FnOnce()) {
    spawn(ServeConfig { model_name: "m".to_owned(), ..ServeConfig::new(Kind::Real(config)) })
}

/// Runs `check` against both kinds.
fn each(check: impl Fn(&mut Client)) {
    let (addr, stop) = spawn(simulated(0.0005, SchedulerConfig::default()));
    check(&mut Client::connect(addr));
    stop();
    let (addr, stop) = serve_real(real());
    check(&mut Client::connect(addr));
    stop();
}

fn ask(client: &mut Client, extra: Value) -> Answer {
    let mut body = json!({"model": "m", "prompt": "one two three four", "max_tokens": 8, "temperature": 0});
    for (key, value) in extra.as_object().expect("an object") {
        body[key] = value.clone();
    }
    client.post("/v1/completions", &body)
}

fn metric(addr: SocketAddr, name: &str) -> f64 {
    let text = Client::connect(addr).get("/metrics").text();
    let line = text.lines().find(|l| l.starts_with(name) && !l.starts_with('#'));
    line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// Waits until a metric has a value.
#[track_caller]
fn becomes(addr: SocketAddr, name: &str, value: f64) {
    for _ in 0..400 {
        if metric(addr, name) == value {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{name} is {} and not {value}", metric(addr, name));
}

#[test]
fn streamed_or_not_the_answer_is_the_same() {
    each(|client| {
        let whole = ask(client, json!({"seed": 3, "return_token_ids": true}));
        assert_eq!(whole.status, 200, "{}", whole.text());
        let streamed = ask(
            client,
            json!({
                "seed": 3, "return_token_ids": true, "stream": true, "stream_options": {"include_usage": true}
            }),
        );
        assert_eq!(streamed.generated(), whole.generated());
        assert!(!whole.generated().is_empty());
        assert_eq!((streamed.finish(), whole.finish()), (Some("length".into()), Some("length".into())));
        assert_eq!(streamed.events().last().map(String::as_str), Some("[DONE]"));
        let ids = |v: &Value| v["choices"][0]["token_ids"].as_array().cloned().unwrap_or_default();
        let pieces: Vec<Value> = streamed.values().iter().flat_map(ids).collect();
        assert_eq!(pieces, ids(&whole.json()));
        assert_eq!(pieces.len(), 8);
        let (a, b) = (streamed.usage().unwrap(), whole.usage().unwrap());
        assert_eq!(
            (&a["completion_tokens"], &a["prompt_tokens"]),
            (&b["completion_tokens"], &b["prompt_tokens"])
        );
        assert_eq!(a["completion_tokens"], 8);
    });
}

#[test]
fn chats_begin_with_the_role() {
    each(|client| {
        let body = json!({
            "model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3, "stream": true,
            "temperature": 0,
        });
        let answer = client.post("/v1/chat/completions", &body);
        let deltas: Vec<Value> = answer.values().iter().map(|v| v["choices"][0]["delta"].clone()).collect();
        assert_eq!(deltas[0], json!({"role": "assistant", "content": ""}));
        assert_eq!(deltas.len(), 4);
        assert_eq!(answer.pieces.len(), 5, "each event is a piece of its own");
    });
}

#[test]
fn a_repeated_prompt_is_found_in_the_cache() {
    each(|client| {
        let prompt: Vec<u32> = (0..100).map(|i| i % 90).collect();
        let cached = |client: &mut Client| {
            let usage = ask(client, json!({"prompt": prompt, "max_tokens": 2})).usage().unwrap();
            usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
        };
        assert_eq!(cached(client), 0);
        assert_eq!(cached(client), 96, "all full blocks of 16, and one token is left to compute");
        let text = client.get("/metrics").text();
        let has = |line: &str| {
            text.lines().any(|l| {
                l.starts_with(line.split(' ').next().unwrap()) && l.ends_with(line.split(' ').nth(1).unwrap())
            })
        };
        assert!(has("vllm:prefix_cache_queries_total 200"), "{text}");
        assert!(has("vllm:prefix_cache_hits_total 96"), "{text}");
    });
}

#[test]
fn the_cache_can_be_switched_off() {
    let scheduler = SchedulerConfig {
        enable_prefix_caching: false,
        kv_cache_tokens: Some(1024),
        ..SchedulerConfig::default()
    };
    let (addr, stop) = serve_real(RealConfig { scheduler, ..real() });
    let mut client = Client::connect(addr);
    let ids: Vec<u32> = vec![65; 64];
    let answers: Vec<Answer> = (0..2).map(|_| ask(&mut client, json!({"prompt": ids}))).collect();
    assert_eq!(answers[0].generated(), answers[1].generated());
    assert_eq!(answers[1].usage().unwrap()["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(metric(addr, "vllm:prefix_cache_hits_total"), 0.0);
    stop();
}

#[test]
fn a_client_that_goes_away_frees_its_blocks() {
    let (addr, stop) =
        spawn(simulated(0.01, SchedulerConfig { max_num_seqs: 2, ..SchedulerConfig::default() }));
    let begin = |_| {
        let mut client = Client::connect(addr);
        let body = json!({"model": "m", "prompt": "a b c", "max_tokens": 250, "stream": true});
        client.begin_post("/v1/completions", &body, "");
        client
    };
    let mut clients: Vec<Client> = (0..3).map(begin).collect();
    becomes(addr, "vllm:num_requests_running", 2.0);
    becomes(addr, "vllm:num_requests_waiting", 1.0);
    assert!(metric(addr, "vllm:kv_cache_usage_perc") > 0.0);
    clients[0].fill().unwrap();
    drop(clients);
    becomes(addr, "vllm:num_requests_running", 0.0);
    becomes(addr, "vllm:num_requests_waiting", 0.0);
    assert_eq!(metric(addr, "vllm:kv_cache_usage_perc"), 0.0);
    let text = Client::connect(addr).get("/metrics").text();
    assert!(text.contains("finished_reason=\"abort\"} 3\n"), "{text}");
    stop();
}

#[test]
fn bad_requests_are_refused_before_the_engine() {
    each(|client| {
        let status = |client: &mut Client, extra| {
            let answer = ask(client, extra);
            (answer.status, answer.json()["error"]["param"].as_str().map(str::to_owned))
        };
        assert_eq!(status(client, json!({"model": "other"})), (404, Some("model".into())));
        assert_eq!(status(client, json!({"max_tokens": 256})), (400, Some("max_tokens".into())));
        assert_eq!(status(client, json!({"prompt": vec![1; 256]})), (400, Some("prompt".into())));
        assert_eq!(status(client, json!({"prompt": ""})), (400, Some("prompt".into())));
        assert_eq!(status(client, json!({"n": 3})), (400, Some("n".into())));
        let fits = ask(client, json!({"prompt": vec![1; 250], "max_tokens": 6}));
        assert_eq!(fits.usage().unwrap()["total_tokens"], 256);
    });
    let (addr, stop) = serve_real(real());
    let mut client = Client::connect(addr);
    let unknown = ask(&mut client, json!({"prompt": [1, 2, 5000]}));
    assert_eq!((unknown.status, unknown.json()["error"]["param"].as_str()), (400, Some("prompt")));
    stop();
}

#[test]
fn many_clients_at_once_are_each_answered_in_full() {
    for config in [
        simulated(0.001, SchedulerConfig::default()),
        ServeConfig { model_name: "m".to_owned(), ..ServeConfig::new(Kind::Real(real())) },
    ] {
        let (addr, stop) = spawn(config);
        let threads: Vec<_> = (0..24_u32)
            .map(|i| {
                std::thread::spawn(move || {
                    let mut client = Client::connect(addr);
                    let prompt: Vec<u32> = (0..20 + i).map(|k| (k * (i + 1)) % 90 + 30).collect();
                    let extra = json!({"prompt": prompt, "max_tokens": 10 + i, "stream": true,
                        "stream_options": {"include_usage": true}, "ignore_eos": true});
                    (i, ask(&mut client, extra))
                })
            })
            .collect();
        for thread in threads {
            let (i, answer) = thread.join().unwrap();
            assert_eq!((answer.status, answer.end), (200, End::Complete));
            let usage = answer.usage().unwrap();
            assert_eq!(
                (&usage["prompt_tokens"], &usage["completion_tokens"]),
                (&json!(20 + i), &json!(10 + i))
            );
        }
        becomes(addr, "vllm:num_requests_running", 0.0);
        assert_eq!(metric(addr, "vllm:kv_cache_usage_perc"), 0.0);
        let expected: u32 = (0..24).map(|i| 10 + i).sum();
        assert_eq!(metric(addr, "vllm:generation_tokens_total"), f64::from(expected));
        stop();
    }
}

#[test]
fn requests_that_lose_their_blocks_still_end_well() {
    // Four sequences of up to 256 tokens in a cache of 256: some must be preempted and computed again.
    let scheduler = SchedulerConfig { kv_cache_tokens: Some(256), ..SchedulerConfig::default() };
    let alone = {
        let (addr, stop) = serve_real(real());
        let answer = ask(&mut Client::connect(addr), json!({"max_tokens": 100})).generated();
        stop();
        answer
    };
    let (addr, stop) = serve_real(RealConfig { scheduler, ..real() });
    // The engine may finish one request before the next arrives; then nothing competes, and the four are asked again.
    for _ in 0..50 {
        let together = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let together = Arc::clone(&together);
                std::thread::spawn(move || {
                    let mut client = Client::connect(addr);
                    together.wait();
                    ask(&mut client, json!({"max_tokens": 100}))
                })
            })
            .collect();
        for thread in threads {
            let answer = thread.join().unwrap();
            assert_eq!(answer.usage().unwrap()["completion_tokens"], 100);
            assert_eq!(answer.generated().len(), alone.len());
        }
        if metric(addr, "vllm:num_preemptions_total") > 0.0 {
            break;
        }
    }
    assert!(metric(addr, "vllm:num_preemptions_total") > 0.0);
    stop();
}

#[test]
fn stop_strings_and_their_reason() {
    each(|client| {
        let full = ask(client, json!({"max_tokens": 40, "seed": 1})).generated();
        let stop: String = full.chars().skip(9).take(4).collect();
        let expected = &full[..full.find(&stop).unwrap()];
        for stream in [false, true] {
            let answer = ask(client, json!({"max_tokens": 40, "seed": 1, "stop": [stop], "stream": stream}));
            assert_eq!(answer.generated(), expected);
            assert_eq!(answer.finish().as_deref(), Some("stop"));
            assert!(answer.text().contains(&format!("\"stop_reason\":{}", json!(stop))), "{}", answer.text());
        }
        let kept = ask(client, json!({"max_tokens": 40, "seed": 1, "stop": [stop], "min_tokens": 40}));
        assert_eq!((kept.generated(), kept.finish().as_deref()), (full, Some("length")));
    });
}

#[test]
fn a_simulated_step_takes_the_time_of_its_model() {
    let (addr, stop) = spawn(simulated(0.02, SchedulerConfig::default()));
    let begin = monotonic_raw();
    let answer = ask(&mut Client::connect(addr), json!({"max_tokens": 10}));
    let took = monotonic_raw() - begin;
    assert_eq!(answer.generated().split_whitespace().count(), 10);
    assert!(took >= 200_000_000, "ten steps of 20 ms: {took}");
    assert!(metric(addr, "vllm:time_to_first_token_seconds_sum") >= 0.02);
    assert!(metric(addr, "vllm:inter_token_latency_seconds_sum") >= 0.17);
    stop();
}

#[test]
fn any_step_model_can_be_passed_in() {
    /// Counts on the shape: one unit for each computed token.
    struct PerToken;
    impl StepModel for PerToken {
        fn step(&self, shape: &StepShape) -> Duration {
            Duration::from_millis(u64::from(shape.tokens()))
        }
    }
    let config = SimulatedConfig { max_model_len: 256, ..SimulatedConfig::default() };
    let kind = Kind::SimulatedBy(config, Box::new(PerToken));
    let (addr, stop) = spawn(ServeConfig { model_name: "m".to_owned(), ..ServeConfig::new(kind) });
    ask(&mut Client::connect(addr), json!({"prompt": vec![7; 60], "max_tokens": 1}));
    let ttft = metric(addr, "vllm:time_to_first_token_seconds_sum");
    assert!(ttft >= 0.06, "sixty tokens of prefill: {ttft}");
    stop();
}

#[test]
fn the_text_of_a_random_model_is_known() {
    let text = |seed, chunk, temperature: f64| {
        let scheduler = SchedulerConfig { max_num_batched_tokens: chunk, ..real().scheduler };
        let weights = Weights::Random { size: "tiny".to_owned(), seed };
        let (addr, stop) = serve_real(RealConfig { weights, scheduler, ..real() });
        let extra = json!({"max_tokens": 24, "temperature": temperature, "seed": 5});
        let answer = ask(&mut Client::connect(addr), extra).generated();
        stop();
        answer
    };
    for temperature in [0.0, 1.0] {
        let known = text(1, 512, temperature);
        assert_eq!(known, text(1, 512, temperature));
        assert_eq!(known, text(1, 5, temperature), "the same in chunks of five tokens");
        assert_ne!(known, text(2, 512, temperature));
    }
    // A draw changes only when rounding moves it across the bound between two tokens: far below one in a thousand.
    assert_eq!(text(1, 512, 1.0), r#" 66IN;:p{y("$p{yKR>mmm]O"#);
}

#[test]
fn sampling_depends_on_the_seed_of_the_request() {
    let (addr, stop) = serve_real(real());
    let mut client = Client::connect(addr);
    let mut draw = |seed: u64, top_p: f64| {
        ask(&mut client, json!({"temperature": 1.0, "seed": seed, "top_p": top_p, "max_tokens": 30}))
            .generated()
    };
    assert_eq!(draw(1, 1.0), draw(1, 1.0));
    assert_ne!(draw(1, 1.0), draw(2, 1.0));
    assert_eq!(draw(1, 0.000_001), draw(2, 0.000_001), "a nucleus of one token is greedy");
    stop();
}

#[test]
fn a_prompt_in_flight_when_the_server_ends_does_not_hang_it() {
    let config =
        ServeConfig { drain: Duration::from_millis(50), ..simulated(0.02, SchedulerConfig::default()) };
    let (addr, stop) = spawn(config);
    let mut client = Client::connect(addr);
    client.begin_post(
        "/v1/completions",
        &json!({"model": "m", "prompt": "a", "max_tokens": 250, "stream": true}),
        "",
    );
    client.fill().unwrap();
    stop();
    assert_eq!(client.answer().end, End::Reset);
}

#[test]
fn an_engine_that_breaks_down_tells_its_clients_and_its_caller() {
    struct Broken;
    impl StepModel for Broken {
        fn step(&self, shape: &StepShape) -> Duration {
            assert!(shape.prefill_tokens > 0, "this panic is part of a test");
            Duration::from_millis(1)
        }
    }
    let kind = Kind::SimulatedBy(SimulatedConfig::default(), Box::new(Broken));
    let config = ServeConfig { model_name: "m".to_owned(), ..ServeConfig::new(kind) };
    let (sender, receiver) = std::sync::mpsc::channel();
    let serve = move || {
        stopwatt_engine::serve(config, |l| sender.send(l.addr).expect("the test waits"), Shutdown::new())
    };
    let server = std::thread::spawn(serve);
    let addr = receiver.recv().expect("the server listens");
    let mut waiting = Client::connect(addr);
    waiting.begin_post("/v1/completions", &json!({"model": "m", "prompt": "a b", "max_tokens": 5}), "");
    let streamed = ask(&mut Client::connect(addr), json!({"stream": true}));
    assert!(streamed.events().iter().any(|e| e.starts_with("{\"error\":")), "{}", streamed.text());
    assert_eq!((streamed.end, waiting.answer().status), (End::Complete, 500));
    drop(waiting);
    let error = server.join().expect("the caller does not panic").expect_err("it did not end well");
    assert!(matches!(error, ServeError::Panicked("engine")), "{error:?}");
}
