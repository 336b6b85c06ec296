//! A run in the words of another tool, as text and as CSV. What the numbers are, `analyse::dialect` decides.

use std::fmt::Write as _;

use stopwatt_analyse::dialect::{DialectView, Figure, PointView};

use crate::Style;
use crate::csv::{number, text_cell};
use crate::notes::{Notes, superscript};
use crate::table::{Cell, Paint, Table, inert, wrap};

/// The view as text: the tool's numbers with ours beside them, and below what sets them apart.
pub fn dialect_terminal(view: &DialectView, style: Style<'_>) -> String {
    let (paint, width) = (Paint(style.color), usize::from(style.width.max(40)));
    let mut out = String::new();
    let _ = writeln!(out, "{}", paint.bold(&format!("{} {}", view.tool, view.version)));
    let _ = writeln!(out, "  {}", paint.dim(&inert(&format!("from the record of run {}", view.run_id))));
    let mut notes = Notes::default();
    for point in &view.points {
        let _ = writeln!(out, "\n{}", paint.bold(&inert(&point.label)));
        for note in &point.notes {
            paragraph(&mut out, &format!("! {note}"), width, paint);
        }
        out.push_str(&totals(point, &mut notes).render(width, paint));
        out.push('\n');
        out.push_str(&distributions(point, &mut notes).render(width, paint));
    }
    out.push('\n');
    for note in &view.notes {
        paragraph(&mut out, &format!("· {note}"), width, paint);
    }
    for (i, reason) in notes.reasons().iter().enumerate() {
        paragraph(&mut out, &format!("{} {reason}", superscript(i + 1)), width, paint);
    }
    out
}

fn paragraph(out: &mut String, text: &str, width: usize, paint: Paint) {
    for (i, line) in wrap(&inert(text), width.saturating_sub(4)).into_iter().enumerate() {
        let indent = if i == 0 { "  " } else { "    " };
        let _ = writeln!(out, "{indent}{}", paint.dim(&line));
    }
}

fn is_total(figure: &Figure) -> bool {
    figure.statistics.iter().any(|s| s.name == "value")
}

fn name(figure: &Figure, notes: &mut Notes) -> Cell {
    let unit = match figure.unit.as_str() {
        "1" => String::new(),
        unit => format!(" ({unit})"),
    };
    // Only what is beside a number of ours can differ from it.
    let mark = figure.differs.as_deref().filter(|_| figure.n > 0).map(|d| notes.mark(d)).unwrap_or_default();
    Cell::plain(format!("{}{unit} {mark}", figure.name).trim_end())
}

fn totals(point: &PointView, notes: &mut Notes) -> Table {
    let mut table = Table::new(["", "", "Stopwatt", ""].map(Cell::plain));
    for figure in point.figures.iter().filter(|f| is_total(f)) {
        let ours = figure.ours.as_ref();
        table.row([
            name(figure, notes),
            shown(figure, figure.statistic("value")),
            ours.map_or_else(|| Cell::plain(""), |o| shown(figure, o.mean)),
            Cell::plain(ours.map_or("", |o| o.metric.as_str())),
        ]);
    }
    table
}

fn distributions(point: &PointView, notes: &mut Notes) -> Table {
    let headers = ["", "mean", "median", "p99", "Stopwatt mean", "p50", "p99", ""];
    let mut table = Table::new(headers.map(Cell::plain));
    for figure in point.figures.iter().filter(|f| !is_total(f) && f.n > 0) {
        let median = figure.statistic("median").or(figure.statistic("p50"));
        let theirs = [figure.statistic("mean"), median, figure.statistic("p99")];
        let ours = figure.ours.as_ref().map(|o| [o.mean, o.p50, o.p99]);
        let mut row = vec![name(figure, notes)];
        row.extend(theirs.map(|v| shown(figure, v)));
        row.extend(match ours {
            Some(values) => values.map(|v| shown(figure, v)),
            None => [""; 3].map(Cell::plain),
        });
        row.push(Cell::plain(figure.ours.as_ref().map_or("", |o| o.metric.as_str())));
        table.row(row);
    }
    table
}

/// With the digits that the tools print.
fn shown(figure: &Figure, value: Option<f64>) -> Cell {
    let Some(value) = value else { return Cell::plain("–") };
    Cell::plain(match figure.unit.as_str() {
        "ns" => format!("{value:.0}"),
        "s" => format!("{value:.4}"),
        "1" if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    })
}

/// One row a point × figure × statistic; ours follow under `ours.`.
pub fn dialect_csv(view: &DialectView) -> String {
    let mut out = String::from("dialect,version,label,key,name,unit,statistic,value,n,ours\n");
    for point in &view.points {
        for figure in &point.figures {
            let (label, key) = (text_cell(&point.label), text_cell(&figure.key));
            let ours = figure.ours.as_ref();
            let metric = ours.map_or("", |o| o.metric.as_str());
            let theirs = figure.statistics.iter().map(|s| (s.name.clone(), s.value));
            let beside = ours.into_iter().flat_map(|o| [("mean", o.mean), ("p50", o.p50), ("p99", o.p99)]);
            for (statistic, value) in theirs.chain(beside.map(|(name, v)| (format!("ours.{name}"), v))) {
                let _ = writeln!(
                    out,
                    "{},{},{label},{key},{},{},{statistic},{},{},{metric}",
                    view.dialect,
                    view.version,
                    text_cell(&figure.name),
                    figure.unit,
                    number(value),
                    figure.n
                );
            }
        }
    }
    out
}
