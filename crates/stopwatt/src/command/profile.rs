//! `stopwatt profile`: what each kernel takes on a device.

use std::collections::{BTreeMap, HashSet};
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stopwatt_analyse::Settings;
use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes, Family, KernelTable, Op, OpKind};
use stopwatt_experiment::bench::Stop;
use stopwatt_experiment::cuda::folders;
use stopwatt_experiment::profile::{
    self, DeviceName, Event, Plan, ProfileConfig, ProfileError, grid, roofline,
};
use stopwatt_kernel::case::Device;
use stopwatt_predict::grid::{GridSettings, model_grid};
use stopwatt_predict::{Deployment, Precision};
use stopwatt_record::catalogue;
use stopwatt_record::config::{Layers, Resolved};
use stopwatt_record::kernel_table;

use super::model_and_gpu::read_model;
use super::{Failure, Format, Language, report};
use crate::exit::Outcome;
use crate::stop::Signals;

/// Measure what each kernel takes on a device, and write a run with a kernel table
///
/// Every kernel is checked against double precision first, then sampled in several rounds with others in between, each
/// until the interval of its median is narrow. What cannot be measured is a row that says why. The table is kernels.parquet in the run; docs/profile.md describes it.
#[derive(Debug, Args)]
#[command(after_help = "\
Families: linear, conv, recurrent, memory, attention, moe, collective, launch

Examples:
  stopwatt profile
  stopwatt profile --family linear,attention --full --max-minutes 10
  stopwatt profile --op linear --shape m=16,n=4096,k=4096 --shape m=17,n=4096,k=4096 --dtype f32,bf16
  stopwatt profile --op rms_norm --shape rows=512,cols=4096 --warmup 10 --iterations 100 --format csv
  stopwatt profile --device cuda --model llama-3.1-8b --cache cold
  stopwatt profile --full --resume latest")]
pub(crate) struct ProfileArgs {
    /// Device: cpu, cuda or cuda:N; torch or torch:N for the same GPU through PyTorch in the python3 on the path
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = DeviceName::parse)]
    device: DeviceName,
    /// Families of kernels [default: all]
    #[arg(long, value_name = "FAMILY,…", value_delimiter = ',', value_parser = family, help_heading = "What")]
    family: Vec<Family>,
    /// Operators, such as linear or rms_norm [default: all of the families]
    #[arg(long, value_name = "OP,…", value_delimiter = ',', value_parser = op_kind, help_heading = "What")]
    op: Vec<OpKind>,
    /// A shape of the operators, every size of it (repeatable) [default: the grid]
    #[arg(long, value_name = "SIZE=N,…", value_parser = sizes, requires = "op", help_heading = "What")]
    shape: Vec<Sizes>,
    /// The operators that vLLM runs for a model: a name such as llama-3.1-8b, a `config.json`, or a file of figures
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["shape", "full"], help_heading = "What")]
    model: Option<String>,
    /// Devices that share each layer of the model
    #[arg(long, value_name = "N", default_value_t = 1, requires = "model", help_heading = "What")]
    tp: u32,
    /// Number formats of the weights
    #[arg(long, value_name = "DTYPE,…", value_delimiter = ',', default_value = "bf16", value_parser = dtype, help_heading = "What")]
    dtype: Vec<Dtype>,
    /// The fine grid, to interpolate between, instead of a few shapes
    #[arg(long, help_heading = "What")]
    full: bool,
    /// What the caches hold: cold, warm
    #[arg(long, value_name = "STATE,…", value_delimiter = ',', default_value = "cold,warm", value_parser = cache, help_heading = "How")]
    cache: Vec<CacheState>,
    /// Threads on a CPU [default: one and all]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "How")]
    threads: Vec<u32>,
    /// Exactly so many calls before anything counts
    #[arg(long, value_name = "N", help_heading = "How")]
    warmup: Option<u32>,
    /// Exactly so many samples of one call each, instead of as many as the noise asks for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "How")]
    iterations: Option<u32>,
    /// Rounds of each kernel, set up anew and with others in between; twice as many where they disagree [default: 3, or 1
    /// with --warmup or --iterations]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "How")]
    rounds: Option<u32>,
    /// Relative half width of the median's 95 % interval at which sampling ends [default: 0.005]
    #[arg(long, value_name = "SHARE", value_parser = positive, help_heading = "How")]
    precision: Option<f64>,
    /// Longest time of one kernel, shared among its rounds [default: 1.5]
    #[arg(long, value_name = "SECONDS", value_parser = positive, help_heading = "How")]
    kernel_seconds: Option<f64>,
    /// Longest time of the whole; what is left then is left out
    #[arg(long, value_name = "MINUTES", value_parser = positive, help_heading = "How")]
    max_minutes: Option<f64>,
    /// Seed of the operands that results are checked on [default: 0]
    #[arg(long, value_name = "N", help_heading = "How")]
    seed: Option<u64>,
    /// Keep the rows of an earlier profile and measure the others
    #[arg(long, value_name = "RUN", help_heading = "How")]
    resume: Option<String>,
    /// Place the kernels under the roofs that this run of `stopwatt roofline` measured
    #[arg(long, value_name = "RUN", help_heading = "Result")]
    roofs: Option<String>,
    /// Folder of the run, also as file:///DIR; it must not exist or be empty [default: stopwatt-runs/ID]
    #[arg(long, value_name = "DIR", value_parser = super::place::folder, help_heading = "Result")]
    out: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    format: Format,
    /// Language of the report
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    lang: Language,
    /// Exit with 4 when the run is invalid
    #[arg(long, help_heading = "Result")]
    strict: bool,
    /// No progress on stderr
    #[arg(long, short, help_heading = "Result")]
    quiet: bool,
    /// Print what would be measured and stop
    #[arg(long, help_heading = "What")]
    dry_run: bool,
}

