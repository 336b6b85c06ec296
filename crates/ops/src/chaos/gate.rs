//! A gate before an engine: passes requests on until it is told to misbehave.
//!
//! Faults of streams strike what is generated and leave the engine's other pages alone, as a hang of a scheduler does;
//! faults of connections strike everything.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::fault::Fault;

/// Events of a stream that pass before it breaks.
const BEFORE_BREAK: usize = 8;
/// How long the first byte is held back.
const SLOW: Duration = Duration::from_secs(5);
const DRIP: (usize, Duration) = (16, Duration::from_millis(20));
const FLAP: Duration = Duration::from_millis(500);

/// A gate; dropping it closes it.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) addr: SocketAddr,
    fault: watch::Sender<Fault>,
    state: Arc<State>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    engine: watch::Receiver<SocketAddr>,
    /// When the last request to generate came, raw monotonic; 0: none.
    last_request: AtomicI64,
    serial: AtomicU64,
    seed: u64,
}

impl Gate {
    /// Listens on a free loopback port before an engine whose address may change.
    pub(super) fn start(engine: watch::Receiver<SocketAddr>, seed: u64) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let (fault, told) = watch::channel(Fault::None);
        let (stop, stopped) = mpsc::channel(1);
        let state =
            Arc::new(State { engine, last_request: AtomicI64::new(0), serial: AtomicU64::new(0), seed });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("gate".to_owned())
            .spawn(move || runtime.block_on(serve(listener, addr, told, shared, stopped)))?;
        Ok(Self { addr, fault, state, stop: Some(stop), thread: Some(thread) })
    }

    /// Begins or ends a fault.
    pub(super) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// When the last request to generate came.
    pub(super) fn last_request(&self) -> Option<Nanos> {
        Some(self.state.last_request.load(Relaxed)).filter(|at| *at != 0)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Its runtime ends with it, and cuts what is open.
            let _ = thread.join();
        }
    }
}

/// Whether connections are refused now.
fn is_closed(fault: Fault, flap: bool) -> bool {
    matches!(fault, Fault::Refused | Fault::AllDown) || fault == Fault::Flapping && flap
}

