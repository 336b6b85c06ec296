//! Two kernel tables row by row, on a terminal and as CSV.

use std::fmt::Write as _;

use stopwatt_core::kernel_table::{CacheState, KernelMovement, Launch, Moved, MovedRow};

use super::seconds;
use crate::table::{Cell, Paint, Table, inert};
use crate::terminal::Style;

/// Rows that are shown: those that moved furthest.
const SHOWN: usize = 20;

/// Counts, and the rows that moved furthest.
#[must_use]
pub fn movement_text(doc: &KernelMovement, style: Style<'_>) -> String {
    let points = doc.points;
    let percent = |part: u64, of: u64| match of {
        0 => "–".to_owned(),
        _ => format!("{:.1} %", 100.0 * part as f64 / of as f64),
    };
    let far = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{:.2} %", 100.0 * v));
    let within = format!("{:.1} %", 100.0 * doc.within);
    let further = points.admitted + points.denied;
    let mut out = format!("{} → {}\n\n", inert(&doc.baseline), inert(&doc.candidate));
    let _ = writeln!(
        out,
        "  {} kernels in both, {} of {} and more; {} only before, {} only after",
        doc.rows.len(),
        points.all,
        seconds(doc.above_s),
        doc.baseline_only,
        doc.candidate_only
    );
    let _ = writeln!(
        out,
        "  moved less than {within}: {} of {} ({})",
        points.within,
        points.all,
        percent(points.within, points.all)
    );
    let _ = writeln!(
        out,
        "  moved further: {further}; their intervals admit it for {} ({}), exclude it for {}",
        points.admitted,
        percent(points.admitted, further),
        points.denied
    );
    let _ = writeln!(
        out,
        "  movement: median {}, 90th percentile {}, largest {}",
        far(points.median),
        far(points.p90),
        far(points.largest)
    );
    let _ =
        writeln!(out, "  unsteady in either: {}; another kernel: {}\n", points.unsteady, points.other_kernel);
    let mut rows: Vec<&MovedRow> = doc.rows.iter().filter(|r| r.verdict != Moved::Short).collect();
    rows.sort_by(|a, b| b.moved.abs().total_cmp(&a.moved.abs()));
    let heads = ["furthest", "formats", "before", "after", "moved", "95 % interval", ""];
    let mut table = Table::new(heads.map(Cell::plain));
    for row in rows.into_iter().take(SHOWN) {
        let interval = match (row.lo, row.hi) {
            (Some(lo), Some(hi)) => format!("{:+.1} to {:+.1} %", 100.0 * lo, 100.0 * hi),
            _ => "–".to_owned(),
        };
        table.row(
            [
                format!("{} {}", row.op.kind.name(), row.op.shape.label()),
                super::text::formats(row.op.dtypes),
                seconds(row.baseline_s),
                seconds(row.candidate_s),
                format!("{:+.2} %", 100.0 * row.moved),
                interval,
                verdict(row).to_owned(),
            ]
            .map(Cell::plain),
        );
    }
    out.push_str(&table.render(usize::from(style.width), Paint(style.color)));
    out
}

fn verdict(row: &MovedRow) -> &'static str {
    match row.verdict {
        Moved::Within => "within",
        Moved::Admitted if row.unsteady.is_some() => "admitted, unsteady",
        Moved::Admitted => "admitted",
        Moved::Denied if row.unsteady.is_some() => "excluded, unsteady",
        Moved::Denied => "excluded",
        Moved::Short => "short",
    }
}

/// Every row.
#[must_use]
pub fn movement_csv(doc: &KernelMovement) -> String {
    let mut out =
        "op,shape,dtype_in,dtype_weight,dtype_out,launch,cache,threads,baseline_s,candidate_s,moved,lo,hi,\
                   verdict,same_kernel,unsteady\n"
            .to_owned();
    let number = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    for row in &doc.rows {
        let dtypes = row.op.dtypes;
        let _ = writeln!(
            out,
            "{},\"{}\",{},{},{},{},{},{},{},{},{},{},{},{},{},\"{}\"",
            row.op.kind.name(),
            row.op.shape.label(),
            dtypes.input.name(),
            dtypes.weight.name(),
            dtypes.output.name(),
            if row.launch == Launch::Graph { "graph" } else { "eager" },
            if row.cache == CacheState::Cold { "cold" } else { "warm" },
            row.threads.map_or_else(String::new, |t| t.to_string()),
            row.baseline_s,
            row.candidate_s,
            row.moved,
            number(row.lo),
            number(row.hi),
            verdict(row).split(',').next().unwrap_or_default(),
            row.same_kernel.map_or("", |same| if same { "true" } else { "false" }),
            row.unsteady.as_deref().unwrap_or_default().replace('"', "\"\""),
        );
    }
    out
}
