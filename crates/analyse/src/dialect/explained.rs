//! What a metric is, in one piece: from the table of metrics and the table of other tools' terms.

use schemars::JsonSchema;
use serde::Serialize;
use stopwatt_core::Metric;
use stopwatt_core::metric::{Direction, Per};
use stopwatt_core::text::Lang;
use stopwatt_stats::quantile::needed_n;

use super::terms::{Term, differing, same_word};

/// What is true of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Explained {
    /// Name in files.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// SI unit, or `1`.
    pub unit: &'static str,
    /// Which direction is an improvement.
    pub better: Direction,
    /// Name and version of the definition.
    pub definition: &'static str,
    /// How it is made.
    pub formula: &'static str,
    /// What one value belongs to: `request`, `gap` or `trial`.
    pub per: &'static str,
    /// The statistics given, each with the smallest sample that supports it.
    pub statistics: Vec<Supported>,
    /// What other tools call it, and what sets theirs apart.
    pub elsewhere: Vec<Elsewhere>,
    /// What other tools call by the same word although it is something else.
    pub not_this: Vec<Elsewhere>,
}

/// A statistic.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Supported {
    /// Its name.
    pub name: &'static str,
    /// Smallest number of values for it to be given.
    pub needs: usize,
}

/// A number of another tool.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Elsewhere {
    /// The tool, as `--dialect` names it.
    pub dialect: &'static str,
    /// Version whose source was read.
    pub version: &'static str,
    /// As the tool prints it.
    pub name: &'static str,
    /// How the tool makes it.
    pub formula: &'static str,
    /// Our nearest metric.
    pub ours: Option<&'static str>,
    /// What sets it apart; `null` when nothing does.
    pub differs: Option<&'static str>,
}

impl Elsewhere {
    fn of(term: &Term) -> Self {
        Self {
            dialect: term.dialect.name(),
            version: term.dialect.version(),
            name: term.name,
            formula: term.formula,
            ours: term.ours.map(Metric::name),
            differs: term.differs,
        }
    }
}

impl Explained {
    /// Everything known of `metric`.
    pub fn of(metric: Metric, lang: Lang) -> Self {
        let info = metric.info();
        let quantile = |name, p| Supported { name, needs: needed_n(p) };
        Self {
            name: info.name,
            title: metric.title(lang),
            unit: info.unit,
            better: info.better,
            definition: info.definition,
            formula: metric.formula(lang),
            per: match info.per {
                Per::Request => "request",
                Per::Gap => "gap",
                Per::Trial => "trial",
            },
            statistics: vec![
                Supported { name: "mean", needs: 1 },
                Supported { name: "std", needs: 2 },
                Supported { name: "min", needs: 1 },
                Supported { name: "max", needs: 1 },
                quantile("p50", 0.5),
                quantile("p95", 0.95),
                quantile("p99", 0.99),
                quantile("p999", 0.999),
            ],
            elsewhere: differing(metric).map(Elsewhere::of).collect(),
            not_this: same_word(metric).map(Elsewhere::of).collect(),
        }
    }
}
