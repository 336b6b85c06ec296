//! The cost block for reading: the rows and cells that terminal and page share.

use stopwatt_core::cost::{Cost, CostAt};
use stopwatt_core::metrics_doc::Estimate;
use stopwatt_core::text::{Lang, Text, fill};

use crate::notes::Notes;
use crate::quantity::{Kind, Scale, grouped};
use crate::table::Cell;

/// `H100-PCIe × 1, 2.50 USD an hour (on-demand, 2026-08-26)`.
pub(crate) fn price_line(cost: &Cost, lang: Lang) -> String {
    let p = &cost.price;
    let offer = format!("{} × {}", p.accelerator, p.count);
    fill(
        Text::CostPrice.get(lang),
        &[
            &offer,
            &grouped(p.per_hour, 2),
            &p.currency,
            kind(&p.kind).map_or(p.kind.as_str(), |t| t.get(lang)),
            &p.date,
        ],
    )
}

/// A way of paying, in words; `None` for one of a newer version.
pub(crate) fn kind(name: &str) -> Option<Text> {
    match name {
        "on-demand" => Some(Text::PriceOnDemand),
        "spot" => Some(Text::PriceSpot),
        "reserved" => Some(Text::PriceReserved),
        "owned" => Some(Text::PriceOwned),
        _ => None,
    }
}

/// Titles of the columns.
pub(crate) fn headers(cost: &Cost, lang: Lang) -> Vec<Cell> {
    let money = |text: Text| Cell { main: text.get(lang).to_owned(), note: cost.price.currency.clone() };
    vec![
        Cell::default(),
        money(Text::CostOutput),
        money(Text::CostTotal),
        Cell { main: Text::CostInteractivity.get(lang).to_owned(), note: "tok/s".to_owned() },
        Cell::plain(Text::PointColumn.get(lang)),
    ]
}

/// The three bases, row by row.
pub(crate) fn bases(cost: &Cost, lang: Lang, notes: &mut Notes) -> Vec<Vec<Cell>> {
    [
        (Text::CostPeak, &cost.peak_goodput),
        (Text::CostMeasured, &cost.measured),
        (Text::CostIdle, &cost.idle_inclusive),
    ]
    .into_iter()
    .map(|(title, at)| row(title.get(lang), at, at.label.clone(), notes))
    .collect()
}

/// One row.
pub(crate) fn row(title: &str, at: &CostAt, last: Option<String>, notes: &mut Notes) -> Vec<Cell> {
    let mut cells = vec![Cell::plain(title)];
    cells.extend([&at.output_per_1m, &at.total_per_1m, &at.interactivity].map(|e| number(e, notes)));
    cells.push(Cell::plain(last.unwrap_or_else(|| "–".to_owned())));
    cells
}

/// An estimate with its interval, or the mark of the reason why it has none.
pub(crate) fn number(estimate: &Estimate, notes: &mut Notes) -> Cell {
    let scale = Scale::of(Kind::Plain, estimate.value.unwrap_or_default());
    match scale.estimate(estimate) {
        None => Cell::plain(format!("–{}", notes.of(estimate))),
        Some(shown) => Cell { main: shown.value, note: shown.interval.unwrap_or_else(|| notes.of(estimate)) },
    }
}