/// Sizes by name.
type Sizes = BTreeMap<String, u32>;

/// Runs the command.
pub(crate) fn run(args: &ProfileArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let resolved = settings(args)?;
    let mut devices = args.device.open(&args.threads, &folders(&[]))?;
    let ops = devices.iter().map(|d| ops(args, d.as_ref())).collect::<Result<Vec<_>, _>>()?;
    if args.dry_run {
        for op in ops.first().into_iter().flatten() {
            let weight = op.dtypes.weight.name();
            writeln!(out, "{} {} {weight}", op.kind.name(), op.shape.label())?;
        }
        return Ok(Outcome::Done);
    }
    let root = super::runs_root();
    let earlier = match &args.resume {
        None => None,
        Some(name) => {
            let path = catalogue::resolve(&root, name)?;
            let id = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
            Some((id, profile::load_rows(&path)?))
        }
    };
    let roofs = args.roofs.as_deref().map(roofs).transpose()?;
    let stop = Stop::new();
    let on_signal = stop.clone();
    let signals = Signals::install(move || on_signal.interrupt())?;
    let config = &resolved.value;
    let setup = profile::Setup {
        lock: lock(&resolved, "profile")?,
        method: config.method.method(),
        rounds: config.method.rounds(),
        seed: config.seed,
        limit_s: config.max_minutes.map(|m| m * 60.0),
        earlier,
        root: &root,
        out: args.out.clone(),
    };
    let has_graphs = args.device.has_graphs();
    let mut plans: Vec<Plan<'_>> = devices
        .iter_mut()
        .zip(ops)
        .map(|(device, ops)| Plan { device: device.as_mut(), ops, has_graphs, caches: args.cache.clone() })
        .collect();
    let mut bar = Bar::new(!args.quiet && std::io::stderr().is_terminal());
    let finished = profile::run(setup, &mut plans, &stop, &mut |event| bar.show(&event));
    bar.end();
    let finished = finished?;
    if let Some(text) = roofs {
        std::fs::write(finished.path.join(roofline::FILE), text).context("failed to write roofline.json")?;
    }
    let written = report::write(&finished.path, args.lang.into())?;
    let hardware = &written.analysed.hardware;
    match args.format {
        Format::Json => {
            let table = KernelTable {
                stopwatt: env!("CARGO_PKG_VERSION").to_owned(),
                run_id: Some(written.analysed.doc.run_id.clone()),
                rows: hardware.kernels.clone(),
            };
            writeln!(out, "{}", serde_json::to_string_pretty(&table)?)?;
        }
        Format::Csv => write!(out, "{}", kernel_table::csv(&hardware.kernels))?,
        Format::Table => {
            let files = finished.path.display().to_string();
            let style = super::terminal_style(Some(&files));
            write!(out, "{}", stopwatt_report::kernels_text(&hardware.kernels, style))?;
        }
    }
    told(&written, out, args.format)?;
    if let Some(outcome) = signals.outcome() {
        return Ok(outcome);
    }
    Ok(if args.strict && !written.analysed.doc.validity.valid {
        Outcome::MeasurementFailed
    } else {
        Outcome::Done
    })
}

