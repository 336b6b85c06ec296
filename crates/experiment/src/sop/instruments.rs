//! The instruments of a procedure: power and the GPUs beside the trials, cache counters in runs of their own.
//!
//! Counters come from `ncu` around the target, in fresh processes after the trials: a profiled kernel runs with others'
//! passes in between, so nothing of its time is taken (SOP §6.4). What is not there leaves its reason in `run.log`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stopwatt_core::Nanos;
use stopwatt_core::cache_counters::NcuDocument;
use stopwatt_core::log::Fact;
use stopwatt_core::verdict::{Code, Remark};
use stopwatt_load::Stop;
use stopwatt_record::run_dir::{RunError, RunWriter};
use stopwatt_sensor::ncu;
use stopwatt_sensor::nvml::Whose;
use stopwatt_sensor::perf::{CpuCounters, Scope};

use super::config::SopConfig;
use super::target::{Launch, Occasion, TargetError};
use super::thermal::{self, Start};
use super::watcher::{Watcher, Window};
use crate::sensing::{Sensing, SensingOptions, on_gpus, visible_to};

/// Runs of the target under the profiler: a standard deviation needs three.
const PROFILED_RUNS: u32 = 3;
/// Readings from shortly before a moment tell of it.
const LOOK_BACK: Nanos = 1_000_000_000;
/// How often a temperature is looked at while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Name of the counters in a run.
pub const NCU_JSON: &str = "ncu.json";

/// Everything that watches a procedure.
pub struct Instruments {
    options: SensingOptions,
    power: bool,
    sensing: Option<Sensing>,
    cpu_counters: bool,
    /// Counters of the trial in progress, or why there are none.
    cpu: Option<Result<CpuCounters, String>>,
    cache: Option<CacheOptions>,
    occasion: Occasion,
    search_path: Option<OsString>,
    thermal_window_s: f64,
    /// Longest wait for an equal temperature; `None` when trials begin as they come.
    cool_down_max_s: Option<f64>,
    /// Where the first trial began, in °C; the two sides of a pair share it.
    first_start: FirstStart,
    stop: Stop,
}

impl std::fmt::Debug for Instruments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instruments")
            .field("power", &self.power)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// Temperature at which the first trial began, in °C.
pub type FirstStart = Arc<Mutex<Option<f64>>>;

/// How cache counters are read.
#[derive(Debug, Clone)]
struct CacheOptions {
    ncu: ncu::Options,
    iterations: u64,
}

impl CacheOptions {
    /// Whether all launches of whole iterations are counted; else a part that the settings name.
    fn whole(&self) -> bool {
        self.ncu.launch_skip == 0 && self.ncu.launch_count.is_none()
    }
}

impl Instruments {
    /// Those that the settings ask for. `search_path` is where programs are looked for; sides that are measured together
    /// share `first_start`.
    pub fn of(
        config: &SopConfig,
        search_path: Option<OsString>,
        first_start: &FirstStart,
        stop: &Stop,
    ) -> Self {
        let measure = &config.measure;
        let options = SensingOptions {
            hz: measure.power_sample_hz,
            watched: None,
            meter: measure.power_csv.clone(),
            elsewhere: None,
            search_path: search_path.clone(),
            gpus: measure.gpus.clone(),
            visible: visible_to(config.target.command.as_deref().and_then(shlex::split).as_deref()),
            // Looked at before the target is started.
            whose: Whose { started_by_us: true, before: measure.power_enable.then(on_gpus).flatten() },
        };
        let cache = measure.ncu_enable.then(|| CacheOptions {
            ncu: ncu::Options {
                quantities: measure.ncu_metrics.clone(),
                kernel_regex: measure.ncu_kernel_regex.clone(),
                marked_only: measure.ncu_marked_only,
                launch_skip: measure.ncu_launch_skip,
                launch_count: measure.ncu_launch_count,
                runs: PROFILED_RUNS,
                ..ncu::Options::default()
            },
            iterations: measure.ncu_iterations,
        });
        let occasion = Occasion {
            seed: config.seed,
            mode: config.pipeline.mode.clone(),
            trial: None,
            iterations: measure.ncu_iterations,
        };
        Self {
            options,
            power: measure.power_enable,
            sensing: None,
            cpu_counters: measure.cpu_counters,
            cpu: None,
            cache,
            occasion,
            search_path,
            thermal_window_s: measure.thermal_window_s,
            cool_down_max_s: measure.equal_start_temperature.then_some(measure.cool_down_max_s),
            first_start: Arc::clone(first_start),
            stop: stop.clone(),
        }
    }

