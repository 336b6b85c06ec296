//! Measures prefill and decode speed of the built-in decoder.
//!
//! ```text
//! cargo run --release -p stopwatt-model --example decoder_speed -- MODEL PRECISION THREADS PROMPT OUTPUT BATCH REPEATS
//! ```
//!
//! `MODEL` is a GGUF file, a Hugging Face folder, or `tiny`, `small`, `medium`, `large` for random weights; `PRECISION`
//! is `f32`, `bf16` or `f16`. Each repeat computes a prompt of `PROMPT` tokens in one step, then `OUTPUT` decode steps
//! of `BATCH` sequences that share no cache block. One CSV line a repeat: speeds in tokens a second.

use std::path::Path;

use anyhow::{Context, bail};
use stopwatt_core::clock;
use stopwatt_model::{Chunk, LoadOptions, PagedKv, Precision, Preset, Source, load};

const BLOCK: usize = 16;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, precision, numbers @ ..] = args.as_slice() else { bail!("usage: see the source") };
    let numbers: Vec<usize> = numbers.iter().map(|n| n.parse()).collect::<Result<_, _>>()?;
    let [threads, prompt, output, batch, repeats] = numbers[..] else { bail!("five numbers needed") };
    let source = match Preset::from_name(model) {
        Some(preset) => Source::Random { preset, seed: 0 },
        None => Source::from_path(Path::new(model)),
    };
    let precision = Precision::from_name(precision).context("precision must be f32, bf16 or f16")?;
    let loaded = load(&source, &LoadOptions { precision: Some(precision), threads })?;
    let model = loaded.model;
    let per_sequence = (prompt + output).div_ceil(BLOCK);
    let mut kv = PagedKv::new(model.config(), per_sequence * batch, BLOCK)?;
    let tables: Vec<Vec<u32>> =
        (0..batch).map(|s| (0..per_sequence).map(|b| (b * batch + s) as u32).collect()).collect();
    let vocab = model.config().vocab.min(256) as u32;
    let tokens: Vec<u32> = (0..prompt as u32).map(|i| (i * 31 + 7) % vocab).collect();
    let mut logits = Vec::new();
    let seconds = |from: i64| (clock::monotonic_raw() - from) as f64 / 1e9;
    let mut out = std::io::stdout().lock();
    use std::io::Write;
    writeln!(
        out,
        "isa,threads,precision,prompt,batch,prefill_tokens_per_s,decode_tokens_per_s,decode_step_ms"
    )?;
    for _ in 0..repeats {
        let begin = clock::monotonic_raw();
        for blocks in &tables {
            let chunk = Chunk { tokens: &tokens, position: 0, blocks, logits: true };
            model.forward(&mut kv, &[chunk], &mut logits)?;
        }
        let prefill = (prompt * batch) as f64 / seconds(begin);
        let begin = clock::monotonic_raw();
        for step in 0..output {
            let tokens = [(step as u32 * 13 + 5) % vocab];
            let chunks: Vec<Chunk<'_>> = tables
                .iter()
                .map(|blocks| Chunk { tokens: &tokens, position: prompt + step, blocks, logits: true })
                .collect();
            model.forward(&mut kv, &chunks, &mut logits)?;
        }
        let wall = seconds(begin);
        writeln!(
            out,
            "{},{},{},{prompt},{batch},{prefill:.1},{:.2},{:.3}",
            model.cpu().isa().name(),
            model.cpu().threads(),
            precision.name(),
            (output * batch) as f64 / wall,
            wall * 1e3 / output as f64,
        )?;
    }
    Ok(())
}
