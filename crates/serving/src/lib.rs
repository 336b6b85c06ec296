//! What is asked of an engine and how an engine orders its work, without a clock, a socket or a file.
//!
//! ```text
//! workload ──► prompt ──►┐                              ┌──► real time (engine)
//!  (what)     (with what) ├─► requests ──► scheduler ──►┤
//! arrival  ──────────────►┘                 kv, prefix   └──► virtual time (prediction), with a step model
//!  (when)
//! ```
//!
//! Everything here is a plain function of its inputs: one seed gives one sequence on every platform, and one
//! sequence of calls gives one schedule. That lets a measured engine and a predicted one run the same rules.

pub mod arrival;
pub mod cost;
pub mod kv;
pub mod prefix;
pub mod price;
pub mod prompt;
pub mod random;
pub mod scheduler;
pub mod step;
pub mod timestamp;
pub mod trace;
pub mod workload;
