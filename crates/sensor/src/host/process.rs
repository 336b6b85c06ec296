//! CPU time and memory of a process and all below it, from `/proc` (proc(5)). Elsewhere there is no answer.

use std::fs;

use serde::Serialize;

/// What a process and its descendants used.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct TreeUsage {
    /// User and system time of every thread since the processes began, with that of children that have ended, in
    /// seconds; steps of the kernel's tick (10 ms as a rule).
    pub cpu_s: f64,
    /// Resident memory now; pages that processes share count once for each.
    pub rss_bytes: u64,
    /// Largest resident memory so far. Peaks of several processes are not at one time: `None` unless the process is
    /// alone.
    pub peak_rss_bytes: Option<u64>,
    /// Live processes.
    pub processes: usize,
}

/// Usage of a process and its descendants; `None` when it is gone or the system has no `/proc`.
pub fn tree_usage(root: u32) -> Option<TreeUsage> {
    let per_second = ticks_per_second();
    let mut sum = TreeUsage::default();
    for pid in tree(root) {
        let Some(stat) = read(pid, "stat").and_then(|t| Stat::parse(&t)) else { continue };
        sum.cpu_s += stat.ticks as f64 / per_second;
        sum.processes += 1;
        let status = read(pid, "status").unwrap_or_default();
        sum.rss_bytes += kib_line(&status, "VmRSS:").unwrap_or(0);
        sum.peak_rss_bytes = kib_line(&status, "VmHWM:").filter(|_| sum.processes == 1);
    }
    (sum.processes > 0).then_some(sum)
}

/// Usage of this process without its descendants, ended ones too; `None` when the system has no `/proc`.
pub fn own_usage() -> Option<TreeUsage> {
    let pid = std::process::id();
    let stat = read(pid, "stat").and_then(|t| Stat::parse(&t))?;
    let status = read(pid, "status").unwrap_or_default();
    Some(TreeUsage {
        cpu_s: (stat.ticks - stat.ended_children) as f64 / ticks_per_second(),
        processes: 1,
        rss_bytes: kib_line(&status, "VmRSS:")?,
        peak_rss_bytes: kib_line(&status, "VmHWM:"),
    })
}

/// What this process used, and apart from it what it started.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct OwnAndChildren {
    /// User and system time of this process, in seconds; steps of the kernel's tick.
    pub cpu_s: f64,
    /// The same of processes below it that have ended and were waited for.
    pub ended_children_cpu_s: f64,
    /// Resident memory of living processes below it, together.
    pub children_rss_bytes: u64,
}

/// Usage of this process and of what it started; `None` when the system has no `/proc`.
pub fn own_and_children() -> Option<OwnAndChildren> {
    let pid = std::process::id();
    let stat = read(pid, "stat").and_then(|t| Stat::parse(&t))?;
    let per_second = ticks_per_second();
    let rss = |pid: &u32| kib_line(&read(*pid, "status")?, "VmRSS:");
    Some(OwnAndChildren {
        cpu_s: (stat.ticks - stat.ended_children) as f64 / per_second,
        ended_children_cpu_s: stat.ended_children as f64 / per_second,
        children_rss_bytes: descendants(pid).iter().filter_map(rss).sum(),
    })
}

/// Largest resident memory of this process so far; `None` when the system does not say.
pub fn own_peak_rss_bytes() -> Option<u64> {
    kib_line(&read(std::process::id(), "status")?, "VmHWM:")
}

/// Page faults of this process so far that were answered without a disk: memory touched for the first time, for
/// instance. `None` when the system does not say.
pub fn own_page_faults() -> Option<u64> {
    // The name of the program, in parentheses, may hold anything; behind it: state, …, minflt is the 8th field.
    let text = read(std::process::id(), "stat")?;
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(7)?.parse().ok()
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

/// Every living descendant of a process, zombies included; empty when there is none.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut tree = tree(pid);
    let below = 1.min(tree.len());
    tree.split_off(below)
}

/// A process and its descendants, the process first; empty when it is gone.
pub fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((pid, Stat::parse(&read(pid, "stat")?)?.parent))
        })
        .collect();
    below(root, &parents)
}

/// Threads of a process.
pub fn threads(pid: u32) -> Vec<i32> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn below(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found: Vec<u32> = parents.iter().map(|p| p.0).filter(|pid| *pid == root).collect();
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        // A process cannot be its own ancestor, but numbers are reused while the list is read.
        let children = parents.iter().filter(|(pid, of)| *of == parent && !found.contains(pid)).map(|p| p.0);
        let children: Vec<u32> = children.collect();
        found.extend(children);
        next += 1;
    }
    found
}

struct Stat {
    parent: u32,
    ticks: u64,
    /// Of these, those of children that were waited for.
    ended_children: u64,
}

impl Stat {
    /// Fields 4 and 14 to 17: the parent, own user and system time, and those of children that were waited for. The
    /// name in field 2 may hold anything, so counting begins after its closing bracket.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = (14..=17).map(number).sum::<Option<u64>>()?;
        let ended_children = number(16)? + number(17)?;
        Some(Self { parent: u32::try_from(number(4)?).ok()?, ticks, ended_children })
    }
}

fn read(pid: u32, name: &str) -> Option<String> {
    // A name that is not UTF-8 must not hide the process.
    fs::read(format!("/proc/{pid}/{name}")).ok().map(|b| String::from_utf8_lossy(&b).into_owned())
}

/// A line like `VmRSS:  1234 kB`, in bytes.
pub(super) fn kib_line(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn ticks_per_second() -> f64 {
    #[cfg(target_os = "linux")]
    {
        rustix::param::clock_ticks_per_second() as f64
    }
    // Without `/proc` nothing is divided by it.
    #[cfg(not(target_os = "linux"))]
    {
        100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_process_name_does_not_shift_the_fields() {
        let stat = "42 (a) b 1 2) R 7 1 1 0 -1 4194304 100 0 0 0 250 50 30 20 20 0 1 0 5 1 1";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.parent, stat.ticks), (7, 350));
        assert!(Stat::parse("42 (x").is_none());
    }

    #[test]
    fn the_tree_is_everything_below_and_nothing_beside() {
        let parents = [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (13, 10)];
        assert_eq!(below(10, &parents), [10, 11, 13, 12]);
        assert_eq!(below(99, &parents), [0; 0]);
        assert_eq!(below(5, &[(5, 6), (6, 5)]), [5, 6], "a loop ends");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_is_alone_has_a_peak_and_one_that_is_gone_nothing() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let usage = tree_usage(child.id()).unwrap();
        assert!(usage.peak_rss_bytes >= Some(usage.rss_bytes), "{usage:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(tree_usage(child.id()), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_counts_with_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let own = tree(std::process::id());
        let usage = tree_usage(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(own.contains(&child.id()));
        assert!(usage.processes >= 2 && usage.rss_bytes > 1 << 20, "{usage:?}");
        assert_eq!(usage.peak_rss_bytes, None, "several processes have no common peak");
        assert!(own_peak_rss_bytes() > Some(1 << 20));
        let before = own_page_faults().unwrap();
        let touched = std::hint::black_box(vec![1u8; 8 << 20]);
        assert!(own_page_faults().unwrap() > before, "{}", touched.len());
        assert_eq!(tree_usage(u32::MAX), None);
        assert!(descendants(u32::MAX).is_empty());
    }
}
