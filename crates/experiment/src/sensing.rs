//! Sensors beside a measurement: one sampling thread, `power.csv`, and what each trial's window came to.
//!
//! ```text
//! start ──► sampler ──► power.csv
//!               └─ trial ended ─► 1.2 s later, or at the end: energy of its window, use of the GPUs ──► run.log
//! finish ──► idle power, cost of sampling ──► run.log
//! ```
//!
//! Sensors are opened on a thread of their own, so that the first request does not wait for a driver. Where nothing
//! measures power there is no file and no sampling; `run.log` says what is missing and why.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::log::Fact;
use stopwatt_core::power::{
    EnergyCheck, EnergyMethod, GpuTrial, MissingSensor, PowerSource, SamplingCost, TrialEnergy,
};
use stopwatt_core::{Clock, Nanos};
use stopwatt_record::config::environment;
use stopwatt_record::run_dir::{RunError, RunWriter};
use stopwatt_sensor::energy::{self, EnergyReason, Instrument, Method, PowerSample, Window, WindowEnergy};
use stopwatt_sensor::nvml::{self, ForeignProcesses, Gpu, Whose};
use stopwatt_sensor::sampler::{Cost, Machine, Period, Row, Sampler, Trace, cpu_trace, gpu_trace};
use stopwatt_sensor::{State, survey};

use crate::sop::Heat;

/// Name of the trace in a run.
pub(crate) const POWER_CSV: &str = "power.csv";
/// The averaged power of a GPU trails by about a second: readings from after a window belong to it.
const TRAIL: Nanos = 1_200_000_000;
/// Readings before a window, which the edge of its first tick needs.
const LEAD: Nanos = 1_000_000_000;
/// How long the idle machine is looked at, after its power has settled.
const IDLE: Nanos = 2_500_000_000;

/// What to sample.
#[derive(Debug, Clone, Default)]
pub(crate) struct SensingOptions {
    /// Fixed readings a second; `None` varies between 20 and 50 ms, which no periodic load can alias with.
    pub(crate) hz: Option<f64>,
    /// Process whose CPU time and memory are sampled, with all below it.
    pub(crate) watched: Option<u32>,
    /// Trace of an external meter, `t_s,power_w`, in the place of the machine's own sensors. It is read at the end, when it
    /// is complete.
    pub(crate) meter: Option<PathBuf>,
    /// Why this machine's sensors say nothing of what is measured; `None` when they do.
    pub(crate) elsewhere: Option<String>,
    /// Where programs are looked for.
    pub(crate) search_path: Option<std::ffi::OsString>,
    /// Which GPUs: `all`, or positions and UUIDs; `None` takes those that the target sees.
    pub(crate) gpus: Option<String>,
    /// CUDA_VISIBLE_DEVICES of the target.
    pub(crate) visible: Option<String>,
    /// Whose processes are on the GPUs.
    pub(crate) whose: Whose,
}

/// What was opened.
struct Opened {
    found: Vec<String>,
    missing: Vec<MissingSensor>,
    gpus: Vec<u32>,
    sampler: Option<(Sampler, PowerSource, usize)>,
    problem: Option<String>,
}

/// Sensors of a measurement in progress.
pub(crate) struct Sensing {
    opening: Option<JoinHandle<Opened>>,
    sampler: Option<(Sampler, PowerSource, usize)>,
    meter: Option<PathBuf>,
    /// What the meter's file says, once it is read.
    metered: Option<Result<Vec<PowerSample>, String>>,
    clock: Clock,
    /// Trials that ended and whose trailing readings are still to come: point, trial, window.
    pending: Vec<(u32, u32, Window)>,
    /// End of the last window.
    last_end: Option<Nanos>,
    /// Why there is no power, for the trials.
    absent: String,
    problem: Option<String>,
}

impl std::fmt::Debug for Sensing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sensing").field("pending", &self.pending).finish_non_exhaustive()
    }
}

