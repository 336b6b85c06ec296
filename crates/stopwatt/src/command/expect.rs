//! `stopwatt expect`: is a run as good as this hardware is known to be?

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use stopwatt_analyse::compare::{self, Options, Side};
use stopwatt_analyse::expectation::{self, NoExpectation};
use stopwatt_analyse::rca::{self, Seen};
use stopwatt_core::comparison::GateState;
use stopwatt_core::expectations::{Expectation, ExpectationReport, JudgedRun, hardware_key};
use stopwatt_core::text::Text;
use stopwatt_record::expectations;
use stopwatt_report::Analysed;

use super::compare::{parse_level, parse_percent, parse_primary};
use super::compared::{self, Compared};
use super::{Failure, Format, Language};
use crate::exit::Outcome;

/// Judge runs against what was stored for this hardware, or store them
///
/// The trials of a run are compared with stored trials as with another run: the noise of both sides counts. A judged metric
/// passes when it is worse by less than the margin with confidence. Exit code 0: as expected; 10: something regressed;
/// 11: the trials do not tell, or nothing is stored for this target and hardware. Files are only written with
/// --update-expectations.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt expect latest --file-dir expectations --update-expectations\n  stopwatt expect latest --file-dir expectations\n  stopwatt expect chat document --file-dir expectations --margin 3% --format json"
)]
pub(crate) struct ExpectArgs {
    /// Runs: ids, begins of ids, tags, paths, or `latest`
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
    /// Folder of the files `expectations_{hardware_key}.json`, one for each kind of hardware
    #[arg(long, value_name = "DIR")]
    file_dir: PathBuf,
    /// Name of what was measured; for one run [default: scenario and model]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Store the runs as what is expected from now on, instead of judging them
    #[arg(long)]
    update_expectations: bool,
    /// How much worse does not matter
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "5%")]
    margin: f64,
    /// Confidence level of the intervals
    #[arg(long, value_name = "LEVEL", value_parser = parse_level, default_value = "0.95")]
    level: f64,
    /// Metrics that are judged, corrected together (repeatable) [default: ttft p50, tpot mean, e2e p95, output_throughput]
    #[arg(long, value_name = "METRIC [STATISTIC]", value_parser = parse_primary, value_delimiter = ',')]
    primary: Vec<(String, String)>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of the result
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
}

/// A run with the name of its target and the key of its hardware.
struct Named {
    name: String,
    target: String,
    hardware_key: String,
    compared: Compared,
}

/// Runs the command.
pub(crate) fn run(args: &ExpectArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if args.target.is_some() && args.runs.len() > 1 {
        let error = anyhow::anyhow!("--target names one target, but {} runs were given", args.runs.len());
        return Err(Failure::new(Outcome::Usage, error).hint("give the runs one by one").into());
    }
    let runs = args.runs.iter().map(|name| named(name, args)).collect::<anyhow::Result<Vec<_>>>()?;
    if args.update_expectations {
        return store(&runs, args, out);
    }
    let judged = runs.iter().map(|run| judge(run, args)).collect::<anyhow::Result<Vec<_>>>()?;
    let report = ExpectationReport::of(judged);
    print(&report, args, out)?;
    Ok(Outcome::of_gate(report.state))
}

fn named(name: &str, args: &ExpectArgs) -> anyhow::Result<Named> {
    let compared = Compared::run(name)?;
    let (machine, _) = expectation::machine(&analysed(&compared).log);
    let mode = analysed(&compared).doc.pipeline.mode.clone();
    let target = args.target.clone().unwrap_or_else(|| match machine.engine.get("model") {
        Some(model) => format!("{mode} {model}"),
        None => mode,
    });
    Ok(Named { name: name.to_owned(), target, hardware_key: hardware_key(&machine), compared })
}

fn analysed(compared: &Compared) -> &Analysed {
    compared.analysed().expect("a run was loaded, not a table of samples")
}

