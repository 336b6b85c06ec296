//! Scores of one page: what a reading got right and wrong. No text is kept.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::anomaly::{self, Anomalies};
use crate::cleanup::{self, Removed};
use crate::code::{self, Found};
use crate::counts::Counts;
use crate::drug::{self, Drug};
use crate::edit;
use crate::field::{self, Aligned, FieldScore, Kind, ReadFields, TrueField};
use crate::normalise::{Profile, composed, jamo, without_spaces};
use crate::order;

/// What stands on a page.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Truth {
    /// Which page; a reading has the same.
    pub id: String,
    /// Its text in reading order, lines apart.
    pub text: String,
    /// The document it belongs to, where a document has several pages or images: the unit of intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Type of document.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub doc_type: Option<String>,
    /// Its fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<TrueField>,
}

/// What was read from a page.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// Which page.
    pub id: String,
    /// The text; absent where reading failed, which counts as an empty text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Values by name: any JSON of objects and lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Value>,
    /// Why a model ended, such as `stop` or `length`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
}

/// How to score.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What counts as the same text in character and word errors.
    pub profile: Profile,
    /// Keys ([`drug::key`]) of the names of drugs that exist.
    pub drugs: BTreeSet<String>,
}

/// Scores of a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PageScore {
    /// Errors of characters under the profile.
    pub chars: Counts,
    /// The same without white space.
    pub no_space: Counts,
    /// The same without white space, syllables taken apart into jamo.
    pub jamo: Counts,
    /// Errors of words.
    pub words: Counts,
    /// Words in any order.
    pub bag: Found,
    /// Errors of characters with lines in the best order; `None` where there are too many lines.
    pub lines: Option<Counts>,
    /// Each field, in the order of the truth.
    pub fields: Vec<FieldScore>,
    /// How each name of a drug was read.
    pub drugs: Vec<Drug>,
    /// Values that were read for fields of the page beyond those it has.
    pub spurious: u64,
    /// Whole diagnosis codes; `None` where the page has no field for codes.
    pub codes: Option<Found>,
    /// Their categories of three characters.
    pub categories: Option<Found>,
    /// Odd things about the reading.
    pub anomalies: Anomalies,
    /// What was taken off before scoring.
    pub removed: Removed,
    /// Reading failed.
    pub failed: bool,
}

impl PageScore {
    /// Whether every field is right; `None` where the page has none.
    pub fn all_fields_right(&self) -> Option<bool> {
        (!self.fields.is_empty()).then(|| self.fields.iter().all(|f| f.right))
    }
}

/// Scores a reading; `None` is a page that was not read.
pub fn score(truth: &Truth, reading: Option<&Reading>, options: &Options) -> PageScore {
    let given = reading.and_then(|r| r.text.as_deref());
    let (text, removed) = cleanup::clean(given.unwrap_or(""));
    let fields = reading.and_then(|r| r.fields.as_ref());

    let profile = options.profile;
    let of = |t: &str| -> Vec<char> { t.chars().collect() };
    let (a, b) = (profile.apply(&truth.text), profile.apply(&text));
    let (bare_a, bare_b) = (without_spaces(&a), without_spaces(&b));
    let (words_a, words_b) = match profile.with_spaces() {
        same if same == profile => (a.clone(), b.clone()),
        spaced => (spaced.apply(&truth.text), spaced.apply(&text)),
    };

    let map = composed(&truth.text);
    let read = composed(&text);
    let ops = edit::align(&map.chars, &read.chars);
    let chars = match profile {
        Profile::Text => Counts::of_ops(&ops),
        _ => Counts::of(&of(&a), &of(&b)),
    };
    let no_space = Counts::of(&of(&bare_a), &of(&bare_b));
    let (values, spurious) = values(truth, &map, &text, &read.chars, &ops, fields);
    let scores: Vec<FieldScore> =
        truth.fields.iter().zip(&values).map(|(f, v)| field::score(f, v.as_deref())).collect();
    let drugs = truth
        .fields
        .iter()
        .zip(&values)
        .filter(|(f, _)| f.kind() == Kind::Drug)
        .map(|(f, v)| drug::compare(&f.value, v.as_deref().unwrap_or(""), |k| options.drugs.contains(k)))
        .collect();
    let codes = codes(truth, &text, fields.map(|_| values.as_slice()));
    let lines_of = |t: &str| -> Vec<Vec<char>> {
        t.lines().map(|l| of(&profile.apply(l))).filter(|l| !l.is_empty()).collect()
    };
    let (lines_a, lines_b) = (lines_of(&truth.text), lines_of(&text));
    PageScore {
        chars,
        no_space,
        jamo: Counts::of(&of(&jamo(&bare_a)), &of(&jamo(&bare_b))),
        words: Counts::of(
            &words_a.split_whitespace().collect::<Vec<_>>(),
            &words_b.split_whitespace().collect::<Vec<_>>(),
        ),
        bag: order::bag_of_words(&words_a, &words_b),
        lines: order::pair_lines(&lines_a, &lines_b).map(|p| order::line_counts(&lines_a, &lines_b, &p)),
        fields: scores,
        drugs,
        spurious,
        categories: codes.as_ref().map(|(truth, read)| {
            Found::of(truth.iter().map(|c| code::category(c)), read.iter().map(|c| code::category(c)))
        }),
        codes: codes.map(|(truth, read)| Found::of(truth, read)),
        anomalies: anomaly::find(
            &map.chars,
            &read.chars,
            &ops,
            reading.and_then(|r| r.finish_reason.as_deref()),
        ),
        removed,
        failed: given.is_none() && fields.is_none(),
    }
}

