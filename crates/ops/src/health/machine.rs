//! The state machine: looks in, states out. It reads no clock.

use std::time::Duration;

use stopwatt_core::Nanos;

/// What an upstream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing to do.
    Idle,
    /// There is work and it advances.
    Progressing,
    /// It advances, but requests have been waiting all the time.
    Saturated,
    /// There is work and nothing advances, or it does not answer at all.
    Stalled,
    /// Connections are refused.
    Dead,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Idle, Self::Progressing, Self::Saturated, Self::Stalled, Self::Dead];

    /// Stable name, for labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Progressing => "progressing",
            Self::Saturated => "saturated",
            Self::Stalled => "stalled",
            Self::Dead => "dead",
        }
    }

    /// Whether requests should go elsewhere.
    pub const fn is_sick(self) -> bool {
        matches!(self, Self::Stalled | Self::Dead)
    }
}

/// What a look at the upstream brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Look {
    /// A page of metrics that was understood.
    Counters {
        /// Requests being computed.
        running: f64,
        /// Requests waiting.
        waiting: f64,
        /// Sum of the counters that rise when the engine works; `None` when it has none of them.
        heartbeat: Option<f64>,
    },
    /// It answers, but has no counters that are known.
    Opaque,
    /// No answer in time.
    Silent {
        /// When it was asked.
        asked: Nanos,
    },
    /// The connection was refused or could not be made.
    Refused,
}

/// What the proxy sees of the upstream itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Own {
    /// Requests sent to it that have not ended.
    pub in_flight: u32,
    /// When the last token of any of them arrived.
    pub last_token: Option<Nanos>,
    /// When the first of them was sent while there were no others.
    pub busy_since: Option<Nanos>,
}

/// What counts as harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Work that does not advance for this long is stalled. It should exceed the longest step of the engine.
    pub stall_after: Duration,
    /// Refused looks in a row that mean dead.
    pub refusals: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { stall_after: Duration::from_secs(2), refusals: 2 }
    }
}

/// Health of one upstream.
#[derive(Debug, Clone)]
pub struct Machine {
    settings: Settings,
    state: State,
    /// When the state began.
    since: Nanos,
    /// When something last advanced, or work began.
    advanced: Nanos,
    busy: bool,
    heartbeat: Option<f64>,
    silent_since: Option<Nanos>,
    queue_since: Option<Nanos>,
    refused: u32,
    /// The last token that was taken for an advance.
    last_token: Option<Nanos>,
}

