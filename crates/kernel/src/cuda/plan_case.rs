//! Runs a [`Plan`]: allocates and fills its operands, launches its steps, holds results against what is expected.

use std::ops::Range;
use std::rc::Rc;

use rayon::prelude::*;
use stopwatt_core::clock;
use stopwatt_core::kernel_table::CacheState;

use super::compile::Kernel;
use super::gpu::Gpu;
use super::issue::{Issue, sets};
use super::memory::{Reader, Rotating, of_size};
use super::numbers::{Mixed, narrow, widen};
use super::plan::{Argument, Column, Contents, Fill, Operand, Plan, Step};
use super::sdpa::Sdpa;
use super::timer::Timer;
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
    /// Which of several ways is run, where the plan has several.
    way: Option<String>,
    /// A library's kernel that runs instead of the steps.
    library: Option<Sdpa>,
    operands: Vec<Rotating>,
    sets: usize,
    touched_bytes: u64,
}

/// Bytes of operands that a call replaces up to which a plan is checked: they are kept on the host meanwhile.
const MOST_KEPT: usize = 4 << 30;
/// Series of calls by which ways are compared.
const TRIED: usize = 7;
/// A later way must take less than this share of the time of an earlier one.
const CLEARLY: f64 = 0.99;
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
        let steps = load(gpu, &plan.steps, plan.operands.len())?;
        let total = fixed + set_bytes * sets as u64;
        let operands = plan
            .operands
            .iter()
            .map(|o| Rotating::new(gpu, o.element, o.len, if o.rotates { sets } else { 1 }))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| of_size(e, total))?;
        let mut issue =
            Self { gpu: gpu.clone(), plan, steps, way: None, library: None, operands, sets, touched_bytes };
        issue.fill(issue.gpu.seed(1), false)?;
        // The first call loads code and touches memory for the first time.
        issue.issue(0)?;
        issue.gpu.wait()?;
        if issue.plan.ways.len() > 1 {
            issue.choose(cache)?;
        }
        Ok(issue)
    }

    /// Takes the fastest of the plan's ways; one that was found before for the same launches is kept.
    fn choose(&mut self, cache: CacheState) -> Result<(), CaseError> {
        let key = format!("{cache:?} {:?}", self.plan.ways);
        let known = self.gpu.ways.borrow().get(&key).copied();
        let best = match known {
            Some(best) => best,
            None => {
                let best = self.fastest(cache)?;
                self.gpu.ways.borrow_mut().insert(key, best);
                best
            }
        };
        let way = &self.plan.ways[best];
        self.way = Some(way.name.clone());
        self.steps = load(&self.gpu, &way.steps, self.plan.operands.len())?;
        Ok(())
    }

    /// Position of the fastest way; a later one must be clearly faster than an earlier one. A way that the device cannot
    /// run is left out.
    fn fastest(&mut self, cache: CacheState) -> Result<usize, CaseError> {
        let mut timer = Timer::new(&self.gpu)?;
        let mut best = (0, self.speed(&mut timer, cache)?);
        for number in 1..self.plan.ways.len() {
            let loaded = load(&self.gpu, &self.plan.ways[number].steps, self.plan.operands.len());
            let seconds = loaded.and_then(|steps| {
                self.steps = steps;
                self.speed(&mut timer, cache)
            });
            match seconds {
                Ok(seconds) if seconds < best.1 * CLEARLY => best = (number, seconds),
                Err(lost @ CaseError::Lost { .. }) => return Err(lost),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(best.0)
    }

    /// Takes a library's kernel instead of the steps where it is right and clearly faster. The kernel's name tells which
    /// one runs, and why the library's does not.
    ///
    /// `make` gets the number of sets and where an operand of a set lies.
    pub(super) fn beside(
        &mut self,
        name: &str,
        cache: CacheState,
        make: impl FnOnce(usize, &dyn Fn(usize, usize) -> u64) -> Result<Sdpa, CaseError>,
    ) -> Result<(), CaseError> {
        let rival = make(self.sets, &|operand, set| self.operands[operand].at(set));
        let reason = match rival.and_then(|library| self.compare(library, cache)) {
            Ok(None) => {
                self.way = self.library.as_ref().map(Sdpa::name);
                return Ok(());
            }
            Ok(Some(reason)) => reason,
            Err(lost @ CaseError::Lost { .. }) => return Err(lost),
            Err(refused) => refused.to_string(),
        };
        self.library = None;
        self.way = Some(format!("own; {name}: {reason}"));
        Ok(())
    }

    /// Why the steps are kept; `None` when the library's kernel runs from now on.
    fn compare(&mut self, library: Sdpa, cache: CacheState) -> Result<Option<String>, CaseError> {
        const SLOWER: &str = "not faster";
        let key = format!("{cache:?} {} {:?}", library.name(), library.form());
        let known = self.gpu.ways.borrow().get(&key).copied();
        if let Some(number) = known {
            self.library = (number == 1).then_some(library);
            return Ok((number != 1).then(|| SLOWER.to_owned()));
        }
        let mut timer = Timer::new(&self.gpu)?;
        let own = self.speed(&mut timer, cache)?;
        self.library = Some(library);
        let deviation = self.verify(self.gpu.seed(7))?;
        if deviation > 1.0 {
            return Ok(Some(format!("wrong, deviates {deviation:.3} times what is allowed")));
        }
        let faster = self.speed(&mut timer, cache)? < own * CLEARLY;
        self.gpu.ways.borrow_mut().insert(key, usize::from(faster));
        Ok((!faster).then(|| SLOWER.to_owned()))
    }

    /// Seconds of a few calls, the median of some series.
    fn speed(&self, timer: &mut Timer, cache: CacheState) -> Result<f64, CaseError> {
        let calls = self.sets.clamp(1, 4);
        let flush = cache == CacheState::Cold && self.sets > 1;
        let mut times = Vec::new();
        for series in 0..=TRIED {
            if flush {
                timer.flush()?;
            }
            let queue = &mut || (0..calls).try_for_each(|call| self.issue(series * calls + call));
            if let Some(seconds) = timer.time(true, queue)? {
                times.push(seconds);
            }
        }
        // The first series loads code.
        times.drain(..1.min(times.len()));
        times.sort_by(f64::total_cmp);
        times
            .get(times.len() / 2)
            .copied()
            .ok_or_else(|| CaseError::Failed { reason: "no time was taken".to_owned() })
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

    /// The first set as it will be after the call, except that what the call replaces is read now.
    fn contents<'a>(&'a self, reader: &'a Reader) -> Result<Vec<Column<'a>>, CaseError> {
        let replaced = |o: &&Operand| o.result && o.fill != Fill::Poison;
        let kept: usize = self.plan.operands.iter().filter(replaced).map(|o| o.len * o.element.bytes()).sum();
        if kept > MOST_KEPT {
            return Err(CaseError::Unsupported {
                reason: format!(
                    "{kept} bytes that are replaced are too many to be held against double precision"
                ),
            });
        }
        let operands = self.plan.operands.iter().zip(&self.operands);
        operands
            .map(|(operand, place)| {
                Ok(match operand.fill {
                    Fill::Poison => Column::empty(operand.element),
                    _ if operand.result => Column::held(operand.element, place.read_all(&self.gpu)?),
                    _ => self.column(operand, place, reader),
                })
            })
            .collect()
    }

    fn column<'a>(&self, operand: &Operand, place: &Rotating, reader: &'a Reader) -> Column<'a> {
        let begin = place.at(0);
        let fetch = move |range: Range<usize>| reader.read(begin + range.start as u64, range.len());
        Column::fetched(operand.element, operand.len, Box::new(fetch))
    }
}

