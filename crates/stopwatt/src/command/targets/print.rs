//! Tables of pairs.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use stopwatt_core::comparison::GateState;
use stopwatt_core::metrics_doc::{Estimate, Interval};
use stopwatt_core::workload_pairs::{PairResult, PairSide, PairsComparison, PairsDoc};

use super::super::columns::{bytes, digits, seconds, table};
use super::super::{Format, csv_field};
use super::TARGETS_JSON;

/// Letters of a line of running text.
const WIDTH: usize = 96;
/// Where running text begins, behind its label.
const INDENT: usize = 10;

/// Text under a label, broken into lines.
pub(super) fn paragraph(label: &str, text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH - INDENT {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        let label = if i == 0 { label } else { "" };
        out.push_str(&format!("{label:<INDENT$}{line}\n"));
    }
    out
}

fn with_interval(value: f64, interval: Option<&Interval>) -> String {
    match interval {
        Some(i) => format!("{value:.3} [{:.3}, {:.3}]", i.lo, i.hi),
        None => format!("{value:.3} [-]"),
    }
}

fn percent(value: f64, interval: Option<&Interval>) -> String {
    let p = |v: f64| format!("{:+.1}", v * 100.0);
    match interval {
        Some(i) => format!("{} % [{}, {}]", p(value), p(i.lo), p(i.hi)),
        None => format!("{} % [-]", p(value)),
    }
}

/// Prints a visit.
pub(super) fn results(
    doc: &PairsDoc,
    format: Format,
    folder: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(doc)?)?,
        Format::Csv => csv(doc, out)?,
        Format::Table => {
            let rows: Vec<_> = doc.pairs.iter().map(row).collect();
            let header =
                ["target", "device", "speed-up [interval]", "baseline", "optimised", "memory", "verified"];
            write!(out, "{}", table(header, &rows))?;
            for pair in &doc.pairs {
                notes(pair, out)?;
            }
            writeln!(out, "\n{}", folder.join(TARGETS_JSON).display())?;
        }
    }
    Ok(())
}

fn row(pair: &PairResult) -> [String; 7] {
    let none = || "-".to_owned();
    let time =
        |side: &Option<PairSide>| side.as_ref().and_then(|s| s.seconds.value).map_or_else(none, seconds);
    let memory = |side: &Option<PairSide>| side.as_ref().and_then(|s| s.memory_bytes);
    let memory = match (memory(&pair.baseline), memory(&pair.optimised)) {
        (Some(a), Some(b)) => format!("{} → {}", bytes(a), bytes(b)),
        _ => none(),
    };
    let speedup = pair.speedup.as_ref();
    let speedup = speedup.map_or_else(none, |s| with_interval(s.value, s.interval.as_ref()));
    let small = if pair.small { " small" } else { "" };
    [
        pair.target.clone(),
        format!("{}{small}", pair.device),
        speedup,
        time(&pair.baseline),
        time(&pair.optimised),
        memory,
        pair.state.name().to_owned(),
    ]
}

/// Metrics of the sides' own in which they differ, or that one of them has, with intervals.
fn metrics(pair: &PairResult) -> Vec<String> {
    // These stand in the table, or are no news.
    const ELSEWHERE: [&str; 3] = ["held_bytes", "peak_memory_bytes", "working_memory_bytes"];
    let of = |side: &Option<PairSide>| side.as_ref().map(|s| s.metrics.clone()).unwrap_or_default();
    let (a, b) = (of(&pair.baseline), of(&pair.optimised));
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let told = |e: Option<&Estimate>| -> String {
        let Some(value) = e.and_then(|e| e.value) else { return "-".to_owned() };
        match e.and_then(|e| e.interval) {
            Some(i) if i.lo < i.hi => format!("{} [{}, {}]", digits(value), digits(i.lo), digits(i.hi)),
            _ => digits(value),
        }
    };
    let value = |e: Option<&Estimate>| e.and_then(|e| e.value);
    let names = names.into_iter().filter(|n| !ELSEWHERE.contains(&n.as_str()));
    let names = names.filter(|n| value(a.get(*n)) != value(b.get(*n)));
    names
        .map(|n| match (a.get(n), b.get(n)) {
            (None, only) | (only, None) => format!("{n} {}", told(only)),
            (a, b) => format!("{n} {} → {}", told(a), told(b)),
        })
        .collect()
}

