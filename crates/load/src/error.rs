//! What can go wrong before or outside a measured request. What goes wrong with a measured one is in its record.

use std::io;

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Not `http://host[:port][/path]` or the same with `https`.
    #[error("`{part}` of the URL is not usable")]
    Url {
        /// Which part: `scheme`, `host`, `port`, `path`, `query`, `user info`.
        part: &'static str,
    },
    /// A header name or value that HTTP does not allow. The value is not shown, since it may be a key.
    #[error("header `{name}` is not a valid HTTP header")]
    Header {
        /// Name as given.
        name: String,
    },
    /// The certificate file could not be used.
    #[error("certificate file holds no usable certificate")]
    Certificates {
        /// What was wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TargetError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Url { part: "user info" } => Some("give credentials with --api-key-env or --header"),
            Self::Url { part: "query" } => {
                Some("give the base address only, for instance http://host:8000/v1")
            }
            Self::Url { .. } => Some("write it as http://host:port or https://host:port/base/path"),
            Self::Header { .. } => Some("write it as `name: value`, in ASCII and on one line"),
            Self::Certificates { .. } => Some("give a PEM file with one or more CERTIFICATE blocks"),
        }
    }
}

/// Why a single request outside a measurement failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The name has no address.
    #[error("resolve the host name")]
    Resolve {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No connection.
    #[error("connect")]
    Connect {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TLS could not be set up or failed.
    #[error("set up TLS")]
    Tls {
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Sending or receiving failed.
    #[error("exchange data")]
    Io {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The answer was not HTTP.
    #[error("read the answer as HTTP")]
    Protocol {
        /// What was wrong.
        #[source]
        source: stopwatt_wire::http1::HttpError,
    },
    /// Not done in time.
    #[error("get an answer in time")]
    Timeout,
    /// The answer was larger than any probe should be.
    #[error("read an answer of more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

impl RequestError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Resolve { .. } => Some("check the host name in the URL"),
            Self::Connect { .. } => Some("check that the engine runs and listens on this address and port"),
            Self::Tls { .. } => Some("check http against https; for a private authority give --ca-cert"),
            Self::Protocol { .. } => Some("check http against https, and that the port is the engine's API"),
            Self::Timeout => Some("the engine may still be loading; try again or raise --timeout"),
            _ => None,
        }
    }
}

/// Why a run of the client could not begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The name has no address.
    #[error("resolve the host name")]
    Resolve {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TLS could not be set up.
    #[error("set up TLS")]
    Tls {
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The process may not open as many sockets as the load needs.
    #[error("open {needed} connections: the process may have {limit} files open")]
    OpenFiles {
        /// Descriptors needed.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// The event loop failed.
    #[error("wait for sockets")]
    Poll {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("start a thread")]
    Thread {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A closed loop of no requests.
    #[error("keep zero requests in flight")]
    NoConcurrency,
}

impl LoadError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Resolve { .. } => Some("check the host name in the URL"),
            Self::OpenFiles { .. } => Some("raise the limit with `ulimit -n`, or lower the concurrency"),
            Self::NoConcurrency => Some("give a concurrency of at least 1"),
            _ => None,
        }
    }
}
