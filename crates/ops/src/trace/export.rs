//! Sends spans to a receiver of OTLP over HTTP, on a thread of its own.
//!
//! The proxy hands over what has ended and goes on; when the queue is full, the newest is dropped and counted. A batch
//! that cannot be sent is tried again a few times, since receivers restart; then it is dropped and counted too.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use prost::Message as _;
use stopwatt_core::Nanos;
use stopwatt_core::clock::{monotonic_raw, unix_now};
use stopwatt_load::{Target, TargetError};

use super::proto::{
    ExportTraceServiceRequest, ExportTraceServiceResponse, InstrumentationScope, KeyValue, Resource,
    ResourceSpans, ScopeSpans, Span, Value,
};
use super::span::{self, Epoch, Upstream};
use crate::content::{Content, Keeper};
use crate::exchange::Exchange;
use crate::exposition::{Page, Source};
use crate::feedback::Score;
use crate::fleet::Fleet;
use crate::proxy::Observer;

/// Requests that wait to be sent.
const QUEUE: usize = 4096;
/// Requests sent together.
const BATCH: usize = 256;
/// Bytes of content after which a batch is sent.
const BATCH_BYTES: usize = 4 << 20;
/// How long a request waits for others.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether to end.
const TICK: Duration = Duration::from_millis(100);
/// Longest time for a request to the receiver.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much longer than its end the thread is waited for.
const SLACK: Nanos = 200_000_000;
/// Waits before a batch is tried again.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Path at which OTLP receivers take traces.
const TRACES: &str = "/v1/traces";
/// Where Langfuse takes them, before [`TRACES`].
const LANGFUSE: &str = "/api/public/otel";

/// Where spans go.
#[derive(Debug, Clone)]
pub struct Endpoint {
    target: Target,
    path: String,
    /// Where Langfuse takes scores.
    scores: Option<String>,
}

impl Endpoint {
    /// The receiver at `path` of `target`; without `/v1/traces` at its end that is added. `headers` is as in
    /// `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,name=value`, values percent-encoded.
    ///
    /// # Errors
    /// A header that cannot be sent.
    pub fn new(target: Target, path: &str, headers: Option<&str>) -> Result<Self, TargetError> {
        let base = path.trim_end_matches('/').trim_end_matches(TRACES).trim_end_matches('/');
        let mut target = target
            .with_header("content-type", "application/x-protobuf")?
            // Langfuse shows spans at once only when it is told that they are of this kind.
            .with_header("x-langfuse-ingestion-version", "4")?;
        for pair in headers.unwrap_or_default().split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            target = target.with_header(name.trim(), &decoded(value.trim()))?;
        }
        let scores = base.strip_suffix(LANGFUSE).map(|before| format!("{before}/api/public/scores"));
        Ok(Self { target, path: format!("{base}{TRACES}"), scores })
    }
}

/// Percent-decodes; what is no such code stays.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|c| u8::from_str_radix(std::str::from_utf8(c).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

enum Item {
    Request(Box<Exchange>, Option<Arc<Content>>),
    Score(Score),
}

/// What became of spans and scores.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    /// The queue was full.
    overflown: AtomicU64,
    /// The receiver refused them.
    refused: AtomicU64,
    /// It could not be reached.
    unreachable: AtomicU64,
    /// Raw monotonic; 0: it goes on.
    until: AtomicI64,
}

impl Counts {
    /// By when everything is to be sent; `None` while it goes on.
    fn until(&self) -> Option<Nanos> {
        Some(self.until.load(Relaxed)).filter(|at| *at != 0)
    }

    /// How long a request to the receiver may take now.
    fn patience(&self) -> Duration {
        self.until().map_or(PATIENCE, |until| {
            let left = u64::try_from(until - monotonic_raw()).unwrap_or(0);
            PATIENCE.min(Duration::from_nanos(left))
        })
    }
}

/// Sends spans until it is ended.
pub struct Exporter {
    items: SyncSender<Item>,
    counts: Arc<Counts>,
    content: bool,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Exporter {
    /// Starts sending. `content` sends what was said as well.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(endpoint: Endpoint, fleet: &Arc<Fleet>, content: bool) -> io::Result<Self> {
        let (items, received) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let worker =
            Worker { endpoint, fleet: Arc::downgrade(fleet), counts: Arc::clone(&counts), scores: 0 };
        let thread =
            std::thread::Builder::new().name("traces".to_owned()).spawn(move || worker.run(&received))?;
        Ok(Self { items, counts, content, thread: Some(thread) })
    }

    /// Takes what has ended from the proxy; `None` where [`Self::keeper`] does.
    pub fn observer(&self) -> Option<Observer> {
        let push = self.push();
        (!self.content).then(|| Box::new(move |x: &Exchange| push(x, None)) as Observer)
    }

    /// Takes what has ended with what was said; `None` where that is not asked for.
    pub fn keeper(&self) -> Option<Keeper> {
        let push = self.push();
        self.content.then(|| Keeper::new(move |x, content| push(x, Some(Arc::clone(content)))))
    }

