//! The roofline that counts what an engine computes and moves.
//!
//! ```text
//! time of a call = max(FLOP / peak of its format, bytes / bandwidth)
//! time of a step = Σ calls
//! ```
//!
//! Weights are read once, with the scales of quantised ones; the cache of every sequence, activations between operators,
//! the output head, and sums between ranks are counted, each operator under its own roof: a step whose intensity lies
//! above the ridge can still spend most of its time on bytes.

use std::collections::BTreeMap;

use stopwatt_core::kernel_table::OpKind;
use stopwatt_serving::step::StepShape;

use super::doc::{
    Bound, GpuFacts, Method, ModelFacts, PartRow, Phase, PhaseRow, QuantRow, Ridge, RooflineDoc,
};
use super::{RooflineError, RooflineSettings, compared};
use crate::hardware::Gpu;
use crate::operators::{Call, Deployment, Part, What};

/// Time of one call at best, and what bounds it.
pub fn roof(gpu: &Gpu, call: &Call) -> Result<(f64, Bound), RooflineError> {
    let work = call.work();
    if let (What::Op(op), Some(link)) = (call.what, gpu.link)
        && op.kind == OpKind::AllReduce
    {
        // What a rank reads of the ring is what comes over the link.
        return Ok((work.read_bytes / link, Bound::Link));
    }
    let moving = work.bytes() / gpu.bandwidth;
    let computing = if work.flop > 0.0 { work.flop / gpu.peak(call.compute_dtype())? } else { 0.0 };
    Ok(if computing > moving { (computing, Bound::Compute) } else { (moving, Bound::Memory) })
}

/// A step on one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Operations.
    pub flop: f64,
    /// Bytes.
    pub bytes: f64,
    /// Seconds at best.
    pub time_s: f64,
    /// Seconds in calls by what bounds them.
    pub by_bound: [(Bound, f64); 3],
    /// Its parts.
    pub parts: BTreeMap<Part, PartSum>,
}

/// What the calls of a part come to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PartSum {
    /// Calls.
    pub calls: u32,
    /// Operations.
    pub flop: f64,
    /// Bytes.
    pub bytes: f64,
    /// Seconds in calls that are bound by memory, compute and link.
    pub seconds: [f64; 3],
}

const BOUNDS: [Bound; 3] = [Bound::Memory, Bound::Compute, Bound::Link];

impl PartSum {
    fn bound(&self) -> Bound {
        most(BOUNDS.into_iter().zip(self.seconds))
    }

    fn time_s(&self) -> f64 {
        self.seconds.iter().sum()
    }
}

/// The bound with most of the time.
fn most(times: impl Iterator<Item = (Bound, f64)>) -> Bound {
    times.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(Bound::Memory, |(bound, _)| bound)
}

/// One step under the roof.
pub fn step(deployment: &Deployment, gpu: &Gpu, shape: &StepShape) -> Result<Step, RooflineError> {
    let mut parts: BTreeMap<Part, PartSum> = BTreeMap::new();
    for call in deployment.calls(shape, shape.tokens())? {
        let (time, bound) = roof(gpu, &call)?;
        let (work, count) = (call.work(), f64::from(call.count));
        let part = parts.entry(call.part).or_default();
        part.calls += call.count;
        part.flop += work.flop * count;
        part.bytes += work.bytes() * count;
        let place = BOUNDS.iter().position(|b| *b == bound).expect("every bound is listed");
        part.seconds[place] += time * count;
    }
    let sum = |f: &dyn Fn(&PartSum) -> f64| parts.values().map(f).sum();
    Ok(Step {
        flop: sum(&|p| p.flop),
        bytes: sum(&|p| p.bytes),
        time_s: sum(&PartSum::time_s),
        by_bound: [0, 1, 2].map(|i| (BOUNDS[i], sum(&|p| p.seconds[i]))),
        parts,
    })
}

/// The step of a phase: one prompt, or one token of each sequence.
fn shape(phase: Phase, tokens: u32, sequences: u32, context: u32) -> StepShape {
    let mut shape = StepShape::default();
    match phase {
        Phase::Prefill => shape.add(tokens, 0, true),
        Phase::Decode => {
            shape.decode_seqs = sequences;
            shape.decode_context_tokens = u64::from(sequences) * (u64::from(context) + 1);
            shape.sampled = sequences;
        }
    }
    shape
}

/// The step whose parts are told: the longest prompt or the largest batch.
pub(super) fn largest(phase: Phase, settings: &RooflineSettings) -> StepShape {
    let most = |sizes: &[u32]| sizes.iter().max().copied().unwrap_or(1);
    match phase {
        Phase::Prefill => shape(phase, most(&settings.input_lengths), 1, settings.context),
        Phase::Decode => shape(phase, 1, most(&settings.batches), settings.context),
    }
}

