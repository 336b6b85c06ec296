//! Recurrent layers in double precision.

use rayon::prelude::*;

use super::Cell;

/// Weights of one layer on the host, a matrix and two biases a gate.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    /// One a gate, `[hidden, width of the input]`.
    pub(super) input: Vec<Vec<f64>>,
    /// One a gate, `[hidden, hidden]`.
    pub(super) state: Vec<Vec<f64>>,
    /// One a gate.
    pub(super) input_bias: Vec<Vec<f64>>,
    /// One a gate.
    pub(super) state_bias: Vec<Vec<f64>>,
}

/// One layer over time, in double precision.
pub(super) struct Reference<'a> {
    cell: Cell,
    weights: &'a Weights,
    output: Vec<f64>,
    memory: Vec<f64>,
}

impl<'a> Reference<'a> {
    pub(super) fn new(cell: Cell, weights: &'a Weights, hidden: usize) -> Self {
        Self { cell, weights, output: vec![0.0; hidden], memory: vec![0.0; hidden] }
    }

    /// Output of the next step.
    pub(super) fn step(&mut self, input: &[f64]) -> &[f64] {
        let w = self.weights;
        let dot = |matrix: &[f64], row: usize, with: &[f64]| -> f64 {
            matrix[row * with.len()..][..with.len()].iter().zip(with).map(|(a, b)| a * b).sum()
        };
        let output = &self.output;
        let memory = &self.memory;
        let next: Vec<(f64, f64)> = (0..output.len())
            .into_par_iter()
            .map(|unit| {
                let from_input = |gate: usize| dot(&w.input[gate], unit, input) + w.input_bias[gate][unit];
                let from_state = |gate: usize| dot(&w.state[gate], unit, output) + w.state_bias[gate][unit];
                let open = |gate: usize| 1.0 / (1.0 + (-(from_input(gate) + from_state(gate))).exp());
                match self.cell {
                    Cell::Lstm => {
                        let new = (from_input(2) + from_state(2)).tanh();
                        let memory = open(1) * memory[unit] + open(0) * new;
                        (open(3) * memory.tanh(), memory)
                    }
                    Cell::Gru => {
                        let new = (from_input(2) + open(0) * from_state(2)).tanh();
                        let update = open(1);
                        ((1.0 - update) * new + update * output[unit], 0.0)
                    }
                }
            })
            .collect();
        (self.output, self.memory) = next.into_iter().unzip();
        &self.output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One unit whose weights are all `w` and whose biases are zero.
    fn one_unit(gates: usize, w: f64) -> Weights {
        let matrix = vec![vec![w]; gates];
        let zero = vec![vec![0.0]; gates];
        Weights { input: matrix.clone(), state: matrix, input_bias: zero.clone(), state_bias: zero }
    }

    #[test]
    fn a_cell_remembers_through_its_forget_gate() {
        let weights = one_unit(4, 1.0);
        let mut lstm = Reference::new(Cell::Lstm, &weights, 1);
        // σ(1) = 0.731 059, tanh(1) = 0.761 594: c = 0.556 770, h = σ(1)·tanh(c) = 0.369 606
        assert!((lstm.step(&[1.0])[0] - 0.369_606).abs() < 1e-5);
        // σ(0.369 606) = 0.591 364, tanh = 0.353 638: c = 0.538 388, h = 0.290 813
        assert!((lstm.step(&[0.0])[0] - 0.290_813).abs() < 1e-5, "{}", lstm.output[0]);
    }

    #[test]
    fn an_update_gate_mixes_old_and_new() {
        let weights = one_unit(3, 1.0);
        let mut gru = Reference::new(Cell::Gru, &weights, 1);
        // z = σ(1): h = (1 − 0.731 059)·tanh(1) = 0.204 824
        assert!((gru.step(&[1.0])[0] - 0.204_824).abs() < 1e-5);
    }
}
