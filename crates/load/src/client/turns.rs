//! Turns of conversations: requests that are sent because an earlier one ended.
//!
//! ```text
//! I/O thread ── ended ──► recorder ── follow-up ──► waiter thread ── when due ──► I/O thread
//!                             └────── nothing follows ──────┘
//! ```
//!
//! A conversation keeps its slot of a closed loop until nothing follows, also while it thinks. Waiting has a thread of
//! its own, since the loop's poll is a millisecond coarse.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::Scope;
use std::time::Duration;

use mio::Waker;
use stopwatt_core::{Clock, Nanos};

use super::feeder::Heads;
use super::schedule::Schedule;
use super::{RECORD_QUEUE, spawn};
use crate::error::LoadError;
use crate::exchange::Exchange;
use crate::job::{Completed, FollowUp, Limits};
use crate::pacer;

/// Longest sleep before looking whether the run is over.
const SLICE: Duration = Duration::from_millis(20);

/// Says what follows a request that ended.
pub(super) type Then<'a> = &'a mut (dyn FnMut(Completed) -> Option<FollowUp> + Send);

/// What became of a request that ended.
enum News {
    /// Nothing follows; its slot is free since then.
    Over(Nanos),
    /// The next turn, due at a time.
    Next(Nanos, Box<Exchange>),
}

/// The loop's end: turns that are due, and how many requests are still to be heard of.
pub(super) struct Turns {
    news: Receiver<News>,
    due: VecDeque<(Nanos, Box<Exchange>)>,
    /// Ended requests whose conversation is thinking, or may be.
    open: u64,
    came: u64,
}

impl Turns {
    /// Starts the recorder, which asks `then`, and the waiter.
    pub(super) fn start<'s>(
        scope: &'s Scope<'s, '_>,
        then: Then<'s>,
        heads: Heads,
        limits: Limits,
        clock: Clock,
        waker: Arc<Waker>,
        over: &'s AtomicBool,
    ) -> Result<(SyncSender<Box<Exchange>>, Self), LoadError> {
        let (ended, receive): (_, Receiver<Box<Exchange>>) = mpsc::sync_channel(RECORD_QUEUE);
        let (waiting, waits) = mpsc::channel();
        let (news_send, news) = mpsc::channel();
        spawn(scope, "recorder", move || {
            for exchange in receive {
                let end_ns = exchange.record.end_ns;
                let next = then(exchange.into_completed()).map(|FollowUp { at, job }| {
                    let head = heads.of(job.path);
                    News::Next(at, Box::new(Exchange::new(job, head, &limits)))
                });
                if waiting.send(next.unwrap_or(News::Over(end_ns))).is_err() {
                    break;
                }
            }
        })?;
        spawn(scope, "waiter", move || wait(&waits, &news_send, clock, &waker, over))?;
        Ok((ended, Self { news, due: VecDeque::new(), open: 0, came: 0 }))
    }

    /// A request ended: its conversation decides what follows.
    pub(super) fn on_end(&mut self) {
        self.open += 1;
    }

    /// Takes in what the waiter said.
    pub(super) fn hear(&mut self, schedule: &mut Schedule) {
        while let Ok(news) = self.news.try_recv() {
            self.open -= 1;
            match news {
                News::Over(since) => schedule.on_end(since),
                News::Next(at, exchange) => {
                    self.came += 1;
                    self.due.push_back((at, exchange));
                }
            }
        }
    }

    /// A turn that is due.
    pub(super) fn next(&mut self) -> Option<(Nanos, Box<Exchange>)> {
        self.due.pop_front()
    }

    /// Whether no further turn will come of the requests that ended so far.
    pub(super) fn is_over(&self) -> bool {
        self.open == 0 && self.due.is_empty()
    }

    /// Turns that came due.
    pub(super) fn came(&self) -> u64 {
        self.came
    }
}

/// Hands turns over when they are due, and the end of conversations at once.
fn wait(waits: &Receiver<News>, news: &Sender<News>, clock: Clock, waker: &Waker, over: &AtomicBool) {
    pacer::remove_slack();
    let mut thinking: BTreeMap<(Nanos, u64), Box<Exchange>> = BTreeMap::new();
    let mut number = 0;
    while !over.load(Ordering::Acquire) {
        let now = clock.now();
        let mut told = false;
        while let Some(first) = thinking.first_entry().filter(|e| e.key().0 <= now) {
            let ((at, _), exchange) = first.remove_entry();
            told |= news.send(News::Next(at, exchange)).is_ok();
        }
        let next = thinking.first_key_value().map(|(&(at, _), _)| at);
        let pause = next.map_or(SLICE, |at| {
            Duration::from_nanos(u64::try_from(at - clock.now()).unwrap_or(0)).min(SLICE)
        });
        match waits.recv_timeout(if told { Duration::ZERO } else { pause }) {
            Ok(News::Next(at, exchange)) => {
                thinking.insert((at, number), exchange);
                number += 1;
            }
            Ok(end) => told |= news.send(end).is_ok(),
            Err(RecvTimeoutError::Timeout) => {}
            // The loop has ended.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if told {
            // The loop also looks whenever a socket is ready, so a failed wake-up is at worst late.
            let _ = waker.wake();
        }
    }
}
