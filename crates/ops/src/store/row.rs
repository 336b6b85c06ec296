//! What is kept: a row a request, and a row a value that changed.

use std::sync::Arc;

use stopwatt_core::Nanos;
use stopwatt_wire::engine_metrics::samples;

use super::table::{Cell, Column, Kind, Table};
use crate::exchange::{End, Exchange};
use crate::fleet::Fleet;

/// A request that has ended. Nothing in it is text of the request or of the answer; sessions and users are hashes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RequestRow {
    /// When it was read, UNIX nanoseconds.
    pub received_unix_ns: i64,
    /// From then to the first token, in seconds; `None` where none came, or where it was no stream.
    pub ttft_s: Option<f64>,
    /// Mean time between its tokens after the first, in seconds; `None` with fewer than two.
    pub tpot_s: Option<f64>,
    /// From being read to its end, in seconds.
    pub e2e_s: f64,
    /// Name of the upstream that answered, or was asked last.
    pub upstream: Option<Arc<str>>,
    /// Its side of an A/B split.
    pub variant: Option<Arc<str>>,
    /// Model that the request named.
    pub model: Option<Arc<str>>,
    /// Path, one of the few that are known.
    pub path: Option<Arc<str>>,
    /// HTTP status that the client got; 0 where it left before.
    pub status: u32,
    /// `answered`, `client_gone`, or why it failed.
    pub end: Option<Arc<str>>,
    /// Why the engine stopped.
    pub finish: Option<Arc<str>>,
    /// The client had been given tokens.
    pub committed: bool,
    /// It was a stream of events.
    pub streamed: bool,
    /// Attempts, hedges included.
    pub attempts: u32,
    /// Tokens of the prompt, as the upstream said.
    pub prompt_tokens: Option<u32>,
    /// Those of them that came from the prefix cache, as the upstream said.
    pub cached_tokens: Option<u32>,
    /// Generated tokens.
    pub tokens: u32,
    /// Hash of the session that the client named.
    pub session: Option<u64>,
    /// Hash of the user that the request named.
    pub user: Option<u64>,
    /// Hash of how the prompt begins: requests made of one template have one.
    pub template: Option<u64>,
    /// Version of the prompt, where the client told it.
    pub prompt_version: Option<Arc<str>>,
    /// Its share of what the upstream's machine costs, in dollars; `None` without a price.
    pub cost_dollars: Option<f64>,
}

/// How a request ended, where it did end as it should.
pub const ANSWERED: &str = "answered";
/// How a request ended that its client gave up.
pub const CLIENT_GONE: &str = "client_gone";

impl RequestRow {
    /// The row of a request. `now` and `now_unix` are one moment, raw monotonic and UNIX.
    pub fn of(x: &Exchange, fleet: &Fleet, now: Nanos, now_unix: Nanos) -> Self {
        let seconds = |ns: Nanos| ns as f64 * 1e-9;
        let up = x.upstream.and_then(|i| fleet.upstreams().get(i));
        let tpot = x.first_token.zip(x.last_token).filter(|_| x.tokens > 1);
        Self {
            received_unix_ns: now_unix - (now - x.received),
            ttft_s: x.first_token.map(|at| seconds(at - x.received)),
            tpot_s: tpot.map(|(first, last)| seconds(last - first) / f64::from(x.tokens - 1)),
            e2e_s: seconds(x.ended - x.received),
            upstream: up.map(|u| u.spec.name.as_str().into()),
            variant: up.map(|u| u.spec.variant.as_str().into()),
            model: x.model.as_deref().map(Into::into),
            path: Some(x.path.into()),
            status: u32::from(x.status),
            end: Some(
                match x.end {
                    End::Answered => ANSWERED,
                    End::ClientGone => CLIENT_GONE,
                    End::Failed(failure) => failure.name(),
                }
                .into(),
            ),
            finish: x.finish.map(|f| f.name().into()),
            committed: x.committed,
            streamed: x.streamed,
            attempts: x.attempts,
            prompt_tokens: x.prompt_tokens,
            cached_tokens: x.cached_tokens,
            tokens: x.tokens,
            session: x.session,
            user: x.user,
            template: x.template,
            prompt_version: x.prompt_version.as_deref().map(Into::into),
            cost_dollars: x.cost_dollars,
        }
    }

    /// When it ended, UNIX nanoseconds.
    pub fn ended_unix_ns(&self) -> i64 {
        self.received_unix_ns.saturating_add((self.e2e_s * 1e9) as i64)
    }

