//! A run as a trace that Perfetto (ui.perfetto.dev) and Chrome (`chrome://tracing`) open: requests, the engine's own
//! numbers and the machine's sensors on one time axis. The format is the JSON of Chrome's trace events; times are
//! microseconds since the run began.
//!
//! ```text
//! process 1  run        warm-up and trials, one slice each
//! process 2  requests   a slice a request in the lowest free lane; inside it connect, first token, stream
//! process 3  engine     running, waiting, share of the KV cache, tokens a second between two readings
//! process 4  machine    power, clocks, temperature, memory, load
//! ```
//!
//! Slices of one lane never overlap, which is what the format asks of a thread; lanes mean nothing else.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stopwatt_core::engine::{GAUGES, GENERATION_TOKENS, PROMPT_TOKENS};
use stopwatt_core::log::Fact;
use stopwatt_core::{EndKind, Phase, RequestRow};

use super::vllm::{ExportError, Select};
use crate::rebuild::Analysed;

const RUN: u32 = 1;
const REQUESTS: u32 = 2;
const ENGINE: u32 = 3;
const MACHINE: u32 = 4;

/// Columns of `power.csv` that are drawn, and what they are called. Sums and parts of several GPUs follow by name.
const SENSORS: [(&str, &str); 12] = [
    ("power_w", "power (W)"),
    ("cpu_power_w", "CPU power (W)"),
    ("temp_c", "temperature (°C)"),
    ("sm_clock_mhz", "SM clock (MHz)"),
    ("mem_clock_mhz", "memory clock (MHz)"),
    ("mem_used_bytes", "GPU memory (bytes)"),
    ("sm_util", "SM utilisation"),
    ("tensor_util", "tensor utilisation"),
    ("dram_util", "DRAM utilisation"),
    ("cpu_busy", "CPU busy"),
    ("process_cpu_s", "engine CPU time (s)"),
    ("process_rss_bytes", "engine memory (bytes)"),
];

