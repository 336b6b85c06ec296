//! The verdict on the run itself: may its numbers be trusted?
//!
//! | code | fatal | when |
//! |---|---|---|
//! | `incomplete` | yes | cut off: requests still in flight were the slow ones |
//! | `nothing_measured` | yes | no request of the headline point ended well |
//! | `no_steady_state` | yes | warm-up ended without one |
//! | `imported` | no | another tool measured: its load, warm-up and machine are not known |
//! | `warmup_skipped` | no | warm-up was switched off: the run is unstabilised |
//! | `load_not_delivered` | yes | an open loop sent less than 98 % of what its schedule wanted |
//! | `send_lag` | no | p99 of the send lag above 5 % of the median TTFT, or above 1 ms and 1 % of it |
//! | `client_busy` | yes | the client used more than 0.9 of a core |
//! | `high_error_rate` | at the headline point | more than 5 % of the ended requests failed, so that latencies are those of a selection |
//! | `cut_by_window` | no | more than 5 % of the requests were stopped by us: latencies lack the long ones |
//! | `too_few_trials` | no | fewer than two trials: no interval |
//! | `usage_mismatch` | no | token counts of server and tokenizer differ by more than 1 % |
//! | `input_length_missed`, `output_length_missed` | no | more than 10 % away from what was asked for |
//! | `tail_ratio` | no | p99/p50 of a trial, or of all trials together, is 2 or more |
//! | `drift` | no | latency changes by more than 5 % within a point of at least a minute |
//! | `memory_growth` | no | the engine's memory does |
//! | `clock_step` | no | the wall clock moved against the monotonic one; no stamp is touched |
//!
//! Warnings from the log follow with their own code and weight. A code stands once, with the points it was found at.

mod drift;
mod load;
mod tokens;

use stopwatt_core::clock::Nanos;
use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::metrics_doc::{self, RunStatus, Validity, ValidityReason};

use crate::measured::{Measured, Point};

/// Points named in one reason before the rest is only counted.
const NAMED: usize = 4;

/// What the checks look at.
pub(crate) struct Evidence<'a> {
    pub(crate) log: &'a [LogEvent],
    pub(crate) measured: &'a Measured<'a>,
    /// The same points with their metrics.
    pub(crate) points: &'a [metrics_doc::Point],
    /// Position of the headline point.
    pub(crate) headline: Option<usize>,
    pub(crate) status: RunStatus,
}

/// Runs every check.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Validity {
    let mut findings = Findings::default();
    ending(evidence, &mut findings);
    warmup(evidence, &mut findings);
    for (position, (point, document)) in evidence.measured.points.iter().zip(evidence.points).enumerate() {
        let at = At { point, document, headline: evidence.headline == Some(position) };
        load::check(&at, &mut findings);
        tokens::check(&at, &mut findings);
        drift::check_latency(&at, &mut findings);
        trials(&at, &mut findings);
    }
    drift::check_memory(evidence, &mut findings);
    clock(evidence.log, &mut findings);
    for event in evidence.log {
        if let Fact::Warning { code, fatal, detail } = &event.fact {
            findings.add(code, *fatal, None, detail.clone());
        }
    }
    findings.verdict(evidence.points.len() > 1)
}

/// One point under examination.
pub(crate) struct At<'a> {
    pub(crate) point: &'a Point<'a>,
    pub(crate) document: &'a metrics_doc::Point,
    pub(crate) headline: bool,
}

/// What the checks found, in order.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

#[derive(Debug)]
struct Finding {
    code: String,
    fatal: bool,
    at: Option<String>,
    detail: String,
}

impl Findings {
    /// Notes a finding about the whole run, or about the point labelled `at`.
    pub(crate) fn add(&mut self, code: &str, fatal: bool, at: Option<&str>, detail: String) {
        self.0.push(Finding { code: code.to_owned(), fatal, at: at.map(str::to_owned), detail });
    }

