//! A reproduction on a terminal and as CSV: did it come out again, how sure is that, and what is different now.

use std::fmt::Write as _;

use stopwatt_core::Metric;
use stopwatt_core::metric::Per;
use stopwatt_core::reproduction::{FieldDifference, Reproduced, ReproducedMetric, ReproductionDoc};
use stopwatt_core::text::{Lang, Text, fill};

use crate::csv::{number, text_cell};
use crate::quantity::{Scale, kind};
use crate::table::{Cell, Paint, Table, inert, wrap};
use crate::terminal::Style;

/// The reproduction as text.
pub fn reproduction(doc: &ReproductionDoc, lang: Lang, style: Style<'_>) -> String {
    let paint = Paint(style.color);
    let width = usize::from(style.width.max(40));
    let text = |t: Text| t.get(lang);
    let mut out = String::new();
    let line = |out: &mut String, mark: &str, text: &str| {
        for (i, line) in wrap(&inert(text), width.saturating_sub(4)).into_iter().enumerate() {
            let _ = writeln!(out, "{}{line}", if i == 0 { mark } else { "    " });
        }
    };
    let _ = writeln!(out, "{}", paint.bold(text(Text::ReproductionTitle)));
    let _ = writeln!(out, "  {}  {}", text(Text::OriginalRun), inert(&doc.reproduces));
    let _ = writeln!(out, "  {}  {}", text(Text::RepeatedRun), inert(&doc.run_id));

    let mut points: Vec<Option<&str>> = doc.metrics.iter().map(|m| m.point.as_deref()).collect();
    points.dedup();
    for point in points {
        let _ = writeln!(out, "\n{}", paint.bold(&inert(point.unwrap_or_default())));
        let headers = [
            "",
            text(Text::OriginalRun),
            text(Text::RepeatedRun),
            text(Text::Change),
            text(Text::VerdictTitle),
        ];
        let mut table = Table::new(headers.map(Cell::plain));
        let here = || doc.metrics.iter().filter(|m| m.point.as_deref() == point);
        here().for_each(|m| table.row(row(m, lang)));
        out.push_str(&table.render(width, paint));
        for m in here() {
            if let Some(reason) = &m.reason {
                line(&mut out, "  · ", &format!("{} {}: {reason}", m.metric, m.statistic));
            }
        }
    }
    out.push('\n');
    for (title, fields) in
        [(Text::ReproductionEnvironment, &doc.environment), (Text::ReproductionSettings, &doc.settings)]
    {
        if fields.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{}", paint.bold(text(title)));
        for field in fields {
            line(&mut out, if field.binding { "  ✗ " } else { "  · " }, &changed(field));
        }
        out.push('\n');
    }
    if doc.environment.is_empty() {
        let _ = writeln!(out, "{}\n", text(Text::ReproductionSame));
    }
    let (mark, word) = verdict(doc.verdict);
    let title = format!("{mark} {}", text(word));
    let painted = match doc.verdict {
        Reproduced::Reproduced => paint.good(&title),
        Reproduced::NotReproduced => paint.bad(&title),
        Reproduced::Inconclusive => paint.warn(&title),
    };
    let _ = writeln!(out, "{painted}");
    doc.reasons.iter().for_each(|reason| line(&mut out, "  · ", reason));
    let percent = |share: f64| format!("{}", (share * 1e4).round() / 100.0);
    let note = fill(text(Text::ReproductionNote), &[&percent(doc.level), &percent(doc.margin)]);
    line(&mut out, "  ", &note);
    out
}

/// `cpu: A → B`.
fn changed(field: &FieldDifference) -> String {
    let side = |v: &Option<String>| v.clone().unwrap_or_else(|| "-".to_owned());
    format!("{}: {} → {}", field.field, side(&field.original), side(&field.now))
}

fn row(m: &ReproducedMetric, lang: Lang) -> [Cell; 5] {
    let known = Metric::from_name(&m.metric);
    let title = known.map_or(m.metric.as_str(), |m| m.title(lang));
    let name = match known.is_some_and(|m| m.info().per == Per::Trial) {
        true => title.to_owned(),
        false => format!("{title} {}", m.statistic),
    };
    let values = [m.original, m.now].into_iter().flatten();
    let scale = known.map_or(Scale { unit: "", factor: 1.0 }, |m| Scale::for_all(kind(m), values));
    let value = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| scale.with_unit(v));
    // Rounded first, so that a trifle below zero has no sign of its own.
    let percent = |v: f64| format!("{:+.1}", (v * 1000.0).round() / 10.0 + 0.0);
    let unit = if m.absolute { " pp" } else { "%" };
    let (mark, word) = verdict(m.verdict);
    [
        Cell::plain(inert(&name)),
        Cell::plain(value(m.original)),
        Cell::plain(value(m.now)),
        Cell {
            main: m.delta.map_or_else(|| "-".to_owned(), |d| format!("{}{unit}", percent(d))),
            note: m
                .interval
                .map_or_else(String::new, |[lo, hi]| format!("[{}, {}]", percent(lo), percent(hi))),
        },
        Cell::plain(format!("{mark} {}", word.get(lang))),
    ]
}

/// The mark of a verdict, which differs in shape, and its word.
fn verdict(verdict: Reproduced) -> (&'static str, Text) {
    match verdict {
        Reproduced::Reproduced => ("✓", Text::ReproducedYes),
        Reproduced::NotReproduced => ("✗", Text::ReproducedNo),
        Reproduced::Inconclusive => ("?", Text::Inconclusive),
    }
}

/// One line a metric, then one a difference.
pub fn reproduction_csv(doc: &ReproductionDoc) -> String {
    let mut out = String::from("kind,point,name,statistic,unit,original,now,delta,lo,hi,verdict\n");
    for m in &doc.metrics {
        let fields = [
            "metric".to_owned(),
            text_cell(m.point.as_deref().unwrap_or_default()),
            m.metric.clone(),
            m.statistic.clone(),
            m.unit.clone(),
            number(m.original),
            number(m.now),
            number(m.delta),
            number(m.interval.map(|i| i[0])),
            number(m.interval.map(|i| i[1])),
            match m.verdict {
                Reproduced::Reproduced => "reproduced",
                Reproduced::NotReproduced => "not_reproduced",
                Reproduced::Inconclusive => "inconclusive",
            }
            .to_owned(),
        ];
        let _ = writeln!(out, "{}", fields.join(","));
    }
    for (name, fields) in [("environment", &doc.environment), ("setting", &doc.settings)] {
        for field in fields {
            let side = |v: &Option<String>| text_cell(v.as_deref().unwrap_or_default());
            let _ = writeln!(
                out,
                "{name},,{},,,{},{},,,,",
                text_cell(&field.field),
                side(&field.original),
                side(&field.now)
            );
        }
    }
    out
}
