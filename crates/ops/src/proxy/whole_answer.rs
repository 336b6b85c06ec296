//! Token counts and finish reason of an answer in one piece.

use serde::Deserialize;
use serde_json::Value;
use stopwatt_core::FinishReason;
use stopwatt_wire::openai::Usage;

use crate::exchange::Exchange;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    usage: Value,
    choices: Vec<Choice>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Choice {
    finish_reason: Option<String>,
}

/// Writes down what the upstream says it did; what is no such answer says nothing.
pub(super) fn read(body: &[u8], exchange: &mut Exchange) {
    let Ok(body) = serde_json::from_slice::<Body>(body) else { return };
    if let Some(usage) = Usage::from_value(&body.usage) {
        exchange.prompt_tokens = usage.prompt;
        exchange.cached_tokens = usage.cached;
        exchange.tokens = usage.completion.unwrap_or(0);
    }
    let reason = body.choices.first().and_then(|c| c.finish_reason.as_deref());
    exchange.finish = reason.map(|reason| match reason {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        _ => FinishReason::Other,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_and_finish_are_read() {
        let mut x = Exchange::new("/v1/completions", 0);
        read(b"[1,2", &mut x);
        assert_eq!((x.prompt_tokens, x.tokens, x.finish), (None, 0, None));
        read(
            br#"{"id":"a","choices":[{"text":"x","finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":8}}}"#,
            &mut x,
        );
        assert_eq!(
            (x.prompt_tokens, x.cached_tokens, x.tokens, x.finish),
            (Some(9), Some(8), 4, Some(FinishReason::Length))
        );
    }
}
