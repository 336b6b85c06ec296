//! Reading a Hugging Face `config.json`.
//!
//! Keys that change what is stored or computed are read; keys that are known not to are passed over; any other key
//! becomes a note of the model, since it may mean something that is not counted here.

use serde_json::Value;
use stopwatt_core::kernel_table::Dtype;

use super::{Attention, Dense, Grouped, Latent, ModelSpec, Moe, Norms, Window};
use crate::precision::{Precision, Weights};

/// Architectures that are read, as `model_type` names them.
const ARCHITECTURES: [&str; 12] = [
    "llama",
    "mistral",
    "mixtral",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "deepseek_v2 and deepseek_v3",
];

/// Largest value that is believed of a key; products of these stay below the limits of integers.
fn most(key: &str) -> u32 {
    match key {
        "num_hidden_layers"
        | "num_attention_heads"
        | "num_key_value_heads"
        | "head_dim"
        | "num_local_experts"
        | "num_experts"
        | "n_routed_experts" => 1 << 12,
        "kv_lora_rank" | "q_lora_rank" | "qk_nope_head_dim" | "qk_rope_head_dim" | "v_head_dim" => 1 << 14,
        "hidden_size" => 1 << 17,
        "intermediate_size" | "moe_intermediate_size" | "shared_expert_intermediate_size" => 1 << 19,
        "n_shared_experts" => 64,
        _ => 1 << 26,
    }
}

/// Why a configuration is not understood.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// It is no JSON object.
    #[error("the model configuration is not a JSON object")]
    NotAnObject,
    /// An architecture that is not known here.
    #[error("the architecture `{found}` is not known; known are {}", ARCHITECTURES.join(", "))]
    Architecture {
        /// `model_type` of the file.
        found: String,
    },
    /// A key that is needed is missing.
    #[error("the model configuration lacks `{key}`")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key holds something else than it should.
    #[error("`{key}` is {found}, expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
}

impl ModelError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ModelError::Architecture { .. } => Some(
                "describe the model in a file of its own: parameters, layers, hidden, heads (docs/roofline.md)",
            ),
            ModelError::Missing { .. } => Some("is this the `config.json` of a decoder?"),
            _ => None,
        }
    }
}

/// Keys that are read below, and keys that change neither memory nor time.
const KNOWN: [&str; 92] = [
    "_name_or_path",
    "architectures",
    "attention_bias",
    "attention_dropout",
    "attention_multiplier",
    "attn_logit_softcapping",
    "auto_map",
    "aux_loss_alpha",
    "bos_token_id",
    "cache_implementation",
    "decoder_sparse_step",
    "dtype",
    "embd_pdrop",
    "eoi_token_index",
    "eos_token_id",
    "ep_size",
    "final_logit_softcapping",
    "first_k_dense_replace",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "is_llama_config",
    "kv_lora_rank",
    "layer_types",
    "max_position_embeddings",
    "max_window_layers",
    "mlp_bias",
    "mlp_only_layers",
    "model_type",
    "moe_intermediate_size",
    "moe_layer_freq",
    "n_group",
    "n_routed_experts",
    "n_shared_experts",
    "norm_topk_prob",
    "num_attention_heads",
    "num_experts",
    "num_experts_per_tok",
    "num_hidden_layers",
    "num_key_value_heads",
    "num_local_experts",
    "num_nextn_predict_layers",
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "q_lora_rank",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "qk_head_dim",
    "quantization_config",
    "query_pre_attn_scalar",
    "rms_norm_eps",
    "rope_interleaved",
    "rope_local_base_freq",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "routed_scaling_factor",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "scoring_func",
    "seq_aux",
    "shared_expert_intermediate_size",
    "sliding_window",
    "sliding_window_pattern",
    "_sliding_window_pattern",
    "text_config",
    "tie_word_embeddings",
    "topk_group",
    "topk_method",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "use_cache",
    "use_mrope",
    "use_qk_norm",
    "use_sliding_window",
    "use_bidirectional_attention",
    "v_head_dim",
    "vocab_size",
    "qkv_bias",
    "resid_pdrop",
    "rotary_dim",
    "partial_rotary_factor",
    "unsloth_version",
    "unsloth_fixed",
    "moe_router_use_sigmoid",
    "bos_token",
    "eos_token",
];

