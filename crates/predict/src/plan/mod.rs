//! How much of which hardware serves a traffic within its limits, and for how much.
//!
//! ```text
//! candidates (device × format × tp × settings) ──► highest rate of one replica ──► replicas ──► devices, cost
//!                                             └──► closed loops of growing size ──► Pareto front
//! ```
//!
//! Each candidate is simulated with expected steps, and with steps at the slow end of their interval: `sure` figures
//! hold also then.

mod capacity;
mod limit;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_serving::arrival::ArrivalProcess;
use stopwatt_serving::price::PriceKind;

pub use limit::{Latency, Limit, Which};

use self::capacity::{Bound, Capacity, capacity};
use crate::predict::{LatencyDoc, PredictError, Question, Scaled, predict, scenario, spread};
use crate::regime::Regime;
use crate::simulate::{Load, Scenario, Summary, simulate};
use crate::step::StepPredictor;

/// The traffic and what it must keep to.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Requests a second, as a Poisson process.
    pub rate_rps: f64,
    /// Limits; at least one.
    pub limits: Vec<Limit>,
    /// Share of a replica's capacity that is kept free, from 0 to below 1.
    pub headroom: f64,
}

/// A price of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    /// Name in the price table.
    pub id: String,
    /// How it is paid for.
    pub kind: PriceKind,
    /// Currency.
    pub currency: String,
    /// Price of one device an hour.
    pub per_device_hour: f64,
}

/// A way to serve: load and number of requests are those of the search.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Model, device, settings, lengths. Its load is not looked at.
    pub question: Question,
    /// What its device costs.
    pub offers: Vec<Offer>,
}

/// What a replica can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CapacityDoc {
    /// Highest rate within the limits, in requests a second.
    pub rate_rps: f64,
    /// The same with steps at the slow end of their 90 % interval; `null` when no rate holds then.
    pub sure_rps: Option<f64>,
    /// What a higher rate fails by.
    pub bound: String,
}

/// What a number of replicas costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostDoc {
    /// The price.
    pub offer: Offer,
    /// All devices, an hour.
    pub per_hour: f64,
    /// A million output tokens of the planned traffic.
    pub per_million_output_tokens: f64,
    /// A million tokens of it, prompts included.
    pub per_million_tokens: f64,
}

/// What one replica does at its share of the traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceDoc {
    /// Requests a second at each replica.
    pub rate_rps: f64,
    /// Time to the first token.
    pub ttft_s: LatencyDoc,
    /// Time per output token.
    pub tpot_s: Option<LatencyDoc>,
    /// Time to the last token.
    pub e2e_s: LatencyDoc,
    /// Requests that run together, on average.
    pub mean_batch: f64,
    /// Largest share of the cache in use.
    pub kv_cache_peak: f64,
}

/// Replicas for the traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FleetDoc {
    /// Replicas.
    pub replicas: u64,
    /// Replicas with which the limits hold at the slow end too; `null` when no number does.
    pub sure_replicas: Option<u64>,
    /// Devices of `replicas`.
    pub devices: u64,
    /// Output tokens a second and device.
    pub output_tokens_per_s_per_device: f64,
    /// What one of them does.
    pub service: ServiceDoc,
    /// Cost, one for each price.
    pub costs: Vec<CostDoc>,
}

/// A candidate and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OptionDoc {
    /// Device.
    pub gpu: String,
    /// Format of weights.
    pub dtype: String,
    /// Devices that share each layer.
    pub tensor_parallel_size: u32,
    /// Groups of devices that share out the layers.
    pub pipeline_parallel_size: u32,
    /// Share of the memory that the engine takes.
    pub gpu_memory_utilization: f64,
    /// Most running requests.
    pub max_num_seqs: u32,
    /// Most tokens of a step.
    pub max_num_batched_tokens: u32,
    /// Whether times rest on measured kernels of this device.
    pub measured_kernels: bool,
    /// Tokens that the cache of a replica holds; `null` when the model does not fit.
    pub kv_cache_tokens: Option<u64>,
    /// What a replica can do; `null` when it cannot serve at all.
    pub capacity: Option<CapacityDoc>,
    /// The fleet; `null` when none serves the traffic.
    pub fleet: Option<FleetDoc>,
    /// Why not.
    pub reason: Option<String>,
}

/// A closed loop of one option: speed for one user against work of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ParetoPoint {
    /// Index of the option.
    pub option: usize,
    /// Clients of a replica.
    pub concurrency: u32,
    /// Output tokens a second that a user sees: 1 over the mean time per token.
    pub tokens_per_s_per_user: f64,
    /// Output tokens a second and device.
    pub tokens_per_s_per_device: f64,
    /// No other point of any option is better in both.
    pub on_front: bool,
}

