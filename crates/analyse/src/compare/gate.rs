//! Gates: limits on a change that a candidate must clear with its whole interval.
//!
//! Written `METRIC [STATISTIC] OP LIMIT`: `e2e p50 <= -20%`, `output_throughput >= +5%`, `kv_hit_rate >= +10pp`. The limit is
//! relative to the baseline (`%`) or, for shares, in percentage points (`pp`).

use std::fmt;
use std::str::FromStr;

use stopwatt_core::comparison::{GateResult, GateState};
use stopwatt_core::metric::{Direction, Metric};
use stopwatt_stats::compare::Margin;
use stopwatt_stats::holm;

use super::side::{Side, SidePoint};
use super::{Options, paired};

/// A limit on a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    pub(super) metric: String,
    pub(super) statistic: String,
    /// `true`: at most the limit; `false`: at least.
    at_most: bool,
    pub(super) limit: Margin,
}

/// Share of accesses that the L2 cache answered.
pub(crate) const L2_HIT_RATE: &str = Metric::L2HitRate.name();
/// Bytes that kernels moved to and from DRAM.
pub(crate) const DRAM_BYTES: &str = Metric::DramBytes.name();

/// The gates of the product requirements: latency −20 %, L2 hit rate +10 pp, energy per token −15 %, quality within 0.1 pp.
pub fn prd() -> Vec<Gate> {
    let gate = |metric: &str, at_most, limit| Gate {
        metric: metric.to_owned(),
        statistic: "mean".to_owned(),
        at_most,
        limit,
    };
    vec![
        gate("e2e", true, Margin::Relative(-0.20)),
        gate(L2_HIT_RATE, false, Margin::Absolute(0.10)),
        gate(Metric::EnergyPerToken.name(), true, Margin::Relative(-0.15)),
        gate(Metric::QualityLoss.name(), true, Margin::Absolute(0.001)),
    ]
}

/// Why a text is no gate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a gate: {problem}; write for instance `e2e p50 <= -20%` or `kv_hit_rate >= +10pp`")]
pub struct GateError {
    text: String,
    problem: &'static str,
}

impl FromStr for Gate {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        let bad = |problem| GateError { text: text.to_owned(), problem };
        let (left, at_most, right) = match (text.split_once("<="), text.split_once(">=")) {
            (Some((l, r)), None) => (l, true, r),
            (None, Some((l, r))) => (l, false, r),
            _ => return Err(bad("it needs one `<=` or `>=`")),
        };
        let mut words = left.split_whitespace();
        let metric = words.next().ok_or_else(|| bad("it names no metric"))?;
        let statistic = words.next().unwrap_or("mean");
        if !matches!(statistic, "mean" | "p50" | "p95" | "p99") || words.next().is_some() {
            return Err(bad("a statistic is mean, p50, p95 or p99"));
        }
        let right = right.trim();
        let number = |n: &str| n.trim().parse::<f64>().map(|n| n / 100.0).ok().filter(|n| n.is_finite());
        let limit = match (right.strip_suffix('%'), right.strip_suffix("pp")) {
            (Some(n), _) => number(n).map(Margin::Relative),
            (_, Some(n)) => number(n).map(Margin::Absolute),
            _ => None,
        };
        let limit = limit.ok_or_else(|| bad("the limit is a number followed by % or pp"))?;
        Ok(Self { metric: metric.to_owned(), statistic: statistic.to_owned(), at_most, limit })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = if self.at_most { "<=" } else { ">=" };
        let (value, unit) = match self.limit {
            Margin::Relative(v) => (v, "%"),
            Margin::Absolute(v) => (v, " pp"),
        };
        let shown = (value * 1e6).round() / 1e4;
        write!(f, "{} {} {op} {shown:+}{unit}", self.metric, self.statistic)
    }
}

impl Gate {
    /// A metric that may be worse by less than `margin`: a share by so many points, another one relative to the
    /// baseline. `None` where neither direction is worse.
    pub fn not_worse(metric: &str, statistic: &str, better: Direction, margin: f64) -> Option<Self> {
        let share = Metric::from_name(metric).is_some_and(Metric::is_share);
        let at_most = match better {
            Direction::Lower => true,
            Direction::Higher => false,
            Direction::Neutral => return None,
        };
        let signed = if at_most { margin } else { -margin };
        Some(Self {
            metric: metric.to_owned(),
            statistic: statistic.to_owned(),
            at_most,
            limit: if share { Margin::Absolute(signed) } else { Margin::Relative(signed) },
        })
    }

