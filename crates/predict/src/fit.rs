//! Calibration: what an engine and its host add to kernels, from what a client measured alone.
//!
//! ```text
//! measured load ──► simulated with the constants so far ──► which steps each token waited for
//!        TPOT = Σ steps between the first and the last token / (tokens − 1)        each step is
//!        TTFT = request + prompt tokens · each + parsing of those before it        (1+ε)·kernels + c₀ + c₁·sequences + c₂·admitted,
//!               + Σ steps until the first token                                    and at least the launch of its kind
//!                        ▲                                                          │
//!                        └───────────── the constants, none below 0 ◄───────────────┘
//! ```
//!
//! Both are linear in the constants as long as the same steps are taken, so least squares find them, and a few rounds of
//! simulating settle which steps those are. Loads weigh by relative error, those
//! whose repeats differ less than others. What the loads do not tell apart
//! is held by weak priors (`PRIOR`), so that few loads give small corrections and not wild ones. What bounds a step
//! changes with the constants, so that one begin may end in a worse fit than another: there are several (`STARTS`). The
//! intervals come from loads that are left out of the fit, one by one or, of three models and more, all of a model at
//! once ([`crate::regime`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_serving::step::StepShape;
use stopwatt_stats::nnls::nnls;

use crate::corrector::{Corrector, Launch, unseen};
use crate::observed::{Means, Observed};
use crate::predict::{PredictError, Question, scenario};
use crate::regime::{Left, Regime, Spreads};
use crate::simulate::{Frontend, Outcome, simulate_watched};
use crate::step::StepPredictor;

/// Constants: factor on kernels, seconds of a step, of a sequence, of an admitted request, least seconds of a layer of a
/// step in pieces and kernel by kernel, of a step as one graph and of a sequence in it; outside the steps seconds of a request, of a prompt
/// token, and of parsing on a shared thread.
type Constants = [f64; N];
/// How many there are.
const N: usize = 11;
/// How many of them make a step.
const OF_STEPS: usize = 8;
/// Those that bound a step from below.
const LAUNCHES: std::ops::Range<usize> = 4..6;

/// The least time of a step that is one graph.
const GRAPH: usize = 6;
/// Steps a token that the host must bound for a load to show its time.
const SEEN: f64 = 0.2;

/// What is assumed of the constants before anything is measured, and how far they may reasonably be off. The first is
/// that of kernels in a graph against kernels in an engine; the others are the published guesses.
const PRIOR: [(f64, f64); N] = [
    (1.0, 0.05),
    (126e-6, 500e-6),
    (4.4e-6, 20e-6),
    (0.0, 1e-3),
    (0.3e-3, 0.3e-3),
    (0.5e-3, 0.5e-3),
    (unseen::STEP_S, 1e-3),
    (unseen::SEQUENCE_S, 10e-6),
    (2.5e-3, 3e-3),
    (1e-6, 2e-6),
    (0.5e-3, 1e-3),
];
/// Relative error of a load that weighs as much as one deviation of a constant.
const NOISE: f64 = 0.03;
/// Rounds of simulating and fitting.
const ROUNDS: usize = 12;
/// Launches to begin with, as multiples of their priors.
const STARTS: [f64; 3] = [1.0, 0.3, 2.0];
/// Models from which on intervals come from whole models that are left out, and not from single loads.
const FEWEST_MODELS: usize = 3;
/// Fewest loads.
pub const FEWEST: usize = 3;
/// Share of the time to the first token that a request may wait in the queue for its load to be fitted to: longer waits
/// say how full the engine was, and little about its steps.
const MOST_QUEUE: f64 = 0.5;

/// A load that constants were fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FittedLoad {
    /// The run.
    pub run: String,
    /// Its name for people.
    pub label: String,
    /// What was measured.
    pub measured: Means,
    /// What the fit says of it, in seconds: TTFT and TPOT.
    pub fitted_s: [Option<f64>; 2],
    /// What a fit to the other loads says of it, or to those of the other models where there are three and more.
    pub left_out_s: [Option<f64>; 2],
}

