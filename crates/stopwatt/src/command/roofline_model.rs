//! `stopwatt roofline --model`: what bounds a model on a device, by its figures.

use std::io::Write;

use clap::ValueEnum;
use stopwatt_predict::roofline::{self, Method, Phase, RooflineDoc, RooflineSettings};

use super::columns::{bytes, digits, seconds, table};
use super::model_and_gpu::ModelAndGpu;
use super::{Failure, Format};
use crate::exit::Outcome;

/// What is asked.
pub(super) struct RooflineModel {
    pub(super) subject: ModelAndGpu,
    /// How operations and bytes are counted.
    pub(super) method: MethodName,
    /// Prompt lengths in tokens.
    pub(super) input_lengths: Vec<u32>,
    /// Sequences that decode together.
    pub(super) batches: Vec<u32>,
    /// Tokens that each decoding sequence has already.
    pub(super) context: u32,
    pub(super) format: Format,
}

/// How to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum MethodName {
    /// Every operator with its own shapes: weights once, cache and activations counted
    #[default]
    Honest,
    /// 2·N·tokens operations over 2·N·b bytes, as textbooks do it by hand
    Textbook,
}

/// Answers it.
pub(super) fn run(args: &RooflineModel, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let (deployment, gpu) = args.subject.read()?;
    let method = match args.method {
        MethodName::Honest => Method::Honest,
        MethodName::Textbook => Method::Textbook,
    };
    let settings = RooflineSettings {
        input_lengths: args.input_lengths.clone(),
        batches: args.batches.clone(),
        context: args.context,
        ..RooflineSettings::new(method)
    };
    let doc = roofline::analyse(&deployment, &gpu, &settings)
        .map_err(|e| Failure::new(Outcome::Configuration, e.into()))?;
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", csv(&doc))?,
        Format::Table => write!(out, "{}", text(&doc))?,
    }
    Ok(Outcome::Done)
}

fn csv(doc: &RooflineDoc) -> String {
    let mut text = "phase,tokens,sequences,context_tokens,flop,bytes,flop_per_byte,bound,latency_s,tokens_per_s,per_token_s\n"
        .to_owned();
    for r in &doc.rows {
        let (phase, context) = match r.phase {
            Phase::Prefill => ("prefill", 0),
            Phase::Decode => ("decode", doc.context_tokens),
        };
        text += &format!(
            "{phase},{},{},{context},{},{},{},{},{},{},{}\n",
            r.tokens,
            r.sequences,
            r.flop,
            r.bytes,
            r.intensity,
            r.bound.name(),
            r.latency_s,
            r.tokens_per_s,
            r.per_token_s
        );
    }
    text
}

fn text(doc: &RooflineDoc) -> String {
    let method = match doc.method {
        Method::Textbook => "textbook method",
        Method::Honest => "honest method",
    };
    let (model, gpu) = (&doc.model, &doc.gpu);
    let devices =
        if doc.tensor_parallel > 1 { format!("{} × ", doc.tensor_parallel) } else { String::new() };
    let mut text = format!("{} on {devices}{}, {}, {method}\n\n", model.name, gpu.name, doc.dtype);
    let active = match model.active_parameters < 0.999 * model.parameters {
        true => format!(", {:.2} B of them for a token", model.active_parameters / 1e9),
        false => String::new(),
    };
    text += &format!("  parameters  {:.3} B{active}\n", model.parameters / 1e9);
    text += &format!("  bandwidth   {} TB/s ({})\n", digits(gpu.bandwidth_bytes_s / 1e12), gpu.basis);
    text += &format!("  memory      {} GB\n", gpu.memory_gb);

    let ridges: Vec<_> = doc
        .ridges
        .iter()
        .map(|r| [r.dtype.clone(), format!("{} TFLOP/s", digits(r.flop_s / 1e12)), digits(r.flop_per_byte)])
        .collect();
    text += &format!("\nRidge points\n{}", table(["format", "peak", "FLOP/byte"], &ridges));

    let rows = |phase| doc.rows.iter().filter(move |r| r.phase == phase);
    let prefill: Vec<_> = rows(Phase::Prefill)
        .map(|r| {
            let (time, rate) = (seconds(r.latency_s), digits(r.tokens_per_s));
            [
                r.tokens.to_string(),
                digits(r.intensity),
                r.bound.name().to_owned(),
                time,
                rate,
                seconds(r.per_token_s),
            ]
        })
        .collect();
    let header = ["input", "FLOP/byte", "bound", "latency", "tokens/s", "per token"];
    text += &format!("\nPrefill of one prompt\n{}", table(header, &prefill));
    let decode: Vec<_> = rows(Phase::Decode)
        .map(|r| {
            let (time, rate) = (seconds(r.per_token_s), digits(r.tokens_per_s));
            [r.sequences.to_string(), digits(r.intensity), r.bound.name().to_owned(), time, rate]
        })
        .collect();
    let title = match doc.context_tokens {
        0 => "Decode".to_owned(),
        context => format!("Decode after {context} tokens"),
    };
    text +=
        &format!("\n{title}\n{}", table(["batch", "FLOP/byte", "bound", "per token", "tokens/s"], &decode));

    let formats: Vec<_> = doc
        .quantisation
        .iter()
        .map(|q| {
            let (time, rate) = (seconds(q.latency_s), digits(q.tokens_per_s));
            [q.dtype.clone(), bytes(q.weight_bytes), time, rate, format!("{:.2}×", q.speedup)]
        })
        .collect();
    let batch = doc.quantisation.first().map_or(0, |q| q.sequences);
    let header = ["weights", "bytes", "per token", "tokens/s", "speed"];
    text += &format!("\nFormats of weights, decode of {batch}\n{}", table(header, &formats));

    for (phase, title) in [(Phase::Prefill, "longest prompt"), (Phase::Decode, "largest batch")] {
        let parts: Vec<_> = doc
            .parts
            .iter()
            .filter(|p| p.phase == phase)
            .map(|p| {
                let intensity = p.intensity.map_or_else(|| "–".to_owned(), digits);
                let (time, share) = (seconds(p.time_s), format!("{:.1} %", 100.0 * p.share));
                [
                    p.part.name().to_owned(),
                    p.calls.to_string(),
                    intensity,
                    p.bound.name().to_owned(),
                    time,
                    share,
                ]
            })
            .collect();
        if !parts.is_empty() {
            let header = ["part", "calls", "FLOP/byte", "bound", "time", "share"];
            text += &format!("\nParts of the {title}\n{}", table(header, &parts));
        }
    }
    if !doc.notes.is_empty() {
        text += "\nNotes\n";
        doc.notes.iter().for_each(|note| text += &format!("  - {note}\n"));
    }
    text
}
