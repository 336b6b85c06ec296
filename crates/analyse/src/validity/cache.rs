//! Was the prefix cache as cold or as warm as declared, and did the engine live through the measurement?
//!
//! What the cache found is known from the engine's counters over a trial, else from the cached tokens in the usage of
//! each request. What it may have found if it was cold is known from the prompts that were sent: what they share with
//! each other ([`Fact::CacheExpected`](stopwatt_core::log::Fact::CacheExpected), an upper bound). Anything above that
//! was there before the run.

use stopwatt_core::engine::{PREEMPTIONS, PREFIX_CACHE_HITS_TOKENS, PREFIX_CACHE_QUERIES_TOKENS, TOTALS};
use stopwatt_core::verdict::Code;

use super::{At, Findings};
use crate::engine_use::rise;
use crate::measured::Trial;
use crate::settings::CacheState;

/// Share of the looked-up tokens by which hits may exceed what is expected: requests of others, partial blocks.
const SLACK: f64 = 0.01;
/// Share of the looked-up tokens that a cache declared warm must have had, beyond what the run shares by itself. Whole
/// blocks only are found, and never all of a prompt: with blocks of 128 tokens half of a prompt of 256.
const WARM: f64 = 0.25;

pub(super) fn check(at: &At<'_>, declared: Option<CacheState>, findings: &mut Findings) {
    restarts(at, findings);
    let label = Some(at.document.label.as_str());
    let looked_up: Vec<LookedUp> = at.point.trials.iter().filter_map(LookedUp::of).collect();
    match declared.unwrap_or_default() {
        CacheState::Any => {}
        _ if looked_up.is_empty() => {
            if declared.is_some() {
                findings.add(Code::CacheUnchecked, label, []);
            }
        }
        CacheState::Cold => {
            let warm: Vec<&LookedUp> =
                looked_up.iter().filter(|l| l.unexplained() > SLACK * l.queries).collect();
            if !warm.is_empty() {
                let sum =
                    |of: fn(&LookedUp) -> f64| format!("{:.0}", warm.iter().map(|l| of(l)).sum::<f64>());
                let values = [sum(|l| l.hits), sum(|l| l.queries), sum(|l| l.expected)];
                findings.add(Code::CacheWarm, label, values);
            }
        }
        CacheState::Warm => {
            let sum = |of: fn(&LookedUp) -> f64| looked_up.iter().map(of).sum::<f64>();
            let (hits, queries) = (sum(|l| l.hits), sum(|l| l.queries));
            let own = sum(|l| l.queries - l.expected).max(0.0);
            if sum(LookedUp::unexplained) < WARM * own {
                findings.add(Code::CacheNotWarm, label, [format!("{hits:.0}"), format!("{queries:.0}")]);
            }
        }
    }
}

/// Prompt tokens of one trial.
struct LookedUp {
    hits: f64,
    queries: f64,
    /// What the run's own prompts explain at most.
    expected: f64,
}

impl LookedUp {
    /// `None` where the engine does not tell, or tells of more than first look-ups: a request that lost its memory to
    /// others finds its own prompt when it comes back.
    fn of(trial: &Trial<'_>) -> Option<Self> {
        let expected = trial.expected_hits? as f64;
        let steady = |key| rise(trial, key).filter(|(_, falls)| *falls == 0).map(|(rise, _)| rise);
        let preempted = rise(trial, PREEMPTIONS).is_some_and(|(rise, _)| rise > 0.0);
        let counted = steady(PREFIX_CACHE_HITS_TOKENS).zip(steady(PREFIX_CACHE_QUERIES_TOKENS));
        let (hits, queries) = counted.filter(|_| !preempted).or_else(|| by_usage(trial))?;
        (queries > 0.0).then_some(Self { hits, queries, expected })
    }

    fn unexplained(&self) -> f64 {
        (self.hits - self.expected).max(0.0)
    }
}

/// Cached tokens and prompt tokens by the usage of each request.
fn by_usage(trial: &Trial<'_>) -> Option<(f64, f64)> {
    let stated = trial.ok().filter_map(|r| Some((r.record.cached_usage?, r.record.input_usage?)));
    stated.map(|(c, i)| (f64::from(c), f64::from(i))).reduce(|a, b| (a.0 + b.0, a.1 + b.1))
}

/// Counters that fell: the engine began again, or another one answered.
fn restarts(at: &At<'_>, findings: &mut Findings) {
    let falls = |t: &Trial<'_>| TOTALS.iter().filter_map(|key| rise(t, key)).map(|(_, falls)| falls).max();
    let falls: u64 = at.point.trials.iter().filter_map(falls).sum();
    if falls > 0 {
        findings.add(Code::CountersFell, Some(&at.document.label), [falls.to_string()]);
    }
}
