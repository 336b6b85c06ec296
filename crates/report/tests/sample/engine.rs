//! The made-up engine and its closed-loop clients.

use stopwatt_core::log::Fact;
use stopwatt_core::{ChunkKind, ChunkStamp, EndKind, FinishReason, Nanos, Phase, RequestRecord};

use super::{Plan, SECOND};

/// A small generator with a fixed sequence (splitmix64, Steele et al. 2014).
pub struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A factor around 1, skewed to the right as latencies are.
    pub fn jitter(&mut self, spread: f64) -> f64 {
        let normal = (0..12).map(|_| self.unit()).sum::<f64>() - 6.;
        (spread * normal).exp()
    }
}

/// The run as it grows.
pub struct World<'a> {
    plan: &'a Plan,
    rng: Rng,
    pub now: Nanos,
    pub requests: Vec<RequestRecord>,
}

impl<'a> World<'a> {
    pub fn new(plan: &'a Plan) -> Self {
        Self { plan, rng: Rng(plan.seed), now: SECOND / 5, requests: vec![] }
    }

    /// Warm-up and every trial of a point.
    pub fn point(&mut self, point: u32, streams: u32, say: &mut impl FnMut(Nanos, Fact)) {
        let before = self.requests.len();
        let warm = (self.plan.trial_s / 2.).min(3.);
        self.window(point, 0, streams, Phase::Warmup, warm);
        let requests = (self.requests.len() - before) as u64;
        let detail =
            format!("steady from request {} of {requests} on (PELT over TTFT and TPOT)", requests / 3);
        say(self.now, Fact::WarmupEnded { point, requests, steady: Some(true), detail });
        for trial in 0..self.plan.trials {
            let start_ns = self.now;
            say(start_ns, Fact::TrialStarted { point, trial });
            self.window(point, trial, streams, Phase::Measure, self.plan.trial_s);
            let rss =
                |t: Nanos| (380 << 20) + (f64::from(streams) * 3e6) as u64 + (t / SECOND) as u64 * 90_000;
            let mut t = start_ns;
            while t < self.now {
                say(t, Fact::EngineSample { rss_bytes: rss(t) });
                t += SECOND / 2;
            }
            let window_s = (self.now - start_ns) as f64 / SECOND as f64;
            say(
                self.now,
                Fact::TrialEnded {
                    point,
                    trial,
                    start_ns,
                    end_ns: self.now,
                    client_cpu_s: Some(0.0012 * window_s * f64::from(streams)),
                    engine_cpu_s: Some(0.98 * window_s),
                    engine_rss_bytes: Some(rss(self.now)),
                    planned: None,
                    counters_before: Default::default(),
                    counters_after: Default::default(),
                    reads: None,
                },
            );
        }
    }

    fn window(&mut self, point: u32, trial: u32, streams: u32, phase: Phase, seconds: f64) {
        let end = self.now + (seconds * SECOND as f64) as Nanos;
        let mood = self.rng.jitter(0.015);
        let mut free: Vec<Nanos> = (0..streams).map(|i| self.now + Nanos::from(i) * 300_000).collect();
        while let Some(slot) = (0..free.len()).min_by_key(|&i| free[i]).filter(|&i| free[i] < end) {
            let record = self.request(point, trial, streams, phase, free[slot], mood, end);
            free[slot] = record.end_ns + 150_000;
            self.requests.push(record);
        }
        self.now = end;
    }

    #[expect(clippy::too_many_arguments, reason = "a test's own helper")]
    fn request(
        &mut self,
        point: u32,
        trial: u32,
        streams: u32,
        phase: Phase,
        at: Nanos,
        mood: f64,
        window_end: Nanos,
    ) -> RequestRecord {
        let id = self.requests.len() as u64;
        let load = f64::from(streams);
        let (input, output) = self.plan.lengths;
        let input = (f64::from(input) * (0.6 + 0.8 * self.rng.unit())).round() as u32;
        let output = (f64::from(output) * (0.5 + self.rng.unit())).round().max(2.) as u32;
        let cold = if phase == Phase::Warmup && id < 6 { 2.2 } else { 1. };
        let prefill_s =
            (0.012 + 0.000_09 * f64::from(input)) * (1. + 0.16 * (load - 1.).sqrt()) * mood * cold;
        let step_s = 0.0072 * self.plan.slowdown * (1. + 0.11 * (load - 1.)) * mood;
        let ns = |s: f64| (s * SECOND as f64) as Nanos;
        let first = at + ns(prefill_s * self.rng.jitter(0.18));
        let mut chunks = vec![ChunkStamp::new(first, Some(1), ChunkKind::Content)];
        for _ in 1..output {
            let hitch = if self.rng.unit() < 0.006 { 4.5 } else { 1. };
            let last = chunks.last().map_or(first, |c| c.t_ns);
            let t_ns = last + ns(step_s * hitch * self.rng.jitter(0.07));
            chunks.push(ChunkStamp::new(t_ns, Some(1), ChunkKind::Content));
        }
        let fails =
            self.plan.failure_every > 0 && id % self.plan.failure_every == self.plan.failure_every - 1;
        let mut end = if !fails {
            EndKind::Ok
        } else {
            [EndKind::Http, EndKind::Truncated, EndKind::IdleTimeout]
                [(id / self.plan.failure_every % 3) as usize]
        };
        match end {
            EndKind::Http => chunks.clear(),
            EndKind::Truncated | EndKind::IdleTimeout => chunks.truncate(chunks.len() / 2),
            _ => {}
        }
        let mut end_ns = chunks.last().map_or(at + ns(0.02), |c| c.t_ns + 90_000);
        if end_ns > window_end {
            chunks.retain(|c| c.t_ns <= window_end);
            (end, end_ns) = (EndKind::Cancelled, window_end);
        }
        let ok = end == EndKind::Ok;
        RequestRecord {
            id,
            point,
            trial,
            phase,
            input_asked: input,
            output_asked: output,
            input_usage: ok.then_some(input),
            output_usage: ok.then_some(output),
            session: None,
            turn: None,
            cached_usage: ok.then_some(0),
            output_tokenizer: None,
            intended_ns: at - 40_000,
            dispatched_ns: Some(at - 20_000),
            connected_ns: (trial == 0 && phase == Phase::Warmup).then_some(at),
            written_ns: Some(at + 30_000),
            first_byte_ns: chunks.first().map(|c| c.t_ns - 20_000),
            end_ns,
            end,
            status: Some(if end == EndKind::Http { 503 } else { 200 }),
            error_len: (end == EndKind::Http).then_some(74),
            error_hash: (end == EndKind::Http).then(|| "9f2c4be1d07a3e55".to_owned()),
            finish: ok.then_some(FinishReason::Length),
            chunks,
        }
    }
}
