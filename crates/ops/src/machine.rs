//! The machine that the proxy runs on: its CPU and memory, and its GPUs under the names and labels of dcgm-exporter, so
//! that dashboards and rules made for that read them too.
//!
//! Sensors are read once a second on a thread of their own; a scrape gets the last reading. Without a GPU, or where one
//! does not tell something, the family is absent. What profiling counters would say (`DCGM_FI_PROF_…`) is not there.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::label::escaped;
use stopwatt_sensor::host::{self, CpuTimes};
use stopwatt_sensor::nvml::{self, Exported, Gpu, XidWatch};

use crate::exposition::{Page, Source};

/// Time between two readings.
const EVERY: Duration = Duration::from_secs(1);

const MIB: f64 = 1_048_576.0;

/// What was read last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// Share of all CPU time in use since the reading before.
    pub(crate) cpu_busy: Option<f64>,
    pub(crate) memory_total: Option<u64>,
    pub(crate) memory_available: Option<u64>,
    /// Seconds of CPU time and bytes of this process.
    pub(crate) own: Option<(f64, u64)>,
    pub(crate) hostname: String,
    pub(crate) gpus: Vec<Exported>,
}

/// Reads the machine until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    last: Arc<Mutex<Reading>>,
}

impl Watcher {
    /// Starts reading.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let last = Arc::new(Mutex::new(Reading::default()));
        let (stop, stopped) = channel();
        let to = Arc::clone(&last);
        let thread = std::thread::Builder::new().name("machine".to_owned()).spawn(move || {
            let mut sensors = Sensors::open();
            loop {
                let reading = sensors.read();
                *to.lock().unwrap_or_else(PoisonError::into_inner) = reading;
                if !matches!(stopped.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
                    return;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), last })
    }

    /// Writes the last reading on the page.
    pub fn source(&self) -> Source {
        let last = Arc::clone(&self.last);
        Box::new(move |page, _| {
            let reading = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
            reading.render(page);
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A reading that goes on ends by itself.
            let _ = thread.join();
        }
    }
}

struct Sensors {
    gpus: Vec<Gpu>,
    xids: Option<XidWatch>,
    hostname: String,
    times: Option<CpuTimes>,
}

impl Sensors {
    fn open() -> Self {
        let gpus = nvml::gpus().unwrap_or_default();
        let xids = (!gpus.is_empty()).then(|| XidWatch::open(&gpus).ok()).flatten();
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { gpus, xids, hostname, times: None }
    }

    fn read(&mut self) -> Reading {
        let now = CpuTimes::now();
        let cpu_busy = self.times.zip(now).and_then(|(was, now)| host::others_share(&was, &now, 0.0));
        self.times = now;
        let mut gpus: Vec<Exported> = self.gpus.iter().map(Gpu::exported).collect();
        if let Some(xids) = &mut self.xids {
            let last = xids.last();
            gpus.iter_mut().for_each(|gpu| gpu.xid = last.get(&gpu.index).copied());
        }
        Reading {
            cpu_busy,
            memory_total: host::total_bytes(),
            memory_available: host::available_memory_bytes(),
            own: host::own_usage().map(|u| (u.cpu_s, u.rss_bytes)),
            hostname: self.hostname.clone(),
            gpus,
        }
    }
}

/// A family of dcgm-exporter: kind, meaning, value in its unit.
type Family = (&'static str, &'static str, &'static str, fn(&Exported) -> Option<f64>);

/// As in dcgm-exporter's `etc/default-counters.csv` (2026-05), and the violations and clock reasons that it has off.
/// NVML gives violations in nanoseconds and DCGM tells microseconds.
const FAMILIES: [Family; 15] = [
    ("DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz).", |g| {
        g.reading.sm_clock_mhz.map(f64::from)
    }),
    ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", |g| {
        g.reading.mem_clock_mhz.map(f64::from)
    }),
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", |g| g.reading.temp_c.map(f64::from)),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", |g| g.reading.average_w),
    (
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "counter",
        "Total energy consumption since boot (in mJ).",
        |g| g.reading.energy_j.map(|j| j * 1e3),
    ),
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", |g| g.gpu_use_percent.map(f64::from)),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", |g| {
        g.memory_use_percent.map(f64::from)
    }),
    ("DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last XID error encountered.", |g| {
        g.xid.map(|code| code as f64)
    }),
    ("DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB).", |g| {
        g.memory_free_bytes.map(|b| b as f64 / MIB)
    }),
    ("DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", |g| {
        g.reading.mem_used_bytes.map(|b| b as f64 / MIB)
    }),
    ("DCGM_FI_DEV_FB_RESERVED", "gauge", "Framebuffer memory reserved (in MiB).", |g| {
        g.memory_reserved_bytes.map(|b| b as f64 / MIB)
    }),
    (
        "DCGM_FI_DEV_POWER_VIOLATION",
        "counter",
        "Throttling duration due to power constraints (in us).",
        |g| g.power_violation_ns.map(|ns| ns as f64 / 1e3),
    ),
    (
        "DCGM_FI_DEV_THERMAL_VIOLATION",
        "counter",
        "Throttling duration due to thermal constraints (in us).",
        |g| g.thermal_violation_ns.map(|ns| ns as f64 / 1e3),
    ),
    ("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "gauge", "Current clock throttle reasons (bitmask).", |g| {
        g.reading.throttle.map(|t| t.bits() as f64)
    }),
    ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "gauge", "Current clock event reasons (bitmask).", |g| {
        g.reading.throttle.map(|t| t.bits() as f64)
    }),
];

