//! The difference plot: the interval of each judged metric against the margin and the limits of gates, turned so that
//! right is better.

use stopwatt_analyse::compare::Gate;
use stopwatt_core::comparison::{MetricComparison, Verdict};
use stopwatt_core::metric::Direction;
use stopwatt_core::text::Text;

use super::Page;
use crate::comparison::Shown;
use crate::markup::Markup;
use crate::quantity::{Kind, Scale};
use crate::svg::{Axis, percent};

/// The axis reaches at most so many times the largest change: one wild interval must not flatten the others.
const REACH: f64 = 3.0;

impl Page<'_> {
    /// One lane a metric, the axis below.
    pub(super) fn forest(&self, m: &mut Markup) {
        let doc = self.doc();
        let (level, margin) = (format!("{}", doc.level * 100.0), format!("{}", doc.margin * 100.0));
        m.el_text("p", &[("class", "note")], &self.say(Text::BaDifferencesNote, &[&level, &margin]));
        // Without judged metrics everything that has an interval is shown.
        let has_delta = |c: &&MetricComparison| c.delta.is_some() && better(c).is_some();
        let mut rows: Vec<&MetricComparison> = self.judged().filter(has_delta).collect();
        let gated = |c: &&MetricComparison| !c.primary && self.limits(c).next().is_some();
        rows.extend(doc.comparisons.iter().filter(|c| gated(c)).filter(has_delta));
        if rows.is_empty() {
            return m.el_text("p", &[], self.text(Text::NotAvailable));
        }
        let axis = self.axis(&rows);
        m.el("div", &[("class", "forest")], |m| {
            for row in rows {
                self.lane(m, row, &axis);
            }
            m.el("div", &[("class", "faxis")], |m| {
                m.el("svg", &[("class", "lane axis"), ("aria-hidden", "true")], |m| {
                    for tick in axis.ticks(8) {
                        let at = percent(tick.at);
                        m.leaf("line", &[("x1", &at), ("x2", &at), ("y1", "0"), ("y2", "5")]);
                        let sign = if tick.at > 0.501 { "+" } else { "" };
                        m.el_text("text", &[("x", &at), ("y", "18")], &format!("{sign}{}", tick.label));
                    }
                });
                m.el_text("div", &[("class", "soft ftitle")], &axis_title(self.text(Text::BaAxis)));
            });
        });
    }

    /// Symmetric about zero, so that a change and its opposite look alike.
    fn axis(&self, rows: &[&MetricComparison]) -> Axis {
        let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let changes = largest(&mut rows.iter().filter_map(|r| r.delta).map(f64::abs));
        let limits = largest(&mut rows.iter().flat_map(|r| self.limits(r)).map(|(v, _)| v.abs()));
        let bounds = largest(&mut rows.iter().filter_map(|r| r.ci95).flatten().map(f64::abs));
        let needed = changes.max(limits).max(2.0 * self.doc().margin);
        let half = needed.max(bounds.min(REACH * needed)) * 1.1;
        Axis::range(-half, half, Scale::of(Kind::Share, 1.), "")
    }

    fn lane(&self, m: &mut Markup, row: &MetricComparison, axis: &Axis) {
        let shown = Shown::of(row, self.view.lang);
        let sign = better(row).unwrap_or(1.0);
        m.el("div", &[("class", "fname")], |m| {
            m.text(&shown.name);
            if let Some(place) = self.place(row) {
                m.el_text("small", &[], &place);
            }
        });
        let class = match row.verdict {
            Some(Verdict::Improved) => "good",
            Some(Verdict::Regressed) => "bad",
            Some(Verdict::Inconclusive) => "open",
            Some(Verdict::Equivalent) | None => "same",
        };
        let label = format!("{}: {} {}", shown.name, shown.change, shown.interval);
        m.el("div", &[("class", "fplot")], |m| {
            m.el("svg", &[("class", "lane"), ("role", "img"), ("aria-label", &label)], |m| {
                let at = |v: f64| percent(axis.at(v));
                let margin = self.doc().margin;
                let width = percent(axis.at(margin) - axis.at(-margin));
                let left = at(-margin);
                m.leaf(
                    "rect",
                    &[("class", "band"), ("x", &left), ("y", "0"), ("width", &width), ("height", "100%")],
                );
                let zero = at(0.0);
                m.leaf(
                    "line",
                    &[("class", "zero"), ("x1", &zero), ("x2", &zero), ("y1", "0"), ("y2", "100%")],
                );
                for (limit, text) in self.limits(row) {
                    let x = at(limit);
                    m.el(
                        "line",
                        &[("class", "gate"), ("x1", &x), ("x2", &x), ("y1", "0"), ("y2", "100%")],
                        |m| {
                            m.el_text("title", &[], &self.say(Text::BaGate, &[text]));
                        },
                    );
                }
                if let Some([lo, hi]) = row.ci95 {
                    let (x1, x2) = (at(sign * lo), at(sign * hi));
                    let class = format!("ci {class}");
                    m.leaf(
                        "line",
                        &[("class", &class), ("x1", &x1), ("x2", &x2), ("y1", "50%"), ("y2", "50%")],
                    );
                    // An interval that goes on beyond the axis ends in an arrow.
                    for v in [sign * lo, sign * hi] {
                        let (place, arrow) = (axis.at(v), if v < 0.0 { "‹" } else { "›" });
                        if place <= 0.0 || place >= 1.0 {
                            let x = percent(place);
                            m.el_text("text", &[("class", "arrow"), ("x", &x), ("y", "50%")], arrow);
                        }
                    }
                }
                if let Some(delta) = row.delta {
                    let x = at(sign * delta);
                    let class = format!("point {class}");
                    m.leaf("circle", &[("class", &class), ("cx", &x), ("cy", "50%"), ("r", "5")]);
                }
            });
        });
        m.el("div", &[("class", "fvalue")], |m| {
            m.text(&shown.change);
            m.el_text("small", &[], &shown.interval);
        });
        m.el("div", &[("class", "fverdict")], |m| self.word(m, row));
    }

    /// Limits of the gates on a row, turned as the row is, with the gates in words.
    fn limits<'r>(&'r self, row: &'r MetricComparison) -> impl Iterator<Item = (f64, &'r str)> {
        self.doc().gates.iter().filter(|g| g.run == row.run && g.point == row.point).filter_map(move |g| {
            let gate: Gate = g.gate.parse().ok()?;
            (gate.subject() == (row.metric.as_str(), row.statistic.as_str()))
                .then(|| (better(row).unwrap_or(1.0) * gate.limit(), g.gate.as_str()))
        })
    }
}

/// −1 where less is better, 1 where more is; `None` where neither is.
fn better(row: &MetricComparison) -> Option<f64> {
    match row.better {
        Direction::Lower => Some(-1.0),
        Direction::Higher => Some(1.0),
        Direction::Neutral => None,
    }
}

fn axis_title(words: &str) -> String {
    format!("{words} →")
}
