//! The thread behind the page: it collects, makes a frame a second, and sends it to whoever looks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use stopwatt_core::Nanos;
use stopwatt_core::clock::{monotonic_raw, unix_now};

use super::frame::{KEYS, Moment, frame};
use super::span::{Span, frames};
use super::{Page, Sources, Told};
use crate::admission::Change;
use crate::fleet::{Event, Fleet, Place, Replica, Upstream, What};
use crate::history::{Bins, Gaps, Incident, IncidentKind, Summary, Tally, Values};
use crate::rules::evaluate::{Evaluator, Firing};
use crate::rules::history::Labels;
use crate::store::{Reader, RequestRow, Store, of_page};

/// The generation of an upstream that has had no engine of the proxy's own.
const FIRST: u32 = 1;
const SECOND: Nanos = 1_000_000_000;
/// What is kept in memory, and sent to a new client.
const RECENT: Nanos = 900 * SECOND;
/// Requests of that time that are kept at most.
const MOST_ROWS: usize = 100_000;
/// Rates are over so many seconds.
const RATE_S: usize = 10;
/// Quantiles are over so many seconds.
const QUANTILES_S: usize = 60;
/// Frames from one sending of the tables to the next.
const TABLES_EVERY: u64 = 5;
/// Frames from one look at the rules to the next.
const RULES_EVERY: u64 = 15;
/// Incidents that are remembered.
const MOST_INCIDENTS: usize = 1000;
/// Step of the frames that are read from the store at the start.
const SEED_STEP: Nanos = 5 * SECOND;

/// The frames of the last minutes, as they are sent.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Milliseconds and JSON.
    frames: VecDeque<(i64, String)>,
    tables: Option<String>,
}

impl Ring {
    fn push(&mut self, ms: i64, frame: String) {
        self.frames.push_back((ms, frame));
        while self.frames.front().is_some_and(|(at, _)| *at < ms - RECENT / 1_000_000) {
            self.frames.pop_front();
        }
    }

    /// The first event of a client that has seen everything up to `after`.
    pub(super) fn hello(&self, after: i64, store: bool) -> Bytes {
        let missed: Vec<&str> =
            self.frames.iter().filter(|(at, _)| *at > after).map(|(_, f)| f.as_str()).collect();
        let head = json!({"keys": KEYS, "store": store, "version": env!("CARGO_PKG_VERSION"),
            "recent_s": RECENT / SECOND, "quantiles_s": QUANTILES_S, "rate_s": RATE_S});
        let head = head.to_string();
        let tables = self.tables.as_deref().unwrap_or("null");
        let head = head.trim_end_matches('}');
        Bytes::from(format!(
            "event: hello\ndata: {head},\"frames\":[{}],\"state\":{tables}}}\n\n",
            missed.join(",")
        ))
    }
}

/// What was read a second.
struct Second {
    at: Nanos,
    values: Values,
    bins: Bins,
}

pub(super) struct Thread {
    page: Page,
    fleet: Arc<Fleet>,
    scrape: Box<dyn Fn() -> String + Send>,
    evaluator: Evaluator,
    store: Option<Store>,
    rows: VecDeque<RequestRow>,
    seconds: VecDeque<Second>,
    gaps: Gaps,
    incidents: Vec<Incident>,
    ticks: u64,
    /// Since when it is known what happened, UNIX nanoseconds.
    known_since: i64,
}

impl Thread {
    pub(super) fn new(page: Page, sources: Sources) -> Self {
        let Sources { fleet, scrape, rules, store } = sources;
        let mut thread = Self {
            page,
            fleet,
            scrape,
            evaluator: Evaluator::new(&rules),
            store: None,
            rows: VecDeque::new(),
            seconds: VecDeque::new(),
            gaps: Gaps::default(),
            incidents: Vec::new(),
            ticks: 0,
            known_since: unix_now(),
        };
        if let Some((store, dir)) = store {
            thread.store = Some(store);
            // A store that cannot be read now is no reason not to watch.
            if let Ok(reader) = Reader::open(&dir) {
                thread.remember(&reader);
            }
        }
        thread
    }

    /// Takes the last minutes from a store.
    fn remember(&mut self, reader: &Reader) {
        let now = unix_now();
        let from = now - RECENT;
        let rows = &mut self.rows;
        if let Ok((frames, _)) = frames(reader, from, now, SEED_STEP, |row| rows.push_back(row.clone())) {
            let mut clients = self.page.clients();
            for frame in
                frames.iter().filter(|f| f[1].as_array().is_some_and(|v| v.iter().any(|v| !v.is_null())))
            {
                clients.frames.push(frame[0].as_i64().unwrap_or(0), frame.to_string());
            }
        }
        let first = self.page.clients().frames.frames.front().map(|(ms, _)| ms * 1_000_000);
        self.known_since = first.unwrap_or(self.known_since);
        self.rows.make_contiguous().sort_by_key(RequestRow::ended_unix_ns);
        self.incidents = reader.incidents(from, now).unwrap_or_default();
    }

