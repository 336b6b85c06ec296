//! The script of one request: how long, how late, and what goes wrong.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use stopwatt_core::clock::Nanos;

use super::config::{ExactConfig, Faults, Jitter};
use super::truth::Fault;
use crate::api::{Endpoint, Finish, GenerateRequest};
use crate::words::mix;

/// The script of one request.
#[derive(Debug)]
pub(super) struct Script {
    /// Tokens of the whole output.
    pub(super) total: u32,
    /// How many of them come first and are reasoning.
    pub(super) reasoning: u32,
    pub(super) finish: Finish,
    pub(super) fault: Option<Fault>,
    /// A fault of the stream strikes once this many tokens are written.
    pub(super) fault_after: u32,
    /// Seed of the words.
    pub(super) words: u64,
    draws: ChaCha8Rng,
}

impl Script {
    /// `limit` is how many tokens the request may have. What is random depends on the configured seed and on `key`.
    pub(super) fn new(config: &ExactConfig, key: u64, request: &GenerateRequest, limit: u32) -> Self {
        let mut draws = ChaCha8Rng::seed_from_u64(mix(config.seed ^ mix(key)));
        let natural =
            config.stop_after.filter(|_| !request.ignore_eos).map(|n| n.max(request.min_tokens).max(1));
        let (total, finish) = match natural {
            Some(n) if n < limit => (n, Finish::Stop),
            _ => (limit, Finish::Length),
        };
        let share = if request.endpoint == Endpoint::Chat { config.shape.reasoning_share } else { 0.0 };
        Self {
            total,
            reasoning: (f64::from(total) * share).round() as u32,
            finish,
            fault: draw_fault(&config.faults, &mut draws),
            fault_after: (f64::from(total) * config.faults.at).round() as u32,
            words: draws.random(),
            draws,
        }
    }

    /// Time to the first write with a token.
    pub(super) fn ttft(&mut self, config: &ExactConfig) -> Nanos {
        self.scatter(config.ttft_s, config.ttft_jitter)
    }

    /// Time from one write to the next, which brings `tokens`.
    pub(super) fn gap(&mut self, config: &ExactConfig, tokens: u32) -> Nanos {
        self.scatter(config.itl_s * f64::from(tokens), config.itl_jitter)
    }

    fn scatter(&mut self, seconds: f64, jitter: Jitter) -> Nanos {
        let seconds = match jitter {
            Jitter::None => seconds,
            Jitter::Uniform { half_width_s } => seconds + half_width_s * self.draws.random_range(-1.0..=1.0),
            Jitter::Normal { std_s } => {
                let z: f64 = StandardNormal.sample(&mut self.draws);
                seconds + std_s * z
            }
        };
        (seconds.max(0.0) * 1e9).round() as Nanos
    }
}

fn draw_fault(faults: &Faults, draws: &mut ChaCha8Rng) -> Option<Fault> {
    let mut u: f64 = draws.random();
    let shares = [
        (Fault::Http500, faults.http_500),
        (Fault::Reset, faults.reset),
        (Fault::Cut, faults.cut),
        (Fault::Garbled, faults.garbled),
        (Fault::ErrorEvent, faults.error_event),
        (Fault::Stall, faults.stall),
    ];
    for (fault, share) in shares {
        if u < share {
            return Some(fault);
        }
        u -= share;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &str) -> GenerateRequest {
        let body = format!(r#"{{"model":"m","prompt":"x"{fields}}}"#);
        GenerateRequest::parse(Endpoint::Completions, body.as_bytes(), "m").unwrap()
    }

    #[test]
    fn the_same_key_gives_the_same_script() {
        let jitter = Jitter::Normal { std_s: 0.002 };
        let config = ExactConfig { ttft_jitter: jitter, itl_jitter: jitter, ..ExactConfig::default() };
        let times = |key| {
            let mut script = Script::new(&config, key, &request(""), 10);
            (0..10)
                .map(|i| if i == 0 { script.ttft(&config) } else { script.gap(&config, 1) })
                .collect::<Vec<_>>()
        };
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    }

    #[test]
    fn scatter_has_the_asked_mean_and_width() {
        let uniform = Jitter::Uniform { half_width_s: 0.03 };
        let config = ExactConfig { ttft_s: 0.05, ttft_jitter: uniform, ..ExactConfig::default() };
        let ttft = |key| Script::new(&config, key, &request(""), 1).ttft(&config);
        let all: Vec<Nanos> = (0..4000).map(ttft).collect();
        let mean = all.iter().sum::<Nanos>() as f64 / 4000.0;
        // Standard error of the mean: 30 ms / √3 / √4000 = 0.27 ms; the bound is four of them.
        assert!((mean - 50e6).abs() < 1.1e6, "{mean}");
        assert!(all.iter().all(|t| (20_000_000..=80_000_000).contains(t)));
    }

    #[test]
    fn output_ends_by_itself_unless_told_otherwise() {
        let config = ExactConfig { stop_after: Some(5), ..ExactConfig::default() };
        let end = |fields, limit| {
            let script = Script::new(&config, 0, &request(fields), limit);
            (script.total, script.finish)
        };
        assert_eq!(end("", 10), (5, Finish::Stop));
        assert_eq!(end("", 5), (5, Finish::Length));
        assert_eq!(end(r#","ignore_eos":true"#, 10), (10, Finish::Length));
        assert_eq!(end(r#","max_tokens":10,"min_tokens":8"#, 10), (8, Finish::Stop));
    }

    #[test]
    fn faults_come_in_their_shares() {
        let faults = Faults { http_500: 0.1, stall: 0.2, ..Faults::default() };
        let config = ExactConfig { faults, ..ExactConfig::default() };
        let drawn: Vec<_> = (0..10_000).map(|key| Script::new(&config, key, &request(""), 1).fault).collect();
        let count = |fault| drawn.iter().filter(|f| **f == fault).count();
        // Binomial: standard deviations 30 and 40; the bounds are four of them.
        assert!(count(Some(Fault::Http500)).abs_diff(1000) < 120);
        assert!(count(Some(Fault::Stall)).abs_diff(2000) < 160);
        assert_eq!(count(Some(Fault::Http500)) + count(Some(Fault::Stall)) + count(None), 10_000);
    }
}
