//! The simulated kind: steps take the time that a step model says; their tokens are words.
//!
//! A step's end is counted from the end of the step before while there is work, so that the lateness of a sleeping
//! thread (some tens of microseconds) does not add up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stopwatt_core::clock::{Nanos, monotonic_raw};
use stopwatt_serving::scheduler::{Scheduler, StepPlan};
use stopwatt_serving::step::{StepModel, StepShape};

use super::executor::{Executor, StepFailed};
use super::intake::Language;
use super::order::{Serial, Task};
use super::{Parts, facts, run};
use crate::api::{ApiError, Prompt};
use crate::config::SimulatedConfig;
use crate::error::ServeError;
use crate::serve::{Front, Listening};
use crate::shutdown::Shutdown;
use crate::words;

/// Steps that are later than this stay late: a machine that stood still shows as a gap, not as a burst.
const CATCH_UP: Nanos = 5_000_000;

/// Serves until shut down.
pub(crate) fn serve(
    front: Front,
    config: &SimulatedConfig,
    model: Box<dyn StepModel>,
    ready: impl FnOnce(&Listening),
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    let kv_tokens = config.scheduler.kv_cache_tokens.unwrap_or_else(|| config.max_model_len.max(512 << 10));
    let scheduler = Scheduler::new(config.scheduler.rules(kv_tokens, config.max_model_len))?;
    let facts = facts("simulated", scheduler.config());
    let executor = Simulated {
        model,
        seed: config.seed,
        requests: HashMap::new(),
        shape: StepShape::default(),
        end: None,
    };
    let parts = Parts {
        executor,
        language: Arc::new(Words),
        scheduler,
        default_output: config.default_output,
        facts,
    };
    run(front, parts, ready, shutdown)
}

/// Words as tokens, see [`words`].
struct Words;

impl Language for Words {
    fn tokens(&self, prompt: &Prompt) -> Result<Vec<u32>, ApiError> {
        Ok(words::tokens(prompt))
    }

    fn strings(&self, prompt: &Prompt, _: &[u32]) -> Vec<String> {
        words::render(prompt).iter().flat_map(|text| words::split(text)).map(str::to_owned).collect()
    }
}

struct Simulated {
    model: Box<dyn StepModel>,
    seed: u64,
    /// Seed of each request's words, and how many it has given.
    requests: HashMap<Serial, (u64, u32)>,
    shape: StepShape,
    /// When the step before was due to end, if no pause came after it.
    end: Option<Nanos>,
}

impl Executor for Simulated {
    fn begin(&mut self, task: &Task) -> Result<(), StepFailed> {
        let seed = task.request.seed.unwrap_or(task.serial);
        self.requests.insert(task.serial, (words::mix(self.seed ^ words::mix(seed)), 0));
        Ok(())
    }

    fn idle(&mut self) {
        self.end = None;
    }

    fn step(&mut self, _: &Scheduler, plan: &StepPlan, tokens: &mut Vec<u32>) -> Result<(), StepFailed> {
        plan.shape(&mut self.shape);
        let now = monotonic_raw();
        let begin = self.end.filter(|end| now - end <= CATCH_UP).unwrap_or(now);
        let step = Nanos::try_from(self.model.step(&self.shape).as_nanos()).unwrap_or(Nanos::MAX / 2);
        let end = begin.saturating_add(step);
        self.end = Some(end);
        sleep_until(end);
        tokens.extend(plan.items.iter().filter(|item| item.emits).map(|item| {
            let (seed, given) = self.requests.get(&item.id).copied().unwrap_or_default();
            words::id(words::english(seed, given).trim_start())
        }));
        Ok(())
    }

    fn is_end(&self, _: u32) -> bool {
        false
    }

    fn text(&mut self, serial: Serial, _: u32, last: bool) -> String {
        match self.requests.get_mut(&serial) {
            Some((seed, given)) if !last => {
                *given += 1;
                words::english(*seed, *given - 1).to_owned()
            }
            _ => String::new(),
        }
    }

    fn end(&mut self, serial: Serial) {
        self.requests.remove(&serial);
    }
}

fn sleep_until(at: Nanos) {
    loop {
        let left = at - monotonic_raw();
        if left <= 0 {
            return;
        }
        std::thread::sleep(Duration::from_nanos(left.unsigned_abs()));
    }
}
