//! Cuts a file into rows: lines, or the values of a JSON file whose values span lines.

use std::io::BufRead;

use serde_json::Value;

use super::TraceError;
use super::json::not_json;

/// Longest row: a prompt of some megabytes is one, a file without line breaks is not.
const LONGEST: usize = 256 << 20;

/// Calls `each` with every line that is not blank, and its number from 1.
pub(super) fn lines(
    input: &mut dyn BufRead,
    mut each: impl FnMut(u64, &str) -> Result<(), TraceError>,
) -> Result<(), TraceError> {
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = input.read_until(b'\n', &mut bytes).map_err(|source| TraceError::Io { line, source })?;
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if !text.is_empty() {
            each(line, text)?;
        }
    }
    Ok(())
}

/// Calls `each` with every value: the elements of a list that the file is, or the values that follow each other in it;
/// and the line where it begins. One that is not JSON is given as the reason.
pub(super) fn values(
    input: &mut dyn BufRead,
    mut each: impl FnMut(u64, Result<Value, String>) -> Result<(), TraceError>,
) -> Result<(), TraceError> {
    let mut splitter = Splitter { line: 1, ..Splitter::default() };
    loop {
        let line = splitter.line;
        let bytes = input.fill_buf().map_err(|source| TraceError::Io { line, source })?;
        if bytes.is_empty() {
            break;
        }
        let n = bytes.len();
        for &byte in bytes {
            if splitter.push(byte) {
                let value = splitter.take();
                each(splitter.began, value)?;
            }
        }
        input.consume(n);
        if splitter.value.len() > LONGEST {
            return Err(TraceError::Row {
                line: splitter.began,
                reason: "it is longer than 256 MiB".to_owned(),
            });
        }
    }
    if !splitter.value.is_empty() {
        let value = splitter.take().map_err(|_| "it ends before it is complete".to_owned());
        each(splitter.began, value)?;
    }
    Ok(())
}

/// Follows brackets and strings, and nothing else of JSON.
#[derive(Default)]
struct Splitter {
    line: u64,
    /// Inside the list that the file is.
    in_list: bool,
    value: Vec<u8>,
    /// Line where the value begins.
    began: u64,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Splitter {
    /// Takes a byte; whether a value is complete with it.
    fn push(&mut self, byte: u8) -> bool {
        self.line += u64::from(byte == b'\n');
        if self.value.is_empty() {
            match byte {
                b'[' if !self.in_list => {
                    self.in_list = true;
                    return false;
                }
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b']' | 0xef | 0xbb | 0xbf => return false,
                _ => self.began = self.line,
            }
        }
        self.value.push(byte);
        if self.in_string {
            let ends = byte == b'"' && !self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            self.in_string = !ends;
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            // A value that is no object ends where the next begins.
            b',' | b'\n' if self.depth == 0 => return true,
            _ => {}
        }
        false
    }

    fn take(&mut self) -> Result<Value, String> {
        let bytes = std::mem::take(&mut self.value);
        (self.depth, self.in_string, self.escaped) = (0, false, false);
        serde_json::from_slice(&bytes).map_err(|e| not_json(&e))
    }
}
