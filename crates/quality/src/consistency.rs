//! Do repeated prompts still get the answers that they got?
//!
//! Temperature 0 is not deterministic under batching, so "not the same" is no finding. What is compared is how much a
//! new answer agrees with the baseline's answers to the same prompt against how much those agree *with each other*:
//! a service that has not changed agrees with its past as the past does with itself. Prompts are the unit, each its own
//! control ([`stopwatt_stats::items`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_stats::bootstrap::Options;
use stopwatt_stats::items::{Scale, excess};

use crate::edit::distance;
use crate::ngram::Vector;

/// How much answers agree, as means over pairs. All but the first divergence lie between 0 (nothing) and 1 (the same).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Pairs compared.
    pub pairs: u64,
    /// Share of pairs that are the same.
    pub exact: f64,
    /// Length of the common begin over that of the longer answer.
    pub common_begin: f64,
    /// Position, in characters from 0, where pairs first differ; `None` where none does.
    pub first_divergence: Option<f64>,
    /// 1 − edit distance over the length of the longer answer, in characters.
    pub edit: f64,
    /// Cosine of the n-gram vectors, 0 where it is negative.
    pub cosine: f64,
}

/// What answers agree in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// [`Agreement::exact`].
    Exact,
    /// [`Agreement::common_begin`].
    CommonBegin,
    /// [`Agreement::edit`].
    Edit,
    /// [`Agreement::cosine`].
    Cosine,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Exact, Self::CommonBegin, Self::Edit, Self::Cosine];

    fn of(self, agreement: &Agreement) -> f64 {
        match self {
            Self::Exact => agreement.exact,
            Self::CommonBegin => agreement.common_begin,
            Self::Edit => agreement.edit,
            Self::Cosine => agreement.cosine,
        }
    }
}

/// Answers to one prompt.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// Of the baseline, two at least.
    pub baseline: Vec<String>,
    /// Of now, one at least.
    pub candidate: Vec<String>,
}

/// One measure over all prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// Which measure.
    pub measure: Measure,
    /// Prompts with enough answers on both sides.
    pub prompts: u64,
    /// Agreement of the baseline with itself.
    pub baseline: f64,
    /// Agreement of the candidate with the baseline.
    pub candidate: f64,
    /// By how much it is less, and its interval.
    pub loss: Option<Loss>,
    /// Why there is no interval.
    pub reason: Option<String>,
}

/// Agreement that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Agreement of the baseline with itself less that of the candidate with it.
    pub value: f64,
    /// Coverage of the interval.
    pub level: f64,
    /// Lower bound.
    pub lo: f64,
    /// Upper bound.
    pub hi: f64,
}

impl Loss {
    /// The candidate agrees less than chance explains.
    pub fn is_real(&self) -> bool {
        self.lo > 0.0
    }
}

/// Compares the answers to repeated prompts, a row a measure. Prompts with fewer than two answers of the baseline or
/// none of the candidate are left out; `None` where none is left.
pub fn consistency(prompts: &[Prompt], options: &Options) -> Option<Vec<Consistency>> {
    let pairs: Vec<(Agreement, Agreement)> = prompts
        .iter()
        .filter_map(|p| Some((among(&p.baseline)?, between(&p.baseline, &p.candidate)?)))
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let of_measure = |measure: Measure| {
        let (before, now): (Vec<f64>, Vec<f64>) =
            pairs.iter().map(|(a, b)| (measure.of(a), measure.of(b))).unzip();
        row(measure, &before, &now, options)
    };
    Some(Measure::ALL.into_iter().map(of_measure).collect())
}

/// One measure of prompts: the baseline's agreement with itself and that of the candidate with it, prompt by prompt,
/// between 0 and 1.
pub fn row(measure: Measure, before: &[f64], now: &[f64], options: &Options) -> Consistency {
    let lost = |all: &[f64]| -> Vec<f64> { all.iter().map(|a| (1.0 - a).clamp(0.0, 1.0)).collect() };
    let (before, now) = (lost(before), lost(now));
    let mean = |values: &[f64]| 1.0 - values.iter().sum::<f64>() / values.len() as f64;
    let found = excess(&before, &now, Scale::Share, options);
    Consistency {
        measure,
        prompts: before.len() as u64,
        baseline: mean(&before),
        candidate: mean(&now),
        reason: found.as_ref().err().map(ToString::to_string),
        loss: found.ok().map(|e| Loss { value: e.value, level: e.ci.level, lo: e.ci.lo, hi: e.ci.hi }),
    }
}

/// Agreement of answers with each other; `None` for fewer than two.
pub fn among(answers: &[String]) -> Option<Agreement> {
    let texts: Vec<Text> = answers.iter().map(|a| Text::of(a)).collect();
    mean(texts.iter().enumerate().flat_map(|(i, a)| texts[i + 1..].iter().map(move |b| a.against(b))))
}

/// Agreement of answers with those of another time; `None` where a side has none.
pub fn between(baseline: &[String], candidate: &[String]) -> Option<Agreement> {
    let texts: Vec<Text> = candidate.iter().map(|a| Text::of(a)).collect();
    let before: Vec<Text> = baseline.iter().map(|a| Text::of(a)).collect();
    mean(before.iter().flat_map(|a| texts.iter().map(move |b| a.against(b))))
}

