//! The thread that starts, watches and ends replicas.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;

use super::policy::{Load, Policy, Scaler};
use crate::exposition::{Page, Source};
use crate::fleet::{Fleet, Place, Replica};

/// From one look to the next.
const TICK: Duration = Duration::from_millis(200);
/// How long a health check of a replica that starts may take.
const CHECK: Duration = Duration::from_millis(500);
/// Wait after the first failure; it doubles with each that follows, up to [`MOST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MOST_WAIT: Duration = Duration::from_secs(60);
/// A replica that was well for this long has made up for its failures.
const FORGIVEN: Duration = Duration::from_secs(60);

/// A process that serves at a port.
pub trait Process: Send {
    /// Whether it has ended by itself.
    fn ended(&mut self) -> bool;
    /// The last lines that it wrote.
    fn tail(&self) -> Vec<String>;
    /// Ends it, and waits until nothing of it is left.
    fn end(self: Box<Self>);
}

/// Starts processes.
pub trait Launch: Send {
    /// Starts one that is to serve at this port of loopback.
    ///
    /// # Errors
    /// It cannot be started.
    fn start(&mut self, port: u16) -> io::Result<Box<dyn Process>>;
}

/// How replicas are started and ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How many there should be.
    pub policy: Policy,
    /// How long one may take until it answers a health check.
    pub ready_within: Duration,
    /// How long its requests may go on when it is to end.
    pub drain: Duration,
}

/// What became of replicas.
#[derive(Debug, Default)]
struct Counts {
    wanted: AtomicUsize,
    ready: AtomicUsize,
    starting: AtomicUsize,
    draining: AtomicUsize,
    came_up: AtomicU64,
    failed: AtomicU64,
    died: AtomicU64,
    ups: AtomicU64,
    downs: AtomicU64,
}

/// Replicas that are kept until it is dropped; then all of them are ended.
#[derive(Debug)]
pub struct Replicas {
    counts: Arc<Counts>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Replicas {
    /// Starts the thread, and with it the fewest replicas. Every upstream of the fleet is a slot, and absent until its
    /// replica answers.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(fleet: &Arc<Fleet>, settings: Settings, launch: Box<dyn Launch>) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let slots = fleet.upstreams().iter().map(|_| Slot::absent()).collect();
        (0..fleet.upstreams().len()).for_each(|i| fleet.place(i, Place::Absent));
        let mut keeper = Keeper {
            fleet: Arc::clone(fleet),
            settings,
            launch,
            counts: Arc::clone(&counts),
            scaler: Scaler::new(settings.policy),
            slots,
        };
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("replicas".to_owned()).spawn(move || {
            loop {
                keeper.look();
                if !matches!(stopped.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) {
                    return keeper.end();
                }
            }
        })?;
        Ok(Self { counts, stop: Some(stop), thread: Some(thread) })
    }

    /// Writes the families on the page.
    pub fn source(&self) -> Source {
        let counts = Arc::clone(&self.counts);
        Box::new(move |page: &mut Page, _| {
            let name = "stopwatt_replicas";
            page.head(name, "gauge", "Engines that the proxy started, by what they do.");
            for (state, n) in
                [("ready", &counts.ready), ("starting", &counts.starting), ("draining", &counts.draining)]
            {
                page.line(name, &format!("state=\"{state}\""), n.load(Relaxed) as f64);
            }
            let name = "stopwatt_replicas_wanted";
            page.head(name, "gauge", "Engines that there should be for the load.");
            page.line(name, "", counts.wanted.load(Relaxed) as f64);
            let name = "stopwatt_replica_starts_total";
            page.head(name, "counter", "Starts of engines that have ended in readiness or failure.");
            for (result, n) in [("ready", &counts.came_up), ("failed", &counts.failed)] {
                page.line(name, &format!("result=\"{result}\""), n.load(Relaxed) as f64);
            }
            let name = "stopwatt_replica_deaths_total";
            page.head(name, "counter", "Engines that ended by themselves after they were ready.");
            page.line(name, "", counts.died.load(Relaxed) as f64);
            let name = "stopwatt_scalings_total";
            page.head(name, "counter", "Changes of the number of engines that there should be.");
            for (direction, n) in [("up", &counts.ups), ("down", &counts.downs)] {
                page.line(name, &format!("direction=\"{direction}\""), n.load(Relaxed) as f64);
            }
        })
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ends when every replica has.
            let _ = thread.join();
        }
    }
}

