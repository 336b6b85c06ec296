//! Outputs of iterations that were timed: what was measured must also have been right.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::verify::{Unverified, apart};

/// The output of the last timed iteration of each trial of one side.
#[derive(Debug, Default)]
pub struct Witness(Mutex<BTreeMap<u32, Vec<f32>>>);

/// How far the timed outputs of two sides are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Apart {
    /// Trials of which both sides have an output.
    pub trials: u32,
    /// Largest difference, relative to the largest number of the baseline's output.
    pub largest: f64,
}

impl Witness {
    /// Keeps the output of a trial.
    pub fn put(&self, trial: u32, output: Vec<f32>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(trial, output);
    }

    /// Holds the outputs of two sides against each other, trial by trial.
    ///
    /// # Errors
    /// They differ by more than `tolerance`, or numbers are not finite.
    pub fn against(&self, optimised: &Self, tolerance: f64) -> Result<Apart, Unverified> {
        let ours = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = optimised.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Apart { trials: 0, largest: 0.0 };
        for (trial, output) in ours.iter() {
            let Some(other) = theirs.get(trial) else { continue };
            found.largest = found.largest.max(apart(output, other, tolerance)?);
            found.trials += 1;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timed_outputs_are_compared_trial_by_trial() {
        let (ours, theirs) = (Witness::default(), Witness::default());
        ours.put(0, vec![1.0, -2.0]);
        ours.put(1, vec![3.0, 4.0]);
        theirs.put(0, vec![1.0, -2.002]);
        let found = ours.against(&theirs, 0.01).unwrap();
        assert_eq!(found.trials, 1);
        assert!((found.largest - 0.001).abs() < 1e-6, "{found:?}");
        theirs.put(1, vec![4.0, 3.0]);
        assert!(matches!(ours.against(&theirs, 0.01), Err(Unverified::Differs { .. })));
        theirs.put(1, vec![3.0]);
        assert!(matches!(ours.against(&theirs, 0.01), Err(Unverified::Lengths { .. })));
    }
}
