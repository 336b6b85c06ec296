//! A plain row-major matrix, for what is permuted and transformed.

/// A row-major matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `rows × cols` numbers.
    pub data: Vec<f32>,
}

impl Dense {
    /// From its numbers.
    ///
    /// # Panics
    /// When they do not fill the shape.
    pub fn new(rows: usize, cols: usize, data: Vec<f32>) -> Self {
        assert_eq!(rows * cols, data.len(), "numbers of another shape");
        Self { rows, cols, data }
    }

    /// A row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.cols..(index + 1) * self.cols]
    }

    /// `W · x`, summed in double precision.
    ///
    /// # Panics
    /// When `x` is of another width.
    pub fn times(&self, x: &[f32]) -> Vec<f32> {
        assert_eq!(x.len(), self.cols, "a vector of another width");
        let dot = |row: &[f32]| row.iter().zip(x).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        (0..self.rows).map(|r| dot(self.row(r)) as f32).collect()
    }

    /// Its rows in the order of a permutation.
    #[must_use]
    pub fn with_rows(&self, order: &[u32]) -> Self {
        assert_eq!(order.len(), self.rows, "a permutation of another width");
        let data = order.iter().flat_map(|&r| self.row(r as usize)).copied().collect();
        Self { data, ..*self }
    }

    /// Its columns in the order of a permutation.
    #[must_use]
    pub fn with_columns(&self, order: &[u32]) -> Self {
        assert_eq!(order.len(), self.cols, "a permutation of another width");
        let data = (0..self.rows).flat_map(|r| order.iter().map(move |&c| self.row(r)[c as usize])).collect();
        Self { data, ..*self }
    }

    /// Length of each column.
    pub fn column_norms(&self) -> Vec<f64> {
        let mut squares = vec![0.0; self.cols];
        for r in 0..self.rows {
            for (sum, v) in squares.iter_mut().zip(self.row(r)) {
                *sum += f64::from(*v).powi(2);
            }
        }
        squares.into_iter().map(f64::sqrt).collect()
    }
}

/// Length of the difference of two vectors, relative to the first's; 0 when both are 0.
///
/// # Panics
/// When they differ in length.
pub fn relative_error(exact: &[f32], other: &[f32]) -> f64 {
    assert_eq!(exact.len(), other.len(), "vectors of different lengths");
    let (mut difference, mut length) = (0.0, 0.0);
    for (a, b) in exact.iter().zip(other) {
        difference += (f64::from(*a) - f64::from(*b)).powi(2);
        length += f64::from(*a).powi(2);
    }
    match (difference > 0.0, length > 0.0) {
        (false, _) => 0.0,
        (true, true) => (difference / length).sqrt(),
        (true, false) => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let m = Dense::new(2, 3, vec![1., 2., 3., 4., 5., 6.]);
        assert_eq!(m.times(&[1., 0., -1.]), [-2., -2.]);
        assert_eq!(m.with_rows(&[1, 0]).data, [4., 5., 6., 1., 2., 3.]);
        assert_eq!(m.with_columns(&[2, 0, 1]).data, [3., 1., 2., 6., 4., 5.]);
        assert_eq!(m.column_norms()[0], 17f64.sqrt());
        assert_eq!(relative_error(&[3., 4.], &[3., 3.]), 0.2);
        assert_eq!((relative_error(&[0.], &[0.]), relative_error(&[0.], &[1.])), (0.0, f64::INFINITY));
    }
}