    /// Whether it ended as it should; `None` when its client left, which says nothing.
    pub fn is_good(&self) -> Option<bool> {
        match self.end.as_deref() {
            Some(ANSWERED) => Some(true),
            Some(CLIENT_GONE) => None,
            _ => Some(false),
        }
    }

    /// Longest prompt of its group of lengths: the next power of two, in tokens.
    pub fn length_group(&self) -> Option<u32> {
        self.prompt_tokens.map(|n| n.max(1).checked_next_power_of_two().unwrap_or(u32::MAX))
    }
}

fn text(value: Option<&Arc<str>>) -> Cell {
    value.map_or(Cell::Null, |v| Cell::Text(Arc::clone(v)))
}
fn real(value: Option<f64>) -> Cell {
    value.map_or(Cell::Null, Cell::Real)
}
fn count(value: Option<u32>) -> Cell {
    value.map_or(Cell::Null, |v| Cell::Whole(i64::from(v)))
}

macro_rules! column {
    ($field:ident: Stamp) => {
        Column {
            name: stringify!($field),
            kind: Kind::Stamp,
            get: |r| Cell::Whole(r.$field),
            set: |r, c| r.$field = c.whole().unwrap_or_default(),
        }
    };
    ($field:ident: Real) => {
        Column {
            name: stringify!($field),
            kind: Kind::Real,
            get: |r| Cell::Real(r.$field),
            set: |r, c| r.$field = c.real().unwrap_or_default(),
        }
    };
    ($field:ident: Option<Real>) => {
        Column {
            name: stringify!($field),
            kind: Kind::Real,
            get: |r| real(r.$field),
            set: |r, c| r.$field = c.real(),
        }
    };
    ($field:ident: Option<Text>) => {
        Column {
            name: stringify!($field),
            kind: Kind::Text,
            get: |r| text(r.$field.as_ref()),
            set: |r, c| r.$field = c.text(),
        }
    };
    ($field:ident: Count) => {
        Column {
            name: stringify!($field),
            kind: Kind::Count,
            get: |r| count(Some(r.$field)),
            set: |r, c| r.$field = c.whole().map_or(0, |v| v as u32),
        }
    };
    ($field:ident: Option<Count>) => {
        Column {
            name: stringify!($field),
            kind: Kind::Count,
            get: |r| count(r.$field),
            set: |r, c| r.$field = c.whole().map(|v| v as u32),
        }
    };
    ($field:ident: Option<Hash>) => {
        Column {
            name: stringify!($field),
            kind: Kind::Hash,
            get: |r| r.$field.map_or(Cell::Null, |v| Cell::Whole(v as i64)),
            set: |r, c| r.$field = c.whole().map(|v| v as u64),
        }
    };
    ($field:ident: Flag) => {
        Column {
            name: stringify!($field),
            kind: Kind::Flag,
            get: |r| Cell::Flag(r.$field),
            set: |r, c| r.$field = c.flag(),
        }
    };
}

impl Table for RequestRow {
    const NAME: &'static str = "requests";
    const COLUMNS: &'static [Column<Self>] = &[
        column!(received_unix_ns: Stamp),
        column!(ttft_s: Option<Real>),
        column!(tpot_s: Option<Real>),
        column!(e2e_s: Real),
        column!(upstream: Option<Text>),
        column!(variant: Option<Text>),
        column!(model: Option<Text>),
        column!(path: Option<Text>),
        column!(status: Count),
        column!(end: Option<Text>),
        column!(finish: Option<Text>),
        column!(committed: Flag),
        column!(streamed: Flag),
        column!(attempts: Count),
        column!(prompt_tokens: Option<Count>),
        column!(cached_tokens: Option<Count>),
        column!(tokens: Count),
        column!(session: Option<Hash>),
        column!(user: Option<Hash>),
        column!(template: Option<Hash>),
        column!(prompt_version: Option<Text>),
        column!(cost_dollars: Option<Real>),
    ];

    fn at(&self) -> i64 {
        self.received_unix_ns
    }
}

/// A value of the exporter's page at a moment. One that has not changed is not repeated within a segment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SampleRow {
    /// When it was read, UNIX nanoseconds.
    pub at_unix_ns: i64,
    /// Name of the family.
    pub name: Option<Arc<str>>,
    /// Labels as `a="b",c="d"`, in the page's order.
    pub labels: Option<Arc<str>>,
    /// The value.
    pub value: f64,
}

impl Table for SampleRow {
    const NAME: &'static str = "samples";
    const COLUMNS: &'static [Column<Self>] = &[
        column!(at_unix_ns: Stamp),
        column!(name: Option<Text>),
        column!(labels: Option<Text>),
        column!(value: Real),
    ];

    fn at(&self) -> i64 {
        self.at_unix_ns
    }
}

