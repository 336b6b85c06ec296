//! One pair: outputs verified, trials in turns, checks, and what it all comes to.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};
use stopwatt_analyse::compare::{self, Options};
use stopwatt_analyse::{expectation, rca, workload_pairs as pairs};
use stopwatt_core::expectations::Expectation;
use stopwatt_core::workload_pairs::{PairCheck, PairResult, PairState};
use stopwatt_experiment::bench::Stop;
use stopwatt_experiment::sop::{self, Launch, Occasion, Program, SopConfig, Target, TargetError, Workloads};
use stopwatt_experiment::targets::{self, Verified, Witness};
use stopwatt_record::config::{Layers, Resolved};
use stopwatt_record::run_dir::write_atomically;
use stopwatt_report::Analysed;

use super::super::Language;
use super::super::compared::Compared;
use super::super::procedure::{lock, watcher, write_reports};
use super::chosen::{Chosen, What};
use super::{Profile, RunArgs};
use crate::progress::Progress;

/// Inputs on which outputs are held against each other before anything is timed.
const INPUTS: usize = 3;
/// Longest time that a program may take to get ready, in seconds: it may compile.
const PREPARE_S: f64 = 180.0;
/// Longest warm-up of a trial, in seconds.
const WARM_UP_S: f64 = 10.0;
/// Facts in which the sides must not differ, where both tell them.
const SAME: [&str; 9] =
    ["pair", "device", "threads", "shape", "torch", "cuda", "matmul_precision", "allow_tf32", "inputs"];
/// Counters of a small profile; those behind the first are bytes.
const FEW: [&str; 3] = ["l2_hit_pct", "dram_read_bytes", "dram_write_bytes"];

/// A pair that was measured, or why not.
pub(super) struct Outcome {
    pub(super) result: PairResult,
    /// What could be stored as expected of it.
    pub(super) expectation: Option<Expectation>,
    /// A side crashed, hung or said nonsense.
    pub(super) crashed: bool,
}

/// Verifies and measures a pair, into a folder of its own under `visit`.
pub(super) fn measure(
    pair: &Chosen,
    args: &RunArgs,
    visit: &Path,
    visible: bool,
    stop: &Stop,
) -> anyhow::Result<Outcome> {
    let mut result = PairResult {
        target: pair.id.clone(),
        title: pair.title.clone(),
        device: pair.device.clone(),
        form: pair.form().to_owned(),
        variable: pair.variable.clone(),
        small: args.small,
        iterations: args.iterations,
        trials: args.trials,
        ..PairResult::default()
    };
    if let What::Missing(why) = &pair.what {
        result.reason = Some(why.clone());
        return Ok(Outcome { result, expectation: None, crashed: false });
    }
    let folder = visit.join(pair.folder());
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    if let What::Own(words) = pair.what {
        return own(pair, words, result, visit, &folder, stop);
    }
    let sides = Sides::of(pair, args, visit, &folder, stop)?;
    let failed = |mut result: PairResult, reason: String, crashed: bool| {
        (result.state, result.reason) = (PairState::Failed, Some(reason));
        Ok(Outcome { result, expectation: None, crashed })
    };
    match sides.verify(pair.tolerance, &mut result) {
        Ok(()) => {}
        Err(Refused::Target(TargetError::Skipped { reason })) => {
            result.reason = Some(reason);
            return Ok(Outcome { result, expectation: None, crashed: false });
        }
        Err(Refused::Target(TargetError::Start { program, source }))
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            result.reason = Some(format!("`{program}` was not found"));
            return Ok(Outcome { result, expectation: None, crashed: false });
        }
        Err(Refused::Target(TargetError::Interrupted)) => {
            result.reason = Some("interrupted by a signal".to_owned());
            return Ok(Outcome { result, expectation: None, crashed: false });
        }
        Err(Refused::Target(error)) => return failed(result, error.to_string(), true),
        Err(Refused::Check) => {
            let reason = result.checks.iter().rev().find(|c| !c.passed).map(|c| c.detail.clone());
            return failed(result, reason.unwrap_or_default(), false);
        }
    }
    match sides.trials(&folder, visible, stop)? {
        None if !stop.is_interrupted() => {}
        // Neither measured nor wrong: what was measured until then lies in its runs.
        None | Some(TargetError::Interrupted) => {
            result.reason = Some("interrupted by a signal".to_owned());
            return Ok(Outcome { result, expectation: None, crashed: false });
        }
        Some(error) => return failed(result, error.to_string(), true),
    }
    if args.profile == Profile::Minimal {
        result.trace = Some(sides.trace(pair, &folder));
    }
    let expectation = finish(&mut result, pair, &sides, args, visit, &folder)?;
    Ok(Outcome { result, expectation, crashed: false })
}

