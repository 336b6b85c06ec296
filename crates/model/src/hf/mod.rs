//! Models in Hugging Face folders: `config.json`, safetensors, `tokenizer.json`.

mod config;
mod tensors;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::assemble::Tensors;
use crate::config::{ConfigError, ModelConfig};
use crate::tokenizer::{Specials, Tokenizer, TokenizerError};
use config::{HfConfig, OneOrMany};
use tensors::Shards;

/// Why a Hugging Face folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HfError {
    /// A file that is needed is not in the folder.
    #[error("`{file}` is not in the model's folder")]
    Missing {
        /// Name of the file.
        file: String,
    },
    /// A file could not be read.
    #[error("`{file}` cannot be read")]
    Read {
        /// Name of the file.
        file: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not the JSON it should be.
    #[error("`{file}` is not as expected")]
    Json {
        /// Name of the file.
        file: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The header of a safetensors file is longer than the file, or than any real header.
    #[error("`{file}` is not a safetensors file: its header would have {bytes} bytes")]
    Header {
        /// Name of the file.
        file: String,
        /// Length that the file states.
        bytes: u64,
    },
    /// A safetensors file is shorter than its header says.
    #[error("`{file}` ends before its tensor `{tensor}` does")]
    Truncated {
        /// Name of the file.
        file: String,
        /// Name of the tensor.
        tensor: String,
    },
    /// The index names a shard outside the folder.
    #[error("the index names a shard `{name}`, which is not a file of the folder")]
    ShardName {
        /// The name.
        name: String,
    },
    /// A model of another architecture.
    #[error("architecture `{name}` is not supported, only `llama` is")]
    Architecture {
        /// The architecture of the model.
        name: String,
    },
    /// A property of the architecture that the forward pass does not have.
    #[error("{what} is not supported")]
    Unsupported {
        /// The property.
        what: &'static str,
    },
    /// The shape cannot be computed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl HfError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Truncated { .. } | Self::Header { .. } => Some("download the file again"),
            Self::Missing { .. } => {
                Some("give a folder with `config.json`, `tokenizer.json` and `*.safetensors`")
            }
            _ => None,
        }
    }
}

/// An open folder of a Llama-architecture model.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    raw: HfConfig,
    config: ModelConfig,
    shards: Shards,
}

impl Folder {
    /// Reads the configuration and the headers of the weights.
    pub(crate) fn open(path: &Path) -> Result<Self, HfError> {
        let raw: HfConfig =
            json(path, "config.json")?.ok_or(HfError::Missing { file: "config.json".to_owned() })?;
        let config = raw.shape()?;
        Ok(Self { path: path.to_owned(), config, raw, shards: Shards::open(path)? })
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub(crate) fn tied(&self) -> bool {
        self.raw.tied()
    }

    pub(crate) fn tensors(&mut self) -> &mut dyn Tensors {
        &mut self.shards
    }

    /// Name of the folder.
    pub(crate) fn name(&self) -> Option<String> {
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        path.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// The tokenizer with its special tokens and chat template.
    pub(crate) fn tokenizer(&self) -> Result<Tokenizer, HfError> {
        #[derive(Default, Deserialize)]
        struct Generation {
            eos_token_id: Option<OneOrMany>,
        }
        #[derive(Default, Deserialize)]
        struct TokenizerConfig {
            chat_template: Option<serde_json::Value>,
        }
        let file = "tokenizer.json";
        if !self.path.join(file).is_file() {
            return Err(HfError::Missing { file: file.to_owned() });
        }
        let generation: Generation = json(&self.path, "generation_config.json")?.unwrap_or_default();
        let eos = generation.eos_token_id.map_or_else(|| self.raw.eos(), OneOrMany::into_vec);
        let described: TokenizerConfig = json(&self.path, "tokenizer_config.json")?.unwrap_or_default();
        let template = match read(&self.path, "chat_template.jinja")? {
            Some(text) => Some(text),
            None => described.chat_template.as_ref().and_then(default_template),
        };
        let specials = Specials { bos: self.raw.bos(), eos, prefix: None, template };
        Ok(Tokenizer::from_file(&self.path.join(file), specials)?)
    }
}

/// The template itself, or the one named `default` of a list.
fn default_template(value: &serde_json::Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let named = value.as_array()?.iter().find(|entry| entry["name"] == "default")?;
    named["template"].as_str().map(str::to_owned)
}

/// Text of a file of the folder; `None` when it is not there.
fn read(folder: &Path, file: &str) -> Result<Option<String>, HfError> {
    match std::fs::read_to_string(folder.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HfError::Read { file: file.to_owned(), source }),
    }
}

/// A JSON file of the folder; `None` when it is not there.
fn json<T: DeserializeOwned>(folder: &Path, file: &str) -> Result<Option<T>, HfError> {
    read(folder, file)?
        .map(|text| {
            serde_json::from_str(&text).map_err(|source| HfError::Json { file: file.to_owned(), source })
        })
        .transpose()
}
