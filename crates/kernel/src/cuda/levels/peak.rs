//! Highest rates of arithmetic: chains of one instruction on every multiprocessor, and large products.

use stopwatt_core::kernel_table::{CacheState, Dtype, Launch, Op, OpKind, Shape};
use stopwatt_core::roofline::{ComputeUnit, Extent, Measured, Peak, Roofline};

use super::{Bench, note};
use crate::case::{CaseError, Device as _};
use crate::cuda::probes::Measures;
use crate::cuda::probes::peak::{Unit, peak};

/// Rounds of every chain for a check.
const CHECKED: u32 = 64;
/// The same where sums of 8-bit numbers are cut off after each `wgmma`: what is cut adds up faster than the allowance.
const CHECKED_CUT: u32 = 4;
/// Rounds of a sample of about a millisecond.
const TIMED: u32 = 16_384;

/// Chains of one instruction without memory: cores, matrix units by `mma.sync`, and by `wgmma` where it exists.
pub(super) fn instructions(bench: &mut Bench<'_>, roofline: &mut Roofline) -> Result<(), CaseError> {
    let cores = [Dtype::F32, Dtype::F16, Dtype::Bf16].map(|d| (d, Unit::Cores(d), "fma"));
    let matrix = [Dtype::Bf16, Dtype::F16, Dtype::Tf32, Dtype::F8E4m3, Dtype::I8]
        .map(|d| (d, Unit::Matrix(d), "mma.sync"));
    let warpgroup = [Dtype::Bf16, Dtype::F16, Dtype::F8E4m3].map(|d| (d, Unit::Warpgroup(d), "wgmma"));
    for (dtype, unit, instructions) in cores.into_iter().chain(matrix).chain(warpgroup) {
        let result = chains(bench, unit).map(|flop_per_s| {
            let unit = if instructions == "fma" { ComputeUnit::Vector } else { ComputeUnit::Matrix };
            roofline.peaks.push(Peak {
                dtype,
                unit,
                instructions: instructions.to_owned(),
                extent: Extent::Device,
                flop_per_s,
            });
        });
        note(roofline, &format!("peak of {instructions} in {}", dtype.name()), result)?;
    }
    Ok(())
}

/// Rate of a chain: few rounds are held against their expectation, many are timed.
fn chains(bench: &Bench<'_>, unit: Unit) -> Result<Measured, CaseError> {
    let target = bench.device.target();
    let few = if unit == Unit::Warpgroup(Dtype::F8E4m3) { CHECKED_CUT } else { CHECKED };
    bench.prepare(peak(unit, few, &target)?)?;
    let probe = peak(unit, TIMED, &target)?;
    let Measures::Operations { count } = probe.measures else {
        return Err(CaseError::Failed { reason: "a probe that computes nothing".to_owned() });
    };
    let time = bench.time(&mut bench.unchecked(probe)?)?;
    Ok(Measured::rate(count, &time))
}

/// The fastest of a few large products of random numbers, as cuBLASLt computes them: what the matrix units reach under
/// their own power limit, not what their clock would allow.
pub(super) fn products(bench: &mut Bench<'_>, roofline: &mut Roofline) -> Result<(), CaseError> {
    let sizes: &[[u32; 3]] = if bench.fine {
        &[[8192; 3], [4096; 3], [16_384, 8192, 8192], [8192, 16_384, 4096]]
    } else {
        &[[8192; 3]]
    };
    for dtype in [Dtype::Bf16, Dtype::F16, Dtype::Tf32, Dtype::F8E4m3, Dtype::I8] {
        let mut best: Option<Peak> = None;
        let mut failed = Ok(());
        for &[m, n, k] in sizes {
            let mut dtypes = bench.device.formats(OpKind::Linear, dtype);
            if dtype == Dtype::I8 {
                // The sums themselves, without the kernel that scales them.
                dtypes.output = Dtype::F32;
            }
            let op = Op { kind: OpKind::Linear, shape: Shape::Matrix { m, n, k }, dtypes };
            match product(bench, &op) {
                Ok(peak) if best.as_ref().is_none_or(|b| b.flop_per_s.value < peak.flop_per_s.value) => {
                    best = Some(peak);
                }
                Ok(_) => {}
                Err(reason) => failed = Err(reason),
            }
        }
        match best {
            Some(peak) => roofline.peaks.push(peak),
            None => note(roofline, &format!("peak of {} products", dtype.name()), failed)?,
        }
    }
    Ok(())
}

fn product(bench: &mut Bench<'_>, op: &Op) -> Result<Peak, CaseError> {
    let method = bench.method;
    let flop = op.work().map_or(0.0, |w| w.flop);
    let mut case = bench.device.prepare(op, Launch::Eager, CacheState::Warm)?;
    let deviation = case.check(0x9ea4)?;
    if deviation > 1.0 {
        return Err(CaseError::Failed {
            reason: format!("a wrong result: it deviates {deviation:.3} times what is allowed"),
        });
    }
    let time = crate::timing::measure(&mut *case, &method, &mut crate::timing::monotonic_s)?;
    Ok(Peak {
        dtype: op.dtypes.input,
        unit: ComputeUnit::Matrix,
        instructions: format!("cuBLASLt {}", op.shape.label()),
        extent: Extent::Device,
        flop_per_s: Measured::rate(flop, &time),
    })
}
