//! What was judged, by upstream, model and prompt version, and whether it has moved. Told what was heard, it does the
//! same each time: it reads no clock and draws nothing.

use std::collections::{BTreeMap, VecDeque};

use stopwatt_core::label::escaped;
use stopwatt_quality::answer::Answer;
use stopwatt_quality::consistency::{self, Consistency};
use stopwatt_quality::sketch::Sketch;
use stopwatt_quality::track::{self, Measure, trends};
use stopwatt_stats::bootstrap;
use stopwatt_stats::drift::{self, Detector};

use super::heard::Heard;
use super::reference::{MEASURES, MOST_ANSWERS, References};
use crate::exposition::Page;
use crate::fleet::Fleet;

/// Groups that are followed apart. Clients name models and prompt versions as they like: the rest is left out.
const MOST_GROUPS: usize = 64;
/// Agreement with the reference's answers to the same prompts.
const AGREEMENTS: [consistency::Measure; 2] = [consistency::Measure::Exact, consistency::Measure::Cosine];
/// Comparisons of a window.
const COMPARED: usize = MEASURES.len() + AGREEMENTS.len();
/// Coverage of the intervals of means.
const LEVEL: f64 = 0.95;

/// How answers are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Answers that a reference is learnt from: two windows at least.
    pub reference: usize,
    /// Answers of a window, ten at least.
    pub window: usize,
    /// Share of windows that may alarm without drift, over all comparisons of a window.
    pub false_alarms: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { reference: 400, window: 100, false_alarms: 0.01 }
    }
}

/// What is wrong with an answer by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Nothing.
    None,
    /// It is empty.
    Empty,
    /// It opens as a refusal.
    Refusal,
    /// It repeats a passage several times in a row.
    RepetitionLoop,
    /// It holds bytes that were no text.
    ReplacementChars,
    /// JSON was asked for and did not come.
    InvalidJson,
}

impl Finding {
    /// All of them, in the order in which they are looked for after the first.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Empty,
        Self::Refusal,
        Self::RepetitionLoop,
        Self::ReplacementChars,
        Self::InvalidJson,
    ];

    /// Stable name, for labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Empty => "empty",
            Self::Refusal => "refusal",
            Self::RepetitionLoop => "repetition_loop",
            Self::ReplacementChars => "replacement_chars",
            Self::InvalidJson => "invalid_json",
        }
    }

    /// The first that is there.
    fn of(heard: &Heard) -> Self {
        let a = &heard.answer;
        match () {
            () if a.empty => Self::Empty,
            () if a.refusal => Self::Refusal,
            () if a.repetition_loop => Self::RepetitionLoop,
            () if a.replacement_chars > 0 => Self::ReplacementChars,
            () if heard.invalid_json => Self::InvalidJson,
            () => Self::None,
        }
    }
}

/// Whose answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) upstream: usize,
    pub(super) model: String,
    pub(super) prompt_version: String,
}

/// What a comparison last said.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Said {
    drifted: bool,
    value: f64,
    limit: f64,
}

#[derive(Debug, Default)]
struct Group {
    findings: [u64; Finding::ALL.len()],
    recent: VecDeque<Answer>,
    rows: Vec<track::Row>,
    /// The window under way.
    window: Vec<Heard>,
    said: [Option<Said>; COMPARED],
    agreement: Vec<Consistency>,
    /// Windows that were compared, and those that alarmed.
    windows: [u64; 2],
}

/// Follows the answers of upstreams.
#[derive(Debug)]
pub struct Tracker {
    settings: Settings,
    references: References,
    /// By model and prompt version; `None` for a measure that has no scale or too few values.
    detectors: BTreeMap<(String, String), Vec<Option<Detector>>>,
    groups: BTreeMap<Key, Group>,
    /// The variant of each upstream; answers of variant 0 are learnt from.
    variants: Vec<usize>,
    judged: u64,
}

