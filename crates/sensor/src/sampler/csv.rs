//! `power.csv`: `t_s,power_w`, then one column for every other sensor. An empty cell is a value that is missing.

use std::io::{self, BufWriter, Write};

use stopwatt_core::Nanos;

use super::row::Row;

/// A column of the file.
pub struct Column {
    /// Name, with the unit in it.
    pub name: &'static str,
    /// What it holds.
    pub definition: &'static str,
    /// Name of the same quantity in NVIDIA DCGM's exporter; its unit may be another (mJ, MiB).
    pub dcgm: Option<&'static str>,
    value: fn(&Row) -> Option<String>,
}

macro_rules! columns {
    ($($name:literal, $dcgm:expr, $definition:literal, $value:expr;)*) => {
        &[$(Column { name: $name, definition: $definition, dcgm: $dcgm, value: $value }),*]
    };
}

/// Every column in its order; with two GPUs or more, `gpuN_power_w` of each follows.
pub const COLUMNS: &[Column] = columns![
    "t_s", None, "seconds since the run began, at the middle of the power readings", |r| fixed(Some(r.t as f64 * 1e-9), 6);
    "power_w", Some("DCGM_FI_DEV_POWER_USAGE_INSTANT"), "power of all GPUs (INSTANT; AVERAGE where there is none); without a GPU, of the CPU packages", |r| fixed(r.power_w(), 3);
    "energy_j", Some("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"), "energy counters of all GPUs; without a GPU, of the CPU packages", |r| fixed(r.energy_j(), 3);
    "power_avg_w", Some("DCGM_FI_DEV_POWER_USAGE"), "moving average (1 s) of the power of all GPUs", |r| fixed(r.sum(|g| g.reading.average_w), 3);
    "temp_c", Some("DCGM_FI_DEV_GPU_TEMP"), "temperature of the hottest GPU", |r| whole(r.max(|g| g.reading.temp_c));
    "sm_clock_mhz", Some("DCGM_FI_DEV_SM_CLOCK"), "lowest SM clock of the GPUs", |r| whole(r.min(|g| g.reading.sm_clock_mhz));
    "mem_clock_mhz", Some("DCGM_FI_DEV_MEM_CLOCK"), "lowest memory clock of the GPUs", |r| whole(r.min(|g| g.reading.mem_clock_mhz));
    "mem_used_bytes", Some("DCGM_FI_DEV_FB_USED"), "memory in use on all GPUs, by everybody", |r| fixed(r.sum(|g| g.reading.mem_used_bytes.map(|b| b as f64)), 0);
    "sm_util", Some("DCGM_FI_PROF_SM_ACTIVE"), "share of the time in which an SM had work, since the row before; mean of the GPUs", |r| fixed(r.mean(|g| g.utilisation.sm), 4);
    "tensor_util", Some("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"), "share of the time in which tensor cores worked", |r| fixed(r.mean(|g| g.utilisation.tensor), 4);
    "dram_util", Some("DCGM_FI_PROF_DRAM_ACTIVE"), "memory bandwidth in use, of the highest possible", |r| fixed(r.mean(|g| g.utilisation.dram), 4);
    "pcie_tx_bytes_s", Some("DCGM_FI_PROF_PCIE_TX_BYTES"), "bytes per second that the GPUs sent over PCIe", |r| fixed(r.sum(|g| g.utilisation.pcie_tx_bytes_s), 0);
    "pcie_rx_bytes_s", Some("DCGM_FI_PROF_PCIE_RX_BYTES"), "bytes per second that the GPUs received over PCIe", |r| fixed(r.sum(|g| g.utilisation.pcie_rx_bytes_s), 0);
    "throttle", Some("DCGM_FI_DEV_CLOCKS_EVENT_REASONS"), "why a GPU's clock is not higher: words joined by +", |r| r.throttle().map(|t| t.words());
    "cpu_power_w", None, "mean power of the CPU packages since the row before", |r| fixed(r.cpu.power_w, 3);
    "cpu_energy_j", None, "energy of the CPU packages since sampling began", |r| fixed(r.cpu.energy_j, 3);
    "dram_energy_j", None, "energy of the memory modules since sampling began", |r| fixed(r.cpu.dram_energy_j, 3);
    "cpu_freq_mhz", None, "mean clock of the CPUs, once a second", |r| fixed(r.cpu.freq_mhz, 1);
    "cpu_busy", None, "share of all CPU time in use, over the last second", |r| fixed(r.cpu.busy, 4);
    "cpu_others", None, "the part of it that the watched process did not use", |r| fixed(r.cpu.others, 4);
    "process_cpu_s", None, "CPU time of the watched process and all below it, once a second", |r| fixed(r.process.map(|p| p.cpu_s), 3);
    "process_rss_bytes", None, "their resident memory, once a second", |r| r.process.map(|p| p.rss_bytes.to_string());
];

