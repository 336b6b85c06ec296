//! Connections to one upstream: dialled with TCP_NODELAY, kept alive, and cut when their request is given up.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use stopwatt_load::Target;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::tls::Tls;
use crate::exchange::Failure;

/// Connections that are kept while nobody uses them.
const MOST_IDLE: usize = 1024;

/// A connection. Dropped, it is closed at once, so that the upstream stops working on what nobody waits for.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The idle connections of one upstream, the last used on top.
pub(super) struct Pool {
    idle: Mutex<Vec<Connection>>,
    tls: Option<Tls>,
}

impl Pool {
    /// No connection yet.
    pub(super) fn new(tls: Option<Tls>) -> Self {
        Self { idle: Mutex::default(), tls }
    }

    /// An idle connection that can take a request.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !connection.sender.is_closed() && idle.len() < MOST_IDLE {
            idle.push(connection);
        }
    }

    /// Closes what is idle.
    pub(super) fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Opens a connection, and shakes hands on it where that is needed, within `limit`.
    pub(super) async fn dial(&self, target: &Target, limit: Duration) -> Result<Connection, Failure> {
        let dialled = async {
            let stream = TcpStream::connect((target.host(), target.port())).await;
            let stream = stream.map_err(|_| Failure::Refused)?;
            stream.set_nodelay(true).map_err(|_| Failure::Refused)?;
            match &self.tls {
                None => connection(stream).await,
                Some(tls) => connection(tls.connect(stream).await.map_err(|_| Failure::Tls)?).await,
            }
        };
        tokio::time::timeout(limit, dialled).await.unwrap_or(Err(Failure::ConnectTimeout))
    }
}

/// HTTP on a stream.
async fn connection<S>(stream: S) -> Result<Connection, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Refused)?;
    let task = tokio::spawn(async move {
        // What goes wrong on it is told to whoever uses it.
        let _ = connection.await;
    });
    Ok(Connection { sender, task: task.abort_handle() })
}
