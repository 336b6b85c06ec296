//! Serving in virtual time: the scheduler's plans against a step model, in whole nanoseconds.
//!
//! ```text
//! load ──► arrivals ──► scheduler ──► plan ──► step model ──► time goes on ──► tokens, ends ──► next arrivals
//! ```
//!
//! One thread, no clock, no chance but the seed: equal inputs give equal nanoseconds. Steps in which every request only
//! decodes are taken in runs ([`Scheduler::quiet`]), which changes the speed and nothing else.

mod parsing;
mod summary;

use std::collections::BinaryHeap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_serving::arrival::ArrivalProcess;
use stopwatt_serving::scheduler::{
    ConfigError, Prompt, Request, RuleSet, Sampled, Scheduler, SchedulerConfig, StepPlan,
};
use stopwatt_serving::step::{StepModel, StepShape};
use stopwatt_serving::workload::{Prefix, Workload};

use parsing::{HAND_OVER, Parsing};
pub use summary::{Statistic, Summary};

/// When requests come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// So many clients, each sending its next request when the last has ended.
    Closed {
        /// Clients.
        concurrency: u32,
    },
    /// At the times of a process, however fast the engine is.
    Open(ArrivalProcess),
    /// At the times that the workload has recorded.
    Recorded,
}

/// A step that was simulated. Nanoseconds from the begin.
#[derive(Debug, Clone, Copy)]
pub struct StepSeen<'a> {
    /// Begin.
    pub begin: u64,
    /// End.
    pub end: u64,
    /// What it computed.
    pub shape: &'a StepShape,
    /// Requests that got a token.
    pub emitted: &'a [u64],
    /// When those tokens were sent: at the end, or when the next step had been launched.
    pub delivered: u64,
}

/// Is told every step.
pub type Watch<'a> = &'a mut dyn FnMut(StepSeen<'_>);

/// Time that a request spends outside the engine's steps, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Frontend {
    /// Before it is queued.
    pub before_s: f64,
    /// Before it is queued, for each token of the prompt.
    pub per_prompt_token_s: f64,
    /// From a step's end until its token is at the client.
    pub after_s: f64,
    /// Before it is queued, on one thread that all requests share: of those that come at once each takes so much of it,
    /// and all are through together.
    #[serde(default)]
    pub parsing_s: f64,
}

impl Frontend {
    /// A guess: 2 ms and 1 µs a prompt token on the way in (parsing, tokenising), 0.5 ms on the way out.
    pub const GUESS: Self =
        Self { before_s: 2e-3, per_prompt_token_s: 1e-6, after_s: 0.5e-3, parsing_s: 0.0 };
    /// No time at all.
    pub const NONE: Self = Self { before_s: 0.0, per_prompt_token_s: 0.0, after_s: 0.0, parsing_s: 0.0 };
}

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The engine's limits.
    pub scheduler: SchedulerConfig,
    /// Lengths of requests.
    pub workload: Workload,
    /// When they come.
    pub load: Load,
    /// How many; at most, where `duration_s` ends it.
    pub requests: u32,
    /// Seconds after which no request is sent; `None` sends all.
    pub duration_s: Option<f64>,
    /// Seed of lengths and times.
    pub seed: u64,
    /// Time outside the engine's steps.
    pub frontend: Frontend,
    /// Seconds that an idle engine with static batching waits for a batch to fill, from when its first request was
    /// queued; other rules admit at once.
    pub batch_wait_s: f64,
}

/// A request that was served. Nanoseconds from the begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    /// Prompt tokens.
    pub input: u32,
    /// Output tokens.
    pub output: u32,
    /// When the client sent it.
    pub sent: u64,
    /// When the engine had it in its queue.
    pub queued: u64,
    /// When the step that admitted it began.
    pub admitted: u64,
    /// When its first token was at the client.
    pub first: u64,
    /// When its last token was.
    pub last: u64,
    /// Prompt tokens that it found in the prefix cache.
    pub cached: u32,
    /// Number of its conversation; of a request that stands for itself, its own among those that were begun.
    pub conversation: u32,
    /// Which turn of it, from 0.
    pub turn: u32,
}

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Requests in the order in which they were sent.
    pub requests: Vec<Served>,
    /// Gaps between a request's tokens and how many were alike, in the order in which they occurred.
    pub gaps: Vec<(u64, u64)>,
    /// From the first request sent to the last token, in nanoseconds.
    pub wall: u64,
    /// Steps.
    pub steps: u64,
    /// Σ sequences of all steps.
    pub sequences: u64,
    /// Requests whose cache was dropped to make room.
    pub preemptions: u64,
    /// Conversations that ended before their last turn, since the next one would not have fit the model's context.
    pub cut: u32,
    /// Most blocks held, in millionths of all.
    pub kv_peak_ppm: u32,
}

/// Why a scenario cannot be simulated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// The engine's limits contradict each other.
    #[error(transparent)]
    Scheduler(#[from] ConfigError),
    /// A request that the engine refuses.
    #[error("request {index} of {input} + {output} tokens is refused: {reason}")]
    Refused {
        /// Its number, from 0.
        index: u32,
        /// Prompt tokens.
        input: u32,
        /// Output tokens.
        output: u32,
        /// Why.
        reason: String,
    },
    /// More requests than are kept in memory.
    #[error("{requests} requests; {MOST_REQUESTS} are the most")]
    TooMany {
        /// Requests asked for.
        requests: u32,
    },
    /// No requests or no clients.
    #[error("nothing to simulate: {what} is 0")]
    Nothing {
        /// What is 0.
        what: &'static str,
    },
}

/// Most requests of a scenario.
pub const MOST_REQUESTS: u32 = 10_000_000;

/// A request on its way to the queue: earliest first, then by number.
type Arrival = std::cmp::Reverse<(u64, u32)>;

/// A request that a client will send: earliest first, then in the order in which it was known of.
type Planned = std::cmp::Reverse<(u64, u64, Asked)>;

