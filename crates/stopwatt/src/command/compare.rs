//! `stopwatt compare`: is the change real?

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use stopwatt_analyse::acceptance;
use stopwatt_analyse::compare::{self, Gate, Options, Side};
use stopwatt_analyse::rca;
use stopwatt_core::comparison::{AcceptedPair, ComparisonDoc, GateState};
use stopwatt_core::text::Lang;
use stopwatt_core::{Direction, Metric};
use stopwatt_record::run_dir::write_atomically;
use stopwatt_report::ComparisonView;

use super::compared::Compared;
use super::{Failure, Format, Language};
use crate::exit::Outcome;

/// Compare runs and say whether the change is real
///
/// For each metric: the change relative to the baseline with its interval over trials, Hedges g, and a verdict:
/// improved, regressed, equivalent (within the margin, with confidence) or inconclusive. Points of several runs are
/// matched by their setting. Without gates the exit code is 0 whatever the verdict; with gates it is 0 when all pass, 10
/// when one fails and 11 when the trials do not support an answer. What explains a change, or the lack of a verdict, is
/// named below: environment, input, kernels, memory, queueing, sample size, outliers, client.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt compare before after\n  stopwatt compare before after --gate 'e2e p50 <= -20%' --gate 'error_rate <= +0pp'\n  stopwatt compare old.csv new.csv --metric step_time\n  stopwatt compare profile-1 profile-2 --margin 1%\n  stopwatt compare before after --format json"
)]
pub(crate) struct CompareArgs {
    /// What to compare against: a run (id, begin of one, tag, path, address, `latest`) or a CSV file of `run,value` lines
    #[arg(value_name = "BASELINE")]
    pub(super) baseline: String,
    /// What to judge against it
    #[arg(value_name = "CANDIDATE", required = true)]
    pub(super) candidates: Vec<String>,
    /// A limit that every candidate must clear with its whole interval (repeatable): `METRIC [STATISTIC] <= LIMIT`, the
    /// limit in % of the baseline or, for shares, in pp
    #[arg(long = "gate", value_name = "GATE")]
    pub(super) gates: Vec<Gate>,
    /// Add the gates of the measurement procedure: latency -20%, L2 hit rate +10pp, energy per token -15%, quality 0.1pp
    #[arg(long)]
    pub(super) prd_gates: bool,
    /// Metrics that are judged, corrected together (repeatable) [default: ttft p50, tpot mean, e2e p95, output_throughput]
    #[arg(long, value_name = "METRIC [STATISTIC]", value_parser = parse_primary, value_delimiter = ',')]
    primary: Vec<(String, String)>,
    /// Change that does not matter, for instance 1%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "1%")]
    pub(super) margin: f64,
    /// Between profiles: kernels that take less are not counted
    #[arg(long, value_name = "MICROSECONDS", value_parser = parse_microseconds, default_value = "20")]
    pub(super) above: f64,
    /// Confidence level of the intervals
    #[arg(long, value_name = "LEVEL", value_parser = parse_level, default_value = "0.95")]
    level: f64,
    /// Trial i of both sides was measured side by side
    #[arg(long)]
    paired: bool,
    /// Judge gates also between runs of other work or another machine
    #[arg(long)]
    allow_differences: bool,
    /// For pipelines: runs without fixed clocks are inconclusive
    #[arg(long)]
    ci: bool,
    /// With --ci: accept runs whose clocks were not fixed
    #[arg(long, requires = "ci")]
    allow_unfixed_clock: bool,
    /// Also write a page with both sides: verdict, plots, causes, checklist
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Judge a change for acceptance: the runs are pairs, BASELINE CANDIDATE of one workload after the other, at least
    /// two; every pair must clear its gates (those of --prd-gates unless --gate names others) and hold every file
    #[arg(long, conflicts_with = "html")]
    accept: bool,
    /// Name of what a CSV file holds
    #[arg(long, value_name = "NAME", default_value = "value")]
    metric: String,
    /// Which direction of a CSV file's values is better
    #[arg(long, value_enum, default_value_t)]
    better: Better,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
    /// Language of the result
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
}

