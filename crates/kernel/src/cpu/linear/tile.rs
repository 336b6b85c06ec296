//! Dot products of a few rows of `x` with a few rows of `W`, both read along the row and never packed.
//!
//! For few rows of `x` the time is that of reading `W` once from memory.

use super::super::simd::{Element, Kernel, Simd, dispatch};
use super::super::threads::{Cpu, Output};

/// Rows of `W` that a microkernel multiplies at once.
const N: usize = 4;
/// Columns of `y` in the smallest task: one cache line.
const GRAIN: usize = 16;

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
        let (begin, end) = self.columns;
        let whole = begin + (end - begin) / N * N;
        for column in (begin..whole).step_by(N) {
            self.rows_of::<S, N>(s, column);
        }
        for column in whole..end {
            self.rows_of::<S, 1>(s, column);
        }
    }
}

impl<W: Element> Columns<'_, W> {
    /// `C` columns of `y`, every row, as many rows at once as the registers hold.
    #[inline(always)]
    fn rows_of<S: Simd, const C: usize>(&self, s: S, column: usize) {
        let mut row = 0;
        // 32 registers hold 4 × 4 sums, 16 hold 2 × 4.
        if S::LANES == 16 {
            while row + 4 <= self.rows {
                self.tile::<S, 4, C>(s, row, column);
                row += 4;
            }
            if row + 3 == self.rows {
                self.tile::<S, 3, C>(s, row, column);
                return;
            }
        }
        while row + 2 <= self.rows {
            self.tile::<S, 2, C>(s, row, column);
            row += 2;
        }
        if row < self.rows {
            self.tile::<S, 1, C>(s, row, column);
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(&self, s: S, row: usize, column: usize) {
        let k = self.k;
        debug_assert!(row + R <= self.rows && column + C <= self.n);
        let mut sums = [[s.zero(); C]; R];
        let whole = k - k % S::LANES;
        // SAFETY: rows row .. row+R of x and column .. column+C of w exist, `whole` and the tail stay inside a row, and
        // no other task writes these elements of y.
        unsafe {
            let x = self.x.as_ptr().add(row * k);
            let w = self.w.as_ptr().add(column * k);
            for i in (0..whole).step_by(S::LANES) {
                let wv: [S::V; C] = std::array::from_fn(|c| W::load(s, w.add(c * k + i)));
                for r in 0..R {
                    let xv = s.load(x.add(r * k + i));
                    for c in 0..C {
                        sums[r][c] = s.fma(xv, wv[c], sums[r][c]);
                    }
                }
            }
            let mut out = [[0.0; C]; R];
            for r in 0..R {
                if C == 4 {
                    out[r].copy_from_slice(
                        &s.sum4([sums[r][0], sums[r][1 % C], sums[r][2 % C], sums[r][3 % C]])[..C],
                    );
                } else {
                    for c in 0..C {
                        out[r][c] = s.sum(sums[r][c]);
                    }
                }
                for c in 0..C {
                    for i in whole..k {
                        out[r][c] += *x.add(r * k + i) * (*w.add(c * k + i)).widen();
                    }
                    let y = self.y.get().add((row + r) * self.n + column + c);
                    *y = if self.add { *y + out[r][c] } else { out[r][c] };
                }
            }
        }
    }
}
