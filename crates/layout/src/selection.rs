//! Which units a step needs: those that carry a stated share of its weight.
//!
//! Importances are one number a unit and step, not negative: what a neuron adds to the output, the attention a token
//! gets. A step keeps the heaviest units, or the heaviest **blocks** of units that lie together, until they carry
//! `energy` of the sum of squares. Blocks are what memory and vector units like; which units share one depends on the
//! layout, so that what is selected by blocks depends on it too.

use crate::permutation::Permutation;
use crate::trace::{Trace, TraceError};

/// How units are selected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selection {
    /// Unit by unit: the layout does not matter.
    Units {
        /// Share of the sum of squares that is kept.
        energy: f64,
    },
    /// Block by block of consecutive places.
    Blocks {
        /// Share of the sum of squares that is kept.
        energy: f64,
        /// Places of a block.
        size: usize,
    },
}

/// Importances: a row a step, one number a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Importances {
    d: usize,
    rows: Vec<f32>,
}

/// Why there are no importances.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportanceError {
    /// Not whole rows.
    #[error("{numbers} numbers are not whole rows of {d} units")]
    Shape {
        /// Numbers given.
        numbers: usize,
        /// Units.
        d: usize,
    },
    /// One is no number, or negative.
    #[error("the importance of unit {unit} in step {step} is negative or no number")]
    Value {
        /// The step.
        step: usize,
        /// The unit.
        unit: usize,
    },
}

impl Importances {
    /// From whole rows.
    ///
    /// # Errors
    /// Not whole rows, or a number that is negative or none.
    pub fn new(d: usize, rows: Vec<f32>) -> Result<Self, ImportanceError> {
        if d == 0 || rows.is_empty() || !rows.len().is_multiple_of(d) {
            return Err(ImportanceError::Shape { numbers: rows.len(), d });
        }
        match rows.iter().position(|v| !v.is_finite() || *v < 0.0) {
            Some(at) => Err(ImportanceError::Value { step: at / d, unit: at % d }),
            None => Ok(Self { d, rows }),
        }
    }

    /// Units.
    pub fn d(&self) -> usize {
        self.d
    }

    /// Steps.
    pub fn len(&self) -> usize {
        self.rows.len() / self.d
    }

    /// There are no steps.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every number, step by step.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// One step.
    pub fn step(&self, index: usize) -> &[f32] {
        &self.rows[index * self.d..(index + 1) * self.d]
    }

    /// The steps before `at`, and those from it on.
    pub fn split(&self, at: usize) -> (Self, Self) {
        let (a, b) = self.rows.split_at(at.min(self.len()) * self.d);
        (Self { d: self.d, rows: a.to_vec() }, Self { d: self.d, rows: b.to_vec() })
    }
}

/// The units of one step, ascending.
///
/// # Panics
/// When the layout is of another width.
pub fn select(weights: &[f32], pi: &Permutation, how: Selection) -> Vec<u32> {
    assert_eq!(weights.len(), pi.len(), "a permutation of another width");
    let (energy, size) = match how {
        Selection::Units { energy } => (energy, 1),
        Selection::Blocks { energy, size } => (energy, size.max(1)),
    };
    let square = |unit: &u32| f64::from(weights[*unit as usize]).powi(2);
    let units: Vec<u32>;
    let order = match how {
        // Ties go to the unit with the lower number, so that the layout decides nothing.
        Selection::Units { .. } => {
            units = (0..weights.len() as u32).collect();
            &units[..]
        }
        Selection::Blocks { .. } => pi.order(),
    };
    let mut blocks: Vec<(f64, &[u32])> =
        order.chunks(size).map(|block| (block.iter().map(square).sum(), block)).collect();
    let all: f64 = blocks.iter().map(|b| b.0).sum();
    blocks.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut kept, mut chosen) = (0.0, Vec::new());
    for (sum, block) in blocks {
        if kept >= energy * all || sum <= 0.0 {
            break;
        }
        kept += sum;
        chosen.extend_from_slice(block);
    }
    chosen.sort_unstable();
    chosen
}

/// What every step selects.
///
/// # Errors
/// Nothing is selected in any step.
pub fn trace(importances: &Importances, pi: &Permutation, how: Selection) -> Result<Trace, TraceError> {
    let steps = (0..importances.len()).map(|t| select(importances.step(t), pi, how));
    Trace::new(importances.d(), steps)
}

/// Share of the sum of squares that a trace leaves out, over all steps; 0 when there is nothing to leave out.
pub fn lost_energy(importances: &Importances, trace: &Trace) -> f64 {
    let square = |v: f32| f64::from(v).powi(2);
    let all: f64 = importances.rows.iter().map(|v| square(*v)).sum();
    let kept: f64 = trace
        .steps()
        .enumerate()
        .map(|(t, units)| units.iter().map(|&u| square(importances.step(t)[u as usize])).sum::<f64>())
        .sum();
    if all > 0.0 { (1.0 - kept / all).max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_come_first_until_enough_is_kept() {
        // Squares 16, 9, 1, 0 of 26.
        let weights = [4.0, 1.0, 3.0, 0.0];
        let identity = Permutation::identity(4);
        let units = |energy| select(&weights, &identity, Selection::Units { energy });
        assert_eq!((units(0.5), units(0.9), units(1.0)), (vec![0], vec![0, 2], vec![0, 1, 2]));
        // Blocks {0,1} = 17 and {2,3} = 9 keep 0.65 with one; together {0,2} = 25 keep 0.96.
        let blocks = |pi: &Permutation| select(&weights, pi, Selection::Blocks { energy: 0.9, size: 2 });
        assert_eq!(blocks(&identity), [0, 1, 2, 3]);
        assert_eq!(blocks(&Permutation::from_order(vec![0, 2, 1, 3]).unwrap()), [0, 2]);
    }

    #[test]
    fn selecting_units_does_not_know_the_layout() {
        let weights: Vec<f32> = (0..50).map(|i| ((i * 37) % 11) as f32).collect();
        let how = Selection::Units { energy: 0.8 };
        let first = select(&weights, &Permutation::identity(50), how);
        assert!((0..5).all(|seed| select(&weights, &Permutation::random(50, seed), how) == first));
    }

    #[test]
    fn what_is_lost_is_what_was_not_kept() {
        let importances = Importances::new(2, vec![3.0, 4.0, 0.0, 0.0]).unwrap();
        let trace = trace(&importances, &Permutation::identity(2), Selection::Units { energy: 0.6 }).unwrap();
        assert_eq!(trace.steps().collect::<Vec<_>>(), [&[1][..], &[]]);
        assert!((lost_energy(&importances, &trace) - 9.0 / 25.0).abs() < 1e-12);
        let (a, b) = importances.split(1);
        assert_eq!((a.len(), b.step(0)), (1, &[0.0, 0.0][..]));
    }

    #[test]
    fn bad_importances_are_refused() {
        assert!(matches!(Importances::new(2, vec![0.0; 3]), Err(ImportanceError::Shape { .. })));
        assert_eq!(
            Importances::new(2, vec![0., 0., 0., -1.]),
            Err(ImportanceError::Value { step: 1, unit: 1 })
        );
        assert!(Importances::new(1, vec![f32::NAN]).is_err());
    }
}
