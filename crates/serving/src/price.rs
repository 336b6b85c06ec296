//! Prices of machines: a table that people keep, each row with its date and source.
//!
//! Prices differ by a factor of seven for one accelerator and change by the month, so none is built in. A row is the
//! price of a whole offer (`count` accelerators together) an hour; owned hardware is turned into one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Older prices than this are called stale.
pub const STALE_DAYS: i64 = 90;
/// Hours of a year of 365 days.
const HOURS_PER_YEAR: f64 = 8760.0;

/// How a machine is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PriceKind {
    /// By the hour, without commitment.
    OnDemand,
    /// By the hour, may be taken away.
    Spot,
    /// By the hour, committed for a term.
    Reserved,
    /// Bought.
    Owned,
}

impl PriceKind {
    /// Name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::Reserved => "reserved",
            Self::Owned => "owned",
        }
    }
}

/// A price table as a file writes it: `[[price]]`, row after row.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// The rows.
    #[serde(default)]
    pub price: Vec<Price>,
}

/// A row as a file writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceSpec {
    /// Name to choose it by, unique in the table.
    pub id: String,
    /// Who sells it.
    pub provider: String,
    /// Name of the accelerator; offers are compared where it is the same.
    pub accelerator: String,
    /// Accelerators in the offer.
    pub count: u32,
    /// Currency, as `USD`.
    pub currency: String,
    /// How it is paid for.
    pub kind: PriceKind,
    /// Price of the whole offer an hour; absent for owned hardware.
    #[serde(default)]
    pub per_hour: Option<f64>,
    /// What owned hardware costs.
    #[serde(default)]
    pub owned: Option<Owned>,
    /// What interruptions of a spot offer cost; absent where they are not known.
    #[serde(default)]
    pub interruptions: Option<Interruptions>,
    /// Day the price was read, as `2026-11-22`.
    pub date: String,
    /// Where it was read.
    pub source: String,
}

/// Costs of owned hardware.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Owned {
    /// Price paid for the whole machine.
    pub purchase: f64,
    /// Years over which it is written off.
    pub years: f64,
    /// Price of a kilowatt hour.
    pub power_price_per_kwh: f64,
    /// Power usage effectiveness of the room: all power over that of the machine, at least 1.
    pub pue: f64,
    /// Mean draw of the whole machine in watts.
    pub watts: f64,
}

/// What interruptions of a spot offer cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interruptions {
    /// How often an hour, on average.
    pub per_hour: f64,
    /// Seconds without service after each: draining, a new machine, loading the model.
    pub lost_s: f64,
}

/// A checked row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "PriceSpec", into = "PriceSpec")]
pub struct Price {
    spec: PriceSpec,
    per_hour: f64,
    /// Days since 1970-01-01.
    day: i64,
}

/// Why a price cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PriceError {
    /// A number that makes no sense.
    #[error("price `{id}`: {what} is {value}, {wanted}")]
    Number {
        /// Row.
        id: String,
        /// Field.
        what: &'static str,
        /// The value.
        value: f64,
        /// What it must be.
        wanted: &'static str,
    },
    /// A field that the kind needs is missing, or one that it has no use for is there.
    #[error("price `{id}` is of kind {kind}: {problem}")]
    Kind {
        /// Row.
        id: String,
        /// Its kind.
        kind: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// Not a day.
    #[error("price `{id}`: `{date}` is not a day such as 2026-11-22")]
    Date {
        /// Row.
        id: String,
        /// The text.
        date: String,
    },
    /// Not a currency.
    #[error("price `{id}`: `{currency}` is not a currency such as USD")]
    Currency {
        /// Row.
        id: String,
        /// The text.
        currency: String,
    },
    /// No row has this name.
    #[error("no price is named `{id}`; the table has {}", if .known.is_empty() { "none".to_owned() } else { .known.join(", ") })]
    Unknown {
        /// The name.
        id: String,
        /// Names there are.
        known: Vec<String>,
    },
    /// Two rows have one name.
    #[error("two prices are named `{id}`")]
    Twice {
        /// The name.
        id: String,
    },
}

