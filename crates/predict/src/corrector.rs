//! From the kernels of a step to the step: what a host adds.
//!
//! ```text
//! step = max(scale · Σ kernels + c₀ + c₁ · sequences + c₂ · admitted requests, least time of its kind)
//! ```
//!
//! A step that only decodes is one captured graph. One with prompts is launched by the host, in captured pieces up to
//! the largest captured size and kernel by kernel beyond it; however little it computes, that takes its time, layer by
//! layer. So does
//! scheduling a step and taking its tokens, the more sequences it has the longer: with asynchronous scheduling the host
//! does it for one step while the device computes another, and the slower of the two sets the pace. On an H100 that
//! bounds models of 1 to 2 billion parameters.
//!
//! Launching, scheduling, sampling on the host and whatever no kernel row covers. Without a fit the coefficients are
//! those that a public simulator fitted to vLLM 0.15 (126 µs a step, 4.4 µs a sequence), which say little about another
//! host; with steps of a live engine they are fitted, none below zero, weighting relative errors alike.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_stats::{Unsupported, nnls::nnls};

/// How a step is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launch {
    /// As one captured graph.
    Graph,
    /// In captured pieces, with attention between them.
    Pieces,
    /// Kernel by kernel.
    Eager,
}

/// A step that somebody measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepSample {
    /// Predicted time of its kernels, in seconds.
    pub kernels_s: f64,
    /// Sequences in it.
    pub sequences: u32,
    /// Requests that it admitted.
    pub admitted: u32,
    /// How long it took, in seconds.
    pub measured_s: f64,
}

/// Coefficients, and the 90 % interval of what they give as factors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Corrector {
    /// Factor on the kernels.
    pub scale: f64,
    /// Seconds of every step.
    pub per_step_s: f64,
    /// Seconds of every sequence.
    pub per_sequence_s: f64,
    /// Seconds of every admitted request.
    pub per_admitted_s: f64,
    /// Least seconds of a step that is one graph, without what its sequences add.
    #[serde(default = "unseen::step_s")]
    pub least_graph_s: f64,
    /// Least seconds that each sequence adds to such a step.
    #[serde(default = "unseen::sequence_s")]
    pub least_graph_per_sequence_s: f64,
    /// Whether a fitted load showed the two.
    #[serde(default)]
    pub graph_seen: bool,
    /// Least seconds of a step that is launched in pieces, beside its layers.
    #[serde(default)]
    pub least_pieces_s: f64,
    /// Least seconds of a step that is launched kernel by kernel, beside its layers.
    #[serde(default)]
    pub least_eager_s: f64,
    /// Least seconds that each layer of the model adds to a step that is launched in pieces.
    #[serde(default)]
    pub least_pieces_per_layer_s: f64,
    /// Least seconds that each layer of the model adds to a step that is launched kernel by kernel.
    #[serde(default)]
    pub least_eager_per_layer_s: f64,
    /// Steps that it was fitted on; 0 for the published guess.
    pub steps: u32,
    /// Factors on a fitted step that enclosed 90 % of the steps; `null` without a fit.
    pub spread: Option<[f64; 2]>,
}

/// What a host takes for a step where no load showed it.
///
/// vLLM 0.26 on a virtual machine with 16 cores of a Xeon: single clients of a model of 1 billion parameters got a token
/// every 2.5 ms from steps whose kernels take 1.5 ms, 32 every 2.9 and 96 every 4.9 (`benchmarks/prediction`).
pub(crate) mod unseen {
    pub(crate) const STEP_S: f64 = 2.4e-3;
    pub(crate) const SEQUENCE_S: f64 = 20e-6;
    /// Factors on it that other hosts may have. Judgement: it was measured on one.
    pub(crate) const SPREAD: [f64; 2] = [0.7, 1.4];

    pub(super) fn step_s() -> f64 {
        STEP_S
    }

    pub(super) fn sequence_s() -> f64 {
        SEQUENCE_S
    }
}

/// Fewest steps that a fit is made on.
pub const FEWEST_STEPS: usize = 20;