/// The plan: options from cheapest to dearest where prices are known, else from fewest devices to most; those that
/// cannot serve follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanDoc {
    /// Model.
    pub model: String,
    /// Requests a second.
    pub rate_rps: f64,
    /// Prompt lengths in tokens.
    pub input: String,
    /// Output lengths in tokens.
    pub output: String,
    /// Limits in words.
    pub limits: Vec<String>,
    /// Share of a replica's capacity that is kept free.
    pub headroom: f64,
    /// Requests of each simulation.
    pub requests: u32,
    /// What was looked at.
    pub options: Vec<OptionDoc>,
    /// Closed loops of the options.
    pub pareto: Vec<ParetoPoint>,
}

/// Most clients of a closed loop that is looked at.
const MOST_CLIENTS: u32 = 512;
/// Twice the clients must bring this much more, or the curve has ended.
const GAIN: f64 = 1.02;

/// Plans. Candidates are looked at side by side.
pub fn plan(wanted: &Wanted, candidates: &[Candidate]) -> PlanDoc {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, OptionDoc, Vec<ParetoPoint>)>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(candidates.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(candidate) = candidates.get(index) else { return };
                    let (option, points) = look(wanted, candidate);
                    found
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((index, option, points));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_by(|(i, a, _), (j, b, _)| {
        order(a).partial_cmp(&order(b)).unwrap_or(std::cmp::Ordering::Equal).then(i.cmp(j))
    });
    let mut options = Vec::with_capacity(found.len());
    let mut pareto = Vec::new();
    for (_, option, points) in found {
        pareto.extend(points.into_iter().map(|p| ParetoPoint { option: options.len(), ..p }));
        options.push(option);
    }
    mark_front(&mut pareto);
    let of = candidates.first().map(|c| &c.question);
    PlanDoc {
        model: of.map_or_else(String::new, |q| q.deployment.model.name.clone()),
        rate_rps: wanted.rate_rps,
        input: of.map_or_else(String::new, |q| q.workload.input.label()),
        output: of.map_or_else(String::new, |q| q.workload.output.label()),
        limits: wanted.limits.iter().map(ToString::to_string).collect(),
        headroom: wanted.headroom,
        requests: of.map_or(0, |q| q.requests),
        options,
        pareto,
    }
}

/// Those that serve first; among them by cost where it is known, then by devices.
fn order(option: &OptionDoc) -> (bool, f64, u64) {
    match &option.fleet {
        None => (true, f64::INFINITY, u64::MAX),
        Some(fleet) => {
            let cheapest = fleet.costs.iter().map(|c| c.per_hour).fold(f64::INFINITY, f64::min);
            (false, cheapest, fleet.devices)
        }
    }
}

fn look(wanted: &Wanted, candidate: &Candidate) -> (OptionDoc, Vec<ParetoPoint>) {
    let q = &candidate.question;
    let mut option = OptionDoc {
        gpu: q.latency.gpu().name.clone(),
        dtype: q.deployment.precision.name().to_owned(),
        tensor_parallel_size: q.deployment.tp,
        pipeline_parallel_size: q.deployment.pp,
        gpu_memory_utilization: q.settings.gpu_memory_utilization,
        max_num_seqs: q.settings.max_num_seqs,
        max_num_batched_tokens: q.settings.max_num_batched_tokens,
        measured_kernels: q.table.is_some(),
        kv_cache_tokens: None,
        capacity: None,
        fleet: None,
        reason: None,
    };
    let mut points = Vec::new();
    if let Err(error) = fill(wanted, candidate, &mut option, &mut points) {
        option.reason = Some(error.to_string());
    }
    (option, points)
}

fn fill(
    wanted: &Wanted,
    candidate: &Candidate,
    option: &mut OptionDoc,
    points: &mut Vec<ParetoPoint>,
) -> Result<(), PredictError> {
    let q = &candidate.question;
    let (scenario, memory) = scenario(q)?;
    option.kv_cache_tokens = Some(memory.kv_cache_tokens);
    let model = StepPredictor::new(q.deployment.clone(), q.latency.clone(), &q.settings, q.corrector)?;
    let devices = u64::from(q.deployment.tp) * u64::from(q.deployment.pp);
    *points = curve(&scenario, &model, q, devices)?;
    let words = |bound: Bound| match bound {
        Bound::Limit(index) => wanted.limits[index].to_string(),
        Bound::Queue => "the queue grows".to_owned(),
    };
    let found = match capacity(&scenario, &model, &wanted.limits)? {
        Ok(found) => found,
        Err(bound) => {
            option.reason = Some(format!("a request alone does not keep to the limits: {}", words(bound)));
            return Ok(());
        }
    };
    let [prefill, decode] = spread(q, &model, Regime::Together)?;
    let slow = Scaled { inner: &model, prefill: prefill[1].max(1.0), decode: decode[1].max(1.0) };
    let sure = capacity(&scenario, &slow, &wanted.limits)?.ok();
    option.capacity = Some(CapacityDoc {
        rate_rps: found.rate_rps,
        sure_rps: sure.map(|s| s.rate_rps),
        bound: words(found.bound),
    });
    option.fleet = Some(fleet(wanted, candidate, found, sure, devices)?);
    Ok(())
}

