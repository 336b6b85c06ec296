//! From logits to a token: greedy, or temperature with top-p.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stopwatt_kernel::cpu::{Cpu, Isa, argmax, softmax};

/// How a request wants its tokens chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingParams {
    /// 0 takes the most likely token; larger values flatten the distribution.
    pub temperature: f32,
    /// Only the most likely tokens that together reach this probability are drawn from; 1 keeps all.
    pub top_p: f32,
    /// Seed of the request's own random numbers.
    pub seed: u64,
}

impl SamplingParams {
    /// The most likely token, always.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, seed: 0 };
}

/// Why no token can be chosen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// A parameter is outside its range.
    #[error("`{name}` is {value}, must be {must}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its value.
        value: f32,
        /// Its range.
        must: &'static str,
    },
    /// Every logit is −∞ or NaN.
    #[error("no token has a finite logit")]
    NoCandidate,
}

/// Chooses the tokens of one request. Its choices depend on its seed and the logits alone.
#[derive(Debug)]
pub struct Sampler {
    params: SamplingParams,
    rng: ChaCha8Rng,
    cpu: Cpu,
    probabilities: Vec<f32>,
    order: Vec<u32>,
}

impl Sampler {
    /// A sampler for one request.
    pub fn new(params: SamplingParams) -> Result<Self, SamplingError> {
        let SamplingParams { temperature, top_p, seed } = params;
        if !(temperature.is_finite() && temperature >= 0.0) {
            let must = "a finite number of 0 or more";
            return Err(SamplingError::Parameter { name: "temperature", value: temperature, must });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(SamplingError::Parameter {
                name: "top_p",
                value: top_p,
                must: "above 0 and at most 1",
            });
        }
        Ok(Self {
            params,
            rng: ChaCha8Rng::seed_from_u64(seed),
            cpu: Cpu::with_isa(Isa::best(), 1),
            probabilities: Vec::new(),
            order: Vec::new(),
        })
    }

    /// Chooses a token. Tokens that must not be chosen have a logit of −∞.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32, SamplingError> {
        let best = argmax(&self.cpu, logits).filter(|&i| logits[i] > f32::NEG_INFINITY);
        let best = best.ok_or(SamplingError::NoCandidate)?;
        if self.params.temperature < 1e-5 {
            return Ok(best as u32);
        }
        let p = &mut self.probabilities;
        p.clear();
        let scale = 1.0 / self.params.temperature;
        let max = logits[best];
        p.extend(logits.iter().map(|l| if l.is_nan() { f32::NEG_INFINITY } else { (l - max) * scale }));
        softmax(&self.cpu, p);
        let draw: f32 = self.rng.random();
        let token = if self.params.top_p < 1.0 {
            draw_nucleus(p, &mut self.order, self.params.top_p, draw)
        } else {
            draw_from(p.iter().copied().enumerate(), draw)
        };
        Ok(token.unwrap_or(best) as u32)
    }
}

/// The item at which the running sum passes `draw`; rounding can leave none, then the last with any probability.
fn draw_from(items: impl Iterator<Item = (usize, f32)>, draw: f32) -> Option<usize> {
    let mut sum = 0.0;
    let mut last = None;
    for (i, p) in items.filter(|&(_, p)| p > 0.0) {
        sum += p;
        last = Some(i);
        if sum > draw {
            break;
        }
    }
    last
}

