//! TLS towards an upstream, with the trust that the load client has: the system's authorities and those given.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use stopwatt_load::Target;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::server::ProxyError;

/// How one upstream is spoken to.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// `None` for plain HTTP.
    pub(super) fn of(target: &Target) -> Result<Option<Self>, ProxyError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ProxyError::Tls {
            upstream: target.base_url(),
            source,
        };
        let Some(config) = target.tls_config().map_err(|e| failed(e.into()))? else { return Ok(None) };
        let name = ServerName::try_from(target.host().to_owned()).map_err(|e| failed(e.into()))?;
        Ok(Some(Self { config, name }))
    }

    /// Shakes hands on a connection.
    pub(super) async fn connect(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream).await
    }
}
