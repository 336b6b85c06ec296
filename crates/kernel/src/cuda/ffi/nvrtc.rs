//! The run-time compiler (`nvrtc.h`).

use std::ffi::{c_char, c_int, c_void};

use super::{functions, text};

/// `nvrtcProgram`
pub(in crate::cuda) type Program = *mut c_void;

/// `NVRTC_ERROR_INVALID_OPTION`: for instance an architecture that this version does not know.
pub(in crate::cuda) const INVALID_OPTION: c_int = 5;

functions! {
    /// The compiler. Its built-in functions are opened first: it asks for them by name and has no path to them.
    Nvrtc from "libnvrtc" after ["libnvrtc-builtins"];
    required {
        version = "nvrtcVersion" (*mut c_int, *mut c_int) -> c_int;
        create = "nvrtcCreateProgram" (
            *mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char
        ) -> c_int;
        compile = "nvrtcCompileProgram" (Program, c_int, *const *const c_char) -> c_int;
        code_size = "nvrtcGetCUBINSize" (Program, *mut usize) -> c_int;
        code = "nvrtcGetCUBIN" (Program, *mut c_char) -> c_int;
        log_size = "nvrtcGetProgramLogSize" (Program, *mut usize) -> c_int;
        log = "nvrtcGetProgramLog" (Program, *mut c_char) -> c_int;
        destroy = "nvrtcDestroyProgram" (*mut Program) -> c_int;
        error_text = "nvrtcGetErrorString" (c_int) -> *const c_char;
    }
    optional {}
}

impl Nvrtc {
    /// A status in words.
    pub(in crate::cuda) fn words(&self, code: c_int) -> String {
        // SAFETY: takes any number and answers with a constant.
        format!("{} ({code})", text(unsafe { (self.error_text)(code) }))
    }

    /// Version, for instance `13.0`.
    pub(in crate::cuda) fn version(&self) -> String {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both are valid places for the answer.
        unsafe { (self.version)(&raw mut major, &raw mut minor) };
        format!("{major}.{minor}")
    }
}
