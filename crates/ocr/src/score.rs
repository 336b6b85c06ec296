//! Readings scored against the truth, by type of document.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_quality::field::Kind;
use stopwatt_quality::page::{self, PageScore, Reading};
use stopwatt_quality::summary::{Interval, LEVEL, Rate, Scored, Summary, summarise};
use stopwatt_quality::{Profile, drug};

use crate::input::{Line, Page};

/// Version of [`ScoreDoc`].
pub const FORMAT: &str = "stopwatt-ocr-score/1";
/// Group of pages without a type.
pub const NO_TYPE: &str = "-";

/// How to score.
#[derive(Debug, Clone)]
pub struct Options {
    /// What counts as the same text in rates of characters and words.
    pub profile: Profile,
    /// Names of drugs beyond those of the truth.
    pub drugs: Vec<String>,
    /// Leave pages without a reading out instead of scoring them as empty.
    pub exclude_failed: bool,
    /// Seed of the intervals.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { profile: Profile::Text, drugs: Vec::new(), exclude_failed: false, seed: 0 }
    }
}

/// What `ocr score` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScoreDoc {
    /// Version of this document.
    pub format: String,
    /// Profile of the rates of characters and words.
    pub normalisation: Profile,
    /// Profile of fields.
    pub field_normalisation: Profile,
    /// Level of every interval.
    pub level: f64,
    /// Seed of the intervals.
    pub seed: u64,
    /// Pages that were scored.
    pub pages: u64,
    /// Documents they belong to.
    pub documents: u64,
    /// Characters of the references.
    pub reference_characters: u64,
    /// Characters read as others.
    pub substitutions: u64,
    /// Characters that are missing.
    pub deletions: u64,
    /// Characters that were added.
    pub insertions: u64,
    /// All errors of characters / all characters.
    pub cer_micro: Option<f64>,
    /// Mean character error rate of a page.
    pub cer_macro: Option<f64>,
    /// The same as `cer_micro` without white space.
    pub cer_nospace_micro: Option<f64>,
    /// Without white space, by jamo.
    pub cer_jamo_micro: Option<f64>,
    /// With lines in the best order.
    pub cer_any_order_micro: Option<f64>,
    /// All errors of words / all words.
    pub wer_micro: Option<f64>,
    /// Mean word error rate of a page.
    pub wer_macro: Option<f64>,
    /// Share of the fields read right.
    pub field_accuracy: Option<f64>,
    /// F1 of whole diagnosis codes.
    pub diagnosis_code_f1: Option<f64>,
    /// Intervals of the rates above, by name; `null` where there is none.
    pub intervals: BTreeMap<String, Option<Interval>>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Everything together.
    pub all: Summary,
    /// By type of document; `-` holds pages without one.
    pub types: BTreeMap<String, Summary>,
}

/// A page with its scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PageLine {
    /// Which page.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub doc_type: Option<String>,
    /// Its scores.
    #[serde(flatten)]
    pub score: PageScore,
}

/// Scores of all pages, in the order of the truth, and their summary.
pub fn score(
    truth: &[Line<Page>],
    readings: &[Line<Reading>],
    options: &Options,
) -> (ScoreDoc, Vec<PageLine>) {
    let by_id: HashMap<&str, &Reading> = readings.iter().map(|r| (r.value.id.as_str(), &r.value)).collect();
    let drugs: BTreeSet<String> = truth
        .iter()
        .flat_map(|p| &p.value.truth.fields)
        .filter(|f| f.kind() == Kind::Drug)
        .map(|f| drug::key(&f.value))
        .chain(options.drugs.iter().map(|name| drug::key(name)))
        .collect();
    let of_page = page::Options { profile: options.profile, drugs };
    let mut scored = Vec::new();
    let mut lines = Vec::new();
    let (mut left_out, mut decomposed) = (0_u64, 0_u64);
    for page in truth.iter().map(|p| &p.value.truth) {
        let reading = by_id.get(page.id.as_str()).copied();
        let score = page::score(page, reading, &of_page);
        if score.failed && options.exclude_failed {
            left_out += 1;
            continue;
        }
        let text = reading.and_then(|r| r.text.as_deref()).unwrap_or("");
        decomposed += u64::from(text.chars().any(|c| matches!(c, '\u{1160}'..='\u{11ff}')));
        let document = page.document.as_deref().unwrap_or(&page.id);
        let fields: Vec<&str> = page.fields.iter().map(|f| f.name.as_str()).collect();
        lines.push(PageLine { id: page.id.clone(), doc_type: page.doc_type.clone(), score: score.clone() });
        scored.push((page.doc_type.as_deref().unwrap_or(NO_TYPE), Scored { document, fields, score }));
    }
    let mut groups: BTreeMap<&str, Vec<Scored<'_>>> = BTreeMap::new();
    for (name, page) in &scored {
        groups.entry(name).or_default().push(page.clone());
    }
    let everything: Vec<Scored<'_>> = scored.iter().map(|(_, page)| page.clone()).collect();
    let all = summarise(&everything, options.seed);
    let types =
        groups.into_iter().map(|(name, pages)| (name.to_owned(), summarise(&pages, options.seed))).collect();
    let notes = notes(&all, options.profile, left_out, decomposed);
    (document(all, types, options, notes), lines)
}

