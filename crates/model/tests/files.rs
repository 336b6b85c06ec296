//! Models from files: what was written is what is computed with, and a damaged file is an error.

#![expect(clippy::unwrap_used, reason = "a test may stop anywhere")]

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use stopwatt_kernel::cpu::{Cpu, Matrix, Precision};
use stopwatt_model::weights::Weights;
use stopwatt_model::{
    Chunk, LoadError, LoadOptions, Loaded, Model, ModelConfig, PagedKv, Preset, Source, TensorError, load,
    random,
};

const F32: LoadOptions = LoadOptions { precision: Some(Precision::F32), threads: 1 };

fn logits(model: &Model) -> Vec<f32> {
    let mut kv = PagedKv::new(model.config(), 4, 16).unwrap();
    let tokens: Vec<u32> = (40..70).collect();
    let chunk = Chunk { tokens: &tokens, position: 0, blocks: &[2, 0, 1], logits: true };
    let mut logits = Vec::new();
    model.forward(&mut kv, &[chunk], &mut logits).unwrap();
    logits
}

fn original() -> (ModelConfig, Weights, Vec<f32>) {
    let config = ModelConfig { max_position: 512, rope_theta: 10_000.0, ..Preset::Tiny.config() };
    let weights = |seed| random::weights(&config, seed, Precision::F32).unwrap();
    let model = Model::new(config.clone(), weights(3), Cpu::new(1)).unwrap();
    (config.clone(), weights(3), logits(&model))
}

fn rows(matrix: &Matrix, range: std::ops::Range<usize>) -> Vec<f32> {
    range.flat_map(|i| matrix.row(i)).collect()
}

/// Every tensor by its name in a Hugging Face folder, with its shape.
fn tensors(config: &ModelConfig, weights: &Weights) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let c = config;
    let all = |m: &Matrix| rows(m, 0..m.rows());
    let mut list = vec![
        ("model.embed_tokens".into(), vec![c.vocab, c.hidden], all(&weights.embedding)),
        ("model.norm".into(), vec![c.hidden], weights.norm.clone()),
        ("lm_head".into(), vec![c.vocab, c.hidden], all(weights.head.as_ref().unwrap())),
    ];
    let (q, kv) = (c.query_width(), c.kv_width());
    for (i, layer) in weights.layers.iter().enumerate() {
        for (name, shape, values) in [
            ("input_layernorm", vec![c.hidden], layer.attention_norm.clone()),
            ("self_attn.q_proj", vec![q, c.hidden], rows(&layer.qkv, 0..q)),
            ("self_attn.k_proj", vec![kv, c.hidden], rows(&layer.qkv, q..q + kv)),
            ("self_attn.v_proj", vec![kv, c.hidden], rows(&layer.qkv, q + kv..q + 2 * kv)),
            ("self_attn.o_proj", vec![c.hidden, q], all(&layer.attention_out)),
            ("post_attention_layernorm", vec![c.hidden], layer.ffn_norm.clone()),
            ("mlp.gate_proj", vec![c.ffn, c.hidden], rows(&layer.gate_up, 0..c.ffn)),
            ("mlp.up_proj", vec![c.ffn, c.hidden], rows(&layer.gate_up, c.ffn..2 * c.ffn)),
            ("mlp.down_proj", vec![c.hidden, c.ffn], all(&layer.down)),
        ] {
            list.push((format!("model.layers.{i}.{name}"), shape, values));
        }
    }
    list
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The characters that byte-level BPE writes bytes as.
fn byte_tokens() -> Vec<String> {
    let mut spare = 256;
    (0..=255u8)
        .map(|b| match b {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(b),
            _ => {
                spare += 1;
                char::from_u32(spare - 1).unwrap()
            }
        })
        .map(String::from)
        .collect()
}

fn vocabulary() -> (Vec<String>, Vec<&'static str>) {
    let mut tokens = byte_tokens();
    tokens.extend(["th", "the", "Ġthe", "<|im_start|>", "<|im_end|>"].map(String::from));
    (tokens, vec!["t h", "th e", "Ġ the"])
}