    fn push(&self) -> impl Fn(&Exchange, Option<Arc<Content>>) + Send + Sync + use<> {
        let (items, counts) = (self.items.clone(), Arc::clone(&self.counts));
        move |x, content| {
            if x.traced.as_ref().is_some_and(|t| t.place.sampled)
                && items.try_send(Item::Request(Box::new(x.clone()), content)).is_err()
            {
                counts.overflown.fetch_add(1, Relaxed);
            }
        }
    }

    /// Takes what users say of answers.
    pub fn scores(&self) -> Box<dyn Fn(Score) + Send + Sync> {
        let (items, counts) = (self.items.clone(), Arc::clone(&self.counts));
        Box::new(move |score| {
            if items.try_send(Item::Score(score)).is_err() {
                counts.overflown.fetch_add(1, Relaxed);
            }
        })
    }

    /// Writes the families on the page.
    pub fn source(&self) -> Source {
        let counts = Arc::clone(&self.counts);
        Box::new(move |page: &mut Page, _| {
            let name = "stopwatt_spans_sent_total";
            page.head(name, "counter", "Spans and scores that the receiver took.");
            page.line(name, "", counts.sent.load(Relaxed) as f64);
            let name = "stopwatt_spans_dropped_total";
            page.head(
                name,
                "counter",
                "Spans and scores that were dropped, by why; in a full queue, requests.",
            );
            let all = [
                ("queue_full", &counts.overflown),
                ("refused", &counts.refused),
                ("unreachable", &counts.unreachable),
            ];
            for (reason, count) in all {
                page.line(name, &format!("reason=\"{reason}\""), count.load(Relaxed) as f64);
            }
        })
    }
}

impl Exporter {
    /// Sends what waits, each batch once and all of them until `until` (raw monotonic); the rest is dropped and counted
    /// as not reached.
    pub fn end(mut self, until: Nanos) {
        self.close(until);
    }

    fn close(&mut self, until: Nanos) {
        let Some(thread) = self.thread.take() else { return };
        self.counts.until.store(until.max(1), Relaxed);
        // A request that is on its way when this is called was given its time before.
        let most = until.max(monotonic_raw()) + SLACK;
        while !thread.is_finished() && monotonic_raw() < most {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            // It tells what went wrong in its counts.
            let _ = thread.join();
        }
    }
}

impl Drop for Exporter {
    /// As [`Exporter::end`], within the time of one request.
    fn drop(&mut self) {
        self.close(monotonic_raw() + PATIENCE.as_nanos() as Nanos);
    }
}

struct Worker {
    endpoint: Endpoint,
    fleet: Weak<Fleet>,
    counts: Arc<Counts>,
    scores: u64,
}

