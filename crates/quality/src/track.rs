//! How the answers of versions and variants differ, measure by measure, with intervals.
//!
//! Groups are named by what changed: model, version of the prompt, variant of a split. Shares get Wilson's interval and
//! Newcombe's for the difference, means Student's and Welch's. Requests are the unit, so of many from one conversation
//! give one. With thirteen measures, one of twenty intervals misses its truth by chance; a finding that matters is one
//! that holds over several windows ([`stopwatt_stats::drift`]).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_stats::interval::t_mean;
use stopwatt_stats::proportion::{difference, wilson};
use stopwatt_stats::welch::welch;
use stopwatt_stats::{Ci, Unsupported};

use crate::answer::Answer;

/// What answers have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Model with its version, as the engine names it.
    pub model: String,
    /// Version of the prompt or its template; empty where there is none.
    pub prompt_version: String,
    /// Variant of an A/B split; empty where there is none.
    pub variant: String,
}

/// Something that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// [`Answer::empty`].
    Empty,
    /// [`Answer::refusal`].
    Refusal,
    /// [`Answer::repetition_loop`].
    RepetitionLoop,
    /// [`Answer::cut_off`].
    CutOff,
    /// Answers with [`Answer::replacement_chars`].
    ReplacementChars,
    /// [`Answer::chars`].
    Chars,
    /// [`Answer::rep_2`].
    Rep2,
    /// [`Answer::rep_3`].
    Rep3,
    /// [`Answer::rep_4`].
    Rep4,
    /// [`Answer::longest_repeat`].
    LongestRepeat,
    /// [`Answer::compression`].
    Compression,
    /// [`Answer::relevance`].
    Relevance,
    /// [`Answer::mean_log_prob`].
    MeanLogProb,
}
use Measure::{
    Chars, Compression, CutOff, Empty, LongestRepeat, MeanLogProb, Refusal, Relevance, Rep2, Rep3, Rep4,
    RepetitionLoop, ReplacementChars,
};

impl Measure {
    /// All of them, shares first.
    pub const ALL: [Self; 13] = [
        Empty,
        Refusal,
        RepetitionLoop,
        CutOff,
        ReplacementChars,
        Chars,
        Rep2,
        Rep3,
        Rep4,
        LongestRepeat,
        Compression,
        Relevance,
        MeanLogProb,
    ];

    /// Whether each answer has it or has it not.
    pub fn is_share(self) -> bool {
        self <= ReplacementChars
    }

    /// The value of one answer, 0 or 1 for a share; `None` where it has none.
    pub fn of(self, answer: &Answer) -> Option<f64> {
        let share = |hit: bool| Some(f64::from(u8::from(hit)));
        match self {
            Empty => share(answer.empty),
            Refusal => share(answer.refusal),
            RepetitionLoop => share(answer.repetition_loop),
            CutOff => share(answer.cut_off?),
            ReplacementChars => share(answer.replacement_chars > 0),
            Chars => Some(answer.chars as f64),
            Rep2 => answer.rep_2,
            Rep3 => answer.rep_3,
            Rep4 => answer.rep_4,
            LongestRepeat => answer.longest_repeat,
            Compression => answer.compression,
            Relevance => answer.relevance,
            MeanLogProb => answer.mean_log_prob,
        }
    }
}

/// A number with its bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounded {
    /// The number.
    pub value: Option<f64>,
    /// Coverage of the interval.
    pub level: f64,
    /// Lower bound.
    pub lo: Option<f64>,
    /// Upper bound.
    pub hi: Option<f64>,
    /// Why something is missing.
    pub reason: Option<String>,
}

impl Bounded {
    fn of(value: Option<f64>, level: f64, ci: Result<Ci, Unsupported>) -> Self {
        let reason = ci.as_ref().err().map(ToString::to_string);
        let (lo, hi) = ci.ok().map_or((None, None), |c| (Some(c.lo), Some(c.hi)));
        Self { value, level, lo, hi, reason }
    }

    /// The interval leaves zero out.
    pub fn is_real(&self) -> bool {
        self.lo.is_some_and(|lo| lo > 0.0) || self.hi.is_some_and(|hi| hi < 0.0)
    }
}

