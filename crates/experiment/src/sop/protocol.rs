//! The JSON lines that Stopwatt and a target exchange; `docs/run.md` describes them for whoever writes a target.
//!
//! | Stopwatt says | the target answers |
//! |---|---|
//! | `{"do":"prepare","seed":0,"mode":"linear"}` | `{"ready":{…}}` |
//! | `{"do":"iterate","n":N}` | N × `{"iteration":{…}}`, then `{"done":N}` |
//! | `{"do":"outputs"}`, in a workload pair with `"file"` | `{"outputs":{"sha256":"…"}}` |
//! | `{"do":"verify","seed":S,"file":"…"}`, in a workload pair | `{"verified":{"values":N}}` |
//! | `{"do":"end"}` | nothing: it ends |
//!
//! Messages about lines that make no sense name their place and length, never their content.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stopwatt_core::Nanos;
use stopwatt_record::redact;

use super::target::Iteration;

/// How far a stamp may lie outside the time in which it can have been taken: clocks are read at different moments.
const SLACK_NS: Nanos = 1_000_000;
/// Most values of its own that a target may tell, and most facts.
const MOST_NAMES: usize = 64;
/// Longest name and longest text.
const LONGEST: usize = 200;

/// What Stopwatt says.
#[derive(Debug, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Ask<'a> {
    Prepare {
        seed: u64,
        mode: &'a str,
        trial: Option<u32>,
        iterations: u64,
    },
    Iterate {
        n: u64,
    },
    Outputs {
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<&'a Path>,
    },
    Verify {
        seed: u64,
        file: &'a Path,
    },
    End,
}

/// What a target says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    Ready(BTreeMap<String, Value>),
    Iteration(SaidIteration),
    Done(u64),
    Outputs(SaidOutputs),
    Verified(SaidValues),
    /// Instead of `ready`: what this machine lacks.
    Skip(String),
}

/// How many numbers were written, as it is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SaidValues {
    pub(super) values: usize,
}

/// One time, as it is told.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SaidIteration {
    start_ns: Option<Nanos>,
    end_ns: Option<Nanos>,
    seconds: Option<f64>,
    tokens: Option<u32>,
    token_ns: Option<Vec<Nanos>>,
    metrics: Option<BTreeMap<String, f64>>,
}

/// A hash of outputs, as it is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SaidOutputs {
    sha256: String,
}

impl Said {
    /// Reads a line.
    pub(super) fn read(line: &[u8]) -> Result<Self, String> {
        // What the parser says may quote the line.
        serde_json::from_slice(line).map_err(|e| match e.classify() {
            serde_json::error::Category::Data => "its JSON has another form".to_owned(),
            _ => format!("it is no JSON (column {})", e.column()),
        })
    }

    /// What kind of line it is.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ready(_) => "ready",
            Self::Iteration(_) => "iteration",
            Self::Done(_) => "done",
            Self::Outputs(_) => "outputs",
            Self::Verified(_) => "verified",
            Self::Skip(_) => "skip",
        }
    }
}

impl SaidIteration {
    /// Checks it against the time in which it can have been: after it was asked for, before its line was read.
    pub(super) fn check(self, asked_ns: Nanos, read_ns: Nanos) -> Result<Iteration, String> {
        let metrics = self.metrics.unwrap_or_default();
        names_fit(metrics.keys())?;
        let token_ns = self.token_ns.unwrap_or_default();
        let tokens = self.tokens.or_else(|| u32::try_from(token_ns.len()).ok().filter(|n| *n > 0));
        let whole = |start_ns, end_ns, placed| Iteration {
            start_ns,
            end_ns,
            tokens,
            token_ns: token_ns.clone(),
            metrics: metrics.clone(),
            placed,
        };
        let found = match (self.start_ns, self.end_ns, self.seconds) {
            (Some(start), Some(end), None) => {
                if end < start {
                    return Err("`end_ns` lies before `start_ns`".to_owned());
                }
                if start < asked_ns - SLACK_NS || end > read_ns + SLACK_NS {
                    return Err("its stamps lie outside the time since it was asked for; they must be of \
                                CLOCK_MONOTONIC, in nanoseconds"
                        .to_owned());
                }
                whole(start, end, false)
            }
            (None, None, Some(seconds)) => {
                if !(seconds.is_finite() && (0.0..1e9).contains(&seconds)) {
                    return Err("`seconds` is no duration".to_owned());
                }
                if !token_ns.is_empty() {
                    return Err("`token_ns` needs `start_ns` and `end_ns`".to_owned());
                }
                // Where it lies is settled when the last one is known.
                whole(0, (seconds * 1e9).round() as Nanos, true)
            }
            _ => return Err("an iteration has `start_ns` and `end_ns`, or `seconds`".to_owned()),
        };
        let in_order = found.token_ns.windows(2).all(|w| w[0] <= w[1]);
        let inside = found.token_ns.iter().all(|t| (found.start_ns..=found.end_ns).contains(t));
        if !in_order || !inside {
            return Err("`token_ns` is not in order inside its iteration".to_owned());
        }
        Ok(found)
    }
}

