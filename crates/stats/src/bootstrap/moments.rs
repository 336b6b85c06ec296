//! Mean and standard deviation of many resamples without adding up any of them.

use std::ops::Range;

use crate::Sample;

/// Counts and sums of first and second powers up to each group, so that a block costs three subtractions. Values are
/// taken relative to their mean, which keeps the digits of the squares.
pub(super) struct Moments {
    shift: f64,
    sums: Vec<(u64, f64, f64)>,
}

/// What a resample has drawn so far.
#[derive(Default)]
pub(super) struct Drawn {
    n: u64,
    sum: f64,
    squares: f64,
}

impl Moments {
    pub(super) fn of(sample: &Sample) -> Self {
        let shift = sample.mean();
        let (mut n, mut sum, mut squares) = (0, 0.0, 0.0);
        let mut sums = vec![(n, sum, squares)];
        for (more, s, sq) in sample.moments(shift) {
            n += more;
            sum += s;
            squares += sq;
            sums.push((n, sum, squares));
        }
        Self { shift, sums }
    }

    /// What values are taken relative to.
    pub(super) fn shift(&self) -> f64 {
        self.shift
    }

    /// Adds the groups at `range` to a resample.
    pub(super) fn add(&self, range: Range<usize>, drawn: &mut Drawn) {
        let (a, b) = (self.sums[range.start], self.sums[range.end]);
        drawn.n += b.0 - a.0;
        drawn.sum += b.1 - a.1;
        drawn.squares += b.2 - a.2;
    }
}

impl Drawn {
    /// Mean relative to the shift.
    pub(super) fn mean(&self) -> f64 {
        self.sum / self.n as f64
    }

    /// Standard deviation; NaN for fewer than two values.
    pub(super) fn sd(&self) -> f64 {
        let n = self.n as f64;
        ((self.squares - self.sum * self.sum / n).max(0.0) / (n - 1.0)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::{mean, sd};

    #[test]
    fn equal_those_of_the_written_out_resample() {
        let values: Vec<f64> = (0..50).map(|i| f64::from(i * i % 17) + 1e6).collect();
        let moments = Moments::of(&Sample::of(std::slice::from_ref(&values)));
        let mut drawn = Drawn::default();
        for range in [3..9, 40..50, 3..4] {
            moments.add(range, &mut drawn);
        }
        let written: Vec<f64> = [&values[3..9], &values[40..50], &values[3..4]].concat();
        assert!((moments.shift() + drawn.mean() - mean(&written)).abs() < 1e-9);
        assert!((drawn.sd() - sd(&written).unwrap()).abs() < 1e-9);
    }
}