    /// Waits until the GPUs are as warm as when the first trial began, and writes down how warm they are.
    fn equal_start(&mut self, record: &RunWriter, trial: u32, longest_s: f64) -> Result<(), RunError> {
        if self.sensing.is_none() {
            return Ok(());
        }
        let clock = record.clock();
        let begin = clock.now();
        let mut first = self.first_start.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = clock.now();
            let waited_s = (now - begin) as f64 * 1e-9;
            let heat = self.sensing.as_mut().map(|s| s.heat(record, now - LOOK_BACK)).transpose()?.flatten();
            let over = waited_s >= longest_s || self.stop.is_interrupted();
            let temperature = heat.as_ref().and_then(|h| h.last()).map(|h| h.temperature_c);
            let told = match (temperature, heat.is_none()) {
                (Some(now), _) => now,
                // Nothing tells, or the sensors are still being opened.
                (None, true) if !over => {
                    std::thread::sleep(LOOK_EVERY);
                    continue;
                }
                (None, _) => return Ok(()),
            };
            let start = thermal::start(*first, told);
            if start == Start::Wait && !over {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            record.log(Fact::StartTemperature { point: 0, trial, temperature_c: told, waited_s })?;
            let reference = *first.get_or_insert(told);
            if start != Start::Now {
                let values = [format!("{told:.0}"), format!("{reference:.0}")];
                record.log(Fact::warning(&Remark::new(Code::UnequalStart, values)))?;
            }
            return Ok(());
        }
    }

    fn begin(&mut self, record: &RunWriter) {
        if self.power && self.sensing.is_none() {
            self.sensing = Some(Sensing::start(self.options.clone(), record.path(), record.clock()));
        }
    }

    /// Runs the target behind ncu; the document goes into the record, or why there is none.
    fn counters(
        &self,
        cache: &CacheOptions,
        record: &RunWriter,
        launch: &dyn Launch,
        stop: &Stop,
    ) -> Result<(), RunError> {
        let scratch = record.path().join("profile");
        let found = std::fs::create_dir(&scratch)
            .map_err(|e| e.to_string())
            .and_then(|()| self.profiled(cache, &scratch, launch, stop));
        // Reports of the profiler are large and hold paths; what counts is in the document.
        let _ = std::fs::remove_dir_all(&scratch);
        match found {
            Ok(None) => Ok(()),
            Ok(Some((document, each))) => {
                for (run, one) in (0..).zip(each) {
                    let total = |quantity: &str| one.totals.get(quantity).map(|v| v.mean);
                    record.log(Fact::CacheRun {
                        point: 0,
                        run,
                        l2_hit: one.l2_hit_pct().map(|v| v.mean / 100.0),
                        dram_read_bytes: total("dram_read_bytes"),
                        dram_write_bytes: total("dram_write_bytes"),
                        iterations: cache.whole().then_some(cache.iterations),
                    })?;
                }
                let json = serde_json::to_vec_pretty(&document).unwrap_or_default();
                record.write_file(NCU_JSON, &json)
            }
            Err(reason) => record.log(Fact::CacheUnavailable { reason }),
        }
    }

