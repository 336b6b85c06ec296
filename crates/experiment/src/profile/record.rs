//! The run that a profile or a measured roofline is written to.

use std::path::{Path, PathBuf};

use stopwatt_core::Clock;
use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::verdict::Remark;
use stopwatt_kernel::case::About;
use stopwatt_record::run_dir::{Create, RunError, RunWriter};
use stopwatt_sensor::host;

use crate::fingerprint::{InputConfig, Looked, look};

/// A measurement that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// The run's folder.
    pub path: PathBuf,
    /// Why it is incomplete; `None` when everything was measured.
    pub cut: Option<String>,
}

/// A run being written.
pub(super) struct Recording {
    pub(super) writer: RunWriter,
    clock: Clock,
}

impl Recording {
    pub(super) fn create(
        name: &str,
        lock: &serde_json::Value,
        root: &Path,
        out: Option<PathBuf>,
    ) -> Result<Self, RunError> {
        let clock = Clock::start();
        let create = Create { root: root.to_owned(), out, name: name.to_owned(), clock, keep_chunks: false };
        Ok(Self { writer: RunWriter::create(create, lock)?, clock })
    }

    pub(super) fn stage(&self, stage: &str) -> Result<(), RunError> {
        self.writer.log(Fact::Stage { stage: stage.to_owned() })
    }

    /// Says what the machine and the devices are.
    pub(super) fn fingerprint(&self, devices: &[About]) -> Result<(), RunError> {
        let mut fingerprint = look(&Looked {
            command: Err("kernels are run by Stopwatt itself".to_owned()),
            inputs: InputConfig::default(),
        });
        for about in devices {
            let of = |what: &str| format!("{}.{what}", about.kind);
            fingerprint.engine.insert("model".to_owned(), about.name.clone());
            fingerprint.engine.insert(of("units"), about.units.to_string());
            fingerprint.engine.insert(of("instructions"), about.instructions.clone());
            fingerprint.engine.extend(about.libraries.iter().cloned());
        }
        self.writer.log(Fact::Fingerprint { fingerprint })
    }

    pub(super) fn warn(&self, remark: &Remark) -> Result<(), RunError> {
        self.writer.log(Fact::warning(remark))
    }

    /// Closes the run; `cut` says why it is not complete.
    pub(super) fn close(self, cut: Option<String>) -> Result<Finished, RunError> {
        let status = if cut.is_some() { RunStatus::Incomplete } else { RunStatus::Complete };
        let ended = Fact::RunEnded {
            status,
            reason: cut.clone(),
            client_rss_bytes: host::own_peak_rss_bytes(),
            wall_drift_ns: self.clock.wall_drift(),
        };
        let path = self.writer.path().to_owned();
        let logged = self.writer.log(ended);
        self.writer.finish()?;
        logged?;
        Ok(Finished { path, cut })
    }
}
