//! Every metric with its interval, the reasons of those that are missing, and what each one means.

use stopwatt_core::Metric;
use stopwatt_core::metric::Direction;
use stopwatt_core::metrics_doc::{Estimate, MetricSummary};
use stopwatt_core::text::Text;

use super::Page;
use crate::markup::Markup;
use crate::notes::Notes;
use crate::quantity::{Kind, Scale, count, kind};
use crate::summary;
use crate::terminal::HEAVY_TAIL;

type Pick = fn(&MetricSummary) -> &Estimate;

/// Columns of the table of metrics, with the observations behind them last.
const COLUMNS: [(&str, Pick); 8] = [
    ("mean", |m| &m.mean),
    ("p50", |m| &m.p50),
    ("p95", |m| &m.p95),
    ("p99", |m| &m.p99),
    ("p99.9", |m| &m.p999),
    ("min", |m| &m.min),
    ("max", |m| &m.max),
    ("std", |m| &m.std),
];

impl Page<'_> {
    /// Every metric that has a value, then the reasons of the others.
    pub(super) fn metrics(&self, m: &mut Markup) {
        if let Some(level) = summary::level_percent(self.view.doc) {
            m.el_text("p", &[("class", "note")], &self.say(Text::ResultsNote, &[&level]));
        }
        let mut notes = Notes::default();
        m.el("div", &[("class", "scroll")], |m| {
            m.el("table", &[], |m| {
                m.el("thead", &[], |m| {
                    m.el("tr", &[], |m| {
                        m.el_text("th", &[("scope", "col")], self.text(Text::Metric));
                        for (name, _) in COLUMNS {
                            let name = if name == "mean" { self.text(Text::Mean) } else { name };
                            m.el_text("th", &[("scope", "col")], name);
                        }
                        m.el_text("th", &[("scope", "col")], "n");
                    });
                });
                for group in [
                    Text::GroupLatency,
                    Text::GroupThroughput,
                    Text::GroupLoad,
                    Text::GroupEngine,
                    Text::GroupMachine,
                ] {
                    self.metric_group(m, group, &mut notes);
                }
            });
        });
        reasons(m, &notes);
        self.custom(m);
        self.missing(m);
    }

    /// Values of the target's own; their unit is the target's business.
    fn custom(&self, m: &mut Markup) {
        let custom = &self.view.doc.custom;
        if custom.is_empty() {
            return;
        }
        m.el_text("h3", &[("class", "at")], self.text(Text::CustomMetrics));
        m.el("div", &[("class", "scroll")], |m| {
            m.el("table", &[], |m| {
                m.el("tbody", &[], |m| {
                    for (name, estimate) in custom {
                        let number = |v: f64| Scale::of(Kind::Plain, v).number(v);
                        m.el("tr", &[], |m| {
                            m.el_text("th", &[("scope", "row")], name);
                            m.el("td", &[], |m| {
                                m.text(&estimate.value.map_or_else(|| "–".to_owned(), number));
                                match (estimate.interval, &estimate.reason) {
                                    (Some(i), _) => {
                                        let (lo, hi) = (number(i.lo), number(i.hi));
                                        m.el_text("small", &[], &format!("[{lo}, {hi}]"));
                                    }
                                    (None, Some(reason)) => m.el_text("small", &[("class", "why")], reason),
                                    (None, None) => {}
                                }
                            });
                            m.el_text("td", &[], &count(estimate.n));
                        });
                    }
                });
            });
        });
    }

    fn metric_group(&self, m: &mut Markup, group: Text, notes: &mut Notes) {
        let known = |metric: &Metric| Some((*metric, self.view.doc.metrics.get(metric.name())?));
        let has_value = |s: &MetricSummary| s.statistics().iter().any(|(_, e)| e.value.is_some());
        let rows: Vec<_> = Metric::ALL
            .iter()
            .filter(|x| group_of(**x) == group)
            .filter_map(known)
            .filter(|(_, s)| has_value(s))
            .collect();
        if rows.is_empty() {
            return;
        }
        m.el("tbody", &[], |m| {
            m.el("tr", &[("class", "group")], |m| {
                m.el_text("th", &[("colspan", "10"), ("scope", "colgroup")], self.text(group));
            });
            for (metric, summary) in rows {
                self.metric_row(m, metric, summary, notes);
            }
        });
    }

    fn metric_row(&self, m: &mut Markup, metric: Metric, summary: &MetricSummary, notes: &mut Notes) {
        let scale = Scale::for_all(
            kind(metric),
            [&summary.mean, &summary.p50, &summary.p95].iter().filter_map(|e| e.value),
        );
        m.el("tr", &[], |m| {
            m.el("th", &[("scope", "row")], |m| {
                m.text(metric.title(self.view.lang));
                m.text(" ");
                m.el_text("small", &[], scale.unit);
            });
            for (name, pick) in COLUMNS {
                let estimate = pick(summary);
                m.el("td", &[], |m| {
                    let Some(shown) = scale.estimate(estimate) else {
                        m.text("–");
                        return m
                            .text(&estimate.reason.as_deref().map(|r| notes.mark(r)).unwrap_or_default());
                    };
                    m.text(&shown.value);
                    if metric == Metric::Tlr
                        && name == "mean"
                        && estimate.value.is_some_and(|v| v >= HEAVY_TAIL)
                    {
                        m.el("span", &[("class", "flag"), ("title", self.text(Text::HeavyTail))], |m| {
                            m.text(" ▲")
                        });
                    }
                    let below = shown.interval.unwrap_or_else(|| notes.of(estimate));
                    note(m, &below);
                });
            }
            m.el_text("td", &[], &count(summary.mean.n));
        });
    }

    /// Metrics without any value, by reason.
    fn missing(&self, m: &mut Markup) {
        let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
        let doc = self.view.doc;
        let metrics = Metric::ALL.iter().filter_map(|metric| {
            let summary = doc.metrics.get(metric.name())?;
            let absent = summary.statistics().iter().all(|(_, e)| e.value.is_none());
            absent.then(|| (summary.mean.reason.as_deref().unwrap_or_default(), metric.title(self.view.lang)))
        });
        let keys = doc.reasons.iter().map(|(key, reason)| (reason.as_str(), key.as_str()));
        for (reason, name) in metrics.chain(keys) {
            match by_reason.iter_mut().find(|(r, _)| *r == reason) {
                Some((_, names)) => names.push(name),
                None => by_reason.push((reason, vec![name])),
            }
        }
        if by_reason.is_empty() {
            return;
        }
        m.el_text("h3", &[("class", "at")], self.text(Text::NotAvailable));
        m.el("table", &[("class", "words")], |m| {
            m.el("tbody", &[], |m| {
                for (reason, names) in by_reason {
                    m.el("tr", &[], |m| {
                        m.el_text("th", &[("scope", "row")], &names.join(", "));
                        m.el_text("td", &[], reason);
                    });
                }
            });
        });
    }

    /// The definitions of every metric in the run.
    pub(super) fn definitions(&self, m: &mut Markup) {
        m.el("table", &[("class", "words")], |m| {
            m.el("tbody", &[], |m| {
                for metric in Metric::ALL {
                    let Some(summary) = self.view.doc.metrics.get(metric.name()) else { continue };
                    let direction = match summary.better {
                        Direction::Lower => Some(Text::DirectionLower),
                        Direction::Higher => Some(Text::DirectionHigher),
                        Direction::Neutral => None,
                    };
                    m.el("tr", &[], |m| {
                        m.el_text("th", &[("scope", "row")], metric.title(self.view.lang));
                        m.el("td", &[], |m| {
                            m.text(metric.formula(self.view.lang));
                            let words = [Some(summary.definition.as_str()), direction.map(|d| self.text(d))];
                            m.el_text(
                                "small",
                                &[],
                                &words.into_iter().flatten().collect::<Vec<_>>().join(" · "),
                            );
                        });
                    });
                }
            });
        });
    }
}