/// Reads a configuration; `name` is for printing.
pub fn from_config(name: &str, config: &Value) -> Result<ModelSpec, ModelError> {
    let mut notes = Vec::new();
    let outer = Keys(config.as_object().ok_or(ModelError::NotAnObject)?);
    let (keys, architecture) = match outer.0.get("text_config").and_then(Value::as_object) {
        Some(text) => {
            notes.push("only the text decoder is counted; vision and audio towers are not".to_owned());
            let inner = Keys(text);
            let architecture = inner.text("model_type").or_else(|| outer.text("model_type"));
            (inner, architecture)
        }
        None => (outer, outer.text("model_type")),
    };
    let architecture = architecture.ok_or(ModelError::Missing { key: "model_type" })?.to_owned();
    let family = Family::of(&architecture)
        .ok_or_else(|| ModelError::Architecture { found: architecture.chars().take(60).collect() })?;
    // The towers of Gemma 3 leave out what equals the defaults of its text configuration in transformers.
    let gemma3 =
        |value: u32| (family == Family::Gemma3 && outer.0.contains_key("text_config")).then_some(value);

    let layers = keys.size("num_hidden_layers")?.ok_or(ModelError::Missing { key: "num_hidden_layers" })?;
    let need = |key: &'static str, default: Option<u32>| {
        keys.size(key)?.or(default).ok_or(ModelError::Missing { key })
    };
    let hidden = need("hidden_size", None)?;
    let intermediate = need("intermediate_size", None)?;
    let attention = attention(&keys, family, hidden, layers, &need, gemma3)?;
    let moe = moe(&keys, family, layers, intermediate)?;
    let dense_layers = layers - moe.map_or(0, |moe| moe.layers);
    let gemma = matches!(family, Family::Gemma | Family::Gemma2 | Family::Gemma3);

    let mut unknown: Vec<_> =
        keys.0.keys().filter(|k| !KNOWN.contains(&k.as_str())).map(String::as_str).collect();
    unknown.sort_unstable();
    if !unknown.is_empty() {
        let list: String = unknown.join("`, `").chars().take(400).collect();
        notes.push(format!("keys that are not understood and not counted: `{list}`"));
    }
    if keys.size("num_nextn_predict_layers")?.is_some_and(|n| n > 0) {
        notes.push(
            "layers that predict further tokens (`num_nextn_predict_layers`) are not counted".to_owned(),
        );
    }
    let dtype =
        match keys.text("torch_dtype").or_else(|| keys.text("dtype")).or_else(|| outer.text("torch_dtype")) {
            None => Dtype::Bf16,
            Some(name) => Dtype::parse(name).ok_or_else(|| ModelError::Value {
                key: "torch_dtype",
                found: format!("`{name}`"),
                expected: "bfloat16, float16 or float32",
            })?,
        };
    let quantised = keys.0.get("quantization_config").or_else(|| outer.0.get("quantization_config"));
    Ok(ModelSpec {
        name: name.to_owned(),
        vocab: need("vocab_size", gemma3(262_208))?,
        hidden,
        layers,
        attention,
        dense: (dense_layers > 0).then_some(Dense {
            layers: dense_layers,
            intermediate,
            bias: keys.flag("mlp_bias")?.unwrap_or(false),
        }),
        moe,
        norms: match family {
            Family::Gemma2 | Family::Gemma3 => Norms::BeforeAndAfter,
            _ => Norms::Before,
        },
        tied: keys.flag("tie_word_embeddings")?.unwrap_or(gemma),
        max_position: need("max_position_embeddings", gemma3(131_072))?,
        dtype,
        stored: quantised.and_then(|q| stored(q, dtype, &mut notes)),
        architecture,
        stated_parameters: None,
        stated_bytes_per_parameter: None,
        notes,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    Mistral,
    Mixtral,
    Qwen2,
    Qwen2Moe,
    Qwen3,
    Qwen3Moe,
    Gemma,
    Gemma2,
    Gemma3,
    DeepSeek { v3: bool },
}

impl Family {
    fn of(model_type: &str) -> Option<Self> {
        Some(match model_type {
            "llama" => Self::Llama,
            "mistral" => Self::Mistral,
            "mixtral" => Self::Mixtral,
            "qwen2" => Self::Qwen2,
            "qwen2_moe" => Self::Qwen2Moe,
            "qwen3" => Self::Qwen3,
            "qwen3_moe" => Self::Qwen3Moe,
            "gemma" => Self::Gemma,
            "gemma2" => Self::Gemma2,
            "gemma3" | "gemma3_text" => Self::Gemma3,
            "deepseek_v2" => Self::DeepSeek { v3: false },
            "deepseek_v3" => Self::DeepSeek { v3: true },
            _ => return None,
        })
    }
}

fn attention(
    keys: &Keys<'_>,
    family: Family,
    hidden: u32,
    layers: u32,
    need: &impl Fn(&'static str, Option<u32>) -> Result<u32, ModelError>,
    gemma3: impl Fn(u32) -> Option<u32>,
) -> Result<Attention, ModelError> {
    let heads = need("num_attention_heads", gemma3(8))?;
    if let Family::DeepSeek { .. } = family {
        return Ok(Attention::Latent(Latent {
            heads,
            query_rank: keys.size("q_lora_rank")?,
            kv_rank: need("kv_lora_rank", None)?,
            nope_dim: need("qk_nope_head_dim", None)?,
            rope_dim: need("qk_rope_head_dim", None)?,
            value_dim: need("v_head_dim", None)?,
        }));
    }
    let kv_heads = keys.size("num_key_value_heads")?.or(gemma3(4)).unwrap_or(heads);
    if !heads.is_multiple_of(kv_heads) {
        return Err(ModelError::Value {
            key: "num_key_value_heads",
            found: kv_heads.to_string(),
            expected: "a divisor of `num_attention_heads`",
        });
    }
    let head_dim = match keys.size("head_dim")?.or(gemma3(256)) {
        Some(width) => width,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(ModelError::Missing { key: "head_dim" }),
    };
    let bias = keys.flag("attention_bias")?.unwrap_or(false);
    let (qkv_bias, output_bias) = match family {
        Family::Qwen2 => (true, false),
        Family::Qwen2Moe => (keys.flag("qkv_bias")?.unwrap_or(true), false),
        _ => (bias, bias),
    };
    Ok(Attention::Grouped(Grouped {
        heads,
        kv_heads,
        head_dim,
        qkv_bias,
        output_bias,
        qk_norm: matches!(family, Family::Qwen3 | Family::Qwen3Moe | Family::Gemma3),
        window: window(keys, family, layers)?,
    }))
}

fn window(keys: &Keys<'_>, family: Family, layers: u32) -> Result<Option<Window>, ModelError> {
    let Some(tokens) = keys.size("sliding_window")? else { return Ok(None) };
    let listed = keys.0.get("layer_types").and_then(Value::as_array).map(|types| {
        types.iter().filter(|t| t.as_str() == Some("sliding_attention")).count().min(layers as usize) as u32
    });
    let layers = match (family, listed) {
        (_, Some(listed)) => listed,
        (Family::Mistral | Family::Mixtral, None) => layers,
        (Family::Gemma2, None) => layers.div_ceil(2),
        (Family::Gemma3, None) => {
            let pattern = keys.size("sliding_window_pattern")?.or(keys.size("_sliding_window_pattern")?);
            layers - layers / pattern.unwrap_or(6)
        }
        (Family::Qwen2 | Family::Qwen2Moe | Family::Qwen3 | Family::Qwen3Moe, None) => {
            match keys.flag("use_sliding_window")? {
                Some(true) => layers.saturating_sub(keys.size("max_window_layers")?.unwrap_or(0)),
                _ => 0,
            }
        }
        _ => 0,
    };
    Ok((layers > 0).then_some(Window { tokens, layers }))
}

fn moe(keys: &Keys<'_>, family: Family, layers: u32, intermediate: u32) -> Result<Option<Moe>, ModelError> {
    let need = |key| keys.size(key)?.ok_or(ModelError::Missing { key });
    let moe = match family {
        Family::Mixtral => Moe {
            layers,
            experts: need("num_local_experts")?,
            top_k: need("num_experts_per_tok")?,
            intermediate,
            shared: None,
            shared_gate: false,
            router_bias: false,
        },
        Family::Qwen2Moe | Family::Qwen3Moe => {
            let every = keys.size("decoder_sparse_step")?.unwrap_or(1);
            let plain: Vec<u64> = keys
                .0
                .get("mlp_only_layers")
                .and_then(Value::as_array)
                .map_or_else(Vec::new, |list| list.iter().filter_map(Value::as_u64).collect());
            let has = |layer: &u32| !plain.contains(&u64::from(*layer)) && (layer + 1).is_multiple_of(every);
            let shared = match family {
                Family::Qwen2Moe => keys.size("shared_expert_intermediate_size")?,
                _ => None,
            };
            Moe {
                layers: (0..layers).filter(has).count() as u32,
                experts: need("num_experts")?,
                top_k: need("num_experts_per_tok")?,
                intermediate: need("moe_intermediate_size")?,
                shared,
                shared_gate: shared.is_some(),
                router_bias: false,
            }
        }
        Family::DeepSeek { v3 } => {
            let (first, every) = (
                keys.count("first_k_dense_replace")?.unwrap_or(0),
                keys.size("moe_layer_freq")?.unwrap_or(1),
            );
            let width = need("moe_intermediate_size")?;
            Moe {
                layers: (first.min(layers)..layers).filter(|layer| layer.is_multiple_of(every)).count()
                    as u32,
                experts: need("n_routed_experts")?,
                top_k: need("num_experts_per_tok")?,
                intermediate: width,
                shared: keys.size("n_shared_experts")?.map(|n| n.saturating_mul(width)),
                shared_gate: false,
                router_bias: v3,
            }
        }
        _ => return Ok(None),
    };
    if moe.top_k > moe.experts {
        return Err(ModelError::Value {
            key: "num_experts_per_tok",
            found: moe.top_k.to_string(),
            expected: "at most the number of experts",
        });
    }
    Ok((moe.layers > 0).then_some(moe))
}

/// How the published weights are quantised. What is not understood becomes a note.
fn stored(config: &Value, base: Dtype, notes: &mut Vec<String>) -> Option<Precision> {
    let method = config.get("quant_method").and_then(Value::as_str).unwrap_or("unnamed");
    let number = |of: &Value, key: &str| of.get(key).and_then(Value::as_i64);
    let only = |bits: Option<i64>, group: Option<i64>| {
        let dtype = match bits {
            Some(4) => Dtype::I4,
            Some(8) => Dtype::I8,
            _ => return None,
        };
        // −1 is one scale a row.
        let group = group.and_then(|g| u32::try_from(g).ok()).filter(|&g| g > 0).unwrap_or(u32::MAX);
        Some(Weights::Only { dtype, group })
    };
    let weights = match method {
        "fp8" | "fbgemm_fp8" => Some(Weights::Both(Dtype::F8E4m3)),
        "gptq" | "awq" | "gptq_marlin" | "awq_marlin" => {
            only(number(config, "bits"), number(config, "group_size"))
        }
        "compressed-tensors" => {
            let group =
                config.get("config_groups").and_then(Value::as_object).and_then(|g| g.values().next());
            let (weights, inputs) =
                (group.and_then(|g| g.get("weights")), group.and_then(|g| g.get("input_activations")));
            let bits = weights.and_then(|w| number(w, "num_bits"));
            let float = weights.and_then(|w| w.get("type")).and_then(Value::as_str) == Some("float");
            match (inputs.is_some_and(|i| !i.is_null()), bits, float) {
                (true, Some(8), true) => Some(Weights::Both(Dtype::F8E4m3)),
                (true, Some(8), false) => Some(Weights::Both(Dtype::I8)),
                (false, bits, false) => only(bits, weights.and_then(|w| number(w, "group_size"))),
                _ => None,
            }
        }
        _ => None,
    };
    if weights.is_none() {
        let method: String = method.chars().take(40).collect();
        notes.push(format!("the quantisation `{method}` is not understood; name a format with --dtype"));
    }
    weights.map(|weights| Precision { weights, ..Precision::plain(base) })
}

/// An object whose values are asked for by key. `null` is as good as absent.
#[derive(Clone, Copy)]
struct Keys<'a>(&'a serde_json::Map<String, Value>);

impl<'a> Keys<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(Value::as_str)
    }

    fn flag(&self, key: &'static str) -> Result<Option<bool>, ModelError> {
        self.get(key).map(|v| v.as_bool().ok_or_else(|| wrong(key, v, "true or false"))).transpose()
    }

    /// A number from 0.
    fn count(&self, key: &'static str) -> Result<Option<u32>, ModelError> {
        self.get(key)
            .map(|v| {
                let number = v.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= most(key));
                number.ok_or_else(|| wrong(key, v, "a number of a size that models have"))
            })
            .transpose()
    }

    /// A number from 1.
    fn size(&self, key: &'static str) -> Result<Option<u32>, ModelError> {
        match (self.count(key)?, key) {
            (Some(0), "num_nextn_predict_layers") => Ok(Some(0)),
            (Some(0), _) => Err(ModelError::Value { key, found: "0".to_owned(), expected: "at least 1" }),
            (number, _) => Ok(number),
        }
    }
}

