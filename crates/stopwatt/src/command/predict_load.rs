//! The load of `stopwatt predict`, by the flags of `stopwatt bench` and through its settings.

use clap::Args;
use stopwatt_experiment::bench::{ArrivalKind, BenchConfig, Sending, offline};
use stopwatt_predict::simulate::{Load, MOST_REQUESTS};
use stopwatt_record::config::Layers;
use stopwatt_serving::trace::Turn;
use stopwatt_serving::workload::{Length, Recorded, Workload};

use super::Failure;
use super::bench::{Arrival, parse_time};
use super::workload_flags::WorkloadFlags;
use crate::exit::Outcome;

/// Prompt tokens where nothing says how many.
const INPUT: &str = "1024";
/// Output tokens where nothing says how many.
const OUTPUT: &str = "128";
/// Requests at a rate where nothing says how many.
const REQUESTS_AT_A_RATE: u64 = 300;

/// What is asked of the engine, and when.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(super) struct LoadFlags {
    /// Workload profile (chat, document, medical-ocr, …) or a file of the same form, as `bench --workload`
    #[arg(long, value_name = "PROFILE")]
    workload: Option<String>,
    /// Prompt lengths in tokens: N, LO:HI, or as `bench --input` [default: 1024, or those of --workload]
    #[arg(long, visible_alias = "isl", value_name = "LENGTH")]
    input: Option<String>,
    /// Output lengths in tokens [default: 128, or those of --workload]
    #[arg(long, visible_alias = "osl", value_name = "LENGTH")]
    output: Option<String>,
    /// Clients of a closed loop [default: 1 where no rate is given]
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    concurrency: Option<u32>,
    /// Requests a second; of a ramp, at its begin
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Arrival process; a rate alone means poisson, a concurrency alone closed
    #[arg(long, value_enum)]
    arrival: Option<Arrival>,
    /// Requests a second at the end of a ramp
    #[arg(long, value_name = "R")]
    rate_end: Option<f64>,
    /// Shape of gamma arrivals: 1 is poisson, below 1 comes in bursts
    #[arg(long, value_name = "X")]
    burstiness: Option<f64>,
    /// Requests to simulate [default: three for each client, 300 at a rate, all of a trace]
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    requests: Option<u64>,
    /// Send requests for so long, for instance 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    duration: Option<std::time::Duration>,
    #[command(flatten)]
    recorded: WorkloadFlags,
}

/// A load as it was asked for.
pub(super) struct Asked {
    pub(super) workload: Workload,
    pub(super) load: Load,
    pub(super) requests: u32,
    pub(super) duration_s: Option<f64>,
}

impl LoadFlags {
    /// The load that `bench` would send with the same flags.
    pub(super) fn read(&self, seed: u64) -> anyhow::Result<Asked> {
        let profile = self.workload.is_some();
        let length =
            |own: &Option<String>, otherwise: &str| own.clone().or((!profile).then(|| otherwise.to_owned()));
        let at_a_rate = self.rate.map(|_| REQUESTS_AT_A_RATE);
        let each = 3 * u64::from(self.concurrency.unwrap_or(1));
        let traced = self.recorded.has_trace();
        let requests =
            self.requests.or(at_a_rate).or((!traced || self.concurrency.is_some()).then_some(each));
        let resolved = self
            .recorded
            .lay(Layers::<BenchConfig>::new())
            .flag("workload.profile", "--workload", self.workload.clone())
            // Without a profile nothing is shared that is not asked for.
            .flag("workload.prefix_share", "--workload", (!profile).then_some(0.0))
            .flag("workload.input", "--input", length(&self.input, INPUT))
            .flag("workload.output", "--output", length(&self.output, OUTPUT))
            .flag("load.concurrency", "--concurrency", self.clients(traced).map(|n| [n]))
            .flag("load.rate", "--rate", self.rate.map(|rate| [rate]))
            .flag("load.arrival", "--arrival", self.arrival.map(ArrivalKind::from))
            .flag("load.rate_end", "--rate-end", self.rate_end)
            .flag("load.burstiness", "--burstiness", self.burstiness)
            .flag("measure.requests", "--requests", requests.filter(|_| self.duration.is_none()))
            .flag("measure.duration_s", "--duration", self.duration.map(|time| time.as_secs_f64()))
            .flag("seed", "--seed", Some(seed))
            .resolve()?;
        let asked = offline(&resolved.value)?;
        let mut workload = asked.workload;
        if let Some(recorded) = workload.recorded.clone() {
            // Lengths of memory and explanations are those of the mean request.
            mean(&recorded, |t| t.input, &mut workload.input)?;
            mean(&recorded, |t| t.output, &mut workload.output)?;
        }
        if traced && self.clients(traced).is_none() && matches!(asked.sending, Sending::Closed { .. }) {
            let problem = anyhow::anyhow!("the trace says no times");
            return Err(Failure::new(Outcome::Configuration, problem)
                .hint("say how many clients send it, with --concurrency")
                .into());
        }
        let load = match asked.sending {
            Sending::Closed { concurrency } => Load::Closed { concurrency },
            Sending::Open(process) => Load::Open(process),
            Sending::Recorded => Load::Recorded,
        };
        let requests = asked.requests.and_then(|n| u32::try_from(n).ok()).unwrap_or(MOST_REQUESTS);
        Ok(Asked { workload, load, requests, duration_s: asked.duration_s })
    }

    /// Clients of a closed loop; `None` where requests come at times.
    fn clients(&self, traced: bool) -> Option<u32> {
        let open = self.rate.is_some() || self.arrival.is_some_and(|a| a != Arrival::Closed);
        self.concurrency.or((!open && !traced).then_some(1))
    }
}

/// Makes a length the mean of a record, where it says one.
fn mean(recorded: &Recorded, of: fn(&Turn) -> Option<u32>, length: &mut Length) -> anyhow::Result<()> {
    let known: Vec<u32> = recorded.entries().iter().filter_map(|e| of(e.turns.first()?)).collect();
    let sum: f64 = known.iter().map(|n| f64::from(*n)).sum();
    if !known.is_empty() {
        *length = Length::fixed((sum / known.len() as f64).round().max(1.0) as u32)?;
    }
    Ok(())
}
