//! `stopwatt plan`: how much of which hardware serves a traffic within its limits, and for how much.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use stopwatt_analyse::slo::{self, Statistic};
use stopwatt_core::Metric;
use stopwatt_core::clock::unix_now;
use stopwatt_predict::Precision;
use stopwatt_predict::engine::EngineVersion;
use stopwatt_predict::memory::Known;
use stopwatt_predict::plan::{Candidate, Latency, Limit, Offer, Wanted, Which, plan};
use stopwatt_predict::predict::Question;
use stopwatt_predict::simulate::Load;
use stopwatt_record::config;
use stopwatt_record::run_dir::write_atomically;
use stopwatt_report::plan_html;
use stopwatt_serving::price::PriceTable;
use stopwatt_serving::workload::{Length, Workload};

use super::engine_constants::Constants;
use super::kernel_tables::TableFlags;
use super::model_and_gpu::{ModelAndGpu, precision};
use super::predict::{EngineName, engine, version};
use super::{Failure, Format, Language, plan_text};
use crate::exit::Outcome;

/// Prices older than this are warned of.
const STALE_DAYS: i64 = 90;

/// Plan a service: devices, replicas, settings and cost for a traffic and its limits
///
/// Every combination of device, format, tensor parallelism and memory share is simulated under a rising rate until a
/// limit is passed or the queue grows; from the rate that one replica holds follow replicas, devices and cost. `sure`
/// figures hold with steps at the slow end of their 90 % interval too. Closed loops of growing size give the trade of
/// speed for a user against work of a device.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stopwatt plan --model llama-3.1-8b --gpu h100-sxm --rate 20 --input 512 --output 128 --slo 'p99 ttft < 500ms, mean tpot < 20ms'\n  \
    stopwatt plan --model llama-3.1-70b --gpu h100-sxm,h200-sxm --dtype bf16,fp8 --tp 2,4,8 --rate 5 --slo 'p95 ttft < 2s'\n  \
    stopwatt plan --model llama-3.1-8b --gpu h100-sxm --rate 50 --slo 'p99 ttft < 1s' --price h100-sxm=aws-p5.48xlarge --html plan.html")]
pub(crate) struct PlanArgs {
    /// Model: a name such as llama-3.1-8b, a `config.json` or its folder, or a TOML or YAML file of figures
    #[arg(long, value_name = "NAME|FILE")]
    model: String,
    /// Devices to choose among: names such as h100-sxm, TOML or YAML files of figures, or measured kernels
    #[arg(long, value_name = "NAME|FILE|RUN,…", value_delimiter = ',', required = true)]
    gpu: Vec<String>,
    /// Formats of weights to choose among [default: that of the model]
    #[arg(long, value_name = "FORMAT,…", value_delimiter = ',', value_parser = precision)]
    dtype: Vec<Precision>,
    /// Numbers of devices that share each layer to choose among
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1")]
    tp: Vec<u32>,
    /// Shares of the memory that the engine takes to choose among [default: the engine's own]
    #[arg(long, value_name = "SHARE,…", value_delimiter = ',')]
    gpu_memory_utilization: Vec<f64>,

    #[command(flatten, next_help_heading = "Kernels")]
    tables: TableFlags,

    /// Engine whose rules are followed
    #[arg(long, value_enum, default_value_t, help_heading = "Engine")]
    engine: EngineName,
    /// Version of the engine (vLLM)
    #[arg(long, value_name = "VERSION", default_value = "0.26", value_parser = version, help_heading = "Engine")]
    engine_version: EngineVersion,
    /// An argument of the engine in its own words, such as max_num_seqs=256; may be repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Engine")]
    engine_arg: Vec<String>,
    /// A calibration from `stopwatt predict --calibrate`
    #[arg(long, value_name = "FILE", help_heading = "Engine")]
    calibration: Option<PathBuf>,

