//! Scores of many pages: micro and macro rates with intervals over documents, fields, drugs, codes, anomalies.
//!
//! Errors of one document hang together, so documents are what is drawn again for an interval (BCa, see
//! [`stopwatt_stats::bootstrap`]). Shares of fields have Wilson's interval (Journal of the American Statistical
//! Association 22 (1927), 209–212) at the effective sample size n / deff, where deff compares the variance between
//! documents with that of independent fields (Kish, *Survey Sampling* (1965), §8.2). Where every field is right, or none
//! is, nothing tells how they hang together: each document counts once.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_stats::bootstrap;
use stopwatt_stats::distribution::normal_quantile;
use stopwatt_stats::quantile::quantile;

use crate::code::Found;
use crate::counts::Counts;
use crate::drug::Drug;
use crate::number::Quantity;
use crate::page::PageScore;

/// Resamples of an interval.
const RESAMPLES: u32 = 2000;
/// Fewest documents that are resampled: fewer cover the truth too seldom.
const LEAST: usize = 10;
/// Level of every interval.
pub const LEVEL: f64 = 0.95;

/// A page among many.
#[derive(Debug, Clone)]
pub struct Scored<'a> {
    /// Its document.
    pub document: &'a str,
    /// Names of its fields, in the order of the scores.
    pub fields: Vec<&'a str>,
    /// Its scores.
    pub score: PageScore,
}

/// What an interval rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Bootstrap (BCa) over documents.
    Documents,
    /// Wilson's interval at the effective sample size.
    Wilson,
    /// No error was seen: 1 − 0.025^(1/n) of n symbols taken as independent.
    NoError,
}

/// Bounds of a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Lower bound.
    pub lo: f64,
    /// Upper bound.
    pub hi: f64,
    /// What it rests on.
    pub basis: Basis,
}

/// A value with its interval; each is `null` where there is none, with the reason.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// The value.
    pub value: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<Interval>,
    /// Why one of them is missing.
    pub reason: Option<String>,
}

/// Errors of one kind of symbol over all pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Errors {
    /// Sum over the pages with a reference.
    pub counts: Counts,
    /// All errors / all symbols of the references.
    pub micro: Rate,
    /// Mean of the rates of the pages.
    pub r#macro: Rate,
    /// Median rate of a page.
    pub median: Option<f64>,
    /// The rate that 95 % of the pages do not exceed.
    pub p95: Option<f64>,
}

/// One field over all pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FieldSummary {
    /// How often the pages have it.
    pub n: u64,
    /// Documents that have it.
    pub documents: u64,
    /// How many independent values `n` is worth.
    pub effective: f64,
    /// Read right.
    pub right: u64,
    /// Equal to the last character under `text@1`.
    pub exact: u64,
    /// Something was read.
    pub found: u64,
    /// right / n.
    pub accuracy: Rate,
    /// Mean similarity.
    pub similarity: f64,
    /// How its quantities were read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub quantities: BTreeMap<Quantity, u64>,
}

/// Codes found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CodeSummary {
    /// Counts.
    pub counts: Found,
    /// Share of what was read that is right.
    pub precision: Option<f64>,
    /// Share of what stands there that was read.
    pub recall: Option<f64>,
    /// Their harmonic mean.
    pub f1: Option<f64>,
}

impl From<Found> for CodeSummary {
    fn from(counts: Found) -> Self {
        Self { precision: counts.precision(), recall: counts.recall(), f1: counts.f1(), counts }
    }
}

/// Odd readings, counted by page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AnomalySummary {
    /// Repeat a passage that the page does not.
    pub repetition_loops: u64,
    /// Refused.
    pub refusals: u64,
    /// Talk around the text.
    pub chatter: u64,
    /// Ended by the limit of tokens; pages for which the end is not known are not among them.
    pub cut_off: u64,
    /// Pages for which it is known why the answer ended.
    pub cut_off_known: u64,
    /// Longest run of characters that do not stand on a page.
    pub longest_insertion: u64,
    /// Had marks of Markdown, HTML or reasoning taken off.
    pub cleaned: u64,
}

