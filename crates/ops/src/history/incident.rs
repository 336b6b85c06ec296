//! Incidents: when something was out, and for how long.

use serde::{Deserialize, Serialize};

/// What was out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// No upstream was given requests.
    Service,
    /// One upstream was not.
    Upstream,
    /// An alert fired.
    Alert,
}

impl IncidentKind {
    /// Stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Upstream => "upstream",
            Self::Alert => "alert",
        }
    }

    /// The kind of this name; anything else is an alert's.
    pub(crate) fn from_name(name: &str) -> Self {
        [Self::Service, Self::Upstream].into_iter().find(|k| k.name() == name).unwrap_or(Self::Alert)
    }
}

/// Something that was out for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Incident {
    /// What kind of thing.
    pub kind: IncidentKind,
    /// Which: the upstream, the alert, or empty for the service.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// When it began, UNIX nanoseconds.
    pub began_unix_ns: i64,
    /// When it ended; null while it goes on.
    pub ended_unix_ns: Option<i64>,
    /// The end was not seen, since the proxy was killed; it was alive until then.
    pub cut: bool,
}

impl Incident {
    /// Seconds of it inside a span.
    pub fn seconds_in(&self, from: i64, until: i64) -> f64 {
        let end = self.ended_unix_ns.unwrap_or(until).min(until);
        (end - self.began_unix_ns.max(from)).max(0) as f64 / 1e9
    }
}

/// What the incidents of one kind in a span come to.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, schemars::JsonSchema)]
pub struct Incidents {
    /// How many overlap the span.
    pub count: u64,
    /// How many of them go on.
    pub open: u64,
    /// Seconds of the span in which there was one.
    pub out_s: f64,
    /// Mean length of those that began in the span and whose end was seen, in seconds; null without any.
    pub mttr_s: Option<f64>,
}

impl Incidents {
    /// Of one kind, in `from..until`.
    pub fn of(all: &[Incident], kind: IncidentKind, from: i64, until: i64) -> Self {
        let of_kind = || all.iter().filter(|i| i.kind == kind && i.began_unix_ns < until);
        let inside: Vec<&Incident> =
            of_kind().filter(|i| i.ended_unix_ns.is_none_or(|end| end >= from)).collect();
        let ended: Vec<f64> = inside
            .iter()
            .filter(|i| !i.cut && i.began_unix_ns >= from)
            .filter_map(|i| {
                Some((i.ended_unix_ns.filter(|end| *end <= until)? - i.began_unix_ns) as f64 / 1e9)
            })
            .collect();
        // Two upstreams that are out at once are out once.
        let mut spans: Vec<(i64, i64)> = inside
            .iter()
            .map(|i| (i.began_unix_ns.max(from), i.ended_unix_ns.unwrap_or(until).min(until)))
            .collect();
        spans.sort_unstable();
        let (mut out, mut reached) = (0, from);
        for (a, b) in spans {
            out += (b - a.max(reached)).max(0);
            reached = reached.max(b);
        }
        Self {
            count: inside.len() as u64,
            open: inside.iter().filter(|i| i.ended_unix_ns.is_none()).count() as u64,
            out_s: out as f64 / 1e9,
            mttr_s: (!ended.is_empty()).then(|| ended.iter().sum::<f64>() / ended.len() as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(began_s: i64, ended_s: Option<i64>) -> Incident {
        Incident {
            kind: IncidentKind::Upstream,
            subject: "a".into(),
            reason: "dead".into(),
            began_unix_ns: began_s * 1_000_000_000,
            ended_unix_ns: ended_s.map(|s| s * 1_000_000_000),
            cut: false,
        }
    }

    #[test]
    fn times_by_hand() {
        // In 10..100: one that began before (5–15), two that overlap (20–30, 25–45), one that goes on (90–).
        let all = [
            incident(5, Some(15)),
            incident(20, Some(30)),
            incident(25, Some(45)),
            incident(90, None),
            incident(1, Some(2)),
        ];
        let of = |kind| Incidents::of(&all, kind, 10_000_000_000, 100_000_000_000);
        let seen = of(IncidentKind::Upstream);
        assert_eq!((seen.count, seen.open), (4, 1));
        assert!((seen.out_s - (5.0 + 25.0 + 10.0)).abs() < 1e-9, "{seen:?}");
        assert!((seen.mttr_s.unwrap() - 15.0).abs() < 1e-9, "(10 + 20) / 2");
        assert_eq!(of(IncidentKind::Service), Incidents::default());
    }

    #[test]
    fn an_end_that_nobody_saw_is_no_repair() {
        let all = [Incident { cut: true, ..incident(20, Some(30)) }];
        let seen = Incidents::of(&all, IncidentKind::Upstream, 0, 100_000_000_000);
        assert_eq!((seen.mttr_s, seen.out_s), (None, 10.0));
    }
}
