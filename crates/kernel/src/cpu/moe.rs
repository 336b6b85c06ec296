//! Routed experts: each token goes through some of many gated feed-forward layers.

use super::activation::silu_mul;
use super::linear::linear;
use super::matrix::Matrix;
use super::threads::Cpu;

/// One expert.
#[derive(Debug)]
pub struct Expert {
    /// Gate and up projections, one below the other.
    pub gate_up: Matrix,
    /// Down projection.
    pub down: Matrix,
}

/// Which tokens go to which expert, and with what weight.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Routes {
    /// For each expert: token and weight.
    pub experts: Vec<Vec<(u32, f32)>>,
}

/// Memory that calls share.
#[derive(Debug, Default)]
pub struct MoeScratch {
    tokens: Vec<f32>,
    gate_up: Vec<f32>,
    inner: Vec<f32>,
    outer: Vec<f32>,
}

/// `y[t] = Σ weight · down(silu(gate(x[t])) · up(x[t]))` over the experts of token `t`.
///
/// # Panics
///
/// When `x` and `y` differ in length, or a route names a token or expert that is not there.
pub fn moe_experts(
    cpu: &Cpu,
    x: &[f32],
    experts: &[Expert],
    routes: &Routes,
    s: &mut MoeScratch,
    y: &mut [f32],
) {
    assert_eq!(x.len(), y.len(), "moe_experts: lengths differ");
    y.fill(0.0);
    for (expert, tokens) in routes.experts.iter().enumerate().filter(|(_, tokens)| !tokens.is_empty()) {
        let Expert { gate_up, down } = &experts[expert];
        let (hidden, inner) = (down.rows(), down.cols());
        s.tokens.clear();
        tokens.iter().for_each(|(t, _)| s.tokens.extend_from_slice(&x[*t as usize * hidden..][..hidden]));
        s.gate_up.resize(tokens.len() * 2 * inner, 0.0);
        linear(cpu, &s.tokens, gate_up, &mut s.gate_up);
        s.inner.resize(tokens.len() * inner, 0.0);
        silu_mul(cpu, &s.gate_up, inner, &mut s.inner);
        s.outer.resize(tokens.len() * hidden, 0.0);
        linear(cpu, &s.inner, down, &mut s.outer);
        for ((token, weight), from) in tokens.iter().zip(s.outer.chunks_exact(hidden)) {
            let to = &mut y[*token as usize * hidden..][..hidden];
            to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
        }
    }
}
