//! Reading a set of documents: what was right, how long it took, and whether both are what is asked for.
//!
//! Images of one resolution and degradation are read together, type by type, so that documents a minute are pages over
//! the wall clock of their type, however many are read at once.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::Phase;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_quality::Counts;
use stopwatt_quality::page::{self, PageScore, Reading};
use stopwatt_stats::quantile::quantile;

use crate::confusion::{Tally, Told};
use crate::input::{Line, Page};
use crate::profile::DocType;
use crate::read::echo::is_truth_echo;
use crate::read::{Attempt, Failure, Mode, Task};
use crate::score::{self, NO_TYPE, ScoreDoc};
use crate::verdict::{Check, Terms, Verdict, judge, overall};

/// Version of [`RunDoc`].
pub const FORMAT: &str = "stopwatt-ocr-run/1";

/// How to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Types that must be there and pass.
    pub types: Vec<DocType>,
    /// How to score.
    pub score: score::Options,
    /// How to judge.
    pub terms: Terms,
    /// Pages read before anything counts.
    pub warmup: usize,
    /// Times that each page is read; accuracy is that of the first.
    pub repeat: u32,
    /// Pages read at once: all pages are read at each, and the last is judged.
    pub concurrency: Vec<usize>,
    /// Tokens of a request without its image, where the service told.
    pub tokens_without_image: Option<u32>,
    /// What reads, for the record.
    pub reader: Reader,
}

/// What reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reader {
    /// `exec` or `endpoint`.
    pub kind: String,
    /// Name of the program's file, or of the model.
    pub name: String,
    /// What is asked for.
    pub mode: Mode,
    /// Pages read at once.
    pub concurrency: usize,
}

/// Mean and quantiles of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seconds {
    /// Pages with a value.
    pub n: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile; `null` below 100 pages.
    pub p99: Option<f64>,
}

/// How long the pages of a type took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timing {
    /// Pages read or tried.
    pub pages: u64,
    /// Pages that were not read, by kind.
    pub failures: BTreeMap<Failure, u64>,
    /// From the first begin to the last end, in seconds.
    pub wall_s: f64,
    /// Pages that were read, over that time.
    pub documents_per_min: f64,
    /// A page, of those that were read.
    pub latency_s: Option<Seconds>,
    /// p99 / p50 of it; `null` below 100 pages.
    pub tail_latency_ratio: Option<f64>,
    /// To the first token.
    pub ttft_s: Option<Seconds>,
    /// Between tokens, mean of a page.
    pub tpot_s: Option<Seconds>,
    /// Median tokens of a request, by the service.
    pub input_tokens: Option<f64>,
    /// Median tokens of the image alone: those of the request less those of the same request without it.
    pub image_tokens: Option<f64>,
    /// Median tokens of an answer.
    pub output_tokens: Option<f64>,
    /// Pages whose tokens are outside the range that the profile states.
    pub outside_token_range: Option<u64>,
}

/// A type of document at one resolution and degradation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TypeResult {
    /// Times.
    pub timing: Option<Timing>,
    /// Limits; empty for a type without a profile.
    pub checks: Vec<Check>,
    /// Their judgement; `null` without a profile.
    pub verdict: Option<Verdict>,
}

/// Pages of one resolution and degradation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Dots per inch.
    pub dpi: Option<u32>,
    /// Name of the degradation.
    pub degrade: Option<String>,
    /// Scores.
    pub score: ScoreDoc,
    /// By type.
    pub types: BTreeMap<String, TypeResult>,
    /// Judgement of all types.
    pub verdict: Verdict,
    /// What is read as what, without content.
    #[serde(default)]
    pub confused: Told,
    /// Share of the pages that were read alike every time; `null` where each was read once.
    #[serde(default)]
    pub repeatable: Option<f64>,
}

fn once() -> u32 {
    1
}

