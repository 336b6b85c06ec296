//! What a step computes does not depend, bit for bit, on how the work is cut up: chunks, batches, blocks, threads.

#![expect(clippy::unwrap_used, reason = "a test may stop anywhere")]

use proptest::prelude::*;
use stopwatt_kernel::cpu::{Cpu, Isa, Precision};
use stopwatt_model::{Chunk, ForwardError, Model, ModelConfig, PagedKv, Preset, Tap, random};

/// Rounding differs between instruction sets; logits have a spread of about 2.5.
const TOLERANCE: f32 = 2e-4;

fn model(precision: Precision, cpu: Cpu) -> Model {
    let config = Preset::Tiny.config();
    let weights = random::weights(&config, 11, precision).unwrap();
    Model::new(config, weights, cpu).unwrap()
}

fn kv(config: &ModelConfig, block_size: usize) -> PagedKv {
    PagedKv::new(config, 64, block_size).unwrap()
}

/// Logits after the last token, computed in chunks that end at `cuts` and at the end.
fn chunked(model: &Model, tokens: &[u32], cuts: &[usize], blocks: &[u32], block_size: usize) -> Vec<f32> {
    let mut kv = kv(model.config(), block_size);
    let mut logits = Vec::new();
    let mut begin = 0;
    for end in cuts.iter().copied().chain([tokens.len()]) {
        if end > begin {
            let chunk =
                Chunk { tokens: &tokens[begin..end], position: begin, blocks, logits: end == tokens.len() };
            model.forward(&mut kv, &[chunk], &mut logits).unwrap();
            begin = end;
        }
    }
    assert_eq!(logits.len(), model.config().vocab);
    logits
}

#[track_caller]
fn assert_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= TOLERANCE, "logit {i}: {a} against {b}");
    }
}

fn prompt(len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (i * 37 + 11) % 250).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn chunks_and_blocks_do_not_matter(
        len in 1usize..120,
        mut cuts in prop::collection::vec(1usize..120, 0..5),
        block_size in prop::sample::select(vec![1usize, 3, 8, 16, 32]),
        seed in any::<u64>(),
        precision in prop::sample::select(vec![Precision::F32, Precision::Bf16, Precision::F16]),
    ) {
        let block_size = block_size.max(len.div_ceil(60));
        let model = model(precision, Cpu::new(1));
        let tokens = prompt(len);
        cuts.retain(|&c| c < len);
        cuts.sort_unstable();
        let contiguous: Vec<u32> = (0..64).collect();
        let mut shuffled = contiguous.clone();
        shuffled.sort_by_key(|&b| (u64::from(b) + 1).wrapping_mul(seed | 1) >> 7);
        let whole = chunked(&model, &tokens, &[], &contiguous, block_size);
        prop_assert_eq!(whole, chunked(&model, &tokens, &cuts, &shuffled, block_size));
    }
}

#[test]
fn token_by_token_is_the_whole_prompt() {
    let model = model(Precision::F32, Cpu::new(1));
    let tokens = prompt(70);
    let blocks: Vec<u32> = (0..64).rev().collect();
    let whole = chunked(&model, &tokens, &[], &blocks, 16);
    let each: Vec<usize> = (1..70).collect();
    assert_eq!(whole, chunked(&model, &tokens, &each, &blocks, 16));
}

