//! Reads `ncu --page raw --csv`: a row of names, a row of units, then a row for each launch.
//!
//! Lines of the program itself and of ncu (`==PROF== …`) may stand before, so the table begins at the line that names its
//! columns. Numbers are quoted and may have thousands separators: `"1,234.5"`.

use std::collections::BTreeMap;

use crate::Unavailable;

/// One profiled launch, or one range.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Launch {
    /// Name of the kernel.
    pub kernel: String,
    /// Compute capability that ncu saw, for instance `9.0`.
    pub compute_capability: Option<String>,
    /// Values by counter; one that ncu could not collect is absent.
    pub values: BTreeMap<String, f64>,
    /// Units by counter, as printed.
    pub units: BTreeMap<String, String>,
}

/// Reads what `ncu --import FILE --page raw --csv --print-units base` prints.
pub fn parse_raw(text: &str) -> Result<Vec<Launch>, Unavailable> {
    let unreadable = |detail: String| Unavailable::Unreadable { what: "the table of ncu".to_owned(), detail };
    // Before the table anything may stand, also a loose quote that would swallow it.
    let start = text.find("\"Kernel Name\"").map_or(0, |at| text[..at].rfind('\n').map_or(0, |end| end + 1));
    let mut lines = records(&text[start..]).filter(|cells| cells.len() > 1);
    let Some(names) = lines.find(|cells| cells.iter().any(|c| c == "Kernel Name")) else {
        return Err(if text.contains("No kernels were profiled") {
            Unavailable::NoKernels
        } else {
            unreadable("no line names the columns".to_owned())
        });
    };
    let at = |name: &str| names.iter().position(|n| n == name);
    let kernel = at("Kernel Name").ok_or_else(|| unreadable("no column `Kernel Name`".to_owned()))?;
    let capability = at("CC");
    let units = lines.next().filter(|cells| cells.len() == names.len());
    let units = units.ok_or_else(|| unreadable("no row of units".to_owned()))?;
    let counters: Vec<(usize, &String)> =
        names.iter().enumerate().filter(|(_, n)| n.contains("__") && n.contains('.')).collect();

    let mut launches = Vec::new();
    for cells in lines {
        if cells.len() != names.len() {
            // A message of the program between the rows has another shape; a cut row is an error.
            if cells.first().is_some_and(|c| c.parse::<u64>().is_ok()) {
                return Err(unreadable(format!(
                    "row {} has {} cells of {}",
                    launches.len() + 1,
                    cells.len(),
                    names.len()
                )));
            }
            continue;
        }
        let mut launch = Launch {
            kernel: cells[kernel].clone(),
            compute_capability: capability.map(|i| cells[i].clone()).filter(|c| !c.is_empty()),
            ..Launch::default()
        };
        for &(i, name) in &counters {
            let Some(value) = number(&cells[i]) else { continue };
            launch.values.insert(name.clone(), value);
            launch.units.insert(name.clone(), units[i].clone());
        }
        launches.push(launch);
    }
    if launches.is_empty() { Err(Unavailable::NoKernels) } else { Ok(launches) }
}

/// A number with thousands separators. ncu writes `n/a` or nothing where it has none, and `nan` where it divided by zero.
fn number(cell: &str) -> Option<f64> {
    let plain: String = cell.trim().chars().filter(|c| *c != ',').collect();
    plain.parse::<f64>().ok().filter(|v| v.is_finite())
}

/// CSV records (RFC 4180): quoted cells may hold commas, doubled quotes and line ends.
fn records(text: &str) -> impl Iterator<Item = Vec<String>> {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        chars.peek()?;
        let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    cell.push('"');
                }
                // A quote opens a cell only at its beginning: messages hold loose ones.
                '"' if quoted || cell.is_empty() => quoted = !quoted,
                ',' if !quoted => cells.push(std::mem::take(&mut cell)),
                '\n' if !quoted => break,
                '\r' if !quoted => {}
                _ => cell.push(c),
            }
        }
        cells.push(cell);
        Some(cells)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written by hand after the format of the raw page: names, units, launches; messages before the table.
    const TWO: &str = "==PROF== Connected to process 4242 (/usr/bin/python3)\n\
        \"loss: 0.5\n\
        \"ID\",\"Process ID\",\"Process Name\",\"Kernel Name\",\"Context\",\"Stream\",\"Block Size\",\"Grid Size\",\"Device\",\"CC\",\"dram__bytes_read.sum\",\"gpu__time_duration.sum\",\"lts__t_sector_hit_rate.pct\"\n\
        \"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"byte\",\"ns\",\"%\"\n\
        \"0\",\"4242\",\"python3\",\"void gemm<float, (int)4>(const float *, float *)\",\"1\",\"7\",\"(128, 1, 1)\",\"(264, 1, 1)\",\"0\",\"9.0\",\"1,073,741,824\",\"123,456.5\",\"82.52\"\n\
        \"1\",\"4242\",\"python3\",\"copy \"\"fast\"\"\",\"1\",\"7\",\"(128, 1, 1)\",\"(264, 1, 1)\",\"0\",\"9.0\",\"n/a\",\"10\",\"nan\"\n";

    #[test]
    fn names_units_and_numbers_after_whatever_the_program_printed() {
        let launches = parse_raw(TWO).unwrap();
        assert_eq!(launches.len(), 2);
        let first = &launches[0];
        assert_eq!(first.kernel, "void gemm<float, (int)4>(const float *, float *)");
        assert_eq!(first.compute_capability.as_deref(), Some("9.0"));
        assert_eq!(first.values["dram__bytes_read.sum"], 1_073_741_824.0);
        assert_eq!(first.values["gpu__time_duration.sum"], 123_456.5);
        assert_eq!(first.units["lts__t_sector_hit_rate.pct"], "%");
        assert_eq!(launches[1].kernel, "copy \"fast\"");
        assert_eq!(launches[1].values.len(), 1, "n/a and nan are not values");
    }

    #[test]
    fn no_kernels_no_table_and_a_cut_table_are_told_apart() {
        assert_eq!(parse_raw("==WARNING== No kernels were profiled.\n"), Err(Unavailable::NoKernels));
        assert!(matches!(parse_raw("hello\n"), Err(Unavailable::Unreadable { .. })));
        let header_only: String = TWO.lines().skip(2).take(2).map(|l| format!("{l}\n")).collect();
        assert_eq!(parse_raw(&header_only), Err(Unavailable::NoKernels));
        let cut = &TWO[..TWO.len() - 20];
        assert!(matches!(parse_raw(cut), Err(Unavailable::Unreadable { .. })));
        let no_units: String = TWO.lines().skip(2).take(1).map(|l| format!("{l}\n")).collect();
        assert!(matches!(parse_raw(&no_units), Err(Unavailable::Unreadable { .. })));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = parse_raw(&text);
            let _ = parse_raw(&format!("{TWO}{text}"));
        }
    }
}
