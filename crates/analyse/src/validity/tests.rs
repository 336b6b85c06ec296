//! Each check fires on what it is for, and only on that.

use stopwatt_core::ceiling::ClientCeiling;
use stopwatt_core::engine::{PREEMPTIONS, PREFIX_CACHE_HITS_TOKENS, PREFIX_CACHE_QUERIES_TOKENS};
use stopwatt_core::log::{Fact, LogEvent, ReadStamps};
use stopwatt_core::metrics_doc::{RunStatus, Validity};
use stopwatt_core::verdict::Code;
use stopwatt_core::{EndKind, RequestRecord};

use crate::testing::{log, ok_request, trial_ended, whole_requests, whole_run};
use crate::{CacheState, Input, Recorded, Settings, TokenRanges, analyse};

fn judge(log: &[LogEvent], requests: &[RequestRecord]) -> Validity {
    let record = Recorded::of(requests);
    let settings = Settings { resamples: 20, ..Settings::default() };
    analyse(&Input { log, record: &record, settings: &settings }).validity
}

/// The one reason that is found, with its weight.
#[track_caller]
fn only(code: &str, fatal: bool, validity: &Validity) -> String {
    let found: Vec<(&str, bool)> = validity.reasons.iter().map(|r| (r.code.as_str(), r.fatal)).collect();
    assert_eq!(found, [(code, fatal)], "{validity:?}");
    assert_eq!(validity.valid, !fatal);
    validity.reasons[0].detail.clone()
}

/// [`whole_run`] with some facts changed.
fn changed(change: impl Fn(&mut Fact)) -> Vec<LogEvent> {
    let mut facts = whole_run();
    facts.iter_mut().for_each(change);
    log(&facts)
}

fn requests_with(change: impl Fn(&mut RequestRecord)) -> Vec<RequestRecord> {
    let mut requests = whole_requests();
    requests.iter_mut().for_each(change);
    requests
}

#[test]
fn warm_up_without_a_steady_state_or_without_warm_up() {
    let steady = |to: Option<bool>| {
        changed(move |f| {
            if let Fact::WarmupEnded { point: 1, steady, detail, .. } = f {
                *steady = to;
                "still changing".clone_into(detail);
            }
        })
    };
    assert_eq!(
        only("no_steady_state", true, &judge(&steady(Some(false)), &whole_requests())),
        "c=2: still changing"
    );
    only("warmup_skipped", false, &judge(&steady(None), &whole_requests()));
}

#[test]
fn load_that_was_not_sent() {
    let planned = |n: u64| {
        changed(move |f| {
            if let Fact::TrialEnded { point: 0, planned, .. } = f {
                *planned = Some(n);
            }
        })
    };
    let detail = only("load_not_delivered", true, &judge(&planned(3), &whole_requests()));
    assert_eq!(detail, "c=1: 4 of 6 scheduled requests were sent");
    assert!(judge(&planned(2), &whole_requests()).reasons.is_empty());
}

#[test]
fn requests_that_leave_late() {
    // TTFT counts from dispatch and stays 100 ms: 4 ms late is below 5 % but above 1 ms and 1 %.
    let late = |ns: i64| requests_with(move |r| r.intended_ns -= ns);
    only("send_lag", false, &judge(&log(&whole_run()), &late(4_000_000)));
    assert!(judge(&log(&whole_run()), &late(900_000)).reasons.is_empty());
    // The lag of requests that opened a connection is the connection's.
    let connecting = requests_with(|r| {
        r.connected_ns = r.dispatched_ns;
        r.intended_ns -= 4_000_000;
    });
    assert!(judge(&log(&whole_run()), &connecting).reasons.is_empty());
}

#[test]
fn a_busy_client() {
    let cpu = |s: f64| {
        changed(move |f| {
            if let Fact::TrialEnded { client_cpu_s, .. } = f {
                *client_cpu_s = Some(s);
            }
        })
    };
    let detail = only("client_bound", true, &judge(&cpu(1.9), &whole_requests()));
    assert_eq!(detail, "c=1: the client used 0.95 cores; c=2: the client used 0.95 cores");
    assert!(judge(&cpu(1.7), &whole_requests()).valid);
}