fn fixed(value: Option<f64>, digits: usize) -> Option<String> {
    value.filter(|v| v.is_finite()).map(|v| format!("{v:.digits$}"))
}

fn whole(value: Option<u32>) -> Option<String> {
    value.map(|v| v.to_string())
}

/// The open file.
pub(super) struct File {
    out: BufWriter<Box<dyn Write + Send>>,
    gpus: usize,
    flushed: Option<Nanos>,
}

/// Time after which what was written reaches the disk.
const FLUSH_NS: Nanos = 1_000_000_000;

impl File {
    pub(super) fn create(out: Box<dyn Write + Send>, gpus: usize) -> io::Result<Self> {
        let mut file = Self { out: BufWriter::new(out), gpus, flushed: None };
        let mut names: Vec<String> = COLUMNS.iter().map(|c| c.name.to_owned()).collect();
        if gpus > 1 {
            names.extend((0..gpus).map(|i| format!("gpu{i}_power_w")));
        }
        writeln!(file.out, "{}", names.join(","))?;
        file.out.flush()?;
        Ok(file)
    }

    /// Writes a row; `last` closes the file.
    pub(super) fn write(&mut self, row: &Row, now: Nanos, last: bool) -> io::Result<()> {
        let mut cells: Vec<String> = COLUMNS.iter().map(|c| (c.value)(row).unwrap_or_default()).collect();
        if self.gpus > 1 {
            cells.extend((0..self.gpus).map(|i| {
                let gpu = row.gpus.get(i).map(|g| &g.reading);
                fixed(gpu.and_then(|g| g.instant_w.or(g.average_w)), 3).unwrap_or_default()
            }));
        }
        writeln!(self.out, "{}", cells.join(","))?;
        if last || now - *self.flushed.get_or_insert(now) >= FLUSH_NS {
            self.out.flush()?;
            self.flushed = Some(now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvml::{GpuReading, Throttle};
    use crate::sampler::row::{CpuRow, GpuRow};

    fn gpu(power: f64, clock: u32, throttle: u64) -> GpuRow {
        GpuRow {
            reading: GpuReading {
                instant_w: Some(power),
                energy_j: Some(10.0),
                sm_clock_mhz: Some(clock),
                throttle: Some(Throttle::from_bits(throttle)),
                ..GpuReading::default()
            },
            ..GpuRow::default()
        }
    }

    fn cell(row: &Row, name: &str) -> Option<String> {
        (COLUMNS.iter().find(|c| c.name == name).unwrap().value)(row)
    }

    #[test]
    fn names_are_unique_and_begin_as_promised() {
        let mut names: Vec<_> = COLUMNS.iter().map(|c| c.name).collect();
        assert_eq!(names[..2], ["t_s", "power_w"]);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COLUMNS.len());
    }

    #[test]
    fn several_gpus_are_summed_and_shown_one_by_one() {
        let row =
            Row { t: 1_500_000_000, gpus: vec![gpu(100.5, 1980, 1), gpu(200.0, 1500, 4)], ..Row::default() };
        assert_eq!(cell(&row, "t_s").unwrap(), "1.500000");
        assert_eq!(cell(&row, "power_w").unwrap(), "300.500");
        assert_eq!(cell(&row, "energy_j").unwrap(), "20.000");
        assert_eq!(cell(&row, "sm_clock_mhz").unwrap(), "1500");
        assert_eq!(cell(&row, "throttle").unwrap(), "idle+power_cap");
        assert_eq!(cell(&row, "temp_c"), None);
    }

    #[test]
    fn a_sum_with_a_part_missing_is_missing() {
        let row = Row { gpus: vec![gpu(100.0, 1, 0), GpuRow::default()], ..Row::default() };
        assert_eq!(cell(&row, "power_w"), None);
    }

    #[test]
    fn without_a_gpu_the_power_is_the_cpus() {
        let row = Row { cpu: CpuRow { power_w: Some(42.0), ..CpuRow::default() }, ..Row::default() };
        assert_eq!(cell(&row, "power_w").unwrap(), "42.000");
        assert_eq!(cell(&row, "power_avg_w"), None);
    }
}
