//! Recurrent layers (LSTM, GRU) through cuDNN, with two bias vectors a gate as PyTorch has them.
//!
//! Inputs are `[steps, batch, width]`, all sequences equally long, states begin at zero, nothing is kept for training.

mod reference;

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes};

use self::reference::{Reference, Weights};
use super::dnn::{Descriptor, Dnn, Kind};
use super::ffi::cudnn::{
    DOUBLE_BIAS, DataType, GRU, LSTM, MathType, PADDED_IO, RNN_STANDARD, SEQUENCE_MAJOR,
};
use super::issue::{Issue, sets};
use super::memory::{Buffer, Rotating, of_size};
use super::numbers::{Mixed, rounding, widen};
use super::plan::Element;
use crate::case::CaseError;

/// Which cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Lstm,
    Gru,
}

impl Cell {
    /// Gates, in the library's order: input, forget, cell, output; or reset, update, new.
    const fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }
}

/// Sizes of recurrent layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers {
    pub(super) batch: usize,
    pub(super) steps: usize,
    pub(super) input: usize,
    pub(super) hidden: usize,
    pub(super) layers: usize,
}

/// Steps of one sequence that are checked: each costs the host a product with every weight.
const CHECKED_STEPS: usize = 4;

/// Recurrent layers.
pub(super) struct RecurrentIssue {
    dnn: Rc<Dnn>,
    cell: Cell,
    size: Layers,
    element: Element,
    cut: bool,
    operation: Descriptor,
    input_layout: Descriptor,
    output_layout: Descriptor,
    state_layout: Descriptor,
    _dropout: Descriptor,
    lengths: Buffer,
    workspace: Buffer,
    input: Rotating,
    output: Rotating,
    weights: Rotating,
    sets: usize,
}