impl Tracker {
    pub(super) fn new(settings: Settings, references: References, variants: Vec<usize>) -> Self {
        let settings = Settings {
            window: settings.window.max(10),
            reference: settings.reference.max(50).max(2 * settings.window.max(10)),
            ..settings
        };
        let mut tracker = Self {
            settings,
            references,
            detectors: BTreeMap::new(),
            groups: BTreeMap::new(),
            variants,
            judged: 0,
        };
        let known: Vec<_> = tracker
            .references
            .references
            .iter()
            .map(|r| (r.model.clone(), r.prompt_version.clone()))
            .collect();
        known.into_iter().for_each(|of| tracker.calibrate(of));
        tracker
    }

    pub(super) fn salt(&self) -> u64 {
        self.references.salt
    }

    pub(super) fn references(&self) -> &References {
        &self.references
    }

    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    /// The false alarms of one comparison.
    fn share(&self) -> f64 {
        self.settings.false_alarms / COMPARED as f64
    }

    fn calibrate(&mut self, of: (String, String)) {
        let share = self.share();
        let reference = self.references.of(&of.0, &of.1);
        if !reference.complete {
            return;
        }
        let options = drift::Options {
            window: self.settings.window,
            false_alarms: share,
            resamples: ((2.0 / share).ceil() as u32).clamp(2000, 20_000),
            ..drift::Options::default()
        };
        let detector = |m: &Measure| Detector::calibrate(reference.values.get(m)?, options).ok();
        let detectors = MEASURES.iter().map(detector).collect();
        self.detectors.insert(of, detectors);
    }

    /// Takes an answer; `true` when a reference was completed by it.
    pub(super) fn take(&mut self, key: Key, heard: Heard) -> bool {
        self.judged += 1;
        if !self.groups.contains_key(&key) && self.groups.len() >= MOST_GROUPS {
            return false;
        }
        let of = (key.model.clone(), key.prompt_version.clone());
        let learns = self.variants.get(key.upstream).copied().unwrap_or(0) == 0;
        let group = self.groups.entry(key.clone()).or_default();
        let finding = Finding::of(&heard);
        let at = Finding::ALL.iter().position(|f| *f == finding).unwrap_or(0);
        group.findings[at] += 1;
        group.recent.push_back(heard.answer.clone());
        if group.recent.len() > self.settings.window {
            group.recent.pop_front();
        }
        let judged: u64 = group.findings.iter().sum();
        if judged.is_multiple_of(10) || judged < 10 {
            let whose = track::Group::default();
            let answers = BTreeMap::from([(whose.clone(), group.recent.iter().cloned().collect())]);
            group.rows = trends(&answers, &whose, LEVEL);
        }
        let reference = self.references.of(&of.0, &of.1);
        if !reference.complete {
            let complete = learns && reference.learn(&heard, self.settings.reference);
            if complete {
                self.calibrate(of);
            }
            return complete;
        }
        group.window.push(heard);
        if group.window.len() >= self.settings.window {
            let window = std::mem::take(&mut group.window);
            self.compare(&key, &of, &window);
        }
        false
    }

    /// Compares a window with its reference.
    fn compare(&mut self, key: &Key, of: &(String, String), window: &[Heard]) {
        let level = 1.0 - 2.0 * self.share();
        let reference = self.references.of(&of.0, &of.1);
        let detectors = self.detectors.get(of).map(Vec::as_slice).unwrap_or_default();
        let mut said = [None; COMPARED];
        for ((said, detector), measure) in said.iter_mut().zip(detectors).zip(MEASURES) {
            let values: Vec<f64> = window.iter().filter_map(|h| measure.of(&h.answer)).collect();
            let found = detector.as_ref().and_then(|d| d.check(&values).ok());
            *said = found.map(|a| Said { drifted: a.drifted, value: a.value, limit: a.limit });
        }
        let agreement = agreement(&reference.prompts, window, level);
        for (said, row) in said[MEASURES.len()..].iter_mut().zip(&agreement) {
            let loss = row.loss.as_ref();
            *said = loss.map(|l| Said { drifted: l.is_real(), value: l.value, limit: l.value - l.lo });
        }
        let drifted = said.iter().flatten().any(|s| s.drifted);
        let Some(group) = self.groups.get_mut(key) else { return };
        group.said = said;
        group.agreement = agreement;
        group.windows[0] += 1;
        group.windows[1] += u64::from(drifted);
    }

