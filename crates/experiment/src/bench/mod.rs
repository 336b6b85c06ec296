//! `bench`: measure one engine under one scenario and write a run.
//!
//! | module | what |
//! |---|---|
//! | `config` | the settings |
//! | `scenario` | settings to points |
//! | `probe` | what the engine can do |
//! | `child` | the built-in engine as a child process |
//! | `material` | recorded requests, conversations, shared prefixes |
//! | `offline` | the load of a benchmark without an engine, for predictions |
//! | `prompts` | request bodies |
//! | `images` | images that go with them |
//! | `talks` | conversations: the next turn carries the answer |
//! | `shard` | one share of a load of several machines |
//! | `reuse` | what a run repeats of its prompts by itself |
//! | `scrape` | the engine's own counters |
//! | `run` | start, plan, measure, close |
//! | `session` | warm-up and trials of each point |
//! | `capacity` | the most the engine completes |
//! | `ceiling` | the most the client can do, known before a heavy run |
//! | `find` | the highest load whose objectives hold |
//! | `sweep` | an engine started once for each of its settings |
//! | `serving` | an engine for a while, wherever it comes from |
//! | `turns` | one of two engines that are measured in turns |
//! | `launch`, `guard` | such an engine: its command, its process, its end |
//! | `resume` | what an interrupted run has finished |
//! | `stretch` | one phase of one trial, sent at one pace |

mod capacity;
mod ceiling;
mod child;
mod config;
mod error;
mod find;
mod guard;
mod images;
mod launch;
mod material;
mod offline;
mod probe;
mod progress;
mod prompts;
mod resume;
mod reuse;
mod run;
mod scenario;
mod scrape;
mod serving;
mod session;
mod shard;
mod stretch;
mod sweep;
mod talks;
mod turns;
mod warmup;

pub use child::{EngineChild, ReadyLine};
pub use config::{
    AnalysisConfig, ArrivalKind, BenchConfig, CostConfig, EndpointChoice, EngineConfig, FindConfig,
    KernelStampsChoice, LoadConfig, MeasureConfig, RecordConfig, RequestConfig, ScenarioKind, ServeConfig,
    TargetConfig, Tri, WorkloadConfig, analysis_settings,
};
pub use error::BenchError;
pub(crate) use guard::Exit;
pub use guard::guard;
pub(crate) use launch::{CommandTemplate, Log};
pub use offline::{Offline, Sending, offline, shape_seed, workloads};
pub(crate) use probe::{model_of, template};
pub use progress::Progress;
pub use prompts::TokenCounter;
pub use resume::{ResumeError, Unfinished};
pub(crate) use run::target;
pub use run::{Finished, Setup, looked, run};
pub(crate) use serving::with_engine;
pub use stopwatt_load::Stop;
pub use stopwatt_serving::trace::{BadRows, Format as TraceFormat};
pub use sweep::commands;
pub(crate) use turns::Turns;
