//! The files under `schemas/`: the JSON that Stopwatt writes, for those who read it with other tools.
//!
//! Each is made from the very type that writes, and a test fails when a file is stale; `UPDATE_SCHEMAS=1 cargo test
//! -p stopwatt-record schemas` writes them anew.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use stopwatt_core::cache_counters::NcuDocument;
use stopwatt_core::ceiling::ClientCeiling;
use stopwatt_core::comparison::{AcceptanceDoc, ComparisonDoc};
use stopwatt_core::expectations::{ExpectationReport, Expectations};
use stopwatt_core::kernel_table::{KernelMovement, KernelTable};
use stopwatt_core::log::LogEvent;
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_core::reproduction::ReproductionDoc;
use stopwatt_core::roofline::Roofline;
use stopwatt_core::workload_pairs::{PairsComparison, PairsDoc};

use crate::config::{ConfigLock, schema_text};
use crate::shipped::Manifest;

/// Every schema by file name.
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        ("metrics.schema.json", of::<MetricsDoc>()),
        ("comparison.schema.json", of::<ComparisonDoc>()),
        ("acceptance.schema.json", of::<AcceptanceDoc>()),
        ("expectations.schema.json", of::<Expectations>()),
        ("expectation-report.schema.json", of::<ExpectationReport>()),
        ("reproduction.schema.json", of::<ReproductionDoc>()),
        ("config.lock.schema.json", of::<ConfigLock>()),
        ("run.log.schema.json", of::<LogEvent>()),
        ("ncu.schema.json", of::<NcuDocument>()),
        ("calibration.schema.json", of::<ClientCeiling>()),
        ("roofline.schema.json", of::<Roofline>()),
        ("kernel-table.schema.json", of::<KernelTable>()),
        ("kernel-movement.schema.json", of::<KernelMovement>()),
        ("targets.schema.json", of::<PairsDoc>()),
        ("targets-compare.schema.json", of::<PairsComparison>()),
        ("hardware.schema.json", of::<Manifest>()),
    ]
}

/// The schema of what is written: a key that may be `null` is there all the same.
fn of<T: JsonSchema>() -> String {
    schema_text(&SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_schemas_in_the_repository_are_up_to_date() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
        let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
        for (name, text) in all() {
            let path = folder.join(name);
            if update {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            let stored = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                stored == text,
                "schemas/{name} is stale: run UPDATE_SCHEMAS=1 cargo test -p stopwatt-record schemas"
            );
        }
    }
}
