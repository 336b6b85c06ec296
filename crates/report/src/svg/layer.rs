//! What is drawn inside a plot.

use super::scale::Axis;
use super::{percent, units};
use crate::markup::Markup;

/// One layer of a plot. `color` counts from 0 and picks one of the page's series colours.
#[derive(Debug, Clone)]
pub(crate) enum Layer {
    /// A line, with its legend entry.
    Line(Line),
    /// Bars from zero: left end, right end, height.
    Bars { name: String, color: usize, bars: Vec<(f64, f64, f64)> },
    /// Vertical intervals: place, lower bound, upper bound.
    Intervals { color: usize, bounds: Vec<(f64, f64, f64)> },
    /// Single observations.
    Cloud { color: usize, points: Vec<(f64, f64)> },
    /// Single values that are told apart by name, each a round dot.
    Dots { name: String, color: usize, points: Vec<(f64, f64)> },
    /// Horizontal spans in lanes: begin, end, lane. `kind` is a class of the page's style.
    Spans { kind: &'static str, name: String, thickness: f64, spans: Vec<(f64, f64, f64)> },
    /// A stretch of the x axis with a tinted ground.
    Shade { from: f64, to: f64 },
}

/// A line through points in order of x.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Name in the legend.
    pub(crate) name: String,
    /// Which series colour.
    pub(crate) color: usize,
    /// The points.
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether the value holds until the next point, as counts do.
    pub(crate) steps: bool,
    /// Whether each point was measured by itself and gets a dot.
    pub(crate) dots: bool,
    /// Whether the ground below is tinted; such a line is solid in every colour.
    pub(crate) area: bool,
}

impl Layer {
    /// Name and classes of the legend entry; `None` for a layer that explains itself.
    pub(crate) fn legend(&self) -> Option<(&str, String)> {
        match self {
            Self::Line(line) => Some((&line.name, line.class())),
            Self::Bars { name, color: c, .. } => Some((name, format!("bar {}", color(*c)))),
            Self::Spans { kind, name, .. } => Some((name, format!("span {kind}"))),
            Self::Dots { name, color: c, points } => {
                (!points.is_empty()).then(|| (name.as_str(), format!("dot {}", color(*c))))
            }
            Self::Cloud { .. } | Self::Intervals { .. } | Self::Shade { .. } => None,
        }
    }

    /// The shapes that may be stretched.
    pub(crate) fn stretched(&self, m: &mut Markup, x: &Axis, y: &Axis) {
        match self {
            Self::Line(line) => {
                let d = line_path(&line.points, line.steps, x, y);
                if let (true, Some((first, _)), Some((last, _))) =
                    (line.area, line.points.first(), line.points.last())
                {
                    let class = format!("area {}", color(line.color));
                    let ground = format!("{d}L{} 1000H{}Z", units(x.at(*last)), units(x.at(*first)));
                    m.leaf("path", &[("class", &class), ("d", &ground)]);
                }
                m.leaf("path", &[("class", &line.class()), ("data-name", &line.name), ("d", &d)]);
            }
            Self::Bars { name, color: c, bars } => {
                let class = format!("bar {}", color(*c));
                m.leaf("path", &[("class", &class), ("data-name", name), ("d", &bars_path(bars, x, y))]);
            }
            Self::Intervals { color: c, bounds } => {
                let class = format!("whisker {}", color(*c));
                m.leaf("path", &[("class", &class), ("d", &intervals_path(bounds, x, y))]);
            }
            Self::Cloud { color: c, points } => {
                let class = format!("cloud {}", color(*c));
                m.leaf("path", &[("class", &class), ("d", &cloud_path(points, x, y))]);
            }
            // Drawn where nothing is stretched.
            Self::Dots { .. } => {}
            Self::Spans { kind, thickness, spans, .. } => {
                let class = format!("span {kind}");
                let width = format!("{:.1}", thickness);
                m.leaf(
                    "path",
                    &[("class", &class), ("stroke-width", &width), ("d", &spans_path(spans, x, y))],
                );
            }
            Self::Shade { from, to } => {
                let (left, right) = (x.at(*from), x.at(*to));
                let (left, width) = (units(left), units((right - left).max(0.)));
                let size =
                    [("class", "shade"), ("x", &left), ("y", "0"), ("width", &width), ("height", "1000")];
                m.leaf("rect", &size);
            }
        }
    }

    /// The shapes that must stay round.
    pub(crate) fn round(&self, m: &mut Markup, x: &Axis, y: &Axis) {
        let (points, c) = match self {
            Self::Line(line) if line.dots => (&line.points, line.color),
            Self::Dots { points, color, .. } => (points, *color),
            _ => return,
        };
        let class = format!("dot {}", color(c));
        for (vx, vy) in points.iter().filter(|p| p.1.is_finite()) {
            let (cx, cy) = (percent(x.at(*vx)), percent(1. - y.at(*vy)));
            m.leaf("circle", &[("class", &class), ("cx", &cx), ("cy", &cy), ("r", "3.5")]);
        }
    }
}

impl Line {
    fn class(&self) -> String {
        format!("line {}{}", color(self.color), if self.area { " solid" } else { "" })
    }
}

/// Class of a series colour.
pub(crate) fn color(index: usize) -> &'static str {
    const CLASSES: [&str; 6] = ["c1", "c2", "c3", "c4", "c5", "c6"];
    CLASSES[index % CLASSES.len()]
}

fn line_path(points: &[(f64, f64)], steps: bool, x: &Axis, y: &Axis) -> String {
    let mut d = String::new();
    for (vx, vy) in points.iter().filter(|p| p.1.is_finite()) {
        let (px, py) = (units(x.at(*vx)), units(1. - y.at(*vy)));
        match (d.is_empty(), steps) {
            (true, _) => d.push_str(&format!("M{px} {py}")),
            (false, true) => d.push_str(&format!("H{px}V{py}")),
            (false, false) => d.push_str(&format!("L{px} {py}")),
        }
    }
    d
}

fn bars_path(bars: &[(f64, f64, f64)], x: &Axis, y: &Axis) -> String {
    let bar = |&(from, to, height): &(f64, f64, f64)| {
        format!("M{} 1000V{}H{}V1000", units(x.at(from)), units(1. - y.at(height)), units(x.at(to)))
    };
    bars.iter().filter(|b| b.2 > 0.).map(bar).collect()
}

fn intervals_path(bounds: &[(f64, f64, f64)], x: &Axis, y: &Axis) -> String {
    let whisker = |&(at, lo, hi): &(f64, f64, f64)| {
        format!("M{} {}V{}", units(x.at(at)), units(1. - y.at(lo)), units(1. - y.at(hi)))
    };
    bounds.iter().map(whisker).collect()
}

/// A line of no length with round ends is a dot that no stretching deforms.
fn cloud_path(points: &[(f64, f64)], x: &Axis, y: &Axis) -> String {
    points.iter().map(|(vx, vy)| format!("M{} {}h0", units(x.at(*vx)), units(1. - y.at(*vy)))).collect()
}

fn spans_path(spans: &[(f64, f64, f64)], x: &Axis, y: &Axis) -> String {
    let span = |&(from, to, lane): &(f64, f64, f64)| {
        // A span shorter than a pixel would vanish.
        let (left, right) = (x.at(from), x.at(to).max(x.at(from) + 0.0006));
        format!("M{} {}H{}", units(left), units(1. - y.at(lane)), units(right))
    };
    spans.iter().map(span).collect()
}
