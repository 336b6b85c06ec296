//! A share of a load that several machines make together.
//!
//! Share *i* of *n* takes requests *k* with *k* mod *n* = *i* of the one seeded sequence, at their times, so that the
//! shares together are exactly the undivided load. Nothing is said between them: a common zero of the schedule and the
//! settings are enough to know when each trial of each point begins.

use std::time::Duration;

use stopwatt_core::clock::{monotonic_raw, unix_now};
use stopwatt_core::{Clock, Nanos};
use stopwatt_serving::timestamp;

use super::config::BenchConfig;
use super::error::BenchError;
use super::scenario::{Extent, LoadPlan, Plan, PointPlan};
use super::stretch;

/// Which share of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) index: u32,
    pub(crate) of: u32,
}

impl Share {
    /// The undivided load.
    pub(crate) const WHOLE: Self = Self { index: 0, of: 1 };

    fn parse(text: &str) -> Option<Self> {
        let (index, of) = text.split_once('/')?;
        let share = Self { index: index.trim().parse().ok()?, of: of.trim().parse().ok()? };
        (share.index < share.of).then_some(share)
    }

    /// Place in the whole sequence of this share's `nth` request.
    pub(crate) fn global(self, nth: u64) -> u64 {
        nth * u64::from(self.of) + u64::from(self.index)
    }

    /// Whether this share sends request `global` of the whole.
    pub(crate) fn has(self, global: u64) -> bool {
        global % u64::from(self.of) == u64::from(self.index)
    }

    /// This share of a number of things: the shares add up to `whole`.
    pub(crate) fn part(self, whole: u32) -> u32 {
        whole / self.of + u32::from(self.index < whole % self.of)
    }
}

/// When the trials of a share begin.
#[derive(Debug, Clone)]
pub(crate) struct Sharding {
    pub(crate) share: Share,
    /// Zero of the common schedule, UNIX.
    pub(crate) start_unix_ns: Nanos,
    /// How late a trial may begin.
    pub(crate) tolerance_ns: Nanos,
    /// Begin of each trial of each point, since `t0`.
    begins: Vec<Vec<Nanos>>,
}

impl Sharding {
    /// What the settings say; `None` for a load that is neither shared nor timed.
    pub(crate) fn read(config: &BenchConfig) -> Result<Option<Self>, BenchError> {
        let bad = |setting, problem: &str| BenchError::Setting { setting, problem: problem.to_owned() };
        let load = &config.load;
        let share = match &load.shard {
            Some(text) => Share::parse(text)
                .ok_or_else(|| bad("load.shard", "write i/N with i from 0 to N−1, for instance 0/4"))?,
            None => Share::WHOLE,
        };
        let start_unix_ns = match &load.start_at {
            None if load.shard.is_none() => return Ok(None),
            None => {
                return Err(bad(
                    "load.start_at",
                    "shares of a load need a common start time; give it with --start-at",
                ));
            }
            Some(text) => start_time(text).ok_or_else(|| {
                bad("load.start_at", "write RFC 3339 (2026-11-22T10:00:00Z), UNIX seconds or +10s from now")
            })?,
        };
        if share.of > 1 && load.start_at.as_deref().is_some_and(|t| t.trim_start().starts_with('+')) {
            return Err(bad(
                "load.start_at",
                "a time from now differs between shares; give each the same RFC 3339 time or UNIX seconds",
            ));
        }
        if share.of > 1 && config.target.url.is_none() {
            return Err(bad("target.url", "shares of a load need one engine that all of them reach"));
        }
        let time = |setting, s: f64| {
            Duration::try_from_secs_f64(s)
                .map(|d| stretch::nanos(d.as_secs_f64()))
                .map_err(|_| bad(setting, "it must be a time in seconds, not below 0"))
        };
        let tolerance_ns = time("load.start_tolerance_s", load.start_tolerance_s)?;
        time("load.shard_gap_s", load.shard_gap_s)?;
        Ok(Some(Self { share, start_unix_ns, tolerance_ns, begins: Vec::new() }))
    }

