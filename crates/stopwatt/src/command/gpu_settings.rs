//! `--lock-clocks`, `--persistence`, `--power-limit`: settings of GPUs for as long as a measurement lasts.
//!
//! What was there is noted in a file beside the catalogue before it is changed, and put back at the end, after an error,
//! a panic or a first signal. A process that is killed leaves its note; `stopwatt doctor --restore-gpu` puts it back.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde::{Deserialize, Serialize};
use stopwatt_core::gpu::GpuSetting;
use stopwatt_core::log::Fact;
use stopwatt_record::run_dir::{Run, write_atomically};
use stopwatt_sensor::control::{self, Change, Control, LockedClock, Notes, Wanted, What};
use stopwatt_sensor::{host, nvml};

use super::Failure;
use crate::exit::Outcome;

/// What may be set for the time of a measurement.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct GpuFlags {
    /// Lock the SM clock of the watched GPUs while measuring: MHz, or max. Nothing is set unless it is asked for
    #[arg(long, value_name = "MHZ|max", value_parser = parse_clock, help_heading = "GPU settings")]
    lock_clocks: Option<LockedClock>,
    /// Switch persistence mode on while measuring
    #[arg(long, help_heading = "GPU settings")]
    persistence: bool,
    /// Power limit while measuring, in watts
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u32).range(1..=4_000_000), help_heading = "GPU settings")]
    power_limit: Option<u32>,
}

/// `1410` or `max`.
fn parse_clock(text: &str) -> Result<LockedClock, String> {
    match text {
        "max" => Ok(LockedClock::Max),
        _ => match text.parse::<u32>() {
            Ok(mhz) if mhz > 0 => Ok(LockedClock::Mhz(mhz)),
            _ => Err("write a clock in MHz, for instance 1410, or max".to_owned()),
        },
    }
}

impl GpuFlags {
    /// Sets what is asked for on the GPUs that are meant; refuses with exit code 3 before anything is measured.
    pub(super) fn hold(&self, gpus: Option<&str>) -> anyhow::Result<Held> {
        let file = NoteFile::beside_the_catalogue();
        let left = file.left();
        let wanted = Wanted {
            clock: self.lock_clocks,
            persistence: self.persistence,
            power_limit_w: self.power_limit,
        };
        if wanted.is_nothing() {
            if let Some(Left::Dead(_)) = left {
                eprintln!(
                    "warning: a measurement that was killed left GPU settings behind; \
                     `stopwatt doctor --restore-gpu` puts back what was there"
                );
            }
            return Ok(Held::nothing(file));
        }
        let refuse = |error: anyhow::Error, hint| Failure::new(Outcome::MissingResource, error).hint(hint);
        match left {
            None => {}
            Some(Left::Dead(_)) => {
                let error = anyhow!("a measurement that was killed left GPU settings behind");
                return Err(refuse(error, "run `stopwatt doctor --restore-gpu` first").into());
            }
            Some(Left::Alive(pid)) => {
                let error = anyhow!("process {pid} holds GPU settings for its measurement");
                return Err(refuse(error, "wait until it has ended").into());
            }
        }
        let found = stopwatt_experiment::gpus(gpus).and_then(|found| {
            let settable = nvml::settable(&found).map_err(|e| e.to_string())?;
            let indexes: Vec<u32> = found.iter().map(nvml::Gpu::index).collect();
            match settable.is_empty() {
                true => Err("there is no GPU that the target sees".to_owned()),
                false => Ok((indexes, settable)),
            }
        });
        let (indexes, settable) = found.map_err(|problem| {
            let error = anyhow!("{problem}").context("failed to find GPUs to set");
            refuse(
                error,
                "leave out --lock-clocks, --persistence and --power-limit on a machine without a GPU",
            )
        })?;
        Held::take(indexes, settable, &wanted, file)
    }
}

/// Settings in force; put back when dropped.
pub(super) struct Held {
    /// Position of each GPU on the machine.
    indexes: Vec<u32>,
    gpus: Vec<Box<dyn Control>>,
    changes: Vec<Change>,
    /// What could not be put back; `None` while nothing was.
    left: Option<Vec<Change>>,
    file: NoteFile,
}

impl Held {
    fn nothing(file: NoteFile) -> Self {
        Self { indexes: Vec::new(), gpus: Vec::new(), changes: Vec::new(), left: None, file }
    }

    fn take(
        indexes: Vec<u32>,
        mut gpus: Vec<Box<dyn Control>>,
        wanted: &Wanted,
        mut file: NoteFile,
    ) -> anyhow::Result<Self> {
        let changes = control::apply(&mut gpus, wanted, &mut file).map_err(|error| {
            let hint = error.source.hint().unwrap_or(
                "look at what the GPU permits with `nvidia-smi -q -d CLOCK,POWER`, or leave the flag out",
            );
            let unrestored = error.left.len();
            let mut told = anyhow::Error::new(error);
            if unrestored > 0 {
                told = told.context(format!(
                    "{unrestored} earlier settings could not be put back (`stopwatt doctor --restore-gpu`)"
                ));
            }
            Failure::new(Outcome::MissingResource, told).hint(hint)
        })?;
        Ok(Self { indexes, gpus, changes, left: None, file })
    }

