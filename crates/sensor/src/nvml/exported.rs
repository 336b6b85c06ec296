//! What an exporter tells of a GPU beside its sensors: identity as others name it, use, memory, throttled time, Xid errors.

use std::collections::BTreeMap;

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::PerformancePolicy;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::event::EventSet;

use super::{Gpu, GpuReading, library, reason, turn};
use crate::Unavailable;

/// A GPU at one moment, for an exporter. `None` is what it does not tell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exported {
    /// Position among this machine's GPUs, from 0.
    pub index: u32,
    /// The driver's name of it, as other exporters write it. Records hold its hash only.
    pub uuid: Option<String>,
    /// Model.
    pub name: Option<String>,
    /// Address on the bus.
    pub bus_id: Option<String>,
    /// Version of the driver.
    pub driver: Option<String>,
    /// Its sensors.
    pub reading: GpuReading,
    /// Share of the last moments in which a kernel ran, in percent.
    pub gpu_use_percent: Option<u32>,
    /// Share of the last moments in which memory was read or written, in percent.
    pub memory_use_percent: Option<u32>,
    /// Memory that is free, in bytes.
    pub memory_free_bytes: Option<u64>,
    /// Memory that the driver keeps for itself, in bytes.
    pub memory_reserved_bytes: Option<u64>,
    /// Time for which the power limit held clocks down, in nanoseconds.
    pub power_violation_ns: Option<u64>,
    /// Time for which heat held clocks down, in nanoseconds.
    pub thermal_violation_ns: Option<u64>,
    /// The last Xid error since watching began, 0 for none; `None` where the driver gives no events.
    pub xid: Option<u64>,
}

impl Gpu {
    /// Everything that an exporter tells.
    pub fn exported(&self) -> Exported {
        let driver = super::versions().ok().map(|v| v.0);
        let _turn = turn();
        Exported { index: self.index, driver, ..of(&self.device) }
    }
}

fn of(device: &Device<'_>) -> Exported {
    let used = device.utilization_rates().ok();
    let memory = device.memory_info().ok();
    let violation = |policy| device.violation_status(policy).ok().map(|v| v.violation_time);
    Exported {
        index: 0,
        uuid: device.uuid().ok(),
        name: device.name().ok(),
        bus_id: device.pci_info().ok().map(|pci| pci.bus_id),
        driver: None,
        reading: super::reading::of(device),
        gpu_use_percent: used.as_ref().map(|u| u.gpu),
        memory_use_percent: used.as_ref().map(|u| u.memory),
        memory_free_bytes: memory.as_ref().map(|m| m.free),
        memory_reserved_bytes: memory.as_ref().map(|m| m.reserved),
        power_violation_ns: violation(PerformancePolicy::Power),
        thermal_violation_ns: violation(PerformancePolicy::Thermal),
        xid: None,
    }
}

/// Listens for Xid errors.
pub struct XidWatch {
    events: EventSet<'static>,
    last: BTreeMap<u32, u64>,
}

impl XidWatch {
    /// Listens from now on; errors of before are not told.
    ///
    /// # Errors
    /// The driver gives no events of these GPUs.
    pub fn open(gpus: &[Gpu]) -> Result<Self, Unavailable> {
        let _turn = turn();
        let what = "Xid events";
        let events = library()?.create_event_set().map_err(|e| reason(what, &e))?;
        let events = gpus.iter().try_fold(events, |events, gpu| register(gpu, events, what))?;
        let last = gpus.iter().map(|gpu| (gpu.index, 0)).collect();
        Ok(Self { events, last })
    }

    /// The last error of each GPU by its index, 0 for none. Does not wait.
    pub fn last(&mut self) -> &BTreeMap<u32, u64> {
        let _turn = turn();
        // A storm of errors must not keep the thread here.
        for _ in 0..1000 {
            let Ok(event) = self.events.wait(0) else { break };
            if let (Ok(index), Some(XidError::Value(code))) = (event.device.index(), event.event_data) {
                self.last.insert(index, code);
            }
        }
        &self.last
    }
}

#[cfg(target_os = "linux")]
fn register(
    gpu: &Gpu,
    events: EventSet<'static>,
    what: &'static str,
) -> Result<EventSet<'static>, Unavailable> {
    let wanted = nvml_wrapper::bitmasks::event::EventTypes::CRITICAL_XID_ERROR;
    gpu.device.register_events(wanted, events).map_err(|e| reason(what, &e.error))
}

/// The driver has events on Linux alone.
#[cfg(not(target_os = "linux"))]
fn register(_: &Gpu, _: EventSet<'static>, what: &'static str) -> Result<EventSet<'static>, Unavailable> {
    Err(Unavailable::NoDevice { what })
}