/// What was read for each field, and what was read beyond them.
fn values(
    truth: &Truth,
    map: &crate::normalise::Composed,
    text: &str,
    read: &[char],
    ops: &[edit::Op],
    fields: Option<&Value>,
) -> (Vec<Option<String>>, u64) {
    if let Some(fields) = fields {
        return ReadFields::of(fields).matched(&truth.fields);
    }
    if truth.fields.is_empty() {
        return (Vec::new(), 0);
    }
    let aligned = Aligned::new(&truth.text, map, text, read, ops);
    let chars: Vec<char> = truth.text.chars().collect();
    let of = |f: &TrueField| {
        let (from, to) = field::place(&chars, f).ok()?;
        aligned.read(from, to)
    };
    (truth.fields.iter().map(of).collect(), 0)
}

/// Codes of the page and of the reading: those of the fields where it has fields, else all of the text on both sides.
fn codes(truth: &Truth, text: &str, values: Option<&[Option<String>]>) -> Option<(Vec<String>, Vec<String>)> {
    let of_kind = |f: &&TrueField| f.kind() == Kind::Code;
    if !truth.fields.iter().any(|f| of_kind(&f)) {
        return None;
    }
    let Some(values) = values else { return Some((code::codes(&truth.text), code::codes(text))) };
    let fields = truth.fields.iter().zip(values).filter(|(f, _)| of_kind(f));
    let (a, b): (Vec<_>, Vec<_>) =
        fields.map(|(f, v)| (code::codes(&f.value), code::codes(v.as_deref().unwrap_or("")))).unzip();
    Some((a.concat(), b.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> Truth {
        let field = |name: &str, value: &str| TrueField {
            name: name.to_owned(),
            value: value.to_owned(),
            kind: None,
            row: None,
            span: None,
        };
        Truth {
            id: "a".to_owned(),
            text: "진단서\n진단명 제2형 당뇨병 E11.9\n약물 메트포르민정 500mg".to_owned(),
            fields: vec![field("진단코드", "E11.9"), field("약물명", "메트포르민정"), field("용량", "500mg")],
            ..Truth::default()
        }
    }

    fn read(text: &str) -> PageScore {
        let reading = Reading { id: "a".to_owned(), text: Some(text.to_owned()), ..Reading::default() };
        let options = Options { drugs: ["글리메피리드정".to_owned()].into(), ..Options::default() };
        score(&truth(), Some(&reading), &options)
    }

    #[test]
    fn a_perfect_reading_has_no_error() {
        let s = read(&truth().text);
        assert_eq!((s.chars.errors(), s.jamo.errors(), s.words.errors(), s.bag.missed), (0, 0, 0, 0));
        assert!(s.all_fields_right() == Some(true) && s.codes.unwrap().f1() == Some(1.0) && !s.failed);
        let s = read(&format!("```\n{}\n```", truth().text));
        assert_eq!((s.chars.errors(), s.removed.code_fences), (0, 2));
    }

    #[test]
    fn errors_are_where_they_belong() {
        let s = read("진단서\n진단명 제2형 당뇨병 E11.8\n약물 글리메피리드정 50mg");
        assert_eq!(s.fields.iter().map(|f| f.right).collect::<Vec<_>>(), [false, false, false]);
        assert_eq!(s.drugs, [Drug::AnotherDrug]);
        assert_eq!(s.fields[2].quantity, Some(crate::number::Quantity::Decimal));
        assert_eq!((s.codes.unwrap().right, s.categories.unwrap().right), (0, 1));
    }

    #[test]
    fn nothing_read_is_all_wrong() {
        let s = score(&truth(), None, &Options::default());
        assert!(s.failed && s.chars.rate() == Some(1.0) && s.drugs == [Drug::Missing]);
        assert_eq!(s.chars.deletions, s.chars.reference);
    }

    #[test]
    fn spaces_and_syllables_are_told_apart() {
        // 단→딘 is one of three jamo; a space is lost.
        let s = read("진단서\n진딘명 제2형당뇨병 E11.9\n약물 메트포르민정 500mg");
        assert_eq!((s.chars.errors(), s.no_space.errors(), s.jamo.errors()), (2, 1, 1));
        assert!(s.jamo.reference > s.no_space.reference);
    }
}
