//! A stretch of load: one phase of one trial, sent at one pace.

use std::time::Duration;

use stopwatt_core::{Nanos, Phase, RequestRecord};
use stopwatt_load::{Client, Completed, Drain, Ended, Limits, Outcome, Pace};
use stopwatt_serving::arrival::{ArrivalProcess, ArrivalSpec};
use stopwatt_serving::workload::Workload;

use super::config::ArrivalKind;
use super::error::BenchError;
use super::prompts::Place;
use super::scenario::{Extent, LoadPlan, PointPlan};
use super::session::Session;
use super::warmup::Enough;

/// One stretch of load.
pub(super) struct Stretch<'a> {
    pub(super) point: u32,
    pub(super) trial: u32,
    pub(super) phase: Phase,
    pub(super) workload: &'a Workload,
    pub(super) pace: Pace,
    /// Requests to send; `None` when time ends it.
    pub(super) count: Option<u64>,
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
            max_duration: None,
        };
        self.send(stretch, client, next_id, &Enough::default(), enough)
    }

    pub(super) fn pace(&self, point: &PointPlan, index: u32, trial: u32) -> Result<Pace, BenchError> {
        let (arrival, rate) = match point.load {
            LoadPlan::Closed { concurrency } => {
                return Ok(Pace::Closed { concurrency: concurrency as usize });
            }
            LoadPlan::Open { arrival, rate } => (arrival, rate),
            LoadPlan::ShareOfCapacity { arrival, share } => (arrival, share),
        };
        let load = &self.config.load;
        let burstiness = load.burstiness.unwrap_or(1.0);
        let spec = match arrival {
            ArrivalKind::Constant | ArrivalKind::Closed => ArrivalSpec::Constant { rate_rps: rate },
            ArrivalKind::Poisson => ArrivalSpec::Poisson { rate_rps: rate },
            ArrivalKind::Gamma => ArrivalSpec::Gamma { rate_rps: rate, burstiness },
            ArrivalKind::Ramp => {
                let end = load.rate_end.unwrap_or(rate);
                let duration_s = match point.extent {
                    Extent::Time(d) => d.as_secs_f64(),
                    // As long as the mean rate needs for the requests.
                    Extent::Requests(n) => 2.0 * n as f64 / (rate + end),
                };
                ArrivalSpec::Ramp { from_rps: rate, to_rps: end, duration_s, spacing: Default::default() }
            }
        };
        let process = ArrivalProcess::try_from(spec).map_err(|source| BenchError::Arrival { source })?;
        let offsets = process.offsets(stretch_seed(self.config.seed, index, trial));
        let arrivals: Box<dyn Iterator<Item = Nanos> + Send> = match point.extent {
            Extent::Requests(n) => Box::new(offsets.take(usize::try_from(n).unwrap_or(usize::MAX))),
            Extent::Time(_) => Box::new(offsets),
        };
        Ok(Pace::Open { arrivals, max_in_flight: load.max_in_flight.map(|n| n as usize) })
    }

    /// Sends one stretch. `seen` is called for each ended request and may say that it is enough.
    pub(super) fn send(
        &self,
        stretch: Stretch<'_>,
        client: &mut Client,
        next_id: &mut u64,
        enough: &Enough,
        seen: &mut (dyn FnMut(&RequestRecord) -> bool + Send),
    ) -> Result<Outcome, BenchError> {
        let measure = &self.config.measure;
        let limits = Limits {
            connect_timeout: Duration::from_secs_f64(measure.connect_timeout_s),
            idle_timeout: Duration::from_secs_f64(measure.idle_timeout_s),
            total_timeout: Duration::from_secs_f64(measure.timeout_s),
            start_at: None,
            max_duration: stretch.max_duration,
            drain: Drain::Wait,
            keep_text: self.prompts.wants_text(),
            keep_chunks: true,
        };
        let Stretch { point, trial, phase, workload, pace, count, .. } = stretch;
        let shape_seed =
            stretch_seed(self.config.seed, point, trial) ^ u64::from(phase == Phase::Warmup) << 60;
        let place = Place { point, trial, phase, first_id: *next_id, shape_seed };
        let mut jobs = |index: u64| {
            if count.is_some_and(|n| index >= n) || !enough.wants_more() {
                return None;
            }
            Some(self.prompts.job(workload, place, index))
        };
        let mut on_done = |done: Completed| {
            let record = self.prompts.count_tokens(done);
            if seen(&record) {
                enough.say();
            }
            if let Err(error) = self.writer.push(record) {
                let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failure.get_or_insert(error);
                // Nothing measured from here on could be kept.
                self.stop.interrupt();
            }
        };
        let outcome = client.run(pace, &mut jobs, &limits, self.stop, self.clock, &mut on_done)?;
        *next_id += outcome.sent;
        if outcome.ended == Ended::Interrupted {
            self.take_failure()?;
        }
        Ok(outcome)
    }
}

/// Seconds as nanoseconds.
pub(super) fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9) as Nanos
}

/// One seed for each stretch of load, so that no two share arrivals.
fn stretch_seed(seed: u64, point: u32, trial: u32) -> u64 {
    seed ^ (u64::from(point) << 40) ^ (u64::from(trial) << 20)
}