    /// Writes the families on the page.
    pub(crate) fn render(&self, page: &mut Page, fleet: &Fleet) {
        let groups: Vec<(String, &Group)> =
            self.groups.iter().map(|(key, group)| (labels(key, fleet), group)).collect();
        let name = "stopwatt_answers_judged_total";
        page.family(
            name,
            "counter",
            "Answers that were judged, by what was found.",
            groups.iter().flat_map(|(l, g)| {
                Finding::ALL.iter().zip(g.findings).map(move |(finding, n)| {
                    let verdict = if *finding == Finding::None { "sound" } else { "flagged" };
                    let labels = format!("{l},verdict=\"{verdict}\",finding=\"{}\"", finding.name());
                    (labels, Some(n as f64))
                })
            }),
        );
        let name = "stopwatt_answer_quality";
        page.family(
            name,
            "gauge",
            "Mean or share over the last window of answers, with its 95 % interval.",
            groups.iter().flat_map(|(l, g)| {
                g.rows.iter().flat_map(move |row| {
                    let bounds =
                        [("mean", row.value.value), ("lower", row.value.lo), ("upper", row.value.hi)];
                    bounds.map(|(bound, value)| {
                        let measure = self::name(&row.measure);
                        (format!("{l},measure=\"{measure}\",bound=\"{bound}\""), value)
                    })
                })
            }),
        );
        let name = "stopwatt_answer_consistency";
        page.family(
            name,
            "gauge",
            "Agreement of answers to repeated prompts: of the reference with itself, and of the last window with it.",
            groups.iter().flat_map(|(l, g)| {
                g.agreement.iter().flat_map(move |row| {
                    [("reference", row.baseline), ("now", row.candidate)].map(|(of, value)| {
                        let measure = self::name(&row.measure);
                        (format!("{l},measure=\"{measure}\",of=\"{of}\""), Some(value))
                    })
                })
            }),
        );
        type Of = fn(&Said) -> f64;
        let drift: [(&str, &str, Of); 3] = [
            (
                "stopwatt_quality_drift",
                "1 where the last window was another distribution than the reference.",
                |s| f64::from(u8::from(s.drifted)),
            ),
            (
                "stopwatt_quality_drift_distance",
                "Kolmogorov-Smirnov distance of the last window, or the agreement that was lost.",
                |s| s.value,
            ),
            (
                "stopwatt_quality_drift_limit",
                "The distance that is exceeded by chance at the stated rate.",
                |s| s.limit,
            ),
        ];
        for (name, help, of) in drift {
            let all = groups.iter().flat_map(|(l, g)| {
                g.said
                    .iter()
                    .enumerate()
                    .map(move |(i, said)| (format!("{l},measure=\"{}\"", compared(i)), said.as_ref().map(of)))
            });
            page.family(name, "gauge", help, all);
        }
        let name = "stopwatt_quality_windows_total";
        page.family(
            name,
            "counter",
            "Windows that were compared, by whether any measure had drifted.",
            groups.iter().flat_map(|(l, g)| {
                let [all, drifted] = g.windows;
                [("false", all - drifted), ("true", drifted)]
                    .map(|(is, n)| (format!("{l},drifted=\"{is}\""), Some(n as f64)))
            }),
        );
        let name = "stopwatt_quality_false_alarm_ratio";
        page.head(name, "gauge", "Share of windows that may alarm without drift, as stated.");
        page.line(name, "", self.settings.false_alarms);
        let name = "stopwatt_quality_reference_answers";
        page.family(
            name,
            "gauge",
            "Answers that a reference was learnt from.",
            self.references.references.iter().map(|r| {
                let labels = format!(
                    "model=\"{}\",prompt_version=\"{}\",complete=\"{}\"",
                    escaped(&r.model),
                    escaped(&r.prompt_version),
                    r.complete
                );
                (labels, Some(r.answers as f64))
            }),
        );
    }
}

