//! Service-level objectives: thresholds a request must meet to count as good.
//!
//! Written `ttft < 500ms`, `ttft:500ms`, `p99 ttft < 0.5s`, `mean tpot < 50ms` or `error_rate < 1%`, several separated
//! by commas. A request meets an objective when its own value is at most the limit; for `itl` its longest gap counts.
//! The statistic is for judging a load as a whole and plays no part in goodput, nor does the error rate, which single
//! requests do not have.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::Metric;

use crate::request::RequestMetrics;

/// Metrics an objective can name.
pub const METRICS: &[Metric] = &[
    Metric::Ttft,
    Metric::TtftAnswer,
    Metric::Tpot,
    Metric::Itl,
    Metric::E2e,
    Metric::E2eFromSchedule,
    Metric::ErrorRate,
];

/// What of a metric's values is limited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// Their mean.
    Mean,
    /// The percentile between 0 and 100.
    Percentile(f64),
}

/// One threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Slo {
    /// What is limited, one of [`METRICS`].
    pub metric: Metric,
    /// What of its values is limited, for a load as a whole; `None` when only single requests were meant.
    pub statistic: Option<Statistic>,
    /// Largest value that still meets it, in seconds; a share for the error rate.
    pub limit: f64,
}

impl Slo {
    /// Whether a successful request meets it. A value that is unknown does not; a request with a single token has
    /// no gaps and no time per token, and meets limits on those.
    pub fn met_by(&self, request: &RequestMetrics) -> bool {
        let single_chunk = request.e2e.is_some() && request.longest_itl.is_none();
        let value = match self.metric {
            Metric::Itl if request.e2e.is_some() => Some(request.longest_itl.unwrap_or(0.0)),
            Metric::Tpot if single_chunk => Some(0.0),
            Metric::ErrorRate => Some(0.0),
            other => request.value(other),
        };
        value.is_some_and(|v| v <= self.limit)
    }
}

/// Why a text is no objective.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SloError {
    /// Not of the form METRIC < LIMIT.
    #[error("`{text}` is not of the form METRIC < LIMIT")]
    Shape {
        /// What was given.
        text: String,
    },
    /// A metric that no objective can name.
    #[error("`{name}` is not a metric of a request")]
    Metric {
        /// What was given.
        name: String,
    },
    /// A percentile that is not between 0 and 100.
    #[error("`{text}` is not a percentile between p0 and p100")]
    Percentile {
        /// What was given.
        text: String,
    },
    /// Not a number above zero.
    #[error("`{text}` is not a limit above zero")]
    Limit {
        /// What was given.
        text: String,
    },
    /// A number without or with another unit.
    #[error("`{text}` needs a unit")]
    Unit {
        /// What was given.
        text: String,
    },
    /// The same objective twice.
    #[error("`{name}` is limited twice")]
    Twice {
        /// Name of the metric, with its percentile.
        name: String,
    },
}

impl SloError {
    /// What to write instead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Shape { .. } | Self::Percentile { .. } => {
                Some("write for instance `ttft < 500ms, p99 tpot < 50ms, mean e2e < 2s, error_rate < 1%`")
            }
            Self::Metric { .. } => {
                Some("use one of ttft, ttft_answer, tpot, itl, e2e, e2e_from_schedule, error_rate")
            }
            Self::Limit { .. } | Self::Unit { .. } => {
                Some("write the limit as for instance 250us, 500ms or 2s, a share as 1%")
            }
            Self::Twice { .. } => Some("keep the tighter one"),
        }
    }
}

/// Reads objectives separated by commas. An empty text has none.
///
/// # Errors
/// The first part that is no objective, or that repeats one.
pub fn parse(text: &str) -> Result<Vec<Slo>, SloError> {
    let mut slos: Vec<Slo> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let slo: Slo = part.parse()?;
        if slos.iter().any(|s| s.metric == slo.metric && s.statistic == slo.statistic) {
            return Err(SloError::Twice { name: slo.name() });
        }
        slos.push(slo);
    }
    Ok(slos)
}

impl Slo {
    fn name(&self) -> String {
        match self.statistic {
            Some(Statistic::Mean) if self.metric == Metric::ErrorRate => self.metric.name().to_owned(),
            Some(Statistic::Mean) => format!("mean {}", self.metric.name()),
            Some(Statistic::Percentile(p)) => format!("p{p} {}", self.metric.name()),
            None => self.metric.name().to_owned(),
        }
    }
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let shape = || SloError::Shape { text: text.trim().to_owned() };
        let at = text.find(['<', ':', '=']).ok_or_else(shape)?;
        let (left, right) = (text[..at].trim(), text[at..].trim_start_matches(['<', ':', '=']).trim());
        let words: Vec<&str> = left.split_whitespace().collect();
        let (statistic, name) = match words[..] {
            [name] => (None, name),
            [statistic, name] => (Some(parse_statistic(statistic)?), name),
            _ => return Err(shape()),
        };
        let metric = METRICS.iter().copied().find(|m| m.name().eq_ignore_ascii_case(name));
        let metric = metric.ok_or_else(|| SloError::Metric { name: name.to_owned() })?;
        if metric != Metric::ErrorRate {
            return Ok(Self { metric, statistic, limit: parse_time(right)? });
        }
        // A share of requests has no percentiles.
        match statistic {
            None | Some(Statistic::Mean) => {
                Ok(Self { metric, statistic: Some(Statistic::Mean), limit: parse_share(right)? })
            }
            Some(Statistic::Percentile(_)) => Err(shape()),
        }
    }
}

fn parse_statistic(text: &str) -> Result<Statistic, SloError> {
    if text.eq_ignore_ascii_case("mean") {
        return Ok(Statistic::Mean);
    }
    parse_percentile(text).map(Statistic::Percentile)
}

