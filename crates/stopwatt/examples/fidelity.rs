//! The client's error against the truth: joins a run with the log of the exact engine that it measured.
//!
//! ```text
//! fidelity RUN TRUTH.jsonl
//! ```
//!
//! Prints one line of a Markdown table: reported and true quantiles of TTFT and ITL over the measured requests, the
//! error of each TTFT and of each gap joined one by one, and where the error of the TTFT comes from: the way to the
//! engine's read, and the lag from the engine's write to the client's stamp. See `experiment::calibrate::truth`.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::path::Path;

use anyhow::Context as _;
use stopwatt_core::{EndKind, Phase};
use stopwatt_experiment::calibrate::truth::{self, Errors};
use stopwatt_record::events::Chunks;
use stopwatt_record::run_dir::Run;
use stopwatt_stats::quantile::{quantile, sort};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (run, truth) = (arguments.next().context("RUN")?, arguments.next().context("TRUTH.jsonl")?);
    let truth = truth::read(Path::new(&truth))?;
    let run = Run::open(Path::new(&run))?;
    let mut e = Errors::default();
    let (mut joined, mut unmatched) = (0_u64, 0_u64);
    for request in run.requests(Chunks::Read)? {
        let request = request?;
        if request.phase != Phase::Measure || request.end != EndKind::Ok {
            continue;
        }
        match truth.get(&request.id) {
            Some(t) if e.add(&request, t, run.clock()) => joined += 1,
            _ => unmatched += 1,
        }
    }
    let ms = |values: &mut Vec<f64>, p: f64| {
        sort(values);
        if values.is_empty() { f64::NAN } else { quantile(values, p) * 1e3 }
    };
    println!(
        "| requests (not joined) | TTFT p50 | p99 | TTFT error p50 | p99 | of it way in p50 | p99 | ITL p50 | p99 | \\|ITL error\\| p50 | p99 | p99.9 | \\|TPOT error\\| p99 | write-to-stamp lag p50 | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    println!(
        "| {joined} ({unmatched}) | {:.2} ({:.2}) | {:.2} ({:.2}) | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} ({:.3}) | {:.2} ({:.2}) | {:.3} | {:.3} | {:.3} | {:.4} | {:.3} | {:.3} |",
        ms(&mut e.ttft, 0.5),
        ms(&mut e.true_ttft, 0.5),
        ms(&mut e.ttft, 0.99),
        ms(&mut e.true_ttft, 0.99),
        ms(&mut e.ttft_error, 0.5),
        ms(&mut e.ttft_error, 0.99),
        ms(&mut e.way_in, 0.5),
        ms(&mut e.way_in, 0.99),
        ms(&mut e.itl, 0.5),
        ms(&mut e.true_itl, 0.5),
        ms(&mut e.itl, 0.99),
        ms(&mut e.true_itl, 0.99),
        ms(&mut e.itl_error, 0.5),
        ms(&mut e.itl_error, 0.99),
        ms(&mut e.itl_error, 0.999),
        ms(&mut e.tpot_error, 0.99),
        ms(&mut e.lag, 0.5),
        ms(&mut e.lag, 0.99),
    );
    Ok(())
}
