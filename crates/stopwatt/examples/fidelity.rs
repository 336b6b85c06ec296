//! The client's error against the truth: joins a run with the log of the exact engine that it measured.
//!
//! ```text
//! fidelity RUN TRUTH.jsonl
//! ```
//!
//! Prints one line of a Markdown table: reported and true quantiles of TTFT and ITL over the measured requests, the
//! error of each TTFT and of each gap joined one by one, and the lag from the engine's write to the client's stamp.
//! True TTFT counts from the read of the request's last byte by the engine to the write of the first token, so that the
//! way there and back is part of the error, as it is for a user.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use stopwatt_core::{EndKind, Phase, RequestRecord};
use stopwatt_engine::exact::{FlushKind, TruthRecord};
use stopwatt_record::events::Chunks;
use stopwatt_record::run_dir::Run;
use stopwatt_stats::quantile::quantile;

#[derive(Default)]
struct Samples {
    ttft: Vec<f64>,
    true_ttft: Vec<f64>,
    ttft_error: Vec<f64>,
    itl: Vec<f64>,
    true_itl: Vec<f64>,
    itl_error: Vec<f64>,
    tpot_error: Vec<f64>,
    lag: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (run, truth) = (arguments.next().context("RUN")?, arguments.next().context("TRUTH.jsonl")?);
    let truth: HashMap<String, TruthRecord> = std::fs::read_to_string(truth)?
        .lines()
        .map(|line| serde_json::from_str::<TruthRecord>(line).map_err(anyhow::Error::from))
        .filter_map(|t| t.map(|t| t.request_id.clone().map(|id| (id, t))).transpose())
        .collect::<Result<_, _>>()?;
    let run = Run::open(Path::new(&run))?;
    let t0 = run.clock().t0_monotonic_ns;
    let mut samples = Samples::default();
    let (mut joined, mut unmatched) = (0_u64, 0_u64);
    for request in run.requests(Chunks::Read)? {
        let request = request?;
        if request.phase != Phase::Measure || request.end != EndKind::Ok {
            continue;
        }
        match truth.get(&request.id.to_string()) {
            Some(t) if add(&mut samples, &request, t, t0) => joined += 1,
            _ => unmatched += 1,
        }
    }
    let ms = |values: &mut Vec<f64>, p: f64| {
        values.sort_by(f64::total_cmp);
        if values.is_empty() { f64::NAN } else { quantile(values, p) * 1e3 }
    };
    println!(
        "| requests (not joined) | TTFT p50 | p99 | TTFT error p50 | p99 | ITL p50 | p99 | |ITL error| p50 | p99 | |TPOT error| p99 | write-to-stamp lag p50 | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let s = &mut samples;
    println!(
        "| {joined} ({unmatched}) | {:.2} ({:.2}) | {:.2} ({:.2}) | {:.3} | {:.3} | {:.3} ({:.3}) | {:.2} ({:.2}) | {:.3} | {:.3} | {:.4} | {:.3} | {:.3} |",
        ms(&mut s.ttft, 0.5),
        ms(&mut s.true_ttft, 0.5),
        ms(&mut s.ttft, 0.99),
        ms(&mut s.true_ttft, 0.99),
        ms(&mut s.ttft_error, 0.5),
        ms(&mut s.ttft_error, 0.99),
        ms(&mut s.itl, 0.5),
        ms(&mut s.true_itl, 0.5),
        ms(&mut s.itl, 0.99),
        ms(&mut s.true_itl, 0.99),
        ms(&mut s.itl_error, 0.5),
        ms(&mut s.itl_error, 0.99),
        ms(&mut s.tpot_error, 0.99),
        ms(&mut s.lag, 0.5),
        ms(&mut s.lag, 0.99),
    );
    Ok(())
}

/// Adds a request; `false` when the two sides do not tell of the same chunks.
fn add(samples: &mut Samples, request: &RequestRecord, truth: &TruthRecord, t0: i64) -> bool {
    let read: Vec<i64> = request.token_chunks().map(|c| c.t_ns).collect();
    let written: Vec<i64> = truth
        .flush_ns
        .iter()
        .zip(&truth.flush_kind)
        .filter(|(_, kind)| matches!(kind, FlushKind::Content | FlushKind::Reasoning))
        .map(|(t, _)| t - t0)
        .collect();
    let Some(begin) = request.send_begin_ns().filter(|_| read.len() == written.len() && read.len() > 1)
    else {
        return false;
    };
    let s = |ns: i64| ns as f64 * 1e-9;
    let (ttft, true_ttft) = (s(read[0] - begin), s(written[0] - (truth.received_ns - t0)));
    samples.ttft.push(ttft);
    samples.true_ttft.push(true_ttft);
    samples.ttft_error.push(ttft - true_ttft);
    for (r, w) in read.windows(2).zip(written.windows(2)) {
        samples.itl.push(s(r[1] - r[0]));
        samples.true_itl.push(s(w[1] - w[0]));
        samples.itl_error.push((s(r[1] - r[0]) - s(w[1] - w[0])).abs());
    }
    samples.lag.extend(read.iter().zip(&written).map(|(r, w)| s(r - w)));
    let n = (read.len() - 1) as f64;
    let tpot = |t: &[i64]| s(t[t.len() - 1] - t[0]) / n;
    samples.tpot_error.push((tpot(&read) - tpot(&written)).abs());
    true
}
