//! `--model` and `--gpu`: a name that is built in, or a file.

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use stopwatt_core::kernel_table::Dtype;
use stopwatt_core::roofline::Roofline;
use stopwatt_predict::hardware::{self, Gpu, GpuSpec};
use stopwatt_predict::model::{self, ModelSpec, SummarySpec};
use stopwatt_predict::{Deployment, Precision};
use stopwatt_record::config;

use super::Failure;
use crate::exit::Outcome;

// No doc comment: clap would show it in place of the command's own.
#[derive(Debug, Clone, Args)]
pub(super) struct ModelAndGpu {
    /// Model: a name such as llama-3.1-8b, a `config.json` or its folder, or a TOML or YAML file of figures
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) model: String,
    /// Device: a name such as h100-sxm, a TOML or YAML file of figures, or measured kernels (a run of `profile` or a
    /// Parquet file)
    #[arg(long, value_name = "NAME|FILE|RUN")]
    pub(super) gpu: String,
    /// Format of weights: bf16, fp16, fp32, fp8, int8, int8-weights, int4 [default: that of the model]
    #[arg(long, value_name = "FORMAT", value_parser = precision)]
    pub(super) dtype: Option<Precision>,
    /// Devices that share each layer (tensor parallelism)
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) tp: u32,
}

pub(super) fn precision(name: &str) -> Result<Precision, String> {
    Precision::parse(name).ok_or_else(|| format!("unknown format; known are {}", Precision::NAMES.join(", ")))
}

impl ModelAndGpu {
    /// The model on so many devices, and the device.
    pub(super) fn read(&self) -> anyhow::Result<(Deployment, Gpu)> {
        let gpu = read_gpu(&self.gpu)?;
        let model = read_model(&self.model)?;
        let precision = self.dtype.unwrap_or_else(|| default_precision(&model));
        let deployment = Deployment::new(model, precision, self.tp, 1)
            .map_err(|e| Failure::new(Outcome::Configuration, e.into()))?;
        Ok((deployment, gpu))
    }
}

impl ModelAndGpu {
    /// The same, for predicting steps: the shares of the roof that operators reach are those of data sheets.
    pub(super) fn read_for_steps(&self) -> anyhow::Result<(Deployment, Gpu)> {
        let (deployment, gpu) = self.read()?;
        if gpu.basis != "datasheet" {
            let problem = anyhow::anyhow!("a measured roofline alone predicts no steps: name the device");
            let hint = "give measured kernels with --table RUN; `stopwatt roofline --model M --gpu measured:RUN` shows bounds";
            return Err(configuration(problem).hint(hint).into());
        }
        Ok((deployment, gpu))
    }
}

/// The format in which a model is published.
fn default_precision(model: &ModelSpec) -> Precision {
    let stated = model.stated_bytes_per_parameter.and_then(|bytes| match bytes {
        b if b == Dtype::I4.bytes() => Precision::parse("int4"),
        b if b == Dtype::I8.bytes() => Precision::parse("int8-weights"),
        _ => None,
    });
    model.stored.or(stated).unwrap_or(Precision::plain(model.dtype))
}

/// Whether the text names a file and not something built in.
fn is_path(text: &str) -> bool {
    let path = Path::new(text);
    path.exists() || path.extension().is_some_and(|e| ["json", "toml", "yaml", "yml"].iter().any(|x| e == *x))
}

fn configuration(error: anyhow::Error) -> Failure {
    Failure::new(Outcome::Configuration, error)
}

/// A model by name or file.
pub(super) fn read_model(text: &str) -> anyhow::Result<ModelSpec> {
    if let Some(model) = model::builtin(text) {
        return Ok(model);
    }
    if !is_path(text) {
        let names: Vec<_> = model::builtin_names().collect();
        let problem =
            anyhow::anyhow!("`{text}` is no known model and no file; known are {}", names.join(", "));
        return Err(Failure::new(Outcome::Usage, problem)
            .hint("give the model's `config.json`, or its figures in a file (docs/roofline.md)")
            .into());
    }
    let mut path = Path::new(text).to_path_buf();
    if path.is_dir() {
        path.push("config.json");
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if path.extension().is_some_and(|e| e == "json") {
        let content = std::fs::read_to_string(&path).with_context(|| format!("failed to read {text}"))?;
        let value: serde_json::Value = serde_json::from_str(&content)
            .map_err(|e| configuration(anyhow::anyhow!("{text} is not valid JSON: {e}")))?;
        // A folder's name says more than `config`.
        let folder = path.parent().and_then(Path::file_name).map(|f| f.to_string_lossy().into_owned());
        let name = folder.filter(|_| name == "config").unwrap_or(name);
        // The error itself is kept, so that its hint is found.
        return model::from_config(&name, &value).with_context(|| format!("failed to read {text}"));
    }
    let summary: SummarySpec = config::read_file(&path).with_context(|| format!("failed to read {text}"))?;
    ModelSpec::try_from(summary)
        .map_err(|e| configuration(anyhow::Error::new(e).context(format!("failed to use {text}"))).into())
}

/// A device by name or file.
pub(super) fn read_gpu(text: &str) -> anyhow::Result<Gpu> {
    if let Some(gpu) = hardware::preset(text) {
        return Ok(gpu.clone());
    }
    if let Some(run) = text.strip_prefix("measured:") {
        return measured(run);
    }
    if super::kernel_tables::is_table(text) {
        return super::kernel_tables::device_of(text);
    }
    if !is_path(text) {
        let names: Vec<_> = hardware::presets().map(|gpu| gpu.id.as_str()).collect();
        let problem =
            anyhow::anyhow!("`{text}` is no known device and no file; known are {}", names.join(", "));
        return Err(Failure::new(Outcome::Usage, problem)
            .hint("give its figures in a file (docs/roofline.md)")
            .into());
    }
    let spec: GpuSpec =
        config::read_file(Path::new(text)).with_context(|| format!("failed to read {text}"))?;
    Gpu::try_from(spec)
        .map_err(|e| configuration(anyhow::Error::new(e).context(format!("failed to use {text}"))).into())
}

/// A device by the roofline of a run: its folder, or the file in it.
fn measured(run: &str) -> anyhow::Result<Gpu> {
    let mut path = Path::new(run).to_path_buf();
    if path.is_dir() {
        path.push("roofline.json");
    }
    let content = std::fs::read_to_string(&path).map_err(|e| {
        let problem = anyhow::Error::new(e).context(format!("failed to read the measured roofline of {run}"));
        Failure::new(Outcome::Usage, problem).hint("give the folder of a run that measured one")
    })?;
    let roofline: Roofline = serde_json::from_str(&content)
        .map_err(|e| configuration(anyhow::anyhow!("{run} holds no measured roofline: {e}")))?;
    Gpu::try_from(&roofline).map_err(|e| configuration(e.into()).into())
}
