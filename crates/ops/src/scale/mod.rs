//! Engines that the proxy starts and ends itself, on its own machine, by the load.
//!
//! ```text
//!  Fleet (requests of each slot) ──► Scaler ──► how many there should be
//!        ▲                                              │
//!        └── present, draining, absent ── Replicas ◄────┘ ──► Launch: a process behind a guard
//! ```
//!
//! The slots are fixed: one for each replica up to the most, with its own port. An absent slot is an upstream that
//! nobody is sent to, that is not looked at, and that no figure of health counts. A replica is given requests when it
//! answers a health check, and ended only when its requests have ended. One that ends by itself is replaced; one that
//! fails again and again is waited for longer each time.

mod guarded;
mod policy;
mod replicas;

pub use guarded::Guarded;
pub use policy::{Load, Policy, Scaler};
pub use replicas::{Launch, Process, Replicas, Settings};
