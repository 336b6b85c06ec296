//! Measured runs as loads to fit to, or to hold predictions against.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use stopwatt_core::log::{Fact, PlannedPoint};
use stopwatt_core::{EndKind, FinishReason, Phase, RequestRow};
use stopwatt_experiment::bench::{BenchConfig, shape_seed, workloads};
use stopwatt_predict::observed::{Means, Observed, Sent};
use stopwatt_record::catalogue;
use stopwatt_record::config::Locked;
use stopwatt_record::events::Chunks;
use stopwatt_record::run_dir::Run;
use stopwatt_serving::workload::{Prefix, PrefixShare, Workload};

use super::Failure;
use crate::exit::Outcome;

/// Loads of runs, in their order. A folder that is no run stands for the runs in it.
pub(super) fn read(names: &[String], only: &[String]) -> anyhow::Result<Vec<Observed>> {
    let mut all = Vec::new();
    for name in names {
        for path in runs(name)? {
            all.extend(of_run(&path)?);
        }
    }
    if !only.is_empty() {
        let missing = only.iter().find(|label| !all.iter().any(|load: &Observed| load.label == **label));
        if let Some(label) = missing {
            let known: Vec<&str> = all.iter().map(|load| load.label.as_str()).collect();
            let problem = anyhow::anyhow!("no run has a load `{label}`; there are {}", known.join(", "));
            return Err(Failure::new(Outcome::Configuration, problem).into());
        }
        all.retain(|load| only.contains(&load.label));
    }
    if all.is_empty() {
        let problem = anyhow::anyhow!("{} hold no measured load", names.join(", "));
        return Err(Failure::new(Outcome::Configuration, problem)
            .hint("give runs of `stopwatt bench`, or a folder of them")
            .into());
    }
    Ok(all)
}

fn runs(name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = Path::new(name);
    let is_run = |path: &Path| path.join("run.log").is_file();
    if folder.is_dir() && !is_run(folder) {
        let entries = std::fs::read_dir(folder).with_context(|| format!("failed to list {name}"))?;
        let mut found: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_run(path)).collect();
        found.sort();
        return Ok(found);
    }
    Ok(vec![catalogue::resolve(&super::runs_root(), name)?])
}

fn of_run(path: &Path) -> anyhow::Result<Vec<Observed>> {
    let run = Run::open(path)?;
    let (mut planned, mut windows) = (Vec::new(), BTreeMap::new());
    for line in run.log() {
        match &line.fact {
            Fact::Plan { points, .. } => planned.clone_from(points),
            Fact::TrialEnded { point, trial, start_ns, end_ns, .. } => {
                windows.insert((*point, *trial), (*end_ns - *start_ns) as f64 * 1e-9);
            }
            _ => {}
        }
    }
    // A trial that was cut off has no window, and judges nothing.
    let mut trials: BTreeMap<(u32, u32), Vec<RequestRow>> = BTreeMap::new();
    let Details { mut mended, talks } = details(&run)?;
    for row in run.rows()? {
        let row = row?;
        let row = mended.remove(&row.id).unwrap_or(row);
        if row.phase == Phase::Measure && windows.contains_key(&(row.point, row.trial)) {
            trials.entry((row.point, row.trial)).or_default().push(row);
        }
    }
    let shared = Shared::of(&run);
    let point = |(index, point): (u32, &PlannedPoint)| {
        let of = trials.range((index, 0)..=(index, u32::MAX));
        let of: Vec<Trial<'_>> = of
            .map(|(key, rows)| Trial {
                rows,
                window_s: windows[key],
                prefixes: shared.as_ref().map_or_else(HashMap::new, |s| s.prefixes(*key, rows, &talks)),
                talks: &talks,
            })
            .collect();
        load(run.id().as_str(), point, &of)
    };
    Ok((0..).zip(&planned).filter_map(point).collect())
}

/// Conversation and turn of requests that belong to one, by their number.
type Talks = HashMap<u64, (u64, u32)>;

