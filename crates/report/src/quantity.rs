//! Numbers for reading: a unit of handy size, and no more digits than the interval supports.
//!
//! Files hold SI base units with all digits; only what a person reads passes through here. The digits follow the
//! rounding rule of the Particle Data Group (Review of Particle Physics, "Introduction", §5.3): two digits of the
//! uncertainty when its first three lie in 100–354, else one (950–999 become 1.0).

use stopwatt_core::Metric;
use stopwatt_core::metrics_doc::{Estimate, Interval};

/// Significant digits of a value whose uncertainty is unknown.
const DIGITS_WITHOUT_INTERVAL: i32 = 3;
/// A value is never shown with more significant digits, however small its interval.
const DIGITS_AT_MOST: i32 = 4;

/// Smaller than the last of these places is zero to a reader: units are chosen so that values are near one.
const PLACES_AT_MOST: i32 = 6;

/// How values of a metric are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Seconds, shown as µs, ms or s.
    Time,
    /// Bytes, shown in powers of 1024.
    Bytes,
    /// A share of one, shown in percent.
    Share,
    /// Joules, shown as µJ, mJ, J or kJ.
    Energy,
    /// Watts.
    Power,
    /// A number whose unit stands in the metric's title, or that has none.
    Plain,
}

/// How values of `metric` are shown.
pub(crate) fn kind(metric: Metric) -> Kind {
    match metric {
        share if share.is_share() => Kind::Share,
        _ => match metric.info().unit {
            "s" => Kind::Time,
            "B" => Kind::Bytes,
            "J" => Kind::Energy,
            "W" => Kind::Power,
            _ => Kind::Plain,
        },
    }
}

/// A unit of handy size for values around one magnitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    /// The unit shown; may be empty.
    pub(crate) unit: &'static str,
    /// Shown value = value × factor.
    pub(crate) factor: f64,
}

/// An estimate for reading, without its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The value.
    pub(crate) value: String,
    /// `±1.2` where the interval lies evenly about the value, else `[lo, hi]`; `None` without an interval.
    pub(crate) interval: Option<String>,
}

impl Scale {
    /// The scale in which `magnitude` reads well.
    pub(crate) fn of(kind: Kind, magnitude: f64) -> Self {
        let m = magnitude.abs();
        let (unit, factor) = match kind {
            Kind::Time if m > 0. && m < 1e-3 => ("µs", 1e6),
            Kind::Time if m < 1. => ("ms", 1e3),
            Kind::Time => ("s", 1.),
            Kind::Bytes if m < 1024. => ("B", 1.),
            Kind::Bytes if m < 1024. * 1024. => ("KiB", 1. / 1024.),
            Kind::Bytes if m < 1024. * 1024. * 1024. => ("MiB", 1. / (1024. * 1024.)),
            Kind::Bytes => ("GiB", 1. / (1024. * 1024. * 1024.)),
            Kind::Share => ("%", 100.),
            Kind::Energy if m > 0. && m < 1e-3 => ("µJ", 1e6),
            Kind::Energy if m < 1. => ("mJ", 1e3),
            Kind::Energy if m < 1e4 => ("J", 1.),
            Kind::Energy => ("kJ", 1e-3),
            Kind::Power => ("W", 1.),
            Kind::Plain => ("", 1.),
        };
        Self { unit, factor }
    }

    /// One scale for several values, so that they can be compared: that of their median, zeros aside.
    pub(crate) fn for_all(kind: Kind, values: impl IntoIterator<Item = f64>) -> Self {
        let mut sizes: Vec<f64> =
            values.into_iter().map(f64::abs).filter(|v| *v > 0. && v.is_finite()).collect();
        sizes.sort_by(f64::total_cmp);
        Self::of(kind, sizes.get(sizes.len() / 2).copied().unwrap_or_default())
    }

    /// A value alone.
    pub(crate) fn number(self, value: f64) -> String {
        let v = value * self.factor;
        grouped(v, decimals(v, None))
    }

    /// A value alone, with its unit.
    pub(crate) fn with_unit(self, value: f64) -> String {
        joined(&self.number(value), self.unit)
    }

    /// An estimate; `None` when it has no value.
    pub(crate) fn estimate(self, estimate: &Estimate) -> Option<Shown> {
        let v = estimate.value.filter(|v| v.is_finite())? * self.factor;
        let bounds = estimate.interval.map(|Interval { lo, hi, .. }| (lo * self.factor, hi * self.factor));
        let places = decimals(v, bounds.map(|(lo, hi)| (hi - lo) / 2.));
        let interval = bounds.map(|(lo, hi)| interval_text(v, lo, hi, places));
        Some(Shown { value: grouped(v, places), interval })
    }
}

/// `12.3` and `ms` to `12.3 ms`; a percent sign and an empty unit follow without a space.
pub(crate) fn joined(number: &str, unit: &str) -> String {
    match unit {
        "" => number.to_owned(),
        "%" => format!("{number}%"),
        _ => format!("{number} {unit}"),
    }
}

