//! What users say of answers: `POST /feedback` with the trace id that an answer carried.
//!
//! ```text
//! {"trace_id": "…", "name": "helpful", "value": true, "comment": "…"}
//! ```
//!
//! A value is a number, `true` or `false`, or a short word. Who was asked for the answer is known from the last
//! requests, kept in memory; a feedback on any other is refused, since nothing could be told of it. Comments are text
//! of users: they go on only where traces may hold content, and are kept nowhere.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use stopwatt_core::label::escaped;

use crate::exchange::Exchange;
use crate::exposition::Page;
use crate::fleet::Fleet;
use crate::trace::Place;
use crate::trace::ids::from_hex;

/// Requests that are remembered.
const REMEMBERED: usize = 20_000;
/// Names that are counted apart; further ones count as `other`.
const NAMES: usize = 20;
/// Longest name or word.
const LONGEST: usize = 64;
/// Longest comment.
const LONGEST_COMMENT: usize = 4000;

/// What a user said.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Of which request.
    pub place: Place,
    /// What was asked.
    pub name: String,
    /// The answer.
    pub value: ScoreValue,
    /// In words, where those may be passed on.
    pub comment: Option<String>,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum ScoreValue {
    /// A number.
    Number(f64),
    /// Yes or no.
    YesNo(bool),
    /// A word.
    Word(String),
}

/// Why a feedback is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedbackError {
    /// Not an object with `trace_id` and `value`.
    #[error("a feedback is an object with `trace_id` and `value`, and may have `name` and `comment`")]
    Shape,
    /// No trace id.
    #[error("`trace_id` is not the 32 hex digits of `x-stopwatt-trace-id`")]
    TraceId,
    /// A value of another kind.
    #[error("`value` is a finite number, true, false, or a word of up to 64 characters")]
    Value,
    /// A name that is no label.
    #[error("`name` is up to 64 ASCII characters without spaces and quotes")]
    Name,
    /// No answer of late had this id.
    #[error("no answer of the last 20,000 has this trace id")]
    Unknown,
}

impl FeedbackError {
    pub(crate) const fn status(self) -> u16 {
        if matches!(self, Self::Unknown) { 404 } else { 400 }
    }

    pub(crate) const fn code(self) -> &'static str {
        if matches!(self, Self::Unknown) { "unknown_trace" } else { "bad_feedback" }
    }
}

/// Passes a score on.
type Send = Box<dyn Fn(Score) + std::marker::Send + Sync>;

/// Takes feedback, counts it and passes it on.
pub struct Feedback {
    known: Mutex<Known>,
    /// By upstream and name: how many, and the sum of those with a number.
    counts: Mutex<BTreeMap<(usize, String), Count>>,
    comments: bool,
    send: Option<Send>,
}

#[derive(Default)]
struct Known {
    by_trace: HashMap<[u8; 16], (Place, usize)>,
    order: VecDeque<[u8; 16]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    taken: u64,
    numbers: u64,
    sum: f64,
}

