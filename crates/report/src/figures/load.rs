//! Throughput and latency against load, for runs with several points.

use std::collections::{BTreeMap, BTreeSet};

use stopwatt_core::Metric;
use stopwatt_core::log::PlannedPoint;
use stopwatt_core::metrics_doc::{Estimate, MetricSummary, MetricsDoc, Point};
use stopwatt_core::text::{Lang, Text};

use crate::facts::Facts;
use crate::quantity::{Kind, Scale, kind};
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
    /// None of these tells the points apart: their place in the table does.
    Place,
}

impl Knob {
    const SETTINGS: [Self; 4] = [Self::Concurrency, Self::Rate, Self::Input, Self::Output];

    fn title(self) -> Text {
        match self {
            Self::Concurrency => Text::ConcurrencyAxis,
            Self::Rate => Text::RateColumn,
            Self::Input => Text::InputAxis,
            Self::Output => Text::OutputAxis,
            Self::Place => Text::PlaceAxis,
        }
    }
}

/// A point with what was planned for it. Lengths are those of the plan, which are absent where they vary: the means
/// that were met differ from point to point and would tear a line apart.
#[derive(Debug, Clone, Copy)]
struct Planned<'a> {
    point: &'a Point,
    plan: Option<&'a PlannedPoint>,
    place: usize,
}

impl Planned<'_> {
    fn of(&self, knob: Knob) -> Option<f64> {
        match knob {
            Knob::Concurrency => self.point.concurrency.map(f64::from),
            Knob::Rate => self.point.rate_rps,
            Knob::Input => self.plan?.input.map(f64::from),
            Knob::Output => self.plan?.output.map(f64::from),
            Knob::Place => Some((self.place + 1) as f64),
        }
        .filter(|v| *v > 0.)
    }
}

/// Points that differ in nothing but the knob, in its order.
#[derive(Debug)]
struct Group<'a> {
    /// What they share and other groups do not; empty for a single group.
    name: String,
    points: Vec<(f64, &'a Point)>,
}

/// The plots; none for a run with a single point.
pub(super) fn charts(doc: &MetricsDoc, facts: &Facts<'_>, lang: Lang) -> Vec<Chart> {
    let planned = |(place, point)| Planned { point, plan: plan_of(facts, place, point), place };
    let points: Vec<Planned<'_>> = doc.points.iter().enumerate().map(planned).collect();
    if points.len() < 2 {
        return Vec::new();
    }
    let (knob, groups) = groups(&points, lang);
    let of_load =
        PLOTS.iter().filter_map(|(metric, statistics)| chart(*metric, statistics, knob, &groups, lang));
    of_load.chain(memory(&points, lang)).collect()
}

/// Memory of the engine against the length of the input, at the highest load of each length.
fn memory(points: &[Planned<'_>], lang: Lang) -> Option<Chart> {
    let lengths: BTreeSet<u64> = points.iter().filter_map(|p| p.of(Knob::Input)).map(f64::to_bits).collect();
    let highest = points.iter().filter_map(|p| p.of(Knob::Concurrency)).fold(0., f64::max);
    let shown: Vec<Planned<'_>> =
        points.iter().filter(|p| p.of(Knob::Concurrency).is_none_or(|c| c == highest)).copied().collect();
    if lengths.len() < 2 {
        return None;
    }
    let groups = group_by(&shown, Knob::Input, &[], lang);
    chart(Metric::EngineMemory, &[("", |m| &m.max)], Knob::Input, &groups, lang)
}

fn plan_of<'a>(facts: &Facts<'a>, place: usize, point: &Point) -> Option<&'a PlannedPoint> {
    facts
        .plan
        .get(place)
        .filter(|p| p.label == point.label)
        .or_else(|| facts.plan.iter().find(|p| p.label == point.label))
}

