//! The guard: a small process of ours that stands between the benchmark and an engine it started.
//!
//! ```text
//! bench ──stdin (held open)──► guard ──own process group──► engine ──► its workers
//!       ◄─stdout: one JSON line a report─┘  └─stderr: what the engine writes
//! ```
//!
//! However the benchmark ends, the kernel closes the pipe; the guard then ends the engine's process group, and
//! whatever left that group: it has made itself the reaper of orphaned descendants, so none of them can get away.

use std::io::{Read as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_sensor::host;

/// How long an engine may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How often the guard looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the guard tells the benchmark, one JSON line each.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// The engine runs, with this process id.
    Started(u32),
    /// It could not be started.
    NotStarted(String),
    /// It ended by itself.
    Ended(Exit),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
}

impl Exit {
    /// Whether it ended as one that did its work.
    pub(crate) fn is_success(self) -> bool {
        self.code == Some(0)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit status {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("unknown"),
        }
    }
}

/// Runs `words` as an engine until it ends or standard input does. Returns when nothing of it is left.
///
/// # Errors
/// Standard output or standard error cannot be used.
pub fn guard(words: &[String], out: &mut dyn Write) -> std::io::Result<()> {
    // Without a reaper (not on Linux) the process group is what is ended.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let mut say = |report: &Report| -> std::io::Result<()> {
        serde_json::to_writer(&mut *out, report)?;
        out.write_all(b"\n")?;
        out.flush()
    };
    let Some((program, arguments)) = words.split_first() else {
        return say(&Report::NotStarted("no command".to_owned()));
    };
    let log = || std::io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log()?).stderr(log()?).process_group(0);
    let mut engine = match command.spawn() {
        Ok(engine) => engine,
        Err(error) => return say(&Report::NotStarted(error.to_string())),
    };
    let pid = engine.id();
    // A benchmark that is gone cannot read this; its pipe says so below.
    let _ = say(&Report::Started(pid));

    let asked = std::sync::Arc::new(AtomicBool::new(false));
    let ask = std::sync::Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin().read(&mut buffer).is_ok_and(|n| n > 0) {}
        ask.store(true, Ordering::Release);
    });
    let ended = loop {
        match engine.try_wait()? {
            Some(status) => break Some(status),
            None if asked.load(Ordering::Acquire) => break None,
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    if let Some(status) = ended {
        let _ = say(&Report::Ended(status.into()));
    }
    end_all(pid, &mut engine);
    Ok(())
}

/// Ends the group and every descendant: asks, waits, then kills.
fn end_all(group: u32, engine: &mut std::process::Child) {
    let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) else { return };
    let own = std::process::id();
    let _ = kill_process_group(group, Signal::TERM);
    let until = monotonic_raw() + GRACE.as_nanos() as Nanos;
    while monotonic_raw() < until {
        let _ = engine.try_wait();
        reap();
        if host::descendants(own).is_empty() {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    // A process that forks while it is killed is met in the next round.
    for _ in 0..20 {
        let _ = kill_process_group(group, Signal::KILL);
        for pid in host::descendants(own) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = engine.try_wait();
        reap();
        if host::descendants(own).is_empty() {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Takes notice of orphans that ended, so that they are gone.
fn reap() {
    use rustix::process::{WaitOptions, wait};
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}
