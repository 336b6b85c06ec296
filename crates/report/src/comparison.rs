//! A comparison on a terminal and as CSV: what a person wants first, the verdicts, then how sure they are.

use std::fmt::Write as _;

use stopwatt_core::comparison::{ComparisonDoc, GateState, MetricComparison, Verdict};
use stopwatt_core::text::{Lang, Text};
use stopwatt_core::{Metric, metric};

use crate::causes;
use crate::csv::{number, text_cell};
use crate::quantity::{Scale, kind};
use crate::table::{Cell, Paint, Table, inert, wrap};
use crate::terminal::Style;

/// Pieces of evidence shown for each cause, at most.
const EVIDENCE: usize = 4;

/// The comparison as text.
pub fn comparison(doc: &ComparisonDoc, lang: Lang, style: Style<'_>) -> String {
    let page = Page { doc, lang, width: usize::from(style.width.max(40)), paint: Paint(style.color) };
    let mut out = String::new();
    page.heading(&mut out);
    for candidate in &doc.candidates {
        page.table(&mut out, &candidate.name);
    }
    page.differences(&mut out);
    page.causes(&mut out);
    page.gates(&mut out);
    page.footnotes(&mut out);
    out
}

struct Page<'a> {
    doc: &'a ComparisonDoc,
    lang: Lang,
    width: usize,
    paint: Paint,
}

