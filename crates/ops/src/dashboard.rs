//! A Grafana dashboard of what the proxy, the rules and dcgm-exporter tell.
//!
//! Variables choose data source, instance, variant and GPU; no uid is fixed, so any Grafana can import it. Rendering was
//! never seen by a test: what is tested is that Prometheus reads and answers every expression.

use serde_json::{Value, json};

/// Selector of the proxy's series.
const OURS: &str = r#"instance=~"$instance",variant=~"$variant""#;
/// Selector of GPUs.
const GPU: &str = r#"gpu=~"$gpu""#;

/// A panel: title, unit in Grafana's words, expressions with their legends.
struct Panel {
    title: &'static str,
    unit: &'static str,
    series: &'static [(&'static str, &'static str)],
}

const fn panel(
    title: &'static str,
    unit: &'static str,
    series: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel { title, unit, series }
}

/// `OURS` and `GPU` stand for their selectors, `WINDOW` for Grafana's choice of a window.
const ROWS: &[(&str, &[Panel])] = &[
    (
        "Service",
        &[
            panel(
                "Requests by end",
                "reqps",
                &[("sum by (end) (rate(stopwatt_requests_total{OURS}[WINDOW]))", "{{end}}")],
            ),
            panel(
                "First token",
                "s",
                &[
                    (
                        "histogram_quantile(0.5, sum by (le) (rate(stopwatt_ttft_seconds_bucket{OURS}[WINDOW])))",
                        "p50",
                    ),
                    (
                        "histogram_quantile(0.95, sum by (le) (rate(stopwatt_ttft_seconds_bucket{OURS}[WINDOW])))",
                        "p95",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (le) (rate(stopwatt_ttft_seconds_bucket{OURS}[WINDOW])))",
                        "p99",
                    ),
                ],
            ),
            panel(
                "Between tokens",
                "s",
                &[
                    (
                        "histogram_quantile(0.5, sum by (le) (rate(stopwatt_itl_seconds_bucket{OURS}[WINDOW])))",
                        "p50",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (le) (rate(stopwatt_itl_seconds_bucket{OURS}[WINDOW])))",
                        "p99",
                    ),
                ],
            ),
            panel(
                "Whole answers",
                "s",
                &[
                    (
                        "histogram_quantile(0.5, sum by (le) (rate(stopwatt_e2e_seconds_bucket{OURS}[WINDOW])))",
                        "p50",
                    ),
                    (
                        "histogram_quantile(0.95, sum by (le) (rate(stopwatt_e2e_seconds_bucket{OURS}[WINDOW])))",
                        "p95",
                    ),
                ],
            ),
            panel(
                "Tokens",
                "short",
                &[
                    ("sum(rate(stopwatt_output_tokens_total{OURS}[WINDOW]))", "generated a second"),
                    ("sum(rate(stopwatt_prompt_tokens_total{OURS}[WINDOW]))", "of prompts a second"),
                ],
            ),
            panel("Share of bad events, 1 h", "percentunit", &[("slo:stopwatt_bad:ratio_1h", "{{slo}}")]),
        ],
    ),
    (
        "Upstreams",
        &[
            panel("Admitted", "short", &[("stopwatt_upstream_admitted{OURS}", "{{upstream}}")]),
            panel(
                "Running and waiting",
                "short",
                &[
                    ("stopwatt_upstream_running{OURS}", "{{upstream}} running"),
                    ("stopwatt_upstream_waiting{OURS}", "{{upstream}} waiting"),
                ],
            ),
            panel(
                "KV cache in use",
                "percentunit",
                &[("stopwatt_upstream_kv_usage_ratio{OURS}", "{{upstream}}")],
            ),
            panel(
                "Prefix cache hits",
                "percentunit",
                &[(
                    "rate(stopwatt_upstream_prefix_cache_hits_total{OURS}[WINDOW]) / rate(stopwatt_upstream_prefix_cache_queries_total{OURS}[WINDOW])",
                    "{{upstream}}",
                )],
            ),
            panel(
                "Second attempts and broken streams",
                "reqps",
                &[
                    (
                        "sum by (upstream) (rate(stopwatt_retries_total{OURS}[WINDOW]))",
                        "{{upstream}} retries",
                    ),
                    ("sum by (upstream) (rate(stopwatt_hedges_total{OURS}[WINDOW]))", "{{upstream}} hedges"),
                    (
                        "sum by (upstream) (rate(stopwatt_streams_marked_total{OURS}[WINDOW]))",
                        "{{upstream}} broken",
                    ),
                ],
            ),
            panel(
                "Ejections",
                "short",
                &[(
                    "sum by (upstream, reason) (increase(stopwatt_ejections_total{OURS}[WINDOW]))",
                    "{{upstream}} {{reason}}",
                )],
            ),
        ],
    ),
    (
        "Variants",
        &[
            panel(
                "First token, p95",
                "s",
                &[(
                    "histogram_quantile(0.95, sum by (le, variant) (rate(stopwatt_ttft_seconds_bucket{OURS}[WINDOW])))",
                    "{{variant}}",
                )],
            ),
            panel(
                "Share of failed requests",
                "percentunit",
                &[(
                    "sum by (variant) (rate(stopwatt_requests_total{OURS,end!~\"answered|client_gone\"}[WINDOW])) / sum by (variant) (rate(stopwatt_requests_total{OURS,end!=\"client_gone\"}[WINDOW]))",
                    "{{variant}}",
                )],
            ),
        ],
    ),
    (
        "GPUs",
        &[
            panel("Power", "watt", &[("DCGM_FI_DEV_POWER_USAGE{GPU}", "GPU {{gpu}}")]),
            panel("Temperature", "celsius", &[("DCGM_FI_DEV_GPU_TEMP{GPU}", "GPU {{gpu}}")]),
            panel(
                "Memory in use",
                "percentunit",
                &[(
                    "DCGM_FI_DEV_FB_USED{GPU} / (DCGM_FI_DEV_FB_USED{GPU} + DCGM_FI_DEV_FB_FREE{GPU})",
                    "GPU {{gpu}}",
                )],
            ),
            panel("Last Xid", "short", &[("DCGM_FI_DEV_XID_ERRORS{GPU}", "GPU {{gpu}}")]),
            panel(
                "Joules a generated token",
                "joule",
                &[(
                    "sum(rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{GPU}[WINDOW])) / 1000 / sum(rate(stopwatt_output_tokens_total{OURS}[WINDOW]))",
                    "all GPUs",
                )],
            ),
        ],
    ),
];

