//! The price of the machine: a name and a table on the command line, a checked offer in the analysis.

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use stopwatt_analyse::CostSettings;
use stopwatt_record::config;
use stopwatt_serving::price::PriceTable;

use super::Failure;
use crate::exit::Outcome;

/// Table that is read where none is named.
const DEFAULT_TABLE: &str = "prices.toml";

// No doc comment: clap would show it in place of the command's own.
#[derive(Debug, Clone, Args)]
pub(crate) struct PriceArgs {
    /// Price of the machine: an id of the price table; adds what tokens cost to the result
    #[arg(long, value_name = "ID", help_heading = "Cost")]
    pub(crate) price: Option<String>,
    /// Price table, TOML or YAML [default: prices.toml]
    #[arg(long, value_name = "FILE", help_heading = "Cost")]
    pub(crate) prices: Option<String>,
    /// Share of time in which the machine really serves, for the cost with idle time
    #[arg(long, value_name = "SHARE", help_heading = "Cost")]
    pub(crate) utilisation: Option<f64>,
}

/// Reads the table and chooses the offer; `None` when no price is asked for.
pub(crate) fn cost_settings(
    price: Option<&str>,
    prices: Option<&str>,
    utilisation: Option<f64>,
) -> anyhow::Result<Option<CostSettings>> {
    let wrong = |problem: &'static str, hint: &'static str| -> anyhow::Result<Option<CostSettings>> {
        Err(Failure::new(Outcome::Configuration, anyhow::anyhow!(problem)).hint(hint).into())
    };
    if utilisation.is_some_and(|u| !(u > 0.0 && u <= 1.0)) {
        return wrong(
            "the share of time in use must lie above 0 and up to 1",
            "write --utilisation 0.4 for 40 %",
        );
    }
    let Some(id) = price else {
        return match prices.is_some() || utilisation.is_some() {
            true => wrong(
                "a price table or a utilisation without a price",
                "choose a row of the table with --price ID",
            ),
            false => Ok(None),
        };
    };
    let path = Path::new(prices.unwrap_or(DEFAULT_TABLE));
    let table: PriceTable = config::read_file(path).context("failed to read the price table")?;
    let (price, others) = table.offers(id).map_err(|e| {
        Failure::new(Outcome::Configuration, e.into()).hint("rows are named by their `id`; see docs/cost.md")
    })?;
    Ok(Some(CostSettings { price, others, utilisation }))
}