impl Sensing {
    /// Begins to open the sensors.
    pub(crate) fn start(options: SensingOptions, run: &Path, clock: Clock) -> Self {
        let file = run.join(POWER_CSV);
        let (meter, elsewhere) = (options.meter.clone(), options.elsewhere.clone());
        let opening = elsewhere.is_none().then(|| std::thread::spawn(move || open(options, &file, clock)));
        Self {
            opening,
            sampler: None,
            meter,
            metered: None,
            clock,
            pending: Vec::new(),
            last_end: None,
            absent: elsewhere.unwrap_or_else(|| "no power was measured".to_owned()),
            problem: None,
        }
    }

    /// Notes the window of a trial; what can be told of earlier ones is written down.
    pub(crate) fn trial_ended(
        &mut self,
        writer: &RunWriter,
        point: u32,
        trial: u32,
        (start, end): (Nanos, Nanos),
    ) -> Result<(), RunError> {
        self.ready(writer)?;
        self.pending.push((point, trial, Window { start, end }));
        self.last_end = Some(end);
        let now = self.clock.now();
        if self.meter.is_none() {
            self.tell(writer, |window| window.end + TRAIL <= now)?;
        }
        if let Some((sampler, ..)) = &self.sampler {
            let first = self.pending.iter().map(|(.., w)| w.start).min().unwrap_or(now);
            sampler.forget_before(first - LEAD - TRAIL);
        }
        Ok(())
    }

    /// Temperature and clock of the GPUs since a moment: the hottest, and the lowest clock. `None` while the sensors are
    /// still being opened; empty without GPUs.
    pub(crate) fn heat(&mut self, writer: &RunWriter, since: Nanos) -> Result<Option<Vec<Heat>>, RunError> {
        if self.opening.as_ref().is_some_and(|opening| !opening.is_finished()) {
            return Ok(None);
        }
        self.ready(writer)?;
        let Some((sampler, ..)) = &self.sampler else { return Ok(Some(Vec::new())) };
        let heat = |row: &Row| {
            let hottest = row.gpus.iter().filter_map(|g| g.reading.temp_c).max()?;
            let clock = row.gpus.iter().filter_map(|g| g.reading.sm_clock_mhz).min();
            Some(Heat { t: row.t, temperature_c: f64::from(hottest), clock_mhz: clock.map(f64::from) })
        };
        Ok(Some(sampler.rows(since, Nanos::MAX).iter().filter_map(heat).collect()))
    }

    /// Waits for the power of the idle machine, ends the sampling and writes down what is left.
    pub(crate) fn finish(mut self, writer: &RunWriter, wait: bool) -> Result<(), RunError> {
        self.ready(writer)?;
        let sampled = self.sampler.is_some() || self.meter.is_some();
        let Some(last_end) = self.last_end.filter(|_| sampled) else {
            return self.tell(writer, |_| true);
        };
        // Whatever was measured beside these trials is over by now.
        let quiet = last_end.max(self.clock.now());
        if wait {
            let until = quiet + TRAIL + IDLE;
            std::thread::sleep(Duration::from_nanos(u64::try_from(until - self.clock.now()).unwrap_or(0)));
        }
        self.metered = self.meter.as_deref().map(|file| read_meter(file, &self.clock));
        self.tell(writer, |_| true)?;
        let idle = self.idle(Window { start: quiet + TRAIL, end: quiet + TRAIL + IDLE });
        let samples = self.sampler.take().map(|(sampler, ..)| sampler.stop());
        let (mut cost, mut problem) = (SamplingCost::default(), self.problem);
        if let Some(samples) = samples {
            let Cost { cpu_s, readings, longest_gap_s, .. } = samples.cost;
            cost = SamplingCost { cpu_s, readings, longest_gap_s };
            problem = samples.write_error.map(|e| format!("{POWER_CSV}: {e}")).or(problem);
        }
        let (idle_w, idle_reason) = match idle {
            Ok(watts) => (Some(watts), None),
            Err(reason) => (None, Some(reason)),
        };
        writer.log(Fact::SensorsEnded { idle_w, idle_reason, cost, problem })
    }

