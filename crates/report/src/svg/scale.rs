//! From values to places on an axis, and where its ticks lie.

use crate::quantity::{Scale, grouped};

/// One axis: its range, its kind and its unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    lo: f64,
    hi: f64,
    log: bool,
    scale: Scale,
    title: String,
    fixed: Option<Vec<f64>>,
}

/// A tick: where it lies between 0 and 1, and what stands there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    /// Place from the low end.
    pub(crate) at: f64,
    /// Text in the axis' unit.
    pub(crate) label: String,
}

impl Axis {
    /// A linear axis from zero to a round number at or above the largest value.
    pub(crate) fn from_zero(
        values: impl IntoIterator<Item = f64>,
        scale: Scale,
        title: impl Into<String>,
    ) -> Self {
        let hi = values.into_iter().filter(|v| v.is_finite()).fold(0., f64::max);
        let hi = if hi > 0. { hi * scale.factor } else { 1. };
        let step = nice_step(hi, 5.);
        let hi = (hi / step - 1e-9).ceil() * step / scale.factor;
        Self { lo: 0., hi, log: false, scale, title: title.into(), fixed: None }
    }

    /// A linear axis over exactly this range.
    pub(crate) fn range(lo: f64, hi: f64, scale: Scale, title: impl Into<String>) -> Self {
        let hi = if hi > lo { hi } else { lo + 1. };
        Self { lo, hi, log: false, scale, title: title.into(), fixed: None }
    }

    /// A logarithmic axis around the positive values.
    pub(crate) fn log(values: impl IntoIterator<Item = f64>, scale: Scale, title: impl Into<String>) -> Self {
        let positive = |v: &f64| *v > 0. && v.is_finite();
        let (lo, hi) =
            values.into_iter().filter(positive).fold((f64::MAX, 0f64), |(lo, hi), v| (lo.min(v), hi.max(v)));
        let (lo, hi) = if hi > 0. { (lo / 1.08, hi * 1.08) } else { (1., 10.) };
        // Less than a factor of 1.5 would leave hardly a tick.
        let (lo, hi) = if hi / lo < 1.5 { (lo / 1.25, hi * 1.25) } else { (lo, hi) };
        Self { lo, hi, log: true, scale, title: title.into(), fixed: None }
    }

    /// The same axis with ticks at these values, for settings that were measured one by one.
    pub(crate) fn with_ticks(self, ticks: Vec<f64>) -> Self {
        Self { fixed: Some(ticks), ..self }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end; values outside lie at the ends.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let place = if self.log {
            (value.max(f64::MIN_POSITIVE) / self.lo).ln() / (self.hi / self.lo).ln()
        } else {
            (value - self.lo) / (self.hi - self.lo)
        };
        if place.is_nan() { 0. } else { place.clamp(0., 1.) }
    }

    /// The value at a place, the inverse of [`at`](Self::at).
    pub(crate) fn value(&self, at: f64) -> f64 {
        if self.log { self.lo * (self.hi / self.lo).powf(at) } else { self.lo + (self.hi - self.lo) * at }
    }

    /// Title with the unit.
    pub(crate) fn title(&self) -> String {
        if self.scale.unit.is_empty() || self.title.is_empty() {
            return format!("{}{}", self.title, self.scale.unit);
        }
        format!("{} ({})", self.title, self.scale.unit)
    }

