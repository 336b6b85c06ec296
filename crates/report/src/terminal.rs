//! The result on a terminal: what a person wants first, readable at 80 columns and without colour.
//!
//! Order: what was measured, whether to believe it, latency, throughput and cost, the points of a sweep, failures,
//! where the files are.

use std::fmt::Write as _;

use stopwatt_core::Metric;
use stopwatt_core::metrics_doc::{Estimate, MetricSummary, MetricsDoc};
use stopwatt_core::text::{Text, fill};

use crate::View;
use crate::cost;
use crate::engines;
use crate::facts::Facts;
use crate::hardware::{kernels_text, roofline_text};
use crate::notes::{Notes, superscript};
use crate::points;
use crate::quantity::{Kind, Scale, count, joined, kind};
use crate::search;
use crate::summary::{self, Standing};
use crate::table::{Cell, Paint, Table, inert, left, wide, wrap};

/// How to draw on the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Style<'a> {
    /// Whether ANSI colours are wanted; the caller knows `NO_COLOR` and whether stdout is a terminal.
    pub color: bool,
    /// Columns of the terminal.
    pub width: u16,
    /// The run directory, to say where the files are; never part of a file.
    pub files: Option<&'a str>,
}

/// Latency metrics with a row of their own, always shown.
const LATENCY: [Metric; 4] = [Metric::Ttft, Metric::Tpot, Metric::Itl, Metric::E2e];

/// A statistic and where it stands.
type Column = (&'static str, fn(&MetricSummary) -> &Estimate);

/// What most requests saw.
const BODY: [Column; 4] =
    [("mean", |m| &m.mean), ("p50", |m| &m.p50), ("p95", |m| &m.p95), ("p99", |m| &m.p99)];

/// What a p99 can hide; beside the rest where the terminal is wide enough, else below.
const TAIL: [Column; 2] = [("p99.9", |m| &m.p999), ("max", |m| &m.max)];

/// Figures shown also without a value, then with the reason.
const ALWAYS: [Metric; 3] = [Metric::OutputThroughput, Metric::RequestThroughput, Metric::Tlr];

/// Further figures, the others shown when they have a value.
const FIGURES: [Metric; 22] = [
    Metric::OutputThroughput,
    Metric::TotalThroughput,
    Metric::RequestThroughput,
    Metric::Goodput,
    Metric::SloAttainment,
    Metric::Tlr,
    Metric::Stalls,
    Metric::LongestGap,
    Metric::KvHitRate,
    Metric::ErrorRate,
    Metric::EngineCpu,
    Metric::EngineMemory,
    Metric::Power,
    Metric::EnergyPerToken,
    Metric::NetEnergyPerToken,
    Metric::GpuMemory,
    Metric::GpuUse,
    Metric::L2HitRate,
    Metric::DramBytes,
    Metric::L1dHitRate,
    Metric::LlcHitRate,
    Metric::QualityLoss,
];

/// A tail latency ratio from which on a run is marked.
pub(crate) const HEAVY_TAIL: f64 = 2.;

/// The whole result as text.
pub fn terminal(view: &View<'_>, style: Style<'_>) -> String {
    let facts = Facts::read(view.log);
    let page = Page { view, width: usize::from(style.width.max(40)), paint: Paint(style.color) };
    let mut out = String::new();
    page.heading(&mut out, &facts);
    page.verdict(&mut out);
    page.hardware(&mut out, style);
    if view.has_requests() {
        page.requests(&mut out);
    }
    if let Some(dir) = style.files {
        page.files(&mut out, dir);
    }
    out
}

struct Page<'a> {
    view: &'a View<'a>,
    width: usize,
    paint: Paint,
}

