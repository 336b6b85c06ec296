//! `stopwatt runs`: what has been measured.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_record::catalogue::{Catalogue, Entry};
use stopwatt_record::remote::{self, Address};

use super::place::{self, Place};
use super::{Failure, Format};
use crate::exit::Outcome;

/// List, show, tag, copy and remove runs
///
/// A run can be named by its id, the begin of one, a tag, a path, or `latest`; to be read, also by its address in an
/// object store.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt runs list\n  stopwatt runs tag latest before-upgrade\n  stopwatt runs show before-upgrade\n  stopwatt runs push latest s3://bucket/runs/a\n  stopwatt runs pull s3://bucket/runs/a\n  stopwatt runs rm 20261122-061530-bench-7f3a"
)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List every run, newest first
    List {
        /// How to print the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show what is known of a run
    Show {
        /// Which run
        #[arg(default_value = "latest")]
        run: String,
        /// How to print the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Give a run a name of your own
    Tag {
        /// Which run
        run: String,
        /// Its further name
        tag: String,
        /// Take the name away instead
        #[arg(long)]
        remove: bool,
    },
    /// Copy a run to an object store
    Push {
        /// Which run
        run: String,
        /// Where to: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
        #[arg(value_name = "ADDRESS", value_parser = super::place::parse)]
        to: Place,
    },
    /// Copy a run from an object store to the runs of this machine
    Pull {
        /// Where it is
        #[arg(value_name = "ADDRESS", value_parser = super::place::parse)]
        from: Place,
        /// Folder of the copy; it must not exist or be empty [default: stopwatt-runs/ID]
        #[arg(long, value_name = "DIR", value_parser = super::place::folder)]
        out: Option<PathBuf>,
    },
    /// Delete runs and everything in them
    Rm {
        /// Which runs
        #[arg(required = true)]
        runs: Vec<String>,
    },
}

/// Runs the command.
pub(crate) fn run(args: &RunsArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let mut catalogue = Catalogue::open(&super::runs_root())?;
    if matches!(args.action, Action::List { .. } | Action::Show { .. }) {
        for (path, error) in catalogue.unreadable() {
            eprintln!("warning: {} is left out: {error}", path.display());
        }
    }
    match &args.action {
        Action::List { format } => list(&catalogue.list()?, *format, out)?,
        Action::Show { run, format } => match Address::of(run)? {
            Some(address) => show(&Entry::read(&remote::copy(&address)?)?, *format, out)?,
            None => show(&catalogue.find(run)?, *format, out)?,
        },
        Action::Push { run, to } => {
            let entry = catalogue.find(run)?;
            let to = store(to)?;
            place::send(&entry.path, to)?;
            writeln!(out, "{}  {to}", entry.id)?;
        }
        Action::Pull { from, out: folder } => {
            let path = remote::copy_here(store(from)?, &super::runs_root(), folder.as_deref())?;
            catalogue.add(&path)?;
            writeln!(out, "{}  {}", Entry::read(&path)?.id, path.display())?;
        }
        Action::Tag { run, tag, remove } => {
            let entry = if *remove { catalogue.untag(run, tag)? } else { catalogue.tag(run, tag)? };
            writeln!(out, "{}  {}", entry.id, entry.tags.join(" "))?;
        }
        Action::Rm { runs } => {
            for run in runs {
                let entry = catalogue.remove(run)?;
                writeln!(out, "removed {}", entry.id)?;
            }
        }
    }
    Ok(Outcome::Done)
}

/// The address that was asked for.
fn store(place: &Place) -> anyhow::Result<&Address> {
    match place {
        Place::Store(address) => Ok(address),
        Place::Folder(_) => {
            let problem = anyhow::anyhow!("it is a folder, not an object store");
            let hint = "write s3://BUCKET/PREFIX; a folder of a run is copied like any other";
            Err(Failure::new(Outcome::Usage, problem).hint(hint).into())
        }
    }
}

fn state(entry: &Entry) -> &'static str {
    match (entry.running, entry.status, entry.valid) {
        (true, _, _) => "running",
        (false, RunStatus::Incomplete, _) => "incomplete",
        (false, RunStatus::Complete, Some(true)) => "valid",
        (false, RunStatus::Complete, Some(false)) => "invalid",
        (false, RunStatus::Complete, None) => "complete",
    }
}

fn list(entries: &[Entry], format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(entries)?)?,
        Format::Csv => {
            writeln!(out, "id,state,model,ttft_p50_s,output_tokens_per_s,tags")?;
            for e in entries {
                let number = |key: &str| e.headline.get(key).map(f64::to_string).unwrap_or_default();
                let model = super::csv_field(e.model.as_deref().unwrap_or_default());
                let (ttft, rate) = (number("ttft.p50"), number("output_throughput.mean"));
                writeln!(out, "{},{},{model},{ttft},{rate},{}", e.id, state(e), e.tags.join(" "))?;
            }
        }
        Format::Table if entries.is_empty() => {
            writeln!(out, "no runs in {}; `stopwatt bench` makes one", super::runs_root().display())?;
        }
        Format::Table => {
            writeln!(
                out,
                "{:<34} {:<10} {:>10} {:>9}  {:<20} tags",
                "run", "state", "TTFT p50", "tokens/s", "model"
            )?;
            for e in entries {
                let ttft = e
                    .headline
                    .get("ttft.p50")
                    .map_or_else(|| "-".to_owned(), |s| format!("{:.1} ms", s * 1e3));
                let rate = e
                    .headline
                    .get("output_throughput.mean")
                    .map_or_else(|| "-".to_owned(), |r| format!("{r:.1}"));
                let model: String =
                    e.model.as_deref().unwrap_or("-").chars().filter(|c| !c.is_control()).take(20).collect();
                let line = format!(
                    "{:<34} {:<10} {ttft:>10} {rate:>9}  {model:<20} {}",
                    e.id,
                    state(e),
                    e.tags.join(" ")
                );
                writeln!(out, "{}", line.trim_end())?;
            }
        }
    }
    Ok(())
}

fn show(entry: &Entry, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    if format == Format::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(entry)?)?;
        return Ok(());
    }
    let mut rows = vec![
        ("run".to_owned(), entry.id.clone()),
        ("state".to_owned(), state(entry).to_owned()),
        ("folder".to_owned(), entry.path.display().to_string()),
        ("model".to_owned(), entry.model.clone().unwrap_or_else(|| "-".to_owned())),
        ("tags".to_owned(), entry.tags.join(" ")),
    ];
    rows.extend(entry.headline.iter().map(|(key, value)| (key.clone(), value.to_string())));
    for (key, value) in rows {
        match format {
            Format::Csv => writeln!(out, "{key},{}", super::csv_field(&value))?,
            _ => writeln!(out, "{key:<24} {value}")?,
        }
    }
    Ok(())
}
