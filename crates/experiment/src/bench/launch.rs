//! An engine that is started for the measurement: its command, its process, its end.
//!
//! The command is split into words as a shell would, and no shell sees it; `{name}` inside a word is replaced by the
//! value of that setting, so a value never becomes two words or a command of its own.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use stopwatt_core::engine_run::{EngineCause, EngineLog};

use super::error::BenchError;
use super::guard::{Exit, Report};

/// Lines of its log that classify an end, and that are kept when they may be.
const LINES: usize = 400;
/// Lines that go into the record when the log is kept.
const SHOWN: usize = 20;
/// Longest line that is kept.
const LINE_BYTES: usize = 2000;
/// The setting that stands for the port.
pub(super) const PORT: &str = "port";

/// A command with places for settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommandTemplate(Vec<String>);

impl CommandTemplate {
    /// Splits a command into words, or says why that cannot be done.
    pub(crate) fn split(text: &str) -> Result<Self, &'static str> {
        match shlex::split(text) {
            None => Err("a quotation mark is not closed"),
            Some(words) if words.is_empty() => Err("it is empty"),
            Some(words) => Ok(Self(words)),
        }
    }

    /// The command of a server, which needs a port.
    pub(super) fn parse(text: &str) -> Result<Self, BenchError> {
        let refuse =
            |problem: &str| BenchError::Setting { setting: "serve.command", problem: problem.to_owned() };
        let template = Self::split(text).map_err(refuse)?;
        if !template.names().contains(&PORT.to_owned()) {
            return Err(refuse("it needs the place `{port}`: a free port is chosen for each start"));
        }
        Ok(template)
    }

    /// Names of its places, each once.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for part in self.0.iter().flat_map(|word| parts(word)) {
            if let Part::Place(name) = part
                && !names.iter().any(|n| n == name)
            {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// The words with these settings in their places; a place without a setting stays as it is.
    pub(crate) fn fill(&self, settings: &BTreeMap<String, String>) -> Vec<String> {
        let fill = |part: Part<'_>| match part {
            Part::Text(text) => text.to_owned(),
            Part::Place(name) => settings.get(name).cloned().unwrap_or_else(|| format!("{{{name}}}")),
        };
        self.0.iter().map(|word| parts(word).into_iter().map(fill).collect()).collect()
    }
}

/// What a word is made of.
enum Part<'a> {
    Text(&'a str),
    Place(&'a str),
}

/// `{name}` is a place when the name is one; JSON and other braces are text.
fn parts(word: &str) -> Vec<Part<'_>> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
    };
    let mut found = Vec::new();
    let (mut text, mut from) = (0, 0);
    while let Some(open) = word[from..].find('{').map(|i| from + i) {
        let close = word[open..].find('}').map(|i| open + i);
        match close.map(|close| (close, &word[open + 1..close])) {
            Some((close, name)) if is_name(name) => {
                found.push(Part::Text(&word[text..open]));
                found.push(Part::Place(name));
                (text, from) = (close + 1, close + 1);
            }
            _ => from = open + 1,
        }
    }
    found.push(Part::Text(&word[text..]));
    found
}

/// A port of loopback that nothing listens on now.
pub(super) fn free_port() -> Result<u16, BenchError> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
    free.map(|a| a.port()).map_err(|e| BenchError::EngineStart { problem: format!("no free port: {e}") })
}

/// A running engine behind its guard.
#[derive(Debug)]
pub(super) struct Engine {
    guard: Child,
    /// Held open: closing it is the sign to end.
    stdin: Option<ChildStdin>,
    reports: Receiver<Report>,
    log: Option<JoinHandle<Log>>,
    pid: u32,
    exit: Option<Exit>,
}

