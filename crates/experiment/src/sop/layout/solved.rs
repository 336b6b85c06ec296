//! A layout problem of the settings, solved for every arm.

use std::path::Path;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_kernel::cpu::geometry;
use stopwatt_layout::misses::Geometry;
use stopwatt_layout::{Graph, Permutation};

use super::super::config::SopConfig;
use super::arms::{Arm, Arms, Found, Problem, scaled};
use super::config::{CarrierKind, GraphSource, LayoutConfig};
use super::material::{Material, Operand, material, told};

/// Bytes of a number in the kernels.
const NUMBER: u64 = 4;
/// Working sets are at most so many bytes.
const MOST_BYTES: f64 = (4u64 << 30) as f64;

/// A solved problem.
pub(in crate::sop) struct Solved {
    pub(super) material: Material,
    pub(super) arm: Arm,
    pub(super) arms: Arms,
    /// The one that `pipeline.reuse_perm` names instead of the arm's.
    reused: Option<Permutation>,
    pub(super) copies: usize,
    pub(super) graph: Graph,
    pub(super) geometry: Geometry,
}

impl Solved {
    /// Loads, records accesses, and solves every arm.
    pub(super) fn of(config: &SopConfig) -> Result<Self, String> {
        let layout = config.target.layout.as_deref().cloned().unwrap_or_default();
        let arm = Arm::of_mode(&config.pipeline.mode).ok_or_else(|| {
            let names = Arm::ALL.map(Arm::name).join(", ");
            format!("pipeline.mode: there is no arm `{}`; there are {names}", config.pipeline.mode)
        })?;
        let material = material(&layout, config.seed)?;
        let d = material.importances.d();
        check(config, &layout, d)?;
        let operand_bytes = NUMBER
            * match &material.operand {
                Operand::Columns(w) => w.data.len(),
                Operand::Tokens { keys, values, .. } => keys.data.len() + values.data.len(),
            } as u64;
        let cache = geometry::Geometry::read().last_cache_bytes();
        let wanted = layout.working_set_mib.map_or(3.0 * cache as f64, |mib| mib * (1u64 << 20) as f64);
        if wanted.is_nan() || wanted > MOST_BYTES {
            return Err(format!("target.layout.working_set_mib: at most {} MiB", MOST_BYTES / 1048576.0));
        }
        let copies = (wanted / operand_bytes as f64).ceil().max(1.0) as usize;
        // A unit is its part of every copy; a granule is a block of units.
        let unit_bytes = operand_bytes * copies as u64 / d as u64;
        let geometry = Geometry {
            unit_bits: 8 * unit_bytes,
            granule_bytes: unit_bytes * layout.block as u64,
            cache_bytes: cache,
        };
        let graph = scaled(graph(config, &material, d)?, &config.graph);
        let reused = config.pipeline.reuse_perm.as_deref().map(|path| reuse(path, d)).transpose()?;
        let mut solved = Self {
            material,
            arm,
            arms: Arms { arms: Vec::new(), rank_correlation: None, orders: 0 },
            reused,
            copies,
            graph,
            geometry,
        };
        solved.arms = solved.with_problem(config, |problem| problem.all())?;
        Ok(solved)
    }

    /// Does something with the problem.
    pub(super) fn with_problem<T>(
        &self,
        config: &SopConfig,
        work: impl FnOnce(&Problem<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let layout = config.target.layout.as_deref().cloned().unwrap_or_default();
        let (train, test) = self.material.importances.split(self.material.importances.len() / 2);
        let now = || monotonic_raw() as f64 * 1e-9;
        work(&Problem {
            train,
            test,
            weights: match &self.material.operand {
                Operand::Columns(down) => Some(down),
                Operand::Tokens { .. } => None,
            },
            block: layout.block,
            dense: layout.carrier == CarrierKind::Dense,
            transform: &config.transform,
            geometry: self.geometry,
            graph_config: &config.graph,
            graph: self.graph.clone(),
            cost: &config.cost,
            solver: config.solver.options(),
            error_weight: layout.error_weight,
            churn_weight: layout.churn_weight,
            epsilon: config.rollback.epsilon_j.unwrap_or(0.01),
            rounds: layout.rounds,
            seed: config.seed,
            now: &now,
        })
    }

    /// What was found for the arm that is run.
    pub(super) fn found(&self) -> &Found {
        self.arms.arms.iter().find(|f| f.arm == self.arm).expect("every arm was solved")
    }

    /// The layout that is run.
    pub(super) fn permutation(&self) -> &Permutation {
        self.reused.as_ref().unwrap_or(&self.found().after)
    }

    /// Whether a solver's time was over, for the arm that is run.
    pub(super) fn timed_out(&self) -> bool {
        self.reused.is_none() && self.found().timed_out
    }
}

fn check(config: &SopConfig, layout: &LayoutConfig, d: usize) -> Result<(), String> {
    if layout.block == 0 || !d.is_multiple_of(layout.block) {
        return Err(format!("target.layout.block: blocks of {} do not divide {d} units", layout.block));
    }
    if layout.carrier != CarrierKind::KvTokens && !layout.block.is_multiple_of(16) {
        return Err(format!("target.layout.block: a multiple of 16 numbers, not {}", layout.block));
    }
    if let Some((key, problem)) = config.cost.problem() {
        return Err(format!("{key}: {problem}"));
    }
    let transform = &config.transform;
    let energy = transform.sparsity.as_ref().map_or(1.0, |s| s.energy);
    if !(energy > 0.0 && energy <= 1.0) {
        return Err(format!("transform.sparsity.energy: {energy} is not above 0 and at most 1"));
    }
    let columns = layout.carrier == CarrierKind::FfnNeurons;
    if let Some(quant) = &transform.quant
        && (!columns || quant.group == 0 || !d.is_multiple_of(quant.group))
    {
        return Err(match columns {
            true => format!("transform.quant.group: groups of {} do not divide {d} units", quant.group),
            false => "transform.quant: only weights of `ffn-neurons` are rounded".to_owned(),
        });
    }
    if transform.kv.is_some() && layout.carrier != CarrierKind::KvTokens {
        return Err("transform.kv: only `kv-tokens` has a cache to make smaller".to_owned());
    }
    Ok(())
}

/// W of the model as it is, from the first half of the steps.
fn graph(config: &SopConfig, material: &Material, d: usize) -> Result<Graph, String> {
    let graph = match config.graph.source {
        GraphSource::Correlation => {
            let (train, _) = material.importances.split(material.importances.len() / 2);
            Graph::correlation(train.rows(), d, config.graph.threshold)
        }
        GraphSource::Banded => Graph::banded(d, config.graph.banded.hops, config.graph.banded.decay),
        GraphSource::Mock => {
            let mock = &config.graph.mock;
            if let Some(other) = mock.d.filter(|n| *n != d) {
                return Err(format!("graph.mock.d: {other} units where the carrier has {d}"));
            }
            Graph::mock(d, mock.blocks, mock.noise, mock.seed)
        }
        GraphSource::Trace => {
            let path = config.graph.trace.as_deref().ok_or("graph.trace: name the file of the trace")?;
            let bytes = std::fs::read(path).map_err(|e| format!("graph.trace: {e}"))?;
            Graph::from_jsonl(&bytes, Some(d))
        }
    };
    graph.map_err(|e| format!("graph: {}", told(&e)))
}

fn reuse(path: &Path, d: usize) -> Result<Permutation, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("pipeline.reuse_perm: {e}"))?;
    Permutation::from_json(&bytes, Some(d)).map_err(|e| format!("pipeline.reuse_perm: {}", told(&e)))
}
