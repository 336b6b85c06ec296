//! The state of a working directory under git: commit, branch, difference.

use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::digest;

/// How long one question may take; trees on slow disks can be large.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are kept.
const KEPT: usize = 4096;

/// A working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) commit: String,
    pub(super) branch: Option<String>,
    /// Hash of the difference of tracked files to the commit; `None` when there is none.
    pub(super) diff: Option<String>,
}

/// Asks git; a reason where it cannot say.
pub(super) fn look(folder: &Path) -> Result<State, String> {
    let commit = ask(folder, &["rev-parse", "--verify", "HEAD"])?;
    if !commit.ok {
        return Err("the working directory is in no git repository with a commit".to_owned());
    }
    let branch = ask(folder, &["symbolic-ref", "--quiet", "--short", "HEAD"])?;
    let status = ask(folder, &["status", "--porcelain", "--untracked-files=no"])?;
    if !status.ok {
        return Err("git cannot tell whether files were changed".to_owned());
    }
    let diff = match status.bytes {
        0 => None,
        _ => Some(ask(folder, &["diff", "--no-ext-diff", "--no-textconv", "--binary", "HEAD"])?.hash),
    };
    Ok(State {
        commit: commit.head.trim().to_owned(),
        branch: branch.ok.then(|| branch.head.trim().to_owned()).filter(|b| !b.is_empty()),
        diff,
    })
}

/// What git answered.
struct Said {
    ok: bool,
    bytes: usize,
    head: String,
    hash: String,
}

fn ask(folder: &Path, args: &[&str]) -> Result<Said, String> {
    let mut command = Command::new("git");
    // It must not write, ask anybody, or start a helper that stays.
    command.args(["--no-optional-locks", "-c", "core.fsmonitor=false"]).args(args).current_dir(folder);
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| match e.kind() {
        ErrorKind::NotFound => "git was not found".to_owned(),
        _ => format!("git could not be started: {e}"),
    })?;
    let mut stdout = child.stdout.take().ok_or("git has no output")?;
    let (send, answer) = sync_channel(1);
    std::thread::spawn(move || {
        let (mut hash, mut bytes, mut head, mut buffer) = (Sha256::new(), 0, Vec::new(), vec![0; 1 << 16]);
        while let Ok(n) = stdout.read(&mut buffer) {
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            bytes += n;
            head.extend_from_slice(&buffer[..n.min(KEPT - head.len())]);
        }
        let _ = send.send((bytes, head, hash));
    });
    let answered = answer.recv_timeout(LIMIT);
    if answered.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    let (bytes, head, hash) =
        answered.map_err(|_| format!("git did not answer within {} s", LIMIT.as_secs()))?;
    let head = String::from_utf8_lossy(&head).into_owned();
    Ok(Said { ok: status.success(), bytes, head, hash: digest::hex(&hash.finalize()[..8]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        let status = Command::new("git").args(identity).args(args).current_dir(folder).output().unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    }

    #[test]
    fn a_change_shows_as_a_hash_and_an_untracked_file_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(look(path).is_err(), "no repository, no commit");
        git(path, &["init", "--initial-branch=work"]);
        std::fs::write(path.join("a"), "1\n").unwrap();
        git(path, &["add", "a"]);
        git(path, &["commit", "-m", "one"]);
        let clean = look(path).unwrap();
        assert_eq!((clean.commit.len(), clean.branch.as_deref(), &clean.diff), (40, Some("work"), &None));
        std::fs::write(path.join("beside"), "x").unwrap();
        assert_eq!(look(path).unwrap(), clean);
        std::fs::write(path.join("a"), "2\n").unwrap();
        let changed = look(path).unwrap();
        assert_eq!(changed.diff.as_deref().map(str::len), Some(16));
        std::fs::write(path.join("a"), "3\n").unwrap();
        assert_ne!(look(path).unwrap().diff, changed.diff);
        git(path, &["checkout", "--detach"]);
        assert_eq!(look(path).unwrap().branch, None);
    }
}