#[test]
fn a_mixed_batch_is_each_sequence_alone() {
    for threads in [1, 3] {
        let model = model(Precision::F32, Cpu::new(threads));
        // Lengths before this step, and tokens in it: prefill chunks and decode steps mixed.
        let parts = [(0, 17), (33, 1), (5, 40), (64, 1), (0, 1), (12, 3)];
        let mut shared = kv(model.config(), 16);
        let tables: Vec<Vec<u32>> =
            (0..parts.len() as u32).map(|i| (0..8).map(|b| b * 8 + i).collect()).collect();
        let sequences: Vec<Vec<u32>> =
            parts.iter().enumerate().map(|(i, (a, b))| prompt(a + b + i)[i..].to_vec()).collect();
        let mut logits = Vec::new();
        for ((tokens, &(before, _)), blocks) in sequences.iter().zip(&parts).zip(&tables) {
            if before > 0 {
                let chunk = Chunk { tokens: &tokens[..before], position: 0, blocks, logits: false };
                model.forward(&mut shared, &[chunk], &mut logits).unwrap();
                assert!(logits.is_empty());
            }
        }
        let batch: Vec<Chunk<'_>> = sequences
            .iter()
            .zip(&parts)
            .zip(&tables)
            .map(|((tokens, &(before, _)), blocks)| Chunk {
                tokens: &tokens[before..],
                position: before,
                blocks,
                logits: before != 5,
            })
            .collect();
        model.forward(&mut shared, &batch, &mut logits).unwrap();
        let wanted: Vec<&Vec<u32>> =
            sequences.iter().zip(&parts).filter(|(_, p)| p.0 != 5).map(|(s, _)| s).collect();
        assert_eq!(logits.len(), wanted.len() * model.config().vocab);
        let blocks: Vec<u32> = (0..64).collect();
        for (row, tokens) in logits.chunks(model.config().vocab).zip(wanted) {
            assert_eq!(row, chunked(&model, tokens, &[], &blocks, 16));
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let blocks: Vec<u32> = (0..64).collect();
    let tokens = prompt(90);
    let one = chunked(&model(Precision::Bf16, Cpu::new(1)), &tokens, &[50, 51], &blocks, 16);
    for threads in [2, 5] {
        let many = chunked(&model(Precision::Bf16, Cpu::new(threads)), &tokens, &[50, 51], &blocks, 16);
        assert_eq!(one, many);
    }
}

#[test]
fn every_instruction_set_agrees() {
    let blocks: Vec<u32> = (0..64).collect();
    let tokens = prompt(50);
    let portable =
        chunked(&model(Precision::F16, Cpu::with_isa(Isa::PORTABLE, 1)), &tokens, &[30], &blocks, 16);
    for isa in Isa::available() {
        let other = chunked(&model(Precision::F16, Cpu::with_isa(isa, 1)), &tokens, &[30], &blocks, 16);
        assert_close(&portable, &other);
    }
}

#[test]
fn a_step_that_cannot_be_computed_is_refused() {
    let model = model(Precision::F32, Cpu::new(1));
    let mut kv = kv(model.config(), 16);
    let mut logits = vec![1.0; 3];
    let good = Chunk { tokens: &[1, 2, 3], position: 20, blocks: &[4, 5], logits: true };
    let mut error = |chunk: Chunk<'_>| model.forward(&mut kv, &[good, chunk], &mut logits).unwrap_err();
    assert_eq!(error(Chunk { tokens: &[], ..good }), ForwardError::Empty { chunk: 1 });
    assert_eq!(error(Chunk { tokens: &[320], ..good }), ForwardError::Token { token: 320, vocab: 320 });
    assert_eq!(
        error(Chunk { position: 131_070, ..good }),
        ForwardError::Context { tokens: 131_073, max: 131_072 }
    );
    let blocks = ForwardError::Blocks { chunk: 1, tokens: 23 };
    assert_eq!(error(Chunk { blocks: &[4], ..good }), blocks);
    assert_eq!(error(Chunk { blocks: &[4, 64], ..good }), blocks);
    assert!(matches!(error(Chunk { position: usize::MAX, ..good }), ForwardError::Context { .. }));
    let other = ModelConfig { kv_heads: 4, ..model.config().clone() };
    let mut other = PagedKv::new(&other, 64, 16).unwrap();
    assert_eq!(model.forward(&mut other, &[good], &mut logits).unwrap_err(), ForwardError::Cache);
    assert_eq!(logits, [1.0; 3], "a refused step leaves everything as it was");
    model.forward(&mut kv, &[], &mut logits).unwrap();
    assert!(logits.is_empty());
}

#[test]
fn a_tap_sees_what_is_computed_and_what_it_changes_counts() {
    struct Seen {
        projected: Vec<(usize, usize)>,
        activated: Vec<(usize, usize)>,
        silenced: bool,
    }
    impl Tap for Seen {
        fn projected(&mut self, layer: usize, qkv: &[f32]) {
            self.projected.push((layer, qkv.len()));
        }
        fn activated(&mut self, layer: usize, rows: &mut [f32]) {
            self.activated.push((layer, rows.len()));
            if self.silenced {
                rows.fill(0.0);
            }
        }
    }
    let model = model(Precision::F32, Cpu::new(1));
    let c = model.config().clone();
    let tokens = prompt(5);
    let chunk = Chunk { tokens: &tokens, position: 0, blocks: &[0], logits: true };
    let (mut plain, mut tapped) = (Vec::new(), Vec::new());
    model.forward(&mut kv(&c, 16), &[chunk], &mut plain).unwrap();
    let mut seen = Seen { projected: Vec::new(), activated: Vec::new(), silenced: false };
    model.forward_tapped(&mut kv(&c, 16), &[chunk], &mut tapped, &mut seen).unwrap();
    assert_eq!(plain, tapped);
    let width = 5 * (c.query_width() + 2 * c.kv_width());
    assert_eq!(seen.projected, [(0, width), (1, width)]);
    assert_eq!(seen.activated, [(0, 5 * c.ffn), (1, c.ffn)]);
    seen.silenced = true;
    model.forward_tapped(&mut kv(&c, 16), &[chunk], &mut tapped, &mut seen).unwrap();
    assert_ne!(plain, tapped);
}
