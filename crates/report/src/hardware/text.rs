//! Kernel tables and rooflines on a terminal.

use std::fmt::Write as _;

use stopwatt_core::kernel_table::{CacheState, Dtypes, KernelRow, Launch, Op, Outcome};
use stopwatt_core::roofline::{CoResident, CurveKind, Extent, Level, Measured, Roofline, Staircase};

use super::{seconds, si};
use crate::table::{Cell, Paint, Table, inert};
use crate::terminal::Style;

/// Skipped rows that are named one by one; the rest is counted.
const NAMED: usize = 8;

/// The rows of a table: time, spread and what it comes to.
#[must_use]
pub fn kernels_text(rows: &[KernelRow], style: Style<'_>) -> String {
    let paint = Paint(style.color);
    let heads = ["kernel", "formats", "threads", "cache", "median", "± 95 %", "FLOP/s", "B/s", "n"];
    let mut table = Table::new(heads.map(Cell::plain));
    let (mut skipped, mut unsteady) = (Vec::new(), Vec::new());
    for row in rows {
        let name = format!("{} {}", row.op.kind.name(), row.op.shape.label());
        match &row.outcome {
            Outcome::Skipped { reason } => skipped.push(format!("{name}: {}", inert(reason))),
            Outcome::Measured { time, .. } => {
                let work = row.op.work();
                let rate = |amount: Option<f64>| {
                    amount.filter(|a| *a > 0.0).map_or_else(|| "–".to_owned(), |a| si(a / time.median_s))
                };
                let mark = match (&row.unsteady, time.settled) {
                    (Some(_), _) => " ~",
                    (None, true) => "",
                    (None, false) => " ?",
                };
                unsteady.extend(row.unsteady.as_ref().map(|reason| format!("{name}: {}", inert(reason))));
                table.row(
                    [
                        name,
                        formats(row.op.dtypes),
                        row.block.map_or_else(|| "–".to_owned(), |b| b.to_string()),
                        how(row),
                        format!("{}{mark}", seconds(time.median_s)),
                        time.lo_s.zip(time.hi_s).map_or_else(
                            || "–".to_owned(),
                            |(lo, hi)| format!("{:.1}%", 50.0 * (hi - lo) / time.median_s),
                        ),
                        rate(work.map(|w| w.flop)),
                        rate(work.map(|w| w.bytes())),
                        time.n.to_string(),
                    ]
                    .map(Cell::plain),
                );
            }
        }
    }
    let mut out = table.render(usize::from(style.width), paint);
    let measured = rows.len() - skipped.len();
    let _ = writeln!(
        out,
        "\n  {measured} measured, {} skipped; ~ rounds do not agree: {}; ? had not settled at its time limit",
        skipped.len(),
        unsteady.len()
    );
    for (what, lines) in [("unsteady", &unsteady), ("skipped ", &skipped)] {
        for line in lines.iter().take(NAMED) {
            let _ = writeln!(out, "  {what}  {line}");
        }
        if lines.len() > NAMED {
            let _ = writeln!(out, "  {what}  {} more", lines.len() - NAMED);
        }
    }
    if let Some(files) = style.files {
        let _ = writeln!(out, "  files    {files}");
    }
    out
}

fn how(row: &KernelRow) -> String {
    let cache = match row.cache {
        CacheState::Cold => "cold",
        CacheState::Warm => "warm",
    };
    if row.launch == Launch::Graph { format!("{cache}, graph") } else { cache.to_owned() }
}

pub(super) fn formats(dtypes: Dtypes) -> String {
    if dtypes.input == dtypes.weight && dtypes.input == dtypes.output {
        return dtypes.input.name().to_owned();
    }
    format!("{}·{}", dtypes.input.name(), dtypes.weight.name())
}

