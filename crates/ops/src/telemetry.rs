//! What the proxy counts, in the Prometheus text format 0.0.4.
//!
//! Times are those of the client's side, from the request being read. Buckets rise by a fifth (the E12 series), so that
//! a quantile interpolated between them is off by a tenth at most. The `gen_ai_*` names are OpenTelemetry's semantic
//! conventions for GenAI clients as of 2026-08, dots written as underscores, with the buckets that they recommend.
//!
//! Requests of the canary are in no histogram.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use stopwatt_core::Nanos;
use stopwatt_core::label::escaped;
use stopwatt_wire::exposition::Histogram;

use crate::admission::Reason;
use crate::exchange::{End, Exchange, Failure};
use crate::exposition::{Page, Source};
use crate::fleet::{Fleet, Gauges, Place, Upstream};
use crate::health::State;

/// Type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `N` bounds of the E12 series from `10 / per` seconds.
const fn e12<const N: usize>(per: u64) -> [f64; N] {
    const STEPS: [u64; 12] = [10, 12, 15, 18, 22, 27, 33, 39, 47, 56, 68, 82];
    let mut bounds = [0.0; N];
    let (mut i, mut decade) = (0, 1);
    while i < N {
        // One division of whole numbers, so that a bound is the number that is written.
        bounds[i] = (STEPS[i % 12] * decade) as f64 / per as f64;
        i += 1;
        if i.is_multiple_of(12) {
            decade *= 10;
        }
    }
    bounds
}

/// 1 ms to 100 s.
const FIRST_TOKEN: [f64; 61] = e12(10_000);
/// 0.1 ms to 10 s.
const GAP: [f64; 61] = e12(100_000);
/// 10 ms to 1000 s.
const WHOLE: [f64; 61] = e12(1_000);
/// As the conventions recommend for durations.
const GEN_AI: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// Operations of the conventions.
const OPERATIONS: [&str; 3] = ["chat", "text_completion", "embeddings"];

fn operation(path: &str) -> Option<usize> {
    match path {
        "/v1/chat/completions" | "/v1/responses" => Some(0),
        "/v1/completions" => Some(1),
        "/v1/embeddings" => Some(2),
        _ => None,
    }
}

/// Models that are counted apart at one upstream. Clients name what they like: the rest is `other`.
const MOST_MODELS: usize = 32;

/// Tokens of one model at one upstream.
#[derive(Debug, Clone, Copy, Default)]
struct Tokens {
    prompt: u64,
    /// `None` where no answer told it.
    cached: Option<u64>,
    output: u64,
}

/// Counters of one upstream.
#[derive(Debug)]
struct Series {
    first_token: Histogram,
    gap: Histogram,
    whole: Histogram,
    answered: AtomicU64,
    client_gone: AtomicU64,
    failed: [AtomicU64; Failure::ALL.len()],
    /// Streams that ended with an error event after their first token.
    marked: AtomicU64,
    attempts_failed: [AtomicU64; Failure::ALL.len()],
    retried: AtomicU64,
    hedged: AtomicU64,
    /// By model as requests name it.
    tokens: Mutex<BTreeMap<String, Tokens>>,
    canaries: [AtomicU64; 2],
    /// By operation; the first are requests that ended well, the rest by failure.
    duration: Vec<[Histogram; 1 + Failure::ALL.len()]>,
    gen_first: Vec<Histogram>,
    gen_gap: Histogram,
}

impl Series {
    fn new() -> Self {
        let duration = || {
            Histogram::new("gen_ai_client_operation_duration_seconds", "GenAI operation duration.", &GEN_AI)
        };
        let first = || {
            Histogram::new(
                "gen_ai_client_operation_time_to_first_chunk_seconds",
                "Time to the first chunk of a streamed answer.",
                &GEN_AI,
            )
        };
        Self {
            first_token: Histogram::new(
                "stopwatt_ttft_seconds",
                "From the request being read to the first token.",
                &FIRST_TOKEN,
            ),
            gap: Histogram::new("stopwatt_itl_seconds", "Between two tokens.", &GAP),
            whole: Histogram::new(
                "stopwatt_e2e_seconds",
                "From the request being read to the end of a complete answer.",
                &WHOLE,
            ),
            answered: AtomicU64::new(0),
            client_gone: AtomicU64::new(0),
            failed: Default::default(),
            marked: AtomicU64::new(0),
            attempts_failed: Default::default(),
            retried: AtomicU64::new(0),
            hedged: AtomicU64::new(0),
            tokens: Mutex::default(),
            canaries: Default::default(),
            duration: OPERATIONS.iter().map(|_| std::array::from_fn(|_| duration())).collect(),
            gen_first: OPERATIONS.iter().map(|_| first()).collect(),
            gen_gap: Histogram::new(
                "gen_ai_client_operation_time_per_output_chunk_seconds",
                "Time between two chunks of a streamed answer.",
                &GEN_AI,
            ),
        }
    }
}

