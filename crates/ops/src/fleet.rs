//! The upstreams as the proxy, the health monitor and the exporter see them together.
//!
//! What is read or written for each chunk is an atomic; the admission of an upstream is behind a lock that is taken
//! once a request and once a look.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use tokio::sync::watch;

use crate::admission::{self, Admission, Change, Reason};
use crate::budget::Budget;
use crate::cost::Meter;
use crate::health::{Own, State};
use crate::split::{self, Variant};
use crate::upstream::{Spec, SpecError};

/// Something that changed about an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When, raw monotonic.
    pub at: Nanos,
    /// Position of the upstream.
    pub upstream: usize,
    /// What.
    pub what: What,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Its health.
    Health(State),
    /// Whether it is given requests.
    Admission(Change),
    /// The engine that the proxy starts and ends itself.
    Replica(Replica),
}

/// What became of an engine that the proxy starts and ends itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replica {
    /// It was started.
    Starting,
    /// It answers, and is given requests.
    Ready,
    /// It did not come up.
    Failed,
    /// It ended by itself after it was ready.
    Died,
    /// It is given no more requests, and ends when those it has are over.
    Draining,
    /// It was ended.
    Stopped,
}

/// Whether there is an engine behind an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// There is; health and outcomes decide whether it is given requests.
    Present,
    /// It is given no more requests.
    Draining,
    /// There is none: nobody is sent there, nobody looks, and no figure of health counts it.
    Absent,
}

impl Place {
    const ALL: [Self; 3] = [Self::Present, Self::Draining, Self::Absent];
}

/// What the engine last said of itself; `None` where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Gauges {
    /// Requests being computed.
    pub running: Option<f64>,
    /// Requests waiting.
    pub waiting: Option<f64>,
    /// Share of the KV cache in use.
    pub kv_usage: Option<f64>,
    /// Prompt tokens looked up in the prefix cache, total.
    pub prefix_queries: Option<f64>,
    /// Prompt tokens found in the prefix cache, total.
    pub prefix_hits: Option<f64>,
    /// Requests whose computation was thrown away, total.
    pub preemptions: Option<f64>,
    /// Cached KV blocks whose content made room for another, total.
    pub kv_evictions: Option<f64>,
    /// Share of the places in held KV blocks that hold no token.
    pub kv_fragmentation: Option<f64>,
}

/// An upstream with what is known of it.
pub struct Upstream {
    /// What the operator wrote.
    pub spec: Spec,
    /// Its variant's position.
    pub variant: usize,
    /// Its key, sent in `Authorization`.
    pub(crate) key: Option<String>,
    /// Requests that it was sent and that have not ended.
    in_flight: AtomicU32,
    /// Those of them that wait for it now, and not for a slow client.
    awaited: AtomicU32,
    /// 0: none yet.
    last_token: AtomicI64,
    /// When requests came that found no others; 0: none yet.
    busy_since: AtomicI64,
    /// It asked for rest until then (`Retry-After`).
    rests_until: AtomicI64,
    state: AtomicU8,
    admission: Mutex<Admission>,
    ejected: watch::Sender<Option<Reason>>,
    gauges: Mutex<Gauges>,
    known: Mutex<Known>,
    ejections: [AtomicU64; Reason::ALL.len()],
    place: AtomicU8,
    /// Engines that it has had.
    generation: AtomicU32,
    /// Only with a price.
    meter: Option<Mutex<Meter>>,
}

/// What was learnt of an engine once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// Whose metric names it has.
    pub engine: Option<&'static str>,
    /// The model it serves first.
    pub model: Option<String>,
}

impl std::fmt::Debug for Upstream {
    /// Leaves out the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("spec", &self.spec)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    /// Its health.
    pub fn state(&self) -> State {
        State::ALL[usize::from(self.state.load(Relaxed)).min(State::ALL.len() - 1)]
    }

    /// Why it is given no requests; `None` when it is.
    pub fn ejected(&self) -> Option<Reason> {
        *self.ejected.borrow()
    }

    /// Whether there is an engine.
    pub fn place(&self) -> Place {
        Place::ALL[usize::from(self.place.load(Relaxed)).min(Place::ALL.len() - 1)]
    }

