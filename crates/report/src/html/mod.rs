//! `report.html`: one file that opens from disk, loads nothing and lets nothing in.
//!
//! ```text
//! head: content policy, style
//! body: what and whether to believe it ─► headline ─► load ─► latency ─► metrics ─► time ─► evidence ─► how
//! ```
//!
//! Invariants, each held by a test:
//!
//! - the content policy allows exactly the page's own style and script, by hash;
//! - no text of the record becomes markup, and no colour is the only carrier of a meaning;
//! - the page is complete without its script, which only shows values under the pointer;
//! - the same view gives the same bytes.

mod cost;
mod evidence;
mod hardware;
mod headline;
mod metrics;
mod policy;
mod search;
mod unusual;

use stopwatt_core::text::{Lang, Text, fill};

use crate::View;
use crate::facts::Facts;
use crate::figures::Figures;
use crate::markup::Markup;
use crate::summary::{self, Standing};
use crate::svg::Chart;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The whole page.
pub fn html(view: &View<'_>) -> String {
    let facts = Facts::read(view.log);
    let page = Page { view, figures: Figures::of(view, &facts), facts };
    let title = format!("{} · {}", page.subject(), page.text(Text::ReportTitle));
    document(view.lang, &title, |m| page.main(m))
}

/// A page with its content policy, its style and its script.
pub(crate) fn document(lang: Lang, title: &str, main: impl FnOnce(&mut Markup)) -> String {
    page(lang, title, false, main)
}

/// The same for a page that holds images.
pub(crate) fn document_with_images(lang: Lang, title: &str, main: impl FnOnce(&mut Markup)) -> String {
    page(lang, title, true, main)
}

fn page(lang: Lang, title: &str, images: bool, main: impl FnOnce(&mut Markup)) -> String {
    let mut m = Markup::default();
    m.literal("<!doctype html>\n");
    let code = match lang {
        Lang::En => "en",
        Lang::Ko => "ko",
    };
    m.el("html", &[("lang", code)], |m| {
        head(m, title, images);
        m.el("body", &[], |m| {
            m.el("main", &[], main);
            m.literal("\n<script>");
            m.literal(SCRIPT);
            m.literal("</script>");
        });
    });
    m.literal("\n");
    m.finish()
}

fn head(m: &mut Markup, title: &str, images: bool) {
    m.el("head", &[], |m| {
        m.leaf("meta", &[("charset", "utf-8")]);
        let policy = policy::content_policy(STYLE, SCRIPT, images);
        m.leaf("meta", &[("http-equiv", "Content-Security-Policy"), ("content", &policy)]);
        m.leaf("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
        m.leaf("meta", &[("name", "referrer"), ("content", "no-referrer")]);
        m.leaf("meta", &[("name", "color-scheme"), ("content", "light dark")]);
        m.el_text("title", &[], title);
        m.literal("<style>");
        m.literal(STYLE);
        m.literal("</style>");
    });
}

/// What every section draws from.
struct Page<'a> {
    view: &'a View<'a>,
    facts: Facts<'a>,
    figures: Figures,
}

