//! The verdict on the run itself: may its numbers be trusted?
//!
//! The codes, their weights and their words stand in [`stopwatt_core::verdict`], their thresholds beside each check, and
//! `docs/validity.md` explains them.
//!
//! Warnings from the log follow with their own code and weight. A code stands once, with the points it was found at.

mod cache;
mod client;
mod drift;
mod load;
mod power;
mod tokens;

use stopwatt_core::clock::Nanos;
use stopwatt_core::cost::Cost;
use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::metrics_doc::{self, RunStatus, Validity, ValidityReason};
use stopwatt_core::text::{Lang, Text, fill};
use stopwatt_core::verdict::{CUT_OFF, Case, Code, sentences};
use stopwatt_serving::price::STALE_DAYS;

use crate::measured::{Measured, Point};
use crate::settings::Settings;

/// Points named in one reason before the rest is only counted.
const NAMED: u64 = 4;

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
pub(crate) fn judge(evidence: &Evidence<'_>, settings: &Settings, cost: Option<&Cost>) -> Validity {
    let mut findings = Findings::default();
    ending(evidence, &mut findings);
    warmup(evidence, &mut findings);
    let ceiling = crate::client::ceiling(evidence.log);
    let clients = crate::client::clients(evidence.log);
    for (position, (point, document)) in evidence.measured.points.iter().zip(evidence.points).enumerate() {
        let at = At { point, document, headline: evidence.headline == Some(position) };
        load::check(&at, &mut findings);
        client::check(&at, ceiling, clients, &mut findings);
        tokens::check(&at, &mut findings);
        tokens::check_ranges(&at, settings.token_ranges, &mut findings);
        cache::check(&at, settings.cache, &mut findings);
        drift::check_latency(&at, &mut findings);
        trials(&at, &mut findings);
        power::check(&at, &mut findings);
    }
    power::check_foreign(evidence, &mut findings);
    drift::check_memory(evidence, &mut findings);
    clock(evidence.log, &mut findings);
    let price = cost.and_then(|c| Some((&c.price.id, c.price.age_days?)));
    if let Some((id, days)) = price.filter(|(_, days)| *days > STALE_DAYS) {
        findings.add(Code::PriceStale, None, [id.clone(), days.to_string()]);
    }
    for event in evidence.log {
        if let Fact::Warning { code, fatal, detail, values } = &event.fact {
            findings.logged(code, *fatal, detail, values);
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

/// What the checks found, in order, by code.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

#[derive(Debug)]
struct Finding {
    code: String,
    fatal: bool,
    cases: Vec<Case>,
    /// Sentences of a code that the catalogue does not know, one for each case.
    foreign: Vec<String>,
    count: u64,
}

impl Findings {
    /// Notes a finding about the whole run, or about the point labelled `at`.
    pub(crate) fn add(&mut self, code: Code, at: Option<&str>, values: impl IntoIterator<Item = String>) {
        self.add_weighted(code, code.fatal(), at, values);
    }

    /// The same, where the weight depends on more than the code.
    pub(crate) fn add_weighted(
        &mut self,
        code: Code,
        fatal: bool,
        at: Option<&str>,
        values: impl IntoIterator<Item = String>,
    ) {
        let case = Case { point: at.map(str::to_owned), values: values.into_iter().collect() };
        self.join(code.name(), fatal, case, None);
    }

    /// Notes a warning of the log, which may have a code that this version does not know.
    fn logged(&mut self, code: &str, fatal: bool, detail: &str, values: &[String]) {
        let foreign = Code::from_name(code).is_none().then(|| detail.to_owned());
        self.join(code, fatal, Case { point: None, values: values.to_vec() }, foreign);
    }

    fn join(&mut self, code: &str, fatal: bool, case: Case, foreign: Option<String>) {
        let position = self.0.iter().position(|f| f.code == code).unwrap_or_else(|| {
            let code = code.to_owned();
            self.0.push(Finding { code, fatal: false, cases: Vec::new(), foreign: Vec::new(), count: 0 });
            self.0.len() - 1
        });
        let finding = &mut self.0[position];
        finding.fatal |= fatal;
        finding.count += 1;
        if finding.count > NAMED {
            return;
        }
        match foreign {
            Some(detail) if !finding.foreign.contains(&detail) => finding.foreign.push(detail),
            None if !finding.cases.contains(&case) => finding.cases.push(case),
            _ => {}
        }
    }

    /// One reason a code; with several points each case names its own.
    fn verdict(self, several_points: bool) -> Validity {
        let reasons: Vec<ValidityReason> = self.0.into_iter().map(|f| f.reason(several_points)).collect();
        Validity { valid: reasons.iter().all(|r| !r.fatal), reasons }
    }
}

impl Finding {
    fn reason(mut self, several_points: bool) -> ValidityReason {
        if !several_points {
            self.cases.iter_mut().for_each(|c| c.point = None);
        }
        let more = self.count.saturating_sub(NAMED);
        let code = Code::from_name(&self.code);
        let detail = match code {
            Some(code) => sentences(code, &self.cases, more, Lang::En),
            None => {
                let more = (more > 0).then(|| fill(Text::MoreFindings.get(Lang::En), &[&more.to_string()]));
                self.foreign.into_iter().chain(more).collect::<Vec<_>>().join("; ")
            }
        };
        let hint = code.map(|c| c.hint(Lang::En).to_owned());
        ValidityReason { code: self.code, fatal: self.fatal, detail, hint, cases: self.cases, more }
    }
}

fn ending(evidence: &Evidence<'_>, findings: &mut Findings) {
    if evidence.status == RunStatus::Incomplete {
        let reason = evidence.log.iter().rev().find_map(|e| match &e.fact {
            Fact::RunEnded { reason, .. } => reason.clone(),
            _ => None,
        });
        findings.add(Code::Incomplete, None, [reason.unwrap_or_else(|| CUT_OFF.to_owned())]);
    }
    let measured = evidence
        .headline
        .is_some_and(|h| evidence.measured.points.get(h).is_some_and(|p| p.rows().any(|r| r.is_ok())));
    let told = |p: &metrics_doc::Point| {
        p.metrics.values().any(|m| m.statistics().iter().any(|(_, e)| e.value.is_some()))
    };
    let imported = crate::imported::find(evidence.log);
    if let Some(imported) = imported {
        findings.add(Code::Imported, None, [imported.tool.to_string()]);
    }
    let has_numbers = measured || imported.is_some() && evidence.points.iter().any(told);
    // What a table holds is judged row by row, in the table.
    let tabled = evidence.log.iter().any(|e| matches!(e.fact, Fact::Tabled { entries, .. } if entries > 0));
    if !has_numbers && !tabled {
        findings.add(Code::NothingMeasured, None, []);
    }
}

fn warmup(evidence: &Evidence<'_>, findings: &mut Findings) {
    for event in evidence.log {
        let Fact::WarmupEnded { point, requests, steady, detail } = &event.fact else { continue };
        let label =
            evidence.measured.points.iter().find(|p| p.index == *point).map(|p| p.planned.label.as_str());
        match steady {
            Some(true) => {}
            Some(false) => findings.add(Code::NoSteadyState, label, [requests.to_string(), detail.clone()]),
            None => findings.add(Code::WarmupSkipped, label, []),
        }
    }
}

fn trials(at: &At<'_>, findings: &mut Findings) {
    let n = at.point.trials.len();
    if n < 2 {
        findings.add(Code::TooFewTrials, Some(&at.document.label), [n.to_string()]);
    }
}

/// The wall clock may be slewed by 500 ppm (the limit of `adjtimex`); beyond that and 100 ms it was set.
fn clock(log: &[LogEvent], findings: &mut Findings) {
    for event in log {
        let Fact::RunEnded { wall_drift_ns, .. } = event.fact else { continue };
        let slewed: Nanos = 100_000_000 + event.t_ns / 2000;
        if wall_drift_ns.abs() > slewed {
            findings.add(Code::ClockStep, None, [format!("{:.3}", wall_drift_ns as f64 / 1e9)]);
        }
    }
}

#[cfg(test)]
mod tests;
