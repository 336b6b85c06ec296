//! Running out of descriptors. In a process of its own, since it lowers the limit for all of it.

#![allow(clippy::unwrap_used, reason = "a failed set-up must end the test")]

mod support;

use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use stopwatt_core::{Clock, EndKind};
use stopwatt_load::{Client, Limits, LoadError, Pace, Stop};
use support::*;

#[test]
fn too_few_descriptors_are_a_clear_error_and_lose_no_record() {
    let server = Server::start(|_, _, socket| {
        std::thread::sleep(Duration::from_millis(300));
        send(socket, &good());
        Then::Keep
    });
    let mut client = Client::new(&server.target()).unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(60), maximum: Some(100) }).unwrap();

    let got = client.run(
        Pace::Closed { concurrency: 500 },
        &mut |_| None,
        &limits(),
        &Stop::new(),
        Clock::start(),
        &mut |_| {},
    );
    assert!(matches!(got, Err(LoadError::OpenFiles { needed: 564, limit: 100 })), "{got:?}");

    // Client and server share the limit: about 40 requests find a connection, and the last may find no server.
    let limits = Limits { idle_timeout: Duration::from_secs(2), ..limits() };
    let done = Mutex::new(Vec::new());
    let got = client.run(
        Pace::Open { arrivals: Box::new((0..200).map(|i| i * 2_000_000)), max_in_flight: None },
        &mut |i| Some(job(i)),
        &limits,
        &Stop::new(),
        Clock::start(),
        &mut |c| done.lock().unwrap().push(c.record),
    );
    assert!(matches!(got, Err(LoadError::OpenFiles { .. })), "{got:?}");
    let done = done.into_inner().unwrap();
    let refused = done.iter().filter(|r| r.end == EndKind::Connect).count();
    assert_eq!(refused, 1, "the one that met the limit");
    let good = done.iter().filter(|r| r.end == EndKind::Ok).count();
    assert!(good > 10, "{good} of {}", done.len());
}