    /// The unit alone.
    pub(crate) fn unit(&self) -> &'static str {
        self.scale.unit
    }

    /// Ends of the axis in its unit, and whether it is logarithmic: what a script needs to read a place back.
    pub(crate) fn data(&self) -> String {
        format!("{} {} {}", self.lo * self.scale.factor, self.hi * self.scale.factor, u8::from(self.log))
    }

    /// Ticks in order, at most about `wanted`.
    pub(crate) fn ticks(&self, wanted: usize) -> Vec<Tick> {
        let shown = match &self.fixed {
            Some(values) => thinned(values, wanted).into_iter().map(|v| v * self.scale.factor).collect(),
            None if self.log => self.log_ticks(wanted),
            None => self.linear_ticks(wanted),
        };
        let places = shown.iter().map(|v| places_of(*v)).max().unwrap_or(0);
        let label = |v: f64| grouped(v, if self.log || self.fixed.is_some() { places_of(v) } else { places });
        shown.into_iter().map(|v| Tick { at: self.at(v / self.scale.factor), label: label(v) }).collect()
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<f64> {
        let (lo, hi) = (self.lo * self.scale.factor, self.hi * self.scale.factor);
        let step = nice_step(hi - lo, wanted as f64);
        let first = (lo / step - 1e-9).ceil() as i64;
        let last = (hi / step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }

    /// 1-2-5 per decade where they are few, else decades, else every other decade.
    fn log_ticks(&self, wanted: usize) -> Vec<f64> {
        let (lo, hi) = (self.lo * self.scale.factor, self.hi * self.scale.factor);
        let decades = lo.log10().floor() as i32..=hi.log10().ceil() as i32;
        let with = |mantissas: &[f64], every: i32| -> Vec<f64> {
            let kept = decades.clone().filter(|d| d.rem_euclid(every) == 0);
            let all = kept.flat_map(|d| mantissas.iter().map(move |m| m * 10f64.powi(d)));
            all.filter(|v| (lo..=hi).contains(v)).collect()
        };
        let fine: &[f64] = &[1., 1.5, 2., 3., 4., 5., 7.];
        let choices: [(&[f64], i32); 6] =
            [(fine, 1), (&[1., 2., 3., 5.], 1), (&[1., 2., 5.], 1), (&[1., 3.], 1), (&[1.], 1), (&[1.], 2)];
        choices.iter().map(|(m, every)| with(m, *every)).find(|t| t.len() <= wanted).unwrap_or_default()
    }
}

/// The smallest of 1, 2, 5 × 10ⁿ that divides `span` into at most `wanted` steps.
fn nice_step(span: f64, wanted: f64) -> f64 {
    let raw = (span / wanted.max(1.)).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(raw.log10().floor());
    let mantissa = [1., 2., 5., 10.].into_iter().find(|m| m * power >= raw * (1. - 1e-9)).unwrap_or(10.);
    mantissa * power
}

/// At most `wanted` of the values, first and last among them.
fn thinned(values: &[f64], wanted: usize) -> Vec<f64> {
    let every = values.len().div_ceil(wanted.max(1)).max(1);
    let last = values.len().saturating_sub(1);
    values.iter().enumerate().filter(|(i, _)| (last - i).is_multiple_of(every)).map(|(_, v)| *v).collect()
}

/// Decimal places that show a round number exactly.
fn places_of(value: f64) -> usize {
    (0..6)
        .find(|&p| (value * 10f64.powi(p as i32)).fract().abs() % 1. < 1e-6 || near_one(value, p))
        .unwrap_or(6)
}

fn near_one(value: f64, places: usize) -> bool {
    (value * 10f64.powi(places as i32)).fract().abs() > 1. - 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Kind;

    fn labels(axis: &Axis, wanted: usize) -> Vec<String> {
        axis.ticks(wanted).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn linear_ticks_are_round() {
        let plain = Scale::of(Kind::Plain, 1.);
        assert_eq!(labels(&Axis::from_zero([583.], plain, ""), 5), ["0", "200", "400", "600"]);
        assert_eq!(labels(&Axis::from_zero([0.9], plain, ""), 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Axis::from_zero([], plain, ""), 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let seconds = Axis::range(0., 63., Scale::of(Kind::Time, 60.), "");
        assert_eq!(labels(&seconds, 7), ["0", "10", "20", "30", "40", "50", "60"]);
    }

    #[test]
    fn the_unit_of_the_axis_is_the_unit_of_its_ticks() {
        let axis = Axis::from_zero([0.045], Scale::of(Kind::Time, 0.045), "TTFT");
        assert_eq!(axis.title(), "TTFT (ms)");
        assert_eq!(labels(&axis, 5), ["0", "10", "20", "30", "40", "50"]);
        assert!((axis.at(0.025) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn log_ticks_stay_few_and_inside() {
        let ms = Scale::of(Kind::Time, 0.01);
        for (lo, hi) in [(0.001, 0.002), (0.001, 0.05), (0.0001, 30.), (1e-6, 1e6)] {
            let axis = Axis::log([lo, hi], ms, "");
            let ticks = axis.ticks(6);
            assert!((1..=6).contains(&ticks.len()), "{lo}..{hi}: {ticks:?}");
            assert!(ticks.is_sorted_by(|a, b| a.at < b.at));
        }
        assert_eq!(labels(&Axis::log([0.0009, 0.11], ms, ""), 7), ["1", "2", "5", "10", "20", "50", "100"]);
    }

    #[test]
    fn places_outside_are_clamped_and_never_nan() {
        let axis = Axis::log([0.01, 0.1], Scale::of(Kind::Time, 0.05), "");
        assert_eq!((axis.at(-1.), axis.at(f64::NAN)), (0., 0.));
        assert_eq!((axis.at(100.), axis.at(f64::INFINITY)), (1., 1.));
    }

    #[test]
    fn measured_settings_keep_their_own_ticks() {
        let loads: Vec<f64> = vec![1., 2., 4., 8., 16., 32., 64.];
        let axis = Axis::log(loads.clone(), Scale::of(Kind::Plain, 1.), "").with_ticks(loads);
        assert_eq!(labels(&axis, 8), ["1", "2", "4", "8", "16", "32", "64"]);
        assert_eq!(labels(&axis, 4), ["1", "4", "16", "64"]);
    }
}
