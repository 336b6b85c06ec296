//! An alert: what must hold, for how long, and what it is called.

use std::collections::BTreeMap;

use super::history::{History, Labels};

/// How soon someone must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Now.
    Page,
    /// In working hours.
    Ticket,
}

impl Severity {
    /// Value of the label `severity`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// Something that someone is told of.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The label `alertname`.
    pub name: String,
    /// How soon.
    pub severity: Severity,
    /// Seconds for which the condition must hold.
    pub for_s: u32,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// One line for a person.
    pub summary: String,
    /// What must hold.
    pub condition: Condition,
}

/// What must hold. Those of gauges hold for each series by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A budget is burnt too fast.
    Burn(Burn),
    /// A value above a limit.
    Above(Selector, f64),
    /// A value below a limit.
    Below(Selector, f64),
    /// A part above a share of part and rest.
    ShareAbove {
        /// The part.
        part: Selector,
        /// The rest, of the same labels.
        rest: Selector,
        /// The share.
        limit: f64,
    },
    /// A counter that rose within so many seconds.
    Grew(Selector, u32),
    /// A value that is neither 0 nor one of these.
    NoneOf(Selector, Vec<f64>),
}

/// A budget burnt too fast over two windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Burn {
    /// The objective.
    pub slo: String,
    /// Its events.
    pub events: Events,
    /// Times the rate that would just use the budget up.
    pub factor: f64,
    /// The share of bad events that is.
    pub limit: f64,
    /// Long window in seconds.
    pub long_s: u32,
    /// Short window in seconds.
    pub short_s: u32,
    /// Events in the long window that are needed.
    pub min_events: u32,
}

/// Events and which are bad.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    /// Counts all.
    pub total: Selector,
    /// Tells the bad ones.
    pub bad: Bad,
}

/// Which events are bad.
#[derive(Debug, Clone, PartialEq)]
pub enum Bad {
    /// Those counted here.
    Counted(Selector),
    /// Those not counted here.
    AllBut(Selector),
}

impl Events {
    /// Increase of all events, and the share of bad ones, over a window that ends at `now_s`.
    pub(super) fn over(&self, history: &History, window_s: u32, now_s: f64) -> Option<(f64, f64)> {
        let total = history.sum_of_increases(&self.total, window_s, now_s)?;
        let share = match &self.bad {
            Bad::Counted(bad) => history.sum_of_increases(bad, window_s, now_s)? / total,
            Bad::AllBut(good) => 1.0 - history.sum_of_increases(good, window_s, now_s)? / total,
        };
        Some((total, share))
    }
}

impl Condition {
    /// Labels and values of what holds at `now_s`.
    pub(super) fn holds(&self, history: &History, now_s: f64) -> Vec<(Labels, f64)> {
        let each = |selector: &Selector, holds: &dyn Fn(f64) -> bool| -> Vec<(Labels, f64)> {
            history.latest(selector, now_s).into_iter().filter(|(_, value)| holds(*value)).collect()
        };
        match self {
            Self::Burn(burn) => {
                let long = burn.events.over(history, burn.long_s, now_s);
                let short = burn.events.over(history, burn.short_s, now_s);
                match (long, short) {
                    (Some((n, long)), Some((_, short)))
                        if long > burn.limit && short > burn.limit && n >= f64::from(burn.min_events) =>
                    {
                        vec![(Labels::new(), long)]
                    }
                    _ => Vec::new(),
                }
            }
            Self::Above(selector, limit) => each(selector, &|value| value > *limit),
            Self::Below(selector, limit) => each(selector, &|value| value < *limit),
            Self::ShareAbove { part, rest, limit } => {
                let rests: BTreeMap<Labels, f64> = history.latest(rest, now_s).into_iter().collect();
                let share = |(labels, part): (Labels, f64)| {
                    let rest = rests.get(&labels)?;
                    Some((labels, part / (part + rest)))
                };
                history.latest(part, now_s).into_iter().filter_map(share).filter(|(_, s)| s > limit).collect()
            }
            Self::Grew(selector, window_s) => history
                .increases(selector, *window_s, now_s)
                .into_iter()
                .filter(|(_, rise)| *rise > 0.0)
                .collect(),
            Self::NoneOf(selector, codes) => each(selector, &|value| value > 0.0 && !codes.contains(&value)),
        }
    }

    /// Everything that it looks at, and the longest window it needs in seconds.
    pub(super) fn needs(&self) -> (Vec<&Selector>, u32) {
        match self {
            Self::Burn(burn) => {
                let (Bad::Counted(other) | Bad::AllBut(other)) = &burn.events.bad;
                (vec![&burn.events.total, other], burn.long_s)
            }
            Self::Above(s, _) | Self::Below(s, _) | Self::NoneOf(s, _) => (vec![s], 0),
            Self::ShareAbove { part, rest, .. } => (vec![part, rest], 0),
            Self::Grew(s, window_s) => (vec![s], *window_s),
        }
    }
}

/// Which series.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// Name of the metric.
    pub name: String,
    /// What labels must be.
    pub labels: Vec<(String, Match)>,
}

/// What a label must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Match {
    /// This.
    Is(String),
    /// Not this.
    IsNot(String),
    /// None of these words.
    NoneOf(Vec<String>),
}

impl Selector {
    /// All series of a name.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), labels: Vec::new() }
    }

    /// Those of which a label is as said.
    #[must_use]
    pub fn with(mut self, label: &str, is: Match) -> Self {
        self.labels.push((label.to_owned(), is));
        self
    }

    /// Reads `name{label="value",other!="value"}`; `None` where it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.trim().split_once('{').unwrap_or((text.trim(), "}"));
        let sound = |name: &str, colon: bool| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || (colon && c == ':'))
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':'))
        };
        let mut selector = sound(name, true).then(|| Self::new(name))?;
        for part in rest.strip_suffix('}')?.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (label, value) = part.split_once('=')?;
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            if value.contains(['"', '\\', '\n']) {
                return None;
            }
            let (label, is) = match label.strip_suffix('!') {
                Some(label) => (label, Match::IsNot(value.to_owned())),
                None => (label, Match::Is(value.to_owned())),
            };
            selector = sound(label, false).then(|| selector.with(label, is))?;
        }
        Some(selector)
    }

    /// Whether a series is meant. A label that is not there is empty.
    pub(super) fn means(&self, name: &str, labels: &Labels) -> bool {
        self.name == name
            && self.labels.iter().all(|(label, is)| {
                let value = labels.get(label).map_or("", String::as_str);
                match is {
                    Match::Is(wanted) => value == wanted,
                    Match::IsNot(other) => value != other,
                    Match::NoneOf(others) => others.iter().all(|o| value != o),
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_and_chosen_by() {
        let s = Selector::parse("vllm:request_success_total{finished_reason!=\"abort\", model_name=\"m\"}")
            .unwrap();
        let with = |reason: &str, model: &str| -> Labels {
            [("finished_reason".to_owned(), reason.to_owned()), ("model_name".to_owned(), model.to_owned())]
                .into()
        };
        assert!(s.means("vllm:request_success_total", &with("stop", "m")));
        assert!(!s.means("vllm:request_success_total", &with("abort", "m")));
        assert!(!s.means("vllm:request_success_total", &with("stop", "n")));
        assert!(!s.means("other", &with("stop", "m")));
        for bad in ["", "a b", "a{b}", "a{b=c}", "a{b=\"c\"", "1a", "a{b:c=\"d\"}"] {
            assert_eq!(Selector::parse(bad), None, "{bad}");
        }
    }
}
