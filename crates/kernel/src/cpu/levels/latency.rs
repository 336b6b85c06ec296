//! Latency over working sets: a chain of loads, each of which says where the next one is.

use std::hint::black_box;

use stopwatt_core::roofline::{CurvePoint, Measured};

use super::Bench;
use crate::case::CaseError;
use crate::cpu::random::Random;

/// Numbers in a cache line.
const LINE: usize = 16;
/// Loads of one call.
const LOADS: usize = 1 << 14;

pub(super) fn curve(bench: &mut Bench<'_>) -> Result<Vec<CurvePoint>, CaseError> {
    let mut points = Vec::new();
    for bytes in bench.sizes(1) {
        let lines = bytes / (4 * LINE);
        let chain: &mut [u32] = bytemuck::cast_slice_mut(&mut bench.buffer[..lines * LINE]);
        lay(chain, &mut Random::new(bytes as u64));
        let chain: &[u32] = bytemuck::cast_slice(&bench.buffer[..lines * LINE]);
        let mut at = 0_usize;
        let time = bench.time(|| {
            for _ in 0..LOADS {
                at = chain[at] as usize;
            }
            black_box(at);
        })?;
        points.push(CurvePoint { x: bytes as f64, y: Measured::seconds(&time).divided(LOADS as f64) });
    }
    // What was a chain is numbers again; some of its patterns would be slow as such.
    bench.buffer.fill(1.0);
    Ok(points)
}

/// Writes a cycle through all lines in random order to the first number of each (Sattolo's algorithm).
pub(super) fn lay(chain: &mut [u32], random: &mut Random) {
    let lines = chain.len() / LINE;
    let mut order: Vec<u32> = (0..lines as u32).collect();
    for i in (1..lines).rev() {
        order.swap(i, random.below(i));
    }
    for (line, next) in order.iter().enumerate() {
        chain[line * LINE] = next * LINE as u32;
    }
}
