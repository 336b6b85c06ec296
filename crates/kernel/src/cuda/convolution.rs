//! Two-dimensional convolutions through cuDNN, with the algorithm that its heuristic puts first.
//!
//! Images and filters lie channels last (NHWC), which tensor cores want and which PyTorch calls `channels_last`.

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use rayon::prelude::*;
use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes};

use super::dnn::{Descriptor, Dnn, Kind};
use super::ffi::cudnn::{CONVOLUTIONS, CROSS_CORRELATION, Convolution, DataType, MathType, NHWC};
use super::issue::{Issue, sets};
use super::memory::{Buffer, Rotating, of_size};
use super::numbers::{Mixed, rounding, widen};
use super::plan::Element;
use crate::case::CaseError;

/// Sizes of a convolution; square filters, the same step and padding both ways.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) batch: usize,
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) filters: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

impl Geometry {
    /// Height and width of the result.
    fn result(&self) -> Result<(usize, usize), CaseError> {
        let side = |side: usize| {
            let room = (side + 2 * self.padding).checked_sub(self.kernel)?;
            Some(room.checked_div(self.stride)? + 1)
        };
        let sizes = [self.batch, self.channels, self.filters, self.kernel];
        match (side(self.height), side(self.width)) {
            (Some(h), Some(w)) if !sizes.contains(&0) => Ok((h, w)),
            _ => Err(CaseError::Unsupported { reason: "a convolution without a result".to_owned() }),
        }
    }

    /// Positions in the image and the filter whose products make one element: `(image, filter)`, channels last.
    fn terms(&self, [image, row, column, filter]: [usize; 4]) -> Vec<(usize, usize)> {
        let mut terms = Vec::with_capacity(self.kernel * self.kernel * self.channels);
        for y in 0..self.kernel {
            for x in 0..self.kernel {
                let (Some(h), Some(w)) = (
                    (row * self.stride + y).checked_sub(self.padding).filter(|h| *h < self.height),
                    (column * self.stride + x).checked_sub(self.padding).filter(|w| *w < self.width),
                ) else {
                    continue;
                };
                let pixel = ((image * self.height + h) * self.width + w) * self.channels;
                let weight = ((filter * self.kernel + y) * self.kernel + x) * self.channels;
                terms.extend((0..self.channels).map(|c| (pixel + c, weight + c)));
            }
        }
        terms
    }
}

fn formats(dtypes: Dtypes) -> Result<(Element, DataType, MathType), CaseError> {
    if dtypes != Dtypes::all(dtypes.input) {
        return Err(CaseError::Unsupported { reason: "a convolution of mixed formats".to_owned() });
    }
    Ok(match dtypes.input {
        Dtype::F32 => (Element::F32, DataType::F32, MathType::Fma),
        Dtype::Tf32 => (Element::F32, DataType::F32, MathType::Default),
        Dtype::F16 => (Element::F16, DataType::F16, MathType::TensorOp),
        Dtype::Bf16 => (Element::Bf16, DataType::Bf16, MathType::TensorOp),
        other => {
            return Err(CaseError::Unsupported { reason: format!("a convolution of {}", other.name()) });
        }
    })
}

/// Elements that are checked.
const CHECKED: usize = 256;

/// One convolution.
pub(super) struct ConvolutionIssue {
    dnn: Rc<Dnn>,
    geometry: Geometry,
    element: Element,
    cut: bool,
    image_layout: Descriptor,
    filter_layout: Descriptor,
    operation: Descriptor,
    result_layout: Descriptor,
    choice: Convolution,
    workspace: Buffer,
    image: Rotating,
    filter: Rotating,
    result: Rotating,
    result_size: (usize, usize),
    sets: usize,
}

