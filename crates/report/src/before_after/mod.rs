//! `compare --html`: before and after on one page that opens from disk, in the style of a run's report.
//!
//! ```text
//! ComparisonDoc ──► verdict ─► tiles ─► differences ─► table ─► trials ─┐
//! View (each)   ──► requests, sensors, checklist, licences, energy    ──┴─► one file
//! ```
//!
//! Invariants, as for the report of a run: nothing is loaded, no text of a record becomes markup, colour never carries a
//! meaning alone, the same input gives the same bytes.

mod checklist;
mod forest;
mod plots;
mod records;

use stopwatt_analyse::rca::Sensors;
use stopwatt_core::comparison::{Artefact, ComparedRun, ComparisonDoc, GateState, MetricComparison, Verdict};
use stopwatt_core::text::{Lang, Text, fill};

use crate::View;
use crate::causes;
use crate::comparison::{Shown, state, verdict};
use crate::facts::Facts;
use crate::html::{document, section, words_table};
use crate::markup::Markup;
use crate::summary;

/// Everything that the page is made from.
#[derive(Debug, Clone, Copy)]
pub struct ComparisonView<'a> {
    /// The comparison.
    pub doc: &'a ComparisonDoc,
    /// What is known of the baseline.
    pub baseline: ComparedView<'a>,
    /// What is known of each candidate, in the order of the comparison.
    pub candidates: &'a [ComparedView<'a>],
    /// Language of the texts.
    pub lang: Lang,
}

/// What is known of one side besides its trial values; nothing of a table of samples.
#[derive(Debug, Clone, Copy, Default)]
pub struct ComparedView<'a> {
    /// The run.
    pub view: Option<View<'a>>,
    /// What its sensors read.
    pub sensors: Option<&'a Sensors>,
    /// The files that it must hold.
    pub artefacts: &'a [Artefact],
}

/// The whole page.
pub fn comparison_html(view: &ComparisonView<'_>) -> String {
    let page = Page { view };
    let title = format!("{} · {}", page.subject(), page.text(Text::BeforeAfterTitle));
    document(view.lang, &title, |m| page.main(m))
}

struct Page<'a> {
    view: &'a ComparisonView<'a>,
}

