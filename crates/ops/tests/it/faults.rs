//! What happens to clients when an upstream fails, in each way that the exact engine can.

use std::time::Duration;

use stopwatt_engine::ExactConfig;
use stopwatt_engine::exact::config::{Faults, RoleChunk};
use stopwatt_ops::admission::Reason;
use stopwatt_ops::exchange::{End, Failure};
use stopwatt_ops::health::State;

use crate::support::{Proxy, Raw, engine, spec, wait_for};

/// A sick engine alone: what its client is told, with which code.
#[track_caller]
fn check_alone(change: impl FnOnce(&mut ExactConfig), failure: Failure) {
    let engine = engine(change);
    let proxy = Proxy::start(&[spec(&engine)], |_| {});
    let answer = proxy.chat();
    assert_eq!(answer.status, 200);
    assert!(answer.whole, "a broken stream is ended, not cut");
    assert!(!answer.is_done(), "and never with a false end");
    assert_eq!(answer.error_code().as_deref(), Some(failure.name()), "{}", answer.body);
    assert!(answer.took < Duration::from_secs(3));
    let seen = proxy.recorded(1).remove(0);
    assert_eq!((seen.end, seen.committed), (End::Failed(failure), true));
    let page = proxy.telemetry.render(&proxy.fleet);
    assert!(
        page.lines().any(|l| l.starts_with("stopwatt_streams_marked_total{") && l.ends_with(" 1")),
        "{page}"
    );
}

/// A sick engine beside a healthy one, failing before the first token: nobody notices.
#[track_caller]
fn check_beside(change: impl FnOnce(&mut ExactConfig)) {
    let (sick, well) = (engine(change), engine(|_| {}));
    let proxy =
        Proxy::start(&[spec(&sick), spec(&well)], |s| s.deadlines.first_token = Duration::from_millis(400));
    for _ in 0..6 {
        let answer = proxy.chat();
        assert!(answer.is_done() && answer.error_code().is_none(), "{}", answer.body);
        assert_eq!(answer.header("x-stopwatt-upstream"), Some(well.addr().to_string().as_str()));
    }
    // Three failures eject; then nobody asks it any more.
    assert_eq!(proxy.fleet.upstreams()[0].ejected(), Some(Reason::Failures));
}

fn faults(change: impl FnOnce(&mut Faults)) -> impl FnOnce(&mut ExactConfig) {
    move |c| change(&mut c.faults)
}

#[test]
fn a_reset_after_the_first_token_is_told() {
    check_alone(faults(|f| f.reset = 1.0), Failure::Reset);
}

#[test]
fn a_clean_end_without_done_is_told() {
    // The connection closes inside a chunked body, which is the same as a reset to whoever reads it.
    check_alone(faults(|f| f.cut = 1.0), Failure::Reset);
}

#[test]
fn a_stall_is_told_within_its_deadline() {
    check_alone(faults(|f| f.stall = 1.0), Failure::ChunkTimeout);
}

#[test]
fn a_chunked_body_that_ends_well_without_a_finish_is_told() {
    let raw = Raw::start(Some(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
         data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"del",
    ));
    let proxy = Proxy::start(&[raw.spec()], |_| {});
    let answer = proxy.chat();
    assert_eq!(answer.error_code().as_deref(), Some("truncated"));
    assert!(!answer.body.contains("\"del\n"), "half an event is not passed on: {}", answer.body);
}

#[test]
fn an_event_that_cannot_be_read_is_told() {
    check_alone(faults(|f| f.garbled = 1.0), Failure::Malformed);
}

