//! When a read's bytes arrived: by the kernel where that can be known, else by the clock right after the read.
//!
//! The kernel stamps in CLOCK_REALTIME, which runs as CLOCK_MONOTONIC does but may be set. Their offset is therefore
//! sampled at every wake-up, and a wake-up in which it has moved uses no kernel stamp. A kernel stamp is used when it
//! lies between two moments that bound the truth:
//!
//! - not after the read;
//! - not before the wait before the last one. That wait did not report the socket, so what is read now was not
//!   readable then. A segment that had to wait for the retransmission of an earlier one has an older stamp, and
//!   counting from it would show the network faster than it was.
//!
//! When a read holds several segments the stamp is that of the last one: of the pieces before it, an upper bound that
//! is still nearer than the time of the read. [`ReadStamps::joined`] counts reads of more than one piece.

use std::io;

use stopwatt_core::Nanos;
use stopwatt_core::clock::{Clock, unix_now};
use stopwatt_core::log::ReadStamps;

use crate::socket;
use crate::target::Target;

/// Longest time between two readings of a clock that may frame a reading of the other.
const SAMPLE_WIDTH: Nanos = 5_000;
/// Change of the offset that is a step of the wall clock and not a matter of sampling.
const STEP: Nanos = 20_000;

/// Whether kernel stamps are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KernelStamps {
    /// Where the system has them and the connection is not encrypted.
    #[default]
    Auto,
    /// Never.
    Off,
}

impl KernelStamps {
    /// Whether connections to a target can have kernel stamps; the error says why not.
    pub fn available(target: &Target) -> io::Result<()> {
        if target.is_https() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the connection is encrypted"));
        }
        let domain = rustix::net::AddressFamily::INET;
        let socket = rustix::net::socket(domain, rustix::net::SocketType::STREAM, None)?;
        socket::ask_for_stamps(&socket)
    }
}

/// Judges stamps and counts what was used.
#[derive(Debug)]
pub(crate) struct Stamps {
    clock: Clock,
    /// UNIX time less the time of the run; `None` before the first good sample.
    offset: Option<Nanos>,
    /// The wall clock was set since the last wake-up.
    stepped: bool,
    /// Begin of the last wait, and of the one before it.
    waits: [Nanos; 2],
    /// Counts; the lags are filled in at the end.
    counts: ReadStamps,
    lags: Lags,
}

impl Stamps {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            offset: None,
            stepped: false,
            waits: [Nanos::MAX; 2],
            counts: ReadStamps::default(),
            lags: Lags::default(),
        }
    }

    /// A wait for sockets begins now.
    pub(crate) fn before_wait(&mut self) {
        let before = self.clock.now();
        let wall = unix_now();
        let after = self.clock.now();
        self.sample(before, wall, after);
    }

    fn sample(&mut self, before: Nanos, wall: Nanos, after: Nanos) {
        self.waits = [after, self.waits[0]];
        self.stepped = false;
        // Interrupted in between: the old offset stands, a step shows at the next sample.
        if after - before > SAMPLE_WIDTH {
            return;
        }
        let offset = wall - (before + (after - before) / 2);
        if self.offset.is_some_and(|old| (offset - old).abs() > STEP) {
            self.stepped = true;
            self.counts.clock_steps += 1;
        }
        self.offset = Some(offset);
    }

    /// When what was read arrived: `kernel` in UNIX time, if that can be trusted, else `user`, the time after the read.
    #[inline]
    pub(crate) fn judge(&mut self, kernel: Option<Nanos>, user: Nanos) -> Nanos {
        let arrived = kernel.zip(self.offset).map(|(wall, offset)| wall - offset);
        match arrived.filter(|t| !self.stepped && (self.waits[1]..=user).contains(t)) {
            Some(t) => {
                self.counts.kernel += 1;
                self.lags.add(user - t);
                t
            }
            None => {
                self.counts.user += 1;
                user
            }
        }
    }

    /// The last read held so many pieces of an answer.
    #[inline]
    pub(crate) fn note_pieces(&mut self, pieces: u32) {
        self.counts.pieces += u64::from(pieces);
        self.counts.joined += u64::from(pieces > 1);
    }

    /// What was counted so far, without lags.
    pub(crate) fn counts(&self) -> &ReadStamps {
        &self.counts
    }

    /// When the last wait began.
    pub(crate) fn last_wait(&self) -> Nanos {
        self.waits[0]
    }

    /// What was used so far.
    pub(crate) fn summary(&self) -> ReadStamps {
        let seconds = |ns: Option<Nanos>| ns.map(|ns| ns as f64 * 1e-9);
        ReadStamps {
            lag_p50_s: seconds(self.lags.quantile(0.5)),
            lag_p99_s: seconds(self.lags.quantile(0.99)),
            lag_max_s: seconds((self.lags.count > 0).then_some(self.lags.max)),
            ..self.counts
        }
    }
}

/// Bits of a lag that are kept below its highest: a bucket is at most 1/16 wide.
const PRECISION: u32 = 4;
/// Buckets for every lag below 2^40 ns, 18 minutes.
const BUCKETS: usize = (40 - PRECISION as usize) << PRECISION;

/// Lags in buckets of equal relative width: what is kept does not grow with the run.
#[derive(Debug)]
struct Lags {
    buckets: Box<[u32; BUCKETS]>,
    count: u64,
    max: Nanos,
}

impl Default for Lags {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, max: 0 }
    }
}

