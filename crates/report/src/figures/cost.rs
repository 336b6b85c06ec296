//! Cost against the interactivity it was reached at.

use stopwatt_core::cost::Cost;
use stopwatt_core::text::{Lang, Text};

use crate::quantity::{Kind, Scale};
use crate::svg::{Axis, Chart, Height, Layer, Line};

/// One plot for a run with several points and a price.
pub(super) fn charts(cost: Option<&Cost>, lang: Lang) -> Vec<Chart> {
    let Some(cost) = cost.filter(|c| c.points.len() > 1) else { return Vec::new() };
    let known = cost.points.iter().filter_map(|p| {
        let (x, y) = (p.interactivity.value?, p.output_per_1m.value?);
        Some((x, y, p.output_per_1m.interval.map(|i| (x, i.lo, i.hi))))
    });
    let mut known: Vec<_> = known.collect();
    if known.len() < 2 {
        return Vec::new();
    }
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    let points: Vec<(f64, f64)> = known.iter().map(|k| (k.0, k.1)).collect();
    let bounds: Vec<(f64, f64, f64)> = known.iter().filter_map(|k| k.2).collect();
    let tops: Vec<f64> = points.iter().map(|p| p.1).chain(bounds.iter().map(|b| b.2)).collect();
    let plain = Scale::of(Kind::Plain, 1.);
    let line = Line {
        name: Text::CostOutput.get(lang).to_owned(),
        color: 0,
        points,
        steps: false,
        dots: true,
        area: false,
    };
    let x = Axis::from_zero(known.iter().map(|k| k.0), plain, Text::CostInteractivity.get(lang));
    vec![Chart {
        title: format!("{} ({})", Text::CostOutput.get(lang), cost.price.currency),
        caption: Text::CostCaption.get(lang).to_owned(),
        x,
        y: Axis::from_zero(tops, plain, ""),
        y_ticks: true,
        layers: vec![Layer::Intervals { color: 0, bounds }, Layer::Line(line)],
        height: Height::Normal,
    }]
}
