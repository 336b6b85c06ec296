//! Values of the exporter's page at a moment, and what counters gained between two.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::summary::Quantiles;
use crate::store::{GAP_BINS, SampleRow};

/// Every value at a moment, by name and labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    families: BTreeMap<Arc<str>, BTreeMap<Arc<str>, f64>>,
}

impl Values {
    /// Takes a value over an older one.
    pub fn set(&mut self, row: &SampleRow) {
        if let (Some(name), Some(labels)) = (&row.name, &row.labels) {
            self.families.entry(Arc::clone(name)).or_default().insert(Arc::clone(labels), row.value);
        }
    }

    /// The series of a family.
    pub fn series(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        self.families.get(name).into_iter().flatten().map(|(labels, value)| (&**labels, *value))
    }

    /// Sum over all series; `None` where there are none.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.families.get(name).map(|f| f.values().sum())
    }

    /// The highest of all series.
    pub fn max(&self, name: &str) -> Option<f64> {
        self.families.get(name)?.values().copied().reduce(f64::max)
    }

    /// The mean of all series.
    pub fn mean(&self, name: &str) -> Option<f64> {
        let family = self.families.get(name)?;
        Some(family.values().sum::<f64>() / family.len().max(1) as f64)
    }

    /// What the counters of a family gained since `before`; `None` where they are not there at both moments.
    pub fn gained(&self, before: &Self, name: &str) -> Option<f64> {
        let by = self.gained_by(before, name, "");
        (!by.is_empty()).then(|| by.values().sum())
    }

    /// The same by the value of a label. A counter that is new came from zero, as long as its family was there.
    pub fn gained_by(&self, before: &Self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut by = BTreeMap::new();
        let Some(was) = before.families.get(name) else { return by };
        for (labels, value) in self.series(name) {
            let key = self::label(labels, label).unwrap_or_default().to_owned();
            *by.entry(key).or_insert(0.0) += gain(was.get(labels).copied().unwrap_or(0.0), value);
        }
        by
    }
}

/// What a counter gained; one that is lower than before began anew.
fn gain(before: f64, now: f64) -> f64 {
    if now < before { now } else { now - before }
}

/// The value of a label in `a="b",c="d"`.
pub(crate) fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = labels;
    loop {
        let (key, value) = rest.split_once("=\"")?;
        let mut escaped = false;
        let end = value.find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        if key.trim_start_matches(',') == name {
            return Some(&value[..end]);
        }
        rest = &value[end + 1..];
    }
}

/// Counts gaps between tokens as the exporter's page tells them.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    last: BTreeMap<Arc<str>, f64>,
}

impl Gaps {
    /// Takes a value; for a bin that rose, its labels, its upper bound in seconds and by how much.
    pub(crate) fn take<'a>(&mut self, row: &'a SampleRow) -> Option<(&'a str, f64, f64)> {
        if row.name.as_deref() != Some(GAP_BINS) {
            return None;
        }
        let labels = row.labels.as_ref()?;
        let before = self.last.insert(Arc::clone(labels), row.value)?;
        let gained = gain(before, row.value);
        let bound = match label(labels, "le")? {
            "+Inf" => f64::INFINITY,
            bound => bound.parse().ok()?,
        };
        (gained > 0.0).then_some((labels, bound, gained))
    }
}

/// The exporter's bounds rise by at most this factor: the E12 series.
const BOUND_RATIO: f64 = 1.0 / 1.25;

/// A histogram of gaps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Bins {
    /// By the bits of the upper bound: of positive numbers they are in the order of the numbers.
    counts: BTreeMap<u64, f64>,
}

impl Bins {
    pub(crate) fn add(&mut self, bound: f64, n: f64) {
        *self.counts.entry(bound.to_bits()).or_insert(0.0) += n;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.counts.iter().for_each(|(bound, n)| *self.counts.entry(*bound).or_insert(0.0) += n);
    }

    /// Quantiles, interpolated inside their bin; `None` without gaps.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        let n: f64 = self.counts.values().sum();
        if n < 1.0 {
            return None;
        }
        Quantiles::of(n as u64, |p| {
            let wanted = p * n;
            let mut below = 0.0;
            for (bound, count) in &self.counts {
                let bound = f64::from_bits(*bound);
                if below + count >= wanted {
                    let low = bound * BOUND_RATIO;
                    // Beyond the last bound nothing is known but that.
                    let known = if bound.is_finite() {
                        low + (bound - low) * (wanted - below) / count
                    } else {
                        self.highest()
                    };
                    return known;
                }
                below += count;
            }
            self.highest()
        })
    }

    fn highest(&self) -> f64 {
        let finite = self.counts.keys().map(|b| f64::from_bits(*b)).filter(|b| b.is_finite());
        finite.fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, labels: &str, value: f64) -> SampleRow {
        SampleRow { at_unix_ns: 0, name: Some(name.into()), labels: Some(labels.into()), value }
    }

    #[test]
    fn counters_gain_also_over_a_restart() {
        let (mut a, mut b) = (Values::default(), Values::default());
        a.set(&row("c", "end=\"x\"", 10.0));
        a.set(&row("c", "end=\"y\"", 5.0));
        b.set(&row("c", "end=\"x\"", 12.0));
        b.set(&row("c", "end=\"y\"", 1.0));
        b.set(&row("c", "end=\"z\"", 4.0));
        assert_eq!(b.gained(&a, "c"), Some(2.0 + 1.0 + 4.0));
        assert_eq!(b.gained_by(&a, "c", "end")["y"], 1.0);
        assert_eq!((b.gained(&a, "d"), b.gained(&Values::default(), "c")), (None, None));
        assert_eq!((b.sum("c"), b.max("c"), b.mean("c")), (Some(17.0), Some(12.0), Some(17.0 / 3.0)));
    }

    #[test]
    fn labels_are_found_by_their_whole_name() {
        let labels = "up=\"a,le=\\\"1\\\"\",stream=\"b\",le=\"+Inf\"";
        assert_eq!(label(labels, "le"), Some("+Inf"));
        assert_eq!(label(labels, "stream"), Some("b"));
        assert_eq!(label(labels, "am"), None);
        assert_eq!(label("", "x"), None);
    }

    #[test]
    fn quantiles_of_gaps_are_good_to_a_bin() {
        let mut gaps = Gaps::default();
        let mut bins = Bins::default();
        for values in [[0.0, 0.0], [90.0, 30.0], [900.0, 100.0]] {
            for (le, value) in ["0.01", "0.1"].iter().zip(values) {
                let row = row(GAP_BINS, &format!("upstream=\"a\",le=\"{le}\""), value);
                if let Some((_, bound, n)) = gaps.take(&row) {
                    bins.add(bound, n);
                }
            }
        }
        let q = bins.quantiles().unwrap();
        assert_eq!(q.n, 1000);
        assert!((0.008..=0.01).contains(&q.p50.unwrap()), "{q:?}");
        assert!((0.08..=0.1).contains(&q.p95.unwrap()) && (0.08..=0.1).contains(&q.p99.unwrap()));
        assert_eq!(Bins::default().quantiles(), None);
    }
}
