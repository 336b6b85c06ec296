//! How long inputs and outputs were.

use stopwatt_core::text::{Lang, Text};
use stopwatt_core::{Metric, RequestRow};

use super::say;
use crate::quantity::{Kind, Scale, count};
use crate::svg::{Axis, Chart, Height, Layer};

/// Bars of a histogram, at most.
const BARS: u32 = 32;

/// One plot for inputs and one for outputs, where lengths are known.
pub(super) fn charts(requests: &[&RequestRow], lang: Lang) -> Vec<Chart> {
    let input = |r: &RequestRow| r.input_usage.or((r.input_asked > 0).then_some(r.input_asked));
    let inputs = requests.iter().filter_map(|r| input(r)).collect();
    let outputs = requests.iter().filter_map(|r| r.output_tokens()).collect();
    [
        chart(Text::InputLengthTitle, Metric::InputTokens, inputs, lang),
        chart(Text::OutputLengthTitle, Metric::OutputTokens, outputs, lang),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn chart(title: Text, metric: Metric, mut lengths: Vec<u32>, lang: Lang) -> Option<Chart> {
    lengths.sort_unstable();
    let (&shortest, &longest) = (lengths.first()?, lengths.last()?);
    let width = bar_width(longest - shortest + 1);
    let first = shortest / width * width;
    let bars: Vec<(f64, f64, f64)> = (0..=(longest - first) / width)
        .map(|i| {
            let from = first + i * width;
            let inside =
                lengths.partition_point(|l| *l < from + width) - lengths.partition_point(|l| *l < from);
            (f64::from(from), f64::from(from + width), inside as f64)
        })
        .collect();
    let plain = Scale::of(Kind::Plain, 1.);
    let end = f64::from(first + ((longest - first) / width + 1) * width);
    // A single bar would fill the plot and say nothing about its place.
    let room = if bars.len() == 1 { f64::from(width) * 5. } else { 0. };
    let numbers = [shortest, lengths[lengths.len() / 2], longest].map(|n| count(n.into()));
    Some(Chart {
        title: title.get(lang).to_owned(),
        caption: say(lang, Text::LengthCaption, &[&numbers[0], &numbers[1], &numbers[2]]),
        x: Axis::range((f64::from(first) - room).max(0.), end + room, plain, Text::TokensAxis.get(lang)),
        y: Axis::from_zero(bars.iter().map(|b| b.2), plain, Text::RequestsAxis.get(lang)),
        y_ticks: true,
        layers: vec![Layer::Bars { name: metric.title(lang).to_owned(), color: 0, bars }],
        height: Height::Normal,
    })
}

/// The smallest of 1, 2, 5 × 10ⁿ that covers `span` with at most [`BARS`] bars.
fn bar_width(span: u32) -> u32 {
    let wide_enough = |w: &u32| span.div_ceil(*w) < BARS;
    (0..9).flat_map(|n| [1, 2, 5].map(|m| m * 10u32.pow(n))).find(wide_enough).unwrap_or(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_round_and_few() {
        assert_eq!([bar_width(1), bar_width(20), bar_width(100), bar_width(2000)], [1, 1, 5, 100]);
    }

    #[test]
    fn every_length_is_counted_once() {
        let chart = chart(Text::InputLengthTitle, Metric::InputTokens, (50..=150).collect(), Lang::En)
            .expect("lengths");
        let Layer::Bars { bars, .. } = &chart.layers[0] else { panic!("bars expected") };
        assert_eq!(bars.iter().map(|b| b.2).sum::<f64>(), 101.);
        assert!(bars.len() <= BARS as usize);
    }
}
