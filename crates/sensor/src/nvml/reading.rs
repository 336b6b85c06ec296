//! One reading of a GPU's sensors.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT};
use serde::Serialize;

use super::throttle::{self, Throttle};
use crate::Unavailable;

/// A GPU's sensors at one moment. `None` is a sensor that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct GpuReading {
    /// Energy since the driver was loaded, in joules.
    pub energy_j: Option<f64>,
    /// INSTANT power, in watts: a mean of about 25 ms.
    pub instant_w: Option<f64>,
    /// AVERAGE power, in watts: a mean of about 1 s on Ampere (but GA100) and newer.
    pub average_w: Option<f64>,
    /// Temperature of the chip, in °C.
    pub temp_c: Option<u32>,
    /// SM clock, in MHz.
    pub sm_clock_mhz: Option<u32>,
    /// Memory clock, in MHz.
    pub mem_clock_mhz: Option<u32>,
    /// Memory in use by everybody.
    pub mem_used_bytes: Option<u64>,
    /// Why the clock is not higher.
    pub throttle: Option<Throttle>,
}

/// Memory errors since the driver was loaded. `None` without error correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct EccErrors {
    /// Errors that were corrected.
    pub corrected: Option<u64>,
    /// Errors that were not.
    pub uncorrected: Option<u64>,
}

pub(super) fn of(device: &Device<'_>) -> GpuReading {
    let (instant_w, average_w) = powers(device);
    GpuReading {
        energy_j: device.total_energy_consumption().ok().map(|mj| mj as f64 / 1000.0),
        instant_w,
        // Where the field is missing (drivers before R530) the plain call gives the same average.
        average_w: average_w.or_else(|| device.power_usage().ok().map(|mw| f64::from(mw) / 1000.0)),
        temp_c: device.temperature(TemperatureSensor::Gpu).ok(),
        sm_clock_mhz: device.clock_info(Clock::SM).ok(),
        mem_clock_mhz: device.clock_info(Clock::Memory).ok(),
        mem_used_bytes: device.memory_info().ok().map(|m| m.used),
        throttle: throttle::of(device),
    }
}

/// Takes longer than the other readings; ask before and after a run.
pub(super) fn ecc(device: &Device<'_>) -> EccErrors {
    let errors = |kind| device.total_ecc_errors(kind, EccCounter::Volatile).ok();
    EccErrors { corrected: errors(MemoryError::Corrected), uncorrected: errors(MemoryError::Uncorrected) }
}

/// INSTANT and AVERAGE power in one call.
fn powers(device: &Device<'_>) -> (Option<f64>, Option<f64>) {
    let fields = [FieldId(NVML_FI_DEV_POWER_INSTANT), FieldId(NVML_FI_DEV_POWER_AVERAGE)];
    let Ok(values) = device.field_values_for(&fields) else { return (None, None) };
    let mut watts = values.into_iter().map(|v| watts(v.ok()?.value.ok()?));
    (watts.next().flatten(), watts.next().flatten())
}

/// INSTANT power, or why there is none.
pub(super) fn instant_power(device: &Device<'_>) -> Result<f64, Unavailable> {
    let what = "INSTANT power";
    let values = device
        .field_values_for(&[FieldId(NVML_FI_DEV_POWER_INSTANT)])
        .map_err(|e| super::reason(what, &e))?;
    let value = values.into_iter().next().ok_or(Unavailable::NotSupported { what })?;
    let value = value.and_then(|v| v.value).map_err(|e| super::reason(what, &e))?;
    watts(value).ok_or(Unavailable::NotSupported { what })
}

/// Power fields are milliwatts; a signed or fractional value of another driver is read as well.
fn watts(value: SampleValue) -> Option<f64> {
    let milliwatts = match value {
        SampleValue::U32(v) => f64::from(v),
        SampleValue::U64(v) => v as f64,
        SampleValue::I64(v) => v as f64,
        SampleValue::F64(v) => v,
    };
    (milliwatts.is_finite() && milliwatts >= 0.0).then_some(milliwatts / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_fields_are_milliwatts_and_never_negative() {
        assert_eq!(watts(SampleValue::U32(72_345)), Some(72.345));
        assert_eq!(watts(SampleValue::I64(-1)), None);
        assert_eq!(watts(SampleValue::F64(f64::NAN)), None);
    }
}
