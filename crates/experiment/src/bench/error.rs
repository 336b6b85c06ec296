//! Why a benchmark could not be run at all. What goes wrong with single requests is data and stands in the record.

use stopwatt_load::{LoadError, RequestError, TargetError};
use stopwatt_record::config::ConfigError;
use stopwatt_record::run_dir::RunError;
use stopwatt_serving::arrival::ArrivalError;
use stopwatt_serving::trace::TraceError;
use stopwatt_serving::workload::{LengthError, ProfileError};

/// Why a benchmark could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A setting makes no sense.
    #[error("setting `{setting}`: {problem}")]
    Setting {
        /// Its key.
        setting: &'static str,
        /// What is wrong and what to write.
        problem: String,
    },
    /// A length makes no sense.
    #[error("setting `{setting}`")]
    Length {
        /// Its key.
        setting: &'static str,
        /// What is wrong.
        #[source]
        source: LengthError,
    },
    /// An arrival process makes no sense.
    #[error("setting `load`")]
    Arrival {
        /// What is wrong.
        #[source]
        source: ArrivalError,
    },
    /// Input and output do not fit the model.
    #[error("input of {input} and output of {output} tokens do not fit the model's context of {limit}")]
    TooLong {
        /// Longest input.
        input: u32,
        /// Longest output.
        output: u32,
        /// The context.
        limit: u32,
    },
    /// The workload file could not be used.
    #[error("workload file")]
    WorkloadFile {
        /// What is wrong, and where.
        #[source]
        source: ConfigError,
    },
    /// The recorded workload could not be read.
    #[error("trace {name}")]
    Trace {
        /// Name of the file.
        name: String,
        /// What is wrong, and where.
        #[source]
        source: TraceError,
    },
    /// A file of the workload could not be opened.
    #[error("setting `{setting}`: failed to read {name}")]
    File {
        /// The setting.
        setting: &'static str,
        /// Name of the file.
        name: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No such workload profile.
    #[error("setting `workload.profile`")]
    Profile {
        /// What is wrong.
        #[source]
        source: ProfileError,
    },
    /// The URL or its headers are wrong.
    #[error("target of the benchmark")]
    Target {
        /// What is wrong.
        #[source]
        source: TargetError,
    },
    /// The engine cannot be reached.
    #[error("engine at {url} cannot be reached")]
    Unreachable {
        /// Its address, without credentials.
        url: String,
        /// What happened.
        #[source]
        source: RequestError,
    },
    /// The engine answered a question with an error.
    #[error("engine answered {what} with status {status}: {message}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The engine's answer makes no sense.
    #[error("engine's answer to {what} is not understood: {problem}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The engine does not have the model.
    #[error("the engine does not serve `{asked}`; it serves {}", .served.join(", "))]
    UnknownModel {
        /// Name asked for.
        asked: String,
        /// Names served.
        served: Vec<String>,
    },
    /// The engine serves several models and none was chosen.
    #[error("the engine serves several models: {}", .served.join(", "))]
    AmbiguousModel {
        /// Names served.
        served: Vec<String>,
    },
    /// The engine cannot do what a setting insists on.
    #[error("the engine cannot do what `{setting}` asks for: {problem}")]
    Unsupported {
        /// The setting's key.
        setting: &'static str,
        /// What it answered.
        problem: String,
    },
    /// The built-in engine did not start.
    #[error("the built-in engine did not start: {problem}")]
    EngineStart {
        /// What happened.
        problem: String,
    },
    /// The load client could not be measured.
    #[error("calibration of the load client: {problem}")]
    Calibration {
        /// What happened.
        problem: String,
    },
    /// The load client failed.
    #[error("load client")]
    Load {
        /// What happened.
        #[source]
        source: LoadError,
    },
    /// The record could not be written.
    #[error("record of the run")]
    Record {
        /// What happened.
        #[source]
        source: RunError,
    },
}

impl BenchError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Length { source, .. } => source.hint(),
            Self::Profile { source } => source.hint(),
            Self::Trace { source, .. } => source.hint(),
            Self::WorkloadFile { source } => source.hint(),
            Self::TooLong { .. } => {
                Some("choose shorter --input and --output, or start the engine with a longer context")
            }
            Self::Target { source } => source.hint(),
            Self::Unreachable { .. } => {
                Some("check that the engine runs and that the address and port are right")
            }
            Self::Refused { status: 401 | 403, .. } => Some("give the key with --api-key-env VARIABLE"),
            Self::Refused { status: 404, .. } => {
                Some("give the base address of an OpenAI-compatible server, such as http://host:8000")
            }
            Self::UnknownModel { .. } | Self::AmbiguousModel { .. } => Some("choose one with --model"),
            Self::Unsupported { .. } => Some("leave the setting at `auto`, or use another engine"),
            Self::Record { source } => source.hint(),
            _ => None,
        }
    }
}

impl From<RunError> for BenchError {
    fn from(source: RunError) -> Self {
        Self::Record { source }
    }
}

impl From<LoadError> for BenchError {
    fn from(source: LoadError) -> Self {
        Self::Load { source }
    }
}

impl From<TargetError> for BenchError {
    fn from(source: TargetError) -> Self {
        Self::Target { source }
    }
}
