//! The engine's own view over time: its queue, its KV cache, and work it threw away; on the axis of the timeline.

use stopwatt_core::engine::{
    EngineCounters, KV_USAGE, PREEMPTIONS, PREFIX_CACHE_HITS_TOKENS, PREFIX_CACHE_QUERIES_TOKENS, RUNNING,
    WAITING,
};
use stopwatt_core::text::Text;
use stopwatt_core::{Nanos, text::Lang};

use super::timeline::Panels;
use crate::quantity::{Kind, Scale};
use crate::svg::{Axis, Chart, Line};

/// A value at moments in order.
type Series = Vec<(Nanos, f64)>;

/// The panels that the engine's readings support.
pub(super) fn panels(page: &Panels<'_>) -> Vec<Chart> {
    let readings = &page.facts.readings;
    let of = |key: &str| -> Series {
        readings.iter().filter_map(|(t, counters)| Some((*t, *counters.get(key)?))).collect()
    };
    let lost = of(PREEMPTIONS);
    let lost = if lost.last().map(|l| l.1) > lost.first().map(|f| f.1) { lost } else { Vec::new() };
    let queue = vec![(Text::EngineRunning, of(RUNNING)), (Text::EngineWaiting, of(WAITING))];
    let cache = vec![(Text::EngineKv, of(KV_USAGE)), (Text::EnginePrefixHits, hit_shares(readings))];
    [
        chart(page, Text::EngineQueueTitle, Text::EngineQueueCaption, Kind::Plain, queue),
        chart(page, Text::EngineKvTitle, Text::EngineKvCaption, Kind::Share, cache),
        chart(
            page,
            Text::EnginePreemptionsTitle,
            Text::Nothing,
            Kind::Plain,
            vec![(Text::EnginePreempted, lost)],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn chart(
    page: &Panels<'_>,
    title: Text,
    caption: Text,
    kind: Kind,
    series: Vec<(Text, Series)>,
) -> Option<Chart> {
    let values: Vec<f64> = series.iter().flat_map(|(_, s)| s.iter().map(|p| p.1)).collect();
    if values.is_empty() {
        return None;
    }
    let lines: Vec<Line> = series
        .into_iter()
        .zip(0..)
        .filter(|((_, s), _)| !s.is_empty())
        .map(|((name, s), color)| page.line(name, color, page.slices.largest(&s)))
        .collect();
    let lang: Lang = page.lang;
    let y = Axis::from_zero(values, Scale::of(kind, 1.), "");
    Some(page.panel(title, caption.get(lang), y, lines))
}

/// Share of the looked-up prompt tokens that were found, between one reading and the next; a reading after a restart
/// begins anew, and nothing is drawn where nothing was looked up.
fn hit_shares(readings: &[(Nanos, &EngineCounters)]) -> Series {
    let share = |pair: &[(Nanos, &EngineCounters)]| {
        let rise = |key: &str| Some(pair[1].1.get(key)? - pair[0].1.get(key)?);
        let (hits, queries) = (rise(PREFIX_CACHE_HITS_TOKENS)?, rise(PREFIX_CACHE_QUERIES_TOKENS)?);
        (queries > 0. && hits >= 0.).then(|| (pair[1].0, (hits / queries).min(1.)))
    };
    readings.windows(2).filter_map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_came_between_two_readings() {
        let counters = |queries: f64, hits: f64| -> EngineCounters {
            [(PREFIX_CACHE_QUERIES_TOKENS, queries), (PREFIX_CACHE_HITS_TOKENS, hits)]
                .map(|(k, v)| (k.to_owned(), v))
                .into()
        };
        let all = [
            counters(100., 0.),
            counters(200., 25.),
            counters(200., 25.),
            counters(50., 5.),
            counters(60., 15.),
        ];
        let readings: Vec<(Nanos, &EngineCounters)> = (0..).zip(&all).collect();
        assert_eq!(hit_shares(&readings), [(1, 0.25), (4, 1.)]);
    }
}
