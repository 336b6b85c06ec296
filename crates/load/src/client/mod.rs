//! The client: a pool of connections and a run over them.

mod event_loop;
mod feeder;
mod pool;
mod rest;
mod schedule;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use stopwatt_core::Clock;
use stopwatt_core::clock::thread_cpu;

use crate::error::LoadError;
use crate::exchange::Exchange;
use crate::job::{Completed, FollowUp, Job, Limits, Outcome, Pace};
use crate::open_files;
use crate::pacer;
use crate::stamps::KernelStamps;
use crate::stop::Stop;
use crate::target::Target;
use event_loop::{EventLoop, nanos};
use feeder::Feeder;
use pool::Pool;
pub(crate) use pool::resolve;
use schedule::Schedule;
use turns::{Then, Turns};

/// Records that may wait for `on_done` before reading has to wait.
const RECORD_QUEUE: usize = 4096;
/// An open loop begins so long after its threads are started, so that its first arrival is not late.
const LEAD: Duration = Duration::from_millis(2);

/// Keeps connections to one target open between runs.
#[derive(Debug)]
pub struct Client {
    pool: Pool,
}

impl Client {
    /// Resolves the target's name and prepares the event loop. Opens no connection.
    pub fn new(target: &Target) -> Result<Self, LoadError> {
        Ok(Self { pool: Pool::new(target)? })
    }

    /// The same client, its connections to come with or without kernel stamps. They are on by default.
    #[must_use]
    pub fn with_kernel_stamps(mut self, wanted: KernelStamps) -> Self {
        self.pool.kernel_stamps = wanted;
        self
    }

    /// Sends jobs at a pace until there are none, time is up or `stop` is thrown.
    ///
    /// `jobs` is called with 0, 1, 2 … on a thread of its own, ahead of need. `on_done` is called on another thread,
    /// once for every request taken up, in the order in which they end; all calls are over when this returns.
    pub fn run(
        &mut self,
        pace: Pace,
        jobs: &mut (dyn FnMut(u64) -> Option<Job> + Send),
        limits: &Limits,
        stop: &Stop,
        clock: Clock,
        on_done: &mut (dyn FnMut(Completed) + Send),
    ) -> Result<Outcome, LoadError> {
        self.drive(pace, jobs, limits, stop, clock, Listener::Records(on_done))
    }

    /// Like [`run`](Self::run), for conversations: `jobs` gives the first turn of each, and `then` is told of every
    /// request that ended and says what follows it.
    ///
    /// A conversation keeps its slot of a closed loop until nothing follows. When `jobs` or arrivals run out, those
    /// that began go on to their end; when time is up, none says more.
    pub fn converse(
        &mut self,
        pace: Pace,
        jobs: &mut (dyn FnMut(u64) -> Option<Job> + Send),
        limits: &Limits,
        stop: &Stop,
        clock: Clock,
        then: &mut (dyn FnMut(Completed) -> Option<FollowUp> + Send),
    ) -> Result<Outcome, LoadError> {
        self.drive(pace, jobs, limits, stop, clock, Listener::Conversations(then))
    }

    fn drive(
        &mut self,
        pace: Pace,
        jobs: &mut (dyn FnMut(u64) -> Option<Job> + Send),
        limits: &Limits,
        stop: &Stop,
        clock: Clock,
        listener: Listener<'_>,
    ) -> Result<Outcome, LoadError> {
        let wanted = match pace {
            Pace::Closed { concurrency: 0 } => return Err(LoadError::NoConcurrency),
            Pace::Open { max_in_flight: Some(0), .. } => return Err(LoadError::NoConcurrency),
            Pace::Closed { concurrency } => Some(concurrency),
            Pace::Open { max_in_flight, .. } => max_in_flight,
        };
        open_files::make_room(wanted)?;
        self.pool.settle(wanted);
        let waker = self.pool.waker();
        let _attached = stop.attach(Arc::clone(&waker));
        let over = AtomicBool::new(false);
        let (due_send, due) = mpsc::channel();
        std::thread::scope(|scope| {
            // Ends the other threads also when this one leaves early.
            let _ends = SetOnDrop(&over);
            let heads = feeder::Heads::new(self.pool.target());
            let feeder = Feeder::start(scope, jobs, heads, *limits, wanted, Arc::clone(&waker), &over)?;
            let (done, turns) = match listener {
                Listener::Records(on_done) => (record(scope, on_done)?, None),
                Listener::Conversations(then) => {
                    let heads = feeder::Heads::new(self.pool.target());
                    let waker = Arc::clone(&waker);
                    let (done, turns) = Turns::start(scope, then, heads, *limits, clock, waker, &over)?;
                    (done, Some(turns))
                }
            };
            feeder.wait_until_primed(stop);
            let mut start = limits.start_at.unwrap_or_else(|| clock.now());
            let mut pacer: Option<ScopedJoinHandle<'_, Duration>> = None;
            let schedule = match pace {
                Pace::Closed { concurrency } => {
                    pacer::sleep_until(start, clock, || stop.is_interrupted());
                    Schedule::closed(concurrency, start)
                }
                Pace::Open { arrivals, max_in_flight } => {
                    if limits.start_at.is_none() {
                        start += nanos(LEAD);
                    }
                    let until = limits.max_duration.map(|d| start + nanos(d));
                    let schedule = pacer::Schedule { arrivals, start, until, clock, over: &over };
                    let waker = Arc::clone(&waker);
                    pacer = Some(spawn(scope, "pacer", move || pacer::pace(schedule, due_send, &waker))?);
                    Schedule::open(due, max_in_flight)
                }
            };
            let begin = thread_cpu();
            let finished =
                EventLoop::new(&mut self.pool, feeder, schedule, turns, *limits, clock, done, start)
                    .run(stop);
            let mut used = thread_cpu().saturating_sub(begin);
            over.store(true, Ordering::Release);
            if let Some(pacer) = pacer {
                used += pacer.join().unwrap_or_default();
            }
            finished.map(|outcome| Outcome { cpu_s: used.as_secs_f64(), ..outcome })
        })
    }
}

/// Who hears of ended requests.
enum Listener<'a> {
    Records(&'a mut (dyn FnMut(Completed) + Send)),
    Conversations(Then<'a>),
}

/// Calls `on_done` on a thread of its own for everything sent to it.
fn record<'s>(
    scope: &'s Scope<'s, '_>,
    on_done: &'s mut (dyn FnMut(Completed) + Send),
) -> Result<SyncSender<Box<Exchange>>, LoadError> {
    let (send, receive): (_, Receiver<Box<Exchange>>) = mpsc::sync_channel(RECORD_QUEUE);
    spawn(scope, "recorder", move || receive.iter().for_each(|x| on_done(x.into_completed())))?;
    Ok(send)
}

fn spawn<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 's,
) -> Result<ScopedJoinHandle<'s, T>, LoadError> {
    Builder::new()
        .name(format!("stopwatt-{name}"))
        .spawn_scoped(scope, body)
        .map_err(|source| LoadError::Thread { source })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// [`Client::run`] over connections of its own.
pub fn run(
    target: &Target,
    pace: Pace,
    jobs: &mut (dyn FnMut(u64) -> Option<Job> + Send),
    limits: &Limits,
    stop: &Stop,
    clock: Clock,
    on_done: &mut (dyn FnMut(Completed) + Send),
) -> Result<Outcome, LoadError> {
    Client::new(target)?.run(pace, jobs, limits, stop, clock, on_done)
}
