//! Which request goes where, who may ask, and the answers that need no generation.

use std::sync::Arc;

use serde_json::json;
use stopwatt_core::clock::unix_now;
use stopwatt_wire::access::{self, Token};

use super::answer::{Answer, Endpoint, EventStyle, tokenized};
use super::error::ApiError;
use crate::net::{Head, Method, Reply};
use crate::telemetry::Metrics;
use crate::words::mix;

/// A request that needs the kind that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Completions,
    Chat,
    Tokenize,
}

/// What all kinds have in common.
#[derive(Debug)]
pub(crate) struct Surface {
    pub(crate) model_name: String,
    pub(crate) max_model_len: u32,
    pub(crate) metrics: Arc<Metrics>,
    /// UNIX seconds of the start.
    created: i64,
    token: Option<Token>,
}

impl Surface {
    pub(crate) fn new(model_name: String, max_model_len: u32, token: Option<Token>) -> Self {
        let metrics = Arc::new(Metrics::new(&model_name));
        Self { model_name, max_model_len, metrics, created: unix_now() / 1_000_000_000, token }
    }

    /// An answer to the `index`-th request of this server, which `given` names if its client did.
    pub(crate) fn answer(
        &self,
        endpoint: Endpoint,
        style: EventStyle,
        given: Option<&str>,
        index: u64,
    ) -> Answer {
        let (now, start) = (unix_now() / 1_000_000_000, self.created.cast_unsigned() << 32);
        Answer::new(endpoint, style, endpoint.answer_id(given, mix(start + index)), now, &self.model_name)
    }

    /// Answers at once, or says which call it is.
    pub(crate) fn route(&self, head: &Head) -> Result<Call, Reply> {
        let known = match head.path.as_str() {
            "/health" | "/ping" | "/version" | "/metrics" | "/v1/models" => Method::Get,
            "/v1/completions" | "/v1/chat/completions" | "/tokenize" => Method::Post,
            path => {
                self.admit(head)?;
                return Err(ApiError::new(404, format!("there is nothing at {path}")).into());
            }
        };
        if head.method != known {
            let allowed = if known == Method::Get { "GET" } else { "POST" };
            let mut reply = Reply::from(ApiError::new(405, format!("{} takes only {allowed}", head.path)));
            reply.header = Some(("allow", allowed));
            return Err(reply);
        }
        if matches!(head.path.as_str(), "/health" | "/ping") {
            return Err(Reply::text(200, ""));
        }
        self.admit(head)?;
        match head.path.as_str() {
            "/version" => {
                Err(Reply::json(200, json!({"version": env!("CARGO_PKG_VERSION")}).to_string().into()))
            }
            "/metrics" => Err(self.metrics()),
            "/v1/models" => Err(self.models()),
            "/v1/completions" => Ok(Call::Completions),
            "/v1/chat/completions" => Ok(Call::Chat),
            _ => Ok(Call::Tokenize),
        }
    }

    fn admit(&self, head: &Head) -> Result<(), ApiError> {
        access::admit(
            self.token.as_ref(),
            head.host.as_deref(),
            head.origin.as_deref(),
            head.authorization.as_deref(),
        )
        .map_err(|refusal| ApiError::new(refusal.status(), refusal.to_string()))
    }

    fn metrics(&self) -> Reply {
        let mut reply = Reply::text(200, self.metrics.render());
        reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
        reply
    }

    fn models(&self) -> Reply {
        let model = json!({
            "id": self.model_name, "object": "model", "created": self.created, "owned_by": "stopwatt",
            "root": self.model_name, "parent": null, "max_model_len": self.max_model_len,
        });
        Reply::json(200, json!({"object": "list", "data": [model]}).to_string().into())
    }

    /// The answer to `/tokenize`.
    pub(crate) fn tokenized(&self, ids: &[u32], strings: Option<&[String]>) -> Reply {
        Reply::json(200, tokenized(ids, self.max_model_len, strings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, path: &str, host: Option<&str>) -> Head {
        Head {
            method,
            path: path.to_owned(),
            keep_alive: true,
            http11: true,
            host: host.map(str::to_owned),
            origin: None,
            authorization: None,
            request_id: None,
        }
    }

    #[track_caller]
    fn status(surface: &Surface, head: &Head) -> u16 {
        surface.route(head).map_or_else(|reply| reply.status, |_| 200)
    }

    #[test]
    fn only_this_machine_is_served_without_a_token() {
        let surface = Surface::new("m".into(), 10, None);
        let asked = |host| status(&surface, &head(Method::Post, "/v1/completions", host));
        for host in [
            None,
            Some("localhost"),
            Some("LOCALHOST:80"),
            Some("127.0.0.1:8080"),
            Some("[::1]:8080"),
            Some("[::1]"),
        ] {
            assert_eq!(asked(host), 200, "{host:?}");
        }
        for host in ["example.org", "localhost.example.org", "10.0.0.1:8080", ""] {
            assert_eq!(asked(Some(host)), 403, "{host:?}");
        }
        let mut from_page = head(Method::Get, "/metrics", Some("localhost"));
        from_page.origin = Some("http://example.org".into());
        assert_eq!(status(&surface, &from_page), 403);
        from_page.origin = Some("http://localhost:3000".into());
        assert_eq!(status(&surface, &from_page), 200);
        from_page.origin = Some("null".into());
        assert_eq!(status(&surface, &from_page), 403);
    }

    #[test]
    fn a_token_is_asked_of_everyone_but_for_health() {
        let surface = Surface::new("m".into(), 10, Some(Token::new("secret")));
        let mut asked = head(Method::Get, "/v1/models", Some("example.org"));
        assert_eq!(status(&surface, &asked), 401);
        for (given, expected) in
            [("Bearer secret", 200), ("bearer secret ", 200), ("Bearer secre", 401), ("secret", 401)]
        {
            asked.authorization = Some(given.into());
            assert_eq!(status(&surface, &asked), expected, "{given}");
        }
        asked.authorization = None;
        asked.path = "/health".into();
        assert_eq!(status(&surface, &asked), 200);
    }

    #[test]
    fn wrong_methods_name_the_right_one() {
        let surface = Surface::new("m".into(), 10, None);
        let reply = surface.route(&head(Method::Get, "/v1/completions", None)).unwrap_err();
        assert_eq!((reply.status, reply.header), (405, Some(("allow", "POST"))));
        assert_eq!(status(&surface, &head(Method::Get, "/v2", None)), 404);
    }
}