impl Page<'_> {
    /// Everything about requests, or iterations.
    fn requests(&self, out: &mut String) {
        let mut notes = Notes::default();
        self.search(out);
        self.latency(out, &mut notes);
        self.figures(out, &mut notes);
        self.points(out, &mut notes);
        self.custom(out);
        self.cost(out, &mut notes);
        self.best(out);
        self.failures(out);
        self.notes(out, &notes);
    }

    /// Roofs and kernels of a device, as the commands that measure them print them.
    fn hardware(&self, out: &mut String, style: Style<'_>) {
        let (hardware, style) = (self.view.hardware, Style { files: None, ..style });
        for text in [
            hardware.roofline.as_ref().map(|roofline| roofline_text(roofline, style)),
            (!hardware.kernels.is_empty()).then(|| kernels_text(&hardware.kernels, style)),
        ]
        .into_iter()
        .flatten()
        {
            let _ = write!(out, "\n{text}");
        }
    }

    fn text(&self, text: Text) -> &'static str {
        text.get(self.view.lang)
    }

    fn doc(&self) -> &MetricsDoc {
        self.view.doc
    }

    fn section(&self, out: &mut String, title: &str, rest: &str) {
        let _ = writeln!(
            out,
            "\n{}{}",
            self.paint.bold(title),
            if rest.is_empty() { String::new() } else { format!(" {}", self.paint.dim(rest)) }
        );
    }

    fn heading(&self, out: &mut String, facts: &Facts<'_>) {
        let _ = writeln!(out, "{}", self.paint.bold(self.text(Text::ReportTitle)));
        let lines = summary::heading(self.doc(), facts, self.view.lang);
        let widest = lines.iter().map(|(title, _)| wide(self.text(*title))).max().unwrap_or(0);
        for (title, value) in lines {
            let title = left(self.text(title), widest);
            for (i, line) in
                wrap(&inert(&value), self.width.saturating_sub(widest + 4)).into_iter().enumerate()
            {
                let title = if i == 0 { title.as_str() } else { &left("", widest) };
                let _ = writeln!(out, "  {}  {line}", self.paint.dim(title));
            }
        }
    }

    fn verdict(&self, out: &mut String) {
        let standing = Standing::of(self.doc());
        let text = format!("{} {}", standing.mark(), self.text(standing.text()));
        let painted = match standing {
            Standing::Valid => self.paint.good(&text),
            Standing::Incomplete => self.paint.warn(&text),
            Standing::Invalid => self.paint.bad(&text),
        };
        let totals = summary::totals(self.view).join(" · ");
        let _ = if totals.is_empty() {
            writeln!(out, "\n{painted}")
        } else if wide(&text) + 3 + wide(&totals) <= self.width {
            writeln!(out, "\n{painted}   {totals}")
        } else {
            writeln!(out, "\n{painted}\n  {totals}")
        };
        for reason in &self.doc().validity.reasons {
            let mark = if reason.fatal { self.paint.bad("✗") } else { self.paint.warn("!") };
            let detail = format!("{}: {}", inert(&reason.code), inert(&reason.detail_in(self.view.lang)));
            for (i, line) in wrap(&detail, self.width.saturating_sub(4)).into_iter().enumerate() {
                let _ = if i == 0 { writeln!(out, "  {mark} {line}") } else { writeln!(out, "    {line}") };
            }
            let hint = reason.hint_in(self.view.lang).map(|hint| format!("→ {}", inert(hint)));
            for line in hint.iter().flat_map(|hint| wrap(hint, self.width.saturating_sub(4))) {
                let _ = writeln!(out, "    {}", self.paint.dim(&line));
            }
        }
    }

    /// What a search found, before the numbers of single loads.
    fn search(&self, out: &mut String) {
        let Some(found) = &self.doc().search else { return };
        self.section(out, self.text(Text::SearchTitle), "");
        let lines = search::lines(found, self.view.lang);
        let widest = lines.iter().map(|(title, _)| wide(title)).max().unwrap_or(0);
        for (title, value) in lines {
            for (i, line) in wrap(&value, self.width.saturating_sub(widest + 4)).into_iter().enumerate() {
                let title = if i == 0 { left(title, widest) } else { left("", widest) };
                let _ = writeln!(out, "  {title}  {line}");
            }
        }
        out.push('\n');
        let (headers, rows) = search::looks(found, self.view.lang);
        let mut table = Table::new(headers.into_iter().map(Cell::plain));
        rows.into_iter().for_each(|row| table.row(row.into_iter().map(Cell::plain)));
        out.push_str(&table.render(self.width, self.paint));
    }

    fn latency(&self, out: &mut String, notes: &mut Notes) {
        let doc = self.doc();
        let headline = doc.headline_point.and_then(|i| doc.points.get(usize::try_from(i).ok()?));
        let rest = headline
            .filter(|_| doc.points.len() > 1)
            .map(|p| fill(self.text(Text::ShownPoint), &[&inert(&p.label)]));
        self.section(out, self.text(Text::Latency), rest.as_deref().unwrap_or_default());
        let whole = self.latency_table(&[&BODY[..], &TAIL[..]].concat(), notes);
        if whole.width() <= self.width {
            return out.push_str(&whole.render(self.width, self.paint));
        }
        for columns in [&BODY[..], &TAIL[..]] {
            out.push_str(&self.latency_table(columns, notes).render(self.width, self.paint));
        }
    }

    fn latency_table(&self, columns: &[Column], notes: &mut Notes) -> Table {
        let title =
            |name: &str| if name == "mean" { self.text(Text::Mean).to_owned() } else { name.to_owned() };
        let headers = [String::new()].into_iter().chain(columns.iter().map(|(name, _)| title(name)));
        let mut table = Table::new(headers.map(Cell::plain)).even();
        for metric in LATENCY {
            let missing = MetricSummary::unavailable(metric, "");
            let summary = self.doc().metrics.get(metric.name()).unwrap_or(&missing);
            let scale = Scale::for_all(kind(metric), BODY.iter().filter_map(|(_, of)| of(summary).value));
            let cells = columns.iter().map(|(_, of)| estimate_cell(of(summary), scale, notes));
            table.row([Cell::plain(metric.title(self.view.lang))].into_iter().chain(cells));
        }
        table
    }

    fn figures(&self, out: &mut String, notes: &mut Notes) {
        let mut rows: Vec<(&str, String, String)> = Vec::new();
        for metric in FIGURES {
            let Some(summary) = self.doc().metrics.get(metric.name()) else { continue };
            // Peaks are the largest of the trials' peaks; everything else is a mean over trials.
            let is_peak = matches!(metric, Metric::EngineMemory | Metric::GpuMemory | Metric::LongestGap);
            let estimate = if is_peak { &summary.max } else { &summary.mean };
            if estimate.value.is_none() && !ALWAYS.contains(&metric) {
                continue;
            }
            let scale = Scale::of(kind(metric), estimate.value.unwrap_or_default());
            let cell = estimate_cell(estimate, scale, notes);
            let tail = metric == Metric::Tlr && estimate.value.is_some_and(|v| v >= HEAVY_TAIL);
            let mark = if tail { format!("  ▲ {}", self.text(Text::HeavyTail)) } else { String::new() };
            rows.push((metric.title(self.view.lang), cell.main, cell.note + &self.paint.warn(&mark)));
        }
        let client = summary::client(self.doc(), self.view.lang);
        if rows.is_empty() && client.is_empty() {
            return;
        }
        self.section(out, self.text(Text::Throughput), "");
        let titles = rows.iter().map(|r| wide(r.0)).chain([wide(self.text(Text::Client))]).max().unwrap_or(0);
        let values = rows.iter().map(|r| wide(&r.1)).max().unwrap_or(0);
        for (title, value, interval) in rows {
            let line =
                format!("  {}  {}  {}", left(title, titles), left(&value, values), self.paint.dim(&interval));
            let _ = writeln!(out, "{}", line.trim_end());
        }
        for (i, line) in wrap(&client, self.width.saturating_sub(titles + 4)).iter().enumerate() {
            let title = if i == 0 { self.text(Text::Client) } else { "" };
            let _ = writeln!(out, "  {}  {line}", left(title, titles));
        }
    }

    fn points(&self, out: &mut String, notes: &mut Notes) {
        if !self.doc().engines.is_empty() {
            self.section(out, self.text(Text::EnginesTitle), "");
            let mut table = Table::new(engines::HEADERS.map(|t| Cell::plain(self.text(t))));
            for row in engines::rows(self.doc(), self.view.lang) {
                table.row(row.map(|cell| Cell::plain(inert(&cell))));
            }
            out.push_str(&table.render(self.width, self.paint));
        }
        if self.doc().points.len() < 2 {
            return;
        }
        self.section(out, self.text(Text::Points), self.text(Text::WiderHalf));
        let columns = points::columns(self.doc(), self.view.lang, notes);
        let mut table = Table::new(columns.iter().map(|c| c.title.clone()));
        for i in 0..self.doc().points.len() {
            table.row(
                columns.iter().map(|c| Cell { main: inert(&c.cells[i].main), note: c.cells[i].note.clone() }),
            );
        }
        out.push_str(&table.render(self.width, self.paint));
    }

    fn cost(&self, out: &mut String, notes: &mut Notes) {
        let Some(cost) = &self.doc().cost else { return };
        let lang = self.view.lang;
        self.section(out, self.text(Text::CostTitle), &inert(&cost::price_line(cost, lang)));
        let safe = |row: Vec<Cell>| row.into_iter().map(|c| Cell { main: inert(&c.main), note: c.note });
        let mut table = Table::new(safe(cost::headers(cost, lang)));
        cost::bases(cost, lang, notes).into_iter().for_each(|row| table.row(safe(row)));
        out.push_str(&table.render(self.width, self.paint));
        for other in &cost.alternatives {
            let kind = cost::kind(&other.kind).map_or(other.kind.as_str(), |t| self.text(t));
            let cell = cost::number(&other.output_per_1m, notes);
            let line = format!(
                "{} ({kind}): {} {} · {} {:.0}%",
                inert(&other.id),
                self.text(Text::CostOutput),
                cell.main,
                self.text(Text::CostRatio),
                other.ratio * 100.
            );
            for line in wrap(&line, self.width.saturating_sub(4)) {
                let _ = writeln!(out, "  {}", self.paint.dim(&line));
            }
        }
    }

    /// Values of the target's own; their unit is the target's business.
    fn custom(&self, out: &mut String) {
        let custom = &self.doc().custom;
        if custom.is_empty() {
            return;
        }
        self.section(out, self.text(Text::CustomMetrics), "");
        let names = custom.keys().map(|name| wide(name)).max().unwrap_or(0);
        for (name, estimate) in custom {
            let number = |v: f64| Scale::of(Kind::Plain, v).number(v);
            let value = estimate.value.map_or_else(|| "–".to_owned(), number);
            let interval = match (estimate.interval, &estimate.reason) {
                (Some(i), _) => format!("[{}, {}]", number(i.lo), number(i.hi)),
                (None, Some(reason)) => inert(reason),
                (None, None) => String::new(),
            };
            let name = left(&inert(name), names);
            let _ = writeln!(out, "  {name}  {value}  {}", self.paint.dim(&interval));
        }
    }

    fn best(&self, out: &mut String) {
        if let Some(best) = engines::best(self.doc()) {
            let _ = writeln!(out, "  {}: {}", self.text(Text::BestPoint), inert(&best));
        }
    }

    fn failures(&self, out: &mut String) {
        let failures = summary::failures(self.doc());
        if failures.is_empty() {
            return;
        }
        self.section(out, self.text(Text::Errors), "");
        let numbers = failures.iter().map(|(_, n)| wide(&count(*n))).max().unwrap_or(0);
        let kinds = failures.iter().map(|(kind, _)| wide(kind)).max().unwrap_or(0);
        for (kind, n) in failures {
            let meaning = summary::end_text(kind).map_or("", |t| self.text(t));
            let kind = left(&inert(kind), kinds);
            let _ = writeln!(out, "  {:>numbers$} × {kind}  {}", count(n), self.paint.dim(meaning));
        }
    }

    fn notes(&self, out: &mut String, notes: &Notes) {
        let level =
            summary::level_percent(self.doc()).map(|level| fill(self.text(Text::IntervalNote), &[&level]));
        if level.is_none() && notes.reasons().is_empty() {
            return;
        }
        out.push('\n');
        for line in level.into_iter().flat_map(|l| wrap(&l, self.width - 2)) {
            let _ = writeln!(out, "  {}", self.paint.dim(&line));
        }
        for (i, reason) in notes.reasons().iter().enumerate() {
            for (j, line) in wrap(&inert(reason), self.width - 4).into_iter().enumerate() {
                let mark = if j == 0 { superscript(i + 1) } else { " ".to_owned() };
                let _ = writeln!(out, "  {}", self.paint.dim(&format!("{mark} {line}")));
            }
        }
    }

    fn files(&self, out: &mut String, dir: &str) {
        self.section(out, self.text(Text::Files), "");
        let dir = inert(dir.trim_end_matches('/'));
        let _ = writeln!(out, "  {dir}/report.html");
        let _ = writeln!(
            out,
            "  {}",
            self.paint.dim("metrics.json  report.csv  events.parquet  run.log  config.lock.json")
        );
    }
}

fn estimate_cell(estimate: &Estimate, scale: Scale, notes: &mut Notes) -> Cell {
    match scale.estimate(estimate) {
        None => Cell::plain(format!("–{}", notes.of(estimate))),
        Some(shown) => Cell {
            main: joined(&shown.value, scale.unit),
            note: shown.interval.unwrap_or_else(|| notes.of(estimate)),
        },
    }
}
