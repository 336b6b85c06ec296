//! Fully connected layers.

use stopwatt_core::kernel_table::{Op, Shape};

use super::{Operation, Setup, dot, f32_bytes, fill_matrix, multiple, sizes, sum_tolerance, unsupported};
use crate::case::CaseError;
use crate::cpu::random::Random;
use crate::cpu::{Buffer, Cpu, Matrix, linear};

pub(super) struct Product {
    k: usize,
    sets: Vec<(Buffer, Matrix, Buffer)>,
}

impl Product {
    pub(super) fn new(op: &Op, setup: &mut Setup) -> Result<Self, CaseError> {
        let Shape::Matrix { m, n, k } = op.shape else { return unsupported("not the shape of a product") };
        let [m, n, k] = sizes([m, n, k])?;
        let bytes = f32_bytes(m * k + m * n) + (n * k * setup.precision.bytes()) as u64;
        let sets = (0..setup.copies(bytes)?)
            .map(|_| Ok((setup.buffer(m * k)?, setup.matrix(n, k, 1.0)?, setup.buffer(m * n)?)))
            .collect::<Result<_, CaseError>>()?;
        Ok(Self { k, sets })
    }
}

impl Operation for Product {
    fn kernel(&self) -> &'static str {
        "linear"
    }

    fn copies(&self) -> usize {
        self.sets.len()
    }

    fn refill(&mut self, random: &mut Random) {
        let (x, w, y) = &mut self.sets[0];
        random.fill(x);
        fill_matrix(w, 1.0, random);
        y.fill(f32::NAN);
    }

    fn call(&mut self, cpu: &Cpu, copy: usize) {
        let (x, w, y) = &mut self.sets[copy];
        linear(cpu, x, w, y);
    }

    fn deviation(&self, random: &mut Random) -> f64 {
        let (x, w, y) = &self.sets[0];
        let (k, n) = (self.k, w.rows());
        let one = |_| {
            let (i, j) = (random.below(x.len() / k), random.below(n));
            let (exact, size) = dot(&x[i * k..][..k], &w.row(j));
            multiple(y[i * n + j], exact, size * sum_tolerance(k))
        };
        (0..64).map(one).fold(0.0, f64::max)
    }
}
