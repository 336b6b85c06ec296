//! Names of runs: when it began, what it is, and four digits so that two of one second differ.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

use stopwatt_core::Nanos;
use stopwatt_core::calendar::civil_from_days;

/// Name of a run, sortable by start: `20261122-061530-bench-7f3a` (UTC).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// A new name for a run that begins at `unix_ns`.
    pub fn new(name: &str, unix_ns: Nanos) -> Self {
        Self::with_suffix(name, unix_ns, random())
    }

    fn with_suffix(name: &str, unix_ns: Nanos, suffix: u16) -> Self {
        let mut word: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .take(40)
            .collect();
        if word.is_empty() {
            word.push_str("run");
        }
        let seconds = unix_ns.div_euclid(1_000_000_000);
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let s = seconds.rem_euclid(86_400);
        let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
        Self(format!("{year:04}{month:02}{day:02}-{h:02}{m:02}{s:02}-{word}-{suffix:04x}"))
    }

    /// Reads a name; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
        let (date, rest) = text.split_once('-')?;
        let (time, rest) = rest.split_once('-')?;
        let (word, suffix) = rest.rsplit_once('-')?;
        let fine = digits(date, 8)
            && digits(time, 6)
            && !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && suffix.len() == 4
            && suffix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fine.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the run is: the word between time and digits.
    pub fn kind(&self) -> &str {
        let end = self.0.len() - 5;
        self.0.get(16..end).unwrap_or_default()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Differs between calls and processes; nothing else is asked of it.
fn random() -> u16 {
    RandomState::new().build_hasher().finish() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names() {
        let id = |name, seconds: i64| RunId::with_suffix(name, seconds * 1_000_000_000, 0x7f3a).0;
        // `date -u -d @…`
        assert_eq!(id("bench", 0), "19700101-000000-bench-7f3a");
        assert_eq!(id("bench", 951_782_399), "20000228-235959-bench-7f3a");
        assert_eq!(id("bench", 951_782_400), "20000229-000000-bench-7f3a");
        assert_eq!(id("Chaos Test/2", 1_795_328_130), "20261122-061530-chaos-test-2-7f3a");
        assert_eq!(id("", 1_795_328_130), "20261122-061530-run-7f3a");
    }

    #[test]
    fn names_round_trip_and_tell_their_kind() {
        let id = RunId::new("long context", 1_795_328_130_999_999_999);
        assert_eq!(RunId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(id.kind(), "long-context");
        for wrong in
            ["", "latest", "20261122-061530-bench", "20261122-06153x-bench-7f3a", "20261122-061530--7f3a"]
        {
            assert_eq!(RunId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn two_runs_of_one_second_differ() {
        let ids: std::collections::BTreeSet<RunId> = (0..20).map(|_| RunId::new("bench", 0)).collect();
        assert!(ids.len() > 10);
    }
}
