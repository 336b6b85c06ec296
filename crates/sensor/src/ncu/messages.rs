//! What ncu complains of, as reasons.

use crate::Unavailable;

/// Reads the reason of a failed run from what ncu printed.
pub(super) fn reason(output: &str) -> Unavailable {
    if output.contains("ERR_NVGPUCTRPERM") {
        return Unavailable::GpuCounterPermission;
    }
    // "Profiling failed because a driver resource was unavailable. Ensure that no other tool (like DCGM) is …"
    if output.contains("driver resource was unavailable") {
        return Unavailable::GpuCountersBusy;
    }
    if output.contains("LibraryNotLoaded") {
        return Unavailable::Library {
            library: "the driver's profiling library".to_owned(),
            detail: "ncu says LibraryNotLoaded, as under gVisor".to_owned(),
        };
    }
    if output.contains("No kernels were profiled") {
        return Unavailable::NoKernels;
    }
    let errors: Vec<&str> =
        output.lines().filter_map(|l| l.trim().strip_prefix("==ERROR==")).map(str::trim).collect();
    // Only ncu's own lines: what the program printed may hold prompts or paths.
    let detail = errors.last().map_or("it printed no ==ERROR== line", |e| *e);
    Unavailable::Failed { program: "ncu".to_owned(), detail: detail.chars().take(200).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_complaints_that_people_meet() {
        let denied = "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters on the target device 0.";
        assert_eq!(reason(denied), Unavailable::GpuCounterPermission);
        let busy = "==ERROR== Profiling failed because a driver resource was unavailable. Ensure that no other tool (like DCGM) is concurrently collecting profiling data.";
        assert_eq!(reason(busy), Unavailable::GpuCountersBusy);
        assert!(matches!(reason("==ERROR== LibraryNotLoaded"), Unavailable::Library { .. }));
        assert_eq!(reason("==WARNING== No kernels were profiled."), Unavailable::NoKernels);
    }

    #[test]
    fn the_programs_own_output_is_not_repeated() {
        let reason =
            reason("secret prompt\n==ERROR== The application returned an error code (1).\nsecret answer\n");
        assert_eq!(
            reason,
            Unavailable::Failed {
                program: "ncu".into(),
                detail: "The application returned an error code (1).".into()
            }
        );
    }
}
