//! A speed-up against what is expected of this hardware, and two visits against each other.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use stopwatt_analyse::workload_pairs as pairs;
use stopwatt_core::comparison::GateState;
use stopwatt_core::expectations::Expectation;
use stopwatt_core::workload_pairs::{PairJudged, PairResult, PairState, PairsComparison, PairsDoc};
use stopwatt_core::{FORMAT_MAJOR, FORMAT_MINOR};
use stopwatt_record::expectations;

use super::super::{Failure, Format};
use super::{CompareArgs, RunArgs, TARGETS_JSON, print};
use crate::exit::Outcome;

/// Form of a result that has no speed-up by its nature.
const ONE_SIDE: &str = "own command";

/// What the pair is called in expectations: on another device, or with small sizes, it is another thing.
fn name(result: &PairResult) -> String {
    let device = result.device.split(':').next().unwrap_or_default();
    let small = if result.small { " small" } else { "" };
    format!("{} {device}{small}", result.target)
}

/// Judges a speed-up by what is stored, or stores it; `None` when neither was asked for.
pub(super) fn expected(
    result: &PairResult,
    measured: Option<Expectation>,
    hardware_key: &str,
    args: &RunArgs,
) -> anyhow::Result<Option<PairJudged>> {
    let Some(folder) = &args.file_dir else { return Ok(None) };
    // A test of one side has no speed-up that could be expected.
    if result.state == PairState::Skipped || result.form == ONE_SIDE {
        return Ok(None);
    }
    if args.update_expectations {
        if let Some(expectation) = measured {
            let path = expectations::update(folder, hardware_key, [(name(result), expectation)])?;
            if !args.quiet {
                eprintln!("stored `{}` in {}", name(result), path.display());
            }
        }
        return Ok(None);
    }
    let unknown = |reason: String| PairJudged {
        state: GateState::Inconclusive,
        reason: Some(reason),
        before: None,
        change: None,
        interval: None,
    };
    let stored = expectations::read(folder, hardware_key)?;
    let stored = stored.and_then(|mut all| all.targets.remove(&name(result)));
    let before = stored.as_ref().and_then(pairs::expected_trials);
    let now = result.speedup.as_ref().map(|s| &s.trials);
    Ok(Some(match (before, now) {
        (Some(before), Some(now)) => pairs::judged(&before, now, args.level, args.margin),
        (None, _) => unknown(format!(
            "nothing is expected of `{}` on {hardware_key} yet; store it with --update-expectations",
            name(result)
        )),
        (_, None) => unknown("there is no speed-up to judge".to_owned()),
    }))
}

fn read(path: &Path) -> anyhow::Result<PairsDoc> {
    let file = if path.is_dir() { path.join(TARGETS_JSON) } else { path.to_owned() };
    let text = std::fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let doc: PairsDoc = serde_json::from_slice(&text).map_err(|e| {
        let problem = anyhow!("{} does not hold workload pairs (line {})", file.display(), e.line());
        Failure::new(Outcome::Configuration, problem).hint("give the folder that `targets run --out` wrote")
    })?;
    match doc.format.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major <= FORMAT_MAJOR => Ok(doc),
        _ => {
            let problem =
                anyhow!("{} has format {}; this version reads {FORMAT_MAJOR}.x", file.display(), doc.format);
            Err(Failure::new(Outcome::Configuration, problem)
                .hint("read it with the version of Stopwatt that wrote it, or a newer one")
                .into())
        }
    }
}

/// Compares two visits.
pub(super) fn compare(args: &CompareArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let [before, after] = [read(&args.before)?, read(&args.after)?];
    let by_name = |doc: &PairsDoc| -> BTreeMap<String, PairResult> {
        doc.pairs.iter().map(|p| (name(p), p.clone())).collect()
    };
    let (a, b) = (by_name(&before), by_name(&after));
    let mut doc = PairsComparison {
        format: format!("{FORMAT_MAJOR}.{FORMAT_MINOR}"),
        before_hardware_key: before.hardware_key,
        after_hardware_key: after.hardware_key,
        ..PairsComparison::default()
    };
    for target in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
        let speedup = |side: &BTreeMap<String, PairResult>, which: &str| match side.get(target) {
            None => Err(format!("not in the {which} visit")),
            Some(pair) if pair.form == ONE_SIDE => Err("it is a test of one side".to_owned()),
            Some(pair) => pair.speedup.clone().ok_or_else(|| {
                let reason = pair.reason.clone().unwrap_or_default();
                format!("{} in the {which} visit: {reason}", pair.state.name())
            }),
        };
        match (speedup(&a, "earlier"), speedup(&b, "later")) {
            (Ok(before), Ok(after)) => {
                let change = pairs::change(&before.trials, &after.trials, args.level);
                doc.pairs.insert(target.clone(), change);
            }
            (Err(why), _) | (_, Err(why)) => {
                doc.left_out.insert(target.clone(), why);
            }
        }
    }
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => print::comparison_csv(&doc, out)?,
        Format::Table => print::comparison(&doc, out)?,
    }
    let same = |wanted| doc.pairs.values().any(|p| p.same == wanted);
    Ok(if same(Some(false)) {
        Outcome::GateFailed
    } else if same(None) || doc.pairs.is_empty() {
        Outcome::Inconclusive
    } else {
        Outcome::Done
    })
}
