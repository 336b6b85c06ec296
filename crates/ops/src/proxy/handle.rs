//! What happens to a request: who is asked, who is asked next, and what the client gets.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_wire::access;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::answer::{self, refuse, whole};
use super::attempt::{Begun, Failed, attempt};
use super::pool::Pool;
use super::relay::{Answer, Relay, left};
use super::request::{Prepared, clean_answer, route};
use super::settings::Settings;
use crate::admission::Reason;
use crate::content::{Answered, Content};
use crate::exchange::{End, Exchange, Failure};
use crate::feedback::Feedback;
use crate::fleet::{Fleet, InFlight};
use crate::stream_watch::WholeEvents;
use crate::telemetry::Telemetry;
use crate::trace::{Try, hex};

/// Longest body in one piece that is searched for its token counts.
const MOST_READ: usize = 1 << 20;
/// Longest body of a feedback.
const MOST_FEEDBACK: usize = 16 << 10;

/// Is told of every request that has ended.
pub type Observer = Box<dyn Fn(&Exchange) + Send + Sync>;

/// The proxy, shared by all connections.
pub(super) struct Proxy {
    pub(super) fleet: Arc<Fleet>,
    pub(super) settings: Settings,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) pools: Vec<Pool>,
    pub(super) observers: Vec<Observer>,
    /// Cuts off the streams that are left when draining takes too long.
    pub(super) cut: CancellationToken,
    pub(super) serial: AtomicU64,
    /// One page of metrics is made at a time.
    pub(super) rendering: Arc<Semaphore>,
}

/// An attempt that goes on.
type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Begun, Failed>> + Send + 'a>>;

/// Where a client's request has come to.
struct Course {
    attempts: u32,
    upstream: Option<usize>,
    /// For traces; empty without them.
    tries: Vec<Try>,
}

impl Course {
    /// An attempt failed.
    fn failed(&mut self, failed: &Failed) {
        let open = |t: &&mut Try| t.upstream == failed.upstream && t.failed.is_none();
        if let Some(attempt) = self.tries.iter_mut().rev().find(open) {
            attempt.failed = Some((monotonic_raw(), failed.failure));
        }
    }
}

