//! `--table`: measured kernels for predictions, from runs, from files, and those that come with the program.

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use stopwatt_core::kernel_table::KernelRow;
use stopwatt_core::log::Fact;
use stopwatt_predict::hardware::{self, Gpu};
use stopwatt_predict::latency::{CheckDoc, KernelTable, Latency, check, check_imported, stands_for_vllm};
use stopwatt_predict::predict::{ImportedDoc, TableDoc};
use stopwatt_record::aic::{self, Imported};
use stopwatt_record::run_dir::Run;
use stopwatt_record::shipped::ShippedRun;
use stopwatt_record::{catalogue, kernel_table};

use super::Failure;
use crate::exit::Outcome;

/// Tables that are part of the program, by the id of their device; `hardware/manifest.json` says where they are from.
const BUILT_IN: &[(&str, &[u8])] = &[
    ("h100-sxm", include_bytes!("../../../../hardware/h100-sxm.parquet")),
    ("h200-sxm", include_bytes!("../../../../hardware/h200-sxm.parquet")),
];

/// Which measured kernels to use.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct TableFlags {
    /// Measured kernels: a run of `profile`, or a Parquet file of one; may be repeated [default: those that come with
    /// Stopwatt for the device]; `aic:PATH` is a copy of AIConfigurator's tables, which answer where nothing was measured
    #[arg(long = "table", value_name = "RUN|FILE|aic:PATH")]
    pub(super) tables: Vec<String>,
    /// Use no measured kernels that come with Stopwatt: those of --table, else the data sheet alone
    #[arg(long)]
    pub(super) no_table: bool,
}

/// What names a copy of AIConfigurator's tables.
const AIC: &str = "aic:";

/// Rows that somebody else measured.
struct Foreign {
    table: KernelTable,
    doc: ImportedDoc,
}

/// A table that was read.
pub(super) struct Found {
    pub(super) rows: Vec<KernelRow>,
    /// The device by its own name.
    device: Option<String>,
    /// The run that measured it; `None` for a file alone.
    pub(super) run: Option<ShippedRun>,
}

/// Whether `--gpu` names measured kernels, and with them their device.
pub(super) fn is_table(text: &str) -> bool {
    let path = Path::new(text);
    path.extension().is_some_and(|e| e == "parquet") || path.join(kernel_table::FILE).is_file()
}

/// Reads a table.
pub(super) fn read(text: &str) -> anyhow::Result<Found> {
    let configuration = |problem: anyhow::Error| {
        Failure::new(Outcome::Configuration, problem)
            .hint("give a run of `stopwatt profile`, or its kernels.parquet")
    };
    if Path::new(text).extension().is_some_and(|e| e == "parquet") {
        let bytes = std::fs::read(text).with_context(|| format!("failed to read {text}"))?;
        let device = kernel_table::note(bytes.clone(), "stopwatt.device")
            .map_err(|e| configuration(anyhow::Error::new(e).context(format!("failed to read {text}"))))?;
        let rows = kernel_table::decode(bytes)
            .map_err(|e| configuration(anyhow::Error::new(e).context(format!("failed to read {text}"))))?;
        return Ok(Found { rows, device: device.filter(|name| !name.is_empty()), run: None });
    }
    let path = catalogue::resolve(&super::runs_root(), text)?;
    let rows = kernel_table::read(&path)
        .map_err(|e| configuration(e.into()))?
        .ok_or_else(|| configuration(anyhow::anyhow!("{text} holds no measured kernels")))?;
    let run = Run::open(&path)?;
    let fingerprint = run.log().iter().find_map(|line| match &line.fact {
        Fact::Fingerprint { fingerprint } => Some(fingerprint),
        _ => None,
    });
    // The profiled device names itself; a machine may hold others beside it.
    let device = fingerprint.and_then(|f| f.engine.get("model").or(f.gpus.first()).cloned());
    let run = ShippedRun {
        run_id: run.id().to_string(),
        started_unix_ns: run.clock().t0_unix_ns,
        device: device.clone(),
        driver: fingerprint.and_then(|f| f.driver.clone()),
        fixed_clock: fingerprint.and_then(|f| f.fixed_clock),
        stopwatt: fingerprint.map(|f| f.stopwatt.clone()).unwrap_or_default(),
    };
    Ok(Found { rows, device, run: Some(run) })
}

