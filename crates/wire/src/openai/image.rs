//! Images in a request: data URIs.

/// `data:KIND;base64,…` (RFC 2397).
pub fn data_uri(kind: &str, bytes: &[u8]) -> String {
    let mut uri = String::with_capacity(bytes.len().div_ceil(3) * 4 + 32);
    uri.push_str("data:");
    uri.push_str(kind);
    uri.push_str(";base64,");
    base64(bytes, &mut uri);
    uri
}

/// How a message carries an image. Servers differ in what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageForm {
    /// `{"type":"image_url","image_url":{"url":…}}`: OpenAI's chats, vLLM, SGLang, llama.cpp.
    #[default]
    ImageUrl,
    /// `{"type":"image_url","image_url":…}`.
    ImageUrlString,
    /// `{"type":"input_image","image_url":…}`, with `input_text`: OpenAI's responses.
    InputImage,
    /// `{"type":"image","source":{"type":"base64","media_type":…,"data":…}}`: Anthropic's messages.
    Source,
    /// `{"inline_data":{"mime_type":…,"data":…}}`: Gemini.
    InlineData,
    /// `"images":[…]` of bare base64 beside the text: Ollama.
    Base64,
}

/// Kind and base64 of a data URI; the whole where it is none.
pub(super) fn kind_and_data(uri: &str) -> (&str, &str) {
    let apart = uri.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    apart.unwrap_or(("image/png", uri))
}

/// The bytes of an image that is a data URI in base64, or bare base64; `None` where it is neither.
pub fn image_bytes(text: &str) -> Option<Vec<u8>> {
    let coded = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once(',').filter(|(head, _)| head.ends_with(";base64"))?.1,
        None => text,
    };
    from_base64(coded.trim())
}

/// RFC 4648, section 4; with or without padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let coded = text.trim_end_matches('=').as_bytes();
    if coded.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(coded.len() / 4 * 3 + 2);
    for group in coded.chunks(4) {
        let mut word = 0_u32;
        for c in group {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(value);
        }
        let bytes = (word << (6 * (4 - group.len()))).to_be_bytes();
        out.extend_from_slice(&bytes[1..group.len()]);
    }
    Some(out)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8], out: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |w, &b| w << 8 | u32::from(b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= group.len() { char::from(letter) } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        // RFC 4648, section 10.
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = String::new();
            base64(text.as_bytes(), &mut out);
            assert_eq!(out, expected);
            assert_eq!(image_bytes(expected).as_deref(), Some(text.as_bytes()));
            assert_eq!(image_bytes(expected.trim_end_matches('=')).as_deref(), Some(text.as_bytes()));
            assert_eq!(
                image_bytes(&data_uri("image/png", text.as_bytes())).as_deref(),
                Some(text.as_bytes())
            );
        }
        for wrong in ["Z", "Zg==Zg", "Zm9v!", "data:image/png,abc", "https://127.0.0.1/a.png", "data:;base64"]
        {
            assert_eq!(image_bytes(wrong), None, "{wrong}");
        }
    }
}
