//! Times by the data sheet, at utilisations that were published for an H100.
//!
//! ```text
//! t = t0 + max(FLOP / (η·peak), bytes / (η·bandwidth))
//! ```
//!
//! The constants are fits to public kernel tables of the H100 (vLLM, bf16), as NVIDIA's aiconfigurator ships them:
//! products 0.80 of peak, 0.90 of bandwidth and 4 µs (6.8 % mean error there); FlashAttention 3 decode 11.5 µs, 0.21 µs a
//! sequence and 0.88 of bandwidth; prefill 242, 520 and 664 TFLOP/s at 1,024, 4,096 and 16,384 tokens; small kernels
//! inside a graph 2 to 3 µs. On another device, and in another engine, they are a first guess.

use stopwatt_core::kernel_table::{OpKind, Shape};

use super::{Tier, Timed, kind};
use crate::hardware::{Gpu, GpuError};
use crate::operators::{Call, What};

/// Least time of a call under the data sheet's roof, in seconds.
pub(super) fn roof(gpu: &Gpu, call: &Call) -> Result<f64, GpuError> {
    let work = call.work();
    if kind(call) == Some(OpKind::AllReduce) {
        return Ok(work.read_bytes / gpu.link.unwrap_or(gpu.bandwidth));
    }
    let computing = if work.flop > 0.0 { work.flop / gpu.peak(call.compute_dtype())? } else { 0.0 };
    Ok(computing.max(work.bytes() / gpu.bandwidth))
}

/// Share of the peak that prefill attention reaches over this many tokens, interpolated over the root of the length.
fn prefill_utilisation(tokens: f64) -> f64 {
    const PEAK: f64 = 989.0;
    const POINTS: [(f64, f64); 4] = [(0.0, 0.0), (1024.0, 242.0), (4096.0, 520.0), (16_384.0, 664.0)];
    let root = tokens.sqrt();
    let above = POINTS.iter().position(|(n, _)| n.sqrt() >= root);
    let tflops = match above {
        None => POINTS[3].1,
        Some(0) => 1.0,
        Some(i) => {
            let ((n0, u0), (n1, u1)) = (POINTS[i - 1], POINTS[i]);
            u0 + (u1 - u0) * (root - n0.sqrt()) / (n1.sqrt() - n0.sqrt())
        }
    };
    (tflops / PEAK).max(0.01)
}

/// Time of a call, and a 90 % interval by judgement.
pub(super) fn time(gpu: &Gpu, call: &Call) -> Result<Timed, GpuError> {
    let work = call.work();
    let moving = |share: f64| work.bytes() / (share * gpu.bandwidth);
    let computing = |share: f64| -> Result<f64, GpuError> {
        Ok(if work.flop > 0.0 { work.flop / (share * gpu.peak(call.compute_dtype())?) } else { 0.0 })
    };
    let (s, spread) = match call.what {
        What::Copy { .. } => (2.5e-6 + moving(0.85), 0.3),
        What::Op(op) => match (op.kind, op.shape) {
            (OpKind::Linear, _) => {
                // Unpacking weights of fewer bits costs bandwidth.
                let packed = op.dtypes.weight != op.dtypes.input;
                let (share, spread) = if packed { (0.75, 0.35) } else { (0.90, 0.2) };
                (4e-6 + computing(0.80)?.max(moving(share)), spread)
            }
            (OpKind::AttentionDecode, Shape::Attention { sequences, .. }) => {
                (11.5e-6 + moving(0.88).max(0.21e-6 * f64::from(sequences)), 0.25)
            }
            (OpKind::AttentionPrefill, Shape::Attention { new_tokens, cached, .. }) => {
                let tokens = f64::from(new_tokens) + f64::from(cached);
                (8e-6 + computing(prefill_utilisation(tokens))?.max(moving(0.88)), 0.3)
            }
            (OpKind::MoeExperts, _) => (10e-6 + computing(0.6)?.max(moving(0.7)), 0.4),
            (OpKind::AllReduce, _) => {
                let bytes = work.read_bytes;
                // Small messages reach half of the link, large ones nearly all of it.
                let large = ((bytes / 8e6).ln() / 8.0_f64.ln()).clamp(0.0, 1.0);
                let share = 0.45 + 0.45 * large;
                (4.5e-6 + bytes / (share * gpu.link.unwrap_or(gpu.bandwidth)), 0.4)
            }
            // Greedy choice passes the logits twice.
            (OpKind::Argmax, _) => (2.5e-6 + 2.0 * moving(0.85), 0.4),
            (OpKind::TopKTopP, _) => (5e-6 + 6.0 * moving(0.85), 0.5),
            _ => (2.5e-6 + moving(0.85), 0.3),
        },
    };
    Ok(Timed { s, lo: s * (1.0 - spread), hi: s * (1.0 + spread), tier: Tier::Datasheet })
}

#[cfg(test)]
mod tests {
    use stopwatt_core::kernel_table::{Dtype, Dtypes, Op};

    use super::*;
    use crate::hardware::preset;
    use crate::operators::Part;

    fn timed(kind: OpKind, shape: Shape) -> f64 {
        let what = What::Op(Op { kind, shape, dtypes: Dtypes::all(Dtype::Bf16) });
        time(preset("h100").unwrap(), &Call { part: Part::Qkv, what, count: 1, extra_bytes: 0.0 }).unwrap().s
    }

    #[test]
    fn published_times_of_an_h100_are_near() {
        // 6144×4096 at 1,024 rows: 65.3 µs measured. 2·1024·6144·4096/(0.8·989.4e12) = 65.1 µs, and 4.
        let product = timed(OpKind::Linear, Shape::Matrix { m: 1024, n: 6144, k: 4096 });
        assert!((product - 69.1e-6).abs() < 0.1e-6, "{product}");
        // One row reads 50 MB: 16.7 µs at 0.90 of 3.35 TB/s, and 4.
        let row = timed(OpKind::Linear, Shape::Matrix { m: 1, n: 6144, k: 4096 });
        assert!((row - 20.7e-6).abs() < 0.1e-6, "{row}");
        // Published sums of eight ranks over 1 MiB take 15.0 µs, of two 8.3 µs.
        for (ranks, published) in [(8, 15.0e-6), (2, 8.3e-6)] {
            let sum = timed(OpKind::AllReduce, Shape::Message { elements: 524_288, ranks });
            assert!((sum / published - 1.0).abs() < 0.2, "{ranks}: {sum}");
        }
    }

    #[test]
    fn prefill_attention_reaches_the_published_rates() {
        for (tokens, tflops) in [(1024.0, 242.0), (4096.0, 520.0), (16_384.0, 664.0), (99_999.0, 664.0)] {
            assert!((prefill_utilisation(tokens) - tflops / 989.0).abs() < 1e-9, "{tokens}");
        }
        assert!(prefill_utilisation(256.0) < prefill_utilisation(512.0));
    }
}