/// What is asked of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    input: u32,
    output: u32,
    /// Group and tokens of a shared prefix.
    prefix: Option<(u32, u32)>,
    conversation: u32,
    /// From 0.
    turn: u32,
    /// Turns that the conversation will have.
    turns: u32,
}

/// A step that has ended and whose tokens have not been sent.
struct Done {
    begin: u64,
    end: u64,
    /// When it had been launched.
    launched: u64,
    shape: StepShape,
    /// Requests that got a token, and whether it was their first.
    emitted: Vec<(u64, bool)>,
    /// Requests that ended with it.
    ended: Vec<u64>,
}

struct Simulation<'a, 'w> {
    scenario: &'a Scenario,
    watch: Option<Watch<'w>>,
    runs: bool,
    scheduler: Scheduler,
    now: u64,
    /// Begin of the last step.
    begun: u64,
    /// Requests that are being parsed; `None` where that takes no time.
    parsing: Option<Parsing>,
    /// When the last request was handed over.
    handed: u64,
    arrivals: BinaryHeap<Arrival>,
    /// Requests sent so far, and those that conversations which have begun will send.
    sent: u32,
    /// Conversations begun.
    begun_talks: u32,
    /// Whether requests may belong together: then they are sent in order of time, whenever they were known of.
    converses: bool,
    /// What clients will send.
    planned: BinaryHeap<Planned>,
    /// What was asked, by request.
    asked: Vec<Asked>,
    /// From when on none is sent.
    until: u64,
    served: Vec<Served>,
    /// When each request's last token was sent.
    emitted: Vec<u64>,
    done: Option<Done>,
    outcome: Outcome,
}

/// Runs the scenario.
pub fn simulate(scenario: &Scenario, model: &dyn StepModel) -> Result<Outcome, SimulateError> {
    simulate_by(scenario, model, true, None)
}

/// Runs the scenario and tells every step.
pub fn simulate_watched(
    scenario: &Scenario,
    model: &dyn StepModel,
    watch: Watch<'_>,
) -> Result<Outcome, SimulateError> {
    simulate_by(scenario, model, true, Some(watch))
}

/// Runs the scenario, with runs of quiet steps taken at once or one by one.
fn simulate_by(
    scenario: &Scenario,
    model: &dyn StepModel,
    runs: bool,
    watch: Option<Watch<'_>>,
) -> Result<Outcome, SimulateError> {
    let scheduler = Scheduler::new(scenario.scheduler.clone())?;
    let n = scenario.requests as usize;
    if n == 0 {
        return Err(SimulateError::Nothing { what: "the number of requests" });
    }
    if scenario.requests > MOST_REQUESTS {
        return Err(SimulateError::TooMany { requests: scenario.requests });
    }
    let outcome = Outcome {
        requests: Vec::new(),
        gaps: Vec::new(),
        wall: 0,
        steps: 0,
        sequences: 0,
        preemptions: 0,
        cut: 0,
        kv_peak_ppm: 0,
    };
    let mut s = Simulation {
        scenario,
        watch,
        runs,
        scheduler,
        now: 0,
        begun: 0,
        parsing: (scenario.frontend.parsing_s > 0.0).then(|| Parsing::new(scenario.frontend.parsing_s)),
        handed: 0,
        arrivals: BinaryHeap::new(),
        sent: 0,
        begun_talks: 0,
        converses: scenario.workload.converses(),
        planned: BinaryHeap::new(),
        asked: Vec::new(),
        until: scenario.duration_s.map_or(u64::MAX, nanos),
        served: Vec::new(),
        emitted: Vec::new(),
        done: None,
        outcome,
    };
    match scenario.load {
        Load::Closed { concurrency: 0 } => return Err(SimulateError::Nothing { what: "the concurrency" }),
        Load::Closed { concurrency } => (0..concurrency.min(scenario.requests)).for_each(|_| s.send(0)),
        Load::Open(process) => {
            let offsets = process.offsets(scenario.seed).map(|at| u64::try_from(at).unwrap_or(0));
            offsets
                .take(n)
                .take_while(|at| *at < s.until)
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|at| s.send(at));
        }
        Load::Recorded => {
            let Some(recorded) = scenario.workload.recorded.as_ref().filter(|r| r.is_timed()) else {
                return Err(SimulateError::Nothing { what: "the number of recorded times" });
            };
            let begin = recorded.entry(0).at_ns.unwrap_or(0);
            let n = recorded.len().min(n as u64);
            for index in 0..n {
                s.send(u64::try_from(recorded.entry(index).at_ns.unwrap_or(0) - begin).unwrap_or(0));
            }
        }
    }
    s.run(model)?;
    let first = s.served.iter().map(|r| r.sent).min().unwrap_or(0);
    s.outcome.wall = s.served.iter().map(|r| r.last).max().unwrap_or(0) - first;
    s.outcome.requests = s.served;
    Ok(s.outcome)
}

