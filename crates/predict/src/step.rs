//! How long a step takes: its kernels, and what the host adds.
//!
//! ```text
//! StepShape ──► rows (memory of what was asked) ─┐
//!           ──► attention ───────────────────────┴─► Σ kernels ──► Corrector ──► Duration
//! ```
//!
//! The calls on rows depend on three numbers only and are remembered; attention depends on every context and is asked
//! anew. Pipeline stages run one after another.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use stopwatt_core::kernel_table::Family;
use stopwatt_serving::step::{StepModel, StepShape};

use crate::corrector::{Corrector, Launch};
use crate::engine::EngineSettings;
use crate::hardware::GpuError;
use crate::latency::{Latency, Tier, Timed, family};
use crate::operators::{Call, Deployment, DeploymentError, Part};

/// Why steps cannot be predicted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The model on so many devices.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// Predicts steps of one engine.
#[derive(Debug)]
pub struct StepPredictor {
    deployment: Deployment,
    latency: Latency,
    corrector: Corrector,
    captured: Vec<u32>,
    /// Seconds of the calls on rows, by rows, tokens and sequences.
    remembered: Mutex<HashMap<[u32; 3], f64>>,
}

/// A part of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartTime {
    /// Which part.
    pub part: Part,
    /// Calls.
    pub calls: u32,
    /// Seconds.
    pub s: f64,
    /// Seconds in calls of the weakest tier that it has.
    pub tier: Tier,
}

/// A step in its parts. Seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTime {
    /// Expected.
    pub s: f64,
    /// Lower end of the 90 % interval.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
    /// Of the kernels.
    pub kernels_s: f64,
    /// That the host adds.
    pub host_s: f64,
    /// Parts, longest first.
    pub parts: Vec<PartTime>,
    /// Seconds by tier.
    pub tiers: BTreeMap<Tier, f64>,
}

impl StepPredictor {
    /// A predictor. Fails when the model's steps are not known or the device has no rate for its formats.
    pub fn new(
        deployment: Deployment,
        latency: Latency,
        settings: &EngineSettings,
        corrector: Corrector,
    ) -> Result<Self, StepError> {
        let layers = deployment.model.layers;
        let predictor = Self {
            deployment,
            latency,
            corrector: corrector.of_layers(layers),
            captured: settings.capture_sizes(),
            remembered: Mutex::new(HashMap::new()),
        };
        // Whatever can fail does so for one token too.
        let mut shape = StepShape::default();
        shape.add(1, 0, true);
        predictor.explain(&shape)?;
        Ok(predictor)
    }

    /// What is deployed.
    #[must_use]
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// What the host adds.
    #[must_use]
    pub fn corrector(&self) -> &Corrector {
        &self.corrector
    }

    fn rows(&self, tokens: u32) -> u32 {
        EngineSettings::padded(&self.captured, tokens)
    }

    fn sum(&self, calls: &[Call]) -> Result<f64, StepError> {
        let mut sum = 0.0;
        for call in calls {
            sum += self.latency.of(call)?.s * f64::from(call.count);
        }
        Ok(sum)
    }

    /// Seconds of the kernels of a step.
    pub fn kernels_s(&self, shape: &StepShape) -> Result<f64, StepError> {
        let tokens = shape.tokens();
        let sequences = self.deployment.head_rows(shape);
        let rows = self.rows(tokens);
        let key = [rows, tokens, sequences];
        let known = self.remembered.lock().ok().and_then(|map| map.get(&key).copied());
        let on_rows = match known {
            Some(seconds) => seconds,
            None => {
                let seconds = self.sum(&self.deployment.row_calls(tokens, rows, sequences)?)?;
                if let Ok(mut map) = self.remembered.lock() {
                    map.insert(key, seconds);
                }
                seconds
            }
        };
        Ok(on_rows + self.sum(&self.deployment.attention_calls(shape)?)?)
    }

    /// How a step is launched.
    #[must_use]
    pub fn launch(&self, shape: &StepShape) -> Launch {
        let captured = self.captured.last().is_some_and(|largest| shape.tokens() <= *largest);
        match (captured, shape.chunks.is_empty()) {
            (true, true) => Launch::Graph,
            (true, false) => Launch::Pieces,
            (false, _) => Launch::Eager,
        }
    }

    /// Seconds of a step.
    pub fn step_s(&self, shape: &StepShape) -> Result<f64, StepError> {
        let sequences = shape.decode_seqs + shape.chunks.len() as u32;
        let kernels_s = self.kernels_s(shape)?;
        Ok(self.corrector.step_s(kernels_s, sequences, shape.admitted, self.launch(shape)))
    }

