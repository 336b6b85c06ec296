//! Listening, accepting and draining.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::handle::{Observer, Proxy};
use super::pool::Pool;
use super::settings::Settings;
use super::tls::Tls;
use crate::fleet::Fleet;
use crate::telemetry::Telemetry;

/// Longest that a client may take for the head of a request; also how long an idle connection is kept.
const HEAD: Duration = Duration::from_secs(120);
/// Pause of accepting when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long cut streams have to send their last event.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the proxy cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// An address that others reach, without a token.
    #[error("{addr} can be reached from other machines, and there is no token")]
    NoToken {
        /// The address.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("failed to listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Trust for an upstream.
    #[error("failed to prepare TLS for {upstream}")]
    Tls {
        /// Its address.
        upstream: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The runtime.
    #[error("failed to start the proxy")]
    Runtime(#[source] io::Error),
}

impl ProxyError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoToken { .. } => Some("name a variable with --token-env, or listen on 127.0.0.1"),
            Self::Listen { .. } => Some("is something else there? --listen 127.0.0.1:0 takes a free port"),
            Self::Tls { .. } => Some("name the authority that signed its certificate with --ca-cert"),
            Self::Runtime(_) => None,
        }
    }
}

/// A proxy that listens, and does not yet answer.
#[derive(Debug)]
pub struct Listening {
    listener: std::net::TcpListener,
    /// Where.
    pub addr: SocketAddr,
    settings: Settings,
}

/// Listens.
///
/// # Errors
/// The address is taken, or can be reached from other machines and there is no token.
pub fn bind(settings: Settings) -> Result<Listening, ProxyError> {
    let addr = settings.listen;
    if !addr.ip().is_loopback() && settings.token.is_none() {
        return Err(ProxyError::NoToken { addr });
    }
    let failed = |source| ProxyError::Listen { addr, source };
    let listener = std::net::TcpListener::bind(addr).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok(Listening { listener, addr, settings })
}

/// Ends a running proxy: it drains first.
#[derive(Debug, Clone, Default)]
pub struct Running {
    stop: CancellationToken,
    /// When it was asked to end.
    asked: Arc<OnceLock<Nanos>>,
}

impl Running {
    /// A handle for a proxy that is about to run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks it to end: nobody is accepted any more, streams that go on may end within the time to drain.
    pub fn stop(&self) {
        self.asked.get_or_init(monotonic_raw);
        self.stop.cancel();
    }

    /// When everything is to have ended that was asked to end `within` this time, raw monotonic: counted from
    /// [`Self::stop`], and from now where it was not asked.
    pub fn deadline(&self, within: Duration) -> Nanos {
        let from = self.asked.get().copied().unwrap_or_else(monotonic_raw);
        from.saturating_add(Nanos::try_from(within.as_nanos()).unwrap_or(Nanos::MAX))
    }
}

impl Listening {
    /// Answers on this thread until [`Running::stop`].
    ///
    /// One thread serves all connections: a stream costs little, and one thread keeps pieces in order and latency even.
    ///
    /// # Errors
    /// The runtime cannot be started, or there is nobody to trust for an upstream with TLS.
    pub fn run(
        self,
        fleet: Arc<Fleet>,
        telemetry: Arc<Telemetry>,
        observers: Vec<Observer>,
        running: &Running,
    ) -> Result<(), ProxyError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ProxyError::Runtime)?;
        let pool = |up: &crate::fleet::Upstream| Tls::of(&up.spec.target).map(Pool::new);
        let pools: Result<Vec<Pool>, ProxyError> = fleet.upstreams().iter().map(pool).collect();
        let pools = pools?;
        let drain = self.settings.drain;
        let page = self.settings.page.clone();
        let cut = CancellationToken::new();
        let proxy = Arc::new(Proxy {
            fleet,
            settings: self.settings,
            telemetry,
            pools,
            observers,
            cut: cut.clone(),
            rendering: Arc::new(Semaphore::new(1)),
            serial: AtomicU64::new(0),
        });
        let stop = running.stop.clone();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(self.listener).map_err(ProxyError::Runtime)?;
            // Every connection holds a sender: when the last is dropped, all have ended.
            let (alive, mut ended) = mpsc::channel::<()>(1);
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => break,
                };
                match accepted {
                    Ok((stream, _)) => {
                        let serving = serve(stream, Arc::clone(&proxy), stop.clone(), alive.clone());
                        tokio::spawn(serving);
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
            drop((listener, alive));
            if let Some(page) = page {
                page.close();
            }
            if timeout(drain, ended.recv()).await.is_err() {
                cut.cancel();
                // They have been told; who does not read it is left.
                let _ = timeout(LAST_WORDS, ended.recv()).await;
            }
            Ok(())
        })
    }
}

async fn serve(stream: TcpStream, proxy: Arc<Proxy>, stop: CancellationToken, alive: mpsc::Sender<()>) {
    let _alive = alive;
    // A socket that cannot be set is one that is gone.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, std::convert::Infallible>(proxy.handle(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection to a client ends is the client's affair; its requests have been recorded.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
