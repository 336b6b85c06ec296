//! What stands at the top of every report: what was measured, on what, and whether to believe it.

use stopwatt_core::EndKind;
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::metrics_doc::{Capacity, MetricsDoc, RunStatus};
use stopwatt_core::text::{Lang, Text, fill};

use crate::View;
use crate::date::minutes_utc;
use crate::facts::Facts;
use crate::quantity::{Kind, Scale, count};

/// Title and value of each line of the heading; what is unknown is left out.
pub(crate) fn heading(doc: &MetricsDoc, facts: &Facts<'_>, lang: Lang) -> Vec<(Text, String)> {
    let date = facts.clock.map(|clock| minutes_utc(clock.t0_unix_ns));
    [
        (Text::Model, facts.model.map(str::to_owned)),
        (Text::Engine, facts.engine()),
        (Text::Scenario, Some(scenario(doc, lang))),
        (Text::Capacity, doc.capacity.map(|c| capacity(c, lang))),
        (Text::Machine, facts.fingerprint.map(|f| machine(f, lang))),
        (Text::Date, date),
        (Text::RunName, Some(doc.run_id.clone())),
        (Text::Reproduces, doc.reproduces.clone()),
    ]
    .into_iter()
    .filter_map(|(title, value)| Some((title, value.filter(|v| !v.is_empty())?)))
    .collect()
}

/// `sweep, 4 points`.
fn scenario(doc: &MetricsDoc, lang: Lang) -> String {
    let mode = doc.pipeline.mode.strip_prefix("bench:").unwrap_or(&doc.pipeline.mode).to_owned();
    match doc.points.len() {
        0 => mode,
        1 => format!("{mode}, {}", doc.points[0].label),
        n => format!("{mode}, {}", fill(Text::PointCount.get(lang), &[&n.to_string()])),
    }
}

/// `3.14 req/s with 16 in flight`.
fn capacity(found: Capacity, lang: Lang) -> String {
    let rate = Scale::of(Kind::Plain, found.rate_rps).number(found.rate_rps);
    fill(Text::CapacityFound.get(lang), &[&rate, &count(found.concurrency.into())])
}

/// `AMD EPYC 7B13, 2 CPUs, 23.4 GiB, no GPU`.
pub(crate) fn machine(f: &Fingerprint, lang: Lang) -> String {
    let memory = f.memory_bytes.map(|b| Scale::of(Kind::Bytes, b as f64).with_unit(b as f64));
    let gpus = if f.gpus.is_empty() { Text::NoGpu.get(lang).to_owned() } else { f.gpus.join(", ") };
    [f.cpu.clone(), f.cpus.map(|n| fill(Text::CpuCount.get(lang), &[&n.to_string()])), memory, Some(gpus)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

/// How far a run can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Complete and valid.
    Valid,
    /// Stopped early; what is there is valid.
    Incomplete,
    /// At least one fatal finding.
    Invalid,
}

impl Standing {
    /// How far `doc` can be believed.
    pub(crate) fn of(doc: &MetricsDoc) -> Self {
        match (doc.validity.valid, doc.status) {
            (false, _) => Self::Invalid,
            (true, RunStatus::Incomplete) => Self::Incomplete,
            (true, RunStatus::Complete) => Self::Valid,
        }
    }

    /// The verdict in words.
    pub(crate) fn text(self) -> Text {
        match self {
            Self::Valid => Text::RunValid,
            Self::Incomplete => Text::IncompleteRun,
            Self::Invalid => Text::InvalidRun,
        }
    }

    /// A mark that differs in shape, for readers without colour.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Valid => "✓",
            Self::Incomplete => "◐",
            Self::Invalid => "✗",
        }
    }
}