impl<'a> Page<'a> {
    fn text(&self, text: Text) -> &'static str {
        text.get(self.view.lang)
    }

    fn say(&self, text: Text, values: &[&str]) -> String {
        fill(self.text(text), values)
    }

    fn doc(&self) -> &'a ComparisonDoc {
        self.view.doc
    }

    /// `before → after`.
    fn subject(&self) -> String {
        let candidates: Vec<&str> = self.doc().candidates.iter().map(|c| c.name.as_str()).collect();
        format!("{} → {}", self.doc().baseline.name, candidates.join(", "))
    }

    /// Every side with its name, baseline first.
    fn sides(&self) -> impl Iterator<Item = (&'a ComparedRun, ComparedView<'a>)> {
        let runs = std::iter::once(&self.view.doc.baseline).chain(&self.view.doc.candidates);
        let views = std::iter::once(self.view.baseline).chain(self.view.candidates.iter().copied());
        runs.zip(views)
    }

    /// Metrics that are judged.
    fn judged(&self) -> impl Iterator<Item = &'a MetricComparison> {
        self.view.doc.comparisons.iter().filter(|c| c.primary)
    }

    fn main(&self, m: &mut Markup) {
        m.el("header", &[], |m| {
            self.heading(m);
            self.verdict(m);
            self.navigation(m);
        });
        self.tiles(m);
        section(m, "differences", self.text(Text::BaDifferences), |m| self.forest(m));
        section(m, "causes", self.text(Text::CausesTitle), |m| self.causes(m));
        self.trials(m);
        self.requests(m);
        self.sensors(m);
        section(m, "table", self.text(Text::BaTable), |m| self.table(m));
        section(m, "environment", self.text(Text::Environment), |m| self.environment(m));
        section(m, "checklist", self.text(Text::BaChecklist), |m| self.checklist(m));
        section(m, "licences", self.text(Text::BaLicences), |m| self.licences(m));
        self.energy(m);
        section(m, "again", self.text(Text::NavReproduce), |m| self.again(m));
        let version = self.sides().find_map(|(_, s)| s.view).map_or(String::new(), |v| {
            Facts::read(v.log).fingerprint.map_or(String::new(), |f| f.stopwatt.clone())
        });
        let runs: Vec<&str> = self.sides().filter_map(|(run, _)| run.run_id.as_deref()).collect();
        m.el_text("footer", &[], &self.say(Text::MadeBy, &[&version, &runs.join(", ")]));
    }

    fn heading(&self, m: &mut Markup) {
        m.el_text("p", &[("class", "brand")], &format!("Stopwatt · {}", self.text(Text::BeforeAfterTitle)));
        m.el_text("h1", &[], &self.subject());
        for (i, (run, side)) in self.sides().enumerate() {
            let role = if i == 0 { Text::Baseline } else { Text::Candidate };
            m.el("ul", &[("class", "facts")], |m| {
                let mut fact = |title: &str, value: &str| {
                    m.el("li", &[], |m| {
                        m.text(title);
                        m.text(" ");
                        m.el_text("b", &[], value);
                    });
                };
                fact(self.text(role), &run.name);
                let Some(view) = side.view else { return };
                let facts = Facts::read(view.log);
                for (title, value) in summary::heading(view.doc, &facts, self.view.lang) {
                    fact(self.text(title), &value);
                }
            });
        }
    }

    /// All gates together, else what became of the judged metrics.
    fn verdict(&self, m: &mut Markup) {
        let count = |v: Verdict| self.judged().filter(|c| c.verdict == Some(v)).count();
        let all = [Verdict::Improved, Verdict::Regressed, Verdict::Equivalent, Verdict::Inconclusive];
        let counts: Vec<String> = all
            .into_iter()
            .filter(|v| count(*v) > 0)
            .map(|v| {
                format!("{} {}", count(v), verdict(v, self.view.lang).split_once(' ').map_or("", |w| w.1))
            })
            .collect();
        let counts = counts.join(" · ");
        let (overall, strong) = match self.doc().gate {
            Some(gate) => (gate, self.text(state(gate).1).to_owned()),
            None if count(Verdict::Regressed) > 0 => (GateState::Failed, counts.clone()),
            None if count(Verdict::Inconclusive) > 0 => (GateState::Inconclusive, counts.clone()),
            None => (GateState::Passed, counts.clone()),
        };
        let class = match overall {
            GateState::Passed => "verdict valid",
            GateState::Inconclusive => "verdict incomplete",
            GateState::Failed => "verdict invalid",
        };
        m.el("div", &[("class", class), ("role", "status")], |m| {
            m.el_text("span", &[("class", "mark"), ("aria-hidden", "true")], state(overall).0);
            m.el_text("strong", &[], &strong);
            if self.doc().gate.is_some() {
                m.el_text("span", &[("class", "soft")], &counts);
            }
            let gates = self.doc().gates.iter().map(|g| {
                let at = g.point.as_deref().filter(|_| self.several_points());
                let at = at.map(|p| format!(" ({p})")).unwrap_or_default();
                (state(g.state).0, format!("{}{at}", g.gate), g.detail.clone())
            });
            let warnings = self.doc().warnings.iter().map(|w| ("!", String::new(), w.clone()));
            let lines: Vec<_> = gates.chain(warnings).collect();
            if lines.is_empty() {
                return;
            }
            m.el("ul", &[], |m| {
                for (mark, strong, rest) in &lines {
                    m.el("li", &[], |m| {
                        m.text(mark);
                        m.text(" ");
                        m.el_text("b", &[], strong);
                        m.text(" ");
                        m.text(rest);
                    });
                }
            });
        });
    }

    fn navigation(&self, m: &mut Markup) {
        let all = [
            ("#differences", Text::BaDifferences),
            ("#causes", Text::CausesTitle),
            ("#table", Text::BaTable),
            ("#environment", Text::Environment),
            ("#checklist", Text::BaChecklist),
            ("#licences", Text::BaLicences),
        ];
        m.el("nav", &[], |m| all.iter().for_each(|(at, t)| m.el_text("a", &[("href", at)], self.text(*t))));
    }

    fn several_points(&self) -> bool {
        let first = self.doc().comparisons.first().and_then(|c| c.point.as_deref());
        self.doc().comparisons.iter().any(|c| c.point.as_deref() != first)
    }

    /// The judged metrics in large letters, where they fit: one candidate at one point.
    fn tiles(&self, m: &mut Markup) {
        if self.doc().candidates.len() > 1 || self.several_points() {
            return;
        }
        let rows: Vec<_> = self.judged().filter(|r| r.delta.is_some()).take(4).collect();
        // As many columns as there are tiles: one that is empty would look like a number that is missing.
        let class = match rows.len() {
            0 => return,
            1 => "tiles one",
            2 => "tiles two",
            3 => "tiles three",
            _ => "tiles four",
        };
        m.literal("\n");
        m.el("section", &[("class", class)], |m| {
            for row in rows {
                let shown = Shown::of(row, self.view.lang);
                m.el("div", &[("class", "tile")], |m| {
                    m.el_text("div", &[("class", "label")], &shown.name);
                    m.el_text("div", &[("class", "value")], &shown.change);
                    m.el("div", &[("class", "interval")], |m| {
                        m.text(&shown.interval);
                        m.text(" ");
                        self.word(m, row);
                    });
                });
            }
        });
    }

    /// The verdict of a row, in its colour.
    fn word(&self, m: &mut Markup, row: &MetricComparison) {
        let Some(v) = row.verdict else { return };
        let class = match v {
            Verdict::Improved => "good",
            Verdict::Regressed => "fatal",
            Verdict::Equivalent => "soft",
            Verdict::Inconclusive => "flag",
        };
        m.el_text("span", &[("class", class)], &verdict(v, self.view.lang));
    }

    fn table(&self, m: &mut Markup) {
        let note = self.say(
            Text::ComparisonNote,
            &[&format!("{}", self.doc().level * 100.0), &format!("{}", self.doc().margin * 100.0)],
        );
        m.el_text("p", &[("class", "note")], &note);
        let headers = [
            self.text(Text::Metric),
            self.text(Text::Baseline),
            self.text(Text::Candidate),
            self.text(Text::Change),
            "Hedges g",
            self.text(Text::TrialsColumn),
            self.text(Text::VerdictTitle),
        ];
        m.el("div", &[("class", "scroll")], |m| {
            m.el("table", &[], |m| {
                m.el("thead", &[], |m| {
                    m.el("tr", &[], |m| {
                        headers.iter().for_each(|h| m.el_text("th", &[("scope", "col")], h));
                    });
                });
                for (title, primary) in [(Text::BaJudged, true), (Text::WithoutVerdict, false)] {
                    let rows: Vec<_> =
                        self.doc().comparisons.iter().filter(|c| c.primary == primary).collect();
                    if rows.is_empty() {
                        continue;
                    }
                    m.el("tbody", &[], |m| {
                        m.el("tr", &[("class", "group")], |m| {
                            let span = headers.len().to_string();
                            m.el_text("th", &[("colspan", &span), ("scope", "colgroup")], self.text(title));
                        });
                        rows.iter().for_each(|row| self.table_row(m, row));
                    });
                }
            });
        });
    }

    fn table_row(&self, m: &mut Markup, row: &MetricComparison) {
        let shown = Shown::of(row, self.view.lang);
        m.el("tr", &[], |m| {
            m.el("th", &[("scope", "row")], |m| {
                m.text(&shown.name);
                if let Some(place) = self.place(row) {
                    m.el_text("small", &[], &format!(" {place}"));
                }
            });
            m.el_text("td", &[], &shown.baseline);
            m.el_text("td", &[], &shown.candidate);
            m.el("td", &[], |m| {
                m.text(&shown.change);
                m.el_text("small", &[], &shown.interval);
            });
            m.el_text("td", &[], &shown.g);
            m.el_text("td", &[], &format!("{} / {}", row.trials[0], row.trials[1]));
            m.el("td", &[], |m| {
                self.word(m, row);
                if let Some(reason) = row.reason.as_deref().filter(|_| row.primary) {
                    m.el_text("small", &[("class", "why")], reason);
                }
            });
        });
    }

    /// Candidate and point of a row, where there are several.
    fn place(&self, row: &MetricComparison) -> Option<String> {
        let run = (self.doc().candidates.len() > 1).then(|| row.run.clone());
        let point = row.point.clone().filter(|_| self.several_points());
        let parts: Vec<String> = run.into_iter().chain(point).collect();
        (!parts.is_empty()).then(|| parts.join(" · "))
    }

    fn causes(&self, m: &mut Markup) {
        let doc = self.doc();
        if doc.causes.is_empty() {
            m.el_text("p", &[], causes::none(doc, self.view.lang));
        } else {
            m.el_text("p", &[("class", "note")], self.text(Text::CausesNote));
            let headers = [Text::ErrorKind, Text::CauseShare, Text::CauseEvidence, Text::CauseToDo];
            words_table(m, &headers.map(|t| self.text(t)), 4, |m| {
                for cause in &doc.causes {
                    m.el("tr", &[], |m| {
                        m.el_text("td", &[], &causes::title(cause, doc, self.view.lang));
                        m.el_text("td", &[("class", "nowrap")], &causes::share(cause));
                        m.el("td", &[], |m| {
                            for evidence in &cause.evidence {
                                let at = evidence.point.as_deref().filter(|_| self.several_points());
                                let at = at.map(|p| format!("{p}: ")).unwrap_or_default();
                                let said = format!("{at}{}", evidence.sentence(self.view.lang));
                                m.el_text("div", &[], &said);
                            }
                        });
                        let hint = cause.evidence.first().and_then(|e| e.hint_in(self.view.lang));
                        m.el_text("td", &[], hint.unwrap_or_default());
                    });
                }
            });
        }
        let unchecked = causes::unchecked(doc, self.view.lang);
        if !unchecked.is_empty() {
            let said = format!("{}: {}", self.text(Text::CausesUnchecked), unchecked.join("; "));
            m.el_text("p", &[("class", "note at")], &said);
        }
    }

    fn environment(&self, m: &mut Markup) {
        let doc = self.doc();
        if doc.differences.is_empty() && doc.unmatched.is_empty() {
            return m.el_text("p", &[("class", "note")], self.text(Text::BaNoDifferences));
        }
        let headers = [Text::SettingColumn, Text::Baseline, Text::Candidate, Text::Nothing];
        words_table(m, &headers.map(|t| self.text(t)), 4, |m| {
            for d in &doc.differences {
                let side = |v: &Option<String>| v.clone().unwrap_or_else(|| "–".to_owned());
                m.el("tr", &[], |m| {
                    m.el("td", &[], |m| m.el_text("code", &[], &d.what));
                    m.el_text("td", &[], &side(&d.baseline));
                    m.el_text("td", &[], &side(&d.candidate));
                    m.el("td", &[], |m| {
                        if d.forbids {
                            let said = format!("✗ {}", self.text(Text::BaUnfair));
                            m.el_text("span", &[("class", "fatal")], &said);
                        }
                    });
                });
            }
        });
        for point in &doc.unmatched {
            let said = format!("{}: {point}", self.text(Text::OnlyOneSide));
            m.el_text("p", &[("class", "note at")], &said);
        }
    }
}
