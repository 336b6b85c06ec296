//! PyTorch as a device: the same operators, checked and timed the same way, through the user's own Python.
//!
//! ```text
//! TorchDevice ──question, one JSON line──► python3 -c device.py ──► torch ──► GPU
//!             ◄──answer, one JSON line────
//! ```
//!
//! The script only sets operators up, checks them and times batches of calls with CUDA events; how many samples are
//! taken and when to stop is decided here as for every device, so that native and framework kernels can be compared.
//! Nothing of Python is needed unless this is asked for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};
use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes, Launch, Op, OpKind, Provider};

use crate::case::{About, Case, CaseError, Device, Identity};

const SCRIPT: &str = include_str!("device.py");

/// Why there is no PyTorch to measure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// Python did not start.
    #[error("{python} did not start")]
    Python {
        /// The program.
        python: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Python started, PyTorch is not there or sees no GPU.
    #[error("{python}: {reason}")]
    Torch {
        /// The program.
        python: String,
        /// What it said.
        reason: String,
    },
}

impl Unavailable {
    /// What would help.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "name a Python that has PyTorch with CUDA, or activate its environment"
    }
}

/// What the script says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Hello {
    torch: String,
    cuda: String,
    cudnn: String,
    name: String,
    units: u32,
    capability: [u32; 2],
}

/// Any answer: what was asked for, or an error.
#[derive(Debug, Deserialize)]
struct Answer {
    deviation: Option<f64>,
    seconds: Option<f64>,
    error: Option<ErrorKind>,
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ErrorKind {
    Unsupported,
    OutOfMemory,
    Failed,
    Lost,
}

/// PyTorch in a process of its own, which ends with this.
pub struct TorchDevice {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    hello: Hello,
}

impl TorchDevice {
    /// Starts `python` with PyTorch on GPU `index`, in CUDA's order. Importing PyTorch takes seconds.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when Python, PyTorch or the GPU is not there.
    pub fn open(python: &Path, index: u32) -> Result<Self, Unavailable> {
        let mut command = Command::new(python);
        command.args(["-u", "-c", SCRIPT, &index.to_string()]);
        Self::start(&mut command, &python.display().to_string())
    }

    fn start(command: &mut Command, python: &str) -> Result<Self, Unavailable> {
        let failed = |source| Unavailable::Python { python: python.to_owned(), source };
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let (Some(questions), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(failed(std::io::Error::other("its pipes are gone")));
        };
        let mut answers = BufReader::new(answers);
        let mut line = String::new();
        let read = answers.read_line(&mut line);
        let hello = match (&read, serde_json::from_str::<Hello>(&line)) {
            (Ok(_), Ok(hello)) => hello,
            (read, _) => {
                // A process that answers wrongly must not linger.
                let _ = process.kill();
                let ended = process.wait();
                let reason = serde_json::from_str::<Answer>(&line).ok().and_then(|a| a.reason);
                return Err(Unavailable::Torch {
                    python: python.to_owned(),
                    reason: reason.unwrap_or_else(|| match (read, ended) {
                        (Err(e), _) => e.to_string(),
                        (_, Ok(status)) if line.is_empty() => format!("it said nothing ({status})"),
                        _ => "its first line is not what was expected".to_owned(),
                    }),
                });
            }
        };
        Ok(Self { process, questions: Some(questions), answers, hello })
    }

    /// Version of PyTorch.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.hello.torch
    }

    fn ask(&mut self, question: &Value) -> Result<Answer, CaseError> {
        let lost = |what: String| CaseError::Lost { reason: format!("PyTorch's process: {what}") };
        let Some(questions) = &mut self.questions else { return Err(lost("it has ended".to_owned())) };
        let line = format!("{question}\n");
        questions
            .write_all(line.as_bytes())
            .and_then(|()| questions.flush())
            .map_err(|e| lost(e.to_string()))?;
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => return Err(lost("it ended without an answer".to_owned())),
            Ok(_) => {}
            Err(e) => return Err(lost(e.to_string())),
        }
        let answer: Answer =
            serde_json::from_str(&line).map_err(|e| lost(format!("an answer that is none: {e}")))?;
        let reason = answer.reason.clone().unwrap_or_default();
        match answer.error {
            None => Ok(answer),
            Some(ErrorKind::Unsupported) => Err(CaseError::Unsupported { reason }),
            Some(ErrorKind::OutOfMemory) => Err(CaseError::OutOfMemory { bytes: 0 }),
            Some(ErrorKind::Failed) => Err(CaseError::Failed { reason }),
            Some(ErrorKind::Lost) => Err(CaseError::Lost { reason }),
        }
    }
}

impl Drop for TorchDevice {
    fn drop(&mut self) {
        // The script ends with its input.
        self.questions = None;
        let _ = self.process.wait();
    }
}

impl Device for TorchDevice {
    fn about(&self) -> About {
        let [major, minor] = self.hello.capability;
        About {
            kind: "cuda",
            name: self.hello.name.clone(),
            units: self.hello.units,
            instructions: format!("sm_{major}{minor}"),
            libraries: vec![
                ("torch".to_owned(), self.hello.torch.clone()),
                ("torch_cuda".to_owned(), self.hello.cuda.clone()),
                ("torch_cudnn".to_owned(), self.hello.cudnn.clone()),
            ],
        }
    }

    fn provider(&self) -> Provider {
        Provider::Torch
    }

