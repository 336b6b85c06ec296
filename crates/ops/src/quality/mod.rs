//! Are the answers as good as they were? Finished answers are judged in memory, on a thread of the lowest priority.
//!
//! ```text
//! proxy ──► bounded queue ──► heard ──► Answer (numbers) ──► Tracker ──► /metrics
//!              │ full: dropped, counted                        │
//!              ▼                                           Reference ──► a file of hashes and numbers
//! ```
//!
//! The first answers of the first upstream's variant become the reference of their model and prompt version. From then
//! on each window of answers of each upstream is compared with it. Together, the comparisons of a window cry wolf at
//! the stated rate: each gets its share of it.
//!
//! Texts are dropped when they have been looked at. What is kept of them are numbers, salted hashes and sketches.

mod heard;
mod reference;
mod tracker;

use std::path::PathBuf;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_sensor::host::lower_priority_of_this_thread;

use crate::content::{Content, Keeper};
use crate::exchange::{End, Exchange};
use crate::exposition::Source;
use crate::fleet::Fleet;

pub use reference::{Reference, ReferenceError, References};
pub use tracker::{Finding, Settings, Tracker};

/// Answers that wait to be judged. More are dropped.
const QUEUE: usize = 256;
/// How often it is looked whether to end.
const TICK: Duration = Duration::from_millis(50);
/// How long the answers that wait at the end are judged; the rest is dropped.
const LAST: Duration = Duration::from_secs(5);

/// An answer to be judged.
struct Job {
    upstream: usize,
    model: String,
    prompt_version: String,
    finish: Option<&'static str>,
    content: Arc<Content>,
}

/// Judges answers until it is dropped; those that wait then are judged first, for up to five seconds.
#[derive(Debug)]
pub struct Judge {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tracker: Mutex<Tracker>,
    dropped: AtomicU64,
    /// The thread ends when no answer waits.
    ending: AtomicBool,
}