/// `1%` or `0.01`.
fn parse_share(text: &str) -> Result<f64, SloError> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|p| p / 100.0),
        None => text.parse::<f64>(),
    };
    share.ok().filter(|s| *s > 0.0 && *s < 1.0).ok_or_else(|| SloError::Limit { text: text.to_owned() })
}

fn parse_percentile(text: &str) -> Result<f64, SloError> {
    let number = text.strip_prefix(['p', 'P']).and_then(|t| t.parse::<f64>().ok());
    number.filter(|p| *p > 0.0 && *p < 100.0).ok_or_else(|| SloError::Percentile { text: text.to_owned() })
}

fn parse_time(text: &str) -> Result<f64, SloError> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim());
    let number: f64 = number.parse().map_err(|_| SloError::Limit { text: text.to_owned() })?;
    // Division keeps 500 ms at exactly 0.5 s, where a factor of 1e-3 would not.
    let limit = match unit {
        "s" => number,
        "ms" => number / 1e3,
        "us" | "µs" => number / 1e6,
        _ => return Err(SloError::Unit { text: text.to_owned() }),
    };
    if limit > 0.0 && limit.is_finite() { Ok(limit) } else { Err(SloError::Limit { text: text.to_owned() }) }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.metric == Metric::ErrorRate { "" } else { "s" };
        write!(f, "{} < {}{unit}", self.name(), self.limit)
    }
}

impl TryFrom<String> for Slo {
    type Error = SloError;

    fn try_from(text: String) -> Result<Self, SloError> {
        text.parse()
    }
}

impl From<Slo> for String {
    fn from(slo: Slo) -> Self {
        slo.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_is_read() {
        let text = "p99 ttft < 500ms, tpot:50ms , mean e2e <= 2s,itl=250us, error_rate < 1%,";
        let slos = parse(text).unwrap();
        let expected = [
            (Metric::Ttft, Some(Statistic::Percentile(99.0)), 0.5),
            (Metric::Tpot, None, 0.05),
            (Metric::E2e, Some(Statistic::Mean), 2.0),
            (Metric::Itl, None, 0.000_25),
            (Metric::ErrorRate, Some(Statistic::Mean), 0.01),
        ];
        for (slo, (metric, statistic, limit)) in slos.iter().zip(expected) {
            assert_eq!(*slo, Slo { metric, statistic, limit });
        }
        assert_eq!(slos.len(), 5);
        assert_eq!(slos[4].to_string(), "error_rate < 0.01");
        assert_eq!(parse("error_rate < 0.01"), parse("mean error_rate < 1%"));
        assert_eq!(parse(""), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let kind = |t: &str| parse(t).unwrap_err();
        assert!(matches!(kind("ttft"), SloError::Shape { .. }));
        assert!(matches!(kind("a b ttft < 1s"), SloError::Shape { .. }));
        assert!(matches!(kind("speed < 1s"), SloError::Metric { .. }));
        assert!(matches!(kind("goodput < 1s"), SloError::Metric { .. }));
        assert!(matches!(kind("p100 ttft < 1s"), SloError::Percentile { .. }));
        assert!(matches!(kind("p99 error_rate < 1%"), SloError::Shape { .. }));
        assert!(matches!(kind("error_rate < 1s"), SloError::Limit { .. }));
        assert!(matches!(kind("error_rate < 100%"), SloError::Limit { .. }));
        assert!(matches!(kind("99 ttft < 1s"), SloError::Percentile { .. }));
        assert!(matches!(kind("ttft < 500"), SloError::Unit { .. }));
        assert!(matches!(kind("ttft < 5 min"), SloError::Unit { .. }));
        assert!(matches!(kind("ttft < 0ms"), SloError::Limit { .. }));
        assert!(matches!(kind("ttft < -1s"), SloError::Limit { .. }));
        assert!(matches!(kind("ttft < "), SloError::Limit { .. }));
        assert!(matches!(kind("ttft < 1s, ttft < 2s"), SloError::Twice { .. }));
        assert!(kind("speed < 1s").hint().is_some());
    }

    #[test]
    fn the_limit_itself_is_met_and_the_unknown_is_not() {
        let slo: Slo = "ttft < 500ms".parse().unwrap();
        let with = |ttft| RequestMetrics { ttft, ..RequestMetrics::default() };
        assert!(slo.met_by(&with(Some(0.5))));
        assert!(!slo.met_by(&with(Some(0.500_001))));
        assert!(!slo.met_by(&with(None)));
    }

    #[test]
    fn the_longest_gap_counts_and_one_token_has_none() {
        let itl: Slo = "itl < 20ms".parse().unwrap();
        let tpot: Slo = "tpot < 20ms".parse().unwrap();
        let r = RequestMetrics {
            e2e: Some(1.0),
            longest_itl: Some(0.03),
            longest_gap: Some(0.03),
            tpot: Some(0.017),
            ..Default::default()
        };
        assert!(!itl.met_by(&r) && tpot.met_by(&r));
        let single = RequestMetrics { e2e: Some(1.0), ..Default::default() };
        assert!(itl.met_by(&single) && tpot.met_by(&single));
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(which in 0..METRICS.len() - 1, percentile in prop::option::of(0.1..99.9f64), limit in 1e-6..1e4f64) {
            let slo = Slo { metric: METRICS[which], statistic: percentile.map(Statistic::Percentile), limit };
            let json = serde_json::to_string(&slo).unwrap();
            prop_assert_eq!(serde_json::from_str::<Slo>(&json).unwrap(), slo);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = parse(&text);
        }
    }
}
