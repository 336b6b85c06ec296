//! The loop: accepts, reads, calls the handler at requests and deadlines, and closes.
//!
//! Invariants, each held by a test over real sockets (`tests/it`):
//!
//! - a handler hears of one request at a time from a connection, and of each exactly one end: its own
//!   [`Net::end`] or [`Net::abort`], or [`Handler::closed`];
//! - a client that closes its side has gone, also when it would still read;
//! - a connection that floods cannot starve the others: one deadline a pass;
//! - what arrives is read and stamped before work that can wait: a wave of requests is read first and answered then,
//!   and sockets are looked at every [`LOOK_EVERY`] writes;
//! - nothing waits for a slow reader: what the kernel does not take is kept, and [`Handler::written`] tells when.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown as Direction, TcpListener};
use std::time::Duration;

use stopwatt_core::clock::{Nanos, monotonic_raw};

use super::connection::{Got, State};
use super::handler::{Conclusion, ConnId, Handler, Limits};
use super::poller::{Ready, Wait};
use super::request::{Refusal, Request};
use super::sockets::{LISTENER, Net, Settled, WAKER};
use super::waker::Wakeups;
use crate::shutdown::Shutdown;

/// A request that has begun must be complete after this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that was told of the end has this long to read it.
const LINGER: Duration = Duration::from_secs(2);

/// Deadlines, or requests, that are worked off before sockets are looked at again.
const LOOK_EVERY: usize = 16;

/// See the module.
pub(crate) struct EventLoop<H> {
    net: Net,
    handler: H,
    scratch: Vec<u8>,
    /// Connections with something read that may be a whole request.
    arrived: VecDeque<ConnId>,
}

impl<H: Handler> EventLoop<H> {
    /// Takes a listener that is bound already. The waker of `wakeups` wakes this loop.
    pub(crate) fn new(
        listener: TcpListener,
        wakeups: Wakeups,
        limits: Limits,
        handler: H,
    ) -> io::Result<Self> {
        let net = Net::new(listener, wakeups, limits)?;
        Ok(Self { net, handler, scratch: vec![0; 64 << 10], arrived: VecDeque::new() })
    }

    /// Serves until `shutdown` is triggered and open exchanges have ended or had their time. Trigger must use the
    /// waker too. Returns the handler.
    pub(crate) fn run(mut self, shutdown: &Shutdown) -> io::Result<H> {
        let (mut ready, mut due) = (Vec::<Ready>::new(), Vec::<(Nanos, ConnId)>::new());
        let mut give_up: Option<Nanos> = None;
        loop {
            if shutdown.is_triggered() && give_up.is_none() {
                give_up = Some(monotonic_raw() + self.net.limits().drain.as_nanos() as Nanos);
                self.net.begin_draining();
            }
            if let Some(at) = give_up
                && (self.net.ids().is_empty() || monotonic_raw() >= at)
            {
                break;
            }
            self.wait(give_up, &mut ready)?;
            self.on_events(&mut ready);
            self.net.take_due(monotonic_raw(), &mut due);
            for (done, (at, conn)) in due.drain(..).enumerate() {
                if done % LOOK_EVERY == LOOK_EVERY - 1 {
                    self.net.wait(Wait::No, &mut ready)?;
                    self.on_events(&mut ready);
                }
                self.on_due(conn, at);
                self.settle();
            }
            for _ in 0..LOOK_EVERY {
                let Some(conn) = self.arrived.pop_front() else { break };
                self.take_request(conn);
                self.settle();
            }
        }
        for conn in self.net.ids() {
            if self.net.get(conn).is_some_and(|c| c.state == State::Busy) {
                self.handler.closed(conn);
            }
            self.net.drop_connection(conn, Conclusion::Reset);
        }
        Ok(self.handler)
    }

    fn on_events(&mut self, ready: &mut Vec<Ready>) {
        for event in ready.drain(..) {
            match event.key {
                LISTENER => self.net.accept_all(),
                WAKER => {
                    self.net.take_wakeups();
                    self.handler.woken(&mut self.net);
                }
                key => self.on_ready(ConnId::from_key(key), event),
            }
            self.settle();
        }
    }

    fn wait(&mut self, give_up: Option<Nanos>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let earliest = self.net.next_deadline().into_iter().chain(give_up).min();
        let wait = match earliest {
            _ if !self.arrived.is_empty() => Wait::No,
            None => Wait::Forever,
            Some(at) if at <= monotonic_raw() => Wait::No,
            Some(at) => Wait::Until(at - self.handler.spin()),
        };
        self.net.wait(wait, ready)?;
        if let (Wait::Until(sleep_end), Some(at)) = (wait, earliest) {
            while ready.is_empty() && (sleep_end..at).contains(&monotonic_raw()) {
                std::hint::spin_loop();
            }
        }
        Ok(())
    }

