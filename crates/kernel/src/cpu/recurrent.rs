//! Recurrent layers, with the gates and the two biases that PyTorch's have.
//!
//! The input's part of all time steps is one product; the state's part follows step by step. Series are time ×
//! sequence × number.

#![expect(unsafe_code, reason = "vector loads from slices, disjoint output rows")]

use super::linear::{linear, linear_add};
use super::matrix::Matrix;
use super::simd::{Kernel, Simd, dispatch};
use super::threads::{Cpu, Output};

/// Weights of one layer: gates × width of the state rows. LSTM has the gates input, forget, cell, output; GRU has
/// reset, update, new.
#[derive(Debug)]
pub struct RecurrentLayer {
    /// From the layer's input.
    pub input: Matrix,
    /// From its state.
    pub state: Matrix,
    /// Added to the input's part.
    pub input_bias: Vec<f32>,
    /// Added to the state's part.
    pub state_bias: Vec<f32>,
}

/// Memory that calls share.
#[derive(Debug, Default)]
pub struct RecurrentScratch {
    gates: Vec<f32>,
    state_gates: Vec<f32>,
    cell: Vec<f32>,
}

/// Long short-term memory from zero states; `y` gets the state of the last layer at every step.
///
/// # Panics
///
/// When the sizes of `x`, `layers` and `y` do not agree.
pub fn lstm(
    cpu: &Cpu,
    layers: &[RecurrentLayer],
    batch: usize,
    x: &[f32],
    s: &mut RecurrentScratch,
    y: &mut [f32],
) {
    let (hidden, steps) = sizes(layers, batch, 4, x, y);
    for (index, layer) in layers.iter().enumerate() {
        input_part(cpu, layer, index, batch * steps, x, &mut s.gates, y);
        s.cell.clear();
        s.cell.resize(batch * hidden, 0.0);
        for t in 0..steps {
            let (before, now) = y.split_at_mut(t * batch * hidden);
            let gates = &mut s.gates[t * batch * 4 * hidden..][..batch * 4 * hidden];
            if t > 0 {
                linear_add(cpu, &before[(t - 1) * batch * hidden..], &layer.state, gates);
            }
            let (cell, out) = (Output::new(&mut s.cell), Output::new(&mut now[..batch * hidden]));
            cpu.each(batch, |row| {
                let gates = &gates[row * 4 * hidden..][..4 * hidden];
                // SAFETY: rows of both outputs do not overlap, and each is visited by one task.
                let (cell, h) = unsafe {
                    (
                        std::slice::from_raw_parts_mut(cell.get().add(row * hidden), hidden),
                        std::slice::from_raw_parts_mut(out.get().add(row * hidden), hidden),
                    )
                };
                dispatch(cpu.isa(), Lstm { gates, layer, cell, h });
            });
        }
    }
}

/// Gated recurrent units from zero states; `y` gets the state of the last layer at every step.
///
/// # Panics
///
/// When the sizes of `x`, `layers` and `y` do not agree.
pub fn gru(
    cpu: &Cpu,
    layers: &[RecurrentLayer],
    batch: usize,
    x: &[f32],
    s: &mut RecurrentScratch,
    y: &mut [f32],
) {
    let (hidden, steps) = sizes(layers, batch, 3, x, y);
    for (index, layer) in layers.iter().enumerate() {
        input_part(cpu, layer, index, batch * steps, x, &mut s.gates, y);
        s.cell.clear();
        s.cell.resize(batch * hidden, 0.0);
        s.state_gates.clear();
        s.state_gates.resize(batch * 3 * hidden, 0.0);
        for t in 0..steps {
            let (before, now) = y.split_at_mut(t * batch * hidden);
            let previous = if t > 0 { &before[(t - 1) * batch * hidden..] } else { &s.cell };
            if t > 0 {
                linear(cpu, previous, &layer.state, &mut s.state_gates);
            }
            let (gates, state_gates) =
                (&s.gates[t * batch * 3 * hidden..][..batch * 3 * hidden], &s.state_gates);
            let out = Output::new(&mut now[..batch * hidden]);
            cpu.each(batch, |row| {
                let gates = &gates[row * 3 * hidden..][..3 * hidden];
                let state_gates = &state_gates[row * 3 * hidden..][..3 * hidden];
                let previous = &previous[row * hidden..][..hidden];
                // SAFETY: rows of the output do not overlap, and each is visited by one task.
                let h = unsafe { std::slice::from_raw_parts_mut(out.get().add(row * hidden), hidden) };
                dispatch(cpu.isa(), Gru { gates, state_gates, layer, previous, h });
            });
        }
    }
}

/// Width of the state and number of steps.
fn sizes(layers: &[RecurrentLayer], batch: usize, gates: usize, x: &[f32], y: &[f32]) -> (usize, usize) {
    let first = layers.first().expect("recurrent: at least one layer");
    let (hidden, width) = (first.state.cols(), first.input.cols());
    let steps = x.len() / (batch * width);
    assert!(
        x.len() == steps * batch * width && y.len() == steps * batch * hidden,
        "recurrent: series differ"
    );
    for (index, layer) in layers.iter().enumerate() {
        let reads = if index == 0 { width } else { hidden };
        assert!(
            layer.input.rows() == gates * hidden
                && layer.state.rows() == gates * hidden
                && layer.input.cols() == reads
                && layer.state.cols() == hidden
                && layer.input_bias.len() == gates * hidden
                && layer.state_bias.len() == gates * hidden,
            "recurrent: layer {index} differs"
        );
    }
    (hidden, steps)
}