impl Judge {
    /// Starts judging. `file` keeps the reference; one that is there is gone on with.
    ///
    /// # Errors
    /// The file cannot be read, or the thread not be started.
    pub fn start(settings: Settings, fleet: &Fleet, file: Option<PathBuf>) -> Result<Self, ReferenceError> {
        let references = match &file {
            Some(path) => References::read(path)?.unwrap_or_default(),
            None => References::default(),
        };
        let variants = fleet.upstreams().iter().map(|u| u.variant).collect();
        let tracker = Mutex::new(Tracker::new(settings, references, variants));
        let shared = Arc::new(Shared { tracker, dropped: AtomicU64::new(0), ending: AtomicBool::new(false) });
        let (jobs, received) = sync_channel(QUEUE);
        let to = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("quality".to_owned())
            .spawn(move || {
                lower_priority_of_this_thread();
                judge(&received, &to, file);
            })
            .map_err(ReferenceError::Thread)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), shared })
    }

    /// Takes answers from the proxy.
    pub fn keeper(&self) -> Keeper {
        let jobs = self.jobs.clone();
        let shared = Arc::clone(&self.shared);
        Keeper::new(move |exchange, content| {
            let Some(job) = job(exchange, content) else { return };
            let Some(jobs) = &jobs else { return };
            if let Err(TrySendError::Full(_)) = jobs.try_send(job) {
                shared.dropped.fetch_add(1, Relaxed);
            }
        })
    }

    /// Writes the families on the page.
    pub fn source(&self) -> Source {
        let shared = Arc::clone(&self.shared);
        Box::new(move |page, fleet| {
            page.head(
                "stopwatt_answers_dropped_total",
                "counter",
                "Answers that were not judged: too many waited.",
            );
            page.line("stopwatt_answers_dropped_total", "", shared.dropped.load(Relaxed) as f64);
            lock(&shared).render(page, fleet);
        })
    }

    /// Answers that were judged so far.
    pub fn judged(&self) -> u64 {
        lock(&self.shared).judged()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // Keepers hold senders of their own, so that the thread is told to end.
        self.shared.ending.store(true, Release);
        let Some(thread) = self.thread.take() else { return };
        let until = monotonic_raw() + LAST.as_nanos() as Nanos;
        while !thread.is_finished() && monotonic_raw() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        // One that is not done is left: a shutdown does not wait for a disk or for texts.
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Tracker> {
    shared.tracker.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What of an exchange is judged: complete answers to prompts.
fn job(exchange: &Exchange, content: &Arc<Content>) -> Option<Job> {
    let whole = exchange.end == End::Answered && exchange.status < 400;
    let path = matches!(exchange.path, "/v1/chat/completions" | "/v1/completions");
    if !(whole && path) {
        return None;
    }
    Some(Job {
        upstream: exchange.upstream?,
        model: exchange.model.clone().unwrap_or_default(),
        prompt_version: exchange.prompt_version.clone().unwrap_or_default(),
        finish: exchange.finish.map(|f| f.name()),
        content: Arc::clone(content),
    })
}

fn judge(jobs: &Receiver<Job>, shared: &Shared, file: Option<PathBuf>) {
    let salt = lock(shared).salt();
    let mut complained = false;
    loop {
        let ending = shared.ending.load(Acquire);
        let job = match jobs.recv_timeout(TICK) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) if !ending => continue,
            Err(_) => return,
        };
        let Some(heard) = heard::hear(&job.content, job.finish, salt) else { continue };
        let key =
            tracker::Key { upstream: job.upstream, model: job.model, prompt_version: job.prompt_version };
        // Texts end here.
        drop(job.content);
        let mut tracker = lock(shared);
        let learnt = tracker.take(key, heard);
        let saved = learnt.then(|| tracker.references().clone());
        drop(tracker);
        if let (Some(references), Some(path)) = (saved, &file)
            && let Err(error) = references.write(path)
            && !std::mem::replace(&mut complained, true)
        {
            eprintln!("the reference of answers could not be written to {}: {error}", path.display());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;

    use stopwatt_core::clock::monotonic_raw;

    use super::*;
    use crate::content::{Answered, Kept};
    use crate::upstream::Spec;

    #[test]
    fn answers_that_wait_at_the_end_are_judged() {
        let specs = vec![Spec::parse("http://h:1").unwrap()];
        let fleet = Fleet::new(specs, crate::fleet::Settings::default(), |_| None).unwrap();
        let settings = Settings { reference: 400, window: 100, false_alarms: 0.05 };
        let judge = Judge::start(settings, &fleet, None).unwrap();
        // It outlives the judge, as one of a proxy that still drains does.
        let keeper = judge.keeper();
        let exchange = Exchange {
            upstream: Some(0),
            end: End::Answered,
            status: 200,
            ..Exchange::new("/v1/completions", monotonic_raw())
        };
        for i in 0..QUEUE {
            let content = Content {
                request: Bytes::from(format!("{{\"prompt\":\"{i}\"}}")),
                answer: Answered::Stream(Kept { text: format!("answer {i}"), ..Kept::new(false) }),
            };
            keeper.look(&exchange, &Arc::new(content));
        }
        let shared = Arc::clone(&judge.shared);
        drop(judge);
        let judged = lock(&shared).judged();
        assert_eq!(judged + shared.dropped.load(Relaxed), QUEUE as u64);
        assert!(judged > 0);
        drop(keeper);
    }

    /// A tracker with a reference and a window of its own.
    pub(crate) fn judged() -> Tracker {
        let settings = Settings { reference: 50, window: 10, false_alarms: 0.05 };
        let mut tracker = Tracker::new(settings, References::default(), vec![0]);
        for i in 0..100_u32 {
            let text = format!("the answer {} is {}", i % 7, "very ".repeat((i % 5) as usize));
            let content = Content {
                request: Bytes::from(format!("{{\"prompt\":\"{}\"}}", i % 10)),
                answer: Answered::Stream(Kept { text, ..Kept::new(false) }),
            };
            let heard = heard::hear(&content, Some("stop"), 0).unwrap();
            tracker.take(tracker::Key { upstream: 0, model: "m".into(), prompt_version: "v".into() }, heard);
        }
        tracker
    }
}
