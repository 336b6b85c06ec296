//! `stopwatt pair`: baseline and candidate in turns, compared, and what becomes of the change.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::json;
use stopwatt_analyse::compare::{self, Gate, Options};
use stopwatt_analyse::{quality, rca};
use stopwatt_core::comparison::{ComparisonDoc, GateState, Verdict};
use stopwatt_core::log::Fact;
use stopwatt_experiment::bench::Stop;
use stopwatt_experiment::sop::rollback::{self, Decision, Next};
use stopwatt_experiment::sop::{self, SopConfig, TargetKind};
use stopwatt_record::config::Resolved;
use stopwatt_record::run_dir::{Run, write_atomically};

use super::bench;
use super::compare::{parse_level, parse_percent, parse_primary, print as print_comparison};
use super::compared::Compared;
use super::procedure::{Judging, OwnFlag, ProcedureArgs, benchmark, launcher, lock, watcher, write_reports};
use super::{Failure, Format};
use crate::exit::Outcome;
use crate::progress::Progress;
use crate::stop::Signals;

/// What is judged; gates are judged beside.
pub(super) const PRIMARY: [(&str, &str); 4] =
    [("e2e", "mean"), ("ttft", "mean"), ("tpot", "mean"), ("output_throughput", "mean")];

/// Measure a baseline and a candidate in turns (A B B A …), and say whether the change is accepted
///
/// Each trial is a new process. The sides are compared pair by pair; gates come from `gates` in the settings (latency
/// -20%, L2 hit rate +10pp, energy per token -15%, quality 0.1pp, each dropped with `gates.NAME=null`). A missed gate is
/// measured once more; after that the change is rolled back. Exit codes: 0 accepted, 10 a gate failed, 11 inconclusive.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt pair --command 'python3 old.py' --candidate \"target.command=python3 new.py\" --out cmp
  stopwatt pair -c base.yaml --allow-commands --candidate pipeline.mode=iterative --out cmp
  stopwatt pair -c base.yaml --allow-commands --candidate-config cand.yaml --trials 10 --out cmp
  stopwatt pair -c base.yaml --allow-commands --candidate pipeline.mode=iterative --out cmp --override gates.l2_hit=null
  stopwatt pair --command 'python3 old.py' --self-test --out aa
  stopwatt pair --serve-cmd 'vllm serve M --port {port}' --candidate-serve-cmd 'vllm serve M --port {port} --flag' \\
    --override target.bench.load.concurrency=8 --override gates.l2_hit=null --out cmp
  stopwatt pair -c engines.yaml --allow-commands --candidate-config other.yaml --out cmp")]