    /// Takes over what was opened, and says so.
    fn ready(&mut self, writer: &RunWriter) -> Result<(), RunError> {
        let Some(opening) = self.opening.take() else { return Ok(()) };
        let Ok(opened) = opening.join() else {
            self.absent = "the sensors could not be opened".to_owned();
            return Ok(());
        };
        if opened.sampler.is_none() {
            let why = |m: &MissingSensor| format!("{}: {}", m.sensor, m.reason);
            let power = ["nvml", "cpu_energy"];
            let reasons: Vec<String> =
                opened.missing.iter().filter(|m| power.contains(&m.sensor.as_str())).map(why).collect();
            self.absent = format!("no power was measured ({})", reasons.join("; "));
        }
        (self.sampler, self.problem) = (opened.sampler, opened.problem);
        writer.log(Fact::Sensors { found: opened.found, missing: opened.missing, gpus: Some(opened.gpus) })
    }

    /// Writes down the windows of which everything is known.
    fn tell(&mut self, writer: &RunWriter, ready: impl Fn(&Window) -> bool) -> Result<(), RunError> {
        let (ready, pending) = std::mem::take(&mut self.pending).into_iter().partition(|(.., w)| ready(w));
        self.pending = pending;
        for (point, trial, window) in ready {
            let rows = self.rows(window);
            let (energy, reason) = match self.energy(&rows, window) {
                Ok(energy) => (Some(energy), None),
                Err(reason) => (None, Some(reason)),
            };
            writer.log(Fact::TrialPower { point, trial, energy, reason, gpu: gpu_use(&rows, window) })?;
            if let Some(foreign) = foreign(&rows, window) {
                let (count, memory_bytes) = (foreign.count as u64, foreign.memory_bytes);
                writer.log(Fact::ForeignGpuProcesses { point, trial, count, memory_bytes })?;
            }
        }
        Ok(())
    }

    fn rows(&self, window: Window) -> Vec<Row> {
        let of = |(sampler, ..): &(Sampler, PowerSource, usize)| {
            sampler.rows(window.start - LEAD, window.end + TRAIL + IDLE)
        };
        self.sampler.as_ref().map(of).unwrap_or_default()
    }

    fn energy(&self, rows: &[Row], window: Window) -> Result<TrialEnergy, String> {
        if let Some(meter) = &self.metered {
            let meter = meter.as_ref().map_err(Clone::clone)?;
            let found = energy::window_energy(meter, window, &Instrument::meter(0.0), None);
            return found.map(|e| stored(PowerSource::Meter, &e)).map_err(|e| e.to_string());
        }
        let Some((_, source, gpus)) = &self.sampler else { return Err(self.absent.clone()) };
        let found = all(rows, *source, *gpus, window).map_err(|e| e.to_string())?;
        Ok(stored(*source, &found))
    }

    fn idle(&self, window: Window) -> Result<f64, String> {
        if let Some(meter) = &self.metered {
            let meter = meter.as_ref().map_err(Clone::clone)?;
            return energy::mean_power(meter, window, &Instrument::meter(0.0)).map_err(|e| e.to_string());
        }
        let Some((_, source, gpus)) = &self.sampler else { return Err(self.absent.clone()) };
        let rows = self.rows(Window { end: window.end, start: window.start });
        all(&rows, *source, *gpus, window).map(|e| e.mean_w()).map_err(|e| e.to_string())
    }
}

fn read_meter(file: &Path, clock: &Clock) -> Result<Vec<PowerSample>, String> {
    let problem = |e: &dyn std::fmt::Display| format!("the meter's file: {e}");
    let text = std::fs::read_to_string(file).map_err(|e| problem(&e))?;
    energy::read_meter_file(&text, clock).map_err(|e| problem(&e))
}

