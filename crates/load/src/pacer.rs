//! The pacing thread: hands arrivals over when they are due.
//!
//! Times are absolute, so a late wake-up delays one arrival and never those after it. The thread does nothing else,
//! sleeps on the kernel's own timer and asks for no slack, so that it is late by the time to be scheduled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use mio::Waker;
use stopwatt_core::clock::thread_cpu;
use stopwatt_core::{Clock, Nanos};

/// Longest sleep before looking whether the run is over.
const SLICE: Nanos = 20_000_000;

/// What the pacer needs to know.
pub(crate) struct Schedule<'a> {
    /// Offsets from `start`.
    pub(crate) arrivals: Box<dyn Iterator<Item = Nanos> + Send>,
    /// When offsets begin.
    pub(crate) start: Nanos,
    /// Arrivals from here on are not wanted.
    pub(crate) until: Option<Nanos>,
    pub(crate) clock: Clock,
    pub(crate) over: &'a AtomicBool,
}

/// Sends the due time of every arrival when it has come. Returns the CPU time it took.
///
/// The channel is unbounded, since a schedule that cannot tell a full channel from a late one is none; an arrival is
/// eight bytes.
pub(crate) fn pace(schedule: Schedule<'_>, due: Sender<Nanos>, waker: &Waker) -> Duration {
    let begin = thread_cpu();
    remove_slack();
    let Schedule { arrivals, start, until, clock, over } = schedule;
    let mut unannounced = false;
    for offset in arrivals {
        let time = start + offset;
        if until.is_some_and(|u| time >= u) {
            break;
        }
        if time > clock.now() {
            if std::mem::take(&mut unannounced) {
                wake(waker);
            }
            if !sleep_until(time, clock, || over.load(Ordering::Acquire)) {
                break;
            }
        }
        if due.send(time).is_err() {
            break;
        }
        unannounced = true;
    }
    drop(due);
    wake(waker);
    thread_cpu().saturating_sub(begin)
}

fn wake(waker: &Waker) {
    // The loop also looks whenever a socket is ready, so a failed wake-up is at worst late.
    let _ = waker.wake();
}

/// Sleeps until `time`, or until `stop` says to; whether the time came.
pub(crate) fn sleep_until(time: Nanos, clock: Clock, stop: impl Fn() -> bool) -> bool {
    loop {
        if stop() {
            return false;
        }
        let now = clock.now();
        if now >= time {
            return true;
        }
        sleep_to(time.min(now + SLICE), clock);
    }
}

#[cfg(target_os = "linux")]
fn sleep_to(time: Nanos, clock: Clock) {
    let raw = time + clock.t0_monotonic_ns;
    let at = rustix::time::Timespec {
        tv_sec: raw.div_euclid(1_000_000_000),
        tv_nsec: raw.rem_euclid(1_000_000_000),
    };
    // Interrupted by a signal: the caller looks at the clock again.
    let _ = rustix::thread::clock_nanosleep_absolute(rustix::thread::ClockId::Monotonic, &at);
}

#[cfg(not(target_os = "linux"))]
fn sleep_to(time: Nanos, clock: Clock) {
    let left = u64::try_from(time - clock.now()).unwrap_or(0);
    std::thread::sleep(Duration::from_nanos(left));
}

/// Asks the kernel not to group this thread's timers with others (50 µs by default).
pub(crate) fn remove_slack() {
    #[cfg(target_os = "linux")]
    {
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn run(arrivals: Vec<Nanos>, until: Option<Nanos>, over: &AtomicBool) -> Vec<(Nanos, Nanos)> {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let clock = Clock::start();
        let start = clock.now();
        let until = until.map(|u| start + u);
        let (send, receive) = mpsc::channel();
        let schedule = Schedule { arrivals: Box::new(arrivals.into_iter()), start, until, clock, over };
        std::thread::scope(|s| {
            s.spawn(|| pace(schedule, send, &waker));
            receive.iter().map(|due| (due - start, clock.now() - start)).collect()
        })
    }

    #[test]
    fn arrivals_come_in_order_and_never_early() {
        let offsets: Vec<Nanos> = (0..40).map(|i| i * 1_000_000).collect();
        let got = run(offsets.clone(), None, &AtomicBool::new(false));
        assert_eq!(got.iter().map(|g| g.0).collect::<Vec<_>>(), offsets);
        assert!(got.iter().all(|(due, at)| at >= due));
    }

    #[test]
    fn the_window_and_the_end_of_a_run_stop_it() {
        assert_eq!(run(vec![0, 5, 10, 15], Some(10), &AtomicBool::new(false)).len(), 2);
        // A day ahead: the flag ends the sleep.
        assert_eq!(run(vec![0, 86_400_000_000_000], None, &AtomicBool::new(true)).len(), 1);
    }
}
