//! What a GPU is and how it is set.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::Clock;
use sha2::{Digest as _, Sha256};
use stopwatt_core::gpu::GpuFacts;

use super::fixed_clock::{ClockEvidence, fixed_clock};
use super::throttle;

pub(super) fn of(index: u32, device: &Device<'_>) -> GpuFacts {
    let versions = super::versions().ok();
    let application = device.applications_clock(Clock::SM).ok();
    let default_application = device.default_applications_clock(Clock::SM).ok();
    let evidence = ClockEvidence {
        application_mhz: application,
        default_application_mhz: default_application,
        current_mhz: device.clock_info(Clock::SM).ok(),
        throttle: throttle::of(device),
    };
    GpuFacts {
        index,
        name: device.name().ok(),
        architecture: device.architecture().ok().map(|a| a.to_string()),
        compute_capability: device.cuda_compute_capability().ok().map(|c| format!("{}.{}", c.major, c.minor)),
        uuid_hash: device.uuid().ok().map(|u| hash(&u)),
        vbios: device.vbios_version().ok(),
        driver: versions.as_ref().map(|v| v.0.clone()),
        cuda: versions.map(|v| v.1),
        memory_bytes: device.memory_info().ok().map(|m| m.total),
        ecc: device.is_ecc_enabled().ok().map(|e| e.currently_enabled),
        persistence: persistence(device),
        mig: mig(device),
        power_limit_w: device.enforced_power_limit().ok().map(milli),
        default_power_limit_w: device.power_management_limit_default().ok().map(milli),
        application_sm_clock_mhz: application,
        default_application_sm_clock_mhz: default_application,
        application_mem_clock_mhz: device.applications_clock(Clock::Memory).ok(),
        max_sm_clock_mhz: device.max_clock_info(Clock::SM).ok(),
        fixed_clock: fixed_clock(&evidence),
        pcie: device
            .current_pcie_link_gen()
            .ok()
            .zip(device.current_pcie_link_width().ok())
            .map(|(generation, lanes)| format!("{generation} x{lanes}")),
    }
}

/// Whether the card is split into slices; `None` where the driver does not say, as on cards that cannot be.
pub(super) fn mig(device: &Device<'_>) -> Option<bool> {
    device.mig_mode().ok().map(|m| m.current != 0)
}

/// The wrapper has this on Linux only; elsewhere there is no such mode.
fn persistence(device: &Device<'_>) -> Option<bool> {
    #[cfg(target_os = "linux")]
    {
        device.is_in_persistent_mode().ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = device;
        None
    }
}

fn milli(value: u32) -> f64 {
    f64::from(value) / 1000.0
}

/// First 16 hex digits of the SHA-256 of an identifier.
fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_is_hashed() {
        assert_eq!(hash("GPU-1").len(), 16);
        assert_ne!(hash("GPU-1"), hash("GPU-2"));
        assert_eq!(hash("abc"), "ba7816bf8f01cfea"); // FIPS 180-2, appendix B.1
    }
}
