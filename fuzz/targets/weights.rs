//! Weights from someone else: headers of GGUF and safetensors that claim anything.
//!
//! No panic, and no memory for what the file does not hold: libFuzzer's limit of memory is the check.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stopwatt_model::{LoadOptions, Precision, Source, load};

/// A configuration that fits a very small Llama.
const CONFIG: &str = r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":8,"intermediate_size":16,
"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"vocab_size":16,"max_position_embeddings":32,
"rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":true}"#;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = if choice & 1 == 1 {
        let file = dir.path().join("a.gguf");
        std::fs::write(&file, bytes).unwrap();
        file
    } else {
        std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        let config = if choice & 2 == 2 { bytes } else { CONFIG.as_bytes() };
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        dir.path().to_owned()
    };
    let options = LoadOptions { precision: Some(Precision::F32), threads: 1 };
    if let Err(error) = load(&Source::from_path(&path), &options) {
        std::hint::black_box(error.to_string());
    }
});
