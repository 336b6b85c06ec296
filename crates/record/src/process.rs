//! CPU time and memory of a process.

/// What a process used since it began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system time of every thread, in seconds.
    pub cpu_s: f64,
    /// Resident memory now.
    pub rss_bytes: u64,
    /// Largest resident memory so far; `None` when the system does not say.
    pub peak_rss_bytes: Option<u64>,
}

/// Usage of a process; `None` when it is gone or the system has no `/proc`.
pub fn usage(_pid: u32) -> Option<Usage> {
    unimplemented!()
}

/// Usage of this process, with CPU time to the nanosecond.
pub fn own_usage() -> Option<Usage> {
    unimplemented!()
}
