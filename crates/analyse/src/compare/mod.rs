//! Baseline against candidates: is the change real, and does it clear its gates?
//!
//! ```text
//! MetricsDoc, CSV ──► Side ──► points matched ──► stats::compare of trial values ──► verdict of each metric
//!                                                                          gates ──► passed, failed, inconclusive
//! ```
//!
//! Invariants, each held by a test:
//!
//! - the unit is the trial: a metric with fewer than two trials on a side is inconclusive, whatever its requests say;
//! - primary metrics are judged together (Holm); the others are shown without a verdict;
//! - a gate passes only when the interval's bound clears the limit; a missing metric never passes, and nothing passes
//!   between runs that are invalid or may not be compared.

mod environment;
mod gate;
mod needed;
mod quality;
mod side;

use stopwatt_core::comparison::{ComparisonDoc, GateState, MetricComparison, Verdict};
use stopwatt_core::metric::Direction;
use stopwatt_core::{FORMAT_MAJOR, FORMAT_MINOR};
use stopwatt_stats::compare::{Design, Margin, compare as of_trials};
use stopwatt_stats::effect::hedges_g;
use stopwatt_stats::{describe, holm};

pub use environment::Facts;
pub(crate) use gate::{DRAM_BYTES, L2_HIT_RATE};
pub use gate::{Gate, GateError, prd};
pub use needed::trials_needed;
pub use side::{CsvError, Side};

use side::{Metric, Setting, SidePoint};
pub(crate) use side::{matching, setting};

/// Spread between trials above which a reader is warned.
pub(crate) const NOISY: f64 = 0.05;

/// How a comparison is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Level of every interval, for instance 0.95.
    pub level: f64,
    /// Relative difference below which a change does not matter; for shares the same number of percentage points.
    pub margin: f64,
    /// Whether trial i of a candidate was measured next to trial i of the baseline.
    pub paired: bool,
    /// Metrics that are judged, as name and statistic.
    pub primary: Vec<(String, String)>,
    /// Gates that must be cleared.
    pub gates: Vec<Gate>,
    /// Let gates be judged between environments that differ.
    pub allow_differences: bool,
}

impl Default for Options {
    fn default() -> Self {
        let primary = [("ttft", "p50"), ("tpot", "mean"), ("e2e", "p95"), ("output_throughput", "mean")];
        Self {
            level: 0.95,
            margin: 0.01,
            paired: false,
            primary: primary.map(|(m, s)| (m.to_owned(), s.to_owned())).to_vec(),
            gates: Vec::new(),
            allow_differences: false,
        }
    }
}

/// Compares every candidate with the baseline.
pub fn compare(baseline: &Side, candidates: &[Side], options: &Options) -> ComparisonDoc {
    let mut doc = ComparisonDoc {
        format: format!("{FORMAT_MAJOR}.{FORMAT_MINOR}"),
        baseline: baseline.run.clone(),
        candidates: candidates.iter().map(|c| c.run.clone()).collect(),
        design: if options.paired { "paired" } else { "independent" }.to_owned(),
        level: options.level,
        margin: options.margin,
        comparisons: Vec::new(),
        unmatched: Vec::new(),
        differences: Vec::new(),
        gates: Vec::new(),
        gate: None,
        causes: Vec::new(),
        unchecked: Vec::new(),
        warnings: Vec::new(),
    };
    for side in std::iter::once(baseline).chain(candidates) {
        if side.run.valid == Some(false) {
            doc.warnings.push(format!("{} is not a valid run: no gate can pass", side.run.name));
        }
    }
    for candidate in candidates {
        candidate_against(baseline, candidate, options, &mut doc);
    }
    doc.warnings.extend(noisy(&doc.comparisons));
    if !options.gates.is_empty() {
        gate::correct(&mut doc.gates, options.level);
        doc.gate = Some(all(&doc.gates));
    }
    doc
}

