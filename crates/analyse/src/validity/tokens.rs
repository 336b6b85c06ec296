//! Do token counts agree, and were the asked lengths reached?

use stopwatt_core::RequestRow;

use super::{At, Findings};

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
        let detail = format!("the server counted {} output tokens, the tokenizer {}", counts.0, counts.1);
        findings.add("usage_mismatch", false, label, detail);
    }
    let input = pairs(|r| r.input_usage.map(|u| (u, r.input_asked)));
    if differs(input, MISSED) {
        findings.add("input_length_missed", false, label, missed(input, "input"));
    }
    let output = pairs(|r| r.output_tokens().map(|u| (u, r.output_asked)));
    if differs(output, MISSED) {
        findings.add("output_length_missed", false, label, missed(output, "output"));
    }
}

fn missed((got, asked): (u64, u64), what: &str) -> String {
    let share = got as f64 / asked.max(1) as f64;
    format!("{what} tokens are {:.0} % of what was asked for", share * 100.0)
}
