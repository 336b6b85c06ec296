//! What the pages tell one to type is understood by the program.

use clap::Parser as _;

use super::{every_page, read};
use crate::Cli;

/// Every command line of ours in the fenced code of a page, with the number of its line.
fn command_lines(text: &str) -> Vec<(usize, String)> {
    let (mut fence, mut found, mut open) = (None, Vec::new(), None::<(usize, String)>);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("```") {
            // Only blocks of a shell, or of no language, hold what is typed.
            let language = line.trim_start_matches('`');
            fence =
                if fence.is_some() { None } else { Some(["", "sh", "bash", "console"].contains(&language)) };
            open = None;
            continue;
        }
        if fence != Some(true) {
            continue;
        }
        let (at, mut so_far) = open.take().unwrap_or((number + 1, String::new()));
        so_far.push_str(line.trim_end_matches('\\'));
        if line.ends_with('\\') {
            open = Some((at, so_far));
        } else {
            found.extend(ours(&so_far).map(|c| (at, c)));
        }
    }
    found
}

/// The command of ours in a line of a shell: after variables, before a pipe, a comment or another command.
fn ours(line: &str) -> Option<String> {
    let mut rest = line.trim_start_matches("$ ").trim();
    loop {
        let word = rest.split(' ').next()?;
        let name = word.split('=').next()?;
        let variable = word.contains('=')
            && name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit());
        if !variable {
            break;
        }
        rest = rest[word.len()..].trim_start();
    }
    rest.starts_with("stopwatt ").then(|| rest.to_owned())
}

/// The words of a command, up to where the shell takes over; `None` for what is a sketch or needs a shell.
fn words(command: &str) -> Option<Vec<String>> {
    if ["…", "...", "$(", "[", "real|exact", "report|", "|csv"].iter().any(|s| command.contains(s)) {
        return None;
    }
    let all = shlex::split(command)?;
    let ends = |w: &String| ["|", "&&", "&", ">", ";", "2>", "<"].contains(&w.as_str());
    let end = all.iter().position(ends).unwrap_or(all.len());
    Some(all[..end].to_vec())
}

#[test]
fn commands_in_the_documentation_are_understood() {
    let (mut understood, mut bad) = (0, Vec::new());
    for page in every_page() {
        for (line, command) in command_lines(&read(&page)) {
            let Some(words) = words(&command) else { continue };
            match Cli::try_parse_from(&words) {
                Ok(_) => understood += 1,
                Err(error) if !error.use_stderr() => understood += 1,
                Err(error) => {
                    let why = error.to_string();
                    bad.push(format!(
                        "{page}:{line}: {command}\n    {}",
                        why.lines().next().unwrap_or_default()
                    ));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(understood > 100, "only {understood} commands found");
}

#[test]
fn command_lines_are_found() {
    let page = "```\nA=1 stopwatt bench \\\n  --rate 2   # why\n$ stopwatt report | less\nother\n```\n```toml\nstopwatt x\n```\nstopwatt y\n```text\nstopwatt z\n```\n";
    let found: Vec<_> = command_lines(page).into_iter().map(|(n, c)| (n, words(&c).unwrap())).collect();
    assert_eq!(found[0].0, 2);
    assert_eq!(found[0].1, ["stopwatt", "bench", "--rate", "2"]);
    assert_eq!(found[1].1, ["stopwatt", "report"]);
    assert_eq!(found.len(), 2);
}
