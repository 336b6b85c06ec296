//! The end of a process group: asked, waited for, killed.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use stopwatt_core::clock::monotonic_raw;

/// How long a group may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Ends whatever is left of a group whose leader was waited for, or is killed with it.
pub(super) fn end_group(leader: u32) {
    let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) else { return };
    let is_left = || test_kill_process_group(group).is_ok();
    if !is_left() {
        return;
    }
    let _ = kill_process_group(group, Signal::TERM);
    until(GRACE, || !is_left());
    let _ = kill_process_group(group, Signal::KILL);
}

/// Kills a group at once.
pub(super) fn kill_group(leader: u32) {
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Looks until `done` or the time is over; whether it was done.
pub(super) fn until(longest: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = monotonic_raw().saturating_add(i64::try_from(longest.as_nanos()).unwrap_or(i64::MAX));
    loop {
        if done() {
            return true;
        }
        if monotonic_raw() >= end {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
