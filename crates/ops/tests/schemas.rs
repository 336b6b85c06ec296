//! Holds the files of `schemas/` to the types that are printed; `UPDATE_SCHEMAS=1` writes them anew.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use schemars::JsonSchema;
use stopwatt_ops::chaos::ChaosReport;
use stopwatt_ops::history::History;

fn check<T: JsonSchema>(name: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(name);
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "schemas/{name} is stale: UPDATE_SCHEMAS=1 cargo test -p stopwatt-ops schemas");
}

#[test]
fn the_schemas_in_the_repository_are_up_to_date() {
    check::<ChaosReport>("chaos.schema.json");
    check::<History>("watch-history.schema.json");
}
