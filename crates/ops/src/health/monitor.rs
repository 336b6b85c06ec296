//! Looks at each upstream again and again, on a thread of its own: a page of metrics can be a megabyte, and the thread
//! that passes tokens on must not read it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_load::{RequestError, Target};
use stopwatt_wire::engine_metrics::{
    self, KV_EVICTIONS, KV_FRAGMENTATION, KV_USAGE, PATHS, PREEMPTIONS, PREFIX_CACHE_HITS_TOKENS,
    PREFIX_CACHE_QUERIES_TOKENS, RUNNING, WAITING,
};
use stopwatt_wire::openai;

use super::machine::{Look, Machine, Settings};
use crate::fleet::{Fleet, Gauges, Place};
use crate::stream_watch::Watch;
use crate::telemetry::Telemetry;

/// How often and how patiently is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the end of one look to the next.
    pub every: Duration,
    /// A page that takes longer is silence.
    pub patience: Duration,
    /// Shortest time between two canaries.
    pub canary_every: Duration,
    /// A canary that takes longer has failed.
    pub canary_patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every: Duration::from_millis(250),
            patience: Duration::from_millis(500),
            canary_every: Duration::from_secs(1),
            canary_patience: Duration::from_secs(2),
        }
    }
}

/// Looks at the upstreams until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    stops: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Monitor {
    /// Starts a thread for each upstream, so that one that hangs delays no look at another.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        fleet: &Arc<Fleet>,
        telemetry: &Arc<Telemetry>,
        settings: Settings,
        pace: Pace,
    ) -> io::Result<Self> {
        let mut monitor = Self { stops: Vec::new(), threads: Vec::new() };
        for index in 0..fleet.upstreams().len() {
            let (stop, stopped) = channel::<()>();
            let mut one = One {
                fleet: Arc::clone(fleet),
                telemetry: Arc::clone(telemetry),
                index,
                pace,
                settings,
                generation: fleet.upstreams()[index].generation(),
                machine: Machine::new(settings, monotonic_raw()),
                path: None,
                proven: false,
                last_canary: None,
            };
            let thread = std::thread::Builder::new().name(format!("health {index}")).spawn(move || {
                loop {
                    one.look();
                    if !matches!(stopped.recv_timeout(pace.every), Err(RecvTimeoutError::Timeout)) {
                        return;
                    }
                }
            })?;
            monitor.stops.push(stop);
            monitor.threads.push(thread);
        }
        Ok(monitor)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stops.clear();
        for thread in self.threads.drain(..) {
            // A look that is going on ends within its patience.
            let _ = thread.join();
        }
    }
}

/// The monitor of one upstream.
struct One {
    fleet: Arc<Fleet>,
    telemetry: Arc<Telemetry>,
    index: usize,
    pace: Pace,
    settings: Settings,
    /// The engine that the rest is about.
    generation: u32,
    machine: Machine,
    /// Where its metrics are, once that is known.
    path: Option<&'static str>,
    /// It has generated since it was ejected.
    proven: bool,
    last_canary: Option<Nanos>,
}

impl One {
    fn target(&self) -> &Target {
        &self.fleet.upstreams()[self.index].spec.target
    }

    fn look(&mut self) {
        let up = &self.fleet.upstreams()[self.index];
        if up.place() == Place::Absent {
            return;
        }
        let generation = up.generation();
        if generation != self.generation {
            self.generation = generation;
            self.machine = Machine::new(self.settings, monotonic_raw());
            (self.path, self.proven, self.last_canary) = (None, false, None);
        }
        let look = self.page();
        let was = self.machine.state();
        let up = &self.fleet.upstreams()[self.index];
        let now = monotonic_raw();
        let state = self.machine.observe(now, look, up.own());
        // Leaving a sick state took proof; out for failures, a canary is the proof.
        self.proven |= was.is_sick() && !state.is_sick();
        if up.ejected().is_none() || state.is_sick() {
            self.proven = false;
        }
        // Said before the canary, which takes its time.
        self.fleet.health(self.index, state, self.proven);
        let out = up.ejected().is_some() && !state.is_sick() && !self.proven && look != Look::Refused;
        if (out || self.machine.wants_canary(now, look)) && self.canary_is_due(now) {
            self.last_canary = Some(now);
            let good = self.canary();
            if let Some(good) = good {
                self.telemetry.canary(self.index, good);
            }
            // Where nothing can be generated, an answer is all the proof there is.
            if good.unwrap_or(matches!(look, Look::Counters { .. } | Look::Opaque)) {
                self.machine.canary_answered(monotonic_raw());
                self.proven = true;
            }
        }
        self.fleet.health(self.index, self.machine.state(), self.proven);
    }

