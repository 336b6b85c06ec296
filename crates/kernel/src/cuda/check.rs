//! A check of everything on this machine: what was found, whether it compiles, runs, and computes rightly.

use std::path::PathBuf;

use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes, Launch, Op, OpKind, Shape, Work};

use super::compile::Compiler;
use super::device::{CudaDevice, open};
use super::ffi::cudnn::Cudnn;
use super::gpu::SUPPORT;
use super::linear::Lt;
use super::memory::Rotating;
use super::numbers::widen;
use super::plan::{Argument, Element, Expectation, Fill, Operand, Plan, Step};
use super::timer::Timer;
use crate::case::{Case, CaseError, Device};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, in few words.
    pub name: String,
    /// What was found, or why it was not.
    pub detail: Result<String, String>,
}

/// Looks at the libraries, then at device `index`; tells each finding as it is made, so that the last one shows where
/// something got stuck.
pub fn check(index: u32, folders: &[PathBuf], tell: &mut dyn FnMut(Finding)) {
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
    for stem in ["libnccl", "libcupti"] {
        let opened = stopwatt_nvlib::open(stem, folders);
        say(stem, opened.map(|o| o.path.display().to_string()).map_err(|e| e.to_string()));
    }
    let mut device = match open(index, folders) {
        Ok(device) => device,
        Err(reason) => return say("device", Err(reason.to_string())),
    };
    say("driver", Ok(device.gpu().driver.path.display().to_string()));
    say("device", Ok(format!("{:?}", device.facts())));
    let words = |result: Result<String, CaseError>| result.map_err(|e| e.to_string());
    say("memory", words(device.gpu().memory().map(|(free, total)| format!("{free} of {total} bytes free"))));
    say("compile", words(compile(&device)));
    for element in [Element::F32, Element::F16, Element::Bf16, Element::F8E4m3, Element::I8] {
        say(&format!("random {element:?}"), words(random(&device, element)));
    }
    for (launch, cache) in [(Launch::Eager, CacheState::Warm), (Launch::Graph, CacheState::Cold)] {
        let answer =
            device.prepare_plan(gather(), launch, cache).and_then(|mut case| timed(&mut *case, None, 20));
        say(&format!("plan {launch:?} {cache:?}"), words(answer));
    }
    say("held stream", words(held(&device)));
    for (kind, kernels) in [
        (OpKind::EmptyLaunch, 1),
        (OpKind::EmptyLaunch, 100),
        (OpKind::EmptyGraph, 1),
        (OpKind::EmptyGraph, 100),
    ] {
        let op = Op { kind, shape: Shape::Launches { kernels }, dtypes: Dtypes::all(Dtype::F32) };
        say(&label(&op), words(run(&mut device, &op, Launch::Eager, CacheState::Warm, 100)));
    }
    for op in products() {
        for (launch, cache) in [(Launch::Graph, CacheState::Cold), (Launch::Eager, CacheState::Warm)] {
            let name = format!("{} {launch:?} {cache:?}", label(&op));
            say(&name, words(run(&mut device, &op, launch, cache, 50)));
        }
    }
    for op in layers() {
        for launch in [Launch::Eager, Launch::Graph] {
            let name = format!("{} {launch:?} Cold", label(&op));
            say(&name, words(run(&mut device, &op, launch, CacheState::Cold, 20)));
        }
    }
    let side = 8192;
    let op = product([side; 3], Dtype::Bf16, Dtype::Bf16);
    let name = format!("{} Eager Warm", label(&op));
    say(&name, words(run(&mut device, &op, Launch::Eager, CacheState::Warm, 50)));
    let op = product([1 << 19, 1 << 19, 1 << 10], Dtype::Bf16, Dtype::Bf16);
    let answer = match run(&mut device, &op, Launch::Eager, CacheState::Warm, 1) {
        Err(error @ CaseError::OutOfMemory { .. }) => Ok(error.to_string()),
        Err(error) => Err(format!("should be out of memory, is {error}")),
        Ok(time) => Ok(format!("fits: {time}")),
    };
    say("too large a product", answer);
}

fn label(op: &Op) -> String {
    let shape = match op.shape {
        Shape::Matrix { m, n, k } => format!("{m}x{n}x{k}"),
        Shape::Launches { kernels } => kernels.to_string(),
        other => format!("{other:?}"),
    };
    format!("{:?} {shape} {}→{}", op.kind, op.dtypes.input.name(), op.dtypes.output.name())
}

fn product([m, n, k]: [u32; 3], dtype: Dtype, output: Dtype) -> Op {
    Op {
        kind: OpKind::Linear,
        shape: Shape::Matrix { m, n, k },
        dtypes: Dtypes { input: dtype, weight: dtype, output },
    }
}

/// A product of each format, and the shapes at which libraries change their ways.
fn products() -> Vec<Op> {
    let formats = [
        (Dtype::Bf16, Dtype::Bf16),
        (Dtype::F16, Dtype::F16),
        (Dtype::Tf32, Dtype::Tf32),
        (Dtype::F32, Dtype::F32),
        (Dtype::F8E4m3, Dtype::Bf16),
        (Dtype::I8, Dtype::F32),
        (Dtype::I8, Dtype::Bf16),
    ];
    let mut all: Vec<Op> =
        formats.into_iter().map(|(input, output)| product([512, 4096, 4096], input, output)).collect();
    for (input, output) in formats {
        all.push(product([16, 6144, 4096], input, output));
    }
    for m in [1, 17, 1025] {
        all.push(product([m, 28_672, 4096], Dtype::Bf16, Dtype::Bf16));
    }
    // A length that no vector divides.
    all.push(product([33, 1001, 515], Dtype::Bf16, Dtype::Bf16));
    all
}

/// Convolutions and recurrent layers of a usual size.
fn layers() -> Vec<Op> {
    let image = Shape::Image {
        batch: 32,
        channels: 128,
        height: 28,
        width: 28,
        filters: 256,
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let sequence = Shape::Sequence { batch: 16, steps: 32, input: 512, hidden: 768, layers: 2 };
    let mut all = Vec::new();
    for dtype in [Dtype::Bf16, Dtype::F16, Dtype::Tf32, Dtype::F32] {
        all.push(Op { kind: OpKind::Conv2d, shape: image, dtypes: Dtypes::all(dtype) });
    }
    for (kind, dtype) in [
        (OpKind::Lstm, Dtype::F16),
        (OpKind::Lstm, Dtype::F32),
        (OpKind::Lstm, Dtype::Bf16),
        (OpKind::Gru, Dtype::F16),
        (OpKind::Gru, Dtype::F32),
    ] {
        all.push(Op { kind, shape: sequence, dtypes: Dtypes::all(dtype) });
    }
    all
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
        expected: Box::new(|contents, _, index, _| {
            let value = 1.5 * contents.operands[0][contents.operands[1][index] as usize] - 2.0;
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
    device: &mut CudaDevice,
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
