//! SmolLM2-135M against PyTorch: the same weights must give the same numbers.
//!
//! `golden/smollm2.json` was made by `golden/make_golden.py`. Needs the weights, so it runs under `external-tests`, with
//! the path of the GGUF file in `STOPWATT_SMOLLM2_GGUF` (see `scripts/fetch-smollm2.sh`).

#![cfg(feature = "external-tests")]
#![expect(clippy::unwrap_used, reason = "a test may stop anywhere")]

use std::path::PathBuf;

use serde_json::Value;
use stopwatt_model::{
    ChatMessage, Chunk, LoadOptions, Loaded, PagedKv, Precision, Sampler, SamplingParams, Source, load,
};

/// Logits reach 34. In `f32`, sums in another order were seen to change a logit by 4e-5.
const TOLERANCE: f32 = 5e-4;
const BLOCK: usize = 16;

fn smollm2(precision: Option<Precision>) -> Loaded {
    let path = std::env::var_os("STOPWATT_SMOLLM2_GGUF")
        .expect("STOPWATT_SMOLLM2_GGUF must name the file that scripts/fetch-smollm2.sh printed");
    load(&Source::from_path(&PathBuf::from(path)), &LoadOptions { precision, threads: 2 }).unwrap()
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/smollm2.json")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

/// Logits after the prompt and after each further token, with the prompt in chunks of `chunk` tokens.
fn all_logits(loaded: &Loaded, prompt: &[u32], further: &[u32], chunk: usize) -> Vec<Vec<f32>> {
    let model = &loaded.model;
    let mut kv = PagedKv::new(model.config(), 32, BLOCK).unwrap();
    // Every other block first, then the rest.
    let blocks: Vec<u32> = (0..32).map(|i| i * 2 % 32 + i / 16).collect();
    let mut rows = Vec::new();
    let mut logits = Vec::new();
    let steps = prompt.chunks(chunk).chain(further.chunks(1));
    let mut position = 0;
    for tokens in steps {
        let end = position + tokens.len();
        let step = Chunk { tokens, position, blocks: &blocks, logits: end >= prompt.len() };
        model.forward(&mut kv, &[step], &mut logits).unwrap();
        if end >= prompt.len() {
            rows.push(logits.clone());
        }
        position = end;
    }
    rows
}

#[test]
fn logits_and_greedy_text_are_those_of_pytorch() {
    let loaded = smollm2(None);
    let golden = golden();
    let subset = ids(&golden["subset_ids"]);
    let mut worst = 0f32;
    for case in golden["cases"].as_array().unwrap() {
        let prompt = loaded.tokenizer.encode(case["prompt"].as_str().unwrap()).unwrap();
        assert_eq!(prompt, ids(&case["tokens"]));
        let greedy = ids(&case["greedy"]);
        let rows = all_logits(&loaded, &prompt, &greedy[..greedy.len() - 1], 100);
        let first = &rows[0];
        for pair in case["top"].as_array().unwrap() {
            let (id, value) = (pair[0].as_u64().unwrap() as usize, pair[1].as_f64().unwrap() as f32);
            worst = worst.max((first[id] - value).abs());
        }
        for (&id, value) in subset.iter().zip(numbers(&case["subset"])) {
            worst = worst.max((first[id as usize] - value).abs());
        }
        assert!(case["least_margin"].as_f64().unwrap() > 4.0 * f64::from(TOLERANCE), "a tie proves nothing");
        let mut sampler = Sampler::new(SamplingParams::GREEDY).unwrap();
        let chosen: Vec<u32> = rows.iter().map(|row| sampler.sample(row).unwrap()).collect();
        assert_eq!(chosen, greedy);
        assert_eq!(loaded.tokenizer.decode(&chosen), case["greedy_text"].as_str().unwrap());
    }
    println!("largest difference of a logit: {worst:e}");
    assert!(worst < TOLERANCE, "a logit differs by {worst}");
}

#[test]
fn narrow_weights_stay_near() {
    let golden = golden();
    let subset = ids(&golden["subset_ids"]);
    for (precision, tolerance) in [(Precision::Bf16, 0.1), (Precision::F16, 0.03)] {
        let loaded = smollm2(Some(precision));
        for case in golden["cases"].as_array().unwrap() {
            let rows = all_logits(&loaded, &ids(&case["tokens"]), &[], 512);
            let expected = numbers(&case["subset"]);
            let squares = subset.iter().zip(&expected).map(|(&id, v)| (rows[0][id as usize] - v).powi(2));
            let rms = (squares.sum::<f32>() / subset.len() as f32).sqrt();
            println!("{}: {rms}", precision.name());
            assert!(rms < tolerance, "{} differs by {rms}", precision.name());
        }
    }
}

#[test]
fn tokens_are_those_of_transformers() {
    let tokenizer = smollm2(Some(Precision::Bf16)).tokenizer;
    let golden = golden();
    for pair in golden["texts"].as_array().unwrap() {
        let (text, tokens) = (pair[0].as_str().unwrap(), ids(&pair[1]));
        assert_eq!(tokenizer.encode(text).unwrap(), tokens, "{text:?}");
        let mut stream = tokenizer.decode_stream();
        let mut streamed: String = tokens.iter().map(|&t| stream.push(&tokenizer, t)).collect();
        streamed.push_str(&stream.finish(&tokenizer));
        assert_eq!(streamed, tokenizer.decode(&tokens), "{text:?}");
        if !text.contains("<|") {
            assert_eq!(streamed, text);
        }
    }
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let messages: Vec<ChatMessage> = golden["chat"]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| ChatMessage { role: text(&m["role"]), content: text(&m["content"]) })
        .collect();
    assert_eq!(tokenizer.encode_chat(&messages).unwrap(), ids(&golden["chat"]["tokens"]));
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), &[2][..]));
    assert_eq!(tokenizer.vocab_size(), 49152);
}
