//! `bench --calibrate`: the most that the load client can do on this machine.
//!
//! ```text
//! exact engine, a child process ◄── load client        (loopback)
//!        └── truth log ──► truth ◄── records
//! ```
//!
//! The exact engine does nothing but write, so that the client is what is measured. Floods give its ceiling in events
//! and reads a second; paced streams give its cost where each token is a wake-up of its own, and the error of its
//! stamps against the engine's log. Rates are for one whole core of the client: what came through, divided by the share
//! of a core that it took, since in a flood the engine may be the slower side.
//!
//! The result is kept in the user's cache folder, by machine, and every run states how near it came to it.

mod stage;
mod store;
pub mod truth;

use std::path::Path;

use stopwatt_core::ceiling::{CeilingStage, ClientCeiling};
use stopwatt_core::clock::unix_now;
use stopwatt_load::Stop;

use crate::bench::BenchError;
use stage::Load;

pub use store::{load as stored, save as store};

/// Tokens of every request.
const TOKENS: u32 = 128;
/// Error of the time between tokens (99th percentile) up to which a number of paced streams counts as carried.
const ITL_ERROR_S: f64 = 1.5e-3;

/// How much to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Floods and paced streams, about 15 s.
    Full,
    /// Two short floods, under 2 s.
    Quick,
}

/// Measures the client against the exact engine of `program`. `watch` is told of every stage before it begins.
pub fn calibrate(
    program: &Path,
    effort: Effort,
    stop: &Stop,
    watch: &mut dyn FnMut(&str),
) -> Result<ClientCeiling, BenchError> {
    let mut stages = Vec::new();
    for load in loads(effort) {
        if stop.is_interrupted() {
            break;
        }
        watch(&load.to_string());
        stages.push(stage::measure(program, load, stop)?);
    }
    ceiling(effort, stages)
}

fn loads(effort: Effort) -> Vec<Load> {
    let flood = |streams, events_per_write, seconds| Load { streams, events_per_write, gap_s: 0.0, seconds };
    let paced = |streams| Load { streams, events_per_write: 1, gap_s: 0.010, seconds: 2.7 };
    match effort {
        Effort::Full => {
            let paced = [64, 256, 512, 1024].map(paced);
            [flood(64, 1, 1.5), flood(256, 16, 1.5)].into_iter().chain(paced).collect()
        }
        Effort::Quick => vec![flood(64, 1, 0.6), flood(256, 16, 0.6)],
    }
}

fn ceiling(effort: Effort, stages: Vec<CeilingStage>) -> Result<ClientCeiling, BenchError> {
    let most = |rate: fn(&CeilingStage) -> f64| {
        let floods = stages.iter().filter(|s| s.gap_s == 0.0 && s.client_cores > 0.0);
        floods.map(|s| rate(s) / s.client_cores.min(1.0)).reduce(f64::max)
    };
    let (Some(events_per_s), Some(reads_per_s)) = (most(|s| s.events_per_s), most(|s| s.reads_per_s)) else {
        return Err(BenchError::Calibration { problem: "it was interrupted".to_owned() });
    };
    let carried = |s: &&CeilingStage| s.itl_error_p99_s.is_some_and(|e| e <= ITL_ERROR_S);
    Ok(ClientCeiling {
        stopwatt: env!("CARGO_PKG_VERSION").to_owned(),
        measured_unix_ns: unix_now(),
        quick: effort == Effort::Quick,
        events_per_s,
        reads_per_s,
        streams: stages
            .iter()
            .take_while(|s| s.gap_s == 0.0 || carried(s))
            .filter(carried)
            .map(|s| s.streams)
            .max(),
        stages,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(
        streams: u32,
        gap_s: f64,
        rates: (f64, f64),
        client_cores: f64,
        error: Option<f64>,
    ) -> CeilingStage {
        CeilingStage {
            streams,
            events_per_write: 1,
            gap_s,
            events_per_s: rates.0,
            reads_per_s: rates.1,
            client_cores,
            cpu_s_per_million: client_cores * 1e6 / rates.0,
            ttft_error_p50_s: None,
            ttft_error_p99_s: None,
            itl_error_p99_s: error,
            tpot_error_p99_s: None,
            lag_p99_s: None,
        }
    }

    #[test]
    fn the_ceiling_is_for_a_whole_core_and_streams_end_at_the_first_that_failed() {
        let stages = vec![
            stage(64, 0.0, (100e3, 100e3), 0.5, None),
            stage(256, 0.0, (600e3, 40e3), 0.8, None),
            stage(64, 0.01, (6e3, 6e3), 0.1, Some(0.0002)),
            stage(256, 0.01, (25e3, 25e3), 0.2, Some(0.0010)),
            stage(512, 0.01, (50e3, 50e3), 0.4, Some(0.0100)),
            stage(1024, 0.01, (90e3, 90e3), 0.8, Some(0.0002)),
        ];
        let got = ceiling(Effort::Full, stages).unwrap();
        assert_eq!((got.events_per_s, got.reads_per_s, got.streams), (750e3, 200e3, Some(256)));
        assert!(ceiling(Effort::Quick, vec![]).is_err());
    }

    #[test]
    fn a_quick_calibration_is_short() {
        let seconds: f64 = loads(Effort::Quick).iter().map(|l| l.seconds).sum();
        assert!(seconds <= 1.5, "{seconds}");
    }
}
