//! The loop: accepts, reads, calls the handler at requests and deadlines, and closes.
//!
//! Invariants, each held by a test of the exact kind or below:
//!
//! - a handler hears of one request at a time from a connection, and of each exactly one end: its own
//!   [`Net::end`] or [`Net::abort`], or [`Handler::closed`];
//! - a connection that floods cannot starve the others: one deadline a pass;
//! - nothing waits for a slow reader: what the kernel does not take is kept, and [`Handler::written`] tells when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{Shutdown as Direction, TcpListener, TcpStream};
use std::time::Duration;

use stopwatt_core::clock::{Nanos, monotonic_raw};

use super::connection::{Connection, Got, State};
use super::poller::{Interest, Poller, Ready, Wait};
use super::reply::{Framing, Reply, push_head};
use super::request::{Refusal, Request};
use super::waker::Wakeups;
use crate::shutdown::Shutdown;

const LISTENER: u64 = u64::MAX - 1;
const WAKER: u64 = u64::MAX - 2;

/// A request that has begun must be complete after this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that was told of the end has this long to read it.
const LINGER: Duration = Duration::from_secs(2);
/// How long accepting rests when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection, for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    fn key(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn from_key(key: u64) -> Self {
        Self { index: (key & u64::from(u32::MAX)) as u32, generation: (key >> 32) as u32 }
    }

    /// A small number that no other living connection has.
    pub(crate) fn slot(self) -> usize {
        self.index as usize
    }
}

/// What became of bytes that were to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel has them; the stamp was taken just before it got the last.
    Now(Nanos),
    /// Some wait; [`Handler::written`] will tell.
    Later,
    /// The connection is broken; [`Handler::closed`] will follow.
    Gone,
}

/// How an exchange is ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// The peer sees a reset.
    Reset,
    /// The peer sees an end in the middle.
    Close,
}

/// What is served. All calls come from the thread of the loop.
pub(crate) trait Handler {
    /// A whole request has been read.
    fn request(&mut self, net: &mut Net, conn: ConnId, request: Request);
    /// The moment set by [`Net::at`] has come.
    fn due(&mut self, net: &mut Net, conn: ConnId);
    /// Another thread has used the [`Waker`](super::Waker).
    fn woken(&mut self, net: &mut Net);
    /// All bytes that had to wait are with the kernel.
    fn written(&mut self, net: &mut Net, conn: ConnId, stamp: Nanos);
    /// The peer has gone before the end of the exchange.
    fn closed(&mut self, conn: ConnId);
    /// A request could not be read; returns the answer.
    fn refused(&mut self, refusal: Refusal) -> Reply;
    /// How long before a deadline the loop shall stop sleeping and spin.
    fn spin(&self) -> Nanos {
        0
    }
}

/// What a loop allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_connections: usize,
    pub(crate) max_body_bytes: usize,
    /// How long open exchanges may go on after a shutdown was asked for.
    pub(crate) drain: Duration,
}

/// The sockets, as a handler sees them.
pub(crate) struct Net {
    poller: Poller,
    listener: Option<TcpListener>,
    wakeups: Wakeups,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    generation: u32,
    deadlines: BinaryHeap<Reverse<(Nanos, u64, u64)>>,
    sequence: u64,
    /// Connections whose exchange was ended by the handler, or that broke while it wrote.
    settled: Vec<(ConnId, Settled)>,
    limits: Limits,
    accepting: bool,
    accept_again: Option<Nanos>,
    draining: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    Ended,
    Broken,
    Aborted(Conclusion),
}

impl Net {
    fn get(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(conn.slot())?.as_mut().filter(|c| c.generation == conn.generation)
    }

    /// Hands bytes of the answer to the kernel, now if it takes them.
    #[inline]
    pub(crate) fn send(&mut self, conn: ConnId, bytes: &[u8]) -> Sent {
        let Some(connection) = self.get(conn) else { return Sent::Gone };
        match connection.write(bytes) {
            Ok(Some(stamp)) => Sent::Now(stamp),
            Ok(None) => {
                self.watch(conn);
                Sent::Later
            }
            Err(_) => {
                self.settled.push((conn, Settled::Broken));
                Sent::Gone
            }
        }
    }

    /// Sends a whole answer and ends the exchange.
    pub(crate) fn reply(&mut self, conn: ConnId, reply: &Reply) -> Sent {
        let keep_alive = self.keeps_alive(conn);
        let mut bytes = Vec::with_capacity(reply.body.len() + 256);
        let framing = Framing::Length(reply.body.len());
        push_head(&mut bytes, reply.status, reply.content_type, framing, keep_alive, reply.header);
        bytes.extend_from_slice(&reply.body);
        let sent = self.send(conn, &bytes);
        if sent != Sent::Gone {
            self.end(conn);
        }
        sent
    }

