//! `stopwatt roofline`: what a device can do at most, measured.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use clap::Args;
use stopwatt_experiment::bench::Stop;
use stopwatt_experiment::profile::{DeviceName, ProfileConfig, roofline};
use stopwatt_kernel::case::Effort;
use stopwatt_record::config::Layers;

use super::{Format, Language, profile, report};
use crate::exit::Outcome;
use crate::stop::Signals;

/// Measure the peaks, memory levels and staircases of a device, and write a run with a roofline
///
/// Operations a second by number format, bandwidth over working sets, latency of each level, reads and writes mixed,
/// strides and random places, the steps of matrix products, and what launching costs. The plots stand in report.html.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt roofline
  stopwatt roofline --full --out hardware-here
  stopwatt profile --roofs latest")]
pub(crate) struct RooflineMeasureArgs {
    /// Device: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = DeviceName::parse)]
    device: DeviceName,
    /// Threads on a CPU [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,
    /// Finer sizes and longer samples
    #[arg(long)]
    full: bool,
    /// Folder of the run, also as file:///DIR; it must not exist or be empty [default: stopwatt-runs/ID]
    #[arg(long, value_name = "DIR", value_parser = super::place::folder, help_heading = "Result")]
    out: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    format: Format,
    /// Language of the report
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    lang: Language,
    /// No progress on stderr
    #[arg(long, short, help_heading = "Result")]
    quiet: bool,
}

/// Runs the command.
pub(crate) fn run(args: &RooflineMeasureArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let resolved = Layers::<ProfileConfig>::new()
        .flag("device", "--device", Some(args.device.name()))
        .flag("threads", "--threads", args.threads.map(|n| vec![n]))
        .flag("full", "--full", args.full.then_some(true))
        .resolve()?;
    let mut device = args.device.open_levels(args.threads)?;
    let stop = Stop::new();
    let on_signal = stop.clone();
    let signals = Signals::install(move || on_signal.interrupt())?;
    let setup = roofline::Setup {
        lock: profile::lock(&resolved, "roofline")?,
        effort: if args.full { Effort::Full } else { Effort::Quick },
        root: &super::runs_root(),
        out: args.out.clone(),
    };
    let speak = !args.quiet && std::io::stderr().is_terminal();
    let finished = roofline::run(&setup, device.as_mut(), &stop, &mut |part| {
        if speak {
            eprintln!("measuring {part}");
        }
    })?;
    let written = report::write(&finished.path, args.lang.into())?;
    if let Some(roofline) = &written.analysed.hardware.roofline {
        match args.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(roofline)?)?,
            Format::Csv => write!(out, "{}", stopwatt_report::roofline_csv(roofline))?,
            Format::Table => {
                let files = finished.path.display().to_string();
                let style = super::terminal_style(Some(&files));
                write!(out, "{}", stopwatt_report::roofline_text(roofline, style))?;
            }
        }
    }
    profile::told(&written, out, args.format)?;
    Ok(signals.outcome().unwrap_or(Outcome::Done))
}
