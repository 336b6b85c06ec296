//! From a run directory to its reports: read, analyse, write. Needs nothing but the record, so the files come out the
//! same, byte for byte, however often they are made.
//!
//! Chunks are read of runs with few gaps only. Of others the histograms in `streams.parquet` are, and where these are
//! missing, as after `kill -9`, they are made anew in one pass over the chunks.

use stopwatt_analyse::dialect::{self, Dialect, DialectView};
use stopwatt_analyse::recorded::{EXACT_GAPS, ExactGaps};
use stopwatt_analyse::sensors::Sensors;
use stopwatt_analyse::{CostSettings, Input, Recorded, Settings, analyse};
use stopwatt_core::log::LogEvent;
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_core::stream::{StreamRecorder, Streams};
use stopwatt_core::text::Lang;
use stopwatt_core::{EndKind, Phase, RequestRecord, RequestRow};
use stopwatt_record::events::Chunks;
use stopwatt_record::kernel_table::{self, KernelTableError};
use stopwatt_record::{Run, RunError};

use crate::hardware::Hardware;
use crate::trace::Trace;
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
    /// Its kernel table could not be read.
    #[error(transparent)]
    Kernels(#[from] KernelTableError),
    /// Its roofline is not what this version understands.
    #[error("roofline.json of run {id} cannot be read")]
    Roofline {
        /// Name of the run.
        id: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
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
            Self::Kernels(_) | Self::Roofline { .. } => {
                Some("move the file out of the run to read the rest of it")
            }
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
    /// The requests and what their streams come to.
    pub record: Recorded,
    /// `config.lock.json`.
    pub config: serde_json::Value,
    /// Settings of the analysis.
    pub settings: Settings,
    /// What the sensors said.
    pub trace: Trace,
    /// What the run holds of its device.
    pub hardware: Hardware,
    run: Run,
}

impl Analysed {
    /// Reads a run and analyses it, at another price than the one it was measured with where one is given. A run that
    /// was cut off gives what it holds.
    ///
    /// # Errors
    /// The run is being written, damaged, or of a version that this one cannot read.
    pub fn read(run: &Run, cost: Option<CostSettings>) -> Result<Self, RebuildError> {
        let id = || run.id().to_string();
        if run.is_running() {
            return Err(RebuildError::Running { id: id() });
        }
        let config = run.config()?;
        let mut settings: Settings = match config.get(ANALYSIS_KEY) {
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|source| RebuildError::Settings { id: id(), source })?,
            None => Settings::default(),
        };
        settings.cost = cost.or(settings.cost);
        let record = read_record(run)?;
        let log = run.log().to_vec();
        let doc = analyse(&Input { log: &log, record: &record, settings: &settings });
        // A run without sensors has no such file.
        let trace = std::fs::read_to_string(run.path().join("power.csv")).unwrap_or_default();
        let trace = Trace::parse(&trace);
        let hardware = read_hardware(run)?;
        Ok(Self { doc, log, record, config, settings, trace, hardware, run: run.clone() })
    }

    /// Every request with its stream, read from the record: reports do without, other tools' definitions do not.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub fn requests(&self) -> Result<Vec<RequestRecord>, RunError> {
        self.run.requests(Chunks::Read)?.collect()
    }

    /// All readings of the sensors, read from the record; `None` when nothing was sampled.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sensors(&self) -> std::io::Result<Option<Sensors>> {
        match std::fs::read_to_string(self.run.path().join("power.csv")) {
            Ok(text) => Ok(Sensors::of_csv(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same run in the definitions of another tool.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub fn dialect(&self, dialect: Dialect) -> Result<DialectView, RunError> {
        Ok(dialect::view(dialect, &self.log, &self.requests()?, &self.doc))
    }

    /// The view that every report is made from.
    pub fn view(&self, lang: Lang) -> View<'_> {
        let Self { doc, log, record, config, trace, hardware, .. } = self;
        View { doc, log, record, config, trace, hardware, lang }
    }
}

/// Reads the kernel table and the roofline of a run, where it has them.
fn read_hardware(run: &Run) -> Result<Hardware, RebuildError> {
    let kernels = kernel_table::read(run.path())?.unwrap_or_default();
    let roofline = match std::fs::read(run.path().join("roofline.json")) {
        Ok(bytes) => Some(
            serde_json::from_slice(&bytes)
                .map_err(|source| RebuildError::Roofline { id: run.id().to_string(), source })?,
        ),
        Err(_) => None,
    };
    Ok(Hardware { kernels, roofline })
}

/// Reads the requests of a run, and their gaps in the form that their number asks for.
fn read_record(run: &Run) -> Result<Recorded, RunError> {
    let mut rows: Vec<RequestRow> = Vec::with_capacity(usize::try_from(run.request_count()?).unwrap_or(0));
    for row in run.rows()? {
        rows.push(row?);
    }
    let with_gaps = rows.iter().filter(|r| r.phase == Phase::Measure && r.end == EndKind::Ok);
    let count: u64 = with_gaps.filter_map(|r| r.stream).map(|s| s.gaps()).sum();
    if count <= EXACT_GAPS {
        let mut gaps = ExactGaps::default();
        for record in run.requests(Chunks::Read)? {
            gaps.take(&record?);
        }
        if gaps.count() == count {
            return Ok(Recorded::exact(rows, gaps));
        }
        // The run dropped its chunks: what they came to is all there is.
    }
    if let Some(streams) = run.streams()?.filter(|s| s.gap_count() == count) {
        return Ok(Recorded::binned(rows, streams));
    }
    let streams = sum_up(run)?;
    if streams.gap_count() != count {
        return Ok(Recorded::without_gaps(rows));
    }
    run.write_streams(&streams)?;
    Ok(Recorded::binned(rows, streams))
}

/// Makes the histograms of a run from its chunks.
fn sum_up(run: &Run) -> Result<Streams, RunError> {
    let mut recorder = StreamRecorder::default();
    let mut streams = Streams::default();
    for record in run.requests(Chunks::Read)? {
        if let Some((key, gaps)) = recorder.take(&record?) {
            streams.gaps.entry(key).or_default().append(gaps);
        }
    }
    let (rest, tokens) = recorder.finish();
    for (key, gaps) in rest {
        streams.gaps.entry(key).or_default().append(gaps);
    }
    streams.tokens = tokens;
    Ok(streams)
}

/// Analyses a run and writes `metrics.json`, `report.csv` and `report.html` into it, each under a temporary name first.
///
/// # Errors
/// As [`Analysed::read`], and when the directory cannot be written.
pub fn write_all(run: &Run, lang: Lang, cost: Option<CostSettings>) -> Result<Analysed, RebuildError> {
    let analysed = Analysed::read(run, cost)?;
    let view = analysed.view(lang);
    run.write_file("metrics.json", json(view.doc).as_bytes())?;
    run.write_file("report.csv", csv(view.doc).as_bytes())?;
    run.write_file("report.html", html(&view).as_bytes())?;
    Ok(analysed)
}
