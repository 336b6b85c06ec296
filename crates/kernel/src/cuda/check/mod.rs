//! A check of everything on this machine: what was found, whether it compiles, runs, and computes rightly.

mod ops;

use std::path::{Path, PathBuf};

use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes, Launch, Op, OpKind, Shape, Work};

use stopwatt_core::roofline::{self, CurveKind, Roofline};

use self::ops::{label, layers, planned, product, products};
use super::compile::Compiler;
use super::device::CudaDevice;
use super::ffi::cudnn::Cudnn;
use super::ffi::nccl::Nccl;
use super::gpu::SUPPORT;
use super::linear::Lt;
use super::memory::Rotating;
use super::numbers::widen;
use super::plan::{Argument, Element, Expectation, Fill, Operand, Plan, Step};
use super::timer::Timer;
use crate::case::{Case, CaseError, Device, Effort, Levels};
use crate::torch::TorchDevice;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, in few words.
    pub name: String,
    /// What was found, or why it was not.
    pub detail: Result<String, String>,
}

/// Measures peaks and memory levels coarsely.
pub fn check_levels(device: &mut CudaDevice, tell: &mut dyn FnMut(Finding)) {
    let mut say =
        |name: &str, detail: Result<String, String>| tell(Finding { name: name.to_owned(), detail });
    let about = device.about();
    let mut found = Roofline::empty(
        env!("CARGO_PKG_VERSION"),
        roofline::Device {
            kind: about.kind.to_owned(),
            name: about.name,
            units: about.units,
            instructions: about.instructions,
        },
    );
    let measured = device.levels(Effort::Quick, &mut found, &mut |part, _| {
        say(&format!("next: {part}"), Ok(String::new()));
        true
    });
    for peak in &found.peaks {
        let rate = format!("{:.1} TFLOP/s, {}", peak.flop_per_s.value / 1e12, peak.instructions);
        say(&format!("peak {} {:?}", peak.dtype.name(), peak.unit), Ok(rate));
    }
    for level in &found.levels {
        let mut words: Vec<String> = level
            .bandwidths
            .iter()
            .map(|b| format!("{} {:.3} TB/s", b.access.name(), b.bytes_per_s.value / 1e12))
            .collect();
        words.extend(level.latency_s.map(|l| format!("latency {:.1} ns", l.value * 1e9)));
        say(&format!("level {}", level.name.name()), Ok(words.join(", ")));
    }
    for curve in &found.curves {
        let unit = if curve.kind == CurveKind::Latency { 1e9 } else { 1e-12 };
        let points: Vec<String> =
            curve.points.iter().map(|p| format!("{}:{:.3}", p.x, p.y.value * unit)).collect();
        say(&format!("{:?}", curve.kind), Ok(points.join(" ")));
    }
    for pair in &found.co_resident {
        let names: Vec<String> = pair.ops.iter().map(label).collect();
        let times =
            format!("{:.2} µs, in turn {:.2} µs", pair.together_s.value * 1e6, pair.apart_s.value * 1e6);
        say(&format!("beside: {}", names.join(", ")), Ok(times));
    }
    for missing in &found.unavailable {
        say(&missing.what, Err(missing.reason.clone()));
    }
    say("levels", measured.map(|()| "done".to_owned()).map_err(|e| e.to_string()));
}

/// Runs operators through PyTorch: what [`check_device`] runs of them, for comparison.
pub fn check_torch(python: &Path, index: u32, tell: &mut dyn FnMut(Finding)) {
    let mut say =
        |name: &str, detail: Result<String, String>| tell(Finding { name: name.to_owned(), detail });
    let mut device = match TorchDevice::open(python, index) {
        Ok(device) => device,
        Err(reason) => return say("torch", Err(reason.to_string())),
    };
    say("torch", Ok(format!("{:?}", device.about())));
    let large = product([8192; 3], Dtype::Bf16, Dtype::Bf16);
    for op in products().into_iter().chain(planned()).chain(layers()).chain([large]) {
        for (launch, cache) in [(Launch::Graph, CacheState::Cold), (Launch::Eager, CacheState::Warm)] {
            let name = format!("torch {} {launch:?} {cache:?}", label(&op));
            match run(&mut device, &op, launch, cache, 50) {
                // That PyTorch has no such operator is no fault.
                Err(CaseError::Unsupported { reason }) => say(&name, Ok(format!("not supported: {reason}"))),
                other => say(&name, other.map_err(|e| e.to_string())),
            }
        }
    }
}

