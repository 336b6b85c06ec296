//! Prices of the upstreams' machines for `stopwatt watch`.

use clap::Args;
use stopwatt_ops::upstream::Spec;

use super::Failure;
use super::price::cost_settings;
use crate::exit::Outcome;

// No doc comment: clap would show it in place of the command's own.
#[derive(Debug, Args)]
pub(crate) struct WatchCostArgs {
    /// Dollars an hour for each upstream's machine; `gpu-hour=…` of an upstream goes first
    #[arg(long, value_name = "DOLLARS", value_parser = dollars, help_heading = "Cost")]
    gpu_hour: Option<f64>,
    /// Price of each upstream's machine: an id of the price table, in USD
    #[arg(long, value_name = "ID", conflicts_with = "gpu_hour", help_heading = "Cost")]
    price: Option<String>,
    /// Price table, TOML or YAML [default: prices.toml]
    #[arg(long, value_name = "FILE", requires = "price", help_heading = "Cost")]
    prices: Option<String>,
}

fn dollars(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if value.is_finite() && value >= 0.0 { Ok(value) } else { Err("a price is not negative".to_owned()) }
}

impl WatchCostArgs {
    /// Gives a price to the upstreams that have none of their own.
    pub(crate) fn apply(&self, specs: &mut [Spec]) -> anyhow::Result<()> {
        let per_hour = match cost_settings(self.price.as_deref(), self.prices.as_deref(), None)? {
            None => self.gpu_hour,
            Some(settings) => {
                let currency = &settings.price.spec().currency;
                if currency != "USD" {
                    let problem =
                        anyhow::anyhow!("the price is in {currency}, and costs are told in dollars");
                    let hint = "write what it is in dollars: --gpu-hour 2.50";
                    return Err(Failure::new(Outcome::Configuration, problem).hint(hint).into());
                }
                Some(settings.price.per_hour())
            }
        };
        specs.iter_mut().for_each(|spec| spec.per_hour = spec.per_hour.or(per_hour));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_s_own_price_goes_first() {
        let mut specs = ["http://a,gpu-hour=1", "http://b"].map(|s| Spec::parse(s).unwrap());
        let args = WatchCostArgs { gpu_hour: Some(2.5), price: None, prices: None };
        args.apply(&mut specs).unwrap();
        assert_eq!(specs.map(|s| s.per_hour), [Some(1.0), Some(2.5)]);
        assert!(dollars("-1").is_err() && dollars("x").is_err() && dollars("NaN").is_err());
    }
}
