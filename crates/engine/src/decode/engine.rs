//! The engine thread: plan a step, compute it, tell of its tokens, again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use stopwatt_core::clock::{Nanos, monotonic_raw};
use stopwatt_serving::scheduler::{FinishReason, Prompt, Request, Sampled, Scheduler, StepPlan};

use super::executor::{Executor, StepFailed};
use super::order::{Notice, Notices, Serial, Task, Token, What, Work};
use super::stop::StopScanner;
use crate::api::{ApiError, Finish};
use crate::telemetry::{Ended, Metrics};

/// See the module.
pub(super) struct Engine<E> {
    scheduler: Scheduler,
    executor: E,
    notices: Notices,
    metrics: Arc<Metrics>,
    live: HashMap<Serial, Live>,
    plan: StepPlan,
    tokens: Vec<u32>,
}

/// What the engine keeps of a request.
struct Live {
    slot: usize,
    stops: StopScanner,
    ignore_eos: bool,
    min_tokens: u32,
    prompt_tokens: u32,
    cached_tokens: u32,
    output: u32,
    received_ns: Nanos,
    added_ns: Nanos,
    started_ns: Nanos,
    first_token_ns: Option<Nanos>,
    last_token_ns: Nanos,
    /// The stop string that was met.
    stopped_by: Option<String>,
    /// What the last token brought; sent when the scheduler has said whether it is the last.
    pending: Option<(u32, String)>,
}

impl<E: Executor> Engine<E> {
    pub(super) fn new(scheduler: Scheduler, executor: E, notices: Notices, metrics: Arc<Metrics>) -> Self {
        let (live, plan, tokens) = (HashMap::new(), StepPlan::new(), Vec::new());
        Self { scheduler, executor, notices, metrics, live, plan, tokens }
    }