impl ConvolutionIssue {
    pub(super) fn new(
        dnn: &Rc<Dnn>,
        geometry: Geometry,
        dtypes: Dtypes,
        cache: CacheState,
    ) -> Result<Self, CaseError> {
        let (element, data, math) = formats(dtypes)?;
        let (height, width) = geometry.result()?;
        let g = geometry;
        let small = |size: usize| {
            c_int::try_from(size).map_err(|_| CaseError::Unsupported { reason: format!("a size of {size}") })
        };
        let t = &dnn.table;
        let d = data as c_int;
        let image_layout = dnn.descriptor(Kind::Tensor)?;
        let filter_layout = dnn.descriptor(Kind::Filter)?;
        let operation = dnn.descriptor(Kind::Convolution)?;
        let result_layout = dnn.descriptor(Kind::Tensor)?;
        let [n, c, h, w] = [small(g.batch)?, small(g.channels)?, small(g.height)?, small(g.width)?];
        let [k, side, step, edge] =
            [small(g.filters)?, small(g.kernel)?, small(g.stride)?, small(g.padding)?];
        let [out_h, out_w] = [small(height)?, small(width)?];
        // SAFETY (all blocks here): the descriptors were just created and live; places for answers are valid.
        t.check("cudnnSetTensor4dDescriptor", unsafe {
            (t.tensor_set_4d)(image_layout.handle, NHWC, d, n, c, h, w)
        })?;
        t.check("cudnnSetFilter4dDescriptor", unsafe {
            (t.filter_set_4d)(filter_layout.handle, d, NHWC, k, c, side, side)
        })?;
        // Sums are kept in single precision whatever the operands are.
        t.check("cudnnSetConvolution2dDescriptor", unsafe {
            (t.convolution_set_2d)(
                operation.handle,
                edge,
                edge,
                step,
                step,
                1,
                1,
                CROSS_CORRELATION,
                DataType::F32 as c_int,
            )
        })?;
        t.check("cudnnSetConvolutionMathType", unsafe {
            (t.convolution_set_math)(operation.handle, math as c_int)
        })?;
        t.check("cudnnSetTensor4dDescriptor", unsafe {
            (t.tensor_set_4d)(result_layout.handle, NHWC, d, n, k, out_h, out_w)
        })?;
        let mut choices = [Convolution::default(); 8];
        let mut found: c_int = 0;
        t.check("cudnnGetConvolutionForwardAlgorithm_v7", unsafe {
            (t.convolution_choose)(
                dnn.handle,
                image_layout.handle,
                filter_layout.handle,
                operation.handle,
                result_layout.handle,
                choices.len() as c_int,
                &raw mut found,
                choices.as_mut_ptr(),
            )
        })?;
        let choice = choices[..usize::try_from(found).unwrap_or(0).min(choices.len())]
            .iter()
            .find(|c| c.status == 0)
            .copied()
            .ok_or_else(|| CaseError::Unsupported { reason: "cuDNN has no algorithm for it".to_owned() })?;
        t.check("cudnnSetConvolutionMathType", unsafe {
            (t.convolution_set_math)(operation.handle, choice.math)
        })?;
        let mut workspace_bytes = 0_usize;
        t.check("cudnnGetConvolutionForwardWorkspaceSize", unsafe {
            (t.convolution_workspace)(
                dnn.handle,
                image_layout.handle,
                filter_layout.handle,
                operation.handle,
                result_layout.handle,
                choice.algorithm,
                &raw mut workspace_bytes,
            )
        })?;

        let lengths = [
            g.batch * g.channels * g.height * g.width,
            g.filters * g.channels * g.kernel * g.kernel,
            g.batch * g.filters * height * width,
        ];
        let set_bytes = (lengths.iter().sum::<usize>() * element.bytes()) as u64;
        let sets = sets(cache, set_bytes, dnn.gpu.facts.target.l2_bytes);
        let place = |len| {
            Rotating::new(&dnn.gpu, element, len, sets)
                .map_err(|e| of_size(e, set_bytes * sets as u64 + workspace_bytes as u64))
        };
        let issue = Self {
            image: place(lengths[0])?,
            filter: place(lengths[1])?,
            result: place(lengths[2])?,
            workspace: Buffer::new(&dnn.gpu, workspace_bytes)?,
            dnn: dnn.clone(),
            geometry,
            element,
            cut: dtypes.input == Dtype::Tf32,
            image_layout,
            filter_layout,
            operation,
            result_layout,
            choice,
            result_size: (height, width),
            sets,
        };
        issue.image.fill_uniform(&issue.dnn.gpu, issue.dnn.gpu.seed(1), 1.0)?;
        issue.filter.fill_uniform(&issue.dnn.gpu, issue.dnn.gpu.seed(2), 1.0)?;
        // The first call loads or compiles code.
        issue.issue(0)?;
        issue.dnn.gpu.wait()?;
        Ok(issue)
    }
}

