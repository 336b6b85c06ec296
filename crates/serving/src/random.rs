//! Random draws that are the same on every platform.
//!
//! The generator is ChaCha8 with its key and stream written out here, integers are drawn without modulo bias, and
//! logarithms and powers come from `libm` in Rust, since those of the operating systems differ in the last bit.
//!
//! Invariant, held by a test below: one key gives one sequence.
//!
//! Not for secrets: the key is a seed that stands in the run's configuration.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What the draws are for. Draws for different purposes never share a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Lengths and prefix groups of requests.
    Shape = 1,
    /// Send times.
    Arrival = 2,
    /// The part of a prompt that only one request has.
    UniquePrompt = 3,
    /// The part of a prompt that a group shares.
    SharedPrefix = 4,
    /// Offsets that hide the request number in a prompt.
    Whitening = 5,
    /// Turns of conversations: how many, how long, how much thought.
    Turn = 6,
    /// Content of the blocks of a recorded prompt.
    Block = 7,
    /// The order in which recorded prompts are taken.
    Order = 8,
    /// Content of generated images.
    Image = 9,
    /// Content of made-up documents and what happens to their images.
    Document = 10,
    /// Inputs of workload pairs.
    Workload = 11,
}

/// A sequence of draws.
#[derive(Debug, Clone)]
pub struct Draws {
    rng: ChaCha8Rng,
    spare_normal: Option<f64>,
}

impl Draws {
    /// The sequence of `purpose` under `key`.
    pub fn new(purpose: Purpose, key: [u64; 4]) -> Self {
        let mut bytes = [0; 32];
        for (to, word) in bytes.chunks_exact_mut(8).zip(key) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(bytes);
        rng.set_stream(purpose as u64);
        Self { rng, spare_normal: None }
    }

    /// An integer in `0..bound`, all equally likely. `bound` 0 gives 0.
    ///
    /// Multiplication with rejection: Lemire, "Fast random integer generation in an interval", 2019.
    pub fn below(&mut self, bound: u32) -> u32 {
        let rejected = bound.wrapping_neg().checked_rem(bound).unwrap_or(0);
        loop {
            let product = u64::from(self.rng.next_u32()) * u64::from(bound);
            if product as u32 >= rejected {
                return (product >> 32) as u32;
            }
        }
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Exponential with mean 1, by inversion.
    pub fn exponential(&mut self) -> f64 {
        -libm::log1p(-self.unit())
    }

    /// Normal with mean 0 and variance 1, by Marsaglia's polar method.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let (u, v) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let scale = (-2.0 * libm::log(s) / s).sqrt();
                self.spare_normal = Some(v * scale);
                return u * scale;
            }
        }
    }

    /// Gamma with the given shape and mean 1 (scale 1/shape).
    ///
    /// Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; below shape 1 by their
    /// power of a uniform draw.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        let boost = if shape < 1.0 { libm::pow(1.0 - self.unit(), 1.0 / shape) } else { 1.0 };
        let d = if shape < 1.0 { shape + 1.0 } else { shape } - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x) * (1.0 + c * x) * (1.0 + c * x);
            let u = 1.0 - self.unit();
            if v > 0.0 && libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return boost * d * v / shape;
            }
        }
    }

    /// An integer in `lo..=hi` with a probability in proportion to its power −`exponent`: Zipf's law. `lo` is at least 1.
    ///
    /// Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions", 1996.
    pub fn power_law(&mut self, exponent: f64, lo: u32, hi: u32) -> u32 {
        let rest = 1.0 - exponent;
        // The integral of x^-s, (x^(1-s) - 1)/(1 - s), and its inverse, in forms that hold at s = 1 too.
        let integral = |x: f64| libm::log(x) * smooth(rest * libm::log(x), libm::expm1);
        let inverse = |u: f64| libm::exp(u * smooth(rest * u, libm::log1p));
        let height = |k: u32| libm::pow(f64::from(k), -exponent);
        let (from, to) = (integral(f64::from(lo) + 0.5) - height(lo), integral(f64::from(hi) + 0.5));
        loop {
            let u = to - self.unit() * (to - from);
            let k = (inverse(u).round() as u32).clamp(lo, hi);
            if u >= integral(f64::from(k) + 0.5) - height(k) {
                return k;
            }
        }
    }

    /// Exponential with `mean`, inside `lo..=hi` only: by inversion of the part of its law that lies there.
    pub fn truncated_exponential(&mut self, mean: f64, lo: f64, hi: f64) -> f64 {
        let share = -libm::expm1(-(hi - lo) / mean);
        (lo - mean * libm::log1p(-self.unit() * share)).clamp(lo, hi)
    }

    /// Normal with `mean` and `std`, drawn again until it lies in `lo..=hi`.
    ///
    /// Where that nearly never happens, `std` is so wide that the density inside the bounds is flat, and the draw
    /// is uniform.
    pub fn truncated_normal(&mut self, mean: f64, std: f64, lo: f64, hi: f64) -> f64 {
        for _ in 0..256 {
            let x = mean + std * self.normal();
            if (lo..=hi).contains(&x) {
                return x;
            }
        }
        lo + (hi - lo) * self.unit()
    }
}