fn wrong(key: &'static str, found: &Value, expected: &'static str) -> ModelError {
    ModelError::Value { key, found: found.to_string().chars().take(60).collect(), expected }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn llama() -> Value {
        json!({"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 512,
            "torch_dtype": "float16"})
    }

    fn with(key: &str, value: Value) -> Result<ModelSpec, ModelError> {
        let mut config = llama();
        config[key] = value;
        from_config("test", &config)
    }

    #[test]
    fn a_small_model_by_hand() {
        let model = from_config("test", &llama()).unwrap();
        // A layer: 64·(64 + 32 + 32) + 64·64 + 3·64·128 + 2·64 = 36,992; twice; 2·100·64 + 64 around it.
        assert_eq!(model.parameters().total(), 2 * 36_992 + 12_864);
        assert_eq!(model.dtype, Dtype::F16);
        // Biases of q, k, v (64 + 32 + 32) and of the output (64), twice.
        assert_eq!(with("attention_bias", json!(true)).unwrap().parameters().total(), 86_848 + 2 * 192);
        assert_eq!(with("tie_word_embeddings", json!(true)).unwrap().parameters().total(), 86_848 - 6400);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let refused = |key, value| with(key, value).unwrap_err();
        assert_eq!(
            refused("model_type", json!("mamba2")),
            ModelError::Architecture { found: "mamba2".to_owned() }
        );
        assert_eq!(refused("hidden_size", Value::Null), ModelError::Missing { key: "hidden_size" });
        assert!(matches!(refused("hidden_size", json!("64")), ModelError::Value { key: "hidden_size", .. }));
        assert!(matches!(refused("hidden_size", json!(0)), ModelError::Value { key: "hidden_size", .. }));
        assert!(matches!(refused("num_hidden_layers", json!(5000)), ModelError::Value { .. }));
        assert!(matches!(refused("vocab_size", json!(1e30)), ModelError::Value { key: "vocab_size", .. }));
        assert!(matches!(
            refused("num_key_value_heads", json!(3)),
            ModelError::Value { key: "num_key_value_heads", .. }
        ));
        assert_eq!(from_config("test", &json!([1])).unwrap_err(), ModelError::NotAnObject);
        let noted = with("memory_slots", json!(8)).unwrap().notes;
        assert_eq!(noted, ["keys that are not understood and not counted: `memory_slots`"]);
    }

    #[test]
    fn windows_are_counted_by_layer() {
        let layers = |name: &str| match super::super::builtin(name).unwrap().attention {
            Attention::Grouped(a) => a.window.map(|w| (w.tokens, w.layers)),
            Attention::Latent(_) => None,
        };
        // Gemma 2 alternates; of Gemma 3 every sixth layer sees everything: 34 − 5.
        assert_eq!(layers("gemma-2-9b"), Some((4096, 21)));
        assert_eq!(layers("gemma-3-4b"), Some((1024, 29)));
        assert_eq!(layers("llama-3.1-8b"), None);
        assert_eq!(layers("mistral-7b"), None);
    }

    #[test]
    fn the_text_part_of_a_vision_model_is_read() {
        // The figures that google/gemma-3-4b-it writes; the rest are defaults of the class.
        let config = json!({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 2560,
            "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}});
        let model = from_config("gemma-3-4b-it", &config).unwrap();
        assert_eq!(model.parameters(), super::super::builtin("gemma-3-4b").unwrap().parameters());
        assert_eq!(model.notes.len(), 1);
    }

    #[test]
    fn published_quantisations_are_read() {
        let stored = |q: Value| with("quantization_config", q).unwrap().stored.map(|p| p.weights);
        assert_eq!(
            stored(json!({"quant_method": "awq", "bits": 4, "group_size": 128})),
            Some(Weights::Only { dtype: Dtype::I4, group: 128 })
        );
        assert_eq!(stored(json!({"quant_method": "fp8"})), Some(Weights::Both(Dtype::F8E4m3)));
        let w8a8 = json!({"quant_method": "compressed-tensors", "config_groups": {"group_0":
            {"weights": {"num_bits": 8, "type": "int"}, "input_activations": {"num_bits": 8}}}});
        assert_eq!(stored(w8a8), Some(Weights::Both(Dtype::I8)));
        let odd = with("quantization_config", json!({"quant_method": "bitnet"})).unwrap();
        assert!(odd.stored.is_none() && odd.notes[0].contains("bitnet"));
    }
}