/// A page as it went.
#[derive(Debug, Clone)]
pub struct PageResult {
    /// The page.
    pub page: Line<Page>,
    /// Position of its setting in [`RunDoc::settings`].
    pub setting: usize,
    /// What was read.
    pub reading: Reading,
    /// Its scores.
    pub score: PageScore,
    /// Times and tokens, without text.
    pub attempt: Attempt,
}

/// All pages at a number of pages at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SweepPoint {
    /// Pages read at once.
    pub concurrency: u64,
    /// Pages read or tried.
    pub pages: u64,
    /// Pages that were not read.
    pub failed: u64,
    /// Time of all, in seconds.
    pub wall_s: f64,
    /// Pages that were read, over that time.
    pub documents_per_min: f64,
    /// A page, of those that were read.
    pub latency_s: Option<Seconds>,
    /// To the first token.
    pub ttft_s: Option<Seconds>,
}

/// What `ocr run` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunDoc {
    /// Version of this document.
    pub format: String,
    /// What read.
    pub reader: Reader,
    /// Every page is made up.
    pub synthetic: bool,
    /// Pages read before anything counted.
    pub warmup: u64,
    /// Times that each page was read.
    #[serde(default = "once")]
    pub repeat: u32,
    /// By pages at once, where several were asked for.
    #[serde(default)]
    pub sweep: Vec<SweepPoint>,
    /// By resolution and degradation.
    pub settings: Vec<Setting>,
    /// Judgement of all of them.
    pub verdict: Verdict,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// What reading took of the machine that asked.
    #[serde(default)]
    pub resources: Option<Resources>,
}

/// What reading took of this machine, from the first page to the last. `None` has its reason in `missing`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// From the first page to the last, in seconds.
    pub wall_s: f64,
    /// CPU time of Stopwatt itself, in seconds.
    pub client_cpu_s: Option<f64>,
    /// Its largest resident memory.
    pub client_rss_bytes: Option<u64>,
    /// CPU time of the programs that read, in seconds.
    pub program_cpu_s: Option<f64>,
    /// Largest resident memory of those that ran at once, of looks a fifth of a second apart.
    pub program_rss_bytes: Option<u64>,
    /// Largest memory in use on the GPUs of this machine, of all that run on them.
    pub gpu_memory_bytes: Option<u64>,
    /// Energy of these GPUs, in joules.
    pub gpu_energy_j: Option<f64>,
    /// Why a value is not known, by its name.
    pub missing: BTreeMap<String, String>,
}

/// Why a set cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A page has no image.
    #[error("line {line} of the truth has no image inside the folder")]
    NoImage {
        /// Line, from 1.
        line: usize,
    },
    /// No page is of the kinds that were asked for.
    #[error("no page is of the types, resolutions and degradations that were asked for")]
    Nothing,
}

/// The images of pages, in order.
///
/// # Errors
/// A page without an image, or with one outside the folder.
pub fn tasks(pages: &[&Line<Page>], folder: &Path) -> Result<Vec<Task>, RunError> {
    let inside = |image: &String| {
        Path::new(image).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
    };
    pages
        .iter()
        .map(|page| match &page.value.image {
            Some(image) if inside(image) => Ok(Task { image: folder.join(image), variant: 0 }),
            _ => Err(RunError::NoImage { line: page.number }),
        })
        .collect()
}

/// Resolution and degradation.
type Images<'a> = (Option<u32>, Option<&'a str>);
/// Pages by the type that the truth gives them.
type ByType<'a> = BTreeMap<&'a str, Vec<&'a Line<Page>>>;

/// Pages that are read together: a number of pages at once, a resolution and a degradation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Pages read at once.
    pub concurrency: usize,
    /// Dots per inch.
    pub dpi: Option<u32>,
    /// Name of the degradation.
    pub degrade: Option<String>,
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Position of its point in the plan.
    pub point: u32,
    /// Which time the pages of the point are read, from 0.
    pub trial: u32,
    /// Whether it counts.
    pub phase: Phase,
    /// Pages read at once.
    pub concurrency: usize,
}

/// Who reads pages, and hears what they are part of.
pub trait Reads {
    /// Why it cannot.
    type Error: From<RunError>;