    /// Engines that it has had; one that the proxy does not start itself counts as the first.
    pub fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    /// Requests that have not ended.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// What the engine last said of itself.
    pub fn gauges(&self) -> Gauges {
        *lock(&self.gauges)
    }

    pub(crate) fn set_gauges(&self, gauges: Gauges) {
        *lock(&self.gauges) = gauges;
    }

    /// What was learnt of the engine.
    pub fn known(&self) -> Known {
        lock(&self.known).clone()
    }

    pub(crate) fn learn(&self, learn: impl FnOnce(&mut Known)) {
        learn(&mut lock(&self.known));
    }

    /// How often it was ejected, in the order of [`Reason::ALL`].
    pub fn ejections(&self) -> [u64; Reason::ALL.len()] {
        std::array::from_fn(|i| self.ejections[i].load(Relaxed))
    }

    /// Dollars an hour, dollars since the start, and those of them in which it had requests; `None` without a price.
    pub fn cost(&self) -> Option<(f64, f64, f64)> {
        Some(lock(self.meter.as_ref()?).read(monotonic_raw()))
    }

    /// What the proxy sees of it.
    pub(crate) fn own(&self) -> Own {
        let stamp = |at: &AtomicI64| Some(at.load(Relaxed)).filter(|at| *at != 0);
        Own {
            in_flight: self.awaited.load(Relaxed),
            last_token: stamp(&self.last_token),
            busy_since: stamp(&self.busy_since),
        }
    }

    pub(crate) fn token_came(&self, now: Nanos) {
        self.last_token.store(now, Relaxed);
    }

    pub(crate) fn rest_until(&self, at: Nanos) {
        self.rests_until.fetch_max(at, Relaxed);
    }

    /// Tells when it is ejected.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Reason>> {
        self.ejected.subscribe()
    }
}

/// Counts a request as being in flight at an upstream as long as it lives.
#[derive(Debug)]
pub(crate) struct InFlight {
    fleet: std::sync::Arc<Fleet>,
    upstream: usize,
    awaited: bool,
    /// What the meter said when it came; `None` without one, and after it was settled.
    entered: Option<f64>,
}

impl InFlight {
    pub(crate) fn new(fleet: &std::sync::Arc<Fleet>, upstream: usize) -> Self {
        let up = &fleet.upstreams[upstream];
        if up.in_flight.fetch_add(1, Relaxed) == 0 {
            up.busy_since.store(monotonic_raw(), Relaxed);
        }
        up.awaited.fetch_add(1, Relaxed);
        let entered = up.meter.as_ref().map(|m| lock(m).enter(monotonic_raw()));
        Self { fleet: std::sync::Arc::clone(fleet), upstream, awaited: true, entered }
    }

    /// Its share of the upstream's cost, once; it pays no more from then on.
    pub(crate) fn settle(&mut self) -> Option<f64> {
        let entered = self.entered.take()?;
        Some(lock(self.upstream().meter.as_ref()?).leave(entered, monotonic_raw()))
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.fleet.upstreams[self.upstream]
    }

    pub(crate) fn index(&self) -> usize {
        self.upstream
    }

    /// Whether the upstream is waited for; it is not while a slow client is.
    pub(crate) fn set_awaited(&mut self, awaited: bool) {
        if awaited != self.awaited {
            self.awaited = awaited;
            let count = &self.upstream().awaited;
            if awaited {
                count.fetch_add(1, Relaxed)
            } else {
                count.fetch_sub(1, Relaxed)
            };
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.settle();
        self.set_awaited(false);
        self.upstream().in_flight.fetch_sub(1, Relaxed);
    }
}

/// All upstreams.
#[derive(Debug)]
pub struct Fleet {
    upstreams: Vec<Upstream>,
    variants: Vec<Variant>,
    budget: Mutex<Budget>,
    admission: admission::Settings,
    events: Mutex<Option<Sender<Event>>>,
}

/// How second attempts and ejection are bounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// What ejects.
    pub admission: admission::Settings,
    /// Second attempts, as a share of first ones.
    pub retry_share: f64,
    /// Second attempts a second that are allowed besides.
    pub retry_floor: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { admission: admission::Settings::default(), retry_share: 0.1, retry_floor: 1.0 }
    }
}

