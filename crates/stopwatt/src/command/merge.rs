//! `stopwatt merge`: the runs of shares to one run.

use std::io::Write;

use clap::Args;
use stopwatt_record::remote::{self, Address};
use stopwatt_record::{catalogue, merge};

use super::place::{Delivery, Place};
use super::{Format, Language, report};
use crate::exit::Outcome;

/// Join the runs of shares, made by `bench --shard`, into one run
///
/// The joined run is a run like any other: `report` and `runs` read it. Shares that are missing, late or apart from the
/// others make it invalid, with the reason; runs that cannot be one load are refused.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt merge shared/shard-* --out joined
  stopwatt merge s3://bucket/load --out joined
  stopwatt merge 20261122-1000 20261122-1001 --format json")]
pub(crate) struct MergeArgs {
    /// Runs of shares: ids, the begins of ids, tags, paths or addresses; of an address also all runs one level below
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
    /// Folder of the joined run, also as file:///DIR, or an object store as s3://BUCKET/PREFIX; nothing may be there
    /// [default: stopwatt-runs/ID]
    #[arg(long, value_name = "PLACE", value_parser = super::place::parse)]
    out: Option<Place>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of the report
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
    /// Exit with 4 when the joined run is invalid
    #[arg(long)]
    strict: bool,
}

/// Runs the command.
pub(crate) fn run(args: &MergeArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let root = super::runs_root();
    let mut runs = Vec::new();
    for name in &args.runs {
        match Address::of(name)? {
            Some(address) => {
                for run in remote::runs(&address)? {
                    runs.push(remote::copy(&run)?);
                }
            }
            None => runs.push(catalogue::resolve(&root, name)?),
        }
    }
    let (delivery, folder) = Delivery::prepare(args.out.as_ref())?;
    let path = match merge::merge(&runs, &root, folder) {
        Ok(path) => path,
        Err(error) => return Err(delivery.give_back(error.into())),
    };
    let written = report::write(&path, args.lang.into())?;
    report::print(&written, args.format, args.lang.into(), out)?;
    delivery.send(&path)?;
    let valid = written.analysed.doc.validity.valid;
    Ok(if args.strict && !valid { Outcome::MeasurementFailed } else { Outcome::Done })
}
