//! Facts about this machine, for the fingerprint of a run and for `doctor`. No host name, user or path.

use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::software::MachineState;

use super::{cpu_clock, features, model, total_bytes};

/// The fingerprint of this machine; what belongs to a GPU or an engine stays empty.
pub fn fingerprint() -> Fingerprint {
    Fingerprint {
        stopwatt: env!("CARGO_PKG_VERSION").to_owned(),
        os: Some(os()),
        cpu: model(),
        cpus: cpus(),
        cpu_features: features(),
        memory_bytes: total_bytes(),
        fixed_clock: fixed_clock(),
        ..Fingerprint::default()
    }
}

/// Operating system and kernel release, for instance `Linux 6.8.0 x86_64`.
pub fn os() -> String {
    let name = rustix::system::uname();
    format!(
        "{} {} {}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy(),
        name.machine().to_string_lossy()
    )
}

/// CPUs this process may use: affinity and container quotas count.
pub fn cpus() -> Option<u32> {
    std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok())
}

/// Whether the CPU clock is fixed: every CPU's lowest and highest permitted frequency are equal. `None` when the
/// system does not show them, as in most virtual machines.
pub fn fixed_clock() -> Option<bool> {
    let frequency = |cpu: u32, name: &str| -> Option<u64> {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_{name}_freq");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    frequency(0, "min")?;
    Some((0..).map_while(|cpu| Some(frequency(cpu, "min")? == frequency(cpu, "max")?)).all(|fixed| fixed))
}

/// How the CPUs are set, and how much others want of them. What belongs to a GPU stays empty.
pub fn state() -> MachineState {
    let text = |path: &str| std::fs::read_to_string(path).ok();
    let flag = |path: &str| text(path).and_then(|t| t.trim().parse::<u8>().ok());
    let turbo = flag("/sys/devices/system/cpu/intel_pstate/no_turbo").map(|off| off == 0);
    let turbo = turbo.or_else(|| flag("/sys/devices/system/cpu/cpufreq/boost").map(|on| on != 0));
    let load = text("/proc/loadavg").and_then(|t| t.split_ascii_whitespace().next()?.parse().ok());
    MachineState {
        governors: cpu_clock().map(|c| c.governors).unwrap_or_default(),
        turbo,
        load_average: load,
        ..MachineState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_holds_what_this_system_shows() {
        let f = fingerprint();
        assert!(!f.stopwatt.is_empty());
        assert!(f.os.unwrap().starts_with(if cfg!(target_os = "macos") { "Darwin " } else { "Linux " }));
        assert!(f.cpus.unwrap() >= 1);
        if cfg!(target_os = "linux") {
            assert!(f.memory_bytes.unwrap() > 64 << 20);
        }
        assert!(f.gpus.is_empty() && f.engine.is_empty());
    }

    #[test]
    fn no_host_name_is_in_the_fingerprint() {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let text = serde_json::to_string(&fingerprint()).unwrap();
        // A host called "linux" or "a" is in any text.
        assert!(name.len() < 6 || !text.contains(&name), "{text}");
    }
}
