//! The proxy before exact engines and before sockets that misbehave, over loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod chaos;
mod faults;
mod page;
mod pass;
mod quality;
mod support;
mod tls;
mod trace;
