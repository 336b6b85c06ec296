//! `stopwatt watch rules`: rules for alerts, written for Prometheus or followed here.

use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use stopwatt_core::clock::unix_now;
use stopwatt_load::Target;
use stopwatt_ops::rules::evaluate::{Evaluator, Firing};
use stopwatt_ops::rules::history::Labels;
use stopwatt_ops::rules::webhook::{Notifier, body, deliver, time};
use stopwatt_ops::rules::{Compiled, Settings, prometheus};
use stopwatt_record::config;
use stopwatt_record::run_dir::write_atomically;

use super::Failure;
use super::bench::parse_time;
use super::endpoint::endpoint;
use crate::exit::Outcome;
use crate::stop::Signals;

/// Write alert rules for Prometheus, or follow them where there is none
///
/// One file of objectives and limits makes both: a rule file for Prometheus (burn rates over several windows, upstreams,
/// GPUs by the names of dcgm-exporter), or, with --follow, alerts judged here over scraped pages and told to a webhook
/// in Alertmanager's format. Without a file the defaults are used.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt watch rules --out stopwatt.rules.yml && promtool check rules stopwatt.rules.yml
  stopwatt watch rules objectives.toml --out stopwatt.rules.yml
  stopwatt watch rules objectives.toml --follow http://127.0.0.1:9000 --webhook http://127.0.0.1:5001/alerts
  stopwatt watch rules --print-schema")]
pub(crate) struct RulesArgs {
    /// Objectives and limits, TOML or YAML
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// File to write the rules to [default: stdout]
    #[arg(long, value_name = "FILE", conflicts_with = "follow")]
    out: Option<PathBuf>,
    /// Scrape this metrics page and judge here (repeatable); each event is a line of JSON
    #[arg(long, value_name = "URL")]
    follow: Vec<String>,
    /// Where to tell what fires, in the format of Alertmanager's webhook
    #[arg(long, value_name = "URL", requires = "follow")]
    webhook: Option<String>,
    /// Time between two scrapes
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_time, requires = "follow")]
    every: Duration,
    /// Print the JSON schema of the file
    #[arg(long)]
    print_schema: bool,
}

/// Runs the command.
pub(crate) fn run(args: &RulesArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if args.print_schema {
        out.write_all(config::print_schema::<Settings>().as_bytes())?;
        return Ok(Outcome::Done);
    }
    let settings: Settings = match &args.file {
        Some(path) => config::read_file(path).context("failed to read the rules")?,
        None => Settings::default(),
    };
    let compiled = settings.alerts().map_err(|e| {
        let hint = e.hint();
        let failure =
            Failure::new(Outcome::Configuration, anyhow::Error::new(e).context("failed to read the rules"));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    for reason in &compiled.left_out {
        eprintln!("left out, since it could never fire: {reason}");
    }
    if !args.follow.is_empty() {
        return follow(args, &compiled, out);
    }
    let text = prometheus::rule_file(&compiled);
    match &args.out {
        Some(file) => write_atomically(file, text.as_bytes())?,
        None => out.write_all(text.as_bytes())?,
    }
    Ok(Outcome::Done)
}

/// A page to scrape.
struct Page {
    target: Target,
    path: String,
    labels: Labels,
    down: bool,
}

fn follow(args: &RulesArgs, compiled: &Compiled, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let pages: anyhow::Result<Vec<Page>> = args
        .follow
        .iter()
        .map(|url| {
            let (target, path) = endpoint(url, "/metrics")?;
            let labels = [("instance".to_owned(), target.authority())].into();
            Ok(Page { target, path, labels, down: false })
        })
        .collect();
    let mut pages = pages?;
    let webhook = args.webhook.as_deref().map(|url| endpoint(url, "/")).transpose()?;
    let (stop, stopped) = channel();
    let signals = Signals::install(move || {
        // Nobody listens any more when the loop has ended by itself.
        let _ = stop.send(());
    })?;
    let (mut evaluator, mut notifier) = (Evaluator::new(compiled), Notifier::default());
    loop {
        for page in &mut pages {
            scrape(page, &mut evaluator, args.every);
        }
        let now_s = unix_now() as f64 * 1e-9;
        let changed = evaluator.step(now_s);
        for event in &changed {
            writeln!(out, "{}", line(event))?;
        }
        out.flush()?;
        for group in notifier.due(changed, &evaluator.firing(), now_s) {
            let Some((target, path)) = &webhook else { continue };
            let problem = match deliver(target, path, &body(&group)) {
                Ok(200..300) => continue,
                Ok(status) => format!("it answered {status}"),
                Err(error) => error.to_string(),
            };
            eprintln!("the webhook was not told of {}, which is tried again: {problem}", group.name);
            notifier.failed(group);
        }
        match stopped.recv_timeout(args.every) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => {
                // Ctrl-C is how this is ended; it did what it was asked.
                let _ = signals.outcome();
                return Ok(Outcome::Done);
            }
        }
    }
}

fn scrape(page: &mut Page, evaluator: &mut Evaluator, patience: Duration) {
    let got = stopwatt_load::get(&page.target, &page.path, patience);
    let at_s = unix_now() as f64 * 1e-9;
    let problem = match &got {
        Ok(response) if response.status == 200 => None,
        Ok(response) => Some(format!("it answered {}", response.status)),
        Err(error) => Some(error.to_string()),
    };
    let text = got.ok().filter(|_| problem.is_none()).map(|r| String::from_utf8_lossy(&r.body).into_owned());
    // A page that cannot be read ends its gauges, as in Prometheus.
    evaluator.take(at_s, &page.labels, text.as_deref().unwrap_or_default());
    match problem {
        Some(problem) if !page.down => eprintln!("{} could not be read: {problem}", page.target.base_url()),
        None if page.down => eprintln!("{} can be read again", page.target.base_url()),
        _ => {}
    }
    page.down = text.is_none();
}

fn line(event: &Firing) -> serde_json::Value {
    serde_json::json!({
        "status": if event.ends_s.is_none() { "firing" } else { "resolved" },
        "labels": event.labels,
        "summary": event.summary,
        "value": event.value,
        "starts_at": time(event.starts_s),
        "ends_at": event.ends_s.map(time),
    })
}
