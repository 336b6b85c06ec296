//! Facts of the build for `stopwatt --version`: commit, target, features, compiler, profile.
//!
//! Nothing here depends on the time, the user or the folder of the build, so that equal sources and compilers give
//! equal programs. `STOPWATT_COMMIT` replaces what git says, for builds from an archive.

use std::path::Path;
use std::process::Command;

fn main() {
    let facts = [
        ("STOPWATT_BUILD_COMMIT", commit()),
        ("STOPWATT_BUILD_TARGET", variable("TARGET")),
        ("STOPWATT_BUILD_FEATURES", Some(features())),
        ("STOPWATT_BUILD_RUSTC", rustc()),
        ("STOPWATT_BUILD_PROFILE", variable("PROFILE")),
    ];
    for (name, value) in facts {
        tell(&format!("rustc-env={name}={}", value.as_deref().unwrap_or("unknown")));
    }
    tell("rerun-if-changed=build.rs");
    tell("rerun-if-env-changed=STOPWATT_COMMIT");
}

#[allow(clippy::print_stdout, reason = "this is how a build script speaks")]
fn tell(line: &str) {
    println!("cargo:{line}");
}

#[allow(clippy::disallowed_methods, reason = "cargo tells a build script through its environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// The commit: as told, of the repository, or of the package that `cargo install` unpacked.
fn commit() -> Option<String> {
    variable("STOPWATT_COMMIT").or_else(of_repository).or_else(of_package)
}

fn of_repository() -> Option<String> {
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    // The commit changes with HEAD, with what HEAD points to, and when references are packed.
    let head = git(&["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(head.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|p| Path::new(p).exists()) {
            tell(&format!("rerun-if-changed={path}"));
        }
    }
    Some(commit)
}

fn of_package() -> Option<String> {
    let text = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let rest = text.split_once("\"sha1\"")?.1;
    rest.split('"').nth(1).filter(|s| s.len() == 40).map(|s| s[..12].to_owned())
}

fn git(arguments: &[&str]) -> Option<String> {
    said(Command::new("git").args(arguments))
}

fn rustc() -> Option<String> {
    let said = said(Command::new(variable("RUSTC")?).arg("--version"))?;
    Some(said.trim_start_matches("rustc ").to_owned())
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    String::from_utf8(output.stdout).ok().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty())
}

fn features() -> String {
    let on: Vec<&str> = ["ops", "object-store"]
        .into_iter()
        .filter(|f| variable(&format!("CARGO_FEATURE_{}", f.to_uppercase().replace('-', "_"))).is_some())
        .collect();
    if on.is_empty() { "none".to_owned() } else { on.join(" ") }
}