fn store(runs: &[Named], args: &ExpectArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = runs.iter().find(|r| !seen.insert((&r.hardware_key, &r.target))) {
        let error = anyhow::anyhow!("two of the runs are of target `{}`", twice.target);
        return Err(Failure::new(Outcome::Usage, error).hint("store one run of each target").into());
    }
    // Nothing is written unless every run can be stored.
    let expected = runs.iter().map(of_run).collect::<anyhow::Result<Vec<Expectation>>>()?;
    for (run, expected) in runs.iter().zip(expected) {
        let path = expectations::update(&args.file_dir, &run.hardware_key, [(run.target.clone(), expected)])?;
        eprintln!("stored `{}` of {} in {}", run.target, run.name, path.display());
        if args.format == Format::Json
            && let Some(stored) = expectations::read(&args.file_dir, &run.hardware_key)?
        {
            writeln!(out, "{}", serde_json::to_string_pretty(&stored)?)?;
        }
    }
    Ok(Outcome::Done)
}

fn of_run(run: &Named) -> anyhow::Result<Expectation> {
    let Analysed { doc, log, .. } = analysed(&run.compared);
    expectation::expectation(doc, log, &run.compared.side.facts).map_err(|error| {
        let (outcome, hint) = match error {
            NoExpectation::Invalid { .. } => {
                (Outcome::MeasurementFailed, "see `stopwatt report` for what to do, and measure again")
            }
            _ => (Outcome::Inconclusive, "measure again with more trials (`--repeats`)"),
        };
        Failure::new(outcome, error.into()).hint(hint).into()
    })
}

fn judge(run: &Named, args: &ExpectArgs) -> anyhow::Result<JudgedRun> {
    let stored = expectations::read(&args.file_dir, &run.hardware_key)?;
    let expected = stored.and_then(|mut all| all.targets.remove(&run.target));
    let Some(expected) = expected else {
        return Ok(JudgedRun {
            run: run.name.clone(),
            target: run.target.clone(),
            hardware_key: run.hardware_key.clone(),
            state: GateState::Inconclusive,
            reason: Some(format!(
                "nothing is expected of `{}` on {} yet; store a run with --update-expectations",
                run.target, run.hardware_key
            )),
            comparison: None,
        });
    };
    let mut options = Options { level: args.level, margin: args.margin, ..Options::default() };
    if !args.primary.is_empty() {
        options.primary.clone_from(&args.primary);
    }
    options.gates = expectation::gates(&expected, &options.primary, args.margin);
    let baseline = Side::of_expectation(Text::ExpectedTitle.get(args.lang.into()), &expected);
    let mut candidate = run.compared.side.clone();
    candidate.facts = candidate.facts.only_binding();
    let mut doc = compare::compare(&baseline, &[candidate], &options);
    let now = &analysed(&run.compared).doc.env.hash;
    if *now != expected.env_hash {
        doc.warnings.push(format!(
            "the environment is not the expected one (model, engine, driver or machine): {} → {now}",
            expected.env_hash
        ));
    }
    rca::explain(&mut doc, Seen::default(), &[run.compared.seen()]);
    Ok(JudgedRun::of(run.name.clone(), run.target.clone(), run.hardware_key.clone(), doc))
}

fn print(report: &ExpectationReport, args: &ExpectArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let docs = || report.judged.iter().filter_map(|j| j.comparison.as_ref());
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(report)?)?,
        Format::Csv => compared::csv(docs(), out)?,
        Format::Table => {
            for judged in &report.judged {
                writeln!(out, "{} · {}", judged.target, judged.hardware_key)?;
                if let Some(doc) = &judged.comparison {
                    let style = super::terminal_style(None);
                    write!(out, "{}", stopwatt_report::comparison(doc, args.lang.into(), style))?;
                }
                if let Some(reason) = &judged.reason {
                    writeln!(out, "  ? {reason}")?;
                }
            }
        }
    }
    Ok(())
}
