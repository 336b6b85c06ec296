//! Attention over a paged cache: what decode and prefill have in common, and both plans.
//!
//! Cache blocks of all sequences lie in one pool in random order, as after some time of serving; a contiguous cache lies
//! in the order of its sequences.

use stopwatt_core::kernel_table::{Dtype, Op, Shape};

use super::{Format, count, length, scattered, unsupported};
use crate::case::CaseError;
use crate::cuda::plan::{Argument, Contents, Element, Expectation, Fill, Operand, Plan, Step, Target, Way};
use crate::cuda::source;

/// Threads of a block of both kernels, as in the sources.
const THREADS: u32 = 128;

/// Queries and keys have magnitudes up to this, so that scores spread like those of models (a few units).
const SCALE: Fill = Fill::Uniform { scale: 2.0 };

/// Sizes, checked.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    format: Format,
    /// Format of keys and values.
    cache: Element,
    sequences: usize,
    fresh: usize,
    cached: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    page: usize,
    /// One block a sequence, in order, without room after it.
    contiguous: bool,
}

impl Geometry {
    fn of(op: &Op, head_dims: &[u32]) -> Result<Self, CaseError> {
        let Shape::Attention { sequences, new_tokens, cached, heads, kv_heads, head_dim, page } = op.shape
        else {
            return Err(unsupported("a shape that is not attention"));
        };
        let (format, cache) = if op.dtypes.weight == Dtype::F8E4m3 {
            let mut alike = *op;
            alike.dtypes.weight = op.dtypes.input;
            (Format::of(&alike)?, Element::F8E4m3)
        } else {
            let format = Format::of(op)?;
            (format, format.element)
        };
        if op.dtypes.input == Dtype::F32 {
            return Err(unsupported("attention in f32"));
        }
        if !head_dims.contains(&head_dim) {
            return Err(unsupported(format!("heads of width {head_dim}")));
        }
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(unsupported("query heads that do not share key-value heads evenly"));
        }
        if sequences > 65_535 || heads > 65_535 {
            return Err(unsupported("more than 65535 sequences or heads"));
        }
        length(&[sequences, new_tokens, heads, head_dim])?;
        let all = cached.checked_add(new_tokens).ok_or_else(|| unsupported("a context of 2^32 tokens"))?;
        count(all as usize)?;
        // A contiguous cache is one block a sequence.
        let contiguous = page == 0;
        let page = if contiguous { all } else { page };
        length(&[sequences, kv_heads, head_dim, all.div_ceil(page), page])?;
        Ok(Self {
            format,
            cache,
            sequences: sequences as usize,
            fresh: new_tokens as usize,
            cached: cached as usize,
            heads: heads as usize,
            kv_heads: kv_heads as usize,
            head_dim: head_dim as usize,
            page: page as usize,
            contiguous,
        })
    }

    /// Tokens of a sequence, new ones too.
    fn all(&self) -> usize {
        self.cached + self.fresh
    }

    /// Cache blocks of a sequence.
    fn pages(&self) -> usize {
        self.all().div_ceil(self.page)
    }

    /// Queries, keys, values and block table.
    fn operands(&self) -> Vec<Operand> {
        let element = self.format.element;
        let blocks = self.sequences * self.pages();
        let cache = blocks * self.page * self.kv_heads * self.head_dim;
        // A random order of the blocks (Fisher and Yates).
        let mut table: Vec<i32> = (0..blocks as i32).collect();
        if !self.contiguous {
            for (i, random) in scattered(i32::MAX as u32, blocks, 2).into_iter().enumerate().skip(1) {
                table.swap(i, random as usize % (i + 1));
            }
        }
        vec![
            Operand::input(element, self.sequences * self.fresh * self.heads * self.head_dim, SCALE),
            Operand::input(self.cache, cache, SCALE),
            Operand::input(self.cache, cache, Fill::UNIT),
            Operand::table(Element::I32, table.len(), Fill::Integers(table)),
        ]
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    fn defines(&self, name: &'static str, value: u32) -> Vec<(&'static str, String)> {
        vec![
            ("ELEMENT", self.format.name.to_owned()),
            ("HEAD_DIM", self.head_dim.to_string()),
            ("PAGE", self.page.to_string()),
            (name, value.to_string()),
        ]
    }

    /// Element `index` of the result, in double precision.
    ///
    /// `weights` is the relative error of the weights that meet the values.
    fn expected(&self, contents: &Contents<'_>, index: usize, weights: f64) -> Expectation {
        let (row, column) = (index / self.head_dim, index % self.head_dim);
        let (token, head) = (row / self.heads, row % self.heads);
        let (sequence, fresh) = (token / self.fresh, token % self.fresh);
        let kv_head = head / (self.heads / self.kv_heads);
        let query = contents.row(0, row * self.head_dim, self.head_dim);
        let table = contents.row(3, sequence * self.pages(), self.pages());
        let begin = |token: usize| {
            let block = table[token / self.page] as usize;
            ((block * self.page + token % self.page) * self.kv_heads + kv_head) * self.head_dim
        };
        let scale = f64::from(self.scale());
        let scores: Vec<f64> = (0..=self.cached + fresh)
            .map(|token| {
                let key = contents.row(1, begin(token), self.head_dim);
                query.iter().zip(&key).map(|(q, k)| q * k).sum::<f64>() * scale
            })
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut value, mut size) = (0.0, 0.0, 0.0);
        for (token, score) in scores.iter().enumerate() {
            let weight = (score - max).exp();
            let number = contents.number(2, begin(token) + column);
            sum += weight;
            value += weight * number;
            size += weight * number.abs();
        }
        self.format.expect(value / sum, (weights + 2e-5) * size / sum)
    }
}

