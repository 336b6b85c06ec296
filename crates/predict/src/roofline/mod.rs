//! Analytic rooflines of a model on a device: what bounds prefill and decode, and how fast they can be at best.
//!
//! ```text
//! intensity = FLOP / byte        ridge = peak FLOP/s / bandwidth
//! intensity < ridge: bound by memory, else by compute
//! ```
//!
//! Two methods, which differ on purpose ([`Method`]): [`textbook`] for a formula that is easily done by hand, [`honest`]
//! for one that counts what an engine moves. Both are bounds and not predictions: no kernel reaches the data sheet.

mod doc;
pub mod honest;
pub mod textbook;

pub use doc::{
    Bound, GpuFacts, KernelsOfPart, Method, ModelFacts, PartRow, Phase, PhaseRow, QuantRow, Ridge,
    RooflineDoc,
};

use crate::hardware::{Gpu, GpuError};
use crate::latency::{Latency, Tier};
use crate::operators::{Deployment, DeploymentError};
use crate::precision::Precision;

/// What to analyse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RooflineSettings {
    /// How bytes are counted.
    pub method: Method,
    /// Lengths of a prompt, for prefill.
    pub input_lengths: Vec<u32>,
    /// Sequences that decode together.
    pub batches: Vec<u32>,
    /// Tokens that each of them has already; only the honest method counts their cache.
    pub context: u32,
    /// Sequences of the comparison of formats.
    pub quantisation_batch: u32,
}

impl RooflineSettings {
    /// Lengths and batches of the textbook.
    #[must_use]
    pub fn new(method: Method) -> Self {
        Self {
            method,
            input_lengths: vec![128, 512, 1024, 2048, 4096],
            batches: vec![1, 4, 8, 16, 32, 64],
            context: 1024,
            quantisation_batch: 32,
        }
    }
}

/// Why there is no roofline.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RooflineError {
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The model on so many devices.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// A length or batch of 0, or one beyond all bounds.
    #[error("{what} of {found}, expected 1 to {most}")]
    Size {
        /// Which one.
        what: &'static str,
        /// Its value.
        found: u32,
        /// Most.
        most: u32,
    },
}

/// Most tokens and sequences that are analysed.
const MOST: u32 = 1 << 24;

/// The analysis.
pub fn analyse(
    deployment: &Deployment,
    gpu: &Gpu,
    settings: &RooflineSettings,
) -> Result<RooflineDoc, RooflineError> {
    let sizes = settings.input_lengths.iter().map(|&n| ("input length", n));
    let batches = settings.batches.iter().chain([&settings.quantisation_batch]).map(|&n| ("batch", n));
    for (what, found) in sizes.chain(batches).chain([("context", settings.context)]) {
        if !(1..=MOST).contains(&found) {
            return Err(RooflineError::Size { what, found, most: MOST });
        }
    }
    match settings.method {
        Method::Textbook => textbook::analyse(deployment, gpu, settings),
        Method::Honest => honest::analyse(deployment, gpu, settings),
    }
}

/// Puts the kernels of a table beside the roof of each part.
pub fn place_kernels(
    doc: &mut RooflineDoc,
    deployment: &Deployment,
    latency: &Latency,
    settings: &RooflineSettings,
) -> Result<(), RooflineError> {
    for row in &mut doc.parts {
        let shape = honest::largest(row.phase, settings);
        let (mut time_s, mut lo, mut hi, mut tier) = (0.0, 0.0, 0.0, Tier::Measured);
        for call in deployment.calls(&shape, shape.tokens())?.iter().filter(|call| call.part == row.part) {
            let (timed, count) = (latency.of(call)?, f64::from(call.count));
            time_s += timed.s * count;
            lo += timed.lo * count;
            hi += timed.hi * count;
            tier = tier.max(timed.tier);
        }
        row.kernels = Some(KernelsOfPart {
            time_s,
            interval90: [lo, hi],
            of_roof: row.time_s / time_s,
            flop_s: row.flop / time_s,
            tier,
        });
    }
    Ok(())
}

/// Formats that are compared: their names.
fn compared(deployment: &Deployment) -> Vec<Precision> {
    let base = match deployment.precision.base {
        stopwatt_core::kernel_table::Dtype::F16 => "fp16",
        _ => "bf16",
    };
    [base, "fp8", "int8", "int4"].into_iter().filter_map(Precision::parse).collect()
}

impl ModelFacts {
    fn of(deployment: &Deployment) -> Self {
        let model = &deployment.model;
        Self {
            name: model.name.clone(),
            parameters: model.parameter_count(),
            active_parameters: model.active_parameters(),
            layers: model.layers,
            hidden: model.hidden,
        }
    }
}