/// Draws from the smallest set of most likely tokens whose probabilities reach `top_p`.
fn draw_nucleus(p: &[f32], order: &mut Vec<u32>, top_p: f32, draw: f32) -> Option<usize> {
    order.clear();
    order.extend(0..p.len() as u32);
    let likelier = |a: &u32, b: &u32| p[*b as usize].total_cmp(&p[*a as usize]).then(a.cmp(b));
    // The nucleus is small as a rule: sort the likeliest 64, then 512, … rather than the whole vocabulary.
    let mut head = 64;
    loop {
        let count = head.min(order.len());
        if count < order.len() {
            order.select_nth_unstable_by(count - 1, likelier);
        }
        order[..count].sort_unstable_by(likelier);
        let mut sum = 0.0;
        let reached = order[..count].iter().position(|&i| {
            sum += p[i as usize];
            sum >= top_p
        });
        if reached.is_some() || count == order.len() {
            let kept = &order[..reached.map_or(count, |i| i + 1)];
            return draw_from(kept.iter().map(|&i| (i as usize, p[i as usize])), draw * sum);
        }
        head *= 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_p: f32, seed: u64) -> Sampler {
        Sampler::new(SamplingParams { temperature, top_p, seed }).unwrap()
    }

    /// How often each token is drawn.
    fn counts(sampler: &mut Sampler, logits: &[f32], draws: usize) -> Vec<f64> {
        let mut counts = vec![0u32; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(logits).unwrap() as usize] += 1;
        }
        counts.into_iter().map(|n| f64::from(n) / draws as f64).collect()
    }

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        let mut greedy = Sampler::new(SamplingParams::GREEDY).unwrap();
        assert_eq!(greedy.sample(&[0.5, 3.0, f32::NAN, 3.0, f32::NEG_INFINITY]).unwrap(), 1);
        for nothing in [&[][..], &[f32::NEG_INFINITY; 3], &[f32::NAN; 3]] {
            for temperature in [0.0, 1.0] {
                let error = sampler(temperature, 0.9, 0).sample(nothing);
                assert!(matches!(error, Err(SamplingError::NoCandidate)));
            }
        }
    }

    #[test]
    fn frequencies_are_the_softmax_of_the_scaled_logits() {
        // 1, 2, 3, 4 tenths at temperature 1; the squares of these, normalised, at temperature 1/2.
        let logits = [0.1f32, 0.2, 0.3, 0.4].map(f32::ln);
        for (temperature, expected) in
            [(1.0, [0.1, 0.2, 0.3, 0.4]), (0.5, [1.0 / 30.0, 4.0 / 30.0, 9.0 / 30.0, 16.0 / 30.0])]
        {
            let found = counts(&mut sampler(temperature, 1.0, 1), &logits, 40_000);
            // Five standard deviations of a frequency over 40,000 draws.
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 0.0125), "{found:?}");
        }
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_reaches_it() {
        let logits = [0.1f32, 0.4, 0.3, 0.2].map(f32::ln);
        // 0.4 + 0.3 reaches 0.6; the two share all draws 4 : 3.
        let found = counts(&mut sampler(1.0, 0.6, 2), &logits, 40_000);
        assert_eq!((found[0], found[3]), (0.0, 0.0));
        assert!((found[1] - 4.0 / 7.0).abs() < 0.0125, "{found:?}");
        // The likeliest alone reaches it.
        assert_eq!(counts(&mut sampler(1.0, 0.4, 3), &logits, 200)[1], 1.0);
    }

    #[test]
    fn a_nucleus_beyond_the_first_guess_is_found() {
        // 256 tokens of equal probability, exact in binary: half of them are kept, and equal ones by their number.
        let found = counts(&mut sampler(1.0, 0.5, 4), &[0.0; 256], 5_000);
        let kept: Vec<usize> = (0..256).filter(|&i| found[i] > 0.0).collect();
        assert_eq!(kept, (0..128).collect::<Vec<_>>());
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let logits: Vec<f32> = (0..100).map(|i| (i % 7) as f32 * 0.3).collect();
        let draw = |seed| {
            let mut sampler = sampler(0.8, 0.95, seed);
            (0..50).map(|_| sampler.sample(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn parameters_outside_their_range_are_refused() {
        for (temperature, top_p) in
            [(-1.0, 1.0), (f32::NAN, 1.0), (f32::INFINITY, 1.0), (1.0, 0.0), (1.0, 1.1), (1.0, f32::NAN)]
        {
            assert!(Sampler::new(SamplingParams { temperature, top_p, seed: 0 }).is_err());
        }
    }
}
