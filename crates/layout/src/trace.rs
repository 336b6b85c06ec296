//! What a kernel reads: steps, each a set of units.

use serde::Deserialize;

/// Steps over `d` units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    d: usize,
    /// Where each step begins in `units`, and where the last one ends.
    begins: Vec<usize>,
    /// The units of each step, ascending.
    units: Vec<u32>,
}

/// Why a trace cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// A line that is no step.
    #[error("line {line} of the trace is no step: {problem}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What was expected.
        problem: String,
    },
    /// A unit that does not exist.
    #[error("step {step} reads unit {unit}, but there are only {d} units")]
    OutOfRange {
        /// Which step, from 0.
        step: usize,
        /// The unit.
        unit: u32,
        /// Units.
        d: usize,
    },
    /// Nothing is read.
    #[error("the trace reads nothing")]
    Empty,
}

#[derive(Deserialize)]
struct Step {
    step: Vec<u32>,
}

impl Trace {
    /// From the units of each step, in any order; a unit counts once a step.
    ///
    /// # Errors
    /// A unit that does not exist, or nothing is read.
    pub fn new(d: usize, steps: impl IntoIterator<Item = Vec<u32>>) -> Result<Self, TraceError> {
        let (mut begins, mut units) = (vec![0], Vec::new());
        for (index, mut step) in steps.into_iter().enumerate() {
            step.sort_unstable();
            step.dedup();
            if let Some(&unit) = step.last().filter(|u| **u as usize >= d) {
                return Err(TraceError::OutOfRange { step: index, unit, d });
            }
            units.append(&mut step);
            begins.push(units.len());
        }
        if units.is_empty() { Err(TraceError::Empty) } else { Ok(Self { d, begins, units }) }
    }

    /// Reads lines of `{"step": [unit, …]}`. `d` is the number of units; without it, one more than the highest.
    ///
    /// # Errors
    /// A line that is no step, a unit that does not exist, or nothing is read.
    pub fn from_jsonl(bytes: &[u8], d: Option<usize>) -> Result<Self, TraceError> {
        let mut steps = Vec::new();
        for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let step: Step = serde_json::from_slice(line)
                .map_err(|e| TraceError::Line { line: index + 1, problem: e.to_string() })?;
            steps.push(step.step);
        }
        let highest = steps.iter().flatten().max().map_or(0, |u| *u as usize + 1);
        Self::new(d.unwrap_or(highest), steps)
    }

    /// Units.
    pub fn d(&self) -> usize {
        self.d
    }

    /// Steps.
    pub fn len(&self) -> usize {
        self.begins.len() - 1
    }

    /// There are no steps.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Units read in all steps together.
    pub fn accesses(&self) -> usize {
        self.units.len()
    }

    /// The units of each step, ascending.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.begins.windows(2).map(|w| &self.units[w[0]..w[1]])
    }

    /// The units of one step, ascending.
    pub fn step(&self, index: usize) -> &[u32] {
        &self.units[self.begins[index]..self.begins[index + 1]]
    }

    /// The steps in which each unit is read, ascending: the trace the other way round.
    pub fn by_unit(&self) -> Vec<Vec<u32>> {
        let mut steps_of = vec![Vec::new(); self.d];
        for (step, units) in self.steps().enumerate() {
            for &unit in units {
                steps_of[unit as usize].push(step as u32);
            }
        }
        steps_of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_sets_of_units() {
        let trace =
            Trace::from_jsonl(b"{\"step\": [3, 1, 3]}\n\n{\"step\": []}\n{\"step\": [0]}\n", None).unwrap();
        assert_eq!(trace.steps().collect::<Vec<_>>(), [&[1, 3][..], &[], &[0]]);
        assert_eq!((trace.d(), trace.len(), trace.accesses()), (4, 3, 3));
        assert_eq!(trace.by_unit(), [vec![2], vec![0], vec![], vec![0]]);
    }

    #[test]
    fn what_is_no_step_is_named_by_its_line() {
        let read = |text: &str| Trace::from_jsonl(text.as_bytes(), Some(2)).unwrap_err();
        assert!(matches!(read("{\"step\":[0]}\n{\"step\":[-1]}"), TraceError::Line { line: 2, .. }));
        assert_eq!(read("{\"step\":[0,2]}"), TraceError::OutOfRange { step: 0, unit: 2, d: 2 });
        assert_eq!(read("\n"), TraceError::Empty);
    }
}
