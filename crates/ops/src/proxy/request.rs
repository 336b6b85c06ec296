//! A client's request, read whole so that it can be sent twice, and what upstreams are given of it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use stopwatt_core::Nanos;

use super::said::{Said, hash};
use crate::exchange::Exchange;
use crate::fleet::Upstream;
use crate::trace::{Place, Traced};

/// Headers of one connection or of this proxy; they go no further. `accept-encoding` is left out so that streams can
/// be looked at.
const NOT_PASSED: [&str; 17] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "expect",
    "accept-encoding",
    "x-stopwatt-upstream",
    "x-stopwatt-variant",
    "x-stopwatt-attempts",
    "x-stopwatt-trace-id",
    PROMPT_VERSION,
];
/// Says which version of a prompt a request was made of.
const PROMPT_VERSION: &str = "x-stopwatt-prompt-version";
/// Headers that hold secrets; they go to upstreams that are told to get them.
const SECRETS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"];

/// A request that can be sent to any upstream, again and again.
pub(super) struct Prepared {
    pub(super) method: Method,
    /// Path with query.
    path: String,
    /// The path as one of the few that are known, for labels.
    pub(super) route: &'static str,
    headers: HeaderMap,
    secrets: HeaderMap,
    body: Bytes,
    /// It asks for a stream of events.
    pub(super) streams: bool,
    pub(super) model: Option<String>,
    /// What keeps the client at its variant.
    pub(super) key: Vec<u8>,
    /// The tokens of the answer carry log-probabilities.
    pub(super) log_probs: bool,
    session: Option<String>,
    said: Said,
    prompt_version: Option<String>,
    /// Where it stands in a trace; `None` without traces.
    pub(super) place: Option<Place>,
}

/// Paths that are passed on, for labels; everything under `/v1/` is.
const ROUTES: [&str; 8] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/models",
    "/v1/responses",
    "/tokenize",
    "/detokenize",
    "/version",
];

/// The label of a path; `None` for one that is not passed on.
pub(super) fn route(path: &str) -> Option<&'static str> {
    let known = ROUTES.iter().copied().find(|r| *r == path);
    known.or_else(|| path.starts_with("/v1/").then_some("/v1/…"))
}

impl Prepared {
    /// Takes the request apart. `serial` stands in for a session where the client names none.
    pub(super) fn new(
        parts: &hyper::http::request::Parts,
        body: Bytes,
        route: &'static str,
        sticky: &str,
        serial: u64,
    ) -> Self {
        let said = Said::of(&body);
        let (mut headers, mut secrets) = (HeaderMap::new(), HeaderMap::new());
        let named = connection_headers(&parts.headers);
        for (name, value) in &parts.headers {
            if SECRETS.contains(&name.as_str()) {
                secrets.append(name, value.clone());
            } else if !NOT_PASSED.contains(&name.as_str()) && !named.contains(name) {
                headers.append(name, value.clone());
            }
        }
        let session = parts.headers.get(sticky).map(HeaderValue::as_bytes);
        let key = session
            .or(said.user().map(str::as_bytes))
            .map_or_else(|| serial.to_le_bytes().to_vec(), <[u8]>::to_vec);
        let version = parts.headers.get(PROMPT_VERSION).and_then(|v| v.to_str().ok());
        Self {
            method: parts.method.clone(),
            path: parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
            route,
            headers,
            secrets,
            body,
            streams: said.streams(),
            model: said.model(),
            key,
            log_probs: said.asks_log_probs(),
            session: session.map(|s| String::from_utf8_lossy(s).into_owned()),
            prompt_version: version.and_then(crate::upstream::label),
            said,
            place: None,
        }
    }

    /// The body as the client sent it.
    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// What is known of the request before anybody is asked. `names` tells session and user as they are and not hashed.
    pub(super) fn exchange(&self, received: Nanos, names: bool) -> Exchange {
        let hashed = |text: &str| hash(text.as_bytes());
        let (session, user) = (self.session.as_deref(), self.said.user());
        let told = |text: &str| if names { text.to_owned() } else { format!("{:016x}", hashed(text)) };
        let traced = self.place.map(|place| {
            Box::new(Traced {
                place,
                tries: Vec::new(),
                session: session.map(told),
                user: user.map(told),
                params: self.said.params(),
            })
        });
        Exchange {
            model: self.model.clone(),
            streamed: self.streams,
            session: session.map(hashed),
            user: user.map(hashed),
            template: self.said.template(),
            prompt_version: self.prompt_version.clone(),
            traced,
            ..Exchange::new(self.route, received)
        }
    }

