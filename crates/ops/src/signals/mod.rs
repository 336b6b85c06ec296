//! Signals to scale by: what one replica was measured to carry, as files for those who add and remove replicas.
//!
//! ```text
//! metrics.json of `bench --find` ──► Knee ──► Signals ──► manifest   KEDA, Kubernetes' HPA, rules for alerts
//! seconds from start to first token ─────────────┘
//! ```
//!
//! The signal is read at the highest load whose objectives were shown to hold: how many requests waited, ran, how full
//! the KV cache was, or how late the first token came. A share of it, the headroom, is what a replica is asked to
//! carry. The times in which a decision must hold still follow from how long a replica takes to start: the ones that
//! are on their way do not help yet, and one that was ended too early costs that time again.
//!
//! Every number in a file has a comment that says where it comes from.

mod knee;
mod manifest;
#[cfg(test)]
mod tests;

pub use knee::{Knee, Signal, SignalsError};

/// Whose metrics the query asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `stopwatt watch`.
    Stopwatt,
    /// vLLM itself.
    Vllm,
}

/// How long a replica takes from its start to its first token.
#[derive(Debug, Clone, PartialEq)]
pub struct ColdStart {
    /// Seconds, above zero.
    pub seconds: f64,
    /// Where that comes from, for people.
    pub from: String,
}

/// What is written around the knee.
#[derive(Debug, Clone, PartialEq)]
pub struct Signals {
    /// What was measured.
    pub knee: Knee,
    /// Share of it that a replica is asked to carry, above 0 and up to 1.
    pub headroom: f64,
    /// Whose metrics.
    pub source: Source,
    /// Namespace of the objects.
    pub namespace: String,
    /// The deployment that is scaled.
    pub deployment: String,
    /// Where Prometheus answers, for KEDA.
    pub prometheus_url: String,
    /// Fewest replicas, at least 1: without any, no engine has a queue to tell of.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// `None` leaves Kubernetes' defaults.
    pub cold_start: Option<ColdStart>,
}

impl Signals {
    /// What a replica is asked to carry, in the unit of the signal.
    pub fn threshold(&self) -> f64 {
        self.knee.value * self.headroom
    }

    /// Seconds over which the lowest load must hold before a replica is ended: twice a cold start, between
    /// Kubernetes' default of 300 and its most, 3600.
    pub fn down_window_s(&self) -> u32 {
        self.cold_start.as_ref().map_or(300, |c| (c.seconds * 2.0).ceil().clamp(300.0, 3600.0) as u32)
    }

    /// Seconds between two steps: a cold start, between Kubernetes' default of 15 and its most, 1800.
    pub fn step_s(&self) -> u32 {
        self.cold_start.as_ref().map_or(15, |c| c.seconds.ceil().clamp(15.0, 1800.0) as u32)
    }
}
