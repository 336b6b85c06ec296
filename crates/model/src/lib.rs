//! Llama-architecture models on the CPU, computed with `stopwatt_kernel::cpu`.
//!
//! ```text
//! Source ─► load ─► Model      forward(kv, chunks) ─► logits ─► Sampler ─► token
//! (random,          PagedKv        one step of continuous batching
//!  GGUF,            Tokenizer  text ─► tokens, tokens ─► text, chat ─► tokens
//!  Hugging Face)
//! ```
//!
//! One call of [`Model::forward`] computes one step of a continuous batch: prefill chunks and decode steps mixed. Who
//! owns which cache block is decided elsewhere; this crate reads and writes the blocks it is told.
//!
//! Invariants, each held by a test:
//!
//! - how a prompt is cut into chunks, what else is in the batch, which blocks a sequence owns and how many threads
//!   compute do not change a bit of any logit;
//! - a file from someone else gives a model or an error, never a panic.

mod assemble;
pub mod config;
pub mod forward;
pub mod gguf;
pub mod hf;
pub mod kv;
pub mod load;
pub mod random;
pub mod sampling;
pub mod tokenizer;
pub mod weights;

pub use assemble::TensorError;
pub use config::ModelConfig;
pub use forward::{Chunk, ForwardError, Model, Tap};
pub use kv::PagedKv;
pub use load::{LoadError, LoadOptions, Loaded, Source, load};
pub use random::Preset;
pub use sampling::{Sampler, SamplingParams};
pub use tokenizer::{ChatMessage, DecodeStream, Tokenizer, VocabMask};

pub use stopwatt_kernel::cpu::Precision;
