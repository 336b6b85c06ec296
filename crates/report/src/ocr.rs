//! A run of the OCR benchmark as a page: the verdict and what is to be read under it, section by section.
//!
//! What a section says is put together by who knows the run; how it looks is decided here. Content of documents enters
//! only as [`Block::Documents`], and only then may the page hold images.

use stopwatt_core::text::Lang;

use crate::html::{document, document_with_images, plots, section};
use crate::markup::Markup;
use crate::quantity::{Kind, Scale};
use crate::svg::{Axis, Chart, Height, Layer, Line, percent};

/// What the page shows.
#[derive(Debug, Clone, PartialEq)]
pub struct OcrPage {
    /// What the page is, in small letters over the title.
    pub brand: String,
    /// What read.
    pub title: String,
    /// Names and values under the title.
    pub facts: Vec<(String, String)>,
    /// The judgement.
    pub standing: Standing,
    /// It in words.
    pub verdict: String,
    /// A word beside it.
    pub beside: String,
    /// Why, most important first.
    pub reasons: Vec<(Standing, String)>,
    /// What a reader must not miss.
    pub banner: Option<String>,
    /// Warning that content of documents is shown.
    pub content: Option<String>,
    /// The sections.
    pub sections: Vec<Section>,
    /// Last words.
    pub foot: String,
}

/// A judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Met.
    Pass,
    /// Neither.
    Open,
    /// Missed.
    Fail,
}

impl Standing {
    const fn class(self) -> &'static str {
        match self {
            Self::Pass => "valid",
            Self::Open => "incomplete",
            Self::Fail => "invalid",
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Pass => "✓",
            Self::Open => "?",
            Self::Fail => "✗",
        }
    }
}

/// A part of the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Its anchor.
    pub id: &'static str,
    /// Its title.
    pub title: String,
    /// How to read it; may be empty.
    pub note: String,
    /// What it holds.
    pub blocks: Vec<Block>,
}

/// Something in a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A sentence.
    Note(String),
    /// A title over what follows.
    Title(String),
    /// A table: titles, how many of the first columns are words, rows.
    Table(Vec<String>, usize, Vec<Vec<Cell>>),
    /// Tables side by side, each under its title.
    Beside(Vec<(String, Block)>),
    /// Shares with whiskers.
    Bars(Vec<Bar>),
    /// A plot of lines with intervals.
    Lines(LineChart),
    /// Pages with their images.
    Documents(Vec<Document>),
    /// Blocks that open when asked.
    Folded(String, Vec<Block>),
}

/// How a cell looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// As any other.
    #[default]
    Plain,
    /// Met.
    Good,
    /// Undecided.
    Warn,
    /// Missed.
    Bad,
    /// From 0, good, to 4, bad.
    Heat(u8),
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// What stands there.
    pub text: String,
    /// In small letters below it.
    pub small: String,
    /// How it looks.
    pub tone: Tone,
}

impl Cell {
    /// A cell of text alone.
    pub fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// A share with its interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Where it belongs; a new one starts a new group.
    pub group: String,
    /// Of what.
    pub name: String,
    /// The share.
    pub value: f64,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
    /// Value and interval in words.
    pub shown: (String, String),
    /// `OK`, `WARN` or `FAIL`.
    pub status: String,
    /// How it looks.
    pub tone: Tone,
}

/// A value with its interval at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Place on the axis.
    pub at: f64,
    /// Value.
    pub value: f64,
    /// Interval.
    pub interval: Option<(f64, f64)>,
}

/// Values of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its values, by place.
    pub points: Vec<Measured>,
}

/// A plot of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct LineChart {
    /// What it shows.
    pub title: String,
    /// How to read it; may be empty.
    pub caption: String,
    /// Titles of the axes.
    pub axes: (String, String),
    /// The lines.
    pub series: Vec<Series>,
}

/// A stretch of a line of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Read as it stands there.
    Same(String),
    /// Not read.
    Missing(String),
    /// Read and not there.
    Added(String),
}

/// A piece of a line, with its field and whether that is right.
pub type Stretch = (Piece, Option<(String, bool)>);

/// A page of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it is.
    pub title: String,
    /// Its image as a `data:` URI.
    pub image: Option<String>,
    /// Its lines, in stretches.
    pub lines: Vec<Vec<Stretch>>,
}

