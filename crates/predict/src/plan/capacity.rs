//! The highest rate that one replica serves within its limits.

use serde::Serialize;
use stopwatt_serving::arrival::ArrivalProcess;
use stopwatt_serving::step::StepModel;

use super::limit::Limit;
use crate::predict::PredictError;
use crate::simulate::{Load, Outcome, Scenario, SimulateError, Summary, simulate};

/// Rates are searched until the highest that holds and the lowest that fails are this close.
const CLOSE: f64 = 1.02;
/// Below this many requests a second nobody plans.
const LOWEST: f64 = 1e-3;
/// Above this rate no replica is.
const HIGHEST: f64 = 1e6;

/// What ends a rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) enum Bound {
    /// A limit is passed, by index.
    Limit(usize),
    /// Requests come faster than they are served.
    Queue,
}

/// The highest rate, and what the next one fails by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Capacity {
    pub(super) rate_rps: f64,
    pub(super) bound: Bound,
}

/// Finds it; `Err(bound)` when even a lone request does not keep to the limits.
pub(super) fn capacity(
    scenario: &Scenario,
    model: &dyn StepModel,
    limits: &[Limit],
) -> Result<Result<Capacity, Bound>, PredictError> {
    let fails = |rate: f64| -> Result<Option<Bound>, PredictError> {
        let process = ArrivalProcess::poisson(rate)
            .map_err(|_| PredictError::Simulate(SimulateError::Nothing { what: "the rate of requests" }))?;
        let scenario = Scenario { load: Load::Open(process), ..scenario.clone() };
        let outcome = simulate(&scenario, model)?;
        let Some(summary) = Summary::of(&outcome, 0) else { return Err(PredictError::NoneLeft) };
        let passed = limits.iter().position(|limit| limit.value(&summary) > limit.seconds);
        Ok(passed.map(Bound::Limit).or_else(|| queue_grows(&outcome, &summary).then_some(Bound::Queue)))
    };
    let (mut holds, mut too_high) = (None, None);
    let mut rate = 1.0;
    loop {
        match fails(rate)? {
            None => holds = Some(rate),
            Some(bound) => too_high = Some((rate, bound)),
        }
        rate = match (holds, too_high) {
            (Some(lo), Some((hi, bound))) if hi <= lo * CLOSE => {
                return Ok(Ok(Capacity { rate_rps: lo, bound }));
            }
            (Some(lo), Some((hi, _))) => f64::sqrt(lo * hi),
            (Some(lo), None) if lo >= HIGHEST => {
                return Ok(Ok(Capacity { rate_rps: lo, bound: Bound::Queue }));
            }
            (Some(lo), None) => lo * 4.0,
            (None, Some((hi, bound))) if hi <= LOWEST => return Ok(Err(bound)),
            (None, Some((hi, _))) => hi / 4.0,
            (None, None) => rate,
        };
    }
}

/// Whether requests of the second half wait longer than those of the first by more than a tenth of a request's time: a
/// rate that the replica cannot keep up with, whatever the limits are.
fn queue_grows(outcome: &Outcome, summary: &Summary) -> bool {
    let waits: Vec<f64> =
        outcome.requests.iter().map(|r| r.admitted.saturating_sub(r.queued) as f64 * 1e-9).collect();
    let (first, second) = waits.split_at(waits.len() / 2);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    mean(second) - mean(first) > 0.1 * summary.e2e.mean
}