    pub(super) fn run(&mut self, told: &Receiver<Told>) {
        let mut next = monotonic_raw();
        while !self.page.0.ended.load(Acquire) {
            let now = monotonic_raw();
            if now >= next {
                self.tick();
                // A second that was missed is not made up for.
                next = (next + SECOND).max(now);
            }
            let wait = u64::try_from((next - monotonic_raw()).clamp(0, SECOND / 5)).unwrap_or(0);
            if let Ok(told) = told.recv_timeout(Duration::from_nanos(wait)) {
                self.take(told);
            }
        }
        // Told before the end, by whoever ended it.
        told.try_iter().for_each(|told| self.take(told));
        let at = unix_now();
        for i in 0..self.incidents.len() {
            if self.incidents[i].ended_unix_ns.is_none() {
                (self.incidents[i].ended_unix_ns, self.incidents[i].cut) = (Some(at), true);
                self.keep(i);
            }
        }
        // Closing the store writes what is open.
        self.store = None;
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Request(row) => {
                if let Some(store) = &self.store {
                    store.request((*row).clone());
                }
                self.rows.push_back(*row);
            }
            Told::Event(event) => self.event(event),
        }
    }

    fn event(&mut self, event: Event) {
        let at = unix_now() - (monotonic_raw() - event.at);
        let name = self.fleet.upstreams()[event.upstream].spec.name.clone();
        match event.what {
            What::Health(_) => return,
            What::Admission(Change::Ejected(reason)) => {
                self.begin(IncidentKind::Upstream, name, reason.name(), at);
            }
            What::Admission(Change::Admitted) => self.end(IncidentKind::Upstream, &name, at),
            What::Replica(Replica::Died) => {
                self.begin(IncidentKind::Upstream, name, "its engine ended", at);
            }
            What::Replica(Replica::Failed) => {
                self.begin(IncidentKind::Upstream, name, "its engine did not come up", at);
            }
            What::Replica(Replica::Ready) => {
                self.end(IncidentKind::Upstream, &name, at);
                // It stands in for one that is gone and need not come again.
                let fleet = Arc::clone(&self.fleet);
                for gone in fleet.upstreams().iter().filter(|u| u.place() == Place::Absent) {
                    self.end(IncidentKind::Upstream, &gone.spec.name, at);
                }
            }
            What::Replica(Replica::Stopped) => self.end(IncidentKind::Upstream, &name, at),
            What::Replica(Replica::Starting | Replica::Draining) => {}
        }
        let out = |u: &Upstream| {
            u.place() != Place::Present || self.open(IncidentKind::Upstream, &u.spec.name).is_some()
        };
        // Before the first engine is up, the service has not begun.
        let begun =
            self.fleet.upstreams().iter().any(|u| u.generation() > FIRST || u.place() != Place::Absent);
        if begun && self.fleet.upstreams().iter().all(out) {
            self.begin(IncidentKind::Service, String::new(), "every upstream is out", at);
        } else {
            self.end(IncidentKind::Service, "", at);
        }
    }

    fn open(&self, kind: IncidentKind, subject: &str) -> Option<usize> {
        self.incidents
            .iter()
            .rposition(|i| i.kind == kind && i.subject == subject && i.ended_unix_ns.is_none())
    }

    fn begin(&mut self, kind: IncidentKind, subject: String, reason: &str, at: i64) {
        if self.open(kind, &subject).is_some() {
            return;
        }
        let reason = reason.to_owned();
        self.incidents.push(Incident {
            kind,
            subject,
            reason,
            began_unix_ns: at,
            ended_unix_ns: None,
            cut: false,
        });
        self.keep(self.incidents.len() - 1);
        if self.incidents.len() > MOST_INCIDENTS
            && let Some(old) = self.incidents.iter().position(|i| i.ended_unix_ns.is_some())
        {
            self.incidents.remove(old);
        }
    }

    fn end(&mut self, kind: IncidentKind, subject: &str, at: i64) {
        if let Some(i) = self.open(kind, subject) {
            self.incidents[i].ended_unix_ns = Some(at);
            self.keep(i);
        }
    }

    fn keep(&self, i: usize) {
        if let Some(store) = &self.store {
            store.incident(self.incidents[i].clone());
        }
    }

    fn tick(&mut self) {
        let at = unix_now();
        let text = (self.scrape)();
        let samples = of_page(&text, at);
        let (mut values, mut bins) = (Values::default(), Bins::default());
        for row in &samples {
            values.set(row);
            if let Some((_, bound, n)) = self.gaps.take(row) {
                bins.add(bound, n);
            }
        }
        if let Some(store) = &self.store {
            store.samples(samples);
        }
        self.seconds.push_back(Second { at, values, bins });
        while self.seconds.len() > QUANTILES_S + 1 {
            self.seconds.pop_front();
        }
        while self.rows.len() > MOST_ROWS
            || self.rows.front().is_some_and(|r| r.ended_unix_ns() < at - RECENT)
        {
            self.rows.pop_front();
        }
        if self.ticks.is_multiple_of(RULES_EVERY) {
            self.rules(at, &text);
        }
        let frame = self.frame(at);
        let tables = self.ticks.is_multiple_of(TABLES_EVERY).then(|| self.tables(at).to_string());
        self.ticks += 1;
        self.send(at / 1_000_000, frame.to_string(), tables);
    }

    /// Sends a frame. Who is too far behind is let go, and comes back for what it missed.
    fn send(&self, ms: i64, frame: String, tables: Option<String>) {
        let state = tables.as_ref().map(|t| format!(",\"state\":{t}")).unwrap_or_default();
        let event = Bytes::from(format!("id: {ms}\ndata: {{\"frame\":{frame}{state}}}\n\n"));
        let mut clients = self.page.clients();
        clients.frames.push(ms, frame);
        if tables.is_some() {
            clients.frames.tables = tables;
        }
        clients.senders.retain(|client| client.try_send(event.clone()).is_ok());
    }

    fn rules(&mut self, at: i64, text: &str) {
        let now_s = at as f64 / 1e9;
        self.evaluator.take(now_s, &Labels::new(), text);
        for firing in self.evaluator.step(now_s) {
            let subject = subject(&firing);
            match firing.ends_s {
                None => self.begin(IncidentKind::Alert, subject, &firing.summary, at),
                Some(_) => self.end(IncidentKind::Alert, &subject, at),
            }
        }
    }

    /// Quantiles of the requests that ended lately.
    fn lately(&self, at: i64) -> Summary {
        let mut tally = Tally::default();
        let from = at - QUANTILES_S as i64 * SECOND;
        self.rows.iter().rev().take_while(|r| r.ended_unix_ns() >= from).for_each(|r| tally.add(r));
        tally.summary(QUANTILES_S as f64)
    }

    fn frame(&self, at: i64) -> Value {
        let none = Values::default();
        let now = self.seconds.back();
        let then =
            self.seconds.len().checked_sub(RATE_S + 1).map_or(self.seconds.front(), |i| self.seconds.get(i));
        let lately = self.lately(at);
        let mut bins = Bins::default();
        self.seconds.iter().for_each(|s| bins.merge(&s.bins));
        frame(&Moment {
            at_unix_ns: at,
            now: now.map_or(&none, |s| &s.values),
            before: then.map_or(&none, |s| &s.values),
            seconds: now.zip(then).map_or(0.0, |(a, b)| (a.at - b.at) as f64 / 1e9),
            ttft: lately.ttft_s,
            itl: bins.quantiles(),
            e2e: lately.e2e_s,
        })
    }

    fn tables(&self, at: i64) -> Value {
        let begin = self.rows.front().map_or(at, |r| r.received_unix_ns);
        // With too many requests to keep, the tables say since when they are.
        let from = if self.rows.len() >= MOST_ROWS { begin } else { self.known_since.max(at - RECENT) };
        let mut span = Span::new(&self.page.0.variants);
        self.rows.iter().for_each(|row| span.add(row));
        let mut bins = Bins::default();
        self.seconds.iter().for_each(|s| bins.merge(&s.bins));
        let mut tables = span.tables(&self.incidents, &bins, from, at);
        tables["upstreams"] = crate::status::of(&self.fleet)["upstreams"].take();
        let alert = |f: &Firing| {
            json!({"name": f.labels.get("alertname"), "severity": f.labels.get("severity"), "subject": subject(f),
                "summary": f.summary, "value": f.value, "since_ms": (f.starts_s * 1e3) as i64})
        };
        tables["alerts"] = self.evaluator.firing().iter().map(alert).collect();
        tables["rows_lost"] = json!(self.page.0.lost.load(Relaxed));
        if let Some(store) = &self.store {
            let counts = store.counts();
            tables["store"] = json!({"lost": counts.lost.load(Relaxed), "failed": counts.failed.load(Relaxed),
                "bytes": counts.bytes.load(Relaxed), "written": counts.written.load(Relaxed)});
        }
        tables
    }
}

/// An alert's name with the labels that tell it from others of that name.
fn subject(firing: &Firing) -> String {
    let name = firing.labels.get("alertname").map_or("alert", String::as_str);
    let plain = ["alertname", "severity", "variant"];
    let others: BTreeMap<_, _> = firing.labels.iter().filter(|(k, _)| !plain.contains(&k.as_str())).collect();
    let others: Vec<String> = others.values().map(|v| (*v).clone()).collect();
    if others.is_empty() { name.to_owned() } else { format!("{name} {}", others.join(" ")) }
}
