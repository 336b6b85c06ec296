//! Who gets woken, and why: one model of rules, and two that follow it.
//!
//! ```text
//! rules.toml ──► Settings ──► Alert ──► prometheus   a rule file, where Prometheus and Alertmanager run
//!                               └─────► evaluate     here, over scraped pages, where they do not ──► webhook
//! ```
//!
//! Objectives are watched by the rate at which they burn their budget of bad events, over a long and a short window at
//! once (Beyer and others, *The Site Reliability Workbook* (2018), chapter 5): the long one says that it matters, the
//! short one that it still goes on. A budget of 30 days is burnt by 2 % in an hour at 14.4 times the rate that would
//! just use it up. With few requests one failure is a high rate, so an alert also needs a number of events.
//!
//! Both followers compute the same: [`history`] extrapolates increases as Prometheus does.

pub mod alert;
pub mod evaluate;
pub mod history;
#[cfg(test)]
mod names;
pub mod prometheus;
pub mod webhook;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use alert::{Alert, Bad, Burn, Condition, Events, Match, Selector, Severity};

/// What is watched: the content of a rules file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Days over which objectives have their budget.
    pub budget_days: u32,
    /// Events in the long window of an alert below which it stays silent.
    pub min_events: u32,
    /// Labels that every series must have, such as `job`.
    pub selector: BTreeMap<String, String>,
    /// Labels that every alert gets.
    pub labels: BTreeMap<String, String>,
    /// What users were promised.
    pub objectives: Vec<Objective>,
    /// Gauges that must not stay above a value, such as what a replica carries (`stopwatt watch signals`).
    pub limits: Vec<Limit>,
    /// Upstreams of the proxy.
    pub upstreams: Upstreams,
    /// Whether a window of answers that is not as the reference was gives an alert (`stopwatt watch --quality`).
    pub quality_drift: bool,
    /// GPUs, as dcgm-exporter tells of them.
    pub gpu: Gpu,
}

impl Default for Settings {
    fn default() -> Self {
        let objective = |name: &str, kind| Objective { name: name.to_owned(), kind, target: 0.99 };
        Self {
            budget_days: 30,
            min_events: 50,
            selector: BTreeMap::new(),
            labels: BTreeMap::new(),
            objectives: vec![
                Objective { target: 0.995, ..objective("availability", Kind::Availability) },
                objective("ttft", Kind::Ttft { limit_s: 1.0 }),
                objective("itl", Kind::Itl { limit_s: 0.1 }),
                Objective { target: 0.98, ..objective("quality", Kind::Quality) },
            ],
            limits: Vec::new(),
            upstreams: Upstreams::default(),
            quality_drift: true,
            gpu: Gpu::default(),
        }
    }
}

/// A share of events that must be good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Its name, the label `slo` of its alerts.
    pub name: String,
    /// Which events, and which are bad.
    pub kind: Kind,
    /// Share of events that must be good, below 1.
    pub target: f64,
}

/// A gauge that must not stay above a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Name of its alert.
    pub name: String,
    /// The gauge of any exporter, as `name{label="value"}`.
    pub metric: String,
    /// What it may be at most, in its own unit.
    pub above: f64,
    /// Seconds for which it may be above.
    pub for_s: u32,
}

/// What events are, and which are bad.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Requests; bad are those that did not end as they should, whatever their status was. Clients that left count
    /// as neither.
    Availability,
    /// First tokens; bad are those that took longer.
    Ttft {
        /// Seconds. The bucket bound at or below it decides.
        limit_s: f64,
    },
    /// Gaps between tokens; bad are longer ones.
    Itl {
        /// Seconds. The bucket bound at or below it decides.
        limit_s: f64,
    },
    /// Answers that were judged; bad are those with a finding (`stopwatt_answers_judged_total`).
    Quality,
    /// Counters of any exporter, as `name{label="value"}`.
    Events {
        /// Counts bad events.
        bad: String,
        /// Counts all of them.
        total: String,
    },
}

/// What of the proxy's upstreams gives alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Upstreams {
    /// Seconds for which an upstream may be out before someone is told; 0 turns the alert off.
    pub out_s: u32,
    /// Share of the KV cache in use above which requests will soon be thrown out; 0 turns the alert off.
    pub kv_usage: f64,
}

