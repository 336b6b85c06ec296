//! A plan as a page: ways to serve a traffic side by side, and speed for a user against work of a device.

use stopwatt_core::text::{Lang, Text, fill};

use crate::html::{document, plots, section, words_table};
use crate::quantity::{Kind, Scale};
use crate::svg::{Axis, Chart, Height, Layer, Line};

/// What the page shows, in words and numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlanPage {
    /// The model.
    pub model: String,
    /// The traffic and its limits, a line each.
    pub asked: Vec<String>,
    /// Titles of the table.
    pub header: Vec<String>,
    /// How many of its first columns are words.
    pub words: usize,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
    /// Lines below it.
    pub notes: Vec<String>,
    /// Closed loops of each way to serve: name, and tokens a second of a user and of a device.
    pub curves: Vec<(String, Vec<(f64, f64)>)>,
    /// Points that nothing beats in both.
    pub front: Vec<(f64, f64)>,
}

/// Curves that are drawn: the page has one colour more, for the front.
const CURVES: usize = 5;

/// The whole page.
#[must_use]
pub fn plan_html(page: &PlanPage, lang: Lang) -> String {
    let title = format!("{} · {}", page.model, Text::PlanTitle.get(lang));
    document(lang, &title, |m| {
        m.el("header", &[], |m| {
            m.el_text("h1", &[], &title);
            page.asked.iter().for_each(|line| m.el_text("p", &[], line));
        });
        section(m, "fleets", Text::PlanFleets.get(lang), |m| {
            let header: Vec<&str> = page.header.iter().map(String::as_str).collect();
            words_table(m, &header, page.words, |m| {
                for row in &page.rows {
                    m.el("tr", &[], |m| {
                        for (i, cell) in row.iter().enumerate() {
                            m.el_text(
                                "td",
                                &[("class", if i >= page.words { "n nowrap" } else { "" })],
                                cell,
                            );
                        }
                    });
                }
            });
            page.notes.iter().for_each(|line| m.el_text("p", &[], line));
        });
        if !page.curves.is_empty() {
            let chart = front(page, lang);
            section(m, "pareto", Text::PlanPareto.get(lang), |m| plots(m, "plots", &[chart]));
        }
    })
}

fn front(page: &PlanPage, lang: Lang) -> Chart {
    let plain = Scale::of(Kind::Plain, 1.);
    let all = || page.curves.iter().flat_map(|(_, points)| points.iter().copied());
    let curves = page.curves.iter().take(CURVES).enumerate().map(|(color, (name, points))| {
        let mut points = points.clone();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Layer::Line(Line { name: name.clone(), color, points, steps: false, dots: true, area: false })
    });
    let drawn = page.curves.len().min(CURVES);
    let name = Text::PlanFront.get(lang).to_owned();
    let dots = Layer::Dots { name, color: CURVES, points: page.front.clone() };
    Chart {
        title: Text::PlanPareto.get(lang).to_owned(),
        caption: fill(
            Text::PlanParetoCaption.get(lang),
            &[&drawn.to_string(), &page.curves.len().to_string()],
        ),
        x: Axis::from_zero(all().map(|p| p.0), plain, Text::PlanUser.get(lang)),
        y: Axis::from_zero(all().map(|p| p.1), plain, Text::PlanDevice.get(lang)),
        y_ticks: true,
        layers: curves.chain([dots]).collect(),
        height: Height::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_the_table_and_the_front_and_nothing_raw() {
        let page = PlanPage {
            model: "m <b>".to_owned(),
            asked: vec!["20 requests/s".to_owned()],
            header: vec!["device".to_owned(), "replicas".to_owned()],
            words: 1,
            rows: vec![vec!["H100".to_owned(), "3".to_owned()]],
            notes: Vec::new(),
            curves: vec![("H100".to_owned(), vec![(90.0, 100.0), (100.0, 10.0)])],
            front: vec![(90.0, 100.0)],
        };
        for lang in [Lang::En, Lang::Ko] {
            let html = plan_html(&page, lang);
            assert!(html.contains("m &lt;b&gt;") && !html.contains("<b>"));
            assert!(
                html.contains("H100") && html.contains("<svg") && html.contains(Text::PlanFront.get(lang))
            );
        }
        let without = plan_html(&PlanPage { curves: Vec::new(), ..page }, Lang::En);
        assert!(!without.contains("<svg"));
    }
}
