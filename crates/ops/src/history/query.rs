//! A span of a store, as a whole and in parts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::group::Group;
use super::incident::{Incident, IncidentKind, Incidents};
use super::summary::{Summary, Tally};
use super::values::{Bins, Gaps, label};
use crate::rules::webhook::time;
use crate::store::{Reader, RequestRow, StoreError};

/// By what requests are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The upstream that answered.
    Upstream,
    /// Its side of a split.
    Variant,
    /// The model that was named.
    Model,
    /// The minute in which they were received.
    Minute,
    /// The hour in which they were received.
    Hour,
    /// Model, beginning and length of the prompt.
    Group,
}

/// A part of the requests.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Part {
    /// Which: a name, or the moment at which its time begins.
    pub key: String,
    /// What they come to.
    pub summary: Summary,
}

/// Incidents of a span by their kind.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, schemars::JsonSchema)]
pub struct Totals {
    /// All upstreams were out.
    pub service: Incidents,
    /// Some upstream was.
    pub upstream: Incidents,
    /// Some alert fired.
    pub alert: Incidents,
    /// Share of the span in which some upstream was given requests; null for an empty span.
    pub time_available: Option<f64>,
}

impl Totals {
    /// Of a span.
    pub fn of(all: &[Incident], from: i64, until: i64) -> Self {
        let of = |kind| Incidents::of(all, kind, from, until);
        let service = of(IncidentKind::Service);
        let seconds = (until - from) as f64 / 1e9;
        Self {
            service,
            upstream: of(IncidentKind::Upstream),
            alert: of(IncidentKind::Alert),
            time_available: (seconds > 0.0).then(|| 1.0 - service.out_s / seconds),
        }
    }
}

/// What a span comes to.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct History {
    /// Its begin, UNIX nanoseconds.
    pub from_unix_ns: i64,
    /// Its end, UNIX nanoseconds.
    pub until_unix_ns: i64,
    /// All requests.
    pub total: Summary,
    /// Availability by time, and repairs. A time in which the proxy itself did not run is in none.
    pub incidents: Totals,
    /// The requests in parts; empty when not asked for.
    pub parts: Vec<Part>,
    /// The incidents, oldest first.
    pub incident_list: Vec<Incident>,
}

const MINUTE: i64 = 60_000_000_000;

impl By {
    fn length(self) -> Option<i64> {
        match self {
            Self::Minute => Some(MINUTE),
            Self::Hour => Some(60 * MINUTE),
            _ => None,
        }
    }

    fn key(self, row: &RequestRow) -> String {
        let name = |name: &Option<std::sync::Arc<str>>| name.as_deref().unwrap_or("none").to_owned();
        match self {
            Self::Upstream => name(&row.upstream),
            Self::Variant => name(&row.variant),
            Self::Model => name(&row.model),
            Self::Group => Group::of(row).key(),
            Self::Minute | Self::Hour => self.moment(row.received_unix_ns),
        }
    }

    /// The part to which gaps belong; `None` where they are not told apart like that.
    fn key_of_gaps(self, labels: &str, at: i64) -> Option<String> {
        match self {
            Self::Upstream => label(labels, "upstream").map(str::to_owned),
            Self::Variant => label(labels, "variant").map(str::to_owned),
            Self::Minute | Self::Hour => Some(self.moment(at)),
            Self::Model | Self::Group => None,
        }
    }

    fn moment(self, at: i64) -> String {
        let length = self.length().unwrap_or(MINUTE);
        time((at.div_euclid(length) * length) as f64 / 1e9)
    }
}

