//! Q: numbers that are rounded to few bits, with a scale for each group of consecutive columns.
//!
//! The scale of a group is its largest magnitude over the largest code, so that nothing is cut off. Formats: int8 (−127
//! to 127), int4 (−7 to 7), fp8 (E4M3 without infinities, largest 448; Micikevicius et al., arXiv 2209.05433).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::matrix::Dense;

use super::{TransformError, divides, finite};

/// A format of few bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// 8-bit whole numbers.
    Int8,
    /// 4-bit whole numbers.
    Int4,
    /// 8-bit floating point, E4M3.
    Fp8,
}

impl Format {
    /// Bits of a code.
    pub const fn bits(self) -> u64 {
        match self {
            Self::Int8 | Self::Fp8 => 8,
            Self::Int4 => 4,
        }
    }

    /// The largest magnitude of a code.
    pub const fn largest(self) -> f32 {
        match self {
            Self::Int8 => 127.0,
            Self::Int4 => 7.0,
            Self::Fp8 => 448.0,
        }
    }

    /// The code nearest to a number within its range, ties to even.
    pub fn round(self, v: f32) -> f32 {
        match self {
            Self::Int8 | Self::Int4 => v.round_ties_even().clamp(-self.largest(), self.largest()),
            Self::Fp8 => e4m3(v),
        }
    }
}

/// The nearest number with 3 bits after the point: steps of 2^(exponent − 3), exponents from −6.
fn e4m3(v: f32) -> f32 {
    let size = v.abs().min(448.0);
    if size == 0.0 {
        return 0.0;
    }
    // The exponent of a finite number, as its bits have it.
    let exponent = (((size.to_bits() >> 23) & 0xff) as i32 - 127).max(-6);
    let step = f32::from_bits(((exponent - 3 + 127) as u32) << 23);
    ((size / step).round_ties_even() * step).min(448.0).copysign(v)
}

/// A matrix in codes with scales.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// Columns that share a scale.
    pub group: usize,
    /// The format.
    pub format: Format,
    /// Codes, as numbers.
    pub codes: Dense,
    /// A scale for each group of each row.
    pub scales: Vec<f32>,
}

impl Quantized {
    /// The numbers that the codes stand for.
    pub fn dequantized(&self) -> Dense {
        let mut w = self.codes.clone();
        for (numbers, scale) in w.data.chunks_exact_mut(self.group).zip(&self.scales) {
            numbers.iter_mut().for_each(|v| *v *= scale);
        }
        w
    }

    /// Bytes of codes and scales (2 bytes each).
    pub fn bytes(&self) -> u64 {
        (self.codes.data.len() as u64 * self.format.bits()).div_ceil(8) + 2 * self.scales.len() as u64
    }
}

/// Rounds a matrix, a scale for each `group` of consecutive columns.
///
/// # Errors
/// Groups that do not fit, or numbers that are none.
pub fn quantize(w: &Dense, format: Format, group: usize) -> Result<Quantized, TransformError> {
    divides("groups", group, w.cols)?;
    finite(w)?;
    let mut codes = w.clone();
    let scales = codes
        .data
        .chunks_exact_mut(group)
        .map(|numbers| {
            let largest = numbers.iter().fold(0f32, |m, v| m.max(v.abs()));
            let scale = if largest > 0.0 { largest / format.largest() } else { 1.0 };
            numbers.iter_mut().for_each(|v| *v = format.round(*v / scale));
            scale
        })
        .collect();
    Ok(Quantized { group, format, codes, scales })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transform::reconstruction_error;

    #[test]
    fn e4m3_has_the_numbers_of_its_table() {
        // Largest, smallest normal 2^-6, smallest 2^-9, and ties to even.
        for v in [448.0, 416.0, 240.0, 1.125, 0.015_625, 0.001_953_125, 0.0] {
            assert_eq!((e4m3(v), e4m3(-v)), (v, -v));
        }
        assert_eq!([e4m3(1.0625), e4m3(1.1875), e4m3(1e9), e4m3(0.0009)], [1.0, 1.25, 448.0, 0.0]);
    }

    #[test]
    fn known_codes() {
        let w = Dense::new(1, 4, vec![7.0, -3.4, 0.0, 0.5]);
        let q = quantize(&w, Format::Int4, 2).unwrap();
        assert_eq!(
            (q.codes.data.as_slice(), q.scales.as_slice()),
            (&[7., -3., 0., 7.][..], &[1.0, 0.5 / 7.0][..])
        );
        assert_eq!(q.bytes(), 2 + 4);
        assert!((q.dequantized().data[3] - 0.5).abs() < 1e-7);
    }

    #[test]
    fn columns_of_like_size_together_make_less_error() {
        let w = Dense::new(1, 4, vec![100.0, 0.013, 99.0, 0.0041]);
        let error = |order: [u32; 4]| {
            let w = w.with_columns(&order);
            let small: Vec<f64> = w.data.iter().map(|v| 1.0 / f64::from(v.abs())).collect();
            let q = quantize(&w, Format::Int8, 2).unwrap();
            reconstruction_error(&w, &q.dequantized(), Some(&small))
        };
        assert!(error([0, 2, 1, 3]) < 0.1 * error([0, 1, 2, 3]));
    }

    #[test]
    fn impossible_groups_are_refused() {
        let w = Dense::new(1, 6, vec![1.0; 6]);
        assert!(matches!(quantize(&w, Format::Int8, 4), Err(TransformError::Size { size: 4, cols: 6, .. })));
        assert!(quantize(&w, Format::Int8, 0).is_err());
        assert!(quantize(&Dense::new(1, 1, vec![f32::INFINITY]), Format::Fp8, 1).is_err());
        assert!(
            quantize(&Dense::new(1, 2, vec![0.0; 2]), Format::Fp8, 2).unwrap().dequantized().data == [0.0; 2]
        );
    }

    proptest! {
        #[test]
        fn no_number_is_further_off_than_half_a_step(
            numbers in prop::collection::vec(-1e3f32..1e3, 32),
            format in prop::sample::select(vec![Format::Int8, Format::Int4, Format::Fp8]),
        ) {
            let w = Dense::new(2, 16, numbers);
            let q = quantize(&w, format, 8).unwrap();
            for (i, (a, b)) in w.data.iter().zip(&q.dequantized().data).enumerate() {
                let scale = q.scales[i / 8];
                // Half of a whole number, or of the last of 3 bits.
                let step = match format {
                    Format::Fp8 => (a.abs() / 16.0).max(scale * 0.001),
                    _ => scale / 2.0,
                };
                prop_assert!((a - b).abs() <= step * 1.001 + 1e-6, "{a} {b} {scale}");
            }
        }
    }
}
