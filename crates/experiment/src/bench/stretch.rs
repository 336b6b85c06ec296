//! A stretch of load: one phase of one trial, sent at one pace.

use std::time::Duration;

use stopwatt_core::log::Fact;
use stopwatt_core::verdict::{Code, Remark};
use stopwatt_core::{Nanos, Phase, RequestRecord};
use stopwatt_load::{Client, Completed, Drain, Ended, Limits, Outcome, Pace};
use stopwatt_serving::arrival::{ArrivalProcess, ArrivalSpec};
use stopwatt_serving::workload::Workload;

use super::config::{ArrivalKind, BenchConfig};
use super::error::BenchError;
use super::prompts::Place;
use super::scenario::{Extent, LoadPlan, PointPlan};
use super::session::Session;
use super::shard::{Share, clock_error};
use super::talks::Talks;

/// One stretch of load.
pub(super) struct Stretch<'a> {
    pub(super) point: u32,
    pub(super) trial: u32,
    pub(super) phase: Phase,
    pub(super) workload: &'a Workload,
    pub(super) pace: Pace,
    /// Requests to send; `None` when time ends it.
    pub(super) count: Option<u64>,
    /// The first of them only fill the engine: they are recorded as warm-up.
    pub(super) settle: u64,
    pub(super) max_duration: Option<Duration>,
}

impl Session<'_> {
    /// A closed loop of unmeasured requests until `enough` says so.
    pub(super) fn closed(
        &self,
        point: u32,
        workload: &Workload,
        concurrency: u32,
        client: &mut Client,
        next_id: &mut u64,
        enough: &mut (dyn FnMut(&RequestRecord) -> bool + Send),
    ) -> Result<Outcome, BenchError> {
        let stretch = Stretch {
            point,
            trial: 0,
            phase: Phase::Warmup,
            workload,
            pace: Pace::Closed { concurrency: concurrency as usize },
            count: None,
            settle: 0,
            max_duration: None,
        };
        self.send(stretch, client, next_id, enough)
    }

    pub(super) fn pace(&self, point: &PointPlan, index: u32, trial: u32) -> Result<Pace, BenchError> {
        if let LoadPlan::Closed { concurrency } = point.load {
            return Ok(Pace::Closed { concurrency: concurrency as usize });
        }
        let share = self.share();
        let whole =
            schedule(self.config, point, index, trial)?.unwrap_or_else(|| Box::new(std::iter::empty()));
        let arrivals: Arrivals = match point.extent {
            Extent::Requests(n) => {
                Box::new(whole.take(usize::try_from(n + point.settle).unwrap_or(usize::MAX)))
            }
            Extent::Time(_) => whole,
        };
        let arrivals = Box::new(arrivals.skip(share.index as usize).step_by(share.of as usize));
        let most = self.config.load.max_in_flight.map(|n| share.part(n).max(1) as usize);
        Ok(Pace::Open { arrivals, max_in_flight: most })
    }

    fn share(&self) -> Share {
        self.sharding.map_or(Share::WHOLE, |s| s.share)
    }

    /// When the stretch begins by the common schedule. A share that is not ready by then says so.
    fn common_start(&self, stretch: &Stretch<'_>) -> Result<Option<Nanos>, BenchError> {
        let Some(sharding) = self.sharding.filter(|_| stretch.phase == Phase::Measure) else {
            return Ok(None);
        };
        let Some(begin) = sharding.begin(stretch.point, stretch.trial) else { return Ok(None) };
        let late_ns = (self.clock.now() - begin).max(0);
        if stretch.point == 0 && stretch.trial == 0 && sharding.share.of > 1 {
            self.writer.log(Fact::Shard {
                index: sharding.share.index,
                of: sharding.share.of,
                start_unix_ns: sharding.start_unix_ns,
                late_ns,
                clock_error_ns: clock_error(),
                synchronised: stopwatt_sensor::host::clock_synchronised(),
                boot: stopwatt_sensor::host::boot(),
            })?;
        }
        if late_ns > 0 {
            let seconds = |ns: Nanos| format!("{:.3}", ns as f64 * 1e-9);
            let (trial, point) = ((stretch.trial + 1).to_string(), (stretch.point + 1).to_string());
            let values = [trial, point, seconds(late_ns), seconds(sharding.tolerance_ns)];
            let remark = Remark::new(Code::LateStart, values);
            self.writer.log(Fact::weighted_warning(&remark, late_ns > sharding.tolerance_ns))?;
        }
        Ok(Some(begin))
    }

    /// Seed of the lengths of a stretch.
    pub(super) fn shape_seed(&self, stretch: &Stretch<'_>) -> u64 {
        let warm_up = u64::from(stretch.phase == Phase::Warmup) << 60;
        stretch_seed(self.config.seed, stretch.point, stretch.trial) ^ warm_up
    }

    /// Sends one stretch. `seen` is called for each ended request and may say that it is enough.
    pub(super) fn send(
        &self,
        stretch: Stretch<'_>,
        client: &mut Client,
        next_id: &mut u64,
        seen: &mut (dyn FnMut(&RequestRecord) -> bool + Send),
    ) -> Result<Outcome, BenchError> {
        let measure = &self.config.measure;
        let shape_seed = self.shape_seed(&stretch);
        let place = Place {
            point: stretch.point,
            trial: stretch.trial,
            phase: stretch.phase,
            first_id: *next_id,
            shape_seed,
            share: self.share(),
            first_entry: first_entry(&stretch, measure.repeats),
        };
        let workload = stretch.workload;
        let converses = workload.dialogue.is_some() && stretch.phase == Phase::Measure;
        let talks = converses
            .then(|| Talks::new(self.prompts, workload, place, stretch.count, self.capabilities.max_context));
        let limits = Limits {
            connect_timeout: Duration::from_secs_f64(measure.connect_timeout_s),
            idle_timeout: Duration::from_secs_f64(measure.idle_timeout_s),
            total_timeout: Duration::from_secs_f64(measure.timeout_s),
            start_at: self.common_start(&stretch)?,
            max_duration: stretch.max_duration,
            drain: Drain::Wait,
            keep_text: self.prompts.wants_text() || talks.is_some(),
            keep_chunks: true,
        };
        let Stretch { pace, count, settle, .. } = stretch;
        let mut jobs = |nth: u64| match &talks {
            Some(talks) => talks.begin(),
            None if count.is_some_and(|n| place.share.global(nth) >= n) => None,
            None => Some(self.prompts.job(workload, place, nth)),
        };
        let settled = *next_id + settle;
        let mut on_done = |done: Completed| {
            let mut record = self.prompts.count_tokens(done);
            if record.id < settled {
                record.phase = Phase::Warmup;
            }
            if seen(&record) || self.engine_is_gone() {
                self.stop.enough();
            }
            if let Err(error) = self.writer.push(record) {
                let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failure.get_or_insert(error);
                // Nothing measured from here on could be kept.
                self.stop.interrupt();
            }
        };
        let outcome = match &talks {
            None => client.run(pace, &mut jobs, &limits, self.stop, self.clock, &mut on_done)?,
            Some(talks) => {
                let mut then = |done: Completed| {
                    let follow = talks.follow(&done);
                    on_done(done);
                    follow
                };
                client.converse(pace, &mut jobs, &limits, self.stop, self.clock, &mut then)?
            }
        };
        *next_id = talks.as_ref().map_or(*next_id + outcome.sent, Talks::next_id);
        if let Some(cut) = talks.as_ref().map(Talks::cut).filter(|&n| n > 0) {
            self.writer.log(Fact::warning(&Remark::new(Code::ConversationsCut, [cut.to_string()])))?;
        }
        if outcome.ended == Ended::Interrupted {
            self.take_failure()?;
        }
        Ok(outcome)
    }
}

