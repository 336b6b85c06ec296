//! What was scraped, as long as alerts need it, with Prometheus' arithmetic.

use std::collections::{BTreeMap, VecDeque};

use stopwatt_wire::engine_metrics::samples;

use super::alert::{Alert, Selector};

/// Labels of a series.
pub type Labels = BTreeMap<String, String>;

/// Seconds after which a value is too old to be the latest, as in Prometheus.
const LOOK_BACK_S: f64 = 300.0;

/// One value of a series.
#[derive(Debug, Clone, Copy)]
struct Point {
    at_s: f64,
    value: f64,
    /// How much the counter has risen since its first point, resets added back.
    risen: f64,
}

/// Samples of the series that some alert looks at.
#[derive(Debug, Clone, Default)]
pub struct History {
    wanted: Vec<(Selector, u32)>,
    series: BTreeMap<(String, Labels), VecDeque<Point>>,
    /// When each target was last scraped.
    scraped: BTreeMap<Labels, f64>,
    /// Which target a series is of.
    targets: BTreeMap<(String, Labels), Labels>,
}

impl History {
    /// Nothing yet, of what these alerts look at.
    pub fn of(alerts: &[Alert]) -> Self {
        let mut wanted = Vec::new();
        for alert in alerts {
            let (selectors, window_s) = alert.condition.needs();
            wanted.extend(selectors.into_iter().map(|s| (s.clone(), window_s)));
        }
        Self { wanted, ..Self::default() }
    }

    /// Takes a page of a target, in the Prometheus text format. `target` are the labels that Prometheus would add:
    /// `job`, `instance`. `at_s` is UNIX time and never falls.
    pub fn take(&mut self, at_s: f64, target: &Labels, page: &str) {
        self.scraped.insert(target.clone(), at_s);
        for sample in samples(page) {
            let labels: Labels = sample
                .labels
                .iter()
                .map(|(name, value)| (name.to_owned(), value.into_owned()))
                .chain(target.clone())
                // An empty label is no label, as in Prometheus.
                .filter(|(_, value)| !value.is_empty())
                .collect();
            let meant = self.wanted.iter().filter(|(s, _)| s.means(sample.name, &labels)).map(|(_, w)| *w);
            let Some(window_s) = meant.max().filter(|_| !sample.value.is_nan()) else { continue };
            let key = (sample.name.to_owned(), labels);
            self.targets.entry(key.clone()).or_insert_with(|| target.clone());
            let values = self.series.entry(key).or_default();
            let risen = values.back().map_or(0.0, |before: &Point| {
                let reset = sample.value < before.value;
                before.risen + if reset { sample.value } else { sample.value - before.value }
            });
            values.push_back(Point { at_s, value: sample.value, risen });
            let keep_from = at_s - f64::from(window_s).max(LOOK_BACK_S);
            while values.front().is_some_and(|p| p.at_s < keep_from) {
                values.pop_front();
            }
        }
        // Series that are gone for longer than any window go too.
        let longest = self.wanted.iter().map(|(_, w)| f64::from(*w)).fold(LOOK_BACK_S, f64::max);
        self.series.retain(|_, values| values.back().is_some_and(|p| p.at_s >= at_s - longest));
        let series = &self.series;
        self.targets.retain(|key, _| series.contains_key(key));
    }

    /// Samples held.
    pub fn len(&self) -> usize {
        self.series.values().map(VecDeque::len).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn meant<'a>(
        &'a self,
        selector: &'a Selector,
    ) -> impl Iterator<Item = (&'a (String, Labels), &'a VecDeque<Point>)> {
        self.series.iter().filter(|((name, labels), _)| selector.means(name, labels))
    }

    /// The values of now. A series that the last scrape of its target did not have is gone.
    pub(super) fn latest(&self, selector: &Selector, now_s: f64) -> Vec<(Labels, f64)> {
        self.meant(selector)
            .filter_map(|(key, values)| {
                let Point { at_s: at, value, .. } = *values.iter().rev().find(|p| p.at_s <= now_s)?;
                let target = self.targets.get(key).and_then(|t| self.scraped.get(t));
                let there = target.is_some_and(|last| at >= *last) && now_s - at <= LOOK_BACK_S;
                (there && !value.is_nan()).then(|| (key.1.clone(), value))
            })
            .collect()
    }

    /// The increase of each counter over the window that ends at `now_s`.
    pub(super) fn increases(&self, selector: &Selector, window_s: u32, now_s: f64) -> Vec<(Labels, f64)> {
        self.meant(selector)
            .filter_map(|(key, values)| Some((key.1.clone(), increase(values, f64::from(window_s), now_s)?)))
            .collect()
    }

    /// Their sum; `None` where no counter has one.
    pub(super) fn sum_of_increases(&self, selector: &Selector, window_s: u32, now_s: f64) -> Option<f64> {
        let all = self.increases(selector, window_s, now_s);
        (!all.is_empty()).then(|| all.iter().map(|(_, rise)| rise).sum())
    }
}

/// Prometheus' `increase`: resets added back, extrapolated to the ends of the window where samples come close to them,
/// but not to below zero (its function `extrapolatedRate`, release 2.42).
fn increase(values: &VecDeque<Point>, window_s: f64, now_s: f64) -> Option<f64> {
    let from = now_s - window_s;
    let begin = values.partition_point(|p| p.at_s < from);
    let end = values.partition_point(|p| p.at_s <= now_s);
    let count = end.checked_sub(begin).filter(|count| *count >= 2)?;
    let (first, last) = (values.get(begin)?, values.get(end - 1)?);
    let rise = last.risen - first.risen;
    let sampled = last.at_s - first.at_s;
    let between = sampled / (count - 1) as f64;
    let mut to_start = first.at_s - from;
    let to_end = now_s - last.at_s;
    if rise > 0.0 && first.value >= 0.0 {
        to_start = to_start.min(sampled * (first.value / rise));
    }
    let reach = |gap: f64| if gap < between * 1.1 { gap } else { between / 2.0 };
    Some(rise * (sampled + reach(to_start) + reach(to_end)) / sampled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increases_by_hand() {
        let of = |values: &[(f64, f64)], window: u32, now: f64| {
            let selector = Selector::new("c");
            let mut history = History { wanted: vec![(selector.clone(), window)], ..History::default() };
            for (at, value) in values {
                history.take(*at, &Labels::new(), &format!("c {value}\n"));
            }
            history.sum_of_increases(&selector, window, now)
        };
        // Every 15 s, 10 more each, over 60 s to the sample: 5 samples, 40, nothing to add.
        let steady: Vec<(f64, f64)> =
            (0..9).map(|i| (f64::from(i) * 15.0, 100.0 + f64::from(i) * 10.0)).collect();
        assert!((of(&steady, 60, 120.0).unwrap() - 40.0).abs() < 1e-9);
        // Seen 5 s later: samples from 75 to 120 and 10 s before, 5 s after: 30 × 60/45.
        assert!((of(&steady, 60, 125.0).unwrap() - 40.0).abs() < 1e-9);
        // A counter that began at 0 inside the window was not below 0 before.
        assert!((of(&[(50.0, 0.0), (65.0, 10.0)], 60, 65.0).unwrap() - 10.0).abs() < 1e-9);
        // A reset: 10 more, then 5 since the start.
        assert!((of(&[(0.0, 90.0), (30.0, 100.0), (60.0, 5.0)], 60, 60.0).unwrap() - 15.0).abs() < 1e-9);
        assert_eq!(of(&[(0.0, 1.0)], 60, 0.0), None);
    }
}