fn fleet(
    wanted: &Wanted,
    candidate: &Candidate,
    found: Capacity,
    sure: Option<Capacity>,
    devices: u64,
) -> Result<FleetDoc, PredictError> {
    let q = &candidate.question;
    let replicas_of = |capacity: Capacity| {
        (wanted.rate_rps / (capacity.rate_rps * (1.0 - wanted.headroom))).ceil().max(1.0) as u64
    };
    let replicas = replicas_of(found);
    let rate_rps = wanted.rate_rps / replicas as f64;
    // What is random stays random when requests are dealt out at random.
    let process = ArrivalProcess::poisson(rate_rps).map_err(|_| PredictError::NoneLeft)?;
    let doc = predict(&Question { load: Load::Open(process), drop_first_wave: false, ..q.clone() })?;
    let (input, output) = (q.workload.input.nominal_mean(), q.workload.output.nominal_mean());
    let output_per_s = wanted.rate_rps * output;
    let all = replicas * devices;
    let costs = candidate
        .offers
        .iter()
        .map(|offer| {
            let per_hour = offer.per_device_hour * all as f64;
            let per_million = |tokens_per_s: f64| per_hour / (tokens_per_s * 3600.0) * 1e6;
            CostDoc {
                offer: offer.clone(),
                per_hour,
                per_million_output_tokens: per_million(output_per_s),
                per_million_tokens: per_million(wanted.rate_rps * (input + output)),
            }
        })
        .collect();
    Ok(FleetDoc {
        replicas,
        sure_replicas: sure.map(replicas_of),
        devices: all,
        output_tokens_per_s_per_device: output_per_s / all as f64,
        service: ServiceDoc {
            rate_rps,
            ttft_s: doc.ttft_s,
            tpot_s: doc.tpot_s,
            e2e_s: doc.e2e_s,
            mean_batch: doc.mean_batch,
            kv_cache_peak: doc.kv_cache_peak,
        },
        costs,
    })
}

/// Closed loops of 1, 2, 4, … clients, until more clients bring no more.
fn curve(
    scenario: &Scenario,
    model: &StepPredictor,
    q: &Question,
    devices: u64,
) -> Result<Vec<ParetoPoint>, PredictError> {
    let mut points: Vec<ParetoPoint> = Vec::new();
    let mut concurrency = 1;
    while concurrency <= MOST_CLIENTS.min(q.settings.max_num_seqs) {
        let load = Load::Closed { concurrency };
        let outcome = simulate(&Scenario { load, requests: 4 * concurrency, ..scenario.clone() }, model)?;
        let summary = Summary::of(&outcome, concurrency as usize).ok_or(PredictError::NoneLeft)?;
        // Without a second token there is no speed to see.
        let Some(tpot) = summary.tpot else { break };
        let point = ParetoPoint {
            option: 0,
            concurrency,
            tokens_per_s_per_user: 1.0 / tpot.mean,
            tokens_per_s_per_device: summary.output_tokens_per_s / devices as f64,
            on_front: false,
        };
        let ended = points
            .last()
            .is_some_and(|last| point.tokens_per_s_per_device < last.tokens_per_s_per_device * GAIN);
        points.push(point);
        if ended {
            break;
        }
        concurrency *= 2;
    }
    Ok(points)
}

fn mark_front(points: &mut [ParetoPoint]) {
    let better = |a: &ParetoPoint, b: &ParetoPoint| {
        let (user, device) = (
            (a.tokens_per_s_per_user, b.tokens_per_s_per_user),
            (a.tokens_per_s_per_device, b.tokens_per_s_per_device),
        );
        user.0 >= user.1 && device.0 >= device.1 && (user.0 > user.1 || device.0 > device.1)
    };
    let front: Vec<bool> = points.iter().map(|p| !points.iter().any(|other| better(other, p))).collect();
    for (point, on_front) in points.iter_mut().zip(front) {
        point.on_front = on_front;
    }
}

#[cfg(test)]
mod tests;