impl PriceTable {
    /// The row of this name, and the other offers of the same accelerators in the same currency.
    pub fn offers(&self, id: &str) -> Result<(Price, Vec<Price>), PriceError> {
        let mut named = self.price.iter().filter(|p| p.spec.id == id);
        let chosen = named.next().ok_or_else(|| PriceError::Unknown {
            id: id.to_owned(),
            known: self.price.iter().map(|p| p.spec.id.clone()).collect(),
        })?;
        if named.next().is_some() {
            return Err(PriceError::Twice { id: id.to_owned() });
        }
        let same = |p: &&Price| {
            let (a, b) = (&p.spec, &chosen.spec);
            a.id != b.id && (&a.accelerator, a.count, &a.currency) == (&b.accelerator, b.count, &b.currency)
        };
        Ok((chosen.clone(), self.price.iter().filter(same).cloned().collect()))
    }
}

impl Price {
    /// What the file says.
    pub fn spec(&self) -> &PriceSpec {
        &self.spec
    }

    /// Cost of an hour of service, in the row's currency.
    ///
    /// Owned hardware: purchase / (years × 8760) + watts / 1000 × PUE × price of a kilowatt hour. Spot with known
    /// interruptions: the price over the share of the hour that is not lost.
    pub fn per_hour(&self) -> f64 {
        self.per_hour
    }

    /// Whole days from the price's day to a moment, in nanoseconds since the UNIX epoch; negative for a later price.
    pub fn age_days(&self, unix_ns: i64) -> i64 {
        unix_ns.div_euclid(86_400_000_000_000) - self.day
    }
}

impl Owned {
    fn per_hour(self) -> f64 {
        self.purchase / (self.years * HOURS_PER_YEAR)
            + self.watts / 1000.0 * self.pue * self.power_price_per_kwh
    }
}

impl Interruptions {
    fn lost_share(self) -> f64 {
        self.per_hour * self.lost_s / 3600.0
    }
}

impl TryFrom<PriceSpec> for Price {
    type Error = PriceError;

    fn try_from(spec: PriceSpec) -> Result<Self, PriceError> {
        let id = || spec.id.clone();
        let number = |what, value: f64, good: bool, wanted| match value.is_finite() && good {
            true => Ok(()),
            false => Err(PriceError::Number { id: id(), what, value, wanted }),
        };
        let kind = |problem| Err(PriceError::Kind { id: id(), kind: spec.kind.name(), problem });
        number("count", f64::from(spec.count), spec.count > 0, "it must be at least 1")?;
        let listed = match (spec.kind, spec.per_hour, &spec.owned) {
            (PriceKind::Owned, None, Some(o)) => {
                number("owned.purchase", o.purchase, o.purchase >= 0.0, "it must not be negative")?;
                number("owned.years", o.years, o.years > 0.0, "it must be positive")?;
                let power = o.power_price_per_kwh;
                number("owned.power_price_per_kwh", power, power >= 0.0, "it must not be negative")?;
                number("owned.pue", o.pue, o.pue >= 1.0, "it must be at least 1")?;
                number("owned.watts", o.watts, o.watts >= 0.0, "it must not be negative")?;
                o.per_hour()
            }
            (PriceKind::Owned, ..) => return kind("write an `owned` table and no `per_hour`"),
            (_, Some(price), None) => {
                number("per_hour", price, price > 0.0, "it must be positive")?;
                price
            }
            _ => return kind("write `per_hour` and no `owned` table"),
        };
        number("cost of an hour", listed, listed > 0.0, "it must be positive")?;
        if let Some(i) = spec.interruptions {
            if spec.kind != PriceKind::Spot {
                return kind("only a spot offer has `interruptions`");
            }
            let good = i.per_hour >= 0.0 && i.lost_s >= 0.0 && i.lost_share() < 1.0;
            number("interruptions", i.lost_share(), good, "the share of time lost must lie in 0..1")?;
        }
        if !(spec.currency.len() == 3 && spec.currency.bytes().all(|b| b.is_ascii_uppercase())) {
            return Err(PriceError::Currency { id: id(), currency: spec.currency.clone() });
        }
        let day = day_of(&spec.date).ok_or_else(|| PriceError::Date { id: id(), date: spec.date.clone() })?;
        let per_hour = listed / (1.0 - spec.interruptions.map_or(0.0, Interruptions::lost_share));
        Ok(Self { spec, per_hour, day })
    }
}

impl From<Price> for PriceSpec {
    fn from(price: Price) -> Self {
        price.spec
    }
}

