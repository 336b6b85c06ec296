//! A model by a handful of figures, for those who have no `config.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::kernel_table::Dtype;

use super::{Attention, Dense, Grouped, ModelSpec, Norms};

/// A model as a file writes it (`--model FILE` in TOML or YAML).
///
/// What is not stated of the shapes is chosen so that the parameters add up: the feed-forward width takes what
/// attention and embeddings leave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SummarySpec {
    /// Name to print.
    pub name: String,
    /// Parameters, such as `7e9`.
    pub parameters: f64,
    /// Bytes a parameter takes: 4, 2, 1 or 0.5.
    #[serde(default = "two")]
    pub bytes_per_parameter: f64,
    /// Decoder layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key-value heads; as many as query heads where absent.
    #[serde(default)]
    pub kv_heads: Option<u32>,
    /// Width of a head; hidden / heads where absent.
    #[serde(default)]
    pub head_dim: Option<u32>,
    /// Rows of the embedding; where absent, embeddings are counted as part of the layers.
    #[serde(default)]
    pub vocab: Option<u32>,
    /// Longest context in tokens.
    #[serde(default = "context")]
    pub max_position: u32,
}

fn two() -> f64 {
    2.0
}

fn context() -> u32 {
    131_072
}

/// Why a summary describes no model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SummaryError {
    /// A figure that makes no sense.
    #[error("`{key}` is {found}, expected {expected}")]
    Figure {
        /// The key.
        key: &'static str,
        /// Its value.
        found: f64,
        /// What it should be.
        expected: &'static str,
    },
    /// Attention and embeddings alone have more parameters than the model.
    #[error(
        "`parameters` is {stated:e}, but attention and embeddings of these shapes have {least:e} already"
    )]
    TooFew {
        /// Parameters stated.
        stated: f64,
        /// Parameters without feed-forward layers.
        least: f64,
    },
}

impl TryFrom<SummarySpec> for ModelSpec {
    type Error = SummaryError;

    fn try_from(s: SummarySpec) -> Result<Self, SummaryError> {
        let wrong = |key, found, expected| Err(SummaryError::Figure { key, found, expected });
        for (key, value, most) in [
            ("layers", s.layers, 1 << 12),
            ("hidden", s.hidden, 1 << 17),
            ("heads", s.heads, 1 << 12),
            ("kv_heads", s.kv_heads.unwrap_or(1), 1 << 12),
            ("head_dim", s.head_dim.unwrap_or(1), 1 << 12),
            ("vocab", s.vocab.unwrap_or(1), 1 << 26),
            ("max_position", s.max_position, 1 << 26),
        ] {
            if !(1..=most).contains(&value) {
                return wrong(key, value.into(), "a number from 1 and of a size that models have");
            }
        }
        if !(s.parameters.is_finite() && (1e3..=1e14).contains(&s.parameters)) {
            return wrong("parameters", s.parameters, "a count such as 7e9");
        }
        let Some(dtype) = [(4.0, Dtype::F32), (2.0, Dtype::Bf16), (1.0, Dtype::I8), (0.5, Dtype::I4)]
            .into_iter()
            .find_map(|(bytes, dtype)| (bytes == s.bytes_per_parameter).then_some(dtype))
        else {
            return wrong("bytes_per_parameter", s.bytes_per_parameter, "4, 2, 1 or 0.5");
        };
        let kv_heads = s.kv_heads.unwrap_or(s.heads);
        if !s.heads.is_multiple_of(kv_heads) {
            return wrong("kv_heads", kv_heads.into(), "a divisor of `heads`");
        }
        let mut model = ModelSpec {
            architecture: "summary".to_owned(),
            vocab: s.vocab.unwrap_or(0),
            hidden: s.hidden,
            layers: s.layers,
            attention: Attention::Grouped(Grouped {
                heads: s.heads,
                kv_heads,
                head_dim: s.head_dim.unwrap_or_else(|| (s.hidden / s.heads).max(1)),
                qkv_bias: false,
                output_bias: false,
                qk_norm: false,
                window: None,
            }),
            dense: None,
            moe: None,
            norms: Norms::Before,
            tied: false,
            max_position: s.max_position,
            dtype: if dtype.bytes() < 2.0 { Dtype::Bf16 } else { dtype },
            stored: None,
            stated_parameters: Some(s.parameters),
            stated_bytes_per_parameter: Some(s.bytes_per_parameter),
            notes: Vec::new(),
            name: s.name,
        };
        let least = model.parameters().total() as f64;
        let rest = s.parameters - least;
        let width = (rest / (3.0 * f64::from(s.hidden) * f64::from(s.layers))).round();
        if width < 1.0 {
            return Err(SummaryError::TooFew { stated: s.parameters, least });
        }
        if width > f64::from(1 << 19) {
            return wrong("parameters", s.parameters, "a count that fits the layers and widths");
        }
        model.dense = Some(Dense { layers: s.layers, intermediate: width as u32, bias: false });
        model.notes.push(format!("feed-forward width {width} chosen so that the parameters add up"));
        if s.vocab.is_none() {
            model.notes.push("no vocabulary stated: embeddings are counted as part of the layers".to_owned());
        }
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seven_billion() -> SummarySpec {
        SummarySpec {
            name: "7B".to_owned(),
            parameters: 7e9,
            bytes_per_parameter: 2.0,
            layers: 32,
            hidden: 4096,
            heads: 32,
            kv_heads: Some(8),
            head_dim: None,
            vocab: None,
            max_position: 131_072,
        }
    }

    #[test]
    fn the_parameters_add_up() {
        let model = ModelSpec::try_from(seven_billion()).unwrap();
        assert_eq!(model.parameter_count(), 7e9);
        let counted = model.parameters().total() as f64;
        // The width is a whole number: at most half of 3·4096·32 parameters are missing.
        assert!((counted - 7e9).abs() <= 196_608.0, "{counted}");
    }

    #[test]
    fn figures_that_make_no_model_are_named() {
        let refused = |change: fn(&mut SummarySpec)| {
            let mut spec = seven_billion();
            change(&mut spec);
            match ModelSpec::try_from(spec).unwrap_err() {
                SummaryError::Figure { key, .. } => key,
                SummaryError::TooFew { .. } => "too few",
            }
        };
        assert_eq!(refused(|s| s.layers = 0), "layers");
        assert_eq!(refused(|s| s.parameters = f64::NAN), "parameters");
        assert_eq!(refused(|s| s.bytes_per_parameter = 0.6), "bytes_per_parameter");
        assert_eq!(refused(|s| s.kv_heads = Some(5)), "kv_heads");
        assert_eq!(refused(|s| s.parameters = 1e6), "too few");
        assert_eq!(refused(|s| s.parameters = 9e13), "parameters");
    }
}
