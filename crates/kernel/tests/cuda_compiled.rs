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
use stopwatt_kernel::cuda::plan::Source;
use stopwatt_kernel::cuda::probes::latency::{empty, hold};

const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90a", "sm_100"];

/// Registers of one multiprocessor.
const REGISTERS: u64 = 65_536;

/// A source with the macros it is compiled with, and what is launched of it: entries and threads of the largest launch.
struct Variant {
    source: Source,
    defines: Vec<(&'static str, String)>,
    entries: BTreeMap<&'static str, u32>,
}

fn variants() -> BTreeMap<String, Variant> {
    let mut variants: BTreeMap<String, Variant> = BTreeMap::new();
    let plans = cases::plans().into_iter().chain(cases::device_only());
    let steps = plans.flat_map(|(_, plan)| plan.steps).chain([empty(), hold(1)]);
    for step in steps {
        let threads: u32 = step.block.iter().product();
        let variant =
            variants.entry(format!("{} {:?}", step.source.name, step.defines)).or_insert_with(|| Variant {
                source: step.source,
                defines: step.defines,
                entries: BTreeMap::new(),
            });
        let most = variant.entries.entry(step.entry).or_insert(threads);
        *most = (*most).max(threads);
    }
    variants
}

/// Whether `architecture` has the instructions of a variant.
fn has(architecture: &str, variant: &Variant) -> bool {
    let eight_bits = variant.source.name == "peak" && variant.defines.contains(&("KIND", "4".to_owned()));
    match architecture {
        "sm_80" => !eight_bits && !["warpgroup", "bulk"].contains(&variant.source.name),
        "sm_90a" => true,
        _ => variant.source.name != "warpgroup",
    }
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
    // A compiler uses one core: those of both versions run at the same time.
    let failures: Vec<String> = std::thread::scope(|scope| {
        let compilers: Vec<_> =
            folders.split(':').map(|folder| scope.spawn(|| failures(folder, &variants))).collect();
        compilers.into_iter().flat_map(|compiler| compiler.join().expect("it ends")).collect()
    });
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().expect("answers name what they are about")
}

/// What is wrong with the variants as the compiler of `folder` makes them.
fn failures(folder: &str, variants: &BTreeMap<String, Variant>) -> Vec<String> {
    let mut failures = Vec::new();
    let requests: Vec<Value> = ARCHITECTURES
        .iter()
        .flat_map(|architecture| {
            variants.iter().filter(|(_, variant)| has(architecture, variant)).map(move |(key, variant)| {
                json!({
                    "name": key, "text": variant.source.text, "architecture": architecture,
                    "defines": variant.defines,
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
        for (entry, threads) in &variants[name].entries {
            let kernel = &answer["kernels"][entry];
            let figure = |field: &str| kernel[field].as_u64();
            let (Some(registers), Some(spilled), Some(shared)) =
                (figure("registers"), figure("spilled"), figure("shared"))
            else {
                failures.push(format!("{name} for {architecture}: no {entry} in {answer}"));
                continue;
            };
            // Registers are handed out by eights.
            if spilled > 0 || registers.next_multiple_of(8) * u64::from(*threads) > REGISTERS {
                failures.push(format!(
                    "{name} for {architecture}: {entry} takes {registers} registers of {threads} threads \
                     and spills {spilled} bytes"
                ));
            }
            if shared > 48 << 10 {
                failures.push(format!("{name} for {architecture}: {shared} bytes of static shared memory"));
            }
        }
    }
    failures
}
