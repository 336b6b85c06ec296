//! What a search over load found, and the engines of a sweep.

use stopwatt_core::text::Text;

use super::{Page, plots};
use crate::markup::Markup;
use crate::{engines, search};

impl Page<'_> {
    pub(super) fn search(&self, m: &mut Markup) {
        let Some(found) = &self.view.doc.search else { return };
        self.section(m, "search", Text::SearchTitle, |m| {
            m.el("dl", &[("class", "pairs")], |m| {
                for (title, value) in search::lines(found, self.view.lang) {
                    m.el("div", &[], |m| {
                        m.el_text("dt", &[], title);
                        m.el_text("dd", &[], &value);
                    });
                }
            });
            plots(m, "plots", &self.figures.search);
            let (headers, rows) = search::looks(found, self.view.lang);
            words(m, &headers, &rows);
        });
    }

    /// Engines that were started for the run, and the best point under the objectives.
    pub(super) fn engines(&self, m: &mut Markup) {
        let doc = self.view.doc;
        if let Some(best) = engines::best(doc) {
            m.el("p", &[("class", "note at")], |m| {
                m.text(self.text(Text::BestPoint));
                m.text(": ");
                m.el_text("b", &[], &best);
            });
        }
        if doc.engines.is_empty() {
            return;
        }
        self.section(m, "engines", Text::EnginesTitle, |m| {
            let headers = engines::HEADERS.map(|t| self.text(t).to_owned());
            let rows: Vec<Vec<String>> =
                engines::rows(doc, self.view.lang).into_iter().map(Vec::from).collect();
            words(m, &headers, &rows);
            for engine in &doc.engines {
                let lines =
                    engine.log.tail.iter().flatten().map(String::as_str).collect::<Vec<_>>().join("\n");
                if engine.exit.is_some() && !lines.is_empty() {
                    m.el_text("pre", &[], &lines);
                }
            }
        });
    }
}

fn words(m: &mut Markup, headers: &[String], rows: &[Vec<String>]) {
    m.el("div", &[("class", "scroll")], |m| {
        m.el("table", &[("class", "words rows")], |m| {
            m.el("thead", &[], |m| {
                m.el("tr", &[], |m| headers.iter().for_each(|h| m.el_text("th", &[("scope", "col")], h)));
            });
            m.el("tbody", &[], |m| {
                for row in rows {
                    m.el("tr", &[], |m| row.iter().for_each(|cell| m.el_text("td", &[], cell)));
                }
            });
        });
    });
}
