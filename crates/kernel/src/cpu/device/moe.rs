//! Routed experts.

use stopwatt_core::kernel_table::{Op, Shape};

use super::{Operation, Setup, dot, f32_bytes, fill_matrix, multiple, sizes, unsupported};
use crate::case::CaseError;
use crate::cpu::random::Random;
use crate::cpu::{Buffer, Cpu, Expert, MoeScratch, Routes, moe_experts};

/// Layers of experts stay in turn; other routes each time keep a large layer cold by themselves.
pub(super) struct Experts {
    routing: Routing,
    hidden: usize,
    layers: Vec<Vec<Expert>>,
    scratch: MoeScratch,
    sets: Vec<(Buffer, Routes, Buffer)>,
}

/// How tokens choose.
#[derive(Debug, Clone, Copy)]
struct Routing {
    tokens: usize,
    experts: usize,
    top_k: usize,
    /// Expert `e` is chosen in proportion to `(e + 1)^−exponent`.
    exponent: f64,
}

impl Routing {
    fn draw(&self, random: &mut Random) -> Routes {
        let weights: Vec<f64> = (1..=self.experts).map(|e| (e as f64).powf(-self.exponent)).collect();
        let mut routes = Routes { experts: vec![Vec::new(); self.experts] };
        for token in 0..self.tokens {
            let mut left = weights.clone();
            for _ in 0..self.top_k {
                let mut aim = random.share() * left.iter().sum::<f64>();
                let found = left.iter().position(|w| {
                    aim -= w;
                    aim < 0.0 && *w > 0.0
                });
                // Rounding may let the last one through.
                let expert = found.or_else(|| left.iter().rposition(|w| *w > 0.0)).unwrap_or(0);
                left[expert] = 0.0;
                routes.experts[expert].push((token as u32, 1.0 / self.top_k as f32));
            }
        }
        routes
    }
}

impl Experts {
    pub(super) fn new(op: &Op, setup: &mut Setup) -> Result<Self, CaseError> {
        let Shape::Experts { tokens, experts, top_k, hidden, intermediate, skew_percent } = op.shape else {
            return unsupported("not the shape of experts");
        };
        let [tokens, experts, top_k, hidden, intermediate] =
            sizes([tokens, experts, top_k, hidden, intermediate])?;
        if top_k > experts {
            return unsupported("a token needs more experts than there are");
        }
        let routing = Routing { tokens, experts, top_k, exponent: f64::from(skew_percent) / 100.0 };
        let matrices = (3 * hidden * intermediate * setup.precision.bytes()) as u64;
        let layers = setup.copies(experts as u64 * matrices)?;
        let reached = (tokens * top_k).min(experts) as u64;
        let operands = f32_bytes(2 * tokens * hidden);
        // A set of its own for as many calls as it takes to reach more experts than a cache holds.
        let turns = setup.cold_bytes.map_or(1, |cold| cold.div_ceil(reached * matrices + operands).max(1));
        setup.room(turns * operands)?;
        let sets = (0..turns)
            .map(|_| {
                let routes = routing.draw(&mut setup.random);
                Ok((setup.buffer(tokens * hidden)?, routes, setup.buffer(tokens * hidden)?))
            })
            .collect::<Result<_, CaseError>>()?;
        let scale = |width: usize| 1.0 / (width as f32).sqrt();
        let layers = (0..layers)
            .map(|_| {
                let expert = |_| {
                    Ok(Expert {
                        gate_up: setup.matrix(2 * intermediate, hidden, scale(hidden))?,
                        down: setup.matrix(hidden, intermediate, scale(intermediate))?,
                    })
                };
                (0..experts).map(expert).collect::<Result<_, CaseError>>()
            })
            .collect::<Result<_, CaseError>>()?;
        Ok(Self { routing, hidden, layers, scratch: MoeScratch::default(), sets })
    }
}

impl Operation for Experts {
    fn kernel(&self) -> &'static str {
        "moe_experts"
    }

    fn copies(&self) -> usize {
        self.sets.len()
    }

    fn refill(&mut self, random: &mut Random) {
        let (x, routes, y) = &mut self.sets[0];
        random.fill(x);
        *routes = self.routing.draw(random);
        // New weights for one expert: all of them are gigabytes in a large model.
        let expert = random.below(self.routing.experts);
        let Expert { gate_up, down } = &mut self.layers[0][expert];
        for matrix in [gate_up, down] {
            let scale = 1.0 / (matrix.cols() as f32).sqrt();
            fill_matrix(matrix, scale, random);
        }
        y.fill(f32::NAN);
    }

    fn call(&mut self, cpu: &Cpu, copy: usize) {
        let layer = &self.layers[copy % self.layers.len()];
        let (x, routes, y) = &mut self.sets[copy];
        moe_experts(cpu, x, layer, routes, &mut self.scratch, y);
    }

    fn deviation(&self, random: &mut Random) -> f64 {
        let (x, routes, y) = &self.sets[0];
        if y.iter().any(|v| v.is_nan()) {
            return f64::INFINITY;
        }
        let token = random.below(self.routing.tokens);
        let row = &x[token * self.hidden..][..self.hidden];
        let mut exact = vec![0.0; self.hidden];
        for (expert, tokens) in routes.experts.iter().enumerate() {
            let Some((_, weight)) = tokens.iter().find(|(t, _)| *t as usize == token) else { continue };
            let Expert { gate_up, down } = &self.layers[0][expert];
            let width = down.cols();
            let inner: Vec<f64> = (0..width)
                .map(|i| {
                    let (gate, up) = (dot(row, &gate_up.row(i)).0, dot(row, &gate_up.row(width + i)).0);
                    gate / (1.0 + (-gate).exp()) * up
                })
                .collect();
            for (j, exact) in exact.iter_mut().enumerate() {
                let sum: f64 = down.row(j).iter().zip(&inner).map(|(w, v)| f64::from(*w) * v).sum();
                *exact += f64::from(*weight) * sum;
            }
        }
        let found = &y[token * self.hidden..][..self.hidden];
        found.iter().zip(&exact).map(|(f, e)| multiple(*f, *e, 1e-5)).fold(0.0, f64::max)
    }
}