/// One measure of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Whose answers.
    pub group: Group,
    /// Which measure.
    pub measure: Measure,
    /// Answers that have a value.
    pub n: u64,
    /// Their share or mean.
    pub value: Bounded,
    /// Difference from the baseline; `None` for the baseline itself.
    pub difference: Option<Bounded>,
}

/// Every measure of every group, against the group `baseline`.
pub fn trends(groups: &BTreeMap<Group, Vec<Answer>>, baseline: &Group, level: f64) -> Vec<Row> {
    let reference = groups.get(baseline).map_or(&[][..], Vec::as_slice);
    let mut rows = Vec::new();
    for (group, answers) in groups {
        for measure in Measure::ALL {
            let values = |of: &[Answer]| -> Vec<f64> { of.iter().filter_map(|a| measure.of(a)).collect() };
            let (before, now) = (values(reference), values(answers));
            if now.is_empty() && before.is_empty() {
                continue;
            }
            let mean = |v: &[f64]| (!v.is_empty()).then(|| v.iter().sum::<f64>() / v.len() as f64);
            let hits = |v: &[f64]| (v.iter().filter(|x| **x == 1.0).count() as u64, v.len() as u64);
            let own = if measure.is_share() {
                let (hits, n) = hits(&now);
                wilson(hits, n, level)
            } else {
                t_mean(&now, level)
            };
            let apart = mean(&now).zip(mean(&before)).map(|(now, before)| now - before);
            let between = if measure.is_share() {
                difference(hits(&before), hits(&now), level).map(|d| d.1)
            } else {
                welch(&before, &now, level).map(|w| w.ci)
            };
            rows.push(Row {
                group: group.clone(),
                measure,
                n: now.len() as u64,
                value: Bounded::of(mean(&now), level, own),
                difference: (group != baseline).then(|| Bounded::of(apart, level, between)),
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(variant: &str) -> Group {
        Group { model: "m@1".into(), prompt_version: String::new(), variant: variant.into() }
    }

    #[test]
    fn a_variant_that_refuses_more_is_told_with_an_interval() {
        // 3 of 100 against 20 of 100: Newcombe's interval of 0.17 is 0.0839 to 0.2610 (statsmodels 0.15.0, `newcomb`).
        let answers = |refusals: usize| -> Vec<Answer> {
            (0..100)
                .map(|i| Answer {
                    refusal: i < refusals,
                    chars: 100 + (i * 7 % 13) as u64,
                    ..Answer::default()
                })
                .collect()
        };
        let groups = BTreeMap::from([(group("a"), answers(3)), (group("b"), answers(20))]);
        let rows = trends(&groups, &group("a"), 0.95);
        let row = |variant: &str, measure| {
            rows.iter().find(|r| r.group.variant == variant && r.measure == measure).unwrap()
        };
        let found = row("b", Measure::Refusal).difference.clone().unwrap();
        assert!((found.value.unwrap() - 0.17).abs() < 1e-12 && found.is_real());
        assert!(
            (found.lo.unwrap() - 0.083_905).abs() < 1e-5 && (found.hi.unwrap() - 0.260_997).abs() < 1e-5,
            "{found:?}"
        );
        assert!(!row("b", Measure::Chars).difference.clone().unwrap().is_real());
        assert_eq!(row("a", Measure::Refusal).difference, None);
        assert!(rows.iter().all(|r| r.measure != Measure::MeanLogProb), "no engine gave any");
    }

    #[test]
    fn what_has_no_interval_has_a_reason() {
        let groups = BTreeMap::from([(group("a"), vec![Answer::default()]), (group("b"), vec![])]);
        let rows = trends(&groups, &group("a"), 0.95);
        let chars = rows.iter().find(|r| r.group.variant == "a" && r.measure == Measure::Chars).unwrap();
        assert!(chars.value.value.is_some() && chars.value.lo.is_none() && chars.value.reason.is_some());
        let none = rows.iter().find(|r| r.group.variant == "b" && r.measure == Measure::Empty).unwrap();
        assert!(none.value.value.is_none() && none.difference.clone().unwrap().reason.is_some());
    }
}
