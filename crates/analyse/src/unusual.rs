//! Requests that took unusually long or short, with what the record can say about why.
//!
//! They stay in every metric: an outlier is part of the service until its cause is known. The cause is only named
//! where the record shows it.

use stopwatt_core::clock::Nanos;
use stopwatt_core::{EndKind, Metric, Phase, RequestRow};
use stopwatt_stats::outlier;

use crate::request::{request_metrics, seconds};

/// Pause of the load, in seconds, after which a request meets an engine that had gone idle.
const PAUSE_S: f64 = 1.0;

/// One unusual request.
#[derive(Debug, Clone, PartialEq)]
pub struct Unusual {
    /// Its id.
    pub id: u64,
    /// Its point.
    pub point: u32,
    /// Its trial.
    pub trial: u32,
    /// The value that stands out, in seconds.
    pub value: f64,
    /// Whether it lies beyond 1.5 interquartile ranges from the quartiles.
    pub by_iqr: bool,
    /// Whether its modified z-score is above 3.5.
    pub by_mad: bool,
    /// What the record shows.
    pub cause: Cause,
}

/// What the record shows about an unusual request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It opened a connection, so that first-use work may have been its.
    NewConnection,
    /// Nothing had been sent for a second before it.
    AfterPause,
    /// It was the first of its trial.
    FirstOfTrial,
    /// The record does not tell.
    NotKnown,
}

/// Finds the requests of one point whose value of `metric` is an outlier among the successful ones, in order of
/// dispatch. Empty when no more than four requests have a value.
pub fn unusual(requests: &[RequestRow], point: u32, metric: Metric) -> Vec<Unusual> {
    let mut rows: Vec<&RequestRow> = requests
        .iter()
        .filter(|r| r.point == point && r.phase == Phase::Measure && r.end == EndKind::Ok)
        .collect();
    rows.sort_by_key(|r| (r.dispatched_ns.get(), r.id));
    let found: Vec<(&RequestRow, f64)> =
        rows.into_iter().filter_map(|r| Some((r, request_metrics(r).value(metric)?))).collect();
    let values: Vec<f64> = found.iter().map(|(_, v)| *v).collect();
    let describe = |flag: outlier::Flag| {
        let (record, value) = found[flag.index];
        let before = flag.index.checked_sub(1).map(|i| found[i].0);
        Unusual {
            id: record.id,
            point,
            trial: record.trial,
            value,
            by_iqr: flag.by_iqr,
            by_mad: flag.by_mad,
            cause: cause(record, before),
        }
    };
    outlier::flag(&values).into_iter().map(describe).collect()
}

fn cause(record: &RequestRow, before: Option<&RequestRow>) -> Cause {
    let sent = |r: &RequestRow| -> Option<Nanos> { r.dispatched_ns.get() };
    let pause = before.and_then(sent).zip(sent(record)).map(|(a, b)| seconds(b - a));
    if record.connected_ns.get().is_some() {
        Cause::NewConnection
    } else if before.is_none_or(|b| b.trial != record.trial) {
        Cause::FirstOfTrial
    } else if pause.is_some_and(|p| p >= PAUSE_S) {
        Cause::AfterPause
    } else {
        Cause::NotKnown
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::RequestRecord;

    use super::*;
    use crate::testing::ok_request;

    const MS: i64 = 1_000_000;

    /// Twenty requests, each with one token after 50 ms, except the slow ones.
    fn requests(slow: &[u64]) -> Vec<RequestRecord> {
        let one = |id: u64| {
            let begin = id as i64 * 100;
            ok_request(
                id,
                begin * MS,
                &[begin + 50 + (id as i64 % 3) + if slow.contains(&id) { 400 } else { 0 }],
            )
        };
        (0..20).map(one).collect()
    }

    fn rows(records: &[RequestRecord]) -> Vec<RequestRow> {
        records.iter().map(RequestRow::of).collect()
    }

    #[test]
    fn causes_are_named_where_the_record_shows_them() {
        let mut r = requests(&[0, 7, 12, 15]);
        r[7].connected_ns = r[7].dispatched_ns;
        for later in &mut r[12..] {
            let by = 2000 * MS;
            later.intended_ns += by;
            later.dispatched_ns = later.dispatched_ns.map(|t| t + by);
            later.chunks.iter_mut().for_each(|c| c.t_ns += by);
        }
        let found: Vec<(u64, Cause)> =
            unusual(&rows(&r), 0, Metric::Ttft).iter().map(|u| (u.id, u.cause)).collect();
        let expected = [
            (0, Cause::FirstOfTrial),
            (7, Cause::NewConnection),
            (12, Cause::AfterPause),
            (15, Cause::NotKnown),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn failed_warm_up_and_other_points_are_left_out() {
        let mut r = requests(&[3, 4, 5]);
        r[3].end = EndKind::Timeout;
        r[4].phase = Phase::Warmup;
        r[5].point = 1;
        assert!(unusual(&rows(&r), 0, Metric::Ttft).is_empty());
    }
}
