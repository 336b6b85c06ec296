//! Values of a target's own: the mean over trials of each trial's mean, with its interval over trials.

use std::collections::BTreeMap;

use stopwatt_core::log::{Fact, LogEvent, MeanOf};
use stopwatt_core::metrics_doc::Estimate;

use crate::settings::Settings;
use crate::summary::{Range, mean_of_trials};

/// Sums up what the target told of each trial.
pub(crate) fn custom(log: &[LogEvent], settings: &Settings) -> BTreeMap<String, Estimate> {
    let mut found: BTreeMap<&String, Vec<MeanOf>> = BTreeMap::new();
    for event in log {
        if let Fact::TargetMetrics { means, .. } = &event.fact {
            for (name, mean) in means {
                found.entry(name).or_default().push(*mean);
            }
        }
    }
    let estimate = |means: &[MeanOf]| {
        let values: Vec<f64> = means.iter().map(|m| m.mean).collect();
        let n = means.iter().map(|m| m.n).sum();
        Estimate { n, ..mean_of_trials(&values, Range::Any, settings, "the target told none") }
    };
    found.into_iter().map(|(name, means)| (name.clone(), estimate(&means))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::log;

    #[test]
    fn trials_count_alike_and_signs_are_kept() {
        let of = |trial, mean, n| Fact::TargetMetrics {
            point: 0,
            trial,
            means: BTreeMap::from([("loss".to_owned(), MeanOf { mean, n })]),
        };
        let log = log(&[of(0, -1.0, 10), of(1, -3.0, 20), of(2, -2.0, 10)]);
        let loss = &custom(&log, &Settings::default())["loss"];
        assert_eq!((loss.value, loss.n, loss.trials), (Some(-2.0), 40, 3));
        // −2 ± t(0.975, 2) · 1/√3 = −2 ± 4.3027 · 0.5774
        let interval = loss.interval.unwrap();
        assert!((interval.lo + 4.4841).abs() < 1e-3 && (interval.hi - 0.4841).abs() < 1e-3, "{interval:?}");
    }

    #[test]
    fn one_trial_has_no_interval() {
        let means = BTreeMap::from([("loss".to_owned(), MeanOf { mean: 1.0, n: 3 })]);
        let log = log(&[Fact::TargetMetrics { point: 0, trial: 0, means }]);
        let loss = &custom(&log, &Settings::default())["loss"];
        assert!(loss.interval.is_none() && loss.reason.is_some());
    }
}