impl Page<'_> {
    fn text(&self, text: Text) -> &'static str {
        text.get(self.lang)
    }

    fn heading(&self, out: &mut String) {
        let _ = writeln!(out, "{}", self.paint.bold(self.text(Text::ComparisonTitle)));
        let side = |run: &stopwatt_core::comparison::ComparedRun| match &run.run_id {
            Some(id) if *id != run.name => format!("{} ({id})", inert(&run.name)),
            _ => inert(&run.name),
        };
        let _ = writeln!(out, "  {}  {}", self.text(Text::Baseline), side(&self.doc.baseline));
        for candidate in &self.doc.candidates {
            let _ = writeln!(out, "  {}  {}", self.text(Text::Candidate), side(candidate));
        }
        for warning in &self.doc.warnings {
            self.line(out, "  ! ", warning);
        }
    }

    fn line(&self, out: &mut String, mark: &str, text: &str) {
        for (i, line) in wrap(&inert(text), self.width.saturating_sub(4)).into_iter().enumerate() {
            let _ = writeln!(out, "{}{line}", if i == 0 { mark } else { "    " });
        }
    }

    /// The judged metrics of a candidate, then the others, point by point.
    fn table(&self, out: &mut String, run: &str) {
        let rows: Vec<&MetricComparison> = self.doc.comparisons.iter().filter(|c| c.run == run).collect();
        let mut points: Vec<Option<&str>> = rows.iter().map(|c| c.point.as_deref()).collect();
        points.dedup();
        for point in points {
            let title = match (self.doc.candidates.len(), point) {
                (1, Some(point)) => point.to_owned(),
                (1, None) => String::new(),
                (_, Some(point)) => format!("{run} · {point}"),
                (_, None) => run.to_owned(),
            };
            let _ = writeln!(out, "\n{}", self.paint.bold(&inert(&title)));
            let here = || rows.iter().filter(|c| c.point.as_deref() == point);
            for primary in [true, false] {
                let shown: Vec<_> = here().filter(|c| c.primary == primary).collect();
                if shown.is_empty() {
                    continue;
                }
                let mut table = Table::new(
                    [
                        if primary { "" } else { self.text(Text::WithoutVerdict) },
                        self.text(Text::Baseline),
                        self.text(Text::Candidate),
                        self.text(Text::Change),
                        "Hedges g",
                        if primary { self.text(Text::VerdictTitle) } else { "" },
                    ]
                    .map(Cell::plain),
                );
                for row in shown {
                    table.row(self.row(row));
                }
                out.push_str(&table.render(self.width, self.paint));
            }
            for row in here().filter(|c| c.primary) {
                if let Some(reason) = &row.reason {
                    self.line(out, "  · ", &format!("{} {}: {reason}", row.metric, row.statistic));
                }
            }
        }
    }

    fn row(&self, row: &MetricComparison) -> [Cell; 6] {
        let shown = Shown::of(row, self.lang);
        [
            Cell::plain(inert(&shown.name)),
            Cell::plain(shown.baseline),
            Cell::plain(shown.candidate),
            Cell { main: shown.change, note: shown.interval },
            Cell::plain(shown.g),
            Cell::plain(row.verdict.map_or_else(String::new, |v| verdict(v, self.lang))),
        ]
    }

    fn differences(&self, out: &mut String) {
        if self.doc.differences.is_empty() && self.doc.unmatched.is_empty() {
            return;
        }
        let _ = writeln!(out, "\n{}", self.paint.bold(self.text(Text::DifferencesTitle)));
        for d in &self.doc.differences {
            let mark = if d.forbids { "  ✗ " } else { "  · " };
            let side = |v: &Option<String>| v.clone().unwrap_or_else(|| "-".to_owned());
            self.line(out, mark, &format!("{}: {} → {}", d.what, side(&d.baseline), side(&d.candidate)));
        }
        for point in &self.doc.unmatched {
            self.line(out, "  · ", &format!("{}: {point}", self.text(Text::OnlyOneSide)));
        }
    }

    /// Why, largest first; what could not be looked at is named.
    fn causes(&self, out: &mut String) {
        let doc = self.doc;
        let _ = writeln!(out, "\n{}", self.paint.bold(self.text(Text::CausesTitle)));
        if doc.causes.is_empty() {
            self.line(out, "  ", causes::none(doc, self.lang));
        }
        for cause in &doc.causes {
            let title = causes::title(cause, doc, self.lang);
            let explains = self.text(Text::CauseShare);
            self.line(out, "  • ", &format!("{title}, {explains} {}", causes::share(cause)));
            for evidence in cause.evidence.iter().take(EVIDENCE) {
                let at = evidence.point.as_deref().filter(|_| self.several_points());
                let at = at.map(|p| format!("{p}: ")).unwrap_or_default();
                self.line(out, "    ", &format!("{at}{}", evidence.sentence(self.lang)));
            }
            if let Some(more) = cause.evidence.len().checked_sub(EVIDENCE).filter(|n| *n > 0) {
                let more = stopwatt_core::text::fill(self.text(Text::MoreFindings), &[&more.to_string()]);
                self.line(out, "    ", &more);
            }
            if let Some(hint) = cause.evidence.first().and_then(|e| e.hint_in(self.lang)) {
                self.line(out, "    → ", hint);
            }
        }
        let unchecked = causes::unchecked(doc, self.lang);
        if !unchecked.is_empty() {
            self.line(out, "  ", &format!("{}: {}", self.text(Text::CausesUnchecked), unchecked.join("; ")));
        }
    }

    fn several_points(&self) -> bool {
        let first = self.doc.comparisons.first().and_then(|c| c.point.as_deref());
        self.doc.comparisons.iter().any(|c| c.point.as_deref() != first)
    }

    fn gates(&self, out: &mut String) {
        let Some(overall) = self.doc.gate else { return };
        let (mark, text) = state(overall);
        let title = format!("{mark} {}", self.text(text));
        let painted = match overall {
            GateState::Passed => self.paint.good(&title),
            GateState::Failed => self.paint.bad(&title),
            GateState::Inconclusive => self.paint.warn(&title),
        };
        let _ = writeln!(out, "\n{painted}");
        for gate in &self.doc.gates {
            let point = gate.point.as_deref().map(|p| format!(" ({p})")).unwrap_or_default();
            self.line(
                out,
                &format!("  {} ", state(gate.state).0),
                &format!("{}{point}: {}", gate.gate, gate.detail),
            );
        }
    }

    fn footnotes(&self, out: &mut String) {
        let note = stopwatt_core::text::fill(
            self.text(Text::ComparisonNote),
            &[&format!("{}", self.doc.level * 100.0), &format!("{}", self.doc.margin * 100.0)],
        );
        let _ = writeln!(out);
        self.line(out, "  ", &note);
    }
}