/// The input's part of the gates of all steps. Layers above the first read what the one below wrote to `y`.
fn input_part(
    cpu: &Cpu,
    layer: &RecurrentLayer,
    index: usize,
    rows: usize,
    x: &[f32],
    gates: &mut Vec<f32>,
    y: &[f32],
) {
    gates.resize(rows * layer.input.rows(), 0.0);
    linear(cpu, if index == 0 { x } else { y }, &layer.input, gates);
}

#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(s.splat(1.0), s.add(s.splat(1.0), s.exp(s.sub(s.zero(), x))))
}

#[inline(always)]
fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let twice = sigmoid(s, s.add(x, x));
    s.sub(s.add(twice, twice), s.splat(1.0))
}

fn sigmoid_of(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

struct Lstm<'a> {
    gates: &'a [f32],
    layer: &'a RecurrentLayer,
    cell: &'a mut [f32],
    h: &'a mut [f32],
}

impl Kernel for Lstm<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { gates, layer, cell, h } = self;
        let hidden = h.len();
        let (bias, more) = (&layer.input_bias, &layer.state_bias);
        assert!(gates.len() >= 4 * hidden && bias.len() >= 4 * hidden && more.len() >= 4 * hidden);
        let whole = hidden - hidden % S::LANES;
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: gate × hidden + i + LANES ≤ 4 × hidden, the length of the gates and biases; i + LANES ≤ hidden.
            unsafe {
                let mut g = [s.zero(); 4];
                for (gate, g) in g.iter_mut().enumerate() {
                    let at = gate * hidden + i;
                    let biases = s.add(s.load(bias.as_ptr().add(at)), s.load(more.as_ptr().add(at)));
                    *g = s.add(s.load(gates.as_ptr().add(at)), biases);
                }
                let kept = s.mul(sigmoid(s, g[1]), s.load(cell.as_ptr().add(i)));
                let c = s.fma(sigmoid(s, g[0]), tanh(s, g[2]), kept);
                s.store(cell.as_mut_ptr().add(i), c);
                s.store(h.as_mut_ptr().add(i), s.mul(sigmoid(s, g[3]), tanh(s, c)));
            }
        }
        for i in whole..hidden {
            let at = |gate: usize| {
                let at = gate * hidden + i;
                gates[at] + bias[at] + more[at]
            };
            cell[i] = sigmoid_of(at(1)) * cell[i] + sigmoid_of(at(0)) * at(2).tanh();
            h[i] = sigmoid_of(at(3)) * cell[i].tanh();
        }
    }
}

struct Gru<'a> {
    gates: &'a [f32],
    state_gates: &'a [f32],
    layer: &'a RecurrentLayer,
    previous: &'a [f32],
    h: &'a mut [f32],
}

impl Kernel for Gru<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { gates, state_gates, layer, previous, h } = self;
        let hidden = h.len();
        let (bias, more) = (&layer.input_bias, &layer.state_bias);
        assert!(gates.len() >= 3 * hidden && state_gates.len() >= 3 * hidden && previous.len() >= hidden);
        assert!(bias.len() >= 3 * hidden && more.len() >= 3 * hidden);
        let whole = hidden - hidden % S::LANES;
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: gate × hidden + i + LANES ≤ 3 × hidden, the length of the gates and biases; i + LANES ≤ hidden.
            unsafe {
                let mut from_input = [s.zero(); 3];
                let mut from_state = [s.zero(); 3];
                for gate in 0..3 {
                    let at = gate * hidden + i;
                    from_input[gate] = s.add(s.load(gates.as_ptr().add(at)), s.load(bias.as_ptr().add(at)));
                    from_state[gate] =
                        s.add(s.load(state_gates.as_ptr().add(at)), s.load(more.as_ptr().add(at)));
                }
                let reset = sigmoid(s, s.add(from_input[0], from_state[0]));
                let update = sigmoid(s, s.add(from_input[1], from_state[1]));
                let new = tanh(s, s.fma(reset, from_state[2], from_input[2]));
                let old = s.load(previous.as_ptr().add(i));
                s.store(h.as_mut_ptr().add(i), s.fma(update, s.sub(old, new), new));
            }
        }
        for i in whole..hidden {
            let (reset, update) = (i, hidden + i);
            let last = 2 * hidden + i;
            let reset = sigmoid_of(gates[reset] + bias[reset] + state_gates[reset] + more[reset]);
            let update = sigmoid_of(gates[update] + bias[update] + state_gates[update] + more[update]);
            let new = (gates[last] + bias[last] + reset * (state_gates[last] + more[last])).tanh();
            h[i] = update * (previous[i] - new) + new;
        }
    }
}
