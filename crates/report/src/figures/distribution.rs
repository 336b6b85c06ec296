//! How latency is distributed: cumulative shares, and a histogram of the gaps between tokens.

use std::collections::BTreeSet;

use stopwatt_analyse::request_metrics;
use stopwatt_core::text::{Lang, Text};
use stopwatt_core::{Metric, RequestRow};
use stopwatt_stats::sample::Ordered;

use super::say;
use crate::quantity::{Kind, Scale, count};
use crate::svg::{Axis, Chart, Height, Layer, Line, POINTS_AT_MOST};

/// Bars of the histogram, evenly wide on a logarithmic axis.
const BARS: usize = 48;

/// The plots; none without requests. `itl` are the gaps of all of them.
pub(super) fn charts(requests: &[&RequestRow], itl: Ordered, lang: Lang) -> Vec<Chart> {
    let of = |metric: Metric| {
        let values = requests.iter().filter_map(|r| request_metrics(r).value(metric));
        (metric, Ordered::from(values.collect::<Vec<f64>>()))
    };
    let [ttft, e2e, tpot] = [Metric::Ttft, Metric::E2e, Metric::Tpot].map(of);
    let itl = (Metric::Itl, itl);
    let named = |(metric, values): &(Metric, Ordered)| (metric.title(lang).to_owned(), values.clone());
    let slow = cumulative(Text::CdfTitle.get(lang), &[&ttft, &e2e].map(named), lang);
    let fast = cumulative(Text::TokenCdfTitle.get(lang), &[&tpot, &itl].map(named), lang);
    [slow, fast, by_length(requests, lang), histogram(&itl.1, lang)].into_iter().flatten().collect()
}

/// TTFT of each request over its input length: how much a longer prompt costs.
fn by_length(requests: &[&RequestRow], lang: Lang) -> Option<Chart> {
    let place = |r: &&RequestRow| {
        let input = r.input_usage.or((r.input_asked > 0).then_some(r.input_asked))?;
        Some((f64::from(input), request_metrics(r).ttft?))
    };
    let all: Vec<(f64, f64)> = requests.iter().filter_map(place).collect();
    let lengths: BTreeSet<u64> = all.iter().map(|p| p.0 as u64).collect();
    let (&shortest, &longest) = (lengths.first()?, lengths.last()?);
    if lengths.len() < 5 {
        return None;
    }
    // Every so many requests are dropped evenly, the slowest are kept.
    let every = all.len().div_ceil(POINTS_AT_MOST);
    let mut points: Vec<(f64, f64)> = all.iter().copied().step_by(every).collect();
    if every > 1 {
        let mut slowest = all.clone();
        slowest.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
        points.extend(slowest.into_iter().take(20));
    }
    let mut times: Vec<f64> = points.iter().map(|p| p.1).collect();
    times.sort_unstable_by(f64::total_cmp);
    let scale = Scale::of(Kind::Time, times[times.len() / 2]);
    let room = (longest - shortest) as f64 * 0.03;
    Some(Chart {
        title: Text::TtftByLengthTitle.get(lang).to_owned(),
        caption: Text::TtftByLengthCaption.get(lang).to_owned(),
        x: Axis::range(
            shortest as f64 - room,
            longest as f64 + room,
            Scale::of(Kind::Plain, 1.),
            Text::InputAxis.get(lang),
        ),
        y: Axis::from_zero(times, scale, ""),
        y_ticks: true,
        layers: vec![Layer::Cloud { color: 0, points }],
        height: Height::Normal,
    })
}

/// One metric of several runs, a curve each; none where no run has two values.
pub(crate) fn compared(metric: Metric, runs: &[(String, Vec<&RequestRow>)], lang: Lang) -> Option<Chart> {
    let of = |(name, rows): &(String, Vec<&RequestRow>)| {
        let values = rows.iter().filter_map(|r| request_metrics(r).value(metric));
        (name.clone(), Ordered::from(values.collect::<Vec<f64>>()))
    };
    cumulative(metric.title(lang), &runs.iter().map(of).collect::<Vec<_>>(), lang)
}

