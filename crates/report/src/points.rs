//! The points of a sweep as columns that can be compared down the page: one unit a column.

use stopwatt_core::Metric;
use stopwatt_core::metrics_doc::{Estimate, MetricSummary, MetricsDoc, Point};
use stopwatt_core::text::{Lang, Text};

use crate::notes::Notes;
use crate::quantity::{Scale, count, kind, relative};
use crate::table::Cell;

/// One column: its title, and a cell a point.
#[derive(Debug)]
pub(crate) struct Column {
    /// Title, with the unit as its note.
    pub(crate) title: Cell,
    /// A cell a point, in order.
    pub(crate) cells: Vec<Cell>,
}

type Pick = fn(&MetricSummary) -> &Estimate;

/// The metrics of a sweep that fit a page, with the statistic shown.
const SHOWN: [(Metric, &str, Pick); 5] = [
    (Metric::Ttft, "p50", |m| &m.p50),
    (Metric::Tpot, "mean", |m| &m.mean),
    (Metric::E2e, "p50", |m| &m.p50),
    (Metric::E2e, "p95", |m| &m.p95),
    (Metric::OutputThroughput, "", |m| &m.mean),
];

/// The columns of the table of points; a missing interval leaves its reason in `notes`.
pub(crate) fn columns(doc: &MetricsDoc, lang: Lang, notes: &mut Notes) -> Vec<Column> {
    let points = &doc.points;
    let mut columns = load(points, lang);
    columns.extend(
        SHOWN.iter().map(|&(metric, statistic, pick)| measured(points, metric, statistic, pick, lang, notes)),
    );
    let failed = |p: &Point| Cell::plain(count(p.errors.values().sum()));
    columns.push(Column {
        title: Cell::plain(Text::FailedColumn.get(lang)),
        cells: points.iter().map(failed).collect(),
    });
    columns
}

/// What was asked for: streams or rate, input and output length; the label where these do not tell points apart.
fn load(points: &[Point], lang: Lang) -> Vec<Column> {
    let column = |title: Text, text: &dyn Fn(&Point) -> Option<String>| -> Option<Column> {
        let cells: Option<Vec<Cell>> = points.iter().map(|p| text(p).map(Cell::plain)).collect();
        Some(Column { title: Cell::plain(title.get(lang)), cells: cells? })
    };
    let first = column(Text::Concurrency, &|p| p.concurrency.map(|c| count(c.into())))
        .or_else(|| column(Text::RateColumn, &|p| p.rate_rps.map(rate)));
    let length = |of: fn(&Point) -> Option<f64>| move |p: &Point| of(p).map(|n| count(n.round() as u64));
    let names: std::collections::BTreeSet<&String> =
        points.iter().flat_map(|p| p.engine_settings.keys()).collect();
    let of_engine = names.into_iter().map(|name| Column {
        title: Cell::plain(name.clone()),
        cells: points
            .iter()
            .map(|p| Cell::plain(p.engine_settings.get(name).cloned().unwrap_or_default()))
            .collect(),
    });
    let columns: Vec<Column> = [
        first,
        column(Text::InputColumn, &length(|p| p.input)),
        column(Text::OutputColumn, &length(|p| p.output)),
    ]
    .into_iter()
    .flatten()
    .chain(of_engine)
    .collect();
    let row = |i: usize| columns.iter().map(|c| c.cells[i].main.as_str()).collect::<Vec<_>>();
    let distinct =
        (0..points.len()).map(row).collect::<std::collections::BTreeSet<_>>().len() == points.len();
    if distinct {
        return columns;
    }
    column(Text::PointColumn, &|p| Some(p.label.clone())).into_iter().collect()
}

fn measured(
    points: &[Point],
    metric: Metric,
    statistic: &str,
    pick: Pick,
    lang: Lang,
    notes: &mut Notes,
) -> Column {
    let summaries = || points.iter().map(|p| p.metrics.get(metric.name()));
    // One unit for every column of a metric, so that p50 and p95 can be compared across.
    let of_metric = SHOWN.iter().filter(|(m, ..)| *m == metric);
    let values = of_metric.flat_map(|(_, _, pick)| summaries().filter_map(|s| pick(s?).value));
    let scale = Scale::for_all(kind(metric), values);
    let name = if metric == Metric::OutputThroughput { "tok/s" } else { metric.title(lang) };
    let statistic = if statistic == "mean" { Text::Mean.get(lang) } else { statistic };
    let name = name.trim_end_matches(" latency").trim_end_matches(" 지연");
    let title = Cell { main: format!("{name} {statistic}").trim().to_owned(), note: scale.unit.to_owned() };
    let mut cell = |estimate: &Estimate| match scale.estimate(estimate) {
        Some(shown) => {
            Cell { main: shown.value, note: relative(estimate).unwrap_or_else(|| notes.of(estimate)) }
        }
        None => Cell::plain(format!("–{}", notes.of(estimate))),
    };
    let missing = Estimate::default();
    let cells = summaries().map(|s| cell(s.map_or(&missing, pick))).collect();
    Column { title, cells }
}

/// A rate as it is called in labels: a search asks for rates of sixteen digits.
fn rate(per_second: f64) -> String {
    ((per_second * 1e3).round() / 1e3).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_a_search_have_three_decimals() {
        assert_eq!([rate(78.768_631_803_291_37), rate(14.0), rate(0.25)], ["78.769", "14", "0.25"]);
    }
}
