//! The connections of a loop, as its handler sees them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use stopwatt_core::clock::{Nanos, monotonic_raw};

use super::connection::{Connection, State};
use super::handler::{Conclusion, ConnId, Limits, Sent};
use super::poller::{Interest, Poller, Ready, Wait};
use super::reply::{Framing, Reply, push_head};
use super::waker::Wakeups;

pub(super) const LISTENER: u64 = u64::MAX - 1;
pub(super) const WAKER: u64 = u64::MAX - 2;

/// How long accepting rests when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// What a handler, or a broken write, has decided about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Ended,
    Broken,
    Aborted(Conclusion),
}

impl Net {
    pub(super) fn new(listener: TcpListener, wakeups: Wakeups, limits: Limits) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // The standard library asks for a backlog of 128: a wave of 512 connects would lose some for a second.
        rustix::net::listen(&listener, 4096)?;
        let mut poller = Poller::new()?;
        poller.add(&listener, LISTENER, Interest::READ)?;
        poller.add(&wakeups.stream, WAKER, Interest::READ)?;
        Ok(Self {
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
        })
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    pub(super) fn take_wakeups(&self) {
        self.wakeups.take();
    }

    pub(super) fn settle_later(&mut self, conn: ConnId, settled: Settled) {
        self.settled.push((conn, settled));
    }

    pub(super) fn next_settled(&mut self) -> Option<(ConnId, Settled)> {
        self.settled.pop()
    }

    pub(super) fn get(&mut self, conn: ConnId) -> Option<&mut Connection> {
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
    pub(super) fn watch(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn.slot()).and_then(Option::as_mut) else { return };
        let read = matches!(connection.state, State::Reading | State::Lingering);
        let interest = Interest { read, write: !connection.is_flushed() };
        if connection.interest != interest {
            connection.interest = interest;
            // Fails only when the descriptor is not registered, which no living connection is.
            let _ = self.poller.change(&connection.stream, conn.key(), interest);
        }
    }

    pub(super) fn drop_connection(&mut self, conn: ConnId, how: Conclusion) {
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

    pub(super) fn accept_all(&mut self) {
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

    /// Every living connection.
    pub(super) fn ids(&self) -> Vec<ConnId> {
        let living = self.connections.iter().enumerate();
        living
            .filter_map(|(i, c)| Some(ConnId { index: i as u32, generation: c.as_ref()?.generation }))
            .collect()
    }

    /// When the loop must be awake.
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        let next = self.deadlines.peek().map(|Reverse((at, ..))| *at);
        next.into_iter().chain(self.accept_again).min()
    }

    pub(super) fn wait(&mut self, wait: Wait, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.poller.wait(wait, ready)?;
        if self.accept_again.is_some_and(|at| at <= monotonic_raw()) {
            self.accept_again = None;
            self.accept_if_room();
        }
        Ok(())
    }

    /// Takes what is due by `now`; what a handler then sets anew has its turn in the next pass.
    pub(super) fn take_due(&mut self, now: Nanos, due: &mut Vec<(Nanos, ConnId)>) {
        while let Some(Reverse((at, _, key))) = self.deadlines.peek().copied()
            && at <= now
        {
            self.deadlines.pop();
            due.push((at, ConnId::from_key(key)));
        }
    }

    /// Stops listening, and closes the connections on which nothing is being answered.
    pub(super) fn begin_draining(&mut self) {
        self.draining = true;
        if let Some(listener) = self.listener.take() {
            let _ = self.poller.remove(&listener, LISTENER);
        }
        for conn in self.ids() {
            if self.get(conn).is_some_and(|c| c.state == State::Reading) {
                self.drop_connection(conn, Conclusion::Close);
            }
        }
    }
}
