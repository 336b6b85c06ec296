//! Traces in CSV: Azure and BurstGPT.

use std::io::BufRead;

use stopwatt_core::Nanos;

use super::{Entry, Format, Rows, TraceError, split, tokens};
use crate::timestamp;

/// Where a CSV trace keeps what.
pub(super) struct Layout {
    pub(super) format: Format,
    time: &'static str,
    input: &'static str,
    output: &'static str,
    parse_time: fn(&str) -> Option<Nanos>,
}

pub(super) const LAYOUTS: [Layout; 2] = [
    Layout {
        format: Format::Azure,
        time: "TIMESTAMP",
        input: "ContextTokens",
        output: "GeneratedTokens",
        parse_time: timestamp::parse,
    },
    Layout {
        format: Format::BurstGpt,
        time: "Timestamp",
        input: "Request tokens",
        output: "Response tokens",
        parse_time: seconds,
    },
];

impl Layout {
    /// Whether a file with this header is of the format.
    pub(super) fn matches(&self, header: &str) -> bool {
        let names = fields(header);
        [self.input, self.output].iter().all(|name| names.iter().any(|n| n.eq_ignore_ascii_case(name)))
    }
}

/// Reads every row after the header.
pub(super) fn read(input: &mut dyn BufRead, format: Format, take: &mut Rows<'_>) -> Result<(), TraceError> {
    let Some(layout) = LAYOUTS.iter().find(|l| l.format == format) else { return Err(TraceError::Format) };
    let mut columns: Option<[usize; 3]> = None;
    split::lines(input, |line, text| match columns {
        None => {
            let names = fields(text);
            let at = |name: &'static str| names.iter().position(|n| n.eq_ignore_ascii_case(name)).ok_or(name);
            let found = [layout.time, layout.input, layout.output].map(at);
            if let Some(missing) = found.iter().find_map(|f| f.err()) {
                // Without its header no row can be read, so this is not a row to skip.
                return Err(TraceError::Row {
                    line,
                    reason: format!("the header has no column `{missing}`"),
                });
            }
            columns = Some(found.map(|f| f.unwrap_or_default()));
            Ok(())
        }
        Some(columns) => take(line, row(layout, columns, text)),
    })
}

fn row(layout: &Layout, columns: [usize; 3], text: &str) -> Result<Entry, String> {
    let fields = fields(text);
    let names = [layout.time, layout.input, layout.output];
    let mut cells = ["", "", ""];
    for (cell, (column, name)) in cells.iter_mut().zip(columns.into_iter().zip(names)) {
        *cell = fields.get(column).ok_or_else(|| format!("it has no value for `{name}`"))?;
    }
    let at = (layout.parse_time)(cells[0])
        .ok_or_else(|| format!("`{}` in `{}` is not a time", shown(cells[0]), layout.time))?;
    let count = |cell: &str, name: &str| match cell.trim().parse::<u64>() {
        Ok(n) => tokens(name, n),
        Err(_) => Err(format!("`{}` in `{name}` is not a number of tokens", shown(cell))),
    };
    Ok(Entry::lengths(Some(at), count(cells[1], layout.input)?, count(cells[2], layout.output)?))
}

/// What a bad cell holds, short enough for a line.
fn shown(cell: &str) -> String {
    cell.trim().chars().take(40).collect()
}

/// Seconds with a fraction.
fn seconds(text: &str) -> Option<Nanos> {
    let s: f64 = text.trim().parse().ok()?;
    (s.is_finite() && s.abs() < 9e9).then(|| (s * 1e9).round() as Nanos)
}

/// The fields of a line. A quoted field may hold commas; traces hold no line breaks in fields.
fn fields(line: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let (mut begin, mut quoted) = (0, false);
    for (i, b) in line.bytes().enumerate() {
        match b {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                fields.push(&line[begin..i]);
                begin = i + 1;
            }
            _ => {}
        }
    }
    fields.push(&line[begin..]);
    fields.into_iter().map(|f| f.trim().trim_matches('"')).collect()
}
