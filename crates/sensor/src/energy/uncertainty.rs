//! How sure a window's energy is, in parts that are told apart.
//!
//! u² = (√2 · tick · P / √12)² + (run-to-run standard error)² + (gain / 2 · E)²
//!
//! - *edge*: each end of the window lies somewhere within a tick, a rectangular distribution (GUM, JCGM 100:2008,
//!   4.3.7: a/√3 for ±a, so tick/√12), twice and independent;
//! - *repeats*: what repetitions of the same work showed;
//! - *gain*: the instrument's calibration, stated at k ≈ 2. It cancels between two runs on the same device.

use serde::Serialize;

/// Standard uncertainties (k = 1), in joules.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Uncertainty {
    /// From the two ends of the window.
    pub edge_j: f64,
    /// From repetitions; `None` when there was one run.
    pub repeats_j: Option<f64>,
    /// From the gain of the instrument.
    pub gain_j: f64,
}

impl Uncertainty {
    pub(super) fn new(energy_j: f64, duration_s: f64, tick_s: f64, gain: f64) -> Self {
        let power = energy_j / duration_s;
        Self {
            edge_j: std::f64::consts::SQRT_2 * tick_s * power / 12f64.sqrt(),
            repeats_j: None,
            gain_j: gain / 2.0 * energy_j,
        }
    }

    pub(super) fn sum<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        let (mut edge, mut repeats, mut gain) = (0.0, None, 0.0);
        for part in parts {
            edge += part.edge_j.powi(2);
            gain += part.gain_j;
            repeats = part.repeats_j.map(|r| repeats.unwrap_or(0.0) + r * r).or(repeats);
        }
        Self { edge_j: edge.sqrt(), repeats_j: repeats.map(f64::sqrt), gain_j: gain }
    }

    /// All parts together, k = 1.
    pub fn combined(&self) -> f64 {
        let repeats = self.repeats_j.unwrap_or(0.0);
        self.edge_j.hypot(repeats).hypot(self.gain_j)
    }

    /// All parts together, k = 2.
    pub fn expanded(&self) -> f64 {
        2.0 * self.combined()
    }

    /// Without the gain, k = 2: for comparing two runs on the same device.
    pub fn expanded_on_same_device(&self) -> f64 {
        2.0 * self.edge_j.hypot(self.repeats_j.unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_by_hand() {
        // 600 W for 10 s, ticks of 0.1 s: √2 · 0.1 · 600 / √12 = 24.495 J; 5 % / 2 of 6000 J = 150 J.
        let mut u = Uncertainty::new(6000.0, 10.0, 0.1, 0.05);
        assert!((u.edge_j - 24.494_897).abs() < 1e-5);
        assert!((u.gain_j - 150.0).abs() < 1e-9);
        u.repeats_j = Some(40.0);
        assert!((u.combined() - 157.162_336).abs() < 1e-5); // √(600 + 1600 + 22500)
        assert!((u.expanded_on_same_device() - 93.808_315).abs() < 1e-5); // 2 · √(600 + 1600)
    }

    #[test]
    fn edges_of_devices_are_independent_and_gains_are_not() {
        let one = Uncertainty { edge_j: 3.0, repeats_j: None, gain_j: 10.0 };
        let two = Uncertainty { edge_j: 4.0, repeats_j: Some(2.0), gain_j: 5.0 };
        let sum = Uncertainty::sum([&one, &two].into_iter());
        assert_eq!(sum, Uncertainty { edge_j: 5.0, repeats_j: Some(2.0), gain_j: 15.0 });
    }
}
