//! Plain text tables: columns of equal width, numbers flush right.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

/// Rows under a header; the first column is set flush left.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(|h| h.width());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (i, (cell, width)) in cells.zip(widths).enumerate() {
            // The formatter pads by characters, and Korean ones are two columns wide.
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            let _ = if i == 0 { write!(out, "  {cell}{pad}") } else { write!(out, "  {pad}{cell}") };
        }
        text.push_str(out.trim_end());
        text.push('\n');
    };
    line(&mut header.into_iter());
    rows.iter().for_each(|row| line(&mut row.iter().map(String::as_str)));
    text
}

/// Seconds with a unit of handy size and four digits.
pub(super) fn seconds(value: f64) -> String {
    let (factor, unit) = match value {
        v if v < 0.999_95e-3 => (1e6, "µs"),
        v if v < 0.999_95 => (1e3, "ms"),
        _ => (1.0, "s"),
    };
    format!("{} {unit}", digits(value * factor))
}

/// Bytes in powers of 1024.
pub(super) fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled >= 1023.95 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{} {}", digits(scaled), units[unit])
}

/// A number with four digits, never in powers of ten below a million.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v >= 999.95 => format!("{value:.0}"),
        v if v >= 99.995 => format!("{value:.1}"),
        v if v >= 9.9995 => format!("{value:.2}"),
        v if v >= 0.99995 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits() {
        assert_eq!(seconds(0.014), "14.00 ms");
        assert_eq!(seconds(4.5e-6), "4.500 µs");
        assert_eq!(seconds(0.999_96), "1.000 s");
        assert_eq!(bytes(131_072.0), "128.0 KiB");
        assert_eq!(bytes(16_060_522_496.0), "14.96 GiB");
        assert_eq!((digits(0.0), digits(2285.7), digits(0.5)), ("0".into(), "2286".into(), "0.5000".into()));
    }

    #[test]
    fn columns_line_up() {
        let text =
            table(["part", "time"], &[["qkv".into(), "1 ms".into()], ["attention".into(), "10 ms".into()]]);
        assert_eq!(text, "  part        time\n  qkv         1 ms\n  attention  10 ms\n");
        let text = table(["유형", "n"], &[["a".into(), "1".into()]]);
        assert_eq!(text, "  유형  n\n  a     1\n");
    }
}