fn labels(key: &Key, fleet: &Fleet) -> String {
    let spec = fleet.upstreams().get(key.upstream).map(|u| &u.spec);
    let of = |get: fn(&crate::upstream::Spec) -> &String| spec.map(|s| escaped(get(s))).unwrap_or_default();
    format!(
        "upstream=\"{}\",variant=\"{}\",model=\"{}\",prompt_version=\"{}\"",
        of(|s| &s.name),
        of(|s| &s.variant),
        escaped(&key.model),
        escaped(&key.prompt_version)
    )
}

/// How much a window's answers agree with the reference's to the same prompts, beside how much those agree with each
/// other.
fn agreement(known: &BTreeMap<u64, Vec<Sketch>>, window: &[Heard], level: f64) -> Vec<Consistency> {
    let mut now: BTreeMap<u64, Vec<Sketch>> = BTreeMap::new();
    for heard in window.iter().filter(|h| known.contains_key(&h.prompt)) {
        let answers = now.entry(heard.prompt).or_default();
        if answers.len() < MOST_ANSWERS {
            answers.push(heard.sketch);
        }
    }
    if now.is_empty() {
        return Vec::new();
    }
    let mean = |pairs: Vec<f64>| pairs.iter().sum::<f64>() / pairs.len() as f64;
    let row = |measure: consistency::Measure| {
        let alike = |a: &Sketch, b: &Sketch| match measure {
            consistency::Measure::Exact => f64::from(u8::from(a.is_same(b))),
            _ => a.cosine(b),
        };
        let (before, after): (Vec<f64>, Vec<f64>) = now
            .iter()
            .map(|(prompt, answers)| {
                let old = &known[prompt];
                let among =
                    old.iter().enumerate().flat_map(|(i, a)| old[i + 1..].iter().map(move |b| (a, b)));
                let between = old.iter().flat_map(|a| answers.iter().map(move |b| (a, b)));
                let of = |(a, b): (&Sketch, &Sketch)| alike(a, b);
                (mean(among.map(of).collect()), mean(between.map(of).collect()))
            })
            .unzip();
        let options = bootstrap::Options { level, ..bootstrap::Options::default() };
        consistency::row(measure, &before, &after, &options)
    };
    AGREEMENTS.into_iter().map(row).collect()
}

/// Names of the comparisons, for labels.
fn compared(at: usize) -> String {
    match MEASURES.get(at) {
        Some(measure) => name(measure),
        None => format!("consistency_{}", name(&AGREEMENTS[at - MEASURES.len()])),
    }
}

