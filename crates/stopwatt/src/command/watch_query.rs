//! `stopwatt watch query`: what a store knows of a span of time.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use stopwatt_core::clock::unix_now;
use stopwatt_ops::history::{By, History, Incident, Incidents, Quantiles, Summary, history};
use stopwatt_ops::rules::webhook::time;
use stopwatt_ops::store::Reader;

use super::columns::{digits, seconds, table};
use super::watch_store::{failure, parse_days};
use super::{Failure, Format, csv_field};
use crate::exit::Outcome;

/// Look back: rates, latency, errors, cost, availability and incidents of a span
///
/// Reads what `stopwatt watch --store DIR` kept, also while it runs; the last minute is not there yet. Availability is
/// the share of requests that ended as they should among those whose client did not leave.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt watch query --store DIR
  stopwatt watch query --store DIR --since 24h --by hour --format csv
  stopwatt watch query --store DIR --since 7d --until 1d --by upstream
  stopwatt watch query --store DIR --since 30d --incidents")]
pub(crate) struct QueryArgs {
    /// Folder of the store
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// How long ago the span begins
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_days)]
    since: Duration,
    /// How long ago it ends [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_days)]
    until: Option<Duration>,
    /// Tell requests apart
    #[arg(long, value_enum)]
    by: Option<ByArg>,
    /// List incidents in place of requests
    #[arg(long, conflicts_with = "by")]
    incidents: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ByArg {
    /// The upstream that answered
    Upstream,
    /// Its side of a split
    Variant,
    /// The model that was named
    Model,
    /// The minute in which they came, UTC
    Minute,
    /// The hour in which they came, UTC
    Hour,
    /// Model, beginning of the prompt and class of lengths
    Group,
}