/// Scores of a group of pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Pages.
    pub pages: u64,
    /// Documents: the unit of the intervals.
    pub documents: u64,
    /// Pages that were not read, each scored as an empty text.
    pub failed: u64,
    /// Pages whose reference is empty: they enter no rate.
    pub empty_references: u64,
    /// Characters that were read from such pages.
    pub inserted_on_empty: u64,
    /// Errors of characters.
    pub cer: Errors,
    /// Without white space.
    pub cer_nospace: Errors,
    /// Without white space, by jamo.
    pub cer_jamo: Errors,
    /// Errors of words set apart by white space.
    pub wer: Errors,
    /// Characters with lines in the best order: what is left when the order is forgiven.
    pub cer_any_order: Errors,
    /// Words in any order.
    pub bag_of_words: CodeSummary,
    /// Inserted characters / characters of the references.
    pub insertion_rate: Option<f64>,
    /// Fields by name.
    pub fields: BTreeMap<String, FieldSummary>,
    /// All fields together.
    pub all_fields: Option<FieldSummary>,
    /// Values read for fields beyond those the pages have.
    pub spurious_fields: u64,
    /// Share of the documents with every field right.
    pub documents_all_right: Rate,
    /// How names of drugs were read.
    pub drugs: BTreeMap<Drug, u64>,
    /// Whole diagnosis codes.
    pub codes: Option<CodeSummary>,
    /// Their categories.
    pub code_categories: Option<CodeSummary>,
    /// Odd readings.
    pub anomalies: AnomalySummary,
}

/// Sums up pages. One seed gives one result.
pub fn summarise(pages: &[Scored<'_>], seed: u64) -> Summary {
    let mut documents: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, page) in pages.iter().enumerate() {
        documents.entry(page.document).or_default().push(i);
    }
    let clusters: Vec<Vec<usize>> = documents.into_values().collect();
    let errors = |of: &dyn Fn(&PageScore) -> Option<Counts>| errors(pages, &clusters, of, seed);
    let sum = |of: &dyn Fn(&PageScore) -> Option<Found>| {
        pages.iter().filter_map(|p| of(&p.score)).reduce(|mut a, b| {
            a += b;
            a
        })
    };
    let empty = |p: &&Scored<'_>| p.score.chars.reference == 0;
    let cer = errors(&|s| Some(s.chars));
    let mut names: BTreeMap<&str, ()> = BTreeMap::new();
    pages.iter().flat_map(|p| &p.fields).for_each(|name| {
        names.insert(name, ());
    });
    let mut drugs = BTreeMap::new();
    pages.iter().flat_map(|p| &p.score.drugs).for_each(|d| *drugs.entry(*d).or_insert(0) += 1);
    Summary {
        pages: pages.len() as u64,
        documents: clusters.len() as u64,
        failed: pages.iter().filter(|p| p.score.failed).count() as u64,
        empty_references: pages.iter().filter(empty).count() as u64,
        inserted_on_empty: pages.iter().filter(empty).map(|p| p.score.chars.insertions).sum(),
        insertion_rate: (cer.counts.reference > 0)
            .then(|| cer.counts.insertions as f64 / cer.counts.reference as f64),
        cer,
        cer_nospace: errors(&|s| Some(s.no_space)),
        cer_jamo: errors(&|s| Some(s.jamo)),
        wer: errors(&|s| Some(s.words)),
        cer_any_order: errors(&|s| s.lines),
        bag_of_words: sum(&|s| Some(s.bag)).unwrap_or_default().into(),
        fields: names
            .into_keys()
            .filter_map(|name| Some((name.to_owned(), fields(pages, &clusters, |n| n == name)?)))
            .collect(),
        all_fields: fields(pages, &clusters, |_| true),
        spurious_fields: pages.iter().map(|p| p.score.spurious).sum(),
        documents_all_right: whole_documents(pages, &clusters),
        drugs,
        codes: sum(&|s| s.codes).map(Into::into),
        code_categories: sum(&|s| s.categories).map(Into::into),
        anomalies: anomalies(pages),
    }
}

