//! Hardware counters of the CPU (`perf_event_open`): cycles, instructions, the last cache's references and misses, and
//! reads and read misses of the first-level data cache.
//!
//! The generic events `cache-references` and `cache-misses` are the last cache's on x86 and most ARM cores. A CPU has
//! only a few counters, so the kernel lets events take turns: a count is scaled by time enabled ÷ time running, and the
//! smallest share is told ([`CpuTrial::counted_share`]), since a small one makes the scaled value an estimate.
//!
//! Virtual machines and containers often have none of this; then there is a reason and no number.

use std::fs;
use std::io;

use perf_event::events::{Cache, CacheId, CacheOp, CacheResult, Hardware};
use perf_event::{Builder, Counter, ReadFormat};
use stopwatt_core::cpu_counters::CpuTrial;

use crate::{Unavailable, host};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A process and all below it: every thread there is now, and what these start later.
    Tree(u32),
    /// Every CPU; needs `perf_event_paranoid` ≤ 0 or CAP_PERFMON.
    Machine,
}

/// What can be counted.
#[derive(Debug, Clone, Copy)]
enum Event {
    Hardware(Hardware),
    L1d(CacheResult),
}

const EVENTS: [Event; 6] = [
    Event::Hardware(Hardware::CPU_CYCLES),
    Event::Hardware(Hardware::INSTRUCTIONS),
    Event::L1d(CacheResult::ACCESS),
    Event::L1d(CacheResult::MISS),
    Event::Hardware(Hardware::CACHE_REFERENCES),
    Event::Hardware(Hardware::CACHE_MISSES),
];

/// Open counters.
pub struct CpuCounters {
    /// One list an event, in the order of [`EVENTS`]; one counter a thread or CPU.
    counters: [Vec<Counter>; EVENTS.len()],
}

impl CpuCounters {
    /// Opens and starts the counters.
    pub fn open(scope: Scope) -> Result<Self, Unavailable> {
        let mut counters: [Vec<Counter>; EVENTS.len()] = Default::default();
        let targets = Target::all(scope)?;
        let mut refused = None;
        for (event, list) in EVENTS.into_iter().zip(&mut counters) {
            for target in &targets {
                match target.open(event) {
                    Ok(counter) => list.push(counter),
                    // A thread may end between the list and here.
                    Err(e) if e.raw_os_error() == Some(ESRCH) => {}
                    Err(e) => {
                        refused = Some(e);
                        list.clear();
                        break;
                    }
                }
            }
        }
        if counters.iter().all(Vec::is_empty) {
            let pid = if let Scope::Tree(pid) = scope { pid } else { 0 };
            return Err(refused.map_or(Unavailable::NoProcess { pid }, |e| reason(&e)));
        }
        Ok(Self { counters })
    }

    /// Counts since opening.
    pub fn read(&mut self) -> Result<CpuTrial, Unavailable> {
        let mut share: Option<f64> = None;
        let mut sums = [None; EVENTS.len()];
        for (list, sum) in self.counters.iter_mut().zip(&mut sums) {
            for counter in list {
                let read = counter.read_count_and_time().map_err(|e| reason(&e))?;
                let (count, counted) = scaled(read.count, read.time_enabled, read.time_running);
                *sum = count.map(|c| sum.unwrap_or(0.0) + c).or(*sum);
                share = counted.map(|c| share.map_or(c, |s| s.min(c))).or(share);
            }
        }
        let [cycles, instructions, l1d_reads, l1d_read_misses, llc_references, llc_misses] = sums;
        let counted_share = share;
        Ok(CpuTrial {
            cycles,
            instructions,
            l1d_reads,
            l1d_read_misses,
            llc_references,
            llc_misses,
            counted_share,
        })
    }
}

/// A count scaled to the whole time, and the share in which it was counted. A thread that has not run yet has counted
/// nothing in no time: that is 0. One that ran and was never counted is unknown.
fn scaled(count: u64, enabled: u64, running: u64) -> (Option<f64>, Option<f64>) {
    match (enabled, running) {
        (0, _) => (Some(0.0), None),
        (_, 0) => (None, Some(0.0)),
        _ => {
            let share = running as f64 / enabled as f64;
            (Some(count as f64 / share), Some(share.min(1.0)))
        }
    }
}

