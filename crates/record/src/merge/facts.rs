//! One log from the logs of shares.

use std::collections::BTreeMap;

use stopwatt_core::Nanos;
use stopwatt_core::log::{
    EngineCounters, Fact, JoinedShard, LogEvent, PlannedPoint, ReadStamps, SharedClock,
};
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::verdict::{Code, Remark};

use super::{Shard, status};

/// How far windows may begin apart when the settings do not say.
const TOLERANCE_S: f64 = 0.05;

/// A warning, and the shares that gave it.
struct Told {
    t_ns: Nanos,
    code: String,
    fatal: bool,
    detail: String,
    values: Vec<String>,
    by: Vec<u32>,
}

/// The lines of the joined log but the first, in order of time.
pub(super) fn join(shards: &[Shard], joined: Vec<JoinedShard>) -> Vec<LogEvent> {
    let mut log = Vec::new();
    let shared = joined.first().map(|j| j.clock);
    log.push(LogEvent { t_ns: 0, fact: Fact::Merged { shards: joined } });
    let mut plans: Vec<(Vec<PlannedPoint>, u32)> = Vec::new();
    let mut plan_at = 0;
    let mut warmups: BTreeMap<u32, Warmup> = BTreeMap::new();
    let mut windows: BTreeMap<(u32, u32), Window> = BTreeMap::new();
    let mut warnings: Vec<Told> = Vec::new();
    let (mut end_ns, mut rss, mut drift) = (0, None, 0);
    for shard in shards {
        for event in shard.run.log() {
            let t_ns = event.t_ns + shard.shift_ns;
            end_ns = end_ns.max(t_ns);
            match &event.fact {
                Fact::RunStarted { .. } | Fact::Shard { .. } | Fact::Merged { .. } => {}
                Fact::Plan { points, trials } => {
                    plan_at = plan_at.max(t_ns);
                    plans.push((points.clone(), *trials));
                }
                Fact::WarmupEnded { point, requests, steady, detail } => {
                    warmups.entry(*point).or_default().add(t_ns, shard.index, *requests, *steady, detail);
                }
                Fact::TrialStarted { point, trial } => {
                    let began = &mut windows.entry((*point, *trial)).or_default().began_ns;
                    *began = Some(began.map_or(t_ns, |b| b.min(t_ns)));
                }
                Fact::TrialEnded { point, trial, .. } => {
                    windows.entry((*point, *trial)).or_default().add(t_ns, shard.shift_ns, &event.fact);
                }
                Fact::Warning { code, fatal, detail, values } => {
                    let same = |w: &&mut Told| (&w.code, w.fatal, &w.detail) == (code, *fatal, detail);
                    match warnings.iter_mut().find(same) {
                        Some(known) => known.by.push(shard.index),
                        None => warnings.push(Told {
                            t_ns,
                            code: code.clone(),
                            fatal: *fatal,
                            detail: detail.clone(),
                            values: values.clone(),
                            by: vec![shard.index],
                        }),
                    }
                }
                // All of them read the one engine: the readings of the first share are enough.
                Fact::EngineReading { at_ns, took_s, counters, problem }
                    if Some(shard.index) == shards.first().map(|s| s.index) =>
                {
                    let at_ns = at_ns + shard.shift_ns;
                    let (took_s, counters, problem) = (*took_s, counters.clone(), problem.clone());
                    let fact = Fact::EngineReading { at_ns, took_s, counters, problem };
                    log.push(LogEvent { t_ns, fact });
                }
                Fact::RunEnded { client_rss_bytes, wall_drift_ns, .. } => {
                    rss = match (rss, client_rss_bytes) {
                        (Some(a), Some(b)) => Some(a + b),
                        (a, b) => a.or(*b),
                    };
                    if wall_drift_ns.abs() > Nanos::abs(drift) {
                        drift = *wall_drift_ns;
                    }
                }
                // What all of them saw of the engine and of the settings, the first share tells.
                fact if Some(shard.index) == shards.first().map(|s| s.index) => {
                    log.push(LogEvent { t_ns, fact: fact.clone() });
                }
                _ => {}
            }
        }
    }
    if let Some(fact) = plan(&plans) {
        log.push(LogEvent { t_ns: plan_at, fact });
    }
    log.extend(warmups.into_iter().map(|(point, warmup)| warmup.event(point)));
    let tolerance = tolerance_ns(shards);
    let mut found: Vec<Fact> = missing(shards).into_iter().collect();
    found.extend(clocks(shards, shared));
    for (&(point, trial), window) in &windows {
        if let Some(t_ns) = window.began_ns {
            log.push(LogEvent { t_ns, fact: Fact::TrialStarted { point, trial } });
        }
        log.extend(window.event(point, trial));
        found.extend(window.apart(point, trial, tolerance));
    }
    for Told { t_ns, code, fatal, detail, values, by: of } in warnings {
        let detail = if of.len() == shards.len() { detail } else { format!("{}: {detail}", named(&of)) };
        log.push(LogEvent { t_ns, fact: Fact::Warning { code, fatal, detail, values } });
    }
    log.extend(found.into_iter().map(|fact| LogEvent { t_ns: end_ns, fact }));
    log.sort_by_key(|event| event.t_ns);
    let status = status(shards);
    let reason = (status == RunStatus::Incomplete).then(|| "not every share came to its end".to_owned());
    let fact = Fact::RunEnded { status, reason, client_rss_bytes: rss, wall_drift_ns: drift };
    log.push(LogEvent { t_ns: end_ns, fact });
    log
}