/// A compared metric in words.
pub(crate) struct Shown {
    /// Title and statistic.
    pub(crate) name: String,
    /// Values in a common unit.
    pub(crate) baseline: String,
    pub(crate) candidate: String,
    /// `-12.3%` or `+1.0 pp`.
    pub(crate) change: String,
    /// `[-13.0, -11.5]`; empty without one.
    pub(crate) interval: String,
    /// Hedges g.
    pub(crate) g: String,
}

impl Shown {
    /// The words for a row.
    pub(crate) fn of(row: &MetricComparison, lang: Lang) -> Self {
        let known = Metric::from_name(&row.metric);
        let title = known.map_or(row.metric.as_str(), |m| m.title(lang));
        let name = match known.is_some_and(|m| m.info().per == metric::Per::Trial) {
            true => title.to_owned(),
            false => format!("{title} {}", row.statistic),
        };
        let values = [row.baseline, row.candidate].into_iter().flatten();
        let scale = known.map_or(Scale { unit: "", factor: 1.0 }, |m| Scale::for_all(kind(m), values));
        let value = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| scale.with_unit(v));
        let unit = if row.absolute { " pp" } else { "%" };
        // Rounded first, so that a trifle below zero has no sign of its own.
        let percent = |v: f64| format!("{:+.1}", (v * 1000.0).round() / 10.0 + 0.0);
        Self {
            name,
            baseline: value(row.baseline),
            candidate: value(row.candidate),
            change: row.delta.map_or_else(|| "-".to_owned(), |d| format!("{}{unit}", percent(d))),
            interval: row
                .ci95
                .map_or_else(String::new, |[lo, hi]| format!("[{}, {}]", percent(lo), percent(hi))),
            g: row
                .hedges_g
                .map_or_else(|| "-".to_owned(), |g| format!("{:+.1}", (g * 10.0).round() / 10.0 + 0.0)),
        }
    }
}

/// A verdict with a mark that differs in shape.
pub(crate) fn verdict(verdict: Verdict, lang: Lang) -> String {
    let (mark, text) = match verdict {
        Verdict::Improved => ("✓", Text::Improved),
        Verdict::Regressed => ("✗", Text::Regressed),
        Verdict::Equivalent => ("=", Text::Equivalent),
        Verdict::Inconclusive => ("?", Text::Inconclusive),
    };
    format!("{mark} {}", text.get(lang))
}

/// The mark of a gate's state, and the words for all gates together.
pub(crate) fn state(state: GateState) -> (&'static str, Text) {
    match state {
        GateState::Passed => ("✓", Text::GatesPassed),
        GateState::Failed => ("✗", Text::GatesFailed),
        GateState::Inconclusive => ("?", Text::GatesInconclusive),
    }
}

/// One line a compared metric.
pub fn comparison_csv(doc: &ComparisonDoc) -> String {
    let mut out = String::from(
        "run,point,metric,statistic,unit,baseline,candidate,absolute,delta,ci_lo,ci_hi,hedges_g,p,p_holm,primary,verdict\n",
    );
    for c in &doc.comparisons {
        let verdict = match c.verdict {
            None => "",
            Some(Verdict::Improved) => "improved",
            Some(Verdict::Regressed) => "regressed",
            Some(Verdict::Equivalent) => "equivalent",
            Some(Verdict::Inconclusive) => "inconclusive",
        };
        let fields = [
            text_cell(&c.run),
            text_cell(c.point.as_deref().unwrap_or_default()),
            c.metric.clone(),
            c.statistic.clone(),
            c.unit.clone(),
            number(c.baseline),
            number(c.candidate),
            c.absolute.to_string(),
            number(c.delta),
            number(c.ci95.map(|ci| ci[0])),
            number(c.ci95.map(|ci| ci[1])),
            number(c.hedges_g),
            number(c.p),
            number(c.p_holm),
            c.primary.to_string(),
            verdict.to_owned(),
        ];
        let _ = writeln!(out, "{}", fields.join(","));
    }
    out
}
