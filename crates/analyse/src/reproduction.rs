//! Did a run come out again? The statistics of `compare`, read as reproduced, not reproduced or inconclusive.
//!
//! | interval of the change | verdict |
//! |---|---|
//! | equivalent: within ± the margin, with confidence | reproduced |
//! | as a whole outside ± the margin, and no chance (Holm) | not reproduced |
//! | anything else, or a missing number | inconclusive |
//!
//! One metric that is not reproduced decides; after that, one that is inconclusive, a run that is not valid, or a point
//! that was not measured again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stopwatt_core::comparison::{MetricComparison, Verdict};
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::reproduction::{FieldDifference, Reproduced, ReproducedMetric, ReproductionDoc};
use stopwatt_core::{FORMAT_MAJOR, FORMAT_MINOR};

use crate::compare::{Options, Side, compare};
use crate::environment::{self, word};

/// A run on one side of a reproduction.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Its trial values and identity.
    pub side: &'a Side,
    /// Its log.
    pub log: &'a [LogEvent],
    /// Its `config.lock.json`.
    pub config: &'a Value,
}

/// Judges `now` against `original`.
pub fn judge(original: Told<'_>, now: Told<'_>, options: &Options) -> ReproductionDoc {
    let found = compare(original.side, std::slice::from_ref(now.side), options);
    let judged = found.comparisons.iter().filter(|c| c.primary);
    let metrics: Vec<ReproducedMetric> = judged
        .filter(|c| c.baseline.is_some() || c.candidate.is_some())
        .map(|c| metric(c, options))
        .collect();
    let mut reasons = Vec::new();
    for (what, side) in [("the original", original.side), ("the repetition", now.side)] {
        if side.run.valid == Some(false) {
            reasons.push(format!("{what} is not a valid run"));
        }
    }
    reasons.extend(found.unmatched.iter().map(|point| format!("measured on one side only: {point}")));
    if metrics.is_empty() {
        reasons.push("no judged metric was measured".to_owned());
    }
    let any = |verdict| metrics.iter().any(|m| m.verdict == verdict);
    let verdict = if any(Reproduced::NotReproduced) {
        Reproduced::NotReproduced
    } else if any(Reproduced::Inconclusive) || !reasons.is_empty() {
        Reproduced::Inconclusive
    } else {
        Reproduced::Reproduced
    };
    let id = |side: &Side| side.run.run_id.clone().unwrap_or_default();
    ReproductionDoc {
        format: format!("{FORMAT_MAJOR}.{FORMAT_MINOR}"),
        reproduces: id(original.side),
        run_id: id(now.side),
        verdict,
        reasons,
        margin: options.margin,
        level: options.level,
        metrics,
        environment: fingerprints(fingerprint(original.log), fingerprint(now.log)),
        settings: differences(&settings(original.config), &settings(now.config), |_| false),
    }
}

fn metric(c: &MetricComparison, options: &Options) -> ReproducedMetric {
    let outside = c.ci95.is_some_and(|[lo, hi]| lo > options.margin || hi < -options.margin);
    let significant = c.p_holm.is_some_and(|p| p < 1.0 - options.level);
    let (verdict, reason) = match c.verdict {
        Some(Verdict::Equivalent) => (Reproduced::Reproduced, None),
        _ if outside && significant => (Reproduced::NotReproduced, None),
        Some(Verdict::Improved | Verdict::Regressed) => {
            let reason = "it differs, but the interval reaches into the margin".to_owned();
            (Reproduced::Inconclusive, Some(reason))
        }
        _ => (Reproduced::Inconclusive, c.reason.clone()),
    };
    ReproducedMetric {
        point: c.point.clone(),
        metric: c.metric.clone(),
        statistic: c.statistic.clone(),
        unit: c.unit.clone(),
        original: c.baseline,
        now: c.candidate,
        absolute: c.absolute,
        delta: c.delta,
        interval: c.ci95,
        trials: c.trials,
        verdict,
        reason,
    }
}

fn fingerprint(log: &[LogEvent]) -> Option<&Fingerprint> {
    log.iter().find_map(|e| match &e.fact {
        Fact::Fingerprint { fingerprint } => Some(fingerprint),
        _ => None,
    })
}