impl RecurrentIssue {
    pub(super) fn new(
        dnn: &Rc<Dnn>,
        cell: Cell,
        size: Layers,
        dtypes: Dtypes,
        cache: CacheState,
    ) -> Result<Self, CaseError> {
        let unsupported = |reason: String| CaseError::Unsupported { reason };
        if dtypes != Dtypes::all(dtypes.input) {
            return Err(unsupported("recurrent layers of mixed formats".to_owned()));
        }
        let (element, data, math) = match dtypes.input {
            Dtype::F32 => (Element::F32, DataType::F32, MathType::Fma),
            Dtype::Tf32 => (Element::F32, DataType::F32, MathType::Default),
            Dtype::F16 => (Element::F16, DataType::F16, MathType::TensorOp),
            Dtype::Bf16 => (Element::Bf16, DataType::Bf16, MathType::TensorOp),
            other => return Err(unsupported(format!("recurrent layers of {}", other.name()))),
        };
        let numbers = [size.batch, size.steps, size.input, size.hidden, size.layers];
        if numbers.iter().any(|n| *n == 0 || *n > i32::MAX as usize) {
            return Err(unsupported("recurrent layers without a size".to_owned()));
        }
        let [batch, steps, width, hidden, layers] = numbers.map(|n| n as c_int);
        let (t, gpu) = (&dnn.table, &dnn.gpu);
        let dropout = dnn.descriptor(Kind::Dropout)?;
        let operation = dnn.descriptor(Kind::Rnn)?;
        let input_layout = dnn.descriptor(Kind::RnnData)?;
        let output_layout = dnn.descriptor(Kind::RnnData)?;
        let state_layout = dnn.descriptor(Kind::Tensor)?;
        // SAFETY (all blocks here): the descriptors were just created and live; arrays are as long as the numbers beside
        // them say; places for answers are valid.
        t.check("cudnnSetDropoutDescriptor", unsafe {
            (t.dropout_set)(dropout.handle, dnn.handle, 0.0, std::ptr::null_mut(), 0, 0)
        })?;
        let mode = match cell {
            Cell::Lstm => LSTM,
            Cell::Gru => GRU,
        };
        t.check("cudnnSetRNNDescriptor_v8", unsafe {
            (t.rnn_set)(
                operation.handle,
                RNN_STANDARD,
                mode,
                DOUBLE_BIAS,
                0, // one direction
                0, // the first layer multiplies its input, too
                data as c_int,
                DataType::F32 as c_int,
                math as c_int,
                width,
                hidden,
                hidden, // no projection
                layers,
                dropout.handle,
                PADDED_IO,
            )
        })?;
        let lengths = vec![steps; size.batch];
        for (layout, width) in [(&input_layout, width), (&output_layout, hidden)] {
            t.check("cudnnSetRNNDataDescriptor", unsafe {
                (t.rnn_data_set)(
                    layout.handle,
                    data as c_int,
                    SEQUENCE_MAJOR,
                    steps,
                    batch,
                    width,
                    lengths.as_ptr(),
                    std::ptr::null_mut(),
                )
            })?;
        }
        let state = ([layers, batch, hidden], [batch * hidden, hidden, 1]);
        t.check("cudnnSetTensorNdDescriptor", unsafe {
            (t.tensor_set)(state_layout.handle, data as c_int, 3, state.0.as_ptr(), state.1.as_ptr())
        })?;
        let (mut workspace_bytes, mut reserve_bytes, mut weight_bytes) = (0_usize, 0_usize, 0_usize);
        t.check("cudnnGetRNNTempSpaceSizes", unsafe {
            (t.rnn_temporary)(
                dnn.handle,
                operation.handle,
                0, // inference
                input_layout.handle,
                &raw mut workspace_bytes,
                &raw mut reserve_bytes,
            )
        })?;
        t.check("cudnnGetRNNWeightSpaceSize", unsafe {
            (t.rnn_weights)(dnn.handle, operation.handle, &raw mut weight_bytes)
        })?;

        let rows = size.steps * size.batch;
        let set_bytes = ((size.input + size.hidden) * rows * element.bytes() + weight_bytes) as u64;
        let sets = sets(cache, set_bytes, gpu.facts.target.l2_bytes);
        let place = |len| {
            Rotating::new(gpu, element, len, sets)
                .map_err(|e| of_size(e, set_bytes * sets as u64 + workspace_bytes as u64))
        };
        let on_device = Buffer::new(gpu, size_of_val(lengths.as_slice()))?;
        gpu.to_device(on_device.address(), bytemuck::cast_slice(&lengths))?;
        let issue = Self {
            input: place(rows * size.input)?,
            output: place(rows * size.hidden)?,
            weights: place(weight_bytes.div_ceil(element.bytes()))?,
            workspace: Buffer::new(gpu, workspace_bytes)?,
            lengths: on_device,
            dnn: dnn.clone(),
            cell,
            size,
            element,
            cut: dtypes.input == Dtype::Tf32,
            operation,
            input_layout,
            output_layout,
            state_layout,
            _dropout: dropout,
            sets,
        };
        issue.input.fill_uniform(&issue.dnn.gpu, issue.dnn.gpu.seed(1), 1.0)?;
        issue.weights.fill_uniform(&issue.dnn.gpu, issue.dnn.gpu.seed(2), issue.weight_scale())?;
        // The first call loads or compiles code.
        issue.issue(0)?;
        issue.dnn.gpu.wait()?;
        Ok(issue)
    }

    /// Weights so large that the gates neither stay half open nor saturate.
    fn weight_scale(&self) -> f32 {
        2.0 / (self.size.hidden.max(self.size.input) as f32).sqrt()
    }

    /// Where the matrix and the bias of a gate lie in the first set's weights, in elements.
    fn weight_places(&self, layer: usize, gate: usize) -> Result<(usize, usize), CaseError> {
        let t = &self.dnn.table;
        let (matrix, bias) = (self.dnn.descriptor(Kind::Tensor)?, self.dnn.descriptor(Kind::Tensor)?);
        let (mut matrix_at, mut bias_at) = (std::ptr::null_mut::<c_void>(), std::ptr::null_mut::<c_void>());
        let base = self.weights.at(0);
        // SAFETY: the library only computes addresses within the weights, which live.
        t.check("cudnnGetRNNWeightParams", unsafe {
            (t.rnn_weight_place)(
                self.dnn.handle,
                self.operation.handle,
                layer as i32,
                self.weights.bytes(),
                base as *const c_void,
                gate as i32,
                matrix.handle,
                &raw mut matrix_at,
                bias.handle,
                &raw mut bias_at,
            )
        })?;
        let offset = |at: *mut c_void| {
            (at as u64)
                .checked_sub(base)
                .filter(|bytes| *bytes < self.weights.bytes() as u64)
                .map(|bytes| bytes as usize / self.element.bytes())
                .ok_or_else(|| CaseError::Failed {
                    reason: "cudnnGetRNNWeightParams: an address outside of the weights".to_owned(),
                })
        };
        Ok((offset(matrix_at)?, offset(bias_at)?))
    }

