//! `power.csv`: `t_s,power_w`, then one column for every other sensor. An empty cell is a value that is missing.

use std::fs::{File as DiskFile, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use stopwatt_core::Nanos;

use super::row::Row;

/// A column of the file.
pub struct Column {
    /// Name, with the unit in it.
    pub name: &'static str,
    /// What it holds.
    pub definition: &'static str,
    value: fn(&Row) -> Option<String>,
}

macro_rules! columns {
    ($($name:literal, $definition:literal, $value:expr;)*) => {
        &[$(Column { name: $name, definition: $definition, value: $value }),*]
    };
}

/// Every column in its order; with two GPUs or more, `gpuN_power_w` of each follows.
pub const COLUMNS: &[Column] = columns![
    "t_s", "seconds since the run began, at the middle of the power readings", |r| fixed(Some(r.t as f64 * 1e-9), 6);
    "power_w", "power of all GPUs (INSTANT; AVERAGE where there is none); without a GPU, of the CPU packages", |r| fixed(r.power_w(), 3);
    "energy_j", "energy counters of all GPUs; without a GPU, of the CPU packages", |r| fixed(r.energy_j(), 3);
    "power_avg_w", "moving average (1 s) of the power of all GPUs", |r| fixed(r.sum(|g| g.reading.average_w), 3);
    "temp_c", "temperature of the hottest GPU", |r| whole(r.max(|g| g.reading.temp_c));
    "sm_clock_mhz", "lowest SM clock of the GPUs", |r| whole(r.min(|g| g.reading.sm_clock_mhz));
    "mem_clock_mhz", "lowest memory clock of the GPUs", |r| whole(r.min(|g| g.reading.mem_clock_mhz));
    "mem_used_bytes", "memory in use on all GPUs, by everybody", |r| fixed(r.sum(|g| g.reading.mem_used_bytes.map(|b| b as f64)), 0);
    "sm_util", "share of the time in which an SM had work, since the row before; mean of the GPUs", |r| fixed(r.mean(|g| g.utilisation.sm), 4);
    "tensor_util", "share of the time in which tensor cores worked", |r| fixed(r.mean(|g| g.utilisation.tensor), 4);
    "dram_util", "memory bandwidth in use, of the highest possible", |r| fixed(r.mean(|g| g.utilisation.dram), 4);
    "pcie_tx_bytes_s", "bytes per second that the GPUs sent over PCIe", |r| fixed(r.sum(|g| g.utilisation.pcie_tx_bytes_s), 0);
    "pcie_rx_bytes_s", "bytes per second that the GPUs received over PCIe", |r| fixed(r.sum(|g| g.utilisation.pcie_rx_bytes_s), 0);
    "throttle", "why a GPU's clock is not higher: words joined by +", |r| r.throttle().map(|t| t.words());
    "cpu_power_w", "mean power of the CPU packages since the row before", |r| fixed(r.cpu.power_w, 3);
    "cpu_energy_j", "energy of the CPU packages since sampling began", |r| fixed(r.cpu.energy_j, 3);
    "dram_energy_j", "energy of the memory modules since sampling began", |r| fixed(r.cpu.dram_energy_j, 3);
    "cpu_freq_mhz", "mean clock of the CPUs, once a second", |r| fixed(r.cpu.freq_mhz, 1);
    "cpu_busy", "share of all CPU time in use, over the last second", |r| fixed(r.cpu.busy, 4);
    "cpu_others", "the part of it that the watched process did not use", |r| fixed(r.cpu.others, 4);
    "process_cpu_s", "CPU time of the watched process and all below it, once a second", |r| fixed(r.process.map(|p| p.cpu_s), 3);
    "process_rss_bytes", "their resident memory, once a second", |r| r.process.map(|p| p.rss_bytes.to_string());
];

fn fixed(value: Option<f64>, digits: usize) -> Option<String> {
    value.filter(|v| v.is_finite()).map(|v| format!("{v:.digits$}"))
}

fn whole(value: Option<u32>) -> Option<String> {
    value.map(|v| v.to_string())
}

/// Where rows go.
pub struct Trace {
    out: Box<dyn Write + Send>,
    /// The names stand there already.
    begun: bool,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl Trace {
    /// A new one.
    pub fn to(out: Box<dyn Write + Send>) -> Self {
        Self { out, begun: false }
    }

    /// A file. What a measurement of the same sensors wrote before, of another engine or before an interruption, is
    /// kept, and a line that was cut off is closed; a file of other columns is replaced.
    pub fn file(path: &Path, gpus: usize) -> io::Result<Self> {
        let kept = match DiskFile::open(path) {
            Ok(file) => begins_with(file, &names(gpus))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(ends_in_line) = kept else { return Ok(Self::to(Box::new(DiskFile::create(path)?))) };
        let mut file = OpenOptions::new().append(true).open(path)?;
        if !ends_in_line {
            file.write_all(b"\n")?;
        }
        Ok(Self { out: Box::new(file), begun: true })
    }
}

/// Whether the file ends with a whole line; `None` when its first line is another.
fn begins_with(file: DiskFile, first: &str) -> io::Result<Option<bool>> {
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line.trim_end() != first {
        return Ok(None);
    }
    reader.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    reader.read_exact(&mut last)?;
    Ok(Some(last == *b"\n"))
}

/// The first line.
fn names(gpus: usize) -> String {
    let each = (0..gpus).filter(|_| gpus > 1).map(|i| format!("gpu{i}_power_w"));
    let names: Vec<String> = COLUMNS.iter().map(|c| c.name.to_owned()).chain(each).collect();
    names.join(",")
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
    pub(super) fn create(trace: Trace, gpus: usize) -> io::Result<Self> {
        let mut file = Self { out: BufWriter::new(trace.out), gpus, flushed: None };
        if !trace.begun {
            writeln!(file.out, "{}", names(gpus))?;
            file.out.flush()?;
        }
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

    #[test]
    fn a_file_of_the_same_sensors_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("power.csv");
        let write = |gpus, t| {
            let mut file = File::create(Trace::file(&path, gpus).unwrap(), gpus).unwrap();
            file.write(&Row { t, ..Row::default() }, t, true).unwrap();
        };
        let times = || -> Vec<String> {
            let text = std::fs::read_to_string(&path).unwrap();
            text.lines().map(|l| l.split(',').next().unwrap().to_owned()).collect()
        };
        write(1, 1_000_000_000);
        write(1, 2_000_000_000);
        assert_eq!(times(), ["t_s", "1.000000", "2.000000"]);
        // Cut off in the middle of a line.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        write(1, 3_000_000_000);
        assert_eq!(times(), ["t_s", "1.000000", "2.000000", "3.000000"]);
        write(2, 4_000_000_000);
        assert_eq!(times(), ["t_s", "4.000000"], "other columns");
    }
}
