//! Settings of GPUs that a measurement may ask for: locked clocks, persistence mode, power limit.
//!
//! ```text
//! wanted ──► note what was there ──► set: persistence, power limit, clocks ──► measure ──► restore, last set first
//!                   └─ a file, until all is restored: what a killed process leaves behind can be put back later
//! ```
//!
//! Invariants, each held by a test with GPUs that are not real:
//!
//! - nothing is set unless it is asked for;
//! - what was there is noted before it is changed, and each change is undone in the opposite order;
//! - when one setting is refused, those before it are undone and nothing is measured;
//! - a restoration that fails stops no other, and its note stays.
//!
//! Which clocks were locked before cannot be read from a driver: they are unlocked at the end.

use serde::{Deserialize, Serialize};

use crate::Unavailable;

/// What can be set on one GPU. NVML's stands in [`crate::nvml`].
pub trait Control {
    /// Name that stays the same between processes: the UUID.
    fn id(&self) -> String;
    /// Whether persistence mode is on.
    fn persistence(&self) -> Result<bool, Unavailable>;
    /// Switches it.
    fn set_persistence(&mut self, on: bool) -> Result<(), Unavailable>;
    /// Power limit, in milliwatts.
    fn power_limit_mw(&self) -> Result<u32, Unavailable>;
    /// Sets it.
    fn set_power_limit_mw(&mut self, limit: u32) -> Result<(), Unavailable>;
    /// Highest SM clock, in MHz.
    fn max_clock_mhz(&self) -> Result<u32, Unavailable>;
    /// Locks the SM clock.
    fn lock_clock(&mut self, mhz: u32) -> Result<(), Unavailable>;
    /// Lets the driver choose the clock again.
    fn unlock_clock(&mut self) -> Result<(), Unavailable>;
}

/// A clock to lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedClock {
    /// In MHz.
    Mhz(u32),
    /// The highest that the GPU has.
    Max,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Lock the SM clock.
    pub clock: Option<LockedClock>,
    /// Switch persistence mode on.
    pub persistence: bool,
    /// Power limit, in watts.
    pub power_limit_w: Option<u32>,
}

impl Wanted {
    /// Whether nothing is.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// A setting that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Of which GPU: its UUID. Not for records.
    pub gpu: String,
    /// What was changed.
    pub what: What,
}

/// What was changed, with what was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "setting")]
pub enum What {
    /// Persistence mode.
    Persistence {
        /// Before.
        from: bool,
        /// Now.
        to: bool,
    },
    /// Power limit, in milliwatts.
    PowerLimit {
        /// Before.
        from: u32,
        /// Now.
        to: u32,
    },
    /// Locked SM clock, in MHz. What was locked before cannot be read.
    Clock {
        /// Now.
        to: u32,
    },
}

/// A setting that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to set the {what} of GPU {gpu}: {source}")]
pub struct ControlError {
    /// Position of the GPU among those that were to be set.
    pub gpu: usize,
    /// What was to be set.
    pub what: &'static str,
    /// Why not.
    #[source]
    pub source: Unavailable,
    /// Earlier settings that could not be undone.
    pub left: Vec<Change>,
}

/// Where changes are noted, so that they can be undone after a crash.
pub trait Notes {
    /// Keeps the changes in force; an empty list ends the note.
    ///
    /// # Errors
    /// They could not be written: then nothing may be changed.
    fn keep(&mut self, changes: &[Change]) -> std::io::Result<()>;
}

/// Makes every change, GPU by GPU. What was changed is returned in order.
///
/// # Errors
/// One was refused, or could not be noted; the others are undone.
pub fn apply(
    gpus: &mut [Box<dyn Control>],
    wanted: &Wanted,
    notes: &mut dyn Notes,
) -> Result<Vec<Change>, ControlError> {
    let mut done = Vec::new();
    for i in 0..gpus.len() {
        for step in [persistence, power_limit, clock] {
            if let Err((what, source)) = step(gpus[i].as_mut(), wanted, &mut done, notes) {
                let left = restore(gpus, &done, notes);
                return Err(ControlError { gpu: i, what, source, left });
            }
        }
    }
    Ok(done)
}

