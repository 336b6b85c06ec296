//! What only a generating model does: loops, refusals, talk around the text, invented passages, answers cut off.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::edit::Op;

/// Longest period of a loop that is looked for, in characters.
const LONGEST_PERIOD: usize = 200;
/// A loop comes at least this often.
const LEAST_TURNS: usize = 4;
/// A loop has at least this many characters in all.
const LEAST_CHARS: usize = 60;
/// Characters of the answer in which a refusal or talk is looked for.
const OPENING: usize = 120;

/// Words with which models refuse.
const REFUSALS: [&str; 12] = [
    "죄송합니다",
    "죄송하지만",
    "도와드릴 수 없",
    "제공할 수 없",
    "읽을 수 없습니다",
    "i'm sorry",
    "i am sorry",
    "i cannot",
    "i can't",
    "i'm unable",
    "i am unable",
    "as an ai",
];
/// Words with which models introduce what they read.
const INTRODUCTIONS: [&str; 8] =
    ["다음은", "아래는", "이미지에서", "here is", "here's", "the image", "sure,", "certainly"];

/// What is odd about a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Anomalies {
    /// Longest run of characters that do not stand on the page.
    pub longest_insertion: u64,
    /// The reading repeats a passage that the page does not repeat.
    pub repetition_loop: bool,
    /// The model refused.
    pub refusal: bool,
    /// The model talked about the text before writing it.
    pub chatter: bool,
    /// The answer ended because of its limit of tokens; `None` where it is not known why it ended.
    pub cut_off: Option<bool>,
}

/// Looks for anomalies of a reading whose characters `ops` aligns with the reference.
pub fn find(reference: &[char], reading: &[char], ops: &[Op], finish_reason: Option<&str>) -> Anomalies {
    let (mut longest, mut run) = (0_u64, 0_u64);
    for op in ops {
        run = if *op == Op::Insert { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let (opening, page) = (opening(reading), opening(reference));
    let says = |words: &[&str]| words.iter().any(|w| opening.contains(w) && !page.contains(w));
    let errors = ops.iter().filter(|op| **op != Op::Equal).count();
    Anomalies {
        longest_insertion: longest,
        repetition_loop: repeats(reading) && !repeats(reference),
        // Where most of the page was read all the same, it is no refusal.
        refusal: says(&REFUSALS) && errors * 2 > reference.len(),
        chatter: says(&INTRODUCTIONS),
        cut_off: finish_reason.map(|reason| reason == "length"),
    }
}

/// Whether an answer opens with words of a refusal.
pub(crate) fn refuses(answer: &[char]) -> bool {
    let opening = opening(answer);
    REFUSALS.iter().any(|words| opening.contains(words))
}

/// The begin of a text, where a refusal or talk stands.
fn opening(text: &[char]) -> String {
    text.iter().take(OPENING).collect::<String>().to_lowercase()
}

/// Whether some passage follows itself several times.
pub(crate) fn repeats(text: &[char]) -> bool {
    (1..=LONGEST_PERIOD.min(text.len() / LEAST_TURNS)).any(|period| {
        // A run of n characters equal to those a period before is a passage of n + period.
        let needed = (LEAST_TURNS * period).max(LEAST_CHARS) - period;
        let mut run = 0;
        text.iter().zip(&text[period..]).any(|(a, b)| {
            run = if a == b { run + 1 } else { 0 };
            run >= needed
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::align;

    fn of(reference: &str, reading: &str) -> Anomalies {
        let (a, b): (Vec<char>, Vec<char>) = (reference.chars().collect(), reading.chars().collect());
        find(&a, &b, &align(&a, &b), None)
    }

    #[test]
    fn a_loop_is_found_also_inside_valid_json() {
        let page = "처방전 아스피린 100mg 1일 1회 아침 식후 30분 복용";
        let json = format!(r#"{{"text":"{page} {}"}}"#, "1일 1회 아침 식후, ".repeat(8));
        assert!(of(page, &json).repetition_loop);
        assert!(!of(page, page).repetition_loop);
        // A ruled line that stands on the page is no loop.
        let ruled = format!("{page}{}", "-".repeat(80));
        assert!(!of(&ruled, &ruled).repetition_loop && of(page, &ruled).repetition_loop);
    }

    #[test]
    fn refusals_and_talk() {
        let page = "진단서 환자명 김가상 진단명 본태성 고혈압";
        let refused = of(page, "죄송합니다. 의료 문서는 도와드릴 수 없습니다.");
        assert!(refused.refusal);
        let talked = of(page, &format!("다음은 문서의 내용입니다: {page}"));
        assert!(talked.chatter && !talked.refusal && talked.longest_insertion >= 10);
        assert_eq!(of(page, page), Anomalies { cut_off: None, ..Anomalies::default() });
        // A letter that apologises is read, not refused.
        assert!(!of("죄송합니다만 예약이 변경되었습니다", "죄송합니다만 예약이").refusal);
    }

    #[test]
    fn the_limit_of_tokens_is_told() {
        let cut = |reason| find(&[], &[], &[], reason).cut_off;
        assert_eq!((cut(Some("length")), cut(Some("stop")), cut(None)), (Some(true), Some(false), None));
    }
}