/// What stands below the table: why there is no number, what is earned back when, what was expected.
fn notes(pair: &PairResult, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Some(reason) = &pair.reason {
        writeln!(out, "  {} {}: {reason}", pair.target, pair.state.name())?;
    }
    for line in metrics(pair) {
        writeln!(out, "  {}: {line}", pair.target)?;
    }
    if let Some(n) = pair.break_even_iterations {
        let interval = pair.break_even_interval.map(|i| format!(" [{:.0}, {:.0}]", i.lo, i.hi));
        let interval = interval.unwrap_or_default();
        writeln!(out, "  {}: earned back after {n:.0}{interval} iterations", pair.target)?;
    }
    if let Some(trace) = &pair.trace {
        writeln!(out, "  {}: trace: {trace}", pair.target)?;
    }
    if let Some(judged) = &pair.expected {
        let state = match judged.state {
            GateState::Passed => "as expected",
            GateState::Failed => "worse than expected",
            GateState::Inconclusive => "not judged",
        };
        let change = judged.change.map(|c| percent(c, judged.interval.as_ref()));
        let reason = judged.reason.clone();
        let detail = [change, reason].into_iter().flatten().collect::<Vec<_>>().join("; ");
        writeln!(out, "  {}: {state}: {detail}", pair.target)?;
    }
    Ok(())
}

fn csv(doc: &PairsDoc, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "target,device,small,state,speedup,speedup_lo,speedup_hi,baseline_s,optimised_s,baseline_bytes,optimised_bytes,reason"
    )?;
    let number = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
    for p in &doc.pairs {
        let speedup = p.speedup.as_ref();
        let interval = speedup.and_then(|s| s.interval);
        let side = |s: &Option<PairSide>| s.as_ref().map(|s| (s.seconds.value, s.memory_bytes));
        let (a, b) = (side(&p.baseline).unwrap_or_default(), side(&p.optimised).unwrap_or_default());
        let fields = [
            p.target.clone(),
            p.device.clone(),
            p.small.to_string(),
            p.state.name().to_owned(),
            number(speedup.map(|s| s.value)),
            number(interval.map(|i| i.lo)),
            number(interval.map(|i| i.hi)),
            number(a.0),
            number(b.0),
            number(a.1),
            number(b.1),
            p.reason.clone().unwrap_or_default(),
        ];
        writeln!(out, "{}", fields.map(|f| csv_field(&f)).join(","))?;
    }
    Ok(())
}

/// Prints two visits.
pub(super) fn comparison(doc: &PairsComparison, out: &mut dyn Write) -> anyhow::Result<()> {
    if doc.before_hardware_key != doc.after_hardware_key {
        writeln!(out, "hardware differs: {} and {}\n", doc.before_hardware_key, doc.after_hardware_key)?;
    }
    let rows: Vec<[String; 5]> = doc
        .pairs
        .iter()
        .map(|(target, p)| {
            let same = match p.same {
                Some(true) => "as before",
                Some(false) => "changed",
                None => "not known",
            };
            [
                target.clone(),
                format!("{:.3}", p.before),
                format!("{:.3}", p.after),
                percent(p.change, p.interval.as_ref()),
                same.to_owned(),
            ]
        })
        .collect();
    write!(out, "{}", table(["target", "before", "after", "change [interval]", ""], &rows))?;
    for (target, why) in &doc.left_out {
        writeln!(out, "  {target} left out: {why}")?;
    }
    Ok(())
}

/// The same for spreadsheets.
pub(super) fn comparison_csv(doc: &PairsComparison, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "target,before,after,change,change_lo,change_hi,same")?;
    for (target, p) in &doc.pairs {
        let bound = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
        let same = p.same.map(|s| s.to_string()).unwrap_or_default();
        let (lo, hi) = (bound(p.interval.map(|i| i.lo)), bound(p.interval.map(|i| i.hi)));
        writeln!(out, "{},{},{},{},{lo},{hi},{same}", csv_field(target), p.before, p.after, p.change)?;
    }
    Ok(())
}
