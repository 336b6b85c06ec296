//! Runs a program to its end, or stops it and what it started after a limit.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Unavailable;

/// What a program printed.
pub(crate) struct Printed {
    pub(crate) success: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Printed {
    /// Both streams.
    pub(crate) fn both(&self) -> String {
        format!("{}\n{}", self.out, self.err)
    }
}

/// Runs `program`; `name` is what reasons call it.
pub(crate) fn output(
    name: &'static str,
    program: &Path,
    args: &[OsString],
    limit: Duration,
) -> Result<Printed, Unavailable> {
    let failed = |e: io::Error| Unavailable::Failed { program: name.to_owned(), detail: e.to_string() };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what it starts can be stopped with it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(failed)?;
    // Both pipes are read at once: one that is full would stop the program.
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let step = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break Some(status);
        }
        if waited >= limit {
            stop(child.id());
            // Reaps it; its status no longer matters.
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(step);
        waited += step;
    };
    let text =
        |pipe: JoinHandle<Vec<u8>>| String::from_utf8_lossy(&pipe.join().unwrap_or_default()).into_owned();
    let (out, err) = (text(out), text(err));
    match status {
        Some(status) => Ok(Printed { success: status.success(), out, err }),
        None => Err(Unavailable::TimedOut { program: name.to_owned(), seconds: limit.as_secs() }),
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is kept.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn stop(group: u32) {
    let group = i32::try_from(group).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // It may have ended in between.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}