/// [`whole_run`] with these reads in every trial of 2 s, and a client that can do so many a second.
fn with_reads(stamps: ReadStamps, most_per_s: f64) -> Validity {
    let mut facts = whole_run();
    for fact in &mut facts {
        if let Fact::TrialEnded { reads, .. } = fact {
            *reads = Some(stamps);
        }
    }
    let ceiling = ClientCeiling {
        stopwatt: "0.1.0".to_owned(),
        measured_unix_ns: 0,
        quick: false,
        events_per_s: most_per_s,
        reads_per_s: most_per_s,
        streams: None,
        stages: vec![],
    };
    facts.insert(1, Fact::ClientCeiling { ceiling });
    judge(&log(&facts), &whole_requests())
}

#[test]
fn a_client_near_its_ceiling() {
    let stamps = ReadStamps { kernel: 800, pieces: 800, ..ReadStamps::default() };
    let detail = only("client_ceiling", true, &with_reads(stamps, 450.0));
    assert!(
        detail.starts_with("c=1: the client did 89 % of the most it can do on this machine; c=2"),
        "{detail}"
    );
    assert!(with_reads(stamps, 550.0).reasons.is_empty());
}

#[test]
fn a_client_that_was_late_without_the_kernels_stamps() {
    // TTFT is 100 ms: 1 ms and 1 % of it are the same.
    let stamps = |user, lag| ReadStamps { kernel: 700, user, lag_p99_s: Some(lag), ..ReadStamps::default() };
    let detail = only("client_late", false, &with_reads(stamps(300, 0.004), 1e6));
    assert!(detail.contains("30 % of the reads") && detail.contains("4.00 ms"), "{detail}");
    assert!(with_reads(stamps(300, 0.000_9), 1e6).reasons.is_empty(), "not late enough");
    assert!(with_reads(stamps(5, 0.004), 1e6).reasons.is_empty(), "hardly any");
}

#[test]
fn errors_are_fatal_where_the_headline_is() {
    // Request 4 is of the first point, request 10 of the second, which stays the one with the highest throughput.
    let failing = |id: u64| {
        requests_with(move |r| {
            if r.id == id {
                r.end = EndKind::Http;
            }
        })
    };
    only("high_error_rate", true, &judge(&log(&whole_run()), &failing(10)));
    only("high_error_rate", false, &judge(&log(&whole_run()), &failing(4)));
    let none = requests_with(|r| r.end = EndKind::Connect);
    let codes: Vec<String> = judge(&log(&whole_run()), &none).reasons.into_iter().map(|r| r.code).collect();
    assert_eq!(codes, ["nothing_measured", "high_error_rate"]);
}

#[test]
fn requests_that_the_window_cut_off() {
    let log = log(&whole_run());
    let cut = requests_with(|r| {
        if r.id == 4 {
            r.end = EndKind::Cancelled;
        }
    });
    let detail = only("cut_by_window", false, &judge(&log, &cut));
    assert_eq!(detail, "c=1: 1 of 4 requests were still in flight when their window closed");
}

#[test]
fn token_counts_and_lengths() {
    let log = log(&whole_run());
    let tokenizer = requests_with(|r| r.output_tokenizer = Some(5));
    only("usage_mismatch", false, &judge(&log, &tokenizer));
    let long = requests_with(|r| r.output_asked = 5);
    assert!(
        only("output_length_missed", false, &judge(&log, &long)).starts_with("c=1: output tokens are 80 %")
    );
    let short = requests_with(|r| r.input_usage = Some(20));
    only("input_length_missed", false, &judge(&log, &short));
}

#[test]
fn one_trial_is_too_few() {
    let requests: Vec<_> = whole_requests().into_iter().filter(|r| r.trial == 0).collect();
    let facts: Vec<Fact> =
        whole_run().into_iter().filter(|f| !matches!(f, Fact::TrialEnded { trial: 1, .. })).collect();
    only("too_few_trials", false, &judge(&log(&facts), &requests));
}