/// `share 2`, `shares 0 and 3`.
fn named(shards: &[u32]) -> String {
    let names: Vec<String> = shards.iter().map(u32::to_string).collect();
    format!("{} {}", if names.len() == 1 { "share" } else { "shares" }, names.join(", "))
}

/// The plans added up.
fn plan(plans: &[(Vec<PlannedPoint>, u32)]) -> Option<Fact> {
    let (first, trials) = plans.first()?;
    let mut points = first.clone();
    for (index, point) in points.iter_mut().enumerate() {
        let same = || plans.iter().filter_map(|(points, _)| points.get(index));
        point.concurrency = same().map(|p| p.concurrency).sum();
        point.rate_rps = same().map(|p| p.rate_rps).sum();
    }
    Some(Fact::Plan { points, trials: *trials })
}

#[derive(Default)]
struct Warmup {
    t_ns: Nanos,
    requests: u64,
    steady: Option<bool>,
    details: Vec<String>,
}

impl Warmup {
    fn add(&mut self, t_ns: Nanos, shard: u32, requests: u64, steady: Option<bool>, detail: &str) {
        self.t_ns = self.t_ns.max(t_ns);
        self.requests += requests;
        // One share that was not steady decides.
        self.steady = match (self.steady, steady) {
            (Some(a), Some(b)) => Some(a && b),
            (a, b) => a.or(b),
        };
        self.details.push(format!("share {shard}: {detail}"));
    }

    fn event(self, point: u32) -> LogEvent {
        let Self { t_ns, requests, steady, details } = self;
        LogEvent { t_ns, fact: Fact::WarmupEnded { point, requests, steady, detail: details.join("; ") } }
    }
}

/// The windows of one trial.
#[derive(Default)]
struct Window {
    began_ns: Option<Nanos>,
    t_ns: Nanos,
    starts: Vec<Nanos>,
    ends: Vec<Nanos>,
    client_cpu_s: Option<f64>,
    engine_cpu_s: Option<f64>,
    engine_rss_bytes: Option<u64>,
    planned: Option<u64>,
    before: EngineCounters,
    after: EngineCounters,
    reads: Option<ReadStamps>,
}

