//! Which devices there are, by the names that people give them.

use std::path::{Path, PathBuf};

use stopwatt_kernel::case::{Device, Levels};
use stopwatt_kernel::cpu::device::Host;
use stopwatt_kernel::torch::TorchDevice;

use super::ProfileError;
use crate::cuda;

/// A device as the command line and settings name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// This processor.
    Cpu,
    /// A GPU by its number.
    Cuda(u32),
    /// The same GPU through PyTorch, in the `python3` on the path.
    Torch(u32),
}

impl DeviceName {
    /// Reads `cpu`, `cuda`, `cuda:N`, `torch` or `torch:N`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            None if text == "torch" => Ok(Self::Torch(0)),
            Some((kind @ ("cuda" | "torch"), index)) => {
                let of = if kind == "cuda" { Self::Cuda } else { Self::Torch };
                index.parse().map(of).map_err(|_| format!("`{index}` is not the number of a GPU"))
            }
            _ => Err("write cpu, cuda, cuda:N, torch or torch:N".to_owned()),
        }
    }

    /// Name in files.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Cpu => "cpu".to_owned(),
            Self::Cuda(index) => format!("cuda:{index}"),
            Self::Torch(index) => format!("torch:{index}"),
        }
    }

    /// Whether it replays graphs.
    #[must_use]
    pub fn has_graphs(self) -> bool {
        self != Self::Cpu
    }

    /// The device; a CPU once for each number of threads, with none given once with one thread and once with all.
    /// `libraries` are the folders with NVIDIA's.
    ///
    /// # Errors
    /// It is not there, or its libraries are missing.
    pub fn open(self, threads: &[u32], libraries: &[PathBuf]) -> Result<Vec<Box<dyn Device>>, ProfileError> {
        match self {
            Self::Cpu => {
                Ok(cores(threads).into_iter().map(|n| Box::new(host(n)) as Box<dyn Device>).collect())
            }
            Self::Cuda(index) => {
                let device = cuda::open(index, libraries).map_err(|e| self.missing(e.to_string()))?;
                Ok(vec![Box::new(device)])
            }
            Self::Torch(index) => {
                let device = TorchDevice::open(Path::new("python3"), index);
                Ok(vec![Box::new(device.map_err(|e| self.missing(format!("{e}; {}", e.hint())))?)])
            }
        }
    }

    /// The device as one whose levels can be measured, a CPU with so many threads, or all.
    ///
    /// # Errors
    /// It is not there, or its levels cannot be measured.
    pub fn open_levels(
        self,
        threads: Option<u32>,
        libraries: &[PathBuf],
    ) -> Result<Box<dyn Levels>, ProfileError> {
        match self {
            Self::Cpu => {
                let threads: Vec<u32> = threads.into_iter().collect();
                Ok(Box::new(host(cores(&threads).into_iter().max().unwrap_or(1))))
            }
            Self::Cuda(index) => {
                let device = cuda::open(index, libraries).map_err(|e| self.missing(e.to_string()))?;
                Ok(Box::new(device))
            }
            Self::Torch(_) => Err(self.missing("PyTorch has operators and no memory levels".to_owned())),
        }
    }

    fn missing(self, reason: String) -> ProfileError {
        ProfileError::NoDevice { device: self.name(), reason }
    }
}

fn host(threads: u32) -> Host {
    Host::new(threads as usize)
}

/// Numbers of threads: those asked for, else one and all.
fn cores(threads: &[u32]) -> Vec<u32> {
    let mut counts = threads.to_vec();
    if counts.is_empty() {
        let all = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        counts = vec![1, all];
    }
    counts.dedup();
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        for (text, device) in
            [("cpu", DeviceName::Cpu), ("cuda", DeviceName::Cuda(0)), ("torch:3", DeviceName::Torch(3))]
        {
            assert_eq!(DeviceName::parse(text), Ok(device));
        }
        for bad in ["gpu", "cuda:", "cuda:x", "cpu:0", ""] {
            assert!(DeviceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cpu_is_opened_once_for_each_number_of_threads() {
        let units = |threads: &[u32]| -> Vec<u32> {
            DeviceName::Cpu.open(threads, &[]).unwrap().iter().map(|d| d.about().units).collect()
        };
        assert_eq!(units(&[1, 3]), [1, 3]);
        assert_eq!(units(&[])[0], 1);
    }
}
