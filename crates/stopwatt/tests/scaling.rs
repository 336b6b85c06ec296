//! Engines that `stopwatt watch` starts and ends itself.

#![cfg(all(feature = "ops", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use stopwatt_load::Target;
use stopwatt_sensor::host::descendants;

use common::{STOPWATT, wait_for};

const CHAT: &str =
    r#"{"model":"stopwatt-exact","stream":true,"max_tokens":40,"messages":[{"role":"user","content":"hi"}]}"#;

/// A proxy with engines of its own.
struct Watch {
    child: Child,
    target: Target,
}

impl Watch {
    fn start(backend: &str, flags: &[&str]) -> Self {
        let mut child = Command::new(STOPWATT)
            .args(["watch", "--listen", "127.0.0.1:0", "--backend-cmd", backend])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().last().unwrap();
        Self { child, target: Target::parse(url).unwrap() }
    }

    /// A value of the metrics.
    fn value(&self, series: &str) -> f64 {
        let page = stopwatt_load::get(&self.target, "/metrics", Duration::from_secs(20)).unwrap();
        let page = String::from_utf8(page.body).unwrap();
        let line = page.lines().find_map(|l| l.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {page}")).parse().unwrap()
    }

    fn ready(&self) -> f64 {
        self.value("stopwatt_replicas{state=\"ready\"}")
    }

    /// Everything that it started and that has not ended.
    fn engines(&self) -> Vec<u32> {
        let words = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let guards = |pid: &u32| words(pid).split(|b| *b == 0).any(|w| w == b"guard");
        descendants(self.child.id())
            .into_iter()
            .filter(|pid| !words(pid).is_empty() && !guards(pid))
            .collect()
    }

    fn signal(&self, name: &str, pid: u32) {
        assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_there(pid: u32) -> bool {
    // One that nobody has waited for yet has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty())
}

/// An exact engine that takes 50 ms a token, as a command.
fn exact() -> String {
    format!("'{STOPWATT}' serve --kind exact --port {{port}} --ttft 10ms --itl 50ms")
}

#[test]
fn replicas_follow_the_load_a_killed_one_is_replaced_and_none_is_left() {
    let flags =
        ["--replicas", "1..2", "--scale-up-at", "2", "--scale-up-for", "500ms", "--scale-down-after", "2s"];
    let mut watch = Watch::start(&exact(), &flags);
    wait_for("the first engine", || watch.ready() == 1.0);
    assert_eq!(watch.engines().len(), 1);

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let (target, stop, answered) = (watch.target.clone(), Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                while !stop.load(Relaxed) {
                    let path = "/v1/chat/completions";
                    let answer =
                        stopwatt_load::post(&target, path, CHAT.as_bytes(), Duration::from_secs(60)).unwrap();
                    let text = String::from_utf8(answer.body).unwrap();
                    // A stream of the engine that is killed below is told so; nobody is turned away.
                    assert_eq!(answer.status, 200, "{text}");
                    assert!(text.contains("[DONE]") || text.contains("event: error"), "{text}");
                    answered.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    wait_for("a second engine", || watch.ready() == 2.0);
    assert_eq!(watch.value("stopwatt_scalings_total{direction=\"up\"}"), 1.0);
    wait_for("requests at both", || {
        ["0", "1"].iter().all(|i| {
            let series =
                format!("stopwatt_upstream_in_flight{{upstream=\"replica-{i}\",variant=\"default\"}}");
            watch.value(&series) > 0.0
        })
    });

    let engines = watch.engines();
    assert_eq!(engines.len(), 2);
    watch.signal("-KILL", engines[0]);
    wait_for("the loss to be seen", || watch.value("stopwatt_replica_deaths_total") == 1.0);
    wait_for("another in its place", || watch.ready() == 2.0);
    assert!(!watch.engines().contains(&engines[0]));
    assert_eq!(watch.value("stopwatt_replica_starts_total{result=\"ready\"}"), 3.0);

    stop.store(true, Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(answered.load(Relaxed) > 6);
    wait_for("one engine again", || watch.ready() == 1.0 && watch.engines().len() == 1);
    assert_eq!(watch.value("stopwatt_scalings_total{direction=\"down\"}"), 1.0);

    let left = watch.engines();
    watch.signal("-TERM", watch.child.id());
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
    assert!(!left.iter().any(|pid| is_there(*pid)), "no engine outlives the proxy");
}

#[test]
fn engines_of_a_proxy_that_is_killed_end_too() {
    let mut watch = Watch::start(&exact(), &["--replicas", "2"]);
    wait_for("the engines", || watch.ready() == 2.0);
    let engines = watch.engines();
    assert_eq!(engines.len(), 2);
    watch.child.kill().unwrap();
    watch.child.wait().unwrap();
    wait_for("the engines to end", || !engines.iter().any(|pid| is_there(*pid)));
}

#[test]
fn an_engine_that_does_not_come_up_is_ended_and_tried_again() {
    let mut watch = Watch::start("sleep 1000{port}", &["--backend-ready", "300ms"]);
    wait_for("two failures", || watch.value("stopwatt_replica_starts_total{result=\"failed\"}") >= 2.0);
    assert_eq!(watch.ready(), 0.0);
    let health = stopwatt_load::get(&watch.target, "/health", Duration::from_secs(20)).unwrap();
    assert_eq!(health.status, 503);
    assert!(watch.engines().len() <= 1, "the last one was ended before");
    watch.signal("-TERM", watch.child.id());
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_command_without_a_port_and_a_second_source_of_upstreams_are_refused() {
    let run = |args: &[&str]| {
        let output = Command::new(STOPWATT).arg("watch").args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = run(&["--listen", "127.0.0.1:0", "--backend-cmd", "serve --port 8000"]);
    assert!(code == Some(2) && text.contains("{port}"), "{text}");
    let (code, text) = run(&["--backend-cmd", "x {port}", "--upstream", "http://h"]);
    assert!(code == Some(1) && text.contains("--upstream"), "{text}");
    let (code, text) = run(&["--upstream", "http://h", "--replicas", "1..2"]);
    assert!(code == Some(1) && text.contains("--replicas"), "{text}");
}
