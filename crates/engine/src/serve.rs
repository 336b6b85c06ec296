//! Starts a server and runs it until it is told to stop.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};

use stopwatt_wire::access::Token;

use crate::config::{Kind, ServeConfig};
use crate::decode::{pages, real, simulated};
use crate::error::ServeError;
use crate::exact;
use crate::net::{Limits, Waker, Wakeups};
use crate::shutdown::Shutdown;

/// What a server says of itself once it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The address, with the port that was chosen.
    pub addr: SocketAddr,
    /// The model name that requests must give.
    pub model_name: String,
    /// Facts for the fingerprint of a run: kind, model, limits.
    pub facts: BTreeMap<String, String>,
}

/// What all kinds need to be reached.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) listener: TcpListener,
    pub(crate) wakeups: Wakeups,
    pub(crate) waker: Waker,
    pub(crate) limits: Limits,
    pub(crate) model_name: String,
    pub(crate) token: Option<Token>,
}

impl Front {
    /// Listens, and ties `shutdown` to the loop to come. Connections wait in the backlog until it runs.
    pub(crate) fn open(config: ServeConfig, shutdown: &Shutdown) -> Result<(Self, Kind), ServeError> {
        let address = config.listen;
        if !address.ip().is_loopback() && config.token.is_none() {
            return Err(ServeError::Exposed { address });
        }
        if config.model_name.is_empty() {
            return Err(ServeError::Setting { setting: "model_name", problem: "it is empty".to_owned() });
        }
        if config.max_connections == 0 {
            return Err(ServeError::Setting {
                setting: "max_connections",
                problem: "it must be at least 1".to_owned(),
            });
        }
        let listener = TcpListener::bind(address).map_err(|source| ServeError::Listen { address, source })?;
        let (waker, wakeups) = Waker::pair().map_err(ServeError::EventLoop)?;
        shutdown.on_trigger({
            let waker = waker.clone();
            move || waker.wake()
        });
        let limits = Limits {
            max_connections: config.max_connections,
            max_body_bytes: config.max_body_bytes,
            drain: config.drain,
        };
        let front =
            Self { listener, wakeups, waker, limits, model_name: config.model_name, token: config.token };
        Ok((front, config.kind))
    }

    pub(crate) fn listening(&self, facts: BTreeMap<String, String>) -> Result<Listening, ServeError> {
        let addr = self.listener.local_addr().map_err(ServeError::EventLoop)?;
        Ok(Listening { addr, model_name: self.model_name.clone(), facts })
    }
}

/// Serves until `shutdown` is triggered, then lets open streams end for `config.drain`. `ready` is called once, when
/// requests are accepted and the model is loaded.
pub fn serve(
    config: ServeConfig,
    ready: impl FnOnce(&Listening),
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let (front, kind) = Front::open(config, &shutdown)?;
    match kind {
        Kind::Exact(config) => exact::serve(front, config, ready, &shutdown),
        Kind::Real(config) => real::serve(front, &config, ready, &shutdown),
        Kind::Simulated(config) => simulated::serve(front, &config, Box::new(config.step), ready, &shutdown),
        Kind::SimulatedBy(config, model) => simulated::serve(front, &config, model, ready, &shutdown),
        Kind::Ocr(config, reader) => pages::serve(front, &config, reader, ready, &shutdown),
    }
}