/// Kernels of steps, compiled and loaded.
fn load(gpu: &Rc<Gpu>, steps: &[Step], operands: usize) -> Result<Vec<Loaded>, CaseError> {
    let one = |step: &Step| {
        let kernel = gpu.kernel(&step.source, step.entry, &step.defines)?;
        kernel.allow_shared(&gpu.driver, step.shared_bytes)?;
        if let Some(position) = step.arguments.iter().find_map(|a| match a {
            Argument::Operand(at) if *at >= operands => Some(*at),
            _ => None,
        }) {
            return Err(CaseError::Failed { reason: format!("the plan has no operand {position}") });
        }
        Ok(Loaded {
            kernel,
            grid: step.grid,
            block: step.block,
            shared_bytes: step.shared_bytes,
            arguments: step.arguments.clone(),
        })
    };
    steps.iter().map(one).collect()
}

impl Issue for PlanIssue {
    fn issue(&self, set: usize) -> Result<(), CaseError> {
        if let Some(library) = &self.library {
            return library.issue(set);
        }
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

    fn way(&self) -> Option<&str> {
        self.way.as_deref()
    }

    fn verify(&self, seed: u64) -> Result<f64, CaseError> {
        self.fill(seed, true)?;
        let reader = self.gpu.reader();
        // In-place operators overwrite what they read, so that is read before and the rest when it is needed.
        let contents = self.contents(&reader)?;
        self.issue(0)?;
        self.gpu.wait()?;
        let operands = self.plan.operands.iter().zip(&self.operands).enumerate();
        let results: Vec<(usize, Column<'_>)> = operands
            .filter(|(_, (operand, _))| operand.result)
            .map(|(position, (operand, place))| (position, self.column(operand, place, &reader)))
            .collect();
        let deviation = deviation(&self.plan, &contents, &results, seed);
        reader.failure(&self.gpu.driver)?;
        Ok(deviation)
    }
}

/// Largest deviation of a random part of the results, in multiples of what is allowed. A result that is not a number
/// deviates infinitely.
fn deviation(plan: &Plan, contents: &[Column<'_>], results: &[(usize, Column<'_>)], seed: u64) -> f64 {
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
                    let found = values.number(*index);
                    let expected = (plan.expected)(&contents, *position, *index, found);
                    let off = (found - expected.value).abs() / expected.tolerance;
                    // Exact where nothing may deviate: 0/0.
                    if found == expected.value {
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