    /// The points, in their order, and how often each is read. Told before anything is read.
    ///
    /// # Errors
    /// It cannot be recorded.
    fn planned(&mut self, points: &[Point], trials: u32) -> Result<(), Self::Error> {
        let _ = (points, trials);
        Ok(())
    }

    /// Reads images; answers are in their order.
    ///
    /// # Errors
    /// Nothing can be read.
    fn read(&mut self, tasks: &[Task], pass: Pass) -> Result<Vec<Attempt>, Self::Error>;

    /// All types of a point were read once more, with so many errors.
    ///
    /// # Errors
    /// It cannot be recorded.
    fn trial_ended(&mut self, pass: Pass, errors: Counts) -> Result<(), Self::Error> {
        let _ = (pass, errors);
        Ok(())
    }
}

/// Reads and judges pages. They come back in the order in which they were read.
///
/// # Errors
/// Pages without images, no pages, and those of `reads`.
pub fn run<R: Reads>(
    pages: &[Line<Page>],
    folder: &Path,
    plan: &Plan,
    reads: &mut R,
) -> Result<(RunDoc, Vec<PageResult>), R::Error> {
    let synthetic = pages.iter().all(|p| p.value.synthetic);
    let mut groups: BTreeMap<Images<'_>, ByType<'_>> = BTreeMap::new();
    for page in pages {
        let p = &page.value;
        let name = p.truth.doc_type.as_deref().unwrap_or(NO_TYPE);
        groups.entry((p.dpi, p.degrade.as_deref())).or_default().entry(name).or_default().push(page);
    }
    if groups.is_empty() {
        return Err(RunError::Nothing.into());
    }
    let levels = if plan.concurrency.is_empty() { &[1][..] } else { &plan.concurrency };
    let judged_at = levels[levels.len() - 1];
    let trials = plan.repeat.max(1);
    let points: Vec<Point> = levels
        .iter()
        .flat_map(|&concurrency| {
            groups.keys().map(move |&(dpi, degrade)| Point {
                concurrency,
                dpi,
                degrade: degrade.map(str::to_owned),
            })
        })
        .collect();
    reads.planned(&points, trials)?;
    // No page is sent twice as it is: what a service remembers of it would count. The first time it is.
    let mut variant = 0;
    let first: Vec<&Line<Page>> = pages.iter().take(plan.warmup).collect();
    let after_all = levels.len() as u32 * trials;
    let warmup: Vec<Task> =
        tasks(&first, folder)?.into_iter().map(|t| Task { variant: after_all, ..t }).collect();
    if !warmup.is_empty() {
        let pass = Pass { point: 0, trial: 0, phase: Phase::Warmup, concurrency: judged_at };
        reads.read(&warmup, pass)?;
    }
    let mut sweep = Vec::new();
    let mut settings = Vec::new();
    let mut all = Vec::new();
    let mut point = 0;
    for (level, &concurrency) in levels.iter().enumerate() {
        let mut times = Rounds::default();
        for ((dpi, degrade), types) in &groups {
            let pass = Pass { point, trial: 0, phase: Phase::Measure, concurrency };
            let rounds = rounds(types, folder, plan, reads, pass, variant)?;
            point += 1;
            rounds.values().for_each(|r| times.take(r));
            if level + 1 == levels.len() {
                let index = settings.len();
                let (setting, results) = judged_setting((*dpi, *degrade), types, rounds, plan, index);
                settings.push(setting);
                all.extend(results);
            }
        }
        variant += trials;
        if levels.len() > 1 {
            let attempts: Vec<&Attempt> = times.attempts.iter().flatten().collect();
            sweep.push(sweep_point(concurrency, &attempts, times.wall_s));
        }
    }
    let doc = RunDoc {
        repeat: trials,
        sweep,
        format: FORMAT.to_owned(),
        reader: plan.reader.clone(),
        synthetic,
        warmup: warmup.len() as u64,
        verdict: settings.iter().map(|s: &Setting| s.verdict).max().unwrap_or(Verdict::Inconclusive),
        notes: notes(&settings, &plan.reader),
        resources: None,
        settings,
    };
    Ok((doc, all))
}