enum State {
    Absent,
    Starting(Box<dyn Process>, Nanos),
    Ready(Box<dyn Process>, Nanos),
    Draining(Box<dyn Process>, Nanos),
    /// Its process is being ended.
    Ending(JoinHandle<()>),
}

struct Slot {
    state: State,
    /// In a row.
    failures: u32,
    /// It is not started before.
    rests_until: Nanos,
}

impl Slot {
    fn absent() -> Self {
        Self { state: State::Absent, failures: 0, rests_until: 0 }
    }

    fn fail(&mut self, now: Nanos) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(6)).min(MOST_WAIT);
        self.failures += 1;
        self.rests_until = now + nanos(wait);
    }
}

fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

fn end(process: Box<dyn Process>) -> State {
    State::Ending(std::thread::spawn(move || process.end()))
}

struct Keeper {
    fleet: Arc<Fleet>,
    settings: Settings,
    launch: Box<dyn Launch>,
    counts: Arc<Counts>,
    scaler: Scaler,
    slots: Vec<Slot>,
}

impl Keeper {
    fn look(&mut self) {
        let now = monotonic_raw();
        (0..self.slots.len()).for_each(|i| self.look_at(i, now));
        let was = self.scaler.wanted();
        let wanted = self.scaler.step(self.load(), now);
        match wanted.cmp(&was) {
            std::cmp::Ordering::Greater => self.counts.ups.fetch_add(1, Relaxed),
            std::cmp::Ordering::Less => self.counts.downs.fetch_add(1, Relaxed),
            std::cmp::Ordering::Equal => 0,
        };
        self.fill(wanted, now);
        let count = |is: fn(&State) -> bool| self.slots.iter().filter(|s| is(&s.state)).count();
        self.counts.wanted.store(wanted, Relaxed);
        self.counts.ready.store(count(|s| matches!(s, State::Ready(..))), Relaxed);
        self.counts.starting.store(count(|s| matches!(s, State::Starting(..))), Relaxed);
        self.counts.draining.store(count(|s| matches!(s, State::Draining(..))), Relaxed);
    }

    /// What has become of a slot.
    fn look_at(&mut self, i: usize, now: Nanos) {
        let slot = &mut self.slots[i];
        slot.state = match std::mem::replace(&mut slot.state, State::Absent) {
            State::Absent => State::Absent,
            State::Starting(mut process, since) => {
                let ended = process.ended();
                if !ended && answers(&self.fleet, i) {
                    self.counts.came_up.fetch_add(1, Relaxed);
                    self.fleet.place(i, Place::Present);
                    self.fleet.replica(i, Replica::Ready);
                    State::Ready(process, monotonic_raw())
                } else if ended || now - since >= nanos(self.settings.ready_within) {
                    Self::complain(&self.fleet, i, process.as_ref());
                    slot.fail(monotonic_raw());
                    self.counts.failed.fetch_add(1, Relaxed);
                    self.fleet.replica(i, Replica::Failed);
                    end(process)
                } else {
                    State::Starting(process, since)
                }
            }
            State::Ready(mut process, since) => {
                if now - since >= nanos(FORGIVEN) {
                    slot.failures = 0;
                }
                if process.ended() {
                    Self::complain(&self.fleet, i, process.as_ref());
                    // The first death is made up for at once.
                    if slot.failures > 0 {
                        slot.fail(now);
                    } else {
                        slot.failures = 1;
                    }
                    self.counts.died.fetch_add(1, Relaxed);
                    self.fleet.place(i, Place::Absent);
                    self.fleet.replica(i, Replica::Died);
                    end(process)
                } else {
                    State::Ready(process, since)
                }
            }
            State::Draining(mut process, since) => {
                let up = &self.fleet.upstreams()[i];
                let over = up.in_flight() == 0 || now - since >= nanos(self.settings.drain);
                if over || process.ended() {
                    self.fleet.place(i, Place::Absent);
                    self.fleet.replica(i, Replica::Stopped);
                    end(process)
                } else {
                    State::Draining(process, since)
                }
            }
            State::Ending(thread) if thread.is_finished() => {
                // It tells nothing.
                let _ = thread.join();
                State::Absent
            }
            ending @ State::Ending(_) => ending,
        };
    }

