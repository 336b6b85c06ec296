//! Values of requests and of the whole, and the statistics that each tool makes of them.

use stopwatt_core::RequestRecord;
use stopwatt_core::clock::Nanos;
use stopwatt_stats::quantile::{quantile, sort};

use super::reading::{Reading, Verdict, read};
use super::terms::Quantity;
use super::{Dialect, Statistic};
use crate::measured::Trial;
use crate::request::seconds;

/// One trial in a tool's eyes.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) readings: Vec<Reading>,
    /// What each of `readings` waited in the client.
    waits_s: Vec<f64>,
    /// Successes without latencies.
    pub(super) cut: usize,
    pub(super) failed: usize,
    /// The tool's measuring window; `None` when it is empty.
    window_s: Option<f64>,
    /// Window of `mlperf`: until the request that was sent last is complete.
    last_sent_s: Option<f64>,
}

impl Session {
    pub(super) fn of(dialect: Dialect, trial: &Trial<'_>, requests: &[&RequestRecord]) -> Self {
        let mut session = Self {
            readings: Vec::new(),
            waits_s: Vec::new(),
            cut: 0,
            failed: 0,
            window_s: None,
            last_sent_s: None,
        };
        let mut ended: Vec<(Nanos, Nanos)> = Vec::new();
        for record in requests {
            match read(dialect, record) {
                Verdict::Absent => continue,
                Verdict::Failure => session.failed += 1,
                Verdict::CutSuccess => session.cut += 1,
                Verdict::Success(reading) => {
                    session.waits_s.push(seconds(reading.start_ns - record.intended_ns));
                    session.readings.push(reading);
                }
            }
            ended.push((record.dispatched_ns.unwrap_or(record.intended_ns), record.end_ns));
        }
        session.window_s = session.window(dialect, trial, &ended);
        let first = ended.iter().map(|(start, _)| *start).min();
        let last = ended.iter().max_by_key(|(start, _)| *start).map(|(_, end)| *end);
        session.last_sent_s = first.zip(last).map(|(first, last)| seconds(last - first)).filter(|s| *s > 0.0);
        session
    }

    fn window(&self, dialect: Dialect, trial: &Trial<'_>, ended: &[(Nanos, Nanos)]) -> Option<f64> {
        let first_start = ended.iter().map(|(start, _)| *start).min()?;
        let last_end = ended.iter().map(|(_, end)| *end).max()?;
        let (from, to) = match dialect {
            // From before the first request is sent until the last one has ended.
            Dialect::Vllm | Dialect::VllmRs | Dialect::Sglang => {
                let begin = trial.end.map_or(first_start, |_| trial.start_ns.min(first_start));
                (begin, last_end)
            }
            Dialect::Aiperf => (
                self.readings.iter().map(|r| r.start_ns).min()?,
                self.readings.iter().map(|r| r.end_ns).max()?,
            ),
            Dialect::Guidellm => {
                (first_start, self.readings.iter().map(|r| r.end_ns).max()?.max(first_start))
            }
            Dialect::InferencePerf | Dialect::Mlperf => (first_start, last_end),
        };
        Some(seconds(to - from)).filter(|s| *s > 0.0)
    }
}

/// A value with the weight that it has in percentiles and means.
pub(super) type Weighted = (f64, f64);

/// Values of a quantity, in seconds or counts, one a request or a gap.
pub(super) fn values(dialect: Dialect, quantity: Quantity, sessions: &[Session]) -> Vec<Weighted> {
    let readings = || sessions.iter().flat_map(|s| &s.readings);
    let each = |of: &dyn Fn(&Reading) -> Option<f64>| readings().filter_map(of).map(|v| (v, 1.0)).collect();
    match quantity {
        Quantity::Gap => {
            readings().flat_map(|r| r.tokens.windows(2)).map(|w| (seconds(w[1] - w[0]), 1.0)).collect()
        }
        Quantity::Tpot if dialect == Dialect::Guidellm => readings()
            .filter_map(|r| Some((tpot(dialect, r).unwrap_or(0.0), f64::from(r.output?.max(1) - 1))))
            .collect(),
        Quantity::PerToken if dialect == Dialect::Guidellm => {
            readings().filter_map(|r| Some((per_token(dialect, r)?, f64::from(r.output?)))).collect()
        }
        Quantity::Queue => sessions.iter().flat_map(|s| &s.waits_s).map(|w| (*w, 1.0)).collect(),
        Quantity::QueuedE2e => sessions
            .iter()
            .flat_map(|s| s.readings.iter().zip(&s.waits_s))
            .map(|(r, wait)| (e2e(r) + wait, 1.0))
            .collect(),
        Quantity::AdjustedTtft => with_failures(sessions, readings().filter_map(|r| ttft(dialect, r))),
        Quantity::AdjustedE2e => with_failures(sessions, readings().map(e2e)),
        Quantity::Ttft => each(&|r| ttft(dialect, r)),
        Quantity::TtftAnswer => each(&|r| Some(seconds(r.first_answer_ns? - r.start_ns))),
        Quantity::SecondToken => each(&|r| Some(seconds(r.tokens.get(1)? - r.tokens[0]))),
        Quantity::Tpot => each(&|r| tpot(dialect, r)),
        Quantity::PerToken => each(&|r| per_token(dialect, r)),
        Quantity::E2e => each(&|r| Some(e2e(r))),
        Quantity::UserRate => each(&|r| tpot(dialect, r).filter(|t| *t > 0.0).map(|t| 1.0 / t)),
        Quantity::OutputLength => each(&|r| r.output.map(f64::from)),
        Quantity::InputLength => each(&|r| Some(f64::from(r.input))),
        _ => Vec::new(),
    }
}

