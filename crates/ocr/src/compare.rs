//! Two runs over the same pages: did accuracy, fields or times change?
//!
//! Each page is its own control: only pages that both runs have, known by the hash of their image, are compared. Pages of
//! a document hang together, so documents are what is drawn again (BCa, [`stopwatt_stats::bootstrap`]); what the drawn
//! documents say of "no change" is the p-value, and those of the judged figures are corrected together (Holm). Figures of
//! types and settings are shown without a verdict.
//!
//! Times of one run share their machine and its hour. That a difference is large for pages does not tell that the next
//! run would show it; `stopwatt compare` of repeated runs does.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_quality::summary::LEVEL;
use stopwatt_stats::bootstrap::{Bca, Options};
use stopwatt_stats::holm;

use crate::rows::PageRow;

/// Version of [`CompareDoc`].
pub const FORMAT: &str = "stopwatt-ocr-compare/1";
/// Resamples of an interval.
const RESAMPLES: u32 = 4000;
/// Fewest documents that are resampled.
const LEAST: usize = 10;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Character error rate over all pages.
    Cer,
    /// The same of jamo, without white space.
    CerJamo,
    /// Word error rate over all pages.
    Wer,
    /// Share of fields read right.
    FieldAccuracy,
    /// Seconds a page, on the mean, of pages that both read.
    LatencyS,
}

impl Figure {
    /// Every figure.
    pub const ALL: [Self; 5] = [Self::Cer, Self::CerJamo, Self::Wer, Self::FieldAccuracy, Self::LatencyS];

    /// Whether it is judged.
    pub const fn primary(self) -> bool {
        matches!(self, Self::Cer | Self::FieldAccuracy | Self::LatencyS)
    }

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cer => "cer",
            Self::CerJamo => "cer_jamo",
            Self::Wer => "wer",
            Self::FieldAccuracy => "field_accuracy",
            Self::LatencyS => "latency_s",
        }
    }

    /// Of a page: what is added up on each side, and what it is divided by.
    fn of(self, a: &PageRow, b: &PageRow) -> Option<(f64, f64, f64)> {
        let errors = |x: stopwatt_quality::Counts, y: stopwatt_quality::Counts| {
            (x.reference > 0).then(|| (x.errors() as f64, y.errors() as f64, x.reference as f64))
        };
        match self {
            Self::Cer => errors(a.chars, b.chars),
            Self::CerJamo => errors(a.jamo, b.jamo),
            Self::Wer => errors(a.words, b.words),
            Self::FieldAccuracy => {
                (a.fields > 0).then_some((a.fields_right as f64, b.fields_right as f64, a.fields as f64))
            }
            Self::LatencyS => {
                let read = |row: &PageRow| row.latency_s.filter(|_| row.failure.is_none());
                Some((read(a)?, read(b)?, 1.0))
            }
        }
    }
}

/// What a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// For the better, with confidence.
    Improved,
    /// For the worse, with confidence.
    Regressed,
    /// The pages support neither.
    Inconclusive,
    /// No page differs.
    Same,
}

/// A figure on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Pages it is of: `all`, a type, or a setting.
    pub group: String,
    /// What is compared.
    pub figure: Figure,
    /// Pages on both sides.
    pub pages: u64,
    /// Their documents.
    pub documents: u64,
    /// Of the baseline.
    pub baseline: f64,
    /// Of the candidate.
    pub candidate: f64,
    /// Candidate − baseline.
    pub difference: f64,
    /// Its 95 % interval, [lower, upper].
    pub interval: Option<[f64; 2]>,
    /// Why it has none.
    pub reason: Option<String>,
    /// How likely a difference so large is where there is none; of judged figures corrected together.
    pub p: Option<f64>,
    /// Pages where the candidate is better, and where it is worse.
    pub pages_better_worse: [u64; 2],
    /// What the change is; `null` for figures that are shown only.
    pub verdict: Option<Change>,
}