/// Which direction is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Better {
    /// Smaller is better
    #[default]
    Lower,
    /// Larger is better
    Higher,
}

/// Runs the command.
pub(crate) fn run(args: &CompareArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if args.accept {
        return accept(args, out);
    }
    if let Some(outcome) = super::compare_kernels::run(args, out)? {
        return Ok(outcome);
    }
    let baseline = load(&args.baseline, args)?;
    let candidates = args.candidates.iter().map(|c| load(c, args)).collect::<anyhow::Result<Vec<_>>>()?;
    let options = options(args);
    let (doc, unfixed) = judge(&baseline, &candidates, &options, args);
    if let Some(path) = &args.html {
        write_page(path, &doc, &baseline, &candidates, args.lang.into())?;
    }
    print(&doc, args.format, args.lang, out)?;
    Ok(match doc.gate {
        Some(GateState::Failed) => Outcome::GateFailed,
        _ if unfixed => Outcome::Inconclusive,
        Some(GateState::Inconclusive) => Outcome::Inconclusive,
        Some(GateState::Passed) | None => Outcome::Done,
    })
}

fn options(args: &CompareArgs) -> Options {
    let mut options = Options {
        level: args.level,
        margin: args.margin,
        paired: args.paired,
        gates: args.gates.clone(),
        allow_differences: args.allow_differences,
        ..Options::default()
    };
    if args.prd_gates || args.accept && args.gates.is_empty() {
        options.gates.extend(compare::prd());
    }
    if !args.primary.is_empty() {
        options.primary.clone_from(&args.primary);
    }
    options
}

/// The comparison with its causes, and whether unfixed clocks forbid a pass.
fn judge(
    baseline: &Compared,
    candidates: &[Compared],
    options: &Options,
    args: &CompareArgs,
) -> (ComparisonDoc, bool) {
    let sides: Vec<Side> = candidates.iter().map(|c| c.side.clone()).collect();
    let mut doc = compare::compare(&baseline.side, &sides, options);
    let unfixed = args.ci && !args.allow_unfixed_clock && !clocks_fixed(&doc);
    if unfixed {
        doc.warnings.push("clocks were not fixed: results of different runs are not comparable".to_owned());
    }
    let seen: Vec<_> = candidates.iter().map(Compared::seen).collect();
    rca::explain(&mut doc, baseline.seen(), &seen);
    (doc, unfixed)
}

/// Two runs compared without gates, with what explains a change.
pub(super) fn plain(baseline: &Compared, candidate: &Compared) -> ComparisonDoc {
    let sides = [candidate.side.clone()];
    let mut doc = compare::compare(&baseline.side, &sides, &Options::default());
    rca::explain(&mut doc, baseline.seen(), &[candidate.seen()]);
    doc
}

fn clocks_fixed(doc: &ComparisonDoc) -> bool {
    std::iter::once(&doc.baseline).chain(&doc.candidates).all(|run| run.fixed_clock == Some(true))
}

/// A run by any of its names, or a table of samples.
fn load(name: &str, args: &CompareArgs) -> anyhow::Result<Compared> {
    let path = Path::new(name);
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
        let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {name}"))?;
        let better = if args.better == Better::Higher { Direction::Higher } else { Direction::Lower };
        return Side::of_csv(name, &text, &args.metric, better)
            .map(Compared::samples)
            .with_context(|| format!("failed to read {name}"))
            .map_err(|e| Failure::new(Outcome::Usage, e).into());
    }
    Compared::run(name)
}

