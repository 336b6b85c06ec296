//! What the machine says of its clocks, for runs that are joined with others.

/// Whether a time service keeps the wall clock; `None` when none says so in a place that is known.
pub fn clock_synchronised() -> Option<bool> {
    // systemd-timesyncd touches the file each time it has adjusted the clock.
    std::path::Path::new("/run/systemd/timesync/synchronized").exists().then_some(true)
}

/// Digits that are equal for processes of one machine between two starts of it: they share CLOCK_MONOTONIC. A hash,
/// since the identifier itself would tell the machine; `None` where the system has none.
pub fn boot() -> Option<String> {
    use sha2::{Digest as _, Sha256};
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    Some(Sha256::digest(id.trim_ascii()).iter().take(8).map(|b| format!("{b:02x}")).collect())
}