fn errors(
    pages: &[Scored<'_>],
    clusters: &[Vec<usize>],
    of: &dyn Fn(&PageScore) -> Option<Counts>,
    seed: u64,
) -> Errors {
    let counted = |i: &usize| of(&pages[*i].score).filter(|c| c.reference > 0);
    let mut counts = Counts::default();
    // Per document: errors, symbols, sum of the rates, pages.
    let mut sums = Vec::new();
    let mut rates = Vec::new();
    for cluster in clusters {
        let mut sum = [0.0; 4];
        for c in cluster.iter().filter_map(counted) {
            counts += c;
            let rate = c.errors() as f64 / c.reference as f64;
            rates.push(rate);
            sum[0] += c.errors() as f64;
            sum[1] += c.reference as f64;
            sum[2] += rate;
            sum[3] += 1.0;
        }
        if sum[3] > 0.0 {
            sums.push(sum);
        }
    }
    rates.sort_by(f64::total_cmp);
    let at = |p: f64| (!rates.is_empty()).then(|| quantile(&rates, p));
    Errors {
        micro: ratio(&sums, 0, counts.reference, seed),
        r#macro: ratio(&sums, 2, counts.reference, seed),
        median: at(0.5),
        p95: at(0.95),
        counts,
    }
}

/// Sum of column `top` over the sum of the column behind it, with its interval over documents.
fn ratio(sums: &[[f64; 4]], top: usize, symbols: u64, seed: u64) -> Rate {
    if sums.is_empty() {
        return Rate { reason: Some("no page has a reference".to_owned()), ..Rate::default() };
    }
    let of = |drawn: &mut dyn Iterator<Item = &[f64; 4]>| {
        let (a, b) = drawn.fold((0.0, 0.0), |(a, b), s| (a + s[top], b + s[top + 1]));
        a / b
    };
    let value = of(&mut sums.iter());
    if sums.iter().all(|s| s[0] == 0.0) {
        // The "rule of three", two-sided: the share of wrong symbols under which n right ones in a row have 2.5 %.
        let hi = 1.0 - (0.5 - LEVEL / 2.0).powf(1.0 / symbols as f64);
        let interval = Interval { lo: 0.0, hi, basis: Basis::NoError };
        return Rate { value: Some(value), interval: Some(interval), reason: None };
    }
    if sums.len() < LEAST {
        let reason = format!("an interval needs {LEAST} documents, here are {}", sums.len());
        return Rate { value: Some(value), interval: None, reason: Some(reason) };
    }
    // Documents are drawn by their position.
    let places: Vec<f64> = (0..sums.len()).map(|i| i as f64).collect();
    let options = bootstrap::Options { resamples: RESAMPLES, level: LEVEL, seed, block: None };
    let statistic = |drawn: &[f64]| of(&mut drawn.iter().map(|i| &sums[*i as usize]));
    match bootstrap::bca(&places, statistic, &options) {
        Ok(ci) => {
            let interval = Interval { lo: ci.lo, hi: ci.hi, basis: Basis::Documents };
            Rate { value: Some(value), interval: Some(interval), reason: None }
        }
        Err(why) => Rate { value: Some(value), interval: None, reason: Some(format!("documents: {why}")) },
    }
}

fn fields(
    pages: &[Scored<'_>],
    clusters: &[Vec<usize>],
    wanted: impl Fn(&str) -> bool,
) -> Option<FieldSummary> {
    // Per document: right, all.
    let mut per_document = Vec::new();
    let mut out = FieldSummary {
        n: 0,
        documents: 0,
        effective: 0.0,
        right: 0,
        exact: 0,
        found: 0,
        accuracy: Rate::default(),
        similarity: 0.0,
        quantities: BTreeMap::new(),
    };
    for cluster in clusters {
        let (mut right, mut all) = (0.0, 0.0);
        for page in cluster.iter().map(|i| &pages[*i]) {
            for (_, f) in page.fields.iter().zip(&page.score.fields).filter(|(name, _)| wanted(name)) {
                out.exact += u64::from(f.exact);
                out.found += u64::from(f.found);
                out.similarity += f.similarity;
                right += f64::from(u8::from(f.right));
                all += 1.0;
                if let Some(quantity) = f.quantity {
                    *out.quantities.entry(quantity).or_default() += 1;
                }
            }
        }
        if all > 0.0 {
            per_document.push((right, all));
        }
    }
    let (right, n) = per_document.iter().fold((0.0, 0.0), |(r, n), (a, b)| (r + a, n + b));
    if n == 0.0 {
        return None;
    }
    (out.n, out.right, out.documents) = (n as u64, right as u64, per_document.len() as u64);
    out.similarity /= n;
    out.effective = effective(&per_document);
    let p = right / n;
    out.accuracy =
        Rate { value: Some(p), interval: Some(wilson(p * out.effective, out.effective)), reason: None };
    Some(out)
}

/// How many independent values those of some documents (right, all) are worth.
fn effective(documents: &[(f64, f64)]) -> f64 {
    let (right, n) = documents.iter().fold((0.0, 0.0), |(r, n), (a, b)| (r + a, n + b));
    let (m, p) = (documents.len() as f64, right / n);
    if p == 0.0 || p == 1.0 {
        return m;
    }
    if m < 2.0 {
        return 1.0;
    }
    // Variance of the ratio by linearisation (Cochran, Sampling Techniques, 3rd ed. 1977, §9.8).
    let between: f64 =
        documents.iter().map(|(a, b)| (a - p * b).powi(2)).sum::<f64>() * m / (m - 1.0) / (n * n);
    (p * (1.0 - p) / between).min(n).max(1.0)
}

/// Wilson's interval of `right` of `n`, neither of which need be whole.
pub fn wilson(right: f64, n: f64) -> Interval {
    let z = normal_quantile(0.5 + LEVEL / 2.0);
    let p = right / n;
    let (middle, scale) = (p + z * z / (2.0 * n), 1.0 + z * z / n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let bound = |v: f64| (v / scale).clamp(0.0, 1.0);
    Interval { lo: bound(middle - half), hi: bound(middle + half), basis: Basis::Wilson }
}

/// Values, all right, with which the lower bound of Wilson's interval reaches `share`: n ≥ z² share / (1 − share).
pub fn all_right_needed(share: f64) -> u64 {
    let z = normal_quantile(0.5 + LEVEL / 2.0);
    (z * z * share / (1.0 - share)).ceil() as u64
}

fn whole_documents(pages: &[Scored<'_>], clusters: &[Vec<usize>]) -> Rate {
    let of = |cluster: &Vec<usize>| {
        let mut judged = cluster.iter().filter_map(|i| pages[*i].score.all_fields_right()).peekable();
        judged.peek()?;
        Some(judged.all(|right| right))
    };
    let judged: Vec<bool> = clusters.iter().filter_map(of).collect();
    if judged.is_empty() {
        return Rate { reason: Some("no document has fields".to_owned()), ..Rate::default() };
    }
    let right = judged.iter().filter(|r| **r).count() as f64;
    let n = judged.len() as f64;
    Rate { value: Some(right / n), interval: Some(wilson(right, n)), reason: None }
}

fn anomalies(pages: &[Scored<'_>]) -> AnomalySummary {
    let mut out = AnomalySummary::default();
    for score in pages.iter().map(|p| &p.score) {
        let a = score.anomalies;
        out.repetition_loops += u64::from(a.repetition_loop);
        out.refusals += u64::from(a.refusal);
        out.chatter += u64::from(a.chatter);
        out.cut_off += u64::from(a.cut_off == Some(true));
        out.cut_off_known += u64::from(a.cut_off.is_some());
        out.longest_insertion = out.longest_insertion.max(a.longest_insertion);
        out.cleaned += u64::from(score.removed.any());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::TrueField;
    use crate::page::{Options, Reading, Truth, score};

    fn pages(cases: &[(&'static str, &str, Option<&str>)]) -> Vec<Scored<'static>> {
        let of = |(document, text, reading): &(&'static str, &str, Option<&str>)| {
            let field = TrueField {
                name: "값".to_owned(),
                value: text.split(' ').next_back().unwrap_or_default().to_owned(),
                kind: None,
                row: None,
                span: None,
            };
            let fields = if text.is_empty() { vec![] } else { vec![field] };
            let truth = Truth { id: "x".into(), text: (*text).into(), fields, ..Truth::default() };
            let reading =
                reading.map(|t| Reading { id: "x".into(), text: Some(t.into()), ..Reading::default() });
            let score = score(&truth, reading.as_ref(), &Options::default());
            Scored { document, fields: vec!["값"; score.fields.len()], score }
        };
        cases.iter().map(of).collect()
    }

    #[test]
    fn micro_and_macro_by_hand() {
        // 1 error of 4 characters and 1 of 10: micro 2/14, macro (0.25 + 0.1)/2.
        let s = summarise(&pages(&[("a", "a bc", Some("a bd")), ("b", "abcd efghi", Some("abcd efgh"))]), 1);
        assert_eq!((s.cer.counts.errors(), s.cer.counts.reference), (2, 14));
        assert!((s.cer.micro.value.unwrap() - 2.0 / 14.0).abs() < 1e-12);
        assert!((s.cer.r#macro.value.unwrap() - 0.175).abs() < 1e-12);
        assert!(s.cer.micro.interval.is_none() && s.cer.micro.reason.is_some());
        let cases: Vec<_> =
            ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|d| (d, "abcd", Some("abcd"))).to_vec();
        let wrong = [("k", "abcd", Some("abce")), ("l", "abcd", Some("abxx"))];
        let ci = summarise(&pages(&[cases, wrong.to_vec()].concat()), 1).cer.micro.interval.unwrap();
        assert!(ci.basis == Basis::Documents && ci.lo < 3.0 / 48.0 && ci.hi > 3.0 / 48.0, "{ci:?}");
        assert_eq!((s.wer.counts.errors(), s.wer.counts.reference), (2, 4));
    }

    #[test]
    fn empty_references_and_failed_pages_are_counted_apart() {
        let s =
            summarise(&pages(&[("a", "", Some("abc")), ("b", "abcd", None), ("c", "abcd", Some("abcd"))]), 1);
        assert_eq!((s.empty_references, s.inserted_on_empty, s.failed), (1, 3, 1));
        assert_eq!(s.cer.micro.value, Some(0.5));
        let none = summarise(&pages(&[("a", "", Some("abc"))]), 1);
        assert_eq!(
            (none.cer.micro.value, none.cer.micro.reason.as_deref()),
            (None, Some("no page has a reference"))
        );
        assert_eq!(summarise(&[], 1).pages, 0);
    }

    #[test]
    fn no_error_still_has_a_bound() {
        let s = summarise(&pages(&[("a", "abcdefghij", Some("abcdefghij")); 10]), 1);
        let ci = s.cer.micro.interval.unwrap();
        // 1 − 0.025^(1/100).
        assert!(ci.basis == Basis::NoError && (ci.hi - 0.036_217).abs() < 1e-6, "{ci:?}");
        // One document ten times is one document.
        assert_eq!((s.documents, s.all_fields.unwrap().effective), (1, 1.0));
    }

    #[test]
    fn wilsons_interval() {
        // Newcombe, Statistics in Medicine 17 (1998), 857–872, table I: 81/263 gives 0.2553 to 0.3662, 0/20 0 to 0.1611.
        let (a, b) = (wilson(81.0, 263.0), wilson(0.0, 20.0));
        assert!((a.lo - 0.2553).abs() < 5e-5 && (a.hi - 0.3662).abs() < 5e-5 && (b.hi - 0.1611).abs() < 5e-5);
        assert_eq!((all_right_needed(0.95), all_right_needed(0.9)), (73, 35));
        assert!(wilson(73.0, 73.0).lo >= 0.95 && wilson(72.0, 72.0).lo < 0.95);
    }

    #[test]
    fn fields_that_fail_together_count_for_less() {
        // Ten documents of five fields, half of the documents all wrong: five documents of ten, not 25 of 50.
        let together: Vec<(f64, f64)> = (0..10).map(|i| (f64::from(i % 2) * 5.0, 5.0)).collect();
        assert!((effective(&together) - 9.0).abs() < 1e-9);
        // Two or three of five right in each: as good as independent, but never better.
        let apart: Vec<(f64, f64)> = (0..10).map(|i| (2.0 + f64::from(i % 2), 5.0)).collect();
        assert_eq!(effective(&apart), 50.0);
        assert_eq!(effective(&[(5.0, 5.0); 10]), 10.0);
    }

    #[test]
    fn intervals_cover_the_truth() {
        // 400 samples of 40 documents whose error rates are drawn from {0, 0.2}: the 95 % interval covers 0.1 in 92 to 98 %.
        let mut covered = 0;
        let mut state = 12_345_u64;
        for seed in 0..400 {
            let sums: Vec<[f64; 4]> = (0..40)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let bad = f64::from(u8::from(state >> 63 == 1));
                    [bad * 20.0, 100.0, bad * 0.2, 1.0]
                })
                .collect();
            let ci = ratio(&sums, 0, 4000, seed).interval.unwrap();
            covered += u32::from(ci.lo <= 0.1 && 0.1 <= ci.hi);
        }
        assert!((368..=394).contains(&covered), "{covered}");
    }
}