/// The whole page.
#[must_use]
pub fn ocr_html(page: &OcrPage, lang: Lang) -> String {
    let title = format!("{} · {}", page.title, page.brand);
    let main = |m: &mut Markup| {
        m.el("header", &[], |m| header(m, page));
        for part in &page.sections {
            section(m, part.id, &part.title, |m| {
                if !part.note.is_empty() {
                    m.el_text("p", &[("class", "note")], &part.note);
                }
                part.blocks.iter().for_each(|block| write(m, block));
            });
        }
        m.el_text("footer", &[], &page.foot);
    };
    let has_images = page.sections.iter().flat_map(|s| &s.blocks).any(shows_documents);
    if has_images { document_with_images(lang, &title, main) } else { document(lang, &title, main) }
}

fn shows_documents(block: &Block) -> bool {
    match block {
        Block::Documents(_) => true,
        Block::Folded(_, blocks) => blocks.iter().any(shows_documents),
        _ => false,
    }
}

fn header(m: &mut Markup, page: &OcrPage) {
    m.el_text("p", &[("class", "brand")], &format!("Stopwatt · {}", page.brand));
    m.el_text("h1", &[], &page.title);
    m.el("ul", &[("class", "facts")], |m| {
        for (name, value) in &page.facts {
            m.el("li", &[], |m| {
                m.text(name);
                m.text(" ");
                m.el_text("b", &[], value);
            });
        }
    });
    for (class, text) in [("banner", &page.banner), ("banner content", &page.content)] {
        if let Some(text) = text {
            m.el_text("p", &[("class", class), ("role", "note")], text);
        }
    }
    let class = format!("verdict {}", page.standing.class());
    m.el("div", &[("class", &class), ("role", "status")], |m| {
        m.el_text("span", &[("class", "mark"), ("aria-hidden", "true")], page.standing.mark());
        m.el_text("strong", &[], &page.verdict);
        m.el_text("span", &[("class", "soft")], &page.beside);
        if !page.reasons.is_empty() {
            m.el("ul", &[], |m| {
                for (standing, reason) in &page.reasons {
                    let class = if *standing == Standing::Fail { "fatal" } else { "flag" };
                    m.el("li", &[], |m| {
                        m.el_text("b", &[("class", class)], standing.mark());
                        m.text(" ");
                        m.text(reason);
                    });
                }
            });
        }
    });
    m.el("nav", &[], |m| {
        for part in &page.sections {
            m.el_text("a", &[("href", &format!("#{}", part.id))], &part.title);
        }
    });
}

fn write(m: &mut Markup, block: &Block) {
    match block {
        Block::Note(text) => m.el_text("p", &[("class", "note")], text),
        Block::Title(text) => m.el_text("h3", &[("class", "block-title")], text),
        Block::Table(titles, words, rows) => table(m, titles, *words, rows),
        Block::Beside(blocks) => m.el("div", &[("class", "beside")], |m| {
            for (title, block) in blocks {
                m.el("div", &[], |m| {
                    m.el_text("h3", &[("class", "block-title")], title);
                    write(m, block);
                });
            }
        }),
        Block::Bars(bars) => forest(m, bars),
        Block::Lines(lines) => plots(m, "plots", &[chart(lines)]),
        Block::Documents(documents) => documents.iter().enumerate().for_each(|(i, d)| shown(m, d, i < 3)),
        Block::Folded(title, blocks) => m.el("details", &[], |m| {
            m.el_text("summary", &[], title);
            blocks.iter().for_each(|block| write(m, block));
        }),
    }
}

fn table(m: &mut Markup, titles: &[String], words: usize, rows: &[Vec<Cell>]) {
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    crate::html::words_table(m, &titles, words, |m| {
        for row in rows {
            m.el("tr", &[], |m| {
                for (i, cell) in row.iter().enumerate() {
                    let tone = match cell.tone {
                        Tone::Plain => String::new(),
                        Tone::Good => "good".to_owned(),
                        Tone::Warn => "warn".to_owned(),
                        Tone::Bad => "bad".to_owned(),
                        Tone::Heat(level) => format!("heat heat{}", level.min(4)),
                    };
                    let class =
                        if i >= words { format!("n nowrap {tone}") } else { format!("nowrap {tone}") };
                    m.el("td", &[("class", class.trim_end())], |m| {
                        m.text(&cell.text);
                        if !cell.small.is_empty() {
                            m.text(" ");
                            m.el_text("small", &[], &cell.small);
                        }
                    });
                }
            });
        }
    });
}

