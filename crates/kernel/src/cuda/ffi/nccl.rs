//! Sums over ranks (`nccl.h`).

use std::ffi::{c_char, c_int, c_void};

use super::driver::Handle;
use super::{functions, text};
use crate::case::CaseError;

/// `ncclDataType_t`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(in crate::cuda) enum DataType {
    F16 = 6,
    F32 = 7,
    Bf16 = 9,
}

/// `ncclSum`
pub(in crate::cuda) const SUM: c_int = 0;

functions! {
    /// NCCL.
    Nccl from "libnccl" after [];
    required {
        version = "ncclGetVersion" (*mut c_int) -> c_int;
        error_text = "ncclGetErrorString" (c_int) -> *const c_char;
        init_all = "ncclCommInitAll" (*mut Handle, c_int, *const c_int) -> c_int;
        destroy = "ncclCommDestroy" (Handle) -> c_int;
        group_start = "ncclGroupStart" () -> c_int;
        group_end = "ncclGroupEnd" () -> c_int;
        all_reduce = "ncclAllReduce" (*const c_void, *mut c_void, usize, c_int, c_int, Handle, Handle) -> c_int;
    }
    optional {
        abort = "ncclCommAbort" (Handle) -> c_int;
        last_error = "ncclGetLastError" (Handle) -> *const c_char;
    }
}

impl Nccl {
    /// Version, for instance `2.28.3`.
    pub(in crate::cuda) fn version(&self) -> String {
        let mut number = 0;
        // SAFETY: a valid place for the answer.
        unsafe { (self.version)(&raw mut number) };
        format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
    }

    /// A status as an answer.
    pub(in crate::cuda) fn check(&self, call: &'static str, code: c_int) -> Result<(), CaseError> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: takes any number and answers with a constant.
        let mut reason = format!("{call}: {} ({code})", text(unsafe { (self.error_text)(code) }));
        // SAFETY: the communicator may be null; answers with text of the library's own, copied before any other call.
        let details = self.last_error.map(|last| text(unsafe { last(std::ptr::null_mut()) }));
        if let Some(details) = details.filter(|d| !d.trim().is_empty()) {
            reason += &format!(": {}", details.trim());
        }
        Err(CaseError::Failed { reason: reason + "; NCCL_DEBUG=WARN tells more" })
    }
}