/// The knob with the most settings, and the points by what else they have in common.
fn groups<'a>(points: &[Planned<'a>], lang: Lang) -> (Knob, Vec<Group<'a>>) {
    let distinct = |knob: Knob| {
        points.iter().filter_map(|p| p.of(knob)).map(f64::to_bits).collect::<BTreeSet<_>>().len()
    };
    // Of equals the first, hence the reverse.
    let most = Knob::SETTINGS.into_iter().rev().max_by_key(|k| distinct(*k)).filter(|k| distinct(*k) > 1);
    let others: Vec<Knob> =
        Knob::SETTINGS.into_iter().filter(|k| Some(*k) != most && distinct(*k) > 1).collect();
    let knob = most.filter(|knob| {
        let place = |p: &Planned<'_>| (engine(p.point), key(p, [*knob].iter().chain(&others)));
        let all: BTreeSet<_> = points.iter().map(place).collect();
        all.len() == points.len()
    });
    let (knob, others) = knob.map_or((Knob::Place, Vec::new()), |knob| (knob, others));
    (knob, group_by(points, knob, &others, lang))
}

/// Points that share their engine and the `others`, each group in the order of the knob.
fn group_by<'a>(points: &[Planned<'a>], knob: Knob, others: &[Knob], lang: Lang) -> Vec<Group<'a>> {
    let mut found: BTreeMap<(String, Vec<u64>), Group<'a>> = BTreeMap::new();
    for planned in points {
        let Some(at) = planned.of(knob) else { continue };
        let part = |k: &Knob| Some(format!("{} {}", k.title().get(lang), planned.of(*k)?));
        let of_engine = Some(engine(planned.point)).filter(|e| !e.is_empty() && knob != Knob::Place);
        let name =
            || of_engine.into_iter().chain(others.iter().filter_map(part)).collect::<Vec<_>>().join(", ");
        let place = if knob == Knob::Place {
            Default::default()
        } else {
            (engine(planned.point), key(planned, others))
        };
        let group = found.entry(place).or_insert_with(|| Group { name: name(), points: Vec::new() });
        group.points.push((at, planned.point));
    }
    let mut groups: Vec<Group<'a>> = found.into_values().collect();
    groups.truncate(LINES_AT_MOST);
    groups.iter_mut().for_each(|g| g.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    groups
}

/// Settings of the engine of a point: `util=0.7 seqs=8`; empty where it was not started for them.
pub(crate) fn engine(point: &Point) -> String {
    point.engine_settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Settings as a key that sorts as the numbers do: bits of floats that are not negative.
fn key<'k>(planned: &Planned<'_>, knobs: impl IntoIterator<Item = &'k Knob>) -> Vec<u64> {
    knobs.into_iter().map(|k| planned.of(*k).unwrap_or(0.).to_bits()).collect()
}

fn chart(
    metric: Metric,
    statistics: &[(&str, Pick)],
    knob: Knob,
    groups: &[Group<'_>],
    lang: Lang,
) -> Option<Chart> {
    // Several lines of several statistics would not be told apart: then only the last statistic is drawn.
    let statistics = if groups.len() > 1 { &statistics[statistics.len() - 1..] } else { statistics };
    let estimate = |p: &'_ Point, pick: Pick| p.metrics.get(metric.name()).map(|m| pick(m).clone());
    let mut layers = Vec::new();
    let (mut values, mut tops) = (Vec::new(), Vec::new());
    for (i, group) in groups.iter().enumerate() {
        for (j, (statistic, pick)) in statistics.iter().enumerate() {
            let color = i * statistics.len() + j;
            let known: Vec<(f64, Estimate)> = group
                .points
                .iter()
                .filter_map(|(at, p)| Some((*at, estimate(p, *pick).filter(|e| e.value.is_some())?)))
                .collect();
            let bounds = |(at, e): &(f64, Estimate)| e.interval.map(|i| (*at, i.lo, i.hi));
            let bounds: Vec<_> = known.iter().filter_map(bounds).collect();
            let points: Vec<(f64, f64)> = known.iter().filter_map(|(at, e)| Some((*at, e.value?))).collect();
            values.extend(points.iter().map(|p| p.1));
            tops.extend(points.iter().map(|p| p.1).chain(bounds.iter().map(|b| b.2)));
            // What its points share, and the statistic; the metric stands in the title.
            let name = [group.name.as_str(), *statistic].join(" ").trim().to_owned();
            let name = if name.is_empty() { metric.title(lang).to_owned() } else { name };
            layers.push(Layer::Intervals { color, bounds });
            layers.push(Layer::Line(Line { name, color, points, steps: false, dots: true, area: false }));
        }
    }
    let settings: BTreeSet<u64> =
        groups.iter().flat_map(|g| g.points.iter().map(|(at, _)| at.to_bits())).collect();
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
        x: axis(knob, settings, plain, lang),
        y: Axis::from_zero(tops, Scale::for_all(kind(metric), values), ""),
        y_ticks: true,
        layers,
        height: Height::Normal,
    })
}

