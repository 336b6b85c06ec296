//! Runs in object stores: S3, Google Cloud Storage, Azure Blob Storage and what speaks like them.
//!
//! ```text
//! measure ──► stopwatt-runs/ID ──push──► s3://bucket/prefix/… ──copy──► cache folder ──► Run
//!             (a run as any other)       run.log last
//! ```
//!
//! A run is always measured into a folder of this machine, where it survives whatever ends the process, and is copied
//! when it has ended. Readers copy it back and go on as with a folder.
//!
//! Invariants, each held by a test:
//!
//! - `run.log` is the last object of a run to appear, so nobody reads half a copy as a run;
//! - an address belongs to one run: a second one is refused, also while the first is still measured (`lock`);
//! - no object leaves the folder it is copied to, whatever its name is;
//! - credentials come from the environment, as the tools of each store name them, and no error repeats them.
//!
//! The client is the crate `object_store` behind the feature `object-store`; without it every call says so.

mod address;
mod error;
#[cfg(not(feature = "object-store"))]
mod not_built_in;
#[cfg(feature = "object-store")]
mod problem;
#[cfg(feature = "object-store")]
mod receive;
#[cfg(feature = "object-store")]
mod send;
#[cfg(feature = "object-store")]
mod store;
#[cfg(all(test, feature = "object-store"))]
mod tests;

pub use address::Address;
pub use error::RemoteError;
#[cfg(not(feature = "object-store"))]
pub use not_built_in::{Reserved, copy, copy_here, push, runs};
#[cfg(feature = "object-store")]
pub use receive::{copy, copy_here, runs};
#[cfg(feature = "object-store")]
pub use send::{Reserved, push};

/// The feature that brings the client.
pub const FEATURE: &str = "object-store";
