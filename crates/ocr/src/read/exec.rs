//! A program on this machine: started anew for each page, without a shell; what it prints is what it read.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::{Clock, EndKind, Nanos, Phase, RequestRecord};

use super::{Attempt, Failure, Mode, Task};

/// Stands for the path of the image in a command.
pub const IMAGE: &str = "{image}";
/// How often a running program is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A program.
#[derive(Debug, Clone)]
pub struct Program {
    /// Words of the command; one holds [`IMAGE`].
    pub words: Vec<String>,
    /// Longest time of a page.
    pub timeout: Duration,
    /// What it prints.
    pub mode: Mode,
}

impl Program {
    /// Reads pages, in their order, so many at once; `stop` says whether to begin no more. `done` is told of each page that
    /// the program was started for, in times of `clock`.
    pub fn read(
        &self,
        tasks: &[Task],
        concurrency: usize,
        clock: Clock,
        stop: &(dyn Fn() -> bool + Sync),
        done: &(dyn Fn(RequestRecord) + Sync),
    ) -> Vec<Attempt> {
        let next = AtomicUsize::new(0);
        let attempts: Mutex<Vec<Attempt>> =
            Mutex::new(vec![Attempt::failed(Failure::Interrupted); tasks.len()]);
        std::thread::scope(|scope| {
            for _ in 0..concurrency.min(tasks.len()) {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        let Some(task) = tasks.get(i).filter(|_| !stop()) else { break };
                        let begin = monotonic_raw();
                        let attempt = self.mode.take(self.one(&task.image, stop));
                        let record = row(&attempt, clock.from_raw(begin));
                        if let Ok(mut attempts) = attempts.lock() {
                            attempts[i] = attempt;
                        }
                        record.into_iter().for_each(done);
                    }
                });
            }
        });
        attempts.into_inner().unwrap_or_default()
    }

    /// Reads an image that is not in a file yet: it is put into one that only its owner can read, for as long as it takes.
    pub fn read_bytes(&self, image: &[u8], stop: &dyn Fn() -> bool) -> Attempt {
        match Temporary::write(image) {
            Ok(file) => self.mode.take(self.one(&file.0, stop)),
            Err(_) => Attempt::failed(Failure::Image),
        }
    }

    fn one(&self, image: &Path, stop: &dyn Fn() -> bool) -> Attempt {
        if std::fs::File::open(image).is_err() {
            return Attempt::failed(Failure::Image);
        }
        let path = image.to_string_lossy();
        let mut words = self.words.iter().map(|w| w.replace(IMAGE, &path));
        let begin = monotonic_raw();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return Attempt::failed(Failure::Start) };
        let pipe = child.stdout.take();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.map(|mut pipe| pipe.read_to_end(&mut bytes)).transpose().map(|_| bytes)
        });
        let status = loop {
            let waited = Duration::from_nanos((monotonic_raw() - begin).unsigned_abs());
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) if waited >= self.timeout => break Err(Failure::Timeout),
                Ok(None) if stop() => break Err(Failure::Interrupted),
                Ok(None) => std::thread::sleep(LOOK_EVERY),
                Err(_) => break Err(Failure::Exit),
            }
        };
        let latency_s = (monotonic_raw() - begin) as f64 / 1e9;
        let failed = |failure| Attempt { latency_s: Some(latency_s), ..Attempt::failed(failure) };
        let status = match status {
            Ok(status) => status,
            Err(failure) => {
                // It may have ended by itself meanwhile; a program of its own that holds the pipe is not waited for.
                let _ = child.kill();
                let _ = child.wait();
                return failed(failure);
            }
        };
        let bytes = reader.join().ok().and_then(Result::ok).unwrap_or_default();
        match String::from_utf8(bytes) {
            _ if !status.success() => failed(Failure::Exit),
            Err(_) => failed(Failure::Encoding),
            Ok(text) => Attempt { text: Some(text), latency_s: Some(latency_s), ..Attempt::default() },
        }
    }
}

