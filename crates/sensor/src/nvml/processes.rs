//! Other people's work on a GPU: how many processes and how much memory, nothing else about them.

use nvml_wrapper::Device;
use nvml_wrapper::enums::device::UsedGpuMemory;
use serde::Serialize;

use crate::Unavailable;

/// Processes on a GPU that are not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ForeignProcesses {
    /// How many.
    pub count: usize,
    /// Memory that they hold; `None` when the driver does not say for one of them.
    pub memory_bytes: Option<u64>,
}

/// Inside a container the driver gives process numbers of the host, so ours may be unknown there: then a process of
/// ours counts as foreign, and the caller learns it from the count before its own work begins.
pub(super) fn of(device: &Device<'_>, ours: &[u32]) -> Result<ForeignProcesses, Unavailable> {
    let mut all =
        device.running_compute_processes().map_err(|e| super::reason("processes on the GPU", &e))?;
    // A process can be in both lists; cards without display have no second list.
    all.extend(device.running_graphics_processes().unwrap_or_default());
    all.sort_by_key(|p| p.pid);
    all.dedup_by_key(|p| p.pid);
    Ok(summary(all.into_iter().map(|p| (p.pid, p.used_gpu_memory)), ours))
}

fn summary(all: impl Iterator<Item = (u32, UsedGpuMemory)>, ours: &[u32]) -> ForeignProcesses {
    all.filter(|(pid, _)| !ours.contains(pid)).fold(
        ForeignProcesses { count: 0, memory_bytes: Some(0) },
        |sum, (_, memory)| ForeignProcesses {
            count: sum.count + 1,
            memory_bytes: match memory {
                UsedGpuMemory::Used(bytes) => sum.memory_bytes.map(|m| m.saturating_add(bytes)),
                UsedGpuMemory::Unavailable => None,
            },
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_do_not_count_and_unknown_memory_is_not_zero() {
        let all = [(1, UsedGpuMemory::Used(10)), (2, UsedGpuMemory::Used(5)), (3, UsedGpuMemory::Used(7))];
        let sum = summary(all.clone().into_iter(), &[1]);
        assert_eq!(sum, ForeignProcesses { count: 2, memory_bytes: Some(12) });
        let sum = summary(all.into_iter().chain([(4, UsedGpuMemory::Unavailable)]), &[]);
        assert_eq!(sum, ForeignProcesses { count: 4, memory_bytes: None });
    }
}
