//! The headline: what most readers came for, and the points of a sweep.

use stopwatt_core::Metric;
use stopwatt_core::metrics_doc::{Estimate, MetricSummary};
use stopwatt_core::text::Text;

use super::Page;
use super::metrics::{note, reasons};
use crate::markup::Markup;
use crate::notes::Notes;
use crate::points;
use crate::quantity::{Scale, count, kind};
use crate::summary;
use crate::table::Cell;

type Pick = fn(&MetricSummary) -> &Estimate;

/// The tiles: what most readers came for.
const TILES: [(Metric, &str, Pick); 4] = [
    (Metric::Ttft, "p50", |m| &m.p50),
    (Metric::Tpot, "mean", |m| &m.mean),
    (Metric::E2e, "p95", |m| &m.p95),
    (Metric::OutputThroughput, "", |m| &m.mean),
];

impl Page<'_> {
    /// The headline numbers.
    pub(super) fn tiles(&self, m: &mut Markup) {
        let metrics = &self.view.doc.metrics;
        // Requests that met their objectives say more than requests; both need the same place.
        let has_value = |m: Metric| metrics.get(m.name()).is_some_and(|s| s.mean.value.is_some());
        let rate = if has_value(Metric::Goodput) { Metric::Goodput } else { Metric::RequestThroughput };
        let rate: (Metric, &str, Pick) = (rate, "", |m| &m.mean);
        m.literal("\n");
        m.el("section", &[("class", "tiles")], |m| {
            for (metric, statistic, pick) in TILES.into_iter().chain([rate]) {
                let missing = Estimate::default();
                let estimate = metrics.get(metric.name()).map_or(&missing, pick);
                self.tile(m, metric, statistic, estimate);
            }
            self.failed_tile(m);
        });
        self.headline_note(m);
    }

    fn tile(&self, m: &mut Markup, metric: Metric, statistic: &str, estimate: &Estimate) {
        let scale = Scale::of(kind(metric), estimate.value.unwrap_or_default());
        let shown = scale.estimate(estimate);
        let statistic = if statistic == "mean" { self.text(Text::Mean) } else { statistic };
        m.el("div", &[("class", "tile")], |m| {
            m.el_text(
                "div",
                &[("class", "label")],
                format!("{} {statistic}", metric.title(self.view.lang)).trim(),
            );
            m.el("div", &[("class", "value")], |m| {
                m.text(shown.as_ref().map_or("–", |s| s.value.as_str()));
                if shown.is_some() && !scale.unit.is_empty() {
                    m.el_text("small", &[], scale.unit);
                }
            });
            let interval = shown.and_then(|s| s.interval);
            let below = interval.or_else(|| estimate.reason.clone()).unwrap_or_default();
            m.el_text("div", &[("class", "interval")], &below);
        });
    }

    fn failed_tile(&self, m: &mut Markup) {
        let doc = self.view.doc;
        let failed: u64 = summary::failures(doc).iter().map(|(_, n)| n).sum();
        let requests: u64 = doc.points.iter().map(|p| p.requests).sum();
        m.el("div", &[("class", "tile")], |m| {
            m.el_text("div", &[("class", "label")], self.text(Text::FailedRequests));
            m.el_text("div", &[("class", "value")], &count(failed));
            m.el_text("div", &[("class", "interval")], &self.say(Text::OfRequests, &[&count(requests)]));
        });
    }

    /// Which point the numbers belong to, where there are several.
    pub(super) fn headline_note(&self, m: &mut Markup) {
        let doc = self.view.doc;
        let point = doc.headline_point.and_then(|i| doc.points.get(usize::try_from(i).ok()?));
        if let Some(point) = point.filter(|_| doc.points.len() > 1) {
            m.el_text("p", &[("class", "note at")], &self.say(Text::ShownPoint, &[&point.label]));
        }
    }

    /// The points of a sweep, the headline point tinted.
    pub(super) fn points_table(&self, m: &mut Markup) {
        let doc = self.view.doc;
        let mut notes = Notes::default();
        let columns = points::columns(doc, self.view.lang, &mut notes);
        m.el("div", &[("class", "scroll")], |m| {
            m.el("table", &[], |m| {
                m.el("thead", &[], |m| {
                    m.el("tr", &[], |m| {
                        for Cell { main, note: unit } in columns.iter().map(|c| &c.title) {
                            m.el("th", &[("scope", "col")], |m| {
                                m.text(main);
                                m.text(" ");
                                m.el_text("small", &[], unit);
                            });
                        }
                    });
                });
                m.el("tbody", &[], |m| {
                    for i in 0..doc.points.len() {
                        let best = doc.headline_point == Some(i as u64);
                        m.el("tr", &[("class", if best { "best" } else { "" })], |m| {
                            for column in &columns {
                                let cell = &column.cells[i];
                                m.el("td", &[], |m| {
                                    m.text(&cell.main);
                                    note(m, &cell.note);
                                });
                            }
                        });
                    }
                });
            });
        });
        m.el_text("p", &[("class", "note at")], self.text(Text::WiderHalf));
        reasons(m, &notes);
    }
}