impl From<ByArg> for By {
    fn from(by: ByArg) -> Self {
        match by {
            ByArg::Upstream => Self::Upstream,
            ByArg::Variant => Self::Variant,
            ByArg::Model => Self::Model,
            ByArg::Minute => Self::Minute,
            ByArg::Hour => Self::Hour,
            ByArg::Group => Self::Group,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &QueryArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let now = unix_now();
    let ago = |time: Duration| now.saturating_sub(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    let (from, until) = (ago(args.since), args.until.map_or(now, ago));
    if from >= until {
        let problem = anyhow::anyhow!("the span ends before it begins");
        return Err(Failure::new(Outcome::Usage, problem).hint("--since is the longer time ago").into());
    }
    let reader = Reader::open(&args.store).map_err(failure)?;
    let seen = history(&reader, from, until, args.by.map(By::from)).map_err(failure)?;
    match (args.format, args.incidents) {
        (Format::Json, _) => {
            serde_json::to_writer_pretty(&mut *out, &seen)?;
            writeln!(out)?;
        }
        (Format::Csv, false) => csv(&seen, out)?,
        (Format::Csv, true) => incidents_csv(&seen.incident_list, out)?,
        (Format::Table, false) => {
            span(&seen, out)?;
            summaries(&seen, out)?;
            if seen.total.requests == 0 {
                let extent = reader.extent().map_err(failure)?;
                let known = extent.map_or("it is empty".to_owned(), |(a, b)| {
                    format!("it knows {} to {}", moment(a), moment(b))
                });
                writeln!(out, "\nThe store has no request of this time; {known}.")?;
            }
        }
        (Format::Table, true) => {
            span(&seen, out)?;
            incidents(&seen.incident_list, out)?;
        }
    }
    Ok(Outcome::Done)
}

fn moment(unix_ns: i64) -> String {
    time(unix_ns as f64 / 1e9)
}

fn span(seen: &History, out: &mut dyn Write) -> io::Result<()> {
    let share = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{:.3} %", v * 100.0));
    let line = |i: &Incidents| {
        let mttr = i.mttr_s.map_or("–".to_owned(), seconds);
        let open = if i.open > 0 { format!(" ({} open)", i.open) } else { String::new() };
        format!(
            "{}{open}, MTTR {mttr}, out {}",
            i.count,
            if i.out_s > 0.0 { seconds(i.out_s) } else { "0 s".to_owned() }
        )
    };
    writeln!(out, "{} to {}", moment(seen.from_unix_ns), moment(seen.until_unix_ns))?;
    writeln!(
        out,
        "availability  {} of requests, {} of time",
        share(seen.total.availability),
        share(seen.incidents.time_available)
    )?;
    let i = &seen.incidents;
    writeln!(
        out,
        "incidents     service {}; upstreams {}; alerts {}\n",
        line(&i.service),
        line(&i.upstream),
        line(&i.alert)
    )
}

fn summaries(seen: &History, out: &mut dyn Write) -> io::Result<()> {
    let quantiles = |q: Option<Quantiles>| {
        let of = |v: Option<f64>| v.map_or("–".to_owned(), seconds);
        q.map_or("–".to_owned(), |q| format!("{} / {} / {}", of(q.p50), of(q.p95), of(q.p99)))
    };
    let rows: Vec<[String; 10]> = all(seen)
        .map(|(key, s)| {
            let number = |v: Option<f64>| v.map_or("–".to_owned(), digits);
            let failed: Vec<String> = s.failed.iter().map(|(why, n)| format!("{n} {why}")).collect();
            [
                key.to_owned(),
                s.requests.to_string(),
                number(s.requests_per_s),
                number(s.tokens_per_s),
                quantiles(s.ttft_s),
                quantiles(s.itl_s),
                quantiles(s.e2e_s),
                if failed.is_empty() { "0".to_owned() } else { failed.join(", ") },
                s.client_gone.to_string(),
                s.cost_dollars.map_or("–".to_owned(), |c| format!("{c:.4}")),
            ]
        })
        .collect();
    let head = [
        "",
        "requests",
        "req/s",
        "tok/s",
        "TTFT p50 / p95 / p99",
        "ITL",
        "E2E",
        "failed",
        "client left",
        "cost $",
    ];
    out.write_all(table(head, &rows).as_bytes())
}

/// The parts, then all of them together.
fn all(seen: &History) -> impl Iterator<Item = (&str, &Summary)> {
    seen.parts.iter().map(|p| (p.key.as_str(), &p.summary)).chain([("all", &seen.total)])
}

fn csv(seen: &History, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "key,requests,requests_per_s,answered,failed,client_gone,availability,retried,prompt_tokens,tokens,tokens_per_s,\
         ttft_p50_s,ttft_p95_s,ttft_p99_s,tpot_p50_s,tpot_p95_s,tpot_p99_s,itl_p50_s,itl_p95_s,itl_p99_s,\
         e2e_p50_s,e2e_p95_s,e2e_p99_s,cost_dollars"
    )?;
    let number = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
    for (key, s) in all(seen) {
        let mut cells = vec![
            csv_field(key).to_string(),
            s.requests.to_string(),
            number(s.requests_per_s),
            s.answered.to_string(),
            s.failures().to_string(),
            s.client_gone.to_string(),
            number(s.availability),
            s.retried.to_string(),
            s.prompt_tokens.to_string(),
            s.tokens.to_string(),
            number(s.tokens_per_s),
        ];
        for q in [s.ttft_s, s.tpot_s, s.itl_s, s.e2e_s] {
            cells.extend(q.map_or([None; 3], |q| [q.p50, q.p95, q.p99]).map(number));
        }
        cells.push(number(s.cost_dollars));
        writeln!(out, "{}", cells.join(","))?;
    }
    Ok(())
}

fn incidents(list: &[Incident], out: &mut dyn Write) -> io::Result<()> {
    if list.is_empty() {
        return writeln!(out, "no incidents");
    }
    let rows: Vec<[String; 5]> = list
        .iter()
        .map(|i| {
            let took = match i.ended_unix_ns {
                None => "goes on".to_owned(),
                Some(end) if i.cut => format!("at least {}", seconds((end - i.began_unix_ns) as f64 / 1e9)),
                Some(end) => seconds((end - i.began_unix_ns) as f64 / 1e9),
            };
            [moment(i.began_unix_ns), i.kind.name().to_owned(), i.subject.clone(), took, i.reason.clone()]
        })
        .collect();
    out.write_all(table(["began", "kind", "what", "took", "why"], &rows).as_bytes())
}

fn incidents_csv(list: &[Incident], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "kind,subject,reason,began_unix_ns,ended_unix_ns,cut")?;
    for i in list {
        let ended = i.ended_unix_ns.map(|v| v.to_string()).unwrap_or_default();
        let (subject, reason) = (csv_field(&i.subject), csv_field(&i.reason));
        writeln!(out, "{},{subject},{reason},{},{ended},{}", i.kind.name(), i.began_unix_ns, i.cut)?;
    }
    Ok(())
}
