//! `docs/reference/cli.md`: every command and flag.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::check;
use crate::Cli;

#[test]
fn reference_of_commands() {
    let mut tree = Cli::command().disable_help_subcommand(true);
    tree.build();
    let mut page = String::from(
        "# Commands\n\nMade from the program (`UPDATE_DOCS=1 cargo test -p stopwatt documentation`). The same text is printed by \
         `stopwatt COMMAND --help`, and by `man stopwatt-COMMAND` after `stopwatt man DIR`.\n\n",
    );
    let visible = |c: &&Command| !c.is_hide_set();
    for command in tree.get_subcommands().filter(visible) {
        let name = command.get_name();
        writeln!(page, "- [`stopwatt {name}`](#stopwatt-{name}): {}", plain(command.get_about())).unwrap();
    }
    page.push_str("\n## Exit codes\n\n| code | meaning |\n|---:|---|\n");
    for line in crate::exit::TABLE.lines().skip(1) {
        let (code, meaning) = line.trim().split_once(' ').unwrap();
        writeln!(page, "| {code} | {} |", escaped(meaning.trim())).unwrap();
    }
    for command in tree.get_subcommands().filter(visible) {
        section(command, 2, &mut page);
    }
    check("docs/reference/cli.md", &page);
}

fn plain(text: Option<&clap::builder::StyledStr>) -> String {
    escaped(&text.map(ToString::to_string).unwrap_or_default())
}

/// Text of a help page as Markdown: what stands between backticks stays as it is.
fn escaped(text: &str) -> String {
    let mut code = false;
    let mut out = String::new();
    for c in text.chars() {
        code ^= c == '`';
        if !code && matches!(c, '<' | '>' | '*' | '|' | '[' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn section(command: &Command, depth: usize, page: &mut String) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).replace('-', " ");
    // `build` joins names with hyphens; a command's own hyphen comes back.
    let name = match command.get_name() {
        own if own.contains('-') => name.replace(&own.replace('-', " "), own),
        _ => name,
    };
    writeln!(page, "\n{} {name}\n", "#".repeat(depth)).unwrap();
    let about = command.get_long_about().or_else(|| command.get_about());
    writeln!(page, "{}\n", plain(about)).unwrap();
    let usage = command.clone().render_usage().to_string();
    let usage: Vec<&str> = usage.lines().map(|l| l.trim().trim_start_matches("Usage: ")).collect();
    writeln!(page, "```text\n{}\n```", usage.join("\n")).unwrap();
    let shown: Vec<&Arg> =
        command.get_arguments().filter(|a| !a.is_hide_set() && a.get_id() != "help").collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for heading in shown.iter().map(|a| a.get_help_heading()) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings.sort_by_key(Option::is_some);
    for heading in headings {
        if let Some(heading) = heading {
            write!(page, "\n**{heading}**\n").unwrap();
        }
        page.push('\n');
        for arg in shown.iter().filter(|a| a.get_help_heading() == heading) {
            writeln!(page, "- {}", of(arg)).unwrap();
        }
    }
    if let Some(after) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        let after = after.to_string();
        let (title, examples) = after.split_once('\n').unwrap_or(("", after.as_str()));
        writeln!(page, "\n{title}\n\n```text\n{}\n```", examples.trim_end()).unwrap();
    }
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        section(below, depth + 1, page);
    }
}

/// A line on an argument: how it is written, what it does, its default and its choices.
fn of(arg: &Arg) -> String {
    let values: Vec<String> = arg
        .get_value_names()
        .filter(|_| arg.get_action().takes_values())
        .unwrap_or_default()
        .iter()
        .map(|v| format!("<{v}>"))
        .collect();
    let mut written = [arg.get_short().map(|s| format!("-{s}")), arg.get_long().map(|l| format!("--{l}"))]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    if !values.is_empty() {
        if !written.is_empty() {
            written.push(' ');
        }
        written += &values.join(" ");
    }
    let mut line = format!("`{written}`: {}", plain(arg.get_long_help().or_else(|| arg.get_help())));
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && !arg.is_hide_default_value_set() && arg.get_action().takes_values() {
        write!(line, " \\[default: {}\\]", escaped(&defaults.join(","))).unwrap();
    }
    let choices = arg.get_possible_values();
    let choices: Vec<_> = choices.iter().filter(|v| !v.is_hide_set()).collect();
    if arg.get_action().takes_values() && !choices.is_empty() {
        for choice in choices {
            write!(line, "\n  - `{}`", choice.get_name()).unwrap();
            if let Some(help) = choice.get_help() {
                write!(line, ": {}", plain(Some(help))).unwrap();
            }
        }
    }
    line.replace("\n\n", "\n\n  ")
}
