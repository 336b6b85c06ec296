//! Activations: the gated one of a Llama feed-forward layer, and the Gaussian error linear unit.

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

/// Numbers that one task of [`gelu`] computes.
const NUMBERS_A_TASK: usize = 32 << 10;

/// `y = x·Φ(x)`, Φ the distribution function of the standard normal distribution (not its tanh approximation).
///
/// # Panics
///
/// When `x` and `y` differ in length.
pub fn gelu(cpu: &Cpu, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "gelu: lengths differ");
    let out = Output::new(y);
    cpu.each(x.len().div_ceil(NUMBERS_A_TASK), |task| {
        let begin = task * NUMBERS_A_TASK;
        let x = &x[begin..x.len().min(begin + NUMBERS_A_TASK)];
        // SAFETY: parts of the output do not overlap, and each is visited by one task.
        let y = unsafe { std::slice::from_raw_parts_mut(out.get().add(begin), x.len()) };
        dispatch(cpu.isa(), Gelu { x, y });
    });
}

struct Gelu<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Gelu<'_> {
    /// `max(x, 0) − |x|/2 · erfc(|x|/√2)`, erfc by formula 7.1.26 of Abramowitz & Stegun, *Handbook of Mathematical
    /// Functions* (1964), good to 1.5e-7.
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::V) -> S::V {
        let size = s.max(x, s.sub(s.zero(), x));
        let z = s.mul(size, s.splat(std::f32::consts::FRAC_1_SQRT_2));
        let one = s.splat(1.0);
        let t = s.div(one, s.fma(z, s.splat(0.327_591_1), one));
        let mut p = s.splat(1.061_405_4);
        for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            p = s.fma(p, t, s.splat(c));
        }
        let erfc = s.mul(s.mul(p, t), s.exp(s.sub(s.zero(), s.mul(z, z))));
        s.sub(s.max(x, s.zero()), s.mul(s.mul(size, s.splat(0.5)), erfc))
    }
}

impl Kernel for Gelu<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, y } = self;
        let whole = x.len() - x.len() % S::LANES;
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: i + LANES ≤ whole ≤ the length of both slices.
            unsafe { s.store(y.as_mut_ptr().add(i), Self::of(s, s.load(x.as_ptr().add(i)))) };
        }
        // The rest goes through a padded vector. No instruction set has more lanes than this.
        let rest = x.len() - whole;
        let (mut padded, mut result) = ([0.0; 16], [0.0; 16]);
        padded[..rest].copy_from_slice(&x[whole..]);
        // SAFETY: both arrays hold at least LANES numbers.
        unsafe { s.store(result.as_mut_ptr(), Self::of(s, s.load(padded.as_ptr()))) };
        y[whole..].copy_from_slice(&result[..rest]);
    }
}