/// Settings usually double from point to point, hence the logarithm; places do not.
fn axis(knob: Knob, settings: Vec<f64>, scale: Scale, lang: Lang) -> Axis {
    let title = knob.title().get(lang);
    let axis = match knob {
        Knob::Place => Axis::range(0.5, settings.len() as f64 + 0.5, scale, title),
        _ => Axis::log(settings.iter().copied(), scale, title),
    };
    axis.with_ticks(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(label: &str, concurrency: u32, input: f64) -> Point {
        let (metrics, errors) = Default::default();
        let (label, concurrency, input) = (label.to_owned(), Some(concurrency), Some(input));
        Point {
            label,
            concurrency,
            rate_rps: None,
            input,
            output: None,
            engine_settings: Default::default(),
            wall_s: 1.,
            requests: 1,
            errors,
            metrics,
            engine: Default::default(),
            power: Default::default(),
            trials: Default::default(),
        }
    }

    /// Knob and group sizes for points given as label, concurrency, length met, length planned.
    fn check(points: &[(&str, u32, f64, Option<u32>)], knob: Knob, sizes: &[usize]) {
        let plan: Vec<PlannedPoint> = points
            .iter()
            .map(|(label, c, _, input)| PlannedPoint {
                label: (*label).to_owned(),
                concurrency: Some(*c),
                rate_rps: None,
                input: *input,
                output: None,
                engine_settings: Default::default(),
            })
            .collect();
        let measured: Vec<Point> = points.iter().map(|(l, c, met, _)| point(l, *c, *met)).collect();
        let facts = Facts { plan: &plan, ..Facts::default() };
        let planned: Vec<Planned<'_>> = measured
            .iter()
            .enumerate()
            .map(|(place, point)| Planned { point, plan: plan_of(&facts, place, point), place })
            .collect();
        let (found, groups) = groups(&planned, Lang::En);
        assert_eq!(found, knob);
        assert_eq!(groups.iter().map(|g| g.points.len()).collect::<Vec<_>>(), sizes);
    }

    #[test]
    fn lengths_that_vary_do_not_tear_a_line_apart() {
        check(&[("a", 1, 241., None), ("b", 2, 249., None), ("c", 4, 263., None)], Knob::Concurrency, &[3]);
    }

    #[test]
    fn a_grid_gives_a_line_for_each_length() {
        let grid = [
            ("a", 1, 64., Some(64)),
            ("b", 2, 64., Some(64)),
            ("c", 4, 64., Some(64)),
            ("d", 1, 512., Some(512)),
            ("e", 2, 512., Some(512)),
            ("f", 4, 512., Some(512)),
        ];
        check(&grid, Knob::Concurrency, &[3, 3]);
    }

    #[test]
    fn lengths_are_the_axis_where_only_they_vary() {
        check(&[("a", 1, 4e3, Some(4096)), ("b", 1, 8e3, Some(8192))], Knob::Input, &[2]);
    }

    #[test]
    fn points_that_no_setting_tells_apart_stand_side_by_side() {
        check(&[("shared=0%", 4, 512., None), ("shared=90%", 4, 512., None)], Knob::Place, &[2]);
    }
}