/// f(t)/t for an f with f(0) = 0 and slope 1 there.
fn smooth(t: f64, f: impl Fn(f64) -> f64) -> f64 {
    if t.abs() > 1e-9 { f(t) / t } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_variance(n: u32, mut draw: impl FnMut(&mut Draws) -> f64) -> (f64, f64) {
        let mut draws = Draws::new(Purpose::Shape, [11, 0, 0, 0]);
        let values: Vec<f64> = (0..n).map(|_| draw(&mut draws)).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n - 1))
    }

    #[track_caller]
    fn check(draw: impl FnMut(&mut Draws) -> f64, mean: f64, variance: f64) {
        let (m, v) = mean_and_variance(100_000, draw);
        assert!((m - mean).abs() < 0.02, "mean {m}, expected {mean}");
        assert!((v / variance - 1.0).abs() < 0.05, "variance {v}, expected {variance}");
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        check(Draws::unit, 0.5, 1.0 / 12.0);
        check(Draws::exponential, 1.0, 1.0);
        check(Draws::normal, 0.0, 1.0);
        // Variance of a gamma with mean 1 is 1/shape.
        check(|d| d.gamma(0.5), 1.0, 2.0);
        check(|d| d.gamma(1.0), 1.0, 1.0);
        check(|d| d.gamma(4.0), 1.0, 0.25);
        // An integer in 0..6 has mean 2.5 and variance 35/12.
        check(|d| f64::from(d.below(6)), 2.5, 35.0 / 12.0);
    }

    #[test]
    fn a_power_law_has_the_probabilities_of_its_formula() {
        for (exponent, lo, hi) in [(1.0, 1, 8), (0.0, 3, 6), (1.7, 2, 9), (0.6, 1, 5)] {
            let mut draws = Draws::new(Purpose::Shape, [3, 0, 0, 0]);
            let mut counts = vec![0_f64; hi as usize + 1];
            (0..60_000).for_each(|_| counts[draws.power_law(exponent, lo, hi) as usize] += 1.0);
            let sum: f64 = (lo..=hi).map(|k| f64::from(k).powf(-exponent)).sum();
            for k in lo..=hi {
                let expected = 60_000.0 * f64::from(k).powf(-exponent) / sum;
                let error = (counts[k as usize] - expected).abs();
                assert!(
                    error < 4.5 * expected.sqrt(),
                    "{exponent}: {k} came {} for {expected}",
                    counts[k as usize]
                );
            }
            assert_eq!(counts.iter().sum::<f64>(), 60_000.0);
        }
    }

    #[test]
    fn a_truncated_exponential_has_the_mean_of_its_part() {
        let mut draws = Draws::new(Purpose::Shape, [4, 0, 0, 0]);
        let n = 40_000;
        let mean = (0..n).map(|_| draws.truncated_exponential(2.0, 1.0, 4.0)).sum::<f64>() / f64::from(n);
        // On [0, 3] with rate 1/2: 2 - 3 e^-1.5/(1 - e^-1.5) = 1.1384, moved by 1.
        assert!((mean - 2.1384).abs() < 0.015, "{mean}");
    }

    #[test]
    fn a_truncated_normal_stays_in_its_bounds_even_when_its_width_is_absurd() {
        let mut draws = Draws::new(Purpose::Shape, [1, 2, 3, 4]);
        for std in [1.0, 1e12] {
            for _ in 0..200 {
                assert!((10.0..=20.0).contains(&draws.truncated_normal(12.0, std, 10.0, 20.0)));
            }
        }
    }

    #[test]
    fn the_sequence_is_fixed_by_key_and_purpose() {
        let first = |purpose, key| {
            let mut d = Draws::new(purpose, key);
            [d.below(1000), d.below(1000), d.below(1000)]
        };
        let reference = first(Purpose::Shape, [7, 0, 0, 0]);
        assert_eq!(first(Purpose::Shape, [7, 0, 0, 0]), reference);
        assert_ne!(first(Purpose::Arrival, [7, 0, 0, 0]), reference);
        assert_ne!(first(Purpose::Shape, [8, 0, 0, 0]), reference);
        assert_ne!(first(Purpose::Shape, [7, 0, 0, 1]), reference);
    }

    #[test]
    fn a_bound_of_zero_or_one_leaves_no_choice() {
        let mut draws = Draws::new(Purpose::Shape, [0; 4]);
        assert_eq!((draws.below(0), draws.below(1)), (0, 0));
    }
}