    fn weights_on_host(&self) -> Result<Vec<Weights>, CaseError> {
        let all = widen(self.element, &self.weights.read_all(&self.dnn.gpu)?);
        let piece = |from: usize, len: usize| {
            all.get(from..from + len).map(<[f64]>::to_vec).ok_or_else(|| CaseError::Failed {
                reason: "cudnnGetRNNWeightParams: a matrix beyond the weights".to_owned(),
            })
        };
        let hidden = self.size.hidden;
        (0..self.size.layers)
            .map(|layer| {
                let width = if layer == 0 { self.size.input } else { hidden };
                let gates = self.cell.gates();
                let mut weights = Weights::default();
                for gate in 0..gates {
                    let (matrix, bias) = self.weight_places(layer, gate)?;
                    weights.input.push(piece(matrix, hidden * width)?);
                    weights.input_bias.push(piece(bias, hidden)?);
                    let (matrix, bias) = self.weight_places(layer, gates + gate)?;
                    weights.state.push(piece(matrix, hidden * hidden)?);
                    weights.state_bias.push(piece(bias, hidden)?);
                }
                Ok(weights)
            })
            .collect()
    }
}

impl Issue for RecurrentIssue {
    fn issue(&self, set: usize) -> Result<(), CaseError> {
        let t = &self.dnn.table;
        let null = std::ptr::null_mut::<c_void>();
        // SAFETY: the descriptors describe these operands, which live; states that are null begin at zero and are not
        // kept; the workspace is as long as the library asked for.
        t.check("cudnnRNNForward", unsafe {
            (t.rnn_forward)(
                self.dnn.handle,
                self.operation.handle,
                0, // inference
                self.lengths.address() as *const i32,
                self.input_layout.handle,
                self.input.at(set) as *const c_void,
                self.output_layout.handle,
                self.output.at(set) as *mut c_void,
                self.state_layout.handle,
                null,
                null,
                self.state_layout.handle,
                null,
                null,
                self.weights.bytes(),
                self.weights.at(set) as *const c_void,
                self.workspace.bytes(),
                self.workspace.address() as *mut c_void,
                0,
                null,
            )
        })
    }

    fn sets(&self) -> usize {
        self.sets
    }

    fn set_bytes(&self) -> u64 {
        (self.input.bytes() + self.output.bytes() + self.weights.bytes()) as u64
    }

    fn verify(&self, seed: u64) -> Result<f64, CaseError> {
        let gpu = &self.dnn.gpu;
        self.input.refill_first(gpu, Mixed(seed).next(), 1.0)?;
        self.weights.refill_first(gpu, Mixed(seed ^ 1 << 40).next(), self.weight_scale())?;
        self.output.fill_bytes(gpu, 0xff)?;
        self.issue(0)?;
        gpu.wait()?;
        let Layers { batch, steps, input, hidden, .. } = self.size;
        let weights = self.weights_on_host()?;
        let sequence = (Mixed(seed).next() % batch as u64) as usize;
        let mut layers: Vec<Reference> =
            weights.iter().map(|w| Reference::new(self.cell, w, hidden)).collect();
        let unit = rounding(self.element);
        let cut = if self.cut { 2f64.powi(-10) } else { 0.0 };
        let error = unit + cut + (hidden.max(input) as f64).sqrt() * 2f64.powi(-22);
        let mut worst = 0f64;
        for step in 0..steps.min(CHECKED_STEPS) {
            let row = step * batch + sequence;
            let mut values = widen(self.element, &self.input.read(gpu, row * input, input)?);
            for layer in &mut layers {
                values = layer.step(&values).to_vec();
            }
            let found = widen(self.element, &self.output.read(gpu, row * hidden, hidden)?);
            // Each layer and each step passes on what rounding its inputs cost.
            let allowed = 2.0 * error * (1 + step) as f64 * (1 + layers.len()) as f64;
            for (found, value) in found.iter().zip(&values) {
                let off = (found - value).abs() / (allowed + unit * value.abs());
                worst = worst.max(if off.is_nan() { f64::INFINITY } else { off });
            }
        }
        // The end of every sequence must have been written.
        let last = widen(self.element, &self.output.read(gpu, (steps - 1) * batch * hidden, batch * hidden)?);
        Ok(if last.iter().all(|v| v.is_finite()) { worst } else { f64::INFINITY })
    }

    fn choice(&self) -> Option<String> {
        Some(format!("cudnn {:?} standard", self.cell).to_lowercase())
    }
}