impl Engine {
    /// Starts the words behind `program guard`.
    pub(super) fn start(program: &Path, words: &[String]) -> Result<Self, BenchError> {
        let failed = |problem: String| BenchError::EngineStart { problem };
        let mut command = Command::new(program);
        command.arg("guard").arg("--").args(words);
        // A group of its own, so that Ctrl-C asks the benchmark alone, which then ends the engine in order.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut guard = command.spawn().map_err(|e| failed(e.to_string()))?;
        let stdin = guard.stdin.take();
        let log = guard.stderr.take().map(|stderr| std::thread::spawn(move || Log::read(stderr)));
        let (send, reports) = channel();
        if let Some(stdout) = guard.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let Ok(report) = serde_json::from_str(&line) else { continue };
                    if send.send(report).is_err() {
                        return;
                    }
                }
            });
        }
        let mut engine = Self { guard, stdin, reports, log, pid: 0, exit: None };
        match engine.reports.recv_timeout(Duration::from_secs(30)) {
            Ok(Report::Started(pid)) => {
                engine.pid = pid;
                Ok(engine)
            }
            Ok(Report::NotStarted(problem)) => Err(failed(problem)),
            Ok(Report::Ended(exit)) => Err(failed(exit.to_string())),
            Err(RecvTimeoutError::Timeout) => Err(failed("its guard does not answer".to_owned())),
            Err(RecvTimeoutError::Disconnected) => Err(failed("its guard ended".to_owned())),
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended; `None` while it runs.
    pub(super) fn ended(&mut self) -> Option<Exit> {
        while let Ok(report) = self.reports.try_recv() {
            if let Report::Ended(exit) = report {
                self.exit = Some(exit);
            }
        }
        self.exit
    }

    /// Ends it, and gives what it wrote.
    pub(super) fn end(mut self) -> Log {
        self.close();
        self.log.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }

    fn close(&mut self) {
        drop(self.stdin.take());
        // The guard ends within its grace and the time to kill.
        for _ in 0..1500 {
            match self.guard.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        // A guard that was killed left the engine behind.
        if let Some(group) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

/// What an engine wrote: all of it counted and hashed, its last lines at hand.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: u64,
    hash: Sha256,
    tail: VecDeque<String>,
}

impl Log {
    /// Reads a stream to its end.
    pub(crate) fn read(stream: impl Read) -> Self {
        let mut log = Self::default();
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return log,
                Ok(_) => log.take(&line),
            }
        }
    }

    fn take(&mut self, line: &[u8]) {
        self.lines += 1;
        self.hash.update(line);
        let end = line.len().min(LINE_BYTES);
        self.tail.push_back(String::from_utf8_lossy(&line[..end]).trim_end().to_owned());
        if self.tail.len() > LINES {
            self.tail.pop_front();
        }
    }

    /// What goes into the record: its lines only where `keep` says so.
    pub(crate) fn stored(&self, keep: bool) -> EngineLog {
        let shown = self.tail.len().saturating_sub(SHOWN);
        EngineLog {
            lines: self.lines,
            sha256: format!("{:x}", self.hash.clone().finalize()),
            tail: keep.then(|| self.tail.iter().skip(shown).cloned().collect()),
        }
    }

    /// Everything at hand, for `engine.log`.
    pub(crate) fn text(&self) -> String {
        self.tail.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// What its last lines say of its end. The last line that says anything decides.
    pub(super) fn cause(&self) -> EngineCause {
        self.tail.iter().rev().find_map(|line| cause_of(line)).unwrap_or(EngineCause::Other)
    }
}

/// Words by which engines say why they cannot go on, in lower case.
const CAUSES: [(EngineCause, &[&str]); 4] = [
    (
        EngineCause::Oom,
        &[
            "out of memory",
            "outofmemory",
            "no available memory",
            "cannot allocate memory",
            "failed to allocate",
            "unable to allocate",
            "bad_alloc",
            "memory allocation",
            "larger than the available kv cache memory",
            "free memory on device",
        ],
    ),
    (
        EngineCause::Port,
        &["address already in use", "eaddrinuse", "couldn't bind", "could not bind", "failed to bind"],
    ),
    (
        EngineCause::Arguments,
        &[
            "unrecognized argument",
            "unexpected argument",
            "unknown argument",
            "invalid argument:",
            "invalid value",
            "invalid choice",
            "error while handling argument",
            "unknown option",
            "unrecognized option",
        ],
    ),
    (
        EngineCause::Model,
        &[
            "failed to load model",
            "error loading model",
            "repository not found",
            "is not a valid model",
            "no such file or directory",
            "does not appear to have a file named",
            "not supported for now",
            "invalid magic",
            "cannot read the weights",
        ],
    ),
];

fn cause_of(line: &str) -> Option<EngineCause> {
    let line = line.to_lowercase();
    CAUSES.iter().find(|(_, words)| words.iter().any(|w| line.contains(w))).map(|(cause, _)| *cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn places_are_filled_inside_words_and_values_stay_one_word() {
        let command =
            CommandTemplate::parse(r#"serve 'my model' --port={port} --rope '{"type": "{kind}"}' -u {util}"#)
                .unwrap();
        assert_eq!(command.names(), ["port", "kind", "util"]);
        let words = command.fill(&settings(&[("port", "81"), ("util", "0.7; rm -rf x"), ("kind", "yarn")]));
        assert_eq!(
            words,
            ["serve", "my model", "--port=81", "--rope", r#"{"type": "yarn"}"#, "-u", "0.7; rm -rf x"]
        );
        assert_eq!(command.fill(&settings(&[("port", "1")]))[6], "{util}");
    }

    #[test]
    fn a_command_that_cannot_be_started_is_refused() {
        for text in ["", "serve", "serve 'x --port {port}", "serve --port {PORT}"] {
            assert!(matches!(CommandTemplate::parse(text), Err(BenchError::Setting { .. })), "{text}");
        }
    }

    #[test]
    fn the_last_word_tells_the_cause() {
        let cause = |lines: &[&str]| {
            let mut log = Log::default();
            lines.iter().for_each(|l| log.take(l.as_bytes()));
            log.cause()
        };
        // As vLLM, llama.cpp, uvicorn, clap and argparse write them.
        assert_eq!(
            cause(&["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n"]),
            EngineCause::Oom
        );
        assert_eq!(cause(&["ValueError: No available memory for the cache blocks."]), EngineCause::Oom);
        assert_eq!(
            cause(&["[Errno 98] error while attempting to bind: address already in use"]),
            EngineCause::Port
        );
        assert_eq!(cause(&["error: unexpected argument '--utl' found"]), EngineCause::Arguments);
        assert_eq!(cause(&["vllm: error: unrecognized arguments: --utl 0.7"]), EngineCause::Arguments);
        assert_eq!(cause(&["llama_model_load: error loading model: x"]), EngineCause::Model);
        assert_eq!(cause(&["retry: address already in use", "CUDA out of memory", "bye"]), EngineCause::Oom);
        assert_eq!(cause(&["killed by the operator"]), EngineCause::Other);
    }

    #[test]
    fn lines_are_stored_only_when_they_may_be() {
        let mut log = Log::default();
        (0..500).for_each(|i| log.take(format!("line {i}\n").as_bytes()));
        let stored = log.stored(false);
        assert_eq!((stored.lines, stored.tail), (500, None));
        let tail = log.stored(true).tail.unwrap();
        assert_eq!((tail.len(), tail[19].as_str()), (SHOWN, "line 499"));
        assert_eq!(log.stored(true).sha256, stored.sha256);
    }
}
