//! Kernel receive stamps: what is recorded does not depend on when the client reads. Linux only.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed set-up must end the test")]

mod support;

use std::sync::Mutex;
use std::time::Duration;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::{Clock, EndKind};
use stopwatt_load::{Client, KernelStamps, Pace, Stop};
use support::*;

/// Sends tokens 5 ms apart and notes when it did, raw.
fn paced(tokens: usize) -> (Server, std::sync::Arc<Mutex<Vec<i64>>>) {
    let written = std::sync::Arc::new(Mutex::new(Vec::new()));
    let notes = std::sync::Arc::clone(&written);
    let server = Server::start(move |_, _, socket| {
        send(socket, HEAD);
        for _ in 0..tokens {
            std::thread::sleep(Duration::from_millis(5));
            notes.lock().unwrap().push(monotonic_raw());
            send(socket, &token("a"));
        }
        send(socket, &[event("[DONE]").as_str(), END].concat());
        Then::Keep
    });
    (server, written)
}

#[test]
fn chunks_carry_the_time_of_their_arrival() {
    let (server, written) = paced(40);
    let mut client = Client::new(&server.target()).unwrap();
    // The kernel begins to stamp a moment after the first socket asked for it.
    run_with(&mut client, Pace::Closed { concurrency: 1 }, 1, &limits(), &Stop::new());
    written.lock().unwrap().clear();
    let (clock, mut records) = (Clock::start(), Vec::new());
    let mut on_done = |done: stopwatt_load::Completed| records.push(done.record);
    let mut jobs = |i| (i < 1).then(|| job(i));
    let outcome = client
        .run(Pace::Closed { concurrency: 1 }, &mut jobs, &limits(), &Stop::new(), clock, &mut on_done)
        .unwrap();
    assert_eq!(records[0].end, EndKind::Ok);
    let reads = outcome.reads;
    assert!(reads.kernel >= 40 && reads.user <= 2, "{reads:?}");
    assert!(reads.pieces >= 41 && reads.lag_p99_s.is_some(), "{reads:?}");
    // Loopback delivers inside the write: a loaded machine may stop the writer before it, not between the two.
    let mut lags: Vec<i64> = records[0]
        .token_chunks()
        .zip(written.lock().unwrap().iter())
        .map(|(chunk, t)| chunk.t_ns - clock.from_raw(*t))
        .collect();
    assert!(lags.iter().all(|l| *l >= 0), "{lags:?}");
    lags.sort_unstable();
    assert!(lags[20] < 500_000, "{lags:?}");
}

#[test]
fn stamps_are_the_clients_own_when_told_so() {
    let (server, _) = paced(5);
    let mut client = Client::new(&server.target()).unwrap().with_kernel_stamps(KernelStamps::Off);
    let (done, outcome) = run_with(&mut client, Pace::Closed { concurrency: 1 }, 2, &limits(), &Stop::new());
    assert_eq!(done.len(), 2);
    assert_eq!((outcome.reads.kernel, outcome.reads.lag_p99_s), (0, None));
    assert!(outcome.reads.user > 10);
}

#[test]
fn many_slow_streams_are_read_in_fewer_wake_ups_and_lose_nothing() {
    let (server, _) = paced(100);
    let mut client = Client::new(&server.target()).unwrap();
    let (done, outcome) =
        run_with(&mut client, Pace::Closed { concurrency: 32 }, 64, &limits(), &Stop::new());
    assert!(done.iter().all(|d| d.record.end == EndKind::Ok && d.record.token_chunks().count() == 100));
    assert_eq!(done.len(), 64);
    // Arrivals keep their distances, however late they are read.
    let out_of_order = done.iter().filter(|d| !d.record.chunks.is_sorted_by_key(|c| c.t_ns)).count();
    assert_eq!(out_of_order, 0);
    assert!(outcome.reads.kernel > 10 * outcome.reads.user, "{:?}", outcome.reads);
}
