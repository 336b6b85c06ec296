//! The CPU's clock: who sets it, and what it is now.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;

/// The CPUs' clocks at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CpuClock {
    /// Governors in use, for instance `performance`; several when CPUs differ, none when the system has none.
    pub governors: Vec<String>,
    /// Mean frequency over the CPUs, in MHz.
    pub mean_mhz: f64,
    /// Lowest of them, in MHz.
    pub min_mhz: f64,
    /// Highest of them, in MHz.
    pub max_mhz: f64,
}

/// The clocks now; `None` when the system does not show them, as in many virtual machines.
pub fn cpu_clock() -> Option<CpuClock> {
    of(Path::new("/sys/devices/system/cpu"), || fs::read_to_string("/proc/cpuinfo").ok())
}

fn of(folder: &Path, cpuinfo: impl FnOnce() -> Option<String>) -> Option<CpuClock> {
    let mut governors = BTreeSet::new();
    let mut mhz = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let read = |name: &str| fs::read_to_string(entry.path().join("cpufreq").join(name)).ok();
        if let Some(governor) = read("scaling_governor") {
            governors.insert(governor.trim().to_owned());
        }
        mhz.extend(
            read("scaling_cur_freq").and_then(|t| t.trim().parse::<f64>().ok()).map(|khz| khz / 1000.0),
        );
    }
    if mhz.is_empty() {
        // x86 writes the frequency here also where there is no cpufreq driver; a virtual machine shows a constant.
        mhz = cpuinfo()?
            .lines()
            .filter_map(|l| l.strip_prefix("cpu MHz")?.split_once(':')?.1.trim().parse().ok())
            .collect();
    }
    let n = mhz.len();
    (n > 0).then(|| CpuClock {
        governors: governors.into_iter().collect(),
        mean_mhz: mhz.iter().sum::<f64>() / n as f64,
        min_mhz: mhz.iter().copied().fold(f64::INFINITY, f64::min),
        max_mhz: mhz.iter().copied().fold(0.0, f64::max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_averaged_and_governors_listed_once() {
        let root = tempfile::tempdir().unwrap();
        for (cpu, khz) in [("cpu0", "1000000"), ("cpu1", "3000000")] {
            let folder = root.path().join(cpu).join("cpufreq");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("scaling_governor"), "powersave\n").unwrap();
            fs::write(folder.join("scaling_cur_freq"), khz).unwrap();
        }
        let clock = of(root.path(), || None).unwrap();
        assert_eq!((clock.mean_mhz, clock.min_mhz, clock.max_mhz), (2000.0, 1000.0, 3000.0));
        assert_eq!(clock.governors, ["powersave"]);
    }

    #[test]
    fn without_cpufreq_the_processor_list_answers_or_nothing_does() {
        let root = tempfile::tempdir().unwrap();
        let clock = of(root.path(), || Some("cpu MHz\t\t: 2499.998\nbogomips: 1\n".to_owned())).unwrap();
        assert_eq!((clock.mean_mhz, clock.governors.len()), (2499.998, 0));
        assert_eq!(of(root.path(), || Some("model name: x\n".to_owned())), None);
        assert_eq!(of(root.path(), || None), None);
    }
}