/// The device that measured kernels are from.
pub(super) fn device_of(text: &str) -> anyhow::Result<Gpu> {
    let found = read(text)?;
    let name = found.device.as_deref().unwrap_or("an unnamed device");
    hardware::preset(name).cloned().ok_or_else(|| {
        let problem = anyhow::anyhow!("{text} was measured on {name}, whose figures are not known");
        Failure::new(Outcome::Configuration, problem)
            .hint("give the device with --gpu NAME|FILE and the kernels with --table")
            .into()
    })
}

impl TableFlags {
    /// Rows and where they are from; `gpu` is what `--gpu` said.
    pub(super) fn read(&self, asked: &str, gpu: &Gpu) -> anyhow::Result<(Vec<KernelRow>, Vec<String>)> {
        let mut names: Vec<&str> =
            self.tables.iter().map(String::as_str).filter(|name| !name.starts_with(AIC)).collect();
        if is_table(asked) {
            names.insert(0, asked);
        }
        if names.is_empty() && self.no_table {
            return Ok((Vec::new(), Vec::new()));
        }
        if names.is_empty() {
            let Some((id, bytes)) = BUILT_IN.iter().find(|(id, _)| *id == gpu.id) else {
                return Ok((Vec::new(), Vec::new()));
            };
            let rows =
                kernel_table::decode(bytes.to_vec()).context("failed to read the table that is built in")?;
            return Ok((rows, vec![format!("built in: {id}")]));
        }
        let mut rows = Vec::new();
        for name in &names {
            let found = read(name)?;
            let other =
                found.device.as_deref().filter(|d| hardware::preset(d).is_none_or(|g| g.id != gpu.id));
            if let Some(device) = other {
                eprintln!("warning: {name} was measured on {device}, not on {}", gpu.name);
            }
            rows.extend(found.rows);
        }
        let last = |name: &str| {
            Path::new(name).file_name().map_or_else(|| name.to_owned(), |f| f.to_string_lossy().into_owned())
        };
        Ok((rows, names.into_iter().map(last).collect()))
    }

    /// The measured rows as a table, as they were measured; `None` without any.
    pub(super) fn table(&self, asked: &str, gpu: &Gpu) -> anyhow::Result<Option<KernelTable>> {
        let (rows, sources) = self.read(asked, gpu)?;
        if sources.is_empty() {
            return Ok(None);
        }
        let table =
            KernelTable::new(&rows, gpu).map_err(|e| Failure::new(Outcome::Configuration, e.into()))?;
        Ok(Some(table))
    }

    /// Times of operators as vLLM runs them, and what they rest on.
    pub(super) fn latency(&self, asked: &str, gpu: Gpu) -> anyhow::Result<(Latency, Option<TableDoc>)> {
        let (mut rows, sources) = self.read(asked, &gpu)?;
        let foreign = self.foreign(&gpu)?;
        let with = |latency: Latency| match &foreign {
            Some(foreign) => latency.with_imported(foreign.table.clone()),
            None => latency,
        };
        let imported = foreign.as_ref().map(|f| f.doc.clone());
        if sources.is_empty() {
            let doc = imported.map(|imported| TableDoc {
                sources: Vec::new(),
                rows: 0,
                flagged: Vec::new(),
                other_kernels: 0,
                imported: Some(imported),
            });
            return Ok((with(Latency::of_datasheet(gpu)), doc));
        }
        let all = rows.len();
        rows.retain(stands_for_vllm);
        let table =
            KernelTable::new(&rows, &gpu).map_err(|e| Failure::new(Outcome::Configuration, e.into()))?;
        let doc = TableDoc {
            sources,
            rows: table.rows(),
            flagged: table.flagged(),
            other_kernels: all - rows.len(),
            imported,
        };
        Ok((with(Latency::of_table(gpu, table)), Some(doc)))
    }