/// Looks at the libraries, which needs no device.
pub fn check_libraries(folders: &[PathBuf], tell: &mut dyn FnMut(Finding)) {
    let mut say =
        |name: &str, detail: Result<String, String>| tell(Finding { name: name.to_owned(), detail });
    let places: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    say("folders", Ok(places.join(", ")));
    say(
        "nvrtc",
        Compiler::open(folders, (9, 0))
            .map(|c| format!("{} ({})", c.nvrtc.version(), c.nvrtc.path.display()))
            .map_err(|e| e.to_string()),
    );
    say("cublasLt", Lt::probe(folders).map_err(|e| e.to_string()));
    say(
        "cudnn",
        Cudnn::open(folders)
            .map(|c| format!("{} ({})", c.version(), c.path.display()))
            .map_err(|e| e.to_string()),
    );
    say(
        "nccl",
        Nccl::open(folders)
            .map(|n| format!("{} ({})", n.version(), n.path.display()))
            .map_err(|e| e.to_string()),
    );
    let cupti = stopwatt_nvlib::open("libcupti", folders);
    say("cupti", cupti.map(|o| o.path.display().to_string()).map_err(|e| e.to_string()));
}

/// Looks at a device; tells each finding as it is made, so that the last one shows where something got stuck.
pub fn check_device(device: &mut CudaDevice, tell: &mut dyn FnMut(Finding)) {
    let mut say =
        |name: &str, detail: Result<String, String>| tell(Finding { name: name.to_owned(), detail });
    say("driver", Ok(device.gpu().driver.path.display().to_string()));
    say("device", Ok(format!("{:?}", device.facts())));
    let words = |result: Result<String, CaseError>| result.map_err(|e| e.to_string());
    say("memory", words(device.gpu().memory().map(|(free, total)| format!("{free} of {total} bytes free"))));
    say("compile", words(compile(device)));
    for element in [Element::F32, Element::F16, Element::Bf16, Element::F8E4m3, Element::I8] {
        say(&format!("random {element:?}"), words(random(device, element)));
    }
    for (launch, cache) in [(Launch::Eager, CacheState::Warm), (Launch::Graph, CacheState::Cold)] {
        let answer =
            device.prepare_plan(gather(), launch, cache).and_then(|mut case| timed(&mut *case, None, 20));
        say(&format!("plan {launch:?} {cache:?}"), words(answer));
    }
    say("held stream", words(held(device)));
    for (kind, kernels) in [
        (OpKind::EmptyLaunch, 1),
        (OpKind::EmptyLaunch, 100),
        (OpKind::EmptyGraph, 1),
        (OpKind::EmptyGraph, 100),
    ] {
        let op = Op { kind, shape: Shape::Launches { kernels }, dtypes: Dtypes::all(Dtype::F32) };
        say(&label(&op), words(run(device, &op, Launch::Eager, CacheState::Warm, 100)));
    }
    for op in products() {
        for (launch, cache) in [(Launch::Graph, CacheState::Cold), (Launch::Eager, CacheState::Warm)] {
            let name = format!("{} {launch:?} {cache:?}", label(&op));
            say(&name, words(run(device, &op, launch, cache, 50)));
        }
    }
    for op in layers() {
        for launch in [Launch::Eager, Launch::Graph] {
            let name = format!("{} {launch:?} Cold", label(&op));
            say(&name, words(run(device, &op, launch, CacheState::Cold, 20)));
        }
    }
    for op in planned() {
        let name = format!("{} Graph Cold", label(&op));
        say(&name, words(run(device, &op, Launch::Graph, CacheState::Cold, 50)));
    }
    let side = 8192;
    let op = product([side; 3], Dtype::Bf16, Dtype::Bf16);
    let name = format!("{} Eager Warm", label(&op));
    say(&name, words(run(device, &op, Launch::Eager, CacheState::Warm, 50)));
    let op = product([1 << 19, 1 << 19, 1 << 10], Dtype::Bf16, Dtype::Bf16);
    let answer = match run(device, &op, Launch::Eager, CacheState::Warm, 1) {
        Err(error @ CaseError::OutOfMemory { .. }) => Ok(error.to_string()),
        Err(error) => Err(format!("should be out of memory, is {error}")),
        Ok(time) => Ok(format!("fits: {time}")),
    };
    say("too large a product", answer);
}

fn compile(device: &CudaDevice) -> Result<String, CaseError> {
    let code = device.gpu().compiler()?.compile(&SUPPORT, &[])?;
    Ok(format!("{} bytes of machine code", code.len()))
}