/// Peaks, levels, ridges, and what the curves say.
#[must_use]
pub fn roofline_text(roofline: &Roofline, style: Style<'_>) -> String {
    let (paint, width) = (Paint(style.color), usize::from(style.width));
    let device = &roofline.device;
    let mut out = format!("{}\n", paint.bold(&inert(&device.name)));
    let _ = writeln!(out, "  {} units, {}\n", device.units, inert(&device.instructions));

    let mut peaks = Table::new(["peak", "format", "of", "FLOP/s"].map(Cell::plain));
    for peak in &roofline.peaks {
        peaks.row([
            Cell::plain(inert(&peak.instructions)),
            Cell::plain(peak.dtype.name()),
            Cell::plain(extent(peak.extent)),
            value(&peak.flop_per_s, si),
        ]);
    }
    out.push_str(&peaks.render(width, paint));

    out.push('\n');
    let accesses = bandwidths(&roofline.levels);
    let heads = ["level", "of", "holds"].into_iter().map(str::to_owned);
    let heads =
        heads.chain(accesses.iter().map(|a| format!("{} B/s", a.name()))).chain(["latency".to_owned()]);
    let mut levels = Table::new(heads.map(Cell::plain));
    for level in &roofline.levels {
        let none = || Cell::plain("–");
        let rates = accesses.iter().map(|a| level.bandwidth(*a).map_or_else(none, |m| value(m, si)));
        let latency = level.latency_s.map_or_else(none, |m| value(&m, seconds));
        let holds = level.capacity_bytes.map_or_else(|| "–".to_owned(), capacity);
        let first = [level.name.name().to_owned(), extent(level.extent).to_owned(), holds];
        levels.row(first.map(Cell::plain).into_iter().chain(rates).chain([latency]));
    }
    out.push_str(&levels.render(width, paint));

    ridges(roofline, width, paint, &mut out);
    out.push('\n');
    for curve in &roofline.curves {
        if let (CurveKind::Mix { streaming }, Some(turn)) = (curve.kind, curve.turnaround()) {
            let stores = if streaming { "streaming stores" } else { "stores" };
            let _ = writeln!(
                out,
                "  mixing reads with {stores}, {}: at most {:.1} % lost, at {:.0} % reads ({}B/s of {}B/s)",
                extent(curve.extent),
                100.0 * turn.loss().max(0.0),
                100.0 * turn.read_share,
                si(turn.bytes_per_s),
                si(turn.free_bytes_per_s),
            );
        }
    }
    for staircase in &roofline.staircases {
        let _ = writeln!(out, "  {}", stairs(staircase));
    }
    for floor in &roofline.launches {
        let how = if floor.launch == Launch::Graph { "in a graph" } else { "one by one" };
        let time = seconds(floor.seconds.value);
        let _ = writeln!(out, "  launch floor, kernels {how}, {} in a row: {time} each", floor.kernels);
    }
    for pair in &roofline.co_resident {
        let _ = writeln!(out, "  {}", beside(pair));
    }
    if let Some(best) = roofline.fastest.last() {
        let _ = writeln!(
            out,
            "  fastest {} of {}: {}",
            inert(&best.what),
            capacity(best.bytes as u64),
            inert(&best.way)
        );
    }
    for missing in &roofline.unavailable {
        let _ = writeln!(out, "  {}: {}", inert(&missing.what), inert(&missing.reason));
    }
    if let Some(files) = style.files {
        let _ = writeln!(out, "  files: {files}");
    }
    out
}

fn ridges(roofline: &Roofline, width: usize, paint: Paint, out: &mut String) {
    let mut table = Table::new(["ridge point", "of", "level", "FLOP/B"].map(Cell::plain));
    for ridge in roofline.ridges() {
        table.row(
            [
                format!("{} {}", inert(&ridge.peak.instructions), ridge.peak.dtype.name()),
                extent(ridge.peak.extent).to_owned(),
                ridge.level.name.name().to_owned(),
                format!("{:.2}", ridge.flop_per_byte),
            ]
            .map(Cell::plain),
        );
    }
    out.push('\n');
    out.push_str(&table.render(width, paint));
}

/// Operators side by side against one after the other, in a sentence.
pub(super) fn beside(pair: &CoResident) -> String {
    format!(
        "side by side, {}: {} instead of {} one after the other, {:.2} times as fast",
        names(&pair.ops),
        seconds(pair.together_s.value),
        seconds(pair.apart_s.value),
        pair.apart_s.value / pair.together_s.value
    )
}

/// Names of operators, equal ones once with their number.
pub(crate) fn names(ops: &[Op]) -> String {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for op in ops {
        let name = format!("{} {}", op.kind.name(), op.shape.label());
        match counted.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => *times += 1,
            None => counted.push((name, 1)),
        }
    }
    let words =
        counted.into_iter().map(|(name, times)| if times > 1 { format!("{times} × {name}") } else { name });
    words.collect::<Vec<_>>().join(" + ")
}

/// What a staircase shows, in a sentence.
pub(super) fn stairs(staircase: &Staircase) -> String {
    let axis = staircase.axis.name();
    let tile = match (staircase.tile, staircase.stairs.len()) {
        (_, 0) => "no steps".to_owned(),
        (Some(tile), n) => format!("{n} steps, every {tile}"),
        (None, n) => format!("{n} steps at {}", list(staircase)),
    };
    let ripple =
        staircase.ripple.map_or_else(String::new, |r| format!(", ripple {:.1} % between them", 100.0 * r));
    format!("linear over {axis} ({}): {tile}{ripple}", staircase.op.shape.label())
}

fn list(staircase: &Staircase) -> String {
    let sizes: Vec<String> = staircase.stairs.iter().take(6).map(|s| s.size.to_string()).collect();
    sizes.join(", ") + if staircase.stairs.len() > 6 { ", …" } else { "" }
}

/// The accesses that any level has, in their order.
pub(crate) fn bandwidths(levels: &[Level]) -> Vec<stopwatt_core::roofline::Access> {
    let mut all: Vec<_> = levels.iter().flat_map(|l| l.bandwidths.iter().map(|b| b.access)).collect();
    all.sort();
    all.dedup();
    all
}

pub(crate) fn extent(extent: Extent) -> &'static str {
    match extent {
        Extent::Unit => "one",
        Extent::Device => "all",
    }
}

/// A capacity for people.
pub(crate) fn capacity(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 20 => format!("{} MiB", b >> 20),
        b => format!("{} KiB", b >> 10),
    }
}

fn value(measured: &Measured, show: fn(f64) -> String) -> Cell {
    Cell { main: show(measured.value), note: half_width(measured).unwrap_or_default() }
}

/// The wider half of the interval of a value, relative to it.
pub(crate) fn half_width(measured: &Measured) -> Option<String> {
    let (lo, hi) = measured.lo.zip(measured.hi)?;
    let wider = (hi - measured.value).max(measured.value - lo);
    Some(format!("±{:.1}%", 100.0 * wider / measured.value))
}
