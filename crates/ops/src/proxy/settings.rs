//! What the proxy is asked to be.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use stopwatt_wire::access::Token;

use crate::content::Keeper;
use crate::feedback::Feedback;
use crate::trace::Ids;

/// How long what may take. None includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Opening a connection to an upstream.
    pub connect: Duration,
    /// From sending the request to the first token of an attempt.
    pub first_token: Duration,
    /// Between two pieces of a stream.
    pub between_chunks: Duration,
    /// From the request being read to the end of the answer, second attempts included.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_token: Duration::from_secs(60),
            between_chunks: Duration::from_secs(15),
            total: Duration::from_secs(600),
        }
    }
}

/// Settings of the proxy.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one. An address that is not loopback needs a `token`.
    pub listen: SocketAddr,
    /// When set, every request except `/health` must carry it.
    pub token: Option<Token>,
    /// How long what may take.
    pub deadlines: Deadlines,
    /// Without a token after this time, another upstream is asked as well; `None` never.
    pub hedge_after: Option<Duration>,
    /// The request header whose value keeps a client at its variant.
    pub sticky_header: String,
    /// Longest request body.
    pub max_body_bytes: usize,
    /// How long streams may go on after a shutdown was asked for.
    pub drain: Duration,
    /// Who is given what was said; with nobody it is not collected.
    pub keepers: Vec<Keeper>,
    /// Requests get a place in a trace.
    pub tracing: Option<Tracing>,
    /// Takes what users say of answers at `/feedback`.
    pub feedback: Option<Arc<Feedback>>,
    /// The live page at `/`.
    pub page: Option<crate::page::Page>,
}

/// How requests are traced.
#[derive(Debug, Clone, Copy)]
pub struct Tracing {
    /// Makes the ids.
    pub ids: Ids,
    /// Sessions and users are told as the client names them, and not hashed.
    pub names: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: None,
            deadlines: Deadlines::default(),
            hedge_after: None,
            sticky_header: "x-session-id".to_owned(),
            max_body_bytes: 64 << 20,
            drain: Duration::from_secs(30),
            keepers: Vec::new(),
            tracing: None,
            feedback: None,
            page: None,
        }
    }
}
