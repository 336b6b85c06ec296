//! `stopwatt chaos`: faults on purpose, and what a proxy makes of them.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use stopwatt_core::metrics_doc::Estimate;
use stopwatt_experiment::bench::EngineChild;
use stopwatt_load::{Stop, Target};
use stopwatt_ops::chaos::{self, Backend, ChaosReport, Fault, Proxied, Settings};
use stopwatt_ops::proxy::Deadlines;
use stopwatt_wire::openai;

use super::bench::parse_time;
use super::{Failure, Format};
use crate::exit::Outcome;
use crate::stop::Signals;

/// Inject faults and measure what the proxy makes of them
///
/// One fault after another strikes the first backend under a steady load: how long until it is found, ejected and taken
/// back, and how many requests are lost, cut or late. Without --backend, exact engines are started; without --router-cmd, Stopwatt's own
/// proxy is tested. Each fault is repeated with a new proxy; `none` is the control.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt chaos
  stopwatt chaos --faults none,stall,reset,sigstop --repeats 3 --format json
  stopwatt chaos --backend http://127.0.0.1:8000,pid=4711 --backend http://127.0.0.1:8001
  stopwatt chaos --router-cmd 'vllm-router --worker-urls {upstreams} --host 127.0.0.1 --port {port}'")]
pub(crate) struct ChaosArgs {
    /// Faults to inject, between commas [default: all]
    #[arg(long, value_name = "FAULT,…", value_delimiter = ',', value_parser = fault)]
    faults: Vec<Fault>,
    /// List the faults and what they do
    #[arg(long)]
    list: bool,
    /// Repetitions of each fault: the unit of every interval
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// Seed of delays
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// An engine that runs already, with the process that sigstop may stop: URL[,pid=N] (repeatable)
    #[arg(long = "backend", value_name = "URL", help_heading = "What is tested")]
    backends: Vec<String>,
    /// Exact engines to start when none is named
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "What is tested")]
    engines: u32,
    /// Another proxy to test: its command, with {upstreams} for the addresses of the backends and {port} for its port
    #[arg(long, value_name = "COMMAND", help_heading = "What is tested")]
    router_cmd: Option<String>,

    /// Requests a second
    #[arg(long, value_name = "R", default_value_t = 20.0, value_parser = rate, help_heading = "Load")]
    rate: f64,
    /// Tokens of each stream
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Load")]
    tokens: u32,
    /// Load before the fault, and after it
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = parse_time, help_heading = "Load")]
    around: Duration,
    /// How long a fault lasts
    #[arg(long, value_name = "TIME", default_value = "6s", value_parser = parse_time, help_heading = "Load")]
    fault: Duration,
    /// After this time a client gives up
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time, help_heading = "Load")]
    deadline: Duration,

    /// Longest time from sending a request to its first token, of Stopwatt's own proxy
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = parse_time, help_heading = "Proxy")]
    first_token_timeout: Duration,
    /// Longest silence inside a stream, of Stopwatt's own proxy
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time, help_heading = "Proxy")]
    chunk_timeout: Duration,
}

fn fault(text: &str) -> Result<Fault, String> {
    Fault::from_name(text).ok_or_else(|| "not a fault; --list shows them".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("a rate is above 0".to_owned()) }
}

