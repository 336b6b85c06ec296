//! Quality: what a run's own log says of it, and a candidate against its baseline, item by item.

use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::metric::Direction;
use stopwatt_core::metrics_doc::{Estimate, Interval, IntervalKind};
use stopwatt_core::quality::{Quality, QualityDelta, QualityMethod, QualityScale, QualitySummary};
use stopwatt_stats::items::{Excess, Scale, excess};
use stopwatt_stats::{Unsupported, bootstrap, describe, quantile};

use crate::settings::Settings;
use crate::summary::{Range, mean_of_trials};

/// Nothing was asked for.
const NOT_ASKED: &str = "no quality was asked for (quality.command or quality.prompts)";
/// Resamples of a comparison: enough for the tail of a corrected gate.
const RESAMPLES: u32 = 4000;

/// What a log says of quality: the scores, or why there are none.
///
/// # Errors
/// The reason.
pub fn told(log: &[LogEvent]) -> Result<&Quality, &str> {
    let fact = log.iter().rev().find_map(|e| match &e.fact {
        Fact::Quality { quality } => Some(Ok(quality)),
        Fact::QualityUnavailable { reason } => Some(Err(reason.as_str())),
        _ => None,
    });
    fact.unwrap_or(Err(NOT_ASKED))
}

/// Loss of each item, for `quality_loss`.
///
/// # Errors
/// Why there is none.
pub(crate) fn losses(quality: Result<&Quality, &str>) -> Result<Vec<f64>, String> {
    let quality = quality.map_err(str::to_owned)?;
    if quality.scale == QualityScale::Relative {
        return Err(
            "scores of a relative scale have no loss of their own, only against a baseline".to_owned()
        );
    }
    let losses: Option<Vec<f64>> =
        quality.items.iter().map(|i| i.score.map(|score| quality.loss(score))).collect();
    losses
        .filter(|l| !l.is_empty())
        .ok_or_else(|| "answers have a score only beside a baseline's (`stopwatt pair`)".to_owned())
}

/// The part of `metrics.json`.
pub(crate) fn summary(log: &[LogEvent], settings: &Settings) -> Option<QualitySummary> {
    let quality = told(log).ok()?;
    let scores: Vec<f64> = quality.items.iter().filter_map(|i| i.score).collect();
    let places = |of: fn(&stopwatt_core::quality::QualityItem) -> Option<u32>| {
        let found: Vec<f64> = quality.items.iter().filter_map(of).map(f64::from).collect();
        (!found.is_empty()).then(|| quantile::quantile(&quantile::sorted(&found), 0.5))
    };
    let answers = quality.method == QualityMethod::Answers;
    let mean = |of: fn(&stopwatt_core::quality::QualityItem) -> Option<f64>| {
        let found: Vec<f64> = quality.items.iter().filter_map(of).collect();
        (!found.is_empty()).then(|| of_items(&found, Range::Any, settings))
    };
    Some(QualitySummary {
        method: quality.method,
        better: quality.better,
        scale: quality.scale,
        items: quality.items.len() as u64,
        score: Estimate { trials: 1, ..of_items(&scores, Range::Any, settings) },
        different: (answers && !scores.is_empty())
            .then(|| scores.iter().filter(|s| **s < 1.0).count() as u64),
        differs_at_char: places(|i| i.differs_at_char),
        differs_at_token: places(|i| i.differs_at_token),
        reference: mean(|i| i.reference),
        kl_nats: mean(|i| i.kl_nats),
        delta: delta_told(log).cloned(),
    })
}

/// The mean over items with its interval over items.
pub(crate) fn of_items(values: &[f64], range: Range, settings: &Settings) -> Estimate {
    let mut estimate = mean_of_trials(values, range, settings, "no item has a score");
    estimate.trials = 1;
    // A share of items that are all alike is not certain: the interval of a share has a width there, Student's has none.
    let options = bootstrap::Options { level: settings.level, ..bootstrap::Options::default() };
    let all = values.len() > 1 && values.iter().all(|v| *v == 0.0 || *v == 1.0);
    if let Some(Ok(share)) = all.then(|| excess(&vec![0.0; values.len()], values, Scale::Share, &options)) {
        let kind = IntervalKind::Confidence;
        estimate.interval =
            Some(Interval { kind, level: settings.level, lo: share.ci.lo.max(0.0), hi: share.ci.hi });
    }
    if values.len() == 1 {
        estimate.reason = Some("one number has no interval; a score for each item has".to_owned());
    }
    estimate
}