impl fmt::Debug for Feedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feedback").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Said {
    trace_id: String,
    #[serde(default)]
    name: Option<String>,
    value: Value,
    #[serde(default)]
    comment: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feedback {
    /// Takes feedback; `send` passes it on, `comments` says whether with its words.
    pub fn new(comments: bool, send: Option<Send>) -> Self {
        Self { known: Mutex::default(), counts: Mutex::default(), comments, send }
    }

    /// Remembers a request that has ended.
    pub(crate) fn expect(&self, exchange: &Exchange) {
        let (Some(traced), Some(upstream)) = (&exchange.traced, exchange.upstream) else { return };
        let mut known = lock(&self.known);
        if known.by_trace.insert(traced.place.trace, (traced.place, upstream)).is_none() {
            known.order.push_back(traced.place.trace);
        }
        if known.order.len() > REMEMBERED
            && let Some(oldest) = known.order.pop_front()
        {
            known.by_trace.remove(&oldest);
        }
    }

    /// Takes a feedback.
    pub(crate) fn take(&self, body: &[u8]) -> Result<(), FeedbackError> {
        let said: Said = serde_json::from_slice(body).map_err(|_| FeedbackError::Shape)?;
        let trace = from_hex(said.trace_id.as_bytes()).ok_or(FeedbackError::TraceId)?;
        let value = match said.value {
            Value::Bool(is) => ScoreValue::YesNo(is),
            Value::Number(n) => ScoreValue::Number(n.as_f64().ok_or(FeedbackError::Value)?),
            Value::String(word) if !word.is_empty() && word.chars().count() <= LONGEST => {
                ScoreValue::Word(word)
            }
            _ => return Err(FeedbackError::Value),
        };
        let name = said.name.unwrap_or_else(|| "user_feedback".to_owned());
        let name = crate::upstream::label(&name).filter(|n| !n.is_empty()).ok_or(FeedbackError::Name)?;
        let (place, upstream) = *lock(&self.known).by_trace.get(&trace).ok_or(FeedbackError::Unknown)?;
        self.count(upstream, &name, &value);
        if let Some(send) = &self.send {
            let comment = said.comment.filter(|_| self.comments);
            let comment = comment.map(|c| c.chars().take(LONGEST_COMMENT).collect());
            send(Score { place, name, value, comment });
        }
        Ok(())
    }

    fn count(&self, upstream: usize, name: &str, value: &ScoreValue) {
        let mut counts = lock(&self.counts);
        let new = !counts.keys().any(|(_, n)| n == name);
        let names = counts.keys().map(|(_, n)| n).collect::<std::collections::BTreeSet<_>>().len();
        let name = if new && names >= NAMES { "other" } else { name };
        let count = counts.entry((upstream, name.to_owned())).or_default();
        count.taken += 1;
        let number = match value {
            ScoreValue::Number(n) => Some(*n),
            ScoreValue::YesNo(is) => Some(f64::from(u8::from(*is))),
            ScoreValue::Word(_) => None,
        };
        if let Some(number) = number {
            count.numbers += 1;
            count.sum += number;
        }
    }

    /// Writes the families on the page.
    pub fn render(&self, page: &mut Page, fleet: &Fleet) {
        let counts = lock(&self.counts).clone();
        let labels = |upstream: usize, name: &str| {
            let spec = &fleet.upstreams()[upstream].spec;
            let (up, variant) = (escaped(&spec.name), escaped(&spec.variant));
            format!("upstream=\"{up}\",variant=\"{variant}\",name=\"{}\"", escaped(name))
        };
        let each = |of: fn(&Count) -> Option<f64>| -> Vec<(String, Option<f64>)> {
            counts.iter().map(|((u, n), c)| (labels(*u, n), of(c))).collect()
        };
        page.family(
            "stopwatt_feedback_total",
            "counter",
            "What users said of answers, by name.",
            each(|c| Some(c.taken as f64)),
        );
        page.family(
            "stopwatt_feedback_mean",
            "gauge",
            "Mean value since the start; yes is 1 and no is 0.",
            each(|c| (c.numbers > 0).then(|| c.sum / c.numbers as f64)),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::trace::{Ids, Params, Traced, hex};

    fn known(feedback: &Feedback, serial: u64) -> String {
        let place = Ids::new().place(serial, None);
        let traced =
            Traced { place, tries: Vec::new(), session: None, user: None, params: Params::default() };
        let exchange = Exchange {
            upstream: Some(0),
            traced: Some(Box::new(traced)),
            ..Exchange::new("/v1/completions", 0)
        };
        feedback.expect(&exchange);
        hex(&place.trace)
    }

    #[test]
    fn what_is_known_is_counted_and_passed_on_without_its_words() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&seen);
        let feedback = Feedback::new(false, Some(Box::new(move |s| to.lock().unwrap().push(s))));
        let id = known(&feedback, 1);
        let say = |text: String| feedback.take(text.as_bytes());
        assert_eq!(say(format!(r#"{{"trace_id":"{id}","value":true,"comment":"secret"}}"#)), Ok(()));
        assert_eq!(say(format!(r#"{{"trace_id":"{id}","name":"stars","value":4}}"#)), Ok(()));
        assert_eq!(say(format!(r#"{{"trace_id":"{id}","name":"stars","value":1}}"#)), Ok(()));
        let seen = seen.lock().unwrap();
        assert_eq!((seen.len(), &seen[0].comment), (3, &None));
        assert_eq!(seen[0].value, ScoreValue::YesNo(true));
        let fleet = Fleet::new(
            vec![crate::upstream::Spec::parse("http://h,name=a").unwrap()],
            crate::fleet::Settings::default(),
            |_| None,
        )
        .unwrap();
        let mut page = Page::new();
        feedback.render(&mut page, &fleet);
        let page = page.finish();
        for line in [
            "stopwatt_feedback_total{upstream=\"a\",variant=\"default\",name=\"stars\"} 2",
            "stopwatt_feedback_mean{upstream=\"a\",variant=\"default\",name=\"stars\"} 2.5",
            "stopwatt_feedback_mean{upstream=\"a\",variant=\"default\",name=\"user_feedback\"} 1",
        ] {
            assert!(page.contains(line), "{page}");
        }
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let feedback = Feedback::new(true, None);
        let id = known(&feedback, 1);
        let stranger = "0af7651916cd43dd8448eb211c80319c";
        for (body, problem) in [
            ("[]".to_owned(), FeedbackError::Shape),
            (format!(r#"{{"trace_id":"{id}"}}"#), FeedbackError::Shape),
            (r#"{"trace_id":"1","value":1}"#.to_owned(), FeedbackError::TraceId),
            (format!(r#"{{"trace_id":"{id}","value":[1]}}"#), FeedbackError::Value),
            (format!(r#"{{"trace_id":"{id}","value":1,"name":"a b"}}"#), FeedbackError::Name),
            (format!(r#"{{"trace_id":"{stranger}","value":1}}"#), FeedbackError::Unknown),
        ] {
            assert_eq!(feedback.take(body.as_bytes()), Err(problem), "{body}");
        }
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let feedback = Feedback::new(false, None);
        let first = known(&feedback, 0);
        (0..REMEMBERED as u64).for_each(|i| drop(known(&feedback, i + 1)));
        let body = format!(r#"{{"trace_id":"{first}","value":1}}"#);
        assert_eq!(feedback.take(body.as_bytes()), Err(FeedbackError::Unknown));
        assert_eq!(lock(&feedback.known).by_trace.len(), REMEMBERED);
    }

    #[test]
    fn names_are_bounded() {
        let feedback = Feedback::new(false, None);
        (0..50).for_each(|i| feedback.count(0, &format!("n{i}"), &ScoreValue::YesNo(true)));
        assert!(lock(&feedback.counts).len() <= NAMES + 1);
    }
}
