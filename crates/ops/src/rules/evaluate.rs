//! The rules followed here, where no Prometheus runs.

use std::collections::BTreeMap;

use super::Compiled;
use super::alert::Alert;
use super::history::{History, Labels};

/// An alert that holds, or held, of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Firing {
    /// `alertname`, the alert's labels and those of the series.
    pub labels: Labels,
    /// One line for a person.
    pub summary: String,
    /// The value that did it.
    pub value: f64,
    /// When it began to fire, UNIX seconds.
    pub starts_s: f64,
    /// When it stopped; `None` while it fires.
    pub ends_s: Option<f64>,
}

#[derive(Debug, Clone)]
struct Active {
    since_s: f64,
    fired_s: Option<f64>,
    value: f64,
}

/// Follows the rules over what is scraped.
#[derive(Debug, Clone)]
pub struct Evaluator {
    alerts: Vec<Alert>,
    history: History,
    active: BTreeMap<(usize, Labels), Active>,
}

impl Evaluator {
    /// Nothing scraped, nothing active.
    pub fn new(compiled: &Compiled) -> Self {
        Self {
            alerts: compiled.alerts.clone(),
            history: History::of(&compiled.alerts),
            active: BTreeMap::new(),
        }
    }

    /// Takes a scraped page ([`History::take`]).
    pub fn take(&mut self, at_s: f64, target: &Labels, page: &str) {
        self.history.take(at_s, target, page);
    }

    /// Samples held.
    pub fn samples(&self) -> usize {
        self.history.len()
    }

    /// Judges at `now_s` (UNIX seconds, never falling) and returns what began or ceased to fire.
    pub fn step(&mut self, now_s: f64) -> Vec<Firing> {
        let mut changed = Vec::new();
        for (i, alert) in self.alerts.iter().enumerate() {
            let holds: BTreeMap<Labels, f64> =
                alert.condition.holds(&self.history, now_s).into_iter().collect();
            for (labels, value) in &holds {
                let fresh = || Active { since_s: now_s, fired_s: None, value: *value };
                let active = self.active.entry((i, labels.clone())).or_insert_with(fresh);
                active.value = *value;
                if active.fired_s.is_none() && now_s - active.since_s >= f64::from(alert.for_s) {
                    active.fired_s = Some(now_s);
                    changed.push(firing(alert, labels, active, None));
                }
            }
            self.active.retain(|(of, labels), active| {
                let over = *of == i && !holds.contains_key(labels);
                if over && active.fired_s.is_some() {
                    changed.push(firing(alert, labels, active, Some(now_s)));
                }
                !over
            });
        }
        changed
    }

    /// What fires.
    pub fn firing(&self) -> Vec<Firing> {
        let fires = |((i, labels), active): (&(usize, Labels), &Active)| {
            active.fired_s.map(|_| firing(&self.alerts[*i], labels, active, None))
        };
        self.active.iter().filter_map(fires).collect()
    }
}

