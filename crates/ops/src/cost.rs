//! What an upstream's machine costs, and whose requests cost it.
//!
//! A machine is paid for by the hour, whether it works or not. While it works, its cost is shared evenly among the
//! requests at it: a request that was alone for a second costs a second of the machine, one of ten a tenth of it. So
//! the costs of all requests add up to those of the busy time, and what is left of the bill was idle. Nothing is
//! assumed about what a prompt's token costs beside a generated one.

use stopwatt_core::Nanos;

/// Nanoseconds of an hour.
const HOUR: f64 = 3.6e12;

/// The meter of one upstream.
#[derive(Debug)]
pub(crate) struct Meter {
    per_hour: f64,
    since: Nanos,
    at: Nanos,
    requests: u32,
    /// What a request would have paid that was there all the time.
    each: f64,
    shared: f64,
}

impl Meter {
    /// Runs from `now` on; `per_hour` in dollars.
    pub(crate) fn new(per_hour: f64, now: Nanos) -> Self {
        Self { per_hour, since: now, at: now, requests: 0, each: 0.0, shared: 0.0 }
    }

    fn advance(&mut self, now: Nanos) {
        if now > self.at {
            if self.requests > 0 {
                let spent = self.per_hour * (now - self.at) as f64 / HOUR;
                self.each += spent / f64::from(self.requests);
                self.shared += spent;
            }
            self.at = now;
        }
    }

    /// A request came; what it gets is handed back when it leaves.
    pub(crate) fn enter(&mut self, now: Nanos) -> f64 {
        self.advance(now);
        self.requests += 1;
        self.each
    }

    /// A request left: its share in dollars.
    pub(crate) fn leave(&mut self, entered: f64, now: Nanos) -> f64 {
        self.advance(now);
        self.requests = self.requests.saturating_sub(1);
        self.each - entered
    }

    /// Dollars an hour, dollars since the start, and those of them in which there were requests.
    pub(crate) fn read(&mut self, now: Nanos) -> (f64, f64, f64) {
        self.advance(now);
        (self.per_hour, self.per_hour * (now - self.since) as f64 / HOUR, self.shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn requests_share_the_busy_time_by_hand() {
        // A dollar a second. One second idle; a from 1 to 5, b from 3 to 4: a pays 2 + ½ + 1, b ½.
        let mut meter = Meter::new(3600.0, 0);
        let a = meter.enter(SECOND);
        let b = meter.enter(3 * SECOND);
        let of_b = meter.leave(b, 4 * SECOND);
        let of_a = meter.leave(a, 5 * SECOND);
        assert!((of_a - 3.5).abs() < 1e-9 && (of_b - 0.5).abs() < 1e-9, "{of_a} {of_b}");
        let (per_hour, paid, busy) = meter.read(10 * SECOND);
        assert!((per_hour - 3600.0).abs() < 1e-9 && (paid - 10.0).abs() < 1e-9 && (busy - 4.0).abs() < 1e-9);
    }
}
