//! Faults on purpose: what a proxy makes of them, measured from the client's side under a steady load.
//!
//! ```text
//! load ──► proxy under test ──┬──► gate (faults) ──► engine
//!   (open loop)               └──► gate          ──► engine
//! ```
//!
//! A gate passes everything on until it is told to misbehave; only the first one is, but for `all_down`. Each fault is
//! repeated with a proxy of its own, and a control without a fault tells what the proxy does to healthy engines.

mod fault;
mod gate;
mod report;
mod run;

pub use fault::Fault;
pub use report::{ChaosReport, FaultReport};
pub use run::{Backend, ChaosError, Proxied, Settings, Start, run};
