//! One thread that reads every sensor again and again, with stamps of the requests' clock.
//!
//! ```text
//! Machine::read ──► Row ──► memory (rows of a window)
//!                      └──► power.csv (t_s, power_w, …), flushed each second
//! ```
//!
//! The time between readings varies (20 to 50 ms) on purpose: a fixed period can lock onto the 100 ms rhythm of the GPU's
//! sensors and see the same phase of it each time. A fixed rate is possible ([`Period::fixed_hz`]) for those who must
//! sample as another tool does.

mod csv;
mod machine;
mod row;
mod trace;

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use stopwatt_core::clock::{monotonic_raw, thread_cpu};
use stopwatt_core::{Clock, Nanos};

pub use csv::{COLUMNS, Column, Trace};
pub use machine::Machine;
pub use row::{CpuRow, GpuRow, ProcessRow, Row};
pub use trace::{cpu_trace, gpu_trace};

/// Time between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Period {
    /// Varies evenly between two bounds.
    Between(Duration, Duration),
    /// Always the same.
    Fixed(Duration),
}

impl Default for Period {
    fn default() -> Self {
        Self::Between(Duration::from_millis(20), Duration::from_millis(50))
    }
}

impl Period {
    /// A fixed number of readings per second, from 0.1 to 1000; `None` for anything else.
    pub fn fixed_hz(hz: f64) -> Option<Self> {
        (0.1..=1000.0).contains(&hz).then(|| Self::Fixed(Duration::from_secs_f64(1.0 / hz)))
    }

    /// Time before reading `n`. The steps of the golden ratio fill the range evenly in any stretch of readings
    /// (Knuth, TAOCP 3, 6.4), which random numbers would not.
    fn step(self, n: u64) -> Duration {
        match self {
            Self::Fixed(step) => step,
            Self::Between(from, to) => {
                let share = (n as f64 * 0.618_033_988_749_894_8).fract();
                from + to.saturating_sub(from).mul_f64(share)
            }
        }
    }
}

/// What the sampling itself cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Cost {
    /// CPU time of the thread, in seconds.
    pub cpu_s: f64,
    /// Time that it ran, in seconds.
    pub wall_s: f64,
    /// Readings taken.
    pub readings: u64,
    /// Longest time between two readings, in seconds.
    pub longest_gap_s: f64,
    /// Longest time that one reading took, in seconds.
    pub slowest_reading_s: f64,
}

/// What a sampler leaves.
#[derive(Debug)]
pub struct Samples {
    /// Rows in memory, by time.
    pub rows: Vec<Row>,
    /// What the sampling cost.
    pub cost: Cost,
    /// Why the file is not complete; `None` when it is, or when there is none.
    pub write_error: Option<io::Error>,
}

/// A running sampler. Dropping it ends the thread as well, without its results.
#[derive(Debug)]
pub struct Sampler {
    stop: Sender<()>,
    rows: Arc<Mutex<Vec<Row>>>,
    thread: JoinHandle<(Cost, Option<io::Error>)>,
}

impl Sampler {
    /// Reads this machine each `period`; rows go to memory and, as CSV, to `out`.
    pub fn start(machine: Machine, period: Period, out: Option<Trace>) -> io::Result<Self> {
        let (gpus, clock) = (machine.gpus(), machine.clock());
        let mut machine = machine;
        Self::of(move || machine.read(), gpus, clock, period, out)
    }

    /// The same with any reader.
    fn of(
        mut read: impl FnMut() -> Row + Send + 'static,
        gpus: usize,
        clock: Clock,
        period: Period,
        out: Option<Trace>,
    ) -> io::Result<Self> {
        // The header is written here, so that a file that cannot be written fails before anything is measured.
        let mut file = out.map(|out| csv::File::create(out, gpus)).transpose()?;
        let (stop, stopped) = channel::<()>();
        let rows = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&rows);
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(move || {
            let mut cost = Cost::default();
            let mut error = None;
            let begin = monotonic_raw();
            let mut due = begin;
            let mut last = None;
            loop {
                let wait = Duration::from_nanos(u64::try_from(due - monotonic_raw()).unwrap_or(0));
                let ends = !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
                // The last reading is taken when asked to stop, so that the rows reach to the end.
                let before = monotonic_raw();
                let row = read();
                let after = monotonic_raw();
                cost.readings += 1;
                cost.slowest_reading_s = cost.slowest_reading_s.max((after - before) as f64 * 1e-9);
                if let Some(last) = last.replace(before) {
                    cost.longest_gap_s = cost.longest_gap_s.max((before - last) as f64 * 1e-9);
                }
                if let Some(Err(e)) = file.as_mut().map(|f| f.write(&row, clock.from_raw(after), ends)) {
                    error = Some(e);
                    file = None;
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(row);
                if ends {
                    break;
                }
                let step = i64::try_from(period.step(cost.readings).as_nanos()).unwrap_or(i64::MAX / 2);
                // A reader slower than the period is not asked twice in a row to catch up.
                due = (due + step).max(monotonic_raw() + step / 4);
            }
            cost.wall_s = (monotonic_raw() - begin) as f64 * 1e-9;
            cost.cpu_s = thread_cpu().as_secs_f64();
            (cost, error)
        })?;
        Ok(Self { stop, rows, thread })
    }

    /// Rows from `from` up to and including `to`, so far.
    pub fn rows(&self, from: Nanos, to: Nanos) -> Vec<Row> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().filter(|r| (from..=to).contains(&r.t)).cloned().collect()
    }

    /// Drops rows before `t` from memory, for runs of many hours; the file keeps them.
    pub fn forget_before(&self, t: Nanos) {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).retain(|r| r.t >= t);
    }

    /// Takes a last reading, closes the file and hands over what was sampled.
    pub fn stop(self) -> Samples {
        // A thread that has ended already has dropped its end.
        let _ = self.stop.send(());
        let (cost, write_error) = self.thread.join().unwrap_or_else(|_| {
            (Cost::default(), Some(io::Error::other("the sampling thread ended unexpectedly")))
        });
        let rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        Samples { rows, cost, write_error }
    }
}

#[cfg(test)]
mod tests;