pub(super) fn analyse(
    deployment: &Deployment,
    gpu: &Gpu,
    settings: &RooflineSettings,
) -> Result<RooflineDoc, RooflineError> {
    let ranks = f64::from(deployment.tp);
    let run = |deployment: &Deployment, phase, tokens, sequences| {
        step(deployment, gpu, &shape(phase, tokens, sequences, settings.context))
    };
    let prefill = settings.input_lengths.iter().map(|&n| (Phase::Prefill, n, 1));
    let decode = settings.batches.iter().map(|&batch| (Phase::Decode, 1, batch));
    let mut rows = Vec::new();
    for (phase, tokens, sequences) in prefill.chain(decode) {
        let s = run(deployment, phase, tokens, sequences)?;
        let rate = f64::from(tokens) * f64::from(sequences) / s.time_s;
        rows.push(PhaseRow {
            phase,
            tokens,
            sequences,
            flop: s.flop * ranks,
            bytes: s.bytes * ranks,
            intensity: s.flop / s.bytes,
            bound: most(s.by_bound.into_iter()),
            latency_s: s.time_s,
            tokens_per_s: rate,
            per_token_s: if phase == Phase::Decode { s.time_s } else { 1.0 / rate },
        });
    }

    let batch = settings.quantisation_batch;
    let mut quantisation: Vec<QuantRow> = Vec::new();
    for precision in compared(deployment) {
        let other = Deployment { precision, ..deployment.clone() };
        let s = run(&other, Phase::Decode, 1, batch)?;
        let rate = f64::from(batch) / s.time_s;
        quantisation.push(QuantRow {
            dtype: precision.name().to_owned(),
            sequences: batch,
            weight_bytes: other.weight_bytes() * ranks,
            latency_s: s.time_s,
            tokens_per_s: rate,
            speedup: rate / quantisation.first().map_or(rate, |first| first.tokens_per_s),
        });
    }

    let mut parts = Vec::new();
    let longest = settings.input_lengths.iter().max().map(|&n| (Phase::Prefill, n, 1));
    let largest = settings.batches.iter().max().map(|&n| (Phase::Decode, 1, n));
    for (phase, tokens, sequences) in longest.into_iter().chain(largest) {
        let s = run(deployment, phase, tokens, sequences)?;
        let mut of_phase: Vec<PartRow> = s
            .parts
            .iter()
            .map(|(part, sum)| PartRow {
                phase,
                part: *part,
                calls: sum.calls,
                flop: sum.flop,
                bytes: sum.bytes,
                intensity: (sum.bytes > 0.0).then(|| sum.flop / sum.bytes),
                bound: sum.bound(),
                time_s: sum.time_s(),
                share: sum.time_s() / s.time_s,
                kernels: None,
            })
            .collect();
        of_phase.sort_by(|a, b| b.time_s.total_cmp(&a.time_s));
        parts.extend(of_phase);
    }

    let mut ridges = Vec::new();
    for (dtype, flop_s) in gpu.peaks() {
        let flop_per_byte = gpu.ridge(dtype)?;
        ridges.push(Ridge { dtype: dtype.name().to_owned(), flop_s, flop_per_byte });
    }
    let mut notes = deployment.model.notes.clone();
    if deployment.pp > 1 {
        notes.push(
            "pipeline stages run one after another here; transfers between them are not counted".to_owned(),
        );
    }
    if deployment.tp > 1 && gpu.link.is_none() {
        notes.push("no `link_bytes_s` is known: sums between devices count at memory bandwidth".to_owned());
    }
    Ok(RooflineDoc {
        method: Method::Honest,
        model: ModelFacts::of(deployment),
        gpu: GpuFacts {
            id: gpu.id.clone(),
            name: gpu.name.clone(),
            bandwidth_bytes_s: gpu.bandwidth,
            memory_gb: gpu.memory_gb,
            basis: gpu.basis.to_owned(),
            source: gpu.source.clone(),
        },
        dtype: deployment.precision.name().to_owned(),
        tensor_parallel: deployment.tp,
        context_tokens: settings.context,
        ridges,
        rows,
        quantisation,
        parts,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::super::analyse;
    use super::*;
    use crate::hardware::preset;
    use crate::model::builtin;
    use crate::precision::Precision;

    fn deployed(name: &str, precision: &str, tp: u32) -> Deployment {
        Deployment::new(builtin(name).unwrap(), Precision::parse(precision).unwrap(), tp, 1).unwrap()
    }

    #[test]
    fn one_sequence_reads_every_weight_once() {
        let (deployment, gpu) = (deployed("llama-3.1-8b", "bf16", 1), preset("h100").unwrap());
        let s = step(&deployment, gpu, &shape(Phase::Decode, 1, 1, 1024)).unwrap();
        // All weights but the embedding (one row of it), and 1025 tokens of 128 KiB; activations are small beside them.
        let weights = 2.0 * (8_030_261_248.0 - 128_256.0 * 4096.0);
        let least = weights + 1025.0 * 131_072.0;
        assert!(s.bytes > least && s.bytes < 1.002 * least, "{} of {least}", s.bytes);
        assert!((s.time_s - s.bytes / 3.35e12).abs() < 1e-3 * s.time_s, "all of it is bound by memory");
        // 15.15 GB at 3.35 TB/s: 4.5 ms, half of what the textbook says.
        assert!((s.time_s - 4.52e-3).abs() < 0.03e-3, "{}", s.time_s);
    }

    #[test]
    fn long_prompts_are_bound_by_compute() {
        let (deployment, gpu) = (deployed("llama-3.1-8b", "bf16", 1), preset("h100").unwrap());
        let doc = analyse(&deployment, gpu, &RooflineSettings::new(Method::Honest)).unwrap();
        let row = |tokens| doc.rows.iter().find(|r| r.phase == Phase::Prefill && r.tokens == tokens).unwrap();
        assert_eq!((row(128).bound, row(4096).bound), (Bound::Memory, Bound::Compute));
        // 2 · 6.979e9 matrix parameters · 4096 + attention 4·4096·2048.5·32·128·32 + head 6.157e13 operations; norms and the like are
        // little beside them.
        assert!((row(4096).flop / 6.157e13 - 1.0).abs() < 1e-3, "{:e}", row(4096).flop);
        assert!(row(4096).latency_s > row(4096).flop / 989.4e12);
        let shares: f64 = doc.parts.iter().filter(|p| p.phase == Phase::Decode).map(|p| p.share).sum();
        assert!((shares - 1.0).abs() < 1e-9);
    }

    #[test]
    fn fewer_bits_help_decode_less_than_they_shrink() {
        let deployment = deployed("llama-3.1-8b", "bf16", 1);
        let doc =
            analyse(&deployment, preset("a100").unwrap(), &RooflineSettings::new(Method::Honest)).unwrap();
        let speedup: Vec<_> = doc.quantisation.iter().map(|q| (q.dtype.as_str(), q.speedup)).collect();
        let [("bf16", one), ("fp8", fp8), ("int8", _), ("int4", int4)] = speedup[..] else {
            panic!("{speedup:?}")
        };
        // Head and cache keep their size: neither reaches 2 or 4.
        assert!(one == 1.0 && (1.3..2.0).contains(&fp8) && (1.8..4.0).contains(&int4), "{speedup:?}");
    }

    #[test]
    fn ranks_share_bytes_and_pay_for_sums() {
        let gpu = preset("h100").unwrap();
        let alone =
            step(&deployed("llama-3.1-8b", "bf16", 1), gpu, &shape(Phase::Decode, 1, 8, 1024)).unwrap();
        let four =
            step(&deployed("llama-3.1-8b", "bf16", 4), gpu, &shape(Phase::Decode, 1, 8, 1024)).unwrap();
        assert!(four.time_s < 0.28 * alone.time_s && four.time_s > 0.25 * alone.time_s);
        assert!(four.parts[&Part::AllReduce].seconds[2] > 0.0);
    }

    #[test]
    fn kernels_of_a_table_stand_beside_their_roof() {
        use crate::latency::{Latency, Tier};
        use crate::roofline::place_kernels;

        let gpu = preset("h100").unwrap();
        let bf16 = Precision::parse("bf16").unwrap();
        let d = Deployment::new(builtin("llama-3.1-8b").unwrap(), bf16, 1, 1).unwrap();
        let settings = RooflineSettings::new(Method::Honest);
        let mut doc = analyse(&d, gpu, &settings).unwrap();
        place_kernels(&mut doc, &d, &Latency::of_datasheet(gpu.clone()), &settings).unwrap();
        assert!(!doc.parts.is_empty());
        for row in &doc.parts {
            let k = row.kernels.as_ref().unwrap();
            assert!((k.of_roof * k.time_s / row.time_s - 1.0).abs() < 1e-12 && k.of_roof < 1.0, "{row:?}");
            assert!(k.interval90[0] < k.time_s && k.time_s < k.interval90[1] && k.tier == Tier::Datasheet);
            assert!((k.flop_s * k.time_s - row.flop).abs() <= 1e-9 * row.flop);
        }
        // Gate and up of 4,096 tokens: 2·4096·28672·4096 operations a layer at 0.80 of 989.4 TFLOP/s, and 4 µs.
        let gate = doc.parts.iter().find(|r| r.phase == Phase::Prefill && r.part == Part::GateUp).unwrap();
        let by_hand = 32.0 * (4e-6 + 2.0 * 4096.0 * 28672.0 * 4096.0 / (0.8 * 989.4e12));
        assert!((gate.kernels.as_ref().unwrap().time_s / by_hand - 1.0).abs() < 1e-3);
    }
}
