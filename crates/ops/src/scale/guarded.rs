//! A process behind a guard: `PROGRAM guard -- WORD…`, which ends the words and everything they started when its
//! standard input closes. That happens however this process ends, SIGKILL included.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::replicas::{Launch, Process};

/// Lines of what an engine writes that are kept.
const LINES: usize = 20;
/// Longest line that is kept, in bytes.
const LINE_BYTES: usize = 500;
/// How long the guard has to end the engine; it gives it ten seconds before it kills it.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Starts a command behind a guard; `{port}` in its words is the slot's port.
#[derive(Debug, Clone)]
pub struct Guarded {
    /// The program that guards.
    pub program: PathBuf,
    /// The command.
    pub words: Vec<String>,
}

struct Engine {
    guard: Child,
    /// Held open: closing it is the sign to end.
    stdin: Option<ChildStdin>,
    /// The engine's process group, once the guard has told it.
    group: Arc<Mutex<Option<Pid>>>,
    tail: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Launch for Guarded {
    fn start(&mut self, port: u16) -> io::Result<Box<dyn Process>> {
        let port = port.to_string();
        let mut command = Command::new(&self.program);
        command.arg("guard").arg("--").args(self.words.iter().map(|w| w.replace("{port}", &port)));
        // A group of its own, so that Ctrl-C asks the proxy alone, which then drains.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut guard = command.spawn()?;
        let stdin = guard.stdin.take();
        let group = Arc::new(Mutex::new(None));
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let mut readers = Vec::new();
        if let Some(stderr) = guard.stderr.take() {
            let to = Arc::clone(&tail);
            readers.push(std::thread::spawn(move || read(stderr, |line| keep(&to, line))));
        }
        if let Some(stdout) = guard.stdout.take() {
            let (to, told) = (Arc::clone(&tail), Arc::clone(&group));
            readers.push(std::thread::spawn(move || {
                read(stdout, |line| {
                    let report: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                    if let Some(pid) = report["started"].as_i64() {
                        *lock(&told) = i32::try_from(pid).ok().and_then(Pid::from_raw);
                    }
                    if let Some(problem) = report["not_started"].as_str() {
                        keep(&to, format!("cannot be started: {problem}"));
                    }
                });
            }));
        }
        Ok(Box::new(Engine { guard, stdin, group, tail, readers }))
    }
}

/// Reads lines to the end; a longer one is cut.
fn read(stream: impl Read, mut take: impl FnMut(String)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(1 << 20).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let end = line.len().min(LINE_BYTES);
                take(String::from_utf8_lossy(&line[..end]).trim_end().to_owned());
            }
        }
    }
}

fn keep(tail: &Mutex<VecDeque<String>>, line: String) {
    let mut tail = lock(tail);
    if tail.len() == LINES {
        tail.pop_front();
    }
    tail.push_back(line);
}

impl Process for Engine {
    fn ended(&mut self) -> bool {
        // The guard ends when nothing of the engine is left.
        !matches!(self.guard.try_wait(), Ok(None))
    }

    fn tail(&self) -> Vec<String> {
        lock(&self.tail).iter().cloned().collect()
    }

    fn end(mut self: Box<Self>) {
        self.close();
    }
}

impl Engine {
    fn close(&mut self) {
        drop(self.stdin.take());
        let looks = PATIENCE.as_millis() / LOOK_EVERY.as_millis();
        for _ in 0..looks {
            if self.ended() {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        if !self.ended() {
            let _ = self.guard.kill();
            let _ = self.guard.wait();
            // A guard that was killed left the engine behind.
            if let Some(group) = *lock(&self.group) {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        for reader in self.readers.drain(..) {
            // Its pipe closed with the last process that held it.
            let _ = reader.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}
