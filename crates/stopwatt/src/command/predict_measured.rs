//! `stopwatt predict --calibrate` and `--validate`: constants from measured runs, and predictions held against them.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use stopwatt_predict::fit::{Asked, CalibrationDoc, FitError, calibrate};
use stopwatt_predict::observed::Observed;
use stopwatt_predict::predict::Question;
use stopwatt_predict::regime::Regime;
use stopwatt_predict::validate::{ErrorSummary, ValidationDoc, ValidationRow, validate};
use stopwatt_record::run_dir::write_atomically;

use super::columns::{digits, seconds, table};
use super::{Failure, Format};
use crate::exit::Outcome;

/// Reads a calibration.
pub(super) fn read(path: &Path) -> anyhow::Result<CalibrationDoc> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| {
        let problem = anyhow::Error::new(e).context(format!("{} is no calibration", path.display()));
        Failure::new(Outcome::Configuration, problem)
            .hint("make one with `stopwatt predict --calibrate RUN… --save FILE`")
            .into()
    })
}

/// Why there is no calibration, with what to try.
pub(super) fn unfitted(error: FitError) -> Failure {
    let hint = error.hint();
    let failure = Failure::new(Outcome::Configuration, error.into());
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Fits, keeps and prints.
pub(super) fn run_calibrate(
    asked: &[Asked<'_>],
    save: Option<&Path>,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let doc = calibrate(asked).map_err(unfitted)?;
    if let Some(path) = save {
        write_atomically(path, (serde_json::to_string_pretty(&doc)? + "\n").as_bytes())?;
    }
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", loads_csv(&doc))?,
        Format::Table => write!(out, "{}", calibration_text(&doc))?,
    }
    Ok(Outcome::Done)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn signed(share: f64) -> String {
    format!("{:+.1} %", 100.0 * share)
}

fn calibration_text(doc: &CalibrationDoc) -> String {
    let (c, f) = (&doc.corrector, &doc.frontend);
    let mut text = format!("{} in {} on {}, vllm {}\n\n", doc.model, doc.dtype, doc.gpu, doc.engine_version);
    text += &format!("  kernels              × {}\n", digits(c.scale));
    for (name, value) in [
        ("each step", c.per_step_s),
        ("each sequence", c.per_sequence_s),
        ("each new request", c.per_admitted_s),
        ("request, outside", f.before_s),
        ("prompt token, outside", f.per_prompt_token_s),
        ("parsing, shared", f.parsing_s),
    ] {
        text += &format!("  {name:<21}+ {}\n", seconds(value));
    }
    for (name, value) in [
        ("as a graph", c.least_graph_s),
        ("  and each sequence", c.least_graph_per_sequence_s),
        ("in pieces", c.least_pieces_s),
        ("  and each layer", c.least_pieces_per_layer_s),
        ("by kernel", c.least_eager_s),
        ("  and each layer", c.least_eager_per_layer_s),
    ] {
        text += &format!("  {name:<21}≥ {}\n", seconds(value));
    }
    let rows = Regime::ALL.map(|regime| {
        let f = doc.spreads.factors(regime);
        let range = |[lo, hi]: [f64; 2]| format!("× {} to {}", digits(lo), digits(hi));
        [regime.name().to_owned(), range(f.ttft), range(f.tpot), range(f.e2e)]
    });
    text += &format!("\n{}", table(["90 % interval", "TTFT", "TPOT", "E2E"], &rows));
    let rows: Vec<_> = doc
        .loads
        .iter()
        .map(|l| {
            let off = |said: [Option<f64>; 2]| {
                let first = said[0].map(|s| s / l.measured.ttft_s - 1.0);
                let next = said[1].zip(l.measured.tpot_s).map(|(s, m)| s / m - 1.0);
                [first, next].map(|e| e.map_or_else(|| "–".to_owned(), signed))
            };
            let ([a, b], [c, d]) = (off(l.fitted_s), off(l.left_out_s));
            let tpot = l.measured.tpot_s.map_or_else(|| "–".to_owned(), seconds);
            [l.label.clone(), seconds(l.measured.ttft_s), tpot, a, b, c, d]
        })
        .collect();
    text + &format!("\n{}", table(["load", "TTFT", "TPOT", "fit", "fit", "left out", "left out"], &rows))
}

fn loads_csv(doc: &CalibrationDoc) -> String {
    let cell = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    let mut text =
        "run,load,ttft_s,tpot_s,fitted_ttft_s,fitted_tpot_s,left_out_ttft_s,left_out_tpot_s\n".to_owned();
    for l in &doc.loads {
        text += &format!(
            "{},{},{},{},{},{},{},{}\n",
            l.run,
            super::csv_field(&l.label),
            l.measured.ttft_s,
            cell(l.measured.tpot_s),
            cell(l.fitted_s[0]),
            cell(l.fitted_s[1]),
            cell(l.left_out_s[0]),
            cell(l.left_out_s[1])
        );
    }
    text
}

/// Predicts, holds against what was measured, and prints.
pub(super) fn run_validate(
    question: &Question,
    loads: &[Observed],
    calibration: Option<&CalibrationDoc>,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    print_validation(&validate(question, loads, calibration)?, format, out)
}

/// Prints predictions against measurements.
pub(super) fn print_validation(
    doc: &ValidationDoc,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(doc)?)?,
        Format::Csv => write!(out, "{}", validation_csv(doc))?,
        Format::Table => write!(out, "{}", validation_text(doc))?,
    }
    Ok(Outcome::Done)
}

