//! The roofline of a model on a device as a page, with its kernels on it.

use stopwatt_core::text::{Lang, Text};

use crate::html::{document, plots, section, words_table};
use crate::quantity::Scale;
use crate::svg::{Axis, Chart, Height, Layer, Line};

/// What the page shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelRooflinePage {
    /// Model, device and format.
    pub title: String,
    /// Bytes a second.
    pub bandwidth: f64,
    /// Peak in operations a second, with the name of its format.
    pub peak: (String, f64),
    /// Kernels by phase: intensity, and operations a second.
    pub kernels: Vec<(String, Vec<(f64, f64)>)>,
    /// Titles of the table.
    pub header: Vec<String>,
    /// Its rows; the first two columns are words.
    pub rows: Vec<Vec<String>>,
    /// Lines below it.
    pub notes: Vec<String>,
}

/// Columns of the table that are words.
const WORDS: usize = 2;

/// The whole page.
#[must_use]
pub fn model_roofline_html(page: &ModelRooflinePage, lang: Lang) -> String {
    let title = format!("{} · {}", page.title, Text::HardwareRoofline.get(lang));
    document(lang, &title, |m| {
        m.el("header", &[], |m| m.el_text("h1", &[], &title));
        section(m, "roofline", Text::HardwareRoofline.get(lang), |m| plots(m, "plots", &[chart(page, lang)]));
        section(m, "parts", Text::RooflineParts.get(lang), |m| {
            let header: Vec<&str> = page.header.iter().map(String::as_str).collect();
            words_table(m, &header, WORDS, |m| {
                for row in &page.rows {
                    m.el("tr", &[], |m| {
                        for (i, cell) in row.iter().enumerate() {
                            m.el_text("td", &[("class", if i >= WORDS { "n nowrap" } else { "" })], cell);
                        }
                    });
                }
            });
            page.notes.iter().for_each(|line| m.el_text("p", &[], line));
        });
    })
}

fn chart(page: &ModelRooflinePage, lang: Lang) -> Chart {
    let (name, peak) = &page.peak;
    let ridge = peak / page.bandwidth;
    let points = || page.kernels.iter().flat_map(|(_, points)| points.iter().copied());
    let from = points().map(|(x, _)| x / 2.0).fold(0.1, f64::min);
    let to = points().map(|(x, _)| 2.0 * x).fold(4.0 * ridge, f64::max);
    let roof = Layer::Line(Line {
        name: name.clone(),
        color: 0,
        points: vec![(from, from * page.bandwidth), (ridge, *peak), (to, *peak)],
        steps: false,
        dots: false,
        area: false,
    });
    let kernels = page.kernels.iter().enumerate().map(|(index, (name, points))| Layer::Dots {
        name: name.clone(),
        color: index + 1,
        points: points.clone(),
    });
    let rates = points().map(|(_, y)| y).chain([from * page.bandwidth, 1.3 * peak]);
    Chart {
        title: Text::HardwareRoofline.get(lang).to_owned(),
        caption: Text::RooflineCaption.get(lang).to_owned(),
        x: Axis::log([from, to], Scale { unit: "FLOP/B", factor: 1.0 }, Text::HardwareIntensity.get(lang)),
        y: Axis::log(rates, Scale { unit: "TFLOP/s", factor: 1e-12 }, ""),
        y_ticks: true,
        layers: [roof].into_iter().chain(kernels).collect(),
        height: Height::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_dots_under_the_roof() {
        let page = ModelRooflinePage {
            title: "m <b>".to_owned(),
            bandwidth: 1e12,
            peak: ("bf16".to_owned(), 1e14),
            kernels: vec![
                ("prefill".to_owned(), vec![(200.0, 5e13)]),
                ("decode".to_owned(), vec![(1.0, 9e11)]),
            ],
            header: ["step", "part", "of the roof"].map(str::to_owned).to_vec(),
            rows: vec![["prefill", "gate_up", "50 %"].map(str::to_owned).to_vec()],
            notes: Vec::new(),
        };
        for lang in [Lang::En, Lang::Ko] {
            let html = model_roofline_html(&page, lang);
            assert!(html.contains("m &lt;b&gt;") && !html.contains("<b>"));
            assert!(html.contains("<svg") && html.contains("gate_up") && html.contains("decode"));
            assert!(html.contains(Text::RooflineCaption.get(lang)));
        }
    }
}
