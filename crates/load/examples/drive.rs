//! Drives an engine with a closed or open loop and prints what the client itself costs and, given the truth log of
//! `stopwatt serve --kind exact`, by how much its stamps are wrong.
//!
//! ```text
//! stopwatt serve --kind exact --itl 0ms --ttft 0ms --port 8000
//! cargo run --release -p stopwatt-load --example drive -- http://127.0.0.1:8000 --streams 64 --requests 2000
//! ```
//!
//! `--model NAME --streams N --requests N --tokens N --rate R --chat 1 --truth FILE`. For measurements use
//! `stopwatt bench`, which keeps a record.

#![allow(clippy::print_stdout, reason = "the result of the example")]

use std::collections::HashMap;
use std::error::Error;

use serde_json::Value;
use stopwatt_core::{Clock, EndKind, Nanos, Phase, RequestRecord};
use stopwatt_load::{Client, Job, Limits, Outcome, Pace, Path, Stop, Target};
use stopwatt_wire::openai::{Message, Options, Prompt, Template};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("give a URL")?;
    let mut flags = HashMap::new();
    while let (Some(flag), Some(value)) = (arguments.next(), arguments.next()) {
        flags.insert(flag, value);
    }
    let number = |name: &str, default: f64| flags.get(name).map_or(Ok(default), |v| v.parse::<f64>());
    let (streams, requests) = (number("--streams", 64.0)? as usize, number("--requests", 1000.0)? as u64);
    let (tokens, rate) = (number("--tokens", 128.0)? as u32, number("--rate", 0.0)?);
    let path = if flags.contains_key("--chat") { Path::Chat } else { Path::Completions };
    let model = flags.get("--model").cloned().unwrap_or_else(|| "stopwatt-exact".to_owned());
    let template = Template::new(&Options {
        model,
        stream: true,
        include_usage: true,
        ignore_eos: true,
        ..Options::default()
    })?;
    let mut jobs = |id: u64| {
        let body = match path {
            Path::Chat => template.chat(&[Message::text("user", "Tell me a story.")], tokens),
            Path::Completions => template.completions(Prompt::Text("Tell me a story."), tokens),
        };
        let (phase, input_asked, output_asked) = (Phase::Measure, 5, tokens);
        (id < requests).then_some(Job {
            id,
            point: 0,
            trial: 0,
            phase,
            session: None,
            turn: None,
            input_asked,
            output_asked,
            path,
            body,
        })
    };
    let pace = if rate > 0.0 {
        let gap = 1e9 / rate;
        Pace::Open {
            arrivals: Box::new((0..requests).map(move |i| (i as f64 * gap) as Nanos)),
            max_in_flight: None,
        }
    } else {
        Pace::Closed { concurrency: streams }
    };
    let clock = Clock::start();
    let mut records = Vec::new();
    let outcome = Client::new(&Target::parse(&url)?)?.run(
        pace,
        &mut jobs,
        &Limits::default(),
        &Stop::new(),
        clock,
        &mut |done| records.push(done.record),
    )?;
    report(&records, &outcome);
    if let Some(file) = flags.get("--truth") {
        compare(&records, clock, &std::fs::read_to_string(file)?)?;
    }
    Ok(())
}

fn report(records: &[RequestRecord], outcome: &Outcome) {
    let tokens: u64 = records.iter().map(|r| r.token_chunks().count() as u64).sum();
    let seconds = (outcome.end_ns - outcome.start_ns) as f64 / 1e9;
    let failed = records.iter().filter(|r| r.end != EndKind::Ok).count();
    println!(
        "{} requests, {failed} failed, {tokens} token chunks in {seconds:.3} s: {:.0} chunks/s, {:.1} requests/s",
        records.len(),
        tokens as f64 / seconds,
        records.len() as f64 / seconds
    );
    println!(
        "client: {:.3} CPU s on I/O and pacing, {:.2} CPU s/1M chunks, {:.2} cores; {} connections, {} retries, {} starved",
        outcome.cpu_s,
        outcome.cpu_s / tokens as f64 * 1e6,
        outcome.cpu_s / seconds,
        outcome.connections,
        outcome.retries,
        outcome.starved
    );
    let mut sent: Vec<_> = records.iter().filter_map(|r| r.dispatched_ns).collect();
    sent.sort_unstable();
    if let [first, .., last] = sent[..] {
        println!("sent at {:.3} requests/s", (sent.len() - 1) as f64 / ((last - first) as f64 / 1e9));
    }
    let lags = records.iter().filter_map(|r| Some(r.dispatched_ns? - r.intended_ns));
    line("send lag", lags.collect());
}

/// Joins with the truth by request id and token.
fn compare(records: &[RequestRecord], clock: Clock, truth: &str) -> Result<(), Box<dyn Error>> {
    let mut by_id = HashMap::new();
    for text in truth.lines() {
        let line: Value = serde_json::from_str(text)?;
        by_id.insert(line["request_id"].as_str().unwrap_or_default().to_owned(), line);
    }
    let (mut ttft, mut ttft_true, mut ttft_error) = (vec![], vec![], vec![]);
    let (mut itl, mut itl_true, mut itl_error, mut lag, mut tpot_error) =
        (vec![], vec![], vec![], vec![], vec![]);
    for r in records.iter().filter(|r| r.end == EndKind::Ok) {
        let Some(t) = by_id.get(&r.id.to_string()) else { continue };
        let list = |key: &str| t[key].as_array().into_iter().flatten().filter_map(Value::as_i64);
        let written: Vec<Nanos> = list("flush_ns")
            .zip(list("flush_tokens"))
            .flat_map(|(at, n)| std::iter::repeat_n(clock.from_raw(at), usize::try_from(n).unwrap_or(0)))
            .collect();
        let read: Vec<Nanos> = r.token_chunks().map(|c| c.t_ns).collect();
        if written.len() != read.len() || read.is_empty() {
            return Err(
                format!("request {}: {} tokens written, {} read", r.id, written.len(), read.len()).into()
            );
        }
        let received = clock.from_raw(t["received_ns"].as_i64().ok_or("no received_ns")?);
        let begin = r.send_begin_ns().ok_or("never sent")?;
        ttft.push(read[0] - begin);
        ttft_true.push(written[0] - received);
        ttft_error.push((read[0] - begin) - (written[0] - received));
        for (w, r) in written.windows(2).zip(read.windows(2)) {
            itl.push(r[1] - r[0]);
            itl_true.push(w[1] - w[0]);
            itl_error.push(((r[1] - r[0]) - (w[1] - w[0])).abs());
        }
        lag.extend(written.iter().zip(&read).map(|(w, r)| r - w));
        let span = |s: &[Nanos]| (s[s.len() - 1] - s[0]) / (s.len() as Nanos - 1).max(1);
        tpot_error.push((span(&read) - span(&written)).abs());
    }
    line("TTFT", ttft);
    line("TTFT, truth", ttft_true);
    line("TTFT error", ttft_error);
    line("ITL", itl);
    line("ITL, truth", itl_true);
    line("|ITL error|", itl_error);
    line("|TPOT error|", tpot_error);
    line("write to stamp", lag);
    Ok(())
}

fn line(name: &str, mut values: Vec<Nanos>) {
    values.sort_unstable();
    let at = |q: f64| values.get(((values.len() as f64 * q) as usize).min(values.len().saturating_sub(1)));
    let ms = |q: f64| at(q).map_or(f64::NAN, |v| *v as f64 / 1e6);
    println!(
        "{name:<16} p50 {:9.3}  p99 {:9.3}  p99.9 {:9.3}  max {:9.3} ms  n {}",
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0),
        values.len()
    );
}
