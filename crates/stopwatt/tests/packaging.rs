//! What an installed program offers besides measuring: its version with facts of the build, completions, manual pages.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::Place;

#[test]
fn the_long_version_tells_the_build() {
    let place = Place::new();
    let said = place.run(&["--version"]).expect(0).stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], format!("stopwatt {}", env!("CARGO_PKG_VERSION")));
    let fact = |name: &str| {
        let line =
            lines.iter().find_map(|l| l.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {said}"));
        line.trim().to_owned()
    };
    let commit = fact("commit");
    assert!(
        commit == "unknown" || commit.len() == 12 && commit.chars().all(|c| c.is_ascii_hexdigit()),
        "{said}"
    );
    assert!(fact("target").contains(std::env::consts::ARCH), "{said}");
    assert_eq!(fact("features").contains("ops"), cfg!(feature = "ops"), "{said}");
    assert!(fact("rustc").starts_with("1."), "{said}");
    assert!(["debug", "release"].contains(&fact("profile").as_str()), "{said}");
    assert_eq!(place.run(&["-V"]).expect(0).stdout.trim_end(), lines[0]);
}

#[test]
fn completions_know_commands_and_flags() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]).expect(0).stdout;
        for word in ["bench", "compare", "kernel-seconds", "find-budget"] {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
        assert!(!script.contains("cuda-check"), "{shell} completes what is hidden");
    }
    assert!(place.run(&["completions", "csh"]).expect(1).stderr.contains("possible values"));
}

#[test]
fn manual_pages_are_of_every_command() {
    let place = Place::new();
    let said = place.run(&["man", "pages/man1"]).expect(0).stdout;
    let mut names: Vec<String> = std::fs::read_dir(place.path("pages/man1"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(said.starts_with(&format!("{} pages", names.len())), "{said}");
    for name in ["stopwatt.1", "stopwatt-bench.1", "stopwatt-ocr-gen.1", "stopwatt-runs-list.1"] {
        assert!(names.iter().any(|n| n == name), "{name} is not in {names:?}");
    }
    assert!(!names.iter().any(|n| n.contains("guard") || n.contains("help")), "{names:?}");
    let page = std::fs::read_to_string(place.path("pages/man1/stopwatt-bench.1")).unwrap();
    assert!(
        page.starts_with(".") && page.contains(".TH stopwatt-bench 1") && page.contains("concurrency"),
        "{page}"
    );
    // A place that cannot be written is told, not passed over.
    std::fs::write(place.path("file"), "").unwrap();
    assert!(place.run(&["man", "file/below"]).expect(1).stderr.contains("file/below"));
}