/// Days since 1970-01-01 of `YYYY-MM-DD`, by Howard Hinnant's `days_from_civil`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn day_of(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let mut next = |digits: usize| {
        let part = parts.next().filter(|p| p.len() == digits && p.bytes().all(|b| b.is_ascii_digit()))?;
        part.parse::<i64>().ok()
    };
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if parts.next().is_some() || !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &str) -> Result<PriceTable, toml::de::Error> {
        toml::from_str(rows)
    }

    fn row(id: &str, more: &str) -> String {
        format!(
            "[[price]]\nid = \"{id}\"\nprovider = \"P\"\naccelerator = \"A\"\ncount = 8\ncurrency = \"USD\"\n\
             date = \"2026-11-09\"\nsource = \"https://example.com/prices\"\n{more}\n"
        )
    }

    const OWNED: &str = "kind = \"owned\"\nowned = { purchase = 260000, years = 4, power_price_per_kwh = 0.15, \
                         pue = 1.4, watts = 7000 }";

    #[test]
    fn prices_of_an_hour_by_hand() {
        let per_hour = |more: &str| table(&row("x", more)).unwrap().price[0].per_hour();
        assert_eq!(per_hour("kind = \"on-demand\"\nper_hour = 55.04"), 55.04);
        // 260000 / 35040 = 7.420 091, 7 kW × 1.4 × 0.15 = 1.47.
        assert!((per_hour(OWNED) - 8.890_091).abs() < 1e-6);
        // One interruption in ten hours that costs 6 minutes: 1 % of the time is lost. 20 / 0.99 = 20.202 020.
        let spot = "kind = \"spot\"\nper_hour = 20\ninterruptions = { per_hour = 0.1, lost_s = 360 }";
        assert!((per_hour(spot) - 20.202_020).abs() < 1e-6);
    }

    #[test]
    fn offers_of_the_same_accelerators_are_found() {
        let spot = row("b", "kind = \"spot\"\nper_hour = 20.0");
        let other = row("c", "kind = \"spot\"\nper_hour = 1.0").replace("count = 8", "count = 1");
        let text = [row("a", "kind = \"on-demand\"\nper_hour = 55.04"), spot, other].concat();
        let (chosen, others) = table(&text).unwrap().offers("a").unwrap();
        assert_eq!(chosen.spec().id, "a");
        assert_eq!(others.iter().map(|p| p.spec().id.as_str()).collect::<Vec<_>>(), ["b"]);
        let unknown = table(&text).unwrap().offers("z").unwrap_err();
        assert_eq!(unknown.to_string(), "no price is named `z`; the table has a, b, c");
        let twice = table(&[text.clone(), text].concat()).unwrap().offers("a").unwrap_err();
        assert!(matches!(twice, PriceError::Twice { .. }));
    }

    #[test]
    fn days_are_counted_from_the_epoch() {
        for (text, day) in [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(11_016)),
            ("2026-11-22", Some(20_779)),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-1-1", None),
            ("2026-11-22x", None),
        ] {
            assert_eq!(day_of(text), day, "{text}");
        }
        let price = table(&row("x", "kind = \"reserved\"\nper_hour = 1")).unwrap().price[0].clone();
        assert_eq!(price.age_days(1_795_305_600_000_000_000 + 5), 13); // 2026-11-22
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "kind = \"on-demand\"",
            "kind = \"on-demand\"\nper_hour = 0",
            "kind = \"on-demand\"\nper_hour = nan",
            "kind = \"owned\"\nper_hour = 3",
            "kind = \"hourly\"\nper_hour = 3",
            "kind = \"reserved\"\nper_hour = 3\ninterruptions = { per_hour = 1, lost_s = 1 }",
            "kind = \"spot\"\nper_hour = 3\ninterruptions = { per_hour = 60, lost_s = 60 }",
            "kind = \"on-demand\"\nper_hour = 3\nper_day = 1",
        ] {
            assert!(table(&row("x", bad)).is_err(), "{bad}");
        }
        let good = row("x", "kind = \"on-demand\"\nper_hour = 3");
        assert!(table(&good).is_ok());
        for (from, to) in
            [("count = 8", "count = 0"), ("\"USD\"", "\"dollars\""), ("2026-11-09", "2026-11-31")]
        {
            assert!(table(&good.replace(from, to)).is_err(), "{to}");
        }
        assert!(table(&row("x", &OWNED.replace("1.4", "0.9"))).is_err());
    }
}