/// What rows do not say.
#[derive(Default)]
struct Details {
    /// Rows of a run that recorded its chunks before tokens without text were counted, with these tokens.
    mended: HashMap<u64, RequestRow>,
    talks: Talks,
}

fn details(run: &Run) -> anyhow::Result<Details> {
    let mut details = Details::default();
    for record in run.requests(Chunks::Read)? {
        let mut record = record?;
        if let Some(session) = record.session {
            details.talks.insert(record.id, (session, record.turn.unwrap_or(0)));
        }
        if record.count_silent_tokens() {
            details.mended.insert(record.id, RequestRow::of(&record));
        }
    }
    Ok(details)
}

/// What was measured in a trial.
struct Trial<'a> {
    rows: &'a [RequestRow],
    window_s: f64,
    /// What requests share with others, by their number.
    prefixes: HashMap<u64, Prefix>,
    talks: &'a Talks,
}

/// The workload of a run, as its settings say: which prefix a request had is drawn from its number again.
struct Shared {
    points: Vec<Workload>,
    seed: u64,
}

impl Shared {
    /// `None` where nothing is shared, or where it cannot be told anew, with a warning.
    fn of(run: &Run) -> Option<Self> {
        let locked = Locked::read(&run.config().ok()?)?;
        let cannot = |why: String| {
            eprintln!(
                "warning: prefixes that prompts of {} share are not replayed: {why}",
                run.id().as_str()
            );
        };
        // Other commands keep other settings: they send no prompts.
        let config = locked.resolve::<BenchConfig>(&[], &[]).ok()?.value;
        let (own, find) = (&config.workload, config.find.load.is_some());
        if own.trace.is_some() {
            cannot("they are those of a trace".to_owned());
            return None;
        }
        let points = match workloads(&config) {
            Ok(points) => points,
            Err(error) => {
                cannot(error.to_string());
                return None;
            }
        };
        if points.iter().all(|w| w.prefix_share == PrefixShare::NONE) {
            return None;
        }
        if find || config.load.shard.is_some() {
            cannot("it is one of several shares of a load, or its loads were searched".to_owned());
            return None;
        }
        Some(Self { points, seed: config.seed })
    }

    /// The shared prefix of each request of a trial that has one. Nothing when lengths are not those of the settings.
    fn prefixes(
        &self,
        (point, trial): (u32, u32),
        rows: &[RequestRow],
        talks: &Talks,
    ) -> HashMap<u64, Prefix> {
        let Some(workload) = self.points.get(point as usize).or(self.points.last()) else {
            return HashMap::new();
        };
        let seed = shape_seed(self.seed, point, trial);
        let first = rows.iter().map(|r| r.id).min().unwrap_or(0);
        let begins = || rows.iter().filter(|r| talks.get(&r.id).is_none_or(|(_, turn)| *turn == 0));
        let number = |r: &RequestRow| talks.get(&r.id).map_or(r.id - first, |(session, _)| *session);
        let shape = |r: &RequestRow| workload.shape(seed, number(r));
        if begins().any(|r| (shape(r).input, shape(r).output) != (r.input_asked, r.output_asked)) {
            return HashMap::new();
        }
        begins().filter_map(|r| Some((r.id, shape(r).prefix?))).collect()
    }
}

/// Whether a request came whole. One whose tokens have no text ends without a token that a client can see; the engine
/// made them all the same, and says so.
fn is_whole(row: &RequestRow) -> bool {
    row.end == EndKind::Ok
        || row.end == EndKind::NoTokens
            && row.finish == Some(FinishReason::Length)
            && row.output_usage.is_some_and(|n| n == row.output_asked)
}

/// How near the tokens of a piece must be to a whole number for every piece to have as many.
const REGULAR: f64 = 0.02;

