//! Traces of requests.

pub(crate) mod ids;

pub use ids::{Ids, Params, Place, Traced, Try, hex};