fn candidate_against(baseline: &Side, candidate: &Side, options: &Options, doc: &mut ComparisonDoc) {
    let differences = environment::differences(&baseline.facts, &candidate.facts, &candidate.run.name);
    let unfair = differences.iter().filter(|d| d.forbids).map(|d| d.what.clone()).collect::<Vec<_>>();
    doc.differences.extend(differences);
    let invalid = [baseline, candidate].iter().any(|s| s.run.valid == Some(false));
    let barred = match (invalid, unfair.is_empty() || options.allow_differences) {
        (true, _) => Some("a run is not valid".to_owned()),
        (false, false) => Some(format!("the runs differ in {}", unfair.join(", "))),
        (false, true) => None,
    };
    let pairs = matched(baseline, candidate, doc);
    if pairs.is_empty() {
        doc.warnings.push(format!("{} shares no point with {}", candidate.run.name, baseline.run.name));
    }
    let begin = doc.comparisons.len();
    for (a, b) in &pairs {
        doc.comparisons.extend(point(a, b, candidate, options));
    }
    // It is of the run: it stands with the point where there is only one.
    let of_run = match pairs.as_slice() {
        [(a, _)] => a.label.as_deref(),
        _ => None,
    };
    doc.comparisons.extend(quality::row(baseline, candidate, of_run, options));
    judge(&mut doc.comparisons[begin..], options);
    for gate in &options.gates {
        if gate.subject().0 == quality::QUALITY_LOSS {
            doc.gates.push(quality::check(gate, baseline, candidate, of_run, options, barred.as_deref()));
            continue;
        }
        if pairs.is_empty() {
            doc.gates.push(gate.missing(candidate, None, "the runs share no point"));
        }
        for (a, b) in &pairs {
            doc.gates.push(gate.check(a, b, candidate, options, barred.as_deref()));
        }
    }
}

/// Points of both sides that were measured at the same setting, in the baseline's order.
fn matched<'a>(a: &'a Side, b: &'a Side, doc: &mut ComparisonDoc) -> Vec<(&'a SidePoint, &'a SidePoint)> {
    let pairs = side::matching(&settings(a), &settings(b));
    // What is named first was planned first.
    for (side, other) in [(a, 0), (b, 1)] {
        let found = |i: usize| pairs.iter().any(|&(x, y)| [x, y][other] == i);
        let lone = side.points.iter().enumerate().filter(|(i, _)| !found(*i));
        doc.unmatched.extend(lone.map(|(_, p)| format!("{}: {}", side.run.name, p.label())));
    }
    pairs.into_iter().map(|(x, y)| (&a.points[x], &b.points[y])).collect()
}

fn settings(side: &Side) -> Vec<Setting> {
    side.points.iter().map(|p| p.setting.clone()).collect()
}

/// Every statistic of every metric that either side has.
fn point(a: &SidePoint, b: &SidePoint, candidate: &Side, options: &Options) -> Vec<MetricComparison> {
    let mut out = Vec::new();
    for metric in &a.metrics {
        let other = b.metrics.iter().find(|m| m.name == metric.name);
        for (statistic, values) in &metric.statistics {
            let primary =
                options.primary.iter().any(|(m, s)| *m == metric.name && s == statistic) || a.label.is_none();
            let theirs = other.and_then(|m| m.of(statistic)).unwrap_or(&[]);
            if !primary && (known(values).is_empty() || known(theirs).is_empty()) {
                continue;
            }
            let row = Row { metric, statistic, run: &candidate.run.name, point: a.label.as_deref(), primary };
            out.push(row.compare(values, theirs, options));
        }
    }
    out
}

fn known(values: &[Option<f64>]) -> Vec<f64> {
    values.iter().copied().flatten().collect()
}

/// One metric and statistic under comparison.
struct Row<'a> {
    metric: &'a Metric,
    statistic: &'a str,
    run: &'a str,
    point: Option<&'a str>,
    primary: bool,
}

impl Row<'_> {
    fn compare(&self, a: &[Option<f64>], b: &[Option<f64>], options: &Options) -> MetricComparison {
        let (ours, theirs) = (known(a), known(b));
        let mut out = MetricComparison {
            run: self.run.to_owned(),
            point: self.point.map(str::to_owned),
            metric: self.metric.name.clone(),
            statistic: self.statistic.to_owned(),
            unit: self.metric.unit.clone(),
            better: self.metric.better,
            baseline: (!ours.is_empty()).then(|| describe::mean(&ours)),
            candidate: (!theirs.is_empty()).then(|| describe::mean(&theirs)),
            absolute: self.metric.share,
            delta: None,
            ci95: None,
            hedges_g: None,
            hedges_g_ci95: None,
            p: None,
            p_holm: None,
            trials: [ours.len() as u64, theirs.len() as u64],
            cv: [variation(&ours), variation(&theirs)],
            values: [a.to_vec(), b.to_vec()],
            primary: self.primary,
            verdict: self.primary.then_some(Verdict::Inconclusive),
            reason: None,
        };
        let (Some(x), Some(y)) = (out.baseline, out.candidate) else {
            out.reason = Some("not measured on both sides".to_owned());
            return out;
        };
        out.delta = if out.absolute { Some(y - x) } else { (x != 0.0).then(|| y / x - 1.0) };
        let (ours, theirs, design) = match paired(a, b, options.paired) {
            Ok(groups) => groups,
            Err(reason) => {
                out.reason = Some(reason);
                return out;
            }
        };
        match of_trials(&ours, &theirs, design, options.level, self.margin(options)) {
            Ok(c) => {
                let ci = if out.absolute { Some(c.difference_ci) } else { c.change_ci };
                out.ci95 = ci.map(|ci| [ci.lo, ci.hi]);
                out.p = Some(c.p);
                if out.primary {
                    // Holm comes later; equivalence needs no correction, since it must hold for each metric anyway.
                    out.verdict = Some(match c.p_equivalence < 1.0 - options.level {
                        true => Verdict::Equivalent,
                        false => Verdict::Inconclusive,
                    });
                }
                if out.ci95.is_none() {
                    out.reason = Some(
                        "the baseline cannot be told from zero, so there is no relative change".to_owned(),
                    );
                }
            }
            Err(why) if ours.len().min(theirs.len()) < 2 => {
                let _ = why;
                out.reason = Some("needs at least 2 trials on each side".to_owned());
            }
            Err(why) => out.reason = Some(why.to_string()),
        }
        if let Ok(effect) = hedges_g(&ours, &theirs, options.level) {
            out.hedges_g = Some(effect.g);
            out.hedges_g_ci95 = Some([effect.ci.lo, effect.ci.hi]);
        }
        out
    }

    fn margin(&self, options: &Options) -> Margin {
        if self.metric.share { Margin::Absolute(options.margin) } else { Margin::Relative(options.margin) }
    }
}