    /// The metric and the statistic that it limits.
    pub fn subject(&self) -> (&str, &str) {
        (&self.metric, &self.statistic)
    }

    /// The limit of the change, as in `delta` of a comparison.
    pub fn limit(&self) -> f64 {
        match self.limit {
            Margin::Relative(v) | Margin::Absolute(v) => v,
        }
    }

    /// A gate that could not be judged.
    pub(super) fn missing(&self, candidate: &Side, point: Option<&str>, why: &str) -> GateResult {
        GateResult {
            run: candidate.run.name.clone(),
            point: point.map(str::to_owned),
            gate: self.to_string(),
            state: GateState::Inconclusive,
            p_holm: None,
            detail: why.to_owned(),
        }
    }

    /// Judges one candidate at one point. The p-value is corrected later, see [`correct`].
    pub(super) fn check(
        &self,
        a: &SidePoint,
        b: &SidePoint,
        candidate: &Side,
        options: &Options,
        barred: Option<&str>,
    ) -> GateResult {
        let label = a.label.as_deref();
        let values = |p: &SidePoint| {
            let metric = p.metrics.iter().find(|m| m.name == self.metric)?;
            Some(metric.of(&self.statistic)?.to_vec())
        };
        let (Some(x), Some(y)) = (values(a), values(b)) else {
            return self.missing(candidate, label, &self.unmeasured(a, b));
        };
        let tested = paired(&x, &y, options.paired).and_then(|(x, y, design)| {
            stopwatt_stats::compare::against(&x, &y, design, self.limit).map_err(|why| why.to_string())
        });
        let (below, above) = match tested {
            Ok(p) => p,
            Err(why) => return self.missing(candidate, label, &why),
        };
        decided(self, candidate, label, options, (below, above), barred)
    }

    /// Which side lacks the metric, and why as its own record says.
    fn unmeasured(&self, a: &SidePoint, b: &SidePoint) -> String {
        let lacks = |p: &SidePoint| !p.metrics.iter().any(|m| m.name == self.metric);
        let why = |p: &SidePoint| p.absent.get(&self.metric).cloned();
        let (ours, theirs) = (why(a).filter(|_| lacks(a)), why(b).filter(|_| lacks(b)));
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours == theirs => format!("not measured on either side: {ours}"),
            (Some(ours), Some(theirs)) => {
                format!("not measured in the baseline: {ours}; nor in the candidate: {theirs}")
            }
            (Some(ours), None) => format!("not measured in the baseline: {ours}"),
            (None, Some(theirs)) => format!("not measured in the candidate: {theirs}"),
            (None, None) => "the metric was not measured on both sides".to_owned(),
        }
    }
}

/// What follows from the one-sided p-values that the change lies below, and above, the limit.
pub(super) fn decided(
    gate: &Gate,
    candidate: &Side,
    point: Option<&str>,
    options: &Options,
    (below, above): (f64, f64),
    barred: Option<&str>,
) -> GateResult {
    let (clears, misses) = if gate.at_most { (below, above) } else { (above, below) };
    let mut result = gate.missing(candidate, point, "");
    let tail = (1.0 - options.level) / 2.0;
    match barred {
        Some(why) => result.detail = format!("cannot pass: {why}"),
        None if misses < tail => {
            result.state = GateState::Failed;
            result.detail = format!("the whole interval misses the limit (p = {misses:.1e})");
        }
        None => {
            result.p_holm = Some(clears);
            result.detail = "the interval straddles the limit".to_owned();
        }
    }
    result
}

/// Corrects every gate that may still pass together, and lets those pass that clear their limit.
pub(super) fn correct(gates: &mut [GateResult], level: f64) {
    let p: Vec<f64> = gates.iter().map(|g| g.p_holm.unwrap_or(f64::NAN)).collect();
    for (gate, p) in gates.iter_mut().zip(holm::adjust(&p)) {
        if p.is_nan() {
            continue;
        }
        gate.p_holm = Some(p);
        if p <= (1.0 - level) / 2.0 {
            gate.state = GateState::Passed;
            gate.detail = format!("the interval's bound clears the limit (p = {p:.1e})");
        }
    }
}
