//! The pairs that are programs in Python: embedded here, written where a measurement keeps its files.

use std::io;
use std::path::Path;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../assets/targets/", $name)))),*]
    };
}

/// Every file, by name: what pairs share, then a program each.
const FILES: &[(&str, &str)] = files![
    "workload.py",
    "decoder.py",
    "blocks.py",
    "flash_sdp.py",
    "paged_attention.py",
    "moe.py",
    "piece_graphs.py",
    "regional_compilation.py",
    "fp8.py",
    "fp8_kv.py",
    "inference_optimizations.py",
    "ranks.py",
    "tensor_parallel.py",
    "multi_gpu_validation.py",
    "serving_multigpu.py",
    "symmetric_memory.py",
];

/// Writes the programs into a folder, which is made when it is not there.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write_programs(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    FILES.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
}

#[cfg(test)]
mod tests {
    use super::super::{Form, PAIRS};
    use super::*;

    /// What programs share; no pairs themselves.
    const SHARED: [&str; 5] = ["workload.py", "decoder.py", "blocks.py", "ranks.py", "tensor_parallel.py"];

    #[test]
    fn every_program_of_the_catalogue_is_there_and_is_used() {
        let wanted = |form: &Form| match form {
            Form::Program { file, .. } => Some(*file),
            _ => None,
        };
        let wanted: Vec<&str> =
            PAIRS.iter().flat_map(|p| [wanted(&p.cpu), wanted(&p.cuda)]).flatten().collect();
        for file in &wanted {
            assert!(FILES.iter().any(|(name, _)| name == file), "{file} is not embedded");
        }
        for (name, text) in FILES {
            assert!(wanted.contains(name) || SHARED.contains(name), "{name} belongs to no pair");
            assert!(!text.is_empty());
        }
    }
}
