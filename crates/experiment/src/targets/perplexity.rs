//! `perplexity`: a real model as it is, against its weights rounded to 8-bit integers.
//!
//! Windows overlap, so that every token but the first ones has something before it; each token is counted once, in the
//! first window that has it. Nothing is said of speed: rounded weights are computed with in the format they had.

use stopwatt_kernel::cpu::Matrix;
use stopwatt_model::{LoadOptions, Model, Source, load};
use stopwatt_serving::random::Draws;

use crate::logits::{log_softmax, logits};

use super::{Bound, Done, NotSetUp, Setting, Variant, Way, Worker, Workload};

/// Numbers that share a scale.
const GROUP: usize = 64;
/// English prose to read.
const TEXT: &str = include_str!("../../assets/targets/text.txt");

/// A text in windows.
#[derive(Debug, Clone)]
pub struct Perplexity {
    /// Tokens of a window.
    window: usize,
    /// Tokens from one window's begin to the next.
    stride: usize,
    windows: usize,
    tokens: Vec<u32>,
    name: String,
}

impl Perplexity {
    /// A side of the pair, on the weights of the setting.
    ///
    /// # Errors
    /// There are no weights, or they cannot be read.
    pub fn set_up(setting: &Setting) -> Result<Box<dyn Worker>, NotSetUp> {
        let path = setting.weights.as_ref().ok_or_else(|| {
            NotSetUp::Lacks(
                "it needs a real model: give --weights FILE.gguf, or a folder with safetensors".to_owned(),
            )
        })?;
        let options = LoadOptions { precision: None, threads: setting.threads };
        let loaded = load(&Source::from_path(path), &options).map_err(|e| e.to_string())?;
        let tokens = loaded.tokenizer.encode(TEXT).map_err(|e| e.to_string())?;
        let windows = if setting.small { 1 } else { 2 };
        let of = Self { window: 24, stride: 12, windows, tokens, name: loaded.name };
        if of.tokens.len() < 2 * of.span() {
            return Err(NotSetUp::Failed(format!("the text has {} tokens only", of.tokens.len())));
        }
        let model = match setting.way {
            Way::Baseline => loaded.model,
            Way::Optimised => rounded(loaded.model)?,
        };
        let variant = Box::new(Reader { of: of.clone(), model });
        Ok(Box::new(Bound::new(of, variant)))
    }

    /// Tokens of all windows of an iteration.
    fn span(&self) -> usize {
        self.window + (self.windows - 1) * self.stride
    }
}

impl Workload for Perplexity {
    type Input = Vec<u32>;

    fn shape(&self) -> String {
        let Self { window, stride, windows, name, .. } = self;
        format!("model={name} window={window} stride={stride} windows={windows} group={GROUP}")
    }

    fn output_len(&self) -> usize {
        self.span() - 1
    }

    fn draw(&self, draws: &mut Draws, into: &mut Vec<u32>) {
        let at = draws.below((self.tokens.len() - self.span()) as u32) as usize;
        into.clear();
        into.extend_from_slice(&self.tokens[at..][..self.span()]);
    }

    // Both sides need the model's file, which this description has not: see `set_up`.
    fn baseline(&self, _threads: usize) -> Result<Box<dyn Variant<Vec<u32>>>, String> {
        Err("it is set up from weights".to_owned())
    }

    fn optimised(&self, threads: usize) -> Result<Box<dyn Variant<Vec<u32>>>, String> {
        self.baseline(threads)
    }
}

/// The model with every matrix of its layers rounded.
fn rounded(model: Model) -> Result<Model, String> {
    let (config, mut weights, cpu) = model.into_parts();
    for layer in &mut weights.layers {
        for matrix in [&mut layer.qkv, &mut layer.attention_out, &mut layer.gate_up, &mut layer.down] {
            *matrix = int8(matrix)?;
        }
    }
    Model::new(config, weights, cpu).map_err(|e| e.to_string())
}

/// Each group of a row to the nearest of 255 steps of its largest number.
fn int8(matrix: &Matrix) -> Result<Matrix, String> {
    let mut values: Vec<f32> = (0..matrix.rows()).flat_map(|row| matrix.row(row)).collect();
    for row in values.chunks_exact_mut(matrix.cols()) {
        row.chunks_mut(GROUP).for_each(round);
    }
    Matrix::from_f32(matrix.rows(), matrix.cols(), matrix.precision(), &values).map_err(|e| e.to_string())
}

fn round(group: &mut [f32]) {
    let step = group.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0;
    if step > 0.0 {
        group.iter_mut().for_each(|v| *v = (*v / step).round() * step);
    }
}

struct Reader {
    of: Perplexity,
    model: Model,
}

impl Variant<Vec<u32>> for Reader {
    /// The output is the loss of every token after the first, in nats.
    fn work(&mut self, input: &Vec<u32>, output: &mut [f32]) -> Result<Done, String> {
        let Perplexity { window, stride, windows, .. } = self.of;
        let vocab = self.model.config().vocab;
        for w in 0..windows {
            let begin = w * stride;
            let tokens = &input[begin..][..window];
            let logits = logits(&self.model, tokens, None)?;
            // Those that an earlier window had are not counted again.
            let new = if w == 0 { 1 } else { window - stride };
            for at in new..window {
                let row = &logits[(at - 1) * vocab..][..vocab];
                output[begin + at - 1] = loss(row, tokens[at]) as f32;
            }
        }
        let mean = output.iter().map(|v| f64::from(*v)).sum::<f64>() / output.len() as f64;
        Ok(Done {
            tokens: Some(output.len() as u32),
            metrics: vec![("perplexity", mean.exp()), ("loss_nats", mean)],
        })
    }

    fn held_bytes(&self) -> usize {
        let of = |l: &stopwatt_model::weights::Layer| {
            l.qkv.bytes() + l.attention_out.bytes() + l.gate_up.bytes() + l.down.bytes()
        };
        self.model.weights().layers.iter().map(of).sum()
    }
}

/// −log of the probability of `next`, in nats.
fn loss(row: &[f32], next: u32) -> f64 {
    -log_softmax(row)[next as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_losses_and_rounding() {
        // Four equal logits: ln 4. A logit of ln 3 beside one of 0: probability ¾.
        assert!((loss(&[1.0; 4], 2) - 4f64.ln()).abs() < 1e-12);
        assert!((loss(&[3f32.ln(), 0.0], 0) - (4.0f64 / 3.0).ln()).abs() < 1e-6);
        let mut group = [1.27, 0.014, -0.006, 0.0];
        round(&mut group);
        assert!(group.iter().zip([1.27, 0.01, -0.01, 0.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{group:?}");
    }
}
