#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use stopwatt_serving::scheduler::SchedulerConfig;
use stopwatt_serving::step::{StepModel, StepShape};
use stopwatt_serving::workload::{Length, Workload};

use super::*;
use crate::predict::tests::question;
use crate::simulate::Frontend;

/// Every step takes 10 ms, whatever it computes.
struct Metronome;

impl StepModel for Metronome {
    fn step(&self, _: &StepShape) -> Duration {
        Duration::from_millis(10)
    }
}

fn limit(latency: Latency, which: Which, seconds: f64) -> Limit {
    Limit { latency, which, seconds }
}

fn four_at_once() -> Scenario {
    Scenario {
        scheduler: SchedulerConfig { max_num_seqs: 4, ..SchedulerConfig::new(1000, 1024) },
        workload: Workload::new(Length::fixed(16).unwrap(), Length::fixed(10).unwrap()),
        load: Load::Closed { concurrency: 1 },
        requests: 600,
        duration_s: None,
        seed: 3,
        frontend: Frontend::NONE,
        batch_wait_s: 0.0,
    }
}

#[test]
fn a_replica_serves_as_fast_as_its_slots_turn_over() {
    // Ten steps of 10 ms a request, four requests at once: 40 a second, less what a slot waits for the next step.
    let loose = [limit(Latency::E2e, Which::Mean, 1e3)];
    let found = capacity(&four_at_once(), &Metronome, &loose).unwrap().unwrap();
    assert_eq!(found.bound, Bound::Queue);
    assert!((30.0..=41.0).contains(&found.rate_rps), "{found:?}");
}

#[test]
fn the_limit_that_is_passed_first_bounds_the_rate() {
    let limits = [limit(Latency::Tpot, Which::P99, 0.05), limit(Latency::Ttft, Which::P95, 0.06)];
    let found = capacity(&four_at_once(), &Metronome, &limits).unwrap().unwrap();
    assert_eq!(found.bound, Bound::Limit(1));
    let loose = [limit(Latency::Ttft, Which::P95, 0.2)];
    let more = capacity(&four_at_once(), &Metronome, &loose).unwrap().unwrap();
    assert!(found.rate_rps < more.rate_rps, "{found:?} {more:?}");
    // A step is 10 ms, and no request waits less than one.
    let never = [limit(Latency::Ttft, Which::Mean, 0.009)];
    assert_eq!(capacity(&four_at_once(), &Metronome, &never).unwrap(), Err(Bound::Limit(0)));
}

#[test]
fn fleets_and_costs_are_arithmetic_on_the_capacity() {
    let base = question("llama-3.1-8b", "h100", 1, Load::Closed { concurrency: 1 }, 200);
    let offer = |id: &str, kind, price| Offer {
        id: id.to_owned(),
        kind,
        currency: "USD".to_owned(),
        per_device_hour: price,
    };
    let candidate = |q: Question, offers: Vec<Offer>| Candidate { question: q, offers };
    let wanted = Wanted {
        rate_rps: 100.0,
        limits: vec![limit(Latency::Ttft, Which::P99, 0.5), limit(Latency::Tpot, Which::Mean, 0.02)],
        headroom: 0.2,
    };
    let too_large = question("llama-3.1-70b", "h100", 1, Load::Closed { concurrency: 1 }, 200);
    let two = question("llama-3.1-8b", "h100", 2, Load::Closed { concurrency: 1 }, 200);
    let doc = plan(
        &wanted,
        &[
            candidate(too_large, Vec::new()),
            candidate(two, vec![offer("a", PriceKind::OnDemand, 9.0)]),
            candidate(base, vec![offer("a", PriceKind::OnDemand, 3.0), offer("b", PriceKind::Spot, 1.5)]),
        ],
    );
    let best = &doc.options[0];
    assert_eq!((best.tensor_parallel_size, best.dtype.as_str()), (1, "bf16"), "the cheapest comes first");
    let (capacity, fleet) = (best.capacity.as_ref().unwrap(), best.fleet.as_ref().unwrap());
    assert_eq!(fleet.replicas, (100.0 / (capacity.rate_rps * 0.8)).ceil() as u64);
    assert!(
        capacity.sure_rps.unwrap() <= capacity.rate_rps && fleet.sure_replicas.unwrap() >= fleet.replicas
    );
    assert!(fleet.service.ttft_s.p99 < 0.5 && fleet.service.tpot_s.unwrap().mean < 0.02, "the limits hold");
    assert_eq!(fleet.costs[0].per_hour, 3.0 * fleet.devices as f64);
    let million = fleet.costs[1].per_hour / (100.0 * 128.0 * 3600.0) * 1e6;
    assert!((fleet.costs[1].per_million_output_tokens - million).abs() < 1e-12);
    assert!((fleet.costs[1].per_million_tokens - million / 9.0).abs() < 1e-12, "1024 + 128 tokens a request");
    let last = doc.options.last().unwrap();
    assert!(last.fleet.is_none() && last.reason.as_ref().unwrap().contains("does not fit"), "{last:?}");
    assert!(
        doc.pareto.iter().any(|p| p.on_front)
            && doc.pareto.iter().all(|p| doc.options[p.option].capacity.is_some())
    );
}

#[test]
fn the_front_is_what_nothing_beats() {
    let point = |user, device| ParetoPoint {
        option: 0,
        concurrency: 1,
        tokens_per_s_per_user: user,
        tokens_per_s_per_device: device,
        on_front: false,
    };
    let mut points =
        [point(100.0, 10.0), point(50.0, 50.0), point(40.0, 50.0), point(10.0, 200.0), point(9.0, 40.0)];
    mark_front(&mut points);
    assert_eq!(points.map(|p| p.on_front), [true, true, false, true, false]);
}
