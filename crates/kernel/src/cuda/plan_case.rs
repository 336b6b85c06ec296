//! Runs a [`Plan`]: allocates and fills its operands, launches its steps, holds results against what is expected.

use std::rc::Rc;

use rayon::prelude::*;
use stopwatt_core::clock;
use stopwatt_core::kernel_table::CacheState;

use super::compile::Kernel;
use super::gpu::Gpu;
use super::issue::{Issue, sets};
use super::memory::{Rotating, of_size};
use super::numbers::{Mixed, narrow, widen};
use super::plan::{Argument, Contents, Fill, Operand, Plan};
use crate::case::CaseError;

/// A step whose kernel is loaded.
struct Loaded {
    kernel: Rc<Kernel>,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    arguments: Vec<Argument>,
}

/// A plan with its operands on the device.
pub(super) struct PlanIssue {
    gpu: Rc<Gpu>,
    plan: Plan,
    steps: Vec<Loaded>,
    operands: Vec<Rotating>,
    sets: usize,
    touched_bytes: u64,
}

/// Elements of all operands up to which a plan is checked: they are read back in double precision, 8 GiB of them.
const MOST_CHECKED: usize = 1 << 30;
/// Elements of results that are checked at most.
const CHECKED: usize = 512;
/// Time that computing expectations may take before fewer elements have to do, in nanoseconds.
const CHECK_LIMIT_NS: i64 = 2_000_000_000;

impl PlanIssue {
    pub(super) fn new(
        gpu: &Rc<Gpu>,
        plan: Plan,
        cache: CacheState,
        touched_bytes: Option<u64>,
    ) -> Result<Self, CaseError> {
        let bytes = |o: &Operand| (o.len * o.element.bytes()) as u64;
        let set_bytes: u64 = plan.operands.iter().filter(|o| o.rotates).map(bytes).sum();
        let fixed: u64 = plan.operands.iter().filter(|o| !o.rotates).map(bytes).sum();
        // A call may touch little of a large table: then more copies of it are needed, as far as they fit.
        let touched_bytes = touched_bytes.unwrap_or(set_bytes).clamp(1, set_bytes.max(1));
        let wanted = sets(cache, touched_bytes, gpu.facts.target.l2_bytes);
        let room = gpu.memory()?.0 / 2;
        let sets = room.checked_div(set_bytes).map_or(1, |most| wanted.min(most as usize).max(1));
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let kernel = gpu.kernel(&step.source, step.entry, &step.defines)?;
            kernel.allow_shared(&gpu.driver, step.shared_bytes)?;
            if let Some(position) = step.arguments.iter().find_map(|a| match a {
                Argument::Operand(at) if *at >= plan.operands.len() => Some(*at),
                _ => None,
            }) {
                return Err(CaseError::Failed { reason: format!("the plan has no operand {position}") });
            }
            steps.push(Loaded {
                kernel,
                grid: step.grid,
                block: step.block,
                shared_bytes: step.shared_bytes,
                arguments: step.arguments.clone(),
            });
        }
        let total = fixed + set_bytes * sets as u64;
        let operands = plan
            .operands
            .iter()
            .map(|o| Rotating::new(gpu, o.element, o.len, if o.rotates { sets } else { 1 }))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| of_size(e, total))?;
        let issue = Self { gpu: gpu.clone(), plan, steps, operands, sets, touched_bytes };
        issue.fill(1, false)?;
        // The first call loads code and touches memory for the first time.
        issue.issue(0)?;
        issue.gpu.wait()?;
        Ok(issue)
    }

    /// Fills the operands, all sets or the first alone.
    fn fill(&self, seed: u64, first_alone: bool) -> Result<(), CaseError> {
        for (position, (operand, place)) in self.plan.operands.iter().zip(&self.operands).enumerate() {
            let seed = Mixed(seed ^ (position as u64) << 48).next();
            match &operand.fill {
                Fill::Uniform { scale } if first_alone => place.refill_first(&self.gpu, seed, *scale)?,
                Fill::Uniform { scale } => place.fill_uniform(&self.gpu, seed, *scale)?,
                Fill::Integers(values) => place.fill_from(&self.gpu, bytemuck::cast_slice(values))?,
                Fill::Numbers(values) => place.fill_from(&self.gpu, &narrow(operand.element, values))?,
                Fill::Below { limit } => place.fill_below(&self.gpu, seed, *limit, first_alone)?,
                Fill::Poison => place.fill_bytes(&self.gpu, 0xff)?,
                Fill::Zero => place.fill_bytes(&self.gpu, 0)?,
            }
        }
        Ok(())
    }

    /// What an operand holds now, after everything issued so far.
    pub(super) fn values(&self, position: usize) -> Result<Vec<f64>, CaseError> {
        match (self.plan.operands.get(position), self.operands.get(position)) {
            (Some(operand), Some(place)) => Ok(widen(operand.element, &place.read_all(&self.gpu)?)),
            _ => Err(CaseError::Failed { reason: format!("the plan has no operand {position}") }),
        }
    }

    /// What the first set holds; nothing of what is poisoned.
    fn read(&self) -> Result<Vec<Vec<f64>>, CaseError> {
        let operands = self.plan.operands.iter().zip(&self.operands);
        let read = operands.map(|(operand, place)| match operand.fill {
            Fill::Poison => Ok(Vec::new()),
            _ => Ok(widen(operand.element, &place.read_all(&self.gpu)?)),
        });
        read.collect()
    }
}

