//! Goodput and every objective against load, with the edge that a search found.

use stopwatt_core::Metric;
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_core::search::{FindKind, Search, SearchLook};
use stopwatt_core::text::{Lang, Text};

use crate::quantity::{Kind, Scale};
use crate::svg::{Axis, Chart, Height, Layer, Line};

/// The plots; none for a run that did not search.
pub(super) fn charts(doc: &MetricsDoc, lang: Lang) -> Vec<Chart> {
    let Some(search) = &doc.search else { return Vec::new() };
    let load = |p: &stopwatt_core::metrics_doc::Point| match search.find {
        FindKind::MaxRate => p.rate_rps,
        FindKind::MaxConcurrency => p.concurrency.map(f64::from),
    };
    let mut goodput = Vec::new();
    let mut bounds = Vec::new();
    for point in &doc.points {
        let mean = point.metrics.get(Metric::Goodput.name()).map(|m| &m.mean);
        let (Some(at), Some(mean)) = (load(point), mean) else { continue };
        goodput.extend(mean.value.map(|v| (at, v)));
        bounds.extend(mean.interval.map(|i| (at, i.lo, i.hi)));
    }
    let plain = Scale::of(Kind::Plain, 1.);
    let first = draw(search, Metric::Goodput.title(lang), plain, goodput, bounds, None, lang);
    let objectives = (0..search.objectives.len()).filter_map(|i| objective(search, i, lang));
    first.into_iter().chain(objectives).collect()
}

/// The statistic of one objective over load, with its limit.
fn objective(search: &Search, i: usize, lang: Lang) -> Option<Chart> {
    let name = &search.objectives[i];
    let value = |look: &SearchLook| Some((look.load, look.objectives.get(i)?.value?));
    let values: Vec<(f64, f64)> = search.looks.iter().filter_map(value).collect();
    let limit = limit_of(name)?;
    let kind = if name.starts_with(Metric::ErrorRate.name()) { Kind::Share } else { Kind::Time };
    let scale = Scale::for_all(kind, values.iter().map(|v| v.1).chain([limit]));
    let title = name.split(" < ").next().unwrap_or(name);
    draw(search, title, scale, values, Vec::new(), Some(limit), lang)
}

/// The number after the sign, in seconds or as a share, as objectives are written into the record.
fn limit_of(objective: &str) -> Option<f64> {
    objective.split(" < ").nth(1)?.trim_end_matches('s').parse().ok()
}

fn draw(
    search: &Search,
    title: &str,
    scale: Scale,
    mut points: Vec<(f64, f64)>,
    bounds: Vec<(f64, f64, f64)>,
    limit: Option<f64>,
    lang: Lang,
) -> Option<Chart> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (first, last) = (points.first()?.0, points.last()?.0);
    let tops = points.iter().map(|p| p.1).chain(bounds.iter().map(|b| b.2)).chain(limit);
    let y = Axis::from_zero(tops.collect::<Vec<_>>(), scale, "");
    let mut layers = Vec::new();
    if let Some(edge) = search.found.interval {
        layers.push(Layer::Shade { from: edge.lo, to: edge.hi });
    }
    layers.push(Layer::Intervals { color: 0, bounds });
    let line = |name: &str, color, points, dots| {
        Layer::Line(Line { name: name.to_owned(), color, points, steps: false, dots, area: false })
    };
    layers.push(line(title, 0, points, true));
    if let Some(limit) = limit {
        layers.push(line(Text::SearchLimit.get(lang), 1, vec![(first, limit), (last, limit)], false));
    }
    let axis = match search.find {
        FindKind::MaxRate => Text::RateColumn,
        FindKind::MaxConcurrency => Text::ConcurrencyAxis,
    };
    Some(Chart {
        title: title.to_owned(),
        caption: Text::SearchEdgeCaption.get(lang).to_owned(),
        x: Axis::from_zero([last], Scale::of(Kind::Plain, 1.), axis.get(lang)),
        y,
        y_ticks: true,
        layers,
        height: Height::Normal,
    })
}