/// A value of a metric with its unit.
fn value(metric: &str, v: f64) -> String {
    if metric == "output_throughput" { format!("{} tok/s", digits(v)) } else { seconds(v) }
}

fn validation_text(doc: &ValidationDoc) -> String {
    let kernels = if doc.kernels.is_empty() { "the data sheet".to_owned() } else { doc.kernels.join(", ") };
    let constants = match &doc.calibrated_on {
        Some(model) => format!("constants fitted to runs of {model}"),
        None => "no calibration".to_owned(),
    };
    let mut text = format!(
        "{} on {}, {} {}; kernels: {kernels}; {constants}\n",
        doc.model, doc.gpu, doc.engine, doc.engine_version
    );
    for (fitted, title) in [(false, "Held out"), (true, "Fitted: these say nothing of new loads")] {
        let rows: Vec<_> = doc
            .rows
            .iter()
            .filter(|r| r.fitted == fitted)
            .map(|r| {
                let none = || "–".to_owned();
                let ValidationRow { metric, measured, predicted, interval90, error, refused, .. } = r;
                [
                    r.label.clone(),
                    metric.clone(),
                    value(metric, *measured),
                    predicted.map_or_else(none, |p| value(metric, p)),
                    interval90.map_or_else(none, |[lo, hi]| {
                        format!("[{}, {}]", value(metric, lo), value(metric, hi))
                    }),
                    error.map_or_else(none, signed),
                    refused.clone().unwrap_or_default(),
                ]
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        let header = ["load", "metric", "measured", "predicted", "90 % interval", "error", "judges nothing"];
        text += &format!("\n{title}\n{}", table(header, &rows));
        let rows: Vec<_> = doc
            .summaries
            .iter()
            .filter(|s| s.fitted == fitted)
            .map(|s| {
                let ErrorSummary { metric, n, refused, mape, bias, median, p90, .. } = s;
                [
                    metric.clone(),
                    n.to_string(),
                    refused.to_string(),
                    percent(*mape),
                    signed(*bias),
                    percent(*median),
                    percent(*p90),
                    percent(s.within_5),
                    percent(s.within_10),
                    percent(s.coverage90),
                ]
            })
            .collect();
        let header = [
            "metric",
            "loads",
            "refused",
            "MAPE",
            "bias",
            "median",
            "p90",
            "in 5 %",
            "in 10 %",
            "in interval",
        ];
        text += &format!("\n{}", table(header, &rows));
    }
    let rows: Vec<_> = doc
        .prefix_cache
        .iter()
        .map(|r| {
            let measured = r.measured_tokens.map_or_else(|| "–".to_owned(), |n| n.to_string());
            [r.label.clone(), r.prompt_tokens.to_string(), measured, r.predicted_tokens.to_string()]
        })
        .collect();
    if !rows.is_empty() {
        let header = ["load", "prompt tokens", "found in the cache, measured", "predicted"];
        text += &format!("\nPrefix cache\n{}", table(header, &rows));
    }
    text
}

pub(super) fn validation_csv(doc: &ValidationDoc) -> String {
    let cell = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    let mut text = "model,run,load,concurrency,input,output,trials,set,metric,measured,predicted,lo90,hi90,error,refused\n"
        .to_owned();
    for r in &doc.rows {
        text += &format!(
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
            super::csv_field(&doc.model),
            r.run,
            super::csv_field(&r.label),
            r.concurrency.map_or_else(String::new, |c| c.to_string()),
            r.input,
            r.output,
            r.trials,
            if r.fitted { "fitted" } else { "held_out" },
            r.metric,
            r.measured,
            cell(r.predicted),
            cell(r.interval90.map(|i| i[0])),
            cell(r.interval90.map(|i| i[1])),
            cell(r.error),
            super::csv_field(r.refused.as_deref().unwrap_or_default())
        );
    }
    text
}