fn document(
    all: Summary,
    types: BTreeMap<String, Summary>,
    options: &Options,
    notes: Vec<String>,
) -> ScoreDoc {
    let field = all.all_fields.as_ref().map(|f| f.accuracy.clone()).unwrap_or_default();
    let rates: [(&str, &Rate); 8] = [
        ("cer_micro", &all.cer.micro),
        ("cer_macro", &all.cer.r#macro),
        ("cer_nospace_micro", &all.cer_nospace.micro),
        ("cer_jamo_micro", &all.cer_jamo.micro),
        ("cer_any_order_micro", &all.cer_any_order.micro),
        ("wer_micro", &all.wer.micro),
        ("wer_macro", &all.wer.r#macro),
        ("field_accuracy", &field),
    ];
    ScoreDoc {
        format: FORMAT.to_owned(),
        normalisation: options.profile,
        field_normalisation: Profile::KoMed,
        level: LEVEL,
        seed: options.seed,
        pages: all.pages,
        documents: all.documents,
        reference_characters: all.cer.counts.reference,
        substitutions: all.cer.counts.substitutions,
        deletions: all.cer.counts.deletions,
        insertions: all.cer.counts.insertions,
        cer_micro: all.cer.micro.value,
        cer_macro: all.cer.r#macro.value,
        cer_nospace_micro: all.cer_nospace.micro.value,
        cer_jamo_micro: all.cer_jamo.micro.value,
        cer_any_order_micro: all.cer_any_order.micro.value,
        wer_micro: all.wer.micro.value,
        wer_macro: all.wer.r#macro.value,
        field_accuracy: field.value,
        diagnosis_code_f1: all.codes.as_ref().and_then(|c| c.f1),
        intervals: rates.into_iter().map(|(name, rate)| (name.to_owned(), rate.interval)).collect(),
        notes,
        all,
        types,
    }
}

fn notes(all: &Summary, profile: Profile, left_out: u64, decomposed: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if left_out > 0 {
        notes.push(format!("{left_out} pages without a reading were left out, as asked"));
    }
    if all.failed > 0 {
        notes.push(format!("{} pages have no reading and count as read empty", all.failed));
    }
    if all.empty_references > 0 {
        notes.push(format!(
            "{} pages have an empty reference: they enter no rate, and {} characters were inserted there",
            all.empty_references, all.inserted_on_empty
        ));
    }
    if decomposed > 0 && profile == Profile::Raw {
        notes.push(format!(
            "{decomposed} readings have decomposed Hangul (NFD), which raw@1 counts as errors; text@1 does not"
        ));
    }
    if let Some(reason) = &all.cer.micro.reason {
        notes.push(reason.clone());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use stopwatt_quality::page::Truth;

    fn page(id: &str, doc_type: Option<&str>, text: &str) -> Line<Page> {
        let truth = Truth {
            id: id.to_owned(),
            text: text.to_owned(),
            doc_type: doc_type.map(str::to_owned),
            ..Truth::default()
        };
        Line { number: 1, value: Page { truth, ..Page::default() } }
    }

    fn reading(id: &str, text: &str) -> Line<Reading> {
        let value = Reading { id: id.to_owned(), text: Some(text.to_owned()), ..Reading::default() };
        Line { number: 1, value }
    }

    #[test]
    fn pages_are_scored_by_type_and_together() {
        let truth = [page("a", Some("처방전"), "가나다라"), page("b", None, "가나"), page("c", None, "가나")];
        let (doc, lines) =
            score(&truth, &[reading("a", "가나다마"), reading("b", "가나")], &Options::default());
        assert_eq!((doc.pages, doc.reference_characters, doc.substitutions, doc.deletions), (3, 8, 1, 2));
        assert_eq!(
            (doc.cer_micro, doc.types["처방전"].cer.micro.value, doc.types[NO_TYPE].failed),
            (Some(0.375), Some(0.25), 1)
        );
        assert_eq!(lines.iter().map(|l| l.score.failed).collect::<Vec<_>>(), [false, false, true]);
        let options = Options { exclude_failed: true, ..Options::default() };
        let (doc, lines) = score(&truth, &[reading("a", "가나다마"), reading("b", "가나")], &options);
        assert_eq!((doc.pages, lines.len(), doc.cer_micro), (2, 2, Some(1.0 / 6.0)));
    }

    #[test]
    fn decomposed_text_is_told_of_where_it_costs() {
        let nfd = "\u{1100}\u{1161}";
        let raw = Options { profile: Profile::Raw, ..Options::default() };
        let (doc, _) = score(&[page("a", None, "가")], &[reading("a", nfd)], &raw);
        assert!(doc.cer_micro > Some(1.0) && doc.notes.iter().any(|n| n.contains("NFD")), "{doc:?}");
        let (doc, _) = score(&[page("a", None, "가")], &[reading("a", nfd)], &Options::default());
        assert_eq!(doc.cer_micro, Some(0.0));
    }
}
