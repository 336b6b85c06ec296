//! A service that takes images in chats, asked by the same client as every benchmark.

use std::collections::HashMap;
use std::time::Duration;

use stopwatt_core::{Clock, EndKind, FinishReason, Phase, RequestRecord};
use stopwatt_load::{Client, Completed, Job, Limits, LoadError, Pace, Path, Stop, Target};
use stopwatt_wire::openai::{Message, Template, Usage, data_uri};

use super::alter::altered;
use super::{Attempt, Failure, Mode, Task};

/// Longest image that is sent.
const LARGEST: u64 = 64 << 20;

/// A service and how it is asked.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it is.
    pub target: Target,
    /// What all requests share.
    pub template: Template,
    /// The instruction beside the image.
    pub instruction: String,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    /// Longest time of a page.
    pub timeout: Duration,
    /// What is asked for.
    pub mode: Mode,
}

impl Endpoint {
    /// Reads pages, in their order, so many at once. `done` is told of each request, in times of `clock`.
    ///
    /// # Errors
    /// The client cannot work: its address is not found, or there are too few open files.
    pub fn read(
        &self,
        tasks: &[Task],
        concurrency: usize,
        clock: Clock,
        stop: &Stop,
        done: &(dyn Fn(RequestRecord) + Sync),
    ) -> Result<Vec<Attempt>, LoadError> {
        let mut attempts = vec![Attempt::failed(Failure::Interrupted); tasks.len()];
        // Images are read and encoded ahead of need, before the clock of their request starts.
        let mut sent: Vec<usize> = Vec::new();
        for (i, task) in tasks.iter().enumerate() {
            match std::fs::metadata(&task.image) {
                Ok(data) if data.is_file() && data.len() <= LARGEST => sent.push(i),
                _ => attempts[i] = Attempt::failed(Failure::Image),
            }
        }
        let mut job = |id: u64| {
            let task = &tasks[*sent.get(id as usize)?];
            // One that vanished since is sent as an empty image, and refused.
            let file = std::fs::read(&task.image).unwrap_or_default();
            let variant = (task.variant > 0).then(|| altered(&file, task.variant)).flatten();
            let uri = data_uri(kind(task), variant.as_ref().unwrap_or(&file));
            let message = Message { role: "user", content: &self.instruction, images: &[uri] };
            Some(Job {
                id,
                point: 0,
                trial: 0,
                phase: Phase::Measure,
                session: None,
                turn: None,
                input_asked: 0,
                output_asked: self.max_tokens,
                path: Path::Chat,
                body: self.template.chat(&[message], self.max_tokens),
            })
        };
        let limits = Limits {
            idle_timeout: self.timeout,
            total_timeout: self.timeout,
            keep_text: true,
            ..Limits::default()
        };
        let mut ended: HashMap<u64, Attempt> = HashMap::new();
        let mut on_done = |completed: Completed| {
            ended.insert(completed.record.id, self.mode.take(attempt(&completed.record, completed.text)));
            done(completed.record);
        };
        let pace = Pace::Closed { concurrency };
        Client::new(&self.target)?.run(pace, &mut job, &limits, stop, clock, &mut on_done)?;
        for (id, attempt) in ended {
            attempts[sent[id as usize]] = attempt;
        }
        Ok(attempts)
    }

    /// Tokens of a request without its image; `None` where the service does not say.
    pub fn tokens_without_image(&self) -> Option<u32> {
        let body = self.template.chat(&[Message::text("user", &self.instruction)], 1);
        // The template asks for a stream; usage stands in its last event.
        let response = stopwatt_load::post(&self.target, Path::Chat.as_str(), &body, self.timeout).ok()?;
        let text = String::from_utf8(response.body).ok()?;
        text.lines()
            .rev()
            .filter_map(|l| serde_json::from_str(l.strip_prefix("data:")?.trim()).ok())
            .find_map(|event: serde_json::Value| {
                Usage::from_value(event.get("usage")?).and_then(|u| u.prompt)
            })
    }
}

fn kind(task: &Task) -> &'static str {
    match task.image.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        _ => "image/png",
    }
}

fn attempt(record: &RequestRecord, text: Option<String>) -> Attempt {
    let seconds = |from: Option<i64>, to: Option<i64>| Some((to? - from?) as f64 / 1e9);
    let begin = record.dispatched_ns;
    let failure = match record.end {
        EndKind::Ok => None,
        EndKind::Timeout | EndKind::IdleTimeout => Some(Failure::Timeout),
        EndKind::NoTokens => Some(Failure::Nothing),
        EndKind::Interrupted | EndKind::Cancelled => Some(Failure::Interrupted),
        EndKind::Http if record.status.is_some_and(|s| (400..500).contains(&s)) => Some(Failure::Refused),
        _ => Some(Failure::Service),
    };
    let first = record.token_chunks().next();
    let last = record.token_chunks().next_back();
    let after_first = record.output_tokens().zip(first).map(|(n, c)| n.saturating_sub(c.tokens.unwrap_or(1)));
    let tpot_s = match (seconds(first.map(|c| c.t_ns), last.map(|c| c.t_ns)), after_first) {
        (Some(s), Some(n)) if n > 0 => Some(s / f64::from(n)),
        _ => None,
    };
    Attempt {
        text: text.filter(|_| failure.is_none()),
        fields: None,
        finish_reason: record.finish.map(|f| match f {
            FinishReason::Stop => "stop".to_owned(),
            FinishReason::Length => "length".to_owned(),
            FinishReason::Other => "other".to_owned(),
        }),
        failure,
        latency_s: seconds(begin, Some(last.map_or(record.end_ns, |c| c.t_ns))),
        ttft_s: seconds(begin, first.map(|c| c.t_ns)),
        tpot_s,
        input_tokens: record.input_usage,
        output_tokens: record.output_tokens(),
    }
}
