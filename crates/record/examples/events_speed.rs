//! How fast request rows are written, joined and read, and how large they are. What it writes is a whole run of one
//! point and five trials, so that `stopwatt report` can be timed on it.
//!
//! `cargo run --release -p stopwatt-record --example events_speed -- [ROWS] [CHUNKS] [DIR]`

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::path::PathBuf;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::engine::EngineCounters;
use stopwatt_core::log::{Fact, PlannedPoint};
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::{ChunkKind, ChunkStamp, Clock, EndKind, FinishReason, Phase, RequestRecord};
use stopwatt_record::{Chunks, Create, Run, RunWriter};
use stopwatt_sensor::host;

/// A request as a server at load gives it: chunks every 20 ms with some jitter.
fn record(id: u64, trial: u32, chunks: u64, state: &mut u64) -> RequestRecord {
    let mut random = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as i64
    };
    let start = id as i64 * 500_000 + random() % 400_000;
    let first = start + 80_000_000 + random() % 50_000_000;
    let mut t_ns = first;
    let chunks: Vec<ChunkStamp> = (0..chunks)
        .map(|_| {
            t_ns += 18_000_000 + random() % 4_000_000;
            ChunkStamp::new(t_ns, Some(1), ChunkKind::Content)
        })
        .collect();
    RequestRecord {
        id,
        point: 0,
        trial,
        phase: Phase::Measure,
        input_asked: 512,
        output_asked: chunks.len() as u32,
        input_usage: Some(500 + (random() % 24) as u32),
        output_usage: Some(chunks.len() as u32),
        session: None,
        turn: None,
        cached_usage: Some(0),
        output_tokenizer: None,
        intended_ns: start,
        dispatched_ns: Some(start + random() % 100_000),
        connected_ns: None,
        written_ns: Some(start + 200_000),
        first_byte_ns: Some(first),
        end_ns: t_ns + 100_000,
        end: EndKind::Ok,
        status: Some(200),
        error_len: None,
        error_hash: None,
        finish: Some(FinishReason::Length),
        chunks,
    }
}

/// Trials of the run.
const TRIALS: u64 = 5;

fn trial_ended(trial: u32, start_ns: i64, end_ns: i64) -> Fact {
    Fact::TrialEnded {
        point: 0,
        trial,
        start_ns,
        end_ns,
        client_cpu_s: None,
        engine_cpu_s: None,
        engine_rss_bytes: None,
        planned: None,
        counters_before: EngineCounters::new(),
        counters_after: EngineCounters::new(),
        reads: None,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let rows: u64 = args.next().map_or(Ok(100_000), |a| a.parse())?;
    let chunks: u64 = args.next().map_or(Ok(128), |a| a.parse())?;
    let root = args.next().map_or_else(|| std::env::temp_dir().join("stopwatt-events-speed"), PathBuf::from);
    let options =
        Create { root, out: None, name: "speed".to_owned(), clock: Clock::start(), keep_chunks: true };
    let run = RunWriter::create(options, &serde_json::json!({}))?;
    let path = run.path().to_owned();

    let mut state = 1;
    let clock = Clock::start();
    let (mut generated, mut begin_ns, mut last) = (0, 0, 0);
    let point = PlannedPoint {
        label: "made up".to_owned(),
        concurrency: None,
        rate_rps: None,
        input: None,
        output: None,
        engine_settings: Default::default(),
    };
    run.log(Fact::Plan { points: vec![point], trials: TRIALS as u32 })?;
    for id in 0..rows {
        let begin = monotonic_raw();
        let record = record(id, (id * TRIALS / rows) as u32, chunks, &mut state);
        last = last.max(record.end_ns);
        if (id + 1) * TRIALS / rows > u64::from(record.trial) {
            run.log(trial_ended(record.trial, begin_ns, last))?;
            begin_ns = last;
        }
        generated += monotonic_raw() - begin;
        run.push(record)?;
    }
    let ended = Fact::RunEnded {
        status: RunStatus::Complete,
        reason: None,
        client_rss_bytes: None,
        wall_drift_ns: 0,
    };
    run.log(ended)?;
    let waits = run.push_waits();
    let pushed = clock.now();
    run.finish()?;
    let finished = clock.now();
    let bytes = |name| std::fs::metadata(path.join(name)).map(|m| m.len());
    let (size, histograms) = (bytes("events.parquet")?, bytes("streams.parquet")?);
    let s = |ns: i64| ns as f64 * 1e-9;
    println!("{rows} rows of {chunks} chunks in {}", path.display());
    println!("push    {:8.2} s ({:.2} s of it to make the rows, {waits} waits)", s(pushed), s(generated));
    println!("finish  {:8.2} s", s(finished - pushed));
    println!(
        "size    {:8.2} MB, {:.2} bytes a chunk",
        size as f64 / 1e6,
        size as f64 / (rows * chunks.max(1)) as f64
    );
    println!("        {:8.2} MB histograms", histograms as f64 / 1e6);
    let clock = Clock::start();
    let opened = Run::open(&path)?;
    let mut sum = 0;
    for row in opened.rows()? {
        sum += row?.stream.map_or(0, |s| s.token_chunks);
    }
    println!("rows    {:8.2} s ({sum} chunks, by their summaries)", s(clock.now()));
    let clock = Clock::start();
    let gaps = opened.streams()?.map_or(0, |s| s.gap_count());
    println!("streams {:8.2} s ({gaps} gaps in histograms)", s(clock.now()));
    for (name, mode) in [("skip", Chunks::Skip), ("read", Chunks::Read)] {
        let clock = Clock::start();
        let opened = Run::open(&path)?;
        let mut sum = 0;
        for row in opened.requests(mode)? {
            sum += row?.chunks.len();
        }
        println!("{name}    {:8.2} s ({sum} chunks)", s(clock.now()));
    }
    if let Some(peak) = host::own_peak_rss_bytes() {
        println!("memory  {:8.1} MB at most", peak as f64 / 1e6);
    }
    Ok(())
}
