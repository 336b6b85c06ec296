//! `paged_attention`: keys and values of each sequence in one piece that is allocated anew as it grows, against blocks
//! from a pool with a block table.
//!
//! Both sides decode the same steps with the same attention kernel. In one piece, every new token means a new, larger
//! allocation and a copy of all that is there; in blocks, a new token goes into the last block, and a new block is taken
//! only when that is full. At the end every block must be back in the pool.

use stopwatt_kernel::cpu::{Cpu, KvLayer, KvLayerMut, KvShape, Span, paged_attention, store_kv};
use stopwatt_serving::kv::BlockPool;
use stopwatt_serving::random::Draws;

use super::{Done, Variant, Workload};

const BLOCK: usize = 16;

/// Decode steps of a batch whose caches grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagedAttention {
    /// Sequences.
    pub sequences: usize,
    /// Tokens that the longest has at the begin; the others have fewer, down to half of it.
    pub context: usize,
    /// Decode steps.
    pub steps: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
}

impl Default for PagedAttention {
    fn default() -> Self {
        Self { sequences: 4, context: 512, steps: 16, heads: 8, kv_heads: 2, head_dim: 64 }
    }
}

/// Queries, keys and values of every token of every sequence, one row a token.
#[derive(Debug, Default)]
pub struct Tokens {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl PagedAttention {
    fn shape(&self) -> KvShape {
        KvShape { block_size: BLOCK, kv_heads: self.kv_heads, head_dim: self.head_dim }
    }

    /// Tokens of a sequence at the begin.
    fn begin(&self, sequence: usize) -> usize {
        self.context - sequence * self.context / (2 * self.sequences)
    }

    /// Row of a token among those of all sequences.
    fn row(&self, sequence: usize, token: usize) -> usize {
        sequence * (self.context + self.steps) + token
    }

    fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

impl Workload for PagedAttention {
    type Input = Tokens;

    fn shape(&self) -> String {
        let Self { sequences, context, steps, heads, kv_heads, head_dim } = self;
        format!(
            "sequences={sequences} context={context} steps={steps} heads={heads} kv_heads={kv_heads} \
             head_dim={head_dim} block={BLOCK}"
        )
    }

    fn output_len(&self) -> usize {
        self.sequences * self.steps * self.q_width()
    }

    fn draw(&self, draws: &mut Draws, into: &mut Tokens) {
        let mut fill = |rows: &mut Vec<f32>, numbers: usize| {
            rows.clear();
            rows.extend((0..numbers).map(|_| (draws.unit() * 4.0 - 2.0) as f32));
        };
        fill(&mut into.q, self.output_len());
        let tokens = self.row(self.sequences, 0);
        fill(&mut into.k, tokens * self.kv_width());
        fill(&mut into.v, tokens * self.kv_width());
    }

    fn baseline(&self, threads: usize) -> Result<Box<dyn Variant<Tokens>>, String> {
        Ok(Box::new(Contiguous { of: *self, cpu: Cpu::new(threads), held: 0 }))
    }

    fn optimised(&self, threads: usize) -> Result<Box<dyn Variant<Tokens>>, String> {
        let blocks = self.sequences * (self.context + self.steps).div_ceil(BLOCK);
        let numbers = blocks * self.shape().block_len();
        Ok(Box::new(Paged {
            of: *self,
            cpu: Cpu::new(threads),
            pool: BlockPool::new(blocks as u32),
            tables: vec![Vec::new(); self.sequences],
            keys: vec![0.0; numbers],
            values: vec![0.0; numbers],
        }))
    }
}

/// What memory management did in an iteration.
#[derive(Debug, Default)]
struct Books {
    allocations: u64,
    copied_bytes: u64,
    /// Most bytes that were allocated for keys and values at once.
    allocated_bytes: usize,
    used_bytes: usize,
}

impl Books {
    fn done(&self, of: &PagedAttention) -> Done {
        Done {
            tokens: Some((of.sequences * of.steps) as u32),
            metrics: vec![
                ("allocations", self.allocations as f64),
                ("copied_bytes", self.copied_bytes as f64),
                ("kv_allocated_bytes", self.allocated_bytes as f64),
                ("kv_used_share", self.used_bytes as f64 / self.allocated_bytes.max(1) as f64),
            ],
        }
    }
}

/// Writes `rows` tokens of a sequence and attends with the last one.
struct Attend<'a> {
    of: &'a PagedAttention,
    cpu: &'a Cpu,
    input: &'a Tokens,
}

impl Attend<'_> {
    fn store(
        &self,
        keys: &mut [f32],
        values: &mut [f32],
        table: &[u32],
        sequence: usize,
        at: usize,
        rows: usize,
    ) {
        let width = self.of.kv_width();
        let begin = self.of.row(sequence, at) * width;
        let spans = [Span { first_row: 0, rows, position: at, blocks: table }];
        let layer = KvLayerMut { shape: PagedAttention::shape(self.of), keys, values };
        let (k, v) = (&self.input.k[begin..][..rows * width], &self.input.v[begin..][..rows * width]);
        store_kv(layer, k, v, width, &spans);
    }

