//! The process in which CUPTI lives, and its parent.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stopwatt_core::cache_counters::NcuDocument;

use super::session::{Range, profile_range};
use crate::Unavailable;
use crate::ncu::process;

/// What a line of the child begins with; the work may print other lines.
const MARK: &str = "stopwatt-cupti ";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Document(NcuDocument),
    Reason { kind: String, text: String },
}

/// The child's whole life: profiles `work` and prints the answer as one line.
pub fn child_main(range: &Range, work: &mut dyn FnMut() -> Result<(), String>) -> ExitCode {
    let answer = match profile_range(range, work) {
        Ok(document) => Answer::Document(document),
        Err(reason) => Answer::Reason { kind: kind(&reason), text: reason.to_string() },
    };
    match serde_json::to_string(&answer) {
        Ok(json) => {
            use std::io::Write as _;
            let written = writeln!(std::io::stdout(), "{MARK}{json}");
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// Starts `program` with `args`, which must end in [`child_main`], and reads its answer.
pub fn run_child(program: &Path, args: &[OsString], limit: Duration) -> Result<NcuDocument, Unavailable> {
    let printed = process::output("the profiling child", program, args, limit)?;
    answer(&printed.out)
}

fn answer(text: &str) -> Result<NcuDocument, Unavailable> {
    let Some(json) = text.lines().rev().find_map(|l| l.strip_prefix(MARK)) else {
        let detail = "it ended without an answer".to_owned();
        return Err(Unavailable::Failed { program: "the profiling child".to_owned(), detail });
    };
    match serde_json::from_str(json) {
        Ok(Answer::Document(document)) => Ok(document),
        Ok(Answer::Reason { kind, .. }) if kind == "gpu_counter_permission" => {
            Err(Unavailable::GpuCounterPermission)
        }
        Ok(Answer::Reason { kind, .. }) if kind == "gpu_counters_busy" => Err(Unavailable::GpuCountersBusy),
        Ok(Answer::Reason { kind, .. }) if kind == "no_device" => Err(Unavailable::NoDevice { what: "GPU" }),
        Ok(Answer::Reason { text, .. }) => {
            Err(Unavailable::Failed { program: "the range profiler".to_owned(), detail: text })
        }
        Err(e) => Err(Unavailable::Unreadable {
            what: "the answer of the profiling child".to_owned(),
            detail: e.to_string(),
        }),
    }
}

/// The reason's word, as serde writes it.
fn kind(reason: &Unavailable) -> String {
    let json = serde_json::to_value(reason).unwrap_or_default();
    json["kind"].as_str().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_can_be_acted_on_survive_the_pipe() {
        let send = |reason: Unavailable| {
            let json = Answer::Reason { kind: kind(&reason), text: reason.to_string() };
            format!("noise\n{MARK}{}\nmore noise\n", serde_json::to_string(&json).unwrap())
        };
        let denied = answer(&send(Unavailable::GpuCounterPermission));
        assert_eq!(denied.unwrap_err(), Unavailable::GpuCounterPermission);
        let step = answer(&send(Unavailable::Step { step: "cuInit", code: "3".into() })).unwrap_err();
        assert!(step.to_string().contains("cuInit"), "{step}");
    }

    #[test]
    fn a_child_that_dies_or_babbles_is_a_reason() {
        assert!(matches!(answer("hello"), Err(Unavailable::Failed { .. })));
        assert!(matches!(answer("stopwatt-cupti {"), Err(Unavailable::Unreadable { .. })));
        let died = run_child(Path::new("false"), &[], Duration::from_secs(10));
        assert!(matches!(died, Err(Unavailable::Failed { .. })), "{died:?}");
    }
}