/// The selected requests of a run, with everything that was read meanwhile, as trace events.
///
/// Without a selection all points and trials are there, warm-up included.
///
/// # Errors
/// The run has neither requests nor readings; no such point or trial; a file of the run cannot be read.
pub fn to_trace_events(run: &Analysed, select: Select) -> Result<Value, ExportError> {
    if let Some(asked) = select.point.filter(|p| *p as usize >= run.doc.points.len()) {
        return Err(ExportError::Point { asked, points: run.doc.points.len() });
    }
    let wanted = |r: &&RequestRow| {
        select.point.is_none_or(|p| p == r.point) && select.trial.is_none_or(|t| t == r.trial)
    };
    let mut rows: Vec<&RequestRow> = run.record.rows().iter().filter(wanted).collect();
    if let (true, Some(asked)) = (rows.is_empty(), select.trial) {
        return Err(ExportError::Trial { point: select.point.unwrap_or(0), asked });
    }
    let mut events = stages(run);
    rows.sort_by_key(|r| (begin(r), r.id));
    let mut lanes = Lanes::default();
    for row in &rows {
        request(row, lanes.place(begin(row), row.end_ns), &mut events);
    }
    engine(run, &mut events);
    machine(run, &mut events)?;
    if events.is_empty() {
        return Err(ExportError::NoRequests);
    }
    let mut named: Vec<Value> =
        [(RUN, "run"), (REQUESTS, "requests"), (ENGINE, "engine"), (MACHINE, "machine")]
            .into_iter()
            .map(|(pid, name)| json!({"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}))
            .collect();
    named.extend((0..lanes.ends.len()).map(|lane| {
        json!({"ph": "M", "pid": REQUESTS, "tid": lane, "name": "thread_name", "args": {"name": format!("lane {lane}")}})
    }));
    named.append(&mut events);
    Ok(json!({
        "displayTimeUnit": "ms",
        "otherData": {"run": run.doc.run_id, "written_by": concat!("stopwatt ", env!("CARGO_PKG_VERSION"))},
        "traceEvents": named,
    }))
}

/// Nanoseconds since the run began as the format's microseconds.
fn micros(ns: i64) -> f64 {
    ns as f64 / 1e3
}

fn slice(pid: u32, tid: usize, name: &str, from_ns: i64, to_ns: i64, args: Value) -> Value {
    let length = micros(to_ns.saturating_sub(from_ns).max(0));
    json!({"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": micros(from_ns), "dur": length, "args": args})
}

fn counter(pid: u32, name: &str, at_us: f64, value: f64) -> Value {
    json!({"ph": "C", "pid": pid, "name": name, "ts": at_us, "args": {"value": value}})
}

/// Trials, and the warm-up before the first of each point.
fn stages(run: &Analysed) -> Vec<Value> {
    let mut labels: BTreeMap<u32, &str> = BTreeMap::new();
    let (mut last_end, mut events) = (0, Vec::new());
    for event in &run.log {
        match &event.fact {
            Fact::Plan { points, .. } => {
                labels = points.iter().enumerate().map(|(i, p)| (i as u32, p.label.as_str())).collect();
                last_end = event.t_ns;
            }
            Fact::WarmupEnded { point, requests, steady, .. } => {
                let name = format!("warm-up {}", labels.get(point).unwrap_or(&""));
                let args = json!({"point": point, "requests": requests, "steady": steady});
                events.push(slice(RUN, 0, name.trim(), last_end, event.t_ns, args));
                last_end = event.t_ns;
            }
            Fact::TrialEnded { point, trial, start_ns, end_ns, .. } => {
                let name = format!("trial {trial} {}", labels.get(point).unwrap_or(&""));
                let args = json!({"point": point, "trial": trial});
                events.push(slice(RUN, 0, name.trim(), *start_ns, *end_ns, args));
                last_end = *end_ns;
            }
            _ => {}
        }
    }
    events
}

/// When the client took a request up; of a request that was never taken up, when it should have been.
fn begin(row: &RequestRow) -> i64 {
    row.dispatched_ns.get().unwrap_or(row.intended_ns)
}

/// A request: itself, and what can be told apart inside it.
fn request(row: &RequestRow, lane: usize, events: &mut Vec<Value>) {
    let from = begin(row);
    let warm = if row.phase == Phase::Warmup { "warm-up " } else { "" };
    let ended = if row.end == EndKind::Ok { String::new() } else { format!(" {}", row.end.name()) };
    let args = json!({
        "id": row.id,
        "point": row.point,
        "trial": row.trial,
        "end": row.end.name(),
        "input_tokens": row.input_usage,
        "output_tokens": row.output_tokens(),
        "cached_tokens": row.cached_usage,
        "late_ms": (from - row.intended_ns) as f64 / 1e6,
    });
    let mut whole =
        slice(REQUESTS, lane, &format!("{warm}request {}{ended}", row.id), from, row.end_ns, args);
    if row.end != EndKind::Ok {
        whole["cname"] = json!("terrible");
    }
    events.push(whole);
    if let Some(connected) = row.connected_ns.get() {
        events.push(slice(REQUESTS, lane, "connect", from, connected, json!({})));
    }
    let Some(stream) = row.stream else { return };
    let sent = row.send_begin_ns().unwrap_or(from);
    events.push(slice(REQUESTS, lane, "first token", sent, stream.first_token_ns, json!({})));
    let args = json!({"longest_gap_ms": stream.longest_gap_ns as f64 / 1e6, "chunks": stream.token_chunks});
    events.push(slice(REQUESTS, lane, "stream", stream.first_token_ns, stream.last_token_ns, args));
}

/// Lanes in which slices do not overlap.
#[derive(Default)]
struct Lanes {
    ends: Vec<i64>,
}

impl Lanes {
    /// The lowest lane that is free from `from` on, taken until `to`. Calls come in order of `from`.
    fn place(&mut self, from: i64, to: i64) -> usize {
        let free = self.ends.iter().position(|end| *end <= from);
        let lane = free.unwrap_or_else(|| {
            self.ends.push(0);
            self.ends.len() - 1
        });
        self.ends[lane] = to.max(from);
        lane
    }
}

/// What the engine said of itself. Totals become tokens a second between readings; a total that fell says nothing.
fn engine(run: &Analysed, events: &mut Vec<Value>) {
    let mut before: BTreeMap<&str, (i64, f64)> = BTreeMap::new();
    for event in &run.log {
        let Fact::EngineReading { at_ns, counters, .. } = &event.fact else { continue };
        for name in GAUGES {
            if let Some(value) = counters.get(name) {
                events.push(counter(ENGINE, name, micros(*at_ns), *value));
            }
        }
        for (name, title) in [(PROMPT_TOKENS, "prompt tokens/s"), (GENERATION_TOKENS, "output tokens/s")] {
            let Some(total) = counters.get(name) else { continue };
            let last = before.insert(name, (*at_ns, *total));
            let Some((then, was)) = last.filter(|(then, was)| at_ns > then && total >= was) else { continue };
            events.push(counter(ENGINE, title, micros(then), (total - was) / ((at_ns - then) as f64 * 1e-9)));
        }
    }
}

/// What the sensors said, with the power of each of several GPUs.
fn machine(run: &Analysed, events: &mut Vec<Value>) -> Result<(), ExportError> {
    let Some(sensors) = run.sensors()? else { return Ok(()) };
    let mut draw = |column: &str, name: &str| -> bool {
        let readings = sensors.series(column);
        events.extend(readings.iter().map(|(t_s, value)| counter(MACHINE, name, t_s * 1e6, *value)));
        !readings.is_empty()
    };
    for (column, name) in SENSORS {
        draw(column, name);
    }
    for gpu in 0.. {
        if !draw(&format!("gpu{gpu}_power_w"), &format!("power of GPU {gpu} (W)")) {
            break;
        }
    }
    Ok(())
}