    fn on_due(&mut self, conn: ConnId, at: Nanos) {
        let Some(connection) = self.net.get(conn) else { return };
        if connection.deadline != Some(at) {
            return; // a wish that was replaced
        }
        connection.deadline = None;
        match connection.state {
            State::Busy => self.handler.due(&mut self.net, conn),
            State::Reading => {
                self.refuse(conn, Refusal { status: 408, message: "the request did not arrive in time" });
            }
            State::Ending => {}
            State::Lingering => self.net.drop_connection(conn, Conclusion::Close),
        }
    }

    fn on_ready(&mut self, conn: ConnId, event: Ready) {
        let Some(connection) = self.net.get(conn) else { return };
        if event.writable && !connection.is_flushed() {
            match connection.flush() {
                Ok(None) => {}
                Ok(Some(stamp)) => {
                    let state = connection.state;
                    self.net.watch(conn);
                    match state {
                        State::Busy => self.handler.written(&mut self.net, conn, stamp),
                        State::Ending => self.after_exchange(conn),
                        State::Reading | State::Lingering => {}
                    }
                }
                Err(_) => return self.net.settle_later(conn, Settled::Broken),
            }
        }
        let Some(connection) = self.net.get(conn) else { return };
        match connection.state {
            State::Reading | State::Lingering if event.readable || event.gone => {
                match connection.read(&mut self.scratch) {
                    Ok(Got::Bytes) => self.arrived.push_back(conn),
                    Ok(Got::End) | Err(_) => self.net.drop_connection(conn, Conclusion::Close),
                }
            }
            State::Busy | State::Ending if event.gone => self.net.settle_later(conn, Settled::Broken),
            _ => {}
        }
    }

    /// Looks for a whole request in what was read.
    fn take_request(&mut self, conn: ConnId) {
        let max_body = self.net.limits().max_body_bytes;
        let Some(connection) = self.net.get(conn) else { return };
        if connection.state != State::Reading {
            return;
        }
        let received_ns = connection.read_ns;
        match connection.reader.next(&mut connection.input, max_body) {
            Ok(Some((head, body))) => {
                connection.state = State::Busy;
                connection.deadline = None;
                connection.keep_alive = head.keep_alive;
                connection.http11 = head.http11;
                self.net.watch(conn);
                self.handler.request(&mut self.net, conn, Request { head, body, received_ns });
            }
            Ok(None) => {
                let inside = connection.reader.is_inside(&connection.input);
                let first = inside && connection.deadline.is_none();
                if connection.reader.take_continue() {
                    self.net.send(conn, b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                if first {
                    self.net.at(conn, received_ns + REQUEST_TIMEOUT.as_nanos() as Nanos);
                }
            }
            Err(refusal) => self.refuse(conn, refusal),
        }
    }

    fn refuse(&mut self, conn: ConnId, refusal: Refusal) {
        let reply = self.handler.refused(refusal);
        if let Some(connection) = self.net.get(conn) {
            connection.state = State::Busy;
            connection.keep_alive = false;
            self.net.reply(conn, &reply);
        }
    }

    /// Carries out what handlers decided; a next request that is there already may make them decide again.
    fn settle(&mut self) {
        while let Some((conn, settled)) = self.net.next_settled() {
            let Some(connection) = self.net.get(conn) else { continue };
            match settled {
                Settled::Broken => {
                    if connection.state == State::Busy {
                        self.handler.closed(conn);
                    }
                    self.net.drop_connection(conn, Conclusion::Close);
                }
                Settled::Aborted(how) => self.net.drop_connection(conn, how),
                Settled::Ended => {
                    connection.state = State::Ending;
                    connection.deadline = None;
                    if connection.is_flushed() {
                        self.after_exchange(conn);
                    } else {
                        self.net.watch(conn);
                    }
                }
            }
        }
    }

    fn after_exchange(&mut self, conn: ConnId) {
        let draining = self.net.is_draining();
        let Some(connection) = self.net.get(conn) else { return };
        if connection.keep_alive && !draining {
            connection.state = State::Reading;
            // A request that came early is taken up now: it waited for the client's own earlier one.
            if !connection.input.is_empty() {
                connection.read_ns = monotonic_raw();
            }
            self.net.watch(conn);
            return self.take_request(conn);
        }
        if connection.stream.shutdown(Direction::Write).is_err() {
            return self.net.drop_connection(conn, Conclusion::Close);
        }
        connection.state = State::Lingering;
        self.net.watch(conn);
        self.net.at(conn, monotonic_raw() + LINGER.as_nanos() as Nanos);
    }
}
