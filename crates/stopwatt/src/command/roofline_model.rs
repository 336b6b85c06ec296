//! `stopwatt roofline --model`: what bounds a model on a device, by its figures.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use stopwatt_predict::Precision;
use stopwatt_predict::roofline::{self, Method, PartRow, Phase, RooflineDoc, RooflineSettings};
use stopwatt_record::run_dir::write_atomically;
use stopwatt_report::{ModelRooflinePage, model_roofline_html};

use super::columns::{bytes, digits, seconds, table};
use super::kernel_tables::TableFlags;
use super::model_and_gpu::ModelAndGpu;
use super::{Failure, Format, Language};
use crate::exit::Outcome;

/// What is asked.
pub(super) struct RooflineModel {
    pub(super) subject: ModelAndGpu,
    /// Kernels that are placed on the roofline.
    pub(super) tables: TableFlags,
    /// File for a page.
    pub(super) html: Option<PathBuf>,
    pub(super) lang: Language,
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
    let configuration = |e: roofline::RooflineError| Failure::new(Outcome::Configuration, e.into());
    let mut doc = roofline::analyse(&deployment, &gpu, &settings).map_err(configuration)?;
    let (latency, table) = args.tables.latency(&args.subject.gpu, gpu)?;
    if table.is_some() {
        roofline::place_kernels(&mut doc, &deployment, &latency, &settings).map_err(configuration)?;
    }
    if let Some(file) = &args.html {
        write_atomically(file, model_roofline_html(&page(&doc), args.lang.into()).as_bytes())?;
    }
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", csv(&doc))?,
        Format::Table => write!(out, "{}", text(&doc))?,
    }
    Ok(Outcome::Done)
}

/// Columns of kernels of a table.
const KERNEL_COLUMNS: [&str; 3] = ["kernels", "of the roof", "evidence"];

/// Their cells; `None` without a table.
fn kernel_cells(part: &PartRow) -> Option<[String; 3]> {
    let k = part.kernels.as_ref()?;
    Some([seconds(k.time_s), format!("{:.0} %", 100.0 * k.of_roof), k.tier.name().to_owned()])
}

/// What a part is under its roof.
fn part_cells(p: &PartRow) -> [String; 6] {
    let intensity = p.intensity.map_or_else(|| "–".to_owned(), digits);
    let share = format!("{:.1} %", 100.0 * p.share);
    let (part, bound) = (p.part.name().to_owned(), p.bound.name().to_owned());
    [part, p.calls.to_string(), intensity, bound, seconds(p.time_s), share]
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
    }
}

/// The page: the roof of the format that the weights have, and every part that computes.
fn page(doc: &RooflineDoc) -> ModelRooflinePage {
    let of_phase = |phase: Phase| {
        let points = doc.parts.iter().filter(|p| p.phase == phase && p.flop > 0.0).filter_map(|p| {
            let rate = p.kernels.as_ref().map_or(p.flop / p.time_s, |k| k.flop_s);
            Some((p.intensity?, rate))
        });
        (phase_name(phase).to_owned(), points.collect::<Vec<_>>())
    };
    let top = doc.ridges.iter().max_by(|a, b| a.flop_s.total_cmp(&b.flop_s));
    let own = doc.ridges.iter().find(|r| Some(r.dtype.as_str()) == own_format(&doc.dtype)).or(top);
    let placed = doc.parts.iter().any(|p| p.kernels.is_some());
    let header = ["step", "part", "calls", "FLOP/byte", "bound", "roof", "share"].into_iter();
    ModelRooflinePage {
        title: format!("{} · {} · {}", doc.model.name, doc.gpu.name, doc.dtype),
        bandwidth: doc.gpu.bandwidth_bytes_s,
        peak: own.map_or_else(|| (String::new(), 1.0), |r| (r.dtype.clone(), r.flop_s)),
        kernels: [Phase::Prefill, Phase::Decode].map(of_phase).into(),
        header: header
            .chain(placed.then_some(KERNEL_COLUMNS).into_iter().flatten())
            .map(str::to_owned)
            .collect(),
        rows: doc
            .parts
            .iter()
            .map(|p| {
                let kernels = kernel_cells(p).into_iter().flatten();
                std::iter::once(phase_name(p.phase).to_owned()).chain(part_cells(p)).chain(kernels).collect()
            })
            .collect(),
        notes: doc.notes.clone(),
    }
}

/// The format in which products of these weights are computed, as ridges name it.
fn own_format(dtype: &str) -> Option<&'static str> {
    Precision::parse(dtype).map(|p| p.product().input.name())
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
        let of_phase = || doc.parts.iter().filter(|p| p.phase == phase);
        let parts: Vec<[String; 6]> = of_phase().map(part_cells).collect();
        if parts.is_empty() {
            continue;
        }
        let [part, calls, intensity, bound, time, share] =
            ["part", "calls", "FLOP/byte", "bound", "time", "share"];
        let kernels: Vec<[String; 3]> = of_phase().filter_map(kernel_cells).collect();
        let told = if kernels.is_empty() {
            table([part, calls, intensity, bound, time, share], &parts)
        } else {
            let rows: Vec<[String; 9]> = parts
                .into_iter()
                .zip(kernels)
                .map(|([a, b, c, d, e, f], [g, h, i])| [a, b, c, d, e, f, g, h, i])
                .collect();
            let [time_s, of_roof, tier] = KERNEL_COLUMNS;
            table([part, calls, intensity, bound, time, share, time_s, of_roof, tier], &rows)
        };
        text += &format!("\nParts of the {title}\n{told}");
    }
    if !doc.notes.is_empty() {
        text += "\nNotes\n";
        doc.notes.iter().for_each(|note| text += &format!("  - {note}\n"));
    }
    text
}
