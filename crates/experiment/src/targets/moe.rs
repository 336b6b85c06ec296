//! `moe`: routed experts computed token by token, against tokens grouped by expert.
//!
//! Token by token, every token of every expert is a product of one row: each reads the expert's weights again. Grouped,
//! all tokens of an expert are one product of many rows: weights are read once. Routing is skewed, as it is in real
//! models: expert `e` is chosen with a weight of `1 / (e + 1)`.

use stopwatt_kernel::cpu::{Cpu, Expert, Matrix, MoeScratch, Precision, Routes, moe_experts};
use stopwatt_serving::random::{Draws, Purpose};

use super::{Done, Variant, Workload};

/// A layer of routed experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moe {
    /// Tokens of a step.
    pub tokens: usize,
    /// Experts.
    pub experts: usize,
    /// Experts that a token goes through.
    pub top: usize,
    /// Numbers of a token.
    pub hidden: usize,
    /// Numbers inside an expert.
    pub inner: usize,
}

impl Default for Moe {
    fn default() -> Self {
        Self { tokens: 128, experts: 16, top: 2, hidden: 512, inner: 512 }
    }
}

/// Tokens and where they go.
#[derive(Debug, Default)]
pub struct Routed {
    x: Vec<f32>,
    routes: Routes,
}

impl Moe {
    fn experts(&self) -> Result<Vec<Expert>, String> {
        // The same for both sides and every input: weights are no input.
        let mut draws = Draws::new(Purpose::Workload, [u64::MAX, 0, 0, 0]);
        let mut matrix = |rows: usize, cols: usize| {
            let scale = (3.0 / cols as f64).sqrt();
            let values: Vec<f32> =
                (0..rows * cols).map(|_| ((draws.unit() * 2.0 - 1.0) * scale) as f32).collect();
            Matrix::from_f32(rows, cols, Precision::Bf16, &values).map_err(|e| e.to_string())
        };
        let mut expert = || {
            Ok(Expert {
                gate_up: matrix(2 * self.inner, self.hidden)?,
                down: matrix(self.hidden, self.inner)?,
            })
        };
        (0..self.experts).map(|_| expert()).collect()
    }

    fn chosen(&self, draws: &mut Draws, into: &mut Vec<usize>) {
        let weight = |e: usize| 1.0 / (e + 1) as f64;
        into.clear();
        while into.len() < self.top {
            let left: f64 = (0..self.experts).filter(|e| !into.contains(e)).map(weight).sum();
            let mut at = draws.unit() * left;
            let mut others = (0..self.experts).filter(|e| !into.contains(e));
            let last = others.clone().next_back();
            let found = others.find(|e| {
                at -= weight(*e);
                at < 0.0
            });
            into.extend(found.or(last));
        }
    }
}

impl Workload for Moe {
    type Input = Routed;

    fn shape(&self) -> String {
        let Self { tokens, experts, top, hidden, inner } = self;
        format!("tokens={tokens} experts={experts} top={top} hidden={hidden} inner={inner}")
    }

    fn output_len(&self) -> usize {
        self.tokens * self.hidden
    }

    fn draw(&self, draws: &mut Draws, into: &mut Routed) {
        into.x.clear();
        into.x.extend((0..self.output_len()).map(|_| (draws.unit() * 2.0 - 1.0) as f32));
        into.routes.experts.resize(self.experts, Vec::new());
        into.routes.experts.iter_mut().for_each(Vec::clear);
        let mut chosen = Vec::new();
        for token in 0..self.tokens {
            self.chosen(draws, &mut chosen);
            let weight = 1.0 / self.top as f32;
            chosen.iter().for_each(|e| into.routes.experts[*e].push((token as u32, weight)));
        }
    }

    fn baseline(&self, threads: usize) -> Result<Box<dyn Variant<Routed>>, String> {
        Ok(Box::new(Layer::set_up(self, threads, false)?))
    }

    fn optimised(&self, threads: usize) -> Result<Box<dyn Variant<Routed>>, String> {
        Ok(Box::new(Layer::set_up(self, threads, true)?))
    }
}

struct Layer {
    of: Moe,
    cpu: Cpu,
    experts: Vec<Expert>,
    grouped: bool,
    scratch: MoeScratch,
    /// One token of one expert.
    single: Routes,
    part: Vec<f32>,
}

impl Layer {
    fn set_up(of: &Moe, threads: usize, grouped: bool) -> Result<Self, String> {
        Ok(Self {
            of: *of,
            cpu: Cpu::new(threads),
            experts: of.experts()?,
            grouped,
            scratch: MoeScratch::default(),
            single: Routes { experts: vec![Vec::new(); of.experts] },
            part: vec![0.0; of.hidden],
        })
    }
}

impl Variant<Routed> for Layer {
    fn work(&mut self, input: &Routed, output: &mut [f32]) -> Result<Done, String> {
        let Moe { tokens, hidden, .. } = self.of;
        let routes = &input.routes.experts;
        if self.grouped {
            moe_experts(&self.cpu, &input.x, &self.experts, &input.routes, &mut self.scratch, output);
        } else {
            output.fill(0.0);
            for (expert, going) in routes.iter().enumerate() {
                for (token, weight) in going {
                    self.single.experts[expert].push((0, *weight));
                    let at = *token as usize * hidden;
                    let x = &input.x[at..][..hidden];
                    moe_experts(&self.cpu, x, &self.experts, &self.single, &mut self.scratch, &mut self.part);
                    self.single.experts[expert].clear();
                    output[at..][..hidden].iter_mut().zip(&self.part).for_each(|(to, from)| *to += from);
                }
            }
        }
        let most = routes.iter().map(Vec::len).max().unwrap_or(0);
        let all: usize = routes.iter().map(Vec::len).sum();
        let empty = routes.iter().filter(|r| r.is_empty()).count();
        Ok(Done {
            tokens: Some(tokens as u32),
            metrics: vec![
                ("largest_expert_share", most as f64 / all.max(1) as f64),
                ("empty_experts", empty as f64),
            ],
        })
    }

    fn held_bytes(&self) -> usize {
        self.experts.iter().map(|e| e.gate_up.bytes() + e.down.bytes()).sum::<usize>()
            + self.part.capacity() * size_of::<f32>()
    }
}
