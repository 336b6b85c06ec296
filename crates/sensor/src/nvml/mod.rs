//! NVIDIA GPUs through the management library (NVML), opened at run time.
//!
//! Works without CUDA and beside any load; needs the driver only. The library is opened once in a process and stays
//! open, so that devices and samples may be kept anywhere.
//!
//! | read | how often it changes |
//! |---|---|
//! | energy counter, mJ (`nvmlDeviceGetTotalEnergyConsumption`) | ≈ every 100 ms |
//! | INSTANT power (field 186) | ≈ every 100 ms, mean of ≈ 25 ms |
//! | AVERAGE power (field 185) | mean of ≈ 1 s |
//! | GPM utilisation (Hopper and newer) | between two readings of ours |
//!
//! Periods after Yang et al., "Part-time power measurements", SC'24 (arXiv 2312.02741), and as seen on an H100.

mod choice;
mod control;
mod exported;
mod facts;
mod fixed_clock;
mod gpm;
mod processes;
mod reading;
mod throttle;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use stopwatt_core::gpu::GpuFacts;

use crate::Unavailable;

pub use choice::{Named, choose};
pub use control::settable;
pub use exported::{Exported, XidWatch};
pub use fixed_clock::{ClockEvidence, fixed_clock};
pub use gpm::{Gpm, Utilisation};
pub use processes::{ForeignProcesses, GpuProcess, Whose};
pub use reading::{EccErrors, GpuReading};
pub use throttle::Throttle;

static LIBRARY: OnceLock<Result<Nvml, Unavailable>> = OnceLock::new();

/// One caller at a time. NVML says that it may be called from several threads, but GPM samples taken by two of them at
/// once crashed in the driver's library (580.159.04).
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn library() -> Result<&'static Nvml, Unavailable> {
    LIBRARY.get_or_init(|| Nvml::init().map_err(|e| reason("NVML", &e))).as_ref().map_err(Clone::clone)
}

/// One GPU.
pub struct Gpu {
    index: u32,
    device: Device<'static>,
}

/// Every GPU of this machine that the driver shows; never empty.
pub fn gpus() -> Result<Vec<Gpu>, Unavailable> {
    let nvml = library()?;
    let count = nvml.device_count().map_err(|e| reason("the number of GPUs", &e))?;
    if count == 0 {
        return Err(Unavailable::NoDevice { what: "GPU" });
    }
    (0..count)
        .map(|index| {
            let device = nvml.device_by_index(index).map_err(|e| reason("the GPU", &e))?;
            Ok(Gpu { index, device })
        })
        .collect()
}

/// The GPU at an address on the bus as CUDA writes it, for instance `0000:1B:00.0`.
pub fn gpu_at(bus_id: &str) -> Result<Gpu, Unavailable> {
    let same = |gpu: &Gpu| gpu.device.pci_info().is_ok_and(|pci| same_address(&pci.bus_id, bus_id));
    gpus()?.into_iter().find(same).ok_or(Unavailable::NoDevice { what: "GPU at this address" })
}

/// Whether two addresses are the same: NVML writes the domain with eight digits, CUDA with four.
fn same_address(a: &str, b: &str) -> bool {
    let short = |address: &str| address.trim_start_matches('0').to_ascii_lowercase();
    short(a) == short(b)
}

/// Versions of the driver and of the newest CUDA that it supports, for instance `580.159.04` and `13.0`.
pub fn versions() -> Result<(String, String), Unavailable> {
    let nvml = library()?;
    let driver = nvml.sys_driver_version().map_err(|e| reason("the driver's version", &e))?;
    let cuda = nvml.sys_cuda_driver_version().map_err(|e| reason("the CUDA version", &e))?;
    Ok((driver, cuda_words(cuda)))
}

