//! Rotary position embedding of queries and keys, in place.

use stopwatt_core::kernel_table::{Op, Shape};

use super::{Operation, Setup, f32_bytes, multiple, sizes, unsupported};
use crate::case::CaseError;
use crate::cpu::random::Random;
use crate::cpu::{Buffer, Cpu, Rotary, rotate};

/// Base of the frequencies, as Llama 3 has it. Time does not depend on it.
const BASE: f32 = 500_000.0;

pub(super) struct Rope {
    tokens: usize,
    heads: usize,
    frequencies: Vec<f32>,
    angles: Rotary,
    before: Vec<f32>,
    sets: Vec<Buffer>,
}

impl Rope {
    pub(super) fn new(op: &Op, setup: &mut Setup) -> Result<Self, CaseError> {
        let Shape::Heads { tokens, heads, kv_heads, head_dim } = op.shape else {
            return unsupported("not the shape of a rotary embedding");
        };
        let [tokens, heads, kv_heads, head_dim] = sizes([tokens, heads, kv_heads, head_dim])?;
        if !head_dim.is_multiple_of(2) {
            return unsupported("a head of odd width has no pairs");
        }
        // Queries and keys of a token lie side by side, as the engine's fused projection leaves them.
        let heads = heads + kv_heads;
        let len = tokens * heads * head_dim;
        let pairs = head_dim / 2;
        let frequencies: Vec<f32> = (0..pairs).map(|i| BASE.powf(-(i as f32) / pairs as f32)).collect();
        let mut angles = Rotary::default();
        angles.fill(&(0..tokens).collect::<Vec<_>>(), &frequencies);
        let sets = (0..setup.copies(f32_bytes(len))?).map(|_| setup.buffer(len)).collect::<Result<_, _>>()?;
        Ok(Self { tokens, heads, frequencies, angles, before: Vec::new(), sets })
    }
}

impl Operation for Rope {
    fn kernel(&self) -> &'static str {
        "rotate"
    }

    fn copies(&self) -> usize {
        self.sets.len()
    }

    fn refill(&mut self, random: &mut Random) {
        random.fill(&mut self.sets[0]);
        self.before = self.sets[0].to_vec();
    }

    fn call(&mut self, cpu: &Cpu, copy: usize) {
        let stride = self.heads * 2 * self.frequencies.len();
        rotate(cpu, &self.angles, &mut self.sets[copy], stride, self.heads);
    }

    fn deviation(&self, random: &mut Random) -> f64 {
        let pairs = self.frequencies.len();
        let one = |_| {
            let (token, head, pair) =
                (random.below(self.tokens), random.below(self.heads), random.below(pairs));
            let (sin, cos) = f64::from(token as f32 * self.frequencies[pair]).sin_cos();
            let at = (token * self.heads + head) * 2 * pairs + pair;
            let (a, b) = (f64::from(self.before[at]), f64::from(self.before[at + pairs]));
            let low = multiple(self.sets[0][at], a * cos - b * sin, 1e-6);
            low.max(multiple(self.sets[0][at + pairs], b * cos + a * sin, 1e-6))
        };
        (0..256).map(one).fold(0.0, f64::max)
    }
}