mod hugging_face {
    use super::*;

    fn write_shard(path: &Path, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
        let bytes: Vec<_> = tensors.iter().map(|(n, s, v)| (format!("{n}.weight"), s, le_bytes(v))).collect();
        let views = bytes.iter().map(|(n, s, b)| (n, TensorView::new(Dtype::F32, s.to_vec(), b).unwrap()));
        std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    fn write_rest(folder: &Path, c: &ModelConfig) {
        let config = serde_json::json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": c.hidden,
            "intermediate_size": c.ffn, "num_hidden_layers": c.layers, "num_attention_heads": c.heads,
            "num_key_value_heads": c.kv_heads, "head_dim": c.head_dim, "rms_norm_eps": c.norm_eps,
            "max_position_embeddings": c.max_position, "rope_theta": c.rope_theta, "vocab_size": c.vocab,
            "hidden_act": "silu", "tie_word_embeddings": false, "eos_token_id": [260], "bos_token_id": 259,
            "torch_dtype": "float32", "some_new_field": {"of": "no concern"},
        });
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let (tokens, merges) = vocabulary();
        let vocab: HashMap<_, _> = tokens.iter().zip(0..).collect();
        let tokenizer = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": [],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab,
                      "merges": merges},
        });
        std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    }

    fn folder(shards: bool) -> (tempfile::TempDir, Vec<f32>) {
        let folder = tempfile::tempdir().unwrap();
        let (config, weights, expected) = original();
        write_rest(folder.path(), &config);
        let tensors = tensors(&config, &weights);
        if shards {
            let (a, b) = tensors.split_at(tensors.len() / 2);
            let mut map = HashMap::new();
            for (name, part) in [("model-1.safetensors", a), ("model-2.safetensors", b)] {
                write_shard(&folder.path().join(name), part);
                map.extend(part.iter().map(|(n, ..)| (format!("{n}.weight"), name)));
            }
            let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
            std::fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
        } else {
            write_shard(&folder.path().join("model.safetensors"), &tensors);
        }
        (folder, expected)
    }

    #[test]
    fn whole_and_sharded_weights_come_back() {
        for shards in [false, true] {
            let (folder, expected) = folder(shards);
            let source = Source::from_path(folder.path());
            let Loaded { model, tokenizer, .. } =
                load(&source, &LoadOptions { precision: None, threads: 1 }).unwrap();
            assert_eq!(logits(&model), expected);
            assert_eq!(model.weights().embedding.precision(), Precision::F32);
            assert_eq!(tokenizer.encode("the the").unwrap(), [257, 258]);
            assert_eq!(tokenizer.decode(&[257, 258]), "the the");
            assert_eq!((tokenizer.eos(), tokenizer.bos()), (&[260][..], Some(259)));
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = |change: &dyn Fn(&Path)| {
            let (folder, _) = folder(false);
            change(folder.path());
            load(&Source::from_path(folder.path()), &F32).unwrap_err()
        };
        let config = |key: &'static str, value: serde_json::Value| {
            move |folder: &Path| {
                let path = folder.join("config.json");
                let mut json: serde_json::Value =
                    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
                json[key] = value.clone();
                std::fs::write(&path, json.to_string()).unwrap();
            }
        };
        let text = |e: LoadError| e.to_string();
        assert_eq!(
            text(error(&|f| std::fs::remove_file(f.join("tokenizer.json")).unwrap())),
            "`tokenizer.json` is not in the model's folder"
        );
        assert_eq!(
            text(error(&|f| std::fs::remove_file(f.join("model.safetensors")).unwrap())),
            "`model.safetensors` is not in the model's folder"
        );
        assert_eq!(
            text(error(&config("model_type", "gpt_neox".into()))),
            "architecture `gpt_neox` is not supported, only `llama` is"
        );
        assert_eq!(
            text(error(&config("attention_bias", true.into()))),
            "a bias in attention or feed-forward layers is not supported"
        );
        assert_eq!(
            text(error(&config("num_key_value_heads", 3.into()))),
            "model field `kv_heads` is 3, must be a divisor of the number of heads"
        );
        assert!(matches!(
            error(&config("hidden_size", 65.into())),
            LoadError::Tensor(TensorError::Shape { name, .. }) if name == "model.embed_tokens.weight"
        ));
        assert!(matches!(
            error(&config("num_hidden_layers", 3.into())),
            LoadError::Tensor(TensorError::Missing { name }) if name == "model.layers.2.input_layernorm.weight"
        ));
        assert!(matches!(
            error(&config("num_hidden_layers", 1.into())),
            LoadError::Tensor(TensorError::Unknown { name }) if name == "model.layers.1.input_layernorm.weight"
        ));
        let cut = error(&|f| {
            let file = std::fs::OpenOptions::new().write(true).open(f.join("model.safetensors")).unwrap();
            file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        });
        assert_eq!(cut.hint(), Some("download the file again"));
    }

    #[test]
    fn a_shard_outside_the_folder_is_refused() {
        let (folder, _) = folder(true);
        for name in ["../model-1.safetensors", "/etc/hostname", ".."] {
            let index = serde_json::json!({"weight_map": {"x": name}});
            std::fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
            let error = load(&Source::from_path(folder.path()), &F32).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the index names a shard `{name}`, which is not a file of the folder")
            );
        }
    }
}