/// Reads the pages of a point as often as is asked for.
fn rounds<'a, R: Reads>(
    types: &ByType<'a>,
    folder: &Path,
    plan: &Plan,
    reads: &mut R,
    pass: Pass,
    variant: u32,
) -> Result<BTreeMap<&'a str, Rounds>, R::Error> {
    let mut of: BTreeMap<&str, Rounds> = BTreeMap::new();
    let options = page::Options { profile: plan.score.profile, ..page::Options::default() };
    for trial in 0..plan.repeat.max(1) {
        let pass = Pass { trial, ..pass };
        for (name, pages) in types {
            let tasks = tasks(pages, folder)?;
            let tasks: Vec<Task> =
                tasks.into_iter().map(|t| Task { variant: variant + trial, ..t }).collect();
            let begin = monotonic_raw();
            let attempts = reads.read(&tasks, pass)?;
            let rounds = of.entry(name).or_default();
            rounds.wall_s += (monotonic_raw() - begin) as f64 / 1e9;
            rounds.attempts.push(attempts);
        }
        let mut errors = Counts::default();
        for (name, pages) in types {
            let Some(attempts) = of.get(name).and_then(|r| r.attempts.last()) else { continue };
            for (page, attempt) in pages.iter().zip(attempts) {
                let read = reading(page, attempt);
                errors += page::score(&page.value.truth, Some(&read), &options).chars;
            }
        }
        reads.trial_ended(pass, errors)?;
    }
    Ok(of)
}

/// Scores and judges the pages of a resolution and degradation.
fn judged_setting(
    (dpi, degrade): Images<'_>,
    types: &ByType<'_>,
    rounds: BTreeMap<&str, Rounds>,
    plan: &Plan,
    index: usize,
) -> (Setting, Vec<PageResult>) {
    let mut readings = Vec::new();
    let mut members: Vec<Line<Page>> = Vec::new();
    let (mut alike, mut compared) = (0_u64, 0_u64);
    for (name, pages) in types {
        let Some(rounds) = rounds.get(name) else { continue };
        for (i, page) in pages.iter().enumerate() {
            let first = &rounds.attempts[0][i];
            readings.push(Line { number: page.number, value: reading(page, first) });
            members.push((*page).clone());
            compared += u64::from(plan.repeat > 1);
            alike += u64::from(plan.repeat > 1 && rounds.attempts.iter().all(|r| r[i].text == first.text));
        }
    }
    // Failed pages are scored as empty ones, so that every page has its line.
    let (score, lines) = score::score(&members, &readings, &plan.score);
    let repeatable = (compared > 0).then(|| alike as f64 / compared as f64);
    let types = judged(&score, &rounds, plan);
    let mut tally = Tally::default();
    let mut all = Vec::new();
    let attempts = types_in_order(rounds);
    for (((page, reading), line), attempt) in members.into_iter().zip(readings).zip(lines).zip(attempts) {
        let reading = reading.value;
        if let Some(text) = &reading.text {
            tally.add(&page.value.truth.text, text);
        }
        let attempt = Attempt { text: None, fields: None, ..attempt };
        all.push(PageResult { page, setting: index, reading, score: line.score, attempt });
    }
    let asked = plan.types.iter().filter_map(|t| types.get(t.name())?.verdict);
    let verdict = asked.max().unwrap_or(Verdict::Inconclusive);
    let synthetic = all.iter().all(|r| r.page.value.synthetic);
    let confused = tally.told(synthetic);
    let degrade = degrade.map(str::to_owned);
    (Setting { dpi, degrade, score, types, verdict, confused, repeatable }, all)
}

/// What became of the pages of a type, each time they were read.
#[derive(Default)]
struct Rounds {
    attempts: Vec<Vec<Attempt>>,
    wall_s: f64,
}

