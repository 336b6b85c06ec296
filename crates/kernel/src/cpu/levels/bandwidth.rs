//! Bandwidth over working sets: each unit goes over its own arrays again and again.

#![expect(unsafe_code, reason = "vector loads and stores inside arrays whose ends are checked once")]

use std::hint::black_box;

use stopwatt_core::roofline::{Access, CurvePoint, Extent};

use super::{Bench, rate};
use crate::case::CaseError;
use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::cpu::threads::Output;

/// Bytes that a unit moves in one call at least: what waking the threads costs must not be seen.
const LEAST: usize = 4 << 20;
/// Numbers in a step of the loops: 8 vectors of the widest instruction set.
pub(super) const STEP: usize = 128;

pub(super) fn curve(
    bench: &mut Bench<'_>,
    access: Access,
    extent: Extent,
) -> Result<Vec<CurvePoint>, CaseError> {
    let units = bench.units(extent);
    let arrays = match access {
        Access::Read | Access::Write | Access::WriteStreaming => 1,
        Access::Copy | Access::CopyStreaming => 2,
        Access::Triad => 3,
    };
    let most = bench.most(units);
    let mut points = Vec::new();
    for bytes in bench.sizes(units) {
        let len = bytes / 4 / arrays / STEP * STEP;
        if len == 0 {
            continue;
        }
        let moved = 4 * len * arrays;
        let repeat = LEAST.div_ceil(moved);
        let base = Output::new(&mut bench.buffer);
        let time = bench.time(|| {
            bench.cpu.on_units(units, |unit| {
                // SAFETY: units × most bytes are in the buffer, each unit has its own, and the arrays fit into them.
                let first = unsafe { base.get().add(unit * most / 4) };
                dispatch(bench.cpu.isa(), Pass { access, first, len, repeat });
            });
        })?;
        points.push(rate((moved * units) as f64, (moved * repeat * units) as f64, &time));
    }
    Ok(points)
}

/// Goes `repeat` times over arrays of `len` numbers, which lie one after the other from `first` on.
struct Pass {
    access: Access,
    first: *mut f32,
    len: usize,
    repeat: usize,
}

impl Kernel for Pass {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { access, first, len, repeat } = self;
        debug_assert!(len.is_multiple_of(STEP));
        for _ in 0..repeat {
            // A pass must not be known to do what the last one did.
            let a = black_box(first);
            // SAFETY: the caller owns up to three arrays of `len` numbers from `first` on, aligned to cache lines.
            unsafe {
                let (b, c) = (a.add(len), a.add(2 * len));
                match access {
                    Access::Read => read(s, a, len),
                    Access::Write => write(s, a, len, false),
                    Access::WriteStreaming => write(s, a, len, true),
                    Access::Copy => copy(s, a, b, len, false),
                    Access::CopyStreaming => copy(s, a, b, len, true),
                    Access::Triad => triad(s, a, b, c, len),
                }
            }
        }
        s.fence();
    }
}

/// # Safety
/// `len` numbers, a multiple of [`STEP`], can be read from `a`.
#[inline(always)]
unsafe fn read<S: Simd>(s: S, a: *const f32, len: usize) {
    let mut sums = [s.zero(); 8];
    for i in (0..len).step_by(8 * S::LANES) {
        for (j, sum) in sums.iter_mut().enumerate() {
            // SAFETY: i + 8 × LANES ≤ len.
            *sum = s.add(*sum, unsafe { s.load(a.add(i + j * S::LANES)) });
        }
    }
    let mut all = s.zero();
    for sum in sums {
        all = s.add(all, sum);
    }
    black_box(s.sum(all));
}

/// # Safety
/// `len` numbers, a multiple of [`STEP`], can be written from `a`, which begins at a cache line.
#[inline(always)]
unsafe fn write<S: Simd>(s: S, a: *mut f32, len: usize, streaming: bool) {
    let v = s.splat(black_box(1.0));
    for i in (0..len).step_by(4 * S::LANES) {
        for j in 0..4 {
            // SAFETY: i + 4 × LANES ≤ len.
            unsafe { put(s, a.add(i + j * S::LANES), v, streaming) };
        }
    }
}

/// # Safety
/// `len` numbers, a multiple of [`STEP`], can be read from `b` and written from `a`, which begins at a cache line.
#[inline(always)]
unsafe fn copy<S: Simd>(s: S, a: *mut f32, b: *const f32, len: usize, streaming: bool) {
    for i in (0..len).step_by(4 * S::LANES) {
        for j in 0..4 {
            let at = i + j * S::LANES;
            // SAFETY: at + LANES ≤ len.
            unsafe { put(s, a.add(at), s.load(b.add(at)), streaming) };
        }
    }
}

/// # Safety
/// `len` numbers, a multiple of [`STEP`], can be read from `b` and `c` and written from `a`.
#[inline(always)]
unsafe fn triad<S: Simd>(s: S, a: *mut f32, b: *const f32, c: *const f32, len: usize) {
    let factor = s.splat(black_box(0.5));
    for i in (0..len).step_by(4 * S::LANES) {
        for j in 0..4 {
            let at = i + j * S::LANES;
            // SAFETY: at + LANES ≤ len.
            unsafe { s.store(a.add(at), s.fma(factor, s.load(c.add(at)), s.load(b.add(at)))) };
        }
    }
}

/// # Safety
/// As [`Simd::store`], and as [`Simd::stream`] when streaming.
#[inline(always)]
pub(super) unsafe fn put<S: Simd>(s: S, p: *mut f32, v: S::V, streaming: bool) {
    // SAFETY: passed on.
    unsafe { if streaming { s.stream(p, v) } else { s.store(p, v) } }
}