    /// Requests a second at the busiest time, as a Poisson process
    #[arg(long, value_name = "RPS", help_heading = "Traffic")]
    rate: f64,
    /// Prompt lengths in tokens: N, LO:HI, or as `bench --input`
    #[arg(
        long,
        visible_alias = "isl",
        value_name = "LENGTH",
        default_value = "1024",
        help_heading = "Traffic"
    )]
    input: Length,
    /// Output lengths in tokens
    #[arg(
        long,
        visible_alias = "osl",
        value_name = "LENGTH",
        default_value = "128",
        help_heading = "Traffic"
    )]
    output: Length,
    /// Limits: mean, p50, p95 or p99 of ttft, tpot, itl or e2e, separated by commas
    #[arg(long, value_name = "LIMITS", help_heading = "Traffic")]
    slo: String,
    /// Share of each replica's capacity that stays free
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, help_heading = "Traffic")]
    headroom: f64,
    /// Requests of each simulation
    #[arg(long, value_name = "N", default_value_t = 500, help_heading = "Traffic")]
    requests: u32,
    /// Seed of lengths and times
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Traffic")]
    seed: u64,

    /// Price of a device, as GPU=ID with an id of the price table; several for one device are compared
    #[arg(long, value_name = "GPU=ID", help_heading = "Cost")]
    price: Vec<String>,
    /// Price table, TOML or YAML
    #[arg(long, value_name = "FILE", default_value = "prices.toml", help_heading = "Cost")]
    prices: PathBuf,

    /// Page with the table and the plot of speed for a user against work of a device
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    html: Option<PathBuf>,
    /// Language of the page
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    lang: Language,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    format: Format,
}

fn wrong(problem: String, hint: &'static str) -> anyhow::Error {
    Failure::new(Outcome::Configuration, anyhow::anyhow!(problem)).hint(hint).into()
}

/// Runs the command.
pub(crate) fn run(args: &PlanArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if !(args.rate.is_finite() && args.rate > 0.0) {
        return Err(wrong(
            format!("--rate {} is no rate", args.rate),
            "write requests a second, such as --rate 20",
        ));
    }
    if !(0.0..1.0).contains(&args.headroom) {
        return Err(wrong(
            format!("--headroom {} leaves nothing", args.headroom),
            "write a share from 0 to below 1, such as --headroom 0.2",
        ));
    }
    let wanted = Wanted { rate_rps: args.rate, limits: limits(&args.slo)?, headroom: args.headroom };
    let prices = prices(args)?;
    let candidates = candidates(args, &prices)?;
    let doc = plan(&wanted, &candidates);
    if let Some(file) = &args.html {
        let page = plan_text::page(&doc);
        write_atomically(file, plan_html(&page, args.lang.into()).as_bytes())?;
    }
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", plan_text::csv(&doc))?,
        Format::Table => write!(out, "{}", plan_text::text(&doc))?,
    }
    let serves = doc.options.iter().any(|option| option.fleet.is_some());
    Ok(if serves { Outcome::Done } else { Outcome::GateFailed })
}

/// The limits in words of the predictor.
fn limits(text: &str) -> anyhow::Result<Vec<Limit>> {
    let slos = slo::parse(text).map_err(|e| Failure::new(Outcome::Configuration, e.into()))?;
    slos.into_iter()
        .map(|slo| {
            let latency = match slo.metric {
                Metric::Ttft => Latency::Ttft,
                Metric::Tpot => Latency::Tpot,
                Metric::Itl => Latency::Itl,
                Metric::E2e => Latency::E2e,
                other => {
                    return Err(wrong(
                        format!("{} is not predicted", other.info().name),
                        "limit ttft, tpot, itl or e2e",
                    ));
                }
            };
            let which = match slo.statistic {
                Some(Statistic::Mean) => Some(Which::Mean),
                Some(Statistic::Percentile(50.0)) => Some(Which::P50),
                Some(Statistic::Percentile(95.0)) => Some(Which::P95),
                Some(Statistic::Percentile(99.0)) => Some(Which::P99),
                _ => None,
            };
            let which = which.ok_or_else(|| {
                wrong(
                    format!("`{slo}` does not say what of the values is limited"),
                    "write mean, p50, p95 or p99 before it, as in 'p99 ttft < 500ms'",
                )
            })?;
            Ok(Limit { latency, which, seconds: slo.limit })
        })
        .collect()
}