    fn attend(
        &self,
        keys: &[f32],
        values: &[f32],
        table: &[u32],
        (sequence, step): (usize, usize),
        output: &mut [f32],
    ) {
        let width = self.of.q_width();
        let at = self.of.begin(sequence) + step;
        let row = (sequence * self.of.steps + step) * width;
        let spans = [Span { first_row: 0, rows: 1, position: at, blocks: table }];
        let layer = KvLayer { shape: PagedAttention::shape(self.of), keys, values };
        let scale = (self.of.head_dim as f32).sqrt().recip();
        let (q, out) = (&self.input.q[row..][..width], &mut output[row..][..width]);
        paged_attention(self.cpu, q, width, self.of.heads, layer, &spans, scale, out);
    }
}

struct Contiguous {
    of: PagedAttention,
    cpu: Cpu,
    held: usize,
}

impl Variant<Tokens> for Contiguous {
    fn work(&mut self, input: &Tokens, output: &mut [f32]) -> Result<Done, String> {
        let of = self.of;
        let attend = Attend { of: &of, cpu: &self.cpu, input };
        let block_len = PagedAttention::shape(&of).block_len();
        let numbers = |tokens: usize| tokens.div_ceil(BLOCK) * block_len;
        let table: Vec<u32> = (0..(of.context + of.steps).div_ceil(BLOCK) as u32).collect();
        let mut books = Books::default();
        let mut caches: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
        for sequence in 0..of.sequences {
            let tokens = of.begin(sequence);
            let (mut keys, mut values) = (vec![0.0; numbers(tokens)], vec![0.0; numbers(tokens)]);
            attend.store(&mut keys, &mut values, &table, sequence, 0, tokens);
            books.allocations += 2;
            caches.push((keys, values));
        }
        for step in 0..of.steps {
            for (sequence, cache) in caches.iter_mut().enumerate() {
                let at = of.begin(sequence) + step;
                let grown = |old: &Vec<f32>| {
                    let mut new = Vec::with_capacity(numbers(at + 1));
                    new.extend_from_slice(old);
                    new.resize(numbers(at + 1), 0.0);
                    new
                };
                let before = (cache.0.len() + cache.1.len()) * size_of::<f32>();
                *cache = (grown(&cache.0), grown(&cache.1));
                books.allocations += 2;
                books.copied_bytes += before as u64;
                attend.store(&mut cache.0, &mut cache.1, &table, sequence, at, 1);
                attend.attend(&cache.0, &cache.1, &table, (sequence, step), output);
            }
        }
        let bytes = |v: &[f32]| size_of_val(v);
        let last = caches.iter().map(|(k, v)| bytes(k) + bytes(v)).collect::<Vec<_>>();
        // While one grows, its old and its new piece are both there.
        books.allocated_bytes = last.iter().sum::<usize>() + last.iter().max().copied().unwrap_or(0);
        books.used_bytes = used(&of);
        self.held = books.allocated_bytes;
        Ok(books.done(&of))
    }

    fn held_bytes(&self) -> usize {
        self.held
    }
}

/// Bytes of the keys and values of all tokens at the end.
fn used(of: &PagedAttention) -> usize {
    let tokens: usize = (0..of.sequences).map(|s| of.begin(s) + of.steps).sum();
    2 * tokens * of.kv_width() * size_of::<f32>()
}

struct Paged {
    of: PagedAttention,
    cpu: Cpu,
    pool: BlockPool,
    tables: Vec<Vec<u32>>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Paged {
    /// Takes blocks until a sequence has room for `tokens`.
    fn cover(&mut self, sequence: usize, tokens: usize, books: &mut Books) -> Result<(), String> {
        let missing = tokens.div_ceil(BLOCK).saturating_sub(self.tables[sequence].len());
        books.allocations += missing as u64;
        match self.pool.take(missing as u32, &mut self.tables[sequence]) {
            true => Ok(()),
            false => Err("the pool has no block left".to_owned()),
        }
    }
}

impl Variant<Tokens> for Paged {
    fn work(&mut self, input: &Tokens, output: &mut [f32]) -> Result<Done, String> {
        let of = self.of;
        let mut books = Books::default();
        for sequence in 0..of.sequences {
            let tokens = of.begin(sequence);
            self.cover(sequence, tokens, &mut books)?;
            let attend = Attend { of: &of, cpu: &self.cpu, input };
            attend.store(&mut self.keys, &mut self.values, &self.tables[sequence], sequence, 0, tokens);
        }
        for step in 0..of.steps {
            for sequence in 0..of.sequences {
                let at = of.begin(sequence) + step;
                self.cover(sequence, at + 1, &mut books)?;
                let attend = Attend { of: &of, cpu: &self.cpu, input };
                let table = &self.tables[sequence];
                attend.store(&mut self.keys, &mut self.values, table, sequence, at, 1);
                attend.attend(&self.keys, &self.values, table, (sequence, step), output);
            }
        }
        let held: usize = self.tables.iter().map(Vec::len).sum();
        books.allocated_bytes = 2 * held * PagedAttention::shape(&of).block_len() * size_of::<f32>();
        books.used_bytes = used(&of);
        for table in &mut self.tables {
            self.pool.release(table);
            table.clear();
        }
        match self.pool.free() == self.pool.len() {
            true => Ok(books.done(&of)),
            false => Err(format!("{} blocks were not given back", self.pool.len() - self.pool.free())),
        }
    }

    fn held_bytes(&self) -> usize {
        (self.keys.capacity() + self.values.capacity()) * size_of::<f32>()
    }
}
