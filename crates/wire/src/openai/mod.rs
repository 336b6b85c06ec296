//! The OpenAI-compatible API as inference engines speak it.
//!
//! Requests are rendered straight to bytes; answers are read leniently, since engines differ in what they leave out,
//! send as `null` or give another type.

pub mod image;
pub mod request;
pub mod response;

pub use image::{ImageForm, data_uri, image_bytes};
pub use request::{ExtraBodyError, Message, Options, Prompt, Template};
pub use response::{Completion, ErrorBody, Model, Tokenized, Usage, models};
