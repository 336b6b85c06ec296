//! One attempt at one upstream, up to the commit point.
//!
//! Nothing reaches the client before it. For a stream that is its first token: a role, a comment or an empty chunk is
//! held back, since an engine that then dies has answered nothing. For any other answer it is the whole body, up to
//! [`MOST_HELD`].

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use hyper::http::response::Parts;
use hyper::{Request, Response};
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;

use super::pool::{Connection, Pool};
use super::request::Prepared;
use super::settings::Deadlines;
use crate::content::Kept;
use crate::exchange::Failure;
use crate::fleet::InFlight;
use crate::stream_watch::Watch;

/// Bytes that are held back at most. A longer answer is passed on as it comes.
const MOST_HELD: usize = 8 << 20;
/// Longest body of an error that is passed on.
const MOST_OF_ERROR: usize = 256 << 10;
/// How long the body of an error is waited for.
const ERROR_BODY: Duration = Duration::from_secs(2);

/// An attempt that got as far as the commit point.
pub(super) struct Begun {
    pub(super) parts: Parts,
    /// What was held back.
    pub(super) held: Bytes,
    /// The rest of the answer; `None` when it is whole.
    pub(super) rest: Option<(Incoming, Connection)>,
    /// For a stream of events.
    pub(super) watch: Option<Watch>,
    pub(super) in_flight: InFlight,
    pub(super) first_token: Option<Nanos>,
    /// When the last piece came.
    pub(super) last_read: Nanos,
}

/// An attempt that failed before the commit point.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// The upstream's own answer, where it gave one.
    pub(super) answer: Option<(Parts, Bytes)>,
    pub(super) upstream: usize,
}

/// Makes attempt `n`. `pool` is that of the upstream of `in_flight`.
pub(super) async fn attempt(
    prepared: &Prepared,
    n: usize,
    in_flight: InFlight,
    pool: &Pool,
    deadlines: &Deadlines,
    keep: bool,
) -> Result<Begun, Failed> {
    let upstream = in_flight.index();
    let failed = |failure| Failed { failure, answer: None, upstream };
    let (response, connection) = send(prepared, n, &in_flight, pool, deadlines).await.map_err(failed)?;
    let (parts, body) = response.into_parts();
    if matches!(parts.status.as_u16(), 429 | 500 | 502 | 503 | 504 | 529) {
        return Err(error_answer(parts, body, connection, &in_flight, pool).await);
    }
    let header = |name| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let events = header(CONTENT_TYPE).to_ascii_lowercase().starts_with("text/event-stream");
    let plain = matches!(header(CONTENT_ENCODING), "" | "identity");
    if events && plain && parts.status.is_success() {
        let kept = keep.then(|| Box::new(Kept::new(prepared.log_probs)));
        hold_stream(parts, body, connection, in_flight, pool, kept).await.map_err(failed)
    } else {
        hold_body(parts, body, connection, in_flight, pool).await.map_err(failed)
    }
}

/// Sends the request on a connection that was kept, or a new one.
async fn send(
    prepared: &Prepared,
    n: usize,
    in_flight: &InFlight,
    pool: &Pool,
    deadlines: &Deadlines,
) -> Result<(Response<Incoming>, Connection), Failure> {
    let up = in_flight.upstream();
    let mut request: Request<Full<Bytes>> = prepared.for_upstream(up, n);
    let target = &up.spec.target;
    let mut kept = pool.take();
    loop {
        let was_kept = kept.is_some();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => pool.dial(target, deadlines.connect).await?,
        };
        match connection.sender.try_send_request(request).await {
            Ok(response) => return Ok((response, connection)),
            // The upstream closed a connection that was kept: that is its right and no failure.
            Err(mut error) if was_kept && (error.message().is_some() || is_closed(error.error())) => {
                request = error.take_message().unwrap_or_else(|| prepared.for_upstream(up, n));
                pool.clear();
            }
            Err(_) => return Err(Failure::Broken),
        }
    }
}

/// Whether a connection ended before a byte of the answer came.
fn is_closed(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message()
}

/// An answer that blames the upstream, with its body for the client in case nobody does better.
async fn error_answer(
    parts: Parts,
    body: Incoming,
    connection: Connection,
    in_flight: &InFlight,
    pool: &Pool,
) -> Failed {
    let status = parts.status.as_u16();
    if let Some(rest) = retry_after(&parts) {
        let nanos = Nanos::try_from(rest.as_nanos()).unwrap_or(Nanos::MAX / 2);
        in_flight.upstream().rest_until(monotonic_raw().saturating_add(nanos));
    }
    let body = http_body_util::Limited::new(body, MOST_OF_ERROR).collect();
    let answer = match tokio::time::timeout(ERROR_BODY, body).await {
        Ok(Ok(body)) => {
            pool.put(connection);
            Some((parts, body.to_bytes()))
        }
        _ => None,
    };
    Failed { failure: Failure::Status(status), answer, upstream: in_flight.index() }
}

