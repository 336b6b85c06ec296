//! From an operator to the launches of our own kernels. Pure: no GPU, no library.

mod activation;
mod attention;
mod experts;
mod norm;
mod rows;
mod sample;
mod softmax;

use stopwatt_core::kernel_table::{Dtype, Op, OpKind};

use super::plan::{Element, Expectation, Plan, Target};
use crate::case::CaseError;

/// What to launch for `op`.
///
/// # Errors
///
/// [`CaseError::Unsupported`] when no kernel of ours covers it.
pub fn plan(op: &Op, target: &Target) -> Result<Plan, CaseError> {
    match op.kind {
        OpKind::LayerNorm | OpKind::RmsNorm | OpKind::AddRmsNorm => norm::plan(op, target),
        OpKind::Gelu | OpKind::SiluMul => activation::plan(op, target),
        OpKind::Softmax => softmax::plan(op),
        OpKind::Rope => rows::rope(op),
        OpKind::Embedding => rows::embedding(op),
        OpKind::Argmax => sample::argmax(op, target),
        OpKind::TopKTopP => sample::top_k_top_p(op, target),
        OpKind::AttentionDecode => attention::decode(op, target),
        OpKind::AttentionPrefill => attention::prefill(op, target),
        OpKind::MoeExperts => experts::plan(op, target),
        _ => Err(unsupported("Stopwatt has no kernel of its own for this operator")),
    }
}

fn unsupported(reason: impl Into<String>) -> CaseError {
    CaseError::Unsupported { reason: reason.into() }
}

/// A floating format as kernels know it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Format {
    element: Element,
    /// Value of the macro `ELEMENT`.
    name: &'static str,
}

impl Format {
    /// The format of an operator whose operands all have the same one.
    fn of(op: &Op) -> Result<Self, CaseError> {
        let dtypes = op.dtypes;
        if dtypes.input != dtypes.weight || dtypes.input != dtypes.output {
            return Err(unsupported("operands of different formats"));
        }
        match dtypes.input {
            Dtype::F32 => Ok(Self { element: Element::F32, name: "F32" }),
            Dtype::F16 => Ok(Self { element: Element::F16, name: "F16" }),
            Dtype::Bf16 => Ok(Self { element: Element::Bf16, name: "BF16" }),
            other => Err(unsupported(format!("operands of format {}", other.name()))),
        }
    }

    /// Elements of the widest access, at most 16 bytes, that divides rows of `cols`.
    fn lanes(self, cols: u32) -> u32 {
        let widest = 16 / self.element.bytes() as u32;
        widest.min(1 << cols.trailing_zeros().min(3))
    }

    /// `value` rounded to the format.
    fn round(self, value: f64) -> f64 {
        match self.element {
            Element::F16 => f64::from(half::f16::from_f64(value)),
            Element::Bf16 => f64::from(half::bf16::from_f64(value)),
            _ => f64::from(value as f32),
        }
    }

    /// A result that is rounded to the format once, computed in single precision with the absolute error `error`.
    fn expect(self, value: f64, error: f64) -> Expectation {
        // Half a unit in the last place, relative; and of the smallest subnormal number.
        let (unit, least) = match self.element {
            Element::F16 => (2f64.powi(-11), 2f64.powi(-25)),
            Element::Bf16 => (2f64.powi(-8), 2f64.powi(-134)),
            _ => (2f64.powi(-24), 2f64.powi(-126)),
        };
        Expectation { value, tolerance: unit * (value.abs() + error) + least + error }
    }
}

/// Product of lengths, refused where kernels' 31-bit positions would not reach.
fn length(factors: &[u32]) -> Result<usize, CaseError> {
    let product = factors.iter().try_fold(1u64, |product, &factor| product.checked_mul(u64::from(factor)));
    match product {
        Some(0) => Err(unsupported("an empty shape")),
        Some(product) if product < 1 << 40 => Ok(product as usize),
        _ => Err(unsupported("a shape of more than 2^40 elements")),
    }
}

/// A count that a kernel takes as an `int`.
fn count(value: usize) -> Result<i32, CaseError> {
    i32::try_from(value).map_err(|_| unsupported("more than 2^31 accesses"))
}

/// Deterministic integers in `0 .. limit`, the same on every platform.
fn scattered(limit: u32, len: usize, seed: u64) -> Vec<i32> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % u64::from(limit.max(1))) as i32
        })
        .collect()
}