/// Every field in which two fingerprints differ. One that is missing as a whole differs in nothing.
pub fn fingerprints(original: Option<&Fingerprint>, now: Option<&Fingerprint>) -> Vec<FieldDifference> {
    let (Some(original), Some(now)) = (original, now) else { return Vec::new() };
    differences(&environment::fields(original), &environment::fields(now), environment::binds)
}

fn settings(config: &Value) -> BTreeMap<String, String> {
    let settings = config.get("settings").and_then(Value::as_object).into_iter().flatten();
    let value = |(key, setting): (&String, &Value)| Some((key.clone(), word(setting.get("value")?)));
    settings.filter_map(value).filter(|(_, v)| v != "null").collect()
}

fn differences(
    original: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    binds: impl Fn(&str) -> bool,
) -> Vec<FieldDifference> {
    let fields: BTreeSet<&String> = original.keys().chain(now.keys()).collect();
    fields
        .into_iter()
        .filter(|field| original.get(*field) != now.get(*field))
        .map(|field| FieldDifference {
            field: field.clone(),
            original: original.get(field).cloned(),
            now: now.get(field).cloned(),
            binding: binds(field),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stopwatt_core::metric::Direction;

    use super::*;

    /// Judges samples of one metric, one value a trial.
    #[track_caller]
    fn check(original: &[f64], now: &[f64], expected: Reproduced) -> ReproductionDoc {
        let side = |name: &str, values: &[f64]| {
            let lines: String = values.iter().enumerate().map(|(i, v)| format!("{i},{v}\n")).collect();
            Side::of_csv(name, &lines, "time", Direction::Lower).unwrap()
        };
        let (a, b) = (side("a", original), side("b", now));
        let told = |side| Told { side, log: &[], config: &Value::Null };
        let options = Options { margin: 0.05, ..Options::default() };
        let doc = judge(told(&a), told(&b), &options);
        assert_eq!(doc.verdict, expected, "{doc:?}");
        doc
    }

    const STEADY: [f64; 5] = [10.0, 10.1, 9.9, 10.05, 9.95];

    #[test]
    fn within_the_margin_is_reproduced() {
        // Two means 1 % apart with an SD of 0.8 %: the 90 % interval is about ±1 % around it.
        check(&STEADY, &STEADY.map(|v| v * 1.01), Reproduced::Reproduced);
    }

    #[test]
    fn beyond_the_margin_is_not_reproduced_whichever_way() {
        check(&STEADY, &STEADY.map(|v| v * 1.2), Reproduced::NotReproduced);
        check(&STEADY, &STEADY.map(|v| v * 0.8), Reproduced::NotReproduced);
    }

    #[test]
    fn a_difference_of_about_the_margin_is_not_decided() {
        let doc = check(&STEADY, &STEADY.map(|v| v * 1.05), Reproduced::Inconclusive);
        assert!(doc.metrics[0].reason.is_some());
        check(&[8.0, 12.0, 10.0], &[9.0, 13.0, 8.5], Reproduced::Inconclusive);
    }

    #[test]
    fn one_trial_or_none_decides_nothing() {
        check(&[10.0], &[10.0], Reproduced::Inconclusive);
    }

    #[test]
    fn every_field_that_differs_is_told_with_both_values() {
        let mut a = Fingerprint { cpu: Some("A".into()), cpus: Some(4), ..Fingerprint::default() };
        let mut b = Fingerprint { cpu: Some("B".into()), cpus: Some(4), ..Fingerprint::default() };
        a.engine.insert("python".into(), "3.12".into());
        b.gpus = vec!["G".into(), "G".into()];
        let found = fingerprints(Some(&a), Some(&b));
        let told: Vec<_> =
            found.iter().map(|d| (d.field.as_str(), d.original.as_deref(), d.now.as_deref())).collect();
        assert_eq!(
            told,
            [
                ("cpu", Some("A"), Some("B")),
                ("engine.python", Some("3.12"), None),
                ("gpus", None, Some("G, G")),
            ]
        );
        assert_eq!(found.iter().map(|d| d.binding).collect::<Vec<_>>(), [true, false, true]);
        assert!(fingerprints(None, Some(&b)).is_empty());
    }

    #[test]
    fn settings_that_were_given_anew_are_told() {
        let lock = |url: &str| json!({"settings": {"target.url": {"value": url}, "seed": {"value": 0}}});
        let found = differences(&settings(&lock("http://a")), &settings(&lock("http://b")), |_| false);
        assert_eq!((found.len(), found[0].field.as_str()), (1, "target.url"));
    }
}
