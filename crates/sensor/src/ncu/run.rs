//! Runs `ncu` on a program.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use stopwatt_core::cache_counters::{CounterSource, NcuDocument};

use super::command::{self, Options};
use super::counters::{Quantity, quantities, selected};
use super::find::Ncu;
use super::raw::{Launch, parse_raw};
use super::{document, messages, process};
use crate::Unavailable;

/// Profiles `program` (with its arguments) `options.runs` times. Reports of ncu are written to `scratch` and removed.
pub fn measure(
    ncu: &Ncu,
    options: &Options,
    program: &[OsString],
    scratch: &Path,
) -> Result<NcuDocument, Unavailable> {
    let name =
        program.first().and_then(|p| Path::new(p).file_name()).map(|n| n.to_string_lossy().into_owned());
    let name =
        name.ok_or(Unavailable::Program { program: "program to profile", places: "the arguments".into() })?;
    let mut runs = Vec::new();
    for _ in 0..options.runs.max(1) {
        let file = scratch.join("stopwatt.ncu-rep");
        let mut words = arguments(options, &file)?;
        words.extend(program.iter().cloned());
        let result = process::output("ncu", &ncu.path, &words, options.timeout)
            .and_then(|printed| match printed.success && file.exists() {
                true => Ok(()),
                false => Err(messages::reason(&printed.both())),
            })
            .and_then(|()| launches(ncu, options, &file));
        // It may not have been written.
        let _ = fs::remove_file(&file);
        runs.push(result?);
    }
    joined(ncu, options, name, &runs)
}

/// The words to put in front of a program so that ncu profiles it into `report` and writes what it has to say itself to
/// `log`, for callers that drive the program themselves.
pub fn prefix(ncu: &Ncu, options: &Options, report: &Path, log: &Path) -> Result<Vec<OsString>, Unavailable> {
    let own = [ncu.path.clone().into(), "--log-file".into(), log.into()];
    Ok(own.into_iter().chain(arguments(options, report)?).collect())
}

/// Reads what [`prefix`] left: one report and one log of ncu for each run of `program`, a name without its path. The
/// document of all runs together comes with that of each.
pub fn read(
    ncu: &Ncu,
    options: &Options,
    program: &str,
    runs: &[(PathBuf, PathBuf)],
) -> Result<(NcuDocument, Vec<NcuDocument>), Unavailable> {
    let of = |(report, log): &(PathBuf, PathBuf)| match report.exists() {
        true => launches(ncu, options, report),
        false => Err(messages::reason(&fs::read_to_string(log).unwrap_or_default())),
    };
    let runs = runs.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    let of = |runs: &[Vec<Launch>]| joined(ncu, options, program.to_owned(), runs);
    Ok((of(&runs)?, runs.iter().map(|run| of(std::slice::from_ref(run))).collect::<Result<_, _>>()?))
}

fn wanted(options: &Options) -> Result<Vec<Quantity>, Unavailable> {
    let all = quantities(options.compute_capability.as_deref());
    selected(all, &options.quantities).map_err(|name| Unavailable::Unreadable {
        what: "the list of quantities".to_owned(),
        detail: format!("`{name}` is not known"),
    })
}

fn arguments(options: &Options, report: &Path) -> Result<Vec<OsString>, Unavailable> {
    Ok(command::profile(options, &wanted(options)?, report))
}

fn launches(ncu: &Ncu, options: &Options, report: &Path) -> Result<Vec<Launch>, Unavailable> {
    let table = process::output("ncu", &ncu.path, &command::import(report), options.timeout)?;
    if !table.success {
        return Err(messages::reason(&table.both()));
    }
    parse_raw(&table.both())
}