/// Send times since the begin of a schedule.
pub(super) type Arrivals = Box<dyn Iterator<Item = Nanos> + Send>;

/// The send times of a trial, of all shares together; `None` in a closed loop.
pub(super) fn schedule(
    config: &BenchConfig,
    point: &PointPlan,
    index: u32,
    trial: u32,
) -> Result<Option<Arrivals>, BenchError> {
    let (arrival, rate) = match point.load {
        LoadPlan::Closed { .. } => return Ok(None),
        LoadPlan::Open { arrival, rate } => (arrival, rate),
        LoadPlan::ShareOfCapacity { arrival, share } => (arrival, share),
    };
    match process(config, arrival, rate, point.extent)? {
        None => {
            let recorded = point.workload.recorded.clone();
            let times = (0..).map_while(move |i| recorded.as_ref()?.entries().get(i)?.at_ns);
            Ok(Some(Box::new(times)))
        }
        Some(process) => Ok(Some(Box::new(process.offsets(stretch_seed(config.seed, index, trial))))),
    }
}

/// The process of an open loop; `None` where the trace has the times.
pub(super) fn process(
    config: &BenchConfig,
    arrival: ArrivalKind,
    rate: f64,
    extent: Extent,
) -> Result<Option<ArrivalProcess>, BenchError> {
    let load = &config.load;
    let burstiness = load.burstiness.unwrap_or(1.0);
    let spec = match arrival {
        ArrivalKind::Trace => return Ok(None),
        ArrivalKind::Constant | ArrivalKind::Closed => ArrivalSpec::Constant { rate_rps: rate },
        ArrivalKind::Poisson => ArrivalSpec::Poisson { rate_rps: rate },
        ArrivalKind::Gamma => ArrivalSpec::Gamma { rate_rps: rate, burstiness },
        ArrivalKind::Ramp => {
            let end = load.rate_end.unwrap_or(rate);
            let duration_s = match extent {
                Extent::Time(d) => d.as_secs_f64(),
                // As long as the mean rate needs for the requests.
                Extent::Requests(n) => 2.0 * n as f64 / (rate + end),
            };
            ArrivalSpec::Ramp { from_rps: rate, to_rps: end, duration_s, spacing: Default::default() }
        }
    };
    ArrivalProcess::try_from(spec).map(Some).map_err(|source| BenchError::Arrival { source })
}

/// The recorded entry that a stretch begins with: a replay begins with the first; other trials go on where the one
/// before stopped, so that prompts repeat only when there are too few; warm-up begins far from all of them.
fn first_entry(stretch: &Stretch<'_>, repeats: u32) -> u64 {
    let Some(recorded) = &stretch.workload.recorded else { return 0 };
    match (stretch.phase, recorded.is_timed()) {
        (Phase::Measure, true) => 0,
        (Phase::Measure, false) => {
            let stretches = u64::from(stretch.point) * u64::from(repeats) + u64::from(stretch.trial);
            stretches * stretch.count.unwrap_or(recorded.len() / 8)
        }
        (Phase::Warmup, _) => recorded.len().saturating_sub(64.min(recorded.len() / 2)),
    }
}

/// Seconds as nanoseconds.
pub(super) fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9) as Nanos
}

/// One seed for each stretch of load, so that no two share arrivals.
pub(super) fn stretch_seed(seed: u64, point: u32, trial: u32) -> u64 {
    seed ^ (u64::from(point) << 40) ^ (u64::from(trial) << 20)
}
