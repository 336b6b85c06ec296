//! Models in GGUF files, llama.cpp's format.
//!
//! Weights are read tensor by tensor and expanded to the precision asked for; the file is not kept open. Rotary heads,
//! whose pairs GGUF interleaves, are put back into Hugging Face's order.

mod header;
mod quant;
mod vocab;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use stopwatt_kernel::cpu::Precision;

use crate::assemble::{Part, TensorError, Tensors};
use crate::config::{ConfigError, ModelConfig, RopeScaling};
use crate::tokenizer::Tokenizer;
use header::{Header, TensorInfo};

/// Tensor that changes the rotary frequencies for long contexts.
const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// Why a GGUF file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file could not be read.
    #[error("the GGUF file cannot be read")]
    Read(#[source] std::io::Error),
    /// The file does not begin with `GGUF`.
    #[error("not a GGUF file")]
    Magic,
    /// A version this reader does not know.
    #[error("GGUF version {version} is not supported, only 2 and 3 are")]
    Version {
        /// Version of the file.
        version: u32,
    },
    /// The file is shorter than its header says.
    #[error("the GGUF file ends before its {what} does")]
    Truncated {
        /// What is cut off.
        what: String,
    },
    /// The header contradicts itself.
    #[error("the GGUF header is damaged: {what} of `{name}`")]
    Damaged {
        /// The property that is wrong.
        what: &'static str,
        /// The thing that has it.
        name: String,
    },
    /// Metadata of a type that the specification does not have.
    #[error("the GGUF header is damaged: value type {code}")]
    ValueType {
        /// Code in the file.
        code: u32,
    },
    /// A tensor in a format that is not supported.
    #[error("tensor `{name}` is stored as type {code}, which is not supported")]
    TensorType {
        /// Name of the tensor.
        name: String,
        /// Code in the file.
        code: u32,
    },
    /// A metadata value of the wrong kind.
    #[error("metadata `{key}` must be {must}")]
    Metadata {
        /// The key.
        key: String,
        /// What its value must be.
        must: &'static str,
    },
    /// A metadata key that is needed.
    #[error("metadata `{key}` is missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// A model of another architecture.
    #[error("architecture `{name}` is not supported, only `llama` is")]
    Architecture {
        /// The architecture of the file.
        name: String,
    },
    /// A property of the architecture that the forward pass does not have.
    #[error("{what} is not supported")]
    Unsupported {
        /// The property.
        what: &'static str,
    },
    /// A vocabulary other than byte-level BPE.
    #[error("vocabulary `{kind}` is not supported, only byte-level BPE (`gpt2`) is")]
    Vocabulary {
        /// Kind of vocabulary.
        kind: String,
    },
    /// An unknown way of cutting text into words.
    #[error("tokenizer variant `{name}` is not supported")]
    WordCutter {
        /// Name of the variant.
        name: String,
    },
    /// The vocabulary and merges do not fit each other.
    #[error("the tokenizer of the file cannot be built")]
    Tokenizer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The shape cannot be computed.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl GgufError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Truncated { .. } | Self::Damaged { .. } | Self::ValueType { .. } => {
                Some("download the file again")
            }
            Self::TensorType { .. } => {
                Some("use a file with F32, F16, BF16, Q4_0, Q4_1, Q8_0, Q4_K or Q6_K weights")
            }
            Self::Vocabulary { .. } | Self::WordCutter { .. } => {
                Some("load the model from its Hugging Face folder, which holds `tokenizer.json`")
            }
            _ => None,
        }
    }
}

/// An open GGUF file of a Llama-architecture model.
#[derive(Debug)]
pub(crate) struct Gguf {
    file: File,
    header: Header,
    config: ModelConfig,
}

impl Gguf {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, GgufError> {
        let file = File::open(path).map_err(GgufError::Read)?;
        let bytes = file.metadata().map_err(GgufError::Read)?.len();
        let header = Header::read(BufReader::with_capacity(1 << 16, &file), bytes)?;
        let config = config(&header)?;
        let mut gguf = Self { file, header, config };
        if gguf.header.tensors.contains_key(ROPE_DIVISORS) {
            let mut divisors = Vec::new();
            gguf.expand(ROPE_DIVISORS, &mut divisors).map_err(GgufError::Read)?;
            gguf.config.rope_scaling = RopeScaling::Divisors(divisors);
        }
        gguf.config.validate()?;
        Ok(gguf)
    }

