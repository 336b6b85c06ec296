//! Other people's work on a GPU: how many processes and how much memory, nothing else about them.

use std::collections::BTreeSet;

use nvml_wrapper::Device;
use nvml_wrapper::enums::device::UsedGpuMemory;
use serde::Serialize;

use crate::Unavailable;

/// A process on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuProcess {
    /// Its number; inside a container, that of the host.
    pub pid: u32,
    /// Memory that it holds; `None` when the driver does not say.
    pub memory_bytes: Option<u64>,
}

/// Processes on a GPU that are not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ForeignProcesses {
    /// How many.
    pub count: usize,
    /// Memory that they hold; `None` when the driver does not say for one of them.
    pub memory_bytes: Option<u64>,
}

impl ForeignProcesses {
    /// None at all.
    pub const NONE: Self = Self { count: 0, memory_bytes: Some(0) };

    fn add(self, process: &GpuProcess) -> Self {
        Self {
            count: self.count + 1,
            memory_bytes: self.memory_bytes.zip(process.memory_bytes).map(|(a, b)| a.saturating_add(b)),
        }
    }

    /// Those of several GPUs.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            memory_bytes: self.memory_bytes.zip(other.memory_bytes).map(|(a, b)| a.saturating_add(b)),
        }
    }
}

/// What is known of whose processes are on the GPUs.
#[derive(Debug, Clone, Default)]
pub struct Whose {
    /// Whether what is measured was started by us. An engine that ran already is one of the processes before, and which
    /// one cannot be told: then only those count that came later.
    pub started_by_us: bool,
    /// Processes on the GPUs before anything of ours was started; `None` when nobody looked.
    pub before: Option<BTreeSet<u32>>,
}

impl Whose {
    /// Those of `all` that are not ours. `ours` is this process with all below it; `visible` says whether a number is
    /// that of a process here: inside a container the driver tells numbers of the host, which say nothing of whose they
    /// are, so of those only the ones from before count.
    pub fn foreign(
        &self,
        all: &[GpuProcess],
        ours: &[u32],
        visible: impl Fn(u32) -> bool,
    ) -> ForeignProcesses {
        let before = |pid: u32| self.before.as_ref().map(|b| b.contains(&pid));
        let is_foreign = |pid: u32| match (self.started_by_us, visible(pid)) {
            (true, true) => true,
            (true, false) => before(pid) == Some(true),
            (false, _) => before(pid) == Some(false),
        };
        let foreign = all.iter().filter(|p| !ours.contains(&p.pid) && is_foreign(p.pid));
        foreign.fold(ForeignProcesses::NONE, ForeignProcesses::add)
    }
}

/// Every process on a GPU.
pub(super) fn all(device: &Device<'_>) -> Result<Vec<GpuProcess>, Unavailable> {
    let mut all =
        device.running_compute_processes().map_err(|e| super::reason("processes on the GPU", &e))?;
    // A process can be in both lists; cards without display have no second list.
    all.extend(device.running_graphics_processes().unwrap_or_default());
    all.sort_by_key(|p| p.pid);
    all.dedup_by_key(|p| p.pid);
    let process = |p: nvml_wrapper::struct_wrappers::device::ProcessInfo| GpuProcess {
        pid: p.pid,
        memory_bytes: match p.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
    };
    Ok(all.into_iter().map(process).collect())
}

/// Those that are not in `ours`. Inside a container the driver gives process numbers of the host, so ours may be unknown
/// there: then a process of ours counts as foreign, and the caller learns it from the count before its own work begins.
pub(super) fn not_in(all: &[GpuProcess], ours: &[u32]) -> ForeignProcesses {
    all.iter().filter(|p| !ours.contains(&p.pid)).fold(ForeignProcesses::NONE, ForeignProcesses::add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(all: &[(u32, Option<u64>)]) -> Vec<GpuProcess> {
        all.iter().map(|&(pid, memory_bytes)| GpuProcess { pid, memory_bytes }).collect()
    }

    #[test]
    fn ours_do_not_count_and_unknown_memory_is_not_zero() {
        let mut all = list(&[(1, Some(10)), (2, Some(5)), (3, Some(7))]);
        assert_eq!(not_in(&all, &[1]), ForeignProcesses { count: 2, memory_bytes: Some(12) });
        all.push(GpuProcess { pid: 4, memory_bytes: None });
        assert_eq!(not_in(&all, &[]), ForeignProcesses { count: 4, memory_bytes: None });
    }

    #[test]
    fn beside_a_target_of_ours_everybody_else_is_foreign() {
        let all = list(&[(10, Some(1 << 30)), (11, Some(1)), (77, Some(2 << 30))]);
        let whose = Whose { started_by_us: true, before: Some(BTreeSet::new()) };
        let found = whose.foreign(&all, &[10, 11], |_| true);
        assert_eq!(found, ForeignProcesses { count: 1, memory_bytes: Some(2 << 30) });
        assert_eq!(whose.foreign(&all[..2], &[10, 11], |_| true), ForeignProcesses::NONE);
    }

    #[test]
    fn numbers_of_the_host_are_foreign_when_they_were_there_before() {
        // In a container: 5001 worked before, 6002 is what our own target is called outside.
        let all = list(&[(5001, Some(3)), (6002, Some(4))]);
        let whose = Whose { started_by_us: true, before: Some(BTreeSet::from([5001])) };
        let found = whose.foreign(&all, &[10], |_| false);
        assert_eq!(found, ForeignProcesses { count: 1, memory_bytes: Some(3) });
        let unknown = Whose { started_by_us: true, before: None };
        assert_eq!(
            unknown.foreign(&all, &[10], |_| false),
            ForeignProcesses::NONE,
            "not known is not foreign"
        );
    }

    #[test]
    fn beside_an_engine_that_ran_already_only_newcomers_are_foreign() {
        let all = list(&[(500, Some(3)), (900, None)]);
        let whose = Whose { started_by_us: false, before: Some(BTreeSet::from([500])) };
        let found = whose.foreign(&all, &[10], |_| true);
        assert_eq!(found, ForeignProcesses { count: 1, memory_bytes: None });
    }
}
