//! What the load client can do on this machine, known before it is asked for much.

use stopwatt_core::log::Fact;
use stopwatt_core::verdict::{Code, Remark};
use stopwatt_load::KernelStamps;

use super::config::KernelStampsChoice;
use super::error::BenchError;
use super::progress::Progress;
use super::scenario::{LoadPlan, Plan};
use super::session::Session;
use crate::calibrate::{self, Effort};

/// Requests in flight, and requests a second, from which a run is heavy.
const HEAVY: (u32, f64) = (64, 200.0);

impl Session<'_> {
    /// Writes down the client's ceiling: a stored calibration, or a quick one if the run will be heavy.
    pub(super) fn know_ceiling(
        &self,
        plan: &Plan,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        let known = match calibrate::stored() {
            None if is_heavy(plan) => {
                watch(Progress::Calibrating);
                calibrate::calibrate(self.program, Effort::Quick, self.stop, &mut |_| {})
                    .inspect(|ceiling| {
                        // A cache that cannot be written costs the next run another second.
                        let _ = calibrate::store(ceiling);
                    })
                    .map(Some)
            }
            stored => Ok(stored),
        };
        match known {
            Ok(Some(ceiling)) => self.writer.log(Fact::ClientCeiling { ceiling })?,
            Ok(None) => {}
            Err(_) if self.stop.is_interrupted() => {}
            Err(error) => self.warn(&Remark::new(Code::NoCalibration, [error.to_string()]), watch)?,
        }
        Ok(())
    }

    /// Whether kernel stamps are used; an error when they are insisted on and cannot be had.
    pub(super) fn kernel_stamps(&self) -> Result<KernelStamps, BenchError> {
        match self.config.load.kernel_stamps {
            KernelStampsChoice::Off => Ok(KernelStamps::Off),
            KernelStampsChoice::Auto => Ok(KernelStamps::Auto),
            KernelStampsChoice::On => match KernelStamps::available(self.target) {
                Ok(()) => Ok(KernelStamps::Auto),
                Err(problem) => Err(BenchError::Unsupported {
                    setting: "load.kernel_stamps",
                    problem: problem.to_string(),
                }),
            },
        }
    }
}

fn is_heavy(plan: &Plan) -> bool {
    plan.capacity_concurrency >= HEAVY.0
        || plan.points.iter().any(|p| match p.load {
            LoadPlan::Closed { concurrency } => concurrency >= HEAVY.0,
            LoadPlan::Open { rate, .. } => rate >= HEAVY.1,
            LoadPlan::ShareOfCapacity { .. } => false,
        })
}
