//! Compiles every kernel that a plan launches with the CUDA runtime compilers, for three generations of GPUs.
//!
//! Needs python3 and the libraries that `scripts/fetch-nvrtc.sh` fetches, their folders in `STOPWATT_NVRTC`: runs under
//! the feature `external-tests`. No GPU is used.

#![cfg(feature = "external-tests")]

#[path = "cuda/cases.rs"]
#[allow(dead_code, reason = "each test program uses a part")]
mod cases;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use stopwatt_kernel::cuda::plan::Step;
use stopwatt_kernel::cuda::probes::latency::{empty, hold};

const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90a", "sm_100"];

/// Registers of one multiprocessor.
const REGISTERS: u64 = 65_536;

/// Each kernel with the macros it is launched with, and threads and dynamic shared memory of its largest launch.
fn variants() -> BTreeMap<String, (Step, u32)> {
    let mut variants: BTreeMap<String, (Step, u32)> = BTreeMap::new();
    let plans = cases::plans();
    let steps = plans.into_iter().flat_map(|(_, plan)| plan.steps).chain([empty(), hold(1)]);
    for step in steps {
        let key = format!("{} {:?}", step.source.name, step.defines);
        let threads: u32 = step.block.iter().product();
        let entry = variants.entry(key).or_insert((step, threads));
        entry.1 = entry.1.max(threads);
    }
    variants
}

fn answers(folder: &str, requests: &[Value]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/nvrtc.py");
    let mut child = Command::new("python3")
        .arg(script)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut stdin = child.stdin.take().expect("its input is piped");
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("python3 ends");
    writer.join().expect("the writer ends").expect("python3 reads its input");
    assert!(output.status.success(), "{folder}: {}", output.status);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("answers are JSON"))
        .collect()
}

#[test]
fn every_kernel_compiles_for_every_generation_without_spilling() {
    #[expect(clippy::disallowed_methods, reason = "the compilers stand where the environment says")]
    let folders = std::env::var("STOPWATT_NVRTC")
        .expect("STOPWATT_NVRTC names the folders of libnvrtc: STOPWATT_NVRTC=$(scripts/fetch-nvrtc.sh)");
    let variants = variants();
    let mut failures = Vec::new();
    for folder in folders.split(':') {
        let requests: Vec<Value> = ARCHITECTURES
            .iter()
            .flat_map(|architecture| {
                variants.iter().map(move |(key, (step, _))| {
                    json!({
                        "name": key, "text": step.source.text, "architecture": architecture,
                        "defines": step.defines,
                    })
                })
            })
            .collect();
        let answers = answers(folder, &requests);
        assert_eq!(answers.len(), requests.len(), "{folder}");
        for answer in &answers {
            let (name, architecture) = (text(answer, "name"), text(answer, "architecture"));
            if let Some(error) = answer["error"].as_str() {
                failures.push(format!("{name} for {architecture}: {error}"));
                continue;
            }
            let (step, threads) = &variants[name];
            let kernel = &answer["kernels"][step.entry];
            let (Some(registers), Some(spilled), Some(shared)) =
                (kernel["registers"].as_u64(), kernel["spilled"].as_u64(), kernel["shared"].as_u64())
            else {
                failures.push(format!("{name} for {architecture}: no {} in {answer}", step.entry));
                continue;
            };
            // Registers are handed out by eights.
            if spilled > 0 || registers.next_multiple_of(8) * u64::from(*threads) > REGISTERS {
                failures.push(format!(
                    "{name} for {architecture}: {} takes {registers} registers of {threads} threads and spills \
                     {spilled} bytes",
                    step.entry
                ));
            }
            if shared > 48 << 10 {
                failures.push(format!("{name} for {architecture}: {shared} bytes of static shared memory"));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().expect("answers name what they are about")
}
