//! Matrix products (`cublasLt.h`).

use std::ffi::{c_char, c_int, c_void};

use super::driver::Handle;
use super::{functions, text};
use crate::case::CaseError;

/// `cublasLtMatmulAlgo_t`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(in crate::cuda) struct Algorithm {
    data: [u64; 8],
}

/// `cublasLtMatmulHeuristicResult_t`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(in crate::cuda) struct Choice {
    pub(in crate::cuda) algorithm: Algorithm,
    pub(in crate::cuda) workspace_bytes: usize,
    pub(in crate::cuda) state: c_int,
    pub(in crate::cuda) waves: f32,
    reserved: [c_int; 4],
}

/// `cudaDataType_t`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(in crate::cuda) enum DataType {
    F32 = 0,
    F16 = 2,
    I8 = 3,
    I32 = 10,
    Bf16 = 14,
    F8E4m3 = 28,
}

/// `cublasComputeType_t`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(in crate::cuda) enum Compute {
    F32 = 68,
    I32 = 72,
    Tf32 = 77,
}

/// `CUBLASLT_MATMUL_DESC_…`
#[derive(Clone, Copy)]
#[repr(i32)]
pub(in crate::cuda) enum Setting {
    TransposeA = 3,
    ScaleA = 17,
    ScaleB = 18,
    FastAccumulation = 25,
}

/// `CUBLAS_OP_T`
pub(in crate::cuda) const TRANSPOSED: c_int = 1;
/// `CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES`
pub(in crate::cuda) const WORKSPACE_BYTES: c_int = 1;
/// `CUBLASLT_ALGO_CONFIG_ID`, `…_TILE_ID`, `…_SPLITK_NUM`, `…_STAGES_ID`, `…_CLUSTER_SHAPE_ID`
pub(in crate::cuda) const ALGORITHM_ATTRIBUTES: [(&str, c_int, usize); 5] =
    [("algorithm", 0, 4), ("tile", 1, 4), ("split_k", 2, 4), ("stages", 6, 4), ("cluster", 8, 2)];

functions! {
    /// cuBLASLt.
    CublasLt from "libcublasLt" after [];
    required {
        create = "cublasLtCreate" (*mut Handle) -> c_int;
        destroy = "cublasLtDestroy" (Handle) -> c_int;
        version = "cublasLtGetVersion" () -> usize;
        description_create = "cublasLtMatmulDescCreate" (*mut Handle, c_int, c_int) -> c_int;
        description_set = "cublasLtMatmulDescSetAttribute" (Handle, c_int, *const c_void, usize) -> c_int;
        description_destroy = "cublasLtMatmulDescDestroy" (Handle) -> c_int;
        layout_create = "cublasLtMatrixLayoutCreate" (*mut Handle, c_int, u64, u64, i64) -> c_int;
        layout_destroy = "cublasLtMatrixLayoutDestroy" (Handle) -> c_int;
        preference_create = "cublasLtMatmulPreferenceCreate" (*mut Handle) -> c_int;
        preference_set = "cublasLtMatmulPreferenceSetAttribute" (Handle, c_int, *const c_void, usize) -> c_int;
        preference_destroy = "cublasLtMatmulPreferenceDestroy" (Handle) -> c_int;
        heuristic = "cublasLtMatmulAlgoGetHeuristic" (
            Handle, Handle, Handle, Handle, Handle, Handle, Handle, c_int, *mut Choice, *mut c_int
        ) -> c_int;
        attribute = "cublasLtMatmulAlgoConfigGetAttribute" (
            *const Algorithm, c_int, *mut c_void, usize, *mut usize
        ) -> c_int;
        multiply = "cublasLtMatmul" (
            Handle, Handle, *const c_void, *const c_void, Handle, *const c_void, Handle, *const c_void, *const c_void,
            Handle, *mut c_void, Handle, *const Algorithm, *mut c_void, usize, Handle
        ) -> c_int;
        status_name = "cublasLtGetStatusName" (c_int) -> *const c_char;
    }
    optional {}
}

impl CublasLt {
    /// A status as an answer.
    pub(in crate::cuda) fn check(&self, call: &'static str, code: c_int) -> Result<(), CaseError> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: takes any number and answers with a constant.
        let reason = format!("{call}: {} ({code})", text(unsafe { (self.status_name)(code) }));
        Err(match code {
            // CUBLAS_STATUS_ALLOC_FAILED
            3 => CaseError::OutOfMemory { bytes: 0 },
            // CUBLAS_STATUS_INVALID_VALUE, …_ARCH_MISMATCH, …_NOT_SUPPORTED: shapes and formats that it refuses
            7 | 8 | 15 => CaseError::Unsupported { reason },
            _ => CaseError::Failed { reason },
        })
    }
}
