//! How many replicas there should be: the load of a moment in, a number out. It reads no clock.
//!
//! ```text
//!            requests a ready replica > up_at, all through up_for
//!   wanted ─────────────────────────────────────────────────────► wanted + 1     (not while one is on its way)
//!   wanted ─────────────────────────────────────────────────────► wanted − 1
//!            one fewer would carry at most half of up_at each, all through down_after
//! ```
//!
//! Between the two lies a band in which nothing happens (hysteresis), and every step begins both times anew
//! (cool-down): a replica that was just started is given the time to help.

use std::time::Duration;

use stopwatt_core::Nanos;

/// Of `up_at`, what the replicas that are left may carry each when one is ended.
const DOWN_SHARE: f64 = 0.5;

/// What scales.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Fewest replicas, at least 1.
    pub least: usize,
    /// Most replicas.
    pub most: usize,
    /// Requests a ready replica, computed and waiting, above which there is another.
    pub up_at: f64,
    /// How long they must have been above it all the time.
    pub up_for: Duration,
    /// How long the load must have been low all the time before a replica is ended.
    pub down_after: Duration,
}

/// What is seen of the replicas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Requests that have not ended.
    pub requests: f64,
    /// Replicas that are given requests.
    pub ready: usize,
}

/// The number of replicas, as it changes.
#[derive(Debug, Clone)]
pub struct Scaler {
    policy: Policy,
    wanted: usize,
    high_since: Option<Nanos>,
    low_since: Option<Nanos>,
}

impl Scaler {
    /// Begins with the fewest.
    pub fn new(policy: Policy) -> Self {
        Self { policy, wanted: policy.least, high_since: None, low_since: None }
    }

    /// How many there should be.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Looks at the load; how many there should be from now on.
    pub fn step(&mut self, load: Load, now: Nanos) -> usize {
        let Policy { least, most, up_at, up_for, down_after } = self.policy;
        // While one is on its way, or lost, the load of the others says nothing of what is enough.
        let settled = load.ready == self.wanted;
        let high = settled && load.requests > up_at * load.ready as f64;
        let fewer = load.ready.saturating_sub(1);
        let low = settled && fewer >= least && load.requests <= up_at * DOWN_SHARE * fewer as f64;
        let since = |since: Option<Nanos>, is: bool| is.then(|| since.unwrap_or(now));
        self.high_since = since(self.high_since, high);
        self.low_since = since(self.low_since, low);
        let lasted = |since: Option<Nanos>, time: Duration| {
            since.is_some_and(|s| now - s >= Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX))
        };
        if self.wanted < most && lasted(self.high_since, up_for) {
            self.wanted += 1;
            (self.high_since, self.low_since) = (None, None);
        } else if lasted(self.low_since, down_after) {
            self.wanted -= 1;
            (self.high_since, self.low_since) = (None, None);
        }
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn scaler() -> Scaler {
        Scaler::new(Policy {
            least: 1,
            most: 3,
            up_at: 8.0,
            up_for: Duration::from_secs(10),
            down_after: Duration::from_secs(60),
        })
    }

    fn wanted(scaler: &mut Scaler, requests: f64, ready: usize, at_s: i64) -> usize {
        scaler.step(Load { requests, ready }, at_s * SECOND)
    }

    #[test]
    fn a_peak_starts_nobody_and_a_load_that_stays_does() {
        let mut s = scaler();
        assert_eq!((wanted(&mut s, 9.0, 1, 1), wanted(&mut s, 9.0, 1, 10)), (1, 1));
        assert_eq!(wanted(&mut s, 8.0, 1, 10), 1, "not above it: the time begins anew");
        assert_eq!((wanted(&mut s, 9.0, 1, 11), wanted(&mut s, 9.0, 1, 21)), (1, 2));
        // The queue grows while the second one loads: no third.
        assert_eq!(wanted(&mut s, 90.0, 1, 200), 2);
        assert_eq!((wanted(&mut s, 90.0, 2, 201), wanted(&mut s, 90.0, 2, 211)), (2, 3));
        assert_eq!(
            (wanted(&mut s, 90.0, 3, 212), wanted(&mut s, 90.0, 3, 900)),
            (3, 3),
            "no more than the most"
        );
    }

    #[test]
    fn a_replica_is_ended_only_after_a_long_time_of_little_load() {
        let mut s = scaler();
        wanted(&mut s, 9.0, 1, 0);
        assert_eq!(wanted(&mut s, 9.0, 1, 10), 2);
        // One would carry more than half of what starts another.
        assert_eq!((wanted(&mut s, 5.0, 2, 11), wanted(&mut s, 5.0, 2, 500)), (2, 2));
        assert_eq!((wanted(&mut s, 4.0, 2, 501), wanted(&mut s, 4.0, 2, 560)), (2, 2));
        assert_eq!(wanted(&mut s, 4.0, 2, 561), 1);
        assert_eq!(
            (wanted(&mut s, 0.0, 1, 562), wanted(&mut s, 0.0, 1, 9999)),
            (1, 1),
            "no fewer than the least"
        );
    }

    #[test]
    fn a_replica_that_was_lost_changes_no_number() {
        let mut s = scaler();
        wanted(&mut s, 9.0, 1, 0);
        assert_eq!(wanted(&mut s, 9.0, 1, 10), 2);
        assert_eq!((wanted(&mut s, 0.0, 1, 11), wanted(&mut s, 0.0, 1, 900)), (2, 2));
        assert_eq!((wanted(&mut s, 20.0, 0, 901), wanted(&mut s, 20.0, 0, 1800)), (2, 2));
    }
}