impl Fleet {
    /// A fleet of which all are admitted. `key` reads the value of an environment variable.
    ///
    /// # Errors
    /// The list is empty, two have one name, or a key is missing.
    pub fn new(
        specs: Vec<Spec>,
        settings: Settings,
        key: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SpecError> {
        Spec::check(&specs)?;
        let mut variants: Vec<Variant> = Vec::new();
        let mut upstreams = Vec::with_capacity(specs.len());
        for mut spec in specs {
            let variant = variants.iter().position(|v| v.name == spec.variant).unwrap_or_else(|| {
                variants.push(Variant { name: spec.variant.clone(), weight: 0.0 });
                variants.len() - 1
            });
            variants[variant].weight += spec.weight;
            let key = match &spec.key_env {
                None => None,
                Some(name) => {
                    let missing = || SpecError::Key { name: name.clone() };
                    let key = key(name).filter(|k| !k.trim().is_empty()).ok_or_else(missing)?;
                    spec.target = spec.target.with_api_key(&key).map_err(|_| missing())?;
                    Some(format!("Bearer {}", key.trim()))
                }
            };
            let meter = spec.per_hour.map(|price| Mutex::new(Meter::new(price, monotonic_raw())));
            upstreams.push(Upstream {
                spec,
                variant,
                key,
                in_flight: AtomicU32::new(0),
                awaited: AtomicU32::new(0),
                last_token: AtomicI64::new(0),
                busy_since: AtomicI64::new(0),
                rests_until: AtomicI64::new(0),
                state: AtomicU8::new(0),
                admission: Mutex::new(Admission::new(settings.admission)),
                ejected: watch::Sender::new(None),
                gauges: Mutex::new(Gauges::default()),
                known: Mutex::new(Known::default()),
                ejections: Default::default(),
                place: AtomicU8::new(0),
                generation: AtomicU32::new(1),
                meter,
            });
        }
        let budget = Budget::new(settings.retry_share, settings.retry_floor, monotonic_raw());
        let (admission, events) = (settings.admission, Mutex::new(None));
        Ok(Self { upstreams, variants, budget: Mutex::new(budget), admission, events })
    }

    /// Every upstream, in the order given.
    pub fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// Every variant, in the order in which they were named.
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// Sends what changes from now on.
    pub fn tell(&self, events: Sender<Event>) {
        *lock(&self.events) = Some(events);
    }

    pub(crate) fn request_came(&self) {
        lock(&self.budget).request();
    }

    /// Takes a second attempt from the budget.
    pub(crate) fn may_retry(&self, now: Nanos) -> bool {
        lock(&self.budget).take(now)
    }

    /// Chooses for a request of this key. The variant is that of the key as long as one of its upstreams can be asked;
    /// inside it the upstream with the fewest requests for its weight is taken.
    ///
    /// When nobody is admitted, the least sick is asked: a detector that is wrong must not close the service.
    /// `None` when nobody else than `not` is present.
    pub(crate) fn choose(&self, key: &[u8], not: Option<usize>, now: Nanos) -> Option<usize> {
        let wanted = split::choose(&self.variants, key);
        let candidates = self.upstreams.iter().enumerate().filter(|(i, _)| Some(*i) != not);
        let candidates = candidates.filter(|(_, u)| u.is_present());
        candidates
            .min_by(|(_, a), (_, b)| {
                let rank = |u: &Upstream| {
                    (u.sickness(now), Some(u.variant) != wanted, u.state() == State::Saturated)
                };
                rank(a).cmp(&rank(b)).then_with(|| a.load().total_cmp(&b.load()))
            })
            .map(|(i, _)| i)
    }

    /// Whether somebody else than `not` is well enough to take over.
    pub(crate) fn has_other(&self, not: usize, now: Nanos) -> bool {
        self.upstreams.iter().enumerate().any(|(i, u)| i != not && u.is_present() && u.sickness(now) == 0)
    }

    /// There is an engine now, or none any more. One that comes is new: nothing that was known of another is held
    /// against it.
    pub(crate) fn place(&self, upstream: usize, place: Place) {
        let up = &self.upstreams[upstream];
        if place == Place::Present {
            *lock(&up.admission) = Admission::new(self.admission);
            up.ejected.send_replace(None);
            up.state.store(0, Relaxed);
            up.rests_until.store(0, Relaxed);
            up.set_gauges(Gauges::default());
            up.generation.fetch_add(1, Relaxed);
        }
        let index = Place::ALL.iter().position(|p| *p == place).unwrap_or(0) as u8;
        up.place.store(index, Relaxed);
    }

    /// Tells what became of an engine of the proxy's own.
    pub(crate) fn replica(&self, upstream: usize, replica: Replica) {
        self.send(Event { at: monotonic_raw(), upstream, what: What::Replica(replica) });
    }

    /// The upstreams behind which there is an engine.
    pub fn present(&self) -> impl Iterator<Item = &Upstream> {
        self.upstreams.iter().filter(|u| u.place() != Place::Absent)
    }

    /// A request ended well or failed for a reason of the upstream.
    pub(crate) fn outcome(&self, upstream: usize, good: bool) {
        let up = &self.upstreams[upstream];
        if up.place() == Place::Absent {
            return; // what it left behind says nothing of the next one
        }
        let now = monotonic_raw();
        let change = lock(&up.admission).outcome(good, now);
        self.changed(upstream, change, now);
    }

    /// Health was looked at.
    pub(crate) fn health(&self, upstream: usize, state: State, proven: bool) {
        let up = &self.upstreams[upstream];
        if up.place() == Place::Absent {
            return;
        }
        let now = monotonic_raw();
        let index = State::ALL.iter().position(|s| *s == state).unwrap_or(0) as u8;
        if up.state.swap(index, Relaxed) != index {
            self.send(Event { at: now, upstream, what: What::Health(state) });
        }
        let change = {
            let mut admission = lock(&up.admission);
            let change = admission.health(state, proven, now);
            let reason = admission.ejected();
            up.ejected.send_if_modified(|was| std::mem::replace(was, reason) != reason);
            change
        };
        self.changed(upstream, change, now);
    }

    fn changed(&self, upstream: usize, change: Option<Change>, at: Nanos) {
        let Some(change) = change else { return };
        let reason = match change {
            Change::Ejected(reason) => Some(reason),
            Change::Admitted => None,
        };
        let up = &self.upstreams[upstream];
        up.ejected.send_if_modified(|was| std::mem::replace(was, reason) != reason);
        if let Some(i) = Reason::ALL.iter().position(|r| Some(*r) == reason) {
            up.ejections[i].fetch_add(1, Relaxed);
        }
        self.send(Event { at, upstream, what: What::Admission(change) });
    }

    fn send(&self, event: Event) {
        if let Some(events) = &*lock(&self.events) {
            // Nobody listens any more.
            let _ = events.send(event);
        }
    }
}

impl Upstream {
    /// Whether it is given requests.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_present() && self.ejected().is_none()
    }