impl Default for Upstreams {
    fn default() -> Self {
        Self { out_s: 60, kv_usage: 0.95 }
    }
}

/// What of GPUs gives alerts. A limit of 0 turns its alert off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gpu {
    /// Share of memory in use. Engines that take their share at start (vLLM: 0.9) need a limit above it.
    pub memory: f64,
    /// Degrees Celsius.
    pub temperature_c: f64,
    /// Any time throttled for heat (`DCGM_FI_DEV_THERMAL_VIOLATION`, off in dcgm-exporter's own list).
    pub thermal_throttling: bool,
    /// Xid errors that wake nobody: those of applications, by the list of NVIDIA's Kubernetes device plugin, without
    /// 109, for which NVIDIA advises a reset.
    pub xid_ignored: Vec<u32>,
}

impl Default for Gpu {
    fn default() -> Self {
        Self {
            memory: 0.8,
            temperature_c: 85.0,
            thermal_throttling: true,
            xid_ignored: vec![13, 31, 43, 45, 68],
        }
    }
}

/// A file that cannot be followed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// A target outside (0, 1).
    #[error("the target {target} of objective `{name}` is not between 0 and 1")]
    Target {
        /// The objective.
        name: String,
        /// What was given.
        target: f64,
    },
    /// A limit below every bucket, above all of them, or no time at all.
    #[error("the limit {limit_s} s of objective `{name}` is outside the buckets, {lowest} to {highest} s")]
    Limit {
        /// The objective.
        name: String,
        /// What was given.
        limit_s: f64,
        /// The lowest bound.
        lowest: f64,
        /// The highest.
        highest: f64,
    },
    /// Text that is no selector.
    #[error("`{text}` of `{name}` is no selector")]
    Selector {
        /// The objective.
        name: String,
        /// What was given.
        text: String,
    },
    /// A name twice, or none.
    #[error("objective `{name}` is there twice or has no name")]
    Name {
        /// The name.
        name: String,
    },
    /// A name that no label can have.
    #[error("`{name}` is no name of a label or alert")]
    Label {
        /// The name.
        name: String,
    },
    /// A share or limit that means nothing.
    #[error("`{key}` is {value}, which is no such limit")]
    OutOfRange {
        /// Where.
        key: &'static str,
        /// What was given.
        value: f64,
    },
}

impl RulesError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Target { .. } => Some("a target of 0.99 leaves one event in a hundred to be bad"),
            Self::Selector { .. } => Some("write it as name{label=\"value\"}, with = or != only"),
            Self::OutOfRange { .. } => Some("0 turns an alert off"),
            _ => None,
        }
    }
}

/// Share of the budget, long window and short window in seconds, severity: chapter 5, table 5-8.
const BURNS: [(f64, u32, u32, Severity); 3] = [
    (0.02, 3600, 300, Severity::Page),
    (0.05, 6 * 3600, 1800, Severity::Page),
    (0.10, 3 * 86_400, 6 * 3600, Severity::Ticket),
];

