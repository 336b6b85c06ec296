//! Request bodies: what does not change between requests is rendered once, the rest is appended.
//!
//! A load client renders thousands of prompts a second, some of them a megabyte long, so a body is written in one
//! pass into one buffer and never becomes a value tree.

use serde_json::{Map, Value};

use super::image::{ImageForm, kind_and_data};

/// What to generate from.
#[derive(Debug, Clone, Copy)]
pub enum Prompt<'a> {
    /// Text; the engine tokenises it.
    Text(&'a str),
    /// Token ids, so that the input length is exact.
    Tokens(&'a [u32]),
}

/// One message of a chat.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `system`, `user` or `assistant`.
    pub role: &'a str,
    /// Its text.
    pub content: &'a str,
    /// Images before the text: data URIs, or addresses that the engine fetches.
    pub images: &'a [String],
}

impl<'a> Message<'a> {
    /// A message without images.
    pub fn text(role: &'a str, content: &'a str) -> Self {
        Self { role, content, images: &[] }
    }
}

/// What all requests of a workload share.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name of the model.
    pub model: String,
    /// How messages carry images.
    pub image_form: ImageForm,
    /// Ask for a stream of events.
    pub stream: bool,
    /// Ask for a usage event at the end of the stream.
    pub include_usage: bool,
    /// Go on past the end-of-sequence token (vLLM, SGLang, llama.cpp).
    pub ignore_eos: bool,
    /// Also send `min_tokens` equal to `max_tokens` (vLLM, SGLang).
    pub min_tokens: bool,
    /// Sampling temperature; `None` leaves it to the engine.
    pub temperature: Option<f64>,
    /// Seed of the sampler; `None` leaves it to the engine.
    pub seed: Option<u64>,
    /// Ask for the token ids of every chunk (vLLM).
    pub return_token_ids: bool,
    /// Further keys. They win over the keys above; objects are merged key by key.
    pub extra_body: Map<String, Value>,
}

/// Keys of `extra_body` that would break the measurement.
const RESERVED: [&str; 3] = ["stream", "prompt", "messages"];
/// Other names for the output limit: with one of them in `extra_body`, `max_tokens` is left out.
const OTHER_LIMITS: [&str; 3] = ["max_tokens", "max_completion_tokens", "n_predict"];

/// Why extra keys cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtraBodyError {
    /// The key is one that Stopwatt must set itself.
    #[error("extra request key `{key}` is set by Stopwatt itself")]
    Reserved {
        /// The key.
        key: String,
    },
}

impl ExtraBodyError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Reserved { .. } => Some("describe prompts in the workload; requests are always streamed"),
        }
    }
}

/// The shared part of a body, rendered once.
#[derive(Debug, Clone)]
pub struct Template {
    /// `{"model":…,…` without the closing brace.
    head: Vec<u8>,
    image_form: ImageForm,
    limit: bool,
    min_tokens: bool,
}

impl Template {
    /// Renders what all requests share.
    pub fn new(options: &Options) -> Result<Self, ExtraBodyError> {
        if let Some(key) = RESERVED.iter().find(|k| options.extra_body.contains_key(**k)) {
            return Err(ExtraBodyError::Reserved { key: (*key).to_owned() });
        }
        let mut body = Map::new();
        body.insert("model".to_owned(), options.model.as_str().into());
        if options.stream {
            body.insert("stream".to_owned(), true.into());
            if options.include_usage {
                body.insert("stream_options".to_owned(), serde_json::json!({"include_usage": true}));
            }
        }
        if options.ignore_eos {
            body.insert("ignore_eos".to_owned(), true.into());
        }
        if let Some(t) = options.temperature {
            body.insert("temperature".to_owned(), t.into());
        }
        if let Some(seed) = options.seed {
            body.insert("seed".to_owned(), seed.into());
        }
        if options.return_token_ids {
            body.insert("return_token_ids".to_owned(), true.into());
        }
        merge(&mut body, &options.extra_body);
        let mut head = Value::Object(body).to_string().into_bytes();
        head.pop();
        let has = |keys: &[&str]| keys.iter().any(|k| options.extra_body.contains_key(*k));
        let min_tokens = options.min_tokens && !has(&["min_tokens"]);
        Ok(Self { head, image_form: options.image_form, limit: !has(&OTHER_LIMITS), min_tokens })
    }

