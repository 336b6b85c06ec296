//! GELU and SiLU·mul, element by element.

use stopwatt_core::kernel_table::{Op, OpKind, Shape};

use super::{Format, count, length, unsupported};
use crate::case::CaseError;
use crate::cuda::plan::{Argument, Fill, Operand, Plan, Step, Target};
use crate::cuda::source;

const THREADS: u32 = 256;

/// Both activations bend within this range.
const SCALE: f32 = 6.0;

pub(super) fn plan(op: &Op, target: &Target) -> Result<Plan, CaseError> {
    let Shape::Rows { rows, cols } = op.shape else { return Err(unsupported("a shape that is not rows")) };
    let format = Format::of(op)?;
    let len = length(&[rows, cols])?;
    let lanes = format.lanes(cols);
    let vectors = len as u64 / u64::from(lanes);
    // Two accesses a thread once every multiprocessor has its fill of threads.
    let unroll: u32 = if vectors >= u64::from(target.sm_count) * 4096 { 2 } else { 1 };
    let blocks = vectors.div_ceil(u64::from(THREADS * unroll));
    let gated = op.kind == OpKind::SiluMul;
    let fill = Fill::Uniform { scale: SCALE };
    let mut arguments =
        vec![Argument::Operand(0), Argument::Operand(1), Argument::I32(count(vectors as usize)?)];
    if gated {
        arguments.push(Argument::I32(count((cols / lanes) as usize)?));
    }
    let step = Step {
        source: source::ACTIVATION,
        entry: if gated { "silu_mul" } else { "gelu" },
        defines: vec![
            ("ELEMENT", format.name.to_owned()),
            ("LANES", lanes.to_string()),
            ("UNROLL", unroll.to_string()),
        ],
        grid: [count(blocks as usize)? as u32, 1, 1],
        block: [THREADS, 1, 1],
        shared_bytes: 0,
        arguments,
    };
    let cols = cols as usize;
    Ok(Plan {
        operands: vec![
            Operand::input(format.element, if gated { 2 * len } else { len }, fill),
            Operand::result(format.element, len),
        ],
        steps: vec![step],
        ways: Vec::new(),
        expected: Box::new(move |contents, _, index, _| {
            if gated {
                let (row, column) = (index / cols, index % cols);
                let (gate, up) = (
                    contents.number(0, 2 * row * cols + column),
                    contents.number(0, (2 * row + 1) * cols + column),
                );
                let value = gate / (1.0 + (-gate).exp()) * up;
                format.expect(value, 1e-6 * (1.0 + gate.abs()) * value.abs())
            } else {
                let x = contents.number(0, index);
                let value = 0.5 * x * erfc(-x / std::f64::consts::SQRT_2);
                format.expect(value, 2e-6 * value.abs() + 4e-7 * x.abs())
            }
        }),
    })
}

/// Complement of the error function, by its series near zero and its continued fraction elsewhere (Abramowitz and
/// Stegun 7.1.6 and 7.1.14).
fn erfc(z: f64) -> f64 {
    let size = z.abs();
    let square = size * size;
    if size < 2.5 {
        // erf(z) = 2/√π · e^(−z²) · Σ 2ⁿ z^(2n+1) / (1·3·…·(2n+1))
        let (mut term, mut sum) = (z, z);
        for n in 1..80 {
            term *= 2.0 * square / f64::from(2 * n + 1);
            sum += term;
        }
        return 1.0 - std::f64::consts::FRAC_2_SQRT_PI * (-square).exp() * sum;
    }
    // √π · e^(z²) · erfc(z) = 1/(z + (1/2)/(z + 1/(z + (3/2)/(z + …))))
    let fraction = (1..120).rev().fold(size, |below, n| size + f64::from(n) / 2.0 / below);
    let tail = (-square).exp() / fraction / std::f64::consts::PI.sqrt();
    if z > 0.0 { tail } else { 2.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::erfc;

    #[test]
    fn the_error_function_is_that_of_the_tables() {
        // Abramowitz and Stegun, table 7.1, ten places.
        for (z, erf) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_8),
            (1.0, 0.842_700_792_9),
            (-1.0, -0.842_700_792_9),
            (2.0, 0.995_322_265_0),
        ] {
            assert!((1.0 - erfc(z) - erf).abs() < 6e-11, "erf({z}) = {}", 1.0 - erfc(z));
        }
        // C library, erfc of double precision.
        for (z, tail) in [(3.0, 2.209_049_699_858_544e-5), (5.0, 1.537_459_794_428_035e-12)] {
            assert!((erfc(z) / tail - 1.0).abs() < 1e-13, "erfc({z}) = {}", erfc(z));
        }
    }
}