impl Issue for ConvolutionIssue {
    fn issue(&self, set: usize) -> Result<(), CaseError> {
        let t = &self.dnn.table;
        let (one, zero) = (1_f32, 0_f32);
        // SAFETY: the descriptors describe these operands, which live; the factors are read before the call returns;
        // the workspace is as long as the library asked for, and calls run one after the other on one stream.
        t.check("cudnnConvolutionForward", unsafe {
            (t.convolution_forward)(
                self.dnn.handle,
                (&raw const one).cast(),
                self.image_layout.handle,
                self.image.at(set) as *const c_void,
                self.filter_layout.handle,
                self.filter.at(set) as *const c_void,
                self.operation.handle,
                self.choice.algorithm,
                self.workspace.address() as *mut c_void,
                self.workspace.bytes(),
                (&raw const zero).cast(),
                self.result_layout.handle,
                self.result.at(set) as *mut c_void,
            )
        })
    }

    fn sets(&self) -> usize {
        self.sets
    }

    fn set_bytes(&self) -> u64 {
        (self.image.bytes() + self.filter.bytes() + self.result.bytes()) as u64
    }

    fn verify(&self, seed: u64) -> Result<f64, CaseError> {
        let gpu = &self.dnn.gpu;
        self.image.refill_first(gpu, Mixed(seed).next(), 1.0)?;
        self.filter.refill_first(gpu, Mixed(seed ^ 1 << 40).next(), 1.0)?;
        self.result.fill_bytes(gpu, 0xff)?;
        self.issue(0)?;
        gpu.wait()?;
        let all = |place: &Rotating| Ok::<_, CaseError>(widen(self.element, &place.read_all(gpu)?));
        let (image, filter, result) = (all(&self.image)?, all(&self.filter)?, all(&self.result)?);
        let g = self.geometry;
        let (height, width) = self.result_size;
        // Winograd transforms add and subtract operands before they multiply: a few bits more are lost.
        let transforms =
            CONVOLUTIONS.get(self.choice.algorithm as usize).is_some_and(|n| n.starts_with("wino"));
        let (unit, cut) = (rounding(self.element), if self.cut { 2f64.powi(-10) } else { 0.0 });
        Ok(Mixed(seed)
            .positions(result.len(), CHECKED)
            .par_iter()
            .map(|&at| {
                let (filter_number, rest) = (at % g.filters, at / g.filters);
                let (column, rest) = (rest % width, rest / width);
                let (row, number) = (rest % height, rest / height);
                let terms = g.terms([number, row, column, filter_number]);
                let (mut value, mut squares) = (0.0, 0.0);
                for (a, b) in &terms {
                    let product = image[*a] * filter[*b];
                    value += product;
                    squares += product * product;
                }
                let spread = squares.sqrt();
                let sum = value.abs() * 2.0 * cut
                    + 6.0 * spread * cut
                    + (terms.len() as f64 + 8.0) * 2f64.powi(-22) * spread
                    + if transforms { 16.0 * unit * spread } else { 4.0 * unit * spread };
                let off = (result[at] - value).abs() / (unit * (value.abs() + sum) + sum);
                if result[at] == value {
                    0.0
                } else if off.is_nan() {
                    f64::INFINITY
                } else {
                    off
                }
            })
            .reduce(|| 0.0, f64::max))
    }

    fn choice(&self) -> Option<String> {
        let name = CONVOLUTIONS.get(usize::try_from(self.choice.algorithm).ok()?)?;
        Some(format!("cudnn {name}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const SMALL: Geometry =
        Geometry { batch: 1, channels: 2, height: 3, width: 3, filters: 1, kernel: 3, stride: 2, padding: 1 };

    #[test]
    fn the_result_is_as_large_as_the_steps_that_fit() {
        assert_eq!(SMALL.result().unwrap(), (2, 2)); // (3 + 2·1 − 3)/2 + 1
        assert!(Geometry { padding: 0, height: 2, ..SMALL }.result().is_err());
        assert!(Geometry { stride: 0, ..SMALL }.result().is_err());
    }

    #[test]
    fn padding_contributes_nothing() {
        // At the upper left corner four of nine pixels exist, two channels each; the filter begins at its middle.
        let terms = SMALL.terms([0, 0, 0, 0]);
        assert_eq!(terms.len(), 8);
        assert_eq!(terms[0], (0, 8)); // pixel (0,0), weight (1,1) = (1·3 + 1)·2
        assert_eq!(terms[7], (9, 17)); // pixel (1,1) = (1·3 + 1)·2 + 1, weight (2,2) = 8·2 + 1
    }
}
