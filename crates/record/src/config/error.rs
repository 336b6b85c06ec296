//! Why a configuration was refused: what is wrong, where it was written, and what would be right.

use std::fmt::{self, Write as _};
use std::io;

use super::tree::Spot;
use crate::redact;

/// Where a refused setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// In a file.
    File {
        /// File name without its folder.
        name: String,
        /// Line, from 1.
        line: u32,
        /// First column of what is meant, in characters from 1.
        column: u32,
        /// The line itself, without secrets.
        excerpt: String,
        /// Characters that are meant.
        width: u32,
    },
    /// In a variable, an override or a flag, named as the user knows it.
    Named(String),
}

impl Location {
    pub(super) fn of(spot: &Spot) -> Box<Self> {
        Box::new(match spot {
            Spot::BuiltIn => Self::Named("built-in defaults".to_owned()),
            Spot::Named(name) => Self::Named(redact::text(name)),
            Spot::File { source, line, column, width } => {
                let text = source.text.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default();
                Self::File {
                    name: source.name.clone(),
                    line: *line,
                    column: column + 1,
                    excerpt: redact::text(text),
                    width: *width,
                }
            }
        })
    }
}

impl fmt::Display for Location {
    /// Ends where the message begins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "{name}: "),
            Self::File { name, line, column, excerpt, width } => {
                let number = line.to_string();
                let gutter = " ".repeat(number.len());
                // Tabs are kept in front of the marks, so that they stand under what they mean.
                let mut lead = String::new();
                for c in excerpt.chars().take(column.saturating_sub(1) as usize) {
                    lead.push(if c == '\t' { '\t' } else { ' ' });
                }
                let left = (excerpt.chars().count() as u32).saturating_sub(column - 1);
                let marks = "^".repeat((*width).min(left).max(1) as usize);
                writeln!(f, "in {name}")?;
                writeln!(f, "{number} | {}", excerpt.trim_end())?;
                writeln!(f, "{gutter} | {lead}{marks}")
            }
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("failed to read {name}")]
    Read {
        /// File name without its folder.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The extension is neither of YAML nor of TOML.
    #[error("{name} is neither YAML nor TOML by its extension")]
    Extension {
        /// File name without its folder.
        name: String,
    },
    /// The text is not YAML or TOML.
    #[error("{at}{message}")]
    Syntax {
        /// Where.
        at: Box<Location>,
        /// What the parser said.
        message: String,
    },
    /// No such setting.
    #[error("{at}unknown field `{field}`{}", expectation(expected, *others, elsewhere))]
    UnknownField {
        /// Where.
        at: Box<Location>,
        /// The key as written.
        field: String,
        /// Keys that exist at this place, nearest first.
        expected: Vec<String>,
        /// How many more exist.
        others: usize,
        /// Settings of this very name at other places.
        elsewhere: Vec<String>,
    },
    /// A value of the wrong type.
    #[error("{at}`{key}` takes {expected}, not {found}")]
    Type {
        /// Where.
        at: Box<Location>,
        /// Dotted key.
        key: String,
        /// What it takes.
        expected: String,
        /// What was written.
        found: String,
    },
    /// A value of the right type that is not permitted.
    #[error("{at}`{key}`: {problem}")]
    Value {
        /// Where.
        at: Box<Location>,
        /// Dotted key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A setting that is planned and not built.
    #[error("{at}`{key}` is not available in this version")]
    NotAvailable {
        /// Where.
        at: Box<Location>,
        /// Dotted key.
        key: String,
    },
    /// An override is not of the form `key=value`.
    #[error("--override {text}: not of the form key=value")]
    Override {
        /// What was written.
        text: String,
    },
}

impl ConfigError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Extension { .. } => Some("name it .yaml, .yml or .toml"),
            Self::UnknownField { .. } | Self::Type { .. } => {
                Some("--print-schema lists every setting, --dry-run shows the values in use")
            }
            Self::Override { .. } => Some("for instance --override measure.repeats=10"),
            _ => None,
        }
    }
}

fn expectation(expected: &[String], others: usize, elsewhere: &[String]) -> String {
    let mut text = String::new();
    if !elsewhere.is_empty() {
        let names: Vec<_> = elsewhere.iter().map(|e| format!("`{e}`")).collect();
        let _ = write!(text, "; did you mean {}?", one_of(&names));
        return text;
    }
    let mut names: Vec<_> = expected.iter().map(|e| format!("`{e}`")).collect();
    match others {
        0 => {}
        1 => names.push("1 other".to_owned()),
        n => names.push(format!("{n} others")),
    }
    if !names.is_empty() {
        let _ = write!(text, ", expected {}", one_of(&names));
    }
    text
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn one_of(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [front @ .., last] => format!("{} or {last}", front.join(", ")),
    }
}
