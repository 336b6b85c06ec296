//! L2 and DRAM counters of a range of our own work, through the range profiler of CUPTI (CUDA 12.6 and newer).
//!
//! ```text
//! parent: run_child ──► the same program again ──► child_main(work) ──► profile_range ──► one line of JSON ──► document
//! ```
//!
//! CUPTI slows the driver down for as long as a process lives and cannot stand beside `ncu`, so it is used in a child
//! process only. The libraries are opened at run time; a step that fails is told by name.

mod child;
mod driver;
mod ffi;
mod host;
mod session;

pub use child::{child_main, run_child};
pub use host::counters_of_chip;
pub use session::{Range, profile_range};

/// Opens CUPTI to see whether it can be; dropping the answer closes it.
pub(crate) fn open_library(
    folders: &[std::path::PathBuf],
) -> Result<stopwatt_nvlib::Library, crate::Unavailable> {
    open("libcupti", folders)
}

fn open(stem: &str, folders: &[std::path::PathBuf]) -> Result<stopwatt_nvlib::Library, crate::Unavailable> {
    Ok(stopwatt_nvlib::open(stem, folders)?.library)
}
