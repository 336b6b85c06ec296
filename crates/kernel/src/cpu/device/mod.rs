//! The processor as a device whose kernels are profiled: operands, rotation through them, and the check of results.
//!
//! Operators run exactly as the engine calls them, inside one hand-over to the thread pool; only the launch floors
//! measure that hand-over itself. Activations are `f32`; weights keep the format asked for.
//!
//! Cold means that operands rotate through three times what all instances of the last cache hold together, so that
//! nothing of a call is left when its turn comes again. Warm means one set of operands.

mod attention;
mod conv;
mod launch;
mod linear;
mod lookup;
mod moe;
mod recurrent;
mod rope;
mod rows;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes, Launch, Op, OpKind, Shape};

use super::geometry::Geometry;
use super::matrix::{Matrix, MatrixError, Precision};
use super::memory::{Arena, Buffer};
use super::random::Random;
use super::threads::Cpu;
use crate::case::{About, Case, CaseError, Device, Identity};

/// Share of the memory that is free which operands may take.
const MEMORY_SHARE: f64 = 0.8;
/// Times the last cache that cold operands take.
const COLD_CACHES: u64 = 3;
/// Most sets of operands.
const MOST_COPIES: u64 = 1 << 16;

/// A processor that profiles run on.
#[derive(Debug)]
pub struct Host {
    pub(super) cpu: Cpu,
    pub(super) geometry: Geometry,
}

impl Host {
    /// This machine's, with so many threads (0 counts as 1).
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { cpu: Cpu::new(threads), geometry: Geometry::read() }
    }
}

impl Device for Host {
    fn about(&self) -> About {
        let name = if self.geometry.name.is_empty() { std::env::consts::ARCH } else { &self.geometry.name };
        About {
            kind: "cpu",
            name: name.to_owned(),
            units: self.cpu.threads() as u32,
            instructions: self.cpu.isa().name().to_owned(),
            libraries: Vec::new(),
        }
    }

    fn formats(&self, kind: OpKind, dtype: Dtype) -> Dtypes {
        let weight = match kind {
            OpKind::Linear
            | OpKind::Conv2d
            | OpKind::Lstm
            | OpKind::Gru
            | OpKind::Embedding
            | OpKind::MoeExperts => dtype,
            _ => Dtype::F32,
        };
        Dtypes { weight, ..Dtypes::all(Dtype::F32) }
    }

    fn prepare(
        &mut self,
        op: &Op,
        launch: Launch,
        cache: CacheState,
    ) -> Result<Box<dyn Case + '_>, CaseError> {
        if launch == Launch::Graph || op.kind == OpKind::EmptyGraph {
            return unsupported("a CPU has no graphs");
        }
        if op.dtypes.input != Dtype::F32 || op.dtypes.output != Dtype::F32 {
            return unsupported("activations are f32 on a CPU");
        }
        let cold_bytes = (cache == CacheState::Cold).then(|| COLD_CACHES * self.geometry.last_cache_bytes());
        let mut setup = Setup {
            precision: precision(op.dtypes.weight)?,
            cold_bytes,
            free_bytes: free_memory(),
            random: Random::new(op_seed(op)),
        };
        let operation = operation(op, &mut setup)?;
        Ok(Box::new(HostCase { cpu: &self.cpu, operation, turn: 0 }))
    }
}