mod gguf {
    use super::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    fn name_of(name: &str) -> String {
        let name = match name {
            "model.embed_tokens" => "token_embd".to_owned(),
            "model.norm" => "output_norm".to_owned(),
            "lm_head" => "output".to_owned(),
            _ => {
                let (layer, part) = name.trim_start_matches("model.layers.").split_once('.').unwrap();
                let part = match part {
                    "input_layernorm" => "attn_norm",
                    "self_attn.q_proj" => "attn_q",
                    "self_attn.k_proj" => "attn_k",
                    "self_attn.v_proj" => "attn_v",
                    "self_attn.o_proj" => "attn_output",
                    "post_attention_layernorm" => "ffn_norm",
                    "mlp.gate_proj" => "ffn_gate",
                    "mlp.up_proj" => "ffn_up",
                    _ => "ffn_down",
                };
                format!("blk.{layer}.{part}")
            }
        };
        format!("{name}.weight")
    }

    /// Halves to pairs, as converters to GGUF write query and key heads.
    fn interleave(values: &[f32], head_dim: usize, width: usize) -> Vec<f32> {
        let mut out = Vec::new();
        for head in values.chunks(head_dim * width) {
            for i in 0..head_dim {
                let from = i / 2 + i % 2 * (head_dim / 2);
                out.extend(&head[from * width..][..width]);
            }
        }
        out
    }