    /// Body of `/v1/completions`.
    pub fn completions(&self, prompt: Prompt<'_>, max_tokens: u32) -> Vec<u8> {
        let room = match prompt {
            Prompt::Text(t) => t.len() + t.len() / 16,
            Prompt::Tokens(t) => t.len() * 7,
        };
        let mut out = self.begin(room, max_tokens);
        out.extend_from_slice(b",\"prompt\":");
        match prompt {
            Prompt::Text(text) => write_string(&mut out, text),
            Prompt::Tokens(ids) => write_ids(&mut out, ids),
        }
        out.push(b'}');
        out
    }

    /// Body of `/v1/chat/completions`.
    pub fn chat(&self, messages: &[Message<'_>], max_tokens: u32) -> Vec<u8> {
        let images = |m: &Message<'_>| m.images.iter().map(|i| i.len() + 60).sum::<usize>();
        let room = messages.iter().map(|m| m.content.len() + m.content.len() / 16 + 40 + images(m)).sum();
        let mut out = self.begin(room, max_tokens);
        out.extend_from_slice(b",\"messages\":[");
        for (i, m) in messages.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b"{\"role\":" } else { b",{\"role\":" });
            write_string(&mut out, m.role);
            out.extend_from_slice(b",\"content\":");
            write_content(&mut out, m, self.image_form);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        out
    }

    fn begin(&self, room: usize, max_tokens: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.head.len() + room + 80);
        out.extend_from_slice(&self.head);
        if self.limit {
            out.extend_from_slice(b",\"max_tokens\":");
            write_number(&mut out, max_tokens);
        }
        if self.min_tokens {
            out.extend_from_slice(b",\"min_tokens\":");
            write_number(&mut out, max_tokens);
        }
        out
    }
}

fn merge(base: &mut Map<String, Value>, extra: &Map<String, Value>) {
    for (key, value) in extra {
        match (base.get_mut(key), value) {
            (Some(Value::Object(b)), Value::Object(e)) => merge(b, e),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// A string, or a list of parts where there are images.
fn write_content(out: &mut Vec<u8>, message: &Message<'_>, form: ImageForm) {
    if message.images.is_empty() {
        return write_string(out, message.content);
    }
    if form == ImageForm::Base64 {
        write_string(out, message.content);
        for (i, image) in message.images.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b",\"images\":[" } else { b"," });
            write_string(out, kind_and_data(image).1);
        }
        return out.push(b']');
    }
    out.push(b'[');
    for image in message.images {
        let (kind, data) = kind_and_data(image);
        // Around the kind, around the data, at the end.
        let (before, between, after): (&[u8], Option<&[u8]>, &[u8]) = match form {
            ImageForm::ImageUrl | ImageForm::Base64 => {
                (b"{\"type\":\"image_url\",\"image_url\":{\"url\":", None, b"}},")
            }
            ImageForm::ImageUrlString => (b"{\"type\":\"image_url\",\"image_url\":", None, b"},"),
            ImageForm::InputImage => (b"{\"type\":\"input_image\",\"image_url\":", None, b"},"),
            ImageForm::Source => (
                b"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":",
                Some(b",\"data\":"),
                b"}},",
            ),
            ImageForm::InlineData => (b"{\"inline_data\":{\"mime_type\":", Some(b",\"data\":"), b"}},"),
        };
        out.extend_from_slice(before);
        match between {
            None => write_string(out, image),
            Some(between) => {
                write_string(out, kind);
                out.extend_from_slice(between);
                write_string(out, data);
            }
        }
        out.extend_from_slice(after);
    }
    let text: &[u8] = match form {
        ImageForm::InputImage => b"{\"type\":\"input_text\",\"text\":",
        ImageForm::InlineData => b"{\"text\":",
        _ => b"{\"type\":\"text\",\"text\":",
    };
    out.extend_from_slice(text);
    write_string(out, message.content);
    out.extend_from_slice(b"}]");
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory cannot fail");
}

fn write_number(out: &mut Vec<u8>, n: u32) {
    serde_json::to_writer(out, &n).expect("writing a number to memory cannot fail");
}