    fn canary_is_due(&self, now: Nanos) -> bool {
        let every = Nanos::try_from(self.pace.canary_every.as_nanos()).unwrap_or(Nanos::MAX);
        self.last_canary.is_none_or(|last| now - last >= every)
    }

    /// Reads the metrics.
    fn page(&mut self) -> Look {
        let asked = monotonic_raw();
        let paths: &[&'static str] = match &self.path {
            Some(path) => std::slice::from_ref(path),
            None => &PATHS,
        };
        for path in paths {
            let response = match stopwatt_load::get(self.target(), path, self.pace.patience) {
                Ok(response) => response,
                Err(error) => return silence(&error, asked),
            };
            let Ok(page) = std::str::from_utf8(&response.body) else { continue };
            let Some(reading) = engine_metrics::read(page).filter(|_| response.status == 200) else {
                continue;
            };
            self.path = Some(path);
            let of = |key: &str| reading.counters.get(key).copied();
            let up = &self.fleet.upstreams()[self.index];
            up.set_gauges(Gauges {
                running: of(RUNNING),
                waiting: of(WAITING),
                kv_usage: of(KV_USAGE),
                prefix_queries: of(PREFIX_CACHE_QUERIES_TOKENS),
                prefix_hits: of(PREFIX_CACHE_HITS_TOKENS),
                preemptions: of(PREEMPTIONS),
                kv_evictions: of(KV_EVICTIONS),
                kv_fragmentation: of(KV_FRAGMENTATION),
            });
            if up.known().engine.is_none() {
                up.learn(|k| k.engine = Some(reading.engine));
                self.learn_model();
            }
            return Look::Counters {
                running: of(RUNNING).unwrap_or(0.0),
                waiting: of(WAITING).unwrap_or(0.0),
                heartbeat: engine_metrics::heartbeat(page),
            };
        }
        Look::Opaque
    }

    /// The model that a canary must name.
    fn learn_model(&self) -> Option<String> {
        let up = &self.fleet.upstreams()[self.index];
        if let Some(model) = up.known().model {
            return Some(model);
        }
        let answer = stopwatt_load::get(self.target(), "/v1/models", self.pace.patience).ok()?;
        let model = openai::models(&answer.body).ok()?.into_iter().next()?.id;
        up.learn(|k| k.model = Some(model.clone()));
        Some(model)
    }

    /// Asks for one token. `None` when this upstream cannot be asked for one.
    fn canary(&self) -> Option<bool> {
        let Some(model) = self.learn_model() else { return Some(false) };
        let target = self.target().clone().with_header("x-stopwatt-canary", "1").ok()?;
        let common = serde_json::json!({"model": model, "max_tokens": 1, "temperature": 0, "stream": true, "user": "stopwatt-canary"});
        let with = |key: &str, value: serde_json::Value| {
            let mut body = common.clone();
            body[key] = value;
            body.to_string().into_bytes()
        };
        let message = serde_json::json!([{"role": "user", "content": "1"}]);
        let ways = [
            ("/v1/completions", with("prompt", "1".into())),
            ("/v1/chat/completions", with("messages", message)),
        ];
        for (path, body) in ways {
            match stopwatt_load::post(&target, path, &body, self.pace.canary_patience) {
                // A stream, as the requests are that it stands for: a server may answer 200 and then hang.
                Ok(answer) if answer.status == 200 => return Some(is_whole(&answer.body)),
                // Full is not dead.
                Ok(answer) if answer.status == 429 => return Some(true),
                Ok(answer) if answer.status < 500 => {}
                _ => return Some(false),
            }
        }
        None
    }
}

/// Whether a stream came to its end.
fn is_whole(body: &[u8]) -> bool {
    let mut watch = Watch::default();
    watch.feed(body);
    watch.is_complete() && !watch.error_event
}

/// What an answer that did not come says.
fn silence(error: &RequestError, asked: Nanos) -> Look {
    match error {
        RequestError::Connect { .. } | RequestError::Resolve { .. } => Look::Refused,
        _ => Look::Silent { asked },
    }
}