/// One new token a sequence: chunks of the tokens in blocks of their own, merged in a second launch.
pub(super) fn decode(op: &Op, target: &Target) -> Result<Plan, CaseError> {
    let geometry = Geometry::of(op, &[64, 128, 256])?;
    if geometry.fresh != 1 {
        return Err(unsupported("decode of more than one new token a sequence"));
    }
    let Geometry { sequences, heads, kv_heads, head_dim, .. } = geometry;
    // More heads than registers have room for go into several blocks, whose reads meet in the second-level cache.
    let together = heads / kv_heads;
    let widest = if head_dim == 256 { 4 } else { 8 };
    let group = (1..=widest).rev().find(|group| together.is_multiple_of(*group)).unwrap_or(1);
    let ways = Sharing::all(&geometry, group, target);
    let most_chunks = ways.iter().map(|way| way.chunks).max().unwrap_or(1);

    let mut operands = geometry.operands();
    operands.push(Operand::table(
        Element::I32,
        sequences,
        Fill::Integers(vec![count(geometry.all())?; sequences]),
    ));
    let parts = if most_chunks > 1 { sequences * heads * most_chunks * (head_dim + 2) } else { 1 };
    operands.push(Operand::scratch(Element::F32, parts));
    operands.push(Operand::result(geometry.format.element, sequences * heads * head_dim));
    let ways = ways
        .iter()
        .map(|way| {
            Ok(Way { name: way.name(), steps: way.steps(&geometry, group, kv_heads, operands.len())? })
        })
        .collect::<Result<Vec<_>, CaseError>>()?;
    Ok(Plan {
        operands,
        steps: ways[0].steps.clone(),
        ways,
        expected: Box::new(move |contents, _, index, _| geometry.expected(contents, index, 0.0)),
    })
}

/// One way to share decoding among blocks and to keep bytes under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sharing {
    /// Tokens that a team of lanes takes at a time.
    tokens: usize,
    /// Rounds of tokens in shared memory; 0: none, the next round waits in registers.
    stages: usize,
    /// Tokens of a block.
    chunk: usize,
    /// Blocks that share a sequence.
    chunks: usize,
}

impl Sharing {
    /// All ways that the device may have room for; through registers first.
    fn all(geometry: &Geometry, group: usize, target: &Target) -> Vec<Self> {
        let rows = geometry.sequences * geometry.heads / group;
        // Blocks that are resident at once by their registers.
        let by_registers = if group > 4 { 2 } else { 4 };
        let mut all: Vec<Self> = Vec::new();
        // What is copied to shared memory is copied as it is, 16 bytes a lane.
        let staged: &[(usize, usize)] =
            if geometry.cache == Element::F8E4m3 { &[] } else { &[(2, 4), (4, 3), (2, 6)] };
        for &(tokens, stages) in [(4, 0)].iter().chain(staged) {
            let bytes = shared_bytes(tokens, stages) as usize + 4 * group * geometry.head_dim * 4 + 2048;
            let by_memory = (target.shared_bytes_per_block as usize / bytes).max(1);
            let resident = target.sm_count as usize * by_registers.min(by_memory);
            let chunks = if rows >= 4 * resident {
                1
            } else if rows >= resident {
                // Several waves, so that the last one is a small part.
                (4 * resident).div_ceil(rows)
            } else {
                resident / rows
            };
            // A round of a block; below two rounds a chunk is not worth its own block.
            let round = tokens * 4 * 32 * 8 / geometry.head_dim;
            for waves in [1, 2] {
                let chunk = geometry.all().div_ceil(chunks * waves).max(2 * round).next_multiple_of(round);
                let way = Self { tokens, stages, chunk, chunks: geometry.all().div_ceil(chunk) };
                if !all.contains(&way) {
                    all.push(way);
                }
            }
        }
        all
    }

