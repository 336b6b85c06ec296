//! The readings of sensors, as `power.csv` holds them: time and any columns by name. A column that is not there is not
//! known; none is expected.

use std::collections::BTreeMap;

/// Columns of readings over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sensors {
    /// Seconds since the run began.
    t_s: Vec<f64>,
    columns: BTreeMap<String, Vec<Option<String>>>,
}

impl Sensors {
    /// Reads `power.csv`. `None` without a first line that begins with `t_s`, or without a reading. Lines that cannot be
    /// read are left out: a run that was cut off ends in one.
    pub fn of_csv(text: &str) -> Option<Self> {
        let mut lines = text.trim_start_matches('\u{feff}').lines();
        let names: Vec<&str> = lines.next()?.split(',').map(str::trim).collect();
        if names.first() != Some(&"t_s") {
            return None;
        }
        let mut out = Self::default();
        for line in lines {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            let Some(t) = cells.first().and_then(|t| t.parse::<f64>().ok()).filter(|t| t.is_finite()) else {
                continue;
            };
            if cells.len() != names.len() {
                continue;
            }
            out.t_s.push(t);
            for (name, cell) in names.iter().zip(&cells).skip(1) {
                let cell = (!cell.is_empty()).then(|| (*cell).to_owned());
                out.columns.entry((*name).to_owned()).or_default().push(cell);
            }
        }
        (!out.t_s.is_empty()).then_some(out)
    }

    /// Seconds and value of every reading of a column.
    pub fn series(&self, column: &str) -> Vec<(f64, f64)> {
        let values = self.columns.get(column).into_iter().flatten();
        let number = |cell: &Option<String>| cell.as_ref()?.parse::<f64>().ok().filter(|v| v.is_finite());
        self.t_s.iter().zip(values).filter_map(|(t, cell)| Some((*t, number(cell)?))).collect()
    }

    /// Mean of a column inside the windows, given as seconds since the run began; `None` when there is no reading.
    pub(crate) fn mean(&self, column: &str, windows: &[(f64, f64)]) -> Option<f64> {
        let inside: Vec<f64> =
            self.series(column).into_iter().filter(|(t, _)| within(*t, windows)).map(|(_, v)| v).collect();
        (!inside.is_empty()).then(|| inside.iter().sum::<f64>() / inside.len() as f64)
    }

    /// Share of the readings inside the windows that hold each of a column's words, which are joined by `+`.
    pub(crate) fn words(&self, column: &str, windows: &[(f64, f64)]) -> Option<BTreeMap<String, f64>> {
        let cells = self.t_s.iter().zip(self.columns.get(column)?);
        let inside: Vec<&String> =
            cells.filter(|(t, _)| within(**t, windows)).filter_map(|(_, cell)| cell.as_ref()).collect();
        let mut counts = BTreeMap::new();
        for word in inside.iter().flat_map(|cell| cell.split('+')) {
            *counts.entry(word.to_owned()).or_insert(0.0) += 1.0 / inside.len() as f64;
        }
        (!inside.is_empty()).then_some(counts)
    }
}

fn within(t: f64, windows: &[(f64, f64)]) -> bool {
    windows.iter().any(|(from, to)| (*from..=*to).contains(&t))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "t_s,power_w,sm_clock_mhz,throttle\n0.0,70,300,idle\n1.0,300,1900,none\n2.0,,1800,power_cap+sw_thermal\n3.0,310,1";

    #[test]
    fn readings_outside_the_windows_and_torn_lines_do_not_count() {
        let sensors = Sensors::of_csv(FILE).unwrap();
        let windows = [(0.5, 2.5)];
        assert_eq!(sensors.mean("sm_clock_mhz", &windows), Some(1850.0));
        assert_eq!(sensors.mean("power_w", &windows), Some(300.0));
        assert_eq!(sensors.mean("temp_c", &windows), None);
        assert_eq!(sensors.mean("power_w", &[]), None);
        let words = sensors.words("throttle", &windows).unwrap();
        assert_eq!((words["none"], words["power_cap"], words.get("idle")), (0.5, 0.5, None));
        assert_eq!(sensors.series("power_w"), [(0.0, 70.0), (1.0, 300.0)]);
    }

    #[test]
    fn another_file_is_no_readings() {
        assert_eq!(Sensors::of_csv(""), None);
        assert_eq!(Sensors::of_csv("time,power\n1,2\n"), None);
        assert_eq!(Sensors::of_csv("t_s,power_w\n"), None);
    }
}