pub(crate) fn delta_told(log: &[LogEvent]) -> Option<&QualityDelta> {
    log.iter().rev().find_map(|e| match &e.fact {
        Fact::QualityDelta { delta } => Some(delta),
        _ => None,
    })
}

/// Losses of the items of both sides and by how much the candidate's are larger.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    /// Mean loss of baseline and candidate; on a relative scale 0 and the excess.
    pub(crate) losses: [f64; 2],
    pub(crate) excess: Result<Excess, Unsupported>,
    /// Smaller values are worse: the excess is of the other sign.
    pub(crate) mirrored: bool,
    pub(crate) n: usize,
}

impl Judged {
    /// By how much the candidate is worse, with its interval.
    pub(crate) fn loss(&self) -> Option<(f64, [f64; 2])> {
        let e = self.excess.as_ref().ok()?;
        Some(match self.mirrored {
            false => (e.value, [e.ci.lo, e.ci.hi]),
            true => (-e.value, [-e.ci.hi, -e.ci.lo]),
        })
    }

    /// p of "the candidate is worse by less than `limit`" being false, and of "by more" being false.
    pub(crate) fn against(&self, limit: f64) -> Option<(f64, f64)> {
        let e = self.excess.as_ref().ok()?;
        let below = match self.mirrored {
            false => e.p_below(limit),
            true => 1.0 - e.p_below(-limit),
        };
        Some((below, 1.0 - below))
    }
}

