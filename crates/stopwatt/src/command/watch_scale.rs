//! Engines that `stopwatt watch` starts and ends itself.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use stopwatt_ops::fleet::Fleet;
use stopwatt_ops::scale::{Guarded, Policy, Replicas, Settings};
use stopwatt_ops::telemetry::Telemetry;
use stopwatt_ops::upstream::Spec;

use super::Failure;
use super::bench::parse_time;
use crate::exit::Outcome;

/// Replicas at most.
const MOST: usize = 64;

// No doc comment: clap would show it in place of the command's own.
#[derive(Debug, Args)]
pub(crate) struct WatchScaleArgs {
    /// Start engines with this command, instead of --upstream: no shell sees it, {port} is the port to serve at
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["upstreams", "gpu_hour", "price"], help_heading = "Engines of its own")]
    backend_cmd: Option<String>,
    /// How many of them, by the load
    #[arg(long, value_name = "MIN..MAX", default_value = "1..1", value_parser = range, requires = "backend_cmd", conflicts_with = "upstreams", help_heading = "Engines of its own")]
    replicas: (usize, usize),
    /// Longest time until one answers a health check; then it is ended and tried again later
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = parse_time, requires = "backend_cmd", conflicts_with = "upstreams", help_heading = "Engines of its own")]
    backend_ready: Duration,
    /// Requests a ready engine, computed and waiting, above which another is started
    #[arg(long, value_name = "N", default_value_t = 8.0, value_parser = load, requires = "backend_cmd", conflicts_with = "upstreams", help_heading = "Engines of its own")]
    scale_up_at: f64,
    /// How long they must be above it all the time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time, requires = "backend_cmd", conflicts_with = "upstreams", help_heading = "Engines of its own")]
    scale_up_for: Duration,
    /// How long one engine fewer must have carried at most half of that before one is ended
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_time, requires = "backend_cmd", conflicts_with = "upstreams", help_heading = "Engines of its own")]
    scale_down_after: Duration,
}

fn range(text: &str) -> Result<(usize, usize), String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let number = |t: &str| t.trim().parse::<usize>().map_err(|_| format!("`{t}` is not a number"));
    match (number(least)?, number(most)?) {
        (least, most) if 1 <= least && least <= most && most <= MOST => Ok((least, most)),
        _ => Err(format!("write MIN..MAX with 1 ≤ MIN ≤ MAX ≤ {MOST}")),
    }
}

fn load(text: &str) -> Result<f64, String> {
    let load: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if load.is_finite() && load > 0.0 { Ok(load) } else { Err("a load is above 0".to_owned()) }
}

impl WatchScaleArgs {
    /// A slot for each replica, with a port of its own; `None` without a command.
    pub(crate) fn slots(&self) -> anyhow::Result<Option<Vec<Spec>>> {
        if self.backend_cmd.is_none() {
            return Ok(None);
        }
        // All are held until every slot has one, so that no two get the same.
        let held: Result<Vec<TcpListener>, _> =
            (0..self.replicas.1).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
        let held = held.context("failed to find free ports")?;
        let slots = held.iter().enumerate().map(|(i, held)| {
            let port = held.local_addr().context("failed to find free ports")?.port();
            Ok(Spec::parse(&format!("http://127.0.0.1:{port},name=replica-{i}"))?)
        });
        slots.collect::<anyhow::Result<_>>().map(Some)
    }

    /// Starts the fewest of them and goes by the load from then on. `drain` is how long requests may go on at one that
    /// is to end.
    pub(crate) fn start(
        &self,
        fleet: &Arc<Fleet>,
        telemetry: &Telemetry,
        drain: Duration,
    ) -> anyhow::Result<Option<Replicas>> {
        let Some(command) = &self.backend_cmd else { return Ok(None) };
        let wrong = |problem: &'static str, hint: &'static str| {
            Failure::new(Outcome::Configuration, anyhow::anyhow!("--backend-cmd: {problem}")).hint(hint)
        };
        let words = shlex::split(command).filter(|w| !w.is_empty()).ok_or_else(|| {
            wrong("it is empty, or a quotation mark is not closed", "write it as in a shell")
        })?;
        if !words.iter().any(|w| w.contains("{port}")) {
            let hint = "say where the engine is to serve: --backend-cmd 'llama-server --port {port}'";
            return Err(wrong("it has no place for the port", hint).into());
        }
        let program = std::env::current_exe().context("failed to find this program's own file")?;
        let (least, most) = self.replicas;
        let policy = Policy {
            least,
            most,
            up_at: self.scale_up_at,
            up_for: self.scale_up_for,
            down_after: self.scale_down_after,
        };
        let settings = Settings { policy, ready_within: self.backend_ready, drain };
        let replicas = Replicas::start(fleet, settings, Box::new(Guarded { program, words }))
            .context("failed to start a thread")?;
        telemetry.add(replicas.source());
        Ok(Some(replicas))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_a_range() {
        assert_eq!((range("1..4"), range("2")), (Ok((1, 4)), Ok((2, 2))));
        for bad in ["", "0..2", "3..2", "1..65", "a..b", "1.."] {
            assert!(range(bad).is_err(), "{bad}");
        }
        assert!(load("0").is_err() && load("NaN").is_err() && load("0.5").is_ok());
    }
}
