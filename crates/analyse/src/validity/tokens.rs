//! Do token counts agree, and were the asked lengths reached?

use stopwatt_core::RequestRow;
use stopwatt_core::verdict::Code;

use super::{At, Findings};
use crate::settings::TokenRanges;

/// Largest difference between the server's and the tokenizer's count.
const MISMATCH: f64 = 0.01;
/// Largest distance from the asked length.
const MISSED: f64 = 0.10;

pub(super) fn check(at: &At<'_>, findings: &mut Findings) {
    let label = Some(at.document.label.as_str());
    let pairs = |of: fn(&RequestRow) -> Option<(u32, u32)>| {
        let found = at.point.rows().filter(|r| r.is_ok()).filter_map(|r| of(r.record));
        found.fold((0u64, 0u64), |(a, b), (x, y)| (a + u64::from(x), b + u64::from(y)))
    };
    let differs = |(got, wanted): (u64, u64), by: f64| got.abs_diff(wanted) as f64 > by * wanted as f64;

    let counts = pairs(|r| r.output_usage.zip(r.output_tokenizer));
    if differs(counts, MISMATCH) {
        findings.add(Code::UsageMismatch, label, [counts.0.to_string(), counts.1.to_string()]);
    }
    let input = pairs(|r| r.input_usage.map(|u| (u, r.input_asked)));
    if differs(input, MISSED) {
        findings.add(Code::InputLengthMissed, label, [percent(input)]);
    }
    let output = pairs(|r| r.output_tokens().map(|u| (u, r.output_asked)));
    if differs(output, MISSED) {
        findings.add(Code::OutputLengthMissed, label, [percent(output)]);
    }
}

/// Requests outside the range that their profile states.
pub(super) fn check_ranges(at: &At<'_>, ranges: Option<TokenRanges>, findings: &mut Findings) {
    let Some(TokenRanges { input, output }) = ranges else { return };
    let outside = |n: Option<u32>, [least, most]: [u32; 2]| n.is_some_and(|n| n < least || n > most);
    let rows: Vec<&RequestRow> = at.point.rows().filter(|r| r.is_ok()).map(|r| r.record).collect();
    let count = rows.iter().filter(|r| {
        outside(Some(r.input_usage.unwrap_or(r.input_asked)), input) || outside(r.output_tokens(), output)
    });
    let count = count.count();
    if count > 0 {
        let range = format!("{}–{} + {}–{}", input[0], input[1], output[0], output[1]);
        let values = [count.to_string(), rows.len().to_string(), range];
        findings.add(Code::OutsideTokenRange, Some(at.document.label.as_str()), values);
    }
}

fn percent((got, asked): (u64, u64)) -> String {
    format!("{:.0}", got as f64 / asked.max(1) as f64 * 100.0)
}