/// The wider half of the interval in percent of the value: `±3%`. `None` without an interval.
pub(crate) fn relative(estimate: &Estimate) -> Option<String> {
    let (value, Interval { lo, hi, .. }) = (estimate.value?, estimate.interval?);
    let share = (hi - value).max(value - lo) / value.abs() * 100.;
    share.is_finite().then(|| if share < 1. { format!("±{share:.1}%") } else { format!("±{share:.0}%") })
}

fn interval_text(v: f64, lo: f64, hi: f64, places: usize) -> String {
    let (below, above) = (v - lo, hi - v);
    let wider = below.max(above);
    let even = below >= 0. && above >= 0. && (below - above).abs() <= 0.1 * wider;
    if !even {
        return format!("[{}, {}]", grouped(lo, places), grouped(hi, places));
    }
    let smallest = 10f64.powi(-(places as i32));
    if wider > 0. && wider < smallest / 2. {
        return format!("±<{}", grouped(smallest, places));
    }
    format!("±{}", grouped(wider, places))
}

/// Decimal places for a value with the given half width of its interval.
fn decimals(value: f64, half: Option<f64>) -> usize {
    let magnitude = |x: f64| if x == 0. { 0 } else { x.abs().log10().floor() as i32 };
    let by_value = |digits: i32| digits - 1 - magnitude(value);
    let places = match half.filter(|h| *h > 10f64.powi(-PLACES_AT_MOST) && h.is_finite()) {
        None if value.abs() < 10f64.powi(-PLACES_AT_MOST) => 0,
        None => by_value(DIGITS_WITHOUT_INTERVAL),
        Some(half) => {
            let m = magnitude(half);
            let first_three = (half / 10f64.powi(m) * 100.).round();
            let by_interval = if first_three < 355. { 1 - m } else { -m };
            by_interval.min(by_value(DIGITS_AT_MOST))
        }
    };
    usize::try_from(places.clamp(0, PLACES_AT_MOST)).unwrap_or(0)
}

/// Fixed-point text, with thousands separated from 10,000 on.
pub(crate) fn grouped(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |d| ("-", d));
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let sign = if digits.bytes().all(|b| matches!(b, b'0' | b'.')) { "" } else { sign };
    if whole.len() < 5 {
        return format!("{sign}{digits}");
    }
    let mut out = String::from(sign);
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out + rest
}

/// A whole number, with thousands separated from 10,000 on.
pub(crate) fn count(n: u64) -> String {
    grouped(n as f64, 0)
}

#[cfg(test)]
mod tests {
    use stopwatt_core::metrics_doc::IntervalKind;

    use super::*;

    #[track_caller]
    fn check(kind: Kind, value: f64, interval: Option<(f64, f64)>, expected: &str) {
        let interval =
            interval.map(|(lo, hi)| Interval { kind: IntervalKind::Confidence, level: 0.95, lo, hi });
        let estimate = Estimate { value: Some(value), n: 10, trials: 5, interval, reason: None };
        let scale = Scale::of(kind, value);
        let shown = scale.estimate(&estimate).expect("it has a value");
        let text = joined(&shown.value, scale.unit);
        assert_eq!([text, shown.interval.unwrap_or_default()].join(" ").trim_end(), expected);
    }

    #[test]
    fn units_are_of_handy_size() {
        check(Kind::Time, 12.3e-6, None, "12.3 µs");
        check(Kind::Time, 0.0123, None, "12.3 ms");
        check(Kind::Time, 1.23, None, "1.23 s");
        check(Kind::Time, 0., None, "0 ms");
        check(Kind::Bytes, 432_013_312., None, "412 MiB");
        check(Kind::Share, 0.0125, None, "1.25%");
        check(Kind::Plain, 12_345.6, None, "12,346");
        check(Kind::Plain, 2.306, None, "2.31");
        check(Kind::Energy, 0.000_226, None, "226 µJ");
        check(Kind::Energy, 29.6, None, "29.6 J");
        check(Kind::Energy, 20_943., None, "20.9 kJ");
        check(Kind::Power, 649.2, None, "649 W");
    }

    #[test]
    fn digits_follow_the_interval() {
        check(Kind::Time, 0.048_213, Some((0.047_113, 0.049_313)), "48.2 ms ±1.1");
        check(Kind::Time, 0.062_13, Some((0.058_2, 0.071_3)), "62 ms [58, 71]");
        check(Kind::Time, 0.008_213_4, Some((0.008_163_4, 0.008_263_4)), "8.21 ms ±0.05");
        check(Kind::Plain, 1234.5, Some((1213.5, 1255.5)), "1234 ±21");
        check(Kind::Plain, 100., Some((99.999_99, 100.000_01)), "100.0 ±<0.1");
    }

    #[test]
    fn the_wider_half_is_what_relative_shows() {
        let interval = Some(Interval { kind: IntervalKind::Confidence, level: 0.95, lo: 98., hi: 105. });
        let e = Estimate { value: Some(100.), n: 10, trials: 5, interval, reason: None };
        assert_eq!(relative(&e).as_deref(), Some("±5%"));
        assert_eq!(relative(&Estimate { interval: None, ..e }), None);
    }

    #[test]
    fn minus_zero_has_no_sign() {
        assert_eq!(grouped(-0.001, 1), "0.0");
        assert_eq!(grouped(-12_345.6, 1), "-12,345.6");
    }
}