    /// Replaces `out` by the numbers of a tensor that is there.
    fn expand(&mut self, name: &str, out: &mut Vec<f32>) -> std::io::Result<()> {
        let TensorInfo { kind, begin, bytes, .. } = self.header.tensors[name];
        // The length was checked against the file, so a header cannot make this reserve more than the file holds.
        let mut raw = vec![0; bytes as usize];
        self.file.seek(SeekFrom::Start(begin))?;
        self.file.read_exact(&mut raw)?;
        out.clear();
        kind.expand(&raw, out);
        Ok(())
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Name of the model, when the file states one.
    pub(crate) fn name(&self) -> Result<Option<&str>, GgufError> {
        self.header.text("general.name")
    }

    pub(crate) fn tokenizer(&self) -> Result<Tokenizer, GgufError> {
        vocab::tokenizer(&self.header)
    }
}

/// Reads the shape from metadata.
fn config(header: &Header) -> Result<ModelConfig, GgufError> {
    let missing = |key: &str| GgufError::Missing { key: key.to_owned() };
    let architecture = header.text("general.architecture")?.ok_or_else(|| missing("general.architecture"))?;
    if architecture != "llama" {
        return Err(GgufError::Architecture { name: architecture.to_owned() });
    }
    let count = |key: &str| header.count(key)?.ok_or_else(|| missing(key));
    let hidden = count("llama.embedding_length")?;
    let heads = count("llama.attention.head_count")?.max(1);
    let head_dim = header.count("llama.attention.key_length")?.unwrap_or(hidden / heads);
    if header.count("llama.rope.dimension_count")?.is_some_and(|d| d != head_dim) {
        return Err(GgufError::Unsupported { what: "rotary embedding of a part of each head" });
    }
    if header.count("llama.expert_count")?.is_some_and(|n| n > 0) {
        return Err(GgufError::Unsupported { what: "mixture of experts" });
    }
    let embedding = header.tensors.get("token_embd.weight").ok_or_else(|| missing("token_embd.weight"))?;
    let factor = header.number("llama.rope.scaling.factor")?.unwrap_or(1.0);
    let rope_scaling = match header.text("llama.rope.scaling.type")?.unwrap_or("none") {
        "none" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor },
        _ => return Err(GgufError::Unsupported { what: "this kind of rotary scaling" }),
    };
    Ok(ModelConfig {
        vocab: embedding.dims.get(1).copied().and_then(|v| usize::try_from(v).ok()).unwrap_or(0),
        hidden,
        layers: count("llama.block_count")?,
        heads,
        kv_heads: header.count("llama.attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        ffn: count("llama.feed_forward_length")?,
        norm_eps: header.number("llama.attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5) as f32,
        rope_theta: header.number("llama.rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling,
        max_position: count("llama.context_length")?,
    })
}

fn tensor_name(part: Part) -> String {
    let (layer, name) = match part {
        Part::Embedding => return "token_embd.weight".into(),
        Part::Norm => return "output_norm.weight".into(),
        Part::Head => return "output.weight".into(),
        Part::AttentionNorm(l) => (l, "attn_norm"),
        Part::Query(l) => (l, "attn_q"),
        Part::Key(l) => (l, "attn_k"),
        Part::Value(l) => (l, "attn_v"),
        Part::AttentionOut(l) => (l, "attn_output"),
        Part::FfnNorm(l) => (l, "ffn_norm"),
        Part::Gate(l) => (l, "ffn_gate"),
        Part::Up(l) => (l, "ffn_up"),
        Part::Down(l) => (l, "ffn_down"),
    };
    format!("blk.{layer}.{name}.weight")
}

impl Tensors for Gguf {
    fn names(&self) -> Vec<String> {
        self.header.tensors.keys().cloned().collect()
    }

    fn name_of(&self, part: Part) -> String {
        tensor_name(part)
    }

    fn precision(&self) -> Precision {
        self.header.tensors.get(&tensor_name(Part::Query(0))).map_or(Precision::F32, |t| t.kind.natural())
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let info = self.header.tensors.get(name)?;
        info.dims.iter().rev().map(|&d| usize::try_from(d).ok()).collect()
    }

    fn read(&mut self, part: Part, name: &str, out: &mut Vec<f32>) -> Result<(), TensorError> {
        self.expand(name, out).map_err(|source| TensorError::Read { name: name.to_owned(), source })?;
        if matches!(part, Part::Query(_) | Part::Key(_)) {
            split_halves(out, self.config.head_dim, self.config.hidden);
        }
        Ok(())
    }

    fn ignorable(&self, name: &str) -> bool {
        name == ROPE_DIVISORS
    }
}

/// Puts the rows of each head from pairs `(0, d/2), (1, d/2 + 1), …` into halves `0, 1, …, d/2, d/2 + 1, …`.
fn split_halves(rows: &mut [f32], head_dim: usize, width: usize) {
    for head in rows.chunks_exact_mut(head_dim * width) {
        let pairs = head.to_vec();
        for (i, row) in pairs.chunks_exact(width).enumerate() {
            let to = i / 2 + i % 2 * (head_dim / 2);
            head[to * width..][..width].copy_from_slice(row);
        }
    }
}
