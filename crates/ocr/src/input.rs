//! Files of truth and of readings: JSON lines.
//!
//! An error tells the file, the line and the key, never what stands there: it may be a patient's name.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stopwatt_quality::page::{Reading, Truth};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The file cannot be read.
    #[error("failed to read {file}")]
    Read {
        /// Name of the file.
        file: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is in another encoding.
    #[error("{file}, line {line}: not UTF-8")]
    Encoding {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
    },
    /// A line is not what is needed.
    #[error("{file}, line {line}: {problem}")]
    Line {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong, without what stands there.
        problem: String,
    },
    /// A page comes twice.
    #[error("{file}, line {line}: the same id as in line {first}")]
    Duplicate {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Line where it came first.
        first: usize,
    },
    /// A reading is of a page that is not known.
    #[error("{file}, line {line}: no page of the truth has this id ({count} such readings)")]
    Unmatched {
        /// Name of the file.
        file: String,
        /// Line of the first one, from 1.
        line: usize,
        /// How many there are.
        count: usize,
    },
    /// The file holds no line.
    #[error("{file} has no lines")]
    Empty {
        /// Name of the file.
        file: String,
    },
}

impl InputError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Encoding { .. } => Some("convert it, for instance with `iconv -f CP949 -t UTF-8`"),
            Self::Line { .. } => Some("each line is {\"id\": …, \"text\": …}; docs/ocr.md has every key"),
            Self::Duplicate { .. } => {
                Some("ids are unique; give the images of one document the same `document`")
            }
            Self::Unmatched { .. } => {
                Some("a page without truth cannot be scored: add it to the truth, or leave its reading out")
            }
            _ => None,
        }
    }
}

/// A line of a file with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<T> {
    /// From 1.
    pub number: usize,
    /// What it holds.
    pub value: T,
}

/// A page of the truth, with what the generator says of its image.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Page {
    /// Text and fields.
    #[serde(flatten)]
    pub truth: Truth,
    /// The image, relative to the folder of the truth.
    #[serde(default)]
    pub image: Option<String>,
    /// Resolution in dots per inch.
    #[serde(default)]
    pub dpi: Option<u32>,
    /// Name of the degradation.
    #[serde(default)]
    pub degrade: Option<String>,
    /// Width and height of the paper, in millimetres.
    #[serde(default)]
    pub paper_mm: Option<[f64; 2]>,
    /// Whether the page was made up, so that its content may be shown.
    #[serde(default)]
    pub synthetic: bool,
}

/// The pages of a truth file, ids unique.
///
/// # Errors
/// A file that cannot be read, in another encoding, with a wrong line, or empty.
pub fn truth(path: &Path) -> Result<Vec<Line<Page>>, InputError> {
    let pages: Vec<Line<Page>> = lines(path, true)?;
    unique(path, pages.iter().map(|p| (p.number, p.value.truth.id.as_str())))?;
    Ok(pages)
}

/// The readings of a file, ids unique, each of a page of the truth.
///
/// # Errors
/// As [`truth`], and readings of pages that are not known.
pub fn readings(path: &Path, truth: &[Line<Page>]) -> Result<Vec<Line<Reading>>, InputError> {
    let readings: Vec<Line<Reading>> = lines(path, false)?;
    unique(path, readings.iter().map(|r| (r.number, r.value.id.as_str())))?;
    let known: HashMap<&str, ()> = truth.iter().map(|p| (p.value.truth.id.as_str(), ())).collect();
    let mut unknown = readings.iter().filter(|r| !known.contains_key(r.value.id.as_str()));
    match unknown.next() {
        Some(first) => {
            Err(InputError::Unmatched { file: name(path), line: first.number, count: unknown.count() + 1 })
        }
        None => Ok(readings),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn unique<'a>(path: &Path, ids: impl Iterator<Item = (usize, &'a str)>) -> Result<(), InputError> {
    let mut first = HashMap::new();
    for (line, id) in ids {
        if let Some(first) = first.insert(id, line) {
            return Err(InputError::Duplicate { file: name(path), line, first });
        }
    }
    Ok(())
}

