//! Health by progress: what an engine does, not what it says of itself.
//!
//! An engine whose scheduler hangs often goes on answering `/health`. So the question asked here is whether work that
//! is there advances: counters of steps and tokens from `/metrics`, tokens that arrive on the streams of the proxy,
//! and, where neither can tell, a request for one token.
//!
//! ```text
//!            work, and it advances                nothing advances for `stall_after`
//!   idle ◄──────────────────────► progressing ─────────────────────────► stalled
//!                                     │ ▲                                   │
//!              queue for `stall_after`│ │                                   │ counters or tokens advance,
//!                                     ▼ │                                   │ or the canary is answered
//!                                  saturated          dead ◄── refused      ▼
//!                                                      └──────────────► idle, progressing
//! ```
//!
//! A state that means harm is left only on proof: an engine that was stalled or dead and answers `/metrics` again has
//! not shown that it generates.

mod machine;
mod monitor;

pub use machine::{Look, Machine, Own, Settings, State};
pub use monitor::{Monitor, Pace};