/// A calibration: `--calibration` takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationDoc {
    /// Version of Stopwatt that fitted.
    pub stopwatt: String,
    /// The model that was served.
    pub model: String,
    /// Format of its weights.
    pub dtype: String,
    /// The device.
    pub gpu: String,
    /// Version of the engine.
    pub engine_version: String,
    /// Where times of kernels were from.
    pub kernels: Vec<String>,
    /// What a step takes beside its kernels.
    pub corrector: Corrector,
    /// Time outside the steps.
    pub frontend: Frontend,
    /// Intervals.
    pub spreads: Spreads,
    /// The loads.
    pub loads: Vec<FittedLoad>,
}

/// Why nothing was fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// Too few loads.
    #[error("{found} loads are too few to fit to; {FEWEST} are the fewest")]
    TooFew {
        /// Loads given.
        found: usize,
    },
    /// First tokens that no client could see.
    #[error(
        "{requests} requests of the load {label} of {run} had tokens without text, so their first tokens are not known"
    )]
    WithoutText {
        /// The run.
        run: String,
        /// The load.
        label: String,
        /// How many requests.
        requests: u64,
    },
    /// A load cannot be simulated.
    #[error("the load {label} of {run} cannot be simulated")]
    Predict {
        /// The run.
        run: String,
        /// The load.
        label: String,
        /// Why.
        #[source]
        source: Box<PredictError>,
    },
    /// The equations have no solution.
    #[error(transparent)]
    Unsupported(#[from] stopwatt_stats::Unsupported),
}

impl FitError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooFew { .. } => Some("measure one client, a few, and many; short and long prompts"),
            _ => None,
        }
    }
}

/// What a load says about the constants: coefficients of TTFT and TPOT.
#[derive(Debug, Clone, Copy, Default)]
struct Equations {
    ttft: Constants,
    tpot: Option<Constants>,
    /// Mean share of TTFT in the queue.
    queue: f64,
    regime: Regime,
}

/// Steps as sums up to their ends.
#[derive(Debug, Default)]
struct Track {
    begins: Vec<u64>,
    ends: Vec<u64>,
    /// Kernels, steps, sequences and admitted requests of all steps so far; of those that a launch bounds only how many.
    sums: Vec<[f64; OF_STEPS]>,
}

impl Track {
    fn push(&mut self, begin: u64, end: u64, step: [f64; OF_STEPS]) {
        let before = self.sums.last().copied().unwrap_or_default();
        self.sums.push(std::array::from_fn(|i| before[i] + step[i]));
        self.begins.push(begin);
        self.ends.push(end);
    }

    /// Sums up to a moment; of a step that runs then, its share.
    fn at(&self, t: u64) -> [f64; OF_STEPS] {
        let done = self.ends.partition_point(|end| *end <= t);
        let before = done.checked_sub(1).map_or([0.0; OF_STEPS], |i| self.sums[i]);
        match (self.begins.get(done), self.ends.get(done)) {
            (Some(&begin), Some(&end)) if begin < t => {
                let share = (t - begin) as f64 / (end - begin) as f64;
                std::array::from_fn(|i| before[i] + share * (self.sums[done][i] - before[i]))
            }
            _ => before,
        }
    }

    fn equations(&self, outcome: &Outcome, frontend: &Frontend) -> Equations {
        let nanos = |s: f64| (s * 1e9).round() as u64;
        let n = outcome.requests.len().max(1) as f64;
        let mut sums = Equations::default();
        let (mut tpot, mut several) = ([0.0; N], 0.0);
        for r in &outcome.requests {
            let first = r.first.saturating_sub(nanos(frontend.after_s));
            let last = r.last.saturating_sub(nanos(frontend.after_s));
            let (a, b, c) = (self.at(r.queued), self.at(first), self.at(last));
            for i in 0..OF_STEPS {
                sums.ttft[i] += (b[i] - a[i]) / n;
            }
            sums.ttft[OF_STEPS] += 1.0 / n;
            sums.ttft[OF_STEPS + 1] += f64::from(r.input) / n;
            let outside = frontend.before_s + frontend.per_prompt_token_s * f64::from(r.input);
            let parsing = (r.queued - r.sent) as f64 * 1e-9 - outside;
            if frontend.parsing_s > 0.0 {
                sums.ttft[OF_STEPS + 2] += parsing.max(0.0) / frontend.parsing_s / n;
            }
            let ttft = r.first.saturating_sub(r.sent).max(1) as f64;
            sums.queue += r.admitted.saturating_sub(r.queued) as f64 / ttft / n;
            if r.output > 1 {
                several += 1.0;
                for i in 0..OF_STEPS {
                    tpot[i] += (c[i] - b[i]) / f64::from(r.output - 1);
                }
            }
        }
        sums.tpot = (several > 0.0).then(|| tpot.map(|v| v / several));
        sums.regime = Regime::of(outcome, sums.queue);
        sums
    }
}

