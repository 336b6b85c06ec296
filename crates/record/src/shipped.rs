//! Kernel tables that come with Stopwatt: one Parquet file a device under `hardware/`, and a manifest that says where
//! each is from.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stopwatt_core::kernel_table::{KernelRow, Outcome};

use crate::kernel_table::{self, KernelTableError};
use crate::run_dir::{RunError, write_atomically};

/// Name of the manifest in its folder.
pub const MANIFEST: &str = "manifest.json";

/// Where the tables of a folder are from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// One entry a device.
    pub tables: Vec<Shipped>,
}

/// Where a table is from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shipped {
    /// Id of the device, as `--gpu` takes it.
    pub gpu: String,
    /// File beside the manifest.
    pub file: String,
    /// SHA-256 of it.
    pub sha256: String,
    /// Measured rows in it.
    pub rows: usize,
    /// The runs that measured it.
    pub runs: Vec<ShippedRun>,
}

/// A run that a table is from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShippedRun {
    /// Its id.
    pub run_id: String,
    /// When it began, in UNIX nanoseconds.
    pub started_unix_ns: i64,
    /// The device by its own name.
    pub device: Option<String>,
    /// Driver of the device.
    pub driver: Option<String>,
    /// Whether clocks were fixed; `null` where nothing could tell.
    pub fixed_clock: Option<bool>,
    /// Version of Stopwatt that measured.
    pub stopwatt: String,
}

/// SHA-256 as hex digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes the measured rows as the table of `gpu` into a folder, in place of the one that is there, and enters it into
/// the manifest.
///
/// # Errors
/// The folder cannot be written, or its manifest cannot be read.
pub fn ship(
    folder: &Path,
    gpu: &str,
    rows: &[KernelRow],
    runs: Vec<ShippedRun>,
) -> Result<Shipped, KernelTableError> {
    let measured: Vec<KernelRow> =
        rows.iter().filter(|row| matches!(row.outcome, Outcome::Measured { .. })).cloned().collect();
    let file = format!("{gpu}.parquet");
    let device = runs.iter().find_map(|run| run.device.clone()).unwrap_or_default();
    let bytes =
        kernel_table::encode(&measured, &[("stopwatt.gpu", gpu.to_owned()), ("stopwatt.device", device)])?;
    let path = folder.join(MANIFEST);
    let mut manifest = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice::<Manifest>(&text).map_err(|source| RunError::Damaged {
            line: source.line(),
            path: path.clone(),
            source,
        })?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Manifest::default(),
        Err(source) => return Err(KernelTableError::Io { path, source }),
    };
    std::fs::create_dir_all(folder)
        .map_err(|source| KernelTableError::Io { path: folder.to_owned(), source })?;
    let entry = Shipped { gpu: gpu.to_owned(), sha256: sha256(&bytes), rows: measured.len(), runs, file };
    manifest.tables.retain(|other| other.gpu != gpu);
    manifest.tables.push(entry.clone());
    manifest.tables.sort_by(|a, b| a.gpu.cmp(&b.gpu));
    write_atomically(&folder.join(&entry.file), &bytes)?;
    let mut text =
        serde_json::to_vec_pretty(&manifest).map_err(|source| RunError::Json { what: MANIFEST, source })?;
    text.push(b'\n');
    write_atomically(&path, &text)?;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use stopwatt_core::kernel_table::*;

    use super::*;

    #[test]
    fn a_newer_table_replaces_the_older_one_and_leaves_the_others() {
        let op = Op {
            kind: OpKind::Linear,
            shape: Shape::Matrix { m: 1, n: 2, k: 3 },
            dtypes: Dtypes::all(Dtype::Bf16),
        };
        let skipped = KernelRow {
            op,
            provider: Provider::Native,
            kernel: None,
            grid: None,
            block: None,
            launch: Launch::Graph,
            cache: CacheState::Cold,
            clocks: Clocks::default(),
            outcome: Outcome::Skipped { reason: "x".to_owned() },
            unsteady: None,
        };
        let time = Sampled {
            n: 20,
            calls: 1,
            discarded: 0,
            median_s: 1e-5,
            mad_s: 0.0,
            mean_s: 1e-5,
            lo_s: None,
            hi_s: None,
            settled: true,
            rounds: 1,
            between: None,
        };
        let measured = KernelRow { outcome: Outcome::Measured { time, deviation: 0.0 }, ..skipped.clone() };
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("hardware");
        ship(&folder, "b", std::slice::from_ref(&measured), Vec::new()).unwrap();
        ship(&folder, "a", &[measured.clone(), skipped], Vec::new()).unwrap();
        let entry = ship(&folder, "b", &[measured.clone(), measured.clone()], Vec::new()).unwrap();
        let text = std::fs::read_to_string(folder.join(MANIFEST)).unwrap();
        let manifest: Manifest = serde_json::from_str(&text).unwrap();
        let rows: Vec<_> = manifest.tables.iter().map(|t| (t.gpu.as_str(), t.rows)).collect();
        assert_eq!(rows, [("a", 1), ("b", 2)]);
        let bytes = std::fs::read(folder.join(&entry.file)).unwrap();
        assert_eq!((sha256(&bytes), kernel_table::decode(bytes).unwrap().len()), (entry.sha256, 2));
    }
}
