//! From named tensors of a file to the weights of a model.
//!
//! Every tensor is checked for its shape before it is read, and every tensor of the file must have a place in the
//! model: a bias that is silently ignored would make wrong text.

use std::collections::BTreeSet;

use stopwatt_kernel::cpu::{Arena, Matrix, MatrixError, Precision};

use crate::config::ModelConfig;
use crate::weights::{Layer, Weights};

/// A tensor of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Embedding,
    Norm,
    Head,
    AttentionNorm(usize),
    Query(usize),
    Key(usize),
    Value(usize),
    AttentionOut(usize),
    FfnNorm(usize),
    Gate(usize),
    Up(usize),
    Down(usize),
}

/// Why the tensors of a file do not make a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// A tensor is not there.
    #[error("tensor `{name}` is missing")]
    Missing {
        /// Name in the file.
        name: String,
    },
    /// A tensor has another shape than the model.
    #[error("tensor `{name}` has shape {found:?}, the model needs {needed:?}")]
    Shape {
        /// Name in the file.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the model's configuration asks for.
        needed: Vec<usize>,
    },
    /// A tensor that a Llama-architecture decoder does not have.
    #[error("tensor `{name}` has no place in a Llama-architecture model")]
    Unknown {
        /// Name in the file.
        name: String,
    },
    /// A tensor of numbers that are not supported.
    #[error("tensor `{name}` is stored as {kind}, which is not supported")]
    Kind {
        /// Name in the file.
        name: String,
        /// How it is stored.
        kind: String,
    },
    /// There is no memory for a matrix.
    #[error(transparent)]
    Memory(#[from] MatrixError),
    /// The numbers could not be read.
    #[error("tensor `{name}` cannot be read")]
    Read {
        /// Name in the file.
        name: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A file with named tensors.
pub(crate) trait Tensors {
    /// Every name in the file.
    fn names(&self) -> Vec<String>;
    /// The name of a part in this kind of file.
    fn name_of(&self, part: Part) -> String;
    /// The precision that the weights are stored in.
    fn precision(&self) -> Precision;
    /// Shape of a tensor, outermost dimension first.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// Replaces `out` by the numbers of a tensor that is there.
    fn read(&mut self, part: Part, name: &str, out: &mut Vec<f32>) -> Result<(), TensorError>;
    /// Whether a tensor holds nothing that is learned.
    fn ignorable(&self, name: &str) -> bool {
        name.ends_with("rotary_emb.inv_freq")
    }
}

/// Reads every weight of a model. `tied` leaves a separate head out; `None` decides by whether the file has one.
pub(crate) fn weights(
    source: &mut dyn Tensors,
    config: &ModelConfig,
    precision: Option<Precision>,
    tied: Option<bool>,
) -> Result<Weights, TensorError> {
    let precision = precision.unwrap_or_else(|| source.precision());
    let c = config;
    let has_head = source.shape(&source.name_of(Part::Head)).is_some();
    let tied = tied.unwrap_or(!has_head);
    let mut a =
        Assembly { source, precision, used: BTreeSet::new(), arena: Arena::default(), buffer: Vec::new() };
    let weights = Weights {
        embedding: a.matrix(&[(Part::Embedding, c.vocab)], c.hidden)?,
        layers: (0..c.layers)
            .map(|l| {
                Ok(Layer {
                    attention_norm: a.vector(Part::AttentionNorm(l), c.hidden)?,
                    qkv: a.matrix(
                        &[
                            (Part::Query(l), c.query_width()),
                            (Part::Key(l), c.kv_width()),
                            (Part::Value(l), c.kv_width()),
                        ],
                        c.hidden,
                    )?,
                    attention_out: a.matrix(&[(Part::AttentionOut(l), c.hidden)], c.query_width())?,
                    ffn_norm: a.vector(Part::FfnNorm(l), c.hidden)?,
                    gate_up: a.matrix(&[(Part::Gate(l), c.ffn), (Part::Up(l), c.ffn)], c.hidden)?,
                    down: a.matrix(&[(Part::Down(l), c.hidden)], c.ffn)?,
                })
            })
            .collect::<Result<_, TensorError>>()?,
        norm: a.vector(Part::Norm, c.hidden)?,
        head: if tied { None } else { Some(a.matrix(&[(Part::Head, c.vocab)], c.hidden)?) },
    };
    let mut used = std::mem::take(&mut a.used);
    used.insert(source.name_of(Part::Head));
    let unknown =
        source.names().into_iter().filter(|name| !used.contains(name) && !source.ignorable(name)).min();
    match unknown {
        Some(name) => Err(TensorError::Unknown { name }),
        None => Ok(weights),
    }
}

struct Assembly<'a> {
    source: &'a mut dyn Tensors,
    precision: Precision,
    used: BTreeSet<String>,
    arena: Arena,
    buffer: Vec<f32>,
}

impl Assembly<'_> {
    /// Tensors of `cols` columns, one under the other.
    fn matrix(&mut self, parts: &[(Part, usize)], cols: usize) -> Result<Matrix, TensorError> {
        // Shapes first: a configuration that the file does not back reserves no memory.
        for &(part, rows) in parts {
            self.check(part, &[rows, cols])?;
        }
        let mut matrix =
            Matrix::zeros(&mut self.arena, parts.iter().map(|p| p.1).sum(), cols, self.precision)?;
        let mut first = 0;
        for &(part, rows) in parts {
            self.read(part)?;
            matrix.write_rows(first, &self.buffer);
            first += rows;
        }
        Ok(matrix)
    }

    fn vector(&mut self, part: Part, len: usize) -> Result<Vec<f32>, TensorError> {
        self.check(part, &[len])?;
        self.read(part)?;
        Ok(self.buffer.clone())
    }

    fn check(&self, part: Part, needed: &[usize]) -> Result<(), TensorError> {
        let name = self.source.name_of(part);
        match self.source.shape(&name) {
            None => Err(TensorError::Missing { name }),
            Some(found) if found != needed => {
                Err(TensorError::Shape { name, found, needed: needed.to_vec() })
            }
            Some(_) => Ok(()),
        }
    }

    fn read(&mut self, part: Part) -> Result<(), TensorError> {
        let name = self.source.name_of(part);
        self.source.read(part, &name, &mut self.buffer)?;
        self.used.insert(name);
        Ok(())
    }
}
