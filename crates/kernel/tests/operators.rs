//! Each operator against a plain loop in `f64`, for shapes of every kind, on every instruction set of the machine.

#![expect(clippy::unwrap_used, reason = "a test may stop anywhere")]

use proptest::prelude::*;
use stopwatt_kernel::cpu::{
    Arena, Buffer, Cpu, Isa, KvLayer, KvLayerMut, KvShape, Matrix, Precision, Rotary, Span, argmax, embed,
    linear, linear_add, paged_attention, rms_norm, rotate, silu_mul, softmax, store_kv,
};

/// Numbers in −1 .. 1 that depend on the seed alone.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn each_cpu(test: impl Fn(&Cpu)) {
    for isa in Isa::available() {
        test(&Cpu::with_isa(isa, 1));
    }
    test(&Cpu::new(3));
}

/// `error` is what rounding may amount to, in units of the sum of the magnitudes that were added.
#[track_caller]
fn assert_near(cpu: &Cpu, found: f32, exact: f64, magnitude: f64, error: f64) {
    let distance = (f64::from(found) - exact).abs();
    assert!(distance <= error * magnitude + 1e-30, "{}: {found} instead of {exact}", cpu.isa().name());
}

fn matrix(rows: usize, cols: usize, precision: Precision, seed: u64) -> Matrix {
    Matrix::from_f32(rows, cols, precision, &numbers(rows * cols, seed)).unwrap()
}

fn precisions() -> impl Strategy<Value = Precision> {
    prop::sample::select(vec![Precision::F32, Precision::Bf16, Precision::F16])
}

/// The exact product and the sum of the magnitudes in it.
fn dot(a: &[f32], b: &[f32]) -> (f64, f64) {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn linear_is_the_product_with_the_transpose(
        rows in 1usize..30, n in 1usize..70, k in 1usize..200, precision in precisions(), seed in any::<u64>(),
    ) {
        let (x, w) = (numbers(rows * k, seed), matrix(n, k, precision, seed ^ 1));
        let start = numbers(rows * n, seed ^ 2);
        each_cpu(|cpu| {
            let (mut set, mut added) = (vec![f32::NAN; rows * n], start.clone());
            linear(cpu, &x, &w, &mut set);
            linear_add(cpu, &x, &w, &mut added);
            for j in 0..n {
                let weights = w.row(j);
                for i in 0..rows {
                    let (exact, size) = dot(&x[i * k..][..k], &weights);
                    assert_near(cpu, set[i * n + j], exact, size, 2e-6);
                    let before = f64::from(start[i * n + j]);
                    assert_near(cpu, added[i * n + j], before + exact, before.abs() + size, 2e-6);
                }
            }
        });
    }

    #[test]
    fn a_row_of_a_product_does_not_depend_on_the_others(
        rows in 1usize..40, n in 1usize..40, k in 1usize..100, precision in precisions(), seed in any::<u64>(),
    ) {
        let (x, w) = (numbers(rows * k, seed), matrix(n, k, precision, seed ^ 1));
        each_cpu(|cpu| {
            let (mut all, mut one) = (vec![0.0; rows * n], vec![0.0; n]);
            linear(cpu, &x, &w, &mut all);
            for i in 0..rows {
                linear(cpu, &x[i * k..][..k], &w, &mut one);
                assert_eq!(one, all[i * n..][..n]);
            }
        });
    }

    #[test]
    fn rms_norm_divides_by_the_root_of_the_mean_square(
        rows in 1usize..40, width in 1usize..150, seed in any::<u64>(),
    ) {
        let (x, weight) = (numbers(rows * width, seed), numbers(width, seed ^ 1));
        each_cpu(|cpu| {
            let mut y = vec![f32::NAN; x.len()];
            rms_norm(cpu, &x, &weight, 1e-5, &mut y);
            for (x, y) in x.chunks(width).zip(y.chunks(width)) {
                let (square, _) = dot(x, x);
                let scale = 1.0 / (square / width as f64 + f64::from(1e-5f32)).sqrt();
                for ((x, w), y) in x.iter().zip(&weight).zip(y) {
                    let exact = f64::from(*x) * scale * f64::from(*w);
                    assert_near(cpu, *y, exact, exact.abs(), 2e-6);
                }
            }
        });
    }

    #[test]
    fn silu_mul_gates(rows in 1usize..20, width in 1usize..70, spread in 0.1f32..60.0, seed in any::<u64>()) {
        let gate_up: Vec<f32> = numbers(2 * rows * width, seed).iter().map(|v| v * spread).collect();
        each_cpu(|cpu| {
            let mut y = vec![f32::NAN; rows * width];
            silu_mul(cpu, &gate_up, width, &mut y);
            for (both, y) in gate_up.chunks(2 * width).zip(y.chunks(width)) {
                for i in 0..width {
                    let (g, u) = (f64::from(both[i]), f64::from(both[width + i]));
                    let exact = g / (1.0 + (-g).exp()) * u;
                    assert_near(cpu, y[i], exact, exact.abs(), 2e-6);
                }
            }
        });
    }

    #[test]
    fn softmax_sums_to_one_and_argmax_finds_the_first(
        x in prop::collection::vec(-50f32..50.0, 1..300), copy in any::<prop::sample::Index>(),
    ) {
        let mut x = x;
        let best = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let index = copy.index(x.len());
        x[index] = best;
        let exact: Vec<f64> = x.iter().map(|v| f64::from(*v - best).exp()).collect();
        let sum: f64 = exact.iter().sum();
        each_cpu(|cpu| {
            assert_eq!(argmax(cpu, &x), x.iter().position(|v| *v == best));
            let mut p = x.clone();
            softmax(cpu, &mut p);
            for (p, e) in p.iter().zip(&exact) {
                assert_near(cpu, *p, e / sum, e / sum, 5e-6);
            }
        });
    }

    #[test]
    fn rotate_turns_each_pair_by_its_angle(
        positions in prop::collection::vec(0usize..10_000, 1..40), pairs in 1usize..40, heads in 1usize..4,
        rest in 0usize..5, seed in any::<u64>(),
    ) {
        let frequencies: Vec<f32> = (0..pairs).map(|i| 10_000f32.powf(-(i as f32) / pairs as f32)).collect();
        let mut angles = Rotary::default();
        angles.fill(&positions, &frequencies);
        let stride = heads * 2 * pairs + rest;
        let x = numbers(positions.len() * stride, seed);
        each_cpu(|cpu| {
            let mut y = x.clone();
            rotate(cpu, &angles, &mut y, stride, heads);
            for (row, &position) in positions.iter().enumerate() {
                let (x, y) = (&x[row * stride..][..stride], &y[row * stride..][..stride]);
                assert_eq!(x[stride - rest..], y[stride - rest..]);
                for head in 0..heads {
                    for (i, frequency) in frequencies.iter().enumerate() {
                        let at = head * 2 * pairs + i;
                        let (a, b) = (f64::from(x[at]), f64::from(x[at + pairs]));
                        let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
                        assert_near(cpu, y[at], a * cos - b * sin, a.abs() + b.abs(), 2e-7);
                        assert_near(cpu, y[at + pairs], b * cos + a * sin, a.abs() + b.abs(), 2e-7);
                    }
                }
            }
        });
    }

    #[test]
    fn embedding_copies_rows(
        tokens in prop::collection::vec(0u32..20, 0..10), width in 1usize..40, precision in precisions(),
    ) {
        let table = matrix(20, width, precision, 5);
        let mut y = vec![f32::NAN; tokens.len() * width];
        embed(&table, &tokens, &mut y);
        for (token, y) in tokens.iter().zip(y.chunks(width)) {
            prop_assert_eq!(&table.row(*token as usize)[..], y);
        }
    }
}

