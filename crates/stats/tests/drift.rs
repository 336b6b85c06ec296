//! Do detectors of drift cry wolf as rarely as they say, and do they see what is there?
//!
//! `examples/drift.rs` repeats this at larger size and prints the table that the documentation quotes.

use stopwatt_stats::drift::{Method, Statistic};

#[path = "support/drift.rs"]
mod drift;
#[path = "support/series.rs"]
mod series;

use drift::{alarms, chart};

#[test]
fn windows_without_drift_alarm_at_the_stated_rate() {
    // 5 % of 400 has a standard error of 1.1 %. Blocks miss a little of the dependence, so AR(1) may lie above.
    for statistic in Statistic::ALL {
        let independent = alarms(statistic, 0.0, 0.0, 400);
        assert!((0.022..=0.083).contains(&independent), "{statistic:?}: {independent}");
        let dependent = alarms(statistic, 0.5, 0.0, 400);
        assert!((0.022..=0.09).contains(&dependent), "{statistic:?}, AR(1): {dependent}");
    }
}

#[test]
fn windows_that_moved_half_a_deviation_are_seen() {
    for statistic in Statistic::ALL {
        let seen = alarms(statistic, 0.0, 0.5, 100);
        assert!(seen > 0.75, "{statistic:?}: {seen}");
    }
}

#[test]
fn charts_run_as_long_as_stated_and_see_a_shift_soon() {
    // One false alarm in 300 is 3.33 a thousand. 1200 alarms are expected: 3 % by themselves, and baselines differ.
    for (method, phi, soon) in [
        (Method::Cusum { allowance: 0.5 }, 0.0, 12.0),
        (Method::Cusum { allowance: 0.5 }, 0.5, 30.0),
        (Method::PageHinkley { allowance: 0.25 }, 0.0, 25.0),
        (Method::PageHinkley { allowance: 0.25 }, 0.5, 60.0),
    ] {
        let (rate, delay) = chart(method, phi, 1.0, 60);

        assert!((2.5..=4.2).contains(&rate), "{method:?} at {phi}: {rate} false alarms a thousand");
        assert!(delay < soon, "{method:?} at {phi}: {delay} observations");
    }
}