/// One lane a share, the axis below.
fn forest(m: &mut Markup, bars: &[Bar]) {
    let lowest = bars.iter().map(|b| b.interval.map_or(b.value, |i| i.0)).fold(1.0, f64::min);
    // Where all is well the axis shows what is near the limits.
    let from = if lowest >= 0.8 { 0.75 } else { 0.0 };
    let axis = Axis::range(from, 1.0, Scale::of(Kind::Share, 1.), "");
    m.el("div", &[("class", "forest fields")], |m| {
        let mut group = "";
        for bar in bars {
            if bar.group != group {
                group = &bar.group;
                m.el_text("div", &[("class", "fgroup")], group);
            }
            lane(m, bar, &axis);
        }
        m.el("div", &[("class", "faxis")], |m| {
            m.el("svg", &[("class", "lane axis"), ("aria-hidden", "true")], |m| {
                for tick in axis.ticks(6) {
                    let at = percent(tick.at);
                    m.leaf("line", &[("x1", &at), ("x2", &at), ("y1", "0"), ("y2", "5")]);
                    m.el_text("text", &[("x", &at), ("y", "18")], &tick.label);
                }
            });
        });
    });
}

fn lane(m: &mut Markup, bar: &Bar, axis: &Axis) {
    let class = match bar.tone {
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Warn => "open",
        Tone::Plain | Tone::Heat(_) => "same",
    };
    m.el_text("div", &[("class", "fname")], &bar.name);
    let label = format!("{}: {} {} {}", bar.name, bar.shown.0, bar.shown.1, bar.status);
    m.el("div", &[("class", "fplot")], |m| {
        m.el("svg", &[("class", "lane"), ("role", "img"), ("aria-label", &label)], |m| {
            let at = |v: f64| percent(axis.at(v));
            let (fill, width) = (format!("fill {class}"), at(bar.value));
            m.leaf(
                "rect",
                &[("class", &fill), ("x", "0"), ("y", "28%"), ("width", &width), ("height", "44%")],
            );
            for limit in [0.9, 0.95] {
                let x = at(limit);
                m.leaf("line", &[("class", "gate"), ("x1", &x), ("x2", &x), ("y1", "0"), ("y2", "100%")]);
            }
            if let Some((lo, hi)) = bar.interval {
                let (x1, x2, class) = (at(lo), at(hi), format!("ci {class}"));
                m.leaf("line", &[("class", &class), ("x1", &x1), ("x2", &x2), ("y1", "50%"), ("y2", "50%")]);
            }
            let (x, class) = (at(bar.value), format!("point {class}"));
            m.leaf("circle", &[("class", &class), ("cx", &x), ("cy", "50%"), ("r", "5")]);
        });
    });
    m.el("div", &[("class", "fvalue")], |m| {
        m.text(&bar.shown.0);
        m.el_text("small", &[], &bar.shown.1);
    });
    let class = match bar.tone {
        Tone::Good => "fverdict good",
        Tone::Bad => "fverdict bad",
        _ => "fverdict flag",
    };
    m.el_text("div", &[("class", class)], &bar.status);
}

fn chart(lines: &LineChart) -> Chart {
    let plain = Scale::of(Kind::Plain, 1.);
    let points = || lines.series.iter().flat_map(|s| &s.points);
    let mut places: Vec<f64> = points().map(|p| p.at).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let mut layers = Vec::new();
    for (color, series) in lines.series.iter().enumerate() {
        let bounds: Vec<_> =
            series.points.iter().filter_map(|p| p.interval.map(|(lo, hi)| (p.at, lo, hi))).collect();
        layers.push(Layer::Intervals { color, bounds });
        layers.push(Layer::Line(Line {
            name: series.name.clone(),
            color,
            points: series.points.iter().map(|p| (p.at, p.value)).collect(),
            steps: false,
            dots: true,
            area: false,
        }));
    }
    let highest = points().map(|p| p.interval.map_or(p.value, |i| i.1.max(p.value)));
    Chart {
        title: lines.title.clone(),
        caption: lines.caption.clone(),
        x: Axis::log(places.clone(), plain, &*lines.axes.0).with_ticks(places),
        y: Axis::from_zero(highest, plain, &*lines.axes.1),
        y_ticks: true,
        layers,
        height: Height::Normal,
    }
}