/// Sets an operator up.
fn operation(op: &Op, setup: &mut Setup) -> Result<Box<dyn Operation>, CaseError> {
    let f32_only = || {
        if setup.precision == Precision::F32 { Ok(()) } else { unsupported("this operator is f32 on a CPU") }
    };
    Ok(match (op.kind, op.shape) {
        (OpKind::Linear, Shape::Matrix { .. }) => Box::new(linear::Product::new(op, setup)?),
        (OpKind::Conv2d, Shape::Image { .. }) => Box::new(conv::Convolution::new(op, setup)?),
        (OpKind::Lstm | OpKind::Gru, Shape::Sequence { .. }) => {
            Box::new(recurrent::Recurrent::new(op, setup)?)
        }
        (
            OpKind::LayerNorm
            | OpKind::RmsNorm
            | OpKind::AddRmsNorm
            | OpKind::Gelu
            | OpKind::SiluMul
            | OpKind::Softmax
            | OpKind::Argmax
            | OpKind::TopKTopP,
            Shape::Rows { rows, cols },
        ) => {
            f32_only()?;
            Box::new(rows::Rows::new(op.kind, rows as usize, cols as usize, setup)?)
        }
        (OpKind::Rope, Shape::Heads { .. }) => {
            f32_only()?;
            Box::new(rope::Rope::new(op, setup)?)
        }
        (OpKind::Embedding, Shape::Lookup { .. }) => Box::new(lookup::Lookup::new(op, setup)?),
        (OpKind::AttentionPrefill | OpKind::AttentionDecode, Shape::Attention { .. }) => {
            f32_only()?;
            Box::new(attention::Attention::new(op, setup)?)
        }
        (OpKind::MoeExperts, Shape::Experts { .. }) => Box::new(moe::Experts::new(op, setup)?),
        (OpKind::EmptyLaunch, Shape::Launches { kernels }) => Box::new(launch::Empty { kernels }),
        (OpKind::AllReduce, _) => return unsupported("one process has nobody to sum with"),
        _ => return unsupported("the shape does not belong to the operator"),
    })
}

/// An operator with its operands.
trait Operation: Send {
    /// Name of the function that computes.
    fn kernel(&self) -> &'static str;
    /// Sets of operands.
    fn copies(&self) -> usize;
    /// Draws the first set of operands anew and poisons its result.
    fn refill(&mut self, random: &mut Random);
    /// Computes with a set of operands.
    fn call(&mut self, cpu: &Cpu, copy: usize);
    /// Largest deviation of a random part of the first result, as a multiple of what is allowed.
    fn deviation(&self, random: &mut Random) -> f64;
    /// Waking the threads is what is measured.
    fn is_launch(&self) -> bool {
        false
    }
}

struct HostCase<'a> {
    cpu: &'a Cpu,
    operation: Box<dyn Operation>,
    turn: usize,
}

impl Case for HostCase<'_> {
    fn identity(&self) -> Identity {
        Identity {
            kernel: Some(format!("{} {}", self.operation.kernel(), self.cpu.isa().name())),
            grid: None,
            block: Some(self.cpu.threads() as u32),
        }
    }

    fn check(&mut self, seed: u64) -> Result<f64, CaseError> {
        let mut random = Random::new(seed);
        self.operation.refill(&mut random);
        self.operation.call(self.cpu, 0);
        Ok(self.operation.deviation(&mut random))
    }

    fn sample(&mut self, calls: u32) -> Result<f64, CaseError> {
        let Self { cpu, operation, turn } = self;
        let (copies, is_launch) = (operation.copies(), operation.is_launch());
        let mut all = || {
            let begin = monotonic_raw();
            for _ in 0..calls {
                operation.call(cpu, *turn);
                *turn = (*turn + 1) % copies;
            }
            monotonic_raw() - begin
        };
        let nanoseconds = if is_launch { all() } else { cpu.install(all) };
        Ok(nanoseconds as f64 * 1e-9)
    }
}

/// What operands are made with.
struct Setup {
    /// Of weights.
    precision: Precision,
    /// What operands must take together so that no call finds its own in a cache; `None` when they shall be warm.
    cold_bytes: Option<u64>,
    /// What they may take at most.
    free_bytes: u64,
    random: Random,
}

impl Setup {
    /// Sets of operands of `bytes` each.
    fn copies(&self, bytes: u64) -> Result<usize, CaseError> {
        let copies = self.cold_bytes.map_or(1, |cold| cold.div_ceil(bytes.max(1)).clamp(1, MOST_COPIES));
        self.room(bytes.saturating_mul(copies))?;
        Ok(copies as usize)
    }

