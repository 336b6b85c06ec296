//! From a run directory to its reports: read, analyse, write. Needs nothing but the record, so the files come out the
//! same, byte for byte, however often they are made.

use stopwatt_analyse::dialect::{self, Dialect, DialectView};
use stopwatt_analyse::{Input, Settings, analyse};
use stopwatt_core::log::LogEvent;
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_core::request::RequestRecord;
use stopwatt_core::text::Lang;
use stopwatt_record::events::Chunks;
use stopwatt_record::{Run, RunError};

use crate::{View, csv, html, json};

/// Key of `config.lock.json` under which a run keeps the settings of its analysis.
pub const ANALYSIS_KEY: &str = "analysis";

/// Why the reports of a run could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The run could not be read or written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A process is still writing it.
    #[error("run {id} is still being written")]
    Running {
        /// Name of the run.
        id: String,
    },
    /// The settings of the analysis are not what this version understands.
    #[error("the analysis settings in config.lock.json of run {id} cannot be read")]
    Settings {
        /// Name of the run.
        id: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
}

impl RebuildError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Run(error) => error.hint(),
            Self::Running { .. } => {
                Some("wait for it to end, or stop it with Ctrl-C; what it has measured is kept")
            }
            Self::Settings { .. } => {
                Some("read it with the version of Stopwatt named under `versions` in that file")
            }
        }
    }
}

/// A run in memory, analysed.
#[derive(Debug, Clone)]
pub struct Analysed {
    /// The summary.
    pub doc: MetricsDoc,
    /// The lines of `run.log`.
    pub log: Vec<LogEvent>,
    /// The rows of `events.parquet`.
    pub requests: Vec<RequestRecord>,
    /// `config.lock.json`.
    pub config: serde_json::Value,
    /// Settings of the analysis.
    pub settings: Settings,
}

impl Analysed {
    /// Reads a run and analyses it. A run that was cut off gives what it holds.
    ///
    /// # Errors
    /// The run is being written, damaged, or of a version that this one cannot read.
    pub fn read(run: &Run) -> Result<Self, RebuildError> {
        let id = || run.id().to_string();
        if run.is_running() {
            return Err(RebuildError::Running { id: id() });
        }
        let config = run.config()?;
        let settings: Settings = match config.get(ANALYSIS_KEY) {
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|source| RebuildError::Settings { id: id(), source })?,
            None => Settings::default(),
        };
        let requests = run.requests(Chunks::Read)?.collect::<Result<Vec<_>, _>>()?;
        let log = run.log().to_vec();
        let doc = analyse(&Input { log: &log, requests: &requests, settings: &settings });
        Ok(Self { doc, log, requests, config, settings })
    }

    /// The same run in the definitions of another tool.
    pub fn dialect(&self, dialect: Dialect) -> DialectView {
        let input = Input { log: &self.log, requests: &self.requests, settings: &self.settings };
        dialect::view(dialect, &input, &self.doc)
    }

    /// The view that every report is made from.
    pub fn view(&self, lang: Lang) -> View<'_> {
        View { doc: &self.doc, log: &self.log, requests: &self.requests, config: &self.config, lang }
    }
}

/// Analyses a run and writes `metrics.json`, `report.csv` and `report.html` into it, each under a temporary name first.
///
/// # Errors
/// As [`Analysed::read`], and when the directory cannot be written.
pub fn write_all(run: &Run, lang: Lang) -> Result<Analysed, RebuildError> {
    let analysed = Analysed::read(run)?;
    let view = analysed.view(lang);
    run.write_file("metrics.json", json(view.doc).as_bytes())?;
    run.write_file("report.csv", csv(view.doc).as_bytes())?;
    run.write_file("report.html", html(&view).as_bytes())?;
    Ok(analysed)
}
