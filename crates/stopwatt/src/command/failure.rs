//! How an error of any crate becomes an exit code and a hint.

use std::fmt;

use stopwatt_engine::ServeError;
use stopwatt_experiment::bench::{BenchError, ResumeError};
use stopwatt_experiment::profile::ProfileError;
use stopwatt_experiment::sop::{SopError, TargetError};
use stopwatt_ocr::input::InputError;
use stopwatt_predict::model::ModelError;
use stopwatt_predict::predict::PredictError;
use stopwatt_record::catalogue::CatalogueError;
use stopwatt_record::config::ConfigError;
use stopwatt_record::expectations::ExpectationsError;
use stopwatt_record::import::ImportError;
use stopwatt_record::merge::MergeError;
use stopwatt_record::remote::RemoteError;
use stopwatt_record::run_dir::RunError;
use stopwatt_report::RebuildError;
use stopwatt_report::exchange::ExportError;

use crate::exit::Outcome;

/// An error of the command line itself, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    outcome: Outcome,
    hint: Option<&'static str>,
    source: anyhow::Error,
}

impl Failure {
    /// An error with its exit code.
    pub(crate) fn new(outcome: Outcome, source: anyhow::Error) -> Self {
        Self { outcome, hint: None, source }
    }

    /// What to try.
    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// The exit code of an error: the first cause that is known decides.
pub(crate) fn outcome_of(error: &anyhow::Error) -> Outcome {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.outcome;
        }
        if matches!(cause.downcast_ref(), Some(ResumeError::Complete { .. } | ResumeError::Search { .. })) {
            return Outcome::Configuration;
        }
        if let Some(error) = cause.downcast_ref::<SopError>() {
            match error {
                SopError::Setting { .. } => return Outcome::Configuration,
                SopError::Target(error) => return of_target(error),
                SopError::Bench(error) => return of_bench(error),
                // Its cause decides.
                _ => {}
            }
        }
        if matches!(cause.downcast_ref(), Some(RemoteError::NotBuiltIn { .. })) {
            return Outcome::MissingResource;
        }
        if let Some(error) = cause.downcast_ref::<TargetError>() {
            return of_target(error);
        }
        if let Some(error) = cause.downcast_ref::<ProfileError>() {
            match error {
                ProfileError::Nothing { .. } | ProfileError::Shape { .. } => return Outcome::Configuration,
                ProfileError::NoDevice { .. } => return Outcome::MissingResource,
                ProfileError::Lost { .. } => return Outcome::MeasurementFailed,
                // Its cause decides.
                _ => {}
            }
        }
        #[cfg(feature = "ops")]
        if cause.is::<stopwatt_ops::upstream::SpecError>() {
            return Outcome::Configuration;
        }
        if cause.is::<ConfigError>() || cause.is::<ModelError>() || cause.is::<PredictError>() {
            return Outcome::Configuration;
        }
        if let Some(error) = cause.downcast_ref::<BenchError>() {
            return of_bench(error);
        }
    }
    Outcome::Usage
}

/// The exit code of a benchmark that failed.
fn of_bench(error: &BenchError) -> Outcome {
    match error {
        BenchError::Setting { .. }
        | BenchError::Length { .. }
        | BenchError::Arrival { .. }
        | BenchError::TooLong { .. }
        | BenchError::WorkloadFile { .. }
        | BenchError::Profile { .. }
        | BenchError::Target { .. }
        | BenchError::Unsupported { .. } => Outcome::Configuration,
        BenchError::UnknownModel { .. } | BenchError::AmbiguousModel { .. } => Outcome::MissingResource,
        BenchError::Refused { .. } | BenchError::Answer { .. } | BenchError::EngineStart { .. } => {
            Outcome::MeasurementFailed
        }
        _ => Outcome::Usage,
    }
}

/// The exit code of a target that failed.
fn of_target(error: &TargetError) -> Outcome {
    match error {
        TargetError::Start { .. } | TargetError::Skipped { .. } => Outcome::MissingResource,
        TargetError::NoPrefix | TargetError::Layout { .. } => Outcome::Configuration,
        _ => Outcome::MeasurementFailed,
    }
}

/// What to try next, from an error of the operator's side.
fn ops_hint(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    #[cfg(feature = "ops")]
    {
        use stopwatt_ops::proxy::ProxyError;
        use stopwatt_ops::upstream::SpecError;
        let spec = cause.downcast_ref::<SpecError>().and_then(SpecError::hint);
        spec.or_else(|| cause.downcast_ref::<ProxyError>().and_then(ProxyError::hint))
    }
    #[cfg(not(feature = "ops"))]
    {
        let _ = cause;
        None
    }
}

/// An error with its causes, in one line.
pub(crate) fn complaint(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let cause = cause.to_string();
        // Errors that repeat their source in their own words are said once.
        if depth > 0 && text.contains(&cause) {
            continue;
        }
        if depth > 0 {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

/// What to try next, from the first cause that knows.
pub(crate) fn hint_of(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        None.or_else(|| cause.downcast_ref::<Failure>().and_then(|e| e.hint))
            .or_else(|| cause.downcast_ref::<SopError>().and_then(SopError::hint))
            .or_else(|| cause.downcast_ref::<TargetError>().and_then(TargetError::hint))
            .or_else(|| cause.downcast_ref::<ProfileError>().and_then(ProfileError::hint))
            .or_else(|| cause.downcast_ref::<BenchError>().and_then(BenchError::hint))
            .or_else(|| cause.downcast_ref::<ConfigError>().and_then(ConfigError::hint))
            .or_else(|| cause.downcast_ref::<ExpectationsError>().and_then(ExpectationsError::hint))
            .or_else(|| cause.downcast_ref::<MergeError>().and_then(MergeError::hint))
            .or_else(|| cause.downcast_ref::<RunError>().and_then(RunError::hint))
            .or_else(|| cause.downcast_ref::<RebuildError>().and_then(RebuildError::hint))
            .or_else(|| cause.downcast_ref::<ImportError>().and_then(ImportError::hint))
            .or_else(|| cause.downcast_ref::<ExportError>().and_then(ExportError::hint))
            .or_else(|| cause.downcast_ref::<RemoteError>().and_then(RemoteError::hint))
            .or_else(|| cause.downcast_ref::<CatalogueError>().and_then(CatalogueError::hint))
            .or_else(|| cause.downcast_ref::<ModelError>().and_then(ModelError::hint))
            .or_else(|| cause.downcast_ref::<PredictError>().and_then(PredictError::hint))
            .or_else(|| cause.downcast_ref::<InputError>().and_then(InputError::hint))
            .or_else(|| cause.downcast_ref::<ServeError>().and_then(ServeError::hint))
            .or_else(|| ops_hint(cause))
    })
}
