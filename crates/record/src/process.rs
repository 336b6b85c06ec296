//! CPU time and memory of a process, from `/proc` (Linux).
//!
//! Elsewhere there is an answer only where the system gives one without a helper program: `None` says so.

/// What a process used since it began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system time of every thread, in seconds.
    pub cpu_s: f64,
    /// Resident memory now.
    pub rss_bytes: Option<u64>,
    /// Largest resident memory so far; `None` when the system does not say.
    pub peak_rss_bytes: Option<u64>,
}

/// Usage of a process, its CPU time in steps of the kernel's tick (10 ms as a rule); `None` when the process is gone
/// or the system has no `/proc`.
pub fn usage(pid: u32) -> Option<Usage> {
    imp::usage(pid)
}

/// Usage of a process and all its descendants together. Memory that they share counts once for each of them, and
/// there is no common peak: `None` unless the process is alone.
pub fn tree_usage(pid: u32) -> Option<Usage> {
    let mut sum = usage(pid)?;
    for child in descendants(pid) {
        // One that ended meanwhile has nothing left to count.
        let Some(one) = usage(child) else { continue };
        sum.cpu_s += one.cpu_s;
        sum.rss_bytes = sum.rss_bytes.zip(one.rss_bytes).map(|(a, b)| a + b).or(sum.rss_bytes);
        sum.peak_rss_bytes = None;
    }
    Some(sum)
}

/// Every living descendant of a process, zombies included; empty where the system has no `/proc`.
pub fn descendants(pid: u32) -> Vec<u32> {
    let parents = imp::parents();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(child, _)| *child));
        at += 1;
    }
    found.split_off(1)
}

/// Usage of this process, its CPU time to the nanosecond.
pub fn own_usage() -> Usage {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_s = t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9;
    let memory = imp::usage(std::process::id());
    Usage {
        cpu_s,
        rss_bytes: memory.and_then(|m| m.rss_bytes),
        peak_rss_bytes: memory.and_then(|m| m.peak_rss_bytes),
    }
}

/// Gives the calling thread the lowest priority, so that it runs when nothing else wants to. Linux alone has
/// priorities of threads; elsewhere nothing happens.
pub fn lower_priority_of_this_thread() {
    #[cfg(target_os = "linux")]
    {
        // Worse than asked for at most: the thread then keeps its priority.
        let _ = rustix::process::setpriority_process(None, 19);
    }
}

/// Whether a process exists, also one of another user.
pub(crate) fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| {
        matches!(rustix::process::test_kill_process(pid), Ok(()) | Err(rustix::io::Errno::PERM))
    })
}

#[cfg(target_os = "linux")]
mod imp {
    use super::Usage;

    pub(super) fn usage(pid: u32) -> Option<Usage> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let ticks = cpu_ticks(&read("stat")?)?;
        let status = read("status")?;
        Some(Usage {
            cpu_s: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes: kib_line(&status, "VmRSS:"),
            peak_rss_bytes: kib_line(&status, "VmHWM:"),
        })
    }

    /// Every process with its parent.
    pub(super) fn parents() -> Vec<(u32, u32)> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let pid = |e: std::fs::DirEntry| e.file_name().to_str()?.parse::<u32>().ok();
        let parent = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?))
        };
        entries.filter_map(|e| parent(pid(e.ok()?)?)).collect()
    }

    /// Fields 14 and 15 of `/proc/PID/stat` (proc(5)): user and system time. The name in field 2 may hold anything,
    /// so counting begins after its closing bracket.
    pub(super) fn cpu_ticks(stat: &str) -> Option<u64> {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        user.checked_add(system)
    }

    /// A line like `VmRSS:  1234 kB`, in bytes. A dead process that was not waited for has none.
    pub(super) fn kib_line(status: &str, name: &str) -> Option<u64> {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    pub(super) fn usage(_pid: u32) -> Option<super::Usage> {
        None
    }

    pub(super) fn parents() -> Vec<(u32, u32)> {
        Vec::new()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_cpu_time_and_memory() {
        let before = own_usage();
        let memory = vec![1u8; 32 << 20];
        let mut sum = 0u64;
        while own_usage().cpu_s < before.cpu_s + 0.03 {
            sum = memory.iter().step_by(4096).fold(sum, |s, &b| s.wrapping_add(u64::from(b)));
        }
        std::hint::black_box(sum);
        let after = usage(std::process::id()).unwrap();
        assert!(after.cpu_s >= 0.02, "{after:?}");
        assert!(after.rss_bytes.unwrap() >= 32 << 20);
        assert!(after.peak_rss_bytes >= after.rss_bytes);
    }

    #[test]
    fn a_process_that_is_gone_has_no_usage() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(usage(pid), None);
        assert!(!is_alive(pid));
        assert!(is_alive(1));
    }

    #[test]
    fn a_tree_counts_every_descendant() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 30 & wait"]).spawn().unwrap();
        let pid = child.id();
        let found = (0..200).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            Some(descendants(pid)).filter(|d| d.len() == 1)
        });
        let grandchild = found.expect("the shell starts its child")[0];
        assert!(descendants(std::process::id()).contains(&grandchild));
        let (tree, alone) = (tree_usage(pid).unwrap(), usage(pid).unwrap());
        assert!(tree.rss_bytes > alone.rss_bytes && tree.peak_rss_bytes.is_none());
        for pid in [grandchild, pid] {
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        child.wait().unwrap();
    }

    #[test]
    fn a_hostile_process_name_does_not_shift_the_fields() {
        let stat = "42 (a) b 1 2) R 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 1 1";
        assert_eq!(imp::cpu_ticks(stat), Some(300));
        assert_eq!(imp::cpu_ticks("42 (x"), None);
        assert_eq!(imp::kib_line("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12_288));
        assert_eq!(imp::kib_line("Name:\tx\n", "VmRSS:"), None);
    }
}
