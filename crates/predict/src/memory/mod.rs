//! Memory of a device: weights, cache, and what an engine needs besides.

mod budget;
mod cache;
mod weights;

pub use budget::{Basis, Bytes, Concurrency, Forecast, Known, MemoryDoc, memory};
pub use cache::CacheLayout;
