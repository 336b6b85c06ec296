//! `stopwatt compare` of two profiles: did kernels move?

use std::io::Write;

use anyhow::anyhow;
use stopwatt_analyse::kernel_movement::movement;
use stopwatt_core::kernel_table::KernelRow;
use stopwatt_record::{catalogue, kernel_table};

use super::compare::CompareArgs;
use super::compared::shown;
use super::{Failure, Format};
use crate::exit::Outcome;

/// Compares kernel tables where the first run has one; `None` where it has none.
pub(super) fn run(args: &CompareArgs, out: &mut dyn Write) -> anyhow::Result<Option<Outcome>> {
    let Some(baseline) = rows(&args.baseline)? else { return Ok(None) };
    let usage = |problem: String| Failure::new(Outcome::Usage, anyhow!(problem));
    if !args.gates.is_empty() || args.prd_gates || args.html.is_some() {
        let problem = "profiles are compared kernel by kernel: they have no gates and no page of their own";
        return Err(usage(problem.to_owned()).into());
    }
    let [name] = args.candidates.as_slice() else {
        return Err(usage("one profile is compared with one other".to_owned()).into());
    };
    let Some(candidate) = rows(name)? else {
        return Err(usage(format!("{name} has no kernel table, unlike {}", args.baseline)).into());
    };
    let (before, after) = (shown(&args.baseline), shown(name));
    let doc = movement((&before, &baseline), (&after, &candidate), args.margin, args.above);
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", stopwatt_report::movement_csv(&doc))?,
        Format::Table => {
            write!(out, "{}", stopwatt_report::movement_text(&doc, super::terminal_style(None)))?;
        }
    }
    Ok(Some(Outcome::Done))
}

/// The kernel table of a run; `None` when it has none, or is no run: then others say what is wrong.
fn rows(name: &str) -> anyhow::Result<Option<Vec<KernelRow>>> {
    let Ok(path) = catalogue::resolve(&super::runs_root(), name) else { return Ok(None) };
    Ok(kernel_table::read(&path)?)
}