    /// A step with its parts, tiers and interval. Errors within a family of operators count as one, those of families
    /// as independent.
    pub fn explain(&self, shape: &StepShape) -> Result<StepTime, StepError> {
        let sequences = shape.decode_seqs + shape.chunks.len() as u32;
        let mut parts: BTreeMap<Part, PartTime> = BTreeMap::new();
        let mut tiers: BTreeMap<Tier, f64> = BTreeMap::new();
        let mut below: BTreeMap<Family, f64> = BTreeMap::new();
        let mut above: BTreeMap<Family, f64> = BTreeMap::new();
        let mut kernels_s = 0.0;
        for call in self.deployment.calls(shape, self.rows(shape.tokens()))? {
            let Timed { s, lo, hi, tier } = self.latency.of(&call)?;
            let count = f64::from(call.count);
            kernels_s += s * count;
            *tiers.entry(tier).or_default() += s * count;
            *below.entry(family(&call)).or_default() += (s - lo) * count;
            *above.entry(family(&call)).or_default() += (hi - s) * count;
            let part = parts.entry(call.part).or_insert(PartTime { part: call.part, calls: 0, s: 0.0, tier });
            part.calls += call.count;
            part.s += s * count;
            part.tier = part.tier.max(tier);
        }
        let total = self.corrector.step_s(kernels_s, sequences, shape.admitted, self.launch(shape));
        let host_s = total - self.corrector.scale * kernels_s;
        let (lo, hi) = match self.corrector.spread {
            // A fit has seen what kernels and host do together.
            Some([lo, hi]) => (total * lo.min(1.0), total * hi.max(1.0)),
            None => {
                let length = |halves: &BTreeMap<Family, f64>| halves.values().map(|h| h * h).sum::<f64>();
                // The host's share is a guess: it may be nothing, or thrice as much.
                (
                    total - (length(&below) + host_s * host_s).sqrt(),
                    total + (length(&above) + 4.0 * host_s * host_s).sqrt(),
                )
            }
        };
        let mut parts: Vec<_> = parts.into_values().collect();
        parts.sort_by(|a, b| b.s.total_cmp(&a.s));
        Ok(StepTime { s: total, lo, hi, kernels_s, host_s, parts, tiers })
    }
}

impl StepModel for StepPredictor {
    fn step(&self, shape: &StepShape) -> Duration {
        // What can fail failed when the predictor was made.
        let seconds = self.step_s(shape).unwrap_or(f64::MAX);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    fn launching(&self, shape: &StepShape) -> Duration {
        Duration::try_from_secs_f64(self.corrector.launching_s(self.launch(shape))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineVersion;
    use crate::hardware::preset;
    use crate::model::builtin;
    use crate::precision::Precision;

    fn predictor(name: &str, tp: u32) -> StepPredictor {
        let gpu = preset("h100").unwrap();
        let deployment =
            Deployment::new(builtin(name).unwrap(), Precision::parse("bf16").unwrap(), tp, 1).unwrap();
        let settings = EngineSettings::defaults(EngineVersion::NEWEST, &deployment.model, gpu);
        StepPredictor::new(deployment, Latency::of_datasheet(gpu.clone()), &settings, Corrector::default())
            .unwrap()
    }

    fn decode(batch: u32, context: u32) -> StepShape {
        let mut shape = StepShape::default();
        (0..batch).for_each(|_| shape.add(1, context, true));
        shape
    }

    #[test]
    fn parts_add_up_to_the_step() {
        let p = predictor("llama-3.1-8b", 1);
        let mut shape = decode(31, 1000);
        shape.add(500, 0, true);
        shape.admitted = 1;
        let t = p.explain(&shape).unwrap();
        let parts: f64 = t.parts.iter().map(|part| part.s).sum();
        assert!((parts - t.kernels_s).abs() < 1e-12 && (t.kernels_s + t.host_s - t.s).abs() < 1e-12);
        assert!(
            (p.kernels_s(&shape).unwrap() - t.kernels_s).abs() < 1e-12,
            "the remembered way gives the same"
        );
        assert!((p.kernels_s(&shape).unwrap() - t.kernels_s).abs() < 1e-12, "twice");
        assert!(t.lo < t.s && t.s < t.hi && t.tiers.len() == 1);
        assert_eq!(p.step(&shape), Duration::from_secs_f64(t.s));
    }

    #[test]
    fn a_decode_step_is_near_what_an_h100_is_known_for() {
        // Llama 3.1 8B in bf16 gives some 150 tokens/s to one user: 6 to 7.5 ms a step.
        let t = predictor("llama-3.1-8b", 1).explain(&decode(1, 512)).unwrap();
        assert!((5.5e-3..7.5e-3).contains(&t.s), "{}", t.s);
        assert!([Part::GateUp, Part::Down].contains(&t.parts[0].part));
    }

    #[test]
    fn padding_costs_as_much_as_the_captured_size() {
        let p = predictor("llama-3.1-8b", 1);
        let parts = |batch| p.explain(&decode(batch, 100)).unwrap().parts;
        let gate_up = |batch| parts(batch).into_iter().find(|t| t.part == Part::GateUp).unwrap().s;
        assert_eq!(gate_up(9), gate_up(16));
        assert!(gate_up(17) > gate_up(16));
    }

    #[test]
    fn more_work_never_takes_less_time() {
        let p = predictor("qwen3-30b-a3b", 1);
        let seconds = |shape: &StepShape| p.step_s(shape).unwrap();
        for pair in [1, 2, 4, 8, 16, 64, 256].windows(2) {
            assert!(seconds(&decode(pair[0], 1000)) < seconds(&decode(pair[1], 1000)));
        }
        assert!(seconds(&decode(8, 1000)) < seconds(&decode(8, 4000)));
    }

    #[test]
    fn latent_attention_fails_at_once() {
        let gpu = preset("h100").unwrap();
        let model = builtin("deepseek-v3").unwrap();
        let settings = EngineSettings::defaults(EngineVersion::NEWEST, &model, gpu);
        let deployment = Deployment::new(model, Precision::parse("fp8").unwrap(), 8, 1).unwrap();
        let made = StepPredictor::new(
            deployment,
            Latency::of_datasheet(gpu.clone()),
            &settings,
            Corrector::default(),
        );
        assert!(matches!(made, Err(StepError::Deployment(DeploymentError::Unknown { .. }))));
    }
}
