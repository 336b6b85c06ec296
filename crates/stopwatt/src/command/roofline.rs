//! `stopwatt roofline`: of a device, measured; of a model on a device, by figures.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use stopwatt_experiment::profile::DeviceName;
use stopwatt_predict::Precision;

use super::kernel_tables::TableFlags;
use super::model_and_gpu::{ModelAndGpu, precision};
use super::roofline_measure::{self, RooflineMeasure};
use super::roofline_model::{self, MethodName, RooflineModel};
use super::{Format, Language};
use crate::exit::Outcome;

/// Measure what a device can do at most, or say what bounds a model on a device
///
/// Without --model: operations a second by number format, bandwidth over working sets, latency of each level, reads and
/// writes mixed, strides and random places, the steps of matrix products, and what launching costs, as a run with plots
/// in report.html. With --model and --gpu nothing is measured: prefill over prompt lengths, decode over batches, formats
/// of weights against each other, and the parts of a step, as bounds and not as predictions; beside them what the kernels
/// of a table take.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt roofline
  stopwatt roofline --device cuda --full --out hardware-here
  stopwatt profile --roofs latest
  stopwatt roofline --model llama-3.1-8b --gpu h100-sxm
  stopwatt roofline --model llama-3.1-8b --gpu h100-sxm --table RUN --html roofline.html
  stopwatt roofline --model qwen2.5-7b --gpu a100-80gb --dtype fp16 --method textbook
  stopwatt roofline --model llama-3.1-8b --gpu measured:hardware-here
  stopwatt roofline --model config.json --gpu my-gpu.toml --dtype int4 --format json")]
pub(crate) struct RooflineArgs {
    /// Device: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = DeviceName::parse,
        conflicts_with = "model", help_heading = "A device, measured")]
    device: DeviceName,
    /// Threads on a CPU [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096),
        conflicts_with = "model", help_heading = "A device, measured")]
    threads: Option<u32>,
    /// Finer sizes and longer samples
    #[arg(long, conflicts_with = "model", help_heading = "A device, measured")]
    full: bool,
    /// Folder of the run, also as file:///DIR; it must not exist or be empty [default: stopwatt-runs/ID]
    #[arg(long, value_name = "DIR", value_parser = super::place::folder,
        conflicts_with = "model", help_heading = "A device, measured")]
    out: Option<PathBuf>,
    /// Language of the report, and of the page of --html
    #[arg(long, value_enum, default_value_t, help_heading = "A device, measured")]
    lang: Language,
    /// No progress on stderr
    #[arg(long, short, conflicts_with = "model", help_heading = "A device, measured")]
    quiet: bool,

    /// Model: a name such as llama-3.1-8b, a `config.json` or its folder, or a TOML or YAML file of figures
    #[arg(long, value_name = "NAME|FILE", requires = "gpu", help_heading = "A model, by figures")]
    model: Option<String>,
    /// Device: a name such as h100-sxm, a TOML or YAML file of figures, or measured:RUN
    #[arg(
        long,
        value_name = "NAME|FILE|measured:RUN",
        requires = "model",
        help_heading = "A model, by figures"
    )]
    gpu: Option<String>,
    /// Format of weights: bf16, fp16, fp32, fp8, int8, int8-weights, int4 [default: that of the model]
    #[arg(long, value_name = "FORMAT", value_parser = precision, requires = "model",
        help_heading = "A model, by figures")]
    dtype: Option<Precision>,
    /// Devices that share each layer (tensor parallelism)
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        requires = "model",
        help_heading = "A model, by figures"
    )]
    tp: u32,
    #[command(flatten, next_help_heading = "A model, by figures")]
    tables: TableFlags,
    /// File for a page with the plot: the roof, and on it the kernels of the parts
    #[arg(long, value_name = "FILE", requires = "model", help_heading = "A model, by figures")]
    html: Option<PathBuf>,
    /// How operations and bytes are counted
    #[arg(long, value_enum, default_value_t, requires = "model", help_heading = "A model, by figures")]
    method: MethodName,
    /// Prompt lengths in tokens
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "128,512,1024,2048,4096",
        requires = "model",
        help_heading = "A model, by figures"
    )]
    input_lengths: Vec<u32>,
    /// Sequences that decode together
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1,4,8,16,32,64",
        requires = "model",
        help_heading = "A model, by figures"
    )]
    batches: Vec<u32>,
    /// Tokens that each decoding sequence has already
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1024,
        requires = "model",
        help_heading = "A model, by figures"
    )]
    context: u32,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &RooflineArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if let (Some(model), Some(gpu)) = (&args.model, &args.gpu) {
        let subject = ModelAndGpu { model: model.clone(), gpu: gpu.clone(), dtype: args.dtype, tp: args.tp };
        let asked = RooflineModel {
            subject,
            tables: args.tables.clone(),
            html: args.html.clone(),
            lang: args.lang,
            method: args.method,
            input_lengths: args.input_lengths.clone(),
            batches: args.batches.clone(),
            context: args.context,
            format: args.format,
        };
        return roofline_model::run(&asked, out);
    }
    let asked = RooflineMeasure {
        device: args.device,
        threads: args.threads,
        full: args.full,
        out: args.out.clone(),
        format: args.format,
        lang: args.lang,
        quiet: args.quiet,
    };
    roofline_measure::run(&asked, out)
}