impl Rounds {
    /// Adds the times of others, without text.
    fn take(&mut self, other: &Self) {
        let bare = |a: &Attempt| Attempt { text: None, fields: None, finish_reason: None, ..*a };
        self.attempts.extend(other.attempts.iter().map(|round| round.iter().map(bare).collect()));
        self.wall_s += other.wall_s;
    }

    /// For each page its slowest time; `None` where it was not read once.
    fn slowest(&self) -> Vec<Option<f64>> {
        let of = |i: usize| {
            let times =
                self.attempts.iter().map(|round| round[i].latency_s.filter(|_| round[i].failure.is_none()));
            times.collect::<Option<Vec<f64>>>().map(|times| times.into_iter().fold(0.0, f64::max))
        };
        (0..self.attempts.first().map_or(0, Vec::len)).map(of).collect()
    }
}

/// First attempts of all types, in the order of their names, in which they were read.
fn types_in_order(rounds: BTreeMap<&str, Rounds>) -> impl Iterator<Item = Attempt> {
    rounds.into_values().flat_map(|rounds| rounds.attempts.into_iter().next().unwrap_or_default())
}

fn sweep_point(concurrency: usize, attempts: &[&Attempt], wall_s: f64) -> SweepPoint {
    let good: Vec<&&Attempt> = attempts.iter().filter(|a| a.failure.is_none()).collect();
    SweepPoint {
        concurrency: concurrency as u64,
        pages: attempts.len() as u64,
        failed: (attempts.len() - good.len()) as u64,
        wall_s,
        documents_per_min: if wall_s > 0.0 { good.len() as f64 / wall_s * 60.0 } else { 0.0 },
        latency_s: seconds(good.iter().filter_map(|a| a.latency_s).collect()),
        ttft_s: seconds(good.iter().filter_map(|a| a.ttft_s).collect()),
    }
}

fn reading(page: &Line<Page>, attempt: &Attempt) -> Reading {
    Reading {
        id: page.value.truth.id.clone(),
        text: attempt.text.clone(),
        fields: attempt.fields.clone(),
        finish_reason: attempt.finish_reason.clone(),
    }
}

/// Results by type: those that were read, and those that were asked for and are not there.
fn judged(score: &ScoreDoc, rounds: &BTreeMap<&str, Rounds>, plan: &Plan) -> BTreeMap<String, TypeResult> {
    let mut out = BTreeMap::new();
    for (name, rounds) in rounds {
        let doc_type = DocType::from_name(name);
        let attempts: Vec<&Attempt> = rounds.attempts.iter().flatten().collect();
        let timing = timing(&attempts, rounds.wall_s, doc_type, plan.tokens_without_image);
        let latencies = rounds.slowest();
        let checks =
            doc_type.map_or_else(Vec::new, |t| judge(t, score.types.get(*name), &latencies, &plan.terms));
        let verdict = doc_type.map(|_| overall(&checks));
        // Under the name of the type, however the truth spells it.
        let key = doc_type.map_or((*name).to_owned(), |t| t.name().to_owned());
        out.insert(key, TypeResult { timing: Some(timing), checks, verdict });
    }
    for doc_type in &plan.types {
        out.entry(doc_type.name().to_owned()).or_insert_with(|| {
            let checks = judge(*doc_type, None, &[], &plan.terms);
            TypeResult { timing: None, verdict: Some(overall(&checks)), checks }
        });
    }
    out
}