/// Reads a span, `from..until` in UNIX nanoseconds.
///
/// # Errors
/// The store cannot be read.
pub fn history(reader: &Reader, from: i64, until: i64, by: Option<By>) -> Result<History, StoreError> {
    let mut total = Tally::default();
    let mut parts: BTreeMap<String, Tally> = BTreeMap::new();
    reader.requests(from, until, |row| {
        total.add(&row);
        if let Some(by) = by {
            parts.entry(by.key(&row)).or_default().add(&row);
        }
    })?;
    let (mut gaps, mut all, mut bins) = (Gaps::default(), Bins::default(), BTreeMap::<String, Bins>::new());
    reader.samples(from, until, |row| {
        let at = row.at_unix_ns;
        // What stands before the span says where counters began.
        if let Some((labels, bound, n)) = gaps.take(&row).filter(|_| at >= from) {
            all.add(bound, n);
            if let Some(key) = by.and_then(|by| by.key_of_gaps(labels, at)) {
                bins.entry(key).or_default().add(bound, n);
            }
        }
    })?;
    let seconds = (until - from) as f64 / 1e9;
    let mut total = total.summary(seconds);
    total.itl_s = all.quantiles();
    let part = |(key, tally): (String, Tally)| {
        let seconds = by.and_then(By::length).map_or(seconds, |l| l as f64 / 1e9);
        let mut summary = tally.summary(seconds);
        summary.itl_s = bins.get(&key).and_then(Bins::quantiles);
        Part { key, summary }
    };
    let mut parts: Vec<Part> = parts.into_iter().map(part).collect();
    if by.is_some_and(|by| by.length().is_none()) {
        parts.sort_by_key(|p| std::cmp::Reverse(p.summary.requests));
    }
    let incident_list = reader.incidents(from, until)?;
    let incidents = Totals::of(&incident_list, from, until);
    Ok(History { from_unix_ns: from, until_unix_ns: until, total, incidents, parts, incident_list })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{GAP_BINS, SampleRow, Settings, Store};

    #[test]
    fn a_span_is_read_by_the_same_definitions_as_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Duration::from_secs(1 << 33);
        let store = Store::open(Settings { keep, ..Settings::new(dir.path().to_owned()) }).unwrap();
        let second = 1_000_000_000;
        for i in 0..120_i64 {
            store.request(RequestRow {
                received_unix_ns: i * second,
                ttft_s: Some(0.1),
                e2e_s: 1.0,
                upstream: Some(if i % 3 == 0 { "a".into() } else { "b".into() }),
                model: Some("m".into()),
                end: Some(if i == 5 { "reset".into() } else { "answered".into() }),
                status: 200,
                tokens: 10,
                cost_dollars: Some(0.5),
                ..RequestRow::default()
            });
            let labels = |u| Some(format!("upstream=\"{u}\",variant=\"v\",le=\"0.01\"").into());
            store.samples(vec![SampleRow {
                at_unix_ns: i * second,
                name: Some(GAP_BINS.into()),
                labels: labels("a"),
                value: i as f64,
            }]);
        }
        store.incident(Incident {
            kind: IncidentKind::Service,
            subject: String::new(),
            reason: "dead".into(),
            began_unix_ns: 30 * second,
            ended_unix_ns: Some(42 * second),
            cut: false,
        });
        drop(store);
        let reader = Reader::open(dir.path()).unwrap();
        let whole = history(&reader, 0, 120 * second, Some(By::Upstream)).unwrap();
        assert_eq!((whole.total.requests, whole.total.requests_per_s), (120, Some(1.0)));
        assert_eq!(whole.total.availability, Some(119.0 / 120.0));
        assert_eq!(whole.total.cost_dollars, Some(60.0));
        assert_eq!(whole.total.itl_s.unwrap().n, 119);
        let keys: Vec<_> = whole.parts.iter().map(|p| (p.key.as_str(), p.summary.requests)).collect();
        assert_eq!(keys, [("b", 80), ("a", 40)]);
        assert_eq!(whole.parts[0].summary.itl_s, None, "b had no gaps");
        assert_eq!((whole.incidents.service.mttr_s, whole.incidents.time_available), (Some(12.0), Some(0.9)));
        let minutes = history(&reader, 30 * second, 90 * second, Some(By::Minute)).unwrap();
        let keys: Vec<_> = minutes.parts.iter().map(|p| (p.key.as_str(), p.summary.requests)).collect();
        assert_eq!(keys, [("1970-01-01T00:00:00.000Z", 30), ("1970-01-01T00:01:00.000Z", 30)]);
        assert_eq!(minutes.parts[0].summary.itl_s.unwrap().n, 30, "from second 30 on");
    }
}
