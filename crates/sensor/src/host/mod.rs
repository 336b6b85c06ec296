//! The machine itself: processes, load of others, CPU clock, container.

mod clock;
mod container;
mod load;
mod process;

pub use clock::{CpuClock, cpu_clock};
pub use container::{Container, container};
pub use load::{CpuTimes, online_cpus, others_share};
pub use process::{TreeUsage, threads, tree, tree_usage};

/// Memory that programs can still get without swapping, in bytes; `None` when the system does not say.
pub fn available_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    process::kib_line(&text, "MemAvailable:")
}
