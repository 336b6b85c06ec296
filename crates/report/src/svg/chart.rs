//! A plot with its title, legend, axes and layers, as a `figure`.

use super::layer::Layer;
use super::percent;
use super::scale::Axis;
use crate::markup::Markup;

/// How tall a plot is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Height {
    /// One of several panels over a common axis.
    Panel,
    /// A plot by itself.
    Normal,
}

/// A plot.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// What it shows.
    pub(crate) title: String,
    /// One sentence on how to read it; may be empty.
    pub(crate) caption: String,
    /// Horizontal axis.
    pub(crate) x: Axis,
    /// Vertical axis; `None` hides its ticks but keeps its range, as lanes want.
    pub(crate) y: Axis,
    /// Whether the vertical axis has ticks.
    pub(crate) y_ticks: bool,
    /// What is drawn, first layer lowest.
    pub(crate) layers: Vec<Layer>,
    /// How tall.
    pub(crate) height: Height,
}

impl Chart {
    /// Writes the figure.
    pub(crate) fn write(&self, m: &mut Markup) {
        let class = match self.height {
            Height::Panel => "plot panel",
            Height::Normal => "plot",
        };
        m.el("figure", &[("class", class)], |m| {
            m.el("figcaption", &[], |m| {
                m.el_text("h3", &[], &self.title);
                if !self.caption.is_empty() {
                    m.el_text("p", &[], &self.caption);
                }
                self.legend(m);
            });
            let (x, y) = (self.x.data(), self.y.data());
            let (x_unit, y_unit) = (self.x.unit(), self.y.unit());
            let data = [
                ("class", "chart"),
                ("role", "img"),
                ("data-x", x.as_str()),
                ("data-y", y.as_str()),
                ("data-x-unit", x_unit),
                ("data-y-unit", y_unit),
            ];
            m.el("svg", &data, |m| self.picture(m));
        });
    }

    fn legend(&self, m: &mut Markup) {
        let entries: Vec<_> = self.layers.iter().filter_map(Layer::legend).collect();
        if entries.len() < 2 {
            return;
        }
        m.el("ul", &[("class", "legend")], |m| {
            for (name, class) in &entries {
                m.el("li", &[], |m| {
                    m.el(
                        "svg",
                        &[("class", "key"), ("viewBox", "0 0 26 10"), ("aria-hidden", "true")],
                        |m| {
                            let d = match class.split(' ').next() {
                                Some("bar") => "M2 10V0H24V10Z",
                                Some("dot") => "M9 5a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
                                _ => "M0 5H26",
                            };
                            m.leaf("path", &[("class", class), ("stroke-width", "5"), ("d", d)]);
                        },
                    );
                    m.text(name);
                });
            }
        });
    }

    fn picture(&self, m: &mut Markup) {
        let about = if self.caption.is_empty() {
            self.title.clone()
        } else {
            format!("{}. {}", self.title, self.caption)
        };
        m.el_text("title", &[], &about);
        m.el("g", &[("class", "grid")], |m| {
            if self.y_ticks {
                for tick in self.y.ticks(5) {
                    let at = percent(1. - tick.at);
                    m.leaf("line", &[("x1", "0"), ("x2", "100%"), ("y1", &at), ("y2", &at)]);
                    m.el_text("text", &[("class", "y"), ("x", "-8"), ("y", &at)], &tick.label);
                }
            }
            for (i, tick) in self.x.ticks(8).iter().enumerate() {
                let at = percent(tick.at);
                // Every other label can be hidden where the plot is narrow.
                let class = if i % 2 == 0 { "x" } else { "x odd" };
                m.leaf(
                    "line",
                    &[("class", "tick"), ("x1", &at), ("x2", &at), ("y1", "100%"), ("y2", "100%")],
                );
                m.el_text("text", &[("class", class), ("x", &at), ("y", "100%")], &tick.label);
            }
            m.leaf("line", &[("class", "base"), ("x1", "0"), ("x2", "100%"), ("y1", "100%"), ("y2", "100%")]);
            m.el_text("text", &[("class", "x title"), ("x", "100%"), ("y", "100%")], &self.x.title());
            if self.y_ticks {
                // A bare unit stands over the numbers; words start further left, where they have room.
                let title = self.y.title();
                let (class, x) = if title == self.y.unit() { ("y title", "-8") } else { ("y word", "0") };
                m.el_text("text", &[("class", class), ("x", x), ("y", "0")], &title);
            }
        });
        let stretch = [
            ("class", "data"),
            ("viewBox", "0 0 1000 1000"),
            ("preserveAspectRatio", "none"),
            ("width", "100%"),
            ("height", "100%"),
        ];
        m.el("svg", &stretch, |m| {
            for layer in &self.layers {
                layer.stretched(m, &self.x, &self.y);
            }
        });
        for layer in &self.layers {
            layer.round(m, &self.x, &self.y);
        }
    }
}