pub(crate) struct PairArgs {
    #[command(flatten)]
    procedure: ProcedureArgs,
    /// Settings file of the candidate, over that of the baseline
    #[arg(long, value_name = "FILE", help_heading = "Candidate")]
    candidate_config: Option<PathBuf>,
    /// One setting of the candidate, as `pipeline.mode=iterative` (repeatable)
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Candidate")]
    candidate: Vec<String>,
    /// Baseline that is an engine: its command with `{port}`, started anew for each trial
    #[arg(long, value_name = "COMMAND", help_heading = "Engines", conflicts_with_all = ["command", "url"])]
    serve_cmd: Option<String>,
    /// Candidate that is an engine: its command with `{port}`
    #[arg(long, value_name = "COMMAND", help_heading = "Engines", conflicts_with = "candidate_url")]
    candidate_serve_cmd: Option<String>,
    /// Baseline that is an engine: the URL of one that runs already
    #[arg(long, value_name = "URL", help_heading = "Engines", conflicts_with = "command")]
    url: Option<String>,
    /// Candidate that is an engine: the URL of one that runs already
    #[arg(long, value_name = "URL", help_heading = "Engines")]
    candidate_url: Option<String>,
    /// Measure the baseline against itself and say whether a difference is called where there is none
    #[arg(long, conflicts_with_all = ["candidate", "candidate_config", "candidate_serve_cmd", "candidate_url"], help_heading = "Candidate")]
    self_test: bool,
    /// A further limit that the candidate must clear (repeatable): `METRIC [STATISTIC] <= LIMIT`
    #[arg(long = "gate", value_name = "GATE", help_heading = "Judgement")]
    gates: Vec<Gate>,
    /// Metrics that are judged, corrected together (repeatable) [default: e2e, ttft, tpot, output_throughput, each mean]
    #[arg(long, value_name = "METRIC [STATISTIC]", value_parser = parse_primary, value_delimiter = ',', help_heading = "Judgement")]
    primary: Vec<(String, String)>,
    /// Change that does not matter, for instance 1%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "1%", help_heading = "Judgement")]
    margin: f64,
    /// Confidence level of the intervals
    #[arg(long, value_name = "LEVEL", value_parser = parse_level, default_value = "0.95", help_heading = "Judgement")]
    level: f64,
    /// Folder of the comparison: both runs, compare.json, decision.json; it must not exist or be empty
    #[arg(long, value_name = "DIR", value_parser = super::place::folder, help_heading = "Result")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &PairArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let procedure = &args.procedure;
    if procedure.schema(out)? {
        return Ok(Outcome::Done);
    }
    let baseline = procedure.resolve(None, &[], &args.engine(false))?;
    let engine = args.candidate_serve_cmd.is_some() || args.candidate_url.is_some();
    if !args.self_test && args.candidate.is_empty() && args.candidate_config.is_none() && !engine {
        let problem = anyhow!("there is no candidate");
        let hint = "say what is changed with --candidate KEY=VALUE or --candidate-config FILE, or give --self-test \
             (engines: --candidate-serve-cmd or --candidate-url)";
        return Err(Failure::new(Outcome::Usage, problem).hint(hint).into());
    }
    let candidate =
        procedure.resolve(args.candidate_config.as_deref(), &args.candidate, &args.engine(engine))?;
    if procedure.shown(&[&baseline, &candidate], out)? {
        return Ok(Outcome::Done);
    }
    fit_together(&baseline, &candidate)?;
    for side in [&baseline, &candidate] {
        super::refuse_missing_gpus(side.value.measure.gpus.as_deref())?;
    }
    procedure.refuse_foreign_command(&baseline)?;
    procedure.refuse_foreign_command(&candidate)?;
    let dir = args.out.clone().or_else(|| baseline.value.report.out_dir.as_ref().map(PathBuf::from));
    let dir = dir.ok_or_else(|| {
        Failure::new(Outcome::Usage, anyhow!("a comparison needs a folder")).hint("name one with --out DIR")
    })?;
    if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        let problem = anyhow!("{} is not empty", dir.display());
        return Err(Failure::new(Outcome::Usage, problem).hint("choose a new directory with --out").into());
    }
    let stop = Stop::new();
    let on_signal = stop.clone();
    let signals = Signals::install(move || on_signal.interrupt())?;
    let mut gates = if args.self_test { Vec::new() } else { baseline.value.gates.gates()? };
    gates.extend_from_slice(&args.gates);
    let what = match baseline.value.target.kind {
        TargetKind::Command | TargetKind::Kernel | TargetKind::Workload | TargetKind::Layout => {
            Measured::Programs([launcher(&baseline, &stop)?, launcher(&candidate, &stop)?])
        }
        TargetKind::Bench => Measured::Engines,
    };
    let sides = [&baseline, &candidate];
    for side in sides {
        side.value.quality.is_asked(&side.value)?;
    }
    let pair = Pair { args, sides, what: &what, gates, stop: &stop };
    let outcome = pair.decide(&dir, out);
    signals.outcome().map_or(outcome, Ok)
}

/// Refuses sides that cannot be paired.
fn fit_together(baseline: &Resolved<SopConfig>, candidate: &Resolved<SopConfig>) -> anyhow::Result<()> {
    if baseline.value.target.kind != candidate.value.target.kind {
        let problem = "both sides of a pair are programs, or both are engines";
        return Err(candidate.refuse("target.kind", problem).into());
    }
    for side in [baseline, candidate] {
        if side.value.pipeline.no_measure {
            return Err(side.refuse("pipeline.no_measure", "a pair is measured").into());
        }
    }
    let (a, b) = (&baseline.value.pipeline, &candidate.value.pipeline);
    for (key, same) in
        [("pipeline.trials", a.trials == b.trials), ("pipeline.repeats", a.repeats == b.repeats)]
    {
        if !same {
            return Err(candidate.refuse(key, "both sides of a pair measure the same number").into());
        }
    }
    Ok(())
}