/// Runs the command.
pub(crate) fn run(args: &ChaosArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if args.list {
        for fault in Fault::ALL {
            writeln!(out, "{:<16} {}", fault.name(), fault.meaning().trim())?;
        }
        return Ok(Outcome::Done);
    }
    let stop = Stop::new();
    let on_signal = stop.clone();
    let signals = Signals::install(move || on_signal.interrupt())?;
    let mut backends = backends(args)?;
    let faults = if args.faults.is_empty() {
        let owned = backends.first().is_some_and(|b| b.pid().is_some());
        // A killed engine of somebody else cannot be started again.
        let can = |f: &&Fault| match f {
            Fault::Sigstop => owned,
            Fault::Sigkill => args.backends.is_empty(),
            _ => true,
        };
        Fault::ALL.iter().filter(can).copied().collect()
    } else {
        args.faults.clone()
    };
    if faults.contains(&Fault::Sigkill) && !args.backends.is_empty() {
        let problem = anyhow::anyhow!("sigkill needs an engine that can be started again");
        let failure = Failure::new(Outcome::Configuration, problem);
        return Err(failure.hint("leave --backend out, or sigkill").into());
    }
    let settings = Settings {
        model: model(backends[0].addr())?,
        faults,
        repeats: args.repeats,
        rate: args.rate,
        tokens: args.tokens,
        around: args.around,
        fault: args.fault,
        deadline: args.deadline,
        proxy: Deadlines {
            first_token: args.first_token_timeout,
            between_chunks: args.chunk_timeout,
            total: args.deadline,
            ..Deadlines::default()
        },
        seed: args.seed,
    };
    let proxied = match &args.router_cmd {
        None => Proxied::Own,
        Some(command) => {
            let name = command.split_whitespace().next().unwrap_or("router");
            let name = name.rsplit('/').next().unwrap_or(name);
            Proxied::Other(name, Box::new(move |gates| start_router(command, gates)))
        }
    };
    let total = settings.faults.len() as u32 * settings.repeats;
    let mut done = 0;
    let report = chaos::run(&settings, &mut backends, &proxied, &stop, |fault, n| {
        done += 1;
        eprintln!("{done}/{total}: {} ({} of {})", fault.name(), n + 1, settings.repeats);
    })?;
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        Format::Table => table(&report, out)?,
        Format::Csv => csv(&report, out)?,
    }
    Ok(signals.outcome().unwrap_or(Outcome::Done))
}

/// The columns: name, unit and value.
type Column = (&'static str, fn(&chaos::FaultReport) -> &Estimate);
const COLUMNS: [Column; 12] = [
    ("detect_s", |f| &f.detect_s),
    ("eject_s", |f| &f.eject_s),
    ("recover_s", |f| &f.recover_s),
    ("sent", |f| &f.sent),
    ("answered", |f| &f.answered),
    ("lost", |f| &f.lost),
    ("marked", |f| &f.marked),
    ("cut", |f| &f.cut),
    ("late", |f| &f.late),
    ("retried", |f| &f.retried),
    ("goodput", |f| &f.goodput),
    ("false_ejections", |f| &f.false_ejections),
];

fn table(report: &ChaosReport, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{} before {} backends, {} requests/s of {} tokens, faults of {} s; means of a repeat, ± half of the 95 % interval\n",
        report.proxy, report.backends, report.rate, report.tokens, report.fault_s
    )?;
    write!(out, "{:<16}", "fault")?;
    for (name, _) in &COLUMNS {
        write!(out, " {name:>15}")?;
    }
    writeln!(out)?;
    for fault in &report.faults {
        write!(out, "{:<16}", fault.fault.name())?;
        for (_, value) in &COLUMNS {
            write!(out, " {:>15}", cell(value(fault)))?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "\nlost: failed without a token. marked: broke later and ended with an error event. cut: broke later without a \
         word. late: reached the client's deadline of {} s.",
        report.deadline_s
    )
}

fn cell(estimate: &Estimate) -> String {
    let Some(value) = estimate.value else { return "–".to_owned() };
    match &estimate.interval {
        Some(i) if i.hi > i.lo => format!("{value:.2} ± {:.2}", (i.hi - i.lo) / 2.0),
        _ => format!("{value:.2}"),
    }
}

fn csv(report: &ChaosReport, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "fault,repeats,metric,value,lo,hi,reason")?;
    for fault in &report.faults {
        for (name, value) in &COLUMNS {
            let e = value(fault);
            let number = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
            let (lo, hi) = (e.interval.as_ref().map(|i| i.lo), e.interval.as_ref().map(|i| i.hi));
            let reason = super::csv_field(e.reason.as_deref().unwrap_or_default());
            let (value, lo, hi) = (number(e.value), number(lo), number(hi));
            writeln!(out, "{},{},{name},{value},{lo},{hi},{reason}", fault.fault.name(), fault.repeats)?;
        }
    }
    Ok(())
}

