//! Number formats of device memory, read as double precision, and what rounding to them costs.

use rayon::prelude::*;

use super::plan::Element;

/// Values of little-endian `bytes`; a rest shorter than an element is left out.
pub(super) fn widen(element: Element, bytes: &[u8]) -> Vec<f64> {
    match element {
        Element::F32 => of(bytes, |b| f64::from(f32::from_le_bytes(b))),
        Element::F16 => of(bytes, |b| half::f16::from_le_bytes(b).to_f64()),
        Element::Bf16 => of(bytes, |b| half::bf16::from_le_bytes(b).to_f64()),
        Element::F8E4m3 => of(bytes, |[b]| e4m3(b)),
        Element::I8 => of(bytes, |b| f64::from(i8::from_le_bytes(b))),
        Element::I32 => of(bytes, |b| f64::from(i32::from_le_bytes(b))),
    }
}

/// Little-endian bytes of `values`, rounded to the format; integers saturate.
pub(super) fn narrow(element: Element, values: &[f32]) -> Vec<u8> {
    let each = |bytes: &dyn Fn(f32) -> Vec<u8>| values.iter().flat_map(|v| bytes(*v)).collect();
    match element {
        Element::F32 => each(&|v| v.to_le_bytes().to_vec()),
        Element::F16 => each(&|v| half::f16::from_f32(v).to_le_bytes().to_vec()),
        Element::Bf16 => each(&|v| half::bf16::from_f32(v).to_le_bytes().to_vec()),
        Element::F8E4m3 => each(&|v| vec![nearest_e4m3(v)]),
        Element::I8 => each(&|v| (v.round_ties_even() as i8).to_le_bytes().to_vec()),
        Element::I32 => each(&|v| (v.round_ties_even() as i32).to_le_bytes().to_vec()),
    }
}

/// The 8-bit number nearest to `value`, the even one of two; beyond the largest, that one.
fn nearest_e4m3(value: f32) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    let wanted = f64::from(value.abs());
    // 127 positive numbers in ascending order: the last is NaN.
    let best = (0_u8..127).min_by(|a, b| {
        let (off_a, off_b) = ((e4m3(*a) - wanted).abs(), (e4m3(*b) - wanted).abs());
        off_a.total_cmp(&off_b).then((a & 1).cmp(&(b & 1)))
    });
    sign | best.unwrap_or(0)
}

fn of<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64 + Sync) -> Vec<f64> {
    bytes
        .par_chunks_exact(N)
        .with_min_len(1 << 14)
        .map(|chunk| value(chunk.try_into().expect("a chunk is as long as an element")))
        .collect()
}

/// Value of an 8-bit number with 4 exponent (bias 7) and 3 mantissa bits; there is no infinity, all ones is NaN.
fn e4m3(bits: u8) -> f64 {
    let sign = if bits & 0x80 == 0 { 1.0 } else { -1.0 };
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f64::from(bits & 7));
    match (exponent, bits & 7) {
        (15, 7) => f64::NAN,
        (0, _) => sign * mantissa * 2f64.powi(-9),
        _ => sign * (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
    }
}

/// Largest relative error of rounding to a format: half a step of its mantissa; 0 for integers.
pub(super) fn rounding(element: Element) -> f64 {
    2f64.powi(match element {
        Element::F32 => -24,
        Element::F16 => -11,
        Element::Bf16 => -8,
        Element::F8E4m3 => -4,
        Element::I8 | Element::I32 => return 0.0,
    })
}

/// A deterministic sequence of well-mixed numbers (splitmix64), for choosing what to check.
pub(super) struct Mixed(pub(super) u64);

impl Mixed {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// `count` positions below `len`, the first and the last among them; all of them when there are no more.
    pub(super) fn positions(&mut self, len: usize, count: usize) -> Vec<usize> {
        if len <= count {
            return (0..len).collect();
        }
        let mut all = vec![0, len - 1];
        while all.len() < count {
            all.push((self.next() % len as u64) as usize);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_floats_have_their_published_values() {
        // Largest, smallest normal and smallest subnormal number of E4M3 in "FP8 formats for deep learning", table 1.
        assert_eq!(
            widen(Element::F8E4m3, &[0x7e, 0x08, 0x01, 0x00, 0xb8]),
            [448.0, 0.015_625, 2f64.powi(-9), 0.0, -1.0]
        );
        assert!(e4m3(0xff).is_nan());
    }

    #[test]
    fn poison_is_not_a_number_in_every_floating_format() {
        for element in [Element::F32, Element::F16, Element::Bf16, Element::F8E4m3] {
            assert!(widen(element, &[0xff; 8]).iter().all(|v| v.is_nan()), "{element:?}");
        }
        assert_eq!(widen(Element::I32, &[0xff; 4]), [-1.0]);
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        // Steps of 1/8 between 1 and 2: 1.0625 lies between 1 and 1.125, and 1 is even.
        assert_eq!(
            widen(Element::F8E4m3, &narrow(Element::F8E4m3, &[1.0625, -1.2, 1e9])),
            [1.0, -1.25, 448.0]
        );
        assert_eq!(widen(Element::Bf16, &narrow(Element::Bf16, &[1.5, -3.0])), [1.5, -3.0]);
        assert_eq!(widen(Element::I8, &narrow(Element::I8, &[2.5, 300.0])), [2.0, 127.0]);
    }

    #[test]
    fn the_ends_are_always_checked() {
        let positions = Mixed(1).positions(1000, 16);
        assert_eq!((positions[0], *positions.last().unwrap()), (0, 999));
        assert_eq!(Mixed(1).positions(3, 16), [0, 1, 2]);
    }
}
