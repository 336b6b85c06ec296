//! A stream watched value by value for a shift of its mean.
//!
//! CUSUM (Page, "Continuous inspection schemes", Biometrika 41 (1954), 100–115) adds up how far values lie from the
//! baseline's mean, less an allowance, and starts again at zero. Page–Hinkley (Hinkley, "Inference about the
//! change-point from cumulative sum tests", Biometrika 58 (1971), 509–523) does so about the mean of the stream itself,
//! so that a stream whose level was never measured can be watched too; it notices a change, not a level.
//!
//! Tables of run lengths suppose independent normal values and a mean that is known. Here the limit is found by running
//! the chart over streams resampled from the baseline in blocks, each against a baseline resampled as well: the chart
//! that will run knows its mean no better.

use rayon::prelude::*;

use super::{blocks, stream};
use crate::bootstrap::block::for_each_block;
use crate::describe::Summary;
use crate::{Unsupported, require};

/// Fewest values of a baseline.
const LEAST: usize = 50;
/// Length of a simulated stream, in run lengths.
const TURNS: usize = 5;
/// Halvings in the search for the limit.
const HALVINGS: usize = 24;

/// How values add up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// CUSUM to both sides.
    Cusum {
        /// Standard deviations of the baseline that a value may lie off; half of the shift that matters.
        allowance: f64,
    },
    /// Page–Hinkley to both sides.
    PageHinkley {
        /// Standard deviations of the baseline that a value may lie off.
        allowance: f64,
    },
}

/// How long a chart runs without drift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Observations to each false alarm, on average.
    pub length: u32,
    /// Streams to simulate.
    pub streams: u32,
    /// One seed gives one limit.
    pub seed: u64,
}

impl Default for Run {
    fn default() -> Self {
        Self { length: 1000, streams: 200, seed: 0 }
    }
}

/// Where the mean went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It rose.
    Up,
    /// It fell.
    Down,
}

/// Watches a stream.
#[derive(Debug, Clone)]
pub struct Chart {
    method: Method,
    mean: f64,
    sd: f64,
    limit: f64,
    sums: Sums,
}

