//! Many rows: the `gemm` crate, one panel of `W` at a time.
//!
//! Weights in a narrow precision are widened panel by panel into a buffer that stays in the cache.

use std::cell::RefCell;

use gemm_f32::gemm::f32::get_gemm_fn;

use super::super::simd::Element;
use super::super::threads::{Cpu, Output};

/// From this many rows on, packing pays.
pub(super) const FROM_ROWS: usize = 32;
/// Rows of `W` in a panel.
const PANEL: usize = 192;

pub(super) fn multiply<W: Element>(
    cpu: &Cpu,
    x: &[f32],
    w: &[W],
    y: &mut [f32],
    (rows, n, k): (usize, usize, usize),
    add: bool,
) {
    thread_local! {
        static WIDE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    let out = Output::new(y);
    // Panels do not depend on the number of threads, so neither does any sum.
    cpu.each(n.div_ceil(PANEL), |task| {
        let begin = task * PANEL;
        let height = PANEL.min(n - begin);
        let panel = &w[begin * k..][..height * k];
        let multiply = |panel: &[f32]| {
            // SAFETY: `panel` is height × k, `x` is rows × k, and columns begin .. begin+height of the rows × n output
            // belong to this task. The result is written as its transpose, height × rows with row stride 1.
            unsafe {
                get_gemm_fn()(
                    height,
                    rows,
                    k,
                    out.get().add(begin),
                    n as isize,
                    1,
                    add,
                    panel.as_ptr(),
                    1,
                    k as isize,
                    x.as_ptr(),
                    k as isize,
                    1,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm_common::Parallelism::None,
                );
            }
        };
        match bytemuck::try_cast_slice::<W, f32>(panel) {
            Ok(panel) if size_of::<W>() == 4 => multiply(panel),
            _ => WIDE.with_borrow_mut(|wide| {
                wide.clear();
                wide.extend(panel.iter().map(|v| v.widen()));
                multiply(wide);
            }),
        }
    });
}