fn shown(m: &mut Markup, document: &Document, open: bool) {
    let attributes: &[(&'static str, &str)] = if open { &[("open", "")] } else { &[] };
    m.el("details", attributes, |m| {
        m.el_text("summary", &[], &document.title);
        let class = if document.image.is_some() { "page-of" } else { "page-of plain" };
        m.el("div", &[("class", class)], |m| {
            if let Some(image) = &document.image {
                m.leaf("img", &[("src", image), ("alt", &document.title), ("loading", "lazy")]);
            }
            m.el("div", &[("class", "diff"), ("lang", "ko")], |m| {
                for line in &document.lines {
                    // Stretches of one field share its box.
                    m.el("p", &[], |m| {
                        line.chunk_by(|a, b| a.1 == b.1).for_each(|pieces| stretch(m, pieces));
                    });
                }
            });
        });
    });
}

/// Pieces of one field, or of none.
fn stretch(m: &mut Markup, pieces: &[(Piece, Option<(String, bool)>)]) {
    let text = |m: &mut Markup| {
        for (piece, _) in pieces {
            match piece {
                Piece::Same(text) => m.text(text),
                Piece::Missing(text) => m.el_text("del", &[], text),
                Piece::Added(text) => m.el_text("ins", &[], text),
            }
        }
    };
    match pieces.first().and_then(|(_, field)| field.as_ref()) {
        None => text(m),
        Some((name, right)) => {
            let class = if *right { "field" } else { "field wrong" };
            m.el("span", &[("class", class), ("title", name)], text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(blocks: Vec<Block>) -> OcrPage {
        OcrPage {
            brand: "OCR".to_owned(),
            title: "m <b>".to_owned(),
            facts: vec![("pages".to_owned(), "3".to_owned())],
            standing: Standing::Fail,
            verdict: "FAIL".to_owned(),
            beside: String::new(),
            reasons: vec![(Standing::Fail, "CER".to_owned())],
            banner: None,
            content: None,
            sections: vec![Section { id: "types", title: "Types".to_owned(), note: String::new(), blocks }],
            foot: String::new(),
        }
    }

    #[test]
    fn only_pages_with_documents_may_hold_images() {
        let document = Document {
            title: "처방전".to_owned(),
            image: Some("data:image/png;base64,eA==".to_owned()),
            lines: vec![vec![
                (Piece::Same("<i>".to_owned()), None),
                (Piece::Missing("5".to_owned()), Some(("용량".to_owned(), false))),
                (Piece::Added("6".to_owned()), Some(("용량".to_owned(), false))),
            ]],
        };
        let with = ocr_html(&page(vec![Block::Documents(vec![document])]), Lang::Ko);
        assert!(with.contains("img-src data:") && with.contains("<img src=\"data:image/png;base64,eA==\""));
        assert!(
            with.contains("&lt;i&gt;") && with.contains("title=\"용량\"><del>5</del><ins>6</ins></span>")
        );
        let without = ocr_html(&page(vec![Block::Note("x".to_owned())]), Lang::En);
        assert!(!without.contains("img-src") && !without.contains("<img"));
        assert!(without.contains("m &lt;b&gt;") && without.contains("✗"));
    }

    #[test]
    fn bars_and_lines_are_drawn_with_their_words() {
        let bar = Bar {
            group: "처방전".to_owned(),
            name: "용량".to_owned(),
            value: 0.92,
            interval: Some((0.85, 0.96)),
            shown: ("92 %".to_owned(), "[85, 96]".to_owned()),
            status: "WARN".to_owned(),
            tone: Tone::Warn,
        };
        let at = |at, value| Measured { at, value, interval: Some((value / 2.0, value * 2.0)) };
        let lines = LineChart {
            title: "CER".to_owned(),
            caption: String::new(),
            axes: ("DPI".to_owned(), "CER".to_owned()),
            series: vec![Series { name: "clean".to_owned(), points: vec![at(72.0, 0.4), at(150.0, 0.1)] }],
        };
        let html = ocr_html(&page(vec![Block::Bars(vec![bar]), Block::Lines(lines)]), Lang::En);
        assert!(
            html.contains("aria-label=\"용량: 92 % [85, 96] WARN\"") && html.contains("class=\"ci open\"")
        );
        assert!(html.contains("data-name=\"clean\"") && html.contains(">72<"), "{html}");
    }
}
