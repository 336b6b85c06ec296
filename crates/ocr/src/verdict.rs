//! Does a type of document meet what is asked of it? PASS, FAIL, or neither with what it would take to know.
//!
//! A limit is met when the whole interval clears it and missed when none of the interval does. No data is never a pass.
//! Latency is judged by the share of pages that take longer than the limit: at most 5 % (p95), failures among them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_quality::summary::{Interval, LEVEL, Summary, all_right_needed, wilson};
use stopwatt_stats::interval::t_mean;

use crate::profile::{DocType, FIELD_OK, FIELD_WARN};

/// Share of pages that may take longer than the limit.
const SLOW: f64 = 0.05;

/// A judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Met, with confidence.
    Pass,
    /// The sample supports neither.
    Inconclusive,
    /// Missed, with confidence.
    Fail,
}

/// By what a limit is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The interval.
    #[default]
    Interval,
    /// The value alone, however uncertain.
    Point,
}

/// Which latency is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LatencyStat {
    /// The time that 95 % of the pages do not exceed.
    #[default]
    P95,
    /// The mean.
    Mean,
}

/// How to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// By value or interval.
    pub rule: Rule,
    /// Which latency.
    pub latency: LatencyStat,
    /// Documents that a type needs.
    pub min_samples: u64,
}

/// One limit and whether it is met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// `cer`, `latency`, `samples`, or the name of a critical field.
    pub what: String,
    /// The value; for latency in seconds.
    pub value: Option<f64>,
    /// Its interval; for p95 latency that of the share of pages beyond the limit.
    pub interval: Option<Interval>,
    /// Why a value that is an estimate has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_interval: Option<String>,
    /// The limit: at most for rates and latency, at least for fields.
    pub limit: f64,
    /// The judgement.
    pub verdict: Verdict,
    /// `OK`, `WARN` or `FAIL` of a field, by its value.
    pub status: Option<String>,
    /// About how many more documents, like these, an answer needs.
    pub needs_more: Option<u64>,
}

/// Judges a type. `latencies` are in seconds, one a page, `None` where reading failed.
pub fn judge(
    doc_type: DocType,
    scores: Option<&Summary>,
    latencies: &[Option<f64>],
    terms: &Terms,
) -> Vec<Check> {
    let profile = doc_type.profile();
    let documents = scores.map_or(0, |s| s.documents);
    let mut checks = vec![samples(documents, terms)];
    let none = |what: &str, limit| Check {
        what: what.to_owned(),
        value: None,
        interval: None,
        no_interval: None,
        limit,
        verdict: Verdict::Inconclusive,
        status: None,
        needs_more: Some(terms.min_samples),
    };
    let Some(scores) = scores else {
        checks.push(none("cer", profile.cer));
        checks.push(none("latency", profile.latency_s));
        checks.extend(profile.critical_fields.iter().map(|name| none(name, FIELD_OK)));
        return checks;
    };
    let cer = &scores.cer.micro;
    checks.push(match cer.value {
        None => none("cer", profile.cer),
        Some(value) => Check {
            no_interval: cer.reason.clone(),
            ..at_most("cer", value, cer.interval, profile.cer, documents, terms)
        },
    });
    checks.push(
        latency(latencies, profile.latency_s, terms).unwrap_or_else(|| none("latency", profile.latency_s)),
    );
    for name in profile.critical_fields {
        checks.push(match scores.fields.get(*name) {
            None => none(name, FIELD_OK),
            Some(field) => {
                let value = field.right as f64 / field.n as f64;
                // Shares of wrong ones, so that both kinds of limits are judged alike.
                let wrong = field.accuracy.interval.map(|i| Interval { lo: 1.0 - i.hi, hi: 1.0 - i.lo, ..i });
                let check = at_most(name, 1.0 - value, wrong, 1.0 - FIELD_OK, documents, terms);
                let status = match value {
                    v if v >= FIELD_OK => "OK",
                    v if v >= FIELD_WARN => "WARN",
                    _ => "FAIL",
                };
                Check {
                    value: Some(value),
                    interval: field.accuracy.interval,
                    no_interval: field.accuracy.reason.clone(),
                    limit: FIELD_OK,
                    status: Some(status.to_owned()),
                    ..check
                }
            }
        });
    }
    checks
}