/// Says what is wrong with the run, where a person reads.
pub(super) fn told(written: &report::Written, out: &mut dyn Write, format: Format) -> anyhow::Result<()> {
    if format != Format::Table {
        return Ok(());
    }
    for reason in &written.analysed.doc.validity.reasons {
        let mark = if reason.fatal { "invalid" } else { "note" };
        writeln!(out, "  {mark}: {}", reason.detail)?;
    }
    Ok(())
}

/// What is locked: every setting with its origin, and what analysis needs.
pub(super) fn lock(resolved: &Resolved<ProfileConfig>, mode: &str) -> anyhow::Result<serde_json::Value> {
    let mut lock = resolved.lock();
    let analysis = Settings { mode: mode.to_owned(), seed: resolved.value.seed, ..Settings::default() };
    if let Some(lock) = lock.as_object_mut() {
        lock.insert(stopwatt_report::ANALYSIS_KEY.to_owned(), serde_json::to_value(analysis)?);
    }
    Ok(lock)
}

fn settings(args: &ProfileArgs) -> anyhow::Result<Resolved<ProfileConfig>> {
    let list = |names: Vec<String>| (!names.is_empty()).then_some(names);
    let shape = |sizes: &Sizes| {
        sizes.iter().map(|(name, size)| format!("{name}={size}")).collect::<Vec<_>>().join(",")
    };
    let layers = Layers::<ProfileConfig>::new()
        .flag("device", "--device", Some(args.device.name()))
        .flag("family", "--family", list(args.family.iter().map(|f| f.name().to_owned()).collect()))
        .flag("op", "--op", list(args.op.iter().map(|o| o.name().to_owned()).collect()))
        .flag("shape", "--shape", list(args.shape.iter().map(shape).collect()))
        .flag("dtype", "--dtype", list(args.dtype.iter().map(|d| d.name().to_owned()).collect()))
        .flag("full", "--full", args.full.then_some(true))
        .flag("model", "--model", args.model.clone())
        .flag("tp", "--tp", (args.tp != 1).then_some(args.tp))
        .flag("cache", "--cache", list(args.cache.iter().map(|c| cache_name(*c).to_owned()).collect()))
        .flag("threads", "--threads", (!args.threads.is_empty()).then(|| args.threads.clone()))
        .flag("method.warmup", "--warmup", args.warmup)
        .flag("method.iterations", "--iterations", args.iterations)
        .flag("method.rounds", "--rounds", args.rounds)
        .flag("method.precision", "--precision", args.precision)
        .flag("method.kernel_s", "--kernel-seconds", args.kernel_seconds)
        .flag("max_minutes", "--max-minutes", args.max_minutes)
        .flag("seed", "--seed", args.seed);
    Ok(layers.resolve()?)
}

/// The operators that are asked for, in the formats of this device.
fn ops(args: &ProfileArgs, device: &dyn Device) -> anyhow::Result<Vec<Op>> {
    let formats = |kind: OpKind, dtype: Dtype| -> Dtypes { device.formats(kind, dtype) };
    let wanted = |kind: OpKind| {
        (args.family.is_empty() || args.family.contains(&kind.family()))
            && (args.op.is_empty() || args.op.contains(&kind))
    };
    let ops = if let Some(model) = &args.model {
        let ops = of_model(model, args, device)?;
        ops.into_iter().filter(|op| wanted(op.kind)).collect()
    } else if args.shape.is_empty() {
        let extent = if args.full { grid::Extent::Full } else { grid::Extent::Quick };
        let mut families: Vec<Family> =
            OpKind::ALL.into_iter().filter(|k| wanted(*k)).map(OpKind::family).collect();
        families.dedup();
        let ops = grid::default(&families, &args.dtype, extent, &formats);
        ops.into_iter().filter(|op| wanted(op.kind)).collect()
    } else {
        let mut ops = Vec::new();
        for sizes in &args.shape {
            ops.extend(grid::of_sizes(&args.op, sizes, &args.dtype, &formats)?);
        }
        ops
    };
    if ops.is_empty() {
        let reason = "no operator is in all that was asked for".to_owned();
        return Err(ProfileError::Nothing { reason }.into());
    }
    Ok(ops)
}

