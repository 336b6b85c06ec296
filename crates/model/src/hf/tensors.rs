//! Weights in safetensors files, whole or in shards.
//!
//! Only the header of a file is kept; each tensor is read when it is needed, so that loading takes the memory of the
//! model and one tensor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;
use stopwatt_kernel::cpu::Precision;

use super::HfError;
use crate::assemble::{Part, TensorError, Tensors};

/// A header longer than this is refused (the reference implementation's limit too).
const MAX_HEADER: u64 = 100_000_000;
const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

#[derive(Debug, Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The tensors of a folder.
#[derive(Debug)]
pub(super) struct Shards {
    files: Vec<File>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    file: usize,
    begin: u64,
    bytes: u64,
    shape: Vec<usize>,
    kind: Dtype,
}

impl Shards {
    pub(super) fn open(folder: &Path) -> Result<Self, HfError> {
        let mut shards = Self { files: Vec::new(), tensors: BTreeMap::new() };
        if folder.join(WHOLE).is_file() {
            shards.add(folder, WHOLE)?;
            return Ok(shards);
        }
        let index: Index = super::json(folder, INDEX)?.ok_or(HfError::Missing { file: WHOLE.into() })?;
        let mut names: Vec<&String> = index.weight_map.values().collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            // A shard is a file of this folder; anything else could point outside.
            if Path::new(name).file_name().is_none_or(|file| file != name.as_str()) {
                return Err(HfError::ShardName { name: name.clone() });
            }
            shards.add(folder, name)?;
        }
        Ok(shards)
    }

    fn add(&mut self, folder: &Path, name: &str) -> Result<(), HfError> {
        let read = |source| HfError::Read { file: name.to_owned(), source };
        let damaged = |source| HfError::Json { file: name.to_owned(), source };
        let mut file = File::open(folder.join(name)).map_err(read)?;
        let total = file.metadata().map_err(read)?.len();
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(read)?;
        let length = u64::from_le_bytes(head);
        if length > MAX_HEADER || length > total.saturating_sub(8) {
            return Err(HfError::Header { file: name.to_owned(), bytes: length });
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(read)?;
        // Reading it checks that offsets, shapes and types agree.
        let metadata: Metadata = serde_json::from_slice(&header).map_err(damaged)?;
        let data = 8 + length;
        for (tensor, info) in metadata.tensors() {
            let (begin, end) = (data + info.data_offsets.0 as u64, data + info.data_offsets.1 as u64);
            if end > total {
                return Err(HfError::Truncated { file: name.to_owned(), tensor });
            }
            let entry = Entry {
                file: self.files.len(),
                begin,
                bytes: end - begin,
                shape: info.shape.clone(),
                kind: info.dtype,
            };
            self.tensors.insert(tensor, entry);
        }
        self.files.push(file);
        Ok(())
    }
}

fn precision(kind: Dtype) -> Option<Precision> {
    match kind {
        Dtype::F32 => Some(Precision::F32),
        Dtype::BF16 => Some(Precision::Bf16),
        Dtype::F16 => Some(Precision::F16),
        _ => None,
    }
}

impl Tensors for Shards {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn name_of(&self, part: Part) -> String {
        let (layer, name) = match part {
            Part::Embedding => return "model.embed_tokens.weight".into(),
            Part::Norm => return "model.norm.weight".into(),
            Part::Head => return "lm_head.weight".into(),
            Part::AttentionNorm(l) => (l, "input_layernorm"),
            Part::Query(l) => (l, "self_attn.q_proj"),
            Part::Key(l) => (l, "self_attn.k_proj"),
            Part::Value(l) => (l, "self_attn.v_proj"),
            Part::AttentionOut(l) => (l, "self_attn.o_proj"),
            Part::FfnNorm(l) => (l, "post_attention_layernorm"),
            Part::Gate(l) => (l, "mlp.gate_proj"),
            Part::Up(l) => (l, "mlp.up_proj"),
            Part::Down(l) => (l, "mlp.down_proj"),
        };
        format!("model.layers.{layer}.{name}.weight")
    }

    fn precision(&self) -> Precision {
        let query = self.tensors.get(&self.name_of(Part::Query(0)));
        query.and_then(|t| precision(t.kind)).unwrap_or(Precision::F32)
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|t| t.shape.clone())
    }

    fn read(&mut self, _: Part, name: &str, out: &mut Vec<f32>) -> Result<(), TensorError> {
        let entry = &self.tensors[name];
        let Some(precision) = precision(entry.kind) else {
            return Err(TensorError::Kind { name: name.to_owned(), kind: format!("{:?}", entry.kind) });
        };
        let mut raw = vec![0; entry.bytes as usize];
        let file = &mut self.files[entry.file];
        file.seek(SeekFrom::Start(entry.begin))
            .and_then(|_| file.read_exact(&mut raw))
            .map_err(|source| TensorError::Read { name: name.to_owned(), source })?;
        out.clear();
        match precision {
            Precision::F32 => {
                out.extend(raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            }
            Precision::Bf16 => {
                out.extend(raw.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()))
            }
            Precision::F16 => {
                out.extend(raw.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()))
            }
        }
        Ok(())
    }
}
