//! `bench`: measure one engine under one scenario and write a run.
//!
//! | module | what |
//! |---|---|
//! | `config` | the settings |
//! | `scenario` | settings to points |
//! | `probe` | what the engine can do |
//! | `child` | the built-in engine as a child process |
//! | `prompts` | request bodies |
//! | `run` | start, plan, measure, close |
//! | `session` | warm-up and trials of each point |
//! | `capacity` | the most the engine completes |
//! | `stretch` | one phase of one trial, sent at one pace |

mod capacity;
mod child;
mod config;
mod error;
mod probe;
mod progress;
mod prompts;
mod run;
mod scenario;
mod session;
mod stretch;
mod warmup;

pub use child::ReadyLine;
pub use config::{
    AnalysisConfig, ArrivalKind, BenchConfig, EndpointChoice, EngineConfig, LoadConfig, MeasureConfig,
    RecordConfig, RequestConfig, ScenarioKind, TargetConfig, Tri, WorkloadConfig, analysis_settings,
};
pub use error::BenchError;
pub use progress::Progress;
pub use prompts::TokenCounter;
pub use run::{Finished, Setup, run};
pub use stopwatt_load::Stop;