fn dot(a: &Constants, b: &Constants) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The constants by least squares on relative errors, with the priors as further equations.
fn solve<'a, 'b>(loads: impl Iterator<Item = (&'a Equations, &'b Observed)>) -> Result<Constants, FitError> {
    let mut columns: [Vec<f64>; N] = Default::default();
    let mut targets = Vec::new();
    let mut add = |row: Constants, target: f64| {
        columns.iter_mut().zip(row).for_each(|(column, v)| column.push(v));
        targets.push(target);
    };
    for (e, load) in loads {
        let weight = weight(load);
        if e.queue <= MOST_QUEUE {
            add(e.ttft.map(|v| weight * v / load.measured.ttft_s), weight);
        }
        if let (Some(tpot), Some(measured)) = (e.tpot, load.measured.tpot_s) {
            add(tpot.map(|v| weight * v / measured), weight);
        }
    }
    for (i, (mean, deviation)) in PRIOR.into_iter().enumerate() {
        let weight = NOISE / deviation;
        let mut row = [0.0; N];
        row[i] = weight;
        add(row, weight * mean);
    }
    let x = nnls(&columns, &targets)?;
    Ok(std::array::from_fn(|i| x[i]))
}

/// What the equations of a load weigh: less where its repeats differ by more than the error that is expected anyway.
fn weight(load: &Observed) -> f64 {
    NOISE / NOISE.hypot(load.repeat_cv.unwrap_or(0.0))
}

/// Squared errors of what was simulated under these constants, with those of the priors.
fn cost<'a, 'b>(x: &Constants, loads: impl Iterator<Item = (&'a Equations, &'b Observed)>) -> f64 {
    let mut sum = 0.0;
    for (e, load) in loads {
        let weight = weight(load);
        if e.queue <= MOST_QUEUE {
            sum += (weight * (dot(&e.ttft, x) / load.measured.ttft_s - 1.0)).powi(2);
        }
        if let (Some(tpot), Some(measured)) = (e.tpot, load.measured.tpot_s) {
            sum += (weight * (dot(&tpot, x) / measured - 1.0)).powi(2);
        }
    }
    let off = |(x, (mean, deviation)): (&f64, (f64, f64))| (NOISE * (x - mean) / deviation).powi(2);
    sum + x.iter().zip(PRIOR).map(off).sum::<f64>()
}

fn corrector(x: &Constants, loads: usize) -> Corrector {
    Corrector {
        scale: x[0],
        per_step_s: x[1],
        per_sequence_s: x[2],
        per_admitted_s: x[3],
        least_pieces_s: 0.0,
        least_eager_s: 0.0,
        least_pieces_per_layer_s: x[4],
        least_eager_per_layer_s: x[5],
        least_graph_s: x[6],
        least_graph_per_sequence_s: x[7],
        graph_seen: false,
        steps: loads as u32,
        spread: None,
    }
}

fn frontend(x: &Constants) -> Frontend {
    // What comes before and after the steps cannot be told apart from outside.
    let [before_s, per_prompt_token_s, parsing_s] = std::array::from_fn(|i| x[OF_STEPS + i]);
    Frontend { before_s, per_prompt_token_s, after_s: 0.0, parsing_s: parsing_s.max(1e-6) }
}

/// Measured loads with what was asked of whom: a question says model, device, engine and kernels; its load and constants
/// are not looked at.
pub type Asked<'a> = (&'a Question, &'a Observed);