    fn name(&self) -> String {
        let Self { tokens, stages, chunks, .. } = self;
        match stages {
            0 => format!("{tokens} tokens in registers, {chunks} chunks"),
            _ => format!("{tokens} tokens in {stages} stages, {chunks} chunks"),
        }
    }

    fn steps(
        &self,
        geometry: &Geometry,
        group: usize,
        kv_heads: usize,
        operands: usize,
    ) -> Result<Vec<Step>, CaseError> {
        let Geometry { sequences, heads, head_dim, .. } = *geometry;
        let mut defines = geometry.defines("GROUP", group as u32);
        let cache = if geometry.cache == Element::F8E4m3 { "E4M3" } else { geometry.format.name };
        defines.push(("CACHE", cache.to_owned()));
        defines.push(("TOKENS", self.tokens.to_string()));
        defines.push(("STAGES", self.stages.to_string()));
        let mut arguments: Vec<Argument> = (0..operands).map(Argument::Operand).collect();
        arguments.extend([
            Argument::I32(count(heads)?),
            Argument::I32(count(kv_heads)?),
            Argument::I32(count(geometry.pages())?),
            Argument::I32(count(self.chunk)?),
            Argument::F32(geometry.scale()),
        ]);
        let mut steps = vec![Step {
            source: source::DECODE,
            entry: "decode",
            defines: defines.clone(),
            grid: [self.chunks as u32, (heads / group) as u32, sequences as u32],
            block: [THREADS, 1, 1],
            shared_bytes: shared_bytes(self.tokens, self.stages),
            arguments,
        }];
        if self.chunks > 1 {
            steps.push(Step {
                source: source::DECODE,
                entry: "combine",
                defines,
                grid: [(sequences * heads) as u32, 1, 1],
                block: [head_dim as u32, 1, 1],
                shared_bytes: 0,
                arguments: vec![
                    Argument::Operand(5),
                    Argument::Operand(6),
                    Argument::I32(count(self.chunks)?),
                ],
            });
        }
        Ok(steps)
    }
}

/// Shared memory of a block that keeps keys and values of so many rounds in it.
fn shared_bytes(tokens: usize, stages: usize) -> u32 {
    (stages * 2 * tokens * 16) as u32 * THREADS
}

/// Several new tokens a sequence.
pub(super) fn prefill(op: &Op, target: &Target) -> Result<Plan, CaseError> {
    const WARPS: u32 = 4;
    const KEYS: u32 = 64;
    let geometry = Geometry::of(op, &[64, 128])?;
    let Geometry { sequences, fresh, heads, kv_heads, head_dim, .. } = geometry;
    if geometry.cache == Element::F8E4m3 {
        return Err(unsupported("prefill over an 8-bit cache"));
    }
    // Two tiles a warp need twice the registers: those of wide heads do not suffice.
    let tiles: u32 = if head_dim == 64 { 2 } else { 1 };
    let rows = WARPS * tiles * 16;
    let shared_bytes = (rows + 4 * KEYS) * head_dim as u32 * 2;
    if shared_bytes > target.shared_bytes_per_block {
        return Err(unsupported(format!("{shared_bytes} bytes of shared memory a block are needed")));
    }
    let mut operands = geometry.operands();
    operands.push(Operand::result(geometry.format.element, sequences * fresh * heads * head_dim));
    let mut arguments: Vec<Argument> = (0..operands.len()).map(Argument::Operand).collect();
    arguments.extend([
        Argument::I32(count(heads)?),
        Argument::I32(count(kv_heads)?),
        Argument::I32(count(geometry.pages())?),
        Argument::I32(count(fresh)?),
        Argument::I32(count(geometry.cached)?),
        Argument::F32(geometry.scale()),
    ]);
    // Weights are rounded to the operands' format before they meet the values.
    let weights = if op.dtypes.input == Dtype::Bf16 { 2f64.powi(-8) } else { 2f64.powi(-11) };
    Ok(Plan {
        operands,
        steps: vec![Step {
            source: source::PREFILL,
            entry: "prefill",
            defines: geometry.defines("TILES", tiles),
            grid: [(fresh as u32).div_ceil(rows), heads as u32, sequences as u32],
            block: [THREADS, 1, 1],
            shared_bytes,
            arguments,
        }],
        ways: Vec::new(),
        expected: Box::new(move |contents, _, index, _| geometry.expected(contents, index, weights)),
    })
}
