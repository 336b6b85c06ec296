//! Permutations with an identity: the SHA-256 of their numbers.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Which unit lies at which place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation {
    /// The unit at each place: π as files have it.
    order: Vec<u32>,
    /// The place of each unit: the inverse of π.
    position: Vec<u32>,
}

/// Why something is no permutation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermutationError {
    /// It moves nothing.
    #[error("a permutation of no units")]
    Empty,
    /// A unit that does not exist.
    #[error("place {place} holds unit {unit}, but there are only {d} units")]
    OutOfRange {
        /// The place, from 0.
        place: usize,
        /// What stands there.
        unit: u64,
        /// Units.
        d: usize,
    },
    /// A unit that has two places, so that another has none.
    #[error("unit {unit} stands at place {first} and again at place {second}")]
    Twice {
        /// The unit.
        unit: u32,
        /// Its first place.
        first: usize,
        /// Its second place.
        second: usize,
    },
    /// Of another width than what it is for.
    #[error("a permutation of {found} units where {wanted} are permuted")]
    Width {
        /// Its width.
        found: usize,
        /// The width of what it is for.
        wanted: usize,
    },
    /// The file is no JSON of the expected form.
    #[error("not a permutation file: {problem}")]
    Form {
        /// What was expected.
        problem: String,
    },
    /// The file's hash is that of other numbers.
    #[error("the file says sha256 {said}, its numbers have {found}")]
    Hash {
        /// What the file says.
        said: String,
        /// What its numbers come to.
        found: String,
    },
}

/// A permutation as a file has it.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    d: usize,
    sha256: String,
    pi: Vec<u64>,
}

impl Permutation {
    /// Every unit in its own place.
    pub fn identity(d: usize) -> Self {
        let order: Vec<u32> = (0..d as u32).collect();
        Self { position: order.clone(), order }
    }

    /// Any order, drawn from a seed.
    pub fn random(d: usize, seed: u64) -> Self {
        let mut order: Vec<u32> = (0..d as u32).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        Self::of(order)
    }

    /// From the unit at each place.
    ///
    /// # Errors
    /// Not every unit has exactly one place.
    pub fn from_order(order: Vec<u32>) -> Result<Self, PermutationError> {
        let d = order.len();
        if d == 0 {
            return Err(PermutationError::Empty);
        }
        let mut position = vec![u32::MAX; d];
        for (place, &unit) in order.iter().enumerate() {
            let slot = position.get_mut(unit as usize);
            let slot = slot.ok_or(PermutationError::OutOfRange { place, unit: unit.into(), d })?;
            if *slot != u32::MAX {
                return Err(PermutationError::Twice { unit, first: *slot as usize, second: place });
            }
            *slot = place as u32;
        }
        Ok(Self { order, position })
    }

    /// From an order that a solver made, which holds every unit once.
    pub(crate) fn of(order: Vec<u32>) -> Self {
        let mut position = vec![0; order.len()];
        for (place, &unit) in order.iter().enumerate() {
            position[unit as usize] = place as u32;
        }
        Self { order, position }
    }

