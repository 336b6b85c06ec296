//! The run over time: requests in flight, tokens per second, the engine's own view and memory, on one common axis.

use stopwatt_core::stream::TokenSeries;
use stopwatt_core::text::{Lang, Text};
use stopwatt_core::{Nanos, RequestRow};

use crate::View;
use crate::facts::Facts;
use crate::quantity::{Kind, Scale};
use crate::svg::{Axis, Chart, Height, Layer, Line};

/// Slices of the run, at most.
const SLICES: usize = 240;

/// The panels, from top to bottom; none for a run without requests.
pub(super) fn charts(view: &View<'_>, facts: &Facts<'_>) -> Vec<Chart> {
    let ends = view.requests().iter().map(|r| r.end_ns).chain(facts.trials.iter().map(|t| t.end_ns));
    let Some(end) = ends.max().filter(|end| *end > 0 && !view.requests().is_empty()) else {
        return Vec::new();
    };
    let slices = Slices::over(end);
    let page = Panels { facts, lang: view.lang, slices };
    let in_flight = page.in_flight(view.requests());
    let tokens = page.tokens(view.requests(), view.record.tokens());
    let mut charts = vec![in_flight, tokens];
    charts.extend(super::engine::panels(&page));
    charts.extend(page.memory());
    charts.extend(super::machine::panels(&page, view.trace));
    charts
}

/// Even slices of the time since `t0`; the last one ends with the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slices {
    width: Nanos,
    count: usize,
    end: Nanos,
}

impl Slices {
    /// The smallest of 1, 2, 5 × 10ⁿ milliseconds that needs at most [`SLICES`].
    fn over(end: Nanos) -> Self {
        let widths = (6..15).flat_map(|n| [1, 2, 5].map(|m| m * 10i64.pow(n)));
        let count = |w: Nanos| usize::try_from((end - 1) / w + 1).unwrap_or(usize::MAX);
        let width = widths.into_iter().find(|w| count(*w) <= SLICES).unwrap_or(end);
        Self { width, count: count(width), end }
    }

    fn seconds(self) -> f64 {
        self.width as f64 / 1e9
    }

    fn of(self, t: Nanos) -> usize {
        usize::try_from(t / self.width).unwrap_or(0).min(self.count - 1)
    }

    /// Adds the part of `from..to` that lies in each slice, in slices.
    fn cover(self, sums: &mut [f64], from: Nanos, to: Nanos) {
        let first = self.of(from);
        for (i, sum) in sums[first..=self.of(to.max(from))].iter_mut().enumerate() {
            let begin = (first + i) as Nanos * self.width;
            let inside = to.min(begin + self.width) - from.max(begin);
            *sum += inside.max(0) as f64 / self.width as f64;
        }
    }

    /// Adds an amount that is spread evenly over `from..to`.
    fn spread(self, sums: &mut [f64], from: Nanos, to: Nanos, amount: f64) {
        let length = (to - from).max(1) as f64;
        let first = self.of(from);
        for (i, sum) in sums[first..=self.of((to - 1).max(from))].iter_mut().enumerate() {
            let begin = (first + i) as Nanos * self.width;
            // What lies beyond the last slice belongs to it, as a moment there would.
            let end = if first + i + 1 == self.count { to } else { begin + self.width };
            let inside = (to.min(end) - from.max(begin)).max(0);
            *sum += amount * inside as f64 / length;
        }
    }

    /// How much of slice `i` lies inside the run. At least a tenth, so that a sliver is no spike.
    fn share(self, i: usize) -> f64 {
        let inside = (self.end - i as Nanos * self.width).min(self.width);
        (inside as f64 / self.width as f64).max(0.1)
    }

    /// The largest value of each slice that has any, at its begin.
    pub(super) fn largest(self, series: &[(Nanos, f64)]) -> Vec<(f64, f64)> {
        let mut peaks: Vec<Option<f64>> = vec![None; self.count];
        for (t, value) in series {
            let peak = &mut peaks[self.of((*t).max(0))];
            *peak = Some(peak.map_or(*value, |p: f64| p.max(*value)));
        }
        let at = |(i, peak): (usize, &Option<f64>)| Some((i as f64 * self.seconds(), (*peak)?));
        peaks.iter().enumerate().filter_map(at).collect()
    }

    /// A line over the slices, up to the end of the run.
    fn points(self, sums: &[f64], factor: f64) -> Vec<(f64, f64)> {
        let value = |(i, v): (usize, &f64)| (i as f64 * self.seconds(), v * factor / self.share(i));
        let mut points: Vec<_> = sums.iter().enumerate().map(value).collect();
        points.extend(points.last().map(|(_, v)| (self.end as f64 / 1e9, *v)));
        points
    }
}

/// What the panels share.
pub(super) struct Panels<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) lang: Lang,
    pub(super) slices: Slices,
}

