//! Connections to one upstream: dialled with TCP_NODELAY, kept alive, and cut when their request is given up.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

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
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Connection>>);

impl Pool {
    /// An idle connection that can take a request.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(&self, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !connection.sender.is_closed() && idle.len() < MOST_IDLE {
            idle.push(connection);
        }
    }

    /// Closes what is idle.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Opens a connection.
pub(super) async fn dial(host: &str, port: u16, limit: Duration) -> Result<Connection, Failure> {
    let connect = TcpStream::connect((host, port));
    let stream = match tokio::time::timeout(limit, connect).await {
        Err(_) => return Err(Failure::ConnectTimeout),
        Ok(Err(_)) => return Err(Failure::Refused),
        Ok(Ok(stream)) => stream,
    };
    stream.set_nodelay(true).map_err(|_| Failure::Refused)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Refused)?;
    let task = tokio::spawn(async move {
        // What goes wrong on it is told to whoever uses it.
        let _ = connection.await;
    });
    Ok(Connection { sender, task: task.abort_handle() })
}