/// Fills a buffer and looks at mean and extremes.
fn random(device: &CudaDevice, element: Element) -> Result<String, CaseError> {
    const COUNT: usize = 1 << 16;
    let scale = if element == Element::I8 { 127.0 } else { 2.0 };
    let place = Rotating::new(device.gpu(), element, COUNT, 2)?;
    place.fill_uniform(device.gpu(), 7, scale)?;
    let values = widen(element, &place.read(device.gpu(), 0, COUNT)?);
    let mean = values.iter().sum::<f64>() / COUNT as f64;
    let square = values.iter().map(|v| v * v).sum::<f64>() / COUNT as f64;
    let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(l, m), v| (l.min(*v), m.max(*v)));
    let said = format!("mean {mean:.4}, mean square {square:.4}, from {least} to {most}");
    // Uniform in ±s: mean 0 with a standard error of s/√(3n), mean square s²/3.
    let s = f64::from(scale);
    if mean.abs() > 5.0 * s / (3.0 * COUNT as f64).sqrt()
        || (square / (s * s / 3.0) - 1.0).abs() > 0.02
        || least < -s
        || most > s
    {
        return Err(CaseError::Failed { reason: said });
    }
    Ok(said)
}

/// A plan that uses everything a plan can: tables, several formats, macros, much shared memory, numbers as arguments.
fn gather() -> Plan {
    const COUNT: usize = 100_000;
    const SLOTS: usize = 16 * 1024;
    let table: Vec<i32> = (0..COUNT as i32).map(|i| i.wrapping_mul(7919).rem_euclid(COUNT as i32)).collect();
    Plan {
        operands: vec![
            Operand::input(Element::Bf16, COUNT, Fill::Uniform { scale: 3.0 }),
            Operand::table(Element::I32, COUNT, Fill::Integers(table)),
            Operand::result(Element::F32, COUNT),
        ],
        steps: vec![Step {
            source: SUPPORT,
            entry: "gather",
            defines: vec![("SLOTS", SLOTS.to_string())],
            grid: [COUNT.div_ceil(256) as u32, 1, 1],
            block: [256, 1, 1],
            shared_bytes: SLOTS as u32 * 4,
            arguments: vec![
                Argument::Operand(0),
                Argument::Operand(1),
                Argument::Operand(2),
                Argument::F32(1.5),
                Argument::I32(-2),
                Argument::I32(COUNT as i32),
            ],
        }],
        ways: Vec::new(),
        expected: Box::new(|contents, _, index, _| {
            let value = 1.5 * contents.number(0, contents.number(1, index) as usize) - 2.0;
            Expectation { value, tolerance: 1e-6 * (value.abs() + 1.0) }
        }),
    }
}

/// Whether a held stream waits, and whether an event pair around nothing is short.
fn held(device: &CudaDevice) -> Result<String, CaseError> {
    let timer = Timer::new(device.gpu())?;
    let mut times = Vec::new();
    for _ in 0..5 {
        match timer.time(true, &mut || Ok(()))? {
            Some(seconds) => times.push(format!("{:.2} µs", seconds * 1e6)),
            None => {
                return Err(CaseError::Failed { reason: "the stream went on by itself".to_owned() });
            }
        }
    }
    Ok(format!("two events around nothing: {}", times.join(", ")))
}

/// Prepares, checks and times an operator.
fn run(
    device: &mut dyn Device,
    op: &Op,
    launch: Launch,
    cache: CacheState,
    calls: u32,
) -> Result<String, CaseError> {
    timed(&mut *device.prepare(op, launch, cache)?, op.work(), calls)
}

/// Checks and times a case; `work` tells what a call does.
fn timed(case: &mut dyn Case, work: Option<Work>, calls: u32) -> Result<String, CaseError> {
    let deviation = case.check(0xfeed)?;
    case.sample(calls)?;
    let mut times = (0..5)
        .map(|_| Ok(case.sample(calls)? / f64::from(calls)))
        .collect::<Result<Vec<f64>, CaseError>>()?;
    times.sort_by(f64::total_cmp);
    let seconds = times[times.len() / 2];
    let identity = case.identity();
    let mut said = format!("{:.3} µs ({:.3} to {:.3})", seconds * 1e6, times[0] * 1e6, times[4] * 1e6);
    if let Some(work) = work.filter(|w| w.flop > 0.0) {
        said += &format!(
            ", {:.1} TFLOP/s, {:.2} TB/s",
            work.flop / seconds / 1e12,
            work.bytes() / seconds / 1e12
        );
    }
    said += &format!(
        ", deviation {deviation:.3}, {} grid {:?} block {:?}",
        identity.kernel.as_deref().unwrap_or("?"),
        identity.grid,
        identity.block
    );
    if deviation <= 1.0 {
        Ok(said)
    } else {
        Err(CaseError::Failed { reason: format!("wrong result: {said}") })
    }
}
