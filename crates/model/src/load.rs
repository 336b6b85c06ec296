//! From a source to a model that can compute, with its tokenizer.

use stopwatt_kernel::cpu::{Cpu, Precision};

use crate::config::ConfigError;
use crate::forward::Model;
use crate::random::{self, Preset};
use crate::tokenizer::Tokenizer;

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Random weights and the byte tokenizer.
    Random {
        /// Size.
        preset: Preset,
        /// Where every weight comes from.
        seed: u64,
    },
}

/// How a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// Precision of weights in memory; `None` keeps that of the file, `f32` for quantised ones and random weights.
    pub precision: Option<Precision>,
    /// Threads to compute with.
    pub threads: usize,
}

/// A model that can compute.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Name for people and for the API.
    pub name: String,
}

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The shape cannot be computed.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Loads a model.
pub fn load(source: &Source, options: &LoadOptions) -> Result<Loaded, LoadError> {
    let cpu = Cpu::new(options.threads);
    match source {
        Source::Random { preset, seed } => {
            let config = preset.config();
            let weights = random::weights(&config, *seed, options.precision.unwrap_or(Precision::F32));
            Ok(Loaded {
                model: Model::new(config, weights, cpu)?,
                tokenizer: Tokenizer::byte(),
                name: format!("stopwatt-random-{}", preset.name()),
            })
        }
    }
}
