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
/// document of all runs together comes with that of each. `setup` is a run that was ended before the work began: the
/// launches with which every run must begin, and which are not counted.
pub fn read(
    ncu: &Ncu,
    options: &Options,
    program: &str,
    setup: Option<&(PathBuf, PathBuf)>,
    runs: &[(PathBuf, PathBuf)],
) -> Result<(NcuDocument, Vec<NcuDocument>), Unavailable> {
    let of = |(report, log): &(PathBuf, PathBuf)| match report.exists() {
        true => launches(ncu, options, report),
        false => Err(messages::reason(&fs::read_to_string(log).unwrap_or_default())),
    };
    let setup = match setup.map(of) {
        None | Some(Err(Unavailable::NoKernels)) => Vec::new(),
        Some(found) => found?,
    };
    let of = |run| of(run).and_then(|launches| without(&setup, launches));
    let runs = runs.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    let of = |runs: &[Vec<Launch>]| joined(ncu, options, program.to_owned(), runs);
    Ok((of(&runs)?, runs.iter().map(|run| of(std::slice::from_ref(run))).collect::<Result<_, _>>()?))
}

/// The launches after those of the set-up.
fn without(setup: &[Launch], mut run: Vec<Launch>) -> Result<Vec<Launch>, Unavailable> {
    let names = |launches: &[Launch]| launches.iter().map(|l| l.kernel.clone()).collect::<Vec<_>>();
    if run.len() < setup.len() || names(&run[..setup.len()]) != names(setup) {
        return Err(Unavailable::Unreadable {
            what: "the launches of the work apart from those of the set-up".to_owned(),
            detail: format!(
                "the set-up alone launched {} kernels, and a whole run did not begin with the same ones; say with \
                 `measure.ncu_launch_skip` how many to leave out",
                setup.len()
            ),
        });
    }
    match run.split_off(setup.len()) {
        work if work.is_empty() => Err(Unavailable::NoKernels),
        work => Ok(work),
    }
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
        assert_eq!(
            read(&ncu, &options, "runner", None, &runs).unwrap_err(),
            Unavailable::GpuCounterPermission
        );
        assert!(Command::new(&words[0]).args(&words[1..]).status().unwrap().success());
        let (all, each) = read(&ncu, &options, "runner", None, &runs).unwrap();
        assert_eq!((all.l2_hit_pct().unwrap().mean, each.len()), (75.0, 1));
    }

    #[test]
    fn launches_of_the_set_up_are_not_counted() {
        let kernels = |names: &[&str]| -> Vec<Launch> {
            names.iter().map(|n| Launch { kernel: (*n).to_owned(), ..Launch::default() }).collect()
        };
        let setup = kernels(&["fill", "fill"]);
        let work = without(&setup, kernels(&["fill", "fill", "gemm", "fill"])).unwrap();
        assert_eq!(work, kernels(&["gemm", "fill"]), "the same kernel later is work");
        assert_eq!(without(&[], kernels(&["gemm"])).unwrap(), kernels(&["gemm"]));
        assert_eq!(without(&setup, kernels(&["fill", "fill"])), Err(Unavailable::NoKernels));
        for other in [kernels(&["fill"]), kernels(&["fill", "gemm", "gemm"])] {
            let reason = without(&setup, other).unwrap_err().to_string();
            assert!(reason.contains("measure.ncu_launch_skip"), "{reason}");
        }
    }

    #[test]
    fn a_set_up_without_kernels_leaves_all_launches() {
        let folder = tempfile::tempdir().unwrap();
        let ncu = fake(folder.path(), "", TABLE);
        let at = |name: &str| folder.path().join(name);
        let (setup, run) = ((at("s.rep"), at("s.log")), (at("r.rep"), at("r.log")));
        std::fs::write(&setup.1, "==WARNING== No kernels were profiled.").unwrap();
        std::fs::write(&run.0, "").unwrap();
        let (all, _) = read(&ncu, &Options::default(), "runner", Some(&setup), &[run]).unwrap();
        assert_eq!(all.l2_hit_pct().unwrap().mean, 75.0);
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
