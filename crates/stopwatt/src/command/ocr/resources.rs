//! What reading takes of this machine: looked at from beside, five times a second, at the lowest priority.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_ocr::run::Resources;
use stopwatt_sensor::host::{self, OwnAndChildren};
use stopwatt_sensor::nvml;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(200);
/// Where the system has no `/proc`.
const NO_PROC: &str = "the system does not tell it";

/// Bytes of memory and joules, where the driver tells them.
type OfGpus = (Option<u64>, Option<f64>);

/// What was seen from beside.
#[derive(Debug, Default)]
struct Seen {
    children_rss_bytes: u64,
    /// Memory and energy of the GPUs, or why there is none.
    gpu: Option<Result<OfGpus, String>>,
}

/// Looks until it is ended.
pub(super) struct Watched {
    begin: i64,
    before: Option<OwnAndChildren>,
    program: bool,
    end: Sender<()>,
    thread: JoinHandle<Seen>,
}

impl Watched {
    /// Begins; `program` says whether programs of this machine read.
    pub(super) fn begin(program: bool) -> Self {
        let (end, ended) = channel::<()>();
        let thread = std::thread::spawn(move || {
            host::lower_priority_of_this_thread();
            let gpus = nvml::gpus().map_err(|e| e.to_string());
            let sum = |value: &dyn Fn(&nvml::GpuReading) -> Option<f64>| -> Option<f64> {
                gpus.as_ref().ok()?.iter().map(|gpu| value(&gpu.read())).sum()
            };
            let energy = || sum(&|r| r.energy_j);
            let first_j = energy();
            let mut seen = Seen::default();
            let mut memory: Option<f64> = None;
            loop {
                if program && let Some(usage) = host::own_and_children() {
                    seen.children_rss_bytes = seen.children_rss_bytes.max(usage.children_rss_bytes);
                }
                if let Some(now) = sum(&|r| r.mem_used_bytes.map(|b| b as f64)) {
                    memory = Some(memory.map_or(now, |m| m.max(now)));
                }
                if ended.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            seen.gpu = Some(match &gpus {
                Ok(_) => Ok((memory.map(|m| m as u64), energy().zip(first_j).map(|(b, a)| b - a))),
                Err(reason) => Err(reason.clone()),
            });
            seen
        });
        Self { begin: monotonic_raw(), before: host::own_and_children(), program, end, thread }
    }

    /// Ends, and tells.
    pub(super) fn end(self) -> Resources {
        let wall_s = (monotonic_raw() - self.begin) as f64 / 1e9;
        let usage = self.before.zip(host::own_and_children());
        drop(self.end);
        let seen = self.thread.join().unwrap_or_default();
        let mut missing = BTreeMap::new();
        let mut miss = |name: &str, why: &str| drop(missing.insert(name.to_owned(), why.to_owned()));
        let client_cpu_s = usage.map(|(a, b)| (b.cpu_s - a.cpu_s).max(0.0));
        let client_rss_bytes = host::own_peak_rss_bytes();
        let program_cpu_s = usage
            .filter(|_| self.program)
            .map(|(a, b)| (b.ended_children_cpu_s - a.ended_children_cpu_s).max(0.0));
        let program_rss_bytes = Some(seen.children_rss_bytes).filter(|b| *b > 0);
        if usage.is_none() {
            miss("client_cpu_s", NO_PROC);
        }
        if client_rss_bytes.is_none() {
            miss("client_rss_bytes", NO_PROC);
        }
        if !self.program {
            miss("program_cpu_s", "a service read, not a program of this machine");
            miss("program_rss_bytes", "a service read, not a program of this machine");
        } else {
            if usage.is_none() {
                miss("program_cpu_s", NO_PROC);
            }
            if program_rss_bytes.is_none() {
                miss("program_rss_bytes", "no program ran while it was looked at");
            }
        }
        let (gpu_memory_bytes, gpu_energy_j) = match seen.gpu.unwrap_or_else(|| Err(NO_PROC.to_owned())) {
            Ok((memory, energy)) => {
                if memory.is_none() {
                    miss("gpu_memory_bytes", "the driver does not tell it");
                }
                if energy.is_none() {
                    miss("gpu_energy_j", "the driver does not tell it");
                }
                (memory, energy)
            }
            Err(reason) => {
                miss("gpu_memory_bytes", &reason);
                miss("gpu_energy_j", &reason);
                (None, None)
            }
        };
        Resources {
            wall_s,
            client_cpu_s,
            client_rss_bytes,
            program_cpu_s,
            program_rss_bytes,
            gpu_memory_bytes,
            gpu_energy_j,
            missing,
        }
    }
}
