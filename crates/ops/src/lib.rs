//! The operator's side: is the service healthy now, who answers, and what happens when a backend dies.
//!
//! ```text
//! /metrics of each upstream ─┐
//! own streams' progress ─────┼─► health ──► admission ──► proxy chooses an upstream
//! 1-token canary ────────────┘                 ▲                │
//!                                              └── outcomes ────┘
//! ```
//!
//! A thin layer that observes, fails over and splits traffic; not a gateway: it knows no providers, users or budgets.
//! Rules that decide are plain state machines that are told the time; sockets stand around them.

pub mod admission;
pub mod budget;
pub mod chaos;
pub mod content;
mod cost;
pub mod dashboard;
pub mod exchange;
pub mod exposition;
pub mod feedback;
pub mod fleet;
pub mod health;
pub mod history;
pub mod machine;
pub mod page;
pub mod proxy;
pub mod quality;
pub mod rules;
pub mod scale;
pub mod signals;
pub mod split;
pub mod status;
pub mod store;
mod stream_watch;
pub mod telemetry;
pub mod trace;
pub mod upstream;
