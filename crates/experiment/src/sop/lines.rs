//! `protocol: json-lines`: a program that stays, is told what to do on its standard input and answers on its standard
//! output. See [`protocol`](super::protocol) for the words.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_load::Stop;

use super::command::Words;
use super::config::TargetConfig;
use super::process::{end_group, kill_group, until};
use super::protocol::{Ask, Said, facts, hash, place, reason};
use super::target::{Ended, Iteration, Occasion, Ready, Step, Target, TargetError};
use crate::bench::{Exit, Log};
use crate::targets::Witness;

/// Longest line that is read.
const LONGEST_LINE: usize = 16 << 20;
/// Lines that may wait; a program that is faster waits in its turn.
const QUEUE: usize = 4096;
/// How often it is looked whether the run was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A program that speaks JSON lines.
pub(super) struct Lines {
    words: Words,
    settings: TargetConfig,
    keep_log: bool,
    stop: Stop,
    /// Where outputs go, for a side of a workload pair.
    values: Option<Values>,
    trial: u32,
    running: Option<Running>,
    iterations: u64,
}

/// Where a program writes its outputs, and who keeps those that were timed.
#[derive(Debug, Clone)]
pub(super) struct Values {
    pub(super) folder: PathBuf,
    pub(super) witness: Arc<Witness>,
}

impl Values {
    fn file(&self) -> PathBuf {
        self.folder.join("output.f32")
    }

    /// The numbers that the program wrote: little-endian, 4 bytes each. The file is gone afterwards.
    fn take(&self) -> Result<Vec<f32>, String> {
        let bytes =
            std::fs::read(self.file()).map_err(|e| format!("its file of numbers cannot be read: {e}"))?;
        let _ = std::fs::remove_file(self.file());
        if !bytes.len().is_multiple_of(4) {
            return Err(format!("its file has {} bytes, not a whole number of 4-byte numbers", bytes.len()));
        }
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
}

/// Its process.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Line>,
    /// Lines read so far.
    read: u64,
    log: Option<JoinHandle<Log>>,
    exit: Option<Exit>,
}

/// A line with the time it came.
struct Line {
    at: Nanos,
    bytes: Vec<u8>,
}

impl Lines {
    pub(super) fn new(
        words: Words,
        settings: TargetConfig,
        keep_log: bool,
        values: Option<Values>,
        stop: Stop,
    ) -> Self {
        Self { words, settings, keep_log, stop, values, trial: 0, running: None, iterations: 0 }
    }