fn lines<T: DeserializeOwned>(path: &Path, text_needed: bool) -> Result<Vec<Line<T>>, InputError> {
    let bytes = std::fs::read(path).map_err(|source| InputError::Read { file: name(path), source })?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut out = Vec::new();
    for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let number = i + 1;
        let text = std::str::from_utf8(line)
            .map_err(|_| InputError::Encoding { file: name(path), line: number })?
            .trim();
        if text.is_empty() {
            continue;
        }
        let wrong = |problem: String| InputError::Line { file: name(path), line: number, problem };
        let value: Value =
            serde_json::from_str(text).map_err(|e| wrong(format!("not JSON at column {}", e.column())))?;
        check(&value, text_needed).map_err(wrong)?;
        // The message of the parser may quote the value, so it is not passed on.
        let value = serde_json::from_value(value).map_err(|_| {
            wrong("a key other than `id` and `text` has a value of the wrong type".to_owned())
        })?;
        out.push(Line { number, value });
    }
    if out.is_empty() { Err(InputError::Empty { file: name(path) }) } else { Ok(out) }
}

/// Looks at the keys that everybody writes, so that the message can name them.
fn check(value: &Value, text_needed: bool) -> Result<(), String> {
    let object = value.as_object().ok_or("not a JSON object")?;
    match object.get("id") {
        Some(Value::String(id)) if !id.is_empty() => {}
        Some(Value::String(_)) => return Err("`id` is empty".to_owned()),
        Some(_) => return Err("`id` is not a string".to_owned()),
        None => return Err("no `id`".to_owned()),
    }
    match object.get("text") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Null) | None if !text_needed => Ok(()),
        None => Err("no `text`: the page has no ground truth".to_owned()),
        Some(_) => Err("`text` is not a string".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Vec<Line<Page>>, InputError> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("truth.jsonl");
        std::fs::write(&path, content).expect("written");
        truth(&path)
    }

    #[track_caller]
    fn refused(content: &[u8], message: &str) {
        let error = read(content).expect_err("refused");
        assert_eq!(error.to_string(), message);
        assert!(!format!("{error:?}").contains("canary"));
    }

    #[test]
    fn mistakes_are_told_by_their_line_without_content() {
        refused(
            b"{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"canary\"}",
            "truth.jsonl, line 2: no `text`: the page has no ground truth",
        );
        refused(b"{\"text\":\"canary\"}", "truth.jsonl, line 1: no `id`");
        refused(b"{\"id\":7,\"text\":\"canary\"}", "truth.jsonl, line 1: `id` is not a string");
        refused(b"{\"id\":\"a\",\"text\":[\"canary\"]}", "truth.jsonl, line 1: `text` is not a string");
        refused(b"[\"canary\"]", "truth.jsonl, line 1: not a JSON object");
        refused(b"{\"id\":\"canary", "truth.jsonl, line 1: not JSON at column 13");
        refused(
            b"{\"id\":\"a\",\"text\":\"canary\"}\n\n{\"id\":\"a\",\"text\":\"y\"}",
            "truth.jsonl, line 3: the same id as in line 1",
        );
        refused(b"{\"id\":\"a\",\"text\":\"\xb0\xa1\"}", "truth.jsonl, line 1: not UTF-8");
        refused(b"\n \n", "truth.jsonl has no lines");
        refused(
            b"{\"id\":\"a\",\"text\":\"x\",\"fields\":\"canary\"}",
            "truth.jsonl, line 1: a key other than `id` and `text` has a value of the wrong type",
        );
    }

    #[test]
    fn a_byte_order_mark_and_further_keys_do_no_harm() {
        let pages = read("\u{feff}{\"id\":\"a\",\"text\":\"가\",\"ward\":3,\"dpi\":150}\r\n".as_bytes())
            .expect("read");
        assert_eq!(
            (pages.len(), pages[0].value.dpi, pages[0].value.truth.text.as_str()),
            (1, Some(150), "가")
        );
    }
}