impl Default for Corrector {
    fn default() -> Self {
        Self {
            scale: 1.0,
            per_step_s: 126e-6,
            per_sequence_s: 4.4e-6,
            per_admitted_s: 0.0,
            least_graph_s: unseen::STEP_S,
            least_graph_per_sequence_s: unseen::SEQUENCE_S,
            graph_seen: false,
            least_pieces_s: 0.0,
            least_eager_s: 0.0,
            least_pieces_per_layer_s: 0.0,
            least_eager_per_layer_s: 0.0,
            steps: 0,
            spread: None,
        }
    }
}

impl Corrector {
    /// The kernels and nothing else.
    #[must_use]
    pub fn none() -> Self {
        Self {
            per_step_s: 0.0,
            per_sequence_s: 0.0,
            least_graph_s: 0.0,
            least_graph_per_sequence_s: 0.0,
            ..Self::default()
        }
    }

    /// The same for a model of so many layers: what a layer adds is in the least times.
    #[must_use]
    pub fn of_layers(self, layers: u32) -> Self {
        Self {
            least_pieces_s: self.least_pieces_s + self.least_pieces_per_layer_s * f64::from(layers),
            least_eager_s: self.least_eager_s + self.least_eager_per_layer_s * f64::from(layers),
            least_pieces_per_layer_s: 0.0,
            least_eager_per_layer_s: 0.0,
            ..self
        }
    }

    /// Seconds that the host adds to a step.
    #[must_use]
    pub fn host_s(&self, sequences: u32, admitted: u32) -> f64 {
        self.per_step_s
            + self.per_sequence_s * f64::from(sequences)
            + self.per_admitted_s * f64::from(admitted)
    }

    /// Least seconds of a step that is launched so.
    #[must_use]
    pub fn least_s(&self, launch: Launch, sequences: u32) -> f64 {
        match launch {
            Launch::Graph => self.least_graph_s + self.least_graph_per_sequence_s * f64::from(sequences),
            Launch::Pieces => self.least_pieces_s,
            Launch::Eager => self.least_eager_s,
        }
    }

    /// Seconds that the host is busy launching a step, so that tokens of the step before wait to be sent.
    #[must_use]
    pub fn launching_s(&self, launch: Launch) -> f64 {
        match launch {
            Launch::Graph => 0.0,
            Launch::Pieces | Launch::Eager => self.least_s(launch, 0),
        }
    }

    /// Seconds of a step by what it computes, whoever launches it.
    #[must_use]
    pub fn computing_s(&self, kernels_s: f64, sequences: u32, admitted: u32) -> f64 {
        self.scale * kernels_s + self.host_s(sequences, admitted)
    }

    /// Seconds of a step whose kernels take so long.
    #[must_use]
    pub fn step_s(&self, kernels_s: f64, sequences: u32, admitted: u32, launch: Launch) -> f64 {
        self.computing_s(kernels_s, sequences, admitted).max(self.least_s(launch, sequences))
    }