impl Settings {
    /// The alerts that follow, and why some do not.
    ///
    /// # Errors
    /// A target, limit, selector or name that means nothing.
    pub fn alerts(&self) -> Result<Compiled, RulesError> {
        let (mut alerts, mut left_out) = (Vec::new(), Vec::new());
        let mut seen = std::collections::BTreeSet::new();
        for name in self.labels.keys().chain(self.selector.keys()) {
            let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(RulesError::Label { name: name.clone() });
            }
        }
        if !(1..=365).contains(&self.budget_days) {
            return Err(RulesError::OutOfRange { key: "budget_days", value: f64::from(self.budget_days) });
        }
        for objective in &self.objectives {
            if objective.name.is_empty() || !seen.insert(objective.name.as_str()) {
                return Err(RulesError::Name { name: objective.name.clone() });
            }
            let events = self.events(objective)?;
            for (share, long_s, short_s, severity) in BURNS {
                let factor = share * f64::from(self.budget_days) * 86_400.0 / f64::from(long_s);
                let limit = factor * (1.0 - objective.target);
                // A window longer than the budget's, or a rate of bad events above one, never comes.
                if limit >= 1.0 || factor < 1.0 {
                    left_out.push(format!(
                        "{}: {share} of the budget in {} would be a share of {limit:.3} bad events",
                        objective.name,
                        prometheus::window(long_s)
                    ));
                    continue;
                }
                let burn = Burn {
                    slo: objective.name.clone(),
                    events: events.clone(),
                    factor,
                    limit,
                    long_s,
                    short_s,
                    min_events: self.min_events,
                };
                alerts.push(Alert {
                    name: "StopwattBudgetBurn".to_owned(),
                    severity,
                    for_s: 0,
                    labels: [
                        ("slo".to_owned(), objective.name.clone()),
                        ("window".to_owned(), prometheus::window(long_s)),
                    ]
                    .into_iter()
                    .collect(),
                    summary: format!(
                        "{} burns its budget of {} days {factor:.1} times too fast",
                        objective.name, self.budget_days
                    ),
                    condition: Condition::Burn(burn),
                });
            }
        }
        for limit in &self.limits {
            alerts.push(self.of_limit(limit)?);
        }
        alerts.extend(self.of_upstreams()?);
        alerts.extend(self.of_gpus()?);
        for alert in &mut alerts {
            alert.labels.extend(self.labels.clone());
            alert.labels.insert("severity".to_owned(), alert.severity.name().to_owned());
        }
        Ok(Compiled { alerts, left_out })
    }

    fn events(&self, objective: &Objective) -> Result<Events, RulesError> {
        let name = &objective.name;
        if !(objective.target > 0.0 && objective.target < 1.0) {
            return Err(RulesError::Target { name: name.clone(), target: objective.target });
        }
        let parse = |text: &str| {
            let wrong = || RulesError::Selector { name: name.clone(), text: text.to_owned() };
            Selector::parse(text).ok_or_else(wrong).map(|s| self.selected(s))
        };
        let in_time = |metric: &str, limit_s: f64, lowest: f64, highest: f64| {
            let wrong = || RulesError::Limit { name: name.clone(), limit_s, lowest, highest };
            let bound =
                bound_at_most(limit_s).filter(|b| *b >= lowest && limit_s <= highest).ok_or_else(wrong)?;
            let of = |suffix: &str| self.selected(Selector::new(&format!("{metric}_{suffix}")));
            let good = of("bucket").with("le", Match::Is(format!("{bound:?}")));
            Ok(Events { total: of("count"), bad: Bad::AllBut(good) })
        };
        let ended = |is: Match| self.selected(Selector::new("stopwatt_requests_total")).with("end", is);
        match &objective.kind {
            Kind::Availability => Ok(Events {
                total: ended(Match::IsNot("client_gone".to_owned())),
                bad: Bad::Counted(ended(Match::NoneOf(vec![
                    "answered".to_owned(),
                    "client_gone".to_owned(),
                ]))),
            }),
            Kind::Ttft { limit_s } => in_time("stopwatt_ttft_seconds", *limit_s, 0.001, 100.0),
            Kind::Itl { limit_s } => in_time("stopwatt_itl_seconds", *limit_s, 0.0001, 10.0),
            Kind::Quality => {
                let judged = self.selected(Selector::new("stopwatt_answers_judged_total"));
                let bad = judged.clone().with("finding", Match::IsNot("none".to_owned()));
                Ok(Events { total: judged, bad: Bad::Counted(bad) })
            }
            Kind::Events { bad, total } => {
                Ok(Events { total: parse(total)?, bad: Bad::Counted(parse(bad)?) })
            }
        }
    }

    fn selected(&self, mut selector: Selector) -> Selector {
        for (name, value) in &self.selector {
            selector = selector.with(name, Match::Is(value.clone()));
        }
        selector
    }

    fn of_limit(&self, limit: &Limit) -> Result<Alert, RulesError> {
        let Limit { name, metric, above, for_s } = limit;
        let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(RulesError::Label { name: name.clone() });
        }
        if !above.is_finite() {
            return Err(RulesError::OutOfRange { key: "limits.above", value: *above });
        }
        let wrong = || RulesError::Selector { name: name.clone(), text: metric.clone() };
        let selector = self.selected(Selector::parse(metric).ok_or_else(wrong)?);
        Ok(Alert {
            name: name.clone(),
            severity: Severity::Ticket,
            for_s: *for_s,
            labels: BTreeMap::new(),
            summary: format!("{metric} stays above {above}"),
            condition: Condition::Above(selector, *above),
        })
    }

    fn of_upstreams(&self) -> Result<Vec<Alert>, RulesError> {
        let mut alerts = Vec::new();
        let Upstreams { out_s, kv_usage } = self.upstreams;
        if out_s > 0 {
            alerts.push(Alert {
                name: "StopwattUpstreamOut".to_owned(),
                severity: Severity::Page,
                for_s: out_s,
                labels: BTreeMap::new(),
                summary: "an upstream gets no requests: it is dead, stalled or fails".to_owned(),
                condition: Condition::Below(self.selected(Selector::new("stopwatt_upstream_admitted")), 1.0),
            });
        }
        if share("upstreams.kv_usage", kv_usage)? {
            alerts.push(Alert {
                name: "StopwattKvCacheFull".to_owned(),
                severity: Severity::Ticket,
                for_s: 300,
                labels: BTreeMap::new(),
                summary: "the KV cache is nearly full: requests wait or are computed twice".to_owned(),
                condition: Condition::Above(
                    self.selected(Selector::new("stopwatt_upstream_kv_usage_ratio")),
                    kv_usage,
                ),
            });
        }
        if self.quality_drift {
            alerts.push(Alert {
                name: "StopwattQualityDrift".to_owned(),
                severity: Severity::Ticket,
                for_s: 0,
                labels: BTreeMap::new(),
                summary: "answers are not as those of the reference were".to_owned(),
                condition: Condition::Above(self.selected(Selector::new("stopwatt_quality_drift")), 0.5),
            });
        }
        Ok(alerts)
    }

    fn of_gpus(&self) -> Result<Vec<Alert>, RulesError> {
        let mut alerts = Vec::new();
        let dcgm = |name: &str| Selector::new(&format!("DCGM_FI_DEV_{name}"));
        let mut alert = |name: &str, severity, for_s, summary: &str, condition| {
            alerts.push(Alert {
                name: name.to_owned(),
                severity,
                for_s,
                labels: BTreeMap::new(),
                summary: summary.to_owned(),
                condition,
            });
        };
        if share("gpu.memory", self.gpu.memory)? {
            alert(
                "GpuMemoryHigh",
                Severity::Ticket,
                300,
                "GPU memory is nearly used up",
                Condition::ShareAbove {
                    part: dcgm("FB_USED"),
                    rest: dcgm("FB_FREE"),
                    limit: self.gpu.memory,
                },
            );
        }
        let hot = self.gpu.temperature_c;
        if !(0.0..=150.0).contains(&hot) {
            return Err(RulesError::OutOfRange { key: "gpu.temperature_c", value: hot });
        }
        if hot > 0.0 {
            let above = Condition::Above(dcgm("GPU_TEMP"), hot);
            alert("GpuHot", Severity::Ticket, 300, "a GPU is hot", above);
        }
        if self.gpu.thermal_throttling {
            let grew = Condition::Grew(dcgm("THERMAL_VIOLATION"), 300);
            alert("GpuThrottledByHeat", Severity::Ticket, 300, "a GPU lowers its clocks for heat", grew);
        }
        let codes = self.gpu.xid_ignored.iter().copied().map(f64::from).collect();
        alert(
            "GpuXid",
            Severity::Page,
            0,
            "a GPU reported an Xid error that is not an application's",
            Condition::NoneOf(dcgm("XID_ERRORS"), codes),
        );
        Ok(alerts)
    }
}

