//! In which formats a model is stored and computed.

use stopwatt_core::kernel_table::{Dtype, Dtypes};

/// Formats of weights, activations and cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precision {
    /// Activations, embedding, output head, and whatever is not quantised.
    pub base: Dtype,
    /// The big matrices.
    pub weights: Weights,
    /// The key-value cache.
    pub kv: Dtype,
}

/// Format of the big matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// That of the activations.
    Plain,
    /// Weights and activations in this format, one 32-bit scale a row of the weights (W8A8).
    Both(Dtype),
    /// Weights alone, one 16-bit scale a group along the sum; products in the format of the activations (W4A16, W8A16).
    Only {
        /// Format of the weights.
        dtype: Dtype,
        /// Weights that share a scale.
        group: u32,
    },
}

/// Group of weight-only formats where nothing else is said, as AWQ and GPTQ use it.
pub const DEFAULT_GROUP: u32 = 128;

impl Precision {
    /// Names that [`Precision::parse`] knows.
    pub const NAMES: [&str; 7] = ["bf16", "fp16", "fp32", "fp8", "int8", "int8-weights", "int4"];

    /// Everything in one format.
    #[must_use]
    pub const fn plain(base: Dtype) -> Self {
        Self { base, weights: Weights::Plain, kv: base }
    }

    /// `bf16`, `fp16`, `fp32`; `fp8` and `int8` (weights and activations); `int8-weights` and `int4` (weights alone, in
    /// groups of 128).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let of = |weights| Self { weights, ..Self::plain(Dtype::Bf16) };
        match name.to_ascii_lowercase().as_str() {
            "int8-weights" | "w8a16" => Some(of(Weights::Only { dtype: Dtype::I8, group: DEFAULT_GROUP })),
            "w4a16" | "awq" | "gptq" => Some(of(Weights::Only { dtype: Dtype::I4, group: DEFAULT_GROUP })),
            other => Some(match Dtype::parse(other)? {
                Dtype::I4 => of(Weights::Only { dtype: Dtype::I4, group: DEFAULT_GROUP }),
                dtype @ (Dtype::F8E4m3 | Dtype::I8) => of(Weights::Both(dtype)),
                dtype => Self::plain(dtype),
            }),
        }
    }

    /// Name to print.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.weights {
            Weights::Plain => match self.base {
                Dtype::F16 => "fp16",
                Dtype::F32 => "fp32",
                Dtype::Tf32 => "tf32",
                _ => "bf16",
            },
            Weights::Both(Dtype::I8) => "int8",
            Weights::Both(_) => "fp8",
            Weights::Only { dtype: Dtype::I8, .. } => "int8-weights",
            Weights::Only { .. } => "int4",
        }
    }

    /// Format of the big matrices.
    #[must_use]
    pub const fn weight(&self) -> Dtype {
        match self.weights {
            Weights::Plain => self.base,
            Weights::Both(dtype) | Weights::Only { dtype, .. } => dtype,
        }
    }

    /// Formats of a product with a big matrix.
    #[must_use]
    pub const fn product(&self) -> Dtypes {
        let input = match self.weights {
            Weights::Both(dtype) => dtype,
            _ => self.base,
        };
        Dtypes { input, weight: self.weight(), output: self.base }
    }

    /// Formats of everything that is not quantised.
    #[must_use]
    pub const fn unquantised(&self) -> Dtypes {
        Dtypes::all(self.base)
    }

    /// Formats of attention: its "weight" is the cache.
    #[must_use]
    pub const fn attention(&self) -> Dtypes {
        Dtypes { input: self.base, weight: self.kv, output: self.base }
    }

    /// Bytes of the scales of a matrix of `n` rows over a sum of `k`.
    #[must_use]
    pub fn scale_bytes(&self, n: u64, k: u64) -> u64 {
        match self.weights {
            Weights::Plain => 0,
            Weights::Both(_) => n * 4,
            Weights::Only { group, .. } => n * k.div_ceil(u64::from(group.max(1))) * 2,
        }
    }

    /// Bytes of a big matrix of `n` rows over a sum of `k`, with its scales.
    #[must_use]
    pub fn matrix_bytes(&self, n: u64, k: u64) -> f64 {
        (n * k) as f64 * self.weight().bytes() + self.scale_bytes(n, k) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_themselves() {
        for name in Precision::NAMES {
            assert_eq!(Precision::parse(name).map(|p| p.name()), Some(name));
        }
        assert_eq!(Precision::parse("int3"), None);
    }

    #[test]
    fn scales_are_counted() {
        // 4-bit in groups of 128: 4096 × 14336 × ½ byte, and 4096 × 112 scales of two bytes: 3.1 % more.
        let int4 = Precision::parse("int4").unwrap();
        assert_eq!(int4.matrix_bytes(4096, 14336), 29_360_128.0 + 917_504.0);
        assert_eq!(Precision::parse("fp8").unwrap().matrix_bytes(10, 100), 1040.0);
        assert_eq!(Precision::parse("bf16").unwrap().matrix_bytes(10, 100), 2000.0);
    }

    #[test]
    fn weight_only_formats_multiply_in_the_format_of_activations() {
        let product = Precision::parse("int4").unwrap().product();
        assert_eq!((product.input, product.weight), (Dtype::Bf16, Dtype::I4));
        assert_eq!(Precision::parse("int8").unwrap().product().input, Dtype::I8);
    }
}
