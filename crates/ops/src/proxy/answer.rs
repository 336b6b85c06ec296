//! Answers of the proxy itself, in the shape in which OpenAI-compatible servers report errors.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::relay::Answer;
use crate::exchange::Failure;

/// The `error` object of a failure. It holds nothing that an upstream said.
fn error_body(message: &str, kind: &str, code: &str) -> serde_json::Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

/// The event that ends a stream that broke after its first token.
pub(super) fn error_event(failure: Failure) -> Bytes {
    let body = error_body(failure.message(), "upstream_error", failure.name());
    Bytes::from(format!("event: error\ndata: {body}\n\n"))
}

/// An answer with a JSON error.
pub(super) fn refuse(status: u16, message: &str, kind: &str, code: &str) -> Response<Answer> {
    let body = error_body(message, kind, code).to_string();
    whole(status, "application/json", Bytes::from(body))
}

/// An answer to a client that has got nothing yet.
pub(super) fn failed(failure: Failure) -> Response<Answer> {
    let mut response = refuse(failure.status(), failure.message(), "upstream_error", failure.name());
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// An answer in one piece.
pub(super) fn whole(status: u16, content_type: &'static str, body: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Some(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use stopwatt_wire::event::StreamEvent;
    use stopwatt_wire::sse::{Scanner, SseError};

    use super::*;

    #[test]
    fn an_error_event_is_read_as_an_error_by_a_client() {
        for failure in Failure::ALL {
            let event = error_event(failure);
            let mut seen = 0;
            Scanner::new()
                .feed::<SseError>(&event, |event| {
                    assert!(event.is_error);
                    assert!(matches!(StreamEvent::parse(event), Ok(StreamEvent::Error(_))));
                    seen += 1;
                    Ok(())
                })
                .unwrap();
            assert_eq!(seen, 1);
        }
    }
}
