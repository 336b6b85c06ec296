//! Throughput and latency against load, for runs with several points.

use std::collections::{BTreeMap, BTreeSet};

use stopwatt_core::Metric;
use stopwatt_core::metrics_doc::{Estimate, MetricSummary, MetricsDoc, Point};
use stopwatt_core::text::{Lang, Text};

use crate::quantity::{Kind, Scale, count, kind};
use crate::svg::{Axis, Chart, Height, Layer, Line};

/// Lines in one plot, at most; further combinations stand in the table only.
const LINES_AT_MOST: usize = 6;

type Pick = fn(&MetricSummary) -> &Estimate;

/// What is drawn over load: the metric, and its statistics with their names.
const PLOTS: [(Metric, &[(&str, Pick)]); 4] = [
    (Metric::OutputThroughput, &[("", |m| &m.mean)]),
    (Metric::Ttft, &[("p50", |m| &m.p50), ("p95", |m| &m.p95)]),
    (Metric::Tpot, &[("p50", |m| &m.p50), ("p95", |m| &m.p95)]),
    (Metric::E2e, &[("p50", |m| &m.p50), ("p95", |m| &m.p95)]),
];

/// A setting that a sweep varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knob {
    Concurrency,
    Rate,
    Input,
    Output,
}

impl Knob {
    const ALL: [Self; 4] = [Self::Concurrency, Self::Rate, Self::Input, Self::Output];

    fn of(self, p: &Point) -> Option<f64> {
        match self {
            Self::Concurrency => p.concurrency.map(f64::from),
            Self::Rate => p.rate_rps,
            Self::Input => p.input,
            Self::Output => p.output,
        }
    }

    fn title(self) -> Text {
        match self {
            Self::Concurrency => Text::ConcurrencyAxis,
            Self::Rate => Text::RateColumn,
            Self::Input => Text::InputAxis,
            Self::Output => Text::OutputAxis,
        }
    }

    fn distinct(self, points: &[Point]) -> usize {
        points.iter().filter_map(|p| self.of(p)).map(f64::to_bits).collect::<BTreeSet<_>>().len()
    }
}

/// The plots; none for a run with a single point.
pub(super) fn charts(doc: &MetricsDoc, lang: Lang) -> Vec<Chart> {
    let points = &doc.points;
    // The knob with the most settings; of equals the first, hence the reverse.
    let Some(knob) =
        Knob::ALL.into_iter().rev().max_by_key(|k| k.distinct(points)).filter(|k| k.distinct(points) > 1)
    else {
        return Vec::new();
    };
    let lines = lines(points, knob, lang);
    PLOTS.iter().filter_map(|(metric, statistics)| chart(*metric, statistics, knob, &lines, lang)).collect()
}

/// Points that differ in nothing but the knob, in order of the knob, with a name for what they share.
fn lines<'a>(points: &'a [Point], knob: Knob, lang: Lang) -> Vec<(String, Vec<(f64, &'a Point)>)> {
    let others = Knob::ALL.into_iter().filter(|k| *k != knob && k.distinct(points) > 1).collect::<Vec<_>>();
    let mut groups: BTreeMap<Vec<u64>, Vec<(f64, &Point)>> = BTreeMap::new();
    for point in points {
        let Some(at) = knob.of(point) else { continue };
        // Bits of non-negative floats sort as the floats do.
        let key = others.iter().map(|k| k.of(point).unwrap_or(0.).to_bits()).collect();
        groups.entry(key).or_default().push((at, point));
    }
    let name = |point: &Point| {
        let part = |k: &Knob| Some(format!("{} {}", k.title().get(lang), count(k.of(point)?.round() as u64)));
        others.iter().filter_map(part).collect::<Vec<_>>().join(", ")
    };
    let mut lines: Vec<_> = groups.into_values().map(|group| (name(group[0].1), group)).collect();
    for (_, group) in &mut lines {
        group.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines.truncate(LINES_AT_MOST);
    lines
}

fn chart(
    metric: Metric,
    statistics: &[(&str, Pick)],
    knob: Knob,
    lines: &[(String, Vec<(f64, &Point)>)],
    lang: Lang,
) -> Option<Chart> {
    // Several lines of several statistics would not be told apart: then only the last statistic is drawn.
    let statistics = if lines.len() > 1 { &statistics[statistics.len() - 1..] } else { statistics };
    let estimate = |p: &'_ Point, pick: Pick| p.metrics.get(metric.name()).map(|m| pick(m).clone());
    let mut layers = Vec::new();
    let (mut values, mut tops) = (Vec::new(), Vec::new());
    for (i, (name, group)) in lines.iter().enumerate() {
        for (j, (statistic, pick)) in statistics.iter().enumerate() {
            let color = i * statistics.len() + j;
            let known: Vec<(f64, Estimate)> = group
                .iter()
                .filter_map(|(at, p)| Some((*at, estimate(p, *pick).filter(|e| e.value.is_some())?)))
                .collect();
            let bounds = |(at, e): &(f64, Estimate)| e.interval.map(|i| (*at, i.lo, i.hi));
            let bounds: Vec<_> = known.iter().filter_map(bounds).collect();
            let points: Vec<(f64, f64)> = known.iter().filter_map(|(at, e)| Some((*at, e.value?))).collect();
            values.extend(points.iter().map(|p| p.1));
            tops.extend(points.iter().map(|p| p.1).chain(bounds.iter().map(|b| b.2)));
            // What its points share, and the statistic; the metric stands in the title.
            let name = [name.as_str(), *statistic].join(" ").trim().to_owned();
            let name = if name.is_empty() { metric.title(lang).to_owned() } else { name };
            layers.push(Layer::Intervals { color, bounds });
            layers.push(Layer::Line(Line { name, color, points, steps: false, dots: true, area: false }));
        }
    }
    let settings: BTreeSet<u64> =
        lines.iter().flat_map(|(_, g)| g.iter().map(|(at, _)| at.to_bits())).collect();
    let settings: Vec<f64> = settings.into_iter().map(f64::from_bits).collect();
    let plain = Scale::of(Kind::Plain, 1.);
    let shown = statistics.last().map_or("", |(name, _)| name);
    let title = if statistics.len() > 1 {
        metric.title(lang).to_owned()
    } else {
        format!("{} {shown}", metric.title(lang))
    };
    (!values.is_empty()).then(|| Chart {
        title: title.trim().to_owned(),
        caption: String::new(),
        x: Axis::log(settings.iter().copied(), plain, knob.title().get(lang)).with_ticks(settings),
        y: Axis::from_zero(tops, Scale::for_all(kind(metric), values), ""),
        y_ticks: true,
        layers,
        height: Height::Normal,
    })
}