    /// Reads a file: `{"d": …, "sha256": …, "pi": [unit at each place]}`, or the bare list. `wanted` is the width of what it
    /// is for.
    ///
    /// # Errors
    /// It is no permutation of that width, or its hash is another's.
    pub fn from_json(bytes: &[u8], wanted: Option<usize>) -> Result<Self, PermutationError> {
        let form = |problem: String| PermutationError::Form { problem };
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| form(e.to_string()))?;
        let (numbers, said) = if value.is_array() {
            let numbers: Result<Vec<u64>, _> = serde_json::from_value(value);
            (numbers.map_err(|_| form("a list of whole numbers from 0 was expected".to_owned()))?, None)
        } else {
            let file: File = serde_json::from_value(value).map_err(|e| form(e.to_string()))?;
            if file.d != file.pi.len() {
                return Err(PermutationError::Width { found: file.pi.len(), wanted: file.d });
            }
            (file.pi, Some(file.sha256))
        };
        let d = numbers.len();
        if let Some(wanted) = wanted.filter(|w| *w != d) {
            return Err(PermutationError::Width { found: d, wanted });
        }
        let number = |(place, &unit): (usize, &u64)| {
            u32::try_from(unit).map_err(|_| PermutationError::OutOfRange { place, unit, d })
        };
        let order: Vec<u32> = numbers.iter().enumerate().map(number).collect::<Result<_, _>>()?;
        let found = Self::from_order(order)?;
        match said {
            Some(said) if said != found.sha256() => {
                Err(PermutationError::Hash { said, found: found.sha256() })
            }
            _ => Ok(found),
        }
    }

    /// As a file.
    pub fn to_json(&self) -> Vec<u8> {
        let pi = self.order.iter().map(|&u| u.into()).collect();
        let file = File { d: self.len(), sha256: self.sha256(), pi };
        serde_json::to_vec(&file).expect("numbers and text are JSON")
    }

    /// Hex SHA-256 of π as little-endian 32-bit numbers.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for unit in &self.order {
            hash.update(unit.to_le_bytes());
        }
        format!("{:x}", hash.finalize())
    }

    /// Units.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The unit at each place.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The place of each unit.
    pub fn position(&self) -> &[u32] {
        &self.position
    }

    /// Exchanges the units at two places.
    pub fn swap(&mut self, p: usize, q: usize) {
        self.order.swap(p, q);
        self.position[self.order[p] as usize] = p as u32;
        self.position[self.order[q] as usize] = q as u32;
    }

    /// Share of units that lie more than `hysteresis` places from where `before` has them.
    pub fn churn(&self, before: &Self, hysteresis: u32) -> f64 {
        let far = |(a, b): (&u32, &u32)| a.abs_diff(*b) > hysteresis;
        let moved = self.position.iter().zip(&before.position).filter(|&p| far(p)).count();
        moved as f64 / self.len().max(1) as f64
    }

    /// Takes one value a unit to one value a place.
    ///
    /// # Panics
    /// When there is not one value a unit.
    pub fn apply<T: Copy>(&self, by_unit: &[T]) -> Vec<T> {
        assert_eq!(by_unit.len(), self.len(), "values of another width");
        self.order.iter().map(|&u| by_unit[u as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_with_its_hash() {
        let pi = Permutation::random(17, 3);
        assert_eq!(Permutation::from_json(&pi.to_json(), Some(17)), Ok(pi.clone()));
        assert_ne!(pi, Permutation::random(17, 4));
        assert_eq!(pi, Permutation::random(17, 3));
        // printf '\x02\0\0\0\0\0\0\0\x01\0\0\0' | sha256sum
        let small = Permutation::from_json(b"[2, 0, 1]", None).unwrap();
        assert_eq!(small.sha256(), "0db201e8371010e5cd3b719cf6c131cea86e18ef7c5bdd394e23b352b8e54f9e");
        assert_eq!((small.order(), small.position()), (&[2, 0, 1][..], &[1, 2, 0][..]));
    }

    #[test]
    fn what_is_no_permutation_says_where() {
        let read = |text: &str| Permutation::from_json(text.as_bytes(), Some(3)).unwrap_err();
        assert_eq!(read("[0, 1, 1]"), PermutationError::Twice { unit: 1, first: 1, second: 2 });
        assert_eq!(read("[0, 3, 1]"), PermutationError::OutOfRange { place: 1, unit: 3, d: 3 });
        assert_eq!(
            read("[0, 99999999999, 1]"),
            PermutationError::OutOfRange { place: 1, unit: 99_999_999_999, d: 3 }
        );
        assert_eq!(read("[0, 1]"), PermutationError::Width { found: 2, wanted: 3 });
        assert_eq!(Permutation::from_json(b"[]", None), Err(PermutationError::Empty));
        assert!(matches!(read("{\"d\": 3}"), PermutationError::Form { .. }));
        assert!(matches!(read("[0, -1, 2]"), PermutationError::Form { .. }));
        assert!(matches!(read("{\"d\":3,\"pi\":[0,1,2],\"sha256\":\"00\"}"), PermutationError::Hash { .. }));
    }

    #[test]
    fn churn_counts_those_that_moved_far() {
        let (mut pi, base) = (Permutation::identity(8), Permutation::identity(8));
        pi.swap(0, 1);
        pi.swap(3, 7);
        assert_eq!((pi.churn(&base, 0), pi.churn(&base, 1), pi.churn(&base, 4)), (0.5, 0.25, 0.0));
        assert_eq!(pi.apply(&[0, 1, 2, 3, 4, 5, 6, 7]), [1, 0, 2, 7, 4, 5, 6, 3]);
    }
}
