//! Answers of an engine to a fixed set of prompts, without sampling. Texts stay in memory until they were compared.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use stopwatt_core::quality::QualityItem;
use stopwatt_load::Path as Endpoint;
use stopwatt_wire::openai::{Completion, Message, Options, Prompt as Text};

use super::{Judged, short_hash};
use crate::bench::{BenchConfig, EndpointChoice, model_of, target, template};

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Names it for the user; what counts is its content.
    #[serde(rename = "id")]
    _id: Option<serde_json::Value>,
    prompt: Option<String>,
    messages: Option<Vec<Said>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    role: String,
    content: String,
}

/// What is asked.
#[derive(Debug)]
enum Prompt {
    Text(String),
    Chat(Vec<Said>),
}

/// Prompts in order.
#[derive(Debug)]
pub(super) struct Prompts(Vec<(String, Prompt)>);

impl Prompts {
    /// Reads a JSONL file. A problem names the line, not its content.
    pub(super) fn read(file: &Path, most: Option<u64>) -> Result<Self, String> {
        let text =
            std::fs::read_to_string(file).map_err(|e| format!("quality.prompts cannot be read: {e}"))?;
        let most = most.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let mut prompts = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            if prompts.len() == most {
                break;
            }
            let bad = || {
                format!(
                    "line {} of quality.prompts is not of the form {{\"prompt\": …}} or {{\"messages\": […]}}",
                    i + 1
                )
            };
            let parsed: Line = serde_json::from_str(line).map_err(|_| bad())?;
            let prompt = match (parsed.prompt, parsed.messages) {
                (Some(text), None) => Prompt::Text(text),
                (None, Some(messages)) if !messages.is_empty() => Prompt::Chat(messages),
                _ => return Err(bad()),
            };
            // The position belongs to it: a prompt that stands twice is asked twice.
            let key = short_hash(format!("{i} {line}").as_bytes());
            prompts.push((key, prompt));
        }
        match prompts.is_empty() {
            true => Err("quality.prompts holds no prompt".to_owned()),
            false => Ok(Self(prompts)),
        }
    }
}

/// What an engine answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    key: String,
    text: String,
    tokens: Option<Vec<u32>>,
}

impl Answer {
    /// What may be kept of it: how it compares with the baseline's, its hash and its length.
    pub(super) fn item(&self, baseline: Option<&Self>) -> QualityItem {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let differs = baseline.filter(|b| b.text != self.text);
        let at_token =
            differs.and_then(|b| Some(first_difference(b.tokens.as_ref()?, self.tokens.as_ref()?)));
        QualityItem {
            key: self.key.clone(),
            score: baseline.map(|b| f64::from(u8::from(b.text == self.text))),
            answer: Some(short_hash(self.text.as_bytes())),
            chars: Some(count(self.text.chars().count())),
            tokens: self.tokens.as_ref().map(|t| count(t.len())),
            differs_at_char: differs
                .map(|b| count(b.text.chars().zip(self.text.chars()).take_while(|(x, y)| x == y).count())),
            differs_at_token: at_token.map(count),
            ..QualityItem::default()
        }
    }
}

