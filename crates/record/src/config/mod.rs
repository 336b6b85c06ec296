//! Configuration: values from several layers merged as trees, each leaf with its origin.
//!
//! ```text
//! defaults < file (YAML, TOML) < STOPWATT_A__B < --override a.b=c < flags ──► Resolved { value, origins }
//! ```
//!
//! Invariants, each held by a test:
//!
//! - a key that does not exist, or a value of the wrong type, stops the program and points at the place where it was
//!   written, with the nearest key that does exist;
//! - tables merge key by key, everything else is replaced as a whole; a table that names another variant of an
//!   enum replaces the old one, so no setting of the old variant is left behind;
//! - what is stored of it holds no secret and no home directory.
//!
//! The keys and types come from the JSON schema of the settings type, so there is no second list to keep.

mod check;
pub mod environment;
mod error;
mod file;
mod layers;
mod lock;
mod locked;
mod merge;
mod origin;
mod schema;
#[cfg(test)]
mod tests;
mod tree;

pub use error::{ConfigError, Location};
pub use file::read_file;
pub use layers::{Layers, Resolved, Settings};
pub(crate) use lock::settings_hash;
pub use lock::{ConfigLock, Hashes, LockedSetting, Versions};
pub use locked::Locked;
pub use origin::Origin;
pub(crate) use schema::pretty as schema_text;

/// JSON schema of `T`, for `--print-schema`.
pub fn print_schema<T: schemars::JsonSchema>() -> String {
    schema::pretty(&schemars::schema_for!(T))
}