/// Nanoseconds of a duration.
fn whole(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// Seconds in whole nanoseconds.
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

impl Simulation<'_, '_> {
    /// The client begins its next request or conversation at `at`, if any is left.
    fn send(&mut self, at: u64) {
        let left = self.scenario.requests - self.sent;
        if left == 0 || at >= self.until {
            return;
        }
        let (workload, seed) = (&self.scenario.workload, self.scenario.seed);
        let conversation = self.begun_talks;
        let shape = workload.shape(seed, conversation.into());
        let turns = if self.converses { workload.turns(seed, conversation.into()).clamp(1, left) } else { 1 };
        self.begun_talks += 1;
        self.sent += turns;
        let prefix = shape.prefix.map(|p| (p.group, p.tokens));
        let (input, output) = (shape.input, shape.output);
        self.ask(at, Asked { input, output, prefix, conversation, turn: 0, turns });
    }

    /// What follows a turn that ended at `at`; `false` when its conversation is over.
    fn follow(&mut self, asked: Asked, at: u64) -> bool {
        let turn = asked.turn + 1;
        if turn >= asked.turns {
            return false;
        }
        let later = self.scenario.workload.later_turn(self.scenario.seed, asked.conversation.into(), turn);
        let input = asked.input.saturating_add(asked.output).saturating_add(later.added);
        let at = at.saturating_add(u64::try_from(later.think_ns).unwrap_or(0));
        let fits = input.saturating_add(later.output) <= self.scenario.scheduler.max_model_len;
        if !fits || at >= self.until {
            self.outcome.cut += u32::from(!fits);
            return false;
        }
        self.ask(at, Asked { input, output: later.output, turn, ..asked });
        true
    }

    /// A request is sent at `at`, or will be.
    fn ask(&mut self, at: u64, asked: Asked) {
        if self.converses {
            let order = self.served.len() as u64 + self.planned.len() as u64;
            self.planned.push(std::cmp::Reverse((at, order, asked)));
        } else {
            self.leave(at, asked);
        }
    }

    /// A request leaves its client.
    fn leave(&mut self, at: u64, asked: Asked) {
        let index = self.served.len() as u32;
        let Asked { input, output, conversation, turn, .. } = asked;
        self.served.push(Served { input, output, sent: at, conversation, turn, ..Served::default() });
        self.asked.push(asked);
        self.emitted.push(0);
        let Some(mut parsing) = self.parsing.take() else { return self.hand_over(index, at, 0) };
        parsing.add(at, index, &mut |index, at| self.hand_over(index, at, HAND_OVER));
        self.parsing = Some(parsing);
    }

    /// A request is through with what it shares; `apart` from the one before.
    fn hand_over(&mut self, index: u32, at: u64, apart: u64) {
        let queued = (at + self.alone(index)).max(self.handed + apart);
        self.handed = queued;
        self.served[index as usize].queued = queued;
        self.arrivals.push(std::cmp::Reverse((queued, index)));
    }

    /// What a request takes by itself before it is queued.
    fn alone(&self, index: u32) -> u64 {
        let front = &self.scenario.frontend;
        let input = self.served.get(index as usize).map_or(0, |r| r.input);
        nanos(front.before_s + front.per_prompt_token_s * f64::from(input))
    }

    /// What a request begins with. A trace may number its blocks: equal numbers are equal tokens.
    fn prompt(&self, asked: Asked) -> Prompt {
        let recorded = self.scenario.workload.recorded.as_deref();
        let index = u64::from(asked.conversation);
        let Some(recorded) = recorded.filter(|r| !r.entry(index).blocks.is_empty()) else {
            let prefix = asked.prefix.map(|(group, tokens)| Prefix { group, tokens });
            return if asked.turns > 1 {
                Prompt::Turn { tokens: asked.input, prefix, conversation: index }
            } else {
                Prompt::Shape { tokens: asked.input, prefix }
            };
        };
        // A block of the trace holds several of the engine's; one that is shorter says nothing about whole ones.
        let each = u64::from(recorded.block_tokens / self.scenario.scheduler.block_size);
        let blocks = recorded.entry(index).blocks.iter();
        Prompt::Numbered {
            tokens: asked.input,
            blocks: blocks.flat_map(|id| (0..each).map(move |part| id.wrapping_mul(each) + part)).collect(),
        }
    }

    fn next_arrival(&self) -> Option<u64> {
        let handed = self.arrivals.peek().map(|std::cmp::Reverse((at, _))| *at);
        let parsed = self.parsing.as_ref().and_then(Parsing::next);
        let parsed = parsed.map(|(index, at)| (at + self.alone(index)).max(self.handed + HAND_OVER));
        handed.into_iter().chain(parsed).min()
    }

    /// When a client sends what it has planned.
    fn next_planned(&self) -> Option<u64> {
        self.planned.peek().map(|std::cmp::Reverse((at, ..))| *at)
    }

    fn admit_arrivals(&mut self) -> Result<(), SimulateError> {
        while self.planned.peek().is_some_and(|std::cmp::Reverse((at, ..))| *at <= self.now) {
            let Some(std::cmp::Reverse((at, _, asked))) = self.planned.pop() else { break };
            self.leave(at, asked);
        }
        if let Some(mut parsing) = self.parsing.take() {
            parsing.advance(self.now, &mut |index, at| self.hand_over(index, at, HAND_OVER));
            self.parsing = Some(parsing);
        }
        while self.arrivals.peek().is_some_and(|std::cmp::Reverse((at, _))| *at <= self.now) {
            let Some(std::cmp::Reverse((_, index))) = self.arrivals.pop() else { break };
            let asked = self.asked[index as usize];
            let request = Request { id: index.into(), prompt: self.prompt(asked), max_tokens: asked.output };
            self.scheduler.add(request).map_err(|e| SimulateError::Refused {
                index,
                input: asked.input,
                output: asked.output,
                reason: e.to_string(),
            })?;
        }
        Ok(())
    }

    fn run(&mut self, model: &dyn StepModel) -> Result<(), SimulateError> {
        let (mut plan, mut shape) = (StepPlan::new(), StepShape::default());
        loop {
            self.admit_arrivals()?;
            // With requests waiting the next step is launched before the tokens of the last one are sent.
            // A static batch is not prepared for while another runs.
            let launches = self.scenario.scheduler.rules == RuleSet::VllmV1
                && self.parsing.is_some()
                && self.done.is_some()
                && self.scheduler.stats().waiting > 0;
            if !launches {
                self.deliver(self.now);
                self.admit_arrivals()?;
            }
            if let Some(until) = self.filling() {
                let next = self.next_arrival().into_iter().chain(self.next_planned()).min();
                self.now = next.map_or(until, |at| at.max(self.now + 1).min(until));
                continue;
            }
            if let Some(quiet) = self.scheduler.quiet().filter(|_| self.runs && !launches) {
                self.run_quiet(model, quiet.steps, quiet.sequences, quiet.context_tokens, &mut shape);
                continue;
            }
            self.scheduler.schedule(&mut plan);
            if plan.is_empty() {
                self.deliver(self.now);
                // Nothing runs: time goes on to the next request, and until the engine has woken.
                let wake = if self.parsing.is_some() { HAND_OVER } else { 0 };
                let (arrival, planned) = (self.next_arrival(), self.next_planned());
                match arrival {
                    // What is sent before may be queued before.
                    at if planned.is_some_and(|p| at.is_none_or(|at| p < at)) => {
                        self.now = self.now.max(planned.unwrap_or(self.now));
                    }
                    Some(at) => self.now = self.now.max(at + wake),
                    None => return Ok(()),
                }
                continue;
            }
            let admitted = || plan.items.iter().filter(|item| item.admitted.is_some_and(|a| !a.resumed));
            for item in admitted() {
                let served = &mut self.served[item.id as usize];
                (served.admitted, served.cached) = (self.now, item.admitted.map_or(0, |a| a.cached));
            }
            plan.shape(&mut shape);
            if launches {
                let from =
                    admitted().map(|item| self.served[item.id as usize].queued).max().unwrap_or(self.now);
                let from = self.done.as_ref().map_or(from, |done| from.max(done.launched));
                let (launch, step) = (model.launching(&shape), model.step(&shape));
                let most = self.now.saturating_add(whole(step));
                self.deliver((from + whole(launch)).clamp(self.now, most));
            }
            self.tick(model, &shape);
            self.outcome.preemptions += plan.preempted.len() as u64;
            self.complete(model, &plan, &shape);
        }
    }

    /// Until when an idle engine waits for more requests of its next batch; `None` when it need not.
    fn filling(&self) -> Option<u64> {
        let config = &self.scenario.scheduler;
        if config.rules != RuleSet::Static {
            return None;
        }
        let stats = self.scheduler.stats();
        let first = self.scheduler.next_waiting().filter(|_| stats.running == 0)?;
        let until = self.served[first as usize].queued.saturating_add(nanos(self.scenario.batch_wait_s));
        (self.now < until && stats.waiting < config.max_num_seqs).then_some(until)
    }

    /// Tells a step.
    fn tell(&mut self, span: (u64, u64), shape: &StepShape, emitted: &[u64], delivered: u64) {
        let (begin, end) = span;
        if let Some(watch) = &mut self.watch {
            watch(StepSeen { begin, end, shape, emitted, delivered });
        }
    }

    /// Time goes on by one step.
    fn tick(&mut self, model: &dyn StepModel, shape: &StepShape) {
        self.begun = self.now;
        self.now = self.now.saturating_add(whole(model.step(shape)).max(1));
        self.outcome.steps += 1;
        self.outcome.sequences += u64::from(shape.decode_seqs) + shape.chunks.len() as u64;
    }

    fn gap(&mut self, gap: u64, count: u64) {
        match self.outcome.gaps.last_mut() {
            Some((last, counted)) if *last == gap => *counted += count,
            _ => self.outcome.gaps.push((gap, count)),
        }
    }

    fn complete(&mut self, model: &dyn StepModel, plan: &StepPlan, shape: &StepShape) {
        let emitted =
            plan.items.iter().filter(|item| item.emits).map(|item| (item.id, item.output == 0)).collect();
        let usage = self.scheduler.stats().kv_usage;
        self.outcome.kv_peak_ppm = self.outcome.kv_peak_ppm.max((usage * 1e6) as u32);
        let ended = self.scheduler.complete(plan, |_| Sampled::default()).iter().map(|f| f.id).collect();
        let launched = self.begun + whole(model.launching(shape));
        let (begin, end, shape) = (self.begun, self.now, shape.clone());
        self.done = Some(Done { begin, end, launched, shape, emitted, ended });
    }

    /// Sends the tokens of the last step.
    fn deliver(&mut self, at: u64) {
        let Some(done) = self.done.take() else { return };
        let after = nanos(self.scenario.frontend.after_s);
        for &(id, first) in &done.emitted {
            let index = id as usize;
            if first {
                self.served[index].first = at + after;
            } else {
                self.gap(at - self.emitted[index], 1);
            }
            self.emitted[index] = at;
        }
        if self.watch.is_some() {
            let emitted: Vec<u64> = done.emitted.iter().map(|(id, _)| *id).collect();
            self.tell((done.begin, done.end), &done.shape, &emitted, at);
        }
        for id in done.ended {
            self.served[id as usize].last = at + after;
            let asked = self.asked[id as usize];
            // A conversation keeps its client, also while that thinks.
            let goes_on = self.follow(asked, at + after);
            if !goes_on && matches!(self.scenario.load, Load::Closed { .. }) {
                self.send(at + after);
            }
        }
    }

    /// Up to `steps` steps of decoding alone, until somebody arrives.
    fn run_quiet(
        &mut self,
        model: &dyn StepModel,
        steps: u32,
        sequences: u32,
        context: u64,
        shape: &mut StepShape,
    ) {
        shape.clear();
        (shape.decode_seqs, shape.decode_context_tokens, shape.sampled) = (sequences, context, sequences);
        let arrival = self.next_arrival().into_iter().chain(self.next_planned()).min().unwrap_or(u64::MAX);
        let emitting = u64::from(self.scheduler.stats().running);
        let watched: Vec<u64> =
            if self.watch.is_some() { self.scheduler.running().collect() } else { Vec::new() };
        let mut taken = 0;
        while taken < steps && (taken == 0 || self.now < arrival) {
            let before = self.now;
            self.tick(model, shape);
            self.tell((self.begun, self.now), shape, &watched, self.now);
            if taken == 0 {
                // Somebody may have waited a step without a token.
                let gaps: Vec<u64> =
                    self.scheduler.running().map(|id| self.now - self.emitted[id as usize]).collect();
                gaps.into_iter().for_each(|gap| self.gap(gap, 1));
            } else {
                self.gap(self.now - before, emitting);
            }
            shape.decode_context_tokens += u64::from(sequences);
            taken += 1;
        }
        self.scheduler.run_quiet(taken, 0);
        let running: Vec<u64> = self.scheduler.running().collect();
        running.into_iter().for_each(|id| self.emitted[id as usize] = self.now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use stopwatt_serving::arrival::{ArrivalSpec, Spacing};

    use stopwatt_serving::step::{LinearCoefficients, LinearStepModel};
    use stopwatt_serving::trace::{Entry, Turn};
    use stopwatt_serving::workload::{Length, Recorded};

    use super::*;

    /// 10 ms a step, and 1 ms for each 100 prompt tokens.
    fn model() -> LinearStepModel {
        LinearStepModel::try_from(LinearCoefficients {
            base_s: 10e-3,
            per_prefill_token_s: 1e-5,
            per_decode_seq_s: 0.0,
            per_context_token_s: 0.0,
        })
        .unwrap()
    }

    fn scenario(input: u32, output: u32, load: Load, requests: u32) -> Scenario {
        Scenario {
            scheduler: SchedulerConfig::new(10_000, 8192),
            workload: Workload::new(Length::fixed(input).unwrap(), Length::fixed(output).unwrap()),
            load,
            requests,
            duration_s: None,
            seed: 1,
            frontend: Frontend::NONE,
            batch_wait_s: 0.0,
        }
    }

    /// 10 ms a step, 1 ms for each 100 prompt tokens, 1 ms for each row, 1 µs for each KV token of a row.
    fn by_rows() -> LinearStepModel {
        LinearStepModel::try_from(LinearCoefficients {
            base_s: 10e-3,
            per_prefill_token_s: 1e-5,
            per_decode_seq_s: 1e-3,
            per_context_token_s: 1e-6,
        })
        .unwrap()
    }

    /// Four requests of these lengths, all at 0, in batches of `batch`.
    fn static_batches(batch: u32, lengths: [(u32, u32); 4]) -> Scenario {
        let entries = lengths.map(|(input, output)| Entry {
            at_ns: Some(0),
            turns: vec![Turn { input: Some(input), output: Some(output), ..Turn::default() }],
            blocks: Vec::new(),
        });
        let mut s = scenario(1, 1, Load::Recorded, 4);
        s.workload.recorded = Recorded::new("four".to_owned(), entries.to_vec(), 16, 1, 0).map(Arc::new);
        s.scheduler = SchedulerConfig { rules: RuleSet::Static, max_num_seqs: batch, ..s.scheduler };
        s
    }

    #[test]
    fn static_batches_of_one_length_in_closed_form() {
        // Batches of 2: prompts of 500 tokens take 10 + 2 · 5 ms, and read 2 · 500 tokens: 1 ms more. The k-th further
        // token takes 10 + 2 + 2 · (500 + k) µs. 10 of them: 10 · 13 ms + 2 · 55 µs. The second batch begins then.
        let outcome = simulate(&static_batches(2, [(500, 11); 4]), &by_rows()).unwrap();
        let (prompt, rest) = (21_000_000, 130_110_000);
        let batch = prompt + rest;
        let seen: Vec<_> = outcome.requests.iter().map(|r| (r.admitted, r.first, r.last)).collect();
        assert_eq!(seen[..2], [(0, prompt, batch); 2]);
        assert_eq!(seen[2..], [(batch, batch + prompt, 2 * batch); 2]);
        assert_eq!((outcome.wall, outcome.steps, outcome.sequences), (2 * batch, 22, 44));
        assert_eq!(outcome.gaps.iter().map(|(_, n)| n).sum::<u64>(), 40);
        // In general: n requests in batches of b take n / b of these spans, so throughput is b · tokens / span.
        let summary = Summary::of(&outcome, 0).unwrap();
        assert!((summary.output_tokens_per_s - 2.0 * 11.0 / (batch as f64 * 1e-9)).abs() < 1e-6);
    }

    #[test]
    fn a_short_answer_ends_but_its_row_stays() {
        // A prompt of 100 is padded to 300; an answer of 3 tokens is streamed and ends, and the next batch waits for the
        // one of 6. Steps: 10 + 6 + 0.6 ms, then 12 + 2 · (300 + k) µs = 12.6 ms + 2k µs.
        let outcome =
            simulate(&static_batches(2, [(100, 3), (300, 6), (300, 6), (100, 3)]), &by_rows()).unwrap();
        let end = |tokens: u64| 16_600_000 + (1..tokens).map(|k| 12_600_000 + 2_000 * k).sum::<u64>();
        let seen: Vec<_> = outcome.requests.iter().map(|r| (r.admitted, r.first, r.last)).collect();
        assert_eq!(seen[0], (0, end(1), end(3)), "streamed: it does not wait for the long one");
        assert_eq!(seen[1], (0, end(1), end(6)));
        assert_eq!(seen[2], (end(6), end(6) + end(1), 2 * end(6)), "but the next batch does");
        assert_eq!(seen[3], (end(6), end(6) + end(1), end(6) + end(3)));
        assert_eq!(outcome.gaps.iter().map(|(_, n)| n).sum::<u64>(), 2 * (2 + 5));
        let slow = simulate_by(
            &static_batches(2, [(100, 3), (300, 6), (300, 6), (100, 3)]),
            &by_rows(),
            false,
            None,
        );
        assert_eq!(slow.unwrap().requests, outcome.requests, "steps taken one by one end at the same time");
    }

    #[test]
    fn an_idle_engine_waits_for_its_batch_to_fill_and_no_longer() {
        let ms = 1_000_000;
        let admitted = |wait_s: f64, times: [i64; 4]| {
            let mut s = static_batches(3, [(500, 2); 4]);
            let lengths = Turn { input: Some(500), output: Some(2), ..Turn::default() };
            let entry = |at| Entry { at_ns: Some(at), turns: vec![lengths.clone()], blocks: Vec::new() };
            let entries = times.map(entry).to_vec();
            s.workload.recorded = Recorded::new("four".to_owned(), entries, 16, 1, 0).map(Arc::new);
            s.batch_wait_s = wait_s;
            simulate(&s, &by_rows()).unwrap().requests.iter().map(|r| r.admitted).collect::<Vec<_>>()
        };
        // The third fills the batch before the 20 ms are over; the fourth waits 20 ms for others in vain.
        let (m, far) = (ms as i64, 1_000 * ms);
        assert_eq!(admitted(20e-3, [0, 5 * m, 9 * m, far as i64]), [9 * ms, 9 * ms, 9 * ms, far + 20 * ms]);
        // Without the third nobody comes in time.
        assert_eq!(admitted(20e-3, [0, 5 * m, 900 * m, far as i64])[..2], [20 * ms, 20 * ms]);
        assert_eq!(admitted(0.0, [0, 5 * m, 9 * m, far as i64])[0], 0);
    }

    /// Requests of recorded turns, one client, block size 16.
    fn talks(entries: Vec<Vec<Turn>>, blocks: u32, max_model_len: u32) -> Scenario {
        let requests = entries.iter().map(Vec::len).sum::<usize>() as u32;
        let most = entries.iter().map(Vec::len).max().unwrap() as u32;
        let entry = |turns: Vec<Turn>| Entry { at_ns: Some(0), turns, blocks: Vec::new() };
        let entries = entries.into_iter().map(entry).collect();
        let mut s = scenario(1, 1, Load::Closed { concurrency: 1 }, requests);
        s.workload.recorded = Recorded::new("talks".to_owned(), entries, 16, most, 0).map(Arc::new);
        s.scheduler = SchedulerConfig::new(blocks, max_model_len);
        s
    }

    fn turn(input: u32, output: u32) -> Turn {
        Turn { input: Some(input), output: Some(output), ..Turn::default() }
    }

    #[test]
    fn a_later_turn_finds_the_full_blocks_of_all_that_was_computed() {
        // 40 + 20 tokens, of which 59 are computed: 3 blocks. Then 60 + 10 = 70 find 48; 89 computed: 5 blocks. Then
        // 90 + 10 = 100 find 80. Another conversation of the same lengths finds nothing of the first.
        let think = |t: Turn| Turn { think_ns: Some(2_000_000_000), ..t };
        let conversation = || vec![turn(40, 20), think(turn(10, 20)), think(turn(10, 20))];
        let out = simulate(&talks(vec![conversation(), conversation()], 1000, 512), &model()).unwrap();
        let seen: Vec<_> = out.requests.iter().map(|r| (r.conversation, r.turn, r.input, r.cached)).collect();
        assert_eq!(
            seen,
            [(0, 0, 40, 0), (0, 1, 70, 48), (0, 2, 100, 80), (1, 0, 40, 0), (1, 1, 70, 48), (1, 2, 100, 80)]
        );
        let pauses: Vec<u64> = out.requests.windows(2).map(|w| w[1].sent - w[0].last).collect();
        assert_eq!(pauses, [2_000_000_000, 2_000_000_000, 0, 2_000_000_000, 2_000_000_000]);
        // A prompt of 70 of which 48 are there takes as long as one of 22.
        assert_eq!(out.requests[1].first - out.requests[1].sent, 10_000_000 + 220_000);
    }

    #[test]
    fn a_conversation_ends_before_it_outgrows_the_context() {
        let conversation = vec![turn(40, 20), turn(10, 20), turn(10, 20)];
        let out = simulate(&talks(vec![conversation], 1000, 100), &model()).unwrap();
        // 100 + 20 tokens do not fit in 100, 70 + 20 do.
        assert_eq!((out.requests.len(), out.cut), (2, 1));
    }

    #[test]
    fn the_least_recently_used_blocks_go_first_and_a_prefix_from_its_end() {
        // 6 blocks. A prompt of 40 with a prefix of 32 leaves two full blocks of the group; its third goes first. One of
        // 64 tokens takes the 3 unused and that one; one of 80 the second of the prefix as well; one of 95 all.
        for (between, hits) in [(64, 32), (80, 16), (95, 0)] {
            let shared = || Turn { prefix: Some(Prefix { group: 0, tokens: 32 }), ..turn(40, 1) };
            let entries = vec![vec![shared()], vec![turn(between, 1)], vec![shared()]];
            let out = simulate(&talks(entries, 6, 96), &model()).unwrap();
            let cached: Vec<u32> = out.requests.iter().map(|r| r.cached).collect();
            assert_eq!(cached, [0, 0, hits], "{between} tokens between");
        }
    }

    #[test]
    fn conversations_of_an_open_loop_interleave_in_order_of_time() {
        let process = ArrivalProcess::constant(2.0).unwrap();
        let mut s = scenario(40, 20, Load::Open(process), 9);
        s.workload.dialogue = Some(stopwatt_serving::workload::Dialogue {
            turns: Length::fixed(3).unwrap(),
            added: Length::fixed(10).unwrap(),
            think: stopwatt_serving::workload::ThinkTime::Fixed { s: 1.0 },
        });
        s.frontend.parsing_s = 1e-3;
        let out = simulate(&s, &model()).unwrap();
        assert_eq!(out.requests.len(), 9, "turns count as requests");
        assert!(out.requests.windows(2).all(|w| w[0].sent <= w[1].sent));
        let of = |c: u32| out.requests.iter().filter(move |r| r.conversation == c).collect::<Vec<_>>();
        for turns in (0..3).map(of) {
            assert_eq!(turns.iter().map(|r| r.cached).collect::<Vec<_>>(), [0, 48, 80]);
            assert!(turns.windows(2).all(|w| w[1].sent == w[0].last + 1_000_000_000));
            assert!(turns.iter().all(|r| r.queued >= r.sent + 1_000_000));
        }
    }

    #[test]
    fn one_client_by_hand() {
        // Prompt of 1,000 tokens: 10 + 10 ms. Ten more tokens after the first: 10 ms each. Then the next request.
        let out = simulate(&scenario(1000, 11, Load::Closed { concurrency: 1 }, 3), &model()).unwrap();
        let ms = |n: u64| n * 1_000_000;
        for (i, r) in out.requests.iter().enumerate() {
            let begin = ms(120 * i as u64);
            assert_eq!((r.sent, r.first, r.last), (begin, begin + ms(20), begin + ms(120)));
        }
        assert_eq!((out.wall, out.steps), (ms(360), 33));
        assert_eq!(out.gaps, [(ms(10), 30)]);
    }

    #[test]
    fn prompts_that_come_together_share_a_step() {
        // Two prompts of 1,000 tokens in one step of 2,048: 10 + 20 ms; lockstep from there on.
        let out = simulate(&scenario(1000, 2, Load::Closed { concurrency: 2 }, 2), &model()).unwrap();
        let firsts: Vec<_> = out.requests.iter().map(|r| r.first / 1_000_000).collect();
        assert_eq!(firsts, [30, 30]);
        // Three do not fit: 2,048 tokens first, then the rest of the third with the others' second tokens.
        let out = simulate(&scenario(1000, 2, Load::Closed { concurrency: 3 }, 3), &model()).unwrap();
        let firsts: Vec<_> = out.requests.iter().map(|r| r.first / 10_000).collect();
        // 10 + 20.48 ms, then 10 + 9.52 ms.
        assert_eq!(firsts, [3048, 3048, 3048 + 1952]);
    }

    #[test]
    fn time_outside_the_engine_is_added_once_each_way() {
        let mut s = scenario(1000, 2, Load::Closed { concurrency: 1 }, 1);
        s.frontend = Frontend { before_s: 1e-3, per_prompt_token_s: 1e-6, after_s: 0.5e-3, parsing_s: 0.0 };
        let r = simulate(&s, &model()).unwrap().requests[0];
        assert_eq!((r.admitted, r.first, r.last), (2_000_000, 22_500_000, 32_500_000));
    }

    #[test]
    fn requests_are_parsed_side_by_side() {
        let mut s = scenario(1000, 2, Load::Closed { concurrency: 4 }, 4);
        s.frontend = Frontend { before_s: 1e-3, parsing_s: 3e-3, ..Frontend::NONE };
        let out = simulate(&s, &model()).unwrap();
        let queued: Vec<_> = out.requests.iter().map(|r| r.queued / 10_000).collect();
        // Four share 12 ms; then 1 ms each, and 50 µs apart.
        assert_eq!(queued, [1300, 1305, 1310, 1315]);
        // Two are there when the engine has woken and take 30 ms; the others go with their second tokens.
        assert_eq!(
            out.requests.iter().map(|r| r.admitted / 10_000).collect::<Vec<_>>(),
            [1305, 1305, 4305, 4305]
        );
    }

    /// 10 ms a step; one with prompts takes 20, and is launched for 18 of them.
    struct Launching;

    impl StepModel for Launching {
        fn step(&self, shape: &StepShape) -> std::time::Duration {
            std::time::Duration::from_millis(if shape.chunks.is_empty() { 10 } else { 20 })
        }

        fn launching(&self, shape: &StepShape) -> std::time::Duration {
            std::time::Duration::from_millis(if shape.chunks.is_empty() { 0 } else { 18 })
        }
    }

    #[test]
    fn tokens_wait_until_the_next_prompts_are_launched() {
        let mut s = scenario(1000, 3, Load::Closed { concurrency: 4 }, 4);
        s.frontend = Frontend { parsing_s: 1e-3, ..Frontend::NONE };
        let mut sent = Vec::new();
        let out =
            simulate_watched(&s, &Launching, &mut |step| sent.push((step.end, step.delivered))).unwrap();
        // Two begin at 4.05 ms and are launched until 22.05; the two others until 40.05, so that the first two get their
        // tokens then and not at 24.05.
        let firsts: Vec<_> = out.requests.iter().map(|r| r.first / 10_000).collect();
        assert_eq!(firsts, [4005, 4005, 4405, 4405]);
        assert_eq!(
            (sent[0].0 / 10_000, sent[0].1 / 10_000, sent[1].0, sent[1].1),
            (2405, 4005, 44_050_000, 44_050_000)
        );
        let spans: u64 = out.requests.iter().map(|r| r.last - r.first).sum();
        assert_eq!(out.gaps.iter().map(|(gap, n)| gap * n).sum::<u64>(), spans);
    }

    #[test]
    fn arrivals_do_not_wait_for_the_engine() {
        // One request each 5 ms, each needing 10 ms alone: they queue behind the step that runs.
        let load = Load::Open(ArrivalProcess::constant(200.0).unwrap());
        let out = simulate(&scenario(1, 1, load, 4), &model()).unwrap();
        let (sent, firsts): (Vec<_>, Vec<_>) =
            out.requests.iter().map(|r| (r.sent / 1_000_000, r.first / 1_000_000)).unzip();
        // A one-token prompt counts as a decode: steps end at 10, 20 and 30 ms.
        assert_eq!((sent, firsts), (vec![0, 5, 10, 15], vec![10, 20, 20, 30]));
    }

    #[test]
    fn clients_send_until_time_is_up() {
        // Each request takes 120 ms: sent at 0, 120 and 240 ms, and no more at 360.
        let mut s = scenario(1000, 11, Load::Closed { concurrency: 1 }, MOST_REQUESTS);
        s.duration_s = Some(0.3);
        let out = simulate(&s, &model()).unwrap();
        assert_eq!((out.requests.len(), out.wall), (3, 360_000_000));
        // A ramp from 0 to 100 a second over one second has its k-th request at √(2k/100) s: 12.5 in half a second.
        let ramp =
            ArrivalSpec::Ramp { from_rps: 0.0, to_rps: 100.0, duration_s: 1.0, spacing: Spacing::Even };
        s.load = Load::Open(ramp.try_into().unwrap());
        for (duration_s, requests) in [(0.5, 13), (2.0, 50)] {
            s.duration_s = Some(duration_s);
            let out = simulate(&s, &model()).unwrap();
            assert_eq!(out.requests.len(), requests);
            assert_eq!(out.requests[8].sent, 400_000_000);
        }
    }

    #[test]
    fn numbered_blocks_of_a_trace_are_found_in_the_cache() {
        use std::sync::Arc;

        use stopwatt_serving::trace::{Entry, Turn};
        use stopwatt_serving::workload::Recorded;

        let entry = |at, blocks: &[u64]| Entry {
            at_ns: Some(at),
            turns: vec![Turn { input: Some(1100), output: Some(1), ..Turn::default() }],
            blocks: blocks.to_vec(),
        };
        let entries = vec![entry(0, &[7, 8, 9]), entry(1_000_000_000, &[7, 8, 10])];
        let mut s = scenario(1, 1, Load::Recorded, 10);
        s.workload.recorded = Recorded::new("t".to_owned(), entries, 512, 1, 0).map(Arc::new);
        let out = simulate(&s, &model()).unwrap();
        let took: Vec<_> = out.requests.iter().map(|r| (r.first - r.sent) / 10_000).collect();
        // 10 ms and 1,100 tokens of 10 µs; then 1,024 of them are there.
        assert_eq!(took, [2100, 1076]);
    }

    #[test]
    fn one_seed_gives_one_outcome_and_all_tokens() {
        let mut s = scenario(1, 1, Load::Open(ArrivalProcess::poisson(30.0).unwrap()), 200);
        s.workload = Workload::new(Length::uniform(10, 900).unwrap(), Length::uniform(1, 200).unwrap());
        s.scheduler = SchedulerConfig { max_num_seqs: 16, ..SchedulerConfig::new(900, 2048) };
        let model = LinearStepModel::illustrative_example();
        let out = simulate(&s, &model).unwrap();
        assert_eq!(out, simulate(&s, &model).unwrap());
        let single = simulate_by(&s, &model, false, None).unwrap();
        assert_eq!((&out.requests, out.wall, out.steps), (&single.requests, single.wall, single.steps));
        assert_eq!((out.sequences, out.preemptions), (single.sequences, single.preemptions));
        let tokens: u64 = out.requests.iter().map(|r| u64::from(r.output)).sum();
        let gaps: u64 = out.gaps.iter().map(|(_, n)| n).sum();
        assert_eq!(gaps, tokens - 200, "every token but the first of each request has a gap");
        for r in &out.requests {
            assert!(r.sent <= r.admitted && r.admitted < r.first && r.first <= r.last, "{r:?}");
        }
        let sum: u64 = out.gaps.iter().map(|(gap, n)| gap * n).sum();
        let spans: u64 = out.requests.iter().map(|r| r.last - r.first).sum();
        assert_eq!(sum, spans, "gaps add up to the time between first and last tokens");
    }

    #[test]
    fn every_step_and_token_is_told() {
        let mut s = scenario(1, 1, Load::Open(ArrivalProcess::poisson(30.0).unwrap()), 60);
        s.workload = Workload::new(Length::uniform(10, 900).unwrap(), Length::uniform(1, 80).unwrap());
        let (mut steps, mut tokens, mut last) = (0, vec![Vec::new(); 60], 0);
        let out = simulate_watched(&s, &LinearStepModel::illustrative_example(), &mut |seen| {
            assert!(last <= seen.begin && seen.begin < seen.end && seen.shape.tokens() > 0);
            (steps, last) = (steps + 1, seen.end);
            seen.emitted.iter().for_each(|&id| tokens[id as usize].push(seen.end));
        })
        .unwrap();
        assert_eq!(steps, out.steps);
        for (r, times) in out.requests.iter().zip(&tokens) {
            let ends = (times.first().copied(), times.last().copied());
            assert_eq!((times.len() as u32, ends), (r.output, (Some(r.first), Some(r.last))));
        }
    }

    #[test]
    fn recorded_times_are_kept() {
        use std::sync::Arc;

        use stopwatt_serving::trace::{Entry, Turn};
        use stopwatt_serving::workload::Recorded;

        let entry = |at, input| Entry {
            at_ns: Some(at),
            turns: vec![Turn { input: Some(input), output: Some(1), ..Turn::default() }],
            blocks: Vec::new(),
        };
        let entries = vec![entry(1_000_000_000, 500), entry(1_005_000_000, 1000)];
        let mut s = scenario(1, 1, Load::Recorded, 10);
        s.workload.recorded = Recorded::new("t".to_owned(), entries, 16, 1, 0).map(Arc::new);
        let out = simulate(&s, &model()).unwrap();
        // The second waits for the first one's 15 ms and takes 20.
        let seen: Vec<_> = out.requests.iter().map(|r| (r.sent / 1_000_000, r.first / 1_000_000)).collect();
        assert_eq!(seen, [(0, 15), (5, 35)]);
        assert!(simulate(&scenario(1, 1, Load::Recorded, 10), &model()).is_err());
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let out = simulate(&scenario(9000, 1, Load::Closed { concurrency: 1 }, 1), &model());
        assert!(matches!(out, Err(SimulateError::Refused { index: 0, input: 9000, .. })));
        let none = simulate(&scenario(10, 1, Load::Closed { concurrency: 0 }, 1), &model());
        assert!(matches!(none, Err(SimulateError::Nothing { .. })));
    }
}