/// Share of requests (or gaps) that took at most so long.
fn cumulative(title: &str, series: &[(String, Ordered)], lang: Lang) -> Option<Chart> {
    let present: Vec<_> = series.iter().filter(|(_, values)| values.n() > 1).collect();
    let all = || present.iter().flat_map(|(_, values)| [values.at(0), values.at(usize::MAX)]);
    // The unit in which the faster of the two reads well.
    let fastest = present.iter().map(|(_, values)| values.at(values.n() / 2)).fold(f64::INFINITY, f64::min);
    let scale = Scale::of(Kind::Time, fastest);
    let layers = present.iter().enumerate().map(|(color, (name, values))| {
        let name = name.clone();
        Layer::Line(Line { name, color, points: shares(values), steps: true, dots: false, area: false })
    });
    (!present.is_empty()).then(|| Chart {
        title: title.to_owned(),
        caption: Text::CdfCaption.get(lang).to_owned(),
        x: Axis::log(all(), scale, Text::Latency.get(lang)),
        y: Axis::range(0., 1., Scale::of(Kind::Share, 1.), Text::ShareAxis.get(lang))
            .with_ticks(vec![0., 0.25, 0.5, 0.75, 0.95]),
        y_ticks: true,
        layers: layers.collect(),
        height: Height::Normal,
    })
}

/// Points of the cumulative curve: every rank, or evenly chosen ranks of many.
fn shares(values: &Ordered) -> Vec<(f64, f64)> {
    let n = values.n();
    let step = n.div_ceil(POINTS_AT_MOST).max(1);
    let mut ranks: Vec<usize> = (0..n).step_by(step).collect();
    // The last ranks are what a tail is: keep them one by one.
    ranks.extend(n.saturating_sub(step.min(40))..n);
    ranks.sort_unstable();
    ranks.dedup();
    let begin = (n > 0).then(|| (values.at(0), 0.));
    begin.into_iter().chain(ranks.into_iter().map(|r| (values.at(r), (r + 1) as f64 / n as f64))).collect()
}

/// Gaps between tokens on a logarithmic axis: a second hump is a hitch that a mean hides.
fn histogram(values: &Ordered, lang: Lang) -> Option<Chart> {
    let n = values.n();
    let zero = values.below(f64::MIN_POSITIVE);
    if n - zero < 10 {
        return None;
    }
    let scale = Scale::of(Kind::Time, values.at(zero + (n - zero) / 2));
    let x = Axis::log([values.at(zero), values.at(n - 1)], scale, Metric::Itl.title(lang));
    let bars = (0..BARS).map(|i| {
        let (from, to) = (x.value(i as f64 / BARS as f64), x.value((i + 1) as f64 / BARS as f64));
        let inside = values.below(to) - values.below(from).max(zero);
        (from, to, inside as f64 / n as f64)
    });
    let bars: Vec<_> = bars.collect();
    Some(Chart {
        title: Text::ItlHistogramTitle.get(lang).to_owned(),
        caption: say(lang, Text::ItlHistogramCaption, &[&count(n as u64)]),
        y: Axis::from_zero(bars.iter().map(|b| b.2), Scale::of(Kind::Share, 1.), Text::ShareAxis.get(lang)),
        y_ticks: true,
        layers: vec![Layer::Bars { name: Metric::Itl.title(lang).to_owned(), color: 0, bars }],
        x,
        height: Height::Normal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_sample_keeps_every_rank() {
        assert_eq!(shares(&vec![1., 2., 4.].into()), [(1., 0.), (1., 1. / 3.), (2., 2. / 3.), (4., 1.)]);
    }

    #[test]
    fn a_large_sample_is_thinned_and_keeps_its_ends() {
        let sorted: Vec<f64> = (0..250_000).map(f64::from).collect();
        let points = shares(&sorted.into());
        assert!(points.len() <= POINTS_AT_MOST + 45, "{}", points.len());
        assert_eq!(points[0], (0., 0.));
        assert_eq!(points[points.len() - 1], (249_999., 1.));
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
    }

    #[test]
    fn the_histogram_holds_every_gap_once() {
        let sorted: Vec<f64> = (1..=1000).map(|i| f64::from(i) * 1e-3).collect();
        let chart = histogram(&sorted.into(), Lang::En).expect("enough gaps");
        let Layer::Bars { bars, .. } = &chart.layers[0] else { panic!("bars expected") };
        assert!((bars.iter().map(|b| b.2).sum::<f64>() - 1.).abs() < 1e-9);
    }
}
