//! Two-dimensional convolution: patches of the image become rows, and [`linear`] multiplies them.
//!
//! Images are batch × height × width × channels, so that what a kernel row covers is one piece of memory.

#![expect(unsafe_code, reason = "disjoint output rows")]

use super::linear::linear;
use super::matrix::Matrix;
use super::threads::{Cpu, Output};

/// Sizes of a convolution with a square kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Channels in.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Zeroes at each edge.
    pub padding: usize,
}

impl ConvShape {
    /// Height and width of the result; `None` when the kernel does not fit or the step is 0.
    pub fn output(&self) -> Option<(usize, usize)> {
        let side = |length: usize| {
            let room = (length + 2 * self.padding).checked_sub(self.kernel)?;
            Some(room.checked_div(self.stride)? + 1)
        };
        Some((side(self.height)?, side(self.width)?))
    }

    /// Numbers that one pixel of the result is made of.
    pub fn taps(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }
}

/// `y = x ∗ w`. Row `f` of `w` holds filter `f` as kernel row × kernel column × channel; `y` is batch × height × width ×
/// filters. `patches` is scratch of any length, kept between calls.
///
/// # Panics
///
/// When `x`, `w` or `y` do not have the sizes of `shape`.
pub fn conv2d(cpu: &Cpu, x: &[f32], shape: ConvShape, w: &Matrix, patches: &mut Vec<f32>, y: &mut [f32]) {
    let (rows, cols) = shape.output().expect("conv2d: the kernel fits into the image");
    let (image, pixels) = (shape.height * shape.width * shape.channels, rows * cols);
    assert_eq!(x.len(), shape.batch * image, "conv2d: images differ");
    assert_eq!(w.cols(), shape.taps(), "conv2d: filters differ");
    assert_eq!(y.len(), shape.batch * pixels * w.rows(), "conv2d: result differs");
    if shape.kernel == 1 && shape.stride == 1 && shape.padding == 0 {
        return linear(cpu, x, w, y);
    }
    patches.resize(pixels * shape.taps(), 0.0);
    for (x, y) in x.chunks_exact(image).zip(y.chunks_exact_mut(pixels * w.rows())) {
        let out = Output::new(patches);
        cpu.each(rows, |row| {
            let len = cols * shape.taps();
            // SAFETY: rows of patches do not overlap, and each is visited by one task.
            let patches = unsafe { std::slice::from_raw_parts_mut(out.get().add(row * len), len) };
            gather(x, shape, row, patches);
        });
        linear(cpu, patches, w, y);
    }
}

/// Patches of one row of the result.
fn gather(x: &[f32], shape: ConvShape, row: usize, patches: &mut [f32]) {
    let ConvShape { channels, kernel, stride, padding, .. } = shape;
    for (col, patch) in patches.chunks_exact_mut(shape.taps()).enumerate() {
        for (ky, line) in patch.chunks_exact_mut(kernel * channels).enumerate() {
            let Some(iy) = (row * stride + ky).checked_sub(padding).filter(|&iy| iy < shape.height) else {
                line.fill(0.0);
                continue;
            };
            for (kx, pixel) in line.chunks_exact_mut(channels).enumerate() {
                match (col * stride + kx).checked_sub(padding).filter(|&ix| ix < shape.width) {
                    Some(ix) => {
                        pixel.copy_from_slice(&x[(iy * shape.width + ix) * channels..][..channels]);
                    }
                    None => pixel.fill(0.0),
                }
            }
        }
    }
}
