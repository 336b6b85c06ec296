//! Tiles and waves: how long a matrix product takes of which no row of equal shape was measured.
//!
//! ```text
//! t = t₀ + (t_memᑫ + t_mmaᑫ)^(1/q)          t_mem = bytes / (η · bandwidth)
//! t_mma = min over tiles of  waves · bn · bm · 2k / (rate of a multiprocessor · e(bn · bm))
//! waves = ⌈⌈n/bn⌉ · ⌈m/bm⌉ / multiprocessors⌉          e(a) = e∞ · a / (a + a₀)
//! ```
//!
//! The tiles are those that the library's kernels have in their names; it picks one for each shape, and here the quickest
//! one stands for that choice. Small tiles load more for each product, which a₀ counts. The four constants are fitted to
//! the measured rows of one format, by mean absolute logarithm, so that a few wild rows do not bend them.

use std::collections::BTreeSet;

/// How sharply the law turns from memory to arithmetic.
const SHARPNESS: f64 = 5.0;
/// Fewest rows that the constants are fitted to.
pub(super) const ENOUGH: usize = 12;
/// Tiles where no kernel's name tells any: those that GPU libraries commonly have.
const COMMON: [(u32, u32); 6] = [(64, 64), (128, 64), (64, 128), (128, 128), (256, 128), (128, 256)];

/// A matrix product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    /// Rows of the input.
    pub m: u32,
    /// Columns of the output.
    pub n: u32,
    /// Length of the sum.
    pub k: u32,
    /// Bytes that it moves at least.
    pub bytes: f64,
}

/// What a device gives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Device {
    /// Multiprocessors.
    pub sms: u32,
    /// Operations a second of one of them.
    pub rate: f64,
    /// Bytes a second.
    pub bandwidth: f64,
}

/// The law with its constants.
#[derive(Debug, Clone)]
pub(super) struct TileModel {
    device: Device,
    tiles: Vec<(u32, u32)>,
    constants: Constants,
}

/// Logarithms of t₀ in seconds, η, e∞ and a₀.
type Constants = [f64; 4];

impl TileModel {
    /// Fits the constants to products and their seconds; `None` with fewer than [`ENOUGH`].
    pub(super) fn fit(device: Device, rows: &[(Product, f64)], tiles: &BTreeSet<(u32, u32)>) -> Option<Self> {
        if rows.len() < ENOUGH {
            return None;
        }
        let tiles: Vec<(u32, u32)> =
            if tiles.is_empty() { COMMON.to_vec() } else { tiles.iter().copied().collect() };
        // What does not depend on the constants, once.
        let ideal: Vec<Vec<(f64, f64)>> =
            rows.iter().map(|(p, _)| tiles.iter().map(|&t| ideal(&device, p, t)).collect()).collect();
        let cost = |c: &Constants| {
            let off = |(i, (p, seconds)): (usize, &(Product, f64))| {
                let mma =
                    ideal[i].iter().map(|&(area, s)| s * slowdown(c, area)).fold(f64::INFINITY, f64::min);
                (join(c, p.bytes / device.bandwidth, mma) / seconds).ln().abs()
            };
            rows.iter().enumerate().map(off).sum::<f64>()
        };
        let start = [(3e-6_f64).ln(), (0.85_f64).ln(), (0.85_f64).ln(), (2000.0_f64).ln()];
        Some(Self { device, constants: descend(start, cost), tiles })
    }

    /// Seconds of a product.
    pub(super) fn time(&self, p: &Product) -> f64 {
        let times = self.tiles.iter().map(|&tile| {
            let (area, seconds) = ideal(&self.device, p, tile);
            seconds * slowdown(&self.constants, area)
        });
        join(&self.constants, p.bytes / self.device.bandwidth, times.fold(f64::INFINITY, f64::min))
    }
}

/// Area of a tile, and seconds of all waves of it at the full rate.
fn ideal(device: &Device, p: &Product, (bn, bm): (u32, u32)) -> (f64, f64) {
    let tiles = u64::from(p.n.div_ceil(bn)) * u64::from(p.m.div_ceil(bm));
    let waves = tiles.div_ceil(device.sms.into()) as f64;
    let area = f64::from(bn) * f64::from(bm);
    (area, waves * area * 2.0 * f64::from(p.k) / device.rate)
}

/// 1 / e(area).
fn slowdown(c: &Constants, area: f64) -> f64 {
    (area + c[3].exp()) / area / c[2].exp()
}

fn join(c: &Constants, moving: f64, computing: f64) -> f64 {
    let (long, short) = {
        let moving = moving / c[1].exp();
        (moving.max(computing), moving.min(computing))
    };
    c[0].exp() + long * (1.0 + (short / long).powf(SHARPNESS)).powf(1.0 / SHARPNESS)
}

