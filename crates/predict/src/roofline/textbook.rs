//! The roofline as textbooks do it by hand.
//!
//! ```text
//! FLOP  = 2 · N · tokens          tokens: of the prompt, or of the batch
//! bytes = 2 · N · b               b: bytes a parameter
//! time  = FLOP / min(peak, FLOP/bytes · bandwidth)
//! ```
//!
//! Its factor 2 in the bytes is kept: each weight counts as moved twice, which makes the intensity tokens/b and the time
//! of a memory-bound step twice that of reading every weight once. [`super::honest`] reads them once, and counts the
//! cache, which this method leaves out.

use super::doc::{Bound, GpuFacts, Method, ModelFacts, Phase, PhaseRow, QuantRow, Ridge, RooflineDoc};
use super::{RooflineError, RooflineSettings, compared};
use crate::hardware::{Gpu, Textbook};
use crate::operators::Deployment;

/// Factor of the textbook's byte count.
pub const BYTE_FACTOR: f64 = 2.0;

/// Operations and bytes of a step, and its time at best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Operations.
    pub flop: f64,
    /// Bytes.
    pub bytes: f64,
    /// Operations a byte.
    pub intensity: f64,
    /// What bounds it.
    pub bound: Bound,
    /// Seconds.
    pub time_s: f64,
}

/// A step of `tokens` tokens through `parameters` parameters of `bytes_per_parameter` bytes.
#[must_use]
pub fn step(gpu: &Textbook, parameters: f64, bytes_per_parameter: f64, tokens: u32) -> Step {
    let flop = 2.0 * parameters * f64::from(tokens);
    let bytes = BYTE_FACTOR * parameters * bytes_per_parameter;
    let intensity = flop / bytes;
    let attainable = gpu.flop_s.min(intensity * gpu.bandwidth_bytes_s);
    let bound = if intensity < gpu.flop_s / gpu.bandwidth_bytes_s { Bound::Memory } else { Bound::Compute };
    Step { flop, bytes, intensity, bound, time_s: flop / attainable }
}

pub(super) fn analyse(
    deployment: &Deployment,
    gpu: &Gpu,
    settings: &RooflineSettings,
) -> Result<RooflineDoc, RooflineError> {
    let (model, figures) = (&deployment.model, gpu.textbook);
    let parameters = model.parameter_count();
    let per_parameter = deployment.precision.weight().bytes();
    let row = |phase, tokens: u32, sequences: u32| {
        let step = step(&figures, parameters, per_parameter, tokens * sequences);
        let rate = f64::from(tokens * sequences) / step.time_s;
        PhaseRow {
            phase,
            tokens,
            sequences,
            flop: step.flop,
            bytes: step.bytes,
            intensity: step.intensity,
            bound: step.bound,
            latency_s: step.time_s,
            tokens_per_s: rate,
            per_token_s: if phase == Phase::Decode { step.time_s } else { 1.0 / rate },
        }
    };
    let prefill = settings.input_lengths.iter().map(|&n| row(Phase::Prefill, n, 1));
    let decode = settings.batches.iter().map(|&batch| row(Phase::Decode, 1, batch));
    let rows = prefill.chain(decode).collect();

    let batch = settings.quantisation_batch;
    let mut quantisation: Vec<QuantRow> = Vec::new();
    for precision in compared(deployment) {
        let bytes = precision.weight().bytes();
        let time = step(&figures, parameters, bytes, batch).time_s;
        let rate = f64::from(batch) / time;
        quantisation.push(QuantRow {
            dtype: precision.name().to_owned(),
            sequences: batch,
            weight_bytes: parameters * bytes,
            latency_s: time,
            tokens_per_s: rate,
            speedup: rate / quantisation.first().map_or(rate, |first| first.tokens_per_s),
        });
    }
    let mut notes = model.notes.clone();
    notes.push(
        "the textbook counts every weight twice (2·N·b bytes) and no cache: its memory-bound times are about twice \
         those of the honest method"
            .to_owned(),
    );
    if model.moe.is_some() {
        notes.push("the textbook counts all experts for every token".to_owned());
    }
    if deployment.tp * deployment.pp > 1 {
        notes.push("the textbook knows one device; tensor and pipeline parallelism are left out".to_owned());
    }
    Ok(RooflineDoc {
        method: Method::Textbook,
        model: ModelFacts::of(deployment),
        gpu: GpuFacts {
            id: gpu.id.clone(),
            name: gpu.name.clone(),
            bandwidth_bytes_s: figures.bandwidth_bytes_s,
            memory_gb: figures.memory_gb,
            basis: gpu.basis.to_owned(),
            source: gpu.source.clone(),
        },
        dtype: deployment.precision.name().to_owned(),
        tensor_parallel: 1,
        context_tokens: 0,
        ridges: vec![Ridge {
            dtype: "fp16".to_owned(),
            flop_s: figures.flop_s,
            flop_per_byte: figures.flop_s / figures.bandwidth_bytes_s,
        }],
        rows,
        quantisation,
        parts: Vec::new(),
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::preset;

    fn a100() -> Textbook {
        preset("a100-80gb").unwrap().textbook
    }

    #[test]
    fn intensities_of_the_textbook() {
        // n/b in prefill, B/b in decode; ridge of the A100: 156.
        for (tokens, intensity, bound) in [
            (128, 64.0, Bound::Memory),
            (512, 256.0, Bound::Compute),
            (2048, 1024.0, Bound::Compute),
            (1, 0.5, Bound::Memory),
            (32, 16.0, Bound::Memory),
        ] {
            let s = step(&a100(), 7e9, 2.0, tokens);
            assert_eq!((s.intensity, s.bound), (intensity, bound));
        }
    }

    #[test]
    fn decode_rate_of_the_textbook() {
        // 32 · 2.0e12 / (2 · 7e9 · 2) = 2285.7 tokens/s, in steps of 14 ms.
        let s = step(&a100(), 7e9, 2.0, 32);
        assert!((32.0 / s.time_s - 2285.714).abs() < 1e-3 && (s.time_s - 0.014).abs() < 1e-12);
        // Half the bytes, twice the rate: 4571 and 9143 tokens/s.
        assert!((32.0 / step(&a100(), 7e9, 1.0, 32).time_s - 4571.43).abs() < 0.01);
        assert!((32.0 / step(&a100(), 7e9, 0.5, 32).time_s - 9142.86).abs() < 0.01);
    }

    #[test]
    fn prefill_at_the_roof() {
        // 2 · 7e9 · 2048 / 312e12 = 91.9 ms.
        let s = step(&a100(), 7e9, 2.0, 2048);
        assert!((s.time_s - 0.091_897).abs() < 1e-6);
    }
}