    /// Divides the load of each point and fixes when its trials begin.
    pub(crate) fn divide(
        &mut self,
        plan: &mut Plan,
        config: &BenchConfig,
        clock: Clock,
    ) -> Result<(), BenchError> {
        let bad = |setting, problem: String| BenchError::Setting { setting, problem };
        let several = plan.points.iter().map(|p| p.trials).sum::<u32>() > 1;
        if plan.capacity_concurrency > 0 && self.share.of > 1 {
            let problem = "a share cannot measure the capacity of the whole; give the rates".to_owned();
            return Err(bad("load.rate", problem));
        }
        let gap = stretch::nanos(config.load.shard_gap_s);
        let warmup =
            if config.measure.warmup > 0 { stretch::nanos(config.measure.warmup_max_s) + gap } else { 0 };
        let mut begin = self.start_unix_ns - clock.t0_unix_ns;
        for (index, point) in plan.points.iter_mut().enumerate() {
            if index > 0 {
                begin += warmup;
            }
            let mut begins = Vec::new();
            for trial in 0..point.trials {
                begins.push(begin);
                match length(config, point, index as u32, trial) {
                    Some(ns) => begin += ns + gap,
                    None if several => {
                        let problem = "trials of a shared closed loop need a length; give it with --duration"
                            .to_owned();
                        return Err(bad("measure.duration_s", problem));
                    }
                    None => {}
                }
            }
            self.begins.push(begins);
            match &mut point.load {
                LoadPlan::Closed { concurrency } => {
                    let part = self.share.part(*concurrency);
                    if part == 0 {
                        let problem =
                            format!("{concurrency} streams cannot be shared by {} machines", self.share.of);
                        return Err(bad("load.concurrency", problem));
                    }
                    *concurrency = part;
                    point.planned.concurrency = Some(part);
                }
                LoadPlan::Open { rate, .. } => {
                    point.planned.rate_rps = Some(*rate / f64::from(self.share.of))
                }
                LoadPlan::ShareOfCapacity { .. } => {}
            }
        }
        Ok(())
    }

    /// When a trial begins, since `t0`.
    pub(crate) fn begin(&self, point: u32, trial: u32) -> Option<Nanos> {
        self.begins.get(point as usize)?.get(trial as usize).copied()
    }

    /// What makes the prompts of this run differ from those of others, and equal in all shares.
    pub(crate) fn salt(&self) -> u64 {
        self.start_unix_ns.unsigned_abs()
    }
}

/// How long sending goes on in a trial; `None` when only the engine can tell.
fn length(config: &BenchConfig, point: &PointPlan, index: u32, trial: u32) -> Option<Nanos> {
    match point.extent {
        Extent::Time(d) => Some(stretch::nanos(d.as_secs_f64())),
        Extent::Requests(n) => {
            let last = usize::try_from(n).ok()?.checked_sub(1)?;
            stretch::schedule(config, point, index, trial).ok()??.nth(last)
        }
    }
}

/// RFC 3339, UNIX seconds, or `+10s` from now; in UNIX nanoseconds.
fn start_time(text: &str) -> Option<Nanos> {
    let text = text.trim();
    let seconds = |t: &str| t.parse::<f64>().ok().filter(|s| s.is_finite() && (0.0..9e9).contains(s));
    if let Some(wait) = text.strip_prefix('+') {
        return Some(unix_now() + stretch::nanos(seconds(wait.trim_end_matches('s'))?));
    }
    if let Some(ns) = timestamp::parse(text) {
        return Some(ns);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    // Not through a float, whose steps are 200 ns at this size.
    if !digits(whole) || !digits(fraction) || whole.is_empty() || whole.len() > 10 || fraction.len() > 9 {
        return None;
    }
    whole
        .parse::<Nanos>()
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(format!("{fraction:0<9}").parse().ok()?)
}

/// How well the wall clock and the monotonic one can be read together now.
pub(crate) fn clock_error() -> Nanos {
    (0..5)
        .map(|_| {
            let before = monotonic_raw();
            let _ = unix_now();
            monotonic_raw() - before
        })
        .min()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_whole() {
        for of in 1..7 {
            let shares: Vec<Share> = (0..of).map(|index| Share { index, of }).collect();
            assert_eq!(shares.iter().map(|s| s.part(10)).sum::<u32>(), 10);
            let mut all: Vec<u64> =
                shares.iter().flat_map(|s| (0..).map(|n| s.global(n)).take_while(|&g| g < 20)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..20).collect::<Vec<_>>());
            assert!((0..20).all(|g| shares.iter().filter(|s| s.has(g)).count() == 1));
        }
        assert_eq!(Share::parse("1/4"), Some(Share { index: 1, of: 4 }));
        for text in ["4/4", "1", "-1/2", "0/0", "a/b", ""] {
            assert_eq!(Share::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_start_time_is_read_in_every_form() {
        assert_eq!(start_time("2026-11-22T06:15:30Z"), Some(1_795_328_130_000_000_000));
        assert_eq!(start_time("1795328130"), Some(1_795_328_130_000_000_000));
        assert_eq!(start_time("1795328130.000000001"), Some(1_795_328_130_000_000_001));
        let soon = start_time("+10s").unwrap() - unix_now();
        assert!((9_000_000_000..=10_000_000_000).contains(&soon), "{soon}");
        for text in ["", "now", "+", "10:00", "-5", "17953281300000"] {
            assert_eq!(start_time(text), None, "{text}");
        }
    }
}