impl PairArgs {
    /// The flags that name an engine: those of the baseline, or of the candidate where it has any.
    fn engine(&self, candidate: bool) -> Vec<OwnFlag<'_>> {
        let (command, url) = match candidate {
            false => (("--serve-cmd", &self.serve_cmd), ("--url", &self.url)),
            true => (
                ("--candidate-serve-cmd", &self.candidate_serve_cmd),
                ("--candidate-url", &self.candidate_url),
            ),
        };
        let mut flags: Vec<OwnFlag<'_>> = Vec::new();
        for (key, other, (flag, value)) in [
            ("target.bench.serve.command", "target.bench.target.url", command),
            ("target.bench.target.url", "target.bench.serve.command", url),
        ] {
            if let Some(value) = value {
                flags.push(("target.kind", flag, "bench".into()));
                flags.push((key, flag, value.as_str().into()));
                // One side may be started and the other run already.
                flags.push((other, flag, serde_json::Value::Null));
            }
        }
        flags
    }
}

/// What is measured in turns.
enum Measured {
    Programs([Box<dyn sop::Launch>; 2]),
    Engines,
}

/// A comparison from its settings to its decision.
struct Pair<'a> {
    args: &'a PairArgs,
    sides: [&'a Resolved<SopConfig>; 2],
    what: &'a Measured,
    gates: Vec<Gate>,
    stop: &'a Stop,
}

/// Folders of baseline and candidate, and what went wrong there.
type Both = [(PathBuf, Option<anyhow::Error>); 2];

/// One attempt.
struct Attempt {
    /// Folder under that of the comparison; empty for the first.
    name: String,
    doc: ComparisonDoc,
}

