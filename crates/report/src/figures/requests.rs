//! Requests one by one: when each was sent, when its first token came, when and how it ended.
//!
//! A long run would blur, so only a stretch of it is drawn: the begin of the first measured trial at the headline
//! point, as long as single requests can be told apart.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use stopwatt_core::text::Text;
use stopwatt_core::{EndKind, Nanos, RequestRow};

use super::say;
use super::timeline::first_token;
use crate::View;
use crate::facts::Facts;
use crate::quantity::{Kind, Scale, count};
use crate::svg::{Axis, Chart, Height, Layer};

/// Requests drawn, at most.
const SHOWN: usize = 300;
/// Height of the drawing area in pixels, shared by the lanes.
const AREA: f64 = 200.;

/// The plot; none without measured requests.
pub(super) fn charts(view: &View<'_>, facts: &Facts<'_>) -> Vec<Chart> {
    let point = view.doc.headline_point.and_then(|p| u32::try_from(p).ok()).unwrap_or(0);
    let trial = facts.trials.iter().find(|t| t.point == point).map(|t| t.trial);
    let chosen = |r: &&RequestRow| r.point == point && trial.is_none_or(|t| r.trial == t);
    let mut rows: Vec<&RequestRow> = view.record.measured().iter().filter(chosen).collect();
    rows.sort_by_key(|r| (begin(r), r.id));
    let all = rows.len();
    rows.truncate(SHOWN);
    let (Some(first), Some(end)) = (rows.first().map(|r| begin(r)), rows.iter().map(|r| r.end_ns).max())
    else {
        return Vec::new();
    };
    let lanes = lanes(&rows);
    let used = lanes.iter().max().map_or(1, |l| l + 1) as f64;
    let thickness = (AREA / used * 0.7).clamp(1., 10.);
    let layer = |kind: &'static str, name: Text, spans: Vec<(f64, f64, f64)>| Layer::Spans {
        kind,
        name: name.get(view.lang).to_owned(),
        thickness,
        spans,
    };
    let seconds = |t: Nanos| t as f64 / 1e9;
    let spans = |of: &dyn Fn(&RequestRow) -> Option<(Nanos, Nanos)>| -> Vec<(f64, f64, f64)> {
        let placed = rows.iter().zip(&lanes);
        placed
            .filter_map(|(r, lane)| of(r).map(|(a, b)| (seconds(a), seconds(b), *lane as f64 + 0.5)))
            .collect()
    };
    let waiting = spans(&|r| Some((begin(r), first_token(r).unwrap_or(r.end_ns))));
    let ended = |r: &RequestRow, wanted: fn(EndKind) -> bool| {
        Some((first_token(r)?, r.end_ns)).filter(|_| wanted(r.end))
    };
    let streaming = spans(&|r| ended(r, |e| e == EndKind::Ok));
    let stopped = spans(&|r| ended(r, |e| e != EndKind::Ok && !e.is_failure()));
    // A failure may come before any token: then its whole time is drawn as failed.
    let failed =
        spans(&|r| r.end.is_failure().then(|| (first_token(r).unwrap_or_else(|| begin(r)), r.end_ns)));
    let layers = [
        layer("waiting", Text::SpanWaiting, waiting),
        layer("streaming", Text::SpanStreaming, streaming),
        layer("stopped", Text::SpanStopped, stopped),
        layer("failed", Text::SpanFailed, failed),
    ];
    let present = |l: &Layer| matches!(l, Layer::Spans { spans, .. } if !spans.is_empty());
    let caption = say(view.lang, Text::RequestsCaption, &[&count(rows.len() as u64), &count(all as u64)]);
    vec![Chart {
        title: Text::RequestsTitle.get(view.lang).to_owned(),
        caption,
        x: Axis::range(
            seconds(first),
            seconds(end),
            Scale::of(Kind::Time, 1.),
            Text::TimeAxis.get(view.lang),
        ),
        y: Axis::range(0., used, Scale::of(Kind::Plain, 1.), ""),
        y_ticks: false,
        layers: layers.into_iter().filter(present).collect(),
        height: Height::Normal,
    }]
}

fn begin(r: &RequestRow) -> Nanos {
    r.dispatched_ns.get().unwrap_or(r.intended_ns)
}

/// The lowest lane that is free when each request begins; `rows` are in order of begin.
fn lanes(rows: &[&RequestRow]) -> Vec<usize> {
    let mut busy: BinaryHeap<Reverse<(Nanos, usize)>> = BinaryHeap::new();
    let mut free = BTreeSet::new();
    let mut opened = 0;
    rows.iter()
        .map(|r| {
            while let Some(Reverse((_, lane))) =
                busy.peek().copied().filter(|Reverse((end, _))| *end <= begin(r))
            {
                busy.pop();
                free.insert(lane);
            }
            let lane = free.pop_first().unwrap_or_else(|| {
                opened += 1;
                opened - 1
            });
            busy.push(Reverse((r.end_ns, lane)));
            lane
        })
        .collect()
}