#[test]
fn the_end_of_the_run() {
    let facts = whole_run();
    only("incomplete", true, &judge(&log(&facts[..9]), &whole_requests()));
    let interrupted = changed(|f| {
        if let Fact::RunEnded { status, reason, .. } = f {
            *status = RunStatus::Incomplete;
            *reason = Some("interrupted by SIGINT".to_owned());
        }
    });
    assert_eq!(only("incomplete", true, &judge(&interrupted, &whole_requests())), "interrupted by SIGINT");
    let stepped = changed(|f| {
        if let Fact::RunEnded { wall_drift_ns, .. } = f {
            *wall_drift_ns = -2_000_000_000;
        }
    });
    only("clock_step", false, &judge(&stepped, &whole_requests()));
}

#[test]
fn warnings_of_the_log_pass_with_their_weight() {
    let mut facts = whole_run();
    for n in 0..6 {
        let (code, detail) = ("other_load".into(), format!("load {n}"));
        facts.push(Fact::Warning { code, fatal: n == 3, detail, values: vec![] });
    }
    let detail = only("other_load", true, &judge(&log(&facts), &whole_requests()));
    assert_eq!(detail, "load 0; load 1; load 2; load 3; and 2 more");
}

/// One point of two trials of 100 requests in 100 s each; TPOT in milliseconds and TTFT by the number of the request.
fn long_run(tpot_ms: impl Fn(u64) -> i64, ttft_ms: impl Fn(u64) -> i64) -> (Vec<Fact>, Vec<RequestRecord>) {
    let request = |id: u64| {
        let begin = id as i64 * 1000;
        let (first, gap) = (begin + ttft_ms(id), tpot_ms(id));
        let tokens = [first, first + gap, first + 2 * gap];
        RequestRecord { trial: (id / 100) as u32, ..ok_request(id, begin * 1_000_000, &tokens) }
    };
    let ended = Fact::RunEnded {
        status: RunStatus::Complete,
        reason: None,
        client_rss_bytes: None,
        wall_drift_ns: 0,
    };
    let facts = vec![trial_ended(0, 0, 0, 100_000), trial_ended(0, 1, 100_000, 200_000), ended];
    (facts, (0..200).map(request).collect())
}

#[test]
fn latency_that_drifts() {
    let wobble = |id: u64| [0, 2, -1, 1, -2][(id * 7 % 5) as usize];
    let (facts, requests) = long_run(|id| 100 + wobble(id) + id as i64 / 10, |_| 50);
    let detail = only("drift", false, &judge(&log(&facts), &requests));
    assert_eq!(detail, "TPOT changed by +20 % over the point");
    let (facts, requests) = long_run(|id| 100 + wobble(id), |_| 50);
    assert!(judge(&log(&facts), &requests).reasons.is_empty());
}

#[test]
fn a_long_tail() {
    let (facts, requests) = long_run(|_| 10, |id| if id % 25 == 3 { 900 } else { 50 });
    let detail = only("tail_ratio", false, &judge(&log(&facts), &requests));
    assert_eq!(detail, "p99/p50 of the end-to-end latency is 13.14"); // 920/70
}

#[test]
fn memory_that_grows_while_measuring() {
    let with = |growth: u64| {
        let (facts, requests) = long_run(|_| 10, |_| 50);
        let mut events = log(&facts);
        let sample = |s: i64| LogEvent {
            t_ns: s * 1_000_000_000,
            fact: Fact::EngineSample {
                rss_bytes: 1_000_000 + s as u64 * growth + (s as u64 * 37 % 11) * 100,
            },
        };
        events.extend((0..200).step_by(4).map(sample));
        judge(&events, &requests)
    };
    let detail = only("memory_growth", false, &with(1000));
    assert_eq!(detail, "memory of the engine changed by +20 % while measuring");
    assert!(with(0).reasons.is_empty());
}

