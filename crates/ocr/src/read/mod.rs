//! Programs and services that read pages.

mod alter;
pub mod echo;
pub mod endpoint;
pub mod exec;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A page to read.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its image.
    pub image: PathBuf,
    /// Which of its variants that no cache knows is sent to a service; 0 is the image itself.
    pub variant: u32,
}

/// Why a page was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The image cannot be read.
    Image,
    /// The program did not start.
    Start,
    /// It ended with an error.
    Exit,
    /// It took too long.
    Timeout,
    /// What it wrote is not UTF-8.
    Encoding,
    /// The service refused the request: it may not take images.
    Refused,
    /// The service had an error, or the connection broke.
    Service,
    /// It wrote nothing.
    Nothing,
    /// Stopped by the user.
    Interrupted,
}

/// How the reading of a page went. Times in seconds.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// What was read.
    pub text: Option<String>,
    /// Values by name, where they were asked for.
    pub fields: Option<Value>,
    /// Why a model ended.
    pub finish_reason: Option<String>,
    /// Why nothing was read.
    pub failure: Option<Failure>,
    /// From the begin to the end.
    pub latency_s: Option<f64>,
    /// To the first token.
    pub ttft_s: Option<f64>,
    /// Between tokens, on the mean.
    pub tpot_s: Option<f64>,
    /// Tokens of the request, by the service.
    pub input_tokens: Option<u32>,
    /// Tokens of the answer, by the service.
    pub output_tokens: Option<u32>,
}

impl Attempt {
    /// A page that was not read.
    pub fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The text of the page.
    #[default]
    Text,
    /// Its text and fields as JSON.
    Json,
}

impl Mode {
    /// The same reading with its text and fields taken from the JSON that it is; one that is no JSON stays text.
    pub fn take(self, mut attempt: Attempt) -> Attempt {
        if let (Self::Json, Some(text)) = (self, &attempt.text) {
            let (clean, _) = stopwatt_quality::cleanup::clean(text);
            if let Ok(value) = serde_json::from_str::<Value>(clean.trim()) {
                let inner = value.get("fields").cloned().unwrap_or_else(|| value.clone());
                attempt.text = Some(value.get("text").and_then(Value::as_str).unwrap_or_default().to_owned());
                attempt.fields = Some(inner);
            }
        }
        attempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_answers_are_taken_apart() {
        let of = |text: &str| Mode::Json.take(Attempt { text: Some(text.to_owned()), ..Attempt::default() });
        let both = of("```json\n{\"text\":\"가\",\"fields\":{\"용량\":\"5mg\"}}\n```");
        assert_eq!((both.text.as_deref(), both.fields.is_some()), (Some("가"), true));
        let broken = of("{\"text\":\"가\"");
        assert_eq!((broken.text.as_deref(), broken.fields), (Some("{\"text\":\"가\""), None));
    }
}
