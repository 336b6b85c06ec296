//! Plain tables: `run,value`, one line a value. A run of the table becomes a trial.

use stopwatt_core::Metric;
use stopwatt_core::import::{Imported, ImportedSample};
use stopwatt_core::log::PlannedPoint;

use super::{Foreign, ImportError, Window};

/// Reads a table of values of `metric`, in its unit.
pub(super) fn read(text: &str, metric: Option<Metric>) -> Result<Foreign, ImportError> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    let header: Vec<String> = lines
        .next()
        .map(|(_, h)| h.split(',').map(|c| c.trim().to_ascii_lowercase()).collect())
        .unwrap_or_default();
    let column = |name: &str| header.iter().position(|c| c == name);
    let (Some(run), Some(value)) = (column("run"), column("value")) else {
        let found = text.lines().next().unwrap_or_default();
        let shown: String = found.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(ImportError::Unknown { found: format!("text that begins with `{shown}`") });
    };
    let metric = metric.ok_or(ImportError::NoMetric)?;
    let mut runs: Vec<(String, Vec<f64>)> = Vec::new();
    for (line, text) in lines.filter(|(_, text)| !text.is_empty()) {
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        let wrong = |problem: &str| ImportError::Row { line, problem: problem.to_owned() };
        let (Some(name), Some(cell)) = (cells.get(run), cells.get(value)) else {
            return Err(wrong("has too few columns"));
        };
        let number: f64 = cell.parse().map_err(|_| wrong("holds a value that is no number"))?;
        if !number.is_finite() || number < 0.0 {
            return Err(wrong("holds a value that is negative or not finite"));
        }
        match runs.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(number),
            None => runs.push(((*name).to_owned(), vec![number])),
        }
    }
    if runs.is_empty() {
        return Err(ImportError::Empty);
    }
    let samples = runs.into_iter().zip(0..).map(|((_, values), trial)| ImportedSample {
        point: 0,
        trial,
        metric: metric.name().to_owned(),
        values,
    });
    let samples: Vec<ImportedSample> = samples.collect();
    Ok(Foreign {
        windows: (0..samples.len() as u32)
            .map(|trial| Window { point: 0, trial, start_ns: 0, end_ns: 0 })
            .collect(),
        points: vec![PlannedPoint {
            label: metric.name().to_owned(),
            concurrency: None,
            rate_rps: None,
            input: None,
            output: None,
            engine_settings: Default::default(),
        }],
        imported: Imported { tool: "table".to_owned(), samples, ..Imported::default() },
        ..Foreign::default()
    })
}