fn group_of(metric: Metric) -> Text {
    match metric {
        Metric::InputTokens | Metric::OutputTokens => Text::GroupLoad,
        Metric::EngineCpu | Metric::EngineMemory => Text::GroupEngine,
        Metric::Power
        | Metric::EnergyPerToken
        | Metric::NetEnergyPerToken
        | Metric::EnergyPerTotalToken
        | Metric::EnergyPerRequest
        | Metric::GpuMemory
        | Metric::GpuUse
        | Metric::L2HitRate
        | Metric::DramBytes
        | Metric::L1dHitRate
        | Metric::LlcHitRate => Text::GroupMachine,
        _ if metric.info().unit == "s" => Text::GroupLatency,
        _ => Text::GroupThroughput,
    }
}

/// What stands below a value: its interval, or the mark of a footnote, which is raised and needs a larger type.
pub(super) fn note(m: &mut Markup, note: &str) {
    let is_interval = note.starts_with(['±', '[']);
    match note {
        "" => {}
        _ if is_interval => m.el_text("small", &[], note),
        _ => m.el_text("small", &[("class", "mark")], note),
    }
}

/// Footnotes of a table.
pub(super) fn reasons(m: &mut Markup, notes: &Notes) {
    if !notes.reasons().is_empty() {
        m.el("ol", &[("class", "reasons")], |m| {
            notes.reasons().iter().for_each(|reason| m.el_text("li", &[], reason));
        });
    }
}