/// Device and price, as they were named.
fn prices(args: &PlanArgs) -> anyhow::Result<Vec<(String, Offer)>> {
    if args.price.is_empty() {
        return Ok(Vec::new());
    }
    let table: PriceTable = config::read_file(&args.prices).context("failed to read the price table")?;
    args.price
        .iter()
        .map(|text| {
            let (gpu, id) = text
                .split_once('=')
                .filter(|(gpu, _)| args.gpu.iter().any(|known| known == gpu))
                .ok_or_else(|| {
                    wrong(
                        format!("--price {text} names none of the devices {}", args.gpu.join(", ")),
                        "write --price GPU=ID, with GPU as in --gpu and an id of the price table",
                    )
                })?;
            let (price, _) = table.offers(id).map_err(|e| Failure::new(Outcome::Configuration, e.into()))?;
            let (spec, days) = (price.spec(), price.age_days(unix_now()));
            if days > STALE_DAYS {
                eprintln!("warning: the price `{id}` is of {}, {days} days ago", spec.date);
            }
            let offer = Offer {
                id: id.to_owned(),
                kind: spec.kind,
                currency: spec.currency.clone(),
                per_device_hour: price.per_hour() / f64::from(spec.count),
            };
            Ok((gpu.to_owned(), offer))
        })
        .collect()
}

/// Every combination, cheapest to look at first.
fn candidates(args: &PlanArgs, prices: &[(String, Offer)]) -> anyhow::Result<Vec<Candidate>> {
    let constants = Constants::read(args.calibration.as_deref())?;
    let formats: Vec<Option<Precision>> =
        if args.dtype.is_empty() { vec![None] } else { args.dtype.iter().copied().map(Some).collect() };
    let mut shares: Vec<Option<f64>> = args.gpu_memory_utilization.iter().copied().map(Some).collect();
    if shares.is_empty() {
        shares.push(None);
    }
    let mut all = Vec::new();
    for gpu in &args.gpu {
        let offers: Vec<Offer> =
            prices.iter().filter(|(of, _)| of == gpu).map(|(_, offer)| offer.clone()).collect();
        let (mut latency, mut note) = (None, None);
        for &dtype in &formats {
            for &tp in &args.tp {
                let subject = ModelAndGpu { model: args.model.clone(), gpu: gpu.clone(), dtype, tp };
                let (deployment, device) = subject.read_for_steps()?;
                if latency.is_none() {
                    latency = Some(args.tables.latency(gpu, device.clone())?);
                }
                let Some((latency, table)) = &latency else { continue };
                for share in &shares {
                    let own = share.map(|share| format!("gpu_memory_utilization={share}"));
                    let arguments: Vec<String> = args.engine_arg.iter().cloned().chain(own).collect();
                    let (mut settings, deployment) =
                        engine(args.engine, args.engine_version, &arguments, deployment.clone(), &device)?;
                    let workload = Workload::new(args.input.clone(), args.output.clone());
                    settings.hold_batches_of(workload.longest_prompt());
                    let constants = constants.of(&device, settings.version).under(args.engine);
                    note = note.or_else(|| constants.note());
                    let question = Question {
                        deployment,
                        latency: latency.clone(),
                        table: table.clone(),
                        settings,
                        corrector: constants.corrector,
                        known: Known::default(),
                        workload,
                        load: Load::Closed { concurrency: 1 },
                        requests: args.requests,
                        duration_s: None,
                        drop_first_wave: false,
                        seed: args.seed,
                        frontend: constants.frontend,
                        spreads: constants.spreads,
                    };
                    all.push(Candidate { question, offers: offers.clone() });
                }
            }
        }
        if let Some(note) = note {
            eprintln!("{gpu}: {note}");
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_need_a_statistic_that_is_predicted() {
        let found = limits("p99 ttft < 500ms, mean tpot < 0.02s").unwrap();
        assert_eq!(found[0], Limit { latency: Latency::Ttft, which: Which::P99, seconds: 0.5 });
        assert_eq!(found[1], Limit { latency: Latency::Tpot, which: Which::Mean, seconds: 0.02 });
        for (text, says) in [
            ("ttft < 1s", "does not say what"),
            ("p90 ttft < 1s", "does not say what"),
            ("error_rate < 1%", "not predicted"),
        ] {
            let problem = limits(text).unwrap_err().to_string();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }
}
