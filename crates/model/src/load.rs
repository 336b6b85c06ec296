//! From a source to a model that can compute, with its tokenizer.

use std::path::{Path, PathBuf};

use stopwatt_kernel::cpu::{Cpu, MatrixError, Precision};

use crate::assemble::{self, TensorError};
use crate::config::ConfigError;
use crate::forward::Model;
use crate::gguf::{Gguf, GgufError};
use crate::hf::{Folder, HfError};
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
    /// A GGUF file.
    Gguf(PathBuf),
    /// A folder with `config.json`, safetensors and `tokenizer.json`.
    HuggingFace(PathBuf),
}

impl Source {
    /// A GGUF file, or a Hugging Face folder where `path` is a folder.
    pub fn from_path(path: &Path) -> Self {
        if path.is_dir() { Self::HuggingFace(path.to_owned()) } else { Self::Gguf(path.to_owned()) }
    }
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
    /// The GGUF file cannot be used.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The Hugging Face folder cannot be used.
    #[error(transparent)]
    HuggingFace(#[from] HfError),
    /// The tensors do not make a model.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A matrix could not be made.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
}

impl LoadError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Gguf(error) => error.hint(),
            Self::HuggingFace(error) => error.hint(),
            _ => None,
        }
    }
}

/// Loads a model.
pub fn load(source: &Source, options: &LoadOptions) -> Result<Loaded, LoadError> {
    let cpu = Cpu::new(options.threads);
    match source {
        Source::Random { preset, seed } => {
            let config = preset.config();
            let weights = random::weights(&config, *seed, options.precision.unwrap_or(Precision::F32))?;
            Ok(Loaded {
                model: Model::new(config, weights, cpu)?,
                tokenizer: Tokenizer::byte(),
                name: format!("stopwatt-random-{}", preset.name()),
            })
        }
        Source::Gguf(path) => {
            let mut file = Gguf::open(path)?;
            let tokenizer = file.tokenizer()?;
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
            let name = stem.or(file.name()?.map(str::to_owned)).unwrap_or_default();
            let config = file.config().clone();
            let weights = assemble::weights(&mut file, &config, options.precision, None)?;
            Ok(Loaded { model: Model::new(config, weights, cpu)?, tokenizer, name })
        }
        Source::HuggingFace(path) => {
            let mut folder = Folder::open(path)?;
            let tokenizer = folder.tokenizer()?;
            let name = folder.name().unwrap_or_default();
            let (config, tied) = (folder.config().clone(), folder.tied());
            let weights = assemble::weights(folder.tensors(), &config, options.precision, Some(tied))?;
            Ok(Loaded { model: Model::new(config, weights, cpu)?, tokenizer, name })
        }
    }
}
