//! Five ways to come to a layout, and what each is worth by the model of the cache.
//!
//! | arm | layout |
//! |---|---|
//! | `identity` | as the model has it |
//! | `random` | any |
//! | `linear` | solved on the model as it is, kept after the transform |
//! | `once` | transform first, then solve once on what it reads |
//! | `iterative` | begins as `linear`; transform, solve on what that reads, and again until nothing is gained |
//!
//! The transform is made anew in the layout of each arm: what it selects by blocks depends on them. Layouts are solved on
//! the first half of the steps and judged on the second, so that none is praised for what it was made from.

use serde::Serialize;
use stopwatt_layout::cost::{Cost, CostParams, evaluate};
use stopwatt_layout::misses::{Geometry, Misses, misses};
use stopwatt_layout::selection::{Importances, Selection, lost_energy, select};
use stopwatt_layout::solver::{Budget, SolverOptions, reduce_touches, solve};
use stopwatt_layout::transform::kv::kept;
use stopwatt_layout::transform::{quant, reconstruction_error};
use stopwatt_layout::{Dense, Graph, Permutation, Trace};

use super::config::{GraphConfig, QuantConfig, SparsityBy, TransformConfig};
use super::material::told;

/// Ways to come to a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// As the model has it.
    Identity,
    /// Any.
    Random,
    /// Solved before the transform.
    Linear,
    /// Solved once, after the transform.
    Once,
    /// Transform and solve in turns.
    Iterative,
}

impl Arm {
    /// Every arm.
    pub const ALL: [Self; 5] = [Self::Identity, Self::Random, Self::Linear, Self::Once, Self::Iterative];

    /// Name in `pipeline.mode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Random => "random",
            Self::Linear => "linear",
            Self::Once => "once",
            Self::Iterative => "iterative",
        }
    }

    /// The arm that `pipeline.mode` names.
    pub fn of_mode(mode: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == mode)
    }
}

/// What a layout is looked for.
pub(super) struct Problem<'a> {
    pub(super) train: Importances,
    pub(super) test: Importances,
    /// Columns of units, where weights are rounded.
    pub(super) weights: Option<&'a Dense>,
    pub(super) block: usize,
    /// Every step reads everything.
    pub(super) dense: bool,
    pub(super) transform: &'a TransformConfig,
    pub(super) geometry: Geometry,
    pub(super) graph_config: &'a GraphConfig,
    /// W of the model as it is.
    pub(super) graph: Graph,
    pub(super) cost: &'a CostParams,
    pub(super) solver: SolverOptions,
    pub(super) error_weight: f64,
    pub(super) churn_weight: f64,
    pub(super) epsilon: f64,
    pub(super) rounds: u32,
    pub(super) seed: u64,
    pub(super) now: &'a (dyn Fn() -> f64 + Sync),
}

/// What a layout is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Worth {
    /// What the steps read, by the model of the cache.
    pub(super) read: Misses,
    /// Share of what is asked for that the cache has.
    pub(super) modelled_hit_rate: Option<f64>,
    /// Share of the operand that is fetched each step.
    pub(super) fetched_share: f64,
    /// Share of the sum of squares that the steps leave out.
    pub(super) lost_energy: f64,
    /// Relative error of the rounded weights.
    pub(super) quant_error: f64,
    /// Share of units that are not where the model has them.
    pub(super) churn: f64,
    /// All together: least is best.
    pub(super) objective: f64,
}

/// A layout that was found.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Found {
    pub(super) arm: Arm,
    #[serde(skip)]
    pub(super) before: Permutation,
    #[serde(skip)]
    pub(super) after: Permutation,
    pub(super) sha256: String,
    /// What it is worth on steps that it was not made from.
    pub(super) held_out: Worth,
    /// On the graph of what the transform reads in the final layout: J of the layout before the last solve, and after.
    pub(super) j_before: Cost,
    pub(super) j_after: Cost,
    pub(super) rounds: Vec<Round>,
    pub(super) seconds: f64,
    pub(super) timed_out: bool,
}

/// One round of solving.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Round {
    /// J where it began, before local swaps, and at its end: one graph, one trace.
    pub(super) start: Cost,
    pub(super) first: Cost,
    pub(super) end: Cost,
    /// Granules that the trace touches where it began, and at its end.
    pub(super) touched: [u64; 2],
    /// Objective where it began, and of the best that was found; the transform is made anew in each.
    pub(super) objective: [f64; 2],
    /// It was taken over.
    pub(super) taken: bool,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(super) struct Arms {
    pub(super) arms: Vec<Found>,
    /// Rank correlation (Spearman) of J with what the model of the cache says is fetched, over the arms and further orders,
    /// on one trace; `None` where one of them does not vary.
    pub(super) rank_correlation: Option<f64>,
    /// How many orders that rests on.
    pub(super) orders: usize,
}

