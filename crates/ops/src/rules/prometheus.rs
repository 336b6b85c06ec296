//! The rules as a file for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Compiled;
use super::alert::{Alert, Bad, Burn, Condition, Events, Match, Selector};

/// Metric with the share of bad events of an objective, without its window.
const SHARE: &str = "slo:stopwatt_bad:ratio";
/// Metric with the number of events.
const EVENTS: &str = "slo:stopwatt_events:increase";
/// Seconds between evaluations.
const INTERVAL_S: u32 = 30;

/// A rule file: recorded shares of bad events by objective and window, then the alerts.
pub fn rule_file(compiled: &Compiled) -> String {
    let mut out =
        String::from("# Written by `stopwatt watch rules`. Check with: promtool check rules FILE\n");
    for reason in &compiled.left_out {
        let _ = writeln!(out, "# Left out, since it could never fire: {reason}");
    }
    let _ = write!(out, "groups:\n  - name: stopwatt\n    interval: {INTERVAL_S}s\n    rules:\n");
    for ((slo, window_s), events) in recorded(&compiled.alerts) {
        for (metric, expression) in [(SHARE, share(events, window_s)), (EVENTS, total(events, window_s))] {
            let _ = write!(
                out,
                "      - record: {metric}_{}\n        expr: {}\n        labels:\n          slo: {}\n",
                window(window_s),
                quoted(&expression),
                quoted(slo)
            );
        }
    }
    for alert in &compiled.alerts {
        let _ = write!(
            out,
            "      - alert: {}\n        expr: {}\n",
            alert.name,
            quoted(&expression(&alert.condition))
        );
        if alert.for_s > 0 {
            let _ = writeln!(out, "        for: {}", window(alert.for_s));
        }
        out.push_str("        labels:\n");
        for (name, value) in &alert.labels {
            let _ = writeln!(out, "          {name}: {}", quoted(value));
        }
        let _ = write!(out, "        annotations:\n          summary: {}\n", quoted(&alert.summary));
    }
    out
}

/// All expressions of the file, for whoever checks them.
pub fn expressions(compiled: &Compiled) -> Vec<String> {
    let mut all: Vec<String> = recorded(&compiled.alerts)
        .into_iter()
        .flat_map(|((_, window_s), events)| [share(events, window_s), total(events, window_s)])
        .collect();
    all.extend(compiled.alerts.iter().map(|a| expression(&a.condition)));
    all
}

/// A time as Prometheus writes it, in the largest unit that fits.
pub fn window(seconds: u32) -> String {
    match seconds {
        s if s % 86_400 == 0 && s > 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 && s > 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 && s > 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

fn recorded(alerts: &[Alert]) -> BTreeMap<(&str, u32), &Events> {
    let mut all = BTreeMap::new();
    for alert in alerts {
        if let Condition::Burn(Burn { slo, events, long_s, short_s, .. }) = &alert.condition {
            all.insert((slo.as_str(), *long_s), events);
            all.insert((slo.as_str(), *short_s), events);
        }
    }
    all
}

fn total(events: &Events, window_s: u32) -> String {
    format!("sum(increase({}[{}]))", selector(&events.total), window(window_s))
}

fn share(events: &Events, window_s: u32) -> String {
    let sum = |s: &Selector| format!("sum(increase({}[{}]))", selector(s), window(window_s));
    match &events.bad {
        Bad::Counted(bad) => format!("{} / {}", sum(bad), sum(&events.total)),
        Bad::AllBut(good) => format!("1 - {} / {}", sum(good), sum(&events.total)),
    }
}

fn expression(condition: &Condition) -> String {
    match condition {
        Condition::Burn(burn) => {
            let at = |metric: &str, window_s| {
                format!("{metric}_{}{{slo={}}}", window(window_s), quoted(&burn.slo))
            };
            let limit = number(burn.limit);
            format!(
                "{} > {limit} and {} > {limit} and {} >= {}",
                at(SHARE, burn.long_s),
                at(SHARE, burn.short_s),
                at(EVENTS, burn.long_s),
                burn.min_events
            )
        }
        Condition::Above(s, limit) => format!("{} > {}", selector(s), number(*limit)),
        Condition::Below(s, limit) => format!("{} < {}", selector(s), number(*limit)),
        Condition::ShareAbove { part, rest, limit } => {
            let (part, rest) = (selector(part), selector(rest));
            format!("{part} / ({part} + {rest}) > {}", number(*limit))
        }
        Condition::Grew(s, window_s) => format!("increase({}[{}]) > 0", selector(s), window(*window_s)),
        Condition::NoneOf(s, codes) => {
            let differ = codes.iter().fold(String::new(), |mut text, code| {
                let _ = write!(text, " != {}", number(*code));
                text
            });
            format!("{} > 0{differ}", selector(s))
        }
    }
}

/// Twelve digits: what a product of shares rounds to.
fn number(value: f64) -> String {
    let rounded: f64 = format!("{value:.12}").parse().unwrap_or(value);
    format!("{rounded}")
}

fn selector(selector: &Selector) -> String {
    let labels: Vec<String> = selector
        .labels
        .iter()
        .map(|(name, is)| match is {
            Match::Is(value) => format!("{name}={}", quoted(value)),
            Match::IsNot(value) => format!("{name}!={}", quoted(value)),
            Match::NoneOf(values) => format!("{name}!~{}", quoted(&values.join("|"))),
        })
        .collect();
    match labels.is_empty() {
        true => selector.name.clone(),
        false => format!("{}{{{}}}", selector.name, labels.join(",")),
    }
}

/// A string that YAML, JSON and PromQL read alike.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Settings;

    #[test]
    fn windows_are_written_in_their_largest_unit() {
        assert_eq!([300, 3600, 259_200, 90, 21_600].map(window), ["5m", "1h", "3d", "90s", "6h"]);
    }

    #[test]
    fn the_file_holds_what_the_model_says() {
        let text = rule_file(&Settings::default().alerts().unwrap());
        for line in [
            r#"expr: "sum(increase(stopwatt_requests_total{end!~\"answered|client_gone\"}[1h])) / sum(increase(stopwatt_requests_total{end!=\"client_gone\"}[1h]))""#,
            r#"expr: "slo:stopwatt_bad:ratio_1h{slo=\"ttft\"} > 0.144 and slo:stopwatt_bad:ratio_5m{slo=\"ttft\"} > 0.144 and slo:stopwatt_events:increase_1h{slo=\"ttft\"} >= 50""#,
            r#"expr: "1 - sum(increase(stopwatt_itl_seconds_bucket{le=\"0.1\"}[3d])) / sum(increase(stopwatt_itl_seconds_count[3d]))""#,
            r#"expr: "DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE) > 0.8""#,
            r#"expr: "DCGM_FI_DEV_XID_ERRORS > 0 != 13 != 31 != 43 != 45 != 68""#,
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }
}
