//! Number formats of products: what the library is asked for, and what a result may deviate.

use stopwatt_core::kernel_table::{Dtype, Dtypes};

use crate::case::CaseError;
use crate::cuda::ffi::cublaslt::{Compute, DataType};
use crate::cuda::numbers::rounding;
use crate::cuda::plan::Element;

/// What the library is asked for, by the operands' formats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Formats {
    pub(super) operand: (Element, DataType),
    pub(super) product: (Element, DataType),
    pub(super) compute: Compute,
    /// Format of the factors of the product.
    pub(super) factors: DataType,
    /// Largest magnitude of random operands.
    pub(super) magnitude: f32,
    /// A kernel of ours turns 32-bit sums into bf16 afterwards.
    pub(super) scales_sums: bool,
}

pub(super) fn formats(dtypes: Dtypes) -> Result<Formats, CaseError> {
    let unsupported = || CaseError::Unsupported {
        reason: format!(
            "a product of {} by {} into {}",
            dtypes.input.name(),
            dtypes.weight.name(),
            dtypes.output.name()
        ),
    };
    if dtypes.input != dtypes.weight {
        return Err(unsupported());
    }
    let output = match dtypes.output {
        Dtype::F32 | Dtype::Tf32 => (Element::F32, DataType::F32),
        Dtype::F16 => (Element::F16, DataType::F16),
        Dtype::Bf16 => (Element::Bf16, DataType::Bf16),
        Dtype::F8E4m3 | Dtype::I8 | Dtype::I4 => return Err(unsupported()),
    };
    let float = |operand: (Element, DataType), compute| Formats {
        operand,
        product: output,
        compute,
        factors: DataType::F32,
        magnitude: 1.0,
        scales_sums: false,
    };
    Ok(match (dtypes.input, dtypes.output) {
        (Dtype::F32, Dtype::F32) => float((Element::F32, DataType::F32), Compute::F32),
        (Dtype::Tf32, Dtype::Tf32 | Dtype::F32) => float((Element::F32, DataType::F32), Compute::Tf32),
        (Dtype::F16, Dtype::F16 | Dtype::F32) => float((Element::F16, DataType::F16), Compute::F32),
        (Dtype::Bf16, Dtype::Bf16 | Dtype::F32) => float((Element::Bf16, DataType::Bf16), Compute::F32),
        (Dtype::F8E4m3, Dtype::Bf16 | Dtype::F16 | Dtype::F32) => {
            float((Element::F8E4m3, DataType::F8E4m3), Compute::F32)
        }
        // Sums of 8-bit integers are 32-bit integers, as wide as f32; into bf16 they are scaled by column.
        (Dtype::I8, Dtype::F32 | Dtype::Bf16) => Formats {
            operand: (Element::I8, DataType::I8),
            product: (Element::I32, DataType::I32),
            compute: Compute::I32,
            factors: DataType::I32,
            magnitude: 127.0,
            scales_sums: dtypes.output == Dtype::Bf16,
        },
        _ => return Err(unsupported()),
    })
}

/// Deviation that is allowed of a product, absolute: `value` is exact, `spread` the root of the sum of its squared
/// terms, `k` their number.
pub(super) fn tolerance(formats: &Formats, output: Element, value: f64, spread: f64, k: usize) -> f64 {
    // Operands are cut to 10 bits of mantissa in TensorFloat-32.
    let operand = if formats.compute == Compute::Tf32 { 2f64.powi(-10) } else { 0.0 };
    // Relative error of an addition, and how many there are one after the other: tensor cores add blocks of terms and
    // cut the sum off; fast accumulation of 8-bit formats keeps 14 bits or so.
    let (addition, additions) = match formats.operand.0 {
        Element::F8E4m3 => (2f64.powi(-12), k.div_ceil(32)),
        Element::F32 if formats.compute == Compute::F32 => (2f64.powi(-24), k),
        Element::I8 => (0.0, 0),
        _ => (2f64.powi(-22), k.div_ceil(8)),
    };
    let sum =
        value.abs() * 2.0 * operand + 6.0 * spread * operand + (additions as f64 + 4.0) * addition * spread;
    let unit = rounding(output);
    // Partial sums of a split reduction may be rounded to the result's format, which frameworks allow too.
    let split = if matches!(output, Element::F16 | Element::Bf16) { 4.0 * unit * spread } else { 0.0 };
    unit * (value.abs() + sum) + sum + split
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(input: Dtype, output: Dtype) -> Dtypes {
        Dtypes { input, weight: input, output }
    }

    #[test]
    fn every_promised_format_has_a_product() {
        for (dtype, output) in [
            (Dtype::Bf16, Dtype::Bf16),
            (Dtype::F16, Dtype::F16),
            (Dtype::Tf32, Dtype::Tf32),
            (Dtype::F32, Dtype::F32),
            (Dtype::F8E4m3, Dtype::Bf16),
            (Dtype::I8, Dtype::Bf16),
            (Dtype::I8, Dtype::F32),
        ] {
            assert!(formats(of(dtype, output)).is_ok(), "{dtype:?}");
        }
    }

    #[test]
    fn mixed_operands_are_refused_with_their_names() {
        let dtypes = Dtypes { input: Dtype::Bf16, weight: Dtype::I4, output: Dtype::Bf16 };
        assert!(formats(dtypes).unwrap_err().to_string().contains("bf16 by i4"));
    }

    #[test]
    fn an_unrelated_result_is_far_beyond_the_tolerance() {
        // Terms of random signs: a result of other operands is off by about √2 times the spread.
        for (dtype, output) in
            [(Dtype::Bf16, Element::Bf16), (Dtype::Tf32, Element::F32), (Dtype::F8E4m3, Element::Bf16)]
        {
            let formats = formats(of(dtype, if dtype == Dtype::Tf32 { dtype } else { Dtype::Bf16 })).unwrap();
            let allowed = tolerance(&formats, output, 1.0, 1.0, 16_384);
            assert!(allowed < 0.2, "{dtype:?}: {allowed}");
        }
    }
}
