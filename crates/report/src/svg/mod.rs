//! Plots as inline SVG: axes with round ticks, and layers of lines, bars, intervals and spans.
//!
//! A plot fills its place at any width without scaling its text: ticks and dots stand at percentages of the drawing
//! area, shapes live in a nested picture of 1000 × 1000 units that is stretched over it. Colours are classes of the
//! page's style (`c1` …), so one picture serves light and dark. Everything works without script; the page's script
//! only reads the same picture back to show values under the pointer.

mod chart;
mod layer;
mod scale;

pub(crate) use chart::{Chart, Height};
pub(crate) use layer::{Layer, Line};
pub(crate) use scale::Axis;

/// Units along each side of the stretched picture.
const UNITS: f64 = 1000.;

/// Points that a line is thinned to: more than pixels on a screen would only make the page heavy.
pub(crate) const POINTS_AT_MOST: usize = 600;

/// A coordinate of the stretched picture, with a tenth of a unit.
fn units(place: f64) -> String {
    let tenths = (place * UNITS * 10.).round();
    format!("{}", tenths / 10.)
}

/// A place as a percentage, for what must not be stretched.
pub(crate) fn percent(place: f64) -> String {
    format!("{}%", (place * 10_000.).round() / 100.)
}
