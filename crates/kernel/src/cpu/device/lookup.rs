//! Embedding gather.

use stopwatt_core::kernel_table::{Op, Shape};

use super::{Operation, Setup, f32_bytes, sizes, unsupported};
use crate::case::CaseError;
use crate::cpu::random::Random;
use crate::cpu::{Buffer, Cpu, Matrix, embed};

/// Tables stay in turn; token lists, other ones each time, keep a large table cold by themselves.
pub(super) struct Lookup {
    vocab: usize,
    tables: Vec<Matrix>,
    sets: Vec<(Vec<u32>, Buffer)>,
}

impl Lookup {
    pub(super) fn new(op: &Op, setup: &mut Setup) -> Result<Self, CaseError> {
        let Shape::Lookup { tokens, vocab, hidden } = op.shape else {
            return unsupported("not the shape of a lookup");
        };
        let [tokens, vocab, hidden] = sizes([tokens, vocab, hidden])?;
        let tables = setup.copies((vocab * hidden * setup.precision.bytes()) as u64)?;
        let fetched = f32_bytes(tokens * hidden) + (tokens * hidden * setup.precision.bytes()) as u64;
        let sets = (0..setup.copies(fetched)?)
            .map(|_| Ok((draw(tokens, vocab, &mut setup.random), setup.buffer(tokens * hidden)?)))
            .collect::<Result<_, CaseError>>()?;
        let tables = (0..tables).map(|_| setup.matrix(vocab, hidden, 1.0)).collect::<Result<_, _>>()?;
        Ok(Self { vocab, tables, sets })
    }
}

fn draw(tokens: usize, vocab: usize, random: &mut Random) -> Vec<u32> {
    (0..tokens).map(|_| random.below(vocab) as u32).collect()
}

impl Operation for Lookup {
    fn kernel(&self) -> &'static str {
        "embed (one thread)"
    }

    fn copies(&self) -> usize {
        self.sets.len()
    }

    fn refill(&mut self, random: &mut Random) {
        let (tokens, y) = &mut self.sets[0];
        *tokens = draw(tokens.len(), self.vocab, random);
        y.fill(f32::NAN);
    }

    fn call(&mut self, _cpu: &Cpu, copy: usize) {
        let table = &self.tables[copy % self.tables.len()];
        let (tokens, y) = &mut self.sets[copy];
        embed(table, tokens, y);
    }

    fn deviation(&self, _random: &mut Random) -> f64 {
        let (tokens, y) = &self.sets[0];
        let width = self.tables[0].cols();
        // Copying has no rounding: every row is the table's, or it is wrong.
        let right =
            tokens.iter().zip(y.chunks_exact(width)).all(|(t, y)| self.tables[0].row(*t as usize) == y);
        if right { 0.0 } else { f64::INFINITY }
    }
}
