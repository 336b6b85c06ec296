//! Conversations: what is sent because an earlier request ended.

#![allow(clippy::unwrap_used, reason = "a failed set-up must end the test")]

mod support;

use std::sync::Mutex;
use std::time::Duration;

use stopwatt_core::{Clock, Nanos};
use stopwatt_load::{Client, Completed, Ended, FollowUp, Job, Limits, Pace, Stop};
use support::*;

const MS: Nanos = 1_000_000;

/// Answers at once.
fn quick() -> Server {
    Server::start(|_, _, socket| {
        send(socket, &good());
        support::Then::Keep
    })
}

/// The first turn of conversation `session`.
fn first(session: u64) -> Job {
    Job { session: Some(session), turn: Some(0), ..job(session * 100) }
}

/// The turn after `done`, `think` later.
fn next(done: &Completed, think: Nanos) -> FollowUp {
    let (record, turn) = (&done.record, done.record.turn.unwrap() + 1);
    let id = record.id - 100 + 1;
    FollowUp { at: record.end_ns + think, job: Job { session: record.session, turn: Some(turn), ..job(id) } }
}

#[test]
fn a_turn_waits_for_the_one_before_and_its_think_time() {
    let server = quick();
    let mut client = Client::new(&server.target()).unwrap();
    let seen = Mutex::new(Vec::new());
    let outcome = client
        .converse(
            Pace::Closed { concurrency: 2 },
            &mut |i| (i < 3).then(|| first(i)),
            &limits(),
            &Stop::new(),
            Clock::start(),
            &mut |done| {
                let follow = (done.record.turn < Some(2)).then(|| next(&done, 20 * MS));
                seen.lock().unwrap().push(done.record);
                follow
            },
        )
        .unwrap();
    assert_eq!((outcome.sent, outcome.planned, outcome.ended), (9, 9, Ended::Exhausted));
    assert!(outcome.max_in_flight <= 2);
    let mut records = seen.into_inner().unwrap();
    records.sort_by_key(|r| (r.session, r.turn));
    let turns: Vec<_> = records.iter().map(|r| (r.session.unwrap(), r.turn.unwrap())).collect();
    assert_eq!(turns, (0..3).flat_map(|s| (0..3).map(move |t| (s, t))).collect::<Vec<_>>());
    for pair in records.windows(2).filter(|p| p[0].session == p[1].session) {
        assert_eq!(pair[1].intended_ns, pair[0].end_ns + 20 * MS);
        assert!(pair[1].dispatched_ns.unwrap() >= pair[1].intended_ns);
    }
    // The third conversation takes the slot of one that has ended.
    let free = records.iter().filter(|r| r.turn == Some(2) && r.session < Some(2)).map(|r| r.end_ns).min();
    assert!(records[6].dispatched_ns.unwrap() >= free.unwrap());
}

#[test]
fn conversations_of_an_open_loop_begin_on_time_and_end_with_the_window() {
    let server = quick();
    let mut client = Client::new(&server.target()).unwrap();
    let limits = Limits { max_duration: Some(Duration::from_millis(120)), ..limits() };
    let arrivals = Box::new((0..4).map(|i| i * 10 * MS));
    let outcome = client
        .converse(
            Pace::Open { arrivals, max_in_flight: None },
            &mut |i| Some(first(i)),
            &limits,
            &Stop::new(),
            Clock::start(),
            &mut |done| Some(next(&done, 40 * MS)),
        )
        .unwrap();
    assert_eq!(outcome.ended, Ended::Duration);
    assert!(outcome.sent > 4 && outcome.sent <= 12, "{outcome:?}");
    assert!(outcome.planned >= outcome.sent);
}

#[test]
fn a_common_start_is_kept_even_when_it_has_passed() {
    let server = quick();
    let clock = Clock::start();
    for (start_at, pace) in [
        (clock.now() + 60 * MS, Pace::Closed { concurrency: 2 }),
        (
            clock.now() + 160 * MS,
            Pace::Open { arrivals: Box::new([0, 5 * MS].into_iter()), max_in_flight: None },
        ),
        (clock.now() - 50 * MS, Pace::Open { arrivals: Box::new([0, MS].into_iter()), max_in_flight: None }),
    ] {
        let seen = Mutex::new(Vec::new());
        let limits = Limits { start_at: Some(start_at), ..limits() };
        let outcome = Client::new(&server.target())
            .unwrap()
            .run(pace, &mut |i| (i < 2).then(|| job(i)), &limits, &Stop::new(), clock, &mut |c| {
                seen.lock().unwrap().push(c.record)
            })
            .unwrap();
        assert_eq!((outcome.start_ns, outcome.sent), (start_at, 2));
        for record in seen.into_inner().unwrap() {
            assert!(record.intended_ns >= start_at && record.intended_ns <= start_at + 5 * MS);
            assert!(record.dispatched_ns.unwrap() >= record.intended_ns);
        }
    }
}