/// An exact engine of ours, which can be killed and started again.
struct Exact {
    child: Option<EngineChild>,
}

impl Exact {
    fn start() -> anyhow::Result<EngineChild> {
        let program = std::env::current_exe().context("failed to find this program's own file")?;
        let mut command = Command::new(program);
        command.args(["serve", "--kind", "exact", "--port", "0", "--exit-with-parent"]);
        Ok(EngineChild::spawn(command, false)?)
    }
}

impl Backend for Exact {
    fn addr(&self) -> SocketAddr {
        let url = self.child.as_ref().map(|c| c.ready.url.as_str()).unwrap_or_default();
        let addr = url.strip_prefix("http://").and_then(|a| a.parse().ok());
        addr.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    }

    fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(EngineChild::pid)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.child = None;
        self.child = Some(Self::start().map_err(io::Error::other)?);
        Ok(())
    }
}

/// An engine of somebody else.
struct Running {
    addr: SocketAddr,
    pid: Option<u32>,
}

impl Backend for Running {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn pid(&self) -> Option<u32> {
        self.pid
    }

    fn restart(&mut self) -> io::Result<()> {
        Err(io::Error::other("it was not started here"))
    }
}

fn backends(args: &ChaosArgs) -> anyhow::Result<Vec<Box<dyn Backend>>> {
    let mut found: Vec<Box<dyn Backend>> = Vec::new();
    if args.backends.is_empty() {
        for _ in 0..args.engines {
            found.push(Box::new(Exact { child: Some(Exact::start()?) }));
        }
        return Ok(found);
    }
    for text in &args.backends {
        let (url, setting) = text.split_once(',').unwrap_or((text, ""));
        let pid = match setting.split_once('=') {
            None if setting.is_empty() => None,
            Some(("pid", pid)) => Some(pid.parse().with_context(|| format!("failed to read `{text}`"))?),
            _ => anyhow::bail!("`{text}`: after the comma stands pid=N"),
        };
        let target = Target::parse(url).with_context(|| format!("failed to read `{url}`"))?;
        let mut addrs =
            (target.host(), target.port()).to_socket_addrs().context("failed to resolve a backend")?;
        let addr = addrs.next().with_context(|| format!("`{url}` has no address"))?;
        found.push(Box::new(Running { addr, pid }));
    }
    Ok(found)
}

/// The model that a backend serves.
fn model(addr: SocketAddr) -> anyhow::Result<String> {
    let target = Target::parse(&format!("http://{addr}"))?;
    let answer = stopwatt_load::get(&target, "/v1/models", Duration::from_secs(5))
        .context("failed to ask the first backend for its models")?;
    let first = openai::models(&answer.body).ok().and_then(|m| m.into_iter().next());
    Ok(first.context("the first backend names no model")?.id)
}

/// Ends a program when it is dropped.
struct Router(Child);

impl Drop for Router {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_router(command: &str, gates: &[SocketAddr]) -> io::Result<(SocketAddr, Box<dyn Send>)> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let urls: Vec<String> = gates.iter().map(|g| format!("http://{g}")).collect();
    let line = command.replace("{upstreams}", &urls.join(" ")).replace("{port}", &port.to_string());
    let words = shlex::split(&line).ok_or_else(|| io::Error::other("--router-cmd has an open quote"))?;
    let (program, arguments) =
        words.split_first().ok_or_else(|| io::Error::other("--router-cmd is empty"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(Router)?;
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let target = Target::parse(&format!("http://{addr}")).map_err(io::Error::other)?;
    for _ in 0..600 {
        if let Some(status) = child.0.try_wait()? {
            return Err(io::Error::other(format!("{program} ended before it answered ({status})")));
        }
        // It answers once it knows its backends.
        if TcpStream::connect(addr).is_ok()
            && stopwatt_load::get(&target, "/v1/models", Duration::from_secs(1))
                .is_ok_and(|r| r.status == 200)
        {
            return Ok((addr, Box::new(child)));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(io::Error::other(format!("{program} did not answer within a minute")))
}
