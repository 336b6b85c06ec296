//! The loop over all sockets: reads and stamps, sends what is wanted, watches deadlines.
//!
//! Reading comes first: in a wake-up every ready socket is read and stamped before a freed slot is filled or a record
//! is handed on, and a burst of sends is cut into pieces with reads between them. A late send shows in its own stamps;
//! a late read would be taken for a slow engine. Only arrivals of an open loop are sent between two reads.

mod connecting;
mod deadlines;
mod steps;

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use mio::Events;
use stopwatt_core::log::ReadStamps;
use stopwatt_core::{Clock, EndKind, Nanos};

use super::feeder::{Feeder, Next};
use super::pool::{Pool, WAKE};
use super::rest::Rest;
use super::schedule::Schedule;
use super::turns::Turns;
use crate::error::LoadError;
use crate::exchange::Exchange;
use crate::job::{Drain, Ended, Limits, Outcome};
use crate::stamps::Stamps;
use crate::stop::Stop;

/// Requests sent in one go before sockets are looked at again.
const BURST: usize = 16;

/// Nanoseconds of a duration; 292 years at most.
pub(super) fn nanos(d: Duration) -> Nanos {
    Nanos::try_from(d.as_nanos()).unwrap_or(Nanos::MAX / 4)
}

/// A run in progress.
pub(super) struct EventLoop<'a> {
    pool: &'a mut Pool,
    feeder: Feeder,
    schedule: Schedule,
    /// Conversations, when requests may follow from others.
    turns: Option<Turns>,
    limits: Limits,
    clock: Clock,
    done: SyncSender<Box<Exchange>>,
    /// Requests that ended in this wake-up.
    #[expect(clippy::vec_box, reason = "they are boxed before and after; moving the box is cheaper")]
    finished: Vec<Box<Exchange>>,
    outcome: Outcome,
    in_flight: usize,
    /// Nothing more is sent once it is known why.
    ended: Option<Ended>,
    /// The last wish for a request found none prepared.
    starving: bool,
    /// Connections with more to read, and whether the peer has closed its side.
    again: Vec<(usize, bool)>,
    rest: Rest,
    /// No deadline passes before.
    next_deadline: Nanos,
    last_end: Nanos,
    fatal: Option<LoadError>,
}

impl<'a> EventLoop<'a> {
    pub(super) fn new(
        pool: &'a mut Pool,
        feeder: Feeder,
        schedule: Schedule,
        turns: Option<Turns>,
        limits: Limits,
        clock: Clock,
        done: SyncSender<Box<Exchange>>,
        start: Nanos,
    ) -> Self {
        let outcome = Outcome {
            start_ns: start,
            end_ns: start,
            planned: 0,
            sent: 0,
            ended: Ended::Exhausted,
            cpu_s: 0.0,
            max_in_flight: 0,
            connections: 0,
            retries: 0,
            starved: 0,
            reads: ReadStamps::default(),
        };
        pool.buffers.stamps = Stamps::new(clock);
        Self {
            pool,
            feeder,
            schedule,
            turns,
            limits,
            clock,
            done,
            finished: Vec::new(),
            outcome,
            in_flight: 0,
            ended: None,
            starving: false,
            again: Vec::new(),
            rest: Rest::default(),
            next_deadline: Nanos::MAX,
            last_end: start,
            fatal: None,
        }
    }

    /// Runs to the end. Counts everything but the CPU time.
    pub(super) fn run(mut self, stop: &Stop) -> Result<Outcome, LoadError> {
        let mut events = Events::with_capacity(1024);
        let window_end = self.limits.max_duration.map(|d| self.outcome.start_ns.saturating_add(nanos(d)));
        loop {
            let now = self.clock.now();
            if stop.is_interrupted() {
                self.ended = Some(Ended::Interrupted);
                self.end_all(EndKind::Interrupted, now);
            }
            if stop.is_enough() {
                self.ended.get_or_insert(Ended::Exhausted);
            }
            if window_end.is_some_and(|w| now >= w) {
                if self.ended.is_none() || self.turns_to_come() {
                    self.ended = Some(Ended::Duration);
                }
                if self.limits.drain == Drain::Cancel {
                    if self.in_flight > 0 {
                        self.ended = Some(Ended::Duration);
                    }
                    self.end_all(EndKind::Cancelled, now);
                }
            }
            if now >= self.next_deadline {
                self.check_deadlines(now);
            }
            // After everything that frees a slot: the loop must not fall asleep over one.
            let more = self.dispatch();
            self.hand_on();
            if self.schedule.is_over() {
                self.ended.get_or_insert(Ended::Exhausted);
            }
            if self.ended.is_some() && self.in_flight == 0 && !self.turns_to_come() {
                break;
            }
            let cancels = self.limits.drain == Drain::Cancel || self.ended.is_none() || self.turns_to_come();
            let wake_at =
                window_end.filter(|_| cancels).map_or(self.next_deadline, |w| w.min(self.next_deadline));
            let timeout = if more || !self.again.is_empty() {
                Some(Duration::ZERO)
            } else {
                (wake_at != Nanos::MAX)
                    .then(|| Duration::from_nanos(u64::try_from(wake_at - now).unwrap_or(0)))
            };
            if timeout != Some(Duration::ZERO) {
                self.rest(wake_at);
            }
            self.pool.buffers.stamps.before_wait();
            self.pool.wait(&mut events, timeout)?;
            for (index, peer_closed) in std::mem::take(&mut self.again) {
                self.on_ready(index, peer_closed);
            }
            for event in events.iter().filter(|e| e.token() != WAKE) {
                self.on_ready(event.token().0, event.is_read_closed() || event.is_error());
                if self.schedule.is_open() {
                    self.dispatch();
                }
            }
        }
        self.hand_on();
        self.finish(window_end)
    }