/// What the proxy counts.
#[derive(Debug)]
pub struct Telemetry {
    began: AtomicU64,
    ended: AtomicU64,
    no_upstream: AtomicU64,
    series: Vec<Series>,
    /// Other parts with families on the page.
    sources: Mutex<Sources>,
}

#[derive(Default)]
struct Sources(Vec<Source>);

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sources", self.0.len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Telemetry {
    /// Nothing counted yet, for so many upstreams.
    pub fn new(upstreams: usize) -> Self {
        Self {
            began: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            no_upstream: AtomicU64::new(0),
            series: (0..upstreams).map(|_| Series::new()).collect(),
            sources: Mutex::default(),
        }
    }

    /// Puts the families of another part at the end of the page.
    pub fn add(&self, source: Source) {
        lock(&self.sources).0.push(source);
    }

    pub(crate) fn began(&self) {
        add(&self.began);
    }

    pub(crate) fn gap(&self, upstream: Option<usize>, gap: Nanos, tokens: u32) {
        if let Some(series) = upstream.and_then(|u| self.series.get(u)) {
            // As the metric `itl` has it: a chunk of several tokens is so many gaps of its share.
            series.gap.observe(gap / Nanos::from(tokens.max(1)), u64::from(tokens.max(1)));
            series.gen_gap.observe(gap, 1);
        }
    }

    pub(crate) fn attempt_failed(&self, upstream: usize, failure: Failure) {
        add(&self.series[upstream].attempts_failed[failure.index()]);
    }

    pub(crate) fn retried(&self, upstream: usize, _failure: Failure) {
        add(&self.series[upstream].retried);
    }

    pub(crate) fn hedged(&self, upstream: usize) {
        add(&self.series[upstream].hedged);
    }

    /// Second attempts that were made, hedges included.
    pub fn second_attempts(&self) -> u64 {
        self.series.iter().map(|s| s.retried.load(Relaxed) + s.hedged.load(Relaxed)).sum()
    }

    pub(crate) fn canary(&self, upstream: usize, good: bool) {
        add(&self.series[upstream].canaries[usize::from(!good)]);
    }

    /// A request has ended.
    pub(crate) fn finished(&self, x: &Exchange) {
        add(&self.ended);
        let Some(s) = x.upstream.and_then(|u| self.series.get(u)) else {
            if matches!(x.end, End::Failed(_)) {
                add(&self.no_upstream);
            }
            return;
        };
        if x.tokens > 0 || x.prompt_tokens.is_some() {
            count_tokens(&mut lock(&s.tokens), x);
        }
        let first = x.first_token.map(|at| at - x.received);
        if let Some(first) = first {
            s.first_token.observe(first, 1);
        }
        let whole = x.ended - x.received;
        let operation = operation(x.path);
        if let (Some(operation), Some(first)) = (operation, first) {
            s.gen_first[operation].observe(first, 1);
        }
        let place = match x.end {
            End::Answered => {
                add(&s.answered);
                if x.status < 400 {
                    s.whole.observe(whole, 1);
                }
                0
            }
            End::ClientGone => {
                add(&s.client_gone);
                return;
            }
            End::Failed(failure) => {
                add(&s.failed[failure.index()]);
                if x.committed && x.streamed {
                    add(&s.marked);
                }
                1 + failure.index()
            }
        };
        if let Some(operation) = operation {
            s.duration[operation][place].observe(whole, 1);
        }
    }

    /// The page.
    pub fn render(&self, fleet: &Fleet) -> String {
        let mut page = Page::new();
        let ups = fleet.upstreams();
        let labels: Vec<String> = ups
            .iter()
            .map(|u| {
                format!("upstream=\"{}\",variant=\"{}\"", escaped(&u.spec.name), escaped(&u.spec.variant))
            })
            .collect();
        let began = self.began.load(Relaxed);
        page.head("stopwatt_requests_in_flight", "gauge", "Requests that have not been answered whole.");
        page.line("stopwatt_requests_in_flight", "", began.saturating_sub(self.ended.load(Relaxed)) as f64);

        let name = "stopwatt_requests_total";
        page.head(name, "counter", "Requests that have ended, by how.");
        for (s, l) in self.series.iter().zip(&labels) {
            page.line(name, &format!("{l},end=\"answered\""), s.answered.load(Relaxed) as f64);
            page.line(name, &format!("{l},end=\"client_gone\""), s.client_gone.load(Relaxed) as f64);
            by_failure(&mut page, name, l, "end", &s.failed);
        }
        page.line(
            name,
            "upstream=\"\",variant=\"\",end=\"no_upstream\"",
            self.no_upstream.load(Relaxed) as f64,
        );
        let name = "stopwatt_attempts_failed_total";
        page.head(name, "counter", "Attempts that failed before the first token, by why.");
        for (s, l) in self.series.iter().zip(&labels) {
            by_failure(&mut page, name, l, "error_type", &s.attempts_failed);
        }
        type Count = fn(&Series) -> &AtomicU64;
        let counters: [(&str, &str, Count); 3] = [
            (
                "stopwatt_streams_marked_total",
                "Streams that broke after their first token and were ended with an error event.",
                |s| &s.marked,
            ),
            ("stopwatt_retries_total", "Second attempts elsewhere after one at this upstream.", |s| {
                &s.retried
            }),
            ("stopwatt_hedges_total", "Second attempts beside a slow one at this upstream.", |s| &s.hedged),
        ];
        for (name, help, count) in counters {
            page.head(name, "counter", help);
            for (s, l) in self.series.iter().zip(&labels) {
                page.line(name, l, count(s).load(Relaxed) as f64);
            }
        }
        self.tokens(&mut page, &labels);
        costs(&mut page, fleet, &labels);
        let name = "stopwatt_canaries_total";
        page.head(name, "counter", "Requests for one token that asked whether an upstream generates.");
        for (s, l) in self.series.iter().zip(&labels) {
            for (count, result) in s.canaries.iter().zip(["answered", "failed"]) {
                page.line(name, &format!("{l},result=\"{result}\""), count.load(Relaxed) as f64);
            }
        }
        let name = "stopwatt_ejections_total";
        page.head(name, "counter", "Times that an upstream was given no more requests, by why.");
        for (u, l) in ups.iter().zip(&labels) {
            for (reason, count) in Reason::ALL.iter().zip(u.ejections()) {
                page.line(name, &format!("{l},reason=\"{}\"", reason.name()), count as f64);
            }
        }
        self.gauges(&mut page, fleet, &labels);
        self.histograms(&mut page, &labels);
        self.gen_ai(&mut page, fleet);
        for source in &lock(&self.sources).0 {
            source(&mut page, fleet);
        }
        page.finish()
    }

    fn tokens(&self, page: &mut Page, labels: &[String]) {
        let all: Vec<(String, Tokens)> = self
            .series
            .iter()
            .zip(labels)
            .flat_map(|(s, l)| {
                let models = lock(&s.tokens).clone();
                models.into_iter().map(move |(model, t)| (format!("{l},model=\"{}\"", escaped(&model)), t))
            })
            .collect();
        let each = |of: fn(&Tokens) -> Option<u64>| -> Vec<(String, Option<f64>)> {
            all.iter().map(|(l, t)| (l.clone(), of(t).map(|n| n as f64))).collect()
        };
        page.family(
            "stopwatt_prompt_tokens_total",
            "counter",
            "Tokens of prompts, as upstreams count them.",
            each(|t| Some(t.prompt)),
        );
        page.family(
            "stopwatt_cached_prompt_tokens_total",
            "counter",
            "Those of them that upstreams found in their prefix cache.",
            each(|t| t.cached),
        );
        page.family("stopwatt_output_tokens_total", "counter", "Generated tokens.", each(|t| Some(t.output)));
    }

    fn gauges(&self, page: &mut Page, fleet: &Fleet, labels: &[String]) {
        // Of an engine that is not there is nothing to tell.
        let there = |(u, _): &(&Upstream, &String)| u.place() != Place::Absent;
        let (ups, labels): (Vec<&Upstream>, Vec<&String>) =
            fleet.upstreams().iter().zip(labels).filter(there).unzip();
        let name = "stopwatt_upstream_in_flight";
        page.head(name, "gauge", "Requests at an upstream.");
        for (u, l) in ups.iter().zip(&labels) {
            page.line(name, l, f64::from(u.in_flight()));
        }
        let name = "stopwatt_upstream_admitted";
        page.head(name, "gauge", "Whether an upstream is given requests.");
        for (u, l) in ups.iter().zip(&labels) {
            page.line(name, l, f64::from(u8::from(u.ejected().is_none())));
        }
        let name = "stopwatt_upstream_health";
        page.head(name, "gauge", "1 for the state of an upstream.");
        for (u, l) in ups.iter().zip(&labels) {
            for state in State::ALL {
                let is = f64::from(u8::from(u.state() == state));
                page.line(name, &format!("{l},state=\"{}\"", state.name()), is);
            }
        }
        type Gauge = fn(&Gauges) -> Option<f64>;
        let gauges: [(&str, &str, &str, Gauge); 8] = [
            ("stopwatt_upstream_running", "gauge", "Requests that the engine computes.", |g| g.running),
            ("stopwatt_upstream_waiting", "gauge", "Requests in the engine's queue.", |g| g.waiting),
            ("stopwatt_upstream_kv_usage_ratio", "gauge", "Share of the KV cache in use.", |g| g.kv_usage),
            (
                "stopwatt_upstream_prefix_cache_queries_total",
                "counter",
                "Prompt tokens looked up in the prefix cache.",
                |g| g.prefix_queries,
            ),
            (
                "stopwatt_upstream_prefix_cache_hits_total",
                "counter",
                "Prompt tokens found in the prefix cache.",
                |g| g.prefix_hits,
            ),
            (
                "stopwatt_upstream_preemptions_total",
                "counter",
                "Requests whose computation was thrown away to free memory.",
                |g| g.preemptions,
            ),
            (
                "stopwatt_upstream_kv_evictions_total",
                "counter",
                "Cached KV blocks whose content made room for another.",
                |g| g.kv_evictions,
            ),
            (
                "stopwatt_upstream_kv_fragmentation_ratio",
                "gauge",
                "Share of the places in held KV blocks that hold no token.",
                |g| g.kv_fragmentation,
            ),
        ];
        let all: Vec<Gauges> = ups.iter().map(|u| u.gauges()).collect();
        for (name, kind, help, value) in gauges {
            // What no engine tells is left out, not zero.
            page.family(name, kind, help, all.iter().zip(&labels).map(|(g, l)| ((*l).clone(), value(g))));
        }
    }

    fn histograms(&self, page: &mut Page, labels: &[String]) {
        type Of = fn(&Series) -> &Histogram;
        let all: [Of; 3] = [|s| &s.first_token, |s| &s.gap, |s| &s.whole];
        for of in all {
            for (i, (s, l)) in self.series.iter().zip(labels).enumerate() {
                if i == 0 {
                    of(s).render_head(page.text());
                }
                of(s).render_series(page.text(), l);
            }
        }
    }

    fn gen_ai(&self, page: &mut Page, fleet: &Fleet) {
        let base: Vec<String> = fleet
            .upstreams()
            .iter()
            .map(|u| {
                let target = &u.spec.target;
                let mut base = format!(
                    "server_address=\"{}\",server_port=\"{}\",variant=\"{}\"",
                    escaped(target.host()),
                    target.port(),
                    escaped(&u.spec.variant)
                );
                let known = u.known();
                base.push_str(&format!(",gen_ai_provider_name=\"{}\"", known.engine.unwrap_or("_OTHER")));
                if let Some(model) = &known.model {
                    base.push_str(&format!(",gen_ai_request_model=\"{}\"", escaped(model)));
                }
                base
            })
            .collect();
        let Some(first) = self.series.first() else { return };
        first.duration[0][0].render_head(page.text());
        for (s, b) in self.series.iter().zip(&base) {
            for (by_end, operation) in s.duration.iter().zip(OPERATIONS) {
                for (i, h) in by_end.iter().enumerate().filter(|(_, h)| !h.is_empty()) {
                    let error = match i.checked_sub(1) {
                        None => String::new(),
                        Some(f) => format!(",error_type=\"{}\"", Failure::ALL[f].name()),
                    };
                    let labels = format!("gen_ai_operation_name=\"{operation}\",{b}{error}");
                    h.render_series(page.text(), &labels);
                }
            }
        }
        first.gen_first[0].render_head(page.text());
        for (s, b) in self.series.iter().zip(&base) {
            for (h, operation) in s.gen_first.iter().zip(OPERATIONS).filter(|(h, _)| !h.is_empty()) {
                h.render_series(page.text(), &format!("gen_ai_operation_name=\"{operation}\",{b}"));
            }
        }
        first.gen_gap.render_head(page.text());
        for (s, b) in self.series.iter().zip(&base).filter(|(s, _)| !s.gen_gap.is_empty()) {
            s.gen_gap.render_series(page.text(), b);
        }
    }
}

