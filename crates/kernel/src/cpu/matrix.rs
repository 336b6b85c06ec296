//! Weights: a row-major matrix in the precision it is stored in.

use bytemuck::Pod;
use half::{bf16, f16};

use super::memory::{Arena, Region};

/// How the numbers of a matrix are stored. Arithmetic is `f32` in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// IEEE 754 binary32.
    F32,
    /// The upper half of binary32.
    Bf16,
    /// IEEE 754 binary16.
    F16,
}

impl Precision {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Name used in files and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// Reads the name used in files and options.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::F32, Self::Bf16, Self::F16].into_iter().find(|p| p.name() == name)
    }
}

/// Why a matrix could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MatrixError {
    /// The numbers given do not fill the shape.
    #[error("{found} numbers for a matrix of {rows} × {cols}")]
    Shape {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
        /// Numbers given.
        found: usize,
    },
    /// The system has no memory for it.
    #[error("no memory for a matrix of {rows} × {cols}")]
    Memory {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A row-major matrix of weights. Row `i` holds the weights of output `i`, as PyTorch's `nn.Linear` has them.
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    precision: Precision,
    /// Begins at a cache line, so that a row whose bytes are a multiple of 64 is read with aligned loads.
    numbers: Region,
}

impl Matrix {
    /// A matrix of zeros.
    pub fn zeros(
        arena: &mut Arena,
        rows: usize,
        cols: usize,
        precision: Precision,
    ) -> Result<Self, MatrixError> {
        let memory = |source| MatrixError::Memory { rows, cols, source };
        let bytes = rows.checked_mul(cols).and_then(|n| n.checked_mul(precision.bytes()));
        let bytes = bytes.ok_or_else(|| memory(std::io::ErrorKind::OutOfMemory.into()))?;
        Ok(Self { rows, cols, precision, numbers: arena.region(bytes).map_err(memory)? })
    }

    /// Stores `values`, rounded to nearest even where `precision` is narrower, in memory of its own.
    pub fn from_f32(
        rows: usize,
        cols: usize,
        precision: Precision,
        values: &[f32],
    ) -> Result<Self, MatrixError> {
        if rows.checked_mul(cols) != Some(values.len()) {
            return Err(MatrixError::Shape { rows, cols, found: values.len() });
        }
        let mut matrix = Self::zeros(&mut Arena::default(), rows, cols, precision)?;
        if cols > 0 {
            matrix.write_rows(0, values);
        }
        Ok(matrix)
    }

    /// Overwrites whole rows from `first` on, rounding as [`Matrix::from_f32`] does.
    ///
    /// # Panics
    ///
    /// When `values` is not a whole number of rows that fit.
    pub fn write_rows(&mut self, first: usize, values: &[f32]) {
        let start = first * self.cols;
        let end = start + values.len();
        assert!(self.cols > 0 && values.len().is_multiple_of(self.cols) && end <= self.rows * self.cols);
        match self.precision {
            Precision::F32 => self.typed_mut::<f32>()[start..end].copy_from_slice(values),
            Precision::Bf16 => {
                for (to, from) in self.typed_mut::<bf16>()[start..end].iter_mut().zip(values) {
                    *to = bf16::from_f32(*from);
                }
            }
            Precision::F16 => {
                for (to, from) in self.typed_mut::<f16>()[start..end].iter_mut().zip(values) {
                    *to = f16::from_f32(*from);
                }
            }
        }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How the numbers are stored.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Bytes of the numbers.
    pub fn bytes(&self) -> usize {
        self.rows * self.cols * self.precision.bytes()
    }

    /// A row, widened to `f32`.
    pub fn row(&self, index: usize) -> Vec<f32> {
        let range = index * self.cols..(index + 1) * self.cols;
        match self.precision {
            Precision::F32 => self.typed::<f32>()[range].to_vec(),
            Precision::Bf16 => self.typed::<bf16>()[range].iter().map(|v| v.to_f32()).collect(),
            Precision::F16 => self.typed::<f16>()[range].iter().map(|v| v.to_f32()).collect(),
        }
    }

    /// The numbers as they are stored. `T` must be the type of the precision.
    pub(crate) fn typed<T: Pod>(&self) -> &[T] {
        debug_assert_eq!(size_of::<T>(), self.precision.bytes());
        bytemuck::cast_slice(self.numbers.bytes())
    }

    fn typed_mut<T: Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.numbers.bytes_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_rounded() {
        let values = [1.0, -2.5, 3.140_625, 65504.0, 0.0, 1.000_976_6];
        for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
            let m = Matrix::from_f32(2, 3, precision, &values).unwrap();
            let expected: Vec<f32> = values
                .iter()
                .map(|&v| match precision {
                    Precision::F32 => v,
                    Precision::Bf16 => bf16::from_f32(v).to_f32(),
                    Precision::F16 => f16::from_f32(v).to_f32(),
                })
                .collect();
            assert_eq!([m.row(0), m.row(1)].concat(), expected);
            assert_eq!(m.bytes(), 6 * precision.bytes());
            assert_eq!(Precision::from_name(precision.name()), Some(precision));
        }
    }

    #[test]
    fn a_wrong_number_of_values_is_refused() {
        assert!(matches!(
            Matrix::from_f32(2, 3, Precision::F32, &[0.0; 5]),
            Err(MatrixError::Shape { rows: 2, cols: 3, found: 5 })
        ));
    }
}