impl Panels<'_> {
    pub(super) fn panel(&self, title: Text, caption: &str, y: Axis, lines: Vec<Line>) -> Chart {
        let end = self.slices.end as f64 / 1e9;
        let shade = |t: &crate::facts::Trial| Layer::Shade {
            from: t.start_ns as f64 / 1e9,
            to: t.end_ns as f64 / 1e9,
        };
        let mut layers: Vec<Layer> = self.facts.trials.iter().map(shade).collect();
        layers.extend(lines.into_iter().map(Layer::Line));
        Chart {
            title: title.get(self.lang).to_owned(),
            caption: caption.to_owned(),
            x: Axis::range(0., end, Scale::of(Kind::Time, 1.), Text::TimeAxis.get(self.lang)),
            y,
            y_ticks: true,
            layers,
            height: Height::Panel,
        }
    }

    pub(super) fn line(&self, name: Text, color: usize, points: Vec<(f64, f64)>) -> Line {
        Line { name: name.get(self.lang).to_owned(), color, points, steps: true, dots: false, area: true }
    }

    /// Requests in flight on average over each slice: all, and those still without a token.
    fn in_flight(&self, requests: &[RequestRow]) -> Chart {
        let (mut all, mut waiting) = (vec![0.; self.slices.count], vec![0.; self.slices.count]);
        for r in requests {
            let begin = r.dispatched_ns.get().unwrap_or(r.intended_ns).max(0);
            let first = first_token(r).unwrap_or(r.end_ns);
            self.slices.cover(&mut all, begin, r.end_ns);
            self.slices.cover(&mut waiting, begin, first);
        }
        let y = Axis::from_zero(all.iter().copied(), Scale::of(Kind::Plain, 1.), "");
        let lines = vec![
            self.line(Text::InFlightAll, 0, self.slices.points(&all, 1.)),
            self.line(Text::InFlightWaiting, 1, self.slices.points(&waiting, 1.)),
        ];
        self.panel(Text::InFlightTitle, Text::InFlightCaption.get(self.lang), y, lines)
    }

    fn tokens(&self, requests: &[RequestRow], series: &TokenSeries) -> Chart {
        let mut sums = vec![0.; self.slices.count];
        for (i, milli) in (0..).zip(series.milli()).filter(|(_, milli)| **milli > 0) {
            let from = i * series.width_ns();
            self.slices.spread(&mut sums, from, from + series.width_ns(), *milli as f64 / 1e3);
        }
        if series.milli().is_empty() {
            // Nothing tells when they came: evenly between first byte and end.
            for r in requests {
                let (Some(tokens), Some(first)) = (r.output_tokens(), r.first_byte_ns.get()) else {
                    continue;
                };
                self.slices.spread(&mut sums, first, r.end_ns, f64::from(tokens));
            }
        }
        let points = self.slices.points(&sums, 1. / self.slices.seconds());
        let y = Axis::from_zero(points.iter().map(|p| p.1), Scale::of(Kind::Plain, 1.), "");
        self.panel(Text::TokenRateTitle, "", y, vec![self.line(Text::TokenRateTitle, 0, points)])
    }

    fn memory(&self) -> Option<Chart> {
        let samples = &self.facts.memory;
        let largest = samples.iter().map(|s| s.1).max()? as f64;
        let samples: Vec<(Nanos, f64)> = samples.iter().map(|(t, bytes)| (*t, *bytes as f64)).collect();
        let points = self.slices.largest(&samples);
        let y = Axis::from_zero([largest], Scale::of(Kind::Bytes, largest), "");
        Some(self.panel(Text::MemoryTitle, "", y, vec![self.line(Text::MemoryTitle, 0, points)]))
    }
}

/// When the first token came.
pub(super) fn first_token(r: &RequestRow) -> Option<Nanos> {
    r.stream.map(|s| s.first_token_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_round_and_few() {
        let s = Slices::over(63_000_000_000);
        assert_eq!((s.width, s.count), (500_000_000, 126));
        assert!(Slices::over(1).count <= SLICES && Slices::over(Nanos::MAX / 2).count <= SLICES);
    }

    #[test]
    fn coverage_adds_up_to_the_length() {
        let s = Slices { width: 10, count: 5, end: 42 };
        let mut sums = vec![0.; 5];
        s.cover(&mut sums, 5, 32);
        assert_eq!(sums, [0.5, 1., 1., 0.2, 0.]);
        let mut sums = vec![0.; 5];
        s.spread(&mut sums, 8, 12, 6.);
        s.spread(&mut sums, 48, 52, 1.);
        assert_eq!(sums, [3., 3., 0., 0., 1.]);
        let last = s.points(&[1., 1., 1., 1., 0.2], 1.);
        assert_eq!(last[4].1, 1., "a last slice that is partly outside is not a dip");
    }
}
