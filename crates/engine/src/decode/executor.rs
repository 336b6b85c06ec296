//! What computes the steps of a plan.

use stopwatt_serving::scheduler::{Scheduler, StepPlan};

use super::order::{Serial, Task};

/// Why a step could not be computed. It fails every request of the step.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct StepFailed(pub(super) String);

/// Computes steps and turns tokens into text. All calls come from the engine thread.
pub(super) trait Executor: Send {
    /// A request is about to be scheduled. An error refuses it.
    fn begin(&mut self, task: &Task) -> Result<(), StepFailed>;

    /// There is nothing to do until a request comes.
    fn idle(&mut self) {}

    /// Computes the whole of `plan`, and appends one token for each item that emits, in order.
    fn step(
        &mut self,
        scheduler: &Scheduler,
        plan: &StepPlan,
        tokens: &mut Vec<u32>,
    ) -> Result<(), StepFailed>;

    /// Whether `token` ends the output of a request that does not ignore that.
    fn is_end(&self, token: u32) -> bool;

    /// The text that is certain after `token`; `last` asks for everything that was held back.
    fn text(&mut self, serial: Serial, token: u32, last: bool) -> String;

    /// A request has ended.
    fn end(&mut self, serial: Serial);
}
