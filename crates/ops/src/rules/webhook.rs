//! What is sent when something fires: the body of Alertmanager's webhook, version 4, so that whatever understands
//! Alertmanager understands this.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use stopwatt_core::calendar::civil_from_days;
use stopwatt_load::{RequestError, Target};

use super::evaluate::Firing;
use super::history::Labels;

/// Longest time for one delivery.
const PATIENCE: Duration = Duration::from_secs(10);
/// Alerts that still fire are told again after this many seconds, as Alertmanager does by default.
const AGAIN_S: f64 = 4.0 * 3600.0;

/// Groups alerts by name and says when each group is to be sent.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    /// Groups with something new, by name, and when a group was last sent.
    pending: BTreeMap<String, Vec<Firing>>,
    sent_s: BTreeMap<String, f64>,
}

impl Notifier {
    /// Takes what changed and what fires, and returns the groups to send now. One whose delivery failed is given
    /// back by [`Self::failed`] and comes again.
    pub fn due(&mut self, changed: Vec<Firing>, firing: &[Firing], now_s: f64) -> Vec<Group> {
        for alert in changed.into_iter().filter(|a| a.ends_s.is_some()) {
            self.pending.entry(name_of(&alert.labels)).or_default().push(alert);
        }
        let mut groups: BTreeMap<String, Vec<Firing>> = BTreeMap::new();
        for alert in firing {
            groups.entry(name_of(&alert.labels)).or_default().push(alert.clone());
        }
        let mut due = Vec::new();
        let names: Vec<String> = groups.keys().chain(self.pending.keys()).cloned().collect();
        for name in std::collections::BTreeSet::from_iter(names) {
            let fires = groups.remove(&name).unwrap_or_default();
            let last = self.sent_s.get(&name).copied();
            let fresh = fires.iter().any(|f| last.is_none_or(|last| f.starts_s > last));
            let again = last.is_some_and(|last| !fires.is_empty() && now_s - last >= AGAIN_S);
            let ended = self.pending.remove(&name).unwrap_or_default();
            if !(fresh || again) && ended.is_empty() {
                continue;
            }
            self.sent_s.insert(name.clone(), now_s);
            due.push(Group { name, alerts: fires.into_iter().chain(ended).collect() });
        }
        due
    }

    /// A group could not be delivered: it is due again at the next occasion.
    pub fn failed(&mut self, group: Group) {
        self.sent_s.remove(&group.name);
        let ended = group.alerts.into_iter().filter(|a| a.ends_s.is_some());
        self.pending.entry(group.name).or_default().extend(ended);
    }
}

/// Alerts of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The name.
    pub name: String,
    /// Those that fire, and those that ceased to.
    pub alerts: Vec<Firing>,
}

fn name_of(labels: &Labels) -> String {
    labels.get("alertname").cloned().unwrap_or_default()
}

/// Sends a body to the webhook.
///
/// # Errors
/// The receiver could not be reached, or took too long.
pub fn deliver(target: &Target, path: &str, body: &Value) -> Result<u16, RequestError> {
    Ok(stopwatt_load::post(target, path, body.to_string().as_bytes(), PATIENCE)?.status)
}

/// The body of one group.
pub fn body(group: &Group) -> Value {
    let Group { name, alerts } = group;
    let common = |of: fn(&Firing) -> Labels| -> Labels {
        let mut all = alerts.iter().map(of);
        let first = all.next().unwrap_or_default();
        all.fold(first, |mut common, labels| {
            common.retain(|name, value| labels.get(name) == Some(value));
            common
        })
    };
    let annotations = |a: &Firing| -> Labels { [("summary".to_owned(), a.summary.clone())].into() };
    let each: Vec<Value> = alerts
        .iter()
        .map(|alert| {
            json!({
                "status": if alert.ends_s.is_none() { "firing" } else { "resolved" },
                "labels": alert.labels,
                "annotations": annotations(alert),
                "startsAt": time(alert.starts_s),
                "endsAt": alert.ends_s.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), time),
                "generatorURL": "",
                "fingerprint": fingerprint(&alert.labels),
            })
        })
        .collect();
    let fires = alerts.iter().any(|a| a.ends_s.is_none());
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{alertname={}}}", Value::from(name.as_str())),
        "truncatedAlerts": 0,
        "status": if fires { "firing" } else { "resolved" },
        "receiver": "stopwatt",
        "groupLabels": { "alertname": name },
        "commonLabels": common(|a| a.labels.clone()),
        "commonAnnotations": common(|a| [("summary".to_owned(), a.summary.clone())].into()),
        "externalURL": "",
        "alerts": each,
    })
}

/// The fingerprint of a label set as Prometheus' libraries compute it: 64-bit FNV-1a over names and values in order of
/// the names, each followed by the byte 255.
pub fn fingerprint(labels: &Labels) -> String {
    let bytes = labels.iter().flat_map(|(name, value)| {
        name.bytes().chain(std::iter::once(255)).chain(value.bytes()).chain(std::iter::once(255))
    });
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// UNIX seconds as RFC 3339 in UTC, to the millisecond.
pub fn time(unix_s: f64) -> String {
    let ms = (unix_s.max(0.0) * 1e3).round() as i64;
    let (year, month, day) = civil_from_days(ms.div_euclid(86_400_000));
    let ms = ms.rem_euclid(86_400_000);
    let (s, ms) = (ms / 1000, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(name: &str, gpu: &str, ends_s: Option<f64>) -> Firing {
        let labels = [("alertname", name), ("gpu", gpu)].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        Firing { labels, summary: "hot".into(), value: 90.0, starts_s: 1000.0, ends_s }
    }

    #[test]
    fn times_by_hand() {
        // `date -u -d @1795392979 +%FT%TZ`, and the leap day of 2024.
        assert_eq!(time(1_795_392_979.25), "2026-11-23T00:16:19.250Z");
        assert_eq!(time(1_709_164_800.0), "2024-02-29T00:00:00.000Z");
        assert_eq!(time(0.0), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_group_has_what_its_alerts_share() {
        let alerts = vec![alert("GpuHot", "0", None), alert("GpuHot", "1", Some(1060.0))];
        let group = body(&Group { name: "GpuHot".into(), alerts });
        assert_eq!(group["version"], "4");
        assert_eq!(group["status"], "firing");
        assert_eq!(group["groupKey"], "{}:{alertname=\"GpuHot\"}");
        assert_eq!(group["commonLabels"], json!({"alertname": "GpuHot"}));
        assert_eq!(group["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
        assert_eq!(group["alerts"][1]["status"], "resolved");
    }

    #[test]
    fn each_change_is_told_once_and_a_failure_again() {
        let mut notifier = Notifier::default();
        let firing = [alert("GpuHot", "0", None)];
        let told = notifier.due(firing.to_vec(), &firing, 1000.0);
        assert_eq!(told.len(), 1);
        assert!(notifier.due(vec![], &firing, 1030.0).is_empty());
        assert_eq!(notifier.due(vec![], &firing, 1000.0 + AGAIN_S).len(), 1, "still on after four hours");
        let over = alert("GpuHot", "0", Some(20_000.0));
        let told = notifier.due(vec![over], &[], 20_000.0);
        assert_eq!(body(&told[0])["status"], "resolved");
        notifier.failed(told[0].clone());
        assert_eq!(notifier.due(vec![], &[], 20_030.0), told);
        assert!(notifier.due(vec![], &[], 20_060.0).is_empty());
    }
}