fn joined(
    ncu: &Ncu,
    options: &Options,
    program: String,
    runs: &[Vec<Launch>],
) -> Result<NcuDocument, Unavailable> {
    let seen = runs.iter().flatten().find_map(|l| l.compute_capability.clone());
    let frame = NcuDocument {
        version: 0,
        source: CounterSource::Ncu,
        tool: format!("ncu {}", ncu.version),
        program,
        compute_capability: seen.or_else(|| options.compute_capability.clone()),
        cache_control: options.cache_control,
        replay_mode: options.replay_mode,
        clocks_locked: false,
        runs: 0,
        kernels: Vec::new(),
        totals: BTreeMap::new(),
        missing: BTreeMap::new(),
    };
    Ok(document(frame, runs, &wanted(options)?))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    /// A shell script that stands in for ncu: `$profile` runs when profiling, `$import` when printing.
    fn fake(folder: &Path, profile: &str, import: &str) -> Ncu {
        use std::io::Write as _;
        let path = folder.join("ncu");
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = --import ]; then\n{import}\nexit 0\nfi\nwhile [ \"$1\" != -o ]; do shift; done\nreport=\"$2\"\n{profile}\n"
        );
        // Written by another process: a file that this one holds open for writing while a test beside it forks could
        // not be run ("text file busy").
        let mut writer = Command::new("sh");
        writer.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(&path).stdin(Stdio::piped());
        let mut writer = writer.spawn().unwrap();
        writer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        Ncu { path, version: "2025.3.1.0".to_owned() }
    }

    fn run(profile: &str, import: &str, limit: Duration) -> Result<NcuDocument, Unavailable> {
        let folder = tempfile::tempdir().unwrap();
        let ncu = fake(folder.path(), profile, import);
        let options = Options { quantities: vec!["l2_hit_pct".into()], timeout: limit, ..Options::default() };
        let result =
            measure(&ncu, &options, &["/home/someone/runner".into(), "--secret".into()], folder.path());
        assert!(!folder.path().join("stopwatt.ncu-rep").exists(), "the report is removed");
        result
    }

    const TABLE: &str = "cat <<'X'\n\"ID\",\"Kernel Name\",\"CC\",\"lts__t_sectors_lookup_hit.sum\",\"lts__t_sectors_lookup_miss.sum\"\n\"\",\"\",\"\",\"sector\",\"sector\"\n\"0\",\"k\",\"9.0\",\"3,000\",\"1,000\"\nX";
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn three_runs_become_a_document_without_paths() {
        let doc = run("touch \"$report\"", TABLE, LONG).unwrap();
        let l2 = doc.l2_hit_pct().unwrap();
        assert_eq!((l2.mean, l2.sd, l2.runs), (75.0, Some(0.0), 3));
        assert_eq!((doc.program.as_str(), doc.compute_capability.as_deref()), ("runner", Some("9.0")));
        let json = serde_json::to_string(&doc).unwrap();
        assert!(!json.contains("someone") && !json.contains("secret"), "{json}");
    }

    #[test]
    fn a_program_that_somebody_else_drives_is_read_the_same_way() {
        let folder = tempfile::tempdir().unwrap();
        let ncu = fake(folder.path(), "touch \"$report\"", TABLE);
        let options = Options::default();
        let (report, log) = (folder.path().join("r.ncu-rep"), folder.path().join("r.log"));
        let words = prefix(&ncu, &options, &report, &log).unwrap();
        assert_eq!(words[1], "--log-file");
        std::fs::write(&log, "==ERROR== ERR_NVGPUCTRPERM").unwrap();
        let runs = [(report.clone(), log)];
        assert_eq!(read(&ncu, &options, "runner", &runs).unwrap_err(), Unavailable::GpuCounterPermission);
        assert!(Command::new(&words[0]).args(&words[1..]).status().unwrap().success());
        let (all, each) = read(&ncu, &options, "runner", &runs).unwrap();
        assert_eq!((all.l2_hit_pct().unwrap().mean, each.len()), (75.0, 1));
    }

    #[test]
    fn refusals_and_failures_are_reasons() {
        let denied = run("echo '==ERROR== ERR_NVGPUCTRPERM - no permission'; exit 1", TABLE, LONG);
        assert_eq!(denied.unwrap_err(), Unavailable::GpuCounterPermission);
        let none = run("echo '==WARNING== No kernels were profiled.'", TABLE, LONG);
        assert_eq!(none.unwrap_err(), Unavailable::NoKernels);
        let odd = run("touch \"$report\"", "echo hello", LONG);
        assert!(matches!(odd, Err(Unavailable::Unreadable { .. })));
    }

    #[test]
    fn a_program_that_hangs_is_stopped_with_ncu() {
        let hung = run("sleep 1000", TABLE, Duration::from_millis(100));
        assert!(matches!(hung, Err(Unavailable::TimedOut { .. })), "{hung:?}");
    }

    #[test]
    fn an_unknown_quantity_is_told_before_anything_runs() {
        let folder = tempfile::tempdir().unwrap();
        let ncu = Ncu { path: "/nowhere".into(), version: String::new() };
        let options = Options { quantities: vec!["l2".into()], ..Options::default() };
        let reason = measure(&ncu, &options, &["x".into()], folder.path()).unwrap_err();
        assert!(reason.to_string().contains("`l2`"), "{reason}");
    }
}
