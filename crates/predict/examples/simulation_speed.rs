//! How many requests of 1,000 + 1,000 tokens one core simulates a second, at several concurrencies.
//!
//! `cargo run --release -p stopwatt-predict --example simulation_speed`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

use stopwatt_core::clock::monotonic_raw;
use stopwatt_predict::corrector::Corrector;
use stopwatt_predict::engine::{EngineSettings, EngineVersion};
use stopwatt_predict::hardware::preset;
use stopwatt_predict::latency::Latency;
use stopwatt_predict::model::builtin;
use stopwatt_predict::simulate::{Frontend, Load, Scenario, simulate};
use stopwatt_predict::step::StepPredictor;
use stopwatt_predict::{Deployment, Precision};
use stopwatt_serving::workload::{Length, Workload};

fn main() {
    let gpu = preset("h100").unwrap();
    let deployment =
        Deployment::new(builtin("llama-3.1-8b").unwrap(), Precision::parse("bf16").unwrap(), 1, 1).unwrap();
    let settings = EngineSettings::defaults(EngineVersion::NEWEST, &deployment.model, gpu);
    for concurrency in [1, 16, 64, 256] {
        let latency = Latency::of_datasheet(gpu.clone());
        let model = StepPredictor::new(deployment.clone(), latency, &settings, Corrector::default()).unwrap();
        let scenario = Scenario {
            scheduler: settings.scheduler(27_000),
            workload: Workload::new(Length::uniform(900, 1100).unwrap(), Length::uniform(900, 1100).unwrap()),
            load: Load::Closed { concurrency },
            requests: 20 * concurrency,
            duration_s: None,
            seed: 0,
            frontend: Frontend::GUESS,
            batch_wait_s: 0.0,
        };
        let begin = monotonic_raw();
        let outcome = simulate(&scenario, &model).unwrap();
        let seconds = (monotonic_raw() - begin) as f64 * 1e-9;
        println!(
            "{concurrency} clients: {:.0} requests/s, {:.0} steps/s, {:.0} times real time",
            outcome.requests.len() as f64 / seconds,
            outcome.steps as f64 / seconds,
            outcome.wall as f64 * 1e-9 / seconds
        );
    }
}
