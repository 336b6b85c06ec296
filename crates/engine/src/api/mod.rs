//! The OpenAI-compatible surface, as vLLM speaks it: what a request may say, and how answers are written.
//!
//! It knows neither sockets nor models. What a field would change but cannot is refused with its name, never
//! ignored: a benchmark that silently measures something else is worse than an error.

mod answer;
mod error;
mod prompt;
mod request;
mod surface;

pub(crate) use answer::{Answer, Delta, Endpoint, EventStyle, Field, Finish, Usage};
pub(crate) use error::ApiError;
pub(crate) use prompt::{Message, Prompt};
pub(crate) use request::{GenerateRequest, TokenizeRequest};
pub(crate) use surface::{Call, Surface};
