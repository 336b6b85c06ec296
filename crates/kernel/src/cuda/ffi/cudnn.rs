//! Convolutions and recurrent layers (`cudnn_ops.h`, `cudnn_cnn.h`, `cudnn_adv.h` of cuDNN 8 and 9).

use std::ffi::{c_char, c_int, c_void};

use super::driver::Handle;
use super::{functions, text};
use crate::case::CaseError;

/// `cudnnDataType_t`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(in crate::cuda) enum DataType {
    F32 = 0,
    F16 = 2,
    I32 = 4,
    Bf16 = 9,
    Bool = 11,
}

/// `CUDNN_DEFAULT_MATH` (allows TensorFloat-32), `…_TENSOR_OP_MATH`, `…_FMA_MATH`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(in crate::cuda) enum MathType {
    Default = 0,
    TensorOp = 1,
    Fma = 3,
}

/// `CUDNN_TENSOR_NHWC`
pub(in crate::cuda) const NHWC: c_int = 1;
/// `CUDNN_CROSS_CORRELATION`
pub(in crate::cuda) const CROSS_CORRELATION: c_int = 1;
/// `CUDNN_RNN_ALGO_STANDARD`
pub(in crate::cuda) const RNN_STANDARD: c_int = 0;
/// `CUDNN_LSTM`
pub(in crate::cuda) const LSTM: c_int = 2;
/// `CUDNN_GRU`
pub(in crate::cuda) const GRU: c_int = 3;
/// `CUDNN_RNN_DOUBLE_BIAS`, as in PyTorch
pub(in crate::cuda) const DOUBLE_BIAS: c_int = 2;
/// `CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED`
pub(in crate::cuda) const SEQUENCE_MAJOR: c_int = 0;
/// `CUDNN_RNN_PADDED_IO_ENABLED`
pub(in crate::cuda) const PADDED_IO: u32 = 1;

/// `cudnnConvolutionFwdAlgoPerf_t`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::cuda) struct Convolution {
    pub(in crate::cuda) algorithm: c_int,
    pub(in crate::cuda) status: c_int,
    time_ms: f32,
    pub(in crate::cuda) workspace_bytes: usize,
    determinism: c_int,
    pub(in crate::cuda) math: c_int,
    reserved: [c_int; 3],
}

/// `CUDNN_CONVOLUTION_FWD_ALGO_…`, by number
pub(in crate::cuda) const CONVOLUTIONS: [&str; 8] = [
    "implicit_gemm",
    "implicit_precomp_gemm",
    "gemm",
    "direct",
    "fft",
    "fft_tiling",
    "winograd",
    "winograd_nonfused",
];

