//! `protocol: wall`: one process an iteration, timed from before it is started until it has ended.
//!
//! What it writes on standard output is hashed and compared between iterations, and never kept.

use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_load::Stop;

use super::command::Words;
use super::config::TargetConfig;
use super::lines::joined;
use super::process::{end_group, kill_group};
use super::target::{Ended, Iteration, Occasion, Ready, Step, Target, TargetError};
use crate::bench::{Exit, Log};

/// How often it is looked whether the run was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A program that is started for each iteration.
pub(super) struct Wall {
    words: Words,
    settings: TargetConfig,
    keep_log: bool,
    stop: Stop,
    occasion: Option<Occasion>,
    /// Where every process writes its standard error.
    errors: Option<std::io::PipeWriter>,
    log: Option<JoinHandle<Log>>,
    iterations: u64,
    exit: Option<Exit>,
    /// Hash of the last standard output.
    output: Option<String>,
}

impl Wall {
    pub(super) fn new(words: Words, settings: TargetConfig, keep_log: bool, stop: Stop) -> Self {
        Self {
            words,
            settings,
            keep_log,
            stop,
            occasion: None,
            errors: None,
            log: None,
            iterations: 0,
            exit: None,
            output: None,
        }
    }

    fn once(&mut self) -> Result<Iteration, TargetError> {
        let occasion = self.occasion.as_ref().expect("a target is prepared before it is used");
        let mut command = self.words.command(occasion);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(
            self.errors.as_ref().and_then(|p| p.try_clone().ok()).map_or_else(Stdio::null, Stdio::from),
        );
        let start_ns = monotonic_raw();
        let mut child =
            command.spawn().map_err(|source| TargetError::Start { program: self.words.name(), source })?;
        let pid = child.id();
        let stdout = child.stdout.take();
        let (ended, end) = channel();
        std::thread::spawn(move || {
            let status = child.wait();
            let _ = ended.send((monotonic_raw(), status));
        });
        let output = stdout.map(|stdout| std::thread::spawn(move || Log::read(stdout)));
        let seconds = self.settings.iterate_timeout_s;
        let deadline = start_ns.saturating_add((seconds * 1e9) as Nanos);
        let problem = loop {
            match end.recv_timeout(LOOK_EVERY) {
                Ok((end_ns, status)) => {
                    end_group(pid);
                    let exit = status.ok().map(Exit::from);
                    let good = exit.is_some_and(Exit::is_success);
                    self.exit = exit;
                    self.iterations += u64::from(good);
                    self.output = Some(joined(output).stored(false).sha256);
                    if good {
                        let tokens = self.settings.tokens;
                        return Ok(Iteration { start_ns, end_ns, tokens, ..Iteration::default() });
                    }
                    let exit = exit.map_or_else(|| "unknown".to_owned(), |e| e.to_string());
                    return Err(TargetError::Failed { iteration: self.iterations + 1, exit });
                }
                Err(RecvTimeoutError::Timeout) if self.stop.is_interrupted() => {
                    break TargetError::Interrupted;
                }
                Err(RecvTimeoutError::Timeout) if monotonic_raw() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    break TargetError::TimedOut { during: Step::Iterate, seconds };
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let exit = "it could not be waited for".to_owned();
                    break TargetError::Died { during: Step::Iterate, iterations: self.iterations, exit };
                }
            }
        };
        kill_group(pid);
        self.exit = end.recv_timeout(Duration::from_secs(2)).ok().and_then(|(_, s)| s.ok()).map(Exit::from);
        end_group(pid);
        Err(problem)
    }
}

impl Target for Wall {
    fn prepare(&mut self, occasion: &Occasion) -> Result<Ready, TargetError> {
        let (reader, writer) =
            std::io::pipe().map_err(|source| TargetError::Start { program: self.words.name(), source })?;
        self.log = Some(std::thread::spawn(move || Log::read(reader)));
        self.errors = Some(writer);
        self.occasion = Some(occasion.clone());
        let name = self.settings.name.clone().unwrap_or_else(|| self.words.name());
        Ok(Ready { name, ..Ready::default() })
    }

    fn iterate(&mut self, n: u64, take: &mut dyn FnMut(Iteration)) -> Result<(), TargetError> {
        for _ in 0..n {
            if self.stop.is_interrupted() {
                return Err(TargetError::Interrupted);
            }
            take(self.once()?);
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Option<String>, TargetError> {
        Ok(self.output.clone())
    }

    fn teardown(&mut self) -> Ended {
        drop(self.errors.take());
        let log = joined(self.log.take());
        Ended {
            exit: self.exit.map(|e| e.to_string()),
            killed: false,
            log: log.stored(self.keep_log),
            text: if self.keep_log { log.text() } else { String::new() },
        }
    }
}