impl Worker {
    fn run(mut self, items: &Receiver<Item>) {
        let every = Nanos::try_from(EVERY.as_nanos()).unwrap_or(Nanos::MAX);
        let (mut batch, mut bytes, mut since) = (Vec::new(), 0, monotonic_raw());
        loop {
            let stop = self.counts.until().is_some();
            let ended = match items.recv_timeout(TICK) {
                Ok(item) => {
                    if batch.is_empty() {
                        since = monotonic_raw();
                    }
                    bytes += size(&item);
                    batch.push(item);
                    false
                }
                Err(RecvTimeoutError::Timeout) => stop,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            let full = batch.len() >= BATCH || bytes >= BATCH_BYTES || monotonic_raw() - since >= every;
            if !batch.is_empty() && (full || ended) {
                self.send(std::mem::take(&mut batch));
                bytes = 0;
            }
            if ended {
                return;
            }
        }
    }

    fn send(&mut self, batch: Vec<Item>) {
        let upstreams = self.upstreams();
        // Read for each batch: the wall clock may be set meanwhile.
        let epoch = Epoch { offset: unix_now() - monotonic_raw() };
        let (mut spans, mut scores) = (Vec::new(), Vec::new());
        for item in batch {
            match item {
                Item::Request(x, content) => {
                    if let Some(traced) = &x.traced {
                        spans.extend(span::spans(&x, traced, &upstreams, epoch, content.as_deref()));
                    }
                }
                Item::Score(score) if self.endpoint.scores.is_some() => scores.push(score),
                Item::Score(score) => {
                    self.scores += 1;
                    spans.push(span::score(&score, self.scores, unix_now().unsigned_abs()));
                }
            }
        }
        if !spans.is_empty() {
            self.send_spans(spans);
        }
        scores.iter().for_each(|score| self.send_score(score));
    }

    fn send_spans(&self, spans: Vec<Span>) {
        let n = spans.len() as u64;
        let body = request(spans).encode_to_vec();
        let Some(answer) = self.post(&self.endpoint.target, &self.endpoint.path, &body, n) else { return };
        let said = ExportTraceServiceResponse::decode(answer.as_slice()).unwrap_or_default();
        let rejected = said.partial_success.map_or(0, |p| p.rejected_spans.max(0).unsigned_abs()).min(n);
        self.counts.refused.fetch_add(rejected, Relaxed);
        self.counts.sent.fetch_add(n - rejected, Relaxed);
    }

    fn send_score(&self, score: &Score) {
        let Some(path) = &self.endpoint.scores else { return };
        let Ok(target) = self.endpoint.target.clone().with_header("content-type", "application/json") else {
            return;
        };
        let body = span::langfuse_score(score).to_string();
        if self.post(&target, path, body.as_bytes(), 1).is_some() {
            self.counts.sent.fetch_add(1, Relaxed);
        }
    }

    /// Sends a body; `None` and counted where it is not taken.
    fn post(&self, target: &Target, path: &str, body: &[u8], n: u64) -> Option<Vec<u8>> {
        for wait in AGAIN.iter().map(Some).chain([None]) {
            let patience = self.counts.patience();
            if patience.is_zero() {
                self.counts.unreachable.fetch_add(n, Relaxed);
                return None;
            }
            let lost = match stopwatt_load::post(target, path, body, patience) {
                Ok(answer) if (200..300).contains(&answer.status) => return Some(answer.body),
                // What the protocol lets be sent again.
                Ok(answer) if matches!(answer.status, 429 | 502 | 503 | 504) => &self.counts.unreachable,
                Ok(_) => {
                    self.counts.refused.fetch_add(n, Relaxed);
                    return None;
                }
                Err(_) => &self.counts.unreachable,
            };
            if !wait.is_some_and(|wait| self.pause(*wait)) {
                lost.fetch_add(n, Relaxed);
                return None;
            }
        }
        None
    }

    /// Waits; `false` when it is to end.
    fn pause(&self, wait: Duration) -> bool {
        let mut left = wait;
        while !left.is_zero() {
            if self.counts.until().is_some() {
                return false;
            }
            let step = left.min(TICK);
            std::thread::sleep(step);
            left -= step;
        }
        true
    }

    fn upstreams(&self) -> Vec<Upstream> {
        let Some(fleet) = self.fleet.upgrade() else { return Vec::new() };
        let of = |u: &crate::fleet::Upstream| Upstream {
            name: u.spec.name.clone(),
            variant: u.spec.variant.clone(),
            address: u.spec.target.host().to_owned(),
            port: u.spec.target.port(),
            provider: u.known().engine.unwrap_or("_OTHER"),
        };
        fleet.upstreams().iter().map(of).collect()
    }
}

fn size(item: &Item) -> usize {
    match item {
        Item::Request(_, Some(content)) => content.bytes() + 2000,
        _ => 2000,
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let attribute =
        |key: &str, value: &str| KeyValue { key: key.to_owned(), value: Some(Value::from(value).into()) };
    let version = env!("CARGO_PKG_VERSION");
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![
                    attribute("service.name", "stopwatt"),
                    attribute("service.version", version),
                ],
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "stopwatt-watch".to_owned(),
                    version: version.to_owned(),
                }),
                spans,
                schema_url: String::new(),
            }],
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_completed_and_langfuse_known() {
        let at = |path: &str| {
            let e = Endpoint::new(Target::parse("http://h:4318").unwrap(), path, None).unwrap();
            (e.path, e.scores)
        };
        assert_eq!(at("/"), ("/v1/traces".into(), None));
        assert_eq!(at("/v1/traces"), ("/v1/traces".into(), None));
        assert_eq!(at("/otlp/"), ("/otlp/v1/traces".into(), None));
        let scores = Some("/base/api/public/scores".to_owned());
        assert_eq!(at("/base/api/public/otel"), ("/base/api/public/otel/v1/traces".into(), scores));
    }

    #[test]
    fn a_receiver_that_is_silent_holds_up_no_shutdown() {
        // Connections are made and never answered.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::parse(&format!("http://{}", silent.local_addr().unwrap())).unwrap();
        let specs = vec![crate::upstream::Spec::parse("http://h:1").unwrap()];
        let fleet = Arc::new(Fleet::new(specs, crate::fleet::Settings::default(), |_| None).unwrap());
        let endpoint = Endpoint::new(target, "/", None).unwrap();
        let exporter = Exporter::start(endpoint, &fleet, false).unwrap();
        let (scores, counts) = (exporter.scores(), Arc::clone(&exporter.counts));
        let place = crate::trace::Ids::new().place(1, None);
        let value = crate::feedback::ScoreValue::YesNo(true);
        // Nine batches: with ten seconds for each it would take a minute and a half.
        let n = 9 * BATCH as u64;
        for _ in 0..n {
            scores(Score { place, name: "s".to_owned(), value: value.clone(), comment: None });
        }
        let began = monotonic_raw();
        exporter.end(began + 300_000_000);
        assert!(monotonic_raw() - began < 30_000_000_000);
        assert_eq!(counts.sent.load(Relaxed), 0);
    }

    #[test]
    fn headers_are_those_of_the_variable() {
        let target = Target::parse("http://h").unwrap();
        let good =
            Endpoint::new(target.clone(), "/", Some("Authorization=Basic%20YTpi, x-a=1%3D2,")).unwrap();
        assert!(!format!("{good:?}").contains("YTpi"), "never shown");
        assert_eq!(decoded("Basic%20YTpi=%3d%zz%"), "Basic YTpi==%zz%");
        assert!(Endpoint::new(target, "/", Some("a b=1")).is_err());
    }
}