/// What an engine runs for a model in each of the formats.
fn of_model(model: &str, args: &ProfileArgs, device: &dyn Device) -> anyhow::Result<Vec<Op>> {
    let spec = read_model(model)?;
    let widens = device.about().kind == "cpu";
    let mut ops = Vec::new();
    for dtype in &args.dtype {
        let precision = Precision::parse(dtype.name()).ok_or_else(|| {
            let problem = anyhow!("models are not served in {}", dtype.name());
            Failure::new(Outcome::Usage, problem)
        })?;
        let deployment = Deployment::new(spec.clone(), precision, args.tp, 1)
            .map_err(|e| Failure::new(Outcome::Configuration, e.into()))?;
        let grid = model_grid(&deployment, &GridSettings::default())
            .map_err(|e| Failure::new(Outcome::Configuration, e.into()))?;
        ops.extend(grid.into_iter().map(|op| match widens {
            true => Op { dtypes: device.formats(op.kind, op.dtypes.weight), ..op },
            false => op,
        }));
    }
    let mut seen = HashSet::new();
    ops.retain(|op| seen.insert(*op));
    Ok(ops)
}

/// `roofline.json` of an earlier run, checked.
fn roofs(name: &str) -> anyhow::Result<String> {
    let path = catalogue::resolve(&super::runs_root(), name)?;
    let found = roofline::load(&path)?.ok_or_else(|| {
        Failure::new(Outcome::Usage, anyhow!("{} holds no roofline", path.display()))
            .hint("measure one with `stopwatt roofline`")
    })?;
    Ok(serde_json::to_string_pretty(&found)? + "\n")
}

fn family(text: &str) -> Result<Family, String> {
    let found = OpKind::ALL.into_iter().map(OpKind::family).find(|f| f.name() == text);
    found.ok_or_else(|| {
        "there are linear, conv, recurrent, memory, attention, moe, collective and launch".to_owned()
    })
}

fn op_kind(text: &str) -> Result<OpKind, String> {
    let names = || OpKind::ALL.map(OpKind::name).join(", ");
    OpKind::ALL.into_iter().find(|k| k.name() == text).ok_or_else(|| format!("there are {}", names()))
}

fn dtype(text: &str) -> Result<Dtype, String> {
    let names = || Dtype::ALL.map(Dtype::name).join(", ");
    Dtype::parse(text).ok_or_else(|| format!("there are {}", names()))
}

fn cache(text: &str) -> Result<CacheState, String> {
    match text {
        "cold" => Ok(CacheState::Cold),
        "warm" => Ok(CacheState::Warm),
        _ => Err("write cold, warm or both".to_owned()),
    }
}

fn cache_name(cache: CacheState) -> &'static str {
    match cache {
        CacheState::Cold => "cold",
        CacheState::Warm => "warm",
    }
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|v: &f64| v.is_finite() && *v > 0.0)
        .ok_or_else(|| "write a number above 0".to_owned())
}

fn sizes(text: &str) -> Result<Sizes, String> {
    let one = |pair: &str| {
        let (name, size) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not SIZE=N"))?;
        let size = size.trim().parse().map_err(|_| format!("`{size}` is not a size"))?;
        Ok((name.trim().to_owned(), size))
    };
    text.split(',').map(one).collect()
}

/// The line that shows where the profile is.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(visible: bool) -> Self {
        Self(visible.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template("{spinner} {pos}/{len} {bar:12} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        }))
    }

    fn show(&mut self, event: &Event<'_>) {
        let Some(bar) = &self.0 else {
            if let Event::Warning(text) = event {
                eprintln!("warning: {text}");
            }
            return;
        };
        match event {
            Event::Begins { index, of, op, units, left_s } => {
                bar.set_length(*of as u64);
                bar.set_position(*index as u64);
                let left = left_s.map_or_else(String::new, |s| format!("{:.0} s left  ", s.ceil()));
                bar.set_message(format!("{left}{} {} × {units}", op.kind.name(), op.shape.label()));
            }
            Event::Row(_) => bar.inc(1),
            Event::Warning(text) => bar.println(format!("warning: {text}")),
        }
    }

    fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_name() {
        let sizes = sizes("m=1, n=4096,k=7").unwrap();
        assert_eq!(
            sizes.into_iter().collect::<Vec<_>>(),
            [("k".into(), 7), ("m".into(), 1), ("n".into(), 4096)]
        );
        for bad in ["m", "m=", "m=x", "m=-1", ""] {
            assert!(super::sizes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_checked_and_the_choices_are_told() {
        assert_eq!(family("moe"), Ok(Family::Moe));
        assert!(family("gemm").unwrap_err().contains("linear"));
        assert_eq!(op_kind("top_k_top_p"), Ok(OpKind::TopKTopP));
        assert!(op_kind("matmul").unwrap_err().contains("linear"));
        assert!(dtype("fp64").unwrap_err().contains("bf16"));
        assert!(cache("hot").is_err() && positive("0").is_err() && positive("nan").is_err());
    }
}