impl Machine {
    /// Health of an upstream that nothing is known of at `now`; it counts as idle.
    pub fn new(settings: Settings, now: Nanos) -> Self {
        Self {
            settings,
            state: State::Idle,
            since: now,
            advanced: now,
            busy: false,
            heartbeat: None,
            silent_since: None,
            queue_since: None,
            refused: 0,
            last_token: None,
        }
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// When it began.
    pub fn since(&self) -> Nanos {
        self.since
    }

    /// A canary was answered with a token: the engine generates.
    pub fn canary_answered(&mut self, now: Nanos) -> State {
        self.advanced = now;
        self.silent_since = None;
        self.refused = 0;
        let next = if self.busy { State::Progressing } else { State::Idle };
        self.enter(if self.state.is_sick() { next } else { self.state }, now)
    }

    /// Whether only a canary can tell: the engine is sick and shows nothing, or has work and no counters.
    pub fn wants_canary(&self, now: Nanos, look: Look) -> bool {
        match look {
            Look::Refused => false,
            Look::Silent { .. } => self.state.is_sick(),
            _ if self.state.is_sick() => true,
            Look::Counters { heartbeat: Some(_), .. } => false,
            _ => self.busy && now - self.advanced >= nanos(self.settings.stall_after) / 2,
        }
    }

    /// Takes a look into account.
    pub fn observe(&mut self, now: Nanos, look: Look, own: Own) -> State {
        let limit = nanos(self.settings.stall_after);
        let token = own.last_token.filter(|at| self.last_token.is_none_or(|last| *at > last));
        if let Some(at) = token {
            self.last_token = Some(at);
            self.advanced = self.advanced.max(at);
        }
        let mut proof = token.is_some();
        let (mut running, mut waiting) = (0.0, 0.0);
        self.refused = if look == Look::Refused { self.refused + 1 } else { 0 };
        if let Look::Silent { asked } = look {
            self.silent_since.get_or_insert(asked);
        } else {
            self.silent_since = None;
        }
        if let Look::Counters { running: r, waiting: w, heartbeat } = look {
            (running, waiting) = (r, w);
            if heartbeat.is_some() && self.heartbeat.is_some() && heartbeat != self.heartbeat {
                self.advanced = now;
                proof = true;
            }
            self.heartbeat = heartbeat.or(self.heartbeat);
        }
        let busy = running > 0.0 || own.in_flight > 0;
        if busy && !self.busy {
            let from = own.busy_since.filter(|_| own.in_flight > 0).unwrap_or(now);
            self.advanced = self.advanced.max(from);
        }
        self.busy = busy;
        if waiting > 0.0 {
            self.queue_since.get_or_insert(now);
        } else if !matches!(look, Look::Silent { .. }) {
            self.queue_since = None;
        }

        let still = now - self.advanced >= limit;
        // Silence of the page alone is no harm while tokens arrive: a busy server may be slow to render it.
        let silent = self.silent_since.is_some_and(|from| now - from >= limit / 2) && still;
        let next = if self.refused >= self.settings.refusals && token.is_none() {
            State::Dead
        } else if (busy && still) || silent {
            State::Stalled
        } else if self.state.is_sick() && !proof {
            self.state
        } else if self.refused > 0 || self.silent_since.is_some() {
            // Not known yet: one bad look changes nothing.
            self.state
        } else if self.queue_since.is_some_and(|from| now - from >= limit) {
            State::Saturated
        } else if busy {
            State::Progressing
        } else {
            State::Idle
        };
        self.enter(next, now)
    }

    fn enter(&mut self, next: State, now: Nanos) -> State {
        if next != self.state {
            self.state = next;
            self.since = now;
        }
        next
    }
}

fn nanos(d: Duration) -> Nanos {
    Nanos::try_from(d.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    /// Looks half a second apart; returns the state after each.
    #[track_caller]
    fn check(looks: &[(Look, Own)], expected: &[State]) {
        let mut machine = Machine::new(Settings::default(), 0);
        let states: Vec<State> = looks
            .iter()
            .zip(1..)
            .map(|((look, own), n)| machine.observe(n * SECOND / 2, *look, *own))
            .collect();
        assert_eq!(states, expected);
    }

    fn counters(running: f64, waiting: f64, heartbeat: f64) -> (Look, Own) {
        (Look::Counters { running, waiting, heartbeat: Some(heartbeat) }, Own::default())
    }

    fn own(look: Look, in_flight: u32, last_token: Option<Nanos>) -> (Look, Own) {
        (look, Own { in_flight, last_token, busy_since: None })
    }

    use State::{Dead, Idle, Progressing, Saturated, Stalled};

    #[test]
    fn work_that_advances_is_progress_and_no_work_is_idle() {
        check(
            &[
                counters(0.0, 0.0, 5.0),
                counters(1.0, 0.0, 6.0),
                counters(1.0, 0.0, 7.0),
                counters(0.0, 0.0, 9.0),
            ],
            &[Idle, Progressing, Progressing, Idle],
        );
    }

    #[test]
    fn an_engine_that_answers_but_makes_no_progress_is_stalled_after_two_seconds() {
        // The work is first seen at 0.5 s, so the limit is reached at 2.5 s.
        check(&[counters(1.0, 0.0, 6.0); 5], &[Progressing, Progressing, Progressing, Progressing, Stalled]);
    }

    #[test]
    fn a_hang_that_froze_an_idle_page_is_seen_from_the_requests_of_the_proxy() {
        let frozen = Look::Counters { running: 0.0, waiting: 0.0, heartbeat: Some(6.0) };
        check(&[own(frozen, 3, None); 5], &[Progressing, Progressing, Progressing, Progressing, Stalled]);
    }

    #[test]
    fn a_long_prefill_that_counts_its_steps_is_no_stall() {
        let looks: Vec<_> = (0..12).map(|n| counters(1.0, 0.0, f64::from(n / 3))).collect();
        check(&looks, &[Progressing; 12]);
    }

    #[test]
    fn tokens_that_arrive_are_progress_whatever_the_page_says() {
        let looks: Vec<_> =
            (1..9).map(|n| own(Look::Silent { asked: 0 }, 1, Some(n * SECOND / 2 - 1))).collect();
        // A silent page teaches nothing, so the first state stays.
        check(&looks, &[Idle; 8]);
        let page = Look::Counters { running: 1.0, waiting: 0.0, heartbeat: Some(3.0) };
        let looks: Vec<_> = (1..9).map(|n| own(page, 1, Some(n * SECOND / 2 - 1))).collect();
        check(&looks, &[Progressing; 8]);
    }

    #[test]
    fn a_stopped_process_is_stalled_also_without_work() {
        check(
            &[(Look::Silent { asked: 0 }, Own::default()); 5],
            // Nothing is known to have advanced since 0 s.
            &[Idle, Idle, Idle, Stalled, Stalled],
        );
    }

    #[test]
    fn work_counts_from_when_it_was_sent_and_not_from_when_it_was_seen() {
        let mut machine = Machine::new(Settings::default(), 0);
        let own = Own { in_flight: 1, last_token: None, busy_since: Some(10 * SECOND) };
        assert_eq!(machine.observe(11 * SECOND, Look::Silent { asked: 10 * SECOND }, own), Idle);
        assert_eq!(machine.observe(12 * SECOND, Look::Silent { asked: 11 * SECOND }, own), Stalled);
    }

    #[test]
    fn one_refusal_is_forgiven_and_two_are_dead() {
        let up = counters(0.0, 0.0, 1.0);
        let no = (Look::Refused, Own::default());
        check(&[up, no, up, no, no], &[Idle, Idle, Idle, Idle, Dead]);
    }

    #[test]
    fn harm_is_left_on_proof_only() {
        let no = (Look::Refused, Own::default());
        // The page is back, and nothing was generated.
        check(&[no, no, counters(0.0, 0.0, 0.0), counters(0.0, 0.0, 0.0)], &[Idle, Dead, Dead, Dead]);
        check(&[no, no, counters(1.0, 0.0, 0.0), counters(1.0, 0.0, 1.0)], &[Idle, Dead, Dead, Progressing]);
        let mut machine = Machine::new(Settings::default(), 0);
        for n in 1..3 {
            machine.observe(n * SECOND, Look::Refused, Own::default());
        }
        let look = counters(0.0, 0.0, 0.0).0;
        assert_eq!(machine.observe(3 * SECOND, look, Own::default()), Dead);
        assert!(machine.wants_canary(3 * SECOND, look));
        assert_eq!(machine.canary_answered(4 * SECOND), Idle);
        assert_eq!(machine.since(), 4 * SECOND);
    }

    #[test]
    fn a_queue_that_lasts_is_saturation_and_ends_with_the_queue() {
        let mut looks: Vec<_> = (0..6).map(|n| counters(8.0, 3.0, f64::from(n))).collect();
        looks.push(counters(8.0, 0.0, 7.0));
        check(
            &looks,
            &[Progressing, Progressing, Progressing, Progressing, Saturated, Saturated, Progressing],
        );
    }

    #[test]
    fn an_engine_without_counters_is_asked_for_a_token_before_it_counts_as_stalled() {
        let mut machine = Machine::new(Settings::default(), 0);
        let own = Own { in_flight: 1, ..Own::default() };
        assert_eq!(machine.observe(SECOND, Look::Opaque, own), Progressing);
        assert!(!machine.wants_canary(SECOND, Look::Opaque));
        assert_eq!(machine.observe(2 * SECOND, Look::Opaque, own), Progressing);
        assert!(machine.wants_canary(2 * SECOND, Look::Opaque));
        machine.canary_answered(2 * SECOND);
        assert_eq!(machine.observe(3 * SECOND + SECOND / 2, Look::Opaque, own), Progressing);
        assert_eq!(machine.observe(4 * SECOND, Look::Opaque, own), Stalled);
    }

    #[test]
    fn a_restarted_engine_whose_counters_fell_has_advanced() {
        check(
            &[counters(1.0, 0.0, 900.0), counters(1.0, 0.0, 900.0), counters(1.0, 0.0, 3.0)],
            &[Progressing, Progressing, Progressing],
        );
    }
}