    fn is_present(&self) -> bool {
        self.place() == Place::Present
    }

    /// 0 is admitted; the rest in the order of who is asked when nobody is.
    fn sickness(&self, now: Nanos) -> u8 {
        match self.ejected() {
            // Out by its own wish, for a moment.
            None => u8::from(self.rests_until.load(Relaxed) > now),
            Some(Reason::Failures) => 2,
            Some(Reason::Stalled) => 3,
            Some(Reason::Dead) => 4,
        }
    }

    /// Requests for its weight.
    fn load(&self) -> f64 {
        (f64::from(self.in_flight()) + 1.0) / self.spec.weight
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn fleet(specs: &[&str]) -> Arc<Fleet> {
        let specs = specs.iter().map(|s| Spec::parse(s).unwrap()).collect();
        Arc::new(Fleet::new(specs, Settings::default(), |_| None).unwrap())
    }

    #[test]
    fn the_least_loaded_for_its_weight_is_asked() {
        let fleet = fleet(&["http://h:1,weight=1", "http://h:2,weight=3"]);
        let mut held = Vec::new();
        for _ in 0..8 {
            let i = fleet.choose(b"", None, 0).unwrap();
            held.push(InFlight::new(&fleet, i));
        }
        let counts: Vec<u32> = fleet.upstreams().iter().map(Upstream::in_flight).collect();
        assert_eq!(counts, [2, 6]);
        held.clear();
        assert_eq!((fleet.upstreams()[1].in_flight(), fleet.upstreams()[1].own().in_flight), (0, 0));
    }

    #[test]
    fn an_ejected_upstream_is_asked_only_when_nobody_is_left() {
        let fleet = fleet(&["http://h:1", "http://h:2"]);
        fleet.health(0, State::Dead, false);
        assert!((0..8).all(|_| fleet.choose(b"", None, 0) == Some(1)));
        assert!(!fleet.has_other(1, 0));
        fleet.health(1, State::Stalled, false);
        assert_eq!(fleet.choose(b"", None, 0), Some(1), "stalled is better than dead");
        assert_eq!(fleet.choose(b"", Some(1), 0), Some(0));
        fleet.health(0, State::Idle, true);
        assert_eq!(fleet.choose(b"", None, 0), Some(0));
    }

    #[test]
    fn a_key_keeps_its_variant_until_that_is_sick() {
        let fleet = fleet(&["http://h:1,variant=a", "http://h:2,variant=b", "http://h:3,variant=b"]);
        let key = (0..100_u32).map(u32::to_le_bytes).find(|k| fleet.choose(k, None, 0) == Some(0)).unwrap();
        let _busy: Vec<_> = (0..50).map(|_| InFlight::new(&fleet, 0)).collect();
        assert_eq!(fleet.choose(&key, None, 0), Some(0), "load does not move it");
        fleet.health(0, State::Stalled, false);
        assert_ne!(fleet.choose(&key, None, 0), Some(0));
        assert_eq!(fleet.variants()[1].weight, 2.0);
    }

    #[test]
    fn who_asked_for_rest_is_left_alone() {
        let fleet = fleet(&["http://h:1", "http://h:2"]);
        fleet.upstreams()[0].rest_until(1000);
        let _busy = InFlight::new(&fleet, 1);
        assert_eq!(fleet.choose(b"", None, 999), Some(1));
        assert_eq!(fleet.choose(b"", None, 1001), Some(0));
    }

    #[test]
    fn what_changes_is_told() {
        let fleet = fleet(&["http://h:1", "http://h:2"]);
        let (sender, events) = std::sync::mpsc::channel();
        fleet.tell(sender);
        for _ in 0..3 {
            fleet.outcome(1, false);
        }
        fleet.health(0, State::Stalled, false);
        let told: Vec<_> = events.try_iter().map(|e| (e.upstream, e.what)).collect();
        assert_eq!(
            told,
            [
                (1, What::Admission(Change::Ejected(Reason::Failures))),
                (0, What::Health(State::Stalled)),
                (0, What::Admission(Change::Ejected(Reason::Stalled))),
            ]
        );
    }

    #[test]
    fn nobody_is_sent_where_there_is_no_engine_and_a_new_one_starts_clean() {
        let fleet = fleet(&["http://h:1", "http://h:2"]);
        fleet.health(1, State::Dead, false);
        fleet.place(0, Place::Draining);
        assert_eq!((fleet.choose(b"", None, 0), fleet.has_other(1, 0)), (Some(1), false));
        fleet.place(1, Place::Absent);
        assert_eq!((fleet.choose(b"", None, 0), fleet.present().count()), (None, 1));
        fleet.health(1, State::Stalled, false);
        assert_eq!(fleet.upstreams()[1].state(), State::Dead, "what is not there has no health");
        fleet.place(1, Place::Present);
        let up = &fleet.upstreams()[1];
        assert_eq!((up.ejected(), up.state(), up.generation()), (None, State::Idle, 2));
        assert_eq!((fleet.choose(b"", None, 0), fleet.has_other(0, 0)), (Some(1), true));
    }

    #[test]
    fn a_missing_key_is_named() {
        let spec = Spec::parse("http://h,key-env=KEY_A").unwrap();
        let error = Fleet::new(vec![spec.clone()], Settings::default(), |_| None).unwrap_err();
        assert!(matches!(error, SpecError::Key { name } if name == "KEY_A"));
        let fleet = Fleet::new(vec![spec], Settings::default(), |_| Some(" k ".into())).unwrap();
        assert_eq!(fleet.upstreams()[0].key.as_deref(), Some("Bearer k"));
        assert!(!format!("{:?}", fleet.upstreams()[0].spec).contains("Bearer"));
    }
}
