//! `stopwatt doctor`: what this machine can measure, and how to unlock the rest.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use stopwatt_core::clock;

use super::Format;
use crate::exit::Outcome;

/// Show what this machine can measure, what is missing, and how to unlock it
///
/// Reads only; changes no setting. Exits 0 also when something is missing: a missing GPU is a fact, not a failure.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt doctor\n  stopwatt doctor --format json | jq '.checks[] | select(.state != \"ok\")'"
)]
pub(crate) struct DoctorArgs {
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
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
    name: &'static str,
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
    let host = stopwatt_record::host::fingerprint();
    let mut checks = Vec::new();
    let mut add = |name, state, found: String, advice: Option<&str>| {
        checks.push(Check { name, state, found, advice: advice.map(str::to_owned) });
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

    gpu(&mut checks);
    checks
}

/// NVIDIA GPU, driver and the libraries that later measurements open at run time.
fn gpu(checks: &mut Vec<Check>) {
    let driver = std::fs::read_to_string("/proc/driver/nvidia/version").ok();
    let device = Path::new("/dev/nvidia0").exists() || Path::new("/dev/nvidiactl").exists();
    checks.push(match (&driver, device) {
        (Some(text), true) => {
            Check { name: "gpu driver", state: State::Ok, found: first_line(text).to_owned(), advice: None }
        }
        (Some(text), false) => Check {
            name: "gpu driver",
            state: State::Limited,
            found: format!("{}, but no device file", first_line(text)),
            advice: Some("in a container, pass the GPU through (for instance `--gpus all`)".to_owned()),
        },
        _ => Check {
            name: "gpu driver",
            state: State::Missing,
            found: "no NVIDIA GPU found".to_owned(),
            advice: Some("GPU power, memory and clocks will be null with this reason".to_owned()),
        },
    });
    for (name, file, use_) in [
        ("libnvidia-ml", "libnvidia-ml.so.1", "GPU power, energy, clocks and memory"),
        ("libcuda", "libcuda.so.1", "running kernels on the GPU"),
        ("libcupti", "libcupti.so", "cache and DRAM counters"),
    ] {
        let found = find_library(file);
        checks.push(Check {
            name,
            state: if found { State::Ok } else { State::Missing },
            found: if found { format!("found, for {use_}") } else { format!("not found; needed for {use_}") },
            advice: (!found && driver.is_some())
                .then(|| format!("install it or add its folder to LD_LIBRARY_PATH ({file})")),
        });
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

/// Whether a shared library lies where the dynamic loader looks.
fn find_library(prefix: &str) -> bool {
    let from_env = stopwatt_record::config::environment::var("LD_LIBRARY_PATH").unwrap_or_default();
    let standard = [
        "/lib",
        "/usr/lib",
        "/lib64",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/local/cuda/lib64",
        "/usr/local/nvidia/lib64",
    ];
    let triple = [
        format!("/lib/{}-linux-gnu", std::env::consts::ARCH),
        format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH),
    ];
    from_env
        .split(':')
        .filter(|d| !d.is_empty())
        .chain(standard)
        .chain(triple.iter().map(String::as_str))
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flatten()
        .filter_map(Result::ok)
        .any(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)))
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