/// The alerts of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// All of them.
    pub alerts: Vec<Alert>,
    /// Alerts that could never fire, and why.
    pub left_out: Vec<String>,
}

/// Whether a share is set.
fn share(key: &'static str, value: f64) -> Result<bool, RulesError> {
    if (0.0..1.0).contains(&value) { Ok(value > 0.0) } else { Err(RulesError::OutOfRange { key, value }) }
}

/// The largest bound of the E12 series that is not above a limit: those of the proxy's histograms.
fn bound_at_most(limit_s: f64) -> Option<f64> {
    const STEPS: [&str; 12] =
        ["1.0", "1.2", "1.5", "1.8", "2.2", "2.7", "3.3", "3.9", "4.7", "5.6", "6.8", "8.2"];
    let all = (-4..=2).flat_map(|decade| STEPS.iter().map(move |step| format!("{step}e{decade}")));
    all.filter_map(|text| text.parse::<f64>().ok()).filter(|bound| *bound <= limit_s).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{self, Fleet};
    use crate::telemetry::Telemetry;
    use crate::upstream::Spec;

    #[test]
    fn factors_are_those_of_the_workbook() {
        let compiled = Settings::default().alerts().unwrap();
        let burns: Vec<(f64, u32, u32)> = compiled
            .alerts
            .iter()
            .filter_map(|a| match &a.condition {
                Condition::Burn(b) if b.slo == "availability" => Some((b.factor, b.long_s, b.short_s)),
                _ => None,
            })
            .collect();
        for (got, want) in burns.iter().zip([(14.4, 3600, 300), (6.0, 21_600, 1800), (1.0, 259_200, 21_600)])
        {
            assert!((got.0 - want.0).abs() < 1e-9 && (got.1, got.2) == (want.1, want.2), "{got:?}");
        }
        assert_eq!(burns.len(), 3);
        assert!(compiled.left_out.is_empty());
    }

    #[test]
    fn an_alert_that_cannot_fire_is_left_out_with_a_reason() {
        let loose = Objective { name: "loose".into(), kind: Kind::Availability, target: 0.9 };
        let compiled = Settings { objectives: vec![loose], ..Settings::default() }.alerts().unwrap();
        // 14.4 × 0.1 is more than every event; 6 × 0.1 is not.
        assert_eq!(compiled.left_out.len(), 1);
        assert!(compiled.left_out[0].starts_with("loose:"), "{:?}", compiled.left_out);
    }

    #[test]
    fn a_bound_is_one_of_the_proxy_s_histograms() {
        let spec = Spec::parse("http://h:1").unwrap();
        let fleet = Fleet::new(vec![spec], fleet::Settings::default(), |_| None).unwrap();
        let page = Telemetry::new(1).render(&fleet);
        for objective in Settings::default().objectives {
            let Bad::AllBut(good) = Settings::default().events(&objective).unwrap().bad else { continue };
            let Match::Is(le) = &good.labels.iter().find(|(name, _)| name == "le").unwrap().1 else {
                panic!()
            };
            let bucket = format!("le=\"{le}\"");
            let there = page.lines().any(|line| line.starts_with(&good.name) && line.contains(&bucket));
            assert!(there, "{} {le}", good.name);
        }
    }

    #[test]
    fn limits_meet_the_buckets() {
        assert_eq!(
            (bound_at_most(0.5), bound_at_most(1.0), bound_at_most(0.1)),
            (Some(0.47), Some(1.0), Some(0.1))
        );
        assert_eq!(bound_at_most(0.000_01), None);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let with =
            |objective| Settings { objectives: vec![objective], ..Settings::default() }.alerts().unwrap_err();
        let objective = |kind, target| Objective { name: "x".into(), kind, target };
        assert!(matches!(with(objective(Kind::Availability, 1.0)), RulesError::Target { .. }));
        assert!(matches!(with(objective(Kind::Ttft { limit_s: 1e-5 }, 0.9)), RulesError::Limit { .. }));
        assert!(matches!(with(objective(Kind::Itl { limit_s: 500.0 }, 0.9)), RulesError::Limit { .. }));
        let events = Kind::Events { bad: "a b".into(), total: "c".into() };
        assert!(matches!(with(objective(events, 0.9)), RulesError::Selector { .. }));
        let gpu = Gpu { memory: 80.0, ..Gpu::default() };
        assert!(matches!(
            Settings { gpu, ..Settings::default() }.alerts(),
            Err(RulesError::OutOfRange { .. })
        ));
        let labels = [("a-b".to_owned(), String::new())].into();
        assert!(matches!(Settings { labels, ..Settings::default() }.alerts(), Err(RulesError::Label { .. })));
    }
}
