//! What a store said, in words that hold no credentials.
//!
//! Answers of stores repeat access keys and what was signed, and addresses may carry a signature as a query. Of an
//! answer its code is kept, of an address what stands before the query.

use std::error::Error as _;

use object_store::Error;

use crate::redact;

/// Longest text taken over.
const MAX: usize = 240;
const NO_BUCKET: &str = "the bucket is not there";

/// The problem in one line.
pub(super) fn problem(error: &Error) -> String {
    match error {
        Error::NotFound { .. } => NO_BUCKET.to_owned(),
        Error::PermissionDenied { .. } => "the store does not permit it with these credentials".to_owned(),
        Error::Unauthenticated { .. } => "the store does not accept these credentials".to_owned(),
        _ => {
            let mut cause = error.source();
            let mut last = String::new();
            while let Some(e) = cause {
                last = e.to_string();
                cause = e.source();
            }
            let whole = error.to_string();
            // What a list of a bucket that is not there gives.
            if ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| whole.contains(code)) {
                return NO_BUCKET.to_owned();
            }
            let mut text = clean(&whole);
            if !last.is_empty() && !whole.contains(&last) {
                text = format!("{text}: {}", clean(&last));
            }
            text
        }
    }
}

/// Without the body of an answer, without queries, not long.
fn clean(text: &str) -> String {
    let code =
        text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    let head = text.split(['<', '{', '\n']).next().unwrap_or_default();
    let words = head.split_whitespace().map(|word| match word.split_once('?') {
        Some((address, _)) if address.contains("://") => address,
        _ => word,
    });
    let plain = redact::text(&words.collect::<Vec<_>>().join(" "));
    let mut out: String = plain.trim_end_matches([' ', ':', '-']).chars().take(MAX).collect();
    if let Some(code) = code.filter(|c| c.len() < 64 && c.bytes().all(|b| b.is_ascii_alphanumeric())) {
        out = format!("{out} ({code})");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_keys_nor_signatures_are_repeated() {
        let body = "Error performing PUT https://a.blob.core.windows.net/c/x?sv=2020&sig=hunter2 in 3ms - Server \
                    returned non-2xx status code: 400 Bad Request: <Error><Code>InvalidDigest</Code><AWSAccessKeyId>\
                    AKIAHUNTER2</AWSAccessKeyId></Error>";
        let error = Error::Generic { store: "S3", source: body.into() };
        let text = problem(&error);
        assert!(!text.to_lowercase().contains("hunter2"), "{text}");
        assert!(text.contains("400 Bad Request") && text.ends_with("(InvalidDigest)"), "{text}");
        let json = Error::Generic { store: "GCS", source: "refused: {\"key\":\"hunter2\"}".into() };
        assert_eq!(problem(&json), "Generic GCS error: refused");
    }

    #[test]
    fn refusals_are_said_in_plain_words() {
        let denied = Error::PermissionDenied { path: "a".into(), source: "AKIAHUNTER2".into() };
        assert_eq!(problem(&denied), "the store does not permit it with these credentials");
        let listed =
            Error::Generic { store: "S3", source: "404 Not Found: <Code>NoSuchBucket</Code>".into() };
        assert_eq!(problem(&listed), NO_BUCKET);
    }
}