/// The rest that an upstream asks for with 429 or 503: what it says in seconds, a second when it does not say, at most
/// a minute. A date is taken as not said.
fn retry_after(parts: &Parts) -> Option<Duration> {
    matches!(parts.status.as_u16(), 429 | 503 | 529).then(|| {
        let said =
            parts.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse().ok());
        Duration::from_secs(said.unwrap_or(1).min(60))
    })
}

/// Waits for the first token.
async fn hold_stream(
    parts: Parts,
    mut body: Incoming,
    connection: Connection,
    in_flight: InFlight,
    pool: &Pool,
    kept: Option<Box<Kept>>,
) -> Result<Begun, Failure> {
    let mut watch = Watch::keeping(kept);
    let mut held = Held::default();
    loop {
        let frame = body.frame().await;
        let now = monotonic_raw();
        match frame {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                watch.feed(&data);
                held.push(data);
            }
            Some(Err(_)) => return Err(Failure::Broken),
            None if watch.is_complete() => {
                pool.put(connection);
                return Ok(begun(parts, held, None, Some(watch), in_flight, now));
            }
            None => return Err(Failure::Truncated),
        }
        if watch.error_event {
            return Err(Failure::ErrorEvent);
        }
        if watch.malformed {
            return Err(Failure::Malformed);
        }
        if watch.tokens > 0 || watch.done || held.length > MOST_HELD {
            return Ok(begun(parts, held, Some((body, connection)), Some(watch), in_flight, now));
        }
    }
}

/// Waits for the whole body.
async fn hold_body(
    parts: Parts,
    mut body: Incoming,
    connection: Connection,
    in_flight: InFlight,
    pool: &Pool,
) -> Result<Begun, Failure> {
    let mut held = Held::default();
    while held.length <= MOST_HELD {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    held.push(data);
                }
            }
            Some(Err(_)) => return Err(Failure::Broken),
            None => {
                pool.put(connection);
                return Ok(begun(parts, held, None, None, in_flight, monotonic_raw()));
            }
        }
    }
    Ok(begun(parts, held, Some((body, connection)), None, in_flight, monotonic_raw()))
}

fn begun(
    parts: Parts,
    held: Held,
    rest: Option<(Incoming, Connection)>,
    watch: Option<Watch>,
    in_flight: InFlight,
    now: Nanos,
) -> Begun {
    let first_token = watch.as_ref().filter(|w| w.tokens > 0).map(|_| now);
    if first_token.is_some() {
        in_flight.upstream().token_came(now);
    }
    Begun { parts, held: held.join(), rest, watch, in_flight, first_token, last_read: now }
}

/// Pieces that are held back; a single one is passed on without a copy.
#[derive(Default)]
struct Held {
    first: Bytes,
    more: BytesMut,
    length: usize,
}

impl Held {
    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if self.first.is_empty() {
            self.first = piece;
        } else {
            if self.more.is_empty() {
                self.more.extend_from_slice(&self.first);
            }
            self.more.extend_from_slice(&piece);
        }
    }

    fn join(self) -> Bytes {
        if self.more.is_empty() { self.first } else { self.more.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_is_what_the_upstream_asks_for() {
        let asked = |status: u16, header: Option<&str>| {
            let mut builder = Response::builder().status(status);
            if let Some(value) = header {
                builder = builder.header("retry-after", value);
            }
            retry_after(&builder.body(()).unwrap().into_parts().0)
        };
        assert_eq!(asked(429, Some("7")), Some(Duration::from_secs(7)));
        assert_eq!(asked(503, None), Some(Duration::from_secs(1)));
        assert_eq!(asked(503, Some("86400")), Some(Duration::from_secs(60)));
        assert_eq!(asked(429, Some("Fri, 31 Dec 1999 23:59:59 GMT")), Some(Duration::from_secs(1)));
        assert_eq!(asked(500, Some("7")), None);
    }

    #[test]
    fn held_pieces_join_in_order() {
        let mut held = Held::default();
        assert!(Held::default().join().is_empty());
        for piece in ["a", "bc", "d"] {
            held.push(Bytes::from(piece));
        }
        assert_eq!((held.length, held.join()), (4, Bytes::from("abcd")));
    }
}