    /// Begins a stream: appends its head to `out` and returns how its pieces are framed.
    pub(crate) fn begin_stream(&mut self, conn: ConnId, out: &mut Vec<u8>) -> Framing {
        let framing = match self.get(conn) {
            Some(connection) if !connection.http11 => {
                connection.keep_alive = false;
                Framing::UntilClose
            }
            _ => Framing::Chunked,
        };
        let keep_alive = self.keeps_alive(conn);
        push_head(out, 200, "text/event-stream; charset=utf-8", framing, keep_alive, None);
        framing
    }

    fn keeps_alive(&mut self, conn: ConnId) -> bool {
        let draining = self.draining;
        self.get(conn).is_some_and(|c| {
            c.keep_alive &= !draining;
            c.keep_alive
        })
    }

    /// Calls [`Handler::due`] at `when`, or as soon as possible after it; replaces an earlier wish.
    #[inline]
    pub(crate) fn at(&mut self, conn: ConnId, when: Nanos) {
        let sequence = self.sequence;
        let Some(connection) = self.get(conn) else { return };
        connection.deadline = Some(when);
        self.sequence += 1;
        self.deadlines.push(Reverse((when, sequence, conn.key())));
    }

    /// The answer is complete.
    pub(crate) fn end(&mut self, conn: ConnId) {
        self.settled.push((conn, Settled::Ended));
    }

    /// Ends the exchange and the connection at once.
    pub(crate) fn abort(&mut self, conn: ConnId, how: Conclusion) {
        self.settled.push((conn, Settled::Aborted(how)));
    }

    /// Sets what the poller reports of a connection from its state.
    fn watch(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn.slot()).and_then(Option::as_mut) else { return };
        let read = matches!(connection.state, State::Reading | State::Lingering);
        let interest = Interest { read, write: !connection.is_flushed() };
        if connection.interest != interest {
            connection.interest = interest;
            // Fails only when the descriptor is not registered, which no living connection is.
            let _ = self.poller.change(&connection.stream, conn.key(), interest);
        }
    }

    fn drop_connection(&mut self, conn: ConnId, how: Conclusion) {
        let Some(connection) = self.connections.get_mut(conn.slot()).and_then(Option::take) else { return };
        self.free.push(conn.index);
        let _ = self.poller.remove(&connection.stream, conn.key());
        if how == Conclusion::Reset {
            // Without it the peer would see an orderly end; nothing else can be done if it fails.
            let _ = rustix::net::sockopt::set_socket_linger(&connection.stream, Some(Duration::ZERO));
        }
        drop(connection);
        self.accept_if_room();
    }

    fn accept_if_room(&mut self) {
        let room = self.connections.len() - self.free.len() < self.limits.max_connections;
        let wanted = room && !self.draining && self.accept_again.is_none();
        if let Some(listener) = &self.listener
            && wanted != self.accepting
        {
            let interest = if wanted { Interest::READ } else { Interest::NONE };
            if self.poller.change(listener, LISTENER, interest).is_ok() {
                self.accepting = wanted;
            }
        }
    }

    fn accept_all(&mut self) {
        while self.accepting {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, _)) => {
                    // A connection that cannot be set up is closed by dropping it; its peer sees that.
                    let _ = self.adopt(stream);
                    self.accept_if_room();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
                // Out of descriptors or memory: the listener stays readable, so rest instead of spinning.
                Err(_) => {
                    self.accept_again = Some(monotonic_raw() + ACCEPT_PAUSE.as_nanos() as Nanos);
                    self.accept_if_room();
                }
            }
        }
    }

    fn adopt(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.generation = self.generation.wrapping_add(1);
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            u32::try_from(self.connections.len() - 1).expect("bounded by max_connections")
        });
        let conn = ConnId { index, generation: self.generation };
        if let Err(e) = self.poller.add(&stream, conn.key(), Interest::READ) {
            self.free.push(index);
            return Err(e);
        }
        self.connections[index as usize] = Some(Connection::new(stream, self.generation));
        Ok(())
    }

    fn ids(&self) -> Vec<ConnId> {
        let living = self.connections.iter().enumerate();
        living
            .filter_map(|(i, c)| Some(ConnId { index: i as u32, generation: c.as_ref()?.generation }))
            .collect()
    }
}

/// See the module.
pub(crate) struct EventLoop<H> {
    net: Net,
    handler: H,
    scratch: Vec<u8>,
}