type Refused = (&'static str, Unavailable);

fn persistence(
    gpu: &mut dyn Control,
    wanted: &Wanted,
    done: &mut Vec<Change>,
    notes: &mut dyn Notes,
) -> Result<(), Refused> {
    let why = |e| ("persistence mode", e);
    if !wanted.persistence || gpu.persistence().map_err(why)? {
        return Ok(());
    }
    let what = What::Persistence { from: false, to: true };
    change(gpu, what, done, notes, |gpu| gpu.set_persistence(true)).map_err(why)
}

fn power_limit(
    gpu: &mut dyn Control,
    wanted: &Wanted,
    done: &mut Vec<Change>,
    notes: &mut dyn Notes,
) -> Result<(), Refused> {
    let why = |e| ("power limit", e);
    let Some(watts) = wanted.power_limit_w else { return Ok(()) };
    let (from, to) = (gpu.power_limit_mw().map_err(why)?, watts.saturating_mul(1000));
    if from == to {
        return Ok(());
    }
    let what = What::PowerLimit { from, to };
    change(gpu, what, done, notes, |gpu| gpu.set_power_limit_mw(to)).map_err(why)
}

fn clock(
    gpu: &mut dyn Control,
    wanted: &Wanted,
    done: &mut Vec<Change>,
    notes: &mut dyn Notes,
) -> Result<(), Refused> {
    let why = |e| ("clock", e);
    let to = match wanted.clock {
        None => return Ok(()),
        Some(LockedClock::Mhz(mhz)) => mhz,
        Some(LockedClock::Max) => gpu.max_clock_mhz().map_err(why)?,
    };
    change(gpu, What::Clock { to }, done, notes, |gpu| gpu.lock_clock(to)).map_err(why)
}

/// Notes a change, then makes it. One that is refused was not made, and is not noted any more.
fn change(
    gpu: &mut dyn Control,
    what: What,
    done: &mut Vec<Change>,
    notes: &mut dyn Notes,
    set: impl FnOnce(&mut dyn Control) -> Result<(), Unavailable>,
) -> Result<(), Unavailable> {
    done.push(Change { gpu: gpu.id(), what });
    let noted = notes.keep(done).map_err(|e| {
        let program = "noting the setting that was there".to_owned();
        Unavailable::Failed { program, detail: e.to_string() }
    });
    noted.and_then(|()| set(gpu)).inspect_err(|_| {
        done.pop();
        // A note that names more than was changed does no harm.
        let _ = notes.keep(done);
    })
}

/// Undoes changes, the last one first. Those that could not be undone are returned, and stay noted.
pub fn restore(gpus: &mut [Box<dyn Control>], changes: &[Change], notes: &mut dyn Notes) -> Vec<Change> {
    let mut left: Vec<Change> = Vec::new();
    for (i, change) in changes.iter().enumerate().rev() {
        let gpu = gpus.iter_mut().find(|g| g.id() == change.gpu);
        let undone = gpu.is_some_and(|gpu| {
            match change.what {
                What::Persistence { from, .. } => gpu.set_persistence(from),
                What::PowerLimit { from, .. } => gpu.set_power_limit_mw(from),
                What::Clock { .. } => gpu.unlock_clock(),
            }
            .is_ok()
        });
        if !undone {
            left.insert(0, change.clone());
        }
        // Each step is noted, so that whatever ends this process leaves a true note.
        let open: Vec<Change> = changes[..i].iter().chain(&left).cloned().collect();
        // A note that cannot be written names more than is left: undoing twice does no harm.
        let _ = notes.keep(&open);
    }
    left
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    type Journal = Rc<RefCell<Vec<String>>>;

    struct Fake {
        name: &'static str,
        persistence: bool,
        limit: u32,
        journal: Journal,
        refuses: &'static str,
    }

    impl Fake {
        fn say(&self, what: String) -> Result<(), Unavailable> {
            let refused = !self.refuses.is_empty() && what.starts_with(self.refuses);
            self.journal.borrow_mut().push(format!(
                "{} {what}{}",
                self.name,
                if refused { " refused" } else { "" }
            ));
            match refused {
                true => Err(Unavailable::Permission { what: "GPU settings", fix: "run as root" }),
                false => Ok(()),
            }
        }
    }

    impl Control for Fake {
        fn id(&self) -> String {
            self.name.to_owned()
        }
        fn persistence(&self) -> Result<bool, Unavailable> {
            Ok(self.persistence)
        }
        fn set_persistence(&mut self, on: bool) -> Result<(), Unavailable> {
            self.say(format!("persistence={on}"))
        }
        fn power_limit_mw(&self) -> Result<u32, Unavailable> {
            Ok(self.limit)
        }
        fn set_power_limit_mw(&mut self, limit: u32) -> Result<(), Unavailable> {
            self.say(format!("limit={limit}"))
        }
        fn max_clock_mhz(&self) -> Result<u32, Unavailable> {
            Ok(1980)
        }
        fn lock_clock(&mut self, mhz: u32) -> Result<(), Unavailable> {
            self.say(format!("lock={mhz}"))
        }
        fn unlock_clock(&mut self) -> Result<(), Unavailable> {
            self.say("unlock".to_owned())
        }
    }

    /// Keeps how many changes were noted, each time.
    struct Kept(Journal, Vec<Change>);
    impl Notes for Kept {
        fn keep(&mut self, changes: &[Change]) -> std::io::Result<()> {
            self.0.borrow_mut().push(format!("note {}", changes.len()));
            self.1 = changes.to_vec();
            Ok(())
        }
    }

    fn gpus(refuses: [&'static str; 2]) -> (Vec<Box<dyn Control>>, Kept, Journal) {
        let journal = Journal::default();
        let fake = |name, refuses| {
            let journal = Rc::clone(&journal);
            Box::new(Fake { name, persistence: false, limit: 700_000, journal, refuses }) as Box<dyn Control>
        };
        (vec![fake("a", refuses[0]), fake("b", refuses[1])], Kept(Rc::clone(&journal), Vec::new()), journal)
    }

    const ALL: Wanted = Wanted { clock: Some(LockedClock::Max), persistence: true, power_limit_w: Some(500) };

    #[test]
    fn nothing_is_touched_unless_it_is_asked_for() {
        let (mut gpus, mut notes, journal) = gpus(["", ""]);
        assert!(Wanted::default().is_nothing());
        assert_eq!(apply(&mut gpus, &Wanted::default(), &mut notes), Ok(vec![]));
        // What is so already is not set, and so not taken back later.
        let same = Wanted { power_limit_w: Some(700), ..Wanted::default() };
        assert_eq!(apply(&mut gpus, &same, &mut notes), Ok(vec![]));
        assert!(journal.borrow().is_empty());
    }

    #[test]
    fn each_change_is_noted_before_it_is_made_and_undone_in_the_opposite_order() {
        let (mut gpus, mut notes, journal) = gpus(["", ""]);
        let changes = apply(&mut gpus, &ALL, &mut notes).unwrap();
        let told = journal.borrow().join(", ");
        assert_eq!(
            told,
            "note 1, a persistence=true, note 2, a limit=500000, note 3, a lock=1980, \
             note 4, b persistence=true, note 5, b limit=500000, note 6, b lock=1980"
        );
        journal.borrow_mut().clear();
        assert!(restore(&mut gpus, &changes, &mut notes).is_empty() && notes.1.is_empty());
        let told = journal.borrow().join(", ");
        assert_eq!(
            told,
            "b unlock, note 5, b limit=700000, note 4, b persistence=false, note 3, \
             a unlock, note 2, a limit=700000, note 1, a persistence=false, note 0"
        );
    }

    #[test]
    fn a_refusal_in_the_middle_undoes_what_was_done() {
        let (mut gpus, mut notes, journal) = gpus(["", "limit=500000"]);
        let error = apply(&mut gpus, &ALL, &mut notes).unwrap_err();
        assert_eq!((error.gpu, error.what, error.left.len()), (1, "power limit", 0));
        assert!(error.to_string().contains("power limit of GPU 1"), "{error}");
        let told = journal.borrow().join(", ");
        assert!(told.contains("b limit=500000 refused"), "{told}");
        assert!(told.ends_with("a persistence=false, note 0") && !told.contains("b lock"), "{told}");
        assert!(notes.1.is_empty());
    }

    #[test]
    fn what_cannot_be_undone_stays_noted_and_stops_nothing_else() {
        let (mut gpus, mut notes, journal) = gpus(["unlock", ""]);
        let changes = apply(&mut gpus, &ALL, &mut notes).unwrap();
        let left = restore(&mut gpus, &changes, &mut notes);
        assert_eq!(left, [Change { gpu: "a".to_owned(), what: What::Clock { to: 1980 } }]);
        assert_eq!(notes.1, left);
        assert!(journal.borrow().iter().any(|l| l == "a persistence=false"));
        // A GPU that is gone cannot be restored, and is not forgotten.
        let gone = [Change { gpu: "c".to_owned(), what: What::Clock { to: 1 } }];
        assert_eq!(restore(&mut gpus, &gone, &mut notes), gone);
    }

    #[test]
    fn what_cannot_be_noted_is_not_changed() {
        struct Full;
        impl Notes for Full {
            fn keep(&mut self, _: &[Change]) -> std::io::Result<()> {
                Err(std::io::Error::other("disk full"))
            }
        }
        let (mut gpus, _, journal) = gpus(["", ""]);
        let error = apply(&mut gpus, &ALL, &mut Full).unwrap_err();
        assert!(error.to_string().contains("disk full"), "{error}");
        assert!(journal.borrow().is_empty());
    }

    #[test]
    fn notes_survive_a_process() {
        let change =
            Change { gpu: "GPU-1".to_owned(), what: What::PowerLimit { from: 700_000, to: 500_000 } };
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
    }
}