/// Fits one set of constants to measured loads, of one model or of several on the same device and host.
pub fn calibrate(asked: &[Asked<'_>]) -> Result<CalibrationDoc, FitError> {
    let loads: Vec<&Observed> = asked.iter().map(|(_, load)| *load).collect();
    let Some((question, _)) = asked.first().filter(|_| loads.len() >= FEWEST) else {
        return Err(FitError::TooFew { found: loads.len() });
    };
    if let Some(load) = loads.iter().find(|load| load.without_text > 0) {
        let (run, label) = (load.run.clone(), load.label.clone());
        return Err(FitError::WithoutText { run, label, requests: load.without_text });
    }
    let simulated = |x: &Constants| {
        let of = |&(question, load): &Asked<'_>| {
            of_load(question, load, x).map_err(|source| FitError::Predict {
                run: load.run.clone(),
                label: load.label.clone(),
                source: Box::new(source),
            })
        };
        asked.iter().map(of).collect::<Result<Vec<_>, _>>()
    };
    let model = |i: usize| asked[i].0.deployment.model.name.as_str();
    let mut models: Vec<&str> = (0..asked.len()).map(model).collect();
    models.dedup();
    // What another model is off by is told by models that were left out: their loads share host, hour and shape.
    let by_model = models.len() >= FEWEST_MODELS;
    // Which steps are taken jumps with the constants, so the last round need not be the best one.
    let mut best: Option<(f64, Constants, Vec<Equations>)> = None;
    for start in STARTS {
        let mut x: Constants = PRIOR.map(|(mean, _)| mean);
        x[LAUNCHES].iter_mut().for_each(|launch| *launch *= start);
        for round in 0..ROUNDS {
            let equations = simulated(&x)?;
            let next = solve(equations.iter().zip(loads.iter().copied()))?;
            let cost = cost(&x, equations.iter().zip(loads.iter().copied()));
            if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                best = Some((cost, x, equations));
            }
            let step = if round < 3 { 1.0 } else { 0.4 };
            x = std::array::from_fn(|i| x[i] + step * (next[i] - x[i]));
        }
    }
    let Some((_, x, equations)) = best else { return Err(FitError::TooFew { found: 0 }) };
    let graph_seen = equations.iter().any(|e| e.tpot.is_some_and(|tpot| tpot[GRAPH] > SEEN));
    let (mut fitted, mut left) = (Vec::new(), Vec::new());
    for (i, (load, own)) in loads.iter().zip(&equations).enumerate() {
        let others = equations.iter().zip(loads.iter().copied()).enumerate();
        let left_out = |j: usize| if by_model { model(j) == model(i) } else { j == i };
        let without = solve(others.filter(|(j, _)| !left_out(*j)).map(|(_, pair)| pair))?;
        let said = |x: &Constants| [Some(dot(&own.ttft, x)), own.tpot.map(|row| dot(&row, x))];
        let (fitted_s, left_out_s) = (said(&x), said(&without));
        let m = &load.measured;
        if let [Some(first), next] = left_out_s {
            let [_, output] = load.mean_lengths();
            left.push(Left {
                regime: own.regime,
                ttft: m.ttft_s / first,
                tpot: next.zip(m.tpot_s).map(|(predicted, measured)| measured / predicted),
                e2e: m.e2e_s / (first + next.unwrap_or(0.0) * (output - 1.0).max(0.0)),
            });
        }
        fitted.push(FittedLoad {
            run: load.run.clone(),
            label: load.label.clone(),
            measured: load.measured,
            fitted_s,
            left_out_s,
        });
    }
    Ok(CalibrationDoc {
        stopwatt: env!("CARGO_PKG_VERSION").to_owned(),
        model: models.join(", "),
        dtype: question.deployment.precision.name().to_owned(),
        gpu: question.latency.gpu().name.clone(),
        engine_version: question.settings.version.to_string(),
        kernels: question.table.as_ref().map(|t| t.sources.clone()).unwrap_or_default(),
        corrector: Corrector { graph_seen, ..corrector(&x, loads.len()) },
        frontend: frontend(&x),
        spreads: Spreads::of(&left),
        loads: fitted,
    })
}