    /// The counters of all runs together and of each; `None` when it was interrupted.
    fn profiled(
        &self,
        cache: &CacheOptions,
        scratch: &Path,
        launch: &dyn Launch,
        stop: &Stop,
    ) -> Result<Option<(NcuDocument, Vec<NcuDocument>)>, String> {
        let words = |e: stopwatt_sensor::Unavailable| e.to_string();
        let ncu = ncu::find(None, self.search_path.as_deref()).map_err(words)?;
        let files = |run: &str| (scratch.join(format!("{run}.ncu-rep")), scratch.join(format!("{run}.log")));
        let profiled = |(report, log): &(PathBuf, PathBuf), iterations: Option<u64>| {
            let prefix = ncu::prefix(&ncu, &cache.ncu, report, log).map_err(words)?;
            let prefix: Option<Vec<String>> = prefix.into_iter().map(|w| w.into_string().ok()).collect();
            let prefix = prefix.ok_or("a path of the profiler is not valid UTF-8")?;
            self.once(launch, &prefix, iterations).map_err(|error| {
                // What ncu itself complains of is in its log, and says more than the target's end.
                match ncu::read(&ncu, &cache.ncu, "", None, &[(report.clone(), log.clone())]) {
                    Err(reason) => format!("{reason} ({error})"),
                    Ok(_) => error.to_string(),
                }
            })
        };
        // Where whole iterations are counted, what the set-up launches is left out.
        let setup = cache.whole().then(|| files("setup"));
        if let Some(files) = &setup {
            profiled(files, None)?;
        }
        let mut runs: Vec<(PathBuf, PathBuf)> = Vec::new();
        let mut name = String::new();
        for run in 0..cache.ncu.runs {
            if stop.is_interrupted() {
                return Ok(None);
            }
            let files = files(&run.to_string());
            name = profiled(&files, Some(cache.iterations))?;
            runs.push(files);
        }
        ncu::read(&ncu, &cache.ncu, &name, setup.as_ref(), &runs).map(Some).map_err(words)
    }

    /// The target once, behind the profiler; its name. Without iterations it is only set up.
    fn once(
        &self,
        launch: &dyn Launch,
        prefix: &[String],
        iterations: Option<u64>,
    ) -> Result<String, TargetError> {
        let mut target = launch.launch(prefix)?;
        let done = target.prepare(&self.occasion).and_then(|ready| {
            iterations.map_or(Ok(()), |n| target.iterate(n, &mut |_| ())).map(|()| ready.name)
        });
        target.teardown();
        done
    }
}

impl Watcher for Instruments {
    fn warm_up_begins(&mut self, record: &RunWriter) -> Result<(), RunError> {
        self.begin(record);
        Ok(())
    }

    fn settled(&mut self, record: &RunWriter) -> Result<Option<bool>, RunError> {
        let Some(sensing) = self.sensing.as_mut().filter(|_| self.thermal_window_s > 0.0) else {
            return Ok(None);
        };
        let since = record.clock().now() - (self.thermal_window_s * 1e9) as Nanos - LOOK_BACK;
        Ok(match sensing.heat(record, since)? {
            None => Some(false),
            Some(readings) if readings.is_empty() => None,
            Some(readings) => Some(thermal::flat(&readings, self.thermal_window_s) == Some(true)),
        })
    }

    fn trial_begins(&mut self, record: &RunWriter, trial: u32, pid: Option<u32>) -> Result<(), RunError> {
        self.begin(record);
        if let Some(longest) = self.cool_down_max_s {
            self.equal_start(record, trial, longest)?;
        }
        // Opened last, so that they count the loop and nothing else of the target.
        self.cpu = self.cpu_counters.then(|| match pid {
            Some(pid) => CpuCounters::open(Scope::Tree(pid)).map_err(|e| e.to_string()),
            None => Err("a process that ends with its iteration is not counted".to_owned()),
        });
        Ok(())
    }

    fn trial_ended(&mut self, record: &RunWriter, window: Window) -> Result<(), RunError> {
        if let Some(opened) = self.cpu.take() {
            let counted = opened.and_then(|mut counters| counters.read().map_err(|e| e.to_string()));
            let (counts, reason) = match counted {
                Ok(counts) => (Some(counts), None),
                Err(reason) => (None, Some(reason)),
            };
            record.log(Fact::TrialCpu { point: 0, trial: window.trial, counts, reason })?;
        }
        let clock = record.clock();
        let stamps = (clock.from_raw(window.start_ns), clock.from_raw(window.end_ns));
        match &mut self.sensing {
            Some(sensing) => sensing.trial_ended(record, 0, window.trial, stamps),
            None => Ok(()),
        }
    }

    fn after_trials(&mut self, record: &RunWriter, launch: &dyn Launch, stop: &Stop) -> Result<(), RunError> {
        if let Some(sensing) = self.sensing.take() {
            sensing.finish(record, !stop.is_interrupted())?;
        }
        match &self.cache {
            Some(cache) => self.counters(&cache.clone(), record, launch, stop),
            None => record.log(Fact::CacheUnavailable {
                reason: "cache counters were not asked for (measure.ncu_enable)".to_owned(),
            }),
        }
    }
}