    /// 8-bit floating-point products come out in bf16, 8-bit integer products as their 32-bit sums.
    fn formats(&self, kind: OpKind, dtype: Dtype) -> Dtypes {
        match (kind, dtype) {
            (OpKind::Linear, Dtype::F8E4m3) => Dtypes { output: Dtype::Bf16, ..Dtypes::all(dtype) },
            (OpKind::Linear, Dtype::I8) => Dtypes { output: Dtype::F32, ..Dtypes::all(dtype) },
            _ => Dtypes::all(dtype),
        }
    }

    fn prepare(
        &mut self,
        op: &Op,
        launch: Launch,
        cache: CacheState,
    ) -> Result<Box<dyn Case + '_>, CaseError> {
        let bytes = op.work().map_or(0.0, |w| w.bytes()) as u64;
        self.ask(&json!({ "prepare": { "op": op, "launch": launch, "cache": cache } })).map_err(
            |e| match e {
                CaseError::OutOfMemory { .. } => CaseError::OutOfMemory { bytes },
                other => other,
            },
        )?;
        Ok(Box::new(TorchCase { device: self, kind: op.kind }))
    }
}

/// An operator that PyTorch holds ready.
struct TorchCase<'a> {
    device: &'a mut TorchDevice,
    kind: OpKind,
}

impl Case for TorchCase<'_> {
    /// The function that is called; PyTorch tells of no kernel without its profiler, which slows launching down.
    fn identity(&self) -> Identity {
        let name = match self.kind {
            OpKind::Linear => "torch.mm",
            OpKind::AttentionPrefill => "scaled_dot_product_attention, causal",
            OpKind::AttentionDecode => "scaled_dot_product_attention, contiguous cache",
            OpKind::Conv2d => "conv2d, channels last",
            _ => return Identity::default(),
        };
        Identity { kernel: Some(name.to_owned()), grid: None, block: None }
    }

    fn check(&mut self, seed: u64) -> Result<f64, CaseError> {
        let deviation = self.device.ask(&json!({ "check": seed }))?.deviation;
        deviation
            .ok_or_else(|| CaseError::Failed { reason: "PyTorch's process told no deviation".to_owned() })
    }

    fn sample(&mut self, calls: u32) -> Result<f64, CaseError> {
        let seconds = self.device.ask(&json!({ "sample": calls.max(1) }))?.seconds;
        seconds.ok_or_else(|| CaseError::Failed { reason: "PyTorch's process told no time".to_owned() })
    }
}

impl Drop for TorchCase<'_> {
    fn drop(&mut self) {
        // What cannot be dropped any more is gone with its process.
        let _ = self.device.ask(&json!({ "drop": true }));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use stopwatt_core::kernel_table::Shape;

    use super::*;

    const HELLO: &str =
        r#"{"torch":"2.11","cuda":"13.0","cudnn":"91900","name":"GPU","units":132,"capability":[9,0]}"#;

    /// A shell that says hello and then answers each question with the next of `answers`.
    fn stand_in(answers: &[&str]) -> Result<TorchDevice, Unavailable> {
        let mut script = format!("echo '{HELLO}'\n");
        for answer in answers {
            script += &format!("read question || exit 0\necho '{answer}'\n");
        }
        TorchDevice::start(Command::new("sh").args(["-c", &script]), "sh")
    }

    fn product() -> Op {
        Op {
            kind: OpKind::Linear,
            shape: Shape::Matrix { m: 1, n: 2, k: 3 },
            dtypes: Dtypes::all(Dtype::Bf16),
        }
    }

    #[test]
    fn answers_become_deviations_and_times() {
        let mut device =
            stand_in(&[r#"{"ok":true}"#, r#"{"deviation":0.5}"#, r#"{"seconds":2e-5}"#, r#"{"ok":true}"#])
                .unwrap();
        assert_eq!(device.about().instructions, "sm_90");
        let mut case = device.prepare(&product(), Launch::Eager, CacheState::Cold).unwrap();
        assert_eq!(case.check(1), Ok(0.5));
        assert_eq!(case.sample(3), Ok(2e-5));
    }

    #[test]
    fn errors_keep_their_kind() {
        let answers = [
            r#"{"error":"unsupported","reason":"no"}"#,
            r#"{"error":"out_of_memory","reason":"full"}"#,
            r#"{"error":"failed","reason":"RuntimeError: x"}"#,
        ];
        let mut device = stand_in(&answers).unwrap();
        let mut ask = || device.prepare(&product(), Launch::Graph, CacheState::Warm).err();
        assert_eq!(ask(), Some(CaseError::Unsupported { reason: "no".to_owned() }));
        // (1·3 + 2·3 + 1·2) elements of two bytes
        assert_eq!(ask(), Some(CaseError::OutOfMemory { bytes: 22 }));
        assert_eq!(ask(), Some(CaseError::Failed { reason: "RuntimeError: x".to_owned() }));
        assert!(matches!(ask(), Some(CaseError::Lost { .. })), "the process has ended");
    }

    #[test]
    fn a_python_without_torch_says_why() {
        let script = r#"echo '{"error":"failed","reason":"ModuleNotFoundError: No module named torch"}'"#;
        let reason = TorchDevice::start(Command::new("sh").args(["-c", script]), "sh").err().unwrap();
        assert!(reason.to_string().contains("ModuleNotFoundError"), "{reason}");
    }

    #[test]
    fn a_program_that_is_not_there_is_told() {
        let reason = TorchDevice::open(Path::new("/nowhere/python3"), 0).err().unwrap();
        assert!(matches!(reason, Unavailable::Python { .. }), "{reason}");
    }
}
