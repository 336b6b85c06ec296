//! `stopwatt explain`: what a metric is, and what other tools mean by it.

use std::io::Write;

use clap::Args;
use stopwatt_analyse::dialect::{Elsewhere, Explained};
use stopwatt_core::Metric;
use stopwatt_core::metric::Direction;
use stopwatt_core::text::Lang;

use super::{Failure, Format, Language, csv_field};
use crate::exit::Outcome;

/// Say what a metric is: formula, unit, direction, statistics, and how other tools differ
///
/// Without a metric, lists them all.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt explain\n  stopwatt explain tpot\n  stopwatt explain itl --format json"
)]
pub(crate) struct ExplainArgs {
    /// Metric, by its name in files
    #[arg(value_name = "METRIC")]
    metric: Option<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of titles and formulas
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
}

/// Runs the command.
pub(crate) fn run(args: &ExplainArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let lang = args.lang.into();
    match &args.metric {
        None => list(args.format, lang, out)?,
        Some(name) => one(&Explained::of(super::metric(name)?, lang), args.format, out)?,
    }
    Ok(Outcome::Done)
}

fn list(format: Format, lang: Lang, out: &mut dyn Write) -> anyhow::Result<()> {
    let all: Vec<Explained> = Metric::ALL.iter().map(|m| Explained::of(*m, lang)).collect();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?,
        Format::Csv => {
            writeln!(out, "name,title,unit,better,per,definition,formula")?;
            for m in &all {
                let (title, formula) = (csv_field(m.title), csv_field(m.formula));
                let better = direction(m.better);
                writeln!(out, "{},{title},{},{better},{},{},{formula}", m.name, m.unit, m.per, m.definition)?;
            }
        }
        Format::Table => {
            for m in &all {
                writeln!(out, "{:<20} {:>4}  {}", m.name, m.unit, m.formula)?;
            }
        }
    }
    Ok(())
}

fn one(m: &Explained, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(m)?)?,
        Format::Csv => {
            writeln!(out, "metric,dialect,version,name,formula,ours,differs")?;
            let (version, formula) = (env!("CARGO_PKG_VERSION"), csv_field(m.formula));
            writeln!(out, "{0},stopwatt,{version},{1},{formula},{0},", m.name, csv_field(m.title))?;
            for e in m.elsewhere.iter().chain(&m.not_this) {
                let (name, formula) = (csv_field(e.name), csv_field(e.formula));
                let differs = csv_field(e.differs.unwrap_or_default());
                let ours = e.ours.unwrap_or_default();
                writeln!(out, "{},{},{},{name},{formula},{ours},{differs}", m.name, e.dialect, e.version)?;
            }
        }
        Format::Table => {
            writeln!(out, "{}  {}\n", m.name, m.title)?;
            writeln!(out, "  {}\n", m.formula)?;
            writeln!(out, "  unit        {}", m.unit)?;
            writeln!(out, "  better      {}", direction(m.better))?;
            writeln!(out, "  one value   a {}", m.per)?;
            writeln!(out, "  definition  {}", m.definition)?;
            let statistics: Vec<String> =
                m.statistics
                    .iter()
                    .map(|s| {
                        if s.needs > 2 {
                            format!("{} (n ≥ {})", s.name, s.needs)
                        } else {
                            s.name.to_owned()
                        }
                    })
                    .collect();
            writeln!(out, "  statistics  {}", statistics.join(", "))?;
            tools(out, "In other tools", &m.elsewhere)?;
            tools(out, "Not to be confused with", &m.not_this)?;
        }
    }
    Ok(())
}

fn tools(out: &mut dyn Write, title: &str, terms: &[Elsewhere]) -> std::io::Result<()> {
    if terms.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    for e in terms {
        writeln!(out, "  {:<15} {}: {}", e.dialect, e.name, e.formula)?;
        let differs = e.differs.unwrap_or("the same");
        writeln!(out, "  {:<15} {differs}", "")?;
    }
    Ok(())
}

fn direction(better: Direction) -> &'static str {
    match better {
        Direction::Lower => "lower",
        Direction::Higher => "higher",
        Direction::Neutral => "neither",
    }
}

/// A metric by its name.
pub(crate) fn metric(name: &str) -> anyhow::Result<Metric> {
    Metric::from_name(&name.trim().to_ascii_lowercase().replace('-', "_")).ok_or_else(|| {
        Failure::new(Outcome::Usage, anyhow::anyhow!("`{name}` is no metric"))
            .hint("`stopwatt explain` lists every metric")
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_explained_in_both_languages() {
        for &metric in Metric::ALL {
            for lang in [Lang::En, Lang::Ko] {
                for format in [Format::Table, Format::Json, Format::Csv] {
                    let mut out = Vec::new();
                    one(&Explained::of(metric, lang), format, &mut out).unwrap();
                    assert!(String::from_utf8(out).unwrap().contains(metric.name()));
                }
            }
        }
    }

    #[test]
    fn the_word_that_means_four_things_is_told_apart() {
        let itl = Explained::of(Metric::Itl, Lang::En);
        let names = |list: &[Elsewhere]| list.iter().map(|e| e.dialect).collect::<Vec<_>>();
        assert_eq!(names(&itl.elsewhere), ["vllm", "vllm-rs", "sglang"]);
        assert_eq!(names(&itl.not_this), ["guidellm", "aiperf", "inference-perf"]);
        let p999 = itl.statistics.iter().find(|s| s.name == "p999").unwrap();
        assert_eq!(p999.needs, 1000);
        assert!(metric("nonsense").is_err() && metric("TPOT").is_ok());
    }
}
