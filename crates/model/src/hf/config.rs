//! `config.json` of a Hugging Face folder.

use serde::Deserialize;

use super::HfError;
use crate::config::{ModelConfig, RopeScaling};

/// The fields that shape the computation. Others are not our business.
#[derive(Debug, Deserialize)]
pub(super) struct HfConfig {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    vocab_size: usize,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    /// Where newer versions of transformers write both of the above.
    rope_parameters: Option<Rope>,
    hidden_act: Option<String>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    tie_word_embeddings: Option<bool>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<OneOrMany>,
}

/// Rotary parameters.
#[derive(Debug, Deserialize)]
struct Rope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

/// A token, or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl OneOrMany {
    pub(super) fn into_vec(self) -> Vec<u32> {
        match self {
            Self::One(token) => vec![token],
            Self::Many(tokens) => tokens,
        }
    }
}

impl HfConfig {
    /// The shape, when it is one that the forward pass computes.
    pub(super) fn shape(&self) -> Result<ModelConfig, HfError> {
        let unsupported = |what: &'static str| Err(HfError::Unsupported { what });
        if self.model_type != "llama" {
            return Err(HfError::Architecture { name: self.model_type.clone() });
        }
        if self.attention_bias || self.mlp_bias {
            return unsupported("a bias in attention or feed-forward layers");
        }
        if self.hidden_act.as_deref().is_some_and(|act| act != "silu") {
            return unsupported("an activation other than SiLU");
        }
        let heads = self.num_attention_heads;
        let theta = self.rope_parameters.as_ref().and_then(|r| r.rope_theta).or(self.rope_theta);
        let config = ModelConfig {
            vocab: self.vocab_size,
            hidden: self.hidden_size,
            layers: self.num_hidden_layers,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            head_dim: self.head_dim.unwrap_or(self.hidden_size / heads.max(1)),
            ffn: self.intermediate_size,
            norm_eps: self.rms_norm_eps,
            rope_theta: theta.unwrap_or(10_000.0),
            rope_scaling: self
                .rope_parameters
                .as_ref()
                .or(self.rope_scaling.as_ref())
                .map_or(Ok(RopeScaling::None), |rope| {
                    rope.scaling().ok_or(HfError::Unsupported { what: "this kind of rotary scaling" })
                })?,
            max_position: self.max_position_embeddings,
        };
        config.validate()?;
        Ok(config)
    }

    /// Whether the embedding is the output projection too. Llama's default is that it is not.
    pub(super) fn tied(&self) -> bool {
        self.tie_word_embeddings.unwrap_or(false)
    }

    pub(super) fn bos(&self) -> Option<u32> {
        self.bos_token_id
    }

    pub(super) fn eos(&self) -> Vec<u32> {
        self.eos_token_id.clone().map(OneOrMany::into_vec).unwrap_or_default()
    }
}

impl Rope {
    fn scaling(&self) -> Option<RopeScaling> {
        match self.rope_type.as_deref().unwrap_or("default") {
            "default" => Some(RopeScaling::None),
            "linear" => Some(RopeScaling::Linear { factor: self.factor? }),
            "llama3" => Some(RopeScaling::Llama3 {
                factor: self.factor?,
                low: self.low_freq_factor?,
                high: self.high_freq_factor?,
                original: self.original_max_position_embeddings?,
            }),
            _ => None,
        }
    }
}