    fn start(&self, occasion: &Occasion) -> Result<Running, TargetError> {
        let mut command = self.words.command(occasion);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|source| TargetError::Start { program: self.words.name(), source })?;
        let log = child.stderr.take().map(|stderr| std::thread::spawn(move || Log::read(stderr)));
        let (send, lines) = sync_channel(QUEUE);
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stdout);
                loop {
                    let mut bytes = Vec::new();
                    let read = reader.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut bytes);
                    let at = monotonic_raw();
                    if !read.is_ok_and(|n| n > 0) || send.send(Line { at, bytes }).is_err() {
                        return;
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        Ok(Running { child, stdin, lines, read: 0, log, exit: None })
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("a target is prepared before it is used")
    }

    /// Says something; when.
    fn ask(&mut self, ask: &Ask<'_>, during: Step) -> Result<Nanos, TargetError> {
        let mut line = serde_json::to_vec(ask).expect("numbers and text are JSON");
        line.push(b'\n');
        let at = monotonic_raw();
        let stdin = self.running().stdin.as_mut();
        // A program that reads nothing has ended or will; how, is what matters.
        match stdin.map(|stdin| stdin.write_all(&line).and_then(|()| stdin.flush())) {
            Some(Ok(())) => Ok(at),
            _ => Err(self.died(during)),
        }
    }

    /// What the program says next, within `seconds`.
    fn answer(&mut self, during: Step, seconds: f64) -> Result<(Said, Line), TargetError> {
        let end = monotonic_raw().saturating_add((seconds * 1e9) as Nanos);
        loop {
            if self.stop.is_interrupted() {
                return Err(TargetError::Interrupted);
            }
            let left = Duration::from_nanos(u64::try_from(end - monotonic_raw()).unwrap_or(0));
            if left.is_zero() {
                return Err(TargetError::TimedOut { during, seconds });
            }
            match self.running().lines.recv_timeout(left.min(LOOK_EVERY)) {
                Ok(line) => {
                    self.running().read += 1;
                    return match Said::read(&line.bytes) {
                        Ok(said) => Ok((said, line)),
                        Err(problem) => Err(self.line(&line, problem)),
                    };
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.died(during)),
            }
        }
    }

    fn line(&mut self, line: &Line, problem: String) -> TargetError {
        let bytes = line.bytes.strip_suffix(b"\n").unwrap_or(&line.bytes).len();
        TargetError::Line { line: self.running().read, bytes, problem }
    }

    fn unexpected(&mut self, line: &Line, said: &Said, wanted: &str) -> TargetError {
        self.line(line, format!("`{}` where {wanted} was expected", said.name()))
    }

    /// It closed its standard output, or does not read: how did it end?
    fn died(&mut self, during: Step) -> TargetError {
        let iterations = self.iterations;
        let running = self.running();
        until(Duration::from_secs(1), || running.try_exit());
        let exit = match running.exit {
            Some(exit) => exit.to_string(),
            None => "it closed its pipe and runs on".to_owned(),
        };
        TargetError::Died { during, iterations, exit }
    }
}

impl Running {
    /// Whether it has ended.
    fn try_exit(&mut self) -> bool {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().ok().flatten().map(Exit::from);
        }
        self.exit.is_some()
    }
}

impl Target for Lines {
    fn prepare(&mut self, occasion: &Occasion) -> Result<Ready, TargetError> {
        let running = self.start(occasion)?;
        let pid = running.child.id();
        self.running = Some(running);
        let Occasion { seed, mode, trial, iterations } = occasion;
        let ask = Ask::Prepare { seed: *seed, mode, trial: *trial, iterations: *iterations };
        self.ask(&ask, Step::Prepare)?;
        let (said, line) = self.answer(Step::Prepare, self.settings.prepare_timeout_s)?;
        self.trial = trial.unwrap_or(0);
        let said = match said {
            Said::Ready(said) => said,
            Said::Skip(why) => return Err(TargetError::Skipped { reason: reason(&why) }),
            other => return Err(self.unexpected(&line, &other, "`ready`")),
        };
        let facts = facts(said).map_err(|problem| self.line(&line, problem))?;
        let name = self.settings.name.clone().unwrap_or_else(|| self.words.name());
        Ok(Ready { name, facts, pid: Some(pid), ..Ready::default() })
    }

    fn iterate(&mut self, n: u64, take: &mut dyn FnMut(Iteration)) -> Result<(), TargetError> {
        let mut asked = self.ask(&Ask::Iterate { n }, Step::Iterate)?;
        // Durations wait here until it is known when the last one ended.
        let mut told: Vec<Iteration> = Vec::new();
        let mut last = asked;
        let mut seen = 0;
        let outcome = loop {
            let (said, line) = match self.answer(Step::Iterate, self.settings.iterate_timeout_s) {
                Ok(answer) => answer,
                Err(error) => break Err(error),
            };
            match said {
                Said::Iteration(said) if seen < n => match said.check(asked, line.at) {
                    Ok(iteration) => {
                        seen += 1;
                        self.iterations += 1;
                        last = line.at;
                        if iteration.placed {
                            told.push(iteration);
                        } else {
                            // The next one cannot begin before this one did.
                            asked = iteration.start_ns;
                            take(iteration);
                        }
                    }
                    Err(problem) => break Err(self.line(&line, problem)),
                },
                Said::Done(count) if seen == n && count == n => {
                    last = line.at;
                    break Ok(());
                }
                Said::Done(_) => {
                    break Err(self.line(&line, format!("`done` after {seen} of {n} iterations")));
                }
                Said::Iteration(_) => {
                    break Err(self.line(&line, format!("more than the {n} iterations asked for")));
                }
                other => break Err(self.unexpected(&line, &other, "`iteration` or `done`")),
            }
        };
        if let Err(problem) = place(&mut told, asked, last) {
            let line = self.running().read;
            return outcome.and(Err(TargetError::Line { line, bytes: 0, problem }));
        }
        told.into_iter().for_each(take);
        outcome
    }