fn write_page(
    path: &Path,
    doc: &ComparisonDoc,
    baseline: &Compared,
    candidates: &[Compared],
    lang: Lang,
) -> anyhow::Result<()> {
    let views: Vec<_> = candidates.iter().map(|c| c.view(lang)).collect();
    let view = ComparisonView { doc, baseline: baseline.view(lang), candidates: &views, lang };
    write_atomically(path, stopwatt_report::comparison_html(&view).as_bytes())?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

/// Pairs of runs, one a workload: every one must pass with every file there.
fn accept(args: &CompareArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let names: Vec<&String> = std::iter::once(&args.baseline).chain(&args.candidates).collect();
    if names.len() < 2 * acceptance::WORKLOADS || !names.len().is_multiple_of(2) {
        let error = anyhow::anyhow!(
            "--accept takes pairs of runs, BASELINE CANDIDATE for each of at least {} workloads; {} runs were given",
            acceptance::WORKLOADS,
            names.len()
        );
        return Err(Failure::new(Outcome::Usage, error).into());
    }
    let options = options(args);
    let mut unfixed = false;
    let mut workloads = Vec::new();
    for pair in names.chunks_exact(2) {
        let (before, after) = (load(pair[0], args)?, load(pair[1], args)?);
        let work = before.side.facts.work();
        let (comparison, not_fixed) = judge(&before, std::slice::from_ref(&after), &options, args);
        unfixed |= not_fixed;
        let artefacts = before.artefacts().into_iter().chain(after.artefacts()).collect();
        workloads.push(acceptance::Workload { pair: AcceptedPair { comparison, artefacts }, work });
    }
    let mut doc = acceptance::accept(workloads);
    if unfixed && doc.acceptance == GateState::Passed {
        doc.acceptance = GateState::Inconclusive;
        doc.reasons.push("clocks were not fixed".to_owned());
    }
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => super::compared::csv(doc.pairs.iter().map(|p| &p.comparison), out)?,
        Format::Table => {
            let style = super::terminal_style(None);
            write!(out, "{}", stopwatt_report::acceptance(&doc, args.lang.into(), style))?;
        }
    }
    Ok(Outcome::of_gate(doc.acceptance))
}

/// Prints a comparison.
pub(super) fn print(
    doc: &ComparisonDoc,
    format: Format,
    lang: Language,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(doc)?)?,
        Format::Csv => write!(out, "{}", stopwatt_report::comparison_csv(doc))?,
        Format::Table => {
            let style = super::terminal_style(None);
            write!(out, "{}", stopwatt_report::comparison(doc, lang.into(), style))?;
        }
    }
    Ok(())
}

/// `ttft p50` or `tpot`.
pub(super) fn parse_primary(text: &str) -> Result<(String, String), String> {
    let mut words = text.split_whitespace();
    let (metric, statistic) = (words.next().unwrap_or_default(), words.next().unwrap_or("mean"));
    if words.next().is_some() || !matches!(statistic, "mean" | "p50" | "p95" | "p99") {
        return Err("write METRIC or METRIC STATISTIC, with mean, p50, p95 or p99".to_owned());
    }
    match Metric::from_name(metric) {
        Some(metric) => Ok((metric.name().to_owned(), statistic.to_owned())),
        None => Err(format!("`{metric}` is not a metric; metrics.json lists them")),
    }
}

/// `1%` or `0.5`: percent as a ratio.
pub(super) fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim();
    match number.parse::<f64>() {
        Ok(v) if v > 0.0 && v < 100.0 => Ok(v / 100.0),
        _ => Err("write a percentage between 0 and 100, for instance 1%".to_owned()),
    }
}

/// Microseconds as seconds.
fn parse_microseconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(v) if v >= 0.0 && v.is_finite() => Ok(v / 1e6),
        _ => Err("write microseconds, for instance 20".to_owned()),
    }
}

pub(super) fn parse_level(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(v) if v > 0.5 && v < 1.0 => Ok(v),
        _ => Err("a level lies between 0.5 and 1, for instance 0.95".to_owned()),
    }
}
