//! Calibrations between runs: one file a machine in the user's cache folder.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stopwatt_core::ceiling::ClientCeiling;
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_record::config::environment;

use crate::bench::BenchError;

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    machine: Fingerprint,
    ceiling: ClientCeiling,
}

/// The calibration of this machine and this version of Stopwatt, if there is one.
pub fn load() -> Option<ClientCeiling> {
    let machine = stopwatt_sensor::host::fingerprint();
    let text = std::fs::read(path(&machine)?).ok()?;
    // One of another format is as good as none: it is measured anew.
    let stored: Stored = serde_json::from_slice(&text).ok()?;
    (stored.machine == machine).then_some(stored.ceiling)
}

/// Keeps a calibration of this machine. A quick one never replaces a full one.
pub fn save(ceiling: &ClientCeiling) -> Result<(), BenchError> {
    if ceiling.quick && load().is_some_and(|old| !old.quick) {
        return Ok(());
    }
    let failed = |problem: String| BenchError::Calibration { problem: format!("keep the result: {problem}") };
    let machine = stopwatt_sensor::host::fingerprint();
    let path = path(&machine).ok_or_else(|| failed("neither XDG_CACHE_HOME nor HOME is set".to_owned()))?;
    let stored = Stored { machine, ceiling: ceiling.clone() };
    let text = serde_json::to_vec_pretty(&stored).map_err(|e| failed(e.to_string()))?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&temporary, text)?;
        std::fs::rename(&temporary, &path)
    };
    write().map_err(|e| failed(e.to_string()))
}

fn path(machine: &Fingerprint) -> Option<PathBuf> {
    let text = serde_json::to_vec(machine).ok()?;
    // FNV-1a: only to tell machines apart that share a home folder; what is loaded is compared whole.
    let hash =
        text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    Some(environment::cache_folder()?.join(format!("client-{hash:016x}.json")))
}
