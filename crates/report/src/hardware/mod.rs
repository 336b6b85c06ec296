//! What a device was measured to do: kernel tables and rooflines, as text, CSV and plots.
//!
//! ```text
//! kernels.parquet ──► [KernelRow] ─┐
//! roofline.json   ──► Roofline   ──┴─► Hardware ──► text, csv, figures (section of report.html)
//! ```

mod csv;
pub(crate) mod figures;
mod movement;
pub(crate) mod text;

use stopwatt_core::kernel_table::KernelRow;
use stopwatt_core::roofline::Roofline;

pub use csv::roofline_csv;
pub use movement::{movement_csv, movement_text};
pub use text::{kernels_text, roofline_text};

/// What a run holds of its device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hardware {
    /// Rows of the kernel table; empty without one.
    pub kernels: Vec<KernelRow>,
    /// The measured roofline; `None` without one.
    pub roofline: Option<Roofline>,
}

impl Hardware {
    /// Nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kernels.is_empty() && self.roofline.is_none()
    }
}

/// A rate for people: `1.23 T` of its unit.
pub(crate) fn si(value: f64) -> String {
    let (factor, prefix) = match value.abs() {
        v if v >= 1e12 => (1e-12, "T"),
        v if v >= 1e9 => (1e-9, "G"),
        v if v >= 1e6 => (1e-6, "M"),
        v if v >= 1e3 => (1e-3, "k"),
        _ => (1.0, ""),
    };
    let v = value * factor;
    let places = if v >= 100.0 {
        0
    } else if v >= 10.0 {
        1
    } else {
        2
    };
    format!("{v:.places$} {prefix}")
}

/// A time for people.
pub(crate) fn seconds(value: f64) -> String {
    let (factor, unit) = match value.abs() {
        v if v < 1e-6 => (1e9, "ns"),
        v if v < 1e-3 => (1e6, "µs"),
        v if v < 1.0 => (1e3, "ms"),
        _ => (1.0, "s"),
    };
    let v = value * factor;
    let places = if v >= 100.0 {
        0
    } else if v >= 10.0 {
        1
    } else {
        2
    };
    format!("{v:.places$} {unit}")
}

#[cfg(test)]
mod tests;