impl Reading {
    pub(crate) fn render(&self, page: &mut Page) {
        let one = |value: Option<f64>| [(String::new(), value)];
        let bytes = |value: Option<u64>| one(value.map(|v| v as f64));
        page.family("stopwatt_cpu_busy_ratio", "gauge", "Share of all CPU time in use.", one(self.cpu_busy));
        page.family(
            "stopwatt_memory_total_bytes",
            "gauge",
            "Memory that this machine or container may use.",
            bytes(self.memory_total),
        );
        page.family(
            "stopwatt_memory_available_bytes",
            "gauge",
            "Memory that programs can still get without swapping.",
            bytes(self.memory_available),
        );
        page.family(
            "process_cpu_seconds_total",
            "counter",
            "CPU time of this process.",
            one(self.own.map(|o| o.0)),
        );
        page.family(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory of this process.",
            bytes(self.own.map(|o| o.1)),
        );
        for (name, kind, help, value) in FAMILIES {
            page.family(name, kind, help, self.gpus.iter().map(|g| (self.labels(g), value(g))));
        }
    }

    /// Names and order of dcgm-exporter's labels.
    fn labels(&self, gpu: &Exported) -> String {
        let given = |name: &str, value: &Option<String>| {
            value.as_ref().map(|v| format!(",{name}=\"{}\"", escaped(v))).unwrap_or_default()
        };
        format!(
            "gpu=\"{0}\"{1}{2},device=\"nvidia{0}\"{3},Hostname=\"{4}\"{5}",
            gpu.index,
            given("UUID", &gpu.uuid),
            given("pci_bus_id", &gpu.bus_id),
            given("modelName", &gpu.name),
            escaped(&self.hostname),
            given("DCGM_FI_DRIVER_VERSION", &gpu.driver),
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use stopwatt_sensor::nvml::{GpuReading, Throttle};
    use stopwatt_wire::engine_metrics::samples;

    use super::*;

    /// A GPU that tells everything.
    pub(crate) fn talkative() -> Exported {
        Exported {
            index: 1,
            uuid: Some("GPU-ab".into()),
            name: Some("NVIDIA H100 80GB HBM3".into()),
            bus_id: Some("00000000:1B:00.0".into()),
            driver: Some("580.159.04".into()),
            reading: GpuReading {
                energy_j: Some(12.5),
                instant_w: Some(101.0),
                average_w: Some(100.0),
                temp_c: Some(41),
                sm_clock_mhz: Some(1980),
                mem_clock_mhz: Some(2619),
                mem_used_bytes: Some(3 << 30),
                throttle: Some(Throttle::from_bits(4)),
            },
            gpu_use_percent: Some(97),
            memory_use_percent: Some(40),
            memory_free_bytes: Some(1 << 30),
            memory_reserved_bytes: Some(1 << 20),
            power_violation_ns: Some(7_000),
            thermal_violation_ns: Some(2_000),
            xid: Some(0),
        }
    }

    fn page(gpus: Vec<Exported>) -> String {
        let reading = Reading { hostname: "node-1".into(), gpus, ..Reading::default() };
        let mut page = Page::new();
        reading.render(&mut page);
        page.finish()
    }

    #[test]
    fn a_gpu_is_told_as_dcgm_exporter_tells_it() {
        let page = page(vec![talkative()]);
        let labels = "gpu=\"1\",UUID=\"GPU-ab\",pci_bus_id=\"00000000:1B:00.0\",device=\"nvidia1\",\
            modelName=\"NVIDIA H100 80GB HBM3\",Hostname=\"node-1\",DCGM_FI_DRIVER_VERSION=\"580.159.04\"";
        for (name, value) in [
            ("DCGM_FI_DEV_GPU_UTIL", "97"),
            ("DCGM_FI_DEV_FB_USED", "3072"),
            ("DCGM_FI_DEV_FB_FREE", "1024"),
            ("DCGM_FI_DEV_POWER_USAGE", "100"),
            ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "12500"),
            ("DCGM_FI_DEV_THERMAL_VIOLATION", "2"),
            ("DCGM_FI_DEV_XID_ERRORS", "0"),
            ("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "4"),
        ] {
            let line = format!("{name}{{{labels}}} {value}\n");
            assert!(page.contains(&line), "{line}\n{page}");
        }
    }

    #[test]
    fn what_no_gpu_tells_is_absent() {
        assert!(!page(Vec::new()).contains("DCGM"));
        let quiet = Exported { reading: GpuReading::default(), xid: None, ..talkative() };
        let page = page(vec![quiet]);
        let names: Vec<&str> = samples(&page).map(|s| s.name).collect();
        assert!(!names.contains(&"DCGM_FI_DEV_XID_ERRORS") && !names.contains(&"DCGM_FI_DEV_GPU_TEMP"));
        assert!(names.contains(&"DCGM_FI_DEV_GPU_UTIL"));
    }

    #[test]
    fn this_machine_is_read() {
        let mut sensors = Sensors::open();
        sensors.read();
        let reading = sensors.read();
        assert!(reading.memory_total.unwrap() >= reading.memory_available.unwrap().min(1));
        assert!(reading.own.unwrap().1 > 0);
        assert_eq!(reading.gpus.is_empty(), nvml::gpus().is_err());
    }
}