/// Seconds of TTFT and TPOT; `None` without a text.
///
/// A server that lags behind its engine sends several tokens in one piece now and then: time an output token is then that
/// between first and last piece over the tokens between, not over the pieces. Where only every second token has a text
/// (or every third, …), the first piece need not be the first token: how many pieces there are, and how long before the
/// end the last one came, tells which token it was.
fn first_and_next(row: &RequestRow) -> Option<(f64, Option<f64>)> {
    let (stream, sent) = (row.stream?, row.send_begin_ns()?);
    let seconds = |ns: i64| ns as f64 * 1e-9;
    let first = seconds(stream.first_token_ns - sent);
    let tokens = f64::from(row.output_tokens()?);
    if tokens < 2.0 {
        return Some((first, None));
    }
    let pieces = f64::from(stream.token_chunks);
    if pieces < 2.0 {
        return None;
    }
    let span = seconds(stream.last_token_ns - stream.first_token_ns);
    let after = seconds(row.end_ns - stream.last_token_ns);
    let each = (tokens / pieces).round().max(1.0);
    if each < 2.0 || (tokens / pieces / each - 1.0).abs() > REGULAR {
        // Tokens at the end may have no text.
        let silent = ((tokens - 1.0) * after / (span + after)).round().clamp(0.0, tokens - pieces);
        return Some((first, Some(span / (tokens - 1.0 - silent).max(1.0))));
    }
    let next = span / (each * (pieces - 1.0));
    let after_last = (after / next).round().min(each - 1.0);
    let before_first = (tokens - 1.0 - after_last - each * (pieces - 1.0)).clamp(0.0, each - 1.0);
    Some((first - before_first * next, Some(next)))
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A load with everything that was measured of it; `None` where a mean is missing.
fn load(run: &str, planned: &PlannedPoint, trials: &[Trial<'_>]) -> Option<Observed> {
    let (mut ttft, mut tpot, mut e2e, mut rates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut sent, mut trial_means) = (Vec::new(), Vec::new());
    let (mut failed, mut without_text) = (0, 0);
    for trial in trials {
        let whole: Vec<&RequestRow> = trial.rows.iter().filter(|r| is_whole(r)).collect();
        failed += trial.rows.iter().filter(|r| r.end.is_failure() && !is_whole(r)).count() as u64;
        without_text += whole.iter().filter(|r| r.end == EndKind::NoTokens).count() as u64;
        for (first, next) in whole.iter().filter_map(|r| first_and_next(r)) {
            ttft.push(first);
            tpot.extend(next);
        }
        let took: Vec<f64> =
            whole.iter().filter_map(|r| Some((r.end_ns - r.send_begin_ns()?) as f64 * 1e-9)).collect();
        trial_means.extend(mean(&took));
        e2e.extend(took);
        let tokens: f64 = whole.iter().filter_map(|r| r.output_tokens()).map(f64::from).sum();
        rates.push(tokens / trial.window_s);
        let mut requests: Vec<(u64, Sent)> = whole
            .iter()
            .map(|r| {
                let sent = Sent {
                    at_ns: r.intended_ns,
                    input: r.input_usage.unwrap_or(r.input_asked).max(1),
                    output: r.output_tokens().unwrap_or(r.output_asked).max(1),
                    end_ns: r.end_ns,
                    talk: trial.talks.get(&r.id).copied(),
                    prefix: trial.prefixes.get(&r.id).copied(),
                    cached: r.cached_usage,
                };
                (r.id, sent)
            })
            .collect();
        requests.sort_by_key(|(id, sent)| (sent.at_ns, *id));
        sent.push(requests.into_iter().map(|(_, sent)| sent).collect());
    }
    let measured = Means {
        ttft_s: mean(&ttft)?,
        tpot_s: mean(&tpot),
        e2e_s: mean(&e2e)?,
        output_tokens_per_s: mean(&rates)?,
    };
    let n = trial_means.len() as f64;
    let repeat_cv = mean(&trial_means).filter(|_| n > 1.0).map(|mean| {
        let squares: f64 = trial_means.iter().map(|v| (v - mean).powi(2)).sum();
        (squares / (n - 1.0)).sqrt() / mean
    });
    Some(Observed {
        run: run.to_owned(),
        label: planned.label.clone(),
        concurrency: planned.concurrency,
        trials: sent,
        measured,
        repeat_cv,
        failed,
        without_text,
    })
}

#[cfg(test)]
mod tests {
    use stopwatt_core::{ChunkKind, ChunkStamp, RequestRecord};

    use super::*;

    /// 64 tokens of which the first comes after 30 ms and each further one after 7; text comes with every second token
    /// from `first` on, counted from 1.
    fn row(first: i64) -> RequestRow {
        let at = |token: i64| 1_000_000 * (30 + 7 * (token - 1));
        let stamp = |t| ChunkStamp::new(at(t), None, ChunkKind::Content);
        let record = RequestRecord {
            phase: Phase::Measure,
            output_asked: 64,
            output_usage: Some(64),
            dispatched_ns: Some(0),
            end_ns: at(64) + 200_000,
            finish: Some(FinishReason::Length),
            chunks: (first..=64).step_by(2).map(stamp).collect(),
            ..RequestRecord::blank()
        };
        RequestRow::of(&record)
    }

    #[test]
    fn the_first_token_is_found_behind_text_of_two_tokens() {
        for first in [1, 2] {
            let (ttft, tpot) = first_and_next(&row(first)).unwrap();
            assert!((ttft - 0.030).abs() < 1e-6 && (tpot.unwrap() - 0.007).abs() < 1e-9, "{first}: {ttft}");
        }
        let silent = RequestRow { end: EndKind::NoTokens, stream: None, ..row(1) };
        assert!(is_whole(&silent) && first_and_next(&silent).is_none());
        assert!(!is_whole(&RequestRow { output_usage: Some(3), ..silent }));
    }

    #[test]
    fn pieces_of_several_tokens_are_no_longer_tokens() {
        // 64 tokens each 7 ms in 50 pieces: some of two tokens, in no order. By pieces it would be 441 / 49 = 9 ms.
        let at = |token: i64| 1_000_000 * (30 + 7 * (token - 1));
        let stamp = |t| ChunkStamp::new(at(t), None, ChunkKind::Content);
        let lagging = RequestRecord {
            phase: Phase::Measure,
            output_asked: 64,
            output_usage: Some(64),
            dispatched_ns: Some(0),
            end_ns: at(64) + 200_000,
            finish: Some(FinishReason::Length),
            chunks: (1..=64).filter(|t| t % 4 != 2 || *t > 54).map(stamp).collect(),
            ..RequestRecord::blank()
        };
        let lagging = RequestRow::of(&lagging);
        assert_eq!(lagging.stream.unwrap().token_chunks, 50);
        let (ttft, tpot) = first_and_next(&lagging).unwrap();
        assert!((ttft - 0.030).abs() < 1e-9 && (tpot.unwrap() - 0.007).abs() < 1e-9, "{tpot:?}");
        // Without text at the end: the last 7 tokens are known by the time until the end.
        let silent = RequestRow {
            stream: lagging.stream.map(|mut s| {
                s.last_token_ns = at(57);
                s
            }),
            ..lagging
        };
        assert!((first_and_next(&silent).unwrap().1.unwrap() - 0.007).abs() < 1e-9);
    }

    #[test]
    fn means_of_a_load_by_hand() {
        let silent = RequestRow { end: EndKind::NoTokens, stream: None, ..row(1) };
        let cut = RequestRow { end: EndKind::Truncated, ..row(1) };
        let rows = [row(1), silent, cut];
        let planned = PlannedPoint {
            label: "c=2".to_owned(),
            concurrency: Some(2),
            rate_rps: None,
            input: None,
            output: None,
            engine_settings: BTreeMap::new(),
        };
        let load = load(
            "r",
            &planned,
            &[Trial { rows: &rows, window_s: 0.5, prefixes: HashMap::new(), talks: &Talks::new() }],
        )
        .unwrap();
        assert_eq!((load.failed, load.without_text, load.trials[0].len()), (1, 1, 2));
        // Two whole requests of 64 tokens in half a second, each 471.2 ms long.
        assert!((load.measured.output_tokens_per_s - 256.0).abs() < 1e-9);
        assert!((load.measured.e2e_s - 0.4712).abs() < 1e-9 && load.repeat_cv.is_none());
    }
}
