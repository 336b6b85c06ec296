//! Why something cannot be read, in words that a person can act on.

use serde::Serialize;

/// Why a sensor gives no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Unavailable {
    /// A shared library is not where the loader looks.
    #[error("library {library} is not installed or not on the loader's path ({detail})")]
    Library {
        /// Name of the library.
        library: String,
        /// What the loader said.
        detail: String,
    },
    /// The library is there and lacks a function: it is too old.
    #[error("{library} has no function {symbol}: it is too old")]
    Symbol {
        /// Name of the library.
        library: String,
        /// The function.
        symbol: String,
    },
    /// The library is there, the driver or the device is not.
    #[error("no NVIDIA driver is loaded")]
    NoDriver,
    /// No device of the kind.
    #[error("no {what} on this machine")]
    NoDevice {
        /// What was looked for, for instance `GPU`.
        what: &'static str,
    },
    /// The device does not have this.
    #[error("{what}: not offered by this device, driver or kernel")]
    NotSupported {
        /// What was asked for.
        what: &'static str,
    },
    /// The system does not let this user.
    #[error("no permission to read {what}")]
    Permission {
        /// What was asked for.
        what: &'static str,
        /// How to get it.
        fix: &'static str,
    },
    /// `perf_event_open` is refused.
    #[error("no permission for hardware counters: perf_event_paranoid is {level}")]
    PerfParanoid {
        /// Value of `/proc/sys/kernel/perf_event_paranoid`; `unknown` when it cannot be read.
        level: String,
    },
    /// The profiler's counters are reserved for administrators.
    #[error("the driver keeps performance counters for administrators (ERR_NVGPUCTRPERM)")]
    GpuCounterPermission,
    /// Another profiler or DCGM holds the counters.
    #[error("the GPU's counters are in use by another profiler")]
    GpuCountersBusy,
    /// The value is in place and is known to mean nothing.
    #[error("{what} is reported as {value} whatever happens, so it is not a measurement")]
    Meaningless {
        /// What was asked for.
        what: &'static str,
        /// The constant.
        value: String,
    },
    /// No energy or power can be attributed to a slice of a GPU.
    #[error("the GPU is split (MIG): power is that of the whole board, not of a slice")]
    Mig,
    /// A program was not found.
    #[error("{program} was not found in {places}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Where it was looked for.
        places: String,
    },
    /// A program failed.
    #[error("{program} failed: {detail}")]
    Failed {
        /// Its name.
        program: String,
        /// The end of what it said.
        detail: String,
    },
    /// A program ran and profiled nothing.
    #[error("no kernel was profiled")]
    NoKernels,
    /// A program did not end in time.
    #[error("{program} did not end within {seconds} s and was stopped")]
    TimedOut {
        /// Its name.
        program: String,
        /// The limit.
        seconds: u64,
    },
    /// A step of a foreign interface failed.
    #[error("{step} failed with {code}")]
    Step {
        /// Name of the function.
        step: &'static str,
        /// Its code, in words where it has any.
        code: String,
    },
    /// A file or an answer does not look as expected.
    #[error("{what} does not look as expected: {detail}")]
    Unreadable {
        /// What was read.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// This operating system has no such thing.
    #[error("{what} exists on Linux only")]
    NotThisSystem {
        /// What was asked for.
        what: &'static str,
    },
    /// The process is gone.
    #[error("process {pid} does not exist")]
    NoProcess {
        /// Its number.
        pid: u32,
    },
}

impl From<stopwatt_nvlib::Missing> for Unavailable {
    fn from(missing: stopwatt_nvlib::Missing) -> Self {
        Self::Library { library: missing.library, detail: missing.detail }
    }
}

impl Unavailable {
    /// What would help, when anything does.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Library { .. } => {
                "install it, or add its folder to LD_LIBRARY_PATH; in a container pass the GPU through (--gpus all)"
            }
            Self::Symbol { .. } => "update the NVIDIA driver or the CUDA libraries",
            Self::NoDriver => {
                "load the NVIDIA kernel module; in a container pass the GPU through (--gpus all)"
            }
            Self::NoDevice { .. }
            | Self::NotSupported { .. }
            | Self::Meaningless { .. }
            | Self::NotThisSystem { .. } => {
                return None;
            }
            Self::Permission { fix, .. } => fix,
            Self::PerfParanoid { .. } => {
                "run `sysctl kernel.perf_event_paranoid=1` (0 for the whole machine), or give CAP_PERFMON"
            }
            Self::GpuCounterPermission => {
                "run as root, give CAP_SYS_ADMIN (CAP_PERFMON from driver R565), or load the module with \
                 NVreg_RestrictProfilingToAdminUsers=0"
            }
            Self::GpuCountersBusy => "stop other profilers; pause DCGM with `dcgmi profile --pause`",
            Self::Mig => "measure on a whole GPU (MIG off) for energy",
            Self::Program { .. } => "install Nsight Compute, or name the program with a flag",
            Self::Failed { .. } => "run it by hand to see all of its output",
            Self::NoKernels => "check the kernel filter and the launch window (skip, count)",
            Self::TimedOut { .. } => "limit the launches that are profiled, or use another replay mode",
            Self::Step { .. } => "check that driver and CUPTI are of the same CUDA version",
            Self::Unreadable { .. } => "this version may be newer than Stopwatt knows; please report it",
            Self::NoProcess { .. } => "start the process before its sensors",
        })
    }

    /// Reads an I/O error of a file under `/sys` or `/proc`.
    pub(crate) fn of_io(what: &'static str, fix: &'static str, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => Self::Permission { what, fix },
            std::io::ErrorKind::NotFound => Self::NotSupported { what },
            _ => Self::Unreadable { what: what.to_owned(), detail: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_sensor_says_how_to_unlock_it() {
        assert!(Unavailable::GpuCounterPermission.hint().unwrap().contains("NVreg_RestrictProfiling"));
        assert!(
            Unavailable::PerfParanoid { level: "3".into() }.hint().unwrap().contains("perf_event_paranoid")
        );
        assert_eq!(Unavailable::NoDevice { what: "GPU" }.hint(), None);
    }

    #[test]
    fn the_reason_is_readable_by_programs() {
        let json = serde_json::to_value(Unavailable::NoDevice { what: "GPU" }).unwrap();
        assert_eq!(json, serde_json::json!({"kind": "no_device", "what": "GPU"}));
    }
}
