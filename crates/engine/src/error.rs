//! Why a server could not be started or had to stop.

use std::io;
use std::net::SocketAddr;

/// Why a server could not be started or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address could not be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An address that other machines can reach, without a token.
    #[error("listen on {address}: it is reachable from other machines and no token is set")]
    Exposed {
        /// The address asked for.
        address: SocketAddr,
    },
    /// A setting that cannot be served.
    #[error("{setting}: {problem}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The scheduler cannot work with these settings.
    #[error("set up the scheduler")]
    Scheduler(#[from] stopwatt_serving::scheduler::ConfigError),
    /// The model could not be loaded.
    #[error("load the model")]
    Load(#[from] stopwatt_model::LoadError),
    /// The KV cache could not be made.
    #[error("make the KV cache")]
    Cache(#[from] stopwatt_model::kv::KvError),
    /// The event loop could not go on.
    #[error("run the event loop")]
    EventLoop(#[source] io::Error),
    /// The log of the truth could not be written.
    #[error("write the truth log")]
    TruthLog(#[source] io::Error),
    /// A thread of the server panicked.
    #[error("the {0} thread panicked")]
    Panicked(&'static str),
}

impl ServeError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another process listens there; use port 0 for a free one")
            }
            Self::Scheduler(error) => error.hint(),
            Self::Load(error) => error.hint(),
            Self::Exposed { .. } => Some("listen on 127.0.0.1, or set a token"),
            _ => None,
        }
    }
}