fn timing(
    attempts: &[&Attempt],
    wall_s: f64,
    doc_type: Option<DocType>,
    without_image: Option<u32>,
) -> Timing {
    let good: Vec<&Attempt> = attempts.iter().copied().filter(|a| a.failure.is_none()).collect();
    let mut failures = BTreeMap::new();
    for failure in attempts.iter().filter_map(|a| a.failure) {
        *failures.entry(failure).or_insert(0) += 1;
    }
    let of =
        |value: &dyn Fn(&Attempt) -> Option<f64>| seconds(good.iter().filter_map(|a| value(a)).collect());
    let median = |value: &dyn Fn(&Attempt) -> Option<u32>| {
        let mut values: Vec<f64> = good.iter().filter_map(|a| value(a)).map(f64::from).collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then(|| quantile(&values, 0.5))
    };
    let latency_s = of(&|a| a.latency_s);
    let outside = |t: DocType| {
        let profile = t.profile();
        let out = |n: Option<u32>, [least, most]: [u32; 2]| n.is_some_and(|n| n < least || n > most);
        let known = good.iter().any(|a| a.input_tokens.is_some() || a.output_tokens.is_some());
        let count = good
            .iter()
            .filter(|a| {
                out(a.input_tokens, profile.input_tokens) || out(a.output_tokens, profile.output_tokens)
            })
            .count();
        known.then_some(count as u64)
    };
    Timing {
        pages: attempts.len() as u64,
        documents_per_min: if wall_s > 0.0 { good.len() as f64 / wall_s * 60.0 } else { 0.0 },
        failures,
        wall_s,
        tail_latency_ratio: latency_s.and_then(|s| Some(s.p99? / s.p50)).filter(|r| r.is_finite()),
        latency_s,
        ttft_s: of(&|a| a.ttft_s),
        tpot_s: of(&|a| a.tpot_s),
        input_tokens: median(&|a| a.input_tokens),
        image_tokens: without_image.and_then(|base| median(&|a| a.input_tokens?.checked_sub(base))),
        output_tokens: median(&|a| a.output_tokens),
        outside_token_range: doc_type.and_then(outside),
    }
}

fn seconds(mut values: Vec<f64>) -> Option<Seconds> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| Seconds {
        n: n as u64,
        mean: values.iter().sum::<f64>() / n as f64,
        p50: quantile(&values, 0.5),
        p95: quantile(&values, 0.95),
        p99: (n >= 100).then(|| quantile(&values, 0.99)),
    })
}

/// Note of a run whose reader is the truth itself.
pub const ECHO_NOTE: &str = "what answered is an echo of the truth (synthetic): nothing was recognised, and no figure here \
tells of a recogniser";