    /// Rows of the device that somebody else measured; `None` where nobody asked for any.
    fn foreign(&self, gpu: &Gpu) -> anyhow::Result<Option<Foreign>> {
        let is_device = |name: &str| hardware::preset(name).is_some_and(|known| known.id == gpu.id);
        let mut all = Imported::default();
        for place in self.tables.iter().filter_map(|name| name.strip_prefix(AIC)) {
            let found = aic::read(Path::new(place), &is_device).map_err(|e| {
                Failure::new(Outcome::Configuration, e.into())
                    .hint("give the folder of an installed aiconfigurator, or its systems/data/<gpu>")
            })?;
            all.rows.extend(found.rows);
            all.files.extend(found.files);
            found.left_out.into_iter().for_each(|(why, n)| *all.left_out.entry(why).or_default() += n);
        }
        if all.files.is_empty() {
            return Ok(None);
        }
        let table = KernelTable::imported(&all.rows, gpu)
            .map_err(|e| Failure::new(Outcome::Configuration, e.into()))?;
        let doc = ImportedDoc {
            sources: all.files.iter().map(|file| format!("aiconfigurator: {file}")).collect(),
            rows: table.rows(),
            flagged: table.flagged().len(),
            without_counterpart: all.left_out,
        };
        Ok(Some(Foreign { table, doc }))
    }

    /// How well rows predict each other; `None` without any.
    pub(super) fn check(&self, asked: &str, gpu: &Gpu) -> anyhow::Result<Option<CheckDoc>> {
        let (own, foreign) = (self.table(asked, gpu)?, self.foreign(gpu)?);
        if own.is_none() && foreign.is_none() {
            return Ok(None);
        }
        let mut doc = own.as_ref().map(check).unwrap_or_default();
        doc.imported = foreign.map(|f| Box::new(check_imported(&f.table, own.as_ref())));
        Ok(Some(doc))
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_record::shipped::{Manifest, sha256};

    use super::*;

    #[test]
    fn what_is_built_in_is_what_the_manifest_says() {
        let manifest: Manifest =
            serde_json::from_str(include_str!("../../../../hardware/manifest.json")).unwrap();
        let stated: Vec<_> = manifest.tables.iter().map(|t| (t.gpu.as_str(), t.sha256.clone())).collect();
        let built: Vec<_> = BUILT_IN.iter().map(|(id, bytes)| (*id, sha256(bytes))).collect();
        assert_eq!(stated, built, "hardware/ and BUILT_IN name the same tables");
        let size: usize = BUILT_IN.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(size < 300_000, "{size} bytes");
    }

    #[test]
    fn built_in_tables_predict_their_own_rows() {
        for (id, _) in BUILT_IN {
            let gpu = hardware::preset(id).unwrap();
            let table = TableFlags::default().table(id, gpu).unwrap().unwrap();
            let doc = check(&table);
            let products = |what: &str| {
                let all = |r: &&stopwatt_predict::latency::CheckRow| r.tier.is_none() && r.left_out == what;
                doc.errors.iter().find(|r| r.op.name() == "linear" && all(r)).unwrap()
            };
            let (row, shape) = (products("row"), products("shape"));
            assert!(row.median < 0.03 && row.p90 < 0.09, "{id}: {row:?}");
            assert!(shape.median < 0.04, "{id}: {shape:?}");
            let coverage = row.coverage90.unwrap();
            assert!((0.85..=0.97).contains(&coverage), "{id}: {coverage}");
        }
    }
}
