//! The gated activation of a Llama feed-forward layer.

#![expect(unsafe_code, reason = "vector loads from slices, disjoint output rows")]

use super::simd::{Kernel, Simd, dispatch};
use super::threads::{Cpu, Output};

/// Rows that one task computes.
const ROWS_A_TASK: usize = 8;

/// `y[r][i] = silu(g[r][i]) × u[r][i]` with `silu(v) = v / (1 + e^−v)`, where each row of `gate_up` holds `width`
/// numbers `g` and then `width` numbers `u`.
///
/// # Panics
///
/// When `y` does not hold whole rows of `width`, or `gate_up` not twice as many numbers.
pub fn silu_mul(cpu: &Cpu, gate_up: &[f32], width: usize, y: &mut [f32]) {
    assert!(
        width > 0 && y.len().is_multiple_of(width) && gate_up.len() == 2 * y.len(),
        "silu_mul: shapes differ"
    );
    let rows = y.len() / width;
    let out = Output::new(y);
    cpu.each(rows.div_ceil(ROWS_A_TASK), |task| {
        for row in task * ROWS_A_TASK..rows.min((task + 1) * ROWS_A_TASK) {
            let (gate, up) = gate_up[2 * row * width..][..2 * width].split_at(width);
            // SAFETY: rows of the output do not overlap, and each is visited by one task.
            let y = unsafe { std::slice::from_raw_parts_mut(out.get().add(row * width), width) };
            dispatch(cpu.isa(), Row { gate, up, y });
        }
    });
}

struct Row<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Row<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { gate, up, y } = self;
        let whole = y.len() - y.len() % S::LANES;
        let one = s.splat(1.0);
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: i + LANES ≤ whole ≤ the length of all three slices.
            unsafe {
                let g = s.load(gate.as_ptr().add(i));
                let silu = s.div(g, s.add(one, s.exp(s.sub(s.zero(), g))));
                s.store(y.as_mut_ptr().add(i), s.mul(silu, s.load(up.as_ptr().add(i))));
            }
        }
        for i in whole..y.len() {
            y[i] = gate[i] / (1.0 + (-gate[i]).exp()) * up[i];
        }
    }
}
