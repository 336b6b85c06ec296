//! `power.csv` of a run: what its sensors said, column by column.

use std::collections::BTreeMap;

use stopwatt_core::Nanos;

/// The readings of a run; empty without any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace(BTreeMap<String, Vec<(Nanos, f64)>>);

/// Columns that reports draw.
const DRAWN: [&str; 5] = ["power_w", "temp_c", "sm_clock_mhz", "sm_util", "mem_used_bytes"];

impl Trace {
    /// Reads what is in the file. Cells that are no number, as in a line that was cut off, count as missing.
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split(',').map(str::trim).collect();
        if header.first() != Some(&"t_s") {
            return Self::default();
        }
        let mut columns: BTreeMap<String, Vec<(Nanos, f64)>> = BTreeMap::new();
        for line in lines {
            let mut cells = line.split(',');
            let Some(t) = cells.next().and_then(|c| c.parse::<f64>().ok()).filter(|t| t.is_finite()) else {
                continue;
            };
            for (name, cell) in header[1..].iter().zip(cells) {
                if let (true, Ok(value)) = (DRAWN.contains(name), cell.parse()) {
                    columns.entry((*name).to_owned()).or_default().push(((t * 1e9) as Nanos, value));
                }
            }
        }
        Self(columns)
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
        assert_eq!(trace.column("power_w"), [(500_000_000, 70.5), (1_500_000_000, 7.0)]);
        assert_eq!(trace.column("temp_c"), [(500_000_000, 40.0), (1_000_000_000, 41.0)]);
        assert!(trace.column("energy_j").is_empty(), "nothing draws it");
        assert_eq!(Trace::parse("something else"), Trace::default());
    }
}
