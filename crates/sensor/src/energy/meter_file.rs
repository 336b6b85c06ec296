//! Power of an external meter: a CSV file whose first columns are `t_s,power_w`, as `power.csv` of a run has them.

use stopwatt_core::{Clock, Nanos};

use super::PowerSample;

/// What is wrong with a meter's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeterFileError {
    /// The first line is something else.
    #[error("line 1 must begin with `t_s,power_w`, found `{found}`")]
    Header {
        /// Its beginning.
        found: String,
    },
    /// A cell is not a number.
    #[error("line {line}: `{found}` is not a number for {column}")]
    Cell {
        /// Line, from 1.
        line: usize,
        /// Name of the column.
        column: &'static str,
        /// What stands there.
        found: String,
    },
    /// Time goes back.
    #[error("line {line}: time does not increase")]
    Order {
        /// Line, from 1.
        line: usize,
    },
    /// Fewer than two readings.
    #[error("the file has {rows} readings, needs 2 or more")]
    TooFew {
        /// Readings found.
        rows: usize,
    },
}

impl MeterFileError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Header { .. } => Some("export seconds and watts as `t_s,power_w`"),
            Self::Order { .. } => Some("sort the file by time and remove double readings"),
            _ => None,
        }
    }
}

/// Seconds from here on are taken as UNIX time (2001-09-09), not as time since the run began.
const UNIX_FROM: f64 = 1e9;

/// Reads a meter's file. Times are seconds since the run began, or UNIX seconds, which `clock` converts; an empty power
/// cell is a reading that is missing. Further columns are ignored.
pub fn read_meter_file(text: &str, clock: &Clock) -> Result<Vec<PowerSample>, MeterFileError> {
    let mut lines = text.lines().enumerate().map(|(i, l)| (i + 1, l.trim()));
    let header = lines.next().map_or("", |l| l.1).trim_start_matches('\u{feff}');
    let mut columns = header.split(',').map(str::trim);
    if (columns.next(), columns.next()) != (Some("t_s"), Some("power_w")) {
        return Err(MeterFileError::Header { found: short(header) });
    }
    let mut samples: Vec<PowerSample> = Vec::new();
    for (line, text) in lines.filter(|(_, l)| !l.is_empty()) {
        let mut cells = text.split(',').map(str::trim);
        let (time, power) = (cells.next().unwrap_or(""), cells.next().unwrap_or(""));
        let cell = |column, found: &str| MeterFileError::Cell { line, column, found: short(found) };
        let seconds = number(time).ok_or_else(|| cell("t_s", time))?;
        let instant_w = match power {
            "" => None,
            _ => Some(number(power).filter(|p| *p >= 0.0).ok_or_else(|| cell("power_w", power))?),
        };
        let t = if seconds >= UNIX_FROM {
            // Whole seconds first: a UNIX time in nanoseconds does not fit a float exactly.
            seconds.trunc() as Nanos * 1_000_000_000 + (seconds.fract() * 1e9) as Nanos - clock.t0_unix_ns
        } else {
            (seconds * 1e9).round() as Nanos
        };
        if samples.last().is_some_and(|last| last.t >= t) {
            return Err(MeterFileError::Order { line });
        }
        samples.push(PowerSample { t, instant_w, ..PowerSample::default() });
    }
    if samples.len() < 2 { Err(MeterFileError::TooFew { rows: samples.len() }) } else { Ok(samples) }
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|v| v.is_finite())
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock { t0_monotonic_ns: 0, t0_unix_ns: 1_700_000_000_000_000_000 };

    #[test]
    fn a_meter_in_run_time_or_unix_time() {
        let run = read_meter_file("t_s,power_w\n0.000000,210.5\n0.100112,212.6\n", &CLOCK).unwrap();
        assert_eq!(run[1].t, 100_112_000);
        assert_eq!(run[1].instant_w, Some(212.6));
        let unix = read_meter_file("t_s,power_w,extra\n1700000000.5,1,x\n1700000001,,\n", &CLOCK).unwrap();
        assert_eq!((unix[0].t, unix[1].t, unix[1].instant_w), (500_000_000, 1_000_000_000, None));
    }

    #[test]
    fn mistakes_name_their_line() {
        #[track_caller]
        fn check(text: &str, expected: MeterFileError) {
            assert_eq!(read_meter_file(text, &CLOCK).unwrap_err(), expected);
        }
        check("time,watts\n1,2\n", MeterFileError::Header { found: "time,watts".into() });
        check("", MeterFileError::Header { found: String::new() });
        let cell = |line, column, found: &str| MeterFileError::Cell { line, column, found: found.into() };
        check("t_s,power_w\n0,1\n1,NaN\n", cell(3, "power_w", "NaN"));
        check("t_s,power_w\n0,-1\n", cell(2, "power_w", "-1"));
        check("t_s,power_w\nnow,1\n", cell(2, "t_s", "now"));
        check("t_s,power_w\n1,1\n1,2\n", MeterFileError::Order { line: 3 });
        check("t_s,power_w\n1,1\n", MeterFileError::TooFew { rows: 1 });
    }
}