/// Compares item by item.
///
/// # Errors
/// The sides were not judged by the same items.
pub(crate) fn judge(a: &Quality, b: &Quality, level: f64) -> Result<Judged, String> {
    if (a.method, a.better, a.scale) != (b.method, b.better, b.scale) {
        return Err("the sides were scored in different ways".to_owned());
    }
    let same = a.items.len() == b.items.len() && a.items.iter().zip(&b.items).all(|(x, y)| x.key == y.key);
    if !same || a.items.is_empty() {
        let (n, m) = (a.items.len(), b.items.len());
        return Err(format!("the sides were not scored on the same items ({n} and {m})"));
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (x, y) in a.items.iter().zip(&b.items) {
        let (x, y) = match (x.score, y.score, &x.answer, &y.answer) {
            // The candidate's score of an answer is against a baseline that may be another one: hashes tell for certain.
            (ours, _, Some(p), Some(q)) => (ours.unwrap_or(1.0), f64::from(u8::from(p == q))),
            (Some(x), Some(y), ..) => (x, y),
            _ => return Err("an item has no score".to_owned()),
        };
        ours.push(a.loss(x));
        theirs.push(b.loss(y));
    }
    let options = bootstrap::Options { resamples: RESAMPLES, level, seed: 0, block: None };
    let relative = a.scale == QualityScale::Relative;
    let mirrored = relative && a.better == Direction::Higher;
    let scale = if relative { Scale::Ratio } else { Scale::Share };
    let n = ours.len();
    let excess = match (n, relative) {
        // One number a side is a mean over unknown items, whatever its value.
        (1, _) => Err(Unsupported::TooFewValues { n, needed: 2 }),
        _ => excess(&ours, &theirs, scale, &options),
    };
    let (x, y) = (describe::mean(&ours), describe::mean(&theirs));
    let losses = match (relative, mirrored) {
        (false, _) => [x, y],
        (true, false) => [0.0, y / x - 1.0],
        (true, true) => [0.0, 1.0 - y / x],
    };
    Ok(Judged { losses, excess, mirrored, n })
}

/// By how much a candidate is worse, as it stands in its log: in percentage points.
pub fn delta(baseline: &str, a: &Quality, b: &Quality, level: f64) -> QualityDelta {
    let pct = match judge(a, b, level) {
        Err(reason) => Estimate::unavailable(reason),
        Ok(judged) => {
            let value = judged.losses[1] - judged.losses[0];
            let interval = judged.loss().map(|(_, [lo, hi])| Interval {
                kind: IntervalKind::Confidence,
                level,
                lo: lo * 100.0,
                hi: hi * 100.0,
            });
            let reason = judged.excess.as_ref().err().map(|why| format!("no interval over items: {why}"));
            Estimate {
                value: value.is_finite().then_some(value * 100.0),
                n: judged.n as u64,
                trials: 1,
                interval,
                reason,
            }
        }
    };
    QualityDelta { baseline: baseline.to_owned(), pct }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::quality::QualityItem;

    use super::*;

    fn scored(scores: &[f64], better: Direction, scale: QualityScale) -> Quality {
        let item = |(i, score): (usize, &f64)| QualityItem {
            key: i.to_string(),
            score: Some(*score),
            ..QualityItem::default()
        };
        Quality {
            method: QualityMethod::Command,
            better,
            scale,
            items: scores.iter().enumerate().map(item).collect(),
        }
    }

    #[test]
    fn a_loss_is_positive_whichever_way_scores_run() {
        let right = |n: usize| -> Vec<f64> { (0..100).map(|i| f64::from(u8::from(i < n))).collect() };
        let of = |a: &Quality, b: &Quality| delta("a", a, b, 0.95).pct;
        let accuracy = |n| scored(&right(n), Direction::Higher, QualityScale::Share);
        let errors = |n| scored(&right(n), Direction::Lower, QualityScale::Share);
        let worse = of(&accuracy(80), &accuracy(75));
        // Five items worse, none better: Tango's interval holds −5 ± some.
        assert!((worse.value.unwrap() - 5.0).abs() < 1e-9 && worse.n == 100, "{worse:?}");
        let interval = worse.interval.unwrap();
        assert!(interval.lo > 0.0 && interval.hi > 5.0 && interval.hi < 13.0, "{interval:?}");
        assert!((of(&errors(10), &errors(15)).value.unwrap() - 5.0).abs() < 1e-9);
        assert!(of(&accuracy(75), &accuracy(80)).value.unwrap() < 0.0);
        let percent = |v: f64| scored(&vec![v; 40], Direction::Higher, QualityScale::Percent);
        assert!((of(&percent(80.0), &percent(79.0)).value.unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_relative_scale_is_in_per_cent_of_the_baseline() {
        let base: Vec<f64> = (0..50).map(|i| 10.0 + f64::from(i % 7)).collect();
        let times =
            |f: f64| base.iter().enumerate().map(|(i, v)| v * f * (1.0 + 1e-4 * (i % 3) as f64)).collect();
        let (a, b): (Vec<f64>, Vec<f64>) = (base.clone(), times(1.02));
        let perplexity = |v: &[f64]| scored(v, Direction::Lower, QualityScale::Relative);
        let worse = delta("a", &perplexity(&a), &perplexity(&b), 0.95).pct;
        assert!((worse.value.unwrap() - 2.01).abs() < 0.01 && worse.interval.unwrap().lo > 1.9, "{worse:?}");
        let likelihood = |v: &[f64]| scored(v, Direction::Higher, QualityScale::Relative);
        let better = delta("a", &likelihood(&a), &likelihood(&b), 0.95).pct;
        assert!(better.value.unwrap() < -1.9 && better.interval.unwrap().hi < 0.0, "{better:?}");
        let judged = judge(&likelihood(&a), &likelihood(&b), 0.95).unwrap();
        let (below, above) = judged.against(0.001).unwrap();
        assert!(below < 0.001 && above > 0.999);
    }

    #[test]
    fn answers_are_equal_when_their_hashes_are() {
        let answers = |hashes: &[&str], scores: Option<&[f64]>| Quality {
            method: QualityMethod::Answers,
            better: Direction::Higher,
            scale: QualityScale::Share,
            items: hashes
                .iter()
                .enumerate()
                .map(|(i, hash)| QualityItem {
                    key: i.to_string(),
                    answer: Some((*hash).to_owned()),
                    score: scores.map(|s| s[i]),
                    ..QualityItem::default()
                })
                .collect(),
        };
        let of = |a: &Quality, b: &Quality| delta("a", a, b, 0.95).pct.value.unwrap();
        let a = answers(&["x", "y", "z", "w"], None);
        assert!((of(&a, &answers(&["x", "y", "z", "v"], None)) - 25.0).abs() < 1e-9);
        // A baseline that does not answer itself alike is the measure of what chance does.
        let unsteady = answers(&["x", "y", "z", "w"], Some(&[1.0, 1.0, 1.0, 0.0]));
        assert!(of(&unsteady, &answers(&["x", "y", "z", "v"], None)).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_paired_has_a_reason_and_one_number_has_no_interval() {
        let of = |v: &[f64]| scored(v, Direction::Higher, QualityScale::Share);
        let other = delta("a", &of(&[1.0; 5]), &of(&[1.0; 4]), 0.95).pct;
        assert!(other.value.is_none() && other.reason.unwrap().contains("(5 and 4)"));
        let one = delta("a", &of(&[0.8]), &of(&[0.7]), 0.95).pct;
        assert!((one.value.unwrap() - 10.0).abs() < 1e-9 && one.interval.is_none() && one.reason.is_some());
        assert!(one.reason.is_some());
    }
}