impl Problem<'_> {
    fn d(&self) -> usize {
        self.train.d()
    }

    /// Which units the cache still holds; found on the first half alone.
    pub(super) fn live_units(&self) -> Result<Option<Vec<bool>>, String> {
        let Some(eviction) = &self.transform.kv else { return Ok(None) };
        let mut attention = vec![0.0; self.d()];
        for t in 0..self.train.len() {
            for (sum, w) in attention.iter_mut().zip(self.train.step(t)) {
                *sum += f64::from(*w);
            }
        }
        let mut live = vec![false; self.d()];
        for unit in kept(&attention, eviction).map_err(|e| told(&e))? {
            live[unit as usize] = true;
        }
        Ok(Some(live))
    }

    /// What a step reads in a layout: the transform is made in it.
    pub(super) fn selected(&self, weights: &[f32], pi: &Permutation, live: Option<&[bool]>) -> Vec<u32> {
        let is_live = |unit: &u32| live.is_none_or(|l| l[*unit as usize]);
        let sparsity = self.transform.sparsity.as_ref().filter(|_| !self.dense);
        let Some(sparsity) = sparsity else {
            return (0..weights.len() as u32).filter(is_live).collect();
        };
        let energy = sparsity.energy;
        let how = match sparsity.by {
            SparsityBy::Units => Selection::Units { energy },
            SparsityBy::Blocks => Selection::Blocks { energy, size: self.block },
        };
        let masked: Vec<f32> =
            weights.iter().zip(0u32..).map(|(w, unit)| if is_live(&unit) { *w } else { 0.0 }).collect();
        let mut units = select(&masked, pi, how);
        units.retain(is_live);
        units
    }

    /// What the steps read in a layout.
    pub(super) fn trace(&self, of: &Importances, pi: &Permutation) -> Result<Trace, String> {
        let live = self.live_units()?;
        let steps = (0..of.len()).map(|t| self.selected(of.step(t), pi, live.as_deref()));
        Trace::new(of.d(), steps).map_err(|e| told(&e))
    }

    fn worth(&self, of: &Importances, pi: &Permutation) -> Result<Worth, String> {
        let trace = self.trace(of, pi)?;
        let read = misses(&trace, pi, &self.geometry);
        let granules = (self.d() as u64 * self.geometry.unit_bits).div_ceil(8 * self.geometry.granule_bytes);
        let fetched_share = read.misses as f64 / (granules * of.len() as u64) as f64;
        let lost = lost_energy(of, &trace);
        let quant_error = match (self.weights, &self.transform.quant) {
            (Some(weights), Some(quant)) => quantised(weights, pi, quant)?.1,
            _ => 0.0,
        };
        let churn = pi.churn(&Permutation::identity(self.d()), self.cost.hysteresis);
        Ok(Worth {
            read,
            modelled_hit_rate: read.hit_rate(),
            fetched_share,
            lost_energy: lost,
            quant_error,
            churn,
            objective: fetched_share + self.error_weight * (lost + quant_error) + self.churn_weight * churn,
        })
    }

    /// W of what a trace reads.
    pub(super) fn graph_of(&self, trace: &Trace) -> Graph {
        scaled(Graph::co_activation(trace), self.graph_config)
    }

    /// One solve on what the transform reads in layout `pi`.
    fn round(&self, pi: &Permutation, budget: &Budget<'_>) -> Result<(Permutation, Round), String> {
        let trace = self.trace(&self.train, pi)?;
        let graph = self.graph_of(&trace);
        let solved = solve(&graph, pi, Some(pi), self.cost, &self.solver, budget);
        // What is read often lies together: with tokens dropped for good, that closes the holes.
        let reads: Vec<usize> = trace.by_unit().iter().map(Vec::len).collect();
        let mut compact = solved.permutation.order().to_vec();
        compact.sort_by_key(|&unit| std::cmp::Reverse(reads[unit as usize]));
        let compact = Permutation::from_order(compact).map_err(|e| told(&e))?;
        let starts = [pi.clone(), solved.permutation.clone(), compact];
        let (steps, seed) = (self.solver.refine_steps, self.solver.rng_seed);
        let touched = reduce_touches(&trace, starts, self.block, steps, seed, budget);
        let was = misses(&trace, pi, &Geometry { cache_bytes: 0, ..self.geometry }).misses;
        let mut tried = vec![solved.permutation, touched.permutation];
        if let (Some(weights), Some(_)) = (self.weights, &self.transform.quant) {
            // Columns of like size share a scale.
            let norms = weights.column_norms();
            let mut order: Vec<u32> = (0..self.d() as u32).collect();
            order.sort_by(|&a, &b| norms[b as usize].total_cmp(&norms[a as usize]));
            tried.push(Permutation::from_order(order).map_err(|e| told(&e))?);
        }
        let begin = self.worth(&self.train, pi)?.objective;
        let mut best = (pi.clone(), begin);
        for candidate in tried {
            let objective = self.worth(&self.train, &candidate)?.objective;
            if objective < best.1 {
                best = (candidate, objective);
            }
        }
        let round = Round {
            start: solved.start,
            first: solved.first,
            end: evaluate(&graph, &best.0, Some(pi), self.cost),
            touched: [was, touched.after],
            objective: [begin, best.1],
            taken: best.0 != *pi,
        };
        Ok((best.0, round))
    }

    /// The layout of an arm.
    pub(super) fn find(&self, arm: Arm) -> Result<Found, String> {
        let identity = Permutation::identity(self.d());
        let begin = (self.now)();
        let budget = Budget::new(self.solver.time_budget_s, self.now);
        let linear = |rounds: &mut Vec<Round>| {
            let solved = solve(&self.graph, &identity, None, self.cost, &self.solver, &budget);
            rounds.push(Round {
                start: solved.start,
                first: solved.first,
                end: solved.cost,
                touched: [0; 2],
                objective: [0.0; 2],
                taken: solved.permutation != identity,
            });
            solved.permutation
        };
        let mut rounds = Vec::new();
        let (before, after) = match arm {
            Arm::Identity => (identity.clone(), identity),
            Arm::Random => {
                let random = Permutation::random(self.d(), self.seed);
                (random.clone(), random)
            }
            Arm::Linear => {
                let pi = linear(&mut rounds);
                (pi.clone(), pi)
            }
            Arm::Once => {
                let (pi, round) = self.round(&identity, &budget)?;
                rounds.push(round);
                (identity, pi)
            }
            Arm::Iterative => {
                let first = linear(&mut rounds);
                let mut pi = first.clone();
                for _ in 0..self.rounds {
                    let (next, round) = self.round(&pi, &budget)?;
                    let gained = round.objective[0] - round.objective[1];
                    let small = gained < self.epsilon * round.objective[0];
                    rounds.push(round);
                    pi = next;
                    if small || budget.is_over() {
                        break;
                    }
                }
                (first, pi)
            }
        };
        let graph = self.graph_of(&self.trace(&self.train, &after)?);
        Ok(Found {
            arm,
            sha256: after.sha256(),
            held_out: self.worth(&self.test, &after)?,
            j_before: evaluate(&graph, &before, Some(&before), self.cost),
            j_after: evaluate(&graph, &after, Some(&before), self.cost),
            rounds,
            seconds: (self.now)() - begin,
            timed_out: budget.was_over(),
            before,
            after,
        })
    }

    /// Every arm, and how J ranks orders against the model of the cache.
    pub(super) fn all(&self) -> Result<Arms, String> {
        let arms: Vec<Found> = Arm::ALL.into_iter().map(|arm| self.find(arm)).collect::<Result<_, _>>()?;
        let trace = self.trace(&self.test, &Permutation::identity(self.d()))?;
        let graph = self.graph_of(&trace);
        let mut orders: Vec<Permutation> = arms.iter().map(|f| f.after.clone()).collect();
        // Between the arms' layouts and chance: each with a growing share of its places exchanged at random.
        for (i, found) in arms.iter().enumerate() {
            for (j, share) in [8, 4, 2].into_iter().enumerate() {
                let mut pi = found.after.clone();
                let chance = Permutation::random(self.d(), self.seed ^ (i * 3 + j + 1) as u64);
                for pair in chance.order().chunks_exact(2).take(self.d() / share / 2) {
                    pi.swap(pair[0] as usize, pair[1] as usize);
                }
                orders.push(pi);
            }
        }
        let j: Vec<f64> = orders.iter().map(|pi| evaluate(&graph, pi, None, self.cost).j).collect();
        let read: Vec<f64> =
            orders.iter().map(|pi| misses(&trace, pi, &self.geometry).misses as f64).collect();
        Ok(Arms { rank_correlation: spearman(&j, &read), orders: orders.len(), arms })
    }
}