#[test]
fn an_event_that_cannot_be_read_is_held_back_and_what_came_before_it_is_not() {
    let raw = Raw::start(Some(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
         data: {\"choices\":[{\"delta\":{\"content\":\"first\"}}]}\n\n",
    ));
    // What follows comes in one piece of its own.
    raw.then(
        "data: {\"choices\":[{\"delta\":{\"content\":\"second\"}}]}\n\n\
         data: {\"choices\":[{\"del\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"third\"}}]}\n\n",
    );
    let proxy = Proxy::start(&[raw.spec()], |_| {});
    let answer = proxy.chat();
    assert!(answer.body.contains("first") && answer.body.contains("second"), "{}", answer.body);
    assert!(!answer.body.contains("\"del\n") && !answer.body.contains("third"), "{}", answer.body);
    assert_eq!(answer.error_code().as_deref(), Some("malformed"));
}

#[test]
fn who_sends_events_that_cannot_be_read_gets_no_more_requests() {
    let (sick, well) = (engine(faults(|f| f.garbled = 1.0)), engine(|_| {}));
    let proxy = Proxy::start(&[spec(&sick), spec(&well)], |_| {});
    wait_for("the ejection", || {
        let answer = proxy.chat();
        assert!(answer.is_done() != (answer.error_code().as_deref() == Some("malformed")), "{}", answer.body);
        proxy.fleet.upstreams()[0].ejected() == Some(Reason::Failures)
    });
    let answer = proxy.chat();
    assert!(answer.is_done(), "{}", answer.body);
}

#[test]
fn an_event_that_cannot_be_read_before_the_first_token_is_anothers_turn() {
    check_beside(|c| (c.faults.garbled, c.faults.at) = (1.0, 0.0));
}

#[test]
fn an_error_500_is_anothers_turn() {
    check_beside(faults(|f| f.http_500 = 1.0));
}

#[test]
fn a_reset_before_the_first_token_is_anothers_turn() {
    check_beside(|c| {
        (c.faults.reset, c.faults.at) = (1.0, 0.0);
        c.shape.role_chunk = RoleChunk::AtOnce;
    });
}

#[test]
fn a_stream_that_ends_before_its_first_token_is_anothers_turn() {
    check_beside(|c| (c.faults.cut, c.faults.at) = (1.0, 0.0));
}

#[test]
fn a_stall_before_the_first_token_is_anothers_turn() {
    check_beside(|c| {
        (c.faults.stall, c.faults.at) = (1.0, 0.0);
        c.shape.role_chunk = RoleChunk::AtOnce;
    });
}

#[test]
fn an_error_event_before_the_first_token_is_anothers_turn() {
    check_beside(|c| (c.faults.error_event, c.faults.at) = (1.0, 0.0));
}

#[test]
fn an_error_500_of_everybody_is_passed_on() {
    let engine = engine(faults(|f| f.http_500 = 1.0));
    let proxy = Proxy::start(&[spec(&engine)], |_| {});
    let answer = proxy.chat();
    assert_eq!((answer.status, answer.is_done()), (500, false));
    assert_eq!(proxy.recorded(1)[0].end, End::Failed(Failure::Status(500)));
}

#[test]
fn a_full_upstream_is_left_alone_for_as_long_as_it_asks() {
    let full = Raw::start(Some(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 30\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
    ));
    let well = engine(|_| {});
    let proxy = Proxy::start(&[full.spec(), spec(&well)], |_| {});
    for _ in 0..5 {
        assert!(proxy.chat().is_done());
    }
    assert_eq!(full.requests.lock().unwrap().len(), 1);
    assert_eq!(proxy.fleet.upstreams()[0].ejected(), None, "full is not sick");
    let alone = Proxy::start(&[full.spec()], |_| {});
    let answer = alone.chat();
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("30")));
}

#[test]
fn a_hedge_wins_over_a_slow_first_token() {
    let (slow, fast) = (engine(|c| c.ttft_s = 6.0), engine(|_| {}));
    let proxy =
        Proxy::start(&[spec(&slow), spec(&fast)], |s| s.hedge_after = Some(Duration::from_millis(50)));
    let answer = proxy.chat();
    assert!(answer.is_done() && answer.took < Duration::from_secs(4));
    assert_eq!(answer.header("x-stopwatt-attempts"), Some("2"));
    assert_eq!(answer.header("x-stopwatt-upstream"), Some(fast.addr().to_string().as_str()));
    // The loser is cut off, so that its engine does not go on for nobody.
    wait_for("the slow one to be let go", || proxy.fleet.upstreams()[0].in_flight() == 0);
}

#[test]
fn an_upstream_that_hangs_is_found_and_its_waiting_requests_move_on() {
    let (hung, well) = (Raw::start(None), engine(|_| {}));
    let proxy =
        Proxy::watching(&[hung.spec(), spec(&well)], |s| s.deadlines.first_token = Duration::from_secs(15));
    let answer = proxy.chat();
    assert!(answer.is_done(), "{}", answer.body);
    assert!(answer.took < Duration::from_secs(3), "{:?}", answer.took);
    assert_eq!(answer.header("x-stopwatt-upstream"), Some(well.addr().to_string().as_str()));
    assert_eq!(proxy.fleet.upstreams()[0].ejected(), Some(Reason::Stalled));
    assert!(proxy.chat().took < Duration::from_secs(2));
}

#[test]
fn an_engine_that_answers_health_and_makes_no_progress_is_found() {
    let stuck = engine(|c| (c.faults.stall, c.faults.at) = (1.0, 0.0));
    let well = engine(|_| {});
    let proxy =
        Proxy::watching(&[spec(&stuck), spec(&well)], |s| s.deadlines.first_token = Duration::from_secs(15));
    let answer = proxy.chat();
    assert!(answer.is_done() && answer.took < Duration::from_secs(4), "{:?}", answer.took);
    let up = &proxy.fleet.upstreams()[0];
    assert_eq!((up.state(), up.ejected()), (State::Stalled, Some(Reason::Stalled)));
    assert_eq!(proxy.fleet.upstreams()[1].ejected(), None);
    assert_eq!(proxy.seen.lock().unwrap().len(), 1, "canaries are no requests");
}
