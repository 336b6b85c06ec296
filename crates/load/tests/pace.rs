//! When requests are sent, and how a run ends.

#![allow(clippy::unwrap_used, reason = "a failed set-up must end the test")]

mod support;

use std::sync::Mutex;
use std::time::Duration;

use stopwatt_core::{Clock, EndKind, Nanos};
use stopwatt_load::{Client, Completed, Drain, Ended, Limits, LoadError, Pace, Stop};
use support::*;

fn quick() -> Server {
    Server::start(|_, _, socket| {
        send(socket, &good());
        Then::Keep
    })
}

/// Answers after a while.
fn slow(ms: u64) -> Server {
    Server::start(move |_, _, socket| {
        send(socket, HEAD);
        std::thread::sleep(Duration::from_millis(ms));
        send(socket, &good()[HEAD.len()..]);
        Then::Keep
    })
}

fn open(arrivals: impl Iterator<Item = Nanos> + Send + 'static, max_in_flight: Option<usize>) -> Pace {
    Pace::Open { arrivals: Box::new(arrivals), max_in_flight }
}

const MS: Nanos = 1_000_000;

#[test]
fn an_open_loop_keeps_to_its_schedule() {
    let server = quick();
    let mut client = Client::new(&server.target()).unwrap();
    let (done, outcome) =
        run_with(&mut client, open((0..100).map(|i| i * 5 * MS), None), 1000, &limits(), &Stop::new());
    assert_eq!((done.len(), outcome.sent, outcome.planned, outcome.ended), (100, 100, 100, Ended::Exhausted));
    let mut records: Vec<_> = done.iter().map(|d| &d.record).collect();
    records.sort_by_key(|r| r.id);
    for (i, r) in records.iter().enumerate() {
        assert_eq!(r.intended_ns, outcome.start_ns + i as Nanos * 5 * MS, "planned time");
        assert!(r.dispatched_ns.unwrap() >= r.intended_ns, "never early");
    }
    let mut lags: Vec<_> = records.iter().map(|r| r.dispatched_ns.unwrap() - r.intended_ns).collect();
    lags.sort_unstable();
    assert!(lags[50] < 20 * MS, "median send lag {} ns", lags[50]);
}

#[test]
fn an_open_loop_does_not_wait_for_answers_unless_told() {
    let server = slow(200);
    let mut client = Client::new(&server.target()).unwrap();
    let arrivals = || open((0..20).map(|i| i * MS), None);
    let (_, outcome) = run_with(&mut client, arrivals(), 20, &limits(), &Stop::new());
    assert!(outcome.max_in_flight > 10, "{}", outcome.max_in_flight);
    let (done, outcome) =
        run_with(&mut client, open((0..4).map(|i| i * MS), Some(1)), 4, &limits(), &Stop::new());
    assert_eq!((done.len(), outcome.max_in_flight), (4, 1));
    let last = done.iter().map(|d| &d.record).max_by_key(|r| r.id).unwrap();
    assert_eq!(last.intended_ns, outcome.start_ns + 3 * MS, "held back, but its intended time stays");
    assert!(last.dispatched_ns.unwrap() - last.intended_ns >= 500 * MS);
}

#[test]
fn an_open_loop_ends_with_its_jobs() {
    let server = quick();
    let mut client = Client::new(&server.target()).unwrap();
    let (done, outcome) =
        run_with(&mut client, open((0..).map(|i| i * MS), None), 7, &limits(), &Stop::new());
    assert_eq!((done.len(), outcome.sent, outcome.planned), (7, 7, 7));
}

#[test]
fn a_closed_loop_intends_the_next_request_when_a_slot_is_free() {
    let server = quick();
    let (done, outcome) = run(&server.target(), 1, 20, &limits());
    for pair in done.windows(2) {
        assert_eq!(pair[1].record.intended_ns, pair[0].record.end_ns);
    }
    assert_eq!(done[0].record.intended_ns, outcome.start_ns);
    assert_eq!(done.last().unwrap().record.end_ns, outcome.end_ns);
    assert!(outcome.cpu_s > 0.0);
}

#[test]
fn a_window_cuts_off_or_waits() {
    let server = slow(400);
    let mut client = Client::new(&server.target()).unwrap();
    let window = |drain| Limits { max_duration: Some(Duration::from_millis(150)), drain, ..limits() };
    let (done, outcome) =
        run_with(&mut client, Pace::Closed { concurrency: 3 }, 1000, &window(Drain::Cancel), &Stop::new());
    assert_eq!((done.len(), outcome.sent, outcome.ended), (3, 3, Ended::Duration));
    assert!(done.iter().all(|d| d.record.end == EndKind::Cancelled && !d.record.end.is_failure()));
    assert_eq!(outcome.end_ns - outcome.start_ns, 150 * MS);
    let (done, outcome) =
        run_with(&mut client, Pace::Closed { concurrency: 3 }, 1000, &window(Drain::Wait), &Stop::new());
    assert_eq!((done.len(), outcome.ended), (3, Ended::Duration));
    assert!(done.iter().all(|d| d.record.end == EndKind::Ok));
    assert!(outcome.end_ns - outcome.start_ns >= 400 * MS);
    // Arrivals after the window are not planned; those in it are, sent or not.
    let arrivals = (0..100).map(|i| i * 10 * MS);
    let (done, outcome) =
        run_with(&mut client, open(arrivals, Some(2)), 1000, &window(Drain::Wait), &Stop::new());
    assert_eq!((done.len(), outcome.sent, outcome.planned), (2, 2, 15));
}

