//! NVML behind [`Control`]: the one place that changes a setting of the machine, and only when that was asked for.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::enums::device::GpuLockedClocksSetting;

use super::{Gpu, reason, turn};
use crate::Unavailable;
use crate::control::Control;

/// A GPU whose settings may be changed.
struct Settable {
    id: String,
    device: Device<'static>,
}

/// GPUs of this machine whose settings are to be changed.
///
/// # Errors
/// A GPU does not tell its name.
pub fn settable(gpus: &[Gpu]) -> Result<Vec<Box<dyn Control>>, Unavailable> {
    let settable = gpus.iter().map(|gpu| -> Result<Box<dyn Control>, Unavailable> {
        let device = gpu.device_again()?;
        let id = device.uuid().map_err(|e| reason("the UUID", &e))?;
        Ok(Box::new(Settable { id, device }))
    });
    settable.collect()
}

/// NVML's answers to a change; a refusal says who may make it.
fn said<T>(what: &'static str, result: Result<T, nvml_wrapper::error::NvmlError>) -> Result<T, Unavailable> {
    use nvml_wrapper::error::NvmlError;
    result.map_err(|error| match error {
        NvmlError::NoPermission => Unavailable::Permission {
            what,
            fix: "run as root (in a container with the rights to it), set it with `sudo nvidia-smi`, or leave the flag out",
        },
        other => reason(what, &other),
    })
}

impl Control for Settable {
    fn id(&self) -> String {
        self.id.clone()
    }

    fn persistence(&self) -> Result<bool, Unavailable> {
        #[cfg(target_os = "linux")]
        {
            let _turn = turn();
            said("persistence mode", self.device.is_in_persistent_mode())
        }
        #[cfg(not(target_os = "linux"))]
        Err(Unavailable::NotThisSystem { what: "persistence mode" })
    }

    fn set_persistence(&mut self, on: bool) -> Result<(), Unavailable> {
        #[cfg(target_os = "linux")]
        {
            let _turn = turn();
            said("persistence mode", self.device.set_persistent(on))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = on;
            Err(Unavailable::NotThisSystem { what: "persistence mode" })
        }
    }

    fn power_limit_mw(&self) -> Result<u32, Unavailable> {
        let _turn = turn();
        said("the power limit", self.device.power_management_limit())
    }

    fn set_power_limit_mw(&mut self, limit: u32) -> Result<(), Unavailable> {
        let _turn = turn();
        said("the power limit", self.device.set_power_management_limit(limit))
    }

    fn max_clock_mhz(&self) -> Result<u32, Unavailable> {
        let _turn = turn();
        said("the highest clock", self.device.max_clock_info(Clock::SM))
    }

    fn lock_clock(&mut self, mhz: u32) -> Result<(), Unavailable> {
        let _turn = turn();
        let setting = GpuLockedClocksSetting::Numeric { min_clock_mhz: mhz, max_clock_mhz: mhz };
        said("locked clocks", self.device.set_gpu_locked_clocks(setting))
    }

    fn unlock_clock(&mut self) -> Result<(), Unavailable> {
        let _turn = turn();
        said("locked clocks", self.device.reset_gpu_locked_clocks())
    }
}
