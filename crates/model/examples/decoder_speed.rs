//! Measures prefill and decode speed of the built-in decoder.
//!
//! ```text
//! cargo run --release -p stopwatt-model --example decoder_speed -- \
//!     MODEL PRECISION THREADS PROMPT OUTPUT BATCH REPEATS [ISA]
//! ```
//!
//! `MODEL` is a GGUF file, a Hugging Face folder, or `tiny`, `small`, `medium`, `large` for random weights; `PRECISION`
//! is `f32`, `bf16` or `f16`; `ISA` is `avx512`, `avx2` or `portable`, by default the widest. Each repeat computes a
//! prompt of `PROMPT` tokens in one step a sequence, then `OUTPUT` decode steps of `BATCH` sequences that share no cache
//! block. One CSV line a repeat; a speed is given by the clock and by the CPU time of the process, which holds on a busy
//! machine too.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use stopwatt_core::clock;
use stopwatt_kernel::cpu::{Cpu, Isa};
use stopwatt_model::{Chunk, LoadOptions, PagedKv, Precision, Preset, Source, load};

const BLOCK: usize = 16;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, precision, threads, prompt, output, batch, repeats, rest @ ..] = args.as_slice() else {
        bail!("usage: see the first lines of the source");
    };
    let number = |text: &String| text.parse::<usize>().with_context(|| format!("`{text}` is not a number"));
    let (threads, prompt, output) = (number(threads)?, number(prompt)?, number(output)?);
    let (batch, repeats) = (number(batch)?, number(repeats)?);
    let isa = match rest.first() {
        None => Isa::best(),
        Some(name) => Isa::available()
            .into_iter()
            .find(|isa| isa.name() == name)
            .with_context(|| format!("this machine has no `{name}`"))?,
    };
    let source = match Preset::from_name(model) {
        Some(preset) => Source::Random { preset, seed: 0 },
        None => Source::from_path(Path::new(model)),
    };
    let precision = Precision::from_name(precision).context("precision must be f32, bf16 or f16")?;
    let options = LoadOptions { precision: Some(precision), threads };
    let model = load(&source, &options)?.model.with_cpu(Cpu::with_isa(isa, threads));
    let per_sequence = (prompt + output).div_ceil(BLOCK);
    let mut kv = PagedKv::new(model.config(), per_sequence * batch, BLOCK)?;
    let tables: Vec<Vec<u32>> =
        (0..batch).map(|s| (0..per_sequence).map(|b| (b * batch + s) as u32).collect()).collect();
    let vocab = model.config().vocab.min(256) as u32;
    let tokens: Vec<u32> = (0..prompt as u32).map(|i| (i * 31 + 7) % vocab).collect();
    let mut logits = Vec::new();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "isa,threads,precision,prompt,batch,prefill_tokens_per_s,prefill_tokens_per_cpu_s,decode_tokens_per_s,\
         decode_tokens_per_cpu_s"
    )?;
    // The first repeat warms up: pages of the cache, buffers.
    for repeat in 0..=repeats {
        let prefill = Timer::start();
        for blocks in &tables {
            let chunk = Chunk { tokens: &tokens, position: 0, blocks, logits: true };
            model.forward(&mut kv, &[chunk], &mut logits)?;
        }
        let prefill = prefill.rates(prompt * batch);
        let decode = Timer::start();
        for step in 0..output {
            let tokens = [(step as u32 * 13 + 5) % vocab];
            let chunks: Vec<Chunk<'_>> = tables
                .iter()
                .map(|blocks| Chunk { tokens: &tokens, position: prompt + step, blocks, logits: true })
                .collect();
            model.forward(&mut kv, &chunks, &mut logits)?;
        }
        let decode = decode.rates(output * batch);
        if repeat > 0 {
            writeln!(
                out,
                "{},{},{},{prompt},{batch},{:.1},{:.1},{:.2},{:.2}",
                model.cpu().isa().name(),
                model.cpu().threads(),
                precision.name(),
                prefill.0,
                prefill.1,
                decode.0,
                decode.1,
            )?;
        }
    }
    Ok(())
}

struct Timer {
    wall: i64,
    cpu: i64,
}

impl Timer {
    fn start() -> Self {
        Self { wall: clock::monotonic_raw(), cpu: cpu_time() }
    }

    /// Tokens a second, by the clock and by CPU time.
    fn rates(&self, tokens: usize) -> (f64, f64) {
        let rate = |ns: i64| tokens as f64 * 1e9 / ns.max(1) as f64;
        (rate(clock::monotonic_raw() - self.wall), rate(cpu_time() - self.cpu))
    }
}

/// CPU time of the process, in nanoseconds.
fn cpu_time() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}
