//! Does a queue grow? What an open loop sends and what it gets back, however short the run.
//!
//! In a steady queue the number of requests in the system has no trend; above capacity it rises by the share of the
//! arrivals that are not served. That share is read off the Theil–Sen line of each trial. A queue wanders for long in
//! one direction by itself, so nothing inside a trial tells how certain its line is: trials are what is tested, by
//! Student's t over their shares.

use crate::interval::t_mean;
use crate::trend::theil_sen;

/// One-sided confidence that the share is above zero, from three trials on.
const LEVEL: f64 = 0.99;
/// Share of the arrivals that must stay behind for growth to matter.
const MATTERS: f64 = 0.05;
/// With two trials only growth in both, as plain as this, counts.
const PLAIN: f64 = 0.25;

/// How the number in the system moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    /// Requests that stay behind for each one that arrives, in each trial: 0 in a steady queue.
    shares: Vec<f64>,
}

impl Growth {
    /// Mean share over trials.
    pub fn share(&self) -> f64 {
        self.shares.iter().sum::<f64>() / self.shares.len() as f64
    }

    /// Whether the queue grows: more than chance, and enough to matter.
    pub fn grows(&self) -> bool {
        match self.shares.len() {
            0 | 1 => false,
            2 => self.shares.iter().all(|s| *s > PLAIN),
            _ => {
                // The sides of an interval at 2·level − 1 are one-sided bounds at `level`.
                let clear = t_mean(&self.shares, 2.0 * LEVEL - 1.0).is_ok_and(|ci| ci.lo > 0.0);
                clear && self.share() > MATTERS
            }
        }
    }
}

/// Growth over trials, each the begin and end of its requests in seconds. `None` when no trial has enough requests
/// for a trend.
pub fn growth(trials: &[Vec<(f64, f64)>]) -> Option<Growth> {
    let share = |trial: &Vec<(f64, f64)>| {
        let series = in_system(trial);
        let span = series.last()?.0 - series.first()?.0;
        Some(theil_sen(&series, LEVEL).ok()?.slope * span / series.len() as f64)
    };
    let shares: Vec<f64> = trials.iter().filter_map(share).collect();
    (!shares.is_empty()).then_some(Growth { shares })
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
        (0..200).filter(|_| once().unwrap().grows()).count()
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
        assert!((g.share() - 0.5).abs() < 0.02 && g.grows(), "{g:?}");
        assert!(!growth(&[trial]).unwrap().grows(), "one trial is no evidence");
        assert_eq!(growth(&[vec![(0.0, 1.0); 3]]), None);
        assert_eq!(growth(&[]), None);
    }
}
