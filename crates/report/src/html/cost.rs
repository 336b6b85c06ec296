//! What tokens cost, always with the interactivity they were made at.

use stopwatt_core::cost::Cost;
use stopwatt_core::text::Text;

use super::Page;
use super::metrics::{note, reasons};
use crate::cost;
use crate::markup::Markup;
use crate::notes::Notes;
use crate::quantity::grouped;
use crate::table::Cell;

impl Page<'_> {
    /// The section; nothing without a price.
    pub(super) fn cost(&self, m: &mut Markup) {
        let Some(cost) = &self.view.doc.cost else { return };
        let lang = self.view.lang;
        self.section(m, "cost", Text::CostTitle, |m| {
            m.el_text("p", &[("class", "note")], &cost::price_line(cost, lang));
            m.el_text(
                "p",
                &[("class", "note")],
                &self.say(Text::CostSource, &[&cost.price.provider, &cost.price.source]),
            );
            super::plots(m, "plots", &self.figures.cost);
            let mut notes = Notes::default();
            let rows = cost::bases(cost, lang, &mut notes);
            self.cells(m, &cost::headers(cost, lang), &rows);
            if cost.points.len() > 1 {
                m.el_text("h3", &[("class", "at")], self.text(Text::CostByLoad));
                self.by_load(m, cost, &mut notes);
            }
            reasons(m, &notes);
            self.alternatives(m, cost);
        });
    }

    /// A row a point, with the cost of an hour for each request in flight.
    fn by_load(&self, m: &mut Markup, cost: &Cost, notes: &mut Notes) {
        let mut headers = cost::headers(cost, self.view.lang);
        headers[0] = Cell::plain(self.text(Text::PointColumn));
        headers[4] =
            Cell { main: self.text(Text::CostPerStream).to_owned(), note: cost.price.currency.clone() };
        let rows: Vec<Vec<Cell>> = cost
            .points
            .iter()
            .map(|at| {
                let per_stream = at.per_stream_hour.map(|v| grouped(v, 3));
                cost::row(at.label.as_deref().unwrap_or("–"), at, per_stream, notes)
            })
            .collect();
        self.cells(m, &headers, &rows);
    }

    /// The same load on other offers of the same accelerators.
    fn alternatives(&self, m: &mut Markup, cost: &Cost) {
        if cost.alternatives.is_empty() {
            return;
        }
        m.el_text("h3", &[("class", "at")], self.text(Text::CostAlternatives));
        let headers = [Text::CostOffer, Text::CostKind, Text::CostPerHour, Text::CostOutput, Text::CostRatio];
        self.table(m, &headers, 2, |m| {
            for other in &cost.alternatives {
                let kind = cost::kind(&other.kind).map_or(other.kind.as_str(), |t| self.text(t));
                m.el("tr", &[], |m| {
                    m.el("td", &[], |m| m.el_text("code", &[], &other.id));
                    m.el_text("td", &[], kind);
                    m.el_text("td", &[("class", "n")], &grouped(other.per_hour, 2));
                    let cell = cost::number(&other.output_per_1m, &mut Notes::default());
                    m.el_text("td", &[("class", "n")], &format!("{} {}", cell.main, cell.note));
                    m.el_text("td", &[("class", "n")], &format!("{:.0}%", other.ratio * 100.));
                });
            }
        });
    }

    /// A table of numbers with their intervals below.
    fn cells(&self, m: &mut Markup, headers: &[Cell], rows: &[Vec<Cell>]) {
        m.el("div", &[("class", "scroll")], |m| {
            m.el("table", &[], |m| {
                m.el("thead", &[], |m| {
                    m.el("tr", &[], |m| {
                        for Cell { main, note: unit } in headers {
                            m.el("th", &[("scope", "col")], |m| {
                                m.text(main);
                                m.text(" ");
                                m.el_text("small", &[], unit);
                            });
                        }
                    });
                });
                m.el("tbody", &[], |m| {
                    for row in rows {
                        m.el("tr", &[], |m| {
                            for cell in row {
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
    }
}
