//! One clock for every stamp: nanoseconds of CLOCK_MONOTONIC since `t0`.
//!
//! Each process reads the same kernel clock, so a child's raw monotonic stamps join with the parent's once `t0`
//! is known. The wall clock is read only to name runs and to state the offset at start and end.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stamp, in nanoseconds. Since `t0` of the run unless a name says *raw*.
pub type Nanos = i64;

/// A stamp that may be missing, in eight bytes instead of the sixteen of `Option<Nanos>`. The least number stands for
/// none: as a stamp it would lie 292 years before `t0`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Nanos>", into = "Option<Nanos>")]
pub struct OptionalNanos(Nanos);

impl OptionalNanos {
    /// The stamp, when there is one.
    pub fn get(self) -> Option<Nanos> {
        Option::from(self)
    }
}

impl From<Option<Nanos>> for OptionalNanos {
    fn from(stamp: Option<Nanos>) -> Self {
        Self(stamp.unwrap_or(Nanos::MIN))
    }
}

impl From<OptionalNanos> for Option<Nanos> {
    fn from(OptionalNanos(ns): OptionalNanos) -> Self {
        (ns != Nanos::MIN).then_some(ns)
    }
}

impl fmt::Debug for OptionalNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Nanoseconds of CLOCK_MONOTONIC, comparable between processes of one boot.
pub fn monotonic_raw() -> Nanos {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec * 1_000_000_000 + t.tv_nsec as i64
}

/// Nanoseconds since the UNIX epoch.
pub fn unix_now() -> Nanos {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    t.tv_sec * 1_000_000_000 + t.tv_nsec as i64
}

/// Resolution of CLOCK_MONOTONIC as the kernel states it.
pub fn monotonic_resolution() -> Duration {
    let t = rustix::time::clock_getres(rustix::time::ClockId::Monotonic);
    Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// CPU time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// The zero of a run on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// Raw monotonic nanoseconds at `t0`.
    pub t0_monotonic_ns: Nanos,
    /// UNIX nanoseconds at `t0`.
    pub t0_unix_ns: Nanos,
}

impl Clock {
    /// Starts a clock now. The two readings are taken around each other to halve their offset, and a few times, since
    /// the process may lose the CPU in between.
    pub fn start() -> Self {
        let read = || {
            let before = monotonic_raw();
            let t0_unix_ns = unix_now();
            let apart = monotonic_raw() - before;
            (apart, Self { t0_monotonic_ns: before + apart / 2, t0_unix_ns })
        };
        let first = read();
        (0..4).map(|_| read()).fold(first, |best, next| if next.0 < best.0 { next } else { best }).1
    }

    /// Nanoseconds since `t0`.
    #[inline]
    pub fn now(&self) -> Nanos {
        monotonic_raw() - self.t0_monotonic_ns
    }

    /// Converts a raw monotonic stamp.
    pub fn from_raw(&self, raw: Nanos) -> Nanos {
        raw - self.t0_monotonic_ns
    }

    /// How far the wall clock has moved against the monotonic one since `t0`; a large value is a clock step.
    pub fn wall_drift(&self) -> Nanos {
        (unix_now() - self.t0_unix_ns) - self.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_never_decrease_and_start_near_zero() {
        let clock = Clock::start();
        let first = clock.now();
        let second = clock.now();
        assert!((0..1_000_000_000).contains(&first));
        assert!(second >= first);
        assert_eq!(clock.from_raw(clock.t0_monotonic_ns + 5), 5);
    }
}
