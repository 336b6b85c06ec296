//! `power.csv` of a run: what its sensors said, column by column.

use std::collections::BTreeMap;

use stopwatt_analyse::sensors::Sensors;
use stopwatt_core::Nanos;

/// The readings of a run; empty without any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace(BTreeMap<String, Vec<(Nanos, f64)>>);

/// Columns that reports draw.
const DRAWN: [&str; 5] = ["power_w", "temp_c", "sm_clock_mhz", "sm_util", "mem_used_bytes"];

impl Trace {
    /// Reads what is in the file, as [`Sensors`] does: a cell that is no number is missing, and so is a line that was cut off.
    pub fn parse(text: &str) -> Self {
        let Some(sensors) = Sensors::of_csv(text) else { return Self::default() };
        let stamped = |(t, value): (f64, f64)| ((t * 1e9) as Nanos, value);
        let column = |name: &&str| {
            let readings: Vec<_> = sensors.series(name).into_iter().map(stamped).collect();
            (!readings.is_empty()).then(|| ((*name).to_owned(), readings))
        };
        Self(DRAWN.iter().filter_map(column).collect())
    }

    /// The readings of a column, in order of time.
    pub(crate) fn column(&self, name: &str) -> &[(Nanos, f64)] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_cells_and_cut_lines_are_left_out() {
        let trace = Trace::parse("t_s,power_w,energy_j,temp_c\n0.5,70.5,1,40\n1.0,,2,41\n1.5,7");
        assert_eq!(trace.column("power_w"), [(500_000_000, 70.5)]);
        assert_eq!(trace.column("temp_c"), [(500_000_000, 40.0), (1_000_000_000, 41.0)]);
        assert!(trace.column("energy_j").is_empty(), "nothing draws it");
        assert_eq!(Trace::parse("something else"), Trace::default());
    }
}
