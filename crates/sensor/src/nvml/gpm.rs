//! Utilisation of a GPU's parts (GPM, Hopper and newer): means between two readings, without replay or slowdown.

use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::gpm::gpm_metrics_get;
use nvml_wrapper::{Device, GpmSample, Nvml};
use nvml_wrapper_sys::bindings::{
    NVML_GPM_METRICS_GET_VERSION, nvmlGpmMetricId_t_NVML_GPM_METRIC_DRAM_CACHE_HIT as CACHE_HIT,
    nvmlGpmMetricId_t_NVML_GPM_METRIC_DRAM_CACHE_MISS as CACHE_MISS, nvmlGpmMetricsGet_t,
};
use serde::Serialize;
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;

use super::{reason, turn};
use crate::Unavailable;

/// Shares (0 to 1) of the time between two readings, and rates. `None` is a part that the GPU does not report.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Utilisation {
    /// Time in which an SM had work, mean over the SMs.
    pub sm: Option<f64>,
    /// Time in which tensor cores worked.
    pub tensor: Option<f64>,
    /// Memory bandwidth used, of the highest possible.
    pub dram: Option<f64>,
    /// PCIe bytes sent per second.
    pub pcie_tx_bytes_s: Option<f64>,
    /// PCIe bytes received per second.
    pub pcie_rx_bytes_s: Option<f64>,
}

/// Reads [`Utilisation`] between consecutive calls.
pub struct Gpm {
    nvml: &'static Nvml,
    device: Device<'static>,
    taken_ns: Nanos,
    /// `None` only while it is dropped.
    last: Option<GpmSample<'static>>,
}

impl Drop for Gpm {
    fn drop(&mut self) {
        let _turn = turn();
        self.last = None;
    }
}

/// Shortest time between two samples: the driver renews its counters each 100 ms and calls everything idle between two
/// samples of one of these (H100, driver 580).
const LEAST: Nanos = 200_000_000;

const ASKED: [GpmMetricId; 5] = [
    GpmMetricId::SmUtil,
    GpmMetricId::AnyTensorUtil,
    GpmMetricId::DramBwUtil,
    GpmMetricId::PcieTxPerSec,
    GpmMetricId::PcieRxPerSec,
];

impl Gpm {
    pub(super) fn open(nvml: &'static Nvml, device: Device<'static>) -> Result<Self, Unavailable> {
        let what = "GPM utilisation";
        if !device.gpm_support().map_err(|e| reason(what, &e))? {
            return Err(Unavailable::NotSupported { what });
        }
        let last = device.gpm_sample().map_err(|e| reason(what, &e))?;
        Ok(Self { nvml, device, taken_ns: monotonic_raw(), last: Some(last) })
    }

    /// Means since the last call that gave any, or since opening. Empty when it is called again within 0.2 s, or when the
    /// driver gives nothing for the time between.
    pub fn read(&mut self) -> Utilisation {
        if monotonic_raw() - self.taken_ns < LEAST {
            return Utilisation::default();
        }
        let _turn = turn();
        let Ok(now) = self.device.gpm_sample() else { return Utilisation::default() };
        self.taken_ns = monotonic_raw();
        let Some(last) = self.last.replace(now) else { return Utilisation::default() };
        let Some(now) = &self.last else { return Utilisation::default() };
        let values = gpm_metrics_get(self.nvml, &last, now, &ASKED);
        let Ok(values) = values else { return Utilisation::default() };
        let value = |i: usize| -> Option<f64> {
            let value = values.get(i)?.as_ref().ok()?.value;
            (value.is_finite() && value >= 0.0).then_some(value)
        };
        // Shares come in per cent, PCIe rates in MiB/s (nvml.h).
        Utilisation {
            sm: value(0).map(|v| v / 100.0),
            tensor: value(1).map(|v| v / 100.0),
            dram: value(2).map(|v| v / 100.0),
            pcie_tx_bytes_s: value(3).map(|v| v * MIB),
            pcie_rx_bytes_s: value(4).map(|v| v * MIB),
        }
    }

    /// Share of memory accesses that a cache answered, since the reading before.
    ///
    /// On an H100 (driver 580) the driver answers "success" and 0 for hits and misses alike, whatever runs. Two zeros
    /// are therefore not a measurement.
    pub fn cache_hit_share(&self) -> Result<f64, Unavailable> {
        let what = "the cache hit share of GPM";
        let _turn = turn();
        let now = self.device.gpm_sample().map_err(|e| reason(what, &e))?;
        let last = self.last.as_ref().ok_or(Unavailable::NotSupported { what })?;
        let get =
            self.nvml.lib().nvmlGpmMetricsGet.as_ref().map_err(|_| Unavailable::NotSupported { what })?;
        // SAFETY: the structure is plain data, for which zero bytes are a valid value.
        let mut request: nvmlGpmMetricsGet_t = unsafe { std::mem::zeroed() };
        request.version = NVML_GPM_METRICS_GET_VERSION;
        request.numMetrics = 2;
        request.metrics[0].metricId = CACHE_HIT;
        request.metrics[1].metricId = CACHE_MISS;
        // SAFETY: both samples live until the end of this function; the library writes within the structure, whose
        // layout and version are those of its own header.
        let code = unsafe {
            request.sample1 = last.handle();
            request.sample2 = now.handle();
            get(&raw mut request)
        };
        nvml_wrapper::error::nvml_try(code).map_err(|e| reason(what, &e))?;
        let value = |i: usize| {
            let metric = &request.metrics[i];
            nvml_wrapper::error::nvml_try(metric.nvmlReturn).map_err(|e| reason(what, &e))?;
            Ok::<f64, Unavailable>(metric.value)
        };
        cache_share(value(0)?, value(1)?)
    }
}

/// PCIe rates are in MiB/s.
const MIB: f64 = 1_048_576.0;

fn cache_share(hit: f64, miss: f64) -> Result<f64, Unavailable> {
    let what = "the cache hit share of GPM";
    if hit == 0.0 && miss == 0.0 {
        return Err(Unavailable::Meaningless { what, value: "0".to_owned() });
    }
    let share = hit / (hit + miss);
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(Unavailable::Unreadable { what: what.to_owned(), detail: format!("hit {hit}, miss {miss}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_zeros_are_no_measurement() {
        assert!(matches!(cache_share(0.0, 0.0), Err(Unavailable::Meaningless { .. })));
        assert_eq!(cache_share(75.0, 25.0), Ok(0.75));
        assert!(matches!(cache_share(f64::NAN, 1.0), Err(Unavailable::Unreadable { .. })));
    }
}
