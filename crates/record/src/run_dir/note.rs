//! What is decided about a run after it has ended.

use stopwatt_core::log::{Fact, LogEvent};

use super::{LOG, Run, RunError, write_atomically};

impl Run {
    /// Appends a line to the log of a run that has ended: the old log is replaced by the longer one, whole or not at
    /// all.
    ///
    /// # Errors
    /// The log cannot be read or written.
    pub fn note(&self, fact: Fact) -> Result<(), RunError> {
        let path = self.path().join(LOG);
        let mut bytes = std::fs::read(&path).map_err(RunError::io("read", &path))?;
        let event = LogEvent { t_ns: self.clock().now(), fact };
        let line = serde_json::to_vec(&event)
            .map_err(|source| RunError::Json { what: "a line of run.log", source })?;
        bytes.extend_from_slice(&line);
        bytes.push(b'\n');
        write_atomically(&path, &bytes)
    }
}
