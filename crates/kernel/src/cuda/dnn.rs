//! cuDNN, open on a device, and its descriptors.

use std::ffi::c_int;
use std::rc::Rc;

use super::ffi::cudnn::Cudnn;
use super::ffi::driver::Handle;
use super::gpu::{Gpu, missing};
use crate::case::CaseError;

/// The library, open on a device.
pub(super) struct Dnn {
    pub(super) gpu: Rc<Gpu>,
    pub(super) table: Cudnn,
    pub(super) handle: Handle,
}

/// What a descriptor describes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Tensor,
    Filter,
    Convolution,
    Dropout,
    Rnn,
    RnnData,
}

impl Dnn {
    pub(super) fn open(gpu: &Rc<Gpu>) -> Result<Self, CaseError> {
        let table = Cudnn::open(&gpu.folders).map_err(missing)?;
        let mut dnn = Self { gpu: gpu.clone(), table, handle: std::ptr::null_mut() };
        // SAFETY: a valid place for the answer.
        dnn.table.check("cudnnCreate", unsafe { (dnn.table.create)(&raw mut dnn.handle) })?;
        // SAFETY: both live.
        dnn.table.check("cudnnSetStream", unsafe { (dnn.table.set_stream)(dnn.handle, gpu.stream()) })?;
        Ok(dnn)
    }

    /// A descriptor that says nothing yet.
    pub(super) fn descriptor(self: &Rc<Self>, kind: Kind) -> Result<Descriptor, CaseError> {
        let t = &self.table;
        let mut handle: Handle = std::ptr::null_mut();
        // SAFETY (all arms): a valid place for the answer.
        let (call, code): (_, c_int) = unsafe {
            match kind {
                Kind::Tensor => ("cudnnCreateTensorDescriptor", (t.tensor_create)(&raw mut handle)),
                Kind::Filter => ("cudnnCreateFilterDescriptor", (t.filter_create)(&raw mut handle)),
                Kind::Convolution => {
                    ("cudnnCreateConvolutionDescriptor", (t.convolution_create)(&raw mut handle))
                }
                Kind::Dropout => ("cudnnCreateDropoutDescriptor", (t.dropout_create)(&raw mut handle)),
                Kind::Rnn => ("cudnnCreateRNNDescriptor", (t.rnn_create)(&raw mut handle)),
                Kind::RnnData => ("cudnnCreateRNNDataDescriptor", (t.rnn_data_create)(&raw mut handle)),
            }
        };
        t.check(call, code)?;
        Ok(Descriptor { dnn: self.clone(), kind, handle })
    }
}

impl Drop for Dnn {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: created by this, destroyed once, after the work that uses it.
            unsafe { (self.table.destroy)(self.handle) };
        }
    }
}

/// A descriptor of the library.
pub(super) struct Descriptor {
    dnn: Rc<Dnn>,
    kind: Kind,
    pub(super) handle: Handle,
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let t = &self.dnn.table;
        // SAFETY: created as this kind, destroyed once.
        unsafe {
            match self.kind {
                Kind::Tensor => (t.tensor_destroy)(self.handle),
                Kind::Filter => (t.filter_destroy)(self.handle),
                Kind::Convolution => (t.convolution_destroy)(self.handle),
                Kind::Dropout => (t.dropout_destroy)(self.handle),
                Kind::Rnn => (t.rnn_destroy)(self.handle),
                Kind::RnnData => (t.rnn_data_destroy)(self.handle),
            }
        };
    }
}
