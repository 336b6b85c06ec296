//! Main memory under other patterns than one long read: reads and writes mixed, strides, random places.

#![expect(unsafe_code, reason = "loads and stores inside arrays whose ends are checked once")]

use std::hint::black_box;

use stopwatt_core::roofline::{CurvePoint, Extent};

use super::bandwidth::{STEP, put};
use super::{Bench, rate};
use crate::case::CaseError;
use crate::cpu::random::Random;
use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::cpu::threads::Output;

/// Parts that a mix is made of: so many of them are reads.
const PARTS: usize = 8;
/// Bytes from one load to the next.
const STRIDES: [usize; 9] = [4, 8, 16, 32, 64, 128, 256, 1024, 4096];
/// Bytes fetched at each random place.
const GRAINS: [usize; 6] = [64, 128, 256, 512, 1024, 4096];
/// Random places of one call.
const PLACES: usize = 1 << 13;

pub(super) fn mix(
    bench: &mut Bench<'_>,
    streaming: bool,
    extent: Extent,
) -> Result<Vec<CurvePoint>, CaseError> {
    let units = bench.units(extent);
    let most = bench.most(units);
    // Each unit has two halves: one that is read and one that is written. A block is one part of every mix.
    let block = STEP;
    let half = most / 4 / 2 / STEP * STEP;
    let mut points = Vec::new();
    for reads in 0..=PARTS {
        let writes = PARTS - reads;
        let rounds = half / (block * reads.max(writes));
        let bytes = 4 * block * PARTS * rounds * units;
        let base = Output::new(&mut bench.buffer);
        let time = bench.time(|| {
            bench.cpu.on_units(units, |unit| {
                // SAFETY: units × most bytes are in the buffer, each unit has its own; rounds × block × reads and
                // × writes numbers fit into a half.
                let (read, write) = unsafe {
                    let first = base.get().add(unit * most / 4);
                    (first.cast_const(), first.add(half))
                };
                dispatch(bench.cpu.isa(), Mix { read, write, rounds, reads, writes, streaming });
            });
        })?;
        points.push(rate(reads as f64 / PARTS as f64, bytes as f64, &time));
    }
    Ok(points)
}

struct Mix {
    read: *const f32,
    write: *mut f32,
    rounds: usize,
    reads: usize,
    writes: usize,
    streaming: bool,
}

impl Kernel for Mix {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { read, write, rounds, reads, writes, streaming } = self;
        let (mut sums, v) = ([s.zero(); 4], s.splat(black_box(1.0)));
        for round in 0..rounds {
            // SAFETY: the caller owns rounds × reads and rounds × writes blocks of STEP numbers.
            unsafe {
                let (from, to) = (read.add(round * reads * STEP), write.add(round * writes * STEP));
                for i in (0..reads * STEP).step_by(4 * S::LANES) {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = s.add(*sum, s.load(from.add(i + j * S::LANES)));
                    }
                }
                for i in (0..writes * STEP).step_by(4 * S::LANES) {
                    for j in 0..4 {
                        put(s, to.add(i + j * S::LANES), v, streaming);
                    }
                }
            }
        }
        s.fence();
        let pairs = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
        black_box(s.sum(pairs));
    }
}

pub(super) fn strides(bench: &mut Bench<'_>, extent: Extent) -> Result<Vec<CurvePoint>, CaseError> {
    let units = bench.units(extent);
    let most = bench.most(units);
    let mut points = Vec::new();
    for stride in STRIDES {
        let (step, len) = (stride / 4, most / 4);
        let loads = len / step / 4 * 4;
        let numbers: &[f32] = &bench.buffer;
        let time = bench.time(|| {
            bench.cpu.on_units(units, |unit| {
                let mine = &numbers[unit * len..][..len];
                let mut sums = [0.0; 4];
                for i in (0..loads).step_by(4) {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum += mine[(i + j) * step];
                    }
                }
                black_box(sums);
            });
        })?;
        points.push(rate(stride as f64, (4 * loads * units) as f64, &time));
    }
    Ok(points)
}

pub(super) fn random(bench: &mut Bench<'_>, extent: Extent) -> Result<Vec<CurvePoint>, CaseError> {
    let units = bench.units(extent);
    let most = bench.most(units);
    let mut points = Vec::new();
    for grain in GRAINS {
        let (numbers, len) = (grain / 4, most / 4);
        let places = len / numbers;
        let buffer: &[f32] = &bench.buffer;
        let seed = std::sync::atomic::AtomicU64::new(1);
        let time = bench.time(|| {
            // Other places each time: those of the last call lie in a cache.
            let call = seed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            bench.cpu.on_units(units, |unit| {
                let mine = &buffer[unit * len..][..len];
                let mut random = Random::new(call * units as u64 + unit as u64);
                let mut sums = [0.0_f32; 16];
                for _ in 0..PLACES {
                    let place = &mine[random.below(places) * numbers..][..numbers];
                    for line in place.chunks_exact(16) {
                        sums.iter_mut().zip(line).for_each(|(sum, v)| *sum += v);
                    }
                }
                black_box(sums);
            });
        })?;
        points.push(rate(grain as f64, (grain * PLACES * units) as f64, &time));
    }
    Ok(points)
}
