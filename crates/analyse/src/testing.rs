//! Small records for tests.

use stopwatt_core::clock::Clock;
use stopwatt_core::clock::Nanos;
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::log::{EngineCounters, Fact, LogEvent, PlannedPoint};
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::{ChunkKind, ChunkStamp, EndKind, FinishReason, Phase, RequestRecord};

pub(crate) fn chunk(t_ns: Nanos, tokens: Option<u32>, kind: ChunkKind) -> ChunkStamp {
    ChunkStamp::new(t_ns, tokens, kind)
}

/// A successful request sent at `begin`, with one token at each of `token_ms` milliseconds on the run's clock.
pub(crate) fn ok_request(id: u64, begin: Nanos, token_ms: &[i64]) -> RequestRecord {
    let chunks: Vec<_> = token_ms.iter().map(|t| chunk(t * 1_000_000, Some(1), ChunkKind::Content)).collect();
    let end_ns = chunks.last().map_or(begin, |c| c.t_ns);
    RequestRecord {
        id,
        point: 0,
        trial: 0,
        phase: Phase::Measure,
        input_asked: 16,
        output_asked: token_ms.len() as u32,
        input_usage: Some(16),
        output_usage: Some(token_ms.len() as u32),
        session: None,
        turn: None,
        cached_usage: None,
        output_tokenizer: None,
        intended_ns: begin,
        dispatched_ns: Some(begin),
        connected_ns: None,
        written_ns: Some(begin),
        first_byte_ns: chunks.first().map(|c| c.t_ns),
        end_ns,
        end: EndKind::Ok,
        status: Some(200),
        error_len: None,
        error_hash: None,
        finish: Some(FinishReason::Length),
        chunks,
    }
}

/// A log of these facts, a millisecond apart.
pub(crate) fn log(facts: &[Fact]) -> Vec<LogEvent> {
    facts.iter().zip(0..).map(|(fact, i)| LogEvent { t_ns: i * 1_000_000, fact: fact.clone() }).collect()
}

/// The end of a trial with a window in milliseconds and nothing else known.
pub(crate) fn trial_ended(point: u32, trial: u32, start_ms: i64, end_ms: i64) -> Fact {
    Fact::TrialEnded {
        point,
        trial,
        start_ns: start_ms * 1_000_000,
        end_ns: end_ms * 1_000_000,
        client_cpu_s: None,
        engine_cpu_s: None,
        engine_rss_bytes: None,
        planned: None,
        counters_before: EngineCounters::new(),
        counters_after: EngineCounters::new(),
        reads: None,
    }
}

/// The facts of a run of two points with two trials each, all of 2 s, with the warm-up steady and nothing amiss.
pub(crate) fn whole_run() -> Vec<Fact> {
    let mut fingerprint = Fingerprint {
        stopwatt: "0.1.0".to_owned(),
        cpu: Some("Example CPU".to_owned()),
        cpus: Some(2),
        memory_bytes: Some(8 << 30),
        ..Fingerprint::default()
    };
    fingerprint.engine.insert("model".to_owned(), "example".to_owned());
    let planned = |concurrency| PlannedPoint {
        label: format!("c={concurrency}"),
        concurrency: Some(concurrency),
        rate_rps: None,
        input: Some(16),
        output: Some(4),
        engine_settings: Default::default(),
    };
    let warm =
        |point| Fact::WarmupEnded { point, requests: 1, steady: Some(true), detail: "steady".to_owned() };
    vec![
        Fact::RunStarted {
            run_id: "example".to_owned(),
            format: "1.0".to_owned(),
            clock: Clock { t0_monotonic_ns: 5, t0_unix_ns: 7 },
        },
        Fact::Fingerprint { fingerprint },
        Fact::Plan { points: vec![planned(1), planned(2)], trials: 2 },
        warm(0),
        trial_ended(0, 0, 0, 2_000),
        trial_ended(0, 1, 2_000, 4_000),
        warm(1),
        trial_ended(1, 0, 4_000, 6_000),
        trial_ended(1, 1, 6_000, 8_000),
        Fact::RunEnded {
            status: RunStatus::Complete,
            reason: None,
            client_rss_bytes: Some(9 << 20),
            wall_drift_ns: 3,
        },
    ]
}

/// The requests of [`whole_run`]: at the first point two, at the second three a trial, each with four tokens 100, 120,
/// 140 and 160 ms after it was sent; those of second trials 10 ms later. One warm-up request before all.
pub(crate) fn whole_requests() -> Vec<RequestRecord> {
    let mut requests = vec![RequestRecord { phase: Phase::Warmup, ..ok_request(0, 0, &[5]) }];
    for (point, per_trial) in [(0, 2), (1, 3)] {
        for trial in 0..2u32 {
            for i in 0..per_trial {
                let begin = i64::from(point * 4_000 + trial * 2_000) + i * 500;
                let slower = i64::from(trial) * 10;
                let tokens = [100, 120, 140, 160].map(|t| begin + t + slower);
                let id = requests.len() as u64;
                requests.push(RequestRecord { point, trial, ..ok_request(id, begin * 1_000_000, &tokens) });
            }
        }
    }
    requests
}