functions! {
    /// cuDNN. What it opens by name while working is opened first.
    Cudnn from "libcudnn" after ["libnvrtc-builtins", "libnvrtc", "libcublasLt", "libcublas"];
    required {
        create = "cudnnCreate" (*mut Handle) -> c_int;
        destroy = "cudnnDestroy" (Handle) -> c_int;
        version = "cudnnGetVersion" () -> usize;
        error_text = "cudnnGetErrorString" (c_int) -> *const c_char;
        set_stream = "cudnnSetStream" (Handle, Handle) -> c_int;
        tensor_create = "cudnnCreateTensorDescriptor" (*mut Handle) -> c_int;
        tensor_destroy = "cudnnDestroyTensorDescriptor" (Handle) -> c_int;
        tensor_set_4d = "cudnnSetTensor4dDescriptor" (Handle, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
        tensor_set = "cudnnSetTensorNdDescriptor" (Handle, c_int, c_int, *const c_int, *const c_int) -> c_int;
        filter_create = "cudnnCreateFilterDescriptor" (*mut Handle) -> c_int;
        filter_destroy = "cudnnDestroyFilterDescriptor" (Handle) -> c_int;
        filter_set_4d = "cudnnSetFilter4dDescriptor" (Handle, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
        convolution_create = "cudnnCreateConvolutionDescriptor" (*mut Handle) -> c_int;
        convolution_destroy = "cudnnDestroyConvolutionDescriptor" (Handle) -> c_int;
        convolution_set_2d = "cudnnSetConvolution2dDescriptor" (
            Handle, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int
        ) -> c_int;
        convolution_set_math = "cudnnSetConvolutionMathType" (Handle, c_int) -> c_int;
        convolution_choose = "cudnnGetConvolutionForwardAlgorithm_v7" (
            Handle, Handle, Handle, Handle, Handle, c_int, *mut c_int, *mut Convolution
        ) -> c_int;
        convolution_workspace = "cudnnGetConvolutionForwardWorkspaceSize" (
            Handle, Handle, Handle, Handle, Handle, c_int, *mut usize
        ) -> c_int;
        convolution_forward = "cudnnConvolutionForward" (
            Handle, *const c_void, Handle, *const c_void, Handle, *const c_void, Handle, c_int, *mut c_void, usize,
            *const c_void, Handle, *mut c_void
        ) -> c_int;
        dropout_create = "cudnnCreateDropoutDescriptor" (*mut Handle) -> c_int;
        dropout_destroy = "cudnnDestroyDropoutDescriptor" (Handle) -> c_int;
        dropout_set = "cudnnSetDropoutDescriptor" (Handle, Handle, f32, *mut c_void, usize, u64) -> c_int;
        rnn_create = "cudnnCreateRNNDescriptor" (*mut Handle) -> c_int;
        rnn_destroy = "cudnnDestroyRNNDescriptor" (Handle) -> c_int;
        rnn_set = "cudnnSetRNNDescriptor_v8" (
            Handle, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int, i32, i32, i32, i32, Handle, u32
        ) -> c_int;
        rnn_data_create = "cudnnCreateRNNDataDescriptor" (*mut Handle) -> c_int;
        rnn_data_destroy = "cudnnDestroyRNNDataDescriptor" (Handle) -> c_int;
        rnn_data_set = "cudnnSetRNNDataDescriptor" (
            Handle, c_int, c_int, c_int, c_int, c_int, *const c_int, *mut c_void
        ) -> c_int;
        rnn_temporary = "cudnnGetRNNTempSpaceSizes" (Handle, Handle, c_int, Handle, *mut usize, *mut usize) -> c_int;
        rnn_weights = "cudnnGetRNNWeightSpaceSize" (Handle, Handle, *mut usize) -> c_int;
        rnn_weight_place = "cudnnGetRNNWeightParams" (
            Handle, Handle, i32, usize, *const c_void, i32, Handle, *mut *mut c_void, Handle, *mut *mut c_void
        ) -> c_int;
        rnn_forward = "cudnnRNNForward" (
            Handle, Handle, c_int, *const i32, Handle, *const c_void, Handle, *mut c_void, Handle, *const c_void,
            *mut c_void, Handle, *const c_void, *mut c_void, usize, *const c_void, usize, *mut c_void, usize, *mut c_void
        ) -> c_int;
        backend_create = "cudnnBackendCreateDescriptor" (c_int, *mut Handle) -> c_int;
        backend_destroy = "cudnnBackendDestroyDescriptor" (Handle) -> c_int;
        backend_set = "cudnnBackendSetAttribute" (Handle, c_int, c_int, i64, *const c_void) -> c_int;
        backend_get = "cudnnBackendGetAttribute" (Handle, c_int, c_int, i64, *mut i64, *mut c_void) -> c_int;
        backend_finalize = "cudnnBackendFinalize" (Handle) -> c_int;
        backend_execute = "cudnnBackendExecute" (Handle, Handle, Handle) -> c_int;
    }
    optional {
        last_error = "cudnnGetLastErrorString" (*mut c_char, usize) -> ();
    }
}

/// First, second and third number of a version: 9.19.0 is 91900, 8.9.7 is 8907.
pub(super) fn numbers(version: usize) -> [usize; 3] {
    let major = if version >= 90_000 { 10_000 } else { 1000 };
    [version / major, version % major / 100, version % 100]
}

impl Cudnn {
    /// A status as an answer.
    pub(in crate::cuda) fn check(&self, call: &'static str, code: c_int) -> Result<(), CaseError> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: takes any number and answers with a constant.
        let reason = format!("{call}: {} ({code})", text(unsafe { (self.error_text)(code) }));
        Err(match code {
            // CUDNN_STATUS_ALLOC_FAILED of cuDNN 8; allocations on host and device of cuDNN 9
            2 if self.major() < 9 => CaseError::OutOfMemory { bytes: 0 },
            4003 | 4004 => CaseError::OutOfMemory { bytes: 0 },
            // CUDNN_STATUS_NOT_SUPPORTED of cuDNN 8, bad parameters and what is not supported of cuDNN 9
            9 | 2000..4000 => CaseError::Unsupported { reason },
            _ => CaseError::Failed { reason },
        })
    }

    /// A status as an answer that tells `part` of a graph it is about, and what the library says of its last error.
    pub(in crate::cuda) fn check_part(
        &self,
        call: &'static str,
        part: &str,
        code: c_int,
    ) -> Result<(), CaseError> {
        let words = |reason: String| match self.last_words() {
            Some(more) => format!("{reason}, {part}: {more}"),
            None => format!("{reason}, {part}"),
        };
        self.check(call, code).map_err(|error| match error {
            CaseError::Unsupported { reason } => CaseError::Unsupported { reason: words(reason) },
            CaseError::Failed { reason } => CaseError::Failed { reason: words(reason) },
            other => other,
        })
    }

    /// What cuDNN 9 says of its last error, in one line.
    fn last_words(&self) -> Option<String> {
        let mut bytes = [0_u8; 512];
        // SAFETY: the place is as long as stated, and one byte more stays zero.
        unsafe { (self.last_error?)(bytes.as_mut_ptr().cast(), bytes.len() - 1) };
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        let words = String::from_utf8_lossy(&bytes[..end]);
        let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
        (!line.is_empty()).then_some(line)
    }

    fn major(&self) -> usize {
        self.numbers()[0]
    }

    /// First, second and third number of the version.
    pub(in crate::cuda) fn numbers(&self) -> [usize; 3] {
        // SAFETY: has no parameters.
        numbers(unsafe { (self.version)() })
    }

    /// Version, for instance `9.19.0`.
    pub(in crate::cuda) fn version(&self) -> String {
        self.numbers().map(|n| n.to_string()).join(".")
    }
}
