//! Outputs of two sides, held against each other on inputs that neither knew when it was set up.

/// What holding both sides against each other showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verified {
    /// Inputs that both were given.
    pub inputs: u64,
    /// Numbers of an output.
    pub numbers: usize,
    /// Largest difference, relative to the largest number of the baseline's output.
    pub largest: f64,
}

/// Why a pair says nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unverified {
    /// A side could not do the work.
    #[error("the {side} failed: {reason}")]
    Failed {
        /// Which side.
        side: &'static str,
        /// What it said.
        reason: String,
    },
    /// Numbers are missing or not finite.
    #[error("the {side} left {numbers} numbers of its output unwritten or not finite")]
    NotFinite {
        /// Which side.
        side: &'static str,
        /// How many.
        numbers: usize,
    },
    /// One output is longer than the other, or both are empty.
    #[error("outputs have {baseline} and {optimised} numbers")]
    Lengths {
        /// Numbers of the baseline's.
        baseline: usize,
        /// Numbers of the other's.
        optimised: usize,
    },
    /// The outputs are not the same.
    #[error("outputs differ by {largest:.1e} of their size; {tolerance:.1e} is allowed")]
    Differs {
        /// Largest difference, relative.
        largest: f64,
        /// What is allowed.
        tolerance: f64,
    },
    /// Another input gives the same output.
    #[error("the output does not depend on the input")]
    Constant,
}

/// Does the work once on the inputs of a seed, and hands over the output.
pub type Answer<'a> = dyn FnMut(u64) -> Result<Vec<f32>, String> + 'a;

/// Gives both sides the inputs of the same seeds, each time the other side first, and holds their outputs against each
/// other. The seeds must be chosen after both were set up.
///
/// # Errors
/// A side fails, or its output is unfinished, different or constant.
pub fn verify(
    baseline: &mut Answer<'_>,
    optimised: &mut Answer<'_>,
    seeds: &[u64],
    tolerance: f64,
) -> Result<Verified, Unverified> {
    let mut verified = Verified { inputs: 0, numbers: 0, largest: 0.0 };
    let mut before: Option<Vec<f32>> = None;
    for (i, seed) in seeds.iter().enumerate() {
        let of = |side: &'static str, answer: &mut Answer<'_>| {
            answer(*seed).map_err(|reason| Unverified::Failed { side, reason })
        };
        let (a, b) = if i % 2 == 0 {
            let a = of("baseline", baseline)?;
            (a, of("optimised side", optimised)?)
        } else {
            let b = of("optimised side", optimised)?;
            (of("baseline", baseline)?, b)
        };
        verified.largest = verified.largest.max(apart(&a, &b, tolerance)?);
        verified.numbers = a.len();
        if before.as_ref() == Some(&a) {
            return Err(Unverified::Constant);
        }
        before = Some(a);
        verified.inputs += 1;
    }
    Ok(verified)
}

/// Largest difference of two outputs, relative to the largest number of the first.
///
/// # Errors
/// It is above `tolerance`, numbers are not finite, or one is longer than the other.
pub(super) fn apart(baseline: &[f32], optimised: &[f32], tolerance: f64) -> Result<f64, Unverified> {
    if baseline.len() != optimised.len() || baseline.is_empty() {
        return Err(Unverified::Lengths { baseline: baseline.len(), optimised: optimised.len() });
    }
    for (side, output) in [("baseline", baseline), ("optimised side", optimised)] {
        let numbers = output.iter().filter(|v| !v.is_finite()).count();
        if numbers > 0 {
            return Err(Unverified::NotFinite { side, numbers });
        }
    }
    let size = baseline.iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
    let pairs = baseline.iter().zip(optimised);
    let difference = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max);
    let largest = difference / size.max(f64::MIN_POSITIVE);
    match largest <= tolerance {
        true => Ok(largest),
        false => Err(Unverified::Differs { largest, tolerance }),
    }
}
