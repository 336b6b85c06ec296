//! Records of the client against the exact engine's log of what it wrote when.
//!
//! True time to the first token counts from the engine's read of the request's last byte to its write of the first
//! token, so that the way there and back is part of the error, as it is for a user.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stopwatt_core::RequestRecord;
use stopwatt_core::clock::{Clock, Nanos, unix_now};

/// What the engine says of one request; times are raw monotonic nanoseconds.
#[derive(Debug, Clone, Deserialize)]
pub struct Truth {
    /// The client's own id of the request.
    request_id: Option<String>,
    received_ns: Nanos,
    flush_ns: Vec<Nanos>,
    /// Tokens in each write; 0 in those that carry none.
    flush_tokens: Vec<u32>,
}

/// The log by request.
pub fn read(path: &Path) -> io::Result<HashMap<u64, Truth>> {
    let mut all = HashMap::new();
    for line in BufReader::new(std::fs::File::open(path)?).lines() {
        let truth: Truth = serde_json::from_str(&line?)?;
        if let Some(id) = truth.request_id.as_deref().and_then(|id| id.parse().ok()) {
            all.insert(id, truth);
        }
    }
    Ok(all)
}

/// A new name in the temporary folder.
pub(super) fn temporary_file() -> PathBuf {
    std::env::temp_dir().join(format!("stopwatt-truth-{}-{}.jsonl", std::process::id(), unix_now()))
}

/// What was reported, what was true, and how far they are apart. Seconds.
#[derive(Debug, Default)]
pub struct Errors {
    /// Time to the first token as reported.
    pub ttft: Vec<f64>,
    /// The same in truth.
    pub true_ttft: Vec<f64>,
    /// Reported less true.
    pub ttft_error: Vec<f64>,
    /// From the client's write of a request to the engine's read of it: the part of `ttft_error` on the way there.
    pub way_in: Vec<f64>,
    /// Time between tokens as reported.
    pub itl: Vec<f64>,
    /// The same in truth.
    pub true_itl: Vec<f64>,
    /// Distance of the two, gap by gap.
    pub itl_error: Vec<f64>,
    /// Distance of reported and true time per output token, request by request.
    pub tpot_error: Vec<f64>,
    /// From the engine's write to the client's stamp: the part of `ttft_error` on the way back.
    pub lag: Vec<f64>,
}

impl Errors {
    /// Adds a request; `false` when the two sides do not tell of the same tokens, or of fewer than two.
    pub fn add(&mut self, request: &RequestRecord, truth: &Truth, clock: Clock) -> bool {
        let read: Vec<Nanos> = request.token_chunks().map(|c| c.t_ns).collect();
        let flushes = truth.flush_ns.iter().zip(&truth.flush_tokens);
        let written: Vec<Nanos> =
            flushes.flat_map(|(t, n)| std::iter::repeat_n(clock.from_raw(*t), *n as usize)).collect();
        let Some(begin) = request.send_begin_ns().filter(|_| read.len() == written.len() && read.len() > 1)
        else {
            return false;
        };
        let s = |ns: Nanos| ns as f64 * 1e-9;
        let received = clock.from_raw(truth.received_ns);
        let (ttft, true_ttft) = (s(read[0] - begin), s(written[0] - received));
        self.ttft.push(ttft);
        self.true_ttft.push(true_ttft);
        self.ttft_error.push(ttft - true_ttft);
        self.way_in.push(s(received - begin));
        for (r, w) in read.windows(2).zip(written.windows(2)) {
            self.itl.push(s(r[1] - r[0]));
            self.true_itl.push(s(w[1] - w[0]));
            self.itl_error.push((s(r[1] - r[0]) - s(w[1] - w[0])).abs());
        }
        self.lag.extend(read.iter().zip(&written).map(|(r, w)| s(r - w)));
        let n = (read.len() - 1) as f64;
        let tpot = |t: &[Nanos]| s(t[t.len() - 1] - t[0]) / n;
        self.tpot_error.push((tpot(&read) - tpot(&written)).abs());
        true
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::{ChunkKind, ChunkStamp, EndKind, Phase};

    use super::*;

    const MS: Nanos = 1_000_000;

    fn request(begin_ms: i64, read_ms: &[f64]) -> RequestRecord {
        let chunk = |ms: &f64| ChunkStamp {
            t_ns: (ms * 1e6) as Nanos,
            tokens: None,
            kind: ChunkKind::Content,
            shape: Default::default(),
        };
        RequestRecord {
            id: 3,
            point: 0,
            trial: 0,
            phase: Phase::Measure,
            input_asked: 1,
            output_asked: 3,
            input_usage: None,
            output_usage: None,
            session: None,
            turn: None,
            cached_usage: None,
            output_tokenizer: None,
            intended_ns: begin_ms * MS,
            dispatched_ns: Some(begin_ms * MS),
            connected_ns: None,
            written_ns: None,
            first_byte_ns: None,
            end_ns: 100 * MS,
            end: EndKind::Ok,
            status: Some(200),
            error_len: None,
            error_hash: None,
            finish: None,
            chunks: read_ms.iter().map(chunk).collect(),
        }
    }

    #[test]
    fn errors_of_a_request_by_hand() {
        let clock = Clock { t0_monotonic_ns: 1000 * MS, t0_unix_ns: 0 };
        let line = r#"{"request_id":"3","received_ns":1011000000,"flush_ns":[1012000000,1061000000,1071000000],"flush_tokens":[0,1,2]}"#;
        let truth: Truth = serde_json::from_str(line).unwrap();
        let mut errors = Errors::default();
        assert!(errors.add(&request(10, &[61.5, 71.25, 71.25]), &truth, clock));
        let close = |got: &[f64], expected_ms: &[f64]| {
            assert_eq!(got.len(), expected_ms.len());
            for (g, e) in got.iter().zip(expected_ms) {
                assert!((g * 1e3 - e).abs() < 1e-9, "{got:?}");
            }
        };
        close(&errors.ttft_error, &[1.5]); // 51.5 reported, 50 true
        close(&errors.way_in, &[1.0]);
        close(&errors.itl_error, &[0.25, 0.0]);
        close(&errors.lag, &[0.5, 0.25, 0.25]);
        close(&errors.tpot_error, &[0.125]); // 9.75/2 against 10/2
        assert!(!errors.add(&request(10, &[61.5]), &truth, clock), "another number of tokens");
    }
}