impl Proxy {
    /// Answers a request.
    pub(super) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Answer> {
        let path = request.uri().path();
        if path == "/health" {
            let usable = self.fleet.upstreams().iter().any(|u| u.is_usable());
            return whole(if usable { 200 } else { 503 }, "text/plain", Bytes::new());
        }
        let header = |name: HeaderName| request.headers().get(name);
        let text = |name| header(name).map(|v| v.to_str().unwrap_or("\0"));
        // A request in absolute form names its host there.
        let host = request.uri().authority().map(|a| a.as_str()).or_else(|| text(header::HOST));
        let authorization = header(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if let Err(refusal) =
            access::admit(self.settings.token.as_ref(), host, text(header::ORIGIN), authorization)
        {
            // The page asks for the token, so its files, which hold no data, come without.
            if refusal == access::Refusal::NoToken
                && let Some(file) = self.page_file(request.method(), path)
            {
                return file;
            }
            return refuse(refusal.status(), &refusal.to_string(), "invalid_request_error", "not_allowed");
        }
        match (request.method(), path) {
            (&Method::GET, "/metrics") => {
                return self.metrics().await;
            }
            (&Method::GET, "/status") => {
                let status = crate::status::of(&self.fleet).to_string();
                return whole(200, "application/json", Bytes::from(status));
            }
            (&Method::POST, "/feedback") => {
                if let Some(feedback) = self.settings.feedback.clone() {
                    return take_feedback(&feedback, request).await;
                }
            }
            (&Method::GET, _) => {
                if let Some(answer) = self.page(path, request.uri().query()).await {
                    return answer;
                }
            }
            _ => {}
        }
        let Some(route) = route(path) else {
            return refuse(404, "there is nothing at this path", "invalid_request_error", "not_found");
        };
        self.pass_on(request, route).await
    }

    /// The exporter's page. Making it takes its time, which is not that of this thread; whoever asks while one is
    /// made waits for a turn, so that many who ask do not take the processors from the engines.
    async fn metrics(self: Arc<Self>) -> Response<Answer> {
        let failed = || refuse(500, "making the page failed", "internal_error", "no_metrics");
        let Ok(turn) = Arc::clone(&self.rendering).acquire_owned().await else { return failed() };
        let render = move || {
            let page = self.telemetry.render(&self.fleet);
            // Held until it is made, also when nobody waits for it any more.
            drop(turn);
            page
        };
        match tokio::task::spawn_blocking(render).await {
            Ok(page) => whole(200, crate::telemetry::CONTENT_TYPE, Bytes::from(page)),
            Err(_) => failed(),
        }
    }

    async fn pass_on(self: Arc<Self>, request: Request<Incoming>, route: &'static str) -> Response<Answer> {
        let (mut parts, body) = request.into_parts();
        let body = match Limited::new(body, self.settings.max_body_bytes).collect().await {
            Ok(body) => body.to_bytes(),
            Err(e) if e.is::<LengthLimitError>() => {
                return refuse(413, "the body is too long", "invalid_request_error", "too_long");
            }
            Err(_) => return refuse(400, "the body is not complete", "invalid_request_error", "incomplete"),
        };
        if self.settings.token.is_some() {
            // It was the proxy's, and goes no further.
            parts.headers.remove(header::AUTHORIZATION);
        }
        let received = monotonic_raw();
        let serial = self.serial.fetch_add(1, Relaxed);
        let mut prepared = Prepared::new(&parts, body, route, &self.settings.sticky_header, serial);
        prepared.place = self.settings.tracing.map(|tracing| {
            let parent = parts.headers.get("traceparent").map(HeaderValue::as_bytes);
            tracing.ids.place(serial, parent)
        });
        self.fleet.request_came();
        self.telemetry.began();
        // A client that goes away while nothing has come drops this future, and with it the guard.
        let request = (!self.settings.keepers.is_empty()).then(|| prepared.body());
        let mut guard =
            Guard { proxy: &self, exchange: Some(self.begin(&prepared, received)), request: request.clone() };
        let mut course = Course { attempts: 0, upstream: None, tries: Vec::new() };
        let total = self.settings.deadlines.total;
        let result =
            match timeout(left(total, received, monotonic_raw()), self.ask(&prepared, &mut course)).await {
                Ok(result) => result,
                Err(_) => Err((Failure::TotalTimeout, None)),
            };
        let mut exchange = guard.exchange.take().unwrap_or_else(|| self.begin(&prepared, received));
        exchange.attempts = course.attempts;
        exchange.upstream = course.upstream;
        if let Some(traced) = &mut exchange.traced {
            traced.tries = course.tries;
        }
        drop(guard);
        match result {
            Ok(begun) => Arc::clone(&self).answer(begun, exchange, request),
            Err((failure, own)) => {
                let mut response = match own {
                    Some((mut parts, body)) => {
                        clean_answer(&mut parts.headers);
                        Response::from_parts(parts, Answer::Whole(Some(body)))
                    }
                    None => answer::failed(failure),
                };
                self.mark(&mut response, &exchange);
                exchange.status = response.status().as_u16();
                exchange.end = End::Failed(failure);
                exchange.ended = monotonic_raw();
                self.finished(&exchange, request, Answered::Nothing);
                response
            }
        }
    }

    fn begin(&self, prepared: &Prepared, received: Nanos) -> Exchange {
        prepared.exchange(received, self.settings.tracing.is_some_and(|t| t.names))
    }

    /// Asks one upstream, and another when that fails before the first token.
    async fn ask(
        self: &Arc<Self>,
        prepared: &Prepared,
        course: &mut Course,
    ) -> Result<Begun, (Failure, Option<(hyper::http::response::Parts, Bytes)>)> {
        let Some(first) = self.fleet.choose(&prepared.key, None, monotonic_raw()) else {
            return Err((Failure::NoUpstream, None));
        };
        let mut failed = match self.first(prepared, first, course).await {
            Ok(begun) => return Ok(begun),
            Err(failed) => failed,
        };
        self.blame(&failed, course);
        // As many turns as there are others: a refused connection costs nothing, so it does not use up the turn.
        for _ in 1..self.fleet.upstreams().len() {
            let now = monotonic_raw();
            let next = self.fleet.choose(&prepared.key, Some(failed.upstream), now);
            let Some(next) = next.filter(|n| self.may_ask_again(&failed, *n, course, now)) else { break };
            self.telemetry.retried(failed.upstream, failed.failure);
            let cheap = matches!(failed.failure, Failure::Refused | Failure::ConnectTimeout | Failure::Tls);
            match self.single(prepared, next, course).await {
                Ok(begun) => return Ok(begun),
                Err(again) => {
                    self.blame(&again, course);
                    failed = again;
                }
            }
            if !cheap {
                break;
            }
        }
        Err((failed.failure, failed.answer))
    }

    /// Whether a second attempt may be made. One that moves off an upstream that does no work adds no load, and is
    /// free; the rest comes from the budget, and is not for upstreams that are out themselves.
    fn may_ask_again(&self, failed: &Failed, next: usize, course: &Course, now: Nanos) -> bool {
        if !self.fleet.has_other(failed.upstream, now) || self.fleet.upstreams()[next].ejected().is_some() {
            return false;
        }
        let gone = !self.fleet.upstreams()[failed.upstream].is_usable();
        let free = gone
            || matches!(
                failed.failure,
                Failure::Refused | Failure::ConnectTimeout | Failure::Tls | Failure::Ejected
            );
        course.attempts < self.fleet.upstreams().len() as u32 + 1 && (free || self.fleet.may_retry(now))
    }

    /// The first attempt, with a hedge beside it where that is asked for.
    async fn first(
        self: &Arc<Self>,
        prepared: &Prepared,
        first: usize,
        course: &mut Course,
    ) -> Result<Begun, Failed> {
        let Some(after) = self.settings.hedge_after.filter(|_| prepared.streams) else {
            return self.single(prepared, first, course).await;
        };
        let mut one = self.begin_attempt(prepared, first, course);
        tokio::select! {
            biased;
            result = &mut one => return result,
            () = sleep(after) => {}
        }
        let now = monotonic_raw();
        let second = self.fleet.choose(&prepared.key, Some(first), now);
        let well =
            |s: &usize| self.fleet.upstreams()[*s].ejected().is_none() && self.fleet.has_other(first, now);
        let Some(second) = second.filter(well).filter(|_| self.fleet.may_retry(now)) else {
            return one.await;
        };
        self.telemetry.hedged(first);
        let mut two = self.begin_attempt(prepared, second, course);
        // Whoever brings the first token wins; the other is cut off by being dropped. One that fails leaves the other.
        tokio::select! {
            result = &mut one => match result {
                Ok(begun) => { course.upstream = Some(first); Ok(begun) }
                Err(failed) => { self.blame(&failed, course); two.await }
            },
            result = &mut two => match result {
                Ok(begun) => Ok(begun),
                Err(failed) => { self.blame(&failed, course); course.upstream = Some(first); one.await }
            },
        }
    }

    /// An attempt that is given up when its upstream is found sick and another is well.
    async fn single(
        self: &Arc<Self>,
        prepared: &Prepared,
        upstream: usize,
        course: &mut Course,
    ) -> Result<Begun, Failed> {
        let mut ejected = self.fleet.upstreams()[upstream].watch();
        let was_out = ejected.borrow().is_some();
        let mut going = self.begin_attempt(prepared, upstream, course);
        if was_out {
            return going.await;
        }
        let sick = async {
            loop {
                // Failures of others say nothing of this request; a hang does.
                let hung = |r: &Option<Reason>| matches!(r, Some(Reason::Stalled | Reason::Dead));
                if ejected.wait_for(hung).await.is_err() {
                    std::future::pending::<()>().await;
                }
                if self.fleet.has_other(upstream, monotonic_raw()) {
                    return;
                }
                sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        let sick = pin!(sick);
        tokio::select! {
            biased;
            result = &mut going => result,
            () = sick => Err(Failed { failure: Failure::Ejected, answer: None, upstream }),
        }
    }

    fn begin_attempt<'a>(
        &'a self,
        prepared: &'a Prepared,
        upstream: usize,
        course: &mut Course,
    ) -> Attempt<'a> {
        course.attempts += 1;
        course.upstream = Some(upstream);
        let n = (course.attempts - 1) as usize;
        if prepared.place.is_some() {
            course.tries.push(Try { upstream, began: monotonic_raw(), failed: None });
        }
        let keep = !self.settings.keepers.is_empty();
        let in_flight = InFlight::new(&self.fleet, upstream);
        let deadlines = &self.settings.deadlines;
        // An answer that comes whole may take as long as the request.
        let limit = if prepared.streams { deadlines.first_token } else { deadlines.total };
        Box::pin(async move {
            let going = attempt(prepared, n, in_flight, &self.pools[upstream], deadlines, keep);
            match timeout(limit, going).await {
                Ok(result) => result,
                Err(_) => Err(Failed { failure: Failure::FirstTokenTimeout, answer: None, upstream }),
            }
        })
    }

    fn blame(&self, failed: &Failed, course: &mut Course) {
        course.failed(failed);
        self.telemetry.attempt_failed(failed.upstream, failed.failure);
        if failed.failure.blames_upstream() {
            self.fleet.outcome(failed.upstream, false);
        }
    }

    /// The commit point: from here on the client gets what this upstream sends.
    fn answer(
        self: Arc<Self>,
        begun: Begun,
        mut exchange: Exchange,
        request: Option<Bytes>,
    ) -> Response<Answer> {
        let Begun { mut parts, held, rest, watch, mut in_flight, first_token, last_read } = begun;
        clean_answer(&mut parts.headers);
        if watch.is_some() {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        exchange.status = parts.status.as_u16();
        exchange.committed = true;
        exchange.streamed = watch.is_some();
        (exchange.first_token, exchange.last_token) = (first_token, first_token);
        let mut response = Response::from_parts(parts, ());
        self.mark(&mut response, &exchange);
        if watch.is_none() && rest.is_none() {
            exchange.end = End::Answered;
            exchange.ended = monotonic_raw();
            exchange.cost_dollars = in_flight.settle();
            drop(in_flight);
            if exchange.status < 400 && held.len() <= MOST_READ {
                super::whole_answer::read(&held, &mut exchange);
            }
            self.finished(&exchange, request, Answered::Whole(held.clone()));
            return response.map(|()| Answer::Whole(Some(held)));
        }
        let limit = self.settings.deadlines.between_chunks;
        let relay = Relay {
            shutdown: Box::pin(self.cut.clone().cancelled_owned()),
            timer: Box::pin(sleep(limit)),
            proxy: self,
            held,
            body: rest,
            watch,
            whole: WholeEvents::default(),
            in_flight: Some(in_flight),
            last_read,
            exchange,
            request,
            recorded: false,
        };
        response.map(|()| Answer::Relay(Box::new(relay)))
    }

    /// Says in the answer who gave it.
    fn mark<T>(&self, response: &mut Response<T>, exchange: &Exchange) {
        let headers = response.headers_mut();
        if let Some(up) = exchange.upstream.map(|i| &self.fleet.upstreams()[i]) {
            for (name, value) in
                [("x-stopwatt-upstream", &up.spec.name), ("x-stopwatt-variant", &up.spec.variant)]
            {
                if let Ok(value) = HeaderValue::from_str(value) {
                    headers.insert(name, value);
                }
            }
        }
        headers.insert("x-stopwatt-attempts", HeaderValue::from(exchange.attempts));
        if let Some(traced) = &exchange.traced
            && let Ok(value) = HeaderValue::from_str(&hex(&traced.place.trace))
        {
            headers.insert("x-stopwatt-trace-id", value);
        }
    }

    /// A request has ended. `request` is its body where somebody asked for what was said.
    pub(super) fn finished(&self, exchange: &Exchange, request: Option<Bytes>, answer: Answered) {
        if let Some(upstream) = exchange.upstream {
            match exchange.end {
                End::Answered => self.fleet.outcome(upstream, true),
                // Before the commit point the attempt was blamed already.
                End::Failed(failure) if exchange.committed && failure.blames_upstream() => {
                    self.fleet.outcome(upstream, false);
                }
                _ => {}
            }
        }
        self.telemetry.finished(exchange);
        if let Some(feedback) = &self.settings.feedback {
            feedback.expect(exchange);
        }
        for observer in &self.observers {
            observer(exchange);
        }
        if let Some(request) = request {
            let content = Arc::new(Content { request, answer });
            self.settings.keepers.iter().for_each(|keeper| keeper.look(exchange, &content));
        }
    }
}

/// Takes what a user says of an answer.
async fn take_feedback(feedback: &Feedback, request: Request<Incoming>) -> Response<Answer> {
    let body = match Limited::new(request.into_body(), MOST_FEEDBACK).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return refuse(413, "the body is too long", "invalid_request_error", "too_long"),
    };
    match feedback.take(&body) {
        Ok(()) => whole(202, "application/json", Bytes::from_static(b"{}")),
        Err(problem) => {
            refuse(problem.status(), &problem.to_string(), "invalid_request_error", problem.code())
        }
    }
}

/// Records a request whose client went away before it was answered.
struct Guard<'a> {
    proxy: &'a Proxy,
    exchange: Option<Exchange>,
    request: Option<Bytes>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.ended = monotonic_raw();
            self.proxy.finished(&exchange, self.request.take(), Answered::Nothing);
        }
    }
}