/// The values with one infinite value for every failure; none where nothing failed, since they would be the same.
fn with_failures(sessions: &[Session], values: impl Iterator<Item = f64>) -> Vec<Weighted> {
    let failed: usize = sessions.iter().map(|s| s.failed).sum();
    if failed == 0 {
        return Vec::new();
    }
    values.chain(std::iter::repeat_n(f64::INFINITY, failed)).map(|v| (v, 1.0)).collect()
}

fn ttft(dialect: Dialect, r: &Reading) -> Option<f64> {
    match r.tokens.first() {
        // Without a second token there is no stream to speak of.
        Some(_) if dialect == Dialect::InferencePerf && r.tokens.len() < 2 => None,
        Some(first) => Some(seconds(first - r.start_ns)),
        // It leaves the zero that it began with.
        None if dialect == Dialect::Sglang => Some(0.0),
        None => None,
    }
}

fn e2e(r: &Reading) -> f64 {
    seconds(r.end_ns - r.start_ns)
}

/// Mean time of the tokens after the first.
fn tpot(dialect: Dialect, r: &Reading) -> Option<f64> {
    let n = r.output?;
    let (first, last) = (r.tokens.first(), r.tokens.last());
    let to_last = || Some(seconds(last? - first?));
    match dialect {
        Dialect::Guidellm => (n > 1).then(to_last)?.map(|s| s / f64::from(n - 1)),
        Dialect::InferencePerf => (n > 1 && r.tokens.len() > 1).then(to_last)?.map(|s| s / f64::from(n - 1)),
        Dialect::Aiperf => {
            let in_first = r.first_tokens.filter(|k| *k > 0 && n > *k).unwrap_or(1);
            (n > 1).then(|| (e2e(r) - ttft(dialect, r).unwrap_or(0.0)) / f64::from(n - in_first))
        }
        _ => (n > 1).then(|| (e2e(r) - ttft(dialect, r).unwrap_or(0.0)) / f64::from(n - 1)),
    }
}

/// Time of a request divided by all its tokens.
fn per_token(dialect: Dialect, r: &Reading) -> Option<f64> {
    let n = f64::from(r.output.filter(|n| *n > 0)?);
    match dialect {
        Dialect::Guidellm => Some(seconds(r.tokens.last()? - r.start_ns) / n),
        _ => Some(e2e(r) / n),
    }
}

/// The one value that a quantity of the whole has; `None` where it cannot be made.
pub(super) fn total(dialect: Dialect, quantity: Quantity, sessions: &[Session]) -> Option<f64> {
    let readings = || sessions.iter().flat_map(|s| &s.readings);
    let successes = || sessions.iter().map(|s| s.readings.len() + s.cut).sum::<usize>() as f64;
    let window: f64 = match dialect {
        Dialect::Mlperf => sessions.iter().filter_map(|s| s.last_sent_s).sum(),
        _ => sessions.iter().filter_map(|s| s.window_s).sum(),
    };
    let a_second = |n: f64| (window > 0.0).then(|| n / window);
    let output = || -> Option<f64> { readings().map(|r| r.output.map(f64::from)).sum() };
    let input = || readings().map(|r| f64::from(r.input)).sum::<f64>();
    match quantity {
        Quantity::Window => (window > 0.0).then_some(window),
        Quantity::Completed => Some(successes()),
        Quantity::Failed => Some(sessions.iter().map(|s| s.failed).sum::<usize>() as f64),
        Quantity::TotalInput => Some(input()),
        Quantity::TotalOutput => output(),
        // LoadGen counts the intervals between samples.
        Quantity::RequestRate if dialect == Dialect::Mlperf => a_second((successes() - 1.0).max(0.0)),
        Quantity::RequestRate => a_second(successes()),
        Quantity::InputRate => a_second(input()),
        Quantity::OutputRate => a_second(output()?),
        Quantity::TotalRate => a_second(input() + output()?),
        Quantity::Concurrency => a_second(readings().map(e2e).sum()),
        Quantity::PeakRate => sessions.iter().map(|s| peaks(s).0).reduce(f64::max),
        Quantity::PeakConcurrency => sessions.iter().map(|s| peaks(s).1).reduce(f64::max),
        _ => None,
    }
}