    /// Lets tokens gather for a moment where their stamps do not need a prompt read.
    fn rest(&mut self, wake_at: Nanos) {
        let stamps = &self.pool.buffers.stamps;
        let sent = self.outcome.sent;
        let ended = sent - self.in_flight as u64;
        let now = self.clock.now();
        if let Some(time) = self.rest.left(stamps.counts(), sent, ended, stamps.last_wait(), now) {
            self.pool.rest(time.min(wake_at.saturating_sub(now)));
        }
    }

    fn finish(mut self, window_end: Option<Nanos>) -> Result<Outcome, LoadError> {
        if let Some(error) = self.fatal {
            return Err(error);
        }
        let ended = self.ended.unwrap_or(Ended::Exhausted);
        let end_ns = match (ended, self.limits.drain, window_end) {
            (Ended::Duration, Drain::Cancel, Some(end)) => end,
            (Ended::Interrupted, ..) => self.clock.now(),
            _ => self.last_end,
        };
        if ended == Ended::Duration {
            self.schedule.close();
        }
        // Arrivals that came after the jobs ran out had none to send.
        let sent = self.outcome.sent;
        let turns = self.turns.as_ref().map_or(0, Turns::came);
        let planned =
            self.schedule.came().filter(|_| ended != Ended::Exhausted).map_or(sent, |came| came + turns);
        let reads = self.pool.buffers.stamps.summary();
        Ok(Outcome { end_ns, ended, planned, reads, ..self.outcome })
    }

    /// Whether conversations that began may still have something to say. Nothing follows after the end of the window.
    fn turns_to_come(&self) -> bool {
        matches!(self.ended, None | Some(Ended::Exhausted))
            && self.turns.as_ref().is_some_and(|t| !t.is_over())
    }

    /// A turn that is to be sent now.
    fn next_turn(&mut self) -> Option<(Nanos, Box<Exchange>)> {
        let ending = !matches!(self.ended, None | Some(Ended::Exhausted));
        self.turns.as_mut().filter(|_| !ending)?.next()
    }

    /// Sends what is wanted now. Whether there is more to send at once.
    fn dispatch(&mut self) -> bool {
        if let Some(turns) = &mut self.turns {
            turns.hear(&mut self.schedule);
        }
        for _ in 0..BURST {
            if let Some((intended, exchange)) = self.next_turn() {
                self.start(exchange, intended);
                continue;
            }
            if self.ended.is_some() {
                return false;
            }
            let Some(intended) = self.schedule.next(self.in_flight) else { return false };
            match self.feeder.next() {
                Next::Ready(exchange) => {
                    self.outcome.starved += u64::from(std::mem::take(&mut self.starving));
                    self.start(exchange, intended);
                }
                Next::NotYet => {
                    self.starving = true;
                    self.schedule.put_back(intended);
                    return false;
                }
                Next::Exhausted => {
                    self.ended = Some(Ended::Exhausted);
                    return false;
                }
            }
        }
        true
    }

    fn start(&mut self, mut exchange: Box<Exchange>, intended: Nanos) {
        let now = self.clock.now();
        exchange.record.intended_ns = intended;
        exchange.record.dispatched_ns = Some(now);
        exchange.last_activity_ns = now;
        self.in_flight += 1;
        self.outcome.sent += 1;
        self.outcome.max_in_flight = self.outcome.max_in_flight.max(self.in_flight);
        self.watch(now.saturating_add(nanos(self.limits.total_timeout)));
        self.watch(now.saturating_add(nanos(self.limits.idle_timeout)));
        match self.pool.take_idle() {
            None => self.connect(exchange),
            Some(index) => {
                let Some(conn) = self.pool.conns[index].as_mut() else { return self.connect(exchange) };
                conn.exchange = Some(exchange);
                let step = conn.begin(self.clock);
                self.on_step(index, step, false);
            }
        }
    }
}
