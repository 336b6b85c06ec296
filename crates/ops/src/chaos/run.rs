//! The procedure: load before, during and after a fault, again and again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::{Clock, EndKind, Nanos, Phase, RequestRecord};
use stopwatt_load::{Drain, Job, Limits, LoadError, Pace as LoadPace, Path, Stop, Target, TargetError};
use stopwatt_wire::openai::{Options, Prompt, Template};
use tokio::sync::watch;

use super::fault::Fault;
use super::gate::Gate;
use super::report::{ChaosReport, FaultReport, Repeat};
use crate::admission::Change;
use crate::fleet::{self, Event, Fleet, What};
use crate::health::{self, Monitor};
use crate::proxy::{self, Deadlines, ProxyError, Running};
use crate::telemetry::Telemetry;
use crate::upstream::{Spec, SpecError};

/// An engine behind a gate.
pub trait Backend {
    /// Where it listens now.
    fn addr(&self) -> SocketAddr;
    /// Its process; `None` when that is not ours to stop.
    fn pid(&self) -> Option<u32>;
    /// Starts it anew after it was killed. `Err` says why that cannot be.
    fn restart(&mut self) -> io::Result<()>;
}

/// Starts another program before the gates at these addresses, and gives the address to ask. What it returns ends the
/// program when it is dropped.
pub type Start<'a> = dyn Fn(&[SocketAddr]) -> io::Result<(SocketAddr, Box<dyn Send>)> + 'a;

/// What stands between the load and the gates.
pub enum Proxied<'a> {
    /// Stopwatt's own proxy, in this process.
    Own,
    /// Another program, by its name.
    Other(&'a str, Box<Start<'a>>),
}

/// How much load, and for how long.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which faults.
    pub faults: Vec<Fault>,
    /// How often each.
    pub repeats: u32,
    /// Requests a second.
    pub rate: f64,
    /// Tokens of each stream.
    pub tokens: u32,
    /// Load before the fault, and after it.
    pub around: Duration,
    /// How long a fault lasts.
    pub fault: Duration,
    /// After this time a client gives up.
    pub deadline: Duration,
    /// Deadlines of Stopwatt's own proxy.
    pub proxy: Deadlines,
    /// Seed.
    pub seed: u64,
    /// Model that requests name.
    pub model: String,
}

/// Why faults cannot be injected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChaosError {
    /// A socket or a thread.
    #[error("failed to set up a gate or the program under test")]
    Setup(#[from] io::Error),
    /// The proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// An upstream.
    #[error(transparent)]
    Upstream(#[from] SpecError),
    /// The load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The address of the load.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A fault needs a process.
    #[error("`{}` needs the process of an engine", .0.name())]
    NoProcess(Fault),
    /// Nothing answers without a fault.
    #[error("nothing was answered without a fault")]
    Nothing,
}

/// Runs every fault and reports. `progress` is told before each repeat.
///
/// # Errors
/// What is tested cannot be set up, or answers nothing even without a fault.
pub fn run(
    settings: &Settings,
    backends: &mut [Box<dyn Backend>],
    proxied: &Proxied<'_>,
    stop: &Stop,
    mut progress: impl FnMut(Fault, u32),
) -> Result<ChaosReport, ChaosError> {
    let mut faults = Vec::new();
    for fault in &settings.faults {
        if fault.needs_process() && backends.first().is_none_or(|b| b.pid().is_none()) {
            return Err(ChaosError::NoProcess(*fault));
        }
        let mut repeats = Vec::new();
        for n in 0..settings.repeats {
            if stop.is_interrupted() {
                break;
            }
            progress(*fault, n);
            repeats.push(repeat(settings, *fault, n, backends, proxied, stop)?);
        }
        if *fault == Fault::None && !repeats.is_empty() && repeats.iter().all(|r| r.answered == 0) {
            return Err(ChaosError::Nothing);
        }
        if !repeats.is_empty() {
            faults.push(FaultReport::of(*fault, &repeats));
        }
    }
    Ok(ChaosReport {
        format: 1,
        proxy: match proxied {
            Proxied::Own => "stopwatt".to_owned(),
            Proxied::Other(name, _) => (*name).to_owned(),
        },
        backends: u32::try_from(backends.len()).unwrap_or(u32::MAX),
        rate: settings.rate,
        tokens: settings.tokens,
        fault_s: settings.fault.as_secs_f64(),
        deadline_s: settings.deadline.as_secs_f64(),
        seed: settings.seed,
        faults,
    })
}

/// Stopwatt's own proxy with what it tells.
struct Own {
    running: Running,
    thread: Option<std::thread::JoinHandle<Result<(), ProxyError>>>,
    _monitor: Monitor,
    telemetry: Arc<Telemetry>,
    events: Receiver<Event>,
}

impl Own {
    fn start(gates: &[SocketAddr], deadlines: Deadlines) -> Result<(Self, SocketAddr), ChaosError> {
        let specs: Result<Vec<Spec>, _> = gates.iter().map(|a| Spec::parse(&format!("http://{a}"))).collect();
        let fleet = Arc::new(Fleet::new(specs?, fleet::Settings::default(), |_| None)?);
        let telemetry = Arc::new(Telemetry::new(gates.len()));
        let (sender, events) = channel();
        fleet.tell(sender);
        let settings = proxy::Settings { deadlines, drain: Duration::ZERO, ..proxy::Settings::default() };
        let listening = proxy::bind(settings)?;
        let addr = listening.addr;
        let running = Running::new();
        let monitor =
            Monitor::start(&fleet, &telemetry, health::Settings::default(), health::Pace::default())?;
        let (t, r) = (Arc::clone(&telemetry), running.clone());
        let thread = std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || listening.run(fleet, t, Vec::new(), &r))?;
        Ok((Self { running, thread: Some(thread), _monitor: monitor, telemetry, events }, addr))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.running.stop();
        if let Some(thread) = self.thread.take() {
            // Its measurement is over.
            let _ = thread.join();
        }
    }
}

