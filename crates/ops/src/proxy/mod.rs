//! The proxy: OpenAI-compatible requests in, streams out, and somebody else asked when an upstream fails.
//!
//! ```text
//! client ──► request read whole ──► choose ──► attempt ──► commit point ──► relay ──► client
//!                                     ▲           │ failed, sick, slow         │ failed
//!                                     └── once ───┘                            └──► error event, no [DONE]
//! ```
//!
//! Invariants, each held by a test:
//!
//! - before the commit point a failure is another upstream's turn; after it the client is told, always;
//! - bytes of a stream are passed on as they come, in whole events, unchanged;
//! - no secret of a client or of one upstream reaches another upstream;
//! - every wait has a deadline.

mod answer;
mod attempt;
mod handle;
mod live_page;
mod pool;
mod relay;
mod request;
mod said;
mod server;
mod settings;
mod tls;
mod whole_answer;

pub use handle::Observer;
pub use server::{Listening, ProxyError, Running, bind};
pub use settings::{Deadlines, Settings, Tracing};
