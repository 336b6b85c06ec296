//! The streaming load client: sockets, dispatch, stamps.
//!
//! ```text
//! jobs() ─► feeder thread ─► bounded channel ─┐
//! arrivals ─► pacer thread ─► due times ──────┼─► I/O thread: one epoll/kqueue loop ─► recorder thread ─► on_done()
//! Stop::interrupt() ─► waker ─────────────────┤   read → stamp → parse              │
//!                          waiter thread ─────┘◄── follow-ups of conversations ───────┘
//! ```
//!
//! One thread reads all sockets. What it reads carries the kernel's receive stamp where there is one (`stamps`), else
//! its own, which waits for nothing but earlier reads of the same wake-up. Rendering of requests, pacing and recording
//! happen on threads of their own: none of them can delay a read. A request becomes a
//! [`RequestRecord`](stopwatt_core::RequestRecord) whatever happens to it.
//!
//! Not here: what to send (`serving`, `wire::openai`), what the stamps mean (`analyse`), and HTTP/2.

mod client;
mod conn;
mod error;
mod exchange;
mod job;
mod memory;
mod open_files;
mod pacer;
mod simple;
mod socket;
mod stamps;
mod stop;
mod target;
mod tls;

pub use client::{Client, run};
pub use error::{LoadError, RequestError, TargetError};
pub use job::{Completed, Drain, Ended, FollowUp, Job, Limits, Outcome, Pace, Path};
pub use memory::share_one_heap;
pub use simple::{Response, get, post};
pub use stamps::KernelStamps;
pub use stop::Stop;
pub use target::Target;