fn mean(pairs: impl Iterator<Item = Agreement>) -> Option<Agreement> {
    let all: Vec<Agreement> = pairs.collect();
    let n = all.len() as f64;
    let of = |f: fn(&Agreement) -> f64| all.iter().map(f).sum::<f64>() / n;
    let apart: Vec<f64> = all.iter().filter_map(|a| a.first_divergence).collect();
    (!all.is_empty()).then(|| Agreement {
        pairs: all.len() as u64,
        exact: of(|a| a.exact),
        common_begin: of(|a| a.common_begin),
        first_divergence: (!apart.is_empty()).then(|| apart.iter().sum::<f64>() / apart.len() as f64),
        edit: of(|a| a.edit),
        cosine: of(|a| a.cosine),
    })
}

struct Text {
    chars: Vec<char>,
    vector: Option<Vector>,
}

impl Text {
    fn of(text: &str) -> Self {
        Self { chars: text.chars().collect(), vector: Vector::of(text) }
    }

    fn against(&self, other: &Self) -> Agreement {
        let longer = self.chars.len().max(other.chars.len());
        let begin = self.chars.iter().zip(&other.chars).take_while(|(a, b)| a == b).count();
        let same = self.chars == other.chars;
        let share = |part: usize| if longer == 0 { 1.0 } else { part as f64 / longer as f64 };
        let cosine = match (&self.vector, &other.vector) {
            _ if same => 1.0,
            (Some(a), Some(b)) => a.cosine(b).clamp(0.0, 1.0),
            _ => 0.0,
        };
        Agreement {
            pairs: 1,
            exact: f64::from(u8::from(same)),
            common_begin: share(begin),
            first_divergence: (!same).then_some(begin as f64),
            edit: 1.0 - if same { 0.0 } else { share(distance(&self.chars, &other.chars)) },
            cosine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn agreement_by_hand() {
        // 아침 저녁 and 아침 점심: five characters, three begin alike, two differ.
        let a = among(&texts(&["아침 저녁", "아침 점심"])).unwrap();
        assert_eq!((a.pairs, a.exact, a.first_divergence), (1, 0.0, Some(3.0)));
        assert!((a.common_begin - 0.6).abs() < 1e-12 && (a.edit - 0.6).abs() < 1e-12);
        assert!(a.cosine > 0.2 && a.cosine < 1.0);
        let same = among(&texts(&["예", "예", "예"])).unwrap();
        assert_eq!((same.pairs, same.exact, same.edit, same.first_divergence), (3, 1.0, 1.0, None));
        assert!(among(&texts(&["하나"])).is_none() && between(&texts(&["하나"]), &[]).is_none());
        assert_eq!(between(&texts(&[""]), &texts(&[""])).unwrap().exact, 1.0);
    }

    /// Each answer of a prompt is one of three wordings; a changed service has another one with probability `changed`.
    fn prompts(seed: &mut u64, changed: f64) -> Vec<Prompt> {
        let mut uniform = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..40)
            .map(|i| {
                let wordings: [String; 4] = [
                    format!("{i}번 환자는 혈압약을 아침에 먹습니다."),
                    format!("{i}번 환자는 혈압약을 아침 식후에 먹습니다."),
                    format!("{i}번 환자의 혈압약은 아침에 복용합니다."),
                    format!("{i}번 질문에 대해서는 의사와 상의하십시오."),
                ];
                let mut draw = |changed: f64| {
                    let at = if uniform() < changed { 3 } else { (uniform() * 3.0) as usize };
                    wordings[at].clone()
                };
                let baseline = (0..4).map(|_| draw(0.0)).collect();
                Prompt { baseline, candidate: (0..2).map(|_| draw(changed)).collect() }
            })
            .collect()
    }

    #[test]
    fn a_service_that_has_not_changed_is_rarely_flagged() {
        // One side of 95 %: 2.5 % of 200 is 5, and 12 has a probability of 0.4 %.
        let (mut seed, options) = (1, Options { resamples: 400, ..Options::default() });
        let mut flags = [0; 4];
        for _ in 0..200 {
            let found = consistency(&prompts(&mut seed, 0.0), &options).unwrap();
            for (flag, row) in flags.iter_mut().zip(&found) {
                *flag += usize::from(row.loss.unwrap().is_real());
            }
        }
        assert!(flags.iter().all(|f| *f <= 12), "{flags:?}");
    }

    #[test]
    fn a_service_that_answers_otherwise_is_flagged_in_every_measure() {
        let (mut seed, options) = (2, Options { resamples: 400, ..Options::default() });
        let found = consistency(&prompts(&mut seed, 0.6), &options).unwrap();
        for row in &found {
            assert!(row.loss.unwrap().is_real() && row.candidate < row.baseline, "{row:?}");
        }
    }

    #[test]
    fn few_prompts_give_a_reason_instead_of_an_interval() {
        let mut seed = 3;
        let few = &prompts(&mut seed, 0.5)[..5];
        let found = consistency(few, &Options::default()).unwrap();
        assert!(found.iter().all(|row| row.loss.is_none() && row.reason.is_some()), "{found:?}");
        assert!(consistency(&[Prompt::default()], &Options::default()).is_none());
    }
}
