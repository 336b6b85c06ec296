//! Intervals from residuals: how far left-out rows lay from what the other rows said of them.

/// Fewest residuals that support a 90 % interval on both sides.
pub(super) const ENOUGH: usize = 19;

/// Most residuals whose coverage is counted.
const MOST_CHECKED: usize = 1000;

/// Factors on a predicted time within which 90 % of the left-out rows lay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub lo: f64,
    pub hi: f64,
}

impl Spread {
    /// The middle 90 % of actual over predicted, by order statistics of `n + 1`; with too few, the extremes and half as
    /// much again.
    pub(super) fn of(mut ratios: Vec<f64>) -> Self {
        ratios.retain(|r| r.is_finite() && *r > 0.0);
        ratios.sort_by(f64::total_cmp);
        let n = ratios.len();
        if n >= ENOUGH {
            let place = |share: f64| share * (n + 1) as f64;
            let lo = (place(0.05).floor() as usize).clamp(1, n) - 1;
            let hi = (place(0.95).ceil() as usize).clamp(1, n) - 1;
            return Self { lo: ratios[lo], hi: ratios[hi] };
        }
        let extreme = ratios.iter().map(|r| r.ln().abs()).fold(0.1, f64::max) * 1.5;
        Self { lo: (-extreme).exp(), hi: extreme.exp() }
    }

    /// Share of residuals that lie in the interval of the others; `None` with too few for one.
    pub(super) fn coverage(ratios: &[f64]) -> Option<f64> {
        if ratios.len() <= ENOUGH {
            return None;
        }
        // Of many, some: each is held against all others.
        let ratios: Vec<f64> = ratios.iter().step_by(ratios.len().div_ceil(MOST_CHECKED)).copied().collect();
        let inside = (0..ratios.len()).filter(|&i| {
            let mut others = ratios.clone();
            let own = others.swap_remove(i);
            let Self { lo, hi } = Self::of(others);
            (lo..=hi).contains(&own)
        });
        Some(inside.count() as f64 / ratios.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_serving::random::{Draws, Purpose};

    use super::*;

    #[test]
    fn nineteen_residuals_give_their_extremes() {
        // 0.05 · 20 = 1 and 0.95 · 20 = 19: the first and the last.
        let Spread { lo, hi } = Spread::of((1..=19).map(f64::from).collect());
        assert_eq!((lo, hi), (1.0, 19.0));
        let few = Spread::of(vec![1.0, 1.5]);
        assert!((few.hi - 1.5_f64.powf(1.5)).abs() < 1e-12 && (few.lo * few.hi - 1.0).abs() < 1e-12);
    }

    #[test]
    fn ninety_of_a_hundred_new_values_lie_inside() {
        let mut draws = Draws::new(Purpose::Order, [3, 0, 0, 0]);
        let mut inside = 0;
        for _ in 0..400 {
            let seen: Vec<f64> = (0..40).map(|_| (0.1 * draws.normal()).exp()).collect();
            let Spread { lo, hi } = Spread::of(seen);
            inside += u32::from((lo..=hi).contains(&(0.1 * draws.normal()).exp()));
        }
        let share = f64::from(inside) / 400.0;
        assert!((0.88..=0.98).contains(&share), "{share}");
    }
}
