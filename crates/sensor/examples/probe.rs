//! Prints as JSON what this machine can measure; with a command, also what its energy comes to by each method.
//!
//! ```text
//! probe                                        survey, facts and one reading
//! probe --warm 20 --csv power.csv -- python3 load.py   idle 5 s, start the command, wait 20 s, then windows of 1, 5, 30 s
//! ```

#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::error::Error;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use stopwatt_core::{Clock, Nanos};
use stopwatt_sensor::energy::{
    EnergyReason, Instrument, PowerSample, Window, WindowEnergy, mean_power, window_energy,
};
use stopwatt_sensor::sampler::{Machine, Period, Row, Sampler, Trace, cpu_trace, gpu_trace};
use stopwatt_sensor::{host, nvml, perf, survey};

const SECOND: Nanos = 1_000_000_000;

struct Args {
    warm_s: u64,
    csv: Option<String>,
    command: Vec<String>,
}

fn arguments() -> Result<Args, String> {
    let mut args = Args { warm_s: 15, csv: None, command: Vec::new() };
    let mut given = std::env::args().skip(1);
    while let Some(arg) = given.next() {
        match arg.as_str() {
            "--warm" => {
                let value = given.next().ok_or("--warm needs seconds")?;
                args.warm_s =
                    value.parse().map_err(|_| format!("--warm: `{value}` is not a number of seconds"))?;
            }
            "--csv" => args.csv = Some(given.next().ok_or("--csv needs a file")?),
            "--" => {
                args.command = given.by_ref().collect();
            }
            other => return Err(format!("`{other}` is not known; use --warm S, --csv FILE, -- COMMAND")),
        }
    }
    Ok(args)
}

#[expect(clippy::disallowed_methods, reason = "an example has no configuration module")]
fn main() -> Result<(), Box<dyn Error>> {
    let args = arguments()?;
    let path = std::env::var("PATH").ok().map(std::ffi::OsString::from);
    let mut answer = json!({
        "survey": survey(path.as_deref()),
        "gpus": gpus(),
        "container": host::container(),
        "cpu_clock": host::cpu_clock(),
        "available_memory_bytes": host::available_memory_bytes(),
    });
    if !args.command.is_empty() {
        answer["measured"] = measure(&args)?;
    }
    println!("{}", serde_json::to_string_pretty(&answer)?);
    Ok(())
}

fn gpus() -> Value {
    let all = match nvml::gpus() {
        Ok(all) => all,
        Err(reason) => return json!({"reason": reason.to_string(), "hint": reason.hint()}),
    };
    all.iter()
        .map(|gpu| {
            let gpm = gpu.gpm().map(|mut gpm| {
                std::thread::sleep(Duration::from_millis(200));
                let cache = gpm.cache_hit_share().map_err(|e| e.to_string());
                json!({"utilisation": gpm.read(), "cache_hit_share": format!("{cache:?}")})
            });
            json!({
                "facts": gpu.facts(),
                "reading": gpu.read(),
                "ecc": gpu.ecc_errors(),
                "foreign": gpu.foreign_processes(&[std::process::id()]).ok(),
                "gpm": gpm.unwrap_or_else(|e| json!({"reason": e.to_string()})),
            })
        })
        .collect()
}

/// The command, ended with everything that it started when this goes.
struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        for pid in host::tree(self.0.id()).into_iter().rev() {
            let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
            // It may have ended by itself.
            let _ = pid.map(|p| rustix::process::kill_process(p, rustix::process::Signal::TERM));
        }
        let _ = self.0.wait();
    }
}

fn measure(args: &Args) -> Result<Value, Box<dyn Error>> {
    let clock = Clock::start();
    let sleep = |seconds: u64| std::thread::sleep(Duration::from_secs(seconds));
    let out = args.csv.as_ref().map(std::fs::File::create).transpose()?;
    let out = out.map(|f| Trace::to(Box::new(f)));
    let sampler = Sampler::start(Machine::open(clock, Some(std::process::id())), Period::default(), out)?;
    sleep(6);
    let idle = Window { start: clock.now() - 5 * SECOND, end: clock.now() };
    let load = Command::new(&args.command[0]).args(&args.command[1..]).stdout(Stdio::null()).spawn()?;
    let mut load = Load(load);
    let counters = perf::CpuCounters::open(perf::Scope::Tree(load.0.id()));
    sleep(args.warm_s);

    let mut windows = Vec::new();
    for (seconds, times) in [(1, 5), (5, 3), (30, 1)] {
        for _ in 0..times {
            let start = clock.now();
            sleep(seconds);
            windows.push(Window { start, end: clock.now() });
        }
    }
    let early = load.0.try_wait()?.map(|status| status.to_string());
    let counts = counters.and_then(|mut c| c.read());
    let usage = host::tree_usage(load.0.id());
    // AVERAGE trails by a second: the load goes on for a while.
    sleep(2);
    drop(load);
    sleep(2);
    let samples = sampler.stop();

    let traces: Vec<(String, Instrument, Vec<PowerSample>)> =
        (0..samples.rows.last().map_or(0, |r| r.gpus.len()))
            .map(|i| (format!("gpu{i}"), Instrument::GPU, gpu_trace(&samples.rows, i)))
            .chain([("cpu".to_owned(), Instrument::CPU, cpu_trace(&samples.rows))])
            .collect();
    let devices: serde_json::Map<String, Value> = traces
        .iter()
        .map(|(name, instrument, trace)| (name.clone(), device(trace, instrument, idle, &windows)))
        .collect();
    Ok(json!({
        "command_ended_early": early,
        "sampler": samples.cost,
        "sampler_cpu_share": samples.cost.cpu_s / samples.cost.wall_s,
        "write_error": samples.write_error.map(|e| e.to_string()),
        "throttle_seen": throttles(&samples.rows),
        "sm_clock_mhz": clocks(&samples.rows, &windows),
        "load_cpu_counters": counts.map_or_else(|e| json!({"reason": e.to_string()}), |c| json!(c)),
        "load_usage": usage,
        "devices": devices,
    }))
}

