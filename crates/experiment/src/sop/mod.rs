//! `run` and `pair`: any target under the measurement procedure.
//!
//! ```text
//! settings ──► Launch ──► Target ──iterations──► Recording ──► run directory ──► compare ──► decision
//!                           │                       ▲
//!                    command (wall, JSON lines)   Watcher (power, energy, counters)
//! ```
//!
//! | module | what |
//! |---|---|
//! | `config`, `planned` | the settings, and those whose parts are not built |
//! | `target` | what can be measured: `trait Target`, `trait Launch` |
//! | `command` | any program as a target: its words and environment |
//! | `kernel` | an operator on a device as a target |
//! | `layout` | a kernel on memory whose order is solved for |
//! | `workload` | a side of a built-in workload pair |
//! | `lines`, `protocol` | a program that speaks JSON lines |
//! | `wall` | a process an iteration |
//! | `process` | the end of a process group |
//! | `recording` | iterations as rows of a run |
//! | `warmup` | as often as asked, and until steady |
//! | `thermal` | until temperature and clocks are flat; trials that begin equally warm |
//! | `watcher` | where instruments are plugged in |
//! | `run`, `pair` | one target; two in turns |
//! | `bench` | an engine as a target |
//! | `quality` | how good the outputs are |
//! | `rollback` | accepted, once more, or rolled back |
//!
//! Times are recorded as they were: whatever mode is run, no value is scaled, sorted or left out.

mod bench;
mod command;
mod config;
mod error;
mod instruments;
mod kernel;
mod layout;
mod lines;
mod pair;
mod planned;
mod process;
mod protocol;
mod quality;
mod recording;
pub mod rollback;
mod run;
mod target;
mod thermal;
mod wall;
mod warmup;
mod watcher;
mod workload;

pub use bench::bench_config;
pub use command::Program;
pub use config::{
    GatesConfig, MeasureConfig, PairConfig, PipelineConfig, Protocol, ReportConfig, ReportFormat,
    RollbackConfig, SopConfig, TargetConfig, TargetKind,
};
pub use error::SopError;
pub use instruments::{FirstStart, Instruments, NCU_JSON};
pub use kernel::{KernelConfig, Kernels};
pub use layout::{
    Arm, BandedGraph, CarrierKind, GraphConfig, GraphSource, LayoutConfig, Layouts, MockGraph, QuantConfig,
    SolverConfig, SparsityBy, SparsityConfig, TransformConfig,
};
pub use pair::{Side, each_trial_anew, order, pair, pair_engines};
pub use planned::CacheKeys;
pub use quality::{Better, Judged, QualityConfig, quality, quality_of_both};
pub use recording::{Finished, Watch, stage};
pub use run::{Setup, run};
pub use target::{Ended, Iteration, Launch, Note, Occasion, Ready, Step, Target, TargetError};
pub(crate) use thermal::Heat;
pub use watcher::{Nobody, Watcher, Window};
pub use workload::{WorkloadConfig, Workloads};
