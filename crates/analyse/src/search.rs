//! What a search over load found, from the lines of the log and the points that were measured.

use stopwatt_core::Metric;
use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::metrics_doc::{Estimate, Interval, IntervalKind, Point};
use stopwatt_core::search::{FindKind, Search, SearchLook, Verdict};
use stopwatt_stats::edge::{Edge, EdgeSearch, Look, Options, Seen};

/// The block of a run that searched; `None` for any other.
pub(crate) fn found(log: &[LogEvent], points: &[Point]) -> Option<Search> {
    let (find, objectives, level) = log.iter().find_map(|e| match &e.fact {
        Fact::SearchStarted { find, objectives, level } => Some((*find, objectives.clone(), *level)),
        _ => None,
    })?;
    let looks: Vec<SearchLook> = log
        .iter()
        .filter_map(|e| match &e.fact {
            Fact::SearchLook { look } => Some(look.clone()),
            _ => None,
        })
        .collect();
    let stopped = log.iter().rev().find_map(|e| match &e.fact {
        Fact::SearchEnded { stopped } => Some(stopped.clone()),
        _ => None,
    });
    let edge = edge(&looks);
    Some(Search {
        find,
        objectives,
        found: estimate(&edge, &looks, level),
        confirmed: edge.confirmed,
        unresolved: edge.unclear,
        stopped: stopped.unwrap_or_else(|| Some("the run was cut off".to_owned())),
        knee: knee(find, points),
        looks,
    })
}

/// A verdict as an answer to the search.
pub fn seen(verdict: Verdict) -> Seen {
    match verdict {
        Verdict::Holds => Seen::Holds,
        Verdict::Fails => Seen::Fails,
        Verdict::Unclear => Seen::Unclear,
    }
}

/// The edge that these looks leave. The range searched plays no part in it.
fn edge(looks: &[SearchLook]) -> Edge {
    let any = Options { start: 1.0, floor: 1.0, ceiling: 1.0, precision: 0.0, whole: false };
    let mut search = EdgeSearch::new(any);
    for look in looks {
        search.saw(Look { load: look.load, again: look.again }, seen(look.verdict));
    }
    search.edge()
}

fn estimate(edge: &Edge, looks: &[SearchLook], level: f64) -> Estimate {
    let Some(holds) = edge.holds else {
        return Estimate::unavailable(match (edge.fails, edge.unclear.is_empty()) {
            (Some(fails), true) => format!("the objectives fail at every load tried, the lowest {fails:.3}"),
            (_, false) => "no load tried could be shown to hold".to_owned(),
            (None, true) => "no load was judged".to_owned(),
        });
    };
    let at = || looks.iter().filter(|l| l.load == holds);
    let interval =
        edge.fails.map(|fails| Interval { kind: IntervalKind::Confidence, level, lo: holds, hi: fails });
    let reason = interval.is_none().then(|| "no load tried fails: the edge lies higher".to_owned());
    Estimate {
        value: Some(holds),
        n: at().map(|l| l.requests).sum(),
        trials: at().map(|l| l.trials).sum(),
        interval,
        reason,
    }
}

/// The load with the highest throughput for its mean latency. From the schedule, where there is one: waiting for the
/// client's turn is waiting too.
fn knee(find: FindKind, points: &[Point]) -> Estimate {
    let (load, latency): (fn(&Point) -> Option<f64>, _) = match find {
        FindKind::MaxRate => (|p| p.rate_rps, Metric::E2eFromSchedule),
        FindKind::MaxConcurrency => (|p| p.concurrency.map(f64::from), Metric::E2e),
    };
    let mean = |p: &Point, metric: Metric| p.metrics.get(metric.name()).and_then(|m| m.mean.value);
    let power = |p: &Point| Some((load(p)?, mean(p, Metric::RequestThroughput)? / mean(p, latency)?));
    let mut powers: Vec<(f64, f64)> = points.iter().filter_map(power).filter(|p| p.1.is_finite()).collect();
    powers.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some(best) = (0..powers.len()).reduce(|a, b| if powers[b].1 > powers[a].1 { b } else { a }) else {
        return Estimate::unavailable("no load has a latency");
    };
    let (n, trials) = (powers.len() as u64, 0);
    match (best.checked_sub(1), powers.get(best + 1)) {
        (Some(before), Some(after)) => Estimate {
            value: Some(powers[best].0),
            n,
            trials,
            interval: Some(Interval {
                kind: IntervalKind::Instrument,
                level: 1.0,
                lo: powers[before].0,
                hi: after.0,
            }),
            reason: None,
        },
        (None, _) => {
            Estimate::unavailable(format!("it lies at or below the lowest load measured, {:.3}", powers[0].0))
        }
        (_, None) => Estimate::unavailable("it lies at or above the highest load measured"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::log;

    fn look(load: f64, again: bool, verdict: Verdict) -> Fact {
        let (point, trials, requests) = (0, 2, 30);
        Fact::SearchLook {
            look: SearchLook {
                point,
                load,
                again,
                trials,
                requests,
                verdict,
                veto: None,
                objectives: vec![],
                queue_growth: None,
            },
        }
    }

    fn of(facts: &[Fact]) -> Search {
        let start = Fact::SearchStarted {
            find: FindKind::MaxRate,
            objectives: vec!["p99 ttft < 0.5s".to_owned()],
            level: 0.95,
        };
        found(&log(&[&[start], facts].concat()), &[]).unwrap()
    }

    #[test]
    fn the_edge_is_what_the_looks_leave() {
        use Verdict::{Fails, Holds, Unclear};
        let ended = Fact::SearchEnded { stopped: None };
        let s = of(&[
            look(2.0, false, Holds),
            look(4.0, false, Fails),
            look(3.0, false, Unclear),
            look(2.0, true, Holds),
            ended,
        ]);
        let i = s.found.interval.unwrap();
        assert_eq!((s.found.value, i.lo, i.hi, s.found.n), (Some(2.0), 2.0, 4.0, 60));
        assert!(s.confirmed && s.unresolved == [3.0] && s.stopped.is_none());
        // The run was cut off before its second look.
        let s = of(&[look(2.0, false, Holds), look(4.0, false, Fails)]);
        assert!(!s.confirmed && s.stopped.is_some());
    }

    #[test]
    fn what_was_not_found_says_why() {
        assert!(of(&[look(2.0, false, Verdict::Fails)]).found.reason.unwrap().contains("every load"));
        assert!(of(&[look(2.0, false, Verdict::Unclear)]).found.reason.unwrap().contains("shown to hold"));
        assert!(of(&[look(2.0, false, Verdict::Holds)]).found.reason.unwrap().contains("higher"));
        assert!(of(&[]).found.reason.unwrap().contains("no load"));
        assert_eq!(found(&log(&[]), &[]), None);
    }
}
