//! `stopwatt cuda-check`: everything about CUDA on this machine in one go. For reports of trouble, not for daily use.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use stopwatt_core::clock;
use stopwatt_experiment::cuda as with_sensors;
use stopwatt_kernel::cuda;

use crate::exit::Outcome;

/// Look at NVIDIA's libraries and a GPU: what is found, whether it compiles, runs and computes rightly, and how fast
#[derive(Debug, Args)]
pub(crate) struct CudaCheckArgs {
    /// Number of the GPU, in CUDA's order
    #[arg(long, default_value_t = 0)]
    device: u32,

    /// Folder with NVIDIA's libraries, looked into before all others; may be repeated
    #[arg(long = "libraries", value_name = "DIR")]
    libraries: Vec<PathBuf>,

    /// Python with PyTorch, to run the same operators there
    #[arg(long, value_name = "PROGRAM")]
    torch: Option<PathBuf>,

    /// Measure peaks and memory levels, too, coarsely
    #[arg(long)]
    levels: bool,
}

/// Runs the command.
pub(crate) fn run(args: &CudaCheckArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let folders = with_sensors::folders(&args.libraries);
    let began = clock::monotonic_raw();
    let (mut written, mut all_well) = (Ok(()), true);
    let mut tell = |finding: cuda::Finding| {
        let seconds = (clock::monotonic_raw() - began) as f64 * 1e-9;
        let (state, detail) = match &finding.detail {
            Ok(detail) => ("ok", detail),
            Err(reason) => ("FAILED", reason),
        };
        all_well &= finding.detail.is_ok();
        if written.is_ok() {
            // Line by line: what follows may end the process.
            written = writeln!(out, "{seconds:7.2} s  {state:<6}  {}: {detail}", finding.name)
                .and_then(|()| out.flush());
        }
    };
    cuda::check_libraries(&folders, &mut tell);
    match with_sensors::open(args.device, &folders) {
        Ok(mut device) => {
            cuda::check_device(&mut device, &mut tell);
            if args.levels {
                cuda::check_levels(&mut device, &mut tell);
            }
        }
        Err(error) => tell(cuda::Finding { name: "device".to_owned(), detail: Err(error.to_string()) }),
    }
    if let Some(python) = &args.torch {
        cuda::check_torch(python, args.device, &mut tell);
    }
    written?;
    Ok(if all_well { Outcome::Done } else { Outcome::MissingResource })
}
