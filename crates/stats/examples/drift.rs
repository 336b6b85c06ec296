//! Prints how often detectors of drift give a false alarm, and how soon they see a shift: `cargo run -p
//! stopwatt-stats --example drift`.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use stopwatt_stats::drift::{Method, Statistic};

#[path = "../tests/support/drift.rs"]
mod drift;
#[path = "../tests/support/series.rs"]
mod series;

fn main() {
    println!(
        "windows of 100 against 1000, 5 % stated: independent, AR(1) 0.5, seen at half a deviation, AR(1) 0.5"
    );
    for statistic in Statistic::ALL {
        let share = |phi, shift, n| 100.0 * drift::alarms(statistic, phi, shift, n);
        println!(
            "{statistic:?}: {:.2} % {:.2} % {:.1} % {:.1} %",
            share(0.0, 0.0, 4000),
            share(0.5, 0.0, 4000),
            share(0.0, 0.5, 1000),
            share(0.5, 0.5, 1000)
        );
    }
    println!(
        "charts with one false alarm in 300 observations (3.33 a thousand): rate, delay after one deviation"
    );
    for method in [Method::Cusum { allowance: 0.5 }, Method::PageHinkley { allowance: 0.25 }] {
        for phi in [0.0, 0.5] {
            let (rate, delay) = drift::chart(method, phi, 1.0, 400);
            println!("{method:?} at {phi}: {rate:.2} a thousand, {delay:.1} observations");
        }
    }
}
