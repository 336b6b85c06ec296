//! From a read file to a run directory.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stopwatt_core::log::{EngineCounters, Fact};
use stopwatt_core::metrics_doc::RunStatus;

use super::Foreign;
use crate::run_dir::{Create, RunError, RunWriter};

/// What an import was asked for; the settings in `config.lock.json` of its run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImportSettings {
    /// Name of the file, without its folder.
    pub file: String,
    /// Metric of a table's values.
    pub metric: Option<String>,
}

/// Writes the run and returns its directory.
///
/// # Errors
/// The directory cannot be written.
pub fn write(foreign: Foreign, create: Create, config_lock: &Value) -> Result<PathBuf, RunError> {
    let clock = create.clock;
    let run = RunWriter::create(create, config_lock)?;
    if let Some(model) = &foreign.model {
        run.log(Fact::EngineProbed { model: model.clone(), features: Default::default() })?;
    }
    let trials = foreign.windows.iter().map(|w| w.trial + 1).max().unwrap_or(1);
    run.log(Fact::Plan { points: foreign.points, trials })?;
    run.log(Fact::Imported { imported: foreign.imported })?;
    for window in foreign.windows {
        run.log(Fact::TrialEnded {
            point: window.point,
            trial: window.trial,
            start_ns: window.start_ns,
            end_ns: window.end_ns,
            client_cpu_s: None,
            engine_cpu_s: None,
            engine_rss_bytes: None,
            planned: None,
            counters_before: EngineCounters::new(),
            counters_after: EngineCounters::new(),
            reads: None,
        })?;
    }
    for row in foreign.rows {
        run.push(row)?;
    }
    run.log(Fact::RunEnded {
        status: RunStatus::Complete,
        reason: None,
        client_rss_bytes: None,
        wall_drift_ns: clock.wall_drift(),
    })?;
    let path = run.path().to_owned();
    run.finish()?;
    Ok(path)
}
