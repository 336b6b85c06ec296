//! `stopwatt watch`: a proxy before one or more engines that sees whether they work, and asks another when they do not.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_engine::Token;
use stopwatt_ops::admission::{self, Change};
use stopwatt_ops::fleet::{self, Event, Fleet, Replica, What};
use stopwatt_ops::health::{self, Monitor, Pace};
use stopwatt_ops::machine::Watcher;
use stopwatt_ops::page::{Hub, Page, Sources};
use stopwatt_ops::proxy::{self, Deadlines, Running};
use stopwatt_ops::quality::Judge;
use stopwatt_ops::rules;
use stopwatt_ops::telemetry::Telemetry;
use stopwatt_ops::upstream::Spec;
use stopwatt_record::config::environment;

use super::Failure;
use super::bench::parse_time;
use crate::exit::Outcome;
use crate::stop::Signals;

/// Watch running engines: a proxy that fails over, health by progress, metrics for Prometheus
///
/// Requests to /v1/… go to the upstream that is well and least loaded; streams pass through as they come. An upstream
/// whose work does not advance gets no more requests, even when it answers /health. A request that fails before its
/// first token is sent to another upstream; a stream that breaks after it ends with an SSE error event, never with a
/// false end. / is a live page for a browser, /metrics is for Prometheus, /status shows the upstreams, /health says whether any is usable.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  stopwatt watch --upstream http://127.0.0.1:8000 --upstream http://127.0.0.1:8001
  stopwatt watch --upstream http://a:8000,variant=fp16,weight=9 --upstream http://b:8000,variant=fp8,weight=1
  stopwatt watch --upstream http://a:8000,key-env=ENGINE_KEY --listen 0.0.0.0:9000 --token-env PROXY_TOKEN
  stopwatt watch --backend-cmd 'llama-server -m model.gguf --port {port}' --replicas 1..3
  curl -s http://127.0.0.1:9000/metrics | grep stopwatt_ttft")]
pub(crate) struct WatchArgs {
    #[command(subcommand)]
    beside: Option<Beside>,
    /// An engine: its address, then name=…, variant=…, weight=…, key-env=VAR, auth=pass and gpu-hour=… after commas (repeatable)
    #[arg(long = "upstream", value_name = "URL[,…]", required_unless_present = "backend_cmd")]
    upstreams: Vec<String>,
    /// Where to listen; an address that is not loopback needs --token-env
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Environment variable with the token that requests must carry
    #[arg(long, value_name = "VAR")]
    token_env: Option<String>,
    /// PEM file with the authority of upstreams with https://, beside the system's
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Header whose value keeps a client at its variant
    #[arg(long, value_name = "HEADER", default_value = "x-session-id")]
    sticky_header: String,

    /// Longest time to open a connection to an upstream
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time, help_heading = "Deadlines")]
    connect_timeout: Duration,
    /// Longest time from sending a request to its first token
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time, help_heading = "Deadlines")]
    first_token_timeout: Duration,
    /// Longest silence inside a stream
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_time, help_heading = "Deadlines")]
    chunk_timeout: Duration,
    /// Longest time for a whole request
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_time, help_heading = "Deadlines")]
    timeout: Duration,
    /// How long streams may go on after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time, help_heading = "Deadlines")]
    drain: Duration,

    /// Work that does not advance for this long is stalled; more than the longest step of the engine
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time, help_heading = "Health")]
    stall_after: Duration,
    /// Time between two looks at an engine's /metrics
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = parse_time, help_heading = "Health")]
    check_every: Duration,
    /// Failures in a row after which an upstream gets no more requests
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Health")]
    eject_after: u32,

    /// Second attempts, in percent of all requests; one a second is allowed besides
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0, value_parser = percent, help_heading = "Second attempts")]
    retry_budget: f64,
    /// Ask another upstream as well when no token has come after this time
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Second attempts")]
    hedge_after: Option<Duration>,

    #[command(flatten)]
    scale: super::watch_scale::WatchScaleArgs,
    #[command(flatten)]
    cost: super::watch_cost::WatchCostArgs,
    #[command(flatten)]
    quality: super::watch_quality::WatchQualityArgs,
    #[command(flatten)]
    trace: super::watch_trace::WatchTraceArgs,
    #[command(flatten)]
    store: super::watch_store::WatchStoreArgs,
}

/// How long traces are sent when streams have used up the time to drain.
const LAST_TRACES: Duration = Duration::from_secs(1);

/// What stands beside the proxy.
#[derive(Debug, Subcommand)]
enum Beside {
    Rules(super::watch_rules::RulesArgs),
    Dashboard(super::watch_dashboard::DashboardArgs),
    Query(super::watch_query::QueryArgs),
    Signals(super::watch_signals::SignalsArgs),
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.trim_end_matches('%').parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err("a share is between 0 and 100".to_owned()) }
}

