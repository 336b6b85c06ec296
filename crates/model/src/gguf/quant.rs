//! Numbers as GGUF files store them, and their expansion to `f32`.
//!
//! Block layouts after ggml's `ggml-common.h`; the results are checked against the `gguf` Python package.

use half::{bf16, f16};
use stopwatt_kernel::cpu::Precision;

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TensorType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q8_0,
    Q4K,
    Q6K,
}

impl TensorType {
    /// The type of a code in the file; `None` when it is not supported.
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// Numbers in a block and bytes of a block.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 2 + 16),
            Self::Q4_1 => (32, 2 + 2 + 16),
            Self::Q8_0 => (32, 2 + 32),
            Self::Q4K => (256, 2 + 2 + 12 + 128),
            Self::Q6K => (256, 128 + 64 + 16 + 2),
        }
    }

    /// Bytes of a tensor; `None` when its rows are not whole blocks or its size overflows.
    pub(crate) fn bytes_of(self, dims: &[u64]) -> Option<u64> {
        let (numbers, bytes) = self.block();
        let row = dims.first().copied().unwrap_or(1);
        if !row.is_multiple_of(numbers as u64) {
            return None;
        }
        let total = dims.iter().try_fold(1u64, |a, &d| a.checked_mul(d))?;
        (total / numbers as u64).checked_mul(bytes as u64)
    }

    /// The precision in memory that holds these numbers without loss and without waste.
    pub(crate) fn natural(self) -> Precision {
        match self {
            Self::F16 => Precision::F16,
            Self::Bf16 => Precision::Bf16,
            _ => Precision::F32,
        }
    }

    /// Appends the numbers of whole blocks to `out`.
    pub(crate) fn expand(self, bytes: &[u8], out: &mut Vec<f32>) {
        let (numbers, block_bytes) = self.block();
        out.reserve(bytes.len() / block_bytes * numbers);
        for block in bytes.chunks_exact(block_bytes) {
            match self {
                Self::F32 => out.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
                Self::F16 => out.push(half_at(block, 0)),
                Self::Bf16 => out.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
                Self::Q4_0 => q4_0(block, out),
                Self::Q4_1 => q4_1(block, out),
                Self::Q8_0 => {
                    let d = half_at(block, 0);
                    out.extend(block[2..].iter().map(|&q| d * f32::from(q as i8)));
                }
                Self::Q4K => q4_k(block, out),
                Self::Q6K => q6_k(block, out),
            }
        }
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The lower four bits of each byte, then the upper four.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|b| b & 15).chain(bytes.iter().map(|b| b >> 4))
}

fn q4_0(block: &[u8], out: &mut Vec<f32>) {
    let d = half_at(block, 0);
    out.extend(nibbles(&block[2..]).map(|q| d * (f32::from(q) - 8.0)));
}

fn q4_1(block: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    out.extend(nibbles(&block[4..]).map(|q| d * f32::from(q) + m));
}

/// Eight groups of 32, each with a scale and a minimum of six bits, packed into 12 bytes.
fn q4_k(block: &[u8], out: &mut Vec<f32>) {
    let (d, least) = (half_at(block, 0), half_at(block, 2));
    let packed = &block[4..16];
    let scale_and_min = |group: usize| {
        let (scale, min) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            let low = packed[group + 4];
            (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
        };
        (d * f32::from(scale), least * f32::from(min))
    };
    for (pair, bytes) in block[16..].chunks_exact(32).enumerate() {
        for (half, q) in nibbles(bytes).enumerate() {
            let (scale, min) = scale_and_min(2 * pair + half / 32);
            out.push(scale * f32::from(q) - min);
        }
    }
}

/// Sixteen groups of 16 with a signed scale each; numbers of six bits, the upper two apart.
fn q6_k(block: &[u8], out: &mut Vec<f32>) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, _) = rest.split_at(16);
    let d = half_at(block, 208);
    for part in 0..2 {
        let (low, high, scales) =
            (&low[part * 64..][..64], &high[part * 32..][..32], &scales[part * 8..][..8]);
        for i in 0..128 {
            let (quarter, lane) = (i / 32, i % 32);
            let bits = low[lane + quarter % 2 * 32];
            let nibble = if quarter < 2 { bits & 15 } else { bits >> 4 };
            let q = nibble | (high[lane] >> (2 * quarter) & 3) << 4;
            let scale = f32::from(scales[i / 16] as i8);
            out.push(d * scale * (f32::from(q) - 32.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_expand_as_the_reference_does() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/quants.json")).unwrap();
        let cases = cases.as_array().unwrap();
        assert_eq!(cases.len(), 5);
        for case in cases {
            let kind = TensorType::from_code(case["code"].as_u64().unwrap() as u32).unwrap();
            let bytes: Vec<u8> =
                case["bytes"].as_array().unwrap().iter().map(|b| b.as_u64().unwrap() as u8).collect();
            let expected: Vec<f64> =
                case["numbers"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            let mut found = Vec::new();
            kind.expand(&bytes, &mut found);
            assert_eq!(found.len(), expected.len(), "{}", case["name"]);
            assert_eq!(kind.bytes_of(&[found.len() as u64]), Some(bytes.len() as u64));
            for (found, expected) in found.iter().zip(expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 1e-6 * (expected.abs() + 1.0), "{}: {found} {expected}", case["name"]);
            }
        }
    }

    #[test]
    fn sizes_that_do_not_add_up_are_refused() {
        assert_eq!(TensorType::Q4_0.bytes_of(&[33, 2]), None);
        assert_eq!(TensorType::F32.bytes_of(&[u64::MAX, 2]), None);
        assert_eq!(TensorType::F32.bytes_of(&[1 << 62, 2]), None);
        assert_eq!(TensorType::F16.bytes_of(&[]), Some(2));
        assert_eq!(TensorType::from_code(99), None);
    }
}