/// The name that a measure has in files.
fn name(measure: &impl serde::Serialize) -> String {
    serde_json::to_value(measure).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths of 100 to 199 characters drawn by a linear congruential generator, and shifted.
    fn answers(seed: u64, n: usize, shift: u64) -> impl Iterator<Item = Heard> {
        let mut state = seed;
        (0..n).map(move |i| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let chars = 100 + (state >> 33) % 100 + shift;
            Heard {
                answer: Answer { chars, ..Answer::default() },
                invalid_json: false,
                prompt: i as u64,
                sketch: Sketch { hash: i as u64, signs: None },
            }
        })
    }

    fn key(upstream: usize) -> Key {
        Key { upstream, model: "m".into(), prompt_version: String::new() }
    }

    fn feed(tracker: &mut Tracker, upstream: usize, answers: impl Iterator<Item = Heard>) {
        for heard in answers {
            tracker.take(key(upstream), heard);
        }
    }

    fn tracker() -> Tracker {
        Tracker::new(Settings::default(), References::default(), vec![0, 1])
    }

    #[test]
    fn an_unchanged_service_alarms_as_rarely_as_stated() {
        let (mut windows, mut alarms) = (0, 0);
        for seed in 0..40 {
            let mut tracker = tracker();
            let learnt = answers(seed, 400, 0).filter(|h| tracker.take(key(0), h.clone())).count();
            assert_eq!(learnt, 1);
            feed(&mut tracker, 1, answers(1000 + seed, 1000, 0));
            let [all, drifted] = tracker.groups[&key(1)].windows;
            (windows, alarms) = (windows + all, alarms + drifted);
        }
        // At most 1 % of 400: 4 expected at most; 11 and more has a probability below 0.3 %.
        assert!(windows == 400 && alarms <= 10, "{alarms} of {windows}");
    }

    #[test]
    fn longer_answers_of_another_variant_are_seen() {
        let mut tracker = tracker();
        feed(&mut tracker, 0, answers(1, 400, 0));
        feed(&mut tracker, 1, answers(2, 100, 60));
        let said = tracker.groups[&key(1)].said[0].unwrap();
        assert!(said.drifted && said.value > said.limit, "{said:?}");
        assert!(tracker.groups[&key(0)].said[0].is_none(), "its own window is not full");
    }

    #[test]
    fn the_other_variant_is_not_learnt_from() {
        let mut tracker = tracker();
        assert!(answers(1, 1000, 60).all(|h| !tracker.take(key(1), h)));
        assert!(!tracker.references.of("m", "").complete);
    }

    #[test]
    fn a_loss_of_agreement_is_seen_and_the_usual_one_is_not() {
        // 60 prompts, each answered in one of three ways; later in one of them again, or in a way of its own.
        let heard = |i: u64, way: u64| Heard {
            prompt: i % 60,
            sketch: Sketch { hash: (i % 60) * 100 + way, signs: None },
            ..answers(i, 1, 0).next().unwrap()
        };
        for (changed, expected) in [(false, false), (true, true)] {
            let mut tracker = tracker();
            let mut ways = answers(9, 10_000, 0).map(|h| h.answer.chars);
            feed(&mut tracker, 0, (0..400).map(|i| heard(i, ways.next().unwrap() % 3)));
            (0..100).for_each(|i| {
                let way = if changed { 50 + i } else { ways.next().unwrap() % 3 };
                tracker.take(key(1), heard(i, way));
            });
            let said = tracker.groups[&key(1)].said[MEASURES.len()].unwrap();
            assert_eq!(said.drifted, expected, "{said:?}");
        }
    }

    #[test]
    fn groups_are_bounded() {
        let mut tracker = tracker();
        for (i, h) in answers(1, 200, 0).enumerate() {
            tracker.take(Key { upstream: 0, model: format!("m{i}"), prompt_version: String::new() }, h);
        }
        assert_eq!((tracker.groups.len(), tracker.references.references.len()), (MOST_GROUPS, MOST_GROUPS));
    }

    #[test]
    fn a_reference_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reference.json");
        assert!(References::read(&path).unwrap().is_none());
        let mut first = tracker();
        feed(&mut first, 0, answers(1, 400, 0));
        first.references.write(&path).unwrap();
        let read = References::read(&path).unwrap().unwrap();
        assert_eq!(&read, first.references());
        let mut second = Tracker::new(Settings::default(), read, vec![0, 1]);
        feed(&mut second, 0, answers(2, 100, 60));
        assert!(second.groups[&key(0)].said[0].unwrap().drifted);
        std::fs::write(&path, "{\"version\":9}").unwrap();
        assert!(matches!(References::read(&path), Err(super::super::ReferenceError::Version { found: 9 })));
    }
}