/// The judgement of several checks: a fail fails, and a pass needs that all pass.
pub fn overall<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Verdict {
    checks.into_iter().map(|c| c.verdict).max().unwrap_or(Verdict::Inconclusive)
}

fn samples(documents: u64, terms: &Terms) -> Check {
    let missing = terms.min_samples.saturating_sub(documents);
    Check {
        what: "samples".to_owned(),
        value: Some(documents as f64),
        interval: None,
        no_interval: None,
        limit: terms.min_samples as f64,
        verdict: if missing == 0 { Verdict::Pass } else { Verdict::Inconclusive },
        status: None,
        needs_more: (missing > 0).then_some(missing),
    }
}

fn at_most(
    what: &str,
    value: f64,
    interval: Option<Interval>,
    limit: f64,
    documents: u64,
    terms: &Terms,
) -> Check {
    let point = if value <= limit { Verdict::Pass } else { Verdict::Fail };
    let verdict = match (terms.rule, interval) {
        (Rule::Point, _) => point,
        (Rule::Interval, Some(i)) if i.hi <= limit => Verdict::Pass,
        (Rule::Interval, Some(i)) if i.lo > limit => Verdict::Fail,
        _ => Verdict::Inconclusive,
    };
    // The width of an interval goes with 1/√n; beyond what a share without errors needs there is nothing to know.
    let needs_more = interval.filter(|_| verdict == Verdict::Inconclusive).and_then(|i| {
        let n = documents as f64;
        let (width, room) =
            if value <= limit { (i.hi - value, limit - value) } else { (value - i.lo, value - limit) };
        let needed = n * (width / room).powi(2);
        needed.is_finite().then(|| (needed.ceil() as u64).saturating_sub(documents).max(1))
    });
    Check {
        what: what.to_owned(),
        value: Some(value),
        interval,
        no_interval: None,
        limit,
        verdict,
        status: None,
        needs_more,
    }
}

