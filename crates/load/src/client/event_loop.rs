//! The loop over all sockets: reads and stamps, sends what is wanted, watches deadlines.
//!
//! Deadlines are not kept as timers, since every chunk would move one. The loop knows a time before which none can
//! pass, and looks at all requests when it has come.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use mio::Events;
use stopwatt_core::{Clock, EndKind, Nanos};

use super::feeder::{Feeder, Next};
use super::pool::{Pool, WAKE};
use super::schedule::Schedule;
use crate::conn::{Stage, Step};
use crate::error::LoadError;
use crate::exchange::Exchange;
use crate::job::{Drain, Ended, Limits, Outcome};
use crate::open_files;
use crate::stop::Stop;

/// How long the end of the body may come after `[DONE]` before the connection is given up.
const DONE_GRACE: Nanos = 250_000_000;
/// Requests sent in one go before sockets are looked at again.
const BURST: usize = 256;

/// Nanoseconds of a duration; 292 years at most.
pub(super) fn nanos(d: Duration) -> Nanos {
    Nanos::try_from(d.as_nanos()).unwrap_or(Nanos::MAX / 4)
}

/// A run in progress.
pub(super) struct EventLoop<'a> {
    pool: &'a mut Pool,
    feeder: Feeder,
    schedule: Schedule,
    limits: Limits,
    clock: Clock,
    done: SyncSender<Box<Exchange>>,
    outcome: Outcome,
    in_flight: usize,
    /// Nothing more is sent once it is known why.
    ended: Option<Ended>,
    /// The last wish for a request found none prepared.
    starving: bool,
    /// Connections with more to read, and whether the peer has closed its side.
    again: Vec<(usize, bool)>,
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
        };
        Self {
            pool,
            feeder,
            schedule,
            limits,
            clock,
            done,
            outcome,
            in_flight: 0,
            ended: None,
            starving: false,
            again: Vec::new(),
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
            if window_end.is_some_and(|w| now >= w) {
                self.ended.get_or_insert(Ended::Duration);
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
            if self.schedule.is_over() {
                self.ended.get_or_insert(Ended::Exhausted);
            }
            if self.ended.is_some() && self.in_flight == 0 {
                break;
            }
            let cancels = self.limits.drain == Drain::Cancel || self.ended.is_none();
            let wake_at =
                window_end.filter(|_| cancels).map_or(self.next_deadline, |w| w.min(self.next_deadline));
            let timeout = if more || !self.again.is_empty() {
                Some(Duration::ZERO)
            } else {
                (wake_at != Nanos::MAX)
                    .then(|| Duration::from_nanos(u64::try_from(wake_at - now).unwrap_or(0)))
            };
            self.pool.wait(&mut events, timeout)?;
            for (index, peer_closed) in std::mem::take(&mut self.again) {
                self.on_ready(index, peer_closed);
            }
            for event in events.iter().filter(|e| e.token() != WAKE) {
                self.on_ready(event.token().0, event.is_read_closed() || event.is_error());
                self.dispatch();
            }
        }
        self.finish(window_end)
    }

    fn finish(self, window_end: Option<Nanos>) -> Result<Outcome, LoadError> {
        if let Some(error) = self.fatal {
            return Err(error);
        }
        let ended = self.ended.unwrap_or(Ended::Exhausted);
        let end_ns = match (ended, self.limits.drain, window_end) {
            (Ended::Duration, Drain::Cancel, Some(end)) => end,
            (Ended::Interrupted, ..) => self.clock.now(),
            _ => self.last_end,
        };
        // Arrivals that came after the jobs ran out had none to send.
        let sent = self.outcome.sent;
        let planned = self.schedule.came().filter(|_| ended != Ended::Exhausted).unwrap_or(sent);
        Ok(Outcome { end_ns, ended, planned, ..self.outcome })
    }

    /// Sends what is wanted now. Whether there is more to send at once.
    fn dispatch(&mut self) -> bool {
        for _ in 0..BURST {
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
            None => self.connect(exchange, now),
            Some(index) => {
                let Some(conn) = self.pool.conns[index].as_mut() else { return self.connect(exchange, now) };
                conn.exchange = Some(exchange);
                let step = conn.begin(self.clock);
                self.on_step(index, step, false);
            }
        }
    }

    fn connect(&mut self, mut exchange: Box<Exchange>, now: Nanos) {
        exchange.connect_begin_ns = now;
        loop {
            match self.pool.open(exchange.addresses_tried) {
                Ok(index) => {
                    self.outcome.connections += 1;
                    self.watch(now.saturating_add(nanos(self.limits.connect_timeout)));
                    if let Some(conn) = self.pool.conns[index].as_mut() {
                        conn.exchange = Some(exchange);
                    }
                    return;
                }
                Err(e) => {
                    if let Some(fatal) = open_files::ran_out(&e) {
                        self.fatal.get_or_insert(fatal);
                        self.ended.get_or_insert(Ended::Exhausted);
                    }
                    exchange.addresses_tried += 1;
                    if self.fatal.is_some() || !self.pool.has_address(exchange.addresses_tried) {
                        let t = self.clock.now();
                        exchange.fail(EndKind::Connect, Some(&e.to_string()), t);
                        return self.complete(exchange);
                    }
                }
            }
        }
    }

    fn on_ready(&mut self, index: usize, peer_closed: bool) {
        let Some(conn) = self.pool.conns.get_mut(index).and_then(Option::as_mut) else { return };
        let before = conn.stage();
        let step = conn.on_ready(peer_closed, &mut self.pool.buffers, self.clock);
        if before == Stage::Connecting
            && conn.stage() != before
            && let Some(x) = &mut conn.exchange
        {
            let attempt = std::mem::take(&mut x.addresses_tried);
            self.pool.prefer(attempt);
        }
        self.on_step(index, step, peer_closed);
    }

    fn on_step(&mut self, index: usize, step: Step, peer_closed: bool) {
        match step {
            Step::Wait => {
                if let Some(done) = self.exchange(index).and_then(|x| x.done_ns()) {
                    self.watch(done + DONE_GRACE);
                }
            }
            Step::Again => self.again.push((index, peer_closed)),
            Step::Ended { reusable } => {
                let Some(exchange) = self.detach(index) else { return };
                if reusable {
                    self.pool.release(index);
                } else {
                    self.pool.close(index);
                }
                self.complete(exchange);
            }
            Step::ConnectFailed(error) => {
                let Some(mut exchange) = self.detach(index) else { return };
                self.pool.close(index);
                exchange.addresses_tried += 1;
                let now = self.clock.now();
                if self.pool.has_address(exchange.addresses_tried) {
                    return self.connect(exchange, now);
                }
                exchange.fail(EndKind::Connect, Some(&error.to_string()), now);
                self.complete(exchange);
            }
            Step::TlsFailed(reason) => {
                let Some(mut exchange) = self.detach(index) else { return };
                self.pool.close(index);
                exchange.fail(EndKind::Tls, Some(&reason.to_string()), self.clock.now());
                self.complete(exchange);
            }
            Step::Closed(error) => self.on_closed(index, error.as_ref()),
        }
    }

    /// A connection is gone. A kept-alive one that dies before any byte of the answer was closed by the server while
    /// the request was on its way: as HTTP clients do, the request is sent once more, on a new connection.
    fn on_closed(&mut self, index: usize, error: Option<&std::io::Error>) {
        let kept_alive = self.pool.conns[index].as_ref().is_some_and(|c| c.served > 0);
        let exchange = self.detach(index);
        self.pool.close(index);
        let Some(mut exchange) = exchange else { return };
        let now = self.clock.now();
        if kept_alive && exchange.is_unanswered() && !exchange.retried {
            exchange.retried = true;
            exchange.restart();
            self.outcome.retries += 1;
            return self.connect(exchange, now);
        }
        exchange.on_close(error, now);
        self.complete(exchange);
    }

    fn exchange(&self, index: usize) -> Option<&Exchange> {
        self.pool.conns.get(index)?.as_ref()?.exchange.as_deref()
    }

    fn detach(&mut self, index: usize) -> Option<Box<Exchange>> {
        let conn = self.pool.conns.get_mut(index)?.as_mut()?;
        conn.served += 1;
        conn.exchange.take()
    }

    fn complete(&mut self, exchange: Box<Exchange>) {
        self.in_flight -= 1;
        self.last_end = self.last_end.max(exchange.record.end_ns);
        self.schedule.on_end(exchange.record.end_ns);
        if self.done.send(exchange).is_err() {
            // The recorder is gone, by a panic that surfaces when its thread is joined.
            self.ended.get_or_insert(Ended::Interrupted);
        }
    }

    fn watch(&mut self, deadline: Nanos) {
        self.next_deadline = self.next_deadline.min(deadline);
    }

    fn check_deadlines(&mut self, now: Nanos) {
        self.next_deadline = Nanos::MAX;
        for index in 0..self.pool.conns.len() {
            let Some(conn) = &self.pool.conns[index] else { continue };
            let Some(x) = &conn.exchange else { continue };
            let dispatched = x.record.dispatched_ns.unwrap_or(now);
            let opened_by = x.connect_begin_ns.saturating_add(nanos(self.limits.connect_timeout));
            let (silence, kind) = match conn.stage() {
                Stage::Connecting => (opened_by, EndKind::Connect),
                Stage::Handshake => (opened_by, EndKind::Tls),
                Stage::Open => {
                    (x.last_activity_ns.saturating_add(nanos(self.limits.idle_timeout)), EndKind::IdleTimeout)
                }
            };
            let total = (dispatched.saturating_add(nanos(self.limits.total_timeout)), EndKind::Timeout);
            let grace = x.done_ns().map_or(Nanos::MAX, |t| t + DONE_GRACE);
            let (deadline, kind) = [(silence, kind), total].into_iter().min_by_key(|d| d.0).unwrap_or(total);
            if now < deadline.min(grace) {
                self.watch(deadline.min(grace));
                continue;
            }
            let Some(mut exchange) = self.detach(index) else { continue };
            self.pool.close(index);
            if grace <= deadline {
                exchange.on_close(None, now);
            } else {
                let opening = matches!(kind, EndKind::Connect | EndKind::Tls);
                exchange.fail(kind, opening.then_some("timed out"), now);
            }
            self.complete(exchange);
        }
    }

    fn end_all(&mut self, kind: EndKind, now: Nanos) {
        for index in 0..self.pool.conns.len() {
            if let Some(mut exchange) = self.detach(index) {
                self.pool.close(index);
                exchange.fail(kind, None, now);
                self.complete(exchange);
            }
        }
    }
}
