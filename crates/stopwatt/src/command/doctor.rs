//! `stopwatt doctor`: what this machine can measure, and how to unlock the rest.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use stopwatt_core::clock;

use super::Format;
use crate::exit::Outcome;

/// Show what this machine can measure, what is missing, and how to unlock it
///
/// Reads only: nothing but --restore-gpu touches a setting. Exits 0 also when something is missing: a missing GPU is a fact, not a failure.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt doctor\n  stopwatt doctor --format json | jq '.checks[] | select(.state != \"ok\")'"
)]
pub(crate) struct DoctorArgs {
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Put back GPU settings that a killed measurement left behind
    #[arg(long)]
    restore_gpu: bool,
}

/// Whether something can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It is there.
    Ok,
    /// It is there, but worse than it could be.
    Limited,
    /// It is not there.
    Missing,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Check {
    /// Stable name.
    name: String,
    state: State,
    /// What was found.
    found: String,
    /// What to do about it; `null` when nothing needs doing.
    advice: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    stopwatt: &'static str,
    checks: Vec<Check>,
}

/// Runs the command.
pub(crate) fn run(args: &DoctorArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if args.restore_gpu {
        return super::gpu_settings::put_back(out);
    }
    let report = Report { stopwatt: env!("CARGO_PKG_VERSION"), checks: checks() };
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        Format::Csv => {
            writeln!(out, "name,state,found,advice")?;
            for c in &report.checks {
                let advice = c.advice.as_deref().unwrap_or_default();
                writeln!(
                    out,
                    "{},{},{},{}",
                    c.name,
                    word(c.state),
                    super::csv_field(&c.found),
                    super::csv_field(advice)
                )?;
            }
        }
        Format::Table => {
            for c in &report.checks {
                writeln!(out, "{:<8} {:<16} {}", word(c.state), c.name, c.found)?;
                if let Some(advice) = &c.advice {
                    writeln!(out, "{:<8} {:<16} → {advice}", "", "")?;
                }
            }
        }
    }
    Ok(Outcome::Done)
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Limited => "limited",
        State::Missing => "missing",
    }
}

fn checks() -> Vec<Check> {
    let host = stopwatt_sensor::host::fingerprint();
    let mut checks = Vec::new();
    let mut add = |name: &str, state, found: String, advice: Option<&str>| {
        checks.push(Check { name: String::from(name), state, found, advice: advice.map(str::to_owned) });
    };

    match &host.cpu {
        Some(cpu) => {
            let cpus = host.cpus.map_or_else(|| "?".to_owned(), |n| n.to_string());
            add("cpu", State::Ok, format!("{cpu}, {cpus} usable, {}", host.cpu_features.join(" ")), None);
        }
        None => add(
            "cpu",
            State::Missing,
            "model unknown".to_owned(),
            Some("the fingerprint will lack the CPU model"),
        ),
    }
    match host.memory_bytes {
        Some(bytes) => {
            add("memory", State::Ok, format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)), None)
        }
        None => add("memory", State::Missing, "size unknown".to_owned(), None),
    }
    if let Some(cpus) = host.cpus
        && cpus < 2
    {
        add(
            "cores",
            State::Limited,
            "one usable core".to_owned(),
            Some("client and engine will take turns on it; measure a remote engine with --url"),
        );
    }

    let tick = smallest_step();
    let stated = clock::monotonic_resolution();
    let fine = tick <= Duration::from_micros(1);
    add(
        "clock",
        if fine { State::Ok } else { State::Limited },
        format!("CLOCK_MONOTONIC, resolution {stated:?}, smallest step seen {tick:?}"),
        (!fine).then_some("latencies below this step cannot be told apart; check the kernel's clock source"),
    );

    let limit = open_files();
    let enough = limit.is_none_or(|n| n >= 4096);
    add(
        "open files",
        if enough { State::Ok } else { State::Limited },
        limit.map_or_else(|| "no limit".to_owned(), |n| format!("up to {n}")),
        (!enough).then_some(
            "a stream needs one; raise it with `ulimit -n 65536` for more than a few thousand streams",
        ),
    );

    sensors(&mut checks);
    checks
}

/// Every sensor, and the libraries that kernels will need.
fn sensors(checks: &mut Vec<Check>) {
    let search = stopwatt_record::config::environment::var("PATH").map(std::ffi::OsString::from);
    checks.extend(stopwatt_sensor::survey(search.as_deref()).into_iter().map(|sensor| match sensor.state {
        stopwatt_sensor::State::Found { detail } => {
            Check { name: sensor.name, state: State::Ok, found: detail, advice: None }
        }
        stopwatt_sensor::State::Missing { reason, hint } => {
            Check { name: sensor.name, state: State::Missing, found: reason, advice: hint }
        }
    }));
}

/// The smallest difference between two consecutive stamps that differ at all.
fn smallest_step() -> Duration {
    let mut smallest = i64::MAX;
    let mut last = clock::monotonic_raw();
    for _ in 0..10_000 {
        let now = clock::monotonic_raw();
        if now > last {
            smallest = smallest.min(now - last);
        }
        last = now;
    }
    Duration::from_nanos(smallest.unsigned_abs())
}

fn open_files() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum
}
