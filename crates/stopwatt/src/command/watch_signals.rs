//! `stopwatt watch signals`: what a search over load found, as signals to scale by.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_ops::signals::{ColdStart, Knee, Signal, Signals, Source};
use stopwatt_record::catalogue;
use stopwatt_record::run_dir::{Run, write_atomically};

use super::Failure;
use super::bench::parse_time;
use crate::exit::Outcome;

/// Write autoscaling for a cluster, or alert thresholds, from a measured capacity
///
/// Reads a run of `stopwatt bench --find` and writes the signal at the highest load that held its objectives, times the
/// headroom, as what a replica may carry: a ScaledObject of KEDA, a HorizontalPodAutoscaler, or limits for `stopwatt
/// watch rules`. How long a replica takes to start decides how long a decision holds. Every number has a comment that
/// says where it comes from.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt bench --url http://127.0.0.1:8000 --find max-concurrency --slo 'p99 ttft < 1s'
  stopwatt watch signals --knee latest --metric running --cold-start 90s --out scaledobject.yaml
  stopwatt watch signals --knee latest --metric ttft --kind hpa --source vllm --deployment llama --max 8
  stopwatt watch signals --knee latest --metric kv --kind alerts --out limits.yaml && stopwatt watch rules limits.yaml")]
pub(crate) struct SignalsArgs {
    /// A run of `stopwatt bench --find`: a run ID, a path, or `latest`
    #[arg(long, value_name = "RUN")]
    knee: String,
    /// What to scale by
    #[arg(long, value_enum, default_value_t = Metric::Waiting)]
    metric: Metric,
    /// What to write
    #[arg(long, value_enum, default_value_t = Kind::Keda)]
    kind: Kind,
    /// Whose metrics Prometheus is asked for
    #[arg(long, value_enum, default_value_t = From::Stopwatt)]
    source: From,
    /// Namespace of the objects
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = name)]
    namespace: String,
    /// Deployment of the engine
    #[arg(long, value_name = "NAME", default_value = "engine", value_parser = name)]
    deployment: String,
    /// Where KEDA finds Prometheus
    #[arg(long, value_name = "URL", default_value = "http://prometheus.monitoring:9090")]
    prometheus_url: String,
    /// Fewest replicas; at zero no engine could tell of a queue
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..10_000))]
    min: u32,
    /// Most replicas
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..10_000))]
    max: u32,
    /// Share of the measured capacity that a replica is asked to carry
    #[arg(long, value_name = "SHARE", default_value_t = 0.8, value_parser = headroom)]
    headroom: f64,
    /// From the start of a replica to its first token: a time, or a run of `stopwatt bench --serve-cmd`
    #[arg(long, value_name = "TIME|RUN")]
    cold_start: Option<String>,
    /// File to write [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What to scale by.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Metric {
    /// Requests in the engine's queue
    Waiting,
    /// Requests that the engine computes
    Running,
    /// 95th percentile of the time to the first token
    Ttft,
    /// Share of the KV cache in use
    Kv,
}

/// What to write.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A ScaledObject, keda.sh/v1alpha1
    Keda,
    /// A HorizontalPodAutoscaler, autoscaling/v2, over an external metric
    Hpa,
    /// A file for `stopwatt watch rules`
    Alerts,
}

/// Whose metrics.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    /// `stopwatt watch`
    Stopwatt,
    /// vLLM itself
    Vllm,
}

fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=63).contains(&text.len()) && text.chars().all(|c| plain(c) || c == '-');
    match fits && text.starts_with(plain) && text.ends_with(plain) {
        true => Ok(text.to_owned()),
        false => {
            Err("a name has up to 63 small letters, digits and -, and begins and ends without -".to_owned())
        }
    }
}

fn headroom(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("the headroom is a share above 0 and up to 1".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(args: &SignalsArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if args.min > args.max {
        let error = anyhow::anyhow!("--min {} is more than --max {}", args.min, args.max);
        return Err(Failure::new(Outcome::Configuration, error).into());
    }
    let signal = match args.metric {
        Metric::Waiting => Signal::Waiting,
        Metric::Running => Signal::Running,
        Metric::Ttft => Signal::Ttft,
        Metric::Kv => Signal::Kv,
    };
    let source = match args.source {
        From::Stopwatt => Source::Stopwatt,
        From::Vllm => Source::Vllm,
    };
    if matches!((args.metric, args.kind, args.source), (Metric::Ttft, Kind::Alerts, From::Vllm)) {
        let error = anyhow::anyhow!("alerts on TTFT are judged by the metrics of `stopwatt watch` only");
        return Err(Failure::new(Outcome::Configuration, error).hint("leave --source out").into());
    }
    let knee = Knee::read(&summary(&args.knee)?, signal).map_err(|e| {
        let hint = e.hint();
        let failure = Failure::new(Outcome::Configuration, e.into());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    for warning in &knee.warnings {
        eprintln!("careful: {warning}");
    }
    let signals = Signals {
        knee,
        headroom: args.headroom,
        source,
        namespace: args.namespace.clone(),
        deployment: args.deployment.clone(),
        prometheus_url: args.prometheus_url.clone(),
        min: args.min,
        max: args.max,
        cold_start: args.cold_start.as_deref().map(cold_start).transpose()?,
    };
    let text = match args.kind {
        Kind::Keda => signals.keda(),
        Kind::Hpa => signals.hpa(),
        Kind::Alerts => signals.alerts(),
    };
    match &args.out {
        Some(file) => write_atomically(file, text.as_bytes())?,
        None => out.write_all(text.as_bytes())?,
    }
    Ok(Outcome::Done)
}

/// `metrics.json` of a run.
fn summary(name: &str) -> anyhow::Result<MetricsDoc> {
    let run = Run::open(&catalogue::resolve(&super::runs_root(), name)?)?;
    run.metrics()?.with_context(|| format!("the run {name} has no metrics.json; `stopwatt report` makes it"))
}

/// A time as given, or the slowest start that a run saw.
fn cold_start(text: &str) -> anyhow::Result<ColdStart> {
    if let Ok(time) = parse_time(text) {
        return Ok(ColdStart { seconds: time.as_secs_f64(), from: "as given (--cold-start)".to_owned() });
    }
    let doc = summary(text).context("failed to read --cold-start")?;
    let starts: Vec<f64> = doc.engines.iter().filter_map(|e| e.ready_s).collect();
    let Some(seconds) = starts.iter().copied().reduce(f64::max) else {
        let error = anyhow::anyhow!("the run {} started no engine that became ready", doc.run_id);
        let hint = "name a run of `stopwatt bench --serve-cmd …`, or a time such as 90s";
        return Err(Failure::new(Outcome::Configuration, error).hint(hint).into());
    };
    let from = format!("the slowest of {} to the first token in run {}", starts.len(), doc.run_id);
    Ok(ColdStart { seconds, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        assert!(name("llama-3").is_ok());
        assert!(["", "-a", "a-", "A", "a b", "a\nb"].iter().all(|n| name(n).is_err()));
        assert!(["0", "1.1", "NaN", "x"].iter().all(|h| headroom(h).is_err()) && headroom("0.8") == Ok(0.8));
    }
}
