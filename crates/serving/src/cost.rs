//! Cost: what tokens cost at a measured rate, with the interval of the rate carried through.
//!
//! ```text
//! cost of 1M tokens = cost of an hour × 10⁶ / (tokens/s × 3600) / share of time in use
//! interactivity     = 1 / TPOT                      tokens a second that one user sees
//! ```
//!
//! A cost is worth little without the interactivity it was reached at: the same machine gives tokens at a tenth of
//! the cost when each user may wait ten times as long.
//!
//! The interval of a quotient k/x is [k/hi, k/lo]: it has the coverage of the interval of x, since k/x falls as x
//! rises.

use stopwatt_core::metrics_doc::{Estimate, Interval};

/// Cost of a million tokens at a rate in tokens a second.
pub fn per_million(per_hour: f64, tokens_per_s: &Estimate) -> Estimate {
    quotient(per_hour * 1e6 / 3600.0, tokens_per_s, "no token came in the window")
}

/// Tokens a second that one user sees, from the time per output token in seconds.
pub fn interactivity(tpot: &Estimate) -> Estimate {
    quotient(1.0, tpot, "the time per output token is zero")
}

/// Cost with the hours in which the machine waits for work: `utilisation` is the share of time in use.
pub fn with_idle(cost: &Estimate, utilisation: f64) -> Estimate {
    scaled(cost, 1.0 / utilisation)
}

/// An estimate times a positive factor.
pub fn scaled(estimate: &Estimate, factor: f64) -> Estimate {
    let interval = estimate.interval.map(|i| Interval { lo: i.lo * factor, hi: i.hi * factor, ..i });
    Estimate { value: estimate.value.map(|v| v * factor), interval, ..estimate.clone() }
}

/// `k / x` for positive `k`.
fn quotient(k: f64, x: &Estimate, zero: &str) -> Estimate {
    let value = x.value.filter(|v| *v > 0.0).map(|v| k / v);
    if value.is_none() {
        let reason = x.reason.clone().filter(|_| x.value.is_none());
        return Estimate {
            interval: None,
            value: None,
            reason: reason.or(Some(zero.to_owned())),
            ..x.clone()
        };
    }
    match x.interval {
        Some(i) if i.lo > 0.0 => {
            Estimate { value, interval: Some(Interval { lo: k / i.hi, hi: k / i.lo, ..i }), ..x.clone() }
        }
        Some(_) => {
            let reason = Some("no upper bound: the interval of the rate reaches zero".to_owned());
            Estimate { value, interval: None, reason, ..x.clone() }
        }
        None => Estimate { value, ..x.clone() },
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::metrics_doc::IntervalKind;

    use super::*;

    fn estimate(value: f64, interval: Option<(f64, f64)>) -> Estimate {
        let interval =
            interval.map(|(lo, hi)| Interval { kind: IntervalKind::Confidence, level: 0.95, lo, hi });
        let reason = interval.is_none().then(|| "an interval needs at least 2 trials".to_owned());
        Estimate { value: Some(value), n: 5, trials: 5, interval, reason }
    }

    #[track_caller]
    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-6 * expected, "{value}, expected {expected}");
    }

    #[test]
    fn a_million_tokens_by_hand() {
        // 2.50 an hour at 3000 tokens/s: 10.8 M tokens an hour, 0.231 481 a million; at 1000: 0.694 444.
        let cost = per_million(2.5, &estimate(3000.0, Some((2500.0, 4000.0))));
        close(cost.value.unwrap(), 0.231_481_481);
        let i = cost.interval.unwrap();
        close(i.lo, 2.5 / 14.4);
        close(i.hi, 2.5 / 9.0);
        assert_eq!((cost.n, cost.trials, i.level), (5, 5, 0.95));
        let single = per_million(2.5, &estimate(1000.0, None));
        close(single.value.unwrap(), 0.694_444_444);
        assert_eq!(single.reason.as_deref(), Some("an interval needs at least 2 trials"));
    }

    #[test]
    fn idle_time_multiplies() {
        let idle = with_idle(&per_million(2.5, &estimate(3000.0, Some((2500.0, 4000.0)))), 0.4);
        close(idle.value.unwrap(), 0.231_481_481 / 0.4);
        close(idle.interval.unwrap().hi, 2.5 / 9.0 / 0.4);
    }

    #[test]
    fn interactivity_is_the_inverse_of_tpot() {
        let user = interactivity(&estimate(0.02, Some((0.016, 0.025))));
        close(user.value.unwrap(), 50.0);
        close(user.interval.unwrap().lo, 40.0);
        close(user.interval.unwrap().hi, 62.5);
    }

    #[test]
    fn what_has_no_value_has_a_reason() {
        let absent = per_million(1.0, &Estimate::unavailable("no objective was given (--slo)"));
        assert_eq!((absent.value, absent.reason.as_deref()), (None, Some("no objective was given (--slo)")));
        let zero = per_million(1.0, &estimate(0.0, Some((0.0, 0.0))));
        assert_eq!((zero.value, zero.interval), (None, None));
        assert_eq!(zero.reason.as_deref(), Some("no token came in the window"));
        let wide = per_million(1.0, &estimate(10.0, Some((0.0, 20.0))));
        assert!(wide.value.is_some() && wide.interval.is_none() && wide.reason.is_some());
    }
}
