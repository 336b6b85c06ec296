//! Every plan on a CUDA device, held against double precision. Skipped, and said so, where there is none.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    unused_crate_dependencies,
    reason = "tests"
)]

#[path = "cuda/cases.rs"]
#[allow(dead_code, reason = "shared with the tests that need no device")]
mod cases;

use stopwatt_core::kernel_table::{CacheState, Launch};
use stopwatt_core::roofline::{self, LevelName, Roofline};
use stopwatt_kernel::case::{Effort, Levels as _};
use stopwatt_kernel::cuda::{CudaDevice, open};

fn device() -> Option<CudaDevice> {
    let path = std::env::var_os("PATH");
    match open(0, &stopwatt_nvlib::library_folders(&[], path.as_deref())) {
        Ok(device) => Some(device),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

#[test]
fn every_plan_computes_rightly_on_a_gpu() {
    let Some(device) = device() else { return };
    let plans = || {
        let mut plans = cases::plans();
        if device.target().capability == (9, 0) {
            plans.extend(cases::device_only());
        }
        plans
    };
    let mut wrong = Vec::new();
    for (launch, cache) in [(Launch::Eager, CacheState::Warm), (Launch::Graph, CacheState::Cold)] {
        for (name, plan) in plans() {
            let result = device.prepare_plan(plan, launch, cache).and_then(|mut case| {
                let deviation = case.check(11)?;
                case.sample(3)?;
                Ok(deviation)
            });
            match result {
                Ok(deviation) if deviation <= 1.0 => eprintln!("{name} {launch:?} {cache:?}: {deviation:.3}"),
                other => wrong.push(format!("{name} {launch:?} {cache:?}: {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} plans are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn levels_of_a_gpu_are_in_order() {
    let Some(mut device) = device() else { return };
    let about = roofline::Device {
        kind: "cuda".to_owned(),
        name: device.facts().name.clone(),
        units: device.target().sm_count,
        instructions: String::new(),
    };
    let mut found = Roofline::empty("test", about);
    device.levels(Effort::Quick, &mut found, &mut |_, _| true).unwrap();
    let wrong: Vec<_> = found.unavailable.iter().filter(|u| u.reason.contains("wrong result")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let level = |name| found.levels.iter().find(|l| l.name == name).unwrap();
    let (first, second, memory) = (level(LevelName::L1), level(LevelName::L2), level(LevelName::Memory));
    let read = |l: &roofline::Level| l.read_bandwidth().unwrap().value;
    assert!(read(first) > read(second) && read(second) > read(memory), "{:?}", found.levels);
    let latency = |l: &roofline::Level| l.latency_s.unwrap().value;
    assert!(latency(first) < latency(second) && latency(second) < latency(memory), "{:?}", found.levels);
}