/// The groups to compare: as they are, or by position where both sides have a value.
fn paired(
    a: &[Option<f64>],
    b: &[Option<f64>],
    paired: bool,
) -> Result<(Vec<f64>, Vec<f64>, Design), String> {
    if !paired {
        return Ok((known(a), known(b), Design::Independent));
    }
    if a.len() != b.len() {
        return Err(format!("{} and {} trials cannot be paired by position", a.len(), b.len()));
    }
    let (ours, theirs) = a.iter().zip(b).filter_map(|(a, b)| a.zip(*b)).unzip();
    Ok((ours, theirs, Design::Paired))
}

fn variation(values: &[f64]) -> Option<f64> {
    let mean = describe::mean(values);
    describe::sd(values).map(|sd| sd / mean.abs()).filter(|cv| cv.is_finite())
}

/// Corrects the primary metrics of a candidate together and gives them their verdicts.
fn judge(rows: &mut [MetricComparison], options: &Options) {
    let mut primary: Vec<&mut MetricComparison> = rows.iter_mut().filter(|r| r.primary).collect();
    let p: Vec<f64> = primary.iter().map(|r| r.p.unwrap_or(f64::NAN)).collect();
    for (row, p) in primary.iter_mut().zip(holm::adjust(&p)) {
        row.p_holm = (!p.is_nan()).then_some(p);
        if row.verdict != Some(Verdict::Inconclusive) || row.ci95.is_none() {
            continue;
        }
        let rises = row.delta.unwrap_or(0.0) > 0.0;
        row.verdict = Some(match (p < 1.0 - options.level, row.better, rises) {
            (false, ..) | (true, Direction::Neutral, _) => Verdict::Inconclusive,
            (true, Direction::Higher, true) | (true, Direction::Lower, false) => Verdict::Improved,
            (true, ..) => Verdict::Regressed,
        });
        if row.verdict == Some(Verdict::Inconclusive) {
            row.reason = Some(why_not(row, options));
        }
    }
}

/// Why noise hides the answer, and how many trials would show it.
fn why_not(row: &MetricComparison, options: &Options) -> String {
    if row.better == Direction::Neutral {
        return "neither direction is better".to_owned();
    }
    let sd = (row.cv.iter().flatten().map(|cv| cv * cv).sum::<f64>() / 2.0).sqrt();
    let change = row.delta.filter(|_| !row.absolute).map_or(options.margin, |d| d.abs().max(options.margin));
    match stopwatt_stats::compare::trials_needed(change, sd, options.level, 0.8) {
        Some(n) => {
            format!("within noise; about {n} trials a side would show a change of {:.1} %", change * 100.0)
        }
        None => "within noise".to_owned(),
    }
}

fn noisy(rows: &[MetricComparison]) -> Vec<String> {
    let noisy: Vec<String> = rows
        .iter()
        .filter(|r| r.primary && r.cv.iter().flatten().any(|cv| *cv > NOISY))
        .map(|r| format!("{} {}", r.metric, r.statistic))
        .collect();
    match noisy.is_empty() {
        true => Vec::new(),
        false => vec![format!("trials differ by more than 5 % (CV) in {}", noisy.join(", "))],
    }
}

fn all(gates: &[stopwatt_core::comparison::GateResult]) -> GateState {
    if gates.iter().any(|g| g.state == GateState::Failed) {
        GateState::Failed
    } else if gates.iter().any(|g| g.state == GateState::Inconclusive) {
        GateState::Inconclusive
    } else {
        GateState::Passed
    }
}

#[cfg(test)]
mod tests;
