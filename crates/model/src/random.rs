//! Models with random weights: real arithmetic, without any file.
//!
//! Every weight comes from the seed and is the same on every platform. The scale of each matrix keeps activations near
//! 1 through any number of layers, so logits have the spread of a trained model's; the text means nothing.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stopwatt_kernel::cpu::{Arena, Matrix, MatrixError, Precision};

use crate::config::{ModelConfig, RopeScaling};
use crate::tokenizer::BYTE_VOCAB;
use crate::weights::{Layer, Weights};

/// Standard deviation of the logits.
const LOGIT_SPREAD: f32 = 2.5;

/// A size of random model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// For tests: a step takes microseconds.
    Tiny,
    /// The default: small enough that one core decodes some hundred tokens a second.
    #[default]
    Small,
    /// The layers of SmolLM2-135M.
    Medium,
    /// The layers of TinyLlama-1.1B.
    Large,
}

impl Preset {
    /// Every preset, smallest first.
    pub const ALL: &'static [Self] = &[Self::Tiny, Self::Small, Self::Medium, Self::Large];

    /// Name used in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// Reads the name used in options.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|p| p.name() == name)
    }

    /// The shape.
    pub fn config(self) -> ModelConfig {
        let (hidden, layers, heads, kv_heads, head_dim, ffn) = match self {
            Self::Tiny => (64, 2, 4, 2, 16, 160),
            Self::Small => (512, 4, 8, 2, 64, 1408),
            Self::Medium => (576, 30, 9, 3, 64, 1536),
            Self::Large => (2048, 22, 32, 4, 64, 5632),
        };
        ModelConfig {
            vocab: BYTE_VOCAB,
            hidden,
            layers,
            heads,
            kv_heads,
            head_dim,
            ffn,
            norm_eps: 1e-5,
            rope_theta: 500_000.0,
            rope_scaling: RopeScaling::None,
            max_position: 131_072,
        }
    }
}

/// Weights for a shape, all from `seed`.
pub fn weights(config: &ModelConfig, seed: u64, precision: Precision) -> Result<Weights, MatrixError> {
    let mut source = Source { seed, stream: 0, precision, arena: Arena::default() };
    let c = config;
    let inward = |width: usize| (width as f32).recip().sqrt();
    // Each of the 2 × layers branches adds to the residual stream; together they add about its own size.
    let outward = |width: usize| inward(width) * (2.0 * c.layers as f32).recip().sqrt();
    Ok(Weights {
        embedding: source.matrix(c.vocab, c.hidden, 1.0)?,
        layers: (0..c.layers)
            .map(|_| {
                Ok(Layer {
                    attention_norm: vec![1.0; c.hidden],
                    qkv: source.matrix(c.query_width() + 2 * c.kv_width(), c.hidden, inward(c.hidden))?,
                    attention_out: source.matrix(c.hidden, c.query_width(), outward(c.query_width()))?,
                    ffn_norm: vec![1.0; c.hidden],
                    gate_up: source.matrix(2 * c.ffn, c.hidden, inward(c.hidden))?,
                    down: source.matrix(c.hidden, c.ffn, outward(c.ffn))?,
                })
            })
            .collect::<Result<_, MatrixError>>()?,
        norm: vec![1.0; c.hidden],
        // Not tied: a tied head would answer each token with itself.
        head: Some(source.matrix(c.vocab, c.hidden, LOGIT_SPREAD * inward(c.hidden))?),
    })
}

struct Source {
    seed: u64,
    stream: u64,
    precision: Precision,
    arena: Arena,
}

impl Source {
    /// Uniform numbers of mean 0 and the given standard deviation. A uniform distribution needs no logarithm, whose
    /// last bit differs between platforms.
    fn matrix(&mut self, rows: usize, cols: usize, deviation: f32) -> Result<Matrix, MatrixError> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.stream);
        self.stream += 1;
        let scale = deviation * 3f32.sqrt() / (1u32 << 23) as f32;
        let mut matrix = Matrix::zeros(&mut self.arena, rows, cols, self.precision)?;
        let mut row = vec![0.0; cols];
        for index in 0..rows {
            for v in &mut row {
                // 24 random bits around zero: every value is exact in f32.
                *v = ((rng.next_u32() >> 8) as i32 - (1 << 23)) as f32 * scale;
            }
            matrix.write_rows(index, &row);
        }
        Ok(matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_have_the_size_they_claim() {
        for &preset in Preset::ALL {
            preset.config().validate().unwrap();
            assert_eq!(Preset::from_name(preset.name()), Some(preset));
        }
        let small = weights(&Preset::Small.config(), 0, Precision::F32).unwrap();
        assert!((8_000_000..16_000_000).contains(&small.parameters()), "{}", small.parameters());
        assert_eq!(small.bytes(), 4 * small.parameters());
    }

    #[test]
    fn one_seed_gives_one_model() {
        let config = Preset::Tiny.config();
        let a = weights(&config, 7, Precision::F32).unwrap();
        let b = weights(&config, 7, Precision::F32).unwrap();
        let c = weights(&config, 8, Precision::F32).unwrap();
        assert_eq!(a.layers[1].down.row(3), b.layers[1].down.row(3));
        assert_ne!(a.layers[1].down.row(3), c.layers[1].down.row(3));
        // Known bits: the same on every platform and in every later version.
        assert_eq!(a.embedding.row(0)[..2], [-1.247_064_8, -1.185_429_1]);
    }

    #[test]
    fn deviation_is_as_asked() {
        let mut m = Source { seed: 1, stream: 0, precision: Precision::F32, arena: Arena::default() };
        let m = m.matrix(64, 256, 0.5).unwrap();
        let values: Vec<f64> = (0..64).flat_map(|i| m.row(i)).map(f64::from).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.02 && (square.sqrt() - 0.5).abs() < 0.01, "{mean} {square}");
    }
}
