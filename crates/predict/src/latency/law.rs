//! What a kind of operator would take if all its rows followed one law; rows are kept as their ratio to it.
//!
//! Ratios change little from row to row, so they can be blended and carried over to other shapes where times cannot.

use stopwatt_core::kernel_table::{Op, Shape};
use stopwatt_stats::nnls::nnls;

use super::tile::{Product, TileModel};

/// Fewest rows that the floor of a law is fitted to.
const ENOUGH: usize = 6;

/// A law of one kind of operator in one format.
#[derive(Debug, Clone)]
pub(super) enum Law {
    /// The roof itself.
    Roof,
    /// A launch, and the roof at a share of it.
    Floor {
        /// Seconds of the launch.
        launch_s: f64,
        /// Seconds for a second of roof.
        slope: f64,
    },
    /// Tiles and waves.
    Tile(TileModel),
}

impl Law {
    /// `t = launch + slope · roof` through roofs and times, both above nothing, each row weighing alike.
    pub(super) fn floor(rows: &[(f64, f64)]) -> Self {
        if rows.len() < ENOUGH {
            return Self::Roof;
        }
        let columns = [
            rows.iter().map(|(_, time)| 1.0 / time).collect(),
            rows.iter().map(|(roof, time)| roof / time).collect(),
        ];
        match nnls(&columns, &vec![1.0; rows.len()]).as_deref() {
            Ok(&[launch_s, slope]) if launch_s + slope > 0.0 => Self::Floor { launch_s, slope },
            _ => Self::Roof,
        }
    }

    /// Seconds of an operator whose roof is `roof` and which moves so many bytes.
    pub(super) fn time(&self, op: &Op, roof: f64, bytes: f64) -> f64 {
        match (self, op.shape) {
            (Self::Floor { launch_s, slope }, _) => launch_s + slope * roof,
            (Self::Tile(model), Shape::Matrix { m, n, k }) => model.time(&Product { m, n, k, bytes }),
            _ => roof,
        }
    }

    /// Whether it knows how products are cut, so that a change of kernel between two rows is in it.
    pub(super) fn has_tiles(&self) -> bool {
        matches!(self, Self::Tile(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_and_a_slope_are_found() {
        let rows: Vec<_> =
            (0..10).map(|i| f64::from(1 << i) * 1e-7).map(|roof| (roof, 2e-6 + 1.25 * roof)).collect();
        let Law::Floor { launch_s, slope } = Law::floor(&rows) else { panic!("enough rows") };
        assert!((launch_s - 2e-6).abs() < 1e-12 && (slope - 1.25).abs() < 1e-6, "{launch_s} {slope}");
        assert!(matches!(Law::floor(&rows[..3]), Law::Roof));
    }
}