    fn outputs(&mut self) -> Result<Option<String>, TargetError> {
        let file = self.values.as_ref().map(Values::file);
        self.ask(&Ask::Outputs { file: file.as_deref() }, Step::Outputs)?;
        let (said, line) = self.answer(Step::Outputs, self.settings.outputs_timeout_s)?;
        let Said::Outputs(said) = said else { return Err(self.unexpected(&line, &said, "`outputs`")) };
        let told = hash(&said).map_err(|problem| self.line(&line, problem))?;
        if let Some(values) = self.values.clone() {
            let numbers = values.take().map_err(|problem| self.line(&line, problem))?;
            let bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
            if format!("{:x}", Sha256::digest(bytes)) != told {
                return Err(self.line(&line, "`sha256` is not that of the file".to_owned()));
            }
            values.witness.put(self.trial, numbers);
        }
        Ok(Some(told))
    }

    fn verify(&mut self, seed: u64) -> Result<Option<Vec<f32>>, TargetError> {
        let Some(values) = self.values.clone() else { return Ok(None) };
        self.ask(&Ask::Verify { seed, file: &values.file() }, Step::Outputs)?;
        let (said, line) = self.answer(Step::Outputs, self.settings.outputs_timeout_s)?;
        let Said::Verified(said) = said else { return Err(self.unexpected(&line, &said, "`verified`")) };
        let numbers = values.take().map_err(|problem| self.line(&line, problem))?;
        match numbers.len() == said.values {
            true => Ok(Some(numbers)),
            false => {
                let problem = format!("it says {} values and wrote {}", said.values, numbers.len());
                Err(self.line(&line, problem))
            }
        }
    }

    fn teardown(&mut self) -> Ended {
        if self.running.is_some() && !self.stop.is_interrupted() {
            let _ = self.ask(&Ask::End, Step::Outputs);
        }
        let Some(mut running) = self.running.take() else { return Ended::default() };
        // Closed: the sign to end, also for a program that lost the thread.
        drop(running.stdin.take());
        let longest = match self.stop.is_interrupted() {
            true => Duration::from_millis(500),
            false => Duration::from_secs_f64(self.settings.end_timeout_s),
        };
        let pid = running.child.id();
        let lines = &running.lines;
        let killed = !until(longest, || {
            // What it still says must not keep it from ending.
            lines.try_iter().for_each(drop);
            if running.exit.is_none() {
                running.exit = running.child.try_wait().ok().flatten().map(Exit::from);
            }
            running.exit.is_some()
        });
        if killed {
            kill_group(pid);
            running.exit = running.child.wait().ok().map(Exit::from);
        }
        end_group(pid);
        let log = joined(running.log.take());
        Ended {
            exit: running.exit.map(|e| e.to_string()),
            killed,
            log: log.stored(self.keep_log),
            text: if self.keep_log { log.text() } else { String::new() },
        }
    }
}

/// What was written on standard error. A process that left the group may still hold the pipe: then it is not known.
pub(super) fn joined(log: Option<JoinHandle<Log>>) -> Log {
    let Some(thread) = log else { return Log::default() };
    match until(Duration::from_secs(1), || thread.is_finished()) {
        true => thread.join().unwrap_or_default(),
        false => Log::default(),
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.teardown();
        }
    }
}
