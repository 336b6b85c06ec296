//! Deadlines, and the end of everything.
//!
//! Deadlines are not kept as timers, since every chunk would move one. The loop knows a time before which none can
//! pass, and looks at all requests when it has come.

use std::io;

use stopwatt_core::{EndKind, Nanos};

use super::{EventLoop, nanos};
use crate::conn::Stage;

/// How long the end of the body may come after `[DONE]` before the connection is given up.
pub(super) const DONE_GRACE: Nanos = 250_000_000;

impl EventLoop<'_> {
    /// Notes a deadline.
    pub(super) fn watch(&mut self, deadline: Nanos) {
        self.next_deadline = self.next_deadline.min(deadline);
    }

    /// Ends the requests whose time is over.
    pub(super) fn check_deadlines(&mut self, now: Nanos) {
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
            if kind == EndKind::Connect {
                self.on_connect_failed(index, &io::ErrorKind::TimedOut.into());
                continue;
            }
            let Some(mut exchange) = self.detach(index) else { continue };
            self.pool.close(index);
            if grace <= deadline {
                exchange.on_close(None, now);
            } else {
                exchange.fail(kind, (kind == EndKind::Tls).then_some("timed out"), now);
            }
            self.complete(exchange);
        }
    }

    /// Ends every request in flight.
    pub(super) fn end_all(&mut self, kind: EndKind, now: Nanos) {
        for index in 0..self.pool.conns.len() {
            if let Some(mut exchange) = self.detach(index) {
                self.pool.close(index);
                exchange.fail(kind, None, now);
                self.complete(exchange);
            }
        }
    }
}
