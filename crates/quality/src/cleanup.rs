//! What a language model writes around the text it read, taken off before scoring and counted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// Blocks of reasoning (`<think>`).
    pub think_blocks: u64,
    /// Lines that begin or end a block of code.
    pub code_fences: u64,
    /// Tags of HTML tables and line breaks.
    pub html_tags: u64,
    /// Lines that are only the rule of a Markdown table.
    pub table_rules: u64,
    /// Lines of a Markdown table, whose bars became spaces.
    pub table_rows: u64,
}

impl Removed {
    /// Whether anything was.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

const TAGS: [&str; 12] =
    ["table", "thead", "tbody", "tr", "td", "th", "br", "p", "div", "span", "html", "body"];

/// The text without such marks. Cells are set apart by spaces, rows by line breaks.
pub fn clean(text: &str) -> (String, Removed) {
    let mut removed = Removed::default();
    let text = without_thoughts(text, &mut removed);
    let text = without_tags(&text, &mut removed);
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        if bare.starts_with("```") {
            removed.code_fences += 1;
        } else if bare.contains('|') && bare.contains("--") && bare.chars().all(|c| "|-: ".contains(c)) {
            removed.table_rules += 1;
        } else if bare.len() > 1 && bare.starts_with('|') && bare.ends_with('|') {
            removed.table_rows += 1;
            out.push_str(bare.replace('|', " ").trim());
            out.push('\n');
        } else {
            out.push_str(line);
        }
    }
    (out, removed)
}

fn without_thoughts(text: &str, removed: &mut Removed) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(from) = rest.find("<think>") {
        out.push_str(&rest[..from]);
        removed.think_blocks += 1;
        // Without an end it was cut off: all of it is thought.
        rest = rest[from..].find("</think>").map_or("", |to| &rest[from + to + "</think>".len()..]);
    }
    // Some servers send the end alone.
    if let Some(to) = rest.find("</think>") {
        removed.think_blocks += 1;
        rest = &rest[to + "</think>".len()..];
    }
    out.push_str(rest);
    out
}

fn without_tags(text: &str, removed: &mut Removed) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(from) = rest.find('<') {
        out.push_str(&rest[..from]);
        rest = &rest[from..];
        let inner = rest[1..].split('>').next().unwrap_or_default();
        let name = inner.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        let tag = TAGS.iter().any(|t| name.eq_ignore_ascii_case(t)) && inner.len() + 1 < rest.len();
        if tag {
            removed.html_tags += 1;
            let row = name.eq_ignore_ascii_case("tr") || name.eq_ignore_ascii_case("br");
            out.push(if row { '\n' } else { ' ' });
            rest = &rest[inner.len() + 2..];
        } else {
            out.push('<');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::Profile;

    #[track_caller]
    fn check(text: &str, expected: &str) -> Removed {
        let (clean, removed) = clean(text);
        assert_eq!(Profile::Text.apply(&clean), expected);
        removed
    }

    #[test]
    fn marks_are_taken_off_and_counted() {
        let r = check(
            "<think>음</think>```text\n| 약물 | 용량 |\n|---|:-:|\n| A | 5mg |\n```",
            "약물 용량 A 5mg",
        );
        assert_eq!((r.think_blocks, r.code_fences, r.table_rules, r.table_rows), (1, 2, 1, 2));
        let r = check("<table><tr><td>pH</td><td>7.4</td></tr></table>", "pH 7.4");
        assert_eq!(r.html_tags, 8);
        assert_eq!(check("<think>끝없는 생각", "").think_blocks, 1);
    }

    #[test]
    fn what_stands_on_the_page_stays() {
        for text in ["CRP <0.01 mg/dL", "a < b > c", "p<0.05", "참고치 | 3.5", "5 --- 6", "일반|텍스트"]
        {
            assert!(!check(text, text).any(), "{text}");
        }
    }
}
