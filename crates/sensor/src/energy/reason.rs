//! Why there is no energy.

use serde::Serialize;

/// Why readings do not give the energy of a window.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum EnergyReason {
    /// The window has no length.
    #[error("the window has no length")]
    EmptyWindow,
    /// The sensor gave nothing.
    #[error("no reading of {what}")]
    NoReading {
        /// What is missing.
        what: &'static str,
    },
    /// The readings begin after the window or end before it.
    #[error("{missing_s:.3} s of the window have no readings")]
    NotCovered {
        /// How much is missing, in seconds.
        missing_s: f64,
    },
    /// The sampler was kept from reading.
    #[error("no reading for {seconds:.3} s within the window")]
    Hole {
        /// Length of the hole, in seconds.
        seconds: f64,
    },
    /// The counter is there and stands still.
    #[error("the energy counter does not move")]
    CounterStandsStill,
    /// The counter went back: the driver was loaded anew.
    #[error("the energy counter went back by {joules:.3} J")]
    CounterWentBack {
        /// By how much.
        joules: f64,
    },
    /// The window has too few ticks.
    #[error("the window has {ticks:.1} ticks of {tick_s:.3} s, needs {needed:.0}")]
    WindowTooShort {
        /// Ticks in the window.
        ticks: f64,
        /// Ticks needed.
        needed: f64,
        /// Length of a tick, in seconds.
        tick_s: f64,
    },
}

impl EnergyReason {
    /// What would help, when anything does.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::WindowTooShort { .. } => Some("repeat the work until the window is longer, best 10 s"),
            Self::NotCovered { .. } => Some("sample from 0.3 s before the window to 1.2 s after it"),
            Self::Hole { .. } => Some("leave the sampling thread a core"),
            Self::CounterStandsStill => Some("use power readings or an external meter (--power-csv)"),
            _ => None,
        }
    }
}