impl Chart {
    /// A chart whose limit is passed once in `run.length` observations when nothing drifts.
    ///
    /// # Errors
    /// Fewer than 50 values, a value that is not finite, or a baseline that does not vary.
    pub fn calibrate(baseline: &[f64], method: Method, run: Run) -> Result<Self, Unsupported> {
        require(baseline, LEAST)?;
        let s = Summary::of(baseline)?;
        if s.sd <= 1e-14 * s.mean.abs() {
            return Err(Unsupported::Constant);
        }
        let (length, turns) = (blocks(baseline), run.length.max(2) as usize * TURNS);
        let alarms = |limit: f64| -> usize {
            let one = |i: u64| {
                let mut rng = stream(run.seed, i);
                let mut drawn = Vec::with_capacity(baseline.len());
                for_each_block(&mut rng, baseline.len(), baseline.len(), length, |from, to| {
                    drawn.extend_from_slice(&baseline[from..to]);
                });
                let known = Summary::of(&drawn).ok().filter(|k| k.sd > 0.0).unwrap_or(s);
                let mut chart = Self::with_limit(method, known.mean, known.sd, limit);
                let mut count = 0;
                for_each_block(&mut rng, baseline.len(), turns, length, |from, to| {
                    count += baseline[from..to].iter().filter(|x| chart.observe(**x).is_some()).count();
                });
                count
            };
            (0..u64::from(run.streams.max(1))).into_par_iter().map(one).sum()
        };
        let wanted = run.streams.max(1) as usize * TURNS;
        let (mut low, mut high) = (0.0, 8.0);
        while alarms(high) > wanted {
            (low, high) = (high, high * 2.0);
        }
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            match alarms(middle).cmp(&wanted) {
                std::cmp::Ordering::Greater => low = middle,
                std::cmp::Ordering::Equal => return Ok(Self::with_limit(method, s.mean, s.sd, middle)),
                std::cmp::Ordering::Less => high = middle,
            }
        }
        Ok(Self::with_limit(method, s.mean, s.sd, high))
    }

    /// A chart with a limit of its own, for a stream whose mean and standard deviation are known.
    pub fn with_limit(method: Method, mean: f64, sd: f64, limit: f64) -> Self {
        Self { method, mean, sd, limit, sums: Sums::default() }
    }

    /// The limit of the sums, in standard deviations of the baseline.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// The sums upwards and downwards, in standard deviations of the baseline.
    pub fn sums(&self) -> (f64, f64) {
        (self.sums.up, self.sums.down)
    }

    /// Takes the next value. An alarm starts the chart anew. A value that is not finite is left out.
    pub fn observe(&mut self, value: f64) -> Option<Direction> {
        if !value.is_finite() {
            return None;
        }
        let z = (value - self.mean) / self.sd;
        let sums = &mut self.sums;
        let (off, allowance) = match self.method {
            Method::Cusum { allowance } => (z, allowance),
            Method::PageHinkley { allowance } => {
                sums.n += 1.0;
                sums.mean += (z - sums.mean) / sums.n;
                (z - sums.mean, allowance)
            }
        };
        // A sum less its minimum so far is a sum that starts again at zero.
        sums.up = (sums.up + off - allowance).max(0.0);
        sums.down = (sums.down - off - allowance).max(0.0);
        let direction = if sums.up > self.limit && sums.up >= sums.down {
            Direction::Up
        } else if sums.down > self.limit {
            Direction::Down
        } else {
            return None;
        };
        self.sums = Sums::default();
        Some(direction)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    n: f64,
    mean: f64,
    up: f64,
    down: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series;

    #[test]
    fn cusum_by_hand() {
        let mut chart = Chart::with_limit(Method::Cusum { allowance: 0.5 }, 10.0, 2.0, 2.0);
        // In deviations: 1, 2, −1, 1, 2, 1.5; less ½ each: 0.5, 2.0 (not above the limit), 0.5, 1.0, 2.5.
        let got: Vec<_> = [12.0, 14.0, 8.0, 12.0, 14.0].into_iter().map(|x| chart.observe(x)).collect();
        assert_eq!(got, [None, None, None, None, Some(Direction::Up)]);
        assert_eq!(chart.sums(), (0.0, 0.0));
    }

    #[test]
    fn page_hinkley_alarms_where_river_does() {
        // river 0.26.1: drift.PageHinkley(min_instances=1, delta=0.05, threshold=10, alpha=1, mode="both") over 600
        // uniform values (Knuth's congruence, seed 3) and 600 more (seed 4) shifted by 0.3: alarm at 639; by −0.3: 642.
        // Its sums at 100 are 0.072 081 964 207 745 49 and 1.207 463 345 598 382 5, at 599 0.141 866 354 144 379 87 and
        // 0.034 694 481 306 308 91.
        for (shift, alarm) in [(0.3, (639, Direction::Up)), (-0.3, (642, Direction::Down))] {
            let later = crate::drift::distance::tests::uniform(4, 600).into_iter().map(|u| u + shift);
            let values = crate::drift::distance::tests::uniform(3, 600).into_iter().chain(later);
            let mut chart = Chart::with_limit(Method::PageHinkley { allowance: 0.05 }, 0.0, 1.0, 10.0);
            let mut alarms = Vec::new();
            for (i, value) in values.enumerate() {
                alarms.extend(chart.observe(value).map(|direction| (i, direction)));
                let (up, down) = chart.sums();
                if i == 100 {
                    assert!(
                        (up - 0.072_081_964_207_745).abs() < 1e-9 && (down - 1.207_463_345_598).abs() < 1e-9
                    );
                }
                if i == 599 {
                    assert!((up - 0.141_866_354_144).abs() < 1e-9 && (down - 0.034_694_481_306).abs() < 1e-9);
                }
            }
            assert_eq!(alarms, [alarm]);
        }
    }

    #[test]
    fn a_limit_comes_near_the_table_where_the_table_holds() {
        // Independent normal values and a mean that is known: k = ½, h = 4 run 168 observations to both sides, h = 5
        // run 465 (Montgomery, Introduction to Statistical Quality Control, table 9.3). 20,000 values know it almost.
        let baseline = series::ar1(&mut series::rng(7), 20_000, 0.0);
        let at = |length| {
            let run = Run { length, ..Run::default() };
            Chart::calibrate(&baseline, Method::Cusum { allowance: 0.5 }, run).unwrap().limit()
        };
        assert!((at(168) - 4.0).abs() < 0.2, "{}", at(168));
        assert!((at(465) - 5.0).abs() < 0.25, "{}", at(465));
    }

    #[test]
    fn bad_values_are_refused() {
        let method = Method::Cusum { allowance: 0.5 };
        assert!(matches!(
            Chart::calibrate(&[1.0; 20], method, Run::default()),
            Err(Unsupported::TooFewValues { .. })
        ));
        assert!(matches!(Chart::calibrate(&[1.0; 80], method, Run::default()), Err(Unsupported::Constant)));
        let mut chart = Chart::with_limit(method, 0.0, 1.0, 3.0);
        assert_eq!(chart.observe(f64::NAN), None);
        assert_eq!(chart.sums(), (0.0, 0.0));
    }
}
