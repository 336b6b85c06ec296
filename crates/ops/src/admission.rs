//! Whether an upstream is given requests: health and the outcomes of its requests in, ejection and re-admission out.
//!
//! ```text
//!              sick, or failures in a row, or half of the last outcomes failed
//!   admitted ────────────────────────────────────────────────────────────────► ejected
//!      ▲ ▲                                                                        │ hold is over, health is good,
//!      │ └──── as many good outcomes as failures eject ──── probation ◄───────────┘ a canary was answered
//!      │                                                     │
//!      └── (a failure under probation ejects at once, and the hold doubles)
//! ```
//!
//! Only outcomes that tell of the upstream count: a client that goes away or sends a bad request says nothing.

use std::time::Duration;

use stopwatt_core::Nanos;

use crate::health::State;

/// Why an upstream was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its health is [`State::Stalled`].
    Stalled,
    /// Its health is [`State::Dead`].
    Dead,
    /// Its requests failed.
    Failures,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Stalled, Self::Dead, Self::Failures];

    /// Stable name, for labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Dead => "dead",
            Self::Failures => "failures",
        }
    }
}

/// What ejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row.
    pub failures: u32,
    /// Shortest time out after failures; it doubles with each relapse, up to sixteen times.
    pub hold: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { failures: 3, hold: Duration::from_secs(2) }
    }
}

/// Outcomes that are looked back on.
const WINDOW: u32 = 20;
/// With fewer outcomes than this the share of failures ejects nobody.
const WINDOW_LEAST: u32 = 10;
/// Doublings of the hold.
const MOST_STRIKES: u32 = 4;

/// Something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// No more requests.
    Ejected(Reason),
    /// Requests again.
    Admitted,
}

/// Whether one upstream is given requests.
#[derive(Debug, Clone)]
pub struct Admission {
    settings: Settings,
    ejected: Option<(Reason, Nanos)>,
    in_a_row: u32,
    /// The last outcomes, the newest in bit 0; set is a failure.
    window: u32,
    seen: u32,
    strikes: u32,
    /// Good outcomes still needed to end probation.
    probation: u32,
}

impl Admission {
    /// An upstream that is admitted.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ejected: None, in_a_row: 0, window: 0, seen: 0, strikes: 0, probation: 0 }
    }

    /// Why it is out; `None` when it is admitted.
    pub fn ejected(&self) -> Option<Reason> {
        self.ejected.map(|(reason, _)| reason)
    }

    /// Whether it is back on trial.
    pub fn is_on_probation(&self) -> bool {
        self.probation > 0
    }

    /// A request ended well (`true`) or failed for a reason of the upstream.
    pub fn outcome(&mut self, good: bool, now: Nanos) -> Option<Change> {
        if self.ejected.is_some() {
            return None; // a leftover of before
        }
        self.window = (self.window << 1 | u32::from(!good)) & ((1 << WINDOW) - 1);
        self.seen = (self.seen + 1).min(WINDOW);
        if good {
            self.in_a_row = 0;
            self.probation = self.probation.saturating_sub(1);
            if self.probation == 0 && self.seen == WINDOW && self.window == 0 {
                self.strikes = 0;
            }
            return None;
        }
        self.in_a_row += 1;
        let share = self.seen >= WINDOW_LEAST && self.window.count_ones() * 2 >= self.seen;
        let out = self.probation > 0 || self.in_a_row >= self.settings.failures || share;
        out.then(|| self.eject(Reason::Failures, now))
    }

    /// Health was looked at. `proven` says that the upstream generated since it was ejected.
    pub fn health(&mut self, state: State, proven: bool, now: Nanos) -> Option<Change> {
        let sick = match state {
            State::Stalled => Some(Reason::Stalled),
            State::Dead => Some(Reason::Dead),
            _ => None,
        };
        match (self.ejected, sick) {
            (None, Some(reason)) => Some(self.eject(reason, now)),
            (None, None) => None,
            // What is known of it has changed; it stays out.
            (Some((was, at)), Some(reason)) => {
                if was != reason {
                    self.ejected = Some((reason, at));
                }
                None
            }
            (Some((reason, at)), None) => {
                let held = reason != Reason::Failures || now - at >= self.hold();
                (held && proven).then(|| {
                    self.ejected = None;
                    (self.in_a_row, self.window, self.seen) = (0, 0, 0);
                    self.probation = self.settings.failures;
                    Change::Admitted
                })
            }
        }
    }

    /// How long failures keep it out, in nanoseconds.
    fn hold(&self) -> Nanos {
        let doubled = self.settings.hold * (1 << self.strikes.saturating_sub(1).min(MOST_STRIKES));
        Nanos::try_from(doubled.as_nanos()).unwrap_or(Nanos::MAX)
    }

    fn eject(&mut self, reason: Reason, now: Nanos) -> Change {
        self.strikes = (self.strikes + 1).min(MOST_STRIKES + 1);
        self.ejected = Some((reason, now));
        Change::Ejected(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn admission() -> Admission {
        Admission::new(Settings::default())
    }

    #[test]
    fn three_failures_in_a_row_eject_and_good_ones_between_do_not() {
        let mut a = admission();
        for good in [false, false, true, false, false] {
            assert_eq!(a.outcome(good, 0), None);
        }
        assert_eq!(a.outcome(false, 0), Some(Change::Ejected(Reason::Failures)));
        assert_eq!(a.outcome(false, 0), None, "it is out already");
    }

    #[test]
    fn half_of_the_last_outcomes_eject() {
        let mut a = admission();
        let changes: Vec<_> = (0..12).map(|n| a.outcome(n % 2 == 0, 0)).collect();
        // Two good ones begin, so that the tenth outcome is the first with a full half.
        assert_eq!(changes.iter().position(Option::is_some), Some(9));
    }

    #[test]
    fn sickness_ejects_and_proof_of_work_admits() {
        let mut a = admission();
        assert_eq!(a.health(State::Stalled, false, 0), Some(Change::Ejected(Reason::Stalled)));
        assert_eq!(a.health(State::Dead, false, SECOND), None);
        assert_eq!(a.ejected(), Some(Reason::Dead));
        assert_eq!(a.health(State::Idle, false, 2 * SECOND), None);
        assert_eq!(a.health(State::Idle, true, 2 * SECOND), Some(Change::Admitted));
        assert!(a.is_on_probation());
    }

    #[test]
    fn failures_hold_it_out_and_a_relapse_doubles_the_hold() {
        let mut a = admission();
        for _ in 0..3 {
            a.outcome(false, 0);
        }
        assert_eq!(a.health(State::Idle, true, 2 * SECOND - 1), None);
        assert_eq!(a.health(State::Idle, true, 2 * SECOND), Some(Change::Admitted));
        assert_eq!(a.outcome(false, 3 * SECOND), Some(Change::Ejected(Reason::Failures)), "on probation");
        assert_eq!(a.health(State::Idle, true, 7 * SECOND - 1), None);
        assert_eq!(a.health(State::Idle, true, 7 * SECOND), Some(Change::Admitted));
        for _ in 0..20 {
            assert_eq!(a.outcome(true, 8 * SECOND), None);
        }
        assert!(!a.is_on_probation());
        for _ in 0..3 {
            a.outcome(false, 9 * SECOND);
        }
        assert_eq!(
            a.health(State::Idle, true, 11 * SECOND),
            Some(Change::Admitted),
            "the hold is short again"
        );
    }
}
