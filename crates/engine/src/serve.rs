//! Starts a server and runs it until it is told to stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::ServeConfig;
use crate::error::ServeError;
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

/// Serves until `shutdown` is triggered, then lets open streams end for `config.drain`. `ready` is called once, when
/// requests are accepted and the model is loaded.
pub fn serve(
    config: ServeConfig,
    ready: impl FnOnce(&Listening),
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    if !config.listen.ip().is_loopback() && config.token.is_none() {
        return Err(ServeError::Exposed { address: config.listen });
    }
    let _ = (ready, shutdown);
    Err(ServeError::Setting {
        setting: "kind",
        problem: format!("{} is not available yet", config.kind.name()),
    })
}
