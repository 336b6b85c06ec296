//! The command lines of `ncu`, with the options of 2023 and later.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use stopwatt_core::cache_counters::{CacheControl, ReplayMode};

use super::counters::Quantity;

/// What to profile.
#[derive(Debug, Clone)]
pub struct Options {
    /// Quantities by our names or NVIDIA's; empty for all.
    pub quantities: Vec<String>,
    /// Only kernels whose name matches this regular expression.
    pub kernel_regex: Option<String>,
    /// Only what runs between `cudaProfilerStart` and `cudaProfilerStop` of the program.
    pub marked_only: bool,
    /// Launches to let pass first.
    pub launch_skip: u64,
    /// Launches to profile; `None` for all that follow.
    pub launch_count: Option<u64>,
    /// What happens to the caches before each pass.
    pub cache_control: CacheControl,
    /// How the work is repeated.
    pub replay_mode: ReplayMode,
    /// Independent runs of the program; three at least give a standard deviation worth having.
    pub runs: u32,
    /// Time that one run may take.
    pub timeout: Duration,
    /// Compute capability of the GPU, for instance `9.0`: some counters differ.
    pub compute_capability: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quantities: Vec::new(),
            kernel_regex: None,
            marked_only: false,
            launch_skip: 0,
            launch_count: None,
            cache_control: CacheControl::default(),
            replay_mode: ReplayMode::default(),
            runs: 3,
            timeout: Duration::from_secs(600),
            compute_capability: None,
        }
    }
}

/// Arguments that profile the program after them into the report `file`.
pub(super) fn profile(options: &Options, quantities: &[Quantity], file: &Path) -> Vec<OsString> {
    let counters: Vec<&str> = quantities.iter().map(|q| q.counter.as_str()).collect();
    let mut all: Vec<OsString> = [
        "--target-processes",
        "all",
        "--replay-mode",
        word(options.replay_mode),
        "--cache-control",
        if options.cache_control == CacheControl::All { "all" } else { "none" },
        // Locking clocks would change a setting of the machine.
        "--clock-control",
        "none",
        "--metrics",
        &counters.join(","),
    ]
    .map(OsString::from)
    .into();
    if let Some(regex) = &options.kernel_regex {
        all.extend(["-k".into(), format!("regex:{regex}").into()]);
    }
    if options.marked_only {
        all.extend(["--profile-from-start", "off"].map(OsString::from));
    }
    if options.launch_skip > 0 {
        all.extend(["--launch-skip".into(), options.launch_skip.to_string().into()]);
    }
    if let Some(count) = options.launch_count {
        all.extend(["--launch-count".into(), count.to_string().into()]);
    }
    all.extend(["--force-overwrite".into(), "-o".into(), file.into()]);
    all
}

/// Arguments that print the report `file` as CSV.
pub(super) fn import(file: &Path) -> Vec<OsString> {
    [
        "--import".into(),
        file.into(),
        "--page".into(),
        "raw".into(),
        "--csv".into(),
        "--print-units".into(),
        "base".into(),
    ]
    .into()
}

fn word(mode: ReplayMode) -> &'static str {
    match mode {
        // The caller's own repetition is CUPTI's; ncu's nearest is a kernel at a time.
        ReplayMode::Kernel | ReplayMode::User => "kernel",
        ReplayMode::Application => "application",
        ReplayMode::Range => "range",
        ReplayMode::AppRange => "app-range",
    }
}

#[cfg(test)]
mod tests {
    use super::super::counters::{quantities, selected};
    use super::*;

    #[test]
    fn the_command_line_of_today() {
        let options = Options {
            kernel_regex: Some("gemm|attention".into()),
            marked_only: true,
            launch_skip: 5,
            launch_count: Some(20),
            replay_mode: ReplayMode::AppRange,
            ..Options::default()
        };
        let picked = selected(quantities(None), &["l2_hit_pct".into()]).unwrap();
        let line = profile(&options, &picked, Path::new("/t/rep.ncu-rep"));
        let line: Vec<_> = line.iter().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(
            line.join(" "),
            "--target-processes all --replay-mode app-range --cache-control none --clock-control none --metrics \
             lts__t_sectors_lookup_hit.sum,lts__t_sectors_lookup_miss.sum,lts__t_sector_hit_rate.pct \
             -k regex:gemm|attention --profile-from-start off --launch-skip 5 --launch-count 20 --force-overwrite -o /t/rep.ncu-rep"
        );
    }
}