fn count_tokens(models: &mut BTreeMap<String, Tokens>, x: &Exchange) {
    let model = x.model.as_deref().unwrap_or_default();
    let model = if models.len() < MOST_MODELS || models.contains_key(model) { model } else { "other" };
    if !models.contains_key(model) {
        models.insert(model.to_owned(), Tokens::default());
    }
    let Some(t) = models.get_mut(model) else { return };
    t.prompt += u64::from(x.prompt_tokens.unwrap_or(0));
    t.output += u64::from(x.tokens);
    if let Some(cached) = x.cached_tokens {
        t.cached = Some(t.cached.unwrap_or(0) + u64::from(cached));
    }
}

/// What upstreams with a price cost.
fn costs(page: &mut Page, fleet: &Fleet, labels: &[String]) {
    let all: Vec<_> = fleet.upstreams().iter().map(crate::fleet::Upstream::cost).collect();
    let each = |of: fn(&(f64, f64, f64)) -> f64| -> Vec<(String, Option<f64>)> {
        labels.iter().zip(&all).map(|(l, cost)| (l.clone(), cost.as_ref().map(of))).collect()
    };
    page.family("stopwatt_cost_dollars_per_hour", "gauge", "Price of the upstream's machine.", each(|c| c.0));
    page.family(
        "stopwatt_cost_dollars_total",
        "counter",
        "Cost of the upstream's machine since the start, at work or idle.",
        each(|c| c.1),
    );
    page.family(
        "stopwatt_busy_cost_dollars_total",
        "counter",
        "The part of it in which the upstream had requests: the sum of their shares.",
        each(|c| c.2),
    );
}