impl Pair<'_> {
    fn decide(&self, dir: &Path, out: &mut dyn Write) -> anyhow::Result<Outcome> {
        let mut left = self.sides[0].value.rollback.retry_budget;
        let mut attempts: Vec<Attempt> = Vec::new();
        loop {
            let name = if attempts.is_empty() { String::new() } else { format!("retry-{}", attempts.len()) };
            let folder = dir.join(&name);
            let Some(doc) = self.attempt(&folder)? else { return Ok(Outcome::Interrupted) };
            let next = rollback::judge(&doc, left);
            // What programs read is one document: that of the last attempt.
            let last = self.gates.is_empty() || matches!(next, Next::Decided(..));
            if last || self.args.procedure.format == Format::Table {
                print_comparison(&doc, self.args.procedure.format, self.args.procedure.lang, out)?;
            }
            attempts.push(Attempt { name, doc });
            let doc = &attempts[attempts.len() - 1].doc;
            if self.args.self_test {
                return self.self_test(doc, out);
            }
            self.say_needed(doc, out)?;
            if self.gates.is_empty() {
                return Ok(Outcome::Done);
            }
            match next {
                Next::Decided(decision, why) => {
                    self.put_in_use(decision, &why, dir, &attempts, out)?;
                    return Ok(match (decision, doc.gate) {
                        (Decision::Accepted, _) => Outcome::Done,
                        (_, Some(GateState::Failed)) | (Decision::RolledBack, _) => Outcome::GateFailed,
                        (Decision::Kept, _) => Outcome::Inconclusive,
                    });
                }
                Next::Again(why) => {
                    left -= 1;
                    // Causes of the miss belong here: `analyse::rca::causes(doc, …)`, told and kept in decision.json.
                    self.say(out, &format!("{why}: measuring once more"))?;
                }
            }
        }
    }

    /// Measures both sides and compares them; `None` when it was interrupted.
    fn attempt(&self, dir: &Path) -> anyhow::Result<Option<ComparisonDoc>> {
        let mut held = self.args.procedure.gpu.hold(self.sides[0].value.measure.gpus.as_deref())?;
        let mut progress = self.args.procedure.progress();
        let finished = match self.what {
            Measured::Programs(launch) => self.programs(launch, dir, &mut progress)?,
            Measured::Engines => self.engines(dir, &mut progress)?,
        };
        progress.end();
        let paths = [0, 1].map(|i| finished[i].0.clone());
        let failed = finished.iter().any(|(_, failure)| failure.is_some());
        if !failed && !self.stop.is_interrupted() {
            self.judge(&paths)?;
        }
        let mut sides = Vec::new();
        let mut failure = None;
        for (((path, failed), side), config) in
            finished.into_iter().zip([sop::Side::Baseline, sop::Side::Candidate]).zip(self.sides)
        {
            held.release_into(&path)?;
            write_reports(&path, &config.value, self.args.procedure.lang)?;
            sides.push(Compared::open(side.name(), &path)?);
            failure = failure.or(failed.map(|f| f.context(format!("the {} failed", side.name()))));
        }
        if self.stop.is_interrupted() {
            return Ok(None);
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        let options = Options {
            level: self.args.level,
            margin: self.args.margin,
            paired: true,
            primary: match self.args.primary.is_empty() {
                true => PRIMARY.map(|(m, s)| (m.to_owned(), s.to_owned())).to_vec(),
                false => self.args.primary.clone(),
            },
            gates: self.gates.clone(),
            ..Options::default()
        };
        let mut doc = compare::compare(&sides[0].side, &[sides[1].side.clone()], &options);
        rca::explain(&mut doc, sides[0].seen(), &[sides[1].seen()]);
        let mut text = serde_json::to_vec_pretty(&doc)?;
        text.push(b'\n');
        write_atomically(&dir.join("compare.json"), &text)?;
        Ok(Some(doc))
    }

    /// Measures two programs; each run's folder, and what went wrong there.
    fn programs(
        &self,
        launch: &[Box<dyn sop::Launch>; 2],
        dir: &Path,
        progress: &mut Progress,
    ) -> anyhow::Result<Both> {
        let setup = |i: usize| -> anyhow::Result<sop::Setup<'_>> {
            Ok(sop::Setup {
                config: &self.sides[i].value,
                lock: lock(self.sides[i])?,
                launch: launch[i].as_ref(),
            })
        };
        let (a, b) = (setup(0)?, setup(1)?);
        let first_start = sop::FirstStart::default();
        let mut watchers = [a.config, b.config].map(|config| watcher(config, &first_start, self.stop));
        let [watch_a, watch_b] = &mut watchers;
        let finished = sop::pair(&a, &b, dir, [watch_a.as_mut(), watch_b.as_mut()], self.stop, &mut |e| {
            progress.show(e)
        })?;
        Ok(finished.map(|f| {
            let real = f.failure.filter(|f| !matches!(f, sop::TargetError::OtherSide));
            (f.path, real.map(anyhow::Error::new))
        }))
    }

    /// The same of two engines.
    fn engines(&self, dir: &Path, progress: &mut Progress) -> anyhow::Result<Both> {
        let setup = |i: usize| -> anyhow::Result<_> {
            let (benchmark, lock) = benchmark(self.sides[i])?;
            bench::setup(&benchmark.value, lock, None, None)
        };
        let finished =
            sop::pair_engines(setup(0)?, setup(1)?, dir, self.stop, &mut |event| progress.show(event))?;
        Ok(finished.map(|(path, failure)| (path, failure.map(anyhow::Error::new))))
    }

    /// Judges the outputs of both sides, when that was asked for, and notes what was found in their runs.
    fn judge(&self, paths: &[PathBuf; 2]) -> anyhow::Result<()> {
        let [a, b] = self.sides.map(|side| &side.value);
        let judging = [Judging::of(a)?, Judging::of(b)?];
        let sides = (judging[0].side(a, self.stop), judging[1].side(b, self.stop));
        let Some(facts) = sop::quality_of_both(&sides.0, &sides.1)? else { return Ok(()) };
        let runs = [Run::open(&paths[0])?, Run::open(&paths[1])?];
        if let [Fact::Quality { quality: ours }, Fact::Quality { quality: theirs }] = &facts {
            let delta = quality::delta(&runs[0].id().to_string(), ours, theirs, self.args.level);
            runs[1].note(Fact::QualityDelta { delta })?;
        }
        for (path, fact) in paths.iter().zip(facts) {
            Run::open(path)?.note(fact)?;
        }
        Ok(())
    }

    /// For people: beside a table, else where it does not disturb what programs read.
    fn say(&self, out: &mut dyn Write, text: &str) -> anyhow::Result<()> {
        match self.args.procedure.format {
            Format::Table => writeln!(out, "\n{text}")?,
            Format::Json | Format::Csv => eprintln!("{text}"),
        }
        Ok(())
    }

    fn say_needed(&self, doc: &ComparisonDoc, out: &mut dyn Write) -> anyhow::Result<()> {
        match compare::trials_needed(&self.gates, doc) {
            Some(n) => self
                .say(out, &format!("a gate is open: about {n} trials a side (--trials {n}) would settle it")),
            None => Ok(()),
        }
    }

    /// Baseline against baseline: any verdict but equivalent or inconclusive is a false alarm.
    fn self_test(&self, doc: &ComparisonDoc, out: &mut dyn Write) -> anyhow::Result<Outcome> {
        let called: Vec<String> = doc
            .comparisons
            .iter()
            .filter(|c| matches!(c.verdict, Some(Verdict::Improved | Verdict::Regressed)))
            .map(|c| format!("{} {}", c.metric, c.statistic))
            .collect();
        if called.is_empty() {
            self.say(out, "self-test: no difference is called between equal things")?;
            return Ok(Outcome::Done);
        }
        let often = (1.0 - self.args.level) * 100.0;
        self.say(
            out,
            &format!(
                "self-test: a difference is called in {} where there is none. Chance does that in {often:.0} % of \
                 self-tests; if it does so again, something differs between the sides that should not",
                called.join(", ")
            ),
        )?;
        Ok(Outcome::GateFailed)
    }

    /// Writes the decision, and the configuration in use where Stopwatt owns its file.
    fn put_in_use(
        &self,
        decision: Decision,
        why: &str,
        dir: &Path,
        attempts: &[Attempt],
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let accepted = decision == Decision::Accepted;
        let active = self.sides[0].value.rollback.active.as_deref().map(Path::new);
        if let Some(file) = active {
            rollback::put_in_use(file, &self.configuration(accepted)?)
                .with_context(|| format!("failed to put the {} into use", decision.in_use()))?;
        }
        let folder = |name: &str| if name.is_empty() { ".".to_owned() } else { name.to_owned() };
        let attempts_json: Vec<_> = attempts
            .iter()
            .map(|a| json!({"folder": folder(&a.name), "gate": a.doc.gate, "gates": a.doc.gates}))
            .collect();
        let decided = json!({
            "decision": decision.name(),
            "why": why,
            "in_use": decision.in_use(),
            "active_file_written": active.is_some(),
            "attempts": attempts_json,
        });
        let mut text = serde_json::to_vec_pretty(&decided)?;
        text.push(b'\n');
        write_atomically(&dir.join("decision.json"), &text)?;
        if let Some(last) = attempts.last() {
            let run = Run::open(&dir.join(&last.name).join(sop::Side::Candidate.name()))?;
            run.note(Fact::Decision { decision: decision.name().to_owned(), detail: why.to_owned() })?;
        }
        let word = match decision {
            Decision::Accepted => "accepted",
            Decision::RolledBack => "rolled back",
            Decision::Kept => "not accepted",
        };
        let then = match active {
            Some(_) => format!("the configuration in use is the {}'s", decision.in_use()),
            None => format!("advice: keep the {}'s configuration in use", decision.in_use()),
        };
        self.say(out, &format!("{word}: {why}; {then}"))
    }

    /// The configuration of a side: its file as it is where it came from nothing else, otherwise every setting as JSON,
    /// which YAML readers read.
    fn configuration(&self, candidate: bool) -> anyhow::Result<Vec<u8>> {
        let args = self.args;
        let alone = args.procedure.overrides.is_empty() && (!candidate || args.candidate.is_empty());
        let file = match candidate {
            true if args.procedure.config.is_none() => args.candidate_config.as_deref(),
            true => None,
            false => args.procedure.config.as_deref(),
        };
        if let Some(file) = file.filter(|_| alone) {
            return std::fs::read(file).with_context(|| format!("failed to read {}", file.display()));
        }
        let mut text = serde_json::to_vec_pretty(&self.sides[usize::from(candidate)].value)?;
        text.push(b'\n');
        Ok(text)
    }
}
