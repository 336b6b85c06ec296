//! NVIDIA's C interfaces as tables of functions, looked up by name in libraries that were opened at run time.
//!
//! Bound by hand: about a hundred functions whose signatures have not changed from CUDA 12.1 to 13. A missing library or
//! function is an answer here, never a panic, and the build needs no further crate.
//!
//! Field names are the C names without prefix. Calling one is `unsafe`; the modules that wrap them say why it is sound.

pub(super) mod cublaslt;
pub(super) mod cudnn;
pub(super) mod driver;
pub(super) mod nccl;
pub(super) mod nvrtc;

use std::ffi::{CStr, c_char};

/// A table of functions of one library.
macro_rules! functions {
    (
        $(#[$doc:meta])*
        $name:ident from $stem:literal after $before:expr;
        required { $($field:ident = $symbol:literal ($($argument:ty),* $(,)?) -> $result:ty;)* }
        optional { $($maybe:ident = $maybe_symbol:literal ($($maybe_argument:ty),*) -> $maybe_result:ty;)* }
    ) => {
        $(#[$doc])*
        pub(in crate::cuda) struct $name {
            $(pub(in crate::cuda) $field: unsafe extern "C" fn($($argument),*) -> $result,)*
            $(pub(in crate::cuda) $maybe: Option<unsafe extern "C" fn($($maybe_argument),*) -> $maybe_result>,)*
            /// File that was opened.
            pub(in crate::cuda) path: std::path::PathBuf,
        }

        impl $name {
            /// Opens the library and looks all functions up. It stays open until the process ends.
            pub(in crate::cuda) fn open(
                folders: &[std::path::PathBuf],
            ) -> Result<Self, crate::cuda::Unavailable> {
                let before: &[&str] = &$before;
                let opened = stopwatt_nvlib::open_with(before, $stem, folders)?;
                let library = std::mem::ManuallyDrop::new(opened.library);
                // SAFETY: each symbol has the signature that NVIDIA's header gives it, and the library is never closed.
                unsafe {
                    Ok(Self {
                        $($field: *library.get(concat!($symbol, "\0").as_bytes()).map_err(|_| {
                            crate::cuda::Unavailable::Symbol {
                                library: opened.path.display().to_string(),
                                symbol: $symbol,
                            }
                        })?,)*
                        $($maybe: library.get(concat!($maybe_symbol, "\0").as_bytes()).ok().map(|s| *s),)*
                        path: opened.path,
                    })
                }
            }
        }
    };
}
use functions;

/// A string constant of a library; empty when there is none.
fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and a constant of a library that is never closed.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::Unavailable;

    /// Where a library is installed, each function is in it.
    #[test]
    fn libraries_that_are_there_have_every_function() {
        let path = std::env::var_os("PATH");
        let folders = stopwatt_nvlib::library_folders(&[], path.as_deref());
        let opened = [
            driver::Driver::open(&[]).map(|_| ()),
            nvrtc::Nvrtc::open(&folders).map(|_| ()),
            cublaslt::CublasLt::open(&folders).map(|_| ()),
            cudnn::Cudnn::open(&folders).map(|_| ()),
            nccl::Nccl::open(&folders).map(|_| ()),
        ];
        for reason in opened.into_iter().filter_map(Result::err) {
            assert!(matches!(reason, Unavailable::Library(_)), "{reason}");
        }
    }

    #[test]
    fn versions_of_both_counting_ways_are_read() {
        assert_eq!(cudnn::numbers(91_900), [9, 19, 0]);
        assert_eq!(cudnn::numbers(8907), [8, 9, 7]);
    }
}