/// Puts durations back to back so that the last ends at `end_ns`.
///
/// They must fit into the time since `asked_ns`: one thing after another cannot have taken longer than the time that
/// passed.
pub(super) fn place(iterations: &mut [Iteration], asked_ns: Nanos, end_ns: Nanos) -> Result<(), String> {
    let sum: Nanos = iterations.iter().map(|i| i.end_ns - i.start_ns).sum();
    if sum > end_ns - asked_ns + SLACK_NS {
        let seconds = |ns: Nanos| ns as f64 * 1e-9;
        return Err(format!(
            "its iterations are said to have taken {:.6} s, and only {:.6} s have passed",
            seconds(sum),
            seconds(end_ns - asked_ns)
        ));
    }
    let mut at = end_ns;
    for iteration in iterations.iter_mut().rev() {
        let length = iteration.end_ns - iteration.start_ns;
        (iteration.start_ns, iteration.end_ns) = (at - length, at);
        at -= length;
    }
    Ok(())
}

/// Facts as text, without home directories and secrets.
pub(super) fn facts(said: BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, String> {
    names_fit(said.keys())?;
    let text = |value: Value| match value {
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err("a fact is a text, a number or a truth value".to_owned())
        }
        Value::String(text) if text.chars().count() > LONGEST => {
            Err(format!("a fact is longer than {LONGEST}"))
        }
        Value::String(text) => Ok(redact::text(&text)),
        other => Ok(other.to_string()),
    };
    said.into_iter().map(|(name, value)| Ok((name, text(value)?))).collect()
}

/// Why a target cannot be run here, as a line of text.
pub(super) fn reason(said: &str) -> String {
    let words: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    redact::text(&words.chars().take(LONGEST).collect::<String>())
}

/// The hash, in lower case.
pub(super) fn hash(said: &SaidOutputs) -> Result<String, String> {
    let hex = said.sha256.to_ascii_lowercase();
    match hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(hex),
        false => Err("`sha256` is not 64 hexadecimal digits".to_owned()),
    }
}

/// Names that can stand in files and tables.
fn names_fit<'a>(mut names: impl ExactSizeIterator<Item = &'a String>) -> Result<(), String> {
    if names.len() > MOST_NAMES {
        return Err(format!("it has more than {MOST_NAMES} names"));
    }
    let plain = |name: &str| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/'))
    };
    match names.all(|n| plain(n)) {
        true => Ok(()),
        false => Err("a name has up to 64 letters, digits, `_`, `-`, `.` and `/`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iteration(json: &str) -> Result<Iteration, String> {
        match Said::read(format!("{{\"iteration\":{json}}}").as_bytes())? {
            Said::Iteration(said) => said.check(1_000_000_000, 2_000_000_000),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_iteration_is_told_by_stamps_or_by_a_duration() {
        let stamped = iteration(
            r#"{"start_ns":1100000000,"end_ns":1600000000,"token_ns":[1200000000,1600000000],"metrics":{"loss":-2.5}}"#,
        )
        .unwrap();
        assert_eq!((stamped.seconds(), stamped.tokens, stamped.placed), (0.5, Some(2), false));
        assert_eq!(stamped.metrics["loss"], -2.5);
        let told = iteration(r#"{"seconds":0.25,"tokens":8}"#).unwrap();
        assert_eq!((told.seconds(), told.tokens, told.placed), (0.25, Some(8), true));
    }

    #[test]
    fn what_cannot_be_is_refused_without_being_quoted() {
        for json in [
            "{}",
            r#"{"seconds":1,"start_ns":1,"end_ns":2}"#,
            r#"{"start_ns":1100000000}"#,
            r#"{"start_ns":1700000000,"end_ns":1600000000}"#,
            r#"{"start_ns":5,"end_ns":6}"#,
            r#"{"start_ns":1100000000,"end_ns":2200000000}"#,
            r#"{"start_ns":1100000000,"end_ns":1200000000,"token_ns":[1300000000]}"#,
            r#"{"start_ns":1100000000,"end_ns":1200000000,"token_ns":[1200000000,1150000000]}"#,
            r#"{"seconds":-1}"#,
            r#"{"seconds":0.1,"tokens":-1}"#,
            r#"{"seconds":0.1,"metrics":{"a b":1}}"#,
            r#"{"seconds":0.1,"secret":1}"#,
            r#"{"seconds":0.1,"metrics":{"secret":"secret"}}"#,
        ] {
            let problem = iteration(json).expect_err(json);
            assert!(!problem.contains("secret"), "{problem}");
        }
        assert!(Said::read(b"secret words").is_err_and(|p| !p.contains("secret")));
    }

    #[test]
    fn durations_are_placed_back_to_back_in_their_order() {
        let of = |seconds: f64| iteration(&format!("{{\"seconds\":{seconds}}}")).unwrap();
        let mut all = [of(0.1), of(0.3), of(0.2)];
        place(&mut all, 1_000_000_000, 2_000_000_000).unwrap();
        let ms: Vec<_> = all.iter().map(|i| (i.start_ns / 1_000_000, i.end_ns / 1_000_000)).collect();
        assert_eq!(ms, [(1400, 1500), (1500, 1800), (1800, 2000)]);
        assert!(place(&mut [of(0.6), of(0.6)], 1_000_000_000, 2_000_000_000).is_err());
    }

    #[test]
    fn facts_are_short_plain_texts() {
        let of = |json: &str| facts(serde_json::from_str(json).unwrap());
        assert_eq!(of(r#"{"device":"cpu","layers":4,"fused":true}"#).unwrap()["layers"], "4");
        assert!(of(r#"{"weights":[1,2]}"#).is_err());
        assert!(of(&format!(r#"{{"a":"{}"}}"#, "x".repeat(201))).is_err());
        assert!(hash(&SaidOutputs { sha256: "AB".repeat(32) }).is_ok_and(|h| h == "ab".repeat(32)));
        assert!(hash(&SaidOutputs { sha256: "the answer is 42".to_owned() }).is_err());
    }
}