    /// Puts back what was there.
    fn restore(&mut self) -> &[Change] {
        let Self { gpus, changes, left, file, .. } = self;
        left.get_or_insert_with(|| {
            let left = control::restore(gpus, changes, file);
            if !left.is_empty() {
                eprintln!(
                    "warning: {} GPU settings could not be put back; try `stopwatt doctor --restore-gpu`",
                    left.len()
                );
            }
            left
        })
    }

    /// Puts back what was there, and writes into a run what was set.
    pub(super) fn release_into(&mut self, run: &Path) -> anyhow::Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let left = self.restore().to_vec();
        let settings = self.changes.iter().map(|change| {
            let at = self.gpus.iter().position(|gpu| gpu.id() == change.gpu);
            let gpu = at.and_then(|at| self.indexes.get(at).copied()).unwrap_or_default();
            described(gpu, change.what, !left.contains(change))
        });
        Run::open(run)?.note(Fact::GpuSettings { settings: settings.collect() })?;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.restore();
    }
}

fn described(gpu: u32, what: What, restored: bool) -> GpuSetting {
    let (setting, from, to) = match what {
        What::Persistence { from, to } => ("persistence", Some(from.to_string()), to.to_string()),
        What::PowerLimit { from, to } => {
            ("power_limit_w", Some((from / 1000).to_string()), (to / 1000).to_string())
        }
        What::Clock { to } => ("locked_sm_clock_mhz", None, to.to_string()),
    };
    GpuSetting { gpu, setting: setting.to_owned(), from, to, restored }
}

/// The note of the settings in force.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Who set them.
    pid: u32,
    /// Equal until the machine is started again, which puts everything back.
    boot: Option<String>,
    changes: Vec<Change>,
}

/// Where the note lies.
#[derive(Debug, Clone)]
struct NoteFile(PathBuf);

/// A note that somebody left.
#[derive(Debug)]
enum Left {
    /// Its process lives.
    Alive(u32),
    /// Its process is gone.
    Dead(Vec<Change>),
}

impl NoteFile {
    fn beside_the_catalogue() -> Self {
        Self(super::runs_root().join("gpu-settings.json"))
    }

    /// What an earlier process left.
    fn left(&self) -> Option<Left> {
        let note: Note = serde_json::from_slice(&std::fs::read(&self.0).ok()?).ok()?;
        if note.changes.is_empty() || note.boot != host::boot() {
            return None;
        }
        let pid = i32::try_from(note.pid).ok().and_then(rustix::process::Pid::from_raw);
        let alive = pid.is_some_and(|pid| {
            matches!(rustix::process::test_kill_process(pid), Ok(()) | Err(rustix::io::Errno::PERM))
        });
        Some(if alive { Left::Alive(note.pid) } else { Left::Dead(note.changes) })
    }
}

impl Notes for NoteFile {
    fn keep(&mut self, changes: &[Change]) -> std::io::Result<()> {
        if changes.is_empty() {
            return match std::fs::remove_file(&self.0) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
        }
        if let Some(folder) = self.0.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let note = Note { pid: std::process::id(), boot: host::boot(), changes: changes.to_vec() };
        let text = serde_json::to_vec_pretty(&note)?;
        write_atomically(&self.0, &text).map_err(std::io::Error::other)
    }
}

/// `stopwatt doctor --restore-gpu`: puts back what a killed measurement left.
pub(super) fn put_back(out: &mut dyn Write) -> anyhow::Result<Outcome> {
    put_back_from(NoteFile::beside_the_catalogue(), out, || {
        let gpus = nvml::gpus().context("failed to open the GPUs")?;
        nvml::settable(&gpus).context("failed to open the GPUs")
    })
}

