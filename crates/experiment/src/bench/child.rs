//! The built-in engine as a child process on loopback.
//!
//! The child ends when its parent does, however that ends: it holds the read end of a pipe as its standard input, and
//! the kernel closes the write end with the parent.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::config::EngineConfig;
use super::error::BenchError;

/// How much of its log is kept.
const LOG_BYTES: usize = 256 * 1024;

/// The line that `stopwatt serve --exit-with-parent` prints once it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadyLine {
    /// Base URL.
    pub url: String,
    /// Model name.
    pub model: String,
    /// Facts for the fingerprint.
    pub facts: std::collections::BTreeMap<String, String>,
}

/// A running engine of ours.
#[derive(Debug)]
pub struct EngineChild {
    child: Child,
    /// Held open: closing it is the sign to end.
    stdin: Option<ChildStdin>,
    /// Reads what it writes on its standard error, when that is kept.
    log: Option<JoinHandle<String>>,
    /// What it said when it was ready.
    pub ready: ReadyLine,
}

impl EngineChild {
    /// Starts `program serve` and waits until it answers.
    pub(crate) fn start(
        program: &Path,
        config: &EngineConfig,
        max_context: u32,
        keep_log: bool,
    ) -> Result<Self, BenchError> {
        let mut command = Command::new(program);
        command.args(["serve", "--kind", "real", "--port", "0", "--exit-with-parent"]);
        command.args(["--max-model-len", &max_context.to_string()]);
        if let Some(weights) = &config.weights {
            command.args(["--weights", weights]);
        }
        if let Some(threads) = config.threads {
            command.args(["--threads", &threads.to_string()]);
        }
        if config.prefix_caching == Some(false) {
            command.arg("--no-prefix-caching");
        }
        Self::spawn(command, keep_log)
    }

    /// Starts a `serve` command and waits until it answers.
    pub fn spawn(mut command: Command, keep_log: bool) -> Result<Self, BenchError> {
        let failed = |problem: String| BenchError::EngineStart { problem };
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Without a log its errors belong on the terminal.
        command.stderr(if keep_log { Stdio::piped() } else { Stdio::inherit() });
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let stdin = child.stdin.take();
        let log = child.stderr.take().map(|stderr| std::thread::spawn(move || tail_of(stderr)));
        let stdout = child.stdout.take().ok_or_else(|| failed("it has no standard output".to_owned()))?;
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let ready = read.ok().filter(|n| *n > 0).and_then(|_| serde_json::from_str(&line).ok());
        match ready {
            Some(ready) => Ok(Self { child, stdin, log, ready }),
            None => {
                drop(stdin);
                let status = child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                Err(failed(format!("it ended before it answered ({status})")))
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and gives the end of its log, when that was kept.
    pub(crate) fn into_log(mut self) -> Option<String> {
        let log = self.log.take();
        drop(self);
        log.and_then(|thread| thread.join().ok())
    }
}

/// The last [`LOG_BYTES`] of a stream.
fn tail_of(stream: impl Read) -> String {
    let mut tail = VecDeque::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        tail.extend(line.bytes());
        tail.push_back(b'\n');
        while tail.len() > LOG_BYTES {
            tail.pop_front();
        }
    }
    String::from_utf8_lossy(tail.make_contiguous()).into_owned()
}

impl Drop for EngineChild {
    fn drop(&mut self) {
        // It ends by itself when its standard input closes; a hung one is killed.
        drop(self.stdin.take());
        for _ in 0..50 {
            match self.child.try_wait() {
                Ok(Some(_)) => return,
                Ok(None) => std::thread::sleep(std::time::Duration::from_millis(20)),
                Err(_) => break,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