/// A graph scaled and cut as the settings say.
pub(super) fn scaled(graph: Graph, config: &GraphConfig) -> Graph {
    let d = graph.d() as f64;
    let cap = config.nnz_cap.unwrap_or((0.05 * d * d).min(50e6) as usize);
    graph.capped(cap.max(1)).normalized(config.normalize)
}

/// Columns in the order of a layout, rounded, back in their own order; and the error of that.
pub(super) fn quantised(
    weights: &Dense,
    pi: &Permutation,
    quant: &QuantConfig,
) -> Result<(Dense, f64), String> {
    let laid = weights.with_columns(pi.order());
    let rounded = quant::quantize(&laid, quant.format, quant.group).map_err(|e| told(&e))?.dequantized();
    let error = reconstruction_error(&laid, &rounded, None);
    Ok((rounded.with_columns(pi.position()), error))
}

/// Spearman's rank correlation; ties get their mean rank. `None` where one side does not vary.
fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let ranks = |values: &[f64]| -> Vec<f64> {
        let below = |v: f64| values.iter().filter(|o| **o < v).count() as f64;
        let equal = |v: f64| values.iter().filter(|o| **o == v).count() as f64;
        values.iter().map(|&v| below(v) + (equal(v) - 1.0) / 2.0).collect()
    };
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let length = (sum(&a, &a) * sum(&b, &b)).sqrt();
    (length > 0.0).then(|| sum(&a, &b) / length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sop::layout::config::SparsityConfig;

    /// Eight topics of eight units, strewn; each step one topic matters, the rest hardly.
    fn strewn(steps: usize) -> Importances {
        let names = Permutation::random(64, 5);
        let mut rows = vec![0.01; steps * 64];
        for t in 0..steps {
            for i in 0..8 {
                rows[t * 64 + names.order()[(t * 5 % 8) * 8 + i] as usize] = 1.0 + i as f32 * 0.1;
            }
        }
        Importances::new(64, rows).unwrap()
    }

    fn found(by: SparsityBy, refine_steps: u64, budget_s: f64) -> Arms {
        let transform = TransformConfig {
            sparsity: Some(SparsityConfig { by, energy: 0.95, rate: None }),
            ..TransformConfig::default()
        };
        let (train, test) = strewn(80).split(40);
        let graph = Graph::correlation(train.rows(), 64, 0.1).unwrap();
        let (graph_config, cost) = (GraphConfig::default(), CostParams { g: 1, ..CostParams::default() });
        let problem = Problem {
            train,
            test,
            weights: None,
            block: 8,
            dense: false,
            transform: &transform,
            geometry: Geometry { unit_bits: 64, granule_bytes: 64, cache_bytes: 0 },
            graph: scaled(graph, &graph_config),
            graph_config: &graph_config,
            cost: &cost,
            solver: SolverOptions { refine_steps, time_budget_s: budget_s, ..SolverOptions::default() },
            error_weight: 1.0,
            churn_weight: 0.0,
            epsilon: 0.01,
            rounds: 4,
            seed: 1,
            now: &|| 0.0,
        };
        problem.all().unwrap()
    }

    #[test]
    fn solved_layouts_fetch_a_step_in_one_block_and_iterating_gains_nothing_where_the_transform_ignores_them()
    {
        let arms = found(SparsityBy::Units, 20_000, 1.0);
        let share: Vec<f64> = arms.arms.iter().map(|f| f.held_out.fetched_share).collect();
        assert!(share[0] > 0.4 && share[1] > 0.4, "{share:?}");
        // One of eight blocks a step is the least there can be.
        assert_eq!((share[3], share[4]), (0.125, 0.125));
        assert!(arms.arms.iter().all(|f| !f.timed_out));
        assert!(arms.rank_correlation > Some(0.5), "{:?}", arms.rank_correlation);
    }

    #[test]
    fn a_transform_by_blocks_reads_what_the_layout_makes_it_read() {
        let arms = found(SparsityBy::Blocks, 20_000, 1.0);
        let share = |arm: Arm| arms.arms.iter().find(|f| f.arm == arm).unwrap().held_out.fetched_share;
        // In the model's own order every block has a little of every topic, so that once solves on nonsense.
        assert!(share(Arm::Identity) > 0.5);
        assert_eq!(share(Arm::Iterative), 0.125);
        assert!(share(Arm::Once) >= share(Arm::Iterative));
    }

    #[test]
    fn a_solver_without_time_says_so_and_still_has_a_layout() {
        let arms = found(SparsityBy::Units, 1000, 0.0);
        assert!(arms.arms.iter().filter(|f| f.timed_out).count() >= 3);
        assert!(arms.arms.iter().all(|f| f.after.len() == 64));
    }

    #[test]
    fn ranks_correlate_as_published() {
        assert_eq!(spearman(&[1., 2., 3.], &[10., 20., 90.]), Some(1.0));
        assert_eq!(spearman(&[1., 2., 3.], &[3., 2., 1.]), Some(-1.0));
        assert_eq!(spearman(&[1., 1.], &[1., 2.]), None);
        // The example of Spearman's coefficient with IQ and hours of television: −29/165.
        let iq = [106., 100., 86., 101., 99., 103., 97., 113., 112., 110.];
        let tv = [7., 27., 2., 50., 28., 29., 20., 12., 6., 17.];
        assert!((spearman(&iq, &tv).unwrap() + 29.0 / 165.0).abs() < 1e-12);
    }
}