impl Issue for PlanIssue {
    fn issue(&self, set: usize) -> Result<(), CaseError> {
        for step in &self.steps {
            let arguments: Vec<u64> = step
                .arguments
                .iter()
                .map(|argument| match argument {
                    Argument::Operand(position) => self.operands[*position].at(set),
                    Argument::I32(value) => u64::from(*value as u32),
                    Argument::F32(value) => u64::from(value.to_bits()),
                })
                .collect();
            self.gpu.launch(&step.kernel, step.grid, step.block, step.shared_bytes, &arguments)?;
        }
        Ok(())
    }

    fn sets(&self) -> usize {
        self.sets
    }

    fn set_bytes(&self) -> u64 {
        self.touched_bytes
    }

    fn verify(&self, seed: u64) -> Result<f64, CaseError> {
        let elements: usize = self.plan.operands.iter().map(|operand| operand.len).sum();
        if elements > MOST_CHECKED {
            return Err(CaseError::Unsupported {
                reason: format!(
                    "operands of {elements} elements are too many to be held against double precision"
                ),
            });
        }
        self.fill(seed, true)?;
        // In-place operators overwrite what they read, so inputs are read before and results after.
        let contents = self.read()?;
        self.issue(0)?;
        self.gpu.wait()?;
        let mut results = Vec::new();
        for (position, operand) in self.plan.operands.iter().enumerate() {
            if operand.result {
                let place = &self.operands[position];
                let values = widen(operand.element, &place.read_all(&self.gpu)?);
                results.push((position, values));
            }
        }
        Ok(deviation(&self.plan, &contents, &results, seed))
    }
}

/// Largest deviation of a random part of the results, in multiples of what is allowed. A result that is not a number
/// deviates infinitely.
fn deviation(plan: &Plan, contents: &[Vec<f64>], results: &[(usize, Vec<f64>)], seed: u64) -> f64 {
    let began = clock::monotonic_raw();
    let contents = Contents { operands: contents };
    let mut worst = 0f64;
    for (position, values) in results {
        let mut chosen = Mixed(seed).positions(values.len(), CHECKED);
        // In a random order, so that those that the time allows are spread.
        let mut order = Mixed(seed.wrapping_add(1));
        chosen.sort_by_cached_key(|_| order.next());
        for part in chosen.chunks(64) {
            let here = part
                .par_iter()
                .map(|index| {
                    let expected = (plan.expected)(&contents, *position, *index, values[*index]);
                    let off = (values[*index] - expected.value).abs() / expected.tolerance;
                    // Exact where nothing may deviate: 0/0.
                    if values[*index] == expected.value {
                        0.0
                    } else if off.is_nan() {
                        f64::INFINITY
                    } else {
                        off
                    }
                })
                .reduce(|| 0.0, f64::max);
            worst = worst.max(here);
            if clock::monotonic_raw() - began > CHECK_LIMIT_NS {
                break;
            }
        }
    }
    worst
}
