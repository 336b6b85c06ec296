//! The shape of a model.

use stopwatt_kernel::cpu::KvShape;

/// The shape of a Llama-architecture decoder. Every field is checked by [`ModelConfig::validate`].
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Tokens of the vocabulary.
    pub vocab: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Numbers in a head; even.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub ffn: usize,
    /// Added to the mean square in normalisations.
    pub norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Change of the rotary frequencies for long contexts.
    pub rope_scaling: RopeScaling,
    /// Longest context, in tokens.
    pub max_position: usize,
}

/// How rotary frequencies are changed for contexts longer than those of the first training.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// Divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low` are low frequencies.
        low: f64,
        /// Wavelengths below `original / high` are high frequencies.
        high: f64,
        /// Context of the first training.
        original: f64,
    },
    /// Each frequency divided by its own number, as GGUF files state it.
    Divisors(Vec<f32>),
}

/// Why a shape cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field is outside what the forward pass can do.
    #[error("model field `{field}` is {found}, must be {must}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        must: &'static str,
    },
}

impl ModelConfig {
    /// Checks that the shape can be computed. Bounds keep the products of hostile files far from overflow.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let counts = [
            ("vocab", self.vocab),
            ("hidden", self.hidden),
            ("layers", self.layers),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("ffn", self.ffn),
            ("max_position", self.max_position),
        ];
        for (field, value) in counts {
            if !(1..=1 << 24).contains(&value) {
                return Err(ConfigError::Field { field, found: value.to_string(), must: "in 1 ..= 2^24" });
            }
        }
        let field = |field, found: &dyn ToString, must| {
            Err(ConfigError::Field { field, found: found.to_string(), must })
        };
        if !self.heads.is_multiple_of(self.kv_heads) {
            return field("kv_heads", &self.kv_heads, "a divisor of the number of heads");
        }
        if !self.head_dim.is_multiple_of(2) {
            return field("head_dim", &self.head_dim, "even");
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return field("norm_eps", &self.norm_eps, "a small number that is not negative");
        }
        if !(self.rope_theta.is_finite() && self.rope_theta >= 1.0) {
            return field("rope_theta", &self.rope_theta, "a number of 1 or more");
        }
        let positive = |v: f64| v.is_finite() && v > 0.0;
        match &self.rope_scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } if positive(*factor) => {}
            RopeScaling::Llama3 { factor, low, high, original }
                if [factor, low, high, original].into_iter().all(|&v| positive(v)) && high > low => {}
            RopeScaling::Divisors(by)
                if by.len() == self.head_dim / 2 && by.iter().all(|&v| positive(v.into())) => {}
            _ => {
                return field(
                    "rope_scaling",
                    &"something else",
                    "positive numbers, one a pair where they are listed",
                );
            }
        }
        Ok(())
    }

    /// Numbers of all query heads of a token.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Numbers of all key (or value) heads of a token.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Bytes that one token occupies in the cache, all layers.
    pub fn kv_bytes_per_token(&self) -> usize {
        2 * self.layers * self.kv_width() * size_of::<f32>()
    }

    /// Shape of one layer's cache.
    pub fn kv_shape(&self, block_size: usize) -> KvShape {
        KvShape { block_size, kv_heads: self.kv_heads, head_dim: self.head_dim }
    }

    /// Rotary frequencies, one a pair, in radians a token.
    pub fn rope_frequencies(&self) -> Vec<f32> {
        let dim = self.head_dim as f64;
        (0..self.head_dim / 2)
            .map(|i| {
                let base = self.rope_theta.powf(-2.0 * i as f64 / dim);
                match &self.rope_scaling {
                    RopeScaling::None => base as f32,
                    RopeScaling::Linear { factor } => (base / factor) as f32,
                    RopeScaling::Llama3 { factor, low, high, original } => {
                        let turns = original * base / std::f64::consts::TAU;
                        let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                        (base * (keep + (1.0 - keep) / factor)) as f32
                    }
                    RopeScaling::Divisors(by) => (base / f64::from(by[i])) as f32,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Preset;

    fn check(rope_theta: f64, rope_scaling: RopeScaling, expected: &[(usize, f32)]) {
        let config = ModelConfig { head_dim: 64, rope_theta, rope_scaling, ..Preset::Small.config() };
        config.validate().unwrap();
        let found = config.rope_frequencies();
        assert_eq!(found.len(), 32);
        for &(i, expected) in expected {
            assert!((found[i] / expected - 1.0).abs() < 1e-6, "{i}: {} instead of {expected}", found[i]);
        }
    }

    #[test]
    fn frequencies_are_those_of_transformers() {
        // By transformers 5.23, for the rotary parameters of Llama 3.2 1B: kept, ramp, divided.
        let llama3 = RopeScaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original: 8192.0 };
        let expected = [
            (0, 1.0),
            (8, 0.037_606_03),
            (14, 0.003_211_446),
            (15, 0.001_290_548),
            (16, 0.000_429_556_7),
            (17, 9.708_286e-5),
            (18, 1.946_163_9e-5),
            (31, 9.418_306e-8),
        ];
        check(500_000.0, llama3, &expected);
        check(
            10_000.0,
            RopeScaling::Linear { factor: 4.0 },
            &[(0, 0.25), (16, 0.0025), (31, 3.333_803_8e-5)],
        );
        let mut by = vec![1.0; 32];
        by[16] = 2.0;
        check(10_000.0, RopeScaling::Divisors(by), &[(0, 1.0), (16, 0.005), (31, 1.333_521_5e-4)]);
    }

    #[test]
    fn shapes_that_cannot_be_computed_are_refused() {
        let good = Preset::Tiny.config();
        let refused = |change: &dyn Fn(&mut ModelConfig)| {
            let mut config = good.clone();
            change(&mut config);
            let ConfigError::Field { field, .. } = config.validate().unwrap_err();
            field
        };
        assert_eq!(refused(&|c| c.layers = 0), "layers");
        assert_eq!(refused(&|c| c.vocab = usize::MAX), "vocab");
        assert_eq!(refused(&|c| c.kv_heads = 3), "kv_heads");
        assert_eq!(refused(&|c| c.head_dim = 15), "head_dim");
        assert_eq!(refused(&|c| c.norm_eps = f32::NAN), "norm_eps");
        assert_eq!(refused(&|c| c.rope_theta = 0.0), "rope_theta");
        assert_eq!(refused(&|c| c.rope_scaling = RopeScaling::Linear { factor: -1.0 }), "rope_scaling");
        assert_eq!(refused(&|c| c.rope_scaling = RopeScaling::Divisors(vec![1.0])), "rope_scaling");
    }
}