    /// Fits the coefficients to measured steps.
    pub fn fit(samples: &[StepSample]) -> Result<Self, Unsupported> {
        if samples.len() < FEWEST_STEPS {
            return Err(Unsupported::TooFewValues { n: samples.len(), needed: FEWEST_STEPS });
        }
        if samples
            .iter()
            .any(|s| !(s.measured_s > 0.0 && s.measured_s.is_finite() && s.kernels_s.is_finite()))
        {
            return Err(Unsupported::NotFinite);
        }
        // Divided by the measured time, so that short steps count as much as long ones.
        let column =
            |f: &dyn Fn(&StepSample) -> f64| samples.iter().map(|s| f(s) / s.measured_s).collect::<Vec<_>>();
        let columns = [
            column(&|s| s.kernels_s),
            column(&|_| 1.0),
            column(&|s| f64::from(s.sequences)),
            column(&|s| f64::from(s.admitted)),
        ];
        let x = nnls(&columns, &vec![1.0; samples.len()])?;
        let fitted = Self {
            scale: x[0],
            per_step_s: x[1],
            per_sequence_s: x[2],
            per_admitted_s: x[3],
            steps: samples.len() as u32,
            ..Self::none()
        };
        let mut ratios: Vec<f64> = samples
            .iter()
            .map(|s| s.measured_s / fitted.step_s(s.kernels_s, s.sequences, s.admitted, Launch::Graph))
            .filter(|r| r.is_finite())
            .collect();
        ratios.sort_by(f64::total_cmp);
        let place = |share: f64| share * (ratios.len() + 1) as f64;
        let lo = (place(0.05).floor() as usize).clamp(1, ratios.len()) - 1;
        let hi = (place(0.95).ceil() as usize).clamp(1, ratios.len()) - 1;
        Ok(Self { spread: Some([ratios[lo], ratios[hi]]), ..fitted })
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_serving::random::{Draws, Purpose};

    use super::*;

    /// Steps of a made-up engine: 1.07·kernels + 300 µs + 6 µs a sequence + 90 µs a request, each off by `noise`.
    fn steps(noise: f64) -> Vec<StepSample> {
        let mut draws = Draws::new(Purpose::Order, [7, 0, 0, 0]);
        (0..200)
            .map(|_| {
                let (sequences, admitted) = (1 + draws.below(128), draws.below(4));
                let kernels_s = 4e-3 + 5e-3 * draws.unit() + 2e-5 * f64::from(sequences);
                let truth =
                    1.07 * kernels_s + 300e-6 + 6e-6 * f64::from(sequences) + 90e-6 * f64::from(admitted);
                let measured_s = truth * (1.0 + noise * draws.normal());
                StepSample { kernels_s, sequences, admitted, measured_s }
            })
            .collect()
    }

    #[test]
    fn the_truth_is_found_without_noise() {
        let c = Corrector::fit(&steps(0.0)).unwrap();
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-6;
        assert!(close(c.scale, 1.07) && close(c.per_step_s, 300e-6), "{c:?}");
        assert!(close(c.per_sequence_s, 6e-6) && close(c.per_admitted_s, 90e-6), "{c:?}");
    }

    #[test]
    fn noise_becomes_the_interval() {
        let c = Corrector::fit(&steps(0.02)).unwrap();
        // 90 % of a normal lie within 1.645 deviations.
        let [lo, hi] = c.spread.unwrap();
        assert!((lo - 0.967).abs() < 0.012 && (hi - 1.033).abs() < 0.012, "{lo} {hi}");
        let unseen = StepSample { kernels_s: 6e-3, sequences: 64, admitted: 0, measured_s: 0.0 };
        let truth = 1.07 * 6e-3 + 300e-6 + 6e-6 * 64.0;
        assert!((c.step_s(unseen.kernels_s, 64, 0, Launch::Graph) / truth - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_launch_takes_its_time_however_little_is_computed() {
        let c = Corrector { least_pieces_s: 12e-3, least_eager_s: 24e-3, ..Corrector::none() };
        let of = |kernels, launch| c.step_s(kernels, 1, 1, launch);
        assert_eq!(
            (of(5e-3, Launch::Graph), of(5e-3, Launch::Pieces), of(5e-3, Launch::Eager)),
            (5e-3, 12e-3, 24e-3)
        );
        assert_eq!(of(90e-3, Launch::Eager), 90e-3);
    }

    #[test]
    fn the_host_sets_the_pace_of_small_steps() {
        let c = Corrector { least_graph_s: 2e-3, least_graph_per_sequence_s: 1e-5, ..Corrector::none() };
        let of = |kernels, sequences| c.step_s(kernels, sequences, 0, Launch::Graph);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(of(1e-3, 1), 2.01e-3) && close(of(1e-3, 100), 3e-3) && close(of(5e-3, 100), 5e-3));
        assert_eq!(c.launching_s(Launch::Graph), 0.0, "while the device computes, tokens are sent");
    }

    #[test]
    fn nothing_becomes_negative() {
        // Kernels that were predicted too long leave nothing for the host.
        let fast: Vec<_> =
            steps(0.0).iter().map(|s| StepSample { measured_s: 0.8 * s.kernels_s, ..*s }).collect();
        let c = Corrector::fit(&fast).unwrap();
        assert!((c.scale - 0.8).abs() < 1e-9 && c.per_step_s < 1e-12 && c.per_sequence_s < 1e-12, "{c:?}");
    }

    #[test]
    fn a_handful_of_steps_is_not_fitted() {
        assert!(matches!(
            Corrector::fit(&steps(0.0)[..5]),
            Err(Unsupported::TooFewValues { n: 5, needed: 20 })
        ));
    }
}