enum Target {
    Thread(i32),
    Cpu(usize),
}

impl Target {
    fn all(scope: Scope) -> Result<Vec<Self>, Unavailable> {
        match scope {
            Scope::Machine => Ok((0..host::online_cpus()).map(Self::Cpu).collect()),
            Scope::Tree(pid) => {
                let threads: Vec<_> =
                    host::tree(pid).into_iter().flat_map(host::threads).map(Self::Thread).collect();
                if threads.is_empty() { Err(Unavailable::NoProcess { pid }) } else { Ok(threads) }
            }
        }
    }

    fn open(&self, event: Event) -> io::Result<Counter> {
        let mut builder = match event {
            Event::Hardware(event) => Builder::new(event),
            Event::L1d(result) => {
                Builder::new(Cache { which: CacheId::L1D, operation: CacheOp::READ, result })
            }
        };
        builder
            .read_format(ReadFormat::TOTAL_TIME_ENABLED | ReadFormat::TOTAL_TIME_RUNNING)
            .enabled(true)
            .exclude_hv(true);
        match self {
            // Inherited counters also count what the thread starts from now on.
            Self::Thread(tid) => builder.observe_pid(*tid).inherit(true).exclude_kernel(true).build(),
            Self::Cpu(cpu) => builder.any_pid().one_cpu(*cpu).include_kernel().build(),
        }
    }
}

// Numbers of errno(3) on Linux; these are equal on every architecture.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EACCES: i32 = 13;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;

fn reason(error: &io::Error) -> Unavailable {
    match error.raw_os_error() {
        Some(EPERM | EACCES) => Unavailable::PerfParanoid { level: paranoid() },
        Some(ENOENT | ENODEV | EINVAL | ENOSYS | EOPNOTSUPP) => {
            Unavailable::NotSupported { what: "hardware counters of the CPU" }
        }
        _ => Unavailable::Step { step: "perf_event_open", code: error.to_string() },
    }
}

/// The kernel's restriction, from -1 (none) to 2 and, on some distributions, 3 or 4.
fn paranoid() -> String {
    fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")
        .map_or_else(|_| "unknown".to_owned(), |t| t.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_scaled_by_the_time_it_was_counted() {
        assert_eq!(scaled(100, 1000, 250), (Some(400.0), Some(0.25)));
        assert_eq!(scaled(7, 1000, 1000), (Some(7.0), Some(1.0)));
        assert_eq!(scaled(0, 0, 0), (Some(0.0), None));
        assert_eq!(scaled(0, 1000, 0), (None, Some(0.0)), "never counted is not zero");
    }

    #[test]
    fn refusals_are_reasons() {
        assert!(matches!(reason(&io::Error::from_raw_os_error(EACCES)), Unavailable::PerfParanoid { .. }));
        assert!(matches!(reason(&io::Error::from_raw_os_error(ENOENT)), Unavailable::NotSupported { .. }));
    }

    #[test]
    fn this_machine_counts_or_says_why_not() {
        match CpuCounters::open(Scope::Tree(std::process::id())) {
            Ok(mut counters) => {
                let work: u64 = (0..1_000_000u64).map(std::hint::black_box).sum();
                std::hint::black_box(work);
                let counts = counters.read().unwrap();
                // Some CPUs have no cache events; a counter that never got its turn is unknown.
                assert!(counts.counted_share.is_some(), "{counts:?}");
            }
            Err(e) => assert!(matches!(
                e,
                Unavailable::PerfParanoid { .. }
                    | Unavailable::NotSupported { .. }
                    | Unavailable::Step { .. }
            )),
        }
    }

    #[test]
    fn a_process_that_does_not_exist_has_no_counters() {
        let pid = u32::try_from(i32::MAX).unwrap();
        assert_eq!(CpuCounters::open(Scope::Tree(pid)).err(), Some(Unavailable::NoProcess { pid }));
    }
}