impl Lags {
    #[inline]
    fn add(&mut self, lag: Nanos) {
        let at = bucket(lag.unsigned_abs());
        self.buckets[at] = self.buckets[at].saturating_add(1);
        self.count += 1;
        self.max = self.max.max(lag);
    }

    /// Upper edge of the bucket in which a share `p` of all lags is reached, at most the largest lag.
    fn quantile(&self, p: f64) -> Option<Nanos> {
        let wanted = (p * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.buckets.iter().position(|n| {
            seen += u64::from(*n);
            seen >= wanted
        })?;
        Some(upper_edge(at).min(self.max))
    }
}

fn bucket(lag: u64) -> usize {
    let low = 1 << PRECISION;
    if lag < low {
        return lag as usize;
    }
    let shift = lag.ilog2() - PRECISION;
    let at = ((u64::from(shift) + 1) << PRECISION) + (lag >> shift) - low;
    (at as usize).min(BUCKETS - 1)
}

/// Largest lag that falls into a bucket.
fn upper_edge(at: usize) -> Nanos {
    let (row, column) = (at >> PRECISION, at & ((1 << PRECISION) - 1));
    if row == 0 {
        return at as Nanos;
    }
    let shift = row - 1;
    (((1 << PRECISION) + column + 1) << shift) as Nanos - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Nanos = 1_700_000_000_000_000_000;

    /// After two waits at `first` and `second`, with the wall clock this much ahead of the run's.
    fn woken(first: Nanos, second: Nanos) -> Stamps {
        let mut stamps = Stamps::new(Clock { t0_monotonic_ns: 0, t0_unix_ns: WALL });
        for t in [first, second] {
            stamps.sample(t - 100, WALL + t - 50, t);
        }
        stamps
    }

    #[test]
    fn a_stamp_inside_its_bounds_is_used_and_its_lag_counted() {
        let mut stamps = woken(1_000_000, 2_000_000);
        assert_eq!(stamps.judge(Some(WALL + 2_100_000), 2_500_000), 2_100_000);
        let summary = stamps.summary();
        assert_eq!((summary.kernel, summary.user, summary.clock_steps), (1, 0, 0));
        assert_eq!(summary.lag_max_s, Some(0.0004));
        assert_eq!(summary.lag_p50_s, Some(0.0004));
    }

    #[test]
    fn a_stamp_outside_its_bounds_is_not() {
        let mut stamps = woken(1_000_000, 2_000_000);
        // After the read, as when the wall clock was just set forward.
        assert_eq!(stamps.judge(Some(WALL + 2_600_000), 2_500_000), 2_500_000);
        // Out of order: it lay in the kernel before the last wait but one, which did not find it readable.
        assert_eq!(stamps.judge(Some(WALL + 900_000), 2_500_000), 2_500_000);
        assert_eq!(stamps.judge(None, 2_500_000), 2_500_000);
        assert_eq!((stamps.summary().kernel, stamps.summary().user), (0, 3));
        assert_eq!(stamps.summary().lag_p99_s, None);
    }

    #[test]
    fn nothing_is_used_before_two_waits() {
        let mut stamps = Stamps::new(Clock { t0_monotonic_ns: 0, t0_unix_ns: WALL });
        assert_eq!(stamps.judge(Some(WALL + 5), 10), 10);
        stamps.sample(0, WALL + 50, 100);
        assert_eq!(stamps.judge(Some(WALL + 150), 200), 200);
    }

    #[test]
    fn a_step_of_the_wall_clock_drops_the_stamps_of_its_wake_up() {
        for step in [-3_600_000_000_000, 50_000, 1_000_000_000] {
            let mut stamps = woken(1_000_000, 2_000_000);
            stamps.sample(2_999_900, WALL + step + 2_999_950, 3_000_000);
            assert_eq!(stamps.judge(Some(WALL + 2_900_000), 3_100_000), 3_100_000, "stamped before the step");
            stamps.sample(3_999_900, WALL + step + 3_999_950, 4_000_000);
            assert_eq!(stamps.judge(Some(WALL + step + 3_900_000), 4_100_000), 3_900_000, "{step}");
            assert_eq!(stamps.summary().clock_steps, 1);
        }
    }

    #[test]
    fn a_sample_that_was_interrupted_changes_nothing() {
        let mut stamps = woken(1_000_000, 2_000_000);
        stamps.sample(2_000_000, WALL + 2_900_000, 3_000_000);
        assert_eq!(stamps.judge(Some(WALL + 2_950_000), 3_100_000), 2_950_000);
        assert_eq!(stamps.summary().clock_steps, 0);
    }

    #[test]
    fn buckets_are_narrow_and_in_order() {
        let mut last = 0;
        for lag in (0..300).chain((9..39).flat_map(|e| [(1 << e) - 1, 1 << e, (1 << e) + (1 << (e - 2))])) {
            let at = bucket(lag);
            assert!(at >= last && at < BUCKETS, "{lag}");
            last = at;
            let upper = upper_edge(at) as u64;
            assert!(upper >= lag && upper <= lag + lag / 16, "{lag}: {upper}");
            assert_eq!(bucket(upper), at);
            assert_eq!(bucket(upper + 1), at + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_known_lags() {
        let mut lags = Lags::default();
        (1..=1000).for_each(|us| lags.add(us * 1000));
        for (p, exact) in [(0.5, 500_000), (0.99, 990_000), (1.0, 1_000_000)] {
            let got = lags.quantile(p).unwrap();
            assert!((exact..=exact + exact / 16).contains(&got), "{p}: {got}");
        }
        assert_eq!(lags.quantile(1.0), Some(1_000_000));
    }
}
