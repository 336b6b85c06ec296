//! Does a queue grow? What an open loop sends and what it gets back, however short the run.
//!
//! In a steady queue the number of requests in the system has no trend; above capacity it rises by the share of the
//! arrivals that are not served, which is read off the least-squares line of each trial. The queue between two empty
//! moments is arrivals less departures, and the slope of a random walk over n steps of variance σ² has the variance
//! 6σ²/5n. A steady queue is pulled back and moves less, so testing against the walk keeps false alarms below what is
//! asked for at any load below capacity. From three trials on they must agree as well (Student's t): what one of them
//! met by chance is no growth.

use crate::describe::{mean, sd};
use crate::distribution::normal_quantile;
use crate::interval::t_mean;

/// Share of the arrivals that must stay behind for growth to matter.
const MATTERS: f64 = 0.05;
/// One-sided confidence at which trials must agree.
const AGREE: f64 = 0.95;
/// Requests needed for a trend.
const NEEDED: usize = 8;

/// How the number in the system moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    /// Requests that stay behind for each one that arrives, in each trial: 0 in a steady queue.
    shares: Vec<f64>,
    /// Variance of each as a random walk.
    variances: Vec<f64>,
}

impl Growth {
    /// Mean share over trials.
    pub fn share(&self) -> f64 {
        mean(&self.shares)
    }

    /// Whether the queue grows: more than chance would make it with probability 1 − `level`, and enough to matter.
    pub fn grows(&self, level: f64) -> bool {
        let trials = self.shares.len();
        if trials < 2 || self.share() <= MATTERS {
            return false;
        }
        let chance = normal_quantile(level) * self.variances.iter().sum::<f64>().sqrt() / trials as f64;
        let agree = match trials {
            2 => self.shares.iter().all(|s| *s > MATTERS),
            // The sides of an interval at 2·level − 1 are one-sided bounds at `level`.
            _ => t_mean(&self.shares, 2.0 * AGREE - 1.0).is_ok_and(|ci| ci.lo > 0.0),
        };
        agree && self.share() > chance
    }
}

/// Growth over trials, each the begin and end of its requests in seconds. `None` when no trial has enough requests
/// for a trend.
pub fn growth(trials: &[Vec<(f64, f64)>]) -> Option<Growth> {
    let (shares, variances): (Vec<f64>, Vec<f64>) = trials.iter().filter_map(|t| of_trial(t)).unzip();
    (!shares.is_empty()).then_some(Growth { shares, variances })
}

/// The share that stays behind, with its variance as a random walk.
fn of_trial(trial: &[(f64, f64)]) -> Option<(f64, f64)> {
    if trial.len() < NEEDED {
        return None;
    }
    let series = in_system(trial);
    let n = series.len() as f64;
    let span = series.last()?.0 - series.first()?.0;
    let (t, y) = (series.iter().map(|p| p.0).sum::<f64>() / n, series.iter().map(|p| p.1).sum::<f64>() / n);
    let across: f64 = series.iter().map(|p| (p.0 - t).powi(2)).sum();
    if span <= 0.0 || across <= 0.0 {
        return None;
    }
    let slope = series.iter().map(|p| (p.0 - t) * (p.1 - y)).sum::<f64>() / across;
    let mut ends: Vec<f64> = trial.iter().map(|r| r.1).collect();
    ends.sort_by(f64::total_cmp);
    let begins: Vec<f64> = series.iter().map(|p| p.0).collect();
    let steps = irregularity(&begins) + irregularity(&ends);
    Some((slope * span / n, 1.2 * steps / n))
}

/// Squared coefficient of variation of the gaps between events: variance of their number for each one expected.
/// Never below that of a random server, since events that come in bunches hide how their number varies.
fn irregularity(events: &[f64]) -> f64 {
    let gaps: Vec<f64> = events.windows(2).map(|w| w[1] - w[0]).collect();
    let m = mean(&gaps);
    let own = if m > 0.0 { (sd(&gaps).unwrap_or(0.0) / m).powi(2) } else { 0.0 };
    own.max(1.0)
}

/// For each arrival in order of time, how many requests it finds in the system.
fn in_system(requests: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut begins: Vec<f64> = requests.iter().map(|r| r.0).collect();
    let mut ends: Vec<f64> = requests.iter().map(|r| r.1).collect();
    begins.sort_by(f64::total_cmp);
    ends.sort_by(f64::total_cmp);
    let mut gone = 0;
    let mut count = |(before, t): (usize, &f64)| {
        while ends.get(gone).is_some_and(|end| end <= t) {
            gone += 1;
        }
        (*t, before as f64 - gone as f64)
    };
    begins.iter().enumerate().map(|(i, t)| count((i, t))).collect()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::series;

    #[test]
    fn arrivals_find_what_came_before_and_has_not_left() {
        // Arrivals at 0, 1, 2, 3; departures at 2.5, 1.5, 9 and 3.
        let found = in_system(&[(0.0, 2.5), (1.0, 1.5), (2.0, 9.0), (3.0, 3.0)]);
        assert_eq!(found, [(0.0, 0.0), (1.0, 1.0), (2.0, 1.0), (3.0, 0.0)]);
    }

    /// A queue with one server of rate 1 at the given load, begun empty; the first quarter left out.
    fn queue(random: &mut rand_chacha::ChaCha8Rng, load: f64, n: usize) -> Vec<(f64, f64)> {
        let mut exponential = |rate: f64| -(1.0 - random.random::<f64>()).ln() / rate;
        let (mut now, mut free) = (0.0, 0.0f64);
        let all: Vec<_> = (0..n)
            .map(|_| {
                now += exponential(load);
                free = free.max(now) + exponential(1.0);
                (now, free)
            })
            .collect();
        all[n / 4..].to_vec()
    }

    fn caught(load: f64, n: usize, trials: usize) -> usize {
        let mut random = series::rng(5);
        let mut once = || growth(&(0..trials).map(|_| queue(&mut random, load, n)).collect::<Vec<_>>());
        (0..200).filter(|_| once().unwrap().grows(0.99)).count()
    }

    #[test]
    fn overload_is_seen_and_steady_queues_are_left_alone() {
        assert!(caught(2.0, 120, 2) >= 190, "{}", caught(2.0, 120, 2));
        assert!(caught(1.5, 200, 5) >= 190, "{}", caught(1.5, 200, 5));
        assert!(caught(1.2, 1000, 5) >= 190, "{}", caught(1.2, 1000, 5));
        assert!(caught(0.5, 100, 3) <= 4, "{}", caught(0.5, 100, 3));
        assert!(caught(0.8, 100, 2) <= 4, "{}", caught(0.8, 100, 2));
        assert!(caught(0.8, 400, 3) <= 4, "{}", caught(0.8, 400, 3));
    }

    #[test]
    fn growth_is_the_share_that_stays_behind() {
        // An arrival a second, a departure every other second.
        let trial: Vec<(f64, f64)> = (0..100).map(|i| (f64::from(i), 2.0 * f64::from(i) + 2.0)).collect();
        let g = growth(&[trial.clone(), trial.clone()]).unwrap();
        assert!((g.share() - 0.5).abs() < 0.02 && g.grows(0.99), "{g:?}");
        assert!(!growth(&[trial]).unwrap().grows(0.99), "one trial is no evidence");
        assert_eq!(growth(&[vec![(0.0, 1.0); 3]]), None);
        assert_eq!(growth(&[]), None);
    }
}
