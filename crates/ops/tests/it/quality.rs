//! Answers that get worse after a switch of variants are seen, and answers that do not are left alone.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use stopwatt_ops::fleet::Fleet;
use stopwatt_ops::quality::{Judge, Settings};
use stopwatt_ops::rules::{self, evaluate::Evaluator, history::Labels};
use stopwatt_ops::split::{self, Variant};

use crate::support::*;

/// A chat engine that streams what `answer` says to its n-th request.
fn talker(answer: impl Fn(u64) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let mut body = String::new();
            for word in answer(n as u64).split_inclusive(' ') {
                let event = serde_json::json!({"choices": [{"delta": {"content": word}}]});
                body += &format!("data: {event}\n\n");
            }
            body += "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n";
            let _ = write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len());
        }
    });
    format!("http://{addr}")
}

/// An ordinary answer: one of many sentences in one of many orders.
fn good(n: u64) -> String {
    let at = |k: u64| (n.wrapping_mul(6_364_136_223_846_793_005).rotate_left(k as u32) >> 40) as usize;
    let parts = [
        "Take the tablets after breakfast with water.",
        "The pressure was measured twice and noted.",
        "Come back in four weeks.",
        "Salt should be reduced where that is possible!",
        "A walk of half an hour each day helps.",
        "Ask the pharmacist when something is not clear.",
    ];
    (0..2 + at(1) as u64 % 4).map(|k| parts[at(7 * k + 3) % parts.len()]).collect::<Vec<_>>().join(" ")
}

/// After the switch every second answer is a loop.
fn worse(n: u64) -> String {
    if n.is_multiple_of(2) { "Take it after breakfast. ".repeat(30) } else { good(n + 7) }
}

/// What the page says after 120 answers of a and 100 of b, and what our evaluator makes of it.
fn after_a_switch(second: fn(u64) -> String) -> (String, Vec<String>) {
    let specs =
        [format!("{},name=a,variant=a", talker(good)), format!("{},name=b,variant=b", talker(second))];
    let settings = Settings { reference: 120, window: 50, false_alarms: 0.01 };
    let parsed = specs.iter().map(|s| stopwatt_ops::upstream::Spec::parse(s).unwrap()).collect();
    let fleet = Fleet::new(parsed, stopwatt_ops::fleet::Settings::default(), |_| None).unwrap();
    let judge = Judge::start(settings, &fleet, None).unwrap();
    let keeper = judge.keeper();
    let proxy = Proxy::start(&specs, |s| s.keepers.push(keeper));
    proxy.telemetry.add(judge.source());
    let variants = ["a", "b"].map(|name| Variant { name: name.to_owned(), weight: 1.0 });
    let session = |variant: usize| {
        let key =
            (0..100).find(|k: &i32| split::choose(&variants, k.to_string().as_bytes()) == Some(variant));
        format!("x-session-id: {}\r\n", key.unwrap())
    };
    let mut evaluator = Evaluator::new(&rules::Settings::default().alerts().unwrap());
    let mut firing = Vec::new();
    let mut judged = 0;
    let mut now_s = 1.7e9;
    for (variant, answers) in [(0, 120), (1, 1), (1, 99)] {
        for i in 0..answers {
            let body = CHAT.replace("\"hi\"", &format!("\"question {}\"", i % 40));
            let answer = proxy.post("/v1/chat/completions", &session(variant), &body);
            assert!(answer.is_done(), "{answer:?}");
            assert_eq!(answer.header("x-stopwatt-variant"), Some(["a", "b"][variant]));
            judged += 1;
            // One at a time, so that none is dropped.
            wait_for("an answer to be judged", || judge.judged() >= judged);
        }
        let page = proxy.get("/metrics").body;
        evaluator.take(now_s, &Labels::new(), &page);
        firing = evaluator.step(now_s);
        now_s += 60.0;
    }
    let fired =
        firing.iter().map(|f| format!("{} {:?}", f.labels["alertname"], f.labels.get("slo"))).collect();
    (proxy.get("/metrics").body, fired)
}

fn lines<'a>(page: &'a str, name: &str, of: &[&str]) -> Vec<&'a str> {
    page.lines().filter(|l| l.starts_with(name) && of.iter().all(|label| l.contains(label))).collect()
}

#[test]
fn answers_that_get_worse_after_a_switch_raise_drift_and_alerts() {
    let (page, fired) = after_a_switch(worse);
    let b = "variant=\"b\"";
    let told = lines(&page, "stopwatt_quality_drift", &[b]).join("\n");
    let drifted: Vec<_> =
        lines(&page, "stopwatt_quality_drift{", &[b]).into_iter().filter(|l| l.ends_with(" 1")).collect();
    assert!(drifted.iter().any(|l| l.contains("measure=\"chars\"")), "{told}");
    assert!(drifted.iter().any(|l| l.contains("measure=\"rep4\"")), "{told}");
    let flagged = lines(&page, "stopwatt_answers_judged_total", &[b, "finding=\"repetition_loop\""]);
    assert!(flagged[0].ends_with(" 50") && flagged[0].contains("verdict=\"flagged\""), "{flagged:?}");
    assert!(fired.iter().any(|f| f.starts_with("StopwattQualityDrift")), "{fired:?}");
    assert!(fired.iter().any(|f| f.contains("quality")), "the budget of bad answers burns: {fired:?}");
    let a = lines(&page, "stopwatt_answers_judged_total", &["variant=\"a\"", "finding=\"none\""]);
    assert!(a[0].ends_with(" 120"), "{a:?}");
    // Nothing that was said is on the page.
    assert!(!page.contains("breakfast") && !page.contains("question"));
}

#[test]
fn answers_that_stay_as_they_were_raise_nothing() {
    let (page, fired) = after_a_switch(|n| good(n + 1000));
    assert_eq!(fired, Vec::<String>::new());
    let drift = lines(&page, "stopwatt_quality_drift{", &["variant=\"b\""]);
    assert!(drift.len() >= 4 && drift.iter().all(|l| l.ends_with(" 0")), "{drift:?}");
    assert!(page.contains("stopwatt_answers_dropped_total 0"), "{page}");
}