/// CUDA writes 13.0 as 13000 and 12.4 as 12040.
fn cuda_words(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

impl Gpu {
    /// Position among this machine's GPUs, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// What the GPU is and how it is set.
    pub fn facts(&self) -> GpuFacts {
        let _turn = turn();
        facts::of(self.index, &self.device)
    }

    /// Its sensors now; what it does not have is `None`.
    pub fn read(&self) -> GpuReading {
        let _turn = turn();
        reading::of(&self.device)
    }

    /// Memory errors since the driver was loaded.
    pub fn ecc_errors(&self) -> EccErrors {
        let _turn = turn();
        reading::ecc(&self.device)
    }

    /// Whether it gives energy, and why not.
    pub fn energy_support(&self) -> Result<(), Unavailable> {
        let _turn = turn();
        if facts::mig(&self.device) == Some(true) {
            return Err(Unavailable::Mig);
        }
        self.device.total_energy_consumption().map(drop).map_err(|e| reason("the energy counter", &e))
    }

    /// Whether it gives INSTANT power, and why not.
    pub fn instant_power_support(&self) -> Result<(), Unavailable> {
        let _turn = turn();
        reading::instant_power(&self.device).map(drop)
    }

    /// Utilisation of its parts between two readings.
    pub fn gpm(&self) -> Result<Gpm, Unavailable> {
        let _turn = turn();
        Gpm::open(library()?, self.device_again()?)
    }

    /// Processes on it that are not in `ours`, by number and memory only.
    pub fn foreign_processes(&self, ours: &[u32]) -> Result<ForeignProcesses, Unavailable> {
        Ok(processes::not_in(&self.processes()?, ours))
    }

    /// Every process on it.
    pub fn processes(&self) -> Result<Vec<GpuProcess>, Unavailable> {
        let _turn = turn();
        processes::all(&self.device)
    }

    /// How it can be named.
    pub fn named(&self) -> Named {
        let _turn = turn();
        Named { index: self.index, uuid: self.device.uuid().ok() }
    }

    fn device_again(&self) -> Result<Device<'static>, Unavailable> {
        library()?.device_by_index(self.index).map_err(|e| reason("the GPU", &e))
    }
}

/// Turns an error of the library into a reason; `what` is what was asked for.
fn reason(what: &'static str, error: &NvmlError) -> Unavailable {
    match error {
        NvmlError::LibloadingError(e) => {
            Unavailable::Library { library: "libnvidia-ml.so.1".to_owned(), detail: e.to_string() }
        }
        NvmlError::LibraryNotFound => Unavailable::Library {
            library: "libnvidia-ml.so.1".to_owned(),
            detail: "a library that it needs is missing".to_owned(),
        },
        NvmlError::FailedToLoadSymbol(symbol) => {
            Unavailable::Symbol { library: "libnvidia-ml.so.1".to_owned(), symbol: symbol.clone() }
        }
        NvmlError::FunctionNotFound => {
            Unavailable::Symbol { library: "libnvidia-ml.so.1".to_owned(), symbol: what.to_owned() }
        }
        NvmlError::DriverNotLoaded => Unavailable::NoDriver,
        NvmlError::NotSupported => Unavailable::NotSupported { what },
        NvmlError::NotFound => Unavailable::NoDevice { what },
        NvmlError::NoPermission | NvmlError::OperatingSystem => Unavailable::Permission {
            what,
            fix: "run as a user who may open /dev/nvidia*; in a container pass the GPU through",
        },
        other => Unavailable::Step { step: what, code: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_in_both_libraries() {
        assert!(same_address("00000000:1B:00.0", "0000:1b:00.0"));
        assert!(!same_address("00000000:1B:00.0", "0000:1C:00.0"));
        assert!(!same_address("00000001:1B:00.0", "0000:1B:00.0"));
    }

    #[test]
    fn a_machine_without_a_gpu_says_why_and_one_with_a_gpu_lists_it() {
        match gpus() {
            Ok(all) => assert!(!all.is_empty()),
            Err(e @ (Unavailable::Library { .. } | Unavailable::NoDriver | Unavailable::NoDevice { .. })) => {
                assert!(!e.to_string().is_empty());
            }
            Err(other) => panic!("not a reason for an absent GPU: {other:?}"),
        }
    }

    #[test]
    fn errors_of_the_library_become_reasons() {
        assert_eq!(reason("x", &NvmlError::NotSupported), Unavailable::NotSupported { what: "x" });
        assert_eq!(reason("x", &NvmlError::DriverNotLoaded), Unavailable::NoDriver);
        let lost = reason("the GPU", &NvmlError::GpuLost);
        assert!(
            matches!(&lost, Unavailable::Step { step: "the GPU", code } if code.contains("bus")),
            "{lost:?}"
        );
    }

    #[test]
    fn cuda_versions_are_read_as_nvidia_writes_them() {
        assert_eq!(cuda_words(13_000), "13.0");
        assert_eq!(cuda_words(12_040), "12.4");
    }
}
