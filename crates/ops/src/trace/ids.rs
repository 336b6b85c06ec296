//! Trace and span ids, and the header that carries them (W3C Trace Context, level 1).

use std::hash::{BuildHasher as _, Hasher as _};

use crate::exchange::Failure;
use stopwatt_core::Nanos;

/// Where a request stands in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The trace.
    pub trace: [u8; 16],
    /// The request's own span.
    pub span: [u8; 8],
    /// The client's span that it belongs to.
    pub parent: Option<[u8; 8]>,
    /// Whether the client wants it recorded; `true` where it says nothing.
    pub sampled: bool,
}

/// What a trace tells of a request beside its [`crate::exchange::Exchange`]. It holds no text.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// Where it stands.
    pub place: Place,
    /// Every attempt, in order.
    pub tries: Vec<Try>,
    /// The session, as it may be told: hashed unless asked otherwise.
    pub session: Option<String>,
    /// The user, likewise.
    pub user: Option<String>,
    /// What the request asks for.
    pub params: Params,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Params {
    /// Most output tokens.
    pub max_tokens: Option<i64>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Nucleus.
    pub top_p: Option<f64>,
    /// Seed.
    pub seed: Option<i64>,
}

/// An attempt at an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    /// Position of the upstream.
    pub upstream: usize,
    /// When it began, raw monotonic.
    pub began: Nanos,
    /// When it failed; `None` for the one that answered, and for one that was cut off.
    pub failed: Option<(Nanos, Failure)>,
}

/// Makes ids that no other process makes. Any thread may ask, without waiting.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    seeds: [u64; 3],
}

impl Ids {
    /// Seeds from the system's randomness.
    pub fn new() -> Self {
        // The standard library's hash keys are random and differ from one to the next.
        let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self { seeds: [random(), random(), random()] }
    }

    /// The place of a request: in the trace of its client where `traceparent` names one.
    pub(crate) fn place(&self, serial: u64, traceparent: Option<&[u8]>) -> Place {
        let [a, b, c] = self.seeds.map(|seed| mixed(seed ^ mixed(serial)));
        let span = nonzero(c).to_be_bytes();
        match traceparent.and_then(parse) {
            Some((trace, parent, sampled)) => Place { trace, span, parent: Some(parent), sampled },
            None => {
                let mut trace = [0; 16];
                trace[..8].copy_from_slice(&nonzero(a).to_be_bytes());
                trace[8..].copy_from_slice(&b.to_be_bytes());
                Place { trace, span, parent: None, sampled: true }
            }
        }
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// The span of attempt `n`, from 0.
    pub(crate) fn attempt(&self, n: usize) -> [u8; 8] {
        nonzero(mixed(u64::from_be_bytes(self.span).wrapping_add(n as u64 + 1))).to_be_bytes()
    }

    /// The header that an upstream gets with attempt `n`.
    pub(crate) fn traceparent(&self, n: usize) -> String {
        let flags = u8::from(self.sampled);
        format!("00-{}-{}-{flags:02x}", hex(&self.trace), hex(&self.attempt(n)))
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to memory cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of exactly so many lower-case hex digits that are not all zero.
pub(crate) fn from_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |d: u8| match d {
            b'0'..=b'9' => Some(d - b'0'),
            b'a'..=b'f' => Some(d - b'a' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (bytes != [0; N]).then_some(bytes)
}

/// `version-trace-parent-flags`. A newer version may have more after the flags; version ff is none.
fn parse(header: &[u8]) -> Option<([u8; 16], [u8; 8], bool)> {
    let mut parts = header.split(|b| *b == b'-');
    let version: [u8; 2] = parts.next()?.try_into().ok()?;
    let digits = |text: &[u8]| text.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    if version == *b"ff" || !digits(&version) {
        return None;
    }
    let trace = from_hex(parts.next()?)?;
    let parent = from_hex(parts.next()?)?;
    let flags: [u8; 2] = parts.next()?.try_into().ok()?;
    if !digits(&flags) || (version == *b"00" && parts.next().is_some()) {
        return None;
    }
    let low = if flags[1].is_ascii_digit() { flags[1] - b'0' } else { flags[1] - b'a' + 10 };
    Some((trace, parent, low & 1 == 1))
}

/// The finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
fn mixed(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An id of zeros is none.
fn nonzero(id: u64) -> u64 {
    if id == 0 { 1 } else { id }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    // The example of the recommendation.
    const EXAMPLE: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_trace_of_a_client_goes_on() {
        let place = Ids::new().place(0, Some(EXAMPLE));
        assert_eq!(hex(&place.trace), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(place.parent.map(|p| hex(&p)).as_deref(), Some("b7ad6b7169203331"));
        let next = place.traceparent(0);
        assert!(next.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && next.ends_with("-01"), "{next}");
        assert!(!next.contains("b7ad6b7169203331") && next.len() == EXAMPLE.len());
        let silent = Ids::new().place(0, Some(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
        assert!(!silent.sampled);
    }

    #[test]
    fn what_is_no_such_header_begins_a_trace() {
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-zz",
        ] {
            assert_eq!(Ids::new().place(0, Some(bad.as_bytes())).parent, None, "{bad}");
        }
        let newer = b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what";
        assert!(Ids::new().place(0, Some(newer)).parent.is_some(), "a newer version may have more");
    }

    #[test]
    fn ids_differ() {
        let (one, other) = (Ids::new(), Ids::new());
        let places: Vec<Place> =
            [one, other].iter().flat_map(|ids| (0..500).map(|n| ids.place(n, None))).collect();
        let traces: HashSet<_> = places.iter().map(|p| p.trace).collect();
        let spans: HashSet<_> = places.iter().flat_map(|p| [p.span, p.attempt(0), p.attempt(1)]).collect();
        assert_eq!((traces.len(), spans.len()), (1000, 3000));
    }
}
