//! Counters of one range of work, by user replay: the work runs once for each pass that the counters need.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_void};
use std::path::PathBuf;

use stopwatt_core::cache_counters::{CacheControl, CounterSource, NcuDocument, ReplayMode};

use super::driver::Driver;
use super::ffi::{self, Cupti};
use super::host::{self, Host, MAX_PASSES};
use crate::Unavailable;
use crate::ncu::{Launch, Quantity, document, quantities, selected};

/// What to profile.
#[derive(Debug, Clone)]
pub struct Range {
    /// Name of the work, as it stands in the document.
    pub name: String,
    /// Quantities by our names or NVIDIA's; empty for all.
    pub quantities: Vec<String>,
    /// Independent runs, each with all its passes.
    pub runs: u32,
    /// Device when the thread has no context yet.
    pub device: i32,
    /// Folders with CUDA libraries, from [`stopwatt_nvlib::library_folders`].
    pub folders: Vec<PathBuf>,
}

impl Range {
    /// Three runs of all quantities on device 0.
    pub fn new(name: impl Into<String>, folders: Vec<PathBuf>) -> Self {
        Self { name: name.into(), quantities: Vec::new(), runs: 3, device: 0, folders }
    }
}

/// Profiles `work`, which must submit the same GPU work each time it is called, on this thread's context.
///
/// Call it in a process that does nothing else ([`super::child_main`]): CUPTI stays loaded afterwards.
pub fn profile_range(
    range: &Range,
    work: &mut dyn FnMut() -> Result<(), String>,
) -> Result<NcuDocument, Unavailable> {
    let (cupti, host_library) = host::load(&range.folders)?;
    let driver = Driver::open()?;
    let context = driver.context(range.device)?;
    let device = driver.device()?;
    let capability = driver.compute_capability(device);
    let wanted = selected(quantities(capability.as_deref()), &range.quantities).map_err(|name| {
        Unavailable::Unreadable {
            what: "the list of quantities".to_owned(),
            detail: format!("`{name}` is not known"),
        }
    })?;

    cupti.initialize(&mut ffi::Initialize::new())?;
    let session = Session::open(&cupti, &driver, context, device, &wanted)?;
    let mut runs = Vec::new();
    for _ in 0..range.runs.max(1) {
        let values = session.run(&range.name, work)?;
        runs.push(vec![Launch { kernel: range.name.clone(), values, ..Launch::default() }]);
    }
    drop(session);
    // Whatever it answers, nothing follows.
    let _ = cupti.deinitialize(&mut ffi::Initialize::new());
    drop(host_library);

    let frame = NcuDocument {
        version: 0,
        source: CounterSource::CuptiRange,
        tool: "CUPTI range profiler".to_owned(),
        program: "stopwatt".to_owned(),
        compute_capability: capability,
        cache_control: CacheControl::None,
        replay_mode: ReplayMode::User,
        clocks_locked: false,
        runs: 0,
        kernels: Vec::new(),
        totals: BTreeMap::new(),
        missing: BTreeMap::new(),
    };
    Ok(document(frame, &runs, &wanted))
}

/// The profiler of one context, with its configuration.
struct Session<'a> {
    cupti: &'a Cupti,
    driver: &'a Driver,
    profiler: *mut c_void,
    /// Dropped before the profiler is disabled, as it was made after it was enabled.
    host: Option<Host<'a>>,
    config: Vec<u8>,
}

impl<'a> Session<'a> {
    fn open(
        cupti: &'a Cupti,
        driver: &'a Driver,
        context: *mut c_void,
        device: i32,
        wanted: &[Quantity],
    ) -> Result<Self, Unavailable> {
        let mut chip = ffi::ChipName::new();
        chip.device = usize::try_from(device).unwrap_or(0);
        cupti.chip_name(&mut chip)?;
        if chip.name.is_null() {
            return Err(Unavailable::Step { step: "cuptiDeviceGetChipName", code: "no name".to_owned() });
        }
        // SAFETY: a string constant of the library.
        let chip_name = unsafe { CStr::from_ptr(chip.name) }.to_owned();

        let mut enable = ffi::RangeEnable::new();
        enable.context = context;
        cupti.range_enable(&mut enable)?;
        let mut session = Self { cupti, driver, profiler: enable.profiler, host: None, config: Vec::new() };
        let host = Host::open(cupti, &chip_name, wanted.iter().map(|q| q.counter.as_str()))?;
        session.config = host.config()?.0;
        session.host = Some(host);
        Ok(session)
    }