/// Kinds that never came stay out of the page, or it would be mostly zeros.
fn by_failure(page: &mut Page, name: &str, labels: &str, key: &str, counts: &[AtomicU64]) {
    for (failure, count) in Failure::ALL.iter().zip(counts) {
        let count = count.load(Relaxed);
        if count > 0 {
            page.line(name, &format!("{labels},{key}=\"{}\"", failure.name()), count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_wire::engine_metrics::samples;

    use super::*;
    use crate::fleet::Settings;
    use crate::upstream::Spec;

    const MS: Nanos = 1_000_000;

    fn exchange(end: End) -> Exchange {
        Exchange {
            upstream: Some(0),
            model: Some("m".into()),
            status: 200,
            end,
            committed: true,
            streamed: true,
            attempts: 1,
            first_token: Some(50 * MS),
            last_token: Some(90 * MS),
            ended: 100 * MS,
            prompt_tokens: Some(7),
            cached_tokens: Some(2),
            tokens: 5,
            ..Exchange::new("/v1/completions", 0)
        }
    }

    #[test]
    fn bounds_are_the_numbers_that_are_written() {
        assert_eq!((FIRST_TOKEN[0], FIRST_TOKEN[1], FIRST_TOKEN[60]), (0.001, 0.0012, 100.0));
        assert_eq!((GAP[0], GAP[17], GAP[60]), (0.0001, 0.0027, 10.0));
        assert_eq!((WHOLE[0], WHOLE[60]), (0.01, 1000.0));
        for bounds in [&FIRST_TOKEN, &GAP, &WHOLE] {
            assert!(bounds.windows(2).all(|w| w[1] > w[0] && w[1] / w[0] < 1.26));
        }
    }

    #[test]
    fn the_page_says_what_was_counted() {
        let spec = Spec::parse("http://h:1,name=a,variant=v").unwrap();
        let fleet = Fleet::new(vec![spec], Settings::default(), |_| None).unwrap();
        let telemetry = Telemetry::new(1);
        for end in [End::Answered, End::Failed(Failure::Reset), End::ClientGone] {
            telemetry.began();
            telemetry.finished(&exchange(end));
        }
        telemetry.began();
        telemetry.gap(Some(0), 8 * MS, 2);
        telemetry.retried(0, Failure::Refused);
        let page = telemetry.render(&fleet);
        let value = |name: &str, label: Option<(&str, &str)>| {
            let found = samples(&page).find(|s| {
                s.name == name && label.is_none_or(|(k, v)| s.labels.get(k).is_some_and(|l| l == v))
            });
            found.map(|s| s.value)
        };
        assert_eq!(value("stopwatt_requests_in_flight", None), Some(1.0));
        for (end, n) in [("answered", 1.0), ("reset", 1.0), ("client_gone", 1.0)] {
            assert_eq!(value("stopwatt_requests_total", Some(("end", end))), Some(n), "{end}");
        }
        assert_eq!(value("stopwatt_streams_marked_total", None), Some(1.0));
        assert_eq!(value("stopwatt_retries_total", None), Some(1.0));
        let of_model = |name: &str| value(name, Some(("model", "m")));
        assert_eq!(of_model("stopwatt_output_tokens_total"), Some(15.0));
        assert_eq!(of_model("stopwatt_prompt_tokens_total"), Some(21.0));
        assert_eq!(of_model("stopwatt_cached_prompt_tokens_total"), Some(6.0));
        assert_eq!(value("stopwatt_cost_dollars_total", None), None, "there is no price");
        assert_eq!(value("stopwatt_ttft_seconds_count", None), Some(3.0));
        assert_eq!(value("stopwatt_itl_seconds_count", None), Some(2.0));
        assert_eq!(value("stopwatt_itl_seconds_bucket", Some(("le", "0.0039"))), Some(0.0));
        assert_eq!(value("stopwatt_itl_seconds_bucket", Some(("le", "0.0047"))), Some(2.0));
        assert_eq!(value("stopwatt_e2e_seconds_count", None), Some(1.0), "complete answers only");
        let duration = "gen_ai_client_operation_duration_seconds_count";
        assert_eq!(value(duration, Some(("error_type", "reset"))), Some(1.0));
        assert_eq!(value(duration, Some(("gen_ai_operation_name", "text_completion"))), Some(1.0));
        assert_eq!(value("stopwatt_upstream_running", None), None, "unknown is left out");
    }

    #[test]
    fn clients_cannot_make_series_without_end() {
        let telemetry = Telemetry::new(1);
        for i in 0..100 {
            telemetry.finished(&Exchange { model: Some(format!("m{i}")), ..exchange(End::Answered) });
        }
        let models = lock(&telemetry.series[0].tokens);
        assert_eq!((models.len(), models["other"].output), (MOST_MODELS + 1, 5 * (100 - MOST_MODELS as u64)));
    }

    #[test]
    fn a_price_makes_a_cost() {
        let specs = ["http://h:1,name=a,gpu-hour=2.5", "http://h:2,name=b"];
        let specs = specs.iter().map(|s| Spec::parse(s).unwrap()).collect();
        let fleet = Fleet::new(specs, Settings::default(), |_| None).unwrap();
        let page = Telemetry::new(2).render(&fleet);
        let per_hour: Vec<_> =
            samples(&page).filter(|s| s.name == "stopwatt_cost_dollars_per_hour").collect();
        assert_eq!((per_hour.len(), per_hour[0].value), (1, 2.5), "the other has no price");
        assert!(samples(&page).any(|s| s.name == "stopwatt_cost_dollars_total" && s.value > 0.0));
    }

    #[test]
    fn every_name_has_its_type_before_its_first_sample_and_once() {
        let spec = Spec::parse("http://h:1").unwrap();
        let fleet = Fleet::new(vec![spec], Settings::default(), |_| None).unwrap();
        let telemetry = Telemetry::new(1);
        telemetry.finished(&exchange(End::Answered));
        let page = telemetry.render(&fleet);
        let types: Vec<&str> = page
            .lines()
            .filter_map(|l| l.strip_prefix("# TYPE "))
            .map(|l| l.split(' ').next().unwrap())
            .collect();
        for sample in samples(&page) {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| sample.name.strip_suffix(s));
            let known = |n: &str| types.iter().filter(|t| **t == n).count() == 1;
            assert!(known(sample.name) || base.is_some_and(known), "{}", sample.name);
        }
    }
}