fn latency(latencies: &[Option<f64>], limit: f64, terms: &Terms) -> Option<Check> {
    if latencies.is_empty() {
        return None;
    }
    let n = latencies.len() as f64;
    let what = "latency".to_owned();
    if terms.latency == LatencyStat::Mean {
        // A page that was not read has no time: a mean without it would be too good.
        let times: Option<Vec<f64>> = latencies.iter().copied().collect();
        let Some(times) = times else {
            let verdict = Verdict::Inconclusive;
            return Some(Check {
                what,
                value: None,
                interval: None,
                no_interval: None,
                limit,
                verdict,
                status: None,
                needs_more: None,
            });
        };
        let mean = times.iter().sum::<f64>() / n;
        let ci = t_mean(&times, LEVEL);
        let no_interval = ci.as_ref().err().map(ToString::to_string);
        let interval = ci.ok().map(|ci| Interval {
            lo: ci.lo,
            hi: ci.hi,
            basis: stopwatt_quality::summary::Basis::Documents,
        });
        let check = at_most("latency", mean, interval, limit, times.len() as u64, terms);
        return Some(Check { no_interval, ..check });
    }
    let mut times: Vec<f64> = latencies.iter().map(|t| t.unwrap_or(f64::INFINITY)).collect();
    times.sort_by(f64::total_cmp);
    let p95 = times[((0.95 * n).ceil() as usize).clamp(1, times.len()) - 1];
    let slow = times.iter().filter(|t| **t > limit).count() as f64;
    let share = at_most("latency", slow / n, Some(wilson(slow, n)), SLOW, times.len() as u64, terms);
    let verdict = match terms.rule {
        Rule::Point => {
            if p95 <= limit {
                Verdict::Pass
            } else {
                Verdict::Fail
            }
        }
        Rule::Interval => share.verdict,
    };
    let needs_more = share.needs_more.map(|more| match slow {
        0.0 => all_right_needed(1.0 - SLOW).saturating_sub(times.len() as u64),
        _ => more,
    });
    let needs_more = needs_more.filter(|_| verdict == Verdict::Inconclusive);
    Some(Check { value: p95.is_finite().then_some(p95), limit, verdict, needs_more, ..share })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stopwatt_quality::field::TrueField;
    use stopwatt_quality::page::{Options, Reading, Truth, score};
    use stopwatt_quality::summary::{Scored, summarise};

    const TERMS: Terms = Terms { rule: Rule::Interval, latency: LatencyStat::P95, min_samples: 50 };

    /// Prescriptions of which the first `wrong` have a wrong dose.
    fn scores(n: usize, wrong: usize) -> Summary {
        let names = DocType::Prescription.profile().critical_fields;
        let values = ["아테놀올정", "50mg", "1일 2회", "경구"];
        let text = values.join(" ");
        let fields: Vec<TrueField> = names
            .iter()
            .zip(values)
            .map(|(n, v)| TrueField { name: (*n).into(), value: v.into(), kind: None, row: None, span: None })
            .collect();
        let ids: Vec<String> = (0..n).map(|i| i.to_string()).collect();
        let pages: Vec<Scored<'_>> = ids
            .iter()
            .enumerate()
            .map(|(i, id)| {
                let truth =
                    Truth { id: id.clone(), text: text.clone(), fields: fields.clone(), ..Truth::default() };
                let read = if i < wrong { text.replace("50mg", "5mg") } else { text.clone() };
                let reading = Reading { id: id.clone(), text: Some(read), ..Reading::default() };
                let score = score(&truth, Some(&reading), &Options::default());
                Scored { document: id, fields: names.to_vec(), score }
            })
            .collect();
        summarise(&pages, 0)
    }

    #[track_caller]
    fn check(n: usize, wrong: usize, seconds: f64, terms: Terms, expected: Verdict) {
        let times = vec![Some(seconds); n];
        let checks = judge(DocType::Prescription, Some(&scores(n, wrong)), &times, &terms);
        assert_eq!(overall(&checks), expected, "{checks:#?}");
    }

    #[test]
    fn no_samples_never_pass() {
        let checks = judge(DocType::LabResult, None, &[], &TERMS);
        assert_eq!(overall(&checks), Verdict::Inconclusive);
        let point = Terms { rule: Rule::Point, ..TERMS };
        assert_eq!(overall(&judge(DocType::LabResult, None, &[], &point)), Verdict::Inconclusive);
        assert_eq!(overall(&[]), Verdict::Inconclusive);
    }

    #[test]
    fn a_pass_needs_enough_documents() {
        check(80, 0, 1.0, TERMS, Verdict::Pass);
        check(60, 0, 1.0, TERMS, Verdict::Inconclusive);
        check(60, 0, 1.0, Terms { rule: Rule::Point, ..TERMS }, Verdict::Pass);
        check(40, 0, 1.0, Terms { rule: Rule::Point, ..TERMS }, Verdict::Inconclusive);
        // Exactly at the limit is within it.
        check(80, 0, 3.0, TERMS, Verdict::Pass);
        let checks = judge(DocType::Prescription, Some(&scores(60, 0)), &[Some(1.0); 60], &TERMS);
        let field = checks.iter().find(|c| c.what == "용량").expect("a field");
        assert!(field.needs_more.is_some() && field.status.as_deref() == Some("OK"), "{field:?}");
        let slow = checks.iter().find(|c| c.what == "latency").expect("latency");
        assert_eq!((slow.verdict, slow.needs_more, slow.value), (Verdict::Inconclusive, Some(13), Some(1.0)));
    }

    #[test]
    fn wrong_doses_and_slow_pages_fail() {
        check(80, 40, 1.0, TERMS, Verdict::Fail);
        check(80, 0, 3.1, TERMS, Verdict::Fail);
        // One of 80: the interval of the field straddles 95 %.
        check(80, 3, 1.0, TERMS, Verdict::Inconclusive);
        let mean = Terms { latency: LatencyStat::Mean, ..TERMS };
        let times: Vec<Option<f64>> = (0..80).map(|i| Some(2.9 + f64::from(i % 2) * 0.02)).collect();
        let checks = judge(DocType::Prescription, Some(&scores(80, 0)), &times, &mean);
        assert_eq!(overall(&checks), Verdict::Pass);
        let failed = vec![None; 80];
        assert_eq!(
            overall(&judge(DocType::Prescription, Some(&scores(80, 0)), &failed, &TERMS)),
            Verdict::Fail
        );
    }
}