    /// Refuses what does not fit.
    fn room(&self, bytes: u64) -> Result<(), CaseError> {
        if bytes <= self.free_bytes { Ok(()) } else { Err(CaseError::OutOfMemory { bytes }) }
    }

    fn matrix(&mut self, rows: usize, cols: usize, scale: f32) -> Result<Matrix, CaseError> {
        let mut matrix =
            Matrix::zeros(&mut Arena::default(), rows, cols, self.precision).map_err(out_of_memory)?;
        fill_matrix(&mut matrix, scale, &mut self.random);
        Ok(matrix)
    }

    fn buffer(&mut self, len: usize) -> Result<Buffer, CaseError> {
        let mut buffer = Buffer::zeroed(len).map_err(|_| no_memory(len))?;
        self.random.fill(&mut buffer);
        Ok(buffer)
    }
}

fn fill_matrix(matrix: &mut Matrix, scale: f32, random: &mut Random) {
    let mut row = vec![0.0; matrix.cols()];
    for index in 0..matrix.rows() {
        row.iter_mut().for_each(|v| *v = scale * random.number());
        matrix.write_rows(index, &row);
    }
}

fn out_of_memory(error: MatrixError) -> CaseError {
    match error {
        MatrixError::Memory { rows, cols, .. } => no_memory(rows.saturating_mul(cols)),
        other => CaseError::Failed { reason: other.to_string() },
    }
}

fn no_memory(numbers: usize) -> CaseError {
    CaseError::OutOfMemory { bytes: 4 * numbers as u64 }
}

fn unsupported<T>(reason: &str) -> Result<T, CaseError> {
    Err(CaseError::Unsupported { reason: reason.to_owned() })
}

fn precision(dtype: Dtype) -> Result<Precision, CaseError> {
    match dtype {
        Dtype::F32 => Ok(Precision::F32),
        Dtype::Bf16 => Ok(Precision::Bf16),
        Dtype::F16 => Ok(Precision::F16),
        other => unsupported(&format!("no CPU kernel for weights in {}", other.name())),
    }
}

/// Sizes as they index memory; none may be 0.
fn sizes<const N: usize>(sizes: [u32; N]) -> Result<[usize; N], CaseError> {
    if sizes.contains(&0) { unsupported("a size is 0") } else { Ok(sizes.map(|s| s as usize)) }
}

/// Bytes of so many `f32`.
fn f32_bytes(numbers: usize) -> u64 {
    4 * numbers as u64
}

/// A deviation as a multiple of what is allowed; infinite when the result is no number.
fn multiple(found: f32, exact: f64, allowed: f64) -> f64 {
    let distance = (f64::from(found) - exact).abs();
    if distance.is_nan() { f64::INFINITY } else { distance / allowed.max(1e-30) }
}

/// What rounding may amount to in a sum of `terms` products in `f32`, as a share of the sum of their magnitudes: the
/// bound for random signs grows with the root of the length.
fn sum_tolerance(terms: usize) -> f64 {
    f64::from(f32::EPSILON) / 2.0 * (16.0 + 2.0 * (terms as f64).sqrt())
}

/// The product of two rows in double precision, and the sum of the magnitudes in it.
fn dot(a: &[f32], b: &[f32]) -> (f64, f64) {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()))
}

/// Operands differ between operators, and are the same in every run.
fn op_seed(op: &Op) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    op.hash(&mut hasher);
    hasher.finish()
}

/// Bytes that operands may take.
pub(super) fn free_memory() -> u64 {
    // Without the figure the system's own refusal has to do.
    memory_bytes("MemAvailable:").map_or(u64::MAX, |bytes| (bytes as f64 * MEMORY_SHARE) as u64)
}

/// Memory of this machine; `None` where the system does not tell.
pub(super) fn all_memory() -> Option<u64> {
    memory_bytes("MemTotal:")
}

fn memory_bytes(line: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 =
        text.lines().find_map(|l| l.strip_prefix(line))?.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests;
