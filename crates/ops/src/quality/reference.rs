//! What answers were like: the numbers of the first answers, and hashes and sketches of answers to repeated prompts.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use stopwatt_quality::sketch::Sketch;
use stopwatt_quality::track::Measure;

use super::heard::Heard;

/// Version of the file.
const VERSION: u32 = 1;
/// Prompts that are remembered while a reference is learnt.
const MOST_PROMPTS: usize = 2000;
/// Answers that are remembered of each.
pub(super) const MOST_ANSWERS: usize = 4;

/// What is compared with the reference, number by number.
pub(super) const MEASURES: [Measure; 5] =
    [Measure::Chars, Measure::Rep4, Measure::Compression, Measure::Relevance, Measure::MeanLogProb];

/// The content of a file. It holds no text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct References {
    version: u32,
    /// Goes into each hash, so that hashes of two files cannot be compared.
    pub(super) salt: u64,
    pub(super) references: Vec<Reference>,
}

/// The reference of a model and a prompt version.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    pub(super) model: String,
    pub(super) prompt_version: String,
    /// Answers that it was learnt from.
    pub(super) answers: u64,
    pub(super) complete: bool,
    /// Values in order of time.
    pub(super) values: BTreeMap<Measure, Vec<f64>>,
    /// Answers to prompts by the prompt's hash.
    pub(super) prompts: BTreeMap<u64, Vec<Sketch>>,
}

/// Why a reference cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// It cannot be read.
    #[error("failed to read the reference of answers")]
    Read(#[source] io::Error),
    /// It is no such file.
    #[error("failed to understand the reference of answers")]
    Shape(#[source] serde_json::Error),
    /// It is of another version.
    #[error("the reference of answers has version {found}, and this Stopwatt reads version {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// The thread that judges.
    #[error("failed to start the thread that judges answers")]
    Thread(#[source] io::Error),
}

impl ReferenceError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Shape(_) | Self::Version { .. } => {
                Some("name another file with --quality-baseline, or remove it to learn anew")
            }
            _ => None,
        }
    }
}

impl Default for References {
    fn default() -> Self {
        let salt = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self { version: VERSION, salt, references: Vec::new() }
    }
}

impl References {
    /// Reads a file; `None` where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, ReferenceError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(ReferenceError::Read(e)),
        };
        let Head { version } = serde_json::from_slice(&bytes).map_err(ReferenceError::Shape)?;
        if version != VERSION {
            return Err(ReferenceError::Version { found: version });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(ReferenceError::Shape)
    }

    /// Writes the complete ones, beside the file first, so that readers see one or the other.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let complete = self.references.iter().filter(|r| r.complete).cloned().collect();
        let bytes = serde_json::to_vec(&Self { references: complete, ..self.clone() })?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".part");
        std::fs::write(&beside, bytes)?;
        std::fs::rename(beside, path)
    }

    pub(super) fn of(&mut self, model: &str, prompt_version: &str) -> &mut Reference {
        let same = |r: &Reference| r.model == model && r.prompt_version == prompt_version;
        let at = self.references.iter().position(same).unwrap_or_else(|| {
            self.references.push(Reference {
                model: model.to_owned(),
                prompt_version: prompt_version.to_owned(),
                ..Reference::default()
            });
            self.references.len() - 1
        });
        &mut self.references[at]
    }
}

impl Reference {
    /// Learns from an answer; `true` when that was the last of `enough`.
    pub(super) fn learn(&mut self, heard: &Heard, enough: usize) -> bool {
        self.answers += 1;
        for measure in MEASURES {
            if let Some(value) = measure.of(&heard.answer).filter(|v| v.is_finite()) {
                self.values.entry(measure).or_default().push(value);
            }
        }
        if self.prompts.len() < MOST_PROMPTS || self.prompts.contains_key(&heard.prompt) {
            let answers = self.prompts.entry(heard.prompt).or_default();
            if answers.len() < MOST_ANSWERS {
                answers.push(heard.sketch);
            }
        }
        if (self.answers as usize) < enough {
            return false;
        }
        self.complete = true;
        // A prompt that came once says nothing of how much answers agree.
        self.prompts.retain(|_, answers| answers.len() > 1);
        true
    }
}
