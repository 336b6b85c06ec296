//! What is kept of an error: length and hash of all of it, and its beginning for the terminal.

use sha2::{Digest, Sha256};
use stopwatt_wire::openai::ErrorBody;

/// Most bytes of an error that are kept.
const KEEP: usize = 16 * 1024;
/// Longest message shown.
const MESSAGE_CHARS: usize = 512;

/// The text of an error as it comes in.
#[derive(Debug, Default)]
pub(super) struct Failure {
    len: u64,
    /// Over all bytes, also those not kept.
    hash: Option<Sha256>,
    begin: Vec<u8>,
}

/// What is recorded and shown of an error.
pub(super) struct Found {
    pub(super) len: u32,
    pub(super) hash: String,
    pub(super) message: String,
}

impl Failure {
    /// Takes up more of the text.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.hash.get_or_insert_default().update(bytes);
        let room = KEEP - self.begin.len();
        self.begin.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Takes up another text instead.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        self.forget();
        self.keep(bytes);
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether there is nothing but white space.
    pub(super) fn is_blank(&self) -> bool {
        self.begin.trim_ascii().is_empty()
    }

    /// Whether the text is an error in a shape that engines use.
    pub(super) fn is_error_answer(&self) -> bool {
        ErrorBody::parse(&self.begin).is_some()
    }

    /// `None` when there is no text.
    pub(super) fn finish(self) -> Option<Found> {
        let digest = self.hash?.finalize();
        let hash = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
        let text = ErrorBody::parse(&self.begin)
            .map(|e| e.message)
            .filter(|m| !m.is_empty())
            .unwrap_or_else(|| String::from_utf8_lossy(&self.begin).trim().to_owned());
        let message =
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS).collect();
        Some(Found { len: u32::try_from(self.len).unwrap_or(u32::MAX), hash, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_covers_what_is_not_kept() {
        let mut whole = Failure::default();
        whole.keep(&[b'x'; KEEP + 10]);
        let mut pieces = Failure::default();
        (0..KEEP + 10).for_each(|_| pieces.keep(b"x"));
        let (whole, pieces) = (whole.finish().unwrap(), pieces.finish().unwrap());
        assert_eq!((whole.len as usize, &whole.hash), (KEEP + 10, &pieces.hash));
        assert_eq!(whole.message.len(), MESSAGE_CHARS);
        assert!(Failure::default().finish().is_none());
    }

    #[test]
    fn a_known_hash_and_the_engine_message() {
        let mut failure = Failure::default();
        failure.replace(b"abc");
        // SHA-256 of "abc", FIPS 180-2 appendix B.1.
        assert_eq!(failure.finish().unwrap().hash, "ba7816bf8f01cfea");
        let mut failure = Failure::default();
        failure.keep(br#"{"error":{"message":"no\nsuch"}}"#);
        assert!(failure.is_error_answer());
        assert_eq!(failure.finish().unwrap().message, "no such");
    }
}
