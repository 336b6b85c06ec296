//! Runs the program as a user does: a folder of its own, an engine with known behaviour, arguments in, text out.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use stopwatt_core::clock::unix_now;

pub(crate) const STOPWATT: &str = env!("CARGO_BIN_EXE_stopwatt");

/// A folder to run in, with its runs in `runs/`.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(STOPWATT);
        command.args(args).current_dir(self.dir.path()).env("STOPWATT_RUNS", self.path("runs"));
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command.env_remove("NO_COLOR").env_remove("COLUMNS").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        Ended::from(self.command(args).output().unwrap())
    }
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }
}

/// The load that tests of shares divide.
pub(crate) const SHARED_LOAD: [&str; 18] = [
    "--rate",
    "40",
    "--arrival",
    "poisson",
    "--requests",
    "48",
    "--repeats",
    "2",
    "--seed",
    "7",
    "--warmup",
    "0",
    "--input",
    "20:60",
    "--output",
    "4:12",
    "--override",
    "load.shard_gap_s=1.5",
];

/// UNIX seconds some time ahead: enough for four programs to start on a loaded machine.
pub(crate) fn soon() -> String {
    format!("{}.0", unix_now() / 1_000_000_000 + 8)
}

/// Holds a document to a file of `schemas/`.
#[track_caller]
pub(crate) fn follows(schema: &str, doc: &serde_json::Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(schema);
    let schema = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<_> = validator.iter_errors(doc).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");
}

/// An exact engine of its own process; ends when dropped.
pub(crate) struct Exact {
    child: Child,
    pub(crate) url: String,
}

impl Exact {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::of_kind("exact", args)
    }

    /// Another kind of the built-in engine.
    pub(crate) fn of_kind(kind: &str, args: &[&str]) -> Self {
        let mut child = Command::new(STOPWATT)
            .args(["serve", "--kind", kind, "--port", "0", "--exit-with-parent"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { child, url: ready["url"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Exact {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// The one run under `root`.
#[track_caller]
pub(crate) fn only_run(root: &Path) -> PathBuf {
    let runs: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.join("run.log").is_file())
        .collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}

/// Waits for `condition`, at most a minute.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("waited a minute for {what}");
}