fn write_ids(out: &mut Vec<u8>, ids: &[u32]) {
    out.push(b'[');
    for (i, id) in ids.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_number(out, *id);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options() -> Options {
        Options { model: "m\"x".into(), stream: true, include_usage: true, ..Options::default() }
    }

    #[track_caller]
    fn check(options: &Options, body: impl Fn(&Template) -> Vec<u8>, expected: Value) {
        let body = body(&Template::new(options).unwrap());
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn completions_take_text_or_token_ids() {
        let shared =
            json!({"model":"m\"x","stream":true,"stream_options":{"include_usage":true},"max_tokens":7});
        let with = |prompt: Value| {
            let mut v = shared.clone();
            v["prompt"] = prompt;
            v
        };
        check(&options(), |t| t.completions(Prompt::Text("a\n\"한\u{1}"), 7), with(json!("a\n\"한\u{1}")));
        check(
            &options(),
            |t| t.completions(Prompt::Tokens(&[0, 10, u32::MAX]), 7),
            with(json!([0, 10, u32::MAX])),
        );
        check(&options(), |t| t.completions(Prompt::Tokens(&[]), 7), with(json!([])));
    }

    #[test]
    fn chat_and_every_option() {
        let options = Options {
            ignore_eos: true,
            min_tokens: true,
            temperature: Some(0.0),
            seed: Some(3),
            return_token_ids: true,
            ..options()
        };
        let images = ["data:image/png;base64,AA==".to_owned()];
        let messages =
            [Message::text("system", "s"), Message { role: "user", content: "u", images: &images }];
        check(
            &options,
            |t| t.chat(&messages, 5),
            json!({
                "model":"m\"x","stream":true,"stream_options":{"include_usage":true},"max_tokens":5,"min_tokens":5,
                "ignore_eos":true,"temperature":0.0,"seed":3,"return_token_ids":true,
                "messages":[{"role":"system","content":"s"},{"role":"user","content":[
                    {"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"text","text":"u"}]}]
            }),
        );
    }

    #[test]
    fn images_are_written_in_every_form() {
        let images = ["data:image/jpeg;base64,AA==".to_owned()];
        let message = [Message { role: "user", content: "u", images: &images }];
        let url = "data:image/jpeg;base64,AA==";
        for (form, part, text) in [
            (
                ImageForm::ImageUrlString,
                json!({"type":"image_url","image_url":url}),
                json!({"type":"text","text":"u"}),
            ),
            (
                ImageForm::InputImage,
                json!({"type":"input_image","image_url":url}),
                json!({"type":"input_text","text":"u"}),
            ),
            (
                ImageForm::Source,
                json!({"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"AA=="}}),
                json!({"type":"text","text":"u"}),
            ),
            (
                ImageForm::InlineData,
                json!({"inline_data":{"mime_type":"image/jpeg","data":"AA=="}}),
                json!({"text":"u"}),
            ),
        ] {
            let options = Options { model: "m".into(), image_form: form, ..Options::default() };
            let expected =
                json!({"model":"m","max_tokens":1,"messages":[{"role":"user","content":[part, text]}]});
            check(&options, |t| t.chat(&message, 1), expected);
        }
        let options = Options { model: "m".into(), image_form: ImageForm::Base64, ..Options::default() };
        let expected =
            json!({"model":"m","max_tokens":1,"messages":[{"role":"user","content":"u","images":["AA=="]}]});
        check(&options, |t| t.chat(&message, 1), expected);
    }

    #[test]
    fn extra_keys_win_and_objects_merge() {
        let extra = json!({"temperature":1.5,"stream_options":{"continuous_usage_stats":true},"max_completion_tokens":9});
        let options =
            Options { temperature: Some(0.0), extra_body: extra.as_object().unwrap().clone(), ..options() };
        check(
            &options,
            |t| t.completions(Prompt::Text("p"), 5),
            json!({
                "model":"m\"x","stream":true,"temperature":1.5,"max_completion_tokens":9,"prompt":"p",
                "stream_options":{"include_usage":true,"continuous_usage_stats":true}
            }),
        );
    }

    #[test]
    fn keys_that_break_the_measurement_are_refused() {
        for key in RESERVED {
            let mut options = options();
            options.extra_body.insert(key.to_owned(), Value::Null);
            let ExtraBodyError::Reserved { key: named } = Template::new(&options).unwrap_err();
            assert_eq!(named, key);
        }
    }
}
