//! `stopwatt watch dashboard`: what the proxy tells, as a dashboard for Grafana.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use stopwatt_ops::dashboard::dashboard;
use stopwatt_record::run_dir::write_atomically;

use crate::exit::Outcome;

/// Write a Grafana dashboard
///
/// Load, latency percentiles, upstreams, variants and GPUs, over what Prometheus scrapes from `stopwatt watch` and from
/// dcgm-exporter. Import it in Grafana and choose the data source.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stopwatt watch dashboard --out stopwatt-dashboard.json")]
pub(crate) struct DashboardArgs {
    /// File to write [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &DashboardArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let text = serde_json::to_string_pretty(&dashboard())? + "\n";
    match &args.out {
        Some(file) => write_atomically(file, text.as_bytes())?,
        None => out.write_all(text.as_bytes())?,
    }
    Ok(Outcome::Done)
}