fn device(trace: &[PowerSample], instrument: &Instrument, idle: Window, windows: &[Window]) -> Value {
    let idle_w = mean_power(trace, idle, instrument);
    let results: Vec<Value> = windows
        .iter()
        .map(|&window| {
            let energy = window_energy(trace, window, instrument, idle_w.as_ref().ok().copied());
            let sop = ten_hertz_average(trace, window);
            one(window, &energy, sop)
        })
        .collect();
    json!({
        "idle_w": idle_w.map_or_else(|e| json!({"reason": e.to_string()}), |w| json!(w)),
        "counter_ticks": gaps(trace, |s| s.energy_j),
        "instant_updates": gaps(trace, |s| s.instant_w),
        "average_updates": gaps(trace, |s| s.average_w),
        "windows": results,
    })
}

fn one(window: Window, energy: &Result<WindowEnergy, EnergyReason>, sop: Option<f64>) -> Value {
    match energy {
        Err(reason) => json!({"seconds": window.seconds(), "reason": reason.to_string()}),
        Ok(e) => json!({
            "seconds": window.seconds(),
            "mean_w": e.mean_w(),
            "interval_j": e.interval(),
            "ten_hertz_average_j": sop,
            "ten_hertz_average_difference": sop.map(|j| j / e.gross_j - 1.0),
            "energy": e,
        }),
    }
}

/// Trapezoid of AVERAGE at 10 Hz within the window, as the measurement procedure asks for.
fn ten_hertz_average(trace: &[PowerSample], window: Window) -> Option<f64> {
    let mut next = window.start;
    let picked: Vec<_> = trace
        .iter()
        .filter(|s| s.t >= window.start && s.t < window.end)
        .filter(|s| {
            let due = s.t >= next;
            next += if due { SECOND / 10 } else { 0 };
            due
        })
        .collect();
    picked
        .windows(2)
        .map(|p| Some((p[0].average_w? + p[1].average_w?) / 2.0 * (p[1].t - p[0].t) as f64 * 1e-9))
        .sum()
}

/// Times between changes of a reading: how many, and quantiles in seconds.
fn gaps(trace: &[PowerSample], value: impl Fn(&PowerSample) -> Option<f64>) -> Value {
    let readings: Vec<_> = trace.iter().filter_map(|s| Some((s.t, value(s)?))).collect();
    let changes: Vec<Nanos> = readings.windows(2).filter(|p| p[0].1 != p[1].1).map(|p| p[1].0).collect();
    let mut gaps: Vec<f64> = changes.windows(2).map(|p| (p[1] - p[0]) as f64 * 1e-9).collect();
    gaps.sort_by(f64::total_cmp);
    let at = |p: f64| gaps.get((p * gaps.len().saturating_sub(1) as f64) as usize);
    let mean = (!gaps.is_empty()).then(|| gaps.iter().sum::<f64>() / gaps.len() as f64);
    json!({"n": gaps.len(), "mean": mean, "p05": at(0.05), "p50": at(0.5), "p95": at(0.95)})
}

fn throttles(rows: &[Row]) -> Vec<String> {
    let mut all: Vec<String> = rows.iter().filter_map(Row::throttle).map(|t| t.words()).collect();
    all.sort();
    all.dedup();
    all
}

fn clocks(rows: &[Row], windows: &[Window]) -> Value {
    let Some((first, last)) = windows.first().zip(windows.last()) else { return Value::Null };
    let inside = rows.iter().filter(|r| r.t >= first.start && r.t <= last.end);
    let clocks: Vec<u32> = inside.flat_map(|r| &r.gpus).filter_map(|g| g.reading.sm_clock_mhz).collect();
    json!({"min": clocks.iter().min(), "max": clocks.iter().max()})
}