/// Most chunks in a second, and most requests that touched one second, counted from the first request.
fn peaks(session: &Session) -> (f64, f64) {
    let Some(begin) = session.readings.iter().map(|r| r.start_ns).min() else { return (0.0, 0.0) };
    let bucket = |t: Nanos| ((t - begin) / 1_000_000_000).max(0) as usize;
    let seconds = session.readings.iter().map(|r| bucket(r.end_ns.max(r.start_ns))).max().unwrap_or(0) + 1;
    let (mut tokens, mut requests) = (vec![0.0; seconds], vec![0.0; seconds]);
    for r in &session.readings {
        r.tokens
            .iter()
            .filter_map(|t| Some(bucket(*t)).filter(|b| *b < seconds))
            .for_each(|b| tokens[b] += 1.0);
        requests[bucket(r.start_ns)..=bucket(r.end_ns)].iter_mut().for_each(|n| *n += 1.0);
    }
    let most = |v: &[f64]| v.iter().copied().fold(0.0, f64::max);
    (most(&tokens), most(&requests))
}

/// The statistics that the tool prints of these values; empty without any.
pub(super) fn statistics(dialect: Dialect, values: &[Weighted], scale: f64) -> Vec<Statistic> {
    let mut sample: Vec<Weighted> = values.iter().copied().filter(|(_, w)| *w > 0.0).collect();
    if sample.is_empty() {
        // With nothing but weightless values, guidellm weighs them all the same.
        sample = values.iter().map(|(v, _)| (*v, 1.0)).collect();
    }
    sample.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (Some(min), Some(max)) = (sample.first(), sample.last()) else { return Vec::new() };
    let weight: f64 = sample.iter().map(|(_, w)| w).sum();
    let mean = sample.iter().map(|(v, w)| v * w).sum::<f64>() / weight;
    let std = (sample.iter().map(|(v, w)| (v - mean).powi(2) * w).sum::<f64>() / weight).sqrt();
    let mut plain: Vec<f64> = sample.iter().map(|(v, _)| *v).collect();
    sort(&mut plain);
    let at = |p: f64| match dialect {
        Dialect::Guidellm => by_weight(&sample, weight, p),
        // LoadGen takes the sample at ⌊n·p⌋.
        _ if max.0.is_infinite() => plain[((plain.len() - 1) as f64 * p).round_ties_even() as usize],
        Dialect::Mlperf => plain[((plain.len() as f64 * p) as usize).min(plain.len() - 1)],
        _ => quantile(&plain, p),
    };
    let value = |name: &str| match name {
        "mean" => mean,
        "std" => std,
        "min" => min.0,
        "max" => max.0,
        "median" | "p50" => at(0.5),
        "p90" => at(0.9),
        "p95" => at(0.95),
        "p97" => at(0.97),
        "p99" => at(0.99),
        _ => at(0.999),
    };
    printed(dialect)
        .iter()
        .map(|name| Statistic {
            name: (*name).to_owned(),
            value: Some(value(name) * scale).filter(|v| v.is_finite()),
        })
        .collect()
}

/// The statistics a tool gives; percentiles can be chosen in most, these are its defaults and the usual ones.
fn printed(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Vllm | Dialect::VllmRs | Dialect::Sglang => &["mean", "median", "std", "p90", "p95", "p99"],
        Dialect::Guidellm => &["mean", "median", "std", "min", "max", "p90", "p95", "p99", "p999"],
        Dialect::Aiperf => &["mean", "p50", "std", "min", "max", "p90", "p95", "p99"],
        Dialect::InferencePerf => &["mean", "median", "min", "max", "p90", "p95", "p99", "p999"],
        Dialect::Mlperf => &["mean", "min", "max", "p50", "p90", "p95", "p97", "p99", "p999"],
    }
}

/// The smallest value below or at which lies at least the share `p` of the weight.
fn by_weight(sample: &[Weighted], weight: f64, p: f64) -> f64 {
    let mut below = 0.0;
    for (value, w) in sample {
        below += w / weight;
        if below >= p {
            return *value;
        }
    }
    sample.last().map_or(f64::NAN, |(v, _)| *v)
}