/// Simulates the first trial of a load under these constants.
fn of_load(question: &Question, load: &Observed, x: &Constants) -> Result<Equations, PredictError> {
    let Some((workload, when, requests)) = load.replay(0) else { return Err(PredictError::NoneLeft) };
    let q = Question {
        workload,
        load: when,
        requests,
        duration_s: None,
        drop_first_wave: false,
        corrector: corrector(x, 0),
        frontend: frontend(x),
        spreads: None,
        ..question.clone()
    };
    let (scenario, _) = scenario(&q)?;
    let model = StepPredictor::new(q.deployment.clone(), q.latency.clone(), &q.settings, q.corrector)?;
    let mut track = Track::default();
    let outcome = simulate_watched(&scenario, &model, &mut |step| {
        track.push(step.begin, step.end, step_columns(&model, step.shape));
    })?;
    Ok(track.equations(&outcome, &q.frontend))
}

/// What the constants are multiplied with in a step: what it computes, or that its launch bounds it.
fn step_columns(model: &StepPredictor, shape: &StepShape) -> [f64; OF_STEPS] {
    let sequences = shape.decode_seqs + shape.chunks.len() as u32;
    let kernels_s = model.kernels_s(shape).unwrap_or(0.0);
    let (corrector, launch) = (model.corrector(), model.launch(shape));
    let computing = corrector.computing_s(kernels_s, sequences, shape.admitted);
    let n = f64::from(sequences);
    if computing >= corrector.least_s(launch, sequences) {
        return [kernels_s, 1.0, n, f64::from(shape.admitted), 0.0, 0.0, 0.0, 0.0];
    }
    let layers = f64::from(model.deployment().model.layers);
    match launch {
        Launch::Pieces => [0.0, 0.0, 0.0, 0.0, layers, 0.0, 0.0, 0.0],
        Launch::Eager => [0.0, 0.0, 0.0, 0.0, 0.0, layers, 0.0, 0.0],
        Launch::Graph => [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, n],
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_serving::random::{Draws, Purpose};

    use super::*;
    use crate::observed::Sent;
    use crate::predict::{predict, tests::question};
    use crate::simulate::Load;

    fn of<'a>(question: &'a Question, loads: &'a [Observed]) -> Vec<Asked<'a>> {
        loads.iter().map(|load| (question, load)).collect()
    }

    /// What an engine with these constants would measure, each mean off by `noise`.
    fn measured(truth: &Constants, noise: f64) -> (Question, Vec<Observed>) {
        let mut draws = Draws::new(Purpose::Order, [5, 0, 0, 0]);
        let base = question("llama-3.1-8b", "h100", 1, Load::Closed { concurrency: 1 }, 1);
        let settings = [(1, 128), (1, 2048), (4, 512), (8, 256), (8, 2048), (32, 512), (64, 256), (128, 128)];
        let loads = settings.map(|(concurrency, input)| {
            let sent = Sent { input, output: 16, ..Sent::default() };
            let mut load = Observed {
                run: "r".to_owned(),
                label: format!("c={concurrency} in={input}"),
                concurrency: Some(concurrency),
                trials: vec![vec![sent; 2 * concurrency as usize]],
                measured: Means { ttft_s: 1.0, tpot_s: None, e2e_s: 1.0, output_tokens_per_s: 1.0 },
                repeat_cv: None,
                failed: 0,
                without_text: 0,
            };
            let (workload, when, requests) = load.replay(0).unwrap();
            let (corrector, frontend) = (corrector(truth, 0), frontend(truth));
            let q = Question { workload, load: when, requests, corrector, frontend, ..base.clone() };
            let doc = predict(&q).unwrap();
            let mut off = || 1.0 + noise * draws.normal();
            load.measured = Means {
                ttft_s: doc.ttft_s.mean * off(),
                tpot_s: doc.tpot_s.map(|t| t.mean * off()),
                e2e_s: doc.e2e_s.mean,
                output_tokens_per_s: doc.output_tokens_per_s,
            };
            load
        });
        (base, loads.into())
    }

    #[test]
    fn an_engine_is_found_from_what_its_clients_see() {
        let truth =
            [1.08, 600e-6, 12e-6, 400e-6, 14e-3 / 32.0, 25e-3 / 32.0, 1e-3, 10e-6, 6e-3, 2e-6, 0.4e-3];
        let (question, loads) = measured(&truth, 0.0);
        let doc = calibrate(&of(&question, &loads)).unwrap();
        let mut errors = Vec::new();
        for load in &doc.loads {
            let [first, next] = load.fitted_s.map(Option::unwrap);
            errors.extend([first / load.measured.ttft_s - 1.0, next / load.measured.tpot_s.unwrap() - 1.0]);
        }
        // Which prompts share a step jumps with the constants, so single loads may be off by such a jump.
        let mean = errors.iter().map(|e| e.abs()).sum::<f64>() / errors.len() as f64;
        assert!(mean < 0.03 && errors.iter().all(|e| e.abs() < 0.1), "{errors:?}");
        let c = &doc.corrector;
        assert!((c.scale - 1.08).abs() < 0.02 && (c.per_step_s - 600e-6).abs() < 150e-6, "{c:?}");
        assert!((doc.frontend.before_s - 6e-3).abs() < 2e-3, "{:?}", doc.frontend);
        // Eight loads are too few for quantiles: the interval is the widest residual and half as much again.
        let [lo, hi] = doc.spreads.factors(Regime::Together).tpot;
        assert!(lo < 1.0 && hi > 1.0 && hi < 1.2, "{lo} {hi}");
    }

    #[test]
    fn noise_does_not_make_constants_wild() {
        let truth =
            [1.08, 600e-6, 12e-6, 400e-6, 14e-3 / 32.0, 25e-3 / 32.0, 1e-3, 10e-6, 6e-3, 2e-6, 0.4e-3];
        let (question, loads) = measured(&truth, 0.02);
        let c = calibrate(&of(&question, &loads)).unwrap();
        let x = [
            c.corrector.scale,
            c.corrector.per_step_s,
            c.corrector.per_sequence_s,
            c.corrector.per_admitted_s,
        ];
        assert!(x.iter().all(|v| *v >= 0.0) && (0.95..1.2).contains(&x[0]) && x[1] < 1.5e-3, "{c:?}");
        assert!(matches!(calibrate(&of(&question, &loads[..2])), Err(FitError::TooFew { found: 2 })));
        let mut unseen = loads;
        unseen[3].without_text = 7;
        assert!(matches!(calibrate(&of(&question, &unseen)), Err(FitError::WithoutText { requests: 7, .. })));
    }

    #[test]
    fn a_host_that_no_load_shows_widens_what_it_paces() {
        let calm = Corrector { steps: 9, ..Corrector::default() };
        let q = question("llama-3.2-1b", "h100", 1, Load::Closed { concurrency: 1 }, 4);
        let spreads = Some(Spreads::of(&[]));
        let width = |model: &Question, graph_seen| {
            let q = Question {
                corrector: Corrector { graph_seen, ..calm },
                spreads: spreads.clone(),
                ..model.clone()
            };
            let [lo, hi] = predict(&q).unwrap().tpot_s.unwrap().interval90;
            hi / lo
        };
        assert!((width(&q, false) / width(&q, true) - 2.0).abs() < 1e-6, "0.7 to 1.4 times");
        let large = question("llama-3.1-8b", "h100", 1, Load::Closed { concurrency: 1 }, 4);
        assert_eq!(width(&large, false), width(&large, true), "its kernels set the pace");
    }

    #[test]
    fn shares_of_a_running_step_count() {
        let mut track = Track::default();
        track.push(10, 20, [1.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        track.push(30, 50, [3.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(track.at(10)[..3], [0.0; 3]);
        assert_eq!(track.at(15)[..3], [0.5, 0.5, 1.0]);
        assert_eq!(track.at(25)[..3], [1.0, 1.0, 2.0]);
        assert_eq!(track.at(40)[..3], [2.5, 1.5, 3.0]);
        assert_eq!(track.at(99)[..3], [4.0, 2.0, 4.0]);
    }
}