fn notes(settings: &[Setting], reader: &Reader) -> Vec<String> {
    let mut notes = Vec::new();
    if is_truth_echo(&reader.name) {
        notes.push(ECHO_NOTE.to_owned());
    }
    // A service that clamps images gives two resolutions the same tokens: they are one to it.
    let tokens = |s: &Setting| s.types.values().find_map(|t| t.timing.as_ref()?.image_tokens);
    for pair in settings.windows(2) {
        if let (Some(a), Some(b)) = (tokens(&pair[0]), tokens(&pair[1]))
            && pair[0].degrade == pair[1].degrade
            && a == b
        {
            let dpi = |s: &Setting| s.dpi.map_or_else(|| "?".to_owned(), |d| d.to_string());
            let (a_dpi, b_dpi) = (dpi(&pair[0]), dpi(&pair[1]));
            notes.push(format!(
                "{a_dpi} and {b_dpi} DPI are {a} image tokens both: the service makes images smaller"
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{LatencyStat, Rule};
    use stopwatt_quality::page::Truth;

    fn page(id: &str, dpi: u32) -> Line<Page> {
        let truth = Truth {
            id: id.to_owned(),
            text: "진단명 요통".to_owned(),
            doc_type: Some("진단서".to_owned()),
            ..Truth::default()
        };
        let value = Page { truth, image: Some("a.png".to_owned()), dpi: Some(dpi), ..Page::default() };
        Line { number: 1, value }
    }

    fn plan() -> Plan {
        Plan {
            types: vec![DocType::Diagnosis],
            score: score::Options::default(),
            terms: Terms { rule: Rule::Point, latency: LatencyStat::P95, min_samples: 1 },
            warmup: 1,
            repeat: 1,
            concurrency: vec![1],
            tokens_without_image: Some(20),
            reader: Reader { kind: "exec".into(), name: "x".into(), mode: Mode::Text, concurrency: 1 },
        }
    }

    /// Reads by a function.
    struct By<F>(F);

    impl<F: FnMut(&[Task], Pass) -> Vec<Attempt>> Reads for By<F> {
        type Error = RunError;

        fn read(&mut self, tasks: &[Task], pass: Pass) -> Result<Vec<Attempt>, RunError> {
            Ok((self.0)(tasks, pass))
        }
    }

    #[test]
    fn resolutions_are_read_and_judged_apart() {
        let pages = [page("a", 72), page("b", 72), page("c", 150)];
        let mut calls = Vec::new();
        let (doc, results) = run(
            &pages,
            Path::new("."),
            &plan(),
            &mut By(|tasks: &[Task], _| {
                calls.push(tasks.len());
                let attempt = Attempt {
                    text: Some("진단명 요통".to_owned()),
                    latency_s: Some(1.0),
                    input_tokens: Some(1020),
                    ..Attempt::default()
                };
                vec![attempt; tasks.len()]
            }),
        )
        .expect("read");
        assert_eq!((calls, results.len(), doc.settings.len()), (vec![1, 2, 1], 3, 2));
        assert_eq!(results.iter().map(|r| r.setting).collect::<Vec<_>>(), [0, 0, 1]);
        let timing = doc.settings[0].types["진단서"].timing.as_ref().expect("times");
        assert_eq!(
            (timing.pages, timing.image_tokens, timing.outside_token_range),
            (2, Some(1000.0), Some(0))
        );
        assert!(doc.notes[0].contains("72 and 150 DPI are 1000 image tokens"), "{:?}", doc.notes);
        // No field of the type is on these pages, so it cannot pass.
        assert_eq!(doc.verdict, Verdict::Inconclusive);
    }

    #[test]
    fn repeats_and_sweeps_send_no_image_twice() {
        let pages = [page("a", 72), page("b", 72)];
        let plan = Plan { repeat: 2, concurrency: vec![4, 2], warmup: 0, ..plan() };
        let mut calls = Vec::new();
        let (doc, results) = run(
            &pages,
            Path::new("."),
            &plan,
            &mut By(|tasks: &[Task], pass: Pass| {
                calls.push((tasks[0].variant, pass.concurrency, pass.point, pass.trial));
                // Slower and otherwise the second time.
                let text = if calls.len() == 4 { "진단명 요롱" } else { "진단명 요통" };
                let latency_s = Some(calls.len() as f64);
                vec![Attempt { text: Some(text.to_owned()), latency_s, ..Attempt::default() }; tasks.len()]
            }),
        )
        .expect("read");
        assert_eq!(calls, [(0, 4, 0, 0), (1, 4, 0, 1), (2, 2, 1, 0), (3, 2, 1, 1)]);
        assert_eq!((results.len(), doc.repeat, doc.settings[0].repeatable), (2, 2, Some(0.0)));
        assert_eq!(doc.settings[0].score.cer_micro, Some(0.0));
        let timing = doc.settings[0].types["진단서"].timing.as_ref().expect("times");
        assert_eq!((timing.pages, timing.latency_s.map(|l| l.n)), (4, Some(4)));
        let sweep: Vec<(u64, u64)> = doc.sweep.iter().map(|p| (p.concurrency, p.pages)).collect();
        assert_eq!(sweep, [(4, 4), (2, 4)]);
        let latency =
            doc.settings[0].types["진단서"].checks.iter().find(|c| c.what == "latency").expect("judged");
        assert_eq!(latency.value, Some(4.0));
    }

    #[test]
    fn an_image_outside_the_folder_is_refused() {
        let mut outside = page("a", 72);
        outside.value.image = Some("../secret.png".to_owned());
        let nothing = || By(|_: &[Task], _: Pass| Vec::new());
        let result = run(&[outside], Path::new("."), &plan(), &mut nothing());
        assert!(matches!(result, Err(RunError::NoImage { line: 1 })));
        assert!(matches!(run(&[], Path::new("."), &plan(), &mut nothing()), Err(RunError::Nothing)));
    }
}