    /// Says what a replica wrote last.
    fn complain(fleet: &Fleet, i: usize, process: &dyn Process) {
        for line in process.tail() {
            eprintln!("{}: {line}", fleet.upstreams()[i].spec.name);
        }
    }

    fn load(&self) -> Load {
        let requests = |u: &crate::fleet::Upstream| {
            let gauges = u.gauges();
            // Others may ask it as well.
            let own = gauges.running.unwrap_or(0.0) + gauges.waiting.unwrap_or(0.0);
            f64::from(u.in_flight()).max(own)
        };
        let ready = self.slots.iter().zip(self.fleet.upstreams());
        let ready = ready.filter(|(s, _)| matches!(s.state, State::Ready(..)));
        let (ready, requests) = ready.fold((0, 0.0), |(n, sum), (_, u)| (n + 1, sum + requests(u)));
        Load { requests, ready }
    }

    /// Starts and drains until there are as many as wanted.
    fn fill(&mut self, wanted: usize, now: Nanos) {
        let mut there =
            self.slots.iter().filter(|s| matches!(s.state, State::Starting(..) | State::Ready(..))).count();
        for i in 0..self.slots.len() {
            let slot = &mut self.slots[i];
            if there >= wanted {
                break;
            }
            if !matches!(slot.state, State::Absent) || slot.rests_until > now {
                continue;
            }
            match self.launch.start(self.fleet.upstreams()[i].spec.target.port()) {
                Ok(process) => {
                    slot.state = State::Starting(process, monotonic_raw());
                    there += 1;
                    self.fleet.replica(i, Replica::Starting);
                }
                Err(error) => {
                    eprintln!("{}: cannot be started: {error}", self.fleet.upstreams()[i].spec.name);
                    slot.fail(now);
                    self.counts.failed.fetch_add(1, Relaxed);
                    self.fleet.replica(i, Replica::Failed);
                }
            }
        }
        // The last slot that is ready goes first.
        for i in (0..self.slots.len()).rev() {
            if there <= wanted {
                break;
            }
            let slot = &mut self.slots[i];
            match std::mem::replace(&mut slot.state, State::Absent) {
                State::Ready(process, _) => {
                    slot.state = State::Draining(process, now);
                    self.fleet.place(i, Place::Draining);
                    self.fleet.replica(i, Replica::Draining);
                    there -= 1;
                }
                other => slot.state = other,
            }
        }
    }

    /// Ends all of them, at the same time.
    fn end(&mut self) {
        let slots = std::mem::take(&mut self.slots);
        let ending: Vec<JoinHandle<()>> = slots
            .into_iter()
            .enumerate()
            .filter_map(|(i, slot)| {
                self.fleet.place(i, Place::Absent);
                match slot.state {
                    State::Absent => None,
                    State::Starting(p, _) | State::Ready(p, _) | State::Draining(p, _) => {
                        Some(std::thread::spawn(move || p.end()))
                    }
                    State::Ending(thread) => Some(thread),
                }
            })
            .collect();
        for thread in ending {
            let _ = thread.join();
        }
    }
}

/// Whether a replica answers: `/health`, or the list of models where there is no such page.
fn answers(fleet: &Fleet, i: usize) -> bool {
    let target = &fleet.upstreams()[i].spec.target;
    let status = |path| stopwatt_load::get(target, path, CHECK).ok().map(|r| r.status);
    match status("/health") {
        Some(404) => status("/v1/models") == Some(200),
        status => status == Some(200),
    }
}