/// The histogram of the exporter whose buckets are kept: gaps between tokens are in no request's row.
const GAPS: &str = "stopwatt_itl_seconds_bucket";
/// Under which name its buckets are kept, each by itself instead of summed up: so most of them stand still.
pub const GAP_BINS: &str = "stopwatt_itl_seconds_bin";

/// The values of a page that are kept. Buckets of histograms are left out, except those of gaps.
pub(crate) fn of_page(page: &str, at_unix_ns: i64) -> Vec<SampleRow> {
    let mut rows = Vec::new();
    let mut below: (String, f64) = Default::default();
    for sample in samples(page).filter(|s| !s.value.is_nan()) {
        let labels = || sample.labels.iter().map(|(name, value)| (name.to_owned(), value.into_owned()));
        let text = |labels: &[(String, String)]| {
            let parts: Vec<String> =
                labels.iter().map(|(n, v)| format!("{n}=\"{}\"", stopwatt_core::label::escaped(v))).collect();
            parts.join(",")
        };
        let (name, value) = if sample.name == GAPS {
            let others: Vec<_> = labels().filter(|(n, _)| n != "le").collect();
            let series = text(&others);
            let before = if below.0 == series { below.1 } else { 0.0 };
            below = (series, sample.value);
            // A bucket that is lower than the one before was read in the middle of an observation.
            (GAP_BINS, (sample.value - before).max(0.0))
        } else if sample.name.ends_with("_bucket") {
            continue;
        } else {
            (sample.name, sample.value)
        };
        let labels: Vec<_> = labels().collect();
        let (name, labels) = (Some(name.into()), Some(text(&labels).into()));
        rows.push(SampleRow { at_unix_ns, name, labels, value });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::table::{decode, encode};
    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        let full = RequestRow {
            received_unix_ns: 1_700_000_000_000_000_123,
            ttft_s: Some(0.25),
            tpot_s: Some(0.01),
            e2e_s: 1.5,
            upstream: Some("a".into()),
            variant: Some("b".into()),
            model: Some("모델".into()),
            path: Some("/v1/completions".into()),
            status: 200,
            end: Some("answered".into()),
            finish: Some("stop".into()),
            committed: true,
            streamed: true,
            attempts: 2,
            prompt_tokens: Some(u32::MAX),
            cached_tokens: Some(3),
            tokens: 7,
            session: Some(u64::MAX),
            user: Some(0),
            template: Some(1 << 63),
            prompt_version: Some("v2".into()),
            cost_dollars: Some(1e-6),
        };
        let rows = vec![full.clone(), RequestRow::default(), full];
        let bytes = encode(&rows).unwrap();
        assert_eq!(decode::<RequestRow>(bytes.into()).unwrap(), rows);
        assert!(decode::<SampleRow>(encode(&rows).unwrap().into()).unwrap()[0].name.is_none());
        assert!(decode::<RequestRow>(bytes::Bytes::from_static(b"PAR1 no such thing")).is_err());
    }

    #[test]
    fn gaps_are_kept_bin_by_bin_and_other_buckets_not_at_all() {
        let page = "stopwatt_itl_seconds_bucket{upstream=\"a\",le=\"0.01\"} 3\n\
            stopwatt_itl_seconds_bucket{upstream=\"a\",le=\"+Inf\"} 10\n\
            stopwatt_itl_seconds_bucket{upstream=\"b\",le=\"0.01\"} 4\n\
            stopwatt_ttft_seconds_bucket{upstream=\"a\",le=\"+Inf\"} 9\n\
            stopwatt_ttft_seconds_count{upstream=\"a\"} 9\nx NaN\n";
        let rows = of_page(page, 5);
        let seen: Vec<_> = rows.iter().map(|r| (r.name.as_deref().unwrap(), r.value)).collect();
        assert_eq!(
            seen,
            [(GAP_BINS, 3.0), (GAP_BINS, 7.0), (GAP_BINS, 4.0), ("stopwatt_ttft_seconds_count", 9.0)]
        );
        assert_eq!(rows[0].labels.as_deref(), Some("upstream=\"a\",le=\"0.01\""));
    }

    #[test]
    fn lengths_group_by_powers_of_two() {
        let of = |n: u32| RequestRow { prompt_tokens: Some(n), ..RequestRow::default() }.length_group();
        assert_eq!(
            (of(0), of(1), of(128), of(129), of(u32::MAX)),
            (Some(1), Some(1), Some(128), Some(256), Some(u32::MAX))
        );
        assert_eq!(RequestRow::default().length_group(), None);
    }
}
