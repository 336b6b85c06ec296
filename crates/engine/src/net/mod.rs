//! HTTP/1.1 on one thread: sockets, framing, deadlines.
//!
//! ```text
//! epoll + timer ──► EventLoop ──► Handler::request / due / woken / closed
//!                       ▲               │
//!                       └── Net::send, at, end, abort
//! ```
//!
//! Why not a general server: the exact kind needs one system call a token, with a stamp before it, at deadlines finer
//! than the millisecond of an asynchronous runtime's timer. The other kinds ride on the same loop, so that there is
//! one parser, one set of limits and one set of tests. It knows HTTP, but nothing of what is served.

mod chunked;
mod connection;
mod event_loop;
mod handler;
mod poller;
mod reply;
mod request;
mod sockets;
mod waker;

pub(crate) use event_loop::EventLoop;
pub(crate) use handler::{Conclusion, ConnId, Handler, Limits, Sent};
pub(crate) use reply::{Framing, Reply, push_chunk, push_last_chunk};
pub(crate) use request::{Head, Method, Refusal, Request};
pub(crate) use sockets::Net;
pub(crate) use waker::{Waker, Wakeups};
