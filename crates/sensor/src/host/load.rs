//! CPU time of the whole machine, from `/proc/stat`, and what of it is not ours.

use std::fs;

/// CPU time of all CPUs since the machine started, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuTimes {
    /// Time with work: user, nice, system, interrupts.
    pub busy_s: f64,
    /// Time that another virtual machine had this one's CPUs.
    pub stolen_s: f64,
    /// All time: busy, stolen, idle and waiting for disks.
    pub total_s: f64,
}

impl CpuTimes {
    /// The times now; `None` when the system does not say.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The line `cpu  user nice system idle iowait irq softirq steal guest guest_nice` (proc(5)). Guest times are
    /// contained in user and nice already.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|l| l.strip_prefix("cpu "))?;
        let all: Vec<f64> = line.split_ascii_whitespace().map_while(|f| f.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq] = *all.first_chunk::<7>()?;
        let steal = all.get(7).copied().unwrap_or(0.0);
        // The unit is USER_HZ, which is 100 on every Linux ABI (time(7)).
        let busy = user + nice + system + irq + softirq;
        Some(Self {
            busy_s: busy / 100.0,
            stolen_s: steal / 100.0,
            total_s: (busy + steal + idle + iowait) / 100.0,
        })
    }
}

/// Share of the machine's CPU time, 0 to 1, that went to others between two readings: busy or stolen, less `ours_s`.
/// `None` when no time has passed.
pub fn others_share(before: &CpuTimes, after: &CpuTimes, ours_s: f64) -> Option<f64> {
    let total = after.total_s - before.total_s;
    let used = (after.busy_s - before.busy_s) + (after.stolen_s - before.stolen_s);
    (total > 0.0).then(|| ((used - ours_s) / total).clamp(0.0, 1.0))
}

/// CPUs that are running, whether this process may use them or not.
pub fn online_cpus() -> usize {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let count = text
        .lines()
        .filter(|l| l.strip_prefix("cpu").is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit())));
    count.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        let times = CpuTimes::parse("cpu  100 0 50 800 50 0 0 100 10 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(times, CpuTimes { busy_s: 1.5, stolen_s: 1.0, total_s: 11.0 });
        assert_eq!(CpuTimes::parse("intr 1\n"), None);
    }

    #[test]
    fn our_own_work_is_not_other_peoples() {
        let before = CpuTimes { busy_s: 0.0, stolen_s: 0.0, total_s: 0.0 };
        let after = CpuTimes { busy_s: 6.0, stolen_s: 1.0, total_s: 20.0 };
        assert_eq!(others_share(&before, &after, 5.0), Some(0.1));
        assert_eq!(others_share(&before, &after, 9.0), Some(0.0), "ticks are coarse");
        assert_eq!(others_share(&before, &before, 0.0), None);
    }
}