    /// Works until nobody can send work any more; what is open then is given up.
    pub(super) fn run(mut self, inbox: &Receiver<Work>) {
        loop {
            if !self.scheduler.has_work() {
                self.report();
                self.executor.idle();
                match inbox.recv() {
                    Ok(work) => self.take(work),
                    Err(_) => return,
                }
            }
            loop {
                match inbox.try_recv() {
                    Ok(work) => self.take(work),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            if self.scheduler.has_work() {
                self.step();
            }
        }
    }

    fn take(&mut self, work: Work) {
        match work {
            Work::Abort { serial } => {
                if let Some(live) = self.live.remove(&serial) {
                    self.scheduler.abort(serial);
                    self.executor.end(serial);
                    drop(live);
                    self.metrics.aborted();
                }
            }
            Work::Add(task) => {
                let (serial, slot) = (task.serial, task.slot);
                if let Err(error) = self.add(*task) {
                    self.fail(serial, slot, &error);
                }
            }
        }
    }

    fn add(&mut self, task: Task) -> Result<(), StepFailed> {
        self.executor.begin(&task)?;
        let prompt_tokens = u32::try_from(task.prompt.len()).unwrap_or(u32::MAX);
        let request =
            Request { id: task.serial, prompt: Prompt::Tokens(task.prompt), max_tokens: task.max_tokens };
        if let Err(error) = self.scheduler.add(request) {
            self.executor.end(task.serial);
            return Err(StepFailed(error.to_string()));
        }
        let live = Live {
            slot: task.slot,
            stops: StopScanner::new(task.request.stop),
            ignore_eos: task.request.ignore_eos,
            min_tokens: task.request.min_tokens,
            prompt_tokens,
            cached_tokens: 0,
            output: 0,
            received_ns: task.received_ns,
            added_ns: monotonic_raw(),
            started_ns: 0,
            first_token_ns: None,
            last_token_ns: 0,
            stopped_by: None,
            pending: None,
        };
        self.live.insert(task.serial, live);
        Ok(())
    }

    fn step(&mut self) {
        let mut plan = std::mem::take(&mut self.plan);
        self.scheduler.schedule(&mut plan);
        debug_assert!(!plan.is_empty() || !self.scheduler.has_work(), "whatever is admitted makes progress");
        self.admit(&plan);
        self.report();
        self.tokens.clear();
        match self.executor.step(&self.scheduler, &plan, &mut self.tokens) {
            Ok(()) => self.complete(&plan),
            Err(error) => self.give_up(&plan, &error),
        }
        self.notices.wake();
        self.plan = plan;
    }

    /// Notes what the plan says of requests that begin to run.
    fn admit(&mut self, plan: &StepPlan) {
        let now = monotonic_raw();
        for item in &plan.items {
            if let (Some(admission), Some(live)) = (item.admitted, self.live.get_mut(&item.id))
                && !admission.resumed
            {
                live.cached_tokens = admission.cached;
                live.started_ns = now;
                self.metrics.queued(now - live.added_ns);
            }
        }
    }

    /// Hands the step's tokens to the scheduler and to the clients.
    fn complete(&mut self, plan: &StepPlan) {
        let now = monotonic_raw();
        let mut sampled = self.tokens.iter();
        let (live, executor, metrics) = (&mut self.live, &mut self.executor, &self.metrics);
        let finished = self.scheduler.complete(plan, |item| {
            let token = *sampled.next().expect("the executor gives one token for each item that emits");
            let request = live.get_mut(&item.id).expect("the scheduler knows no request that is not live");
            Sampled { token, stop: request.take(token, item.id, executor, metrics, now) }
        });
        for finished in finished {
            if let Some(mut request) = self.live.remove(&finished.id) {
                let finish = match finished.reason {
                    FinishReason::Stop => Finish::Stop,
                    FinishReason::Length => Finish::Length,
                };
                request.flush(finished.id, &mut self.executor, finish);
                self.metrics.finished(&request.ended(finish));
                self.executor.end(finished.id);
                let stopped_by = request.stopped_by.take();
                request.tell(finished.id, &self.notices, Some((finish, stopped_by)));
            }
        }
        for item in plan.items.iter().filter(|item| item.emits) {
            if let Some(request) = self.live.get_mut(&item.id) {
                request.tell(item.id, &self.notices, None);
            }
        }
    }

    /// Fails every request of a step that could not be computed; its cache blocks cannot be trusted.
    fn give_up(&mut self, plan: &StepPlan, error: &StepFailed) {
        for item in &plan.items {
            self.scheduler.abort(item.id);
            self.executor.end(item.id);
            if let Some(live) = self.live.remove(&item.id) {
                self.fail(item.id, live.slot, error);
            }
        }
        if !self.scheduler.has_work() {
            self.scheduler.forget_prefixes();
        }
    }

    fn fail(&self, serial: Serial, slot: usize, error: &StepFailed) {
        self.metrics.failed();
        let error = ApiError::new(500, format!("the engine failed: {error}"));
        self.notices.queue(Notice { serial, slot, what: What::Failed(error) });
        self.notices.wake();
    }

    fn report(&self) {
        let stats = self.scheduler.stats();
        self.metrics.set_load(stats.running as usize, stats.waiting as usize);
        self.metrics.set_kv_usage(stats.kv_usage);
        self.metrics.set_prefix_cache(stats.prefix_queries_tokens, stats.prefix_hits_tokens);
        self.metrics.set_preemptions(stats.preemptions_total);
        self.metrics.set_kv_blocks(self.scheduler.fragmentation(), self.scheduler.evictions());
    }
}

impl Live {
    /// Takes a token; `true` when it ends the output.
    fn take(
        &mut self,
        token: u32,
        serial: Serial,
        executor: &mut impl Executor,
        metrics: &Metrics,
        now: Nanos,
    ) -> bool {
        self.output += 1;
        match self.first_token_ns {
            None => {
                self.first_token_ns = Some(now);
                metrics.first_tokens(now - self.received_ns, self.prompt_tokens, 1);
            }
            Some(_) => metrics.next_tokens(now - self.last_token_ns, 1),
        }
        self.last_token_ns = now;
        let may_stop = self.output >= self.min_tokens;
        if executor.is_end(token) && !self.ignore_eos && may_stop {
            self.pending = Some((token, String::new()));
            return true;
        }
        let text = executor.text(serial, token, false);
        let (text, stop) = if may_stop { self.stops.push(text, false) } else { (text, None) };
        self.pending = Some((token, text));
        self.stopped_by = stop.map(|index| self.stops.name(index).to_owned());
        stop.is_some()
    }

    fn ended(&self, finish: Finish) -> Ended {
        Ended {
            finish,
            received_ns: self.received_ns,
            started_ns: self.started_ns,
            first_token_ns: self.first_token_ns.unwrap_or(self.last_token_ns),
            last_token_ns: self.last_token_ns,
            tokens: self.output,
        }
    }

    /// Adds what was held back to the last piece.
    fn flush(&mut self, serial: Serial, executor: &mut impl Executor, finish: Finish) {
        if self.stopped_by.is_some() {
            return;
        }
        let Some((token, text)) = &mut self.pending else { return };
        let rest = executor.text(serial, *token, true);
        let (rest, stop) = self.stops.push(rest, true);
        text.push_str(&rest);
        if finish == Finish::Stop {
            self.stopped_by = stop.map(|index| self.stops.name(index).to_owned());
        }
    }

    fn tell(&mut self, serial: Serial, notices: &Notices, finish: Option<(Finish, Option<String>)>) {
        let Some((id, text)) = self.pending.take() else { return };
        let (prompt_tokens, cached_tokens) = (self.prompt_tokens, self.cached_tokens);
        let token = Token { id, text, finish, prompt_tokens, cached_tokens };
        notices.queue(Notice { serial, slot: self.slot, what: What::Token(token) });
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_serving::scheduler::SchedulerConfig;

    use super::*;
    use crate::api::{Endpoint, GenerateRequest};
    use crate::net::Waker;

    /// Says the letters of `text`, one a token, and fails at the step with number `fails`.
    struct Speller {
        text: &'static str,
        steps: usize,
        fails: usize,
    }

    impl Executor for Speller {
        fn begin(&mut self, _: &Task) -> Result<(), StepFailed> {
            Ok(())
        }

        fn step(&mut self, _: &Scheduler, plan: &StepPlan, tokens: &mut Vec<u32>) -> Result<(), StepFailed> {
            self.steps += 1;
            if self.steps == self.fails {
                return Err(StepFailed("as told".to_owned()));
            }
            let letter = |output: u32| u32::from(self.text.as_bytes()[output as usize]);
            tokens.extend(plan.items.iter().filter(|i| i.emits).map(|i| letter(i.output)));
            Ok(())
        }

        fn is_end(&self, token: u32) -> bool {
            token == u32::from(b'.')
        }

        fn text(&mut self, _: Serial, token: u32, last: bool) -> String {
            if last { String::new() } else { char::from_u32(token).into_iter().collect() }
        }

        fn end(&mut self, _: Serial) {}
    }

    /// The texts of a request's tokens, how it ended, and the share of blocks still held.
    type Outcome = (Vec<String>, Option<(Finish, Option<String>)>, f64);

    /// Runs one request to its end.
    fn run(fields: &str, fails: usize) -> Outcome {
        let (waker, _wakeups) = Waker::pair().unwrap();
        let (notices, received) = Notices::channel(waker);
        let scheduler = Scheduler::new(SchedulerConfig::new(8, 100)).unwrap();
        let executor = Speller { text: "one two. three", steps: 0, fails };
        let mut engine = Engine::new(scheduler, executor, notices, Arc::new(Metrics::new("m")));
        let body = format!(r#"{{"model":"m","prompt":"x"{fields}}}"#);
        let request = GenerateRequest::parse(Endpoint::Completions, body.as_bytes(), "m").unwrap();
        let task = Task { serial: 1, slot: 0, request, prompt: vec![1, 2], max_tokens: 14, received_ns: 0 };
        engine.take(Work::Add(Box::new(task)));
        while engine.scheduler.has_work() {
            engine.step();
        }
        assert!(engine.live.is_empty());
        let usage = engine.scheduler.stats().kv_usage;
        drop(engine);
        let (mut texts, mut end) = (Vec::new(), None);
        for notice in received {
            match notice.what {
                What::Token(token) => {
                    texts.push(token.text);
                    end = end.or(token.finish);
                }
                What::Failed(error) => texts.push(format!("{}", error.status)),
                _ => {}
            }
        }
        (texts, end, usage)
    }

    #[test]
    fn an_end_token_has_no_text_and_ends_the_output() {
        let (texts, end, usage) = run("", 0);
        assert_eq!((texts.concat().as_str(), texts.len()), ("one two", 8));
        assert_eq!((end, usage), (Some((Finish::Stop, None)), 0.0));
    }

    #[test]
    fn the_end_can_be_ignored_or_put_off() {
        assert_eq!(run(r#","ignore_eos":true"#, 0).0.concat(), "one two. three");
        let (texts, end, _) = run(r#","max_tokens":14,"min_tokens":9"#, 0);
        assert_eq!((texts.concat().as_str(), end), ("one two. three", Some((Finish::Length, None))));
    }

    #[test]
    fn text_that_looked_like_a_stop_string_comes_with_the_last_token() {
        let (texts, end, _) = run(r#","stop":"two. four","ignore_eos":true"#, 0);
        assert_eq!((texts.len(), texts.concat().as_str()), (14, "one two. three"));
        assert_eq!(end, Some((Finish::Length, None)));
        let (texts, end, _) = run(r#","stop":["w","o"]"#, 0);
        assert_eq!((texts.concat().as_str(), end), ("", Some((Finish::Stop, Some("o".to_owned())))));
    }

    #[test]
    fn a_step_that_fails_fails_its_requests_and_frees_their_blocks() {
        let (texts, end, usage) = run("", 3);
        assert_eq!((texts, end, usage), (vec!["o".to_owned(), "n".to_owned(), "500".to_owned()], None, 0.0));
    }
}