    /// Runs the work once for each pass and evaluates the counters.
    fn run(
        &self,
        name: &str,
        work: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<BTreeMap<String, f64>, Unavailable> {
        let Some(host) = &self.host else { return Ok(BTreeMap::new()) };
        let pointers = host.pointers();
        let mut size = ffi::RangeCounterSize::new();
        (size.profiler, size.names, size.count) = (self.profiler, pointers.as_ptr(), pointers.len());
        (size.max_ranges, size.max_nodes) = (1, 1);
        self.cupti.range_counter_size(&mut size)?;
        let mut image = vec![0u8; size.size_bytes];
        let mut initialize = ffi::RangeCounterInitialize::new();
        (initialize.profiler, initialize.size_bytes, initialize.image) =
            (self.profiler, image.len(), image.as_mut_ptr());
        self.cupti.range_counter_initialize(&mut initialize)?;

        let mut set = ffi::RangeSetConfig::new();
        set.profiler = self.profiler;
        (set.config, set.config_bytes) = (self.config.as_ptr(), self.config.len());
        (set.image, set.image_bytes) = (image.as_mut_ptr(), image.len());
        (set.range, set.replay) = (ffi::USER_RANGE, ffi::USER_REPLAY);
        (set.ranges_per_pass, set.nesting_levels, set.min_nesting_level) = (1, 1, 1);
        (set.pass, set.target_nesting_level) = (0, 1);
        self.cupti.range_set_config(&mut set)?;

        let label = CString::new(name).unwrap_or_default();
        let mut all_passes = false;
        for _ in 0..MAX_PASSES {
            self.cupti.range_start(&mut self.object())?;
            let mut push = ffi::RangePush::new();
            (push.profiler, push.name) = (self.profiler, label.as_ptr());
            self.cupti.range_push(&mut push)?;
            let worked = work().and_then(|()| self.driver.wait().map_err(|e| e.to_string()));
            self.cupti.range_pop(&mut self.object())?;
            let mut stop = ffi::RangeStop::new();
            stop.profiler = self.profiler;
            self.cupti.range_stop(&mut stop)?;
            worked
                .map_err(|detail| Unavailable::Failed { program: "the profiled work".to_owned(), detail })?;
            if stop.all_passes != 0 {
                all_passes = true;
                break;
            }
        }
        if !all_passes {
            let code = format!("more than {MAX_PASSES} passes");
            return Err(Unavailable::Step { step: "cuptiRangeProfilerStop", code });
        }
        let mut decode = ffi::RangeDecode::new();
        decode.profiler = self.profiler;
        self.cupti.range_decode(&mut decode)?;
        if decode.dropped > 0 {
            return Err(Unavailable::Step {
                step: "cuptiRangeProfilerDecodeData",
                code: "a range was dropped".to_owned(),
            });
        }

        host.evaluate(&image)
    }

    fn object(&self) -> ffi::RangeObject {
        let mut object = ffi::RangeObject::new();
        object.profiler = self.profiler;
        object
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.host = None;
        // The process ends after this; what cannot be closed is closed then.
        let _ = self.cupti.range_disable(&mut self.object());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_cupti_or_a_gpu_there_is_a_reason_and_the_work_does_not_run() {
        let mut ran = false;
        // An empty folder list: only the loader's own places count, as on a machine without CUDA.
        let result = profile_range(&Range::new("work", Vec::new()), &mut || {
            ran = true;
            Ok(())
        });
        match result {
            Err(
                Unavailable::Library { .. }
                | Unavailable::Symbol { .. }
                | Unavailable::NoDevice { .. }
                | Unavailable::GpuCounterPermission
                | Unavailable::GpuCountersBusy
                | Unavailable::NotSupported { .. }
                | Unavailable::Step { .. },
            ) => assert!(!ran),
            // A machine with a GPU: the work did nothing, and that is measured.
            Ok(doc) => assert!(ran && doc.runs == 3),
            Err(other) => panic!("{other:?}"),
        }
    }
}
