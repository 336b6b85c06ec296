//! Operators side by side on streams of their own: what sharing the device costs against taking turns.

use stopwatt_core::kernel_table::{Dtype, Dtypes, Op, OpKind, Shape};
use stopwatt_core::roofline::{CoResident, Measured, Roofline};

use super::{Bench, note};
use crate::case::CaseError;
use crate::cuda::issue::Issue;
use crate::cuda::timer::{Lane, Timer};
use crate::timing::{Timed, measure, monotonic_s};

/// Calls of each operator in a sample: enough that the start and the end of the overlap do not matter.
const CALLS: usize = 16;

/// Products that fill a part of a wave each, and a product beside an operator that only moves bytes.
pub(super) fn co_resident(bench: &mut Bench<'_>, roofline: &mut Roofline) -> Result<(), CaseError> {
    let sm_count = bench.device.target().sm_count;
    let product = |m, n| Op {
        kind: OpKind::Linear,
        shape: Shape::Matrix { m, n, k: 4096 },
        dtypes: Dtypes::all(Dtype::Bf16),
    };
    // Tiles of 128 by 128: half and a quarter of the multiprocessors, and several waves of all.
    let half = product(128 * 2, 128 * (sm_count / 4).max(1));
    let quarter = product(128, 128 * (sm_count / 4).max(1));
    let moves = Op {
        kind: OpKind::RmsNorm,
        shape: Shape::Rows { rows: 16_384, cols: 8192 },
        dtypes: Dtypes::all(Dtype::Bf16),
    };
    for ops in [vec![half; 2], vec![quarter; 4], vec![product(4096, 4096), moves]] {
        let result = together(bench, &ops).map(|found| roofline.co_resident.push(found));
        let names: Vec<String> = ops.iter().map(|op| format!("{:?}", op.kind)).collect();
        note(roofline, &format!("{} side by side", names.join(", ")), result)?;
    }
    Ok(())
}

fn together(bench: &Bench<'_>, ops: &[Op]) -> Result<CoResident, CaseError> {
    let gpu = bench.device.gpu();
    let timer = Timer::new(gpu)?;
    let issues: Vec<Box<dyn Issue>> =
        ops.iter().map(|op| bench.device.alone(op)).collect::<Result<_, _>>()?;
    let lanes: Vec<Lane> = ops.iter().map(|_| Lane::new(gpu)).collect::<Result<_, _>>()?;
    let queue = |number: usize| (0..CALLS).try_for_each(|call| issues[number].issue(call));
    let held_too_long = || CaseError::Failed { reason: "the device did not wait for the queue".to_owned() };
    let repeat = |calls: u32, once: &mut dyn FnMut() -> Result<Option<f64>, CaseError>| {
        (0..calls).try_fold(0.0, |sum, _| Ok(sum + once()?.ok_or_else(held_too_long)?))
    };
    let mut beside = Timed(|calls| repeat(calls, &mut || timer.time_beside(&lanes, &mut |n| queue(n))));
    let beside = measure(&mut beside, &bench.method, &mut monotonic_s)?;
    let mut in_turn = || timer.time(true, &mut || (0..ops.len()).try_for_each(queue));
    let mut apart = Timed(|calls| repeat(calls, &mut in_turn));
    let apart = measure(&mut apart, &bench.method, &mut monotonic_s)?;
    let per_call = |time| Measured::seconds(time).divided(CALLS as f64);
    Ok(CoResident { ops: ops.to_vec(), together_s: per_call(&beside), apart_s: per_call(&apart) })
}