    /// A file, and where its tensor data begins.
    fn file(c: &ModelConfig, weights: &Weights) -> Vec<u8> {
        let tensors = tensors(c, weights);
        let (tokens, merges) = vocabulary();
        let counts = [
            ("llama.block_count", c.layers),
            ("llama.context_length", c.max_position),
            ("llama.embedding_length", c.hidden),
            ("llama.feed_forward_length", c.ffn),
            ("llama.attention.head_count", c.heads),
            ("llama.attention.head_count_kv", c.kv_heads),
            ("tokenizer.ggml.bos_token_id", 259),
            ("tokenizer.ggml.eos_token_id", 260),
        ];
        let floats = [
            ("llama.attention.layer_norm_rms_epsilon", c.norm_eps),
            ("llama.rope.freq_base", c.rope_theta as f32),
        ];
        let texts = [
            ("general.architecture", "llama"),
            ("tokenizer.ggml.model", "gpt2"),
            ("tokenizer.ggml.pre", "gpt-2"),
        ];
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((tensors.len() as u64).to_le_bytes());
        out.extend((counts.len() as u64 + floats.len() as u64 + texts.len() as u64 + 3).to_le_bytes());
        for (key, value) in counts {
            text(&mut out, key);
            out.extend(4u32.to_le_bytes());
            out.extend((value as u32).to_le_bytes());
        }
        for (key, value) in floats {
            text(&mut out, key);
            out.extend(6u32.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
        for (key, value) in texts {
            text(&mut out, key);
            out.extend(8u32.to_le_bytes());
            text(&mut out, value);
        }
        let merges: Vec<String> = merges.into_iter().map(String::from).collect();
        for (key, list) in [("tokenizer.ggml.tokens", &tokens), ("tokenizer.ggml.merges", &merges)] {
            text(&mut out, key);
            out.extend(9u32.to_le_bytes());
            out.extend(8u32.to_le_bytes());
            out.extend((list.len() as u64).to_le_bytes());
            list.iter().for_each(|t| text(&mut out, t));
        }
        text(&mut out, "tokenizer.ggml.token_type");
        out.extend(9u32.to_le_bytes());
        out.extend(5u32.to_le_bytes());
        out.extend((tokens.len() as u64).to_le_bytes());
        tokens.iter().for_each(|t| out.extend(if t.starts_with("<|") { 3i32 } else { 1 }.to_le_bytes()));
        let mut data = Vec::new();
        for (name, shape, values) in &tensors {
            text(&mut out, &name_of(name));
            out.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|d| out.extend((*d as u64).to_le_bytes()));
            out.extend(0u32.to_le_bytes());
            out.extend((data.len() as u64).to_le_bytes());
            if name.ends_with("q_proj") || name.ends_with("k_proj") {
                data.extend(le_bytes(&interleave(values, c.head_dim, c.hidden)));
            } else {
                data.extend(le_bytes(values));
            }
            data.resize(data.len().next_multiple_of(32), 0);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(data);
        out
    }

    fn load_bytes(bytes: &[u8]) -> Result<Loaded, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        std::fs::write(&path, bytes).unwrap();
        load(&Source::from_path(&path), &F32)
    }

    #[test]
    fn weights_and_tokenizer_come_back() {
        let (config, weights, expected) = original();
        let Loaded { model, tokenizer, name } = load_bytes(&file(&config, &weights)).unwrap();
        assert_eq!(name, "tiny");
        assert_eq!(logits(&model), expected);
        assert_eq!(tokenizer.encode("the the").unwrap(), [257, 258]);
        assert_eq!(tokenizer.encode("<|im_end|>é").unwrap()[0], 260);
        assert_eq!(tokenizer.decode(&tokenizer.encode("déjà 中文").unwrap()), "déjà 中文");
        assert_eq!((tokenizer.eos(), tokenizer.bos()), (&[260][..], Some(259)));
    }

    #[test]
    fn a_file_that_ends_early_is_an_error_wherever_it_ends() {
        let (config, weights, _) = original();
        let whole = file(&config, &weights);
        for len in (0..whole.len()).step_by(whole.len() / 300) {
            assert!(load_bytes(&whole[..len]).is_err(), "{len} bytes of {}", whole.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        // Damage in the header gives an error or a model, and neither a panic nor memory beyond the file's size.
        #[test]
        fn a_damaged_header_never_panics(at in 0usize..9000, value in any::<u8>(), wide in any::<bool>()) {
            let (config, weights, _) = original();
            let mut bytes = file(&config, &weights);
            let end = at + if wide { 8 } else { 1 };
            bytes[at..end].fill(value);
            if let Ok(loaded) = load_bytes(&bytes) {
                prop_assert!(loaded.model.config().validate().is_ok());
            }
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400), counts in any::<(u64, u64)>()) {
            let mut bytes = b"GGUF\x03\0\0\0".to_vec();
            bytes.extend(counts.0.to_le_bytes());
            bytes.extend(counts.1.to_le_bytes());
            bytes.extend(noise);
            prop_assert!(load_bytes(&bytes).is_err());
        }
    }
}
