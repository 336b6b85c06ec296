//! Most operations a second: chains of multiplications and additions that only registers feed.

#![expect(unsafe_code, reason = "instructions that not every machine has")]

use std::hint::black_box;

use stopwatt_core::kernel_table::Dtype;
use stopwatt_core::roofline::{ComputeUnit, Measured, Peak, Roofline, Unavailable};

use super::Bench;
use crate::case::CaseError;
use crate::cpu::Isa;
use crate::cpu::simd::{Kernel, Simd, dispatch};

/// Independent chains: more than the units' number times their latency, and registers enough for them.
const CHAINS: usize = 12;
/// Links of each chain in a call: some tens of microseconds.
const LINKS: u64 = 10_000;

/// Runs the chains of an instruction set.
type Run = Box<dyn Fn() + Send + Sync>;

struct Candidate {
    dtype: Dtype,
    unit: ComputeUnit,
    instructions: String,
    /// Operations of one run.
    flop: f64,
    run: Run,
}

pub(super) fn measure(bench: &Bench<'_>, roofline: &mut Roofline) -> Result<(), CaseError> {
    let mut candidates = candidates();
    tiles(&mut candidates, roofline);
    for candidate in candidates {
        for extent in bench.extents() {
            let units = bench.units(extent);
            let time = bench.time(|| bench.cpu.on_units(units, |_| (candidate.run)()))?;
            roofline.peaks.push(Peak {
                dtype: candidate.dtype,
                unit: candidate.unit,
                instructions: candidate.instructions.clone(),
                extent,
                flop_per_s: Measured::rate(candidate.flop * units as f64, &time),
            });
        }
    }
    for (dtype, what) in [(Dtype::Bf16, "peak bf16"), (Dtype::I8, "peak i8")] {
        if !roofline.peaks.iter().any(|p| p.dtype == dtype) {
            let reason = "this processor has no such vector instructions, or this version no kernel for them";
            roofline.unavailable.push(Unavailable { what: what.to_owned(), reason: reason.to_owned() });
        }
    }
    Ok(())
}

fn candidates() -> Vec<Candidate> {
    let mut found = Vec::new();
    let all = Isa::available();
    for isa in all.iter().copied() {
        // Plain loops are not what the machine can do, unless there is nothing else.
        if isa == Isa::PORTABLE && all.len() > 1 {
            continue;
        }
        let lanes = dispatch(isa, Lanes);
        found.push(Candidate {
            dtype: Dtype::F32,
            unit: ComputeUnit::Vector,
            instructions: format!("{} fma", isa.name()),
            flop: 2.0 * (CHAINS * lanes) as f64 * LINKS as f64,
            run: Box::new(move || {
                black_box(dispatch(isa, Chain));
            }),
        });
    }
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
            found.push(Candidate {
                dtype: Dtype::Bf16,
                unit: ComputeUnit::Vector,
                instructions: "avx512_bf16 vdpbf16ps".to_owned(),
                flop: 64.0 * CHAINS as f64 * LINKS as f64,
                // SAFETY: both features were detected.
                run: Box::new(|| unsafe { x86::bf16_chains() }),
            });
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            found.push(Candidate {
                dtype: Dtype::I8,
                unit: ComputeUnit::Vector,
                instructions: "avx512_vnni vpdpbusd".to_owned(),
                flop: 128.0 * CHAINS as f64 * LINKS as f64,
                // SAFETY: both features were detected.
                run: Box::new(|| unsafe { x86::i8_chains() }),
            });
        }
    }
    found
}

/// Products of tiles, where there are any.
#[cfg(target_arch = "x86_64")]
fn tiles(candidates: &mut Vec<Candidate>, roofline: &mut Roofline) {
    use super::tiles::{Format, products, usable};

    for (format, dtype, instruction) in
        [(Format::Bf16, Dtype::Bf16, "tdpbf16ps"), (Format::I8, Dtype::I8, "tdpbssd")]
    {
        match usable(format) {
            Ok(()) => candidates.push(Candidate {
                dtype,
                unit: ComputeUnit::Matrix,
                instructions: format!("amx {instruction}"),
                flop: format.operations(LINKS),
                // SAFETY: they were found usable.
                run: Box::new(move || _ = black_box(unsafe { products(format, LINKS) })),
            }),
            Err(reason) => roofline.unavailable.push(Unavailable {
                what: format!("peak {} of a matrix unit", dtype.name()),
                reason: reason.to_owned(),
            }),
        }
    }
}

/// No processor of this architecture has tiles that are known here.
#[cfg(not(target_arch = "x86_64"))]
fn tiles(_: &mut Vec<Candidate>, roofline: &mut Roofline) {
    let reason = "this version knows the matrix units of x86-64 only".to_owned();
    roofline.unavailable.push(Unavailable { what: "peaks of a matrix unit".to_owned(), reason });
}

struct Lanes;

impl Kernel for Lanes {
    type Out = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        S::LANES
    }
}

struct Chain;

impl Kernel for Chain {
    type Out = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        // Factors below 1, so that no chain runs off or becomes denormal; unknown to the compiler.
        let (factor, term) = (s.splat(black_box(0.999)), s.splat(black_box(0.001)));
        let mut chains = [s.splat(black_box(0.5)); CHAINS];
        for _ in 0..LINKS {
            for chain in &mut chains {
                *chain = s.fma(*chain, factor, term);
            }
        }
        chains.into_iter().map(|chain| s.sum(chain)).sum()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{CHAINS, LINKS};

    /// # Safety
    /// The machine must have AVX-512 F and BF16.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn bf16_chains() {
        let mut chains = [_mm512_set1_ps(black_box(0.5)); CHAINS];
        let bits = black_box(_mm512_set1_epi16(0x3c23)); // about 0.01
        // SAFETY: both are 512 bits, and every pattern is a vector of bf16.
        let factor: __m512bh = unsafe { std::mem::transmute(bits) };
        for _ in 0..LINKS {
            for chain in &mut chains {
                *chain = _mm512_dpbf16_ps(*chain, factor, factor);
            }
        }
        black_box(chains);
    }

    /// # Safety
    /// The machine must have AVX-512 F and VNNI.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn i8_chains() {
        let mut chains = [_mm512_set1_epi32(black_box(1)); CHAINS];
        let factor = black_box(_mm512_set1_epi32(0x0101_0101));
        for _ in 0..LINKS {
            for chain in &mut chains {
                *chain = _mm512_dpbusd_epi32(*chain, factor, factor);
            }
        }
        black_box(chains);
    }
}