fn firing(alert: &Alert, series: &Labels, active: &Active, ends_s: Option<f64>) -> Firing {
    let mut labels = series.clone();
    labels.extend(alert.labels.clone());
    labels.insert("alertname".to_owned(), alert.name.clone());
    Firing {
        labels,
        summary: alert.summary.clone(),
        value: active.value,
        starts_s: active.fired_s.unwrap_or(active.since_s),
        ends_s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Gpu, Kind, Objective, Settings};

    fn target() -> Labels {
        [("instance".to_owned(), "a:9000".to_owned())].into()
    }

    fn page(good: u64, bad: u64) -> String {
        format!(
            "stopwatt_requests_total{{upstream=\"u\",end=\"answered\"}} {good}\nstopwatt_requests_total{{upstream=\"u\",end=\"truncated\"}} {bad}\n"
        )
    }

    fn availability() -> Evaluator {
        let objective = Objective { name: "availability".into(), kind: Kind::Availability, target: 0.99 };
        Evaluator::new(&Settings { objectives: vec![objective], ..Settings::default() }.alerts().unwrap())
    }

    /// Runs `hours` in steps of 30 s with 1 request a second, of which `bad(t)` are bad.
    fn drive(evaluator: &mut Evaluator, hours: f64, bad: impl Fn(f64) -> f64) -> Vec<(f64, Firing)> {
        let (mut good_total, mut bad_total, mut events) = (0.0, 0.0, Vec::new());
        for step in 0..(hours * 120.0) as u32 {
            let t = f64::from(step) * 30.0;
            bad_total += 30.0 * bad(t);
            good_total += 30.0 * (1.0 - bad(t));
            evaluator.take(t, &target(), &page(good_total as u64, bad_total as u64));
            events.extend(evaluator.step(t).into_iter().map(|f| (t, f)));
        }
        events
    }

    #[test]
    fn a_fast_burn_pages_soon_and_ends_soon() {
        // A fifth fails from hour 8 to 9: 0.2 > 0.144 over 1 h only after 43 minutes, over 6 h (0.06) after 108.
        let mut evaluator = availability();
        let events =
            drive(&mut evaluator, 12.0, |t| if (28_800.0..32_400.0).contains(&t) { 0.2 } else { 0.0 });
        let of = |window: &str| -> Vec<f64> {
            events.iter().filter(|(_, f)| f.labels["window"] == window).map(|(t, _)| t - 28_800.0).collect()
        };
        let fast = of("1h");
        assert_eq!(fast.len(), 2, "{events:?}");
        assert!((2550.0..2760.0).contains(&fast[0]), "{fast:?}");
        // The short window is clean five minutes after the end at the latest.
        assert!(fast[1] > 3600.0 && fast[1] <= 3960.0, "{fast:?}");
        assert!(of("6h").is_empty(), "{events:?}");
        assert!(evaluator.firing().iter().all(|f| f.labels["severity"] == "ticket"));
    }

    #[test]
    fn few_events_wake_nobody() {
        let mut evaluator = availability();
        for step in 0..240_u32 {
            let t = f64::from(step) * 30.0;
            // One request in five minutes, all of them bad: 12 an hour.
            evaluator.take(t, &target(), &page(0, u64::from(step / 10)));
            let found = evaluator.step(t);
            assert!(
                found.iter().all(|f| f.labels["window"] != "1h" && f.labels["window"] != "6h"),
                "{t}: {found:?}"
            );
        }
    }

    #[test]
    fn gauges_fire_for_each_series_after_their_time_and_end_with_it() {
        let mut evaluator = Evaluator::new(
            &Settings { objectives: vec![], gpu: Gpu::default(), ..Settings::default() }.alerts().unwrap(),
        );
        let page = |hot: u32, xid: u32| {
            format!(
                "DCGM_FI_DEV_GPU_TEMP{{gpu=\"0\"}} 60\nDCGM_FI_DEV_GPU_TEMP{{gpu=\"1\"}} {hot}\nDCGM_FI_DEV_XID_ERRORS{{gpu=\"0\"}} {xid}\nDCGM_FI_DEV_FB_USED{{gpu=\"0\"}} 79\nDCGM_FI_DEV_FB_FREE{{gpu=\"0\"}} 21\n"
            )
        };
        let mut events = Vec::new();
        for step in 0..40_u32 {
            let t = f64::from(step) * 30.0;
            let hot = if (2..20).contains(&step) { 91 } else { 60 };
            let xid = match step {
                5..10 => 79,
                10.. => 31,
                _ => 0,
            };
            evaluator.take(t, &target(), &page(hot, xid));
            events.extend(
                evaluator.step(t).into_iter().map(|f| {
                    (step, f.labels["alertname"].clone(), f.labels["gpu"].clone(), f.ends_s.is_some())
                }),
            );
        }
        let said: Vec<_> = events.iter().map(|(s, a, g, e)| (*s, a.as_str(), g.as_str(), *e)).collect();
        assert_eq!(
            said,
            [
                (5, "GpuXid", "0", false),
                (10, "GpuXid", "0", true),
                (12, "GpuHot", "1", false),
                (20, "GpuHot", "1", true)
            ]
        );
    }

    #[test]
    fn a_day_of_calm_traffic_is_silent_and_memory_does_not_grow() {
        let mut evaluator = availability();
        let at_days = |evaluator: &mut Evaluator, from: f64, to: f64| -> usize {
            let mut said = 0;
            for step in (from * 2880.0) as u64..(to * 2880.0) as u64 {
                let t = step as f64 * 30.0;
                // One in 500 fails, half a percent of the budget's rate.
                evaluator.take(t, &target(), &page(step * 30 - step * 30 / 500, step * 30 / 500));
                said += evaluator.step(t).len();
            }
            said
        };
        assert_eq!(at_days(&mut evaluator, 0.0, 3.1), 0);
        let held = evaluator.samples();
        assert_eq!(at_days(&mut evaluator, 3.1, 4.0), 0);
        assert_eq!(evaluator.samples(), held);
    }
}