    /// The request as this upstream gets it with attempt `n`.
    pub(super) fn for_upstream(&self, up: &Upstream, n: usize) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        let prefix = up.spec.prefix();
        // Both halves were parts of valid addresses.
        *request.uri_mut() = format!("{prefix}{}", self.path).parse().unwrap_or_default();
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        if up.spec.passes_authorization {
            headers.extend(self.secrets.clone());
        }
        if let Ok(host) = HeaderValue::from_str(&up.spec.authority()) {
            headers.insert(header::HOST, host);
        }
        if let Some(value) = self.place.and_then(|p| HeaderValue::from_str(&p.traceparent(n)).ok()) {
            headers.insert("traceparent", value);
        }
        if let Some(key) = &up.key
            && let Ok(mut value) = HeaderValue::from_str(key)
        {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        request
    }
}

/// Headers that `Connection` names as belonging to the connection.
pub(super) fn connection_headers(headers: &HeaderMap) -> Vec<HeaderName> {
    let lists = headers.get_all(header::CONNECTION).into_iter().filter_map(|v| v.to_str().ok());
    lists.flat_map(|l| l.split(',')).filter_map(|n| n.trim().parse().ok()).collect()
}

/// Takes out of an answer what belongs to the upstream's connection.
pub(super) fn clean_answer(headers: &mut HeaderMap) {
    for name in connection_headers(headers) {
        headers.remove(name);
    }
    for name in
        ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]
    {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Fleet, Settings};
    use crate::upstream::Spec;

    fn prepared(body: &str) -> Prepared {
        let request = Request::post("/v1/completions?x=1")
            .header("host", "localhost:9000")
            .header("authorization", "Bearer client")
            .header("cookie", "c")
            .header("connection", "keep-alive, x-hop")
            .header("x-hop", "1")
            .header("x-request-id", "7")
            .header("x-session-id", "alice")
            .header("accept-encoding", "gzip")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        Prepared::new(&parts, Bytes::from(body.to_owned()), "/v1/completions", "x-session-id", 3)
    }

    #[test]
    fn an_upstream_gets_its_own_host_and_key_and_no_others_secrets() {
        let specs = ["http://a:1/base,key-env=K", "http://b:2", "http://c:3,auth=pass"];
        let specs = specs.iter().map(|s| Spec::parse(s).unwrap()).collect();
        let fleet = Fleet::new(specs, Settings::default(), |_| Some("own".into())).unwrap();
        let prepared = prepared("{}");
        let seen = |i: usize, name: &str| {
            let request = prepared.for_upstream(&fleet.upstreams()[i], 0);
            request.headers().get(name).map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(prepared.for_upstream(&fleet.upstreams()[0], 0).uri(), "/base/v1/completions?x=1");
        assert_eq!(seen(0, "host").as_deref(), Some("a:1"));
        assert_eq!(seen(0, "authorization").as_deref(), Some("Bearer own"));
        assert_eq!((seen(1, "authorization"), seen(1, "cookie")), (None, None));
        assert_eq!(seen(2, "authorization").as_deref(), Some("Bearer client"));
        assert_eq!(seen(1, "x-request-id").as_deref(), Some("7"));
        for gone in ["connection", "x-hop", "accept-encoding", "content-length"] {
            assert_eq!(seen(1, gone), None, "{gone}");
        }
    }

    #[test]
    fn a_body_is_read_for_three_keys_and_passed_on_as_it_is() {
        let text = r#"{"prompt":"\"stream\":true","stream":false,"model":"m","user":"u","n":1}"#;
        let p = prepared(text);
        assert_eq!(
            (p.streams, p.model.as_deref(), p.key.as_slice()),
            (false, Some("m"), b"alice".as_slice())
        );
        assert_eq!(p.body, text.as_bytes());
        assert!(prepared(r#"{"stream":true}"#).streams);
        assert!(!prepared("not json").streams);
    }

    #[test]
    fn administrative_paths_are_not_passed_on() {
        assert_eq!(route("/v1/chat/completions"), Some("/v1/chat/completions"));
        assert_eq!(route("/v1/audio/speech"), Some("/v1/…"));
        for path in ["/", "/sleep", "/metrics", "/reset_prefix_cache", "/v1", "/v11/x"] {
            assert_eq!(route(path), None, "{path}");
        }
    }
}
