//! The half of the range profiler that needs no GPU: from names of counters to a configuration, and from raw counts to
//! values.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::PathBuf;

use super::ffi::{self, Cupti};
use super::open;
use crate::Unavailable;
use crate::ncu::quantities;

/// Passes after which something must be wrong: the whole table needs fewer than twenty.
pub(super) const MAX_PASSES: usize = 200;

/// CUPTI's host object for one chip, with the counters that the chip has.
pub(super) struct Host<'a> {
    cupti: &'a Cupti,
    object: *mut c_void,
    names: Vec<CString>,
}

impl<'a> Host<'a> {
    /// Takes those of `counters` that the chip has; none at all is an error.
    pub(super) fn open<'n>(
        cupti: &'a Cupti,
        chip: &CStr,
        counters: impl Iterator<Item = &'n str>,
    ) -> Result<Self, Unavailable> {
        let names: Vec<CString> = counters.filter_map(|c| CString::new(c).ok()).collect();
        match Self::of(cupti, chip, names.clone()) {
            Err(Unavailable::Step { step: "cuptiProfilerHostConfigAddMetrics", .. }) => {}
            other => return other,
        }
        // A name that the chip does not have spoils the object for those after it: each is tried on one of its own.
        let known = names.iter().filter(|n| Self::of(cupti, chip, vec![(*n).clone()]).is_ok()).cloned();
        Self::of(cupti, chip, known.collect())
    }

    fn of(cupti: &'a Cupti, chip: &CStr, names: Vec<CString>) -> Result<Self, Unavailable> {
        let mut initialize = ffi::HostInitialize::new();
        initialize.profiler_type = ffi::RANGE_PROFILER;
        initialize.chip = chip.as_ptr();
        cupti.host_initialize(&mut initialize)?;
        let host = Self { cupti, object: initialize.host, names };
        let pointers = host.pointers();
        let mut add = ffi::HostAddMetrics::new();
        (add.host, add.names, add.count) = (host.object, pointers.as_ptr(), pointers.len());
        cupti.host_add_metrics(&mut add)?;
        Ok(host)
    }

    /// Names of the counters that are counted.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.names.iter().map(|n| n.to_string_lossy().into_owned())
    }

    /// The same for C; valid while this lives.
    pub(super) fn pointers(&self) -> Vec<*const c_char> {
        self.names.iter().map(|n| n.as_ptr()).collect()
    }

    /// The image that the profiler is configured with, and the passes it needs.
    pub(super) fn config(&self) -> Result<(Vec<u8>, usize), Unavailable> {
        let mut size = ffi::HostConfigSize::new();
        size.host = self.object;
        self.cupti.host_config_size(&mut size)?;
        let mut image = vec![0u8; size.size_bytes];
        let mut config = ffi::HostConfig::new();
        (config.host, config.size_bytes, config.image) = (self.object, image.len(), image.as_mut_ptr());
        self.cupti.host_config(&mut config)?;
        let mut passes = ffi::HostPasses::new();
        (passes.image_bytes, passes.image) = (image.len(), image.as_mut_ptr());
        self.cupti.host_passes(&mut passes)?;
        if passes.passes == 0 || passes.passes > MAX_PASSES {
            let code = format!("{} passes", passes.passes);
            return Err(Unavailable::Step { step: "cuptiProfilerHostGetNumOfPasses", code });
        }
        Ok((image, passes.passes))
    }

    /// Values of the first range in a decoded counter image; a counter without a value is absent.
    pub(super) fn evaluate(&self, image: &[u8]) -> Result<BTreeMap<String, f64>, Unavailable> {
        let pointers = self.pointers();
        let mut values = vec![f64::NAN; pointers.len()];
        let mut evaluate = ffi::HostEvaluate::new();
        evaluate.host = self.object;
        (evaluate.image, evaluate.image_bytes, evaluate.range) = (image.as_ptr(), image.len(), 0);
        (evaluate.names, evaluate.count, evaluate.values) =
            (pointers.as_ptr(), pointers.len(), values.as_mut_ptr());
        self.cupti.host_evaluate(&mut evaluate)?;
        Ok(self.names().zip(values).filter(|(_, v)| v.is_finite()).collect())
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        let mut host = ffi::HostDeinitialize::new();
        host.host = self.object;
        // What cannot be closed is closed with the process.
        let _ = self.cupti.host_deinitialize(&mut host);
    }
}

/// Which counters of the table a chip has, and the passes that counting them takes. Needs CUPTI and no GPU; chips go by
/// NVIDIA's names, for instance `GH100`.
pub fn counters_of_chip(
    chip: &str,
    compute_capability: &str,
    folders: &[PathBuf],
) -> Result<(Vec<(String, bool)>, usize), Unavailable> {
    let (cupti, _host_library) = load(folders)?;
    // `cuptiProfilerInitialize` would need a driver, and the host half works without it.
    let chip = CString::new(chip).unwrap_or_default();
    let wanted = quantities(Some(compute_capability));
    let host = Host::open(&cupti, &chip, wanted.iter().map(|q| q.counter.as_str()))?;
    let known: Vec<String> = host.names().collect();
    let (_, passes) = host.config()?;
    Ok((wanted.into_iter().map(|q| (q.counter.clone(), known.contains(&q.counter))).collect(), passes))
}

/// Opens CUPTI. Its host library is opened first, so that CUPTI finds it by name wherever it lies; where the loader finds
/// it by itself that may fail without harm.
pub(super) fn load(folders: &[PathBuf]) -> Result<(Cupti, Option<libloading::Library>), Unavailable> {
    let host_library = open("libnvperf_host", folders).ok();
    Ok((Cupti::load(open("libcupti", folders)?)?, host_library))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_cupti_the_chips_counters_are_unknown_with_a_reason() {
        match counters_of_chip("GH100", "9.0", &[]) {
            Ok((counters, passes)) => assert!(passes > 0 && counters.iter().all(|(_, known)| *known)),
            Err(reason) => assert!(
                matches!(
                    reason,
                    Unavailable::Library { .. } | Unavailable::Symbol { .. } | Unavailable::Step { .. }
                ),
                "{reason:?}"
            ),
        }
    }
}
