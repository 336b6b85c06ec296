//! What this machine can measure, what it cannot, and how to unlock it.

use std::ffi::OsStr;
use std::fs;

use serde::Serialize;

use crate::{Unavailable, cupti, host, ncu, nvml, perf, rapl};

/// One sensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sensor {
    /// Stable name, for instance `cpu_energy` or `gpu0_power`.
    pub name: String,
    /// Whether it is there.
    #[serde(flatten)]
    pub state: State,
}

/// Whether a sensor is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// It can be read.
    Found {
        /// What was found.
        detail: String,
    },
    /// It cannot.
    Missing {
        /// Why.
        reason: String,
        /// What to do about it, where anything can be done.
        hint: Option<String>,
    },
}

impl State {
    fn of(result: Result<String, Unavailable>) -> Self {
        match result {
            Ok(detail) => Self::Found { detail },
            Err(reason) => {
                Self::Missing { hint: reason.hint().map(str::to_owned), reason: reason.to_string() }
            }
        }
    }

    /// Whether it can be read.
    pub fn is_found(&self) -> bool {
        matches!(self, Self::Found { .. })
    }
}

/// Looks at every sensor. Changes nothing. `search_path` is the variable PATH, for finding `ncu` and Python's libraries.
pub fn survey(search_path: Option<&OsStr>) -> Vec<Sensor> {
    let mut all = Vec::new();
    let mut add = |name: &str, result: Result<String, Unavailable>| {
        all.push(Sensor { name: name.to_owned(), state: State::of(result) });
    };
    add(
        "nvml",
        nvml::gpus().and_then(|gpus| {
            let (driver, cuda) = nvml::versions()?;
            Ok(format!("{} GPU, driver {driver}, CUDA up to {cuda}", gpus.len()))
        }),
    );
    for gpu in nvml::gpus().unwrap_or_default() {
        let name = |part: &str| format!("gpu{}_{part}", gpu.index());
        let facts = gpu.facts();
        let reading = gpu.read();
        add(&name("energy"), gpu.energy_support().map(|()| watts("counter in mJ, now", reading.average_w)));
        add(&name("power"), gpu.instant_power_support().map(|()| watts("INSTANT", reading.instant_w)));
        add(
            &name("clock"),
            reading.sm_clock_mhz.ok_or(Unavailable::NotSupported { what: "the SM clock" }).map(|mhz| {
                let fixed = match facts.fixed_clock {
                    Some(true) => "fixed",
                    Some(false) => "not fixed",
                    None => "cannot be told whether fixed",
                };
                let limits = reading.throttle.map_or_else(|| "unknown".to_owned(), |t| t.words());
                format!("{mhz} MHz, {fixed}, limited by {limits}")
            }),
        );
        let gpm = gpu.gpm();
        add(
            &name("utilisation"),
            gpm.as_ref().map(|_| "GPM: SM, tensor, DRAM, PCIe".to_owned()).map_err(Clone::clone),
        );
        add(&name("gpm_cache"), gpm.and_then(|g| g.cache_hit_share()).map(|s| format!("{:.1} %", s * 100.0)));
        add(
            &name("foreign"),
            gpu.foreign_processes(&host::tree(std::process::id())).map(|f| format!("{} processes", f.count)),
        );
    }
    add("gpu_counters", gpu_counters());
    add("ncu", ncu::find(None, search_path).map(|n| format!("ncu {}", n.version)));
    add("cupti", cupti_library(search_path));
    add(
        "cpu_energy",
        rapl::open().map(|zones| zones.iter().map(|z| z.name.as_str()).collect::<Vec<_>>().join(", ")),
    );
    add(
        "cpu_counters",
        perf::CpuCounters::open(perf::Scope::Tree(std::process::id()))
            .map(|_| "cycles, instructions, last-cache references and misses".to_owned()),
    );
    add(
        "cpu_clock",
        host::cpu_clock().ok_or(Unavailable::NotSupported { what: "the CPU's clock" }).map(|c| {
            let governor =
                if c.governors.is_empty() { "no governor".to_owned() } else { c.governors.join(", ") };
            format!("{:.0} MHz, {governor}", c.mean_mhz)
        }),
    );
    add(
        "process_usage",
        host::tree_usage(std::process::id())
            .ok_or(Unavailable::NotThisSystem { what: "/proc" })
            .map(|u| format!("CPU time and memory of {} processes", u.processes)),
    );
    let container = serde_json::to_value(host::container()).unwrap_or_default();
    add("container", Ok(container.as_str().unwrap_or("unknown").to_owned()));
    all
}

fn watts(what: &str, power: Option<f64>) -> String {
    power.map_or_else(|| what.to_owned(), |w| format!("{what} {w:.1} W"))
}

/// Whether the driver lets this user read performance counters, as far as it says so without trying.
fn gpu_counters() -> Result<String, Unavailable> {
    let text = fs::read_to_string("/proc/driver/nvidia/params").map_err(|_| Unavailable::NoDriver)?;
    match admin_only(&text) {
        Some(true) if !rustix::process::geteuid().is_root() => Err(Unavailable::GpuCounterPermission),
        Some(true) => Ok("for administrators, which this user is".to_owned()),
        Some(false) => Ok("open to every user".to_owned()),
        None => Err(Unavailable::Unreadable {
            what: "/proc/driver/nvidia/params".to_owned(),
            detail: "no RmProfilingAdminOnly".to_owned(),
        }),
    }
}

fn admin_only(params: &str) -> Option<bool> {
    let value = params.lines().find_map(|l| l.strip_prefix("RmProfilingAdminOnly:"))?.trim();
    Some(value != "0")
}

fn cupti_library(search_path: Option<&OsStr>) -> Result<String, Unavailable> {
    let folders = stopwatt_nvlib::library_folders(&[], search_path);
    let library = cupti::open_library(&folders)?;
    drop(library);
    Ok("libcupti can be opened".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_found_or_has_a_reason() {
        let all = survey(None);
        for name in ["nvml", "ncu", "cupti", "cpu_energy", "cpu_counters", "container"] {
            assert!(all.iter().any(|s| s.name == name), "{name}");
        }
        for sensor in &all {
            match &sensor.state {
                State::Found { detail } => assert!(!detail.is_empty(), "{sensor:?}"),
                State::Missing { reason, .. } => assert!(!reason.is_empty(), "{sensor:?}"),
            }
        }
    }

    #[test]
    fn the_drivers_parameter_is_read() {
        assert_eq!(admin_only("Foo: 1\nRmProfilingAdminOnly: 1\n"), Some(true));
        assert_eq!(admin_only("RmProfilingAdminOnly: 0\n"), Some(false));
        assert_eq!(admin_only(""), None);
    }

    #[test]
    fn a_sensor_is_flat_json() {
        let sensor = Sensor { name: "x".into(), state: State::of(Err(Unavailable::NoDriver)) };
        let json = serde_json::to_value(&sensor).unwrap();
        assert_eq!((&json["state"], json["hint"].is_string()), (&"missing".into(), true));
    }
}
