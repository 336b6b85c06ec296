//! Series whose truth is known, for tests and simulations.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A standard normal value by the polar method of Marsaglia.
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    loop {
        let (u, v) = (rng.random_range(-1.0..1.0f64), rng.random_range(-1.0..1.0f64));
        let s = u * u + v * v;
        if s > 0.0 && s < 1.0 {
            return u * (-2.0 * s.ln() / s).sqrt();
        }
    }
}

/// An AR(1) series with standard normal marginals and lag-1 correlation `phi`, begun in its stationary state.
pub(crate) fn ar1(rng: &mut ChaCha8Rng, n: usize, phi: f64) -> Vec<f64> {
    let innovation = (1.0 - phi * phi).sqrt();
    let mut x = normal(rng);
    (0..n)
        .map(|_| {
            let now = x;
            x = phi * x + innovation * normal(rng);
            now
        })
        .collect()
}
