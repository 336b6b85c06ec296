//! Opening connections, address by address.
//!
//! A name may have several addresses, of which some do not answer: `localhost` is often `::1` first. A request tries
//! each once, beginning with the one that last worked; it fails only when all have.

use std::io;

use stopwatt_core::EndKind;

use super::{EventLoop, nanos};
use crate::exchange::Exchange;
use crate::job::Ended;
use crate::open_files;

impl EventLoop<'_> {
    /// Opens a connection for a request.
    pub(super) fn connect(&mut self, mut exchange: Box<Exchange>) {
        loop {
            let now = self.clock.now();
            let address = self.pool.address_after(exchange.address);
            exchange.address = Some(address);
            exchange.connect_begin_ns = now;
            match self.pool.open(address) {
                Ok(index) => {
                    self.outcome.connections += 1;
                    self.watch(now.saturating_add(nanos(self.limits.connect_timeout)));
                    if let Some(conn) = self.pool.conns[index].as_mut() {
                        conn.exchange = Some(exchange);
                    }
                    return;
                }
                Err(error) => match self.next_address(exchange, &error) {
                    Some(again) => exchange = again,
                    None => return,
                },
            }
        }
    }

    /// A connection did not come about.
    pub(super) fn on_connect_failed(&mut self, index: usize, error: &io::Error) {
        let exchange = self.detach(index);
        self.pool.close(index);
        if let Some(exchange) = exchange.and_then(|x| self.next_address(x, error)) {
            self.connect(exchange);
        }
    }

    /// Gives the request back when another address is left; otherwise it ends here.
    fn next_address(&mut self, mut exchange: Box<Exchange>, error: &io::Error) -> Option<Box<Exchange>> {
        if let Some(fatal) = open_files::ran_out(error) {
            // No request to come can do better.
            self.fatal.get_or_insert(fatal);
            self.ended.get_or_insert(Ended::Exhausted);
        }
        exchange.addresses_failed += 1;
        if self.fatal.is_none() && self.pool.has_more_addresses(exchange.addresses_failed) {
            return Some(exchange);
        }
        exchange.fail(EndKind::Connect, Some(&error.to_string()), self.clock.now());
        self.complete(exchange);
        None
    }

    /// The connection of a request stands.
    pub(super) fn on_connected(&mut self, index: usize) {
        let Some(conn) = self.pool.conns[index].as_mut() else { return };
        let Some(exchange) = &mut conn.exchange else { return };
        exchange.addresses_failed = 0;
        if let Some(address) = exchange.address.take() {
            self.pool.prefer(address);
        }
    }
}
