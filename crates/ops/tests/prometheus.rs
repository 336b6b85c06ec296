//! The rule file in Prometheus' own hands: `promtool check rules`, and `promtool test rules` on traffic with a known end.

#![cfg(feature = "external-tests")]

use std::path::Path;
use std::process::Command;

use stopwatt_ops::dashboard;
use stopwatt_ops::rules::{Settings, prometheus};

fn promtool(dir: &Path, args: &[&str]) -> String {
    let ended = Command::new("promtool").args(args).current_dir(dir).output().expect("promtool is installed");
    let text = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{text}");
    text
}

fn written(settings: &Settings) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let compiled = settings.alerts().unwrap();
    std::fs::write(dir.path().join("rules.yml"), prometheus::rule_file(&compiled)).unwrap();
    dir
}

#[test]
fn promtool_reads_every_rule() {
    let settings = Settings {
        selector: [("job".to_owned(), "stop\"watt\\".to_owned())].into(),
        labels: [("team".to_owned(), "추론: \"a\"".to_owned())].into(),
        ..Settings::default()
    };
    let dir = written(&settings);
    let said = promtool(dir.path(), &["check", "rules", "rules.yml"]);
    // 4 objectives × 5 windows × 2 recorded, 4 × 3 burns, 2 of upstreams, 1 of quality, 4 of GPUs.
    assert!(said.contains("SUCCESS: 59 rules found"), "{said}");
}

/// The same traffic as `a_fast_burn_pages_soon_and_ends_soon` and `gauges_fire_…` of the evaluator: one request a second,
/// of which a fifth fails for an hour.
const TESTS: &str = r#"
rule_files: [rules.yml]
evaluation_interval: 30s
tests:
  - interval: 30s
    input_series:
      - series: stopwatt_requests_total{upstream="u",end="answered"}
        values: 0+30x959 28794+24x119 31656+30x400
      - series: stopwatt_requests_total{upstream="u",end="truncated"}
        values: 0x959 6+6x119 720x400
      - series: stopwatt_requests_total{upstream="u",end="client_gone"}
        values: 0+30x1500
    alert_rule_test:
      - eval_time: 8h30m
        alertname: StopwattBudgetBurn
        exp_alerts:
          - exp_labels: {slo: availability, window: 3d, severity: ticket}
            exp_annotations: {summary: "availability burns its budget of 30 days 1.0 times too fast"}
      - eval_time: 8h50m
        alertname: StopwattBudgetBurn
        exp_alerts:
          - exp_labels: {slo: availability, window: 1h, severity: page}
            exp_annotations: {summary: "availability burns its budget of 30 days 14.4 times too fast"}
          - exp_labels: {slo: availability, window: 3d, severity: ticket}
            exp_annotations: {summary: "availability burns its budget of 30 days 1.0 times too fast"}
      - eval_time: 9h10m
        alertname: StopwattBudgetBurn
        exp_alerts:
          - exp_labels: {slo: availability, window: 3d, severity: ticket}
            exp_annotations: {summary: "availability burns its budget of 30 days 1.0 times too fast"}
  - interval: 30s
    input_series:
      - series: DCGM_FI_DEV_GPU_TEMP{gpu="1"}
        values: 60 60 91x17 60x20
      - series: DCGM_FI_DEV_XID_ERRORS{gpu="0"}
        values: 0x4 79x4 31x30
      - series: DCGM_FI_DEV_FB_USED{gpu="0"}
        values: 81x40
      - series: DCGM_FI_DEV_FB_FREE{gpu="0"}
        values: 19x40
      - series: DCGM_FI_DEV_THERMAL_VIOLATION{gpu="0"}
        values: 5x40
      - series: stopwatt_upstream_admitted{upstream="a",variant=""}
        values: 1x4 0x40
      - series: stopwatt_upstream_admitted{upstream="b",variant=""}
        values: 1x40
    alert_rule_test:
      - eval_time: 2m
        alertname: GpuXid
        exp_alerts: []
      - eval_time: 3m
        alertname: GpuXid
        exp_alerts:
          - exp_labels: {gpu: "0", severity: page}
            exp_annotations: {summary: "a GPU reported an Xid error that is not an application's"}
      - eval_time: 6m
        alertname: GpuXid
        exp_alerts: []
      - eval_time: 5m30s
        alertname: GpuHot
        exp_alerts: []
      - eval_time: 6m30s
        alertname: GpuHot
        exp_alerts:
          - exp_labels: {gpu: "1", severity: ticket}
            exp_annotations: {summary: "a GPU is hot"}
      - eval_time: 6m
        alertname: GpuMemoryHigh
        exp_alerts:
          - exp_labels: {gpu: "0", severity: ticket}
            exp_annotations: {summary: "GPU memory is nearly used up"}
      - eval_time: 6m
        alertname: GpuThrottledByHeat
        exp_alerts: []
      - eval_time: 5m
        alertname: StopwattUpstreamOut
        exp_alerts:
          - exp_labels: {upstream: a, severity: page}
            exp_annotations: {summary: "an upstream gets no requests: it is dead, stalled or fails"}
"#;

#[test]
fn promtool_finds_the_alerts_that_the_evaluator_finds() {
    let dir = written(&Settings::default());
    let settings = Settings::default();
    // The evaluator's test has a target of 0.99.
    let objectives = settings
        .objectives
        .iter()
        .filter(|o| o.name == "availability")
        .map(|o| stopwatt_ops::rules::Objective { target: 0.99, ..o.clone() })
        .collect();
    let compiled = Settings { objectives, ..settings }.alerts().unwrap();
    std::fs::write(dir.path().join("rules.yml"), prometheus::rule_file(&compiled)).unwrap();
    std::fs::write(dir.path().join("tests.yml"), TESTS).unwrap();
    promtool(dir.path(), &["test", "rules", "tests.yml"]);
}

#[test]
fn promtool_reads_every_expression_of_the_dashboard() {
    let dir = tempfile::tempdir().unwrap();
    let all = dashboard::expressions();
    let rules: Vec<_> = all.iter().map(|e| serde_json::json!({ "record": "x", "expr": e })).collect();
    let file = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    // JSON is YAML.
    std::fs::write(dir.path().join("rules.yml"), file.to_string()).unwrap();
    let said = promtool(dir.path(), &["check", "rules", "--lint=none", "rules.yml"]);
    assert!(said.contains(&format!("SUCCESS: {} rules found", all.len())), "{said}");
}