/// A run of one point with one trial whose cache found so much, by counters and by usage, where `own` tokens are shared.
fn cached(
    hits: f64,
    queries: f64,
    preempted: f64,
    usage: Option<u32>,
    own: u64,
) -> (Vec<Fact>, Vec<RequestRecord>) {
    let at_end = |key: &str, value: f64| (key.to_owned(), value);
    let (mut facts, mut requests) = long_run(|_| 10, |_| 50);
    for fact in &mut facts {
        let Fact::TrialEnded { counters_before, counters_after, .. } = fact else { continue };
        for (key, value) in [
            (PREFIX_CACHE_HITS_TOKENS, hits),
            (PREFIX_CACHE_QUERIES_TOKENS, queries),
            (PREEMPTIONS, preempted),
        ] {
            counters_before.insert(key.to_owned(), 0.0);
            counters_after.extend([at_end(key, value)]);
        }
    }
    facts.extend((0..2).map(|trial| Fact::CacheExpected { point: 0, trial, tokens: own }));
    requests.iter_mut().for_each(|r| r.cached_usage = usage);
    (facts, requests)
}

fn judge_declared(
    cache: Option<CacheState>,
    (facts, requests): &(Vec<Fact>, Vec<RequestRecord>),
) -> Validity {
    let settings = Settings { resamples: 20, cache, ..Settings::default() };
    analyse(&Input { log: &log(facts), record: &Recorded::of(requests), settings: &settings }).validity
}

#[test]
fn requests_outside_the_range_of_their_profile() {
    let requests = whole_requests();
    let judged = |ranges| {
        let settings = Settings { resamples: 20, token_ranges: ranges, ..Settings::default() };
        let record = Recorded::of(&requests);
        analyse(&Input { log: &log(&whole_run()), record: &record, settings: &settings }).validity
    };
    let all = TokenRanges { input: [1, 1_000_000], output: [1, 1_000_000] };
    assert!(judged(Some(all)).reasons.is_empty() && judged(None).reasons.is_empty());
    let detail = only("outside_token_range", false, &judged(Some(TokenRanges { input: [500, 1500], ..all })));
    assert!(detail.contains("requests had tokens outside the range of their profile (500–1500 + 1–1000000)"));
}

#[test]
fn a_cache_that_knew_the_prompts() {
    // 100 requests of 16 tokens a trial.
    let warm = cached(1400.0, 1600.0, 0.0, None, 200);
    let detail = only("cache_warm", true, &judge_declared(None, &warm));
    let expected =
        "2800 of 3200 prompt tokens came from the prefix cache; this run's own prompts explain at most 400";
    assert_eq!(detail, expected);
    assert!(judge_declared(Some(CacheState::Any), &warm).reasons.is_empty());
    assert!(judge_declared(Some(CacheState::Warm), &warm).reasons.is_empty());
    // What the workload shares on purpose, and a hundredth for what others may have asked meanwhile.
    assert!(
        judge_declared(Some(CacheState::Cold), &cached(216.0, 1600.0, 0.0, None, 200)).reasons.is_empty()
    );
    only("cache_warm", true, &judge_declared(None, &cached(217.0, 1600.0, 0.0, None, 200)));
    let cold = cached(0.0, 1600.0, 0.0, None, 0);
    assert!(judge_declared(None, &cold).reasons.is_empty());
    only("cache_not_warm", true, &judge_declared(Some(CacheState::Warm), &cold));
}

#[test]
fn usage_tells_where_counters_cannot() {
    // Requests that were preempted look themselves up again: the counters say 900, the requests 0.
    assert!(judge_declared(None, &cached(900.0, 1600.0, 3.0, Some(0), 0)).reasons.is_empty());
    only("cache_warm", true, &judge_declared(None, &cached(0.0, 0.0, 3.0, Some(15), 0)));
    let silent = cached(0.0, 0.0, 1.0, None, 0);
    assert!(judge_declared(None, &silent).reasons.is_empty());
    only("cache_unchecked", false, &judge_declared(Some(CacheState::Cold), &silent));
}

#[test]
fn counters_that_fell() {
    let (mut facts, requests) = cached(0.0, 1600.0, 0.0, None, 0);
    if let Fact::TrialEnded { counters_before, .. } = &mut facts[0] {
        counters_before.insert(PREFIX_CACHE_QUERIES_TOKENS.to_owned(), 5000.0);
    }
    only("counters_fell", false, &judge_declared(None, &(facts, requests)));
}

#[test]
fn every_code_is_documented() {
    let page = include_str!("../../../../docs/validity.md");
    for code in Code::ALL {
        assert!(page.contains(&format!("`{}`", code.name())), "docs/validity.md lacks {}", code.name());
    }
}