fn expression(text: &str) -> String {
    text.replace("OURS", OURS).replace("{GPU}", &format!("{{{GPU}}}")).replace("WINDOW", "$__rate_interval")
}

/// Every expression as Prometheus gets it when all of everything is chosen.
pub fn expressions() -> Vec<String> {
    let panels = ROWS.iter().flat_map(|(_, panels)| panels.iter());
    let all = panels.flat_map(|p| p.series.iter()).map(|(text, _)| expression(text));
    all.map(|e| {
        ["$instance", "$variant", "$gpu"]
            .iter()
            .fold(e, |e, name| e.replace(name, ".*"))
            .replace("$__rate_interval", "5m")
    })
    .collect()
}

/// The dashboard, for Grafana's import.
pub fn dashboard() -> Value {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let variable = |name: &str, label: &str, query: &str| {
        json!({
            "name": name, "label": label, "type": "query", "datasource": source, "query": query, "refresh": 2,
            "includeAll": true, "multi": true, "allValue": ".*", "current": { "text": "All", "value": "$__all" },
        })
    };
    let (mut panels, mut y, mut id) = (Vec::new(), 0, 0);
    let mut next = || {
        id += 1;
        id
    };
    for (title, row) in ROWS {
        panels.push(json!({
            "id": next(), "type": "row", "title": title, "collapsed": false, "panels": [],
            "gridPos": { "h": 1, "w": 24, "x": 0, "y": y },
        }));
        y += 1;
        for (i, panel) in row.iter().enumerate() {
            let targets: Vec<Value> = panel
                .series
                .iter()
                .zip('A'..)
                .map(|((text, legend), reference)| {
                    json!({
                        "refId": reference.to_string(), "datasource": source,
                        "expr": expression(text), "legendFormat": legend,
                    })
                })
                .collect();
            panels.push(json!({
                "id": next(), "type": "timeseries", "title": panel.title, "datasource": source, "targets": targets,
                "fieldConfig": { "defaults": { "unit": panel.unit, "min": 0 }, "overrides": [] },
                "options": { "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } },
                "gridPos": { "h": 8, "w": 8, "x": i % 3 * 8, "y": y + i / 3 * 8 },
            }));
        }
        y += row.len().div_ceil(3) * 8;
    }
    json!({
        "title": "Stopwatt", "uid": null, "tags": ["stopwatt", "llm"], "schemaVersion": 38, "version": 1,
        "editable": true, "refresh": "15s", "time": { "from": "now-1h", "to": "now" }, "panels": panels,
        "templating": { "list": [
            { "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1 },
            variable("instance", "Instance", "label_values(stopwatt_requests_total, instance)"),
            variable("variant", "Variant", "label_values(stopwatt_requests_total, variant)"),
            variable("gpu", "GPU", "label_values(DCGM_FI_DEV_GPU_TEMP, gpu)"),
        ] },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_have_places_of_their_own_and_no_fixed_source() {
        let dashboard = dashboard();
        let panels = dashboard["panels"].as_array().unwrap();
        let mut places = std::collections::BTreeSet::new();
        for panel in panels {
            assert!(places.insert(panel["gridPos"].to_string()), "{panel}");
            assert!(panel["type"] == "row" || panel["datasource"]["uid"] == "${datasource}");
        }
        assert_eq!(panels.len(), ROWS.iter().map(|(_, row)| row.len() + 1).sum::<usize>());
        assert!(
            expressions().iter().all(|e| !e.contains(['$']) && !e.contains("OURS") && !e.contains("WINDOW"))
        );
    }
}
