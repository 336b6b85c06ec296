//! The `layout` target: a kernel that reads what a transform selected, in memory laid out as an arm has it.
//!
//! ```text
//! model ─► Material ─► Problem ─► five arms ─► the arm of pipeline.mode ─► Work: one step an iteration
//! (taps)   accesses    W, S/Q/K    π, J, misses                             │
//!                                  perm_*.json, W, stats_*, arms.json       └─ control: must not change
//! ```
//!
//! | module | what |
//! |---|---|
//! | `config` | the settings |
//! | `material` | a layer of a model and the accesses to it |
//! | `arms` | what each arm's layout is and is worth |
//! | `solved` | all of it for one set of settings |
//! | `work` | memory, steps, the control |
//! | `perplexity` | what the transform costs in quality |
//! | `files` | what is written beside the run |

mod arms;
mod config;
mod files;
mod material;
mod perplexity;
mod solved;
mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use stopwatt_core::verdict::{Code, Remark};
use stopwatt_load::Stop;

use super::config::SopConfig;
use super::error::SopError;
use super::target::{Ended, Iteration, Launch, Note, Occasion, Ready, Target, TargetError};
use solved::Solved;
use work::Work;

pub use arms::Arm;
pub use config::{
    BandedGraph, CarrierKind, GraphConfig, GraphSource, LayoutConfig, MockGraph, QuantConfig, SolverConfig,
    SparsityBy, SparsityConfig, TransformConfig,
};
pub(super) use perplexity::perplexity;

/// Most that the control may change before the run says nothing: a share of its time.
const CONTROL_MARGIN: f64 = 0.03;
/// What moving units may change: rounding.
const ROUNDING: f64 = 1e-5;

/// Sets layouts up as targets.
#[derive(Clone)]
pub struct Layouts {
    config: Arc<SopConfig>,
    stop: Stop,
    /// Solved when first asked for; every trial of a pair measures the same layout.
    solved: Arc<Mutex<Option<Arc<Solved>>>>,
}

impl std::fmt::Debug for Layouts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layouts").field("mode", &self.config.pipeline.mode).finish_non_exhaustive()
    }
}

impl Layouts {
    /// Reads the settings.
    ///
    /// # Errors
    /// `pipeline.mode` names no arm.
    pub fn of(config: &SopConfig, stop: &Stop) -> Result<Self, SopError> {
        let mode = &config.pipeline.mode;
        if Arm::of_mode(mode).is_none() {
            let names = Arm::ALL.map(Arm::name).join(", ");
            let problem = format!("there is no arm `{mode}` of a layout; there are {names}");
            return Err(SopError::Setting { setting: "pipeline.mode", problem });
        }
        Ok(Self { config: Arc::new(config.clone()), stop: stop.clone(), solved: Arc::default() })
    }

    fn solved(&self) -> Result<Arc<Solved>, TargetError> {
        let mut solved = self.solved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(solved) = &*solved {
            return Ok(Arc::clone(solved));
        }
        let found = Solved::of(&self.config).map_err(|reason| TargetError::Layout { reason })?;
        Ok(Arc::clone(solved.insert(Arc::new(found))))
    }
}

impl Launch for Layouts {
    fn launch(&self, prefix: &[String]) -> Result<Box<dyn Target>, TargetError> {
        if !prefix.is_empty() {
            return Err(TargetError::NoPrefix);
        }
        Ok(Box::new(Layout { launch: self.clone(), work: None }))
    }

    fn timed_out(&self) -> bool {
        let solved = self.solved.lock().unwrap_or_else(PoisonError::into_inner);
        solved.as_ref().is_some_and(|s| s.timed_out())
    }
}

struct Layout {
    launch: Layouts,
    work: Option<Work>,
}

impl Target for Layout {
    fn prepare(&mut self, _occasion: &Occasion) -> Result<Ready, TargetError> {
        let solved = self.launch.solved()?;
        let config = &self.launch.config;
        let failed = |reason| TargetError::Layout { reason };
        let layout = config.target.layout.as_deref().cloned().unwrap_or_default();
        let pi = solved.permutation();
        let built = solved.with_problem(config, |problem| {
            Work::new(&solved.material, problem, pi, solved.copies, layout.threads)
        });
        let (work, checked) = built.map_err(failed)?;
        if checked.exact > ROUNDING {
            let reason =
                format!("moving units changed an output by {:.1e}: the carrier is not exact", checked.exact);
            return Err(failed(reason));
        }
        let control = work::control(pi, 16, layout.threads).map_err(failed)?;
        let mut notes = files::notes(&solved, config).map_err(failed)?;
        if control.ci.lo > 1.0 + CONTROL_MARGIN || control.ci.hi < 1.0 - CONTROL_MARGIN {
            let values = [control.ratio, control.ci.lo, control.ci.hi].map(|v| format!("{v:.3}"));
            notes.push(Note::Warning(Remark::new(Code::ControlMoved, values)));
        }
        if solved.timed_out() {
            let seconds = format!("{}", config.solver.time_budget_s);
            notes.push(Note::Warning(Remark::new(Code::SolverTimeout, [seconds])));
        }
        let found = solved.found();
        let cache = solved.geometry.cache_bytes;
        let worth = &found.held_out;
        let facts = [
            ("carrier", layout.carrier.name().to_owned()),
            ("arm", solved.arm.name().to_owned()),
            ("layer", solved.material.layer.to_string()),
            ("units", pi.len().to_string()),
            ("permutation", pi.sha256()),
            ("copies", solved.copies.to_string()),
            ("working_set_bytes", work.bytes().to_string()),
            ("cache_bytes", cache.to_string()),
            ("working_set_over_cache", format!("{:.2}", work.bytes() as f64 / cache as f64)),
            ("modelled_hit_rate", worth.modelled_hit_rate.map_or("null".to_owned(), |h| format!("{h:.4}"))),
            ("modelled_fetched_share", format!("{:.4}", worth.fetched_share)),
            ("cache_counts", "by a model: least recently used, fully associative".to_owned()),
            ("output_error", format!("{:.6}", checked.error)),
            ("exactness", format!("{:.1e}", checked.exact)),
            ("control_ratio", format!("{:.4}", control.ratio)),
            ("control_ci95", format!("{:.4} to {:.4}", control.ci.lo, control.ci.hi)),
            ("solver_s", format!("{:.2}", found.seconds)),
        ];
        let facts: BTreeMap<String, String> = facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let name = format!("{} {} {}", solved.material.name, layout.carrier.name(), solved.arm.name());
        self.work = Some(work);
        Ok(Ready { name: config.target.name.clone().unwrap_or(name), facts, pid: None, notes })
    }

    fn iterate(&mut self, n: u64, take: &mut dyn FnMut(Iteration)) -> Result<(), TargetError> {
        let work = self.work.as_mut().expect("a target is prepared before it is used");
        for _ in 0..n {
            if self.launch.stop.is_interrupted() {
                return Err(TargetError::Interrupted);
            }
            take(work.iterate());
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Option<String>, TargetError> {
        Ok(self.work.as_mut().map(Work::outputs))
    }

    fn teardown(&mut self) -> Ended {
        self.work = None;
        Ended::default()
    }
}

#[cfg(test)]
mod tests;