impl Page<'_> {
    fn text(&self, text: Text) -> &'static str {
        text.get(self.view.lang)
    }

    fn say(&self, text: Text, values: &[&str]) -> String {
        fill(self.text(text), values)
    }

    /// Name of the model, else what was run.
    fn subject(&self) -> &str {
        self.facts.model.unwrap_or(&self.view.doc.pipeline.mode)
    }

    fn main(&self, m: &mut Markup) {
        m.el("header", &[], |m| {
            self.heading(m);
            self.verdict(m);
            self.navigation(m);
        });
        self.search(m);
        self.hardware(m);
        // A run that measured a device and no requests has nothing to say about them.
        let requests = self.view.has_requests();
        if requests {
            self.tiles(m);
        }
        if !self.figures.load.is_empty() {
            self.section(m, "load", Text::NavLoad, |m| {
                if let Some(level) = summary::level_percent(self.view.doc) {
                    m.el_text("p", &[("class", "note")], &self.say(Text::LoadNote, &[&level]));
                }
                plots(m, "plots", &self.figures.load);
                self.points_table(m);
            });
        }
        self.engines(m);
        if !self.figures.latency.is_empty() {
            self.section(m, "latency", Text::Latency, |m| {
                self.headline_note(m);
                plots(m, "plots", &self.figures.latency);
            });
        }
        if requests {
            self.section(m, "metrics", Text::NavResults, |m| self.metrics(m));
        }
        self.cost(m);
        if !self.figures.timeline.is_empty() {
            self.section(m, "time", Text::NavTime, |m| {
                plots(m, "plots stack", &self.figures.timeline);
                plots(m, "plots stack", &self.figures.requests);
            });
        }
        if !self.figures.lengths.is_empty() {
            self.section(m, "lengths", Text::Lengths, |m| {
                self.headline_note(m);
                plots(m, "plots", &self.figures.lengths);
            });
        }
        if requests {
            self.section(m, "errors", Text::Errors, |m| self.errors(m));
            self.unusual(m);
            self.section(m, "trials", Text::NavTrials, |m| self.trials(m));
        }
        self.section(m, "environment", Text::Environment, |m| self.environment(m));
        self.section(m, "settings", Text::NavSettings, |m| self.settings(m));
        if requests {
            self.section(m, "definitions", Text::NavDefinitions, |m| self.definitions(m));
        }
        self.section(m, "again", Text::NavReproduce, |m| self.reproduce(m));
        let version = self.facts.fingerprint.map_or("", |f| f.stopwatt.as_str());
        m.el_text("footer", &[], &self.say(Text::MadeBy, &[version, &self.view.doc.run_id]));
    }

    fn section(&self, m: &mut Markup, id: &'static str, title: Text, content: impl FnOnce(&mut Markup)) {
        section(m, id, self.text(title), content);
    }

    fn heading(&self, m: &mut Markup) {
        m.el_text("p", &[("class", "brand")], &format!("Stopwatt · {}", self.text(Text::ReportTitle)));
        m.el_text("h1", &[], self.subject());
        m.el("ul", &[("class", "facts")], |m| {
            let lines = summary::heading(self.view.doc, &self.facts, self.view.lang);
            for (title, value) in lines.iter().filter(|(title, _)| *title != Text::Model) {
                m.el("li", &[], |m| {
                    m.text(self.text(*title));
                    m.text(" ");
                    m.el_text("b", &[], value);
                });
            }
        });
    }

    fn verdict(&self, m: &mut Markup) {
        let standing = Standing::of(self.view.doc);
        let class = match standing {
            Standing::Valid => "verdict valid",
            Standing::Incomplete => "verdict incomplete",
            Standing::Invalid => "verdict invalid",
        };
        m.el("div", &[("class", class), ("role", "status")], |m| {
            m.el_text("span", &[("class", "mark"), ("aria-hidden", "true")], standing.mark());
            m.el_text("strong", &[], self.text(standing.text()));
            let totals = summary::totals(self.view).join(" · ");
            m.el_text("span", &[("class", "soft")], &totals);
            if self.view.doc.validity.reasons.is_empty() {
                return;
            }
            m.el("ul", &[], |m| {
                for reason in &self.view.doc.validity.reasons {
                    let (class, mark) = if reason.fatal { ("fatal", "✗") } else { ("flag", "!") };
                    m.el("li", &[], |m| {
                        m.el_text("b", &[("class", class)], &format!("{mark} {}", reason.code));
                        m.text(" ");
                        m.text(&reason.detail_in(self.view.lang));
                        if let Some(hint) = reason.hint_in(self.view.lang) {
                            m.el_text("small", &[("class", "hint")], &format!("→ {hint}"));
                        }
                    });
                }
            });
        });
    }

    fn navigation(&self, m: &mut Markup) {
        let all: [(&str, Text, bool); 9] = [
            ("#hardware", Text::NavHardware, !self.view.hardware.is_empty()),
            ("#load", Text::NavLoad, !self.figures.load.is_empty()),
            ("#latency", Text::Latency, !self.figures.latency.is_empty()),
            ("#metrics", Text::NavResults, self.view.has_requests()),
            ("#cost", Text::CostTitle, self.view.doc.cost.is_some()),
            ("#time", Text::NavTime, !self.figures.timeline.is_empty()),
            ("#errors", Text::Errors, self.view.has_requests()),
            ("#environment", Text::Environment, true),
            ("#definitions", Text::NavDefinitions, self.view.has_requests()),
        ];
        m.el("nav", &[], |m| {
            for (target, title, _) in all.iter().filter(|(.., present)| *present) {
                m.el_text("a", &[("href", target)], self.text(*title));
            }
        });
    }
}

/// A part of the page with its title.
pub(crate) fn section(m: &mut Markup, id: &'static str, title: &str, content: impl FnOnce(&mut Markup)) {
    m.literal("\n");
    m.el("section", &[("id", id)], |m| {
        m.el_text("h2", &[], title);
        content(m);
    });
}

/// A table of words; columns from `numbers` on are numbers.
pub(crate) fn words_table(m: &mut Markup, headers: &[&str], numbers: usize, body: impl FnOnce(&mut Markup)) {
    m.el("div", &[("class", "scroll")], |m| {
        m.el("table", &[("class", "words rows")], |m| {
            m.el("thead", &[], |m| {
                m.el("tr", &[], |m| {
                    for (i, title) in headers.iter().enumerate() {
                        let class = if i >= numbers { "n" } else { "" };
                        m.el_text("th", &[("scope", "col"), ("class", class)], title);
                    }
                });
            });
            m.el("tbody", &[], body);
        });
    });
}

/// Plots side by side.
pub(crate) fn plots(m: &mut Markup, class: &'static str, charts: &[Chart]) {
    m.el("div", &[("class", class)], |m| charts.iter().for_each(|chart| chart.write(m)));
}