/// Keys and values of one sequence, and a cache that holds them in blocks of shuffled order.
struct Sequence {
    shape: KvShape,
    blocks: Vec<u32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Sequence {
    fn new(shape: KvShape, tokens: usize, seed: u64) -> Self {
        let width = shape.kv_heads * shape.head_dim;
        let needed = tokens.div_ceil(shape.block_size) as u64;
        let mut blocks: Vec<u32> = (0..needed as u32).collect();
        blocks.sort_by_key(|&b| (u64::from(b) + 1).wrapping_mul(seed | 1) >> 9);
        let keys = numbers(tokens * width, seed).iter().map(|v| v * 3.0).collect();
        Self { shape, blocks, keys, values: numbers(tokens * width, seed ^ 7) }
    }

    /// Writes the tokens in two spans, so that the second begins inside a block.
    fn store(&self, first: usize) -> (Buffer, Buffer) {
        let tokens = self.values.len() / (self.shape.kv_heads * self.shape.head_dim);
        let size = self.shape.block_len() * self.blocks.len();
        let mut cache = (Buffer::zeroed(size).unwrap(), Buffer::zeroed(size).unwrap());
        // What earlier owners left in a block must not matter.
        cache.0.fill(1e30);
        cache.1.fill(-1e30);
        let stride = self.shape.kv_heads * self.shape.head_dim;
        for (begin, end) in [(0, first), (first, tokens)] {
            let span = Span { first_row: 0, rows: end - begin, position: begin, blocks: &self.blocks };
            let layer = KvLayerMut { shape: self.shape, keys: &mut cache.0, values: &mut cache.1 };
            store_kv(layer, &self.keys[begin * stride..], &self.values[begin * stride..], stride, &[span]);
        }
        cache
    }

    /// Attention of one query head at a position, by the definition.
    fn attend(&self, q: &[f32], kv_head: usize, position: usize, scale: f64) -> Vec<f64> {
        let dim = self.shape.head_dim;
        let at = |token: usize| (token * self.shape.kv_heads + kv_head) * dim;
        let scores: Vec<f64> = (0..=position).map(|t| dot(q, &self.keys[at(t)..][..dim]).0 * scale).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        (0..dim)
            .map(|d| {
                weights.iter().enumerate().map(|(t, w)| w * f64::from(self.values[at(t) + d])).sum::<f64>()
                    / sum
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn paged_attention_is_softmax_over_the_past(
        before in 0usize..300, rows in 1usize..60,
        block_size in prop::sample::select(vec![1usize, 5, 8, 16, 32, 40, 200]),
        kv_heads in 1usize..3, group in 1usize..6,
        head_dim in prop::sample::select(vec![2usize, 6, 8, 16, 24, 40, 64]),
        seed in any::<u64>(),
    ) {
        let shape = KvShape { block_size, kv_heads, head_dim };
        let heads = kv_heads * group;
        let sequence = Sequence::new(shape, before + rows, seed);
        let (keys, values) = sequence.store(before);
        let kv = KvLayer { shape, keys: &keys, values: &values };
        let width = heads * head_dim;
        let stride = width + 3;
        // Two rows of another sequence come first: the span begins inside the step.
        let q = numbers((rows + 2) * stride, seed ^ 3);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let spans = [
            Span { first_row: 0, rows: 2.min(before + rows), position: 0, blocks: &sequence.blocks },
            Span { first_row: 2, rows, position: before, blocks: &sequence.blocks },
        ];
        each_cpu(|cpu| {
            let mut out = vec![0.0; (rows + 2) * width];
            paged_attention(cpu, &q, stride, heads, kv, &spans, scale, &mut out);
            for row in 0..rows {
                for head in 0..heads {
                    let query = &q[(row + 2) * stride + head * head_dim..][..head_dim];
                    let exact = sequence.attend(query, head / group, before + row, f64::from(scale));
                    let found = &out[(row + 2) * width + head * head_dim..][..head_dim];
                    for (found, exact) in found.iter().zip(exact) {
                        assert_near(cpu, *found, exact, 1.0, 1e-5);
                    }
                }
            }
        });
    }
}

#[test]
fn a_row_without_any_number_to_choose_has_no_argmax_and_no_probability() {
    each_cpu(|cpu| {
        assert_eq!(argmax(cpu, &[]), None);
        let mut x = [f32::NEG_INFINITY; 20];
        softmax(cpu, &mut x);
        assert_eq!(x, [0.0; 20]);
        let mut with_nan = [f32::NAN; 40];
        with_nan[33] = -5.0;
        assert_eq!(argmax(cpu, &with_nan), Some(33));
        assert_eq!(argmax(cpu, &[f32::NAN; 40]), None);
    });
}

#[test]
fn wrong_shapes_stop_at_the_entry() {
    let refused = |f: fn(&Cpu)| std::panic::catch_unwind(|| f(&Cpu::new(1))).is_err();
    assert!(refused(|cpu| linear(cpu, &[0.0; 7], &matrix(2, 4, Precision::F32, 1), &mut [0.0; 4])));
    assert!(refused(|cpu| linear(cpu, &[0.0; 8], &matrix(2, 4, Precision::F32, 1), &mut [0.0; 3])));
    assert!(refused(|cpu| rms_norm(cpu, &[0.0; 8], &[1.0; 3], 0.0, &mut [0.0; 8])));
    assert!(refused(|cpu| silu_mul(cpu, &[0.0; 8], 4, &mut [0.0; 8])));
    assert!(refused(|_| embed(&matrix(2, 4, Precision::F32, 1), &[2], &mut [0.0; 4])));
    let attention = |blocks: &[u32], rows: &[(usize, usize)]| {
        let shape = KvShape { block_size: 4, kv_heads: 1, head_dim: 2 };
        let (keys, values) = ([0.0; 16], [0.0; 16]);
        let kv = KvLayer { shape, keys: &keys, values: &values };
        let spans: Vec<Span<'_>> =
            rows.iter().map(|&(first_row, rows)| Span { first_row, rows, position: 0, blocks }).collect();
        std::panic::catch_unwind(|| {
            paged_attention(&Cpu::new(1), &[0.0; 16], 2, 1, kv, &spans, 1.0, &mut [0.0; 16]);
        })
        .is_ok()
    };
    assert!(attention(&[1, 0], &[(0, 8)]));
    assert!(attention(&[1, 0], &[(0, 2), (3, 5)]));
    assert!(!attention(&[1, 2], &[(0, 8)]), "a block that is not there");
    assert!(!attention(&[1], &[(0, 5)]), "a table that is too short");
    assert!(!attention(&[1, 0], &[(0, 9)]), "more rows than queries");
    assert!(!attention(&[1, 0], &[(0, 3), (2, 2)]), "a row of two spans");
    assert!(!attention(&[1, 0], &[(4, 2), (0, 2)]), "spans in another order than rows");
    let mut arena = Arena::default();
    assert!(Matrix::zeros(&mut arena, usize::MAX, 2, Precision::F32).is_err());
}