/// How many of the first elements are equal.
fn first_difference(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Asks every prompt once.
pub(super) fn ask(side: &Judged<'_>, bench: &BenchConfig, prompts: &Prompts) -> Result<Vec<Answer>, String> {
    let quality = &side.config.quality;
    let url = bench.target.url.as_deref().unwrap_or_default();
    let target = target(url, bench, side.api_key).map_err(|e| e.to_string())?;
    let model = model_of(&target, bench).map_err(|e| e.to_string())?;
    let extra = bench.request.extra_body.as_ref().and_then(|v| v.as_object()).cloned().unwrap_or_default();
    // Greedy whatever the benchmark does: answers are compared, not timed.
    let options = Options {
        model,
        temperature: Some(0.0),
        seed: Some(side.config.seed),
        extra_body: extra,
        ..Options::default()
    };
    let template = template(&options).map_err(|e| e.to_string())?;
    let timeout = Duration::from_secs_f64(bench.measure.timeout_s);
    let one = |index: usize, (key, prompt): &(String, Prompt)| -> Result<Answer, String> {
        let n = quality.max_tokens;
        let chat = |messages: &[Message<'_>]| (Endpoint::Chat, template.chat(messages, n));
        let (path, body) = match prompt {
            Prompt::Chat(said) => {
                let messages: Vec<_> = said.iter().map(|s| Message::text(&s.role, &s.content)).collect();
                chat(&messages)
            }
            Prompt::Text(text) if bench.target.endpoint == EndpointChoice::Chat => {
                chat(&[Message::text("user", text)])
            }
            Prompt::Text(text) => (Endpoint::Completions, template.completions(Text::Text(text), n)),
        };
        let failed = |why: String| format!("prompt {} got no answer: {why}", index + 1);
        let answer =
            stopwatt_load::post(&target, path.as_str(), &body, timeout).map_err(|e| failed(e.to_string()))?;
        if answer.status != 200 {
            return Err(failed(format!("status {}", answer.status)));
        }
        let read =
            Completion::parse(&answer.body).map_err(|_| failed("it is not JSON of the API".to_owned()))?;
        Ok(Answer { key: key.clone(), text: read.text, tokens: read.token_ids })
    };
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let answers: Mutex<Vec<(usize, Result<Answer, String>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..quality.concurrency.max(1) {
            scope.spawn(|| {
                while !failed.load(Ordering::Acquire) && !side.stop.is_interrupted() {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(prompt) = prompts.0.get(i) else { return };
                    let answer = one(i, prompt);
                    failed.fetch_or(answer.is_err(), Ordering::Release);
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push((i, answer));
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by_key(|(i, _)| *i);
    let answers = answers.into_iter().map(|(_, a)| a).collect::<Result<Vec<_>, _>>()?;
    match answers.len() == prompts.0.len() {
        true => Ok(answers),
        false => Err("interrupted by a signal".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str, tokens: &[u32]) -> Answer {
        Answer { key: "k".to_owned(), text: text.to_owned(), tokens: Some(tokens.to_vec()) }
    }

    #[test]
    fn an_answer_is_kept_as_hash_length_and_place_of_the_first_difference() {
        let (a, b) = (answer("Größe ist", &[5, 6, 7]), answer("Größe war", &[5, 9, 7]));
        let item = b.item(Some(&a));
        assert_eq!((item.score, item.chars, item.tokens), (Some(0.0), Some(9), Some(3)));
        assert_eq!((item.differs_at_char, item.differs_at_token), (Some(6), Some(1)));
        assert!(!serde_json::to_string(&item).unwrap().contains("war"));
        let same = a.item(Some(&a));
        assert_eq!(
            (same.score, same.differs_at_char, same.answer.clone()),
            (Some(1.0), None, a.item(None).answer)
        );
        assert_eq!(a.item(None).score, None);
        // One that only stops earlier differs where it stops.
        assert_eq!(answer("Größe", &[5]).item(Some(&a)).differs_at_char, Some(5));
    }

    #[test]
    fn prompts_are_lines_of_either_form() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.jsonl");
        let read = |text: &str, most| {
            std::fs::write(&file, text).unwrap();
            Prompts::read(&file, most).map(|p| p.0.len())
        };
        let good = "{\"prompt\":\"a\"}\n\n{\"id\":7,\"messages\":[{\"role\":\"user\",\"content\":\"b\"}]}\n";
        assert_eq!((read(good, None), read(good, Some(1))), (Ok(2), Ok(1)));
        for bad in
            ["{\"prompt\":\"a\"}\n{\"secret\":1}", "{\"prompt\":\"a\"}\n{}", "{\"prompt\":\"a\"}\nsecret"]
        {
            let problem = read(bad, None).unwrap_err();
            assert!(problem.contains("line 2") && !problem.contains("secret"), "{problem}");
        }
        assert!(read("\n", None).is_err());
    }
}
