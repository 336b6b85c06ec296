//! Memory of the machine.

use super::process::kib_line;

/// Memory that this machine may use: the smaller of what is built in and what the container (cgroup v2 or v1)
/// permits. `None` when the system does not say.
pub fn total_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|t| mem_total(&t))?;
    let limit = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    Some(limit.map_or(machine, |l| l.min(machine)))
}

/// Memory that programs can still get without swapping, in bytes; `None` when the system does not say.
pub fn available_memory_bytes() -> Option<u64> {
    kib_line(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

fn mem_total(meminfo: &str) -> Option<u64> {
    kib_line(meminfo, "MemTotal:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_line() {
        assert_eq!(mem_total("MemTotal:       16318884 kB\nMemFree: 1 kB\n"), Some(16_318_884 * 1024));
        assert_eq!(mem_total("MemFree: 1 kB\n"), None);
    }
}
