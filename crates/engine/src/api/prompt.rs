//! What to generate from: text, token ids, or the messages of a chat.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde_json::Value;
use stopwatt_wire::openai::image_bytes;

/// What to generate from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
    Chat(Vec<Message>),
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) role: String,
    pub(crate) content: String,
    /// Files of images, in order.
    pub(crate) images: Vec<Vec<u8>>,
}

/// The `prompt` of a completion: a string, an array of token ids, or an array of exactly one of these.
impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PromptVisitor)
    }
}

struct PromptVisitor;

impl<'de> Visitor<'de> for PromptVisitor {
    type Value = Prompt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of token ids")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Prompt, E> {
        Ok(Prompt::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Prompt, E> {
        Ok(Prompt::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Prompt, A::Error> {
        let mut ids = Vec::with_capacity(seq.size_hint().unwrap_or(0));
        while let Some(element) = seq.next_element::<Element>()? {
            match element {
                Element::Id(id) => ids.push(id),
                Element::Whole(prompt) if ids.is_empty() => {
                    return match seq.next_element::<serde::de::IgnoredAny>()? {
                        None => Ok(prompt),
                        Some(_) => Err(A::Error::custom("several prompts in one request are not supported")),
                    };
                }
                Element::Whole(_) => {
                    return Err(A::Error::custom("an array of token ids holds something else"));
                }
            }
        }
        Ok(Prompt::Tokens(ids))
    }
}

/// An element of a prompt array.
enum Element {
    Id(u32),
    Whole(Prompt),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor;
        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a token id")
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<Element, E> {
                u32::try_from(id).map(Element::Id).map_err(|_| E::custom("a token id is too large"))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Whole(Prompt::Text(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Element, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = seq.next_element::<u32>()? {
                    ids.push(id);
                }
                Ok(Element::Whole(Prompt::Tokens(ids)))
            }
        }
        deserializer.deserialize_any(ElementVisitor)
    }
}

/// One entry of `messages`: its content is a string or a list of texts and images, in any of the forms of [`image`].
impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Raw {
            role: String,
            #[serde(default)]
            content: Value,
            /// Where Ollama has them.
            #[serde(default)]
            images: Vec<String>,
        }
        let raw = Raw::deserialize(deserializer)?;
        let not_an_image = "an image is neither a data URI in base64 nor base64";
        let mut images = Vec::new();
        let content = match raw.content {
            Value::String(text) => text,
            // What an assistant message that only calls tools looks like.
            Value::Null => String::new(),
            Value::Array(parts) => {
                let mut joined = String::new();
                for part in &parts {
                    match (part.get("type").and_then(Value::as_str), part.get("text").and_then(Value::as_str))
                    {
                        (Some("text" | "input_text") | None, Some(text)) => joined.push_str(text),
                        _ => {
                            let data = image(part).ok_or_else(|| {
                                D::Error::custom("a part of a message is neither text nor image")
                            })?;
                            images.push(image_bytes(data).ok_or_else(|| D::Error::custom(not_an_image))?);
                        }
                    }
                }
                joined
            }
            _ => {
                return Err(D::Error::custom(
                    "the content of a message is neither a string nor a list of parts",
                ));
            }
        };
        for data in &raw.images {
            images.push(image_bytes(data).ok_or_else(|| D::Error::custom(not_an_image))?);
        }
        Ok(Self { role: raw.role, content, images })
    }
}

/// The data of a part that is an image: as OpenAI's chats and responses have it (`image_url` an object or a string,
/// `input_image`), as Anthropic's messages (`source`), as Gemini (`inline_data`), or `image` as a bare string.
fn image(part: &Value) -> Option<&str> {
    let url = &part["image_url"];
    let places = [
        &url["url"],
        url,
        &part["source"]["data"],
        &part["inline_data"]["data"],
        &part["inlineData"]["data"],
        &part["image"],
    ];
    places.into_iter().find_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Option<Prompt>) {
        assert_eq!(serde_json::from_str::<Prompt>(json).ok(), expected, "{json}");
    }

    #[test]
    fn one_prompt_in_every_form() {
        check(r#""hi""#, Some(Prompt::Text("hi".into())));
        check("[1,2,4294967295]", Some(Prompt::Tokens(vec![1, 2, u32::MAX])));
        check(r#"["hi"]"#, Some(Prompt::Text("hi".into())));
        check("[[1,2]]", Some(Prompt::Tokens(vec![1, 2])));
        check("[]", Some(Prompt::Tokens(vec![])));
    }

    #[test]
    fn several_prompts_and_nonsense_are_refused() {
        for json in
            [r#"["a","b"]"#, "[[1],[2]]", "[1,\"a\"]", "[-1]", "[1.5]", "[4294967296]", "null", "{}", "7"]
        {
            check(json, None);
        }
    }

    #[test]
    fn text_parts_are_joined_and_others_refused() {
        let read = |json| serde_json::from_str::<Message>(json).ok().map(|m| m.content);
        let parts = r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#;
        assert_eq!(read(parts).as_deref(), Some("ab"));
        assert_eq!(read(r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}"#), None);
        assert_eq!(
            read(r#"{"role":"user","content":[{"type":"video_url","video_url":{"url":"eA=="}}]}"#),
            None
        );
        assert_eq!(read(r#"{"role":"user","content":7}"#), None);
        assert_eq!(read(r#"{"content":"x"}"#), None);
    }

    #[test]
    fn images_are_found_in_every_form() {
        for part in [
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,eA==","detail":"high"}}"#,
            r#"{"type":"image_url","image_url":"data:image/png;base64,eA=="}"#,
            r#"{"type":"input_image","image_url":"data:image/png;base64,eA=="}"#,
            r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"eA=="}}"#,
            r#"{"inline_data":{"mime_type":"image/png","data":"eA=="}}"#,
            r#"{"type":"image","image":"eA=="}"#,
        ] {
            let json = format!(r#"{{"role":"user","content":[{{"type":"text","text":"a"}},{part}]}}"#);
            let message: Message = serde_json::from_str(&json).unwrap();
            assert_eq!((message.content.as_str(), message.images), ("a", vec![b"x".to_vec()]), "{part}");
        }
        let ollama: Message =
            serde_json::from_str(r#"{"role":"user","content":"a","images":["eA=="]}"#).unwrap();
        assert_eq!(ollama.images, [b"x"]);
    }
}
