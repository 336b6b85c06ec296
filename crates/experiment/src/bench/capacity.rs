//! Capacity: how many requests a second the engine completes when it never lacks work.

use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::Capacity;
use stopwatt_core::{EndKind, Nanos};
use stopwatt_load::Client;

use super::error::BenchError;
use super::progress::Progress;
use super::scenario::{LoadPlan, PointPlan};
use super::session::Session;

impl Session<'_> {
    /// Requests per second that the engine completes with `concurrency` in flight; `None` when interrupted.
    pub(super) fn capacity(
        &self,
        client: &mut Client,
        point: &PointPlan,
        concurrency: u32,
        next_id: &mut u64,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Option<f64>, BenchError> {
        watch(Progress::Capacity);
        let (wanted, mut ok, mut ended) = (4 * u64::from(concurrency), 0_u64, 0_u64);
        let mut ends: Vec<Nanos> = Vec::new();
        self.closed(0, &point.workload, concurrency, client, next_id, &mut |record| {
            ended += 1;
            if record.end == EndKind::Ok {
                ok += 1;
                ends.push(record.end_ns);
            }
            ended >= wanted
        })?;
        if self.stop.is_interrupted() {
            return Ok(None);
        }
        // The ramp at the begin and the drain at the end are left out: from the end of the first wave to `wanted`.
        ends.sort_unstable();
        let (first, last) = (concurrency as usize, (wanted as usize).min(ends.len()));
        let span = match (ends.get(first), ends.get(last.wrapping_sub(1))) {
            (Some(&a), Some(&b)) if b > a => (b - a) as f64 * 1e-9,
            _ => {
                let problem = format!("only {ok} of {ended} requests succeeded");
                return Err(BenchError::Answer { what: "the capacity test", problem });
            }
        };
        let requests = last - 1 - first;
        let capacity = Capacity { concurrency, rate_rps: requests as f64 / span, requests: requests as u64 };
        watch(Progress::CapacityFound(capacity));
        self.writer.log(Fact::Capacity { capacity })?;
        Ok(Some(capacity.rate_rps))
    }
}

/// Replaces a share of the capacity by a rate.
pub(super) fn fix_rate(point: &mut PointPlan, capacity: f64) {
    if let LoadPlan::ShareOfCapacity { arrival, share } = point.load {
        let rate = share * capacity;
        point.load = LoadPlan::Open { arrival, rate };
        point.planned.rate_rps = Some(rate);
        point.planned.label = format!("{} rate={rate:.2}/s", point.planned.label);
    }
}