#[test]
fn jobs_that_run_out_are_waited_for_until_the_window_closes() {
    let server = slow(200);
    let mut client = Client::new(&server.target()).unwrap();
    let limits = Limits { max_duration: Some(Duration::from_secs(30)), drain: Drain::Cancel, ..limits() };
    let (done, outcome) = run_with(&mut client, Pace::Closed { concurrency: 4 }, 2, &limits, &Stop::new());
    assert_eq!(outcome.ended, Ended::Exhausted);
    assert!(done.len() == 2 && done.iter().all(|d| d.record.end == EndKind::Ok));
}

#[test]
fn an_interrupt_ends_everything_at_once_and_keeps_the_records() {
    let server = slow(20_000);
    for pace in [Pace::Closed { concurrency: 4 }, open([0, 0, 0, 0, 3_600_000 * MS].into_iter(), None)] {
        let stop = Stop::new();
        let thrower = stop.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            thrower.interrupt();
        });
        let mut client = Client::new(&server.target()).unwrap();
        let (done, outcome) = run_with(&mut client, pace, 1000, &limits(), &stop);
        assert_eq!((done.len(), outcome.ended), (4, Ended::Interrupted));
        assert!(done.iter().all(|d| d.record.end == EndKind::Interrupted));
        assert!(outcome.end_ns - outcome.start_ns < 10_000 * MS);
        let (done, outcome) = run_with(&mut client, Pace::Closed { concurrency: 1 }, 5, &limits(), &stop);
        assert_eq!((done.len(), outcome.ended), (0, Ended::Interrupted), "it stays thrown");
    }
}

#[test]
fn enough_drops_what_is_prepared_and_lets_the_rest_end() {
    let server = slow(20);
    let (stop, mut client) = (Stop::new(), Client::new(&server.target()).unwrap());
    for _ in 0..2 {
        let (mut ends, switch) = (0, stop.clone());
        let mut on_done = |done: Completed| {
            assert_eq!(done.record.end, EndKind::Ok);
            ends += 1;
            if ends == 3 {
                switch.enough();
            }
        };
        let (pace, clock) = (Pace::Closed { concurrency: 2 }, Clock::start());
        let mut jobs = |i: u64| Some(job(i));
        let outcome = client.run(pace, &mut jobs, &limits(), &stop, clock, &mut on_done).unwrap();
        assert_eq!(outcome.ended, Ended::Exhausted);
        assert!((3..=6).contains(&outcome.sent), "{} were sent though 3 were enough", outcome.sent);
        assert_eq!(ends, outcome.sent);
    }
}

#[test]
fn slow_jobs_are_waited_for_and_counted() {
    let server = quick();
    let mut client = Client::new(&server.target()).unwrap();
    let mut ends = 0;
    let mut jobs = |i: u64| {
        std::thread::sleep(Duration::from_millis(if i < 3 { 0 } else { 30 }));
        (i < 6).then(|| job(i))
    };
    let (pace, clock) = (open((0..6).map(|i| i * MS), Some(2)), Clock::start());
    let outcome = client.run(pace, &mut jobs, &limits(), &Stop::new(), clock, &mut |_| ends += 1).unwrap();
    assert_eq!((ends, outcome.sent), (6, 6));
    assert!(outcome.starved >= 1, "{}", outcome.starved);
}

#[test]
fn no_jobs_and_no_concurrency() {
    let server = quick();
    let (done, outcome) = run(&server.target(), 3, 0, &limits());
    assert_eq!((done.len(), outcome.sent, outcome.ended), (0, 0, Ended::Exhausted));
    let mut client = Client::new(&server.target()).unwrap();
    let got = client.run(
        Pace::Closed { concurrency: 0 },
        &mut |_| None,
        &limits(),
        &Stop::new(),
        Clock::start(),
        &mut |_| {},
    );
    assert!(matches!(got, Err(LoadError::NoConcurrency)));
}

#[test]
fn a_slow_recorder_loses_nothing() {
    let server = quick();
    let seen = Mutex::new(0);
    let mut on_done = |_| {
        std::thread::sleep(Duration::from_millis(2));
        *seen.lock().unwrap() += 1;
    };
    let mut client = Client::new(&server.target()).unwrap();
    let (pace, clock) = (Pace::Closed { concurrency: 8 }, Clock::start());
    client
        .run(pace, &mut |i| (i < 200).then(|| job(i)), &limits(), &Stop::new(), clock, &mut on_done)
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), 200);
}

#[test]
fn dropped_chunks_and_texts_leave_the_rest() {
    let server = quick();
    let limits = Limits { keep_chunks: false, keep_text: false, ..limits() };
    let (done, _) = run(&server.target(), 1, 2, &limits);
    for d in &done {
        assert_eq!((d.record.end, d.record.output_usage, d.record.chunks.len()), (EndKind::Ok, Some(2), 0));
        assert_eq!((&d.text, &d.reasoning), (&None, &None));
    }
}