fn repeat(
    settings: &Settings,
    fault: Fault,
    n: u32,
    backends: &mut [Box<dyn Backend>],
    proxied: &Proxied<'_>,
    stop: &Stop,
) -> Result<Repeat, ChaosError> {
    let mut engines = Vec::new();
    let mut gates = Vec::new();
    for backend in backends.iter() {
        let (engine, at) = watch::channel(backend.addr());
        gates.push(Gate::start(at, settings.seed ^ (u64::from(n) << 32))?);
        engines.push(engine);
    }
    let addrs: Vec<SocketAddr> = gates.iter().map(|g| g.addr).collect();
    let (own, addr, other) = match proxied {
        Proxied::Own => {
            let (own, addr) = Own::start(&addrs, settings.proxy)?;
            (Some(own), addr, None)
        }
        Proxied::Other(_, start) => {
            let (addr, guard) = start(&addrs)?;
            (None, addr, Some(guard))
        }
    };
    let target = Target::parse(&format!("http://{addr}"))?;
    let (around, lasts) = (settings.around, settings.fault);
    let clock = Clock::start();
    let limits = Limits {
        connect_timeout: Duration::from_secs(2),
        idle_timeout: settings.deadline,
        total_timeout: settings.deadline,
        drain: Drain::Wait,
        ..Limits::default()
    };
    // What the thread of the faults does to the backends comes back with it.
    let (records, (from, to)) = std::thread::scope(|scope| {
        let load = scope.spawn(|| load(settings, &target, &limits, clock, stop));
        sleep(around, stop);
        let from = clock.now();
        begin(fault, &gates, backends[0].as_ref());
        sleep(lasts, stop);
        let restarted = end(fault, &gates, &mut backends[0]);
        engines[0].send_replace(backends[0].addr());
        let to = clock.now();
        let records = load.join().unwrap_or_else(|_| Ok(Vec::new()));
        restarted?;
        Ok::<_, ChaosError>((records?, (from, to)))
    })?;
    let mut found = count(&records, (from, to));
    match own {
        Some(own) => {
            let events: Vec<Event> = own.events.try_iter().collect();
            see(&mut found, fault, &events, clock, (from, to));
            found.retried = Some(own.telemetry.second_attempts());
        }
        None if fault != Fault::None => {
            // From outside: the last request that reached the sick backend, if it was then left alone for a second.
            let last = gates[0].last_request().map(|at| clock.from_raw(at));
            found.eject_s =
                last.filter(|at| (from..to - 1_000_000_000).contains(at)).map(|at| seconds(at - from));
        }
        None => {}
    }
    drop((other, gates));
    Ok(found)
}