fn open(options: SensingOptions, file: &Path, clock: Clock) -> Opened {
    let SensingOptions { hz, watched, search_path, gpus, visible, whose, .. } = options;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for sensor in survey(search_path.as_deref()) {
        match sensor.state {
            State::Found { .. } => found.push(sensor.name),
            State::Missing { reason, .. } => missing.push(MissingSensor { sensor: sensor.name, reason }),
        }
    }
    let chosen = chosen(gpus.as_deref(), visible.as_deref()).unwrap_or_else(|reason| {
        missing.push(MissingSensor { sensor: "gpus".to_owned(), reason });
        Vec::new()
    });
    let indexes = chosen.iter().map(Gpu::index).collect();
    let mut machine = Machine::with_gpus(clock, watched, chosen, whose);
    let gpus = machine.gpus();
    let first = machine.read();
    let source = if gpus > 0 { PowerSource::Gpu } else { PowerSource::Cpu };
    let mut opened = Opened { found, missing, gpus: indexes, sampler: None, problem: None };
    if first.power_w().or(first.energy_j()).is_none() {
        return opened;
    }
    let period = hz.and_then(Period::fixed_hz).unwrap_or_default();
    // Engines that are measured one after another, and a run that goes on, share one file.
    let out = match Trace::file(file, gpus) {
        Ok(trace) => Some(trace),
        Err(error) => {
            opened.problem = Some(format!("{POWER_CSV}: {error}"));
            None
        }
    };
    match Sampler::start(machine, period, out) {
        Ok(sampler) => opened.sampler = Some((sampler, source, gpus)),
        Err(error) => opened.problem = Some(error.to_string()),
    }
    opened
}

/// The GPUs that are meant; none on a machine without any.
fn chosen(asked: Option<&str>, visible: Option<&str>) -> Result<Vec<Gpu>, String> {
    let all = match nvml::gpus() {
        Ok(all) => all,
        Err(_) if asked.is_none() => return Ok(Vec::new()),
        Err(reason) => return Err(reason.to_string()),
    };
    let named: Vec<_> = all.iter().map(Gpu::named).collect();
    let mut all: Vec<Option<Gpu>> = all.into_iter().map(Some).collect();
    let positions = nvml::choose(asked, visible, &named)?;
    Ok(positions.into_iter().filter_map(|at| all[at].take()).collect())
}

/// The GPUs that are asked for, else those that this process and what it starts can see.
///
/// # Errors
/// One is not there, or nothing tells.
pub fn gpus(asked: Option<&str>) -> Result<Vec<Gpu>, String> {
    match asked {
        None => {
            // Without a choice a machine without GPUs is no error elsewhere; here they are needed.
            nvml::gpus().map_err(|e| e.to_string())?;
            chosen(None, visible_to(None).as_deref())
        }
        Some(asked) => chosen(Some(asked), None),
    }
}

/// Whether the GPUs that are asked for are there.
///
/// # Errors
/// One is not, or nothing tells.
pub fn check_gpus(asked: Option<&str>) -> Result<(), String> {
    asked.map_or(Ok(()), |asked| chosen(Some(asked), None).map(drop))
}

/// Processes on this machine's GPUs now; `None` without GPUs.
pub(crate) fn on_gpus() -> Option<BTreeSet<u32>> {
    let gpus = nvml::gpus().ok()?;
    let lists = gpus.iter().filter_map(|gpu| gpu.processes().ok());
    Some(lists.flatten().map(|process| process.pid).collect())
}

/// CUDA_VISIBLE_DEVICES of a command: what it sets itself, else what it inherits.
pub(crate) fn visible_to(command: Option<&[String]>) -> Option<String> {
    const NAME: &str = "CUDA_VISIBLE_DEVICES";
    let set = |word: &String| Some(word.strip_prefix(NAME)?.strip_prefix('=')?.to_owned());
    command.into_iter().flatten().find_map(set).or_else(|| environment::as_set(NAME))
}

/// Energy of all devices of a kind.
fn all(rows: &[Row], source: PowerSource, gpus: usize, window: Window) -> Result<WindowEnergy, EnergyReason> {
    match source {
        PowerSource::Gpu => {
            let of = |gpu| energy::window_energy(&gpu_trace(rows, gpu), window, &Instrument::GPU, None);
            let parts = (0..gpus).map(of).collect::<Result<Vec<_>, _>>()?;
            energy::sum(&parts).ok_or(EnergyReason::NoReading { what: "any GPU" })
        }
        PowerSource::Cpu | PowerSource::Meter => {
            energy::window_energy(&cpu_trace(rows), window, &Instrument::CPU, None)
        }
    }
}

