//! A CUDA device with its sensors, for every procedure that measures one.

use std::path::PathBuf;

use stopwatt_core::kernel_table::Clocks;
use stopwatt_kernel::cuda::{self, CudaDevice, Observers, Reading, Unavailable};
use stopwatt_record::config::environment;
use stopwatt_sensor::{host, nvml};

/// Folders with NVIDIA's libraries: those named first, then where they usually are.
#[must_use]
pub fn folders(named: &[PathBuf]) -> Vec<PathBuf> {
    let path = environment::var("PATH").map(std::ffi::OsString::from);
    stopwatt_nvlib::library_folders(named, path.as_deref())
}

/// Opens device `index`, in CUDA's order, and lends it the sensors of the same GPU where NVML knows it.
///
/// # Errors
///
/// There is no driver or no such device.
pub fn open(index: u32, folders: &[PathBuf]) -> Result<CudaDevice, Unavailable> {
    let device = cuda::open(index, folders)?;
    if let (Ok(gpu), Ok(same)) = (nvml::gpu_at(&device.facts().bus_id), nvml::gpu_at(&device.facts().bus_id))
    {
        device.observe(observers(gpu, same));
    }
    Ok(device)
}

/// Two handles of one GPU as functions.
fn observers(gpu: nvml::Gpu, same: nvml::Gpu) -> Observers {
    let facts = gpu.facts();
    Observers {
        application_mhz: facts.application_sm_clock_mhz.or(facts.max_sm_clock_mhz).map(f64::from),
        read: Box::new(move || {
            let now = gpu.read();
            let power_limited = now.throttle.map(|t| t.is_power_cap());
            Reading {
                clocks: Clocks {
                    sm_mhz: now.sm_clock_mhz.map(f64::from),
                    mem_mhz: now.mem_clock_mhz.map(f64::from),
                    power_w: now.instant_w.or(now.average_w),
                    power_limited,
                },
                power_capped: power_limited == Some(true),
            }
        }),
        shared: Box::new(move || {
            let foreign = same.foreign_processes(&host::tree(std::process::id())).ok()?;
            (foreign.count > 0).then(|| format!("{} other processes are on the GPU", foreign.count))
        }),
    }
}