/// A page as a row, like a request; `None` where the program was not asked for it.
///
/// A program has no first byte: that is how analysis knows that its latency ends with it.
fn row(attempt: &Attempt, begin: Nanos) -> Option<RequestRecord> {
    let end = match attempt.failure {
        None => EndKind::Ok,
        Some(Failure::Timeout) => EndKind::Timeout,
        Some(Failure::Interrupted) => EndKind::Interrupted,
        Some(Failure::Start) => EndKind::Connect,
        Some(Failure::Encoding) => EndKind::Malformed,
        Some(Failure::Image) => return None,
        Some(_) => EndKind::Truncated,
    };
    let took = (attempt.latency_s.unwrap_or(0.0) * 1e9).round() as Nanos;
    Some(RequestRecord {
        phase: Phase::Measure,
        intended_ns: begin,
        dispatched_ns: Some(begin),
        written_ns: Some(begin),
        end_ns: begin + took,
        end,
        ..RequestRecord::blank()
    })
}

/// A file that goes when this does.
struct Temporary(PathBuf);

impl Temporary {
    fn write(bytes: &[u8]) -> std::io::Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let end = if bytes.starts_with(&[0xff, 0xd8]) { "jpg" } else { "png" };
        let name = format!("stopwatt-page-{}-{next}-{}.{end}", std::process::id(), monotonic_raw());
        let path = std::env::temp_dir().join(name);
        let mut options = std::fs::OpenOptions::new();
        // A file or a link that is there already is somebody else's.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        let temporary = Self(path);
        file.write_all(bytes)?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(command: &[&str], timeout_ms: u64) -> Vec<Attempt> {
        let program = Program {
            words: command.iter().map(|w| (*w).to_owned()).collect(),
            timeout: Duration::from_millis(timeout_ms),
            mode: Mode::Text,
        };
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let task = |image: &Path| Task { image: image.to_owned(), variant: 0 };
        let tasks = [task(&own), task(&own), task(Path::new("/nonexistent"))];
        program.read(&tasks, 2, Clock::start(), &|| false, &|_| {})
    }

    #[test]
    fn what_a_program_prints_is_what_it_read() {
        let attempts = read(&["head", "-c", "9", "{image}"], 10_000);
        assert_eq!(attempts[0].text.as_deref(), Some("[package]"));
        assert!(attempts[1].latency_s > Some(0.0) && attempts[1].failure.is_none());
        assert_eq!(attempts[2].failure, Some(Failure::Image));
        let row = row(&attempts[1], 5).expect("a row");
        let took = (row.end_ns - 5) as f64 / 1e9;
        assert!((took - attempts[1].latency_s.unwrap_or(0.0)).abs() < 1e-8 && row.first_byte_ns.is_none());
        assert!(super::row(&attempts[2], 5).is_none(), "nothing was started for it");
    }

    #[test]
    fn an_image_in_memory_lies_in_a_file_only_while_it_is_read() {
        let program = |words: &[&str]| Program {
            words: words.iter().map(|w| (*w).to_owned()).collect(),
            timeout: Duration::from_secs(10),
            mode: Mode::Text,
        };
        let attempt = program(&["cat", "{image}"]).read_bytes("가".as_bytes(), &|| false);
        assert_eq!(attempt.text.as_deref(), Some("가"));
        let path = program(&["echo", "-n", "{image}"]).read_bytes(b"x", &|| false).text.expect("a path");
        assert!(!Path::new(&path).exists(), "{path}");
    }

    #[test]
    fn what_goes_wrong_is_told_by_its_kind() {
        assert_eq!(read(&["no-such-program", "{image}"], 1000)[0].failure, Some(Failure::Start));
        assert_eq!(read(&["false", "{image}"], 1000)[0].failure, Some(Failure::Exit));
        assert_eq!(read(&["sleep", "30"], 30)[0].failure, Some(Failure::Timeout));
        assert_eq!(read(&["printf", "\\377"], 1000)[0].failure, Some(Failure::Encoding));
    }
}
