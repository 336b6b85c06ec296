//! `stopwatt roofline` without a model: what a device can do at most, measured.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use stopwatt_experiment::bench::Stop;
use stopwatt_experiment::profile::{DeviceName, ProfileConfig, roofline};
use stopwatt_kernel::case::Effort;
use stopwatt_record::config::Layers;

use super::{Format, Language, profile, report};
use crate::exit::Outcome;
use crate::stop::Signals;

/// What is measured, and where it goes.
pub(super) struct RooflineMeasure {
    pub(super) device: DeviceName,
    /// Threads on a CPU; `None` takes all.
    pub(super) threads: Option<u32>,
    /// Finer sizes and longer samples.
    pub(super) full: bool,
    pub(super) out: Option<PathBuf>,
    pub(super) format: Format,
    pub(super) lang: Language,
    pub(super) quiet: bool,
}

/// Measures it.
pub(super) fn run(args: &RooflineMeasure, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let resolved = Layers::<ProfileConfig>::new()
        .flag("device", "--device", Some(args.device.name()))
        .flag("threads", "--threads", args.threads.map(|n| vec![n]))
        .flag("full", "--full", args.full.then_some(true))
        .resolve()?;
    let mut device = args.device.open_levels(args.threads, &stopwatt_experiment::cuda::folders(&[]))?;
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
