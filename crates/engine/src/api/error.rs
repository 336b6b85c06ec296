//! Error bodies in vLLM's form: `{"error":{"message","type","param","code"}}`.

use serde_json::json;

use crate::net::{Refusal, Reply};

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// The field that is at fault.
    pub(crate) param: Option<&'static str>,
}

impl ApiError {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None }
    }

    /// A field that cannot be served as it is.
    pub(crate) fn field(param: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into(), param: Some(param) }
    }

    fn kind(&self) -> &'static str {
        match self.status {
            401 => "AuthenticationError",
            403 => "PermissionDeniedError",
            404 => "NotFoundError",
            500.. => "InternalServerError",
            _ => "BadRequestError",
        }
    }

    /// The JSON body.
    pub(crate) fn body(&self) -> Vec<u8> {
        json!({"error": {"message": self.message, "type": self.kind(), "param": self.param, "code": self.status}})
            .to_string()
            .into_bytes()
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        let mut reply = Self::json(error.status, error.body());
        if error.status == 401 {
            reply.header = Some(("www-authenticate", "Bearer"));
        }
        reply
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.message)
    }
}
