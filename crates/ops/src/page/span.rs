//! What the page tells of a span of time: the last minutes, or any span of the store.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Value, json};

use super::frame::{KEYS, Moment, frame};
use crate::history::{Bins, Gaps, Groups, Incident, Sides, Tally, Totals, Values};
use crate::store::{Reader, RequestRow, StoreError};

/// Groups of requests that are shown.
const MOST_GROUPS: usize = 12;
/// Incidents that are shown.
const MOST_INCIDENTS: usize = 50;
/// Points of a chart.
const POINTS: i64 = 400;
/// The store says something of each value at least once a segment; without that for so long, nobody watched.
const SILENT: i64 = 150_000_000_000;

/// Adds up the requests of a span.
pub(super) struct Span {
    total: Tally,
    groups: Groups,
    sides: Sides,
    sessions: HashSet<u64>,
    users: HashSet<u64>,
}

impl Span {
    pub(super) fn new(variants: &[String]) -> Self {
        Self {
            total: Tally::default(),
            groups: Groups::default(),
            sides: Sides::new(variants),
            sessions: HashSet::new(),
            users: HashSet::new(),
        }
    }

    pub(super) fn add(&mut self, row: &RequestRow) {
        self.total.add(row);
        self.groups.add(row);
        self.sides.add(row);
        self.sessions.extend(row.session);
        self.users.extend(row.user);
    }

    /// The tables of the page. `from..until` are UNIX nanoseconds.
    pub(super) fn tables(self, incidents: &[Incident], bins: &Bins, from: i64, until: i64) -> Value {
        let seconds = (until - from) as f64 / 1e9;
        let mut total = self.total.summary(seconds);
        total.itl_s = bins.quantiles();
        let totals = Totals::of(incidents, from, until);
        let groups: Vec<_> = self.groups.summaries(seconds);
        let others: u64 = groups.iter().skip(MOST_GROUPS).map(|(_, s)| s.requests).sum();
        let groups: Vec<Value> =
            groups.iter().take(MOST_GROUPS).map(|(group, s)| json!({"group": group, "summary": s})).collect();
        let inside = incidents.iter().filter(|i| i.ended_unix_ns.is_none_or(|end| end >= from));
        let list: Vec<&Incident> = inside.rev().take(MOST_INCIDENTS).collect();
        json!({
            "from_ms": from / 1_000_000,
            "until_ms": until / 1_000_000,
            "total": total,
            "availability": totals,
            "incidents": list,
            "groups": groups,
            "other_groups_requests": others,
            "sessions": self.sessions.len(),
            "users": self.users.len(),
            "variants": self.sides.differences(),
        })
    }
}

/// The frames of a span, one every `step` nanoseconds. A time in which nobody watched is a frame of nulls.
pub(super) fn frames(
    reader: &Reader,
    from: i64,
    until: i64,
    step: i64,
    mut each: impl FnMut(&RequestRow),
) -> Result<(Vec<Value>, Bins), StoreError> {
    let steps = usize::try_from((until - from) / step).unwrap_or(0) + 1;
    let mut tallies: Vec<Tally> = (0..steps).map(|_| Tally::default()).collect();
    reader.requests(from, until, |row| {
        each(&row);
        if let Some(tally) = tallies.get_mut(((row.received_unix_ns - from) / step) as usize) {
            tally.add(&row);
        }
    })?;
    let mut frames = Vec::with_capacity(steps);
    let (mut gaps, mut all, mut bins) = (Gaps::default(), Bins::default(), Bins::default());
    let (mut now, mut before) = (Values::default(), Values::default());
    let (mut heard, mut index) = (i64::MIN / 2, 0_i64);
    let mut tallies = tallies.into_iter();
    let mut close = |index: i64, heard: i64, now: &Values, before: &mut Values, bins: &mut Bins| {
        let end = from + (index + 1) * step;
        let summary = tallies.next().unwrap_or_default().summary(step as f64 / 1e9);
        if heard < end - step - SILENT {
            frames.push(json!([end / 1_000_000, null_row(), {}]));
        } else {
            frames.push(frame(&Moment {
                at_unix_ns: end.min(until),
                now,
                before,
                seconds: step as f64 / 1e9,
                ttft: summary.ttft_s,
                itl: bins.quantiles(),
                e2e: summary.e2e_s,
            }));
        }
        before.clone_from(now);
        *bins = Bins::default();
    };
    reader.samples(from, until, |row| {
        while row.at_unix_ns >= from + (index + 1) * step {
            close(index, heard, &now, &mut before, &mut bins);
            index += 1;
        }
        if heard < row.at_unix_ns - SILENT {
            // What was counted before a long silence says nothing of this step.
            before = Values::default();
        }
        heard = row.at_unix_ns;
        if let Some((_, bound, n)) = gaps.take(&row).filter(|_| row.at_unix_ns >= from) {
            bins.add(bound, n);
            all.add(bound, n);
        }
        now.set(&row);
        if row.at_unix_ns < from {
            before.set(&row);
        }
    })?;
    while from + index * step < until {
        close(index, heard, &now, &mut before, &mut bins);
        index += 1;
    }
    Ok((frames, all))
}

fn null_row() -> Vec<Value> {
    vec![Value::Null; KEYS.len()]
}

/// A span of a store as the page wants it.
pub(super) fn read(dir: &Path, variants: &[String], from: i64, until: i64) -> Result<String, StoreError> {
    let reader = Reader::open(dir)?;
    let second = 1_000_000_000;
    let step = ((until - from) / POINTS).div_euclid(second).max(1) * second;
    let mut span = Span::new(variants);
    let (frames, bins) = frames(&reader, from, until, step, |row| span.add(row))?;
    let incidents = reader.incidents(from, until)?;
    let state = span.tables(&incidents, &bins, from, until);
    Ok(json!({"frames": frames, "state": state, "step_s": step / second}).to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{Settings, Store, of_page};

    #[test]
    fn a_span_of_the_store_has_frames_and_gaps_where_nobody_watched() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Duration::from_secs(1 << 33);
        let store = Store::open(Settings { keep, ..Settings::new(dir.path().to_owned()) }).unwrap();
        let second = 1_000_000_000;
        for i in 0..100_i64 {
            store.samples(of_page(&format!("stopwatt_upstream_waiting {i}\nstopwatt_ttft_seconds_count {}\nstopwatt_itl_seconds_count {}\n", 2 * i, 8 * i), i * second));
            store.request(RequestRow {
                received_unix_ns: i * second,
                ttft_s: Some(0.5),
                model: Some("m".into()),
                end: Some("answered".into()),
                session: Some(i as u64 % 3),
                ..RequestRow::default()
            });
        }
        drop(store);
        let text = read(dir.path(), &["v".to_owned()], 0, 600 * second).unwrap();
        let seen: Value = serde_json::from_str(&text).unwrap();
        let frames = seen["frames"].as_array().unwrap();
        assert_eq!(frames.len(), 600);
        let of = |i: usize, key: &str| frames[i][1][KEYS.iter().position(|k| *k == key).unwrap()].as_f64();
        assert_eq!(
            (of(50, "waiting"), of(50, "tokens_per_s"), of(50, "ttft_p50")),
            (Some(50.0), Some(10.0), Some(0.5))
        );
        assert_eq!(of(500, "waiting"), None);
        assert_eq!(
            (&seen["state"]["total"]["requests"], &seen["state"]["sessions"]),
            (&json!(100), &json!(3))
        );
        assert_eq!(seen["state"]["groups"][0]["group"]["model"], "m");
    }
}
