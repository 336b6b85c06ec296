//! What the process itself uses. `None` where the system does not say.

use rustix::time::{ClockId, clock_gettime};

/// CPU time of the process, in seconds.
pub(super) fn cpu_seconds() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

/// Resident and virtual memory, in bytes.
#[cfg(target_os = "linux")]
pub(super) fn memory_bytes() -> Option<(u64, u64)> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split_ascii_whitespace().map(str::parse::<u64>);
    let (total, resident) = (pages.next()?.ok()?, pages.next()?.ok()?);
    let page = rustix::param::page_size() as u64;
    Some((resident * page, total * page))
}

/// Resident and virtual memory, in bytes.
#[cfg(not(target_os = "linux"))]
pub(super) fn memory_bytes() -> Option<(u64, u64)> {
    None
}
