//! Every sensor of this machine, opened once and read together.

use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::{Clock, Nanos};

use super::row::{CpuRow, GpuRow, ProcessRow, Row};
use crate::host::{self, CpuTimes};
use crate::nvml::{self, ForeignProcesses, Gpm, Gpu, Whose};
use crate::rapl::{self, Zone};

/// The sensors that could be opened. What could not is told by [`crate::survey()`].
pub struct Machine {
    clock: Clock,
    gpus: Vec<(Gpu, Option<Gpm>)>,
    zones: Vec<Zone>,
    watched: Option<u32>,
    whose: Whose,
    last_energy: Option<(Nanos, f64)>,
    slow: Slow,
}

/// What is read once a second only: reading it takes long (one file a CPU, one folder a process).
#[derive(Default)]
struct Slow {
    read_at: Option<Nanos>,
    times: Option<CpuTimes>,
    process: Option<ProcessRow>,
    cpu: CpuRow,
    foreign: Option<ForeignProcesses>,
}

const SLOW_NS: Nanos = 1_000_000_000;

impl Machine {
    /// Opens what is there. `watched` is the process whose CPU time and memory are sampled, with all below it.
    pub fn open(clock: Clock, watched: Option<u32>) -> Self {
        Self::with_gpus(clock, watched, nvml::gpus().unwrap_or_default(), Whose::default())
    }

    /// The same with some of the GPUs; `whose` says which processes on them are not ours.
    pub fn with_gpus(clock: Clock, watched: Option<u32>, gpus: Vec<Gpu>, whose: Whose) -> Self {
        let gpus = gpus.into_iter().map(|gpu| {
            let gpm = gpu.gpm().ok();
            (gpu, gpm)
        });
        Self {
            clock,
            gpus: gpus.collect(),
            zones: rapl::open().unwrap_or_default(),
            watched,
            whose,
            last_energy: None,
            slow: Slow::default(),
        }
    }

    /// How many GPUs are sampled.
    pub fn gpus(&self) -> usize {
        self.gpus.len()
    }

    /// The clock of the stamps.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// One reading of everything.
    pub fn read(&mut self) -> Row {
        let before = monotonic_raw();
        let readings: Vec<_> = self.gpus.iter().map(|(gpu, _)| gpu.read()).collect();
        let energy_j = rapl::packages(&mut self.zones);
        let t = self.clock.from_raw(before + (monotonic_raw() - before) / 2);

        let gpus = readings.into_iter().zip(&mut self.gpus).map(|(reading, (_, gpm))| GpuRow {
            reading,
            utilisation: gpm.as_mut().map(Gpm::read).unwrap_or_default(),
        });
        let gpus = gpus.collect();
        let power_w = self
            .last_energy
            .zip(energy_j)
            .filter(|((last, _), _)| t > *last)
            .map(|((last, was), now)| (now - was) / ((t - last) as f64 * 1e-9));
        self.last_energy = energy_j.map(|j| (t, j));
        self.read_slow(t);
        let cpu = CpuRow { energy_j, dram_energy_j: rapl::dram(&mut self.zones), power_w, ..self.slow.cpu };
        Row { t, gpus, cpu, process: self.slow.process, foreign: self.slow.foreign }
    }

    /// Processes of others on the GPUs; `None` without GPUs that tell.
    fn foreign(&self) -> Option<ForeignProcesses> {
        let lists: Vec<_> = self.gpus.iter().filter_map(|(gpu, _)| gpu.processes().ok()).collect();
        if lists.iter().all(Vec::is_empty) {
            return (!lists.is_empty()).then_some(ForeignProcesses::NONE);
        }
        let ours = host::tree(std::process::id());
        let visible = |pid: u32| std::path::Path::new("/proc").join(pid.to_string()).exists();
        let found = lists.iter().map(|all| self.whose.foreign(all, &ours, visible));
        Some(found.fold(ForeignProcesses::NONE, ForeignProcesses::and))
    }

    fn read_slow(&mut self, t: Nanos) {
        if self.slow.read_at.is_some_and(|last| t - last < SLOW_NS) {
            return;
        }
        let process = self
            .watched
            .and_then(host::tree_usage)
            .map(|u| ProcessRow { cpu_s: u.cpu_s, rss_bytes: u.rss_bytes });
        let times = CpuTimes::now();
        let span = self.slow.times.zip(times);
        let ours = self.slow.process.zip(process).map(|(was, now)| now.cpu_s - was.cpu_s);
        let foreign = self.foreign();
        self.slow = Slow {
            read_at: Some(t),
            foreign,
            times,
            process,
            cpu: CpuRow {
                freq_mhz: host::cpu_clock().map(|c| c.mean_mhz),
                busy: span.and_then(|(was, now)| host::others_share(&was, &now, 0.0)),
                others: span.zip(ours).and_then(|((was, now), ours)| host::others_share(&was, &now, ours)),
                ..CpuRow::default()
            },
        };
    }
}
