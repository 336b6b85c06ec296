//! Dot products of a few rows of `x` with a few rows of `W`, both read along the row and never packed.
//!
//! Each element of `y` is one sum in one fixed order, whatever else is computed with it: a row's result does not depend
//! on the other rows of a step, nor on threads, bit for bit. For few rows of `x` the time is that of reading `W` once
//! from memory; for many it is that of the multiplications. (Packing both matrices, as general libraries do, was
//! measured to gain nothing for rows of this length; see `benchmarks/cpu-decoder`.)

use super::super::simd::{Element, Kernel, Simd, dispatch};
use super::super::threads::{Cpu, Output};

/// Columns of `y` in the smallest task: one cache line.
const GRAIN: usize = 16;
/// How far ahead of its use a cache line of `W` is asked for, in bytes. The hardware's own prefetching does not follow
/// several streams that each end after a row.
const AHEAD: usize = 16384;
/// Bytes of `x` that stay in the second-level cache while all of `W` passes by.
const BLOCK_BYTES: usize = 256 << 10;

pub(super) fn multiply<W: Element>(
    cpu: &Cpu,
    x: &[f32],
    w: &[W],
    y: &mut [f32],
    (rows, n, k): (usize, usize, usize),
    add: bool,
) {
    // Four tasks a thread, so that a thread that lost its core for a while does not hold up the others.
    let tasks = if cpu.threads() == 1 { 1 } else { (4 * cpu.threads()).min(n.div_ceil(GRAIN)) };
    let block = n.div_ceil(tasks).next_multiple_of(GRAIN);
    let out = Output::new(y);
    cpu.each(n.div_ceil(block), |task| {
        let columns = (task * block, n.min((task + 1) * block));
        dispatch(cpu.isa(), Columns { x, w, y: out, rows, n, k, columns, add });
    });
}

/// Columns `columns.0 .. columns.1` of `y`, every row.
struct Columns<'a, W> {
    x: &'a [f32],
    w: &'a [W],
    y: Output<f32>,
    rows: usize,
    n: usize,
    k: usize,
    columns: (usize, usize),
    add: bool,
}

impl<W: Element> Kernel for Columns<'_, W> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let height = (BLOCK_BYTES / (4 * self.k)).next_multiple_of(12);
        let (begin, end) = self.columns;
        for first in (0..self.rows).step_by(height) {
            let rows = (first, self.rows.min(first + height));
            let whole = begin + (end - begin) / 4 * 4;
            for column in (begin..whole).step_by(4) {
                self.rows_of::<S, 4>(s, rows, column);
            }
            for column in whole..end {
                self.rows_of::<S, 1>(s, rows, column);
            }
        }
    }
}

impl<W: Element> Columns<'_, W> {
    /// `C` columns of some rows, as many rows at once as the registers hold sums for.
    #[inline(always)]
    fn rows_of<S: Simd, const C: usize>(&self, s: S, rows: (usize, usize), column: usize) {
        let (mut row, end) = rows;
        // Sums, weights and one row of x: 6 × 4 + 4 + 1 of 32 registers, or 2 × 4 + 4 + 1 of 16.
        if S::LANES == 16 {
            while row + 6 <= end {
                self.tile::<S, 6, C>(s, row, column, row == rows.0);
                row += 6;
            }
            match end - row {
                5 => return self.tile::<S, 5, C>(s, row, column, row == rows.0),
                4 => return self.tile::<S, 4, C>(s, row, column, row == rows.0),
                3 => return self.tile::<S, 3, C>(s, row, column, row == rows.0),
                _ => {}
            }
        }
        while row + 2 <= end {
            self.tile::<S, 2, C>(s, row, column, row == rows.0);
            row += 2;
        }
        if row < end {
            self.tile::<S, 1, C>(s, row, column, row == rows.0);
        }
    }

    /// `R` rows by `C` columns. The first tile of its columns asks for the rows of `W` that come next.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(&self, s: S, row: usize, column: usize, first: bool) {
        let k = self.k;
        let (x, w) = (&self.x[row * k..][..R * k], &self.w[column * k..][..C * k]);
        let dots = if first {
            s.call(Dots::<W, R, C, true> { x, w, k })
        } else {
            s.call(Dots::<W, R, C, false> { x, w, k })
        };
        for (r, dots) in dots.iter().enumerate() {
            // SAFETY: the row and its columns are inside the output, and no other task writes them.
            let y = unsafe {
                let begin = self.y.get().add((row + r) * self.n + column);
                std::slice::from_raw_parts_mut(begin, C)
            };
            if self.add {
                y.iter_mut().zip(dots).for_each(|(y, dot)| *y += dot);
            } else {
                y.copy_from_slice(dots);
            }
        }
    }
}

/// The dot products of `R` rows of `x` with `C` rows of `w`.
struct Dots<'a, W, const R: usize, const C: usize, const AHEAD_TOO: bool> {
    x: &'a [f32],
    w: &'a [W],
    k: usize,
}

impl<W: Element, const R: usize, const C: usize, const AHEAD_TOO: bool> Kernel
    for Dots<'_, W, R, C, AHEAD_TOO>
{
    type Out = [[f32; C]; R];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [[f32; C]; R] {
        let Self { x, w, k } = self;
        let whole = k - k % S::LANES;
        let mut sums = [[s.zero(); C]; R];
        for i in (0..whole).step_by(S::LANES) {
            if AHEAD_TOO {
                let next = w.as_ptr().cast::<u8>().wrapping_add(i * C * size_of::<W>() + AHEAD);
                for line in (0..C * S::LANES * size_of::<W>()).step_by(64) {
                    s.prefetch(next.wrapping_add(line));
                }
            }
            // SAFETY: x holds R rows and w holds C rows of k numbers, and i + LANES ≤ whole ≤ k.
            unsafe {
                let mut wv = [s.zero(); C];
                for (c, wv) in wv.iter_mut().enumerate() {
                    *wv = W::load(s, w.as_ptr().add(c * k + i));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let xv = s.load(x.as_ptr().add(r * k + i));
                    for (sum, wv) in sums.iter_mut().zip(&wv) {
                        *sum = s.fma(xv, *wv, *sum);
                    }
                }
            }
        }
        let mut dots = [[0.0; C]; R];
        for (dots, sums) in dots.iter_mut().zip(&sums) {
            if C == 4 {
                let four = s.sum4([sums[0], sums[1 % C], sums[2 % C], sums[3 % C]]);
                dots.copy_from_slice(&four[..C]);
            } else {
                dots[0] = s.sum(sums[0]);
            }
        }
        if whole < k {
            for (dots, x) in dots.iter_mut().zip(x.chunks_exact(k)) {
                for (dot, w) in dots.iter_mut().zip(w.chunks_exact(k)) {
                    *dot += x[whole..].iter().zip(&w[whole..]).map(|(x, w)| x * w.widen()).sum::<f32>();
                }
            }
        }
        dots
    }
}
