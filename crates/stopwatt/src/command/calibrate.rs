//! `stopwatt bench --calibrate`: the most that the load client can do on this machine.

use std::io::{IsTerminal as _, Write};

use anyhow::Context as _;
use stopwatt_core::ceiling::{CeilingStage, ClientCeiling};
use stopwatt_experiment::bench::Stop;
use stopwatt_experiment::calibrate::{self, Effort};

use super::Format;
use crate::exit::Outcome;
use crate::stop::Signals;

/// Measures, keeps and prints.
pub(super) fn run(format: Format, quiet: bool, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let stop = Stop::new();
    let on_signal = stop.clone();
    let signals = Signals::install(move || on_signal.interrupt())?;
    let speak = !quiet && std::io::stderr().is_terminal();
    let measured = calibrate::calibrate(&program, Effort::Full, &stop, &mut |stage| {
        if speak {
            eprintln!("measuring {stage}");
        }
    });
    if let Some(outcome) = signals.outcome() {
        return Ok(outcome);
    }
    let ceiling = measured?;
    if let Err(error) = calibrate::store(&ceiling) {
        eprintln!("warning: {error}");
    }
    match format {
        Format::Table => table(&ceiling, out)?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&ceiling)?)?,
        Format::Csv => csv(&ceiling, out)?,
    }
    Ok(Outcome::Done)
}

fn table(ceiling: &ClientCeiling, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "What the load client can do on one core of this machine")?;
    writeln!(out, "  {:>9.0} events a second, several in a read", ceiling.events_per_s)?;
    writeln!(out, "  {:>9.0} reads a second", ceiling.reads_per_s)?;
    match ceiling.streams {
        Some(n) => writeln!(out, "  {n:>9} streams of a token every 10 ms, each gap right to 1.5 ms (p99)")?,
        None => {
            writeln!(out, "          – streams: no number of paced streams was timed right to 1.5 ms (p99)")?
        }
    }
    writeln!(out)?;
    writeln!(
        out,
        "{:>7}  {:>8}  {:>8}  {:>9}  {:>6}  {:>10}  {:>18}  {:>9}  {:>9}  {:>8}",
        "streams",
        "a write",
        "gap",
        "events/s",
        "cores",
        "CPU s/1M",
        "TTFT error p50/p99",
        "ITL p99",
        "TPOT p99",
        "lag p99"
    )?;
    let ms = |s: Option<f64>| s.map_or_else(|| "–".to_owned(), |s| format!("{:.3}", s * 1e3));
    for s in &ceiling.stages {
        let gap = if s.gap_s > 0.0 { format!("{:.0} ms", s.gap_s * 1e3) } else { "flood".to_owned() };
        let ttft = match s.ttft_error_p50_s {
            Some(_) => format!("{} / {}", ms(s.ttft_error_p50_s), ms(s.ttft_error_p99_s)),
            None => "–".to_owned(),
        };
        writeln!(
            out,
            "{:>7}  {:>8}  {gap:>8}  {:>9.0}  {:>6.2}  {:>10.2}  {ttft:>18}  {:>9}  {:>9}  {:>8}",
            s.streams,
            s.events_per_write,
            s.events_per_s,
            s.client_cores,
            s.cpu_s_per_million,
            ms(s.itl_error_p99_s),
            ms(s.tpot_error_p99_s),
            ms(s.lag_p99_s),
        )?;
    }
    writeln!(
        out,
        "\nErrors in ms against the server's log; lag: from arrival to read, by the kernel's stamps."
    )
}

fn csv(ceiling: &ClientCeiling, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "streams,events_per_write,gap_s,events_per_s,reads_per_s,client_cores,cpu_s_per_million,ttft_error_p50_s,ttft_error_p99_s,itl_error_p99_s,tpot_error_p99_s,lag_p99_s"
    )?;
    let cell = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    for s in &ceiling.stages {
        let CeilingStage { streams, events_per_write, gap_s, events_per_s, reads_per_s, .. } = s;
        let errors =
            [s.ttft_error_p50_s, s.ttft_error_p99_s, s.itl_error_p99_s, s.tpot_error_p99_s, s.lag_p99_s];
        writeln!(
            out,
            "{streams},{events_per_write},{gap_s},{events_per_s},{reads_per_s},{},{},{}",
            s.client_cores,
            s.cpu_s_per_million,
            errors.map(cell).join(",")
        )?;
    }
    Ok(())
}