/// A command of this program as a test of one side: its run must be valid, and nothing in it may drift.
fn own(
    pair: &Chosen,
    words: &[&str],
    mut result: PairResult,
    visit: &Path,
    folder: &Path,
    stop: &Stop,
) -> anyhow::Result<Outcome> {
    let path = folder.join("run");
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let mut command = std::process::Command::new(program);
    command.args(words).arg("--quiet").arg("--out").arg(&path);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let mut child = command.spawn().context("failed to start this program again")?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if stop.is_interrupted() {
            // What it started ends with it.
            let _ = child.kill();
            child.wait()?;
            result.reason = Some("interrupted by a signal".to_owned());
            return Ok(Outcome { result, expectation: None, crashed: false });
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    if !status.success() {
        (result.state, result.reason) =
            (PairState::Failed, Some(format!("`{}` ended with {status}", words[0])));
        return Ok(Outcome { result, expectation: None, crashed: true });
    }
    let name = path.strip_prefix(visit).unwrap_or(&path).to_string_lossy().into_owned();
    let run = Compared::open(&name, &path)?;
    let doc = &run.analysed().expect("a run was opened, not a table of samples").doc;
    let failed: u64 = doc.points.iter().flat_map(|p| p.errors.values()).sum();
    let of = |fatal: bool| {
        let found = doc.validity.reasons.iter().filter(|r| r.fatal == fatal);
        found.map(|r| r.code.as_str()).collect::<Vec<_>>()
    };
    let check =
        |name: &str, passed: bool, detail: String| PairCheck { name: name.to_owned(), passed, detail };
    result.checks = vec![
        check("no request failed", failed == 0, format!("{failed} failed")),
        check(
            "validity of the run",
            doc.validity.valid,
            match doc.validity.valid {
                true => "the run is valid".to_owned(),
                false => format!("the run is not valid: {}", of(true).join(", ")),
            },
        ),
        check(
            "stable after warm-up",
            !of(false).contains(&"drift"),
            match of(false).contains(&"drift") {
                true => "a latency drifts over the load".to_owned(),
                false => "no latency drifts over the load".to_owned(),
            },
        ),
    ];
    result.shape = doc.points.first().map(|p| p.label.clone());
    let mut side = pairs::side(&pair.modes[1], &name, doc);
    for metric in ["ttft", "tpot"] {
        if let Some(found) = doc.points.first().and_then(|p| p.metrics.get(metric)) {
            side.metrics.insert(format!("{metric}_s"), found.mean.clone());
        }
    }
    result.optimised = Some(side);
    match result.checks.iter().find(|c| !c.passed) {
        Some(check) => (result.state, result.reason) = (PairState::Failed, Some(check.detail.clone())),
        None => result.state = PairState::Verified,
    }
    Ok(Outcome { result, expectation: None, crashed: false })
}

/// Why a pair is not measured.
enum Refused {
    Target(TargetError),
    /// The last check says.
    Check,
}

/// Both sides with what starts them.
struct Sides {
    settings: [Resolved<SopConfig>; 2],
    launch: [Box<dyn Launch>; 2],
    witness: [Arc<Witness>; 2],
}

impl Sides {
    fn of(pair: &Chosen, args: &RunArgs, visit: &Path, folder: &Path, stop: &Stop) -> anyhow::Result<Self> {
        let settings = [settings(pair, 0, args, visit)?, settings(pair, 1, args, visit)?];
        let witness = [Arc::<Witness>::default(), Arc::default()];
        let absolute = std::path::absolute(folder)?;
        let launch = |i: usize| -> anyhow::Result<Box<dyn Launch>> {
            let (config, witness) = (&settings[i].value, witness[i].clone());
            Ok(match pair.what {
                What::BuiltIn => Box::new(Workloads::of(config, stop)?.with_witness(witness)),
                _ => {
                    let program = Program::of(&config.target, config.record.keep_engine_log, stop)?;
                    Box::new(program.with_witness(absolute.clone(), witness))
                }
            })
        };
        let launch = [launch(0)?, launch(1)?];
        Ok(Self { settings, launch, witness })
    }

    /// Holds outputs against each other on inputs chosen after both sides were set up.
    fn verify(&self, tolerance: f64, result: &mut PairResult) -> Result<(), Refused> {
        let mut ready = Vec::new();
        let outcome = (|| {
            for i in 0..2 {
                let mut target = self.launch[i].launch(&[]).map_err(Refused::Target)?;
                let config = &self.settings[i].value;
                let occasion = Occasion {
                    seed: config.seed,
                    mode: config.pipeline.mode.clone(),
                    trial: None,
                    iterations: config.iterations(),
                };
                let prepared = target.prepare(&occasion);
                ready.push((target, BTreeMap::new()));
                ready[i].1 = prepared.map_err(Refused::Target)?.facts;
            }
            result.shape = ready[1].1.get("shape").cloned();
            result.checks.push(same_facts(&ready[0].1, &ready[1].1));
            if result.checks.iter().any(|c| !c.passed) {
                return Err(Refused::Check);
            }
            let [(a, _), (b, _)] = &mut ready[..] else { return Err(Refused::Check) };
            let verified = held_against(a.as_mut(), b.as_mut(), tolerance).map_err(Refused::Target)?;
            let passed = verified.is_ok();
            let detail = match verified {
                Ok(Verified { inputs, numbers, largest }) => format!(
                    "{inputs} inputs drawn after set-up, {numbers} numbers each: largest difference {largest:.1e} of \
                     the baseline's largest number, {tolerance:.1e} is allowed"
                ),
                Err(why) => why.to_string(),
            };
            result.checks.push(PairCheck { name: "outputs on fresh inputs".to_owned(), passed, detail });
            if passed { Ok(()) } else { Err(Refused::Check) }
        })();
        for (mut target, _) in ready {
            target.teardown();
        }
        outcome
    }

    /// Measures in turns; what went wrong with a side.
    fn trials(&self, folder: &Path, visible: bool, stop: &Stop) -> anyhow::Result<Option<TargetError>> {
        let setup = |i: usize| -> anyhow::Result<sop::Setup<'_>> {
            let config = &self.settings[i].value;
            Ok(sop::Setup { config, lock: lock(&self.settings[i])?, launch: self.launch[i].as_ref() })
        };
        let (a, b) = (setup(0)?, setup(1)?);
        let first_start = sop::FirstStart::default();
        let mut watchers = [a.config, b.config].map(|config| watcher(config, &first_start, stop));
        let [watch_a, watch_b] = &mut watchers;
        let mut progress = Progress::new(visible);
        let finished =
            sop::pair(&a, &b, folder, [watch_a.as_mut(), watch_b.as_mut()], stop, &mut |e| progress.show(e))?;
        progress.end();
        let real = |f: sop::Finished| f.failure.filter(|f| !matches!(f, TargetError::OtherSide));
        Ok(finished.into_iter().find_map(real))
    }

    /// A trace of the optimised side by nsys, where it is installed; what became of it.
    fn trace(&self, pair: &Chosen, folder: &Path) -> String {
        if matches!(pair.what, What::BuiltIn) {
            return "left out: nsys traces programs, and this pair is built in".to_owned();
        }
        let out = folder.join("nsys");
        let words = ["nsys", "profile", "--trace=cuda,nvtx", "--force-overwrite=true", "--output"];
        let mut prefix: Vec<String> = words.map(str::to_owned).to_vec();
        prefix.push(out.to_string_lossy().into_owned());
        let config = &self.settings[1].value;
        let traced = self.launch[1].launch(&prefix).and_then(|mut target| {
            let occasion = Occasion {
                seed: config.seed,
                mode: config.pipeline.mode.clone(),
                trial: None,
                iterations: 3,
            };
            let outcome = target.prepare(&occasion).and_then(|_| target.iterate(3, &mut |_| {}));
            target.teardown();
            outcome
        });
        match traced {
            Ok(()) => "nsys.nsys-rep holds three iterations of the optimised side".to_owned(),
            Err(TargetError::Start { .. }) => "left out: nsys is not installed".to_owned(),
            Err(why) => format!("left out: {why}"),
        }
    }
}