/// Runs the command.
pub(crate) fn run(args: &WatchArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    match &args.beside {
        Some(Beside::Rules(args)) => return super::watch_rules::run(args, out),
        Some(Beside::Dashboard(args)) => return super::watch_dashboard::run(args, out),
        Some(Beside::Query(args)) => return super::watch_query::run(args, out),
        Some(Beside::Signals(args)) => return super::watch_signals::run(args, out),
        None => {}
    }
    let mut specs = match args.scale.slots()? {
        Some(slots) => slots,
        None => {
            let specs: Result<Vec<Spec>, _> = args.upstreams.iter().map(|s| Spec::parse(s)).collect();
            specs.context("failed to read --upstream")?
        }
    };
    args.cost.apply(&mut specs)?;
    if let Some(file) = &args.ca_cert {
        let pem = std::fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
        for spec in specs.iter_mut().filter(|s| s.target.is_https()) {
            spec.target = spec.target.clone().with_ca_cert(&pem).context("failed to read --ca-cert")?;
        }
    }
    let token = match &args.token_env {
        None => None,
        Some(name) => {
            let token = environment::var(name).filter(|v| !v.is_empty()).ok_or_else(|| {
                let problem = anyhow::anyhow!("the environment variable {name} holds no token");
                Failure::new(Outcome::Configuration, problem)
            })?;
            Some(Token::new(token))
        }
    };
    let fleet_settings = fleet::Settings {
        admission: admission::Settings { failures: args.eject_after, ..admission::Settings::default() },
        retry_share: args.retry_budget / 100.0,
        ..fleet::Settings::default()
    };
    let fleet = Arc::new(Fleet::new(specs, fleet_settings, environment::var)?);
    let telemetry = Arc::new(Telemetry::new(fleet.upstreams().len()));
    let machine = Watcher::start().context("failed to start a thread")?;
    telemetry.add(machine.source());
    let judge = args.quality.start(&fleet)?;
    if let Some(judge) = &judge {
        telemetry.add(judge.source());
    }
    let traces = args.trace.start(&fleet)?;
    traces.announce(&telemetry);
    let store = args.store.open()?;
    if let Some((store, _)) = &store {
        let counts = store.counts();
        telemetry.add(Box::new(move |page, _| counts.render(page)));
    }
    let rules = rules::Settings::default().alerts().context("failed to make the default rules")?;
    let (scraped, of) = (Arc::clone(&telemetry), Arc::clone(&fleet));
    let scrape = Box::new(move || scraped.render(&of));
    let hub = Hub::start(Sources { fleet: Arc::clone(&fleet), scrape, rules, store })
        .context("failed to start a thread")?;
    let page = hub.page();
    let listening = proxy::bind(proxy::Settings {
        listen: args.listen,
        token,
        deadlines: Deadlines {
            connect: args.connect_timeout,
            first_token: args.first_token_timeout,
            between_chunks: args.chunk_timeout,
            total: args.timeout,
        },
        hedge_after: args.hedge_after,
        sticky_header: args.sticky_header.to_ascii_lowercase(),
        drain: args.drain,
        keepers: judge.iter().map(Judge::keeper).chain(traces.keeper()).collect(),
        tracing: traces.tracing(),
        feedback: traces.feedback(),
        page: Some(page.clone()),
        ..proxy::Settings::default()
    })?;
    let running = Running::new();
    let on_signal = running.clone();
    let signals = Signals::install(move || on_signal.stop())?;
    let (sender, events) = channel();
    fleet.tell(sender);
    let observers = traces.observers().into_iter().chain([page.observer(Arc::clone(&fleet))]).collect();
    let names = fleet.upstreams().iter().map(|u| u.spec.name.clone()).collect();
    std::thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || tell(&events, names, &page))
        .context("failed to start a thread")?;
    let replicas = args.scale.start(&fleet, &telemetry, args.drain)?;
    let health = health::Settings { stall_after: args.stall_after, ..health::Settings::default() };
    let pace = Pace { every: args.check_every, ..Pace::default() };
    let monitor =
        Monitor::start(&fleet, &telemetry, health, pace).context("failed to start the health monitor")?;
    let count = fleet.upstreams().len();
    let upstreams = if count == 1 { "upstream" } else { "upstreams" };
    let most = if replicas.is_some() { "up to " } else { "" };
    writeln!(out, "watching {most}{count} {upstreams} at http://{}", listening.addr)?;
    out.flush()?;
    listening.run(Arc::clone(&fleet), telemetry, observers, &running)?;
    // Streams and traces share the time to drain; traces get a moment of their own.
    let moment = monotonic_raw() + LAST_TRACES.as_nanos() as Nanos;
    traces.end(running.deadline(args.drain).max(moment));
    drop(monitor);
    // Their requests have ended, or were cut.
    drop(replicas);
    // It writes what the store has not written yet.
    drop(hub);
    // Ctrl-C is how a proxy is ended; it did what it was asked.
    let _ = signals.outcome();
    Ok(Outcome::Done)
}

/// Says on standard error what changes, and on the page.
fn tell(events: &Receiver<Event>, names: Vec<String>, page: &Page) {
    for event in events {
        page.event(event);
        let what = match event.what {
            What::Health(state) => format!("is {}", state.name()),
            What::Admission(Change::Ejected(reason)) => format!("gets no more requests ({})", reason.name()),
            What::Admission(Change::Admitted) => "gets requests again".to_owned(),
            What::Replica(replica) => match replica {
                Replica::Starting => "is started",
                Replica::Ready => "is ready",
                Replica::Failed => "did not come up",
                Replica::Died => "ended by itself",
                Replica::Draining => "gets no more requests (not needed)",
                Replica::Stopped => "was ended",
            }
            .to_owned(),
        };
        eprintln!("{} {what}", names[event.upstream]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_in_percent() {
        assert_eq!((percent("10"), percent("2.5%")), (Ok(10.0), Ok(2.5)));
        assert!(percent("101").is_err() && percent("x").is_err());
    }
}