fn stored(source: PowerSource, e: &WindowEnergy) -> TrialEnergy {
    let method = |m: Method| match m {
        Method::Counter => EnergyMethod::Counter,
        Method::InstantTrapezoid => EnergyMethod::InstantTrapezoid,
        Method::AverageTrapezoid => EnergyMethod::AverageTrapezoid,
    };
    let check = |c: &energy::Check| EnergyCheck {
        method: method(c.method),
        joules: c.joules,
        difference: c.difference,
        reason: c.reason.as_ref().map(ToString::to_string),
    };
    TrialEnergy {
        source,
        method: method(e.method),
        gross_j: e.gross_j,
        duration_s: e.duration_s,
        tick_s: e.tick_s,
        edge_j: e.uncertainty.edge_j,
        gain_j: e.uncertainty.gain_j,
        checks: e.checks.iter().map(check).collect(),
        disagreement: e.disagreement,
    }
}

/// What the GPUs did in a window; `None` without any.
fn gpu_use(rows: &[Row], window: Window) -> Option<GpuTrial> {
    let rows: Vec<&Row> = rows.iter().filter(|r| (window.start..=window.end).contains(&r.t)).collect();
    let gpus = rows.first().map_or(0, |r| r.gpus.len());
    if gpus == 0 {
        return None;
    }
    let each = || rows.iter().flat_map(|r| &r.gpus);
    let mean =
        |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let clocks: Vec<u32> = each().filter_map(|g| g.reading.sm_clock_mhz).collect();
    let memory = |r: &&Row| r.gpus.iter().map(|g| g.reading.mem_used_bytes).sum::<Option<u64>>();
    let mut throttle: std::collections::BTreeMap<String, usize> = Default::default();
    for reasons in rows.iter().filter_map(|r| r.throttle()).filter(|t| t.is_harmful()) {
        for word in reasons.words().split('+').filter(|w| !["idle", "application_clock"].contains(w)) {
            *throttle.entry(word.to_owned()).or_default() += 1;
        }
    }
    Some(GpuTrial {
        memory_peak_bytes: rows.iter().filter_map(memory).max(),
        sm_use: mean(each().filter_map(|g| g.utilisation.sm).collect()),
        dram_use: mean(each().filter_map(|g| g.utilisation.dram).collect()),
        sm_clock_mhz: mean(clocks.iter().map(|&c| f64::from(c)).collect()),
        sm_clock_range_mhz: clocks.iter().copied().min().zip(clocks.iter().copied().max()),
        temperature_c: each().filter_map(|g| g.reading.temp_c).max(),
        throttle: throttle.into_iter().map(|(w, n)| (w, n as f64 / rows.len() as f64)).collect(),
    })
}

/// Most processes of others at one time in a window; `None` when there were none, or nothing tells.
fn foreign(rows: &[Row], window: Window) -> Option<ForeignProcesses> {
    let rows = rows.iter().filter(|r| (window.start..=window.end).contains(&r.t));
    let seen = rows.filter_map(|r| r.foreign).filter(|f| f.count > 0);
    seen.max_by_key(|f| (f.count, f.memory_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_others_count_in_the_window_only() {
        let row = |t, count| {
            let foreign = Some(ForeignProcesses { count, memory_bytes: Some(count as u64 * 10) });
            Row { t, foreign, ..Row::default() }
        };
        let rows = [row(0, 5), row(10, 0), row(20, 1), row(30, 2), row(40, 9)];
        let most = foreign(&rows, Window { start: 10, end: 30 });
        assert_eq!(most, Some(ForeignProcesses { count: 2, memory_bytes: Some(20) }));
        assert_eq!(foreign(&rows, Window { start: 5, end: 15 }), None);
        assert_eq!(foreign(&[Row::default()], Window { start: 0, end: 1 }), None);
    }

    #[test]
    fn a_command_says_which_gpus_it_sees() {
        let words = ["env", "CUDA_VISIBLE_DEVICES=2,3", "python3"].map(str::to_owned);
        assert_eq!(visible_to(Some(&words)).as_deref(), Some("2,3"));
    }
}