/// Outputs of two targets that are ready.
fn held_against(
    baseline: &mut dyn Target,
    optimised: &mut dyn Target,
    tolerance: f64,
) -> Result<Result<Verified, targets::Unverified>, TargetError> {
    // Seeds that nothing of what was set up could know.
    let seeds: Vec<u64> = (0..INPUTS).map(|i| RandomState::new().hash_one(i) >> 12).collect();
    let mut broken: Option<TargetError> = None;
    let mut answer = |target: &mut dyn Target, seed: u64| match target.verify(seed) {
        Ok(Some(output)) => Ok(output),
        Ok(None) => Err("it does not tell its outputs".to_owned()),
        Err(error) => {
            let reason = error.to_string();
            broken.get_or_insert(error);
            Err(reason)
        }
    };
    let answer = std::cell::RefCell::new(&mut answer);
    let verified = targets::verify(
        &mut |seed| (answer.borrow_mut())(baseline, seed),
        &mut |seed| (answer.borrow_mut())(optimised, seed),
        &seeds,
        tolerance,
    );
    match broken {
        Some(error) => Err(error),
        None => Ok(verified),
    }
}

fn same_facts(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> PairCheck {
    let differ: Vec<String> = SAME
        .iter()
        .filter_map(|name| {
            let (a, b) = (a.get(*name)?, b.get(*name)?);
            (a != b).then(|| format!("{name}: {a} and {b}"))
        })
        .collect();
    let told: Vec<&str> =
        SAME.into_iter().filter(|name| a.contains_key(*name) && b.contains_key(*name)).collect();
    PairCheck {
        name: "one variable".to_owned(),
        passed: differ.is_empty(),
        detail: match (differ.is_empty(), told.is_empty()) {
            (false, _) => format!("the sides differ in {}", differ.join("; ")),
            (true, false) => format!("the same on both sides: {}", told.join(", ")),
            (true, true) => {
                "the settings differ in the mode alone; the sides tell nothing of themselves".to_owned()
            }
        },
    }
}

/// The settings of a side; the sides differ in `pipeline.mode` alone.
fn settings(pair: &Chosen, side: usize, args: &RunArgs, visit: &Path) -> anyhow::Result<Resolved<SopConfig>> {
    let mut set: Vec<(&str, Value)> = vec![
        ("seed", json!(args.seed)),
        ("target.name", json!(pair.id)),
        ("target.outputs_vary", json!(true)),
        ("target.prepare_timeout_s", json!(PREPARE_S)),
        ("pipeline.mode", json!(pair.modes[side])),
        ("pipeline.repeats", json!(args.iterations * u64::from(args.trials))),
        ("pipeline.trials", json!(args.trials)),
        ("pipeline.warmup_iter", json!(args.warmup)),
        ("pipeline.warmup_max_s", json!(WARM_UP_S)),
        ("measure.thermal_window_s", json!(0)),
        ("record.keep_engine_log", json!(args.keep_engine_log)),
    ];
    for gate in ["gates.latency", "gates.l2_hit", "gates.ept", "gates.quality"] {
        set.push((gate, Value::Null));
    }
    let command = match &pair.what {
        What::Program(file) => {
            let programs = visit.join("programs");
            targets::write_programs(&programs)
                .with_context(|| format!("failed to write {}", programs.display()))?;
            let script = programs.join(file);
            let words = [&args.python, &*script.to_string_lossy(), "--device", &pair.device];
            let small = args.small.then_some("--small");
            Some(shlex::try_join(words.into_iter().chain(small))?)
        }
        What::External(command) => Some(command.clone()),
        What::BuiltIn | What::Own(_) | What::Missing(_) => None,
    };
    match command {
        Some(command) => {
            set.push(("target.kind", json!("command")));
            set.push(("target.protocol", json!("json-lines")));
            set.push(("target.command", json!(command)));
            let counters: Option<Vec<&str>> = match args.profile {
                Profile::None => None,
                Profile::Minimal => Some(FEW.to_vec()),
                Profile::Roofline => Some(FEW[1..].to_vec()),
                // All of them.
                Profile::DeepDive => Some(Vec::new()),
            };
            if let Some(counters) = counters {
                set.push(("measure.ncu_enable", json!(true)));
                set.push(("measure.ncu_metrics", json!(counters)));
                // The programs of Stopwatt mark their work; drawing inputs and flushing caches is none of it.
                set.push(("measure.ncu_marked_only", json!(matches!(pair.what, What::Program(_)))));
            }
        }
        None => {
            let name = pair.id.rsplit(':').next().unwrap_or(&pair.id);
            set.push(("target.kind", json!("workload")));
            set.push(("target.workload.pair", json!(name)));
            set.push(("target.workload.small", json!(args.small)));
            if let Some(weights) = &args.weights {
                set.push(("target.workload.weights", json!(weights)));
            }
            if let Some(threads) = args.threads {
                set.push(("target.workload.threads", json!(threads)));
            }
        }
    }
    let mut layers = Layers::<SopConfig>::new();
    for (key, value) in set {
        layers = layers.flag(key, "targets run", Some(value));
    }
    Ok(layers.resolve()?)
}

/// Reads both runs, and says what they come to.
fn finish(
    result: &mut PairResult,
    pair: &Chosen,
    sides: &Sides,
    args: &RunArgs,
    visit: &Path,
    folder: &Path,
) -> anyhow::Result<Option<Expectation>> {
    let paths: [PathBuf; 2] = [sop::Side::Baseline, sop::Side::Candidate].map(|s| folder.join(s.name()));
    let mut runs = Vec::new();
    for (path, settings) in paths.iter().zip(&sides.settings) {
        write_reports(path, &settings.value, Language::En)?;
        let name = path.strip_prefix(visit).unwrap_or(path).to_string_lossy().into_owned();
        runs.push((name.clone(), Compared::open(&name, path)?));
    }
    let analysed = |i: usize| runs[i].1.analysed().expect("a run was opened, not a table of samples");
    result.checks.push(timed_outputs(sides, pair.tolerance));
    result.checks.push(valid(analysed(0), analysed(1)));
    let docs = [&analysed(0).doc, &analysed(1).doc];
    let [a, b] = [0, 1].map(|i| pairs::side(&pair.modes[i], &runs[i].0, docs[i]));
    (result.baseline, result.optimised) = (Some(a.clone()), Some(b.clone()));
    let options = Options {
        level: args.level,
        margin: args.margin,
        paired: true,
        primary: vec![("e2e".to_owned(), "mean".to_owned())],
        ..Options::default()
    };
    let mut doc = compare::compare(&runs[0].1.side, &[runs[1].1.side.clone()], &options);
    rca::explain(&mut doc, runs[0].1.seen(), &[runs[1].1.seen()]);
    let mut text = serde_json::to_vec_pretty(&doc)?;
    text.push(b'\n');
    write_atomically(&folder.join("compare.json"), &text)?;
    if let Some(check) = result.checks.iter().find(|c| !c.passed) {
        (result.state, result.reason) = (PairState::Failed, Some(check.detail.clone()));
        return Ok(None);
    }
    result.state = PairState::Verified;
    let [before, after] = docs.map(pairs::trial_seconds);
    result.speedup = pairs::speedup(&before, &after, args.level, args.margin);
    let earned = pairs::break_even(&a, &b, result.speedup.as_ref());
    (result.break_even_iterations, result.break_even_interval) = earned.unzip();
    let Some(speedup) = &result.speedup else { return Ok(None) };
    let Analysed { doc, log, .. } = analysed(1);
    let of = expectation::expectation(doc, log, &runs[1].1.side.facts)?;
    Ok(Some(pairs::expectation(speedup, of)))
}

/// What was timed must have been right as well.
fn timed_outputs(sides: &Sides, tolerance: f64) -> PairCheck {
    let name = "outputs of timed iterations".to_owned();
    match sides.witness[0].against(&sides.witness[1], tolerance) {
        Ok(found) if found.trials > 0 => PairCheck {
            name,
            passed: true,
            detail: format!(
                "the last of each of {} trials: largest difference {:.1e}",
                found.trials, found.largest
            ),
        },
        Ok(_) => {
            PairCheck { name, passed: false, detail: "no trial of both sides told its output".to_owned() }
        }
        Err(why) => PairCheck { name, passed: false, detail: format!("in a timed iteration, {why}") },
    }
}

/// The runs' own verdicts: clocks, throttling, foreign load.
fn valid(a: &Analysed, b: &Analysed) -> PairCheck {
    let codes = |run: &Analysed, fatal: bool| {
        let found = run.doc.validity.reasons.iter().filter(|r| r.fatal == fatal);
        found.map(|r| r.code.as_str().to_owned()).collect::<Vec<String>>()
    };
    let of = |fatal: bool| {
        let mut all = codes(a, fatal);
        all.extend(codes(b, fatal));
        all.sort();
        all.dedup();
        all.join(", ")
    };
    let passed = a.doc.validity.valid && b.doc.validity.valid;
    let detail = match (passed, of(!passed)) {
        (true, remarks) if remarks.is_empty() => "both runs are valid, without remarks".to_owned(),
        (true, remarks) => format!("both runs are valid; remarks: {remarks}"),
        (false, fatal) => format!("a run is not valid: {fatal}"),
    };
    PairCheck { name: "validity of both runs".to_owned(), passed, detail }
}