/// `640 requests`, `none failed`, `5 trials`; and `incomplete` where the verdict does not say so.
pub(crate) fn totals(view: &View<'_>) -> Vec<String> {
    let (doc, lang) = (view.doc, view.lang);
    let requests: u64 = doc.points.iter().map(|p| p.requests).sum();
    let failed: u64 = failures(doc).iter().map(|(_, n)| n).sum();
    let trials = doc.points.iter().flat_map(|p| p.metrics.values()).map(|m| m.mean.trials).max().unwrap_or(0);
    let mut words = Vec::new();
    if view.has_requests() {
        words.push(fill(Text::RequestCount.get(lang), &[&count(requests)]));
    }
    if requests > 0 {
        words.push(match failed {
            0 => Text::NoneFailed.get(lang).to_owned(),
            n => fill(Text::FailedCount.get(lang), &[&count(n)]),
        });
    }
    match trials {
        0 => {}
        1 => words.push(Text::OneTrial.get(lang).to_owned()),
        n => words.push(fill(Text::TrialCount.get(lang), &[&count(n)])),
    }
    if Standing::of(doc) == Standing::Invalid && doc.status == RunStatus::Incomplete {
        words.push(Text::Incomplete.get(lang).to_owned());
    }
    words
}

/// Failures by kind over all points, most frequent first.
pub(crate) fn failures(doc: &MetricsDoc) -> Vec<(&str, u64)> {
    let mut sums = std::collections::BTreeMap::<&str, u64>::new();
    for (kind, n) in doc.points.iter().flat_map(|p| &p.errors).filter(|(_, n)| **n > 0) {
        *sums.entry(kind).or_default() += n;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(kind, n)| (std::cmp::Reverse(*n), *kind));
    sums
}

/// What the end of a request means, for people; `None` for a kind of a newer version.
pub(crate) fn end_text(kind: &str) -> Option<Text> {
    Some(match EndKind::from_name(kind)? {
        EndKind::Ok => Text::EndOk,
        EndKind::Connect => Text::EndConnect,
        EndKind::Tls => Text::EndTls,
        EndKind::Http => Text::EndHttp,
        EndKind::Protocol => Text::EndProtocol,
        EndKind::Malformed => Text::EndMalformed,
        EndKind::StreamError => Text::EndStreamError,
        EndKind::Truncated => Text::EndTruncated,
        EndKind::NoTokens => Text::EndNoTokens,
        EndKind::IdleTimeout => Text::EndIdleTimeout,
        EndKind::Timeout => Text::EndTimeout,
        EndKind::Unknown => Text::EndUnknown,
        EndKind::Interrupted => Text::EndInterrupted,
        EndKind::Cancelled => Text::EndCancelled,
    })
}

/// What the load client itself used; empty when nothing is known.
pub(crate) fn client(doc: &MetricsDoc, lang: Lang) -> String {
    let cpu =
        doc.client.cpu_s.map(|s| fill(Text::CpuSeconds.get(lang), &[&Scale::of(Kind::Plain, s).number(s)]));
    let memory = doc.client.rss_bytes.map(|b| {
        let b = b as f64;
        fill(Text::PeakMemory.get(lang), &[&Scale::of(Kind::Bytes, b).with_unit(b)])
    });
    let cores =
        doc.client.cores.map(|c| fill(Text::ClientCores.get(lang), &[&Scale::of(Kind::Plain, c).number(c)]));
    let share = doc
        .client
        .ceiling_share
        .map(|s| fill(Text::ClientCeilingShare.get(lang), &[&format!("{:.0}", s * 100.0)]));
    let stamps = doc.client.reads.and_then(|r| {
        let lag = r.lag_p99_s?;
        let percent = 100.0 * r.kernel as f64 / (r.kernel + r.user) as f64;
        let lag = Scale::of(Kind::Time, lag).with_unit(lag);
        Some(fill(Text::KernelStamped.get(lang), &[&format!("{percent:.1}"), &lag]))
    });
    [cpu, cores, share, memory, stamps].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Nominal coverage of the intervals in percent; `None` when there is none.
pub(crate) fn level_percent(doc: &MetricsDoc) -> Option<String> {
    let metrics = doc.points.iter().map(|p| &p.metrics).chain([&doc.metrics]);
    let interval = metrics
        .flat_map(|m| m.values())
        .find_map(|m| m.statistics().into_iter().find_map(|(_, e)| e.interval))?;
    Some(format!("{}", (interval.level * 1000.).round() / 10.))
}
