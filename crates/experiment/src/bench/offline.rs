//! The load of a benchmark without an engine: what would be sent, and when. For predictions, which simulate it.

use stopwatt_serving::arrival::ArrivalProcess;
use stopwatt_serving::workload::Workload;

use super::config::BenchConfig;
use super::error::BenchError;
use super::material::Material;
use super::run::load_profile;
use super::scenario::{self, EngineLimits, Extent, LoadPlan};
use super::stretch;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sending {
    /// By so many clients, each sending its next request when the last has ended.
    Closed {
        /// Clients.
        concurrency: u32,
    },
    /// At the times of a process.
    Open(ArrivalProcess),
    /// At the times of the trace.
    Recorded,
}

/// The first point of a benchmark.
#[derive(Debug, Clone)]
pub struct Offline {
    /// What is sent.
    pub workload: Workload,
    /// When.
    pub sending: Sending,
    /// Requests of a trial; `None` where time ends it.
    pub requests: Option<u64>,
    /// Seconds of a trial; `None` where the number of requests ends it.
    pub duration_s: Option<f64>,
}

/// What a benchmark of these settings would send first. Lengths that only an engine could count are drawn.
///
/// # Errors
/// Settings that `bench` refuses too, and images, which need an engine that sees.
pub fn offline(config: &BenchConfig) -> Result<Offline, BenchError> {
    let own = &config.workload;
    if own.images.is_some() || own.image_size.is_some() {
        let problem = "images are for an engine; here is none".to_owned();
        return Err(BenchError::Setting { setting: "workload.images", problem });
    }
    let material = Material::load(config, load_profile(&own.profile)?)?;
    let plan = scenario::plan(config, EngineLimits::default(), &material.profile)?;
    let nothing = || BenchError::Setting { setting: "scenario", problem: "it sends nothing".to_owned() };
    let point = plan.points.into_iter().next().ok_or_else(nothing)?;
    let sending = match point.load {
        LoadPlan::Closed { concurrency } => Sending::Closed { concurrency },
        LoadPlan::Open { arrival, rate } | LoadPlan::ShareOfCapacity { arrival, share: rate } => {
            stretch::process(config, arrival, rate, point.extent)?.map_or(Sending::Recorded, Sending::Open)
        }
    };
    let (requests, duration_s) = match point.extent {
        Extent::Requests(n) => (Some(n), None),
        Extent::Time(time) => (None, Some(time.as_secs_f64())),
    };
    Ok(Offline { workload: point.workload, sending, requests, duration_s })
}

/// What each point of a benchmark sends, in their order. Lengths that only an engine could count are drawn.
///
/// # Errors
/// Settings that `bench` refuses too.
pub fn workloads(config: &BenchConfig) -> Result<Vec<Workload>, BenchError> {
    let material = Material::load(config, load_profile(&config.workload.profile)?)?;
    let plan = scenario::plan(config, EngineLimits::default(), &material.profile)?;
    Ok(plan.points.into_iter().map(|point| point.workload).collect())
}

/// Seed of the lengths and shared prefixes of a measured trial, in a run of this seed.
#[must_use]
pub fn shape_seed(seed: u64, point: u32, trial: u32) -> u64 {
    stretch::stretch_seed(seed, point, trial)
}

#[cfg(test)]
mod tests {
    use stopwatt_serving::arrival::{ArrivalSpec, Spacing};

    use super::super::config::ArrivalKind;
    use super::*;

    #[test]
    fn a_ramp_is_as_long_as_its_trial() {
        let mut config = BenchConfig::default();
        config.load.arrival = Some(ArrivalKind::Ramp);
        (config.load.rate, config.load.rate_end) = (vec![2.0], Some(6.0));
        let ramp = |config: &BenchConfig| {
            let load = offline(config).unwrap();
            let Sending::Open(process) = load.sending else { panic!("{load:?}") };
            let ArrivalSpec::Ramp { duration_s, spacing: Spacing::Even, .. } = process.spec() else {
                panic!("{process:?}")
            };
            (duration_s, load.requests, load.duration_s)
        };
        config.measure.requests = Some(40);
        // Four a second on average.
        assert_eq!(ramp(&config), (10.0, Some(40), None));
        (config.measure.requests, config.measure.duration_s) = (None, Some(30.0));
        assert_eq!(ramp(&config), (30.0, None, Some(30.0)));
    }

    #[test]
    fn what_needs_an_engine_is_refused() {
        let mut config = BenchConfig::default();
        config.workload.image_size = Some("64x64".to_owned());
        assert!(matches!(offline(&config), Err(BenchError::Setting { setting: "workload.images", .. })));
        config.workload.image_size = None;
        config.load.arrival = Some(ArrivalKind::Ramp);
        assert!(matches!(offline(&config), Err(BenchError::Setting { setting: "load.rate", .. })));
    }
}