fn sleep(time: Duration, stop: &Stop) {
    let until = monotonic_raw() + Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX / 2);
    while monotonic_raw() < until && !stop.is_interrupted() {
        let left = Duration::from_nanos((until - monotonic_raw()).max(0).unsigned_abs());
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

fn begin(fault: Fault, gates: &[Gate], backend: &dyn Backend) {
    match fault {
        Fault::Sigstop => signal(backend.pid(), rustix::process::Signal::STOP),
        Fault::Sigkill => signal(backend.pid(), rustix::process::Signal::KILL),
        Fault::AllDown => gates.iter().for_each(|g| g.set(fault)),
        _ => gates[0].set(fault),
    }
}

fn end(fault: Fault, gates: &[Gate], backend: &mut Box<dyn Backend>) -> io::Result<()> {
    match fault {
        Fault::Sigstop => signal(backend.pid(), rustix::process::Signal::CONT),
        Fault::Sigkill => return backend.restart(),
        _ => gates.iter().for_each(|g| g.set(Fault::None)),
    }
    Ok(())
}

fn signal(pid: Option<u32>, signal: rustix::process::Signal) {
    let pid = pid.and_then(|p| i32::try_from(p).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // A process that has ended needs no signal.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// A steady open loop over the whole repeat.
fn load(
    settings: &Settings,
    target: &Target,
    limits: &Limits,
    clock: Clock,
    stop: &Stop,
) -> Result<Vec<RequestRecord>, LoadError> {
    let whole = settings.around * 2 + settings.fault;
    let total = (whole.as_secs_f64() * settings.rate).floor() as u64;
    let gap = 1e9 / settings.rate;
    let options = Options {
        model: settings.model.clone(),
        stream: true,
        include_usage: true,
        ignore_eos: true,
        ..Options::default()
    };
    let template = Template::new(&options).unwrap_or_else(|_| unreachable!("no extra keys were given"));
    let tokens = settings.tokens;
    let mut jobs = |id: u64| {
        (id < total).then(|| Job {
            id,
            point: 0,
            trial: 0,
            phase: Phase::Measure,
            session: None,
            turn: None,
            input_asked: 8,
            output_asked: tokens,
            path: Path::Completions,
            body: template.completions(Prompt::Text("one two three four five six seven"), tokens),
        })
    };
    let arrivals = Box::new((0..total).map(move |n| (n as f64 * gap) as Nanos));
    let mut records = Vec::new();
    stopwatt_load::run(
        target,
        LoadPace::Open { arrivals, max_in_flight: None },
        &mut jobs,
        limits,
        stop,
        clock,
        &mut |done| records.push(done.record),
    )?;
    Ok(records)
}

/// What clients saw.
fn count(records: &[RequestRecord], (from, to): (Nanos, Nanos)) -> Repeat {
    let mut found = Repeat { sent: u32::try_from(records.len()).unwrap_or(u32::MAX), ..Repeat::default() };
    let (mut during, mut good) = (0_u32, 0_u32);
    for r in records {
        let inside = r.dispatched_ns.is_some_and(|at| (from..to).contains(&at));
        during += u32::from(inside);
        let began = r.chunks.iter().any(|c| c.kind.is_token());
        match r.end {
            EndKind::Ok => {
                found.answered += 1;
                good += u32::from(inside);
            }
            EndKind::Timeout | EndKind::IdleTimeout => found.late += 1,
            EndKind::StreamError if began => found.marked += 1,
            _ if began => found.cut += 1,
            _ => found.lost += 1,
        }
    }
    found.goodput = (during > 0).then(|| f64::from(good) / f64::from(during));
    found
}

/// What Stopwatt's own proxy says that it knew and did.
fn see(found: &mut Repeat, fault: Fault, events: &[Event], clock: Clock, (from, to): (Nanos, Nanos)) {
    let is_victim = |e: &Event| e.upstream == 0 || fault == Fault::AllDown;
    let at = |e: &Event| clock.from_raw(e.at);
    let knows = |e: &Event| match e.what {
        What::Health(state) => state.is_sick(),
        What::Admission(change) => matches!(change, Change::Ejected(_)),
        What::Replica(_) => false,
    };
    let ejects = |e: &Event| matches!(e.what, What::Admission(Change::Ejected(_)));
    let since = |e: &&Event, t: Nanos| at(e) >= t;
    if fault != Fault::None {
        let mut after = events.iter().filter(|e| is_victim(e) && since(e, from));
        found.detect_s = after.clone().find(|e| knows(e)).map(|e| seconds(at(e) - from));
        found.eject_s = after.find(|e| ejects(e)).map(|e| seconds(at(e) - from));
        let admitted = |e: &&Event| e.what == What::Admission(Change::Admitted);
        let last = events.iter().filter(|e| is_victim(e) && since(e, to)).find(admitted);
        found.recover_s = last.filter(|_| found.eject_s.is_some()).map(|e| seconds(at(e) - to));
    }
    let innocent = |e: &&Event| fault == Fault::None || !is_victim(e);
    let n = events.iter().filter(|e| ejects(e)).filter(innocent).count();
    found.false_ejections = Some(u32::try_from(n).unwrap_or(u32::MAX));
}

fn seconds(ns: Nanos) -> f64 {
    ns as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Reason;
    use crate::health::State;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn times_count_from_the_fault_and_from_its_end() {
        let clock = Clock { t0_monotonic_ns: 0, t0_unix_ns: 0 };
        let event = |at: Nanos, upstream, what| Event { at: at * SECOND, upstream, what };
        let ejected = What::Admission(Change::Ejected(Reason::Stalled));
        let events = [
            event(1, 1, ejected),
            event(6, 0, What::Health(State::Stalled)),
            event(7, 0, ejected),
            event(12, 0, What::Admission(Change::Admitted)),
        ];
        let mut found = Repeat::default();
        see(&mut found, Fault::Stall, &events, clock, (5 * SECOND, 10 * SECOND));
        assert_eq!((found.detect_s, found.eject_s, found.recover_s), (Some(1.0), Some(2.0), Some(2.0)));
        assert_eq!(found.false_ejections, Some(1), "the other backend was well");
        let mut control = Repeat::default();
        see(&mut control, Fault::None, &events, clock, (5 * SECOND, 10 * SECOND));
        assert_eq!((control.detect_s, control.false_ejections), (None, Some(2)));
    }
}