impl Window {
    fn add(&mut self, t_ns: Nanos, shift_ns: Nanos, fact: &Fact) {
        let Fact::TrialEnded {
            start_ns,
            end_ns,
            client_cpu_s,
            engine_cpu_s,
            engine_rss_bytes,
            planned,
            counters_before,
            counters_after,
            reads,
            ..
        } = fact
        else {
            return;
        };
        self.t_ns = self.t_ns.max(t_ns);
        self.starts.push(start_ns + shift_ns);
        self.ends.push(end_ns + shift_ns);
        self.client_cpu_s = client_cpu_s.map(|s| s + self.client_cpu_s.unwrap_or(0.0)).or(self.client_cpu_s);
        self.engine_cpu_s = self.engine_cpu_s.or(*engine_cpu_s);
        self.engine_rss_bytes = self.engine_rss_bytes.max(*engine_rss_bytes);
        self.planned = planned.map(|n| n + self.planned.unwrap_or(0)).or(self.planned);
        self.reads = reads.map(|r| self.reads.map_or(r, |own| own.and(r))).or(self.reads);
        // All look at the counters of one engine, which only grow: the first reading and the last.
        for (key, &value) in counters_before {
            self.before.entry(key.clone()).and_modify(|v| *v = v.min(value)).or_insert(value);
        }
        for (key, &value) in counters_after {
            self.after.entry(key.clone()).and_modify(|v| *v = v.max(value)).or_insert(value);
        }
    }

    fn span(&self) -> Option<(Nanos, Nanos)> {
        Some((*self.starts.iter().min()?, *self.ends.iter().max()?))
    }

    fn event(&self, point: u32, trial: u32) -> Option<LogEvent> {
        let (start_ns, end_ns) = self.span()?;
        let fact = Fact::TrialEnded {
            point,
            trial,
            start_ns,
            end_ns,
            client_cpu_s: self.client_cpu_s,
            engine_cpu_s: self.engine_cpu_s,
            engine_rss_bytes: self.engine_rss_bytes,
            planned: self.planned,
            counters_before: self.before.clone(),
            counters_after: self.after.clone(),
            reads: self.reads,
        };
        Some(LogEvent { t_ns: self.t_ns, fact })
    }

    /// Whether the shares did not send together.
    fn apart(&self, point: u32, trial: u32, tolerance_ns: Nanos) -> Option<Fact> {
        let (first, last) = (self.starts.iter().min()?, self.starts.iter().max()?);
        let overlap = self.ends.iter().min()? > last;
        if last - first <= tolerance_ns && overlap {
            return None;
        }
        let code = if overlap { Code::SharesApart } else { Code::SharesDisjoint };
        let apart = format!("{:.3}", (last - first) as f64 * 1e-9);
        Some(Fact::warning(&Remark::new(code, [(trial + 1).to_string(), (point + 1).to_string(), apart])))
    }
}

fn tolerance_ns(shards: &[Shard]) -> Nanos {
    let setting = shards.first().and_then(|s| s.settings.get("load.start_tolerance_s"));
    let seconds = setting.and_then(|s| s.value.as_f64()).unwrap_or(TOLERANCE_S);
    (seconds * 1e9) as Nanos
}

fn missing(shards: &[Shard]) -> Option<Fact> {
    let of = shards.first()?.of;
    let missing: Vec<u32> = (0..of).filter(|i| shards.iter().all(|s| s.index != *i)).collect();
    (!missing.is_empty()).then(|| {
        let numbers: Vec<String> = missing.iter().map(u32::to_string).collect();
        Fact::warning(&Remark::new(Code::SharesMissing, [numbers.join(", "), of.to_string()]))
    })
}

/// Wall clocks of several machines are as good as their time service.
fn clocks(shards: &[Shard], shared: Option<SharedClock>) -> Option<Fact> {
    let known = shards.iter().all(|s| s.synchronised == Some(true));
    (shared == Some(SharedClock::Unix) && !known).then(|| Fact::warning(&Remark::new(Code::ShareClocks, [])))
}