fn put_back_from(
    mut file: NoteFile,
    out: &mut dyn Write,
    open: impl FnOnce() -> anyhow::Result<Vec<Box<dyn Control>>>,
) -> anyhow::Result<Outcome> {
    let changes = match file.left() {
        None => {
            writeln!(out, "no measurement left GPU settings behind")?;
            return Ok(Outcome::Done);
        }
        Some(Left::Alive(pid)) => {
            let error = anyhow!("process {pid} holds GPU settings for its measurement");
            return Err(Failure::new(Outcome::MissingResource, error).hint("wait until it has ended").into());
        }
        Some(Left::Dead(changes)) => changes,
    };
    let mut gpus = open().map_err(|e| Failure::new(Outcome::MissingResource, e))?;
    let left = control::restore(&mut gpus, &changes, &mut file);
    writeln!(out, "{} of {} GPU settings were put back", changes.len() - left.len(), changes.len())?;
    if left.is_empty() {
        return Ok(Outcome::Done);
    }
    let error = anyhow!("{} GPU settings could not be put back; they stay noted", left.len());
    Err(Failure::new(Outcome::MissingResource, error)
        .hint("run it as the user who measured, or as root")
        .into())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use stopwatt_sensor::Unavailable;

    use super::*;

    type Journal = Rc<RefCell<Vec<String>>>;

    struct Fake {
        journal: Journal,
        refuses: bool,
    }

    impl Fake {
        fn say(&self, what: &str) -> Result<(), Unavailable> {
            self.journal.borrow_mut().push(what.to_owned());
            match self.refuses {
                true => Err(Unavailable::Permission { what: "locked clocks", fix: "run as root" }),
                false => Ok(()),
            }
        }
    }

    impl Control for Fake {
        fn id(&self) -> String {
            "GPU-1".to_owned()
        }
        fn persistence(&self) -> Result<bool, Unavailable> {
            Ok(true)
        }
        fn set_persistence(&mut self, _: bool) -> Result<(), Unavailable> {
            self.say("persistence")
        }
        fn power_limit_mw(&self) -> Result<u32, Unavailable> {
            Ok(700_000)
        }
        fn set_power_limit_mw(&mut self, limit: u32) -> Result<(), Unavailable> {
            self.say(&format!("limit {limit}"))
        }
        fn max_clock_mhz(&self) -> Result<u32, Unavailable> {
            Ok(1980)
        }
        fn lock_clock(&mut self, mhz: u32) -> Result<(), Unavailable> {
            self.say(&format!("lock {mhz}"))
        }
        fn unlock_clock(&mut self) -> Result<(), Unavailable> {
            self.say("unlock")
        }
    }

    fn fake(refuses: bool) -> (Vec<Box<dyn Control>>, Journal) {
        let journal = Journal::default();
        (vec![Box::new(Fake { journal: Rc::clone(&journal), refuses })], journal)
    }

    const WANTED: Wanted =
        Wanted { clock: Some(LockedClock::Mhz(1410)), persistence: true, power_limit_w: Some(500) };

    fn file() -> (tempfile::TempDir, NoteFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = NoteFile(folder.path().join("runs/gpu-settings.json"));
        (folder, file)
    }

    #[test]
    fn settings_are_put_back_when_the_work_ends_or_panics() {
        let (_folder, file) = file();
        let (gpus, journal) = fake(false);
        let held = Held::take(vec![3], gpus, &WANTED, file.clone()).unwrap();
        assert!(file.0.is_file());
        drop(held);
        assert_eq!(journal.borrow().join(", "), "limit 500000, lock 1410, unlock, limit 700000");
        assert!(!file.0.exists());

        let (gpus, journal) = fake(false);
        let held = Held::take(vec![3], gpus, &WANTED, file.clone()).unwrap();
        let work = std::panic::AssertUnwindSafe(move || {
            let _held = held;
            panic!("in the middle");
        });
        assert!(std::panic::catch_unwind(work).is_err());
        assert!(journal.borrow().contains(&"unlock".to_owned()) && !file.0.exists());
    }

    #[test]
    fn a_refusal_ends_with_missing_resource_and_says_what_to_do() {
        let (_folder, file) = file();
        let (gpus, _) = fake(true);
        let Err(error) = Held::take(vec![0], gpus, &WANTED, file.clone()) else { panic!("it was refused") };
        assert_eq!(super::super::outcome_of(&error), Outcome::MissingResource);
        assert_eq!(super::super::hint_of(&error), Some("run as root"));
        assert!(!file.0.exists(), "nothing was changed, so nothing is noted");
    }

    #[test]
    fn what_a_killed_process_left_is_found_and_put_back() {
        let (_folder, file) = file();
        let change =
            Change { gpu: "GPU-1".to_owned(), what: What::PowerLimit { from: 700_000, to: 500_000 } };
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let left = |pid, boot| {
            std::fs::create_dir_all(file.0.parent().unwrap()).unwrap();
            let note = Note { pid, boot, changes: vec![change.clone()] };
            std::fs::write(&file.0, serde_json::to_vec(&note).unwrap()).unwrap();
        };
        let (mut out, (gpus, journal)) = (Vec::new(), fake(false));
        left(child.id(), Some("another start of the machine".to_owned()));
        assert!(file.left().is_none(), "starting the machine has put everything back");
        left(std::process::id(), host::boot());
        assert!(matches!(file.left(), Some(Left::Alive(_))));
        left(child.id(), host::boot());
        assert!(matches!(file.left(), Some(Left::Dead(_))));
        assert_eq!(put_back_from(file.clone(), &mut out, || Ok(gpus)).unwrap(), Outcome::Done);
        assert_eq!(journal.borrow().join(", "), "limit 700000");
        assert!(!file.0.exists());
        assert_eq!(String::from_utf8(out).unwrap(), "1 of 1 GPU settings were put back\n");
        let none = || -> anyhow::Result<Vec<Box<dyn Control>>> { panic!("no GPU is opened without a note") };
        assert_eq!(put_back_from(file, &mut Vec::new(), none).unwrap(), Outcome::Done);
    }

    #[test]
    fn clocks_are_numbers_or_max() {
        assert_eq!(parse_clock("max"), Ok(LockedClock::Max));
        assert_eq!(parse_clock("1410"), Ok(LockedClock::Mhz(1410)));
        assert!(parse_clock("0").is_err() && parse_clock("fast").is_err());
    }
}