/// What `ocr compare` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompareDoc {
    /// Version of this document.
    pub format: String,
    /// Pages on both sides.
    pub pages: u64,
    /// Pages of one side only: of the baseline, of the candidate.
    pub unpaired: [u64; 2],
    /// Pages that were not read: by the baseline, by the candidate.
    pub failed: [u64; 2],
    /// Level of every interval.
    pub level: f64,
    /// The figures: those of all pages, then by type, then by setting.
    pub figures: Vec<Compared>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Why runs cannot be compared.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompareError {
    /// No page is on both sides.
    #[error("no page is in both runs")]
    NoPair,
    /// The truth of a page differs.
    #[error("{pages} pages have another truth in the two runs")]
    OtherTruth {
        /// How many.
        pages: u64,
    },
}

type Pair<'a> = (&'a PageRow, &'a PageRow);

/// Compares two runs. One seed gives one result.
///
/// # Errors
/// Nothing in common, and truths that differ.
pub fn compare(baseline: &[PageRow], candidate: &[PageRow], seed: u64) -> Result<CompareDoc, CompareError> {
    // A page that was read several times is paired in order.
    let mut others: HashMap<&str, Vec<&PageRow>> = HashMap::new();
    for row in candidate.iter().rev() {
        if let Some(page) = &row.page {
            others.entry(page).or_default().push(row);
        }
    }
    let mut partner = |row: &PageRow| others.get_mut(row.page.as_deref()?).and_then(Vec::pop);
    let pairs: Vec<Pair<'_>> = baseline.iter().filter_map(|a| Some((a, partner(a)?))).collect();
    if pairs.is_empty() {
        return Err(CompareError::NoPair);
    }
    let other =
        pairs.iter().filter(|(a, b)| a.chars.reference != b.chars.reference || a.fields != b.fields).count();
    if other > 0 {
        return Err(CompareError::OtherTruth { pages: other as u64 });
    }
    let mut figures = Vec::new();
    figures.extend(Figure::ALL.iter().filter_map(|f| compared("all", *f, &pairs, seed)));
    judge(&mut figures);
    let mut groups: BTreeMap<(u8, String), Vec<Pair<'_>>> = BTreeMap::new();
    for pair in &pairs {
        if let Some(name) = &pair.0.doc_type {
            groups.entry((0, name.clone())).or_default().push(*pair);
        }
        let dpi = pair.0.dpi.map_or_else(String::new, |d| format!("{d} DPI"));
        let setting = format!("{dpi} {}", pair.0.degrade.as_deref().unwrap_or_default());
        groups.entry((1, setting.trim().to_owned())).or_default().push(*pair);
    }
    for ((kind, name), members) in &groups {
        // A single group says what all pages say.
        if groups.keys().filter(|(k, _)| k == kind).count() > 1 {
            figures.extend(Figure::ALL.iter().filter_map(|f| compared(name, *f, members, seed)));
        }
    }
    let failed = |side: fn(&Pair<'_>) -> bool| pairs.iter().filter(|p| side(p)).count() as u64;
    let mut notes = Vec::new();
    let unpaired = [baseline.len() - pairs.len(), candidate.len() - pairs.len()].map(|n| n as u64);
    if unpaired != [0, 0] {
        notes.push(format!(
            "{} pages of the baseline and {} of the candidate are in one run only and were left out",
            unpaired[0], unpaired[1]
        ));
    }
    Ok(CompareDoc {
        format: FORMAT.to_owned(),
        pages: pairs.len() as u64,
        unpaired,
        failed: [failed(|(a, _)| a.failure.is_some()), failed(|(_, b)| b.failure.is_some())],
        level: LEVEL,
        figures,
        notes,
    })
}

fn compared(group: &str, figure: Figure, pairs: &[Pair<'_>], seed: u64) -> Option<Compared> {
    // Of each document: sums of both sides and of what they are divided by.
    let mut documents: BTreeMap<u64, [f64; 3]> = BTreeMap::new();
    let (mut pages, mut better_worse) = (0, [0, 0]);
    for (a, b) in pairs {
        let Some((x, y, n)) = figure.of(a, b) else { continue };
        let sums = documents.entry(a.document).or_default();
        sums[0] += x;
        sums[1] += y;
        sums[2] += n;
        pages += 1;
        let gain = if figure == Figure::FieldAccuracy { y - x } else { x - y };
        better_worse[0] += u64::from(gain > 0.0);
        better_worse[1] += u64::from(gain < 0.0);
    }
    if pages == 0 {
        return None;
    }
    let sums: Vec<[f64; 3]> = documents.into_values().collect();
    let total = |i: usize| sums.iter().map(|s| s[i]).sum::<f64>();
    let (baseline, candidate) = (total(0) / total(2), total(1) / total(2));
    let mut out = Compared {
        group: group.to_owned(),
        figure,
        pages,
        documents: sums.len() as u64,
        baseline,
        candidate,
        difference: candidate - baseline,
        interval: None,
        reason: None,
        p: None,
        pages_better_worse: better_worse,
        verdict: None,
    };
    if better_worse == [0, 0] {
        out.reason = Some("no page differs".to_owned());
    } else if sums.len() < LEAST {
        out.reason = Some(format!("an interval needs {LEAST} documents, here are {}", sums.len()));
    } else {
        let places: Vec<f64> = (0..sums.len()).map(|i| i as f64).collect();
        let statistic = |drawn: &[f64]| {
            let (d, n) = drawn
                .iter()
                .map(|i| sums[*i as usize])
                .fold((0.0, 0.0), |(d, n), s| (d + s[1] - s[0], n + s[2]));
            d / n
        };
        let options = Options { resamples: RESAMPLES, level: LEVEL, seed, block: None };
        match Bca::of(&places, statistic, &options) {
            Ok(bca) => {
                let ci = bca.ci(LEVEL);
                let below = bca.confidence_below(0.0);
                out.interval = Some([ci.lo, ci.hi]);
                // No resampling tells of less than its own grain.
                out.p = Some((2.0 * below.min(1.0 - below)).clamp(2.0 / f64::from(RESAMPLES), 1.0));
            }
            Err(why) => out.reason = Some(format!("documents: {why}")),
        }
    }
    Some(out)
}

/// Corrects the p-values of the judged figures together and says what each change is.
fn judge(figures: &mut [Compared]) {
    let judged: Vec<usize> = (0..figures.len()).filter(|i| figures[*i].figure.primary()).collect();
    let tested: Vec<usize> = judged.iter().copied().filter(|i| figures[*i].p.is_some()).collect();
    let p: Vec<f64> = tested.iter().filter_map(|i| figures[*i].p).collect();
    for (i, p) in tested.iter().zip(holm::adjust(&p)) {
        figures[*i].p = Some(p);
    }
    for i in judged {
        let f = &mut figures[i];
        let better = if f.figure == Figure::FieldAccuracy { f.difference > 0.0 } else { f.difference < 0.0 };
        f.verdict = Some(match f.p {
            _ if f.pages_better_worse == [0, 0] => Change::Same,
            Some(p) if p <= 1.0 - LEVEL && better => Change::Improved,
            Some(p) if p <= 1.0 - LEVEL => Change::Regressed,
            _ => Change::Inconclusive,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stopwatt_quality::Counts;

    /// Forty documents of 100 characters and five fields; `errors` and `right` of document i.
    fn run(errors: impl Fn(u64) -> u64, right: impl Fn(u64) -> u64, seconds: f64) -> Vec<PageRow> {
        (0..40)
            .map(|i| {
                let counts = Counts { reference: 100, substitutions: errors(i), deletions: 0, insertions: 0 };
                PageRow {
                    page: Some(format!("{i:032x}")),
                    document: i,
                    doc_type: Some(if i % 2 == 0 { "처방전" } else { "진단서" }.to_owned()),
                    dpi: Some(150),
                    degrade: Some("clean".to_owned()),
                    failure: None,
                    latency_s: Some(seconds + i as f64 * 0.001),
                    ttft_s: None,
                    tpot_s: None,
                    input_tokens: None,
                    output_tokens: None,
                    chars: counts,
                    jamo: counts,
                    words: counts,
                    fields_right: right(i),
                    fields: 5,
                }
            })
            .collect()
    }

    fn find(doc: &CompareDoc, figure: Figure) -> &Compared {
        doc.figures.iter().find(|f| f.group == "all" && f.figure == figure).expect("it is there")
    }

    #[test]
    fn pages_are_their_own_control() {
        // Documents differ by up to 30 errors, but each is read with two or three errors less.
        let before = run(|i| 3 + i % 31, |i| 3 + i % 2, 1.0);
        let after = run(|i| 3 + i % 31 - 2 - i % 2, |i| 3 + i % 2, 1.2);
        let doc = compare(&before, &after, 1).expect("compared");
        let cer = find(&doc, Figure::Cer);
        assert!((cer.difference + 0.025).abs() < 1e-12, "{cer:?}");
        let [lo, hi] = cer.interval.expect("forty documents");
        assert!(lo > -0.027 && hi < -0.023 && cer.verdict == Some(Change::Improved), "{cer:?}");
        assert_eq!(cer.pages_better_worse, [40, 0]);
        assert_eq!(find(&doc, Figure::FieldAccuracy).verdict, Some(Change::Same));
        assert_eq!(find(&doc, Figure::Wer).verdict, None);
        // Two types, one setting: the setting says nothing new.
        let groups: std::collections::BTreeSet<&str> = doc.figures.iter().map(|f| f.group.as_str()).collect();
        assert_eq!(groups.into_iter().collect::<Vec<_>>(), ["all", "진단서", "처방전"]);
    }

    #[test]
    fn noise_is_inconclusive() {
        let doc =
            compare(&run(|i| i % 7, |_| 5, 1.0), &run(|i| (i * 5 + 3) % 7, |_| 5, 1.0), 1).expect("compared");
        assert_eq!(find(&doc, Figure::Cer).verdict, Some(Change::Inconclusive));
        let few = compare(&run(|_| 1, |_| 5, 1.0)[..8], &run(|_| 2, |_| 5, 1.0)[..8], 1).expect("compared");
        let cer = find(&few, Figure::Cer);
        assert!(cer.interval.is_none() && cer.reason.is_some() && cer.verdict == Some(Change::Inconclusive));
    }

    #[test]
    fn what_cannot_be_paired_is_refused_or_told() {
        let before = run(|_| 1, |_| 5, 1.0);
        let mut other = run(|_| 1, |_| 5, 1.0);
        other[3].chars.reference = 99;
        assert_eq!(compare(&before, &other, 1), Err(CompareError::OtherTruth { pages: 1 }));
        assert_eq!(compare(&before, &[], 1), Err(CompareError::NoPair));
        let doc = compare(&before, &run(|_| 1, |_| 5, 1.0)[..30], 1).expect("compared");
        assert!(doc.unpaired == [10, 0] && doc.notes.len() == 1);
    }

    #[test]
    fn equal_readers_are_seldom_called_different() {
        // 400 pairs of runs of the same reader whose errors vary by page: about 5 % of the p-values are below 5 %.
        let mut state = 9_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 61
        };
        let mut called = 0;
        for seed in 0..400 {
            let draws: Vec<u64> = (0..80).map(|_| next()).collect();
            let (a, b) =
                (run(|i| draws[i as usize], |_| 5, 1.0), run(|i| draws[40 + i as usize], |_| 5, 1.0));
            let pairs: Vec<Pair<'_>> = a.iter().zip(&b).collect();
            let p = compared("all", Figure::Cer, &pairs, seed).and_then(|c| c.p).expect("a p-value");
            called += u32::from(p <= 0.05);
        }
        assert!((8..=36).contains(&called), "{called} of 400");
    }
}