async fn serve(
    listener: std::net::TcpListener,
    addr: SocketAddr,
    mut told: watch::Receiver<Fault>,
    state: Arc<State>,
    mut stopped: mpsc::Receiver<()>,
) {
    let mut listener = TcpListener::from_std(listener).ok();
    let mut connections = JoinSet::new();
    let mut flap = true;
    loop {
        let fault = *told.borrow_and_update();
        if is_closed(fault, flap) {
            listener = None;
            connections.abort_all();
        } else if listener.is_none() {
            // std sets SO_REUSEADDR, so that the same port can be had at once.
            listener = std::net::TcpListener::bind(addr)
                .and_then(|l| l.set_nonblocking(true).map(|()| l))
                .and_then(TcpListener::from_std)
                .ok();
        }
        if let Some(listener) = &listener {
            // With no room in the backlog the kernel lets further connections wait unanswered.
            let backlog = if fault == Fault::BlackHole { 0 } else { 1024 };
            let _ = rustix::net::listen(listener.as_fd(), backlog);
        }
        let accept = async {
            match &listener {
                Some(listener) if fault != Fault::BlackHole => listener.accept().await.ok(),
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accept => {
                if let Some((stream, _)) = accepted {
                    connections.spawn(connection(stream, told.clone(), Arc::clone(&state)));
                }
            }
            changed = told.changed() => {
                if changed.is_err() {
                    return;
                }
                flap = true;
            }
            () = sleep(FLAP), if fault == Fault::Flapping => flap = !flap,
            _ = stopped.recv() => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(stream: TcpStream, told: watch::Receiver<Fault>, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
    let socket = Arc::new(socket);
    let service = service_fn(move |request| {
        let (told, state, socket) = (told.clone(), Arc::clone(&state), Arc::clone(&socket));
        async move { answer(request, told, state, socket).await }
    });
    // However it ends is what was asked for.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Breaks a connection.
#[derive(Debug, thiserror::Error)]
#[error("the gate breaks the connection")]
struct Broken;

async fn answer(
    request: Request<Incoming>,
    told: watch::Receiver<Fault>,
    state: Arc<State>,
    socket: Arc<OwnedFd>,
) -> Result<Response<Pieces>, Broken> {
    let generates = request.method() == Method::POST;
    let serial = state.serial.fetch_add(1, Relaxed);
    if generates {
        state.last_request.store(monotonic_raw(), Relaxed);
    }
    let fault = *told.borrow();
    match fault {
        Fault::HalfOpen | Fault::BlackHole => std::future::pending().await,
        Fault::Http500 if generates => return Ok(error(500)),
        Fault::Http429 if generates => return Ok(error(429)),
        Fault::SlowFirstByte if generates => sleep(SLOW).await,
        _ => {}
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    let engine = *state.engine.borrow();
    let stream = TcpStream::connect(engine).await.map_err(|_| Broken)?;
    stream.set_nodelay(true).map_err(|_| Broken)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| Broken)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let mut onward = Request::from_parts(parts, Full::new(body));
    onward.headers_mut().remove("connection");
    let response = sender.send_request(onward).await.map_err(|_| Broken)?;
    let (mut parts, body) = response.into_parts();
    parts.headers.remove("connection");
    parts.headers.remove("transfer-encoding");
    let streams =
        parts.headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"text/event-stream"));
    let (pieces, out) = mpsc::channel(1);
    let draws = ChaCha8Rng::seed_from_u64(state.seed ^ serial);
    tokio::spawn(async move {
        relay(body, pieces, told, streams, socket, draws).await;
        // The engine's connection lives as long as its answer is read.
        drop((tasks, sender));
    });
    Ok(Response::from_parts(parts, Pieces(out)))
}

/// Passes an answer on, and does to a stream what the fault of the moment says.
async fn relay(
    mut body: Incoming,
    pieces: mpsc::Sender<Result<Bytes, Broken>>,
    told: watch::Receiver<Fault>,
    streams: bool,
    socket: Arc<OwnedFd>,
    mut draws: ChaCha8Rng,
) {
    let mut passed = 0_usize;
    let mut broken = false;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map(|f| f.into_data().unwrap_or_default()) else {
            let _ = pieces.send(Err(Broken)).await;
            return;
        };
        let fault = *told.borrow();
        let late = passed >= BEFORE_BREAK;
        match fault {
            Fault::HalfOpen | Fault::BlackHole => return pieces.closed().await,
            _ if !streams => {}
            Fault::Stall if late => return pieces.closed().await,
            Fault::Reset if late => {
                // A close with this option is a reset; a socket that is gone needs none.
                let _ = rustix::net::sockopt::set_socket_linger(&*socket, Some(Duration::ZERO));
                let _ = pieces.send(Err(Broken)).await;
                return;
            }
            Fault::CleanCut if late => return,
            Fault::Malformed if late && !broken => {
                broken = true;
                let half = data.slice(..data.len() / 2);
                let cut = [&half[..], b"\n\n"].concat();
                if pieces.send(Ok(cut.into())).await.is_err() {
                    return;
                }
                continue;
            }
            Fault::SlowDrip => {
                for piece in data.chunks(DRIP.0) {
                    sleep(DRIP.1).await;
                    if pieces.send(Ok(Bytes::copy_from_slice(piece))).await.is_err() {
                        return;
                    }
                }
                continue;
            }
            Fault::Delay => sleep(Duration::from_millis(draws.random_range(20..=60))).await,
            _ => {}
        }
        passed += 1;
        if pieces.send(Ok(data)).await.is_err() {
            return;
        }
    }
}

fn error(status: u16) -> Response<Pieces> {
    let (sender, out) = mpsc::channel(1);
    let body = Bytes::from_static(b"{\"error\":{\"message\":\"injected\",\"type\":\"injected\"}}");
    // The channel has room for one.
    let _ = sender.try_send(Ok(body));
    let mut response = Response::new(Pieces(out));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    if status == 429 {
        response.headers_mut().insert("retry-after", hyper::header::HeaderValue::from_static("1"));
    }
    response
}

/// A body out of a channel.
struct Pieces(mpsc::Receiver<Result<Bytes, Broken>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|p| p.map(Frame::data)))
    }
}