    /// Joins the findings of one code; with several points each is named.
    fn verdict(self, several_points: bool) -> Validity {
        let mut joined: Vec<(ValidityReason, usize)> = Vec::new();
        for finding in self.0 {
            let detail = match finding.at {
                Some(at) if several_points => format!("{at}: {}", finding.detail),
                _ => finding.detail,
            };
            match joined.iter_mut().find(|(r, _)| r.code == finding.code) {
                None => {
                    joined.push((ValidityReason { code: finding.code, fatal: finding.fatal, detail }, 1));
                }
                Some((reason, count)) => {
                    reason.fatal |= finding.fatal;
                    *count += 1;
                    if *count <= NAMED && !reason.detail.contains(&detail) {
                        reason.detail = format!("{}; {detail}", reason.detail);
                    }
                }
            }
        }
        let finish = |(mut reason, count): (ValidityReason, usize)| {
            if count > NAMED {
                reason.detail = format!("{}; and {} more", reason.detail, count - NAMED);
            }
            reason
        };
        let reasons: Vec<ValidityReason> = joined.into_iter().map(finish).collect();
        Validity { valid: reasons.iter().all(|r| !r.fatal), reasons }
    }
}

fn ending(evidence: &Evidence<'_>, findings: &mut Findings) {
    if evidence.status == RunStatus::Incomplete {
        let reason = evidence.log.iter().rev().find_map(|e| match &e.fact {
            Fact::RunEnded { reason, .. } => reason.clone(),
            _ => None,
        });
        let detail = reason.unwrap_or_else(|| "the run was cut off before its end was logged".to_owned());
        findings.add("incomplete", true, None, detail);
    }
    let measured = evidence
        .headline
        .is_some_and(|h| evidence.measured.points.get(h).is_some_and(|p| p.rows().any(|r| r.is_ok())));
    let told = |p: &metrics_doc::Point| {
        p.metrics.values().any(|m| m.statistics().iter().any(|(_, e)| e.value.is_some()))
    };
    let imported = crate::imported::find(evidence.log);
    if let Some(imported) = imported {
        let detail = format!("measured by {}: how, Stopwatt cannot check", imported.tool);
        findings.add("imported", false, None, detail);
    }
    let has_numbers = measured || imported.is_some() && evidence.points.iter().any(told);
    if !has_numbers {
        findings.add("nothing_measured", true, None, "no measured request ended well".to_owned());
    }
}

fn warmup(evidence: &Evidence<'_>, findings: &mut Findings) {
    for event in evidence.log {
        let Fact::WarmupEnded { point, steady, detail, .. } = &event.fact else { continue };
        let label =
            evidence.measured.points.iter().find(|p| p.index == *point).map(|p| p.planned.label.as_str());
        match steady {
            Some(true) => {}
            Some(false) => findings.add("no_steady_state", true, label, detail.clone()),
            None => findings.add(
                "warmup_skipped",
                false,
                label,
                "warm-up was switched off: unstabilised".to_owned(),
            ),
        }
    }
}

fn trials(at: &At<'_>, findings: &mut Findings) {
    let n = at.point.trials.len();
    if n < 2 {
        findings.add("too_few_trials", false, Some(&at.document.label), format!("{n} trial: no intervals"));
    }
}

/// The wall clock may be slewed by 500 ppm (the limit of `adjtimex`); beyond that and 100 ms it was set.
fn clock(log: &[LogEvent], findings: &mut Findings) {
    for event in log {
        let Fact::RunEnded { wall_drift_ns, .. } = event.fact else { continue };
        let slewed: Nanos = 100_000_000 + event.t_ns / 2000;
        if wall_drift_ns.abs() > slewed {
            let detail =
                format!("the wall clock moved by {:.3} s during the run", wall_drift_ns as f64 / 1e9);
            findings.add("clock_step", false, None, detail);
        }
    }
}

#[cfg(test)]
mod tests;