/// The lowest point of `cost` near `at`, one coordinate after the other with steps that shrink. Deterministic.
fn descend<const N: usize>(mut at: [f64; N], cost: impl Fn(&[f64; N]) -> f64) -> [f64; N] {
    let (mut best, mut steps) = (cost(&at), [0.25; N]);
    for _ in 0..60 {
        for i in 0..N {
            let moved = [steps[i], -steps[i]].into_iter().find_map(|step| {
                let mut there = at;
                there[i] += step;
                let c = cost(&there);
                (c < best).then_some((there, c, step))
            });
            match moved {
                // Once the way is known it is taken faster.
                Some((there, c, step)) => (at, best, steps[i]) = (there, c, 1.3 * step),
                None => steps[i] *= 0.5,
            }
        }
        if steps.iter().all(|s| s.abs() < 2e-3) {
            break;
        }
    }
    at
}

/// The tile in a kernel's name: columns of the output, then rows of the input.
///
/// `nvjet_sm90_tst_128x64_64x8_…`, `…_tilesize128x128x64_…` and `…gemm_bf16_256x128_32x3_…` name it first.
pub(super) fn tile_of(kernel: &str) -> Option<(u32, u32)> {
    let bytes = kernel.as_bytes();
    let number = |text: &str| text.parse::<u32>().ok().filter(|n| (8..=512).contains(n) && n % 8 == 0);
    (1..bytes.len()).filter(|&i| bytes[i] == b'x').find_map(|i| {
        let begin = kernel[..i].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
        let rest = &kernel[i + 1..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some((number(&kernel[begin..i])?, number(&rest[..end])?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const H100: Device = Device { sms: 132, rate: 989.4e12 / 132.0, bandwidth: 3.35e12 };

    fn product(m: u32, n: u32, k: u32) -> Product {
        let f = f64::from;
        Product { m, n, k, bytes: 2.0 * (f(m) * f(k) + f(n) * f(k) + f(m) * f(n)) }
    }

    #[test]
    fn tiles_are_read_from_names() {
        for (name, tile) in [
            ("nvjet_sm90_tst_128x64_64x8_1x2_h_bz_TNT", Some((128, 64))),
            ("sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x256x64_stage3", Some((128, 256))),
            ("cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128_32x3_tn", Some((256, 128))),
            ("gemv2T_kernel_val", None),
            ("decode", None),
        ] {
            assert_eq!(tile_of(name), tile, "{name}");
        }
    }

    #[test]
    fn waves_by_hand() {
        // 1,024 × 6,144 in tiles of 128 × 128: 8 · 48 = 384 tiles, 3 waves of 132 (2.9). One row more: 9 · 48 = 432, 4.
        let (area, seconds) = ideal(&H100, &product(1024, 6144, 4096), (128, 128));
        assert_eq!(area, 16_384.0);
        assert!((seconds - 3.0 * 16_384.0 * 8192.0 / H100.rate).abs() < 1e-12);
        assert!((ideal(&H100, &product(1025, 6144, 4096), (128, 128)).1 / seconds - 4.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn moving_and_computing_join_smoothly() {
        let none = [f64::NEG_INFINITY, 0.0, 0.0, f64::NEG_INFINITY];
        // Alone the longer one counts; equal ones give 2^(1/5).
        assert!((join(&none, 1e-5, 1e-9) / 1e-5 - 1.0).abs() < 1e-9);
        assert!((join(&none, 1e-5, 1e-5) / 1e-5 - 2_f64.powf(0.2)).abs() < 1e-12);
    }

    #[test]
    fn the_constants_that_made_the_rows_are_found() {
        let tiles: BTreeSet<_> = [(64, 64), (128, 128), (256, 128)].into();
        let truth = TileModel {
            device: H100,
            tiles: tiles.iter().copied().collect(),
            constants: [(4e-6_f64).ln(), (0.9_f64).ln(), (0.8_f64).ln(), (3000.0_f64).ln()],
        };
        let rows: Vec<_> = [(4096, 4096), (6144, 4096), (28_672, 4096), (4096, 14_336)]
            .into_iter()
            .flat_map(|(n, k)| [1, 8, 64, 200, 256, 512, 513, 1024, 2048, 4096].map(|m| product(m, n, k)))
            .map(|p| (p, truth.time(&p)))
            .collect();
        let fitted = TileModel::fit(H100, &rows, &tiles).unwrap();
        for shape in [product(1, 2048, 2048), product(300, 5120, 3072), product(3000, 16_384, 2048)] {
            let (a, b) = (fitted.time(&shape), truth.time(&shape));
            assert!((a / b - 1.0).abs() < 0.02, "{shape:?}: {a} for {b}");
        }
        assert!(TileModel::fit(H100, &rows[..5], &tiles).is_none());
    }
}