impl<H: Handler> EventLoop<H> {
    /// Takes a listener that is bound already. The waker of `wakeups` wakes this loop.
    pub(crate) fn new(
        listener: TcpListener,
        wakeups: Wakeups,
        limits: Limits,
        handler: H,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // The standard library asks for a backlog of 128: a wave of 512 connects would lose some for a second.
        rustix::net::listen(&listener, 4096)?;
        let mut poller = Poller::new()?;
        poller.add(&listener, LISTENER, Interest::READ)?;
        poller.add(&wakeups.stream, WAKER, Interest::READ)?;
        let net = Net {
            poller,
            listener: Some(listener),
            wakeups,
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            deadlines: BinaryHeap::new(),
            sequence: 0,
            settled: Vec::new(),
            limits,
            accepting: true,
            accept_again: None,
            draining: false,
        };
        Ok(Self { net, handler, scratch: vec![0; 64 << 10] })
    }

    /// Serves until `shutdown` is triggered and open exchanges have ended or had their time. Trigger must use the
    /// waker too. Returns the handler.
    pub(crate) fn run(mut self, shutdown: &Shutdown) -> io::Result<H> {
        let (mut ready, mut due) = (Vec::<Ready>::new(), Vec::<(Nanos, ConnId)>::new());
        let mut give_up: Option<Nanos> = None;
        loop {
            if shutdown.is_triggered() && give_up.is_none() {
                give_up = Some(monotonic_raw() + self.net.limits.drain.as_nanos() as Nanos);
                self.begin_draining();
            }
            if let Some(at) = give_up
                && (self.net.ids().is_empty() || monotonic_raw() >= at)
            {
                break;
            }
            self.wait(give_up, &mut ready)?;
            for event in ready.drain(..) {
                match event.key {
                    LISTENER => self.net.accept_all(),
                    WAKER => {
                        self.net.wakeups.take();
                        self.handler.woken(&mut self.net);
                    }
                    key => self.on_ready(ConnId::from_key(key), event),
                }
                self.settle();
            }
            self.take_due(monotonic_raw(), &mut due);
            for (at, conn) in due.drain(..) {
                self.on_due(conn, at);
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

    fn begin_draining(&mut self) {
        self.net.draining = true;
        if let Some(listener) = self.net.listener.take() {
            let _ = self.net.poller.remove(&listener, LISTENER);
        }
        for conn in self.net.ids() {
            if self.net.get(conn).is_some_and(|c| c.state == State::Reading) {
                self.net.drop_connection(conn, Conclusion::Close);
            }
        }
    }

    fn wait(&mut self, give_up: Option<Nanos>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let next = self.net.deadlines.peek().map(|Reverse((at, ..))| *at);
        let earliest = [next, give_up, self.net.accept_again].into_iter().flatten().min();
        let wait = match earliest {
            None => Wait::Forever,
            Some(at) if at <= monotonic_raw() => Wait::No,
            Some(at) => Wait::Until(at - self.handler.spin()),
        };
        self.net.poller.wait(wait, ready)?;
        if let (Wait::Until(_), Some(at)) = (wait, earliest) {
            while ready.is_empty() && monotonic_raw() < at && monotonic_raw() >= at - self.handler.spin() {
                std::hint::spin_loop();
            }
        }
        if self.net.accept_again.is_some_and(|at| at <= monotonic_raw()) {
            self.net.accept_again = None;
            self.net.accept_if_room();
        }
        Ok(())
    }

    /// Takes what is due by `now`; what a handler then sets anew has its turn in the next pass.
    fn take_due(&mut self, now: Nanos, due: &mut Vec<(Nanos, ConnId)>) {
        while let Some(Reverse((at, _, key))) = self.net.deadlines.peek().copied()
            && at <= now
        {
            self.net.deadlines.pop();
            due.push((at, ConnId::from_key(key)));
        }
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
                Err(_) => return self.net.settled.push((conn, Settled::Broken)),
            }
        }
        let Some(connection) = self.net.get(conn) else { return };
        match connection.state {
            State::Reading | State::Lingering if event.readable || event.gone => {
                match connection.read(&mut self.scratch) {
                    Ok(Got::Bytes) => self.take_request(conn),
                    Ok(Got::End) | Err(_) => self.net.drop_connection(conn, Conclusion::Close),
                }
            }
            State::Busy | State::Ending if event.gone => self.net.settled.push((conn, Settled::Broken)),
            _ => {}
        }
    }

    /// Looks for a whole request in what was read.
    fn take_request(&mut self, conn: ConnId) {
        let received_ns = monotonic_raw();
        let max_body = self.net.limits.max_body_bytes;
        let Some(connection) = self.net.get(conn) else { return };
        if connection.state != State::Reading {
            return;
        }
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
        while let Some((conn, settled)) = self.net.settled.pop() {
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
        let draining = self.net.draining;
        let Some(connection) = self.net.get(conn) else { return };
        if connection.keep_alive && !draining {
            connection.state = State::Reading;
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
