//! Joins the runs of shares into one: the same files as any run, so that everything that reads a run reads it.
//!
//! ```text
//! shard 0/4 ─┐   one clock        one log: plans added up,         one run directory
//! shard 1/4 ─┤   (shift stamps)   windows joined, warnings named   rows of all, ids made distinct
//! shard 2/4 ─┼─► ───────────────► ───────────────────────────────► ──────────────────────────────
//! shard 3/4 ─┘
//! ```
//!
//! Runs of one machine share CLOCK_MONOTONIC and are joined by it exactly. Others are joined by their wall clocks; how
//! far each was read wrong stands in the record, how far the clocks of two machines differ only their time service
//! knows, and the run says so.
//!
//! What cannot be one load (other settings, another number of shares, one share twice) is refused. A share that is
//! missing, late or apart from the others makes an invalid run that can be read all the same.

mod facts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stopwatt_core::log::{Fact, JoinedShard, SharedClock};
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::{Clock, Nanos};

use crate::config::{LockedSetting, settings_hash};
use crate::events::Chunks;
use crate::run_dir::{Create, Run, RunError, RunWriter};

/// The setting in which shares differ.
const SHARD: &str = "load.shard";

/// Why runs cannot be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A run cannot be read, or the joined one not be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The run sent a whole load.
    #[error("{} is not the run of a share", path.display())]
    NotAShard {
        /// The run.
        path: PathBuf,
    },
    /// The runs belong to different loads.
    #[error("{} and {} differ in {what}", first.display(), second.display())]
    Different {
        /// A run.
        first: PathBuf,
        /// The run that differs from it.
        second: PathBuf,
        /// In what.
        what: String,
    },
    /// The same share twice.
    #[error("{} and {} are both share {index}", first.display(), second.display())]
    Twice {
        /// A run.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
        /// The share.
        index: u32,
    },
}

impl MergeError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Run(source) => source.hint(),
            Self::NotAShard { .. } => Some("shares are made by `stopwatt bench --shard I/N --start-at TIME`"),
            Self::Different { .. } => {
                Some("join the runs of one load only: the same settings and start time")
            }
            Self::Twice { .. } => Some("give each share once"),
        }
    }
}

/// One share, opened.
struct Shard {
    run: Run,
    index: u32,
    of: u32,
    start_unix_ns: Nanos,
    late_ns: Nanos,
    clock_error_ns: Nanos,
    synchronised: Option<bool>,
    boot: Option<String>,
    settings: BTreeMap<String, LockedSetting>,
    /// Added to its stamps.
    shift_ns: Nanos,
}

/// Joins the runs of shares; see the module. Returns the new run's folder.
pub fn merge(runs: &[PathBuf], root: &Path, out: Option<PathBuf>) -> Result<PathBuf, MergeError> {
    let mut shards = runs.iter().map(|path| Shard::open(path)).collect::<Result<Vec<_>, _>>()?;
    shards.sort_by_key(|s| s.index);
    check(&shards)?;
    let (clock, shared) = one_clock(&mut shards);
    let Some(first) = shards.first() else {
        return Err(RunError::NotARun { path: root.to_owned() }.into());
    };
    let keep_chunks =
        first.settings.get("record.chunks").is_none_or(|s| s.value != serde_json::Value::Bool(false));
    let create =
        Create { root: root.to_owned(), out, name: first.run.id().kind().to_owned(), clock, keep_chunks };
    let writer = RunWriter::create(create, &lock(first)?)?;
    let path = writer.path().to_owned();

    let mut joined = Vec::new();
    for shard in &shards {
        let mut requests = 0;
        for row in shard.run.requests(Chunks::Read)? {
            let mut row = row?;
            row.id = row.id * u64::from(shard.of) + u64::from(shard.index);
            shift(&mut row, shard.shift_ns);
            writer.push(row)?;
            requests += 1;
        }
        joined.push(JoinedShard {
            index: shard.index,
            run_id: shard.run.id().to_string(),
            requests,
            status: shard.run.status(),
            shift_ns: shard.shift_ns,
            clock: shared,
            error_ns: match shared {
                SharedClock::Monotonic => 0,
                SharedClock::Unix => shard.clock_error_ns + shard.drift_ns().abs(),
            },
            late_ns: shard.late_ns,
        });
    }
    for event in facts::join(&shards, joined) {
        writer.log_at(event.t_ns, event.fact)?;
    }
    writer.finish()?;
    Ok(path)
}

impl Shard {
    fn open(path: &Path) -> Result<Self, MergeError> {
        let run = Run::open(path)?;
        let said = run.log().iter().find_map(|event| match &event.fact {
            Fact::Shard { index, of, start_unix_ns, late_ns, clock_error_ns, synchronised, boot } => {
                Some((*index, *of, *start_unix_ns, *late_ns, *clock_error_ns, *synchronised, boot.clone()))
            }
            _ => None,
        });
        let Some((index, of, start_unix_ns, late_ns, clock_error_ns, synchronised, boot)) = said else {
            return Err(MergeError::NotAShard { path: path.to_owned() });
        };
        let config = run.config()?;
        let settings = config.get("settings").cloned().unwrap_or_default();
        let settings = serde_json::from_value(settings).map_err(|source| RunError::Damaged {
            path: path.join(crate::run_dir::CONFIG),
            line: 1,
            source,
        })?;
        Ok(Self {
            run,
            index,
            of,
            start_unix_ns,
            late_ns,
            clock_error_ns,
            synchronised,
            boot,
            settings,
            shift_ns: 0,
        })
    }

    /// How far its wall clock moved against the monotonic one.
    fn drift_ns(&self) -> Nanos {
        let ended = self.run.log().iter().rev().find_map(|event| match event.fact {
            Fact::RunEnded { wall_drift_ns, .. } => Some(wall_drift_ns),
            _ => None,
        });
        ended.unwrap_or(0)
    }
}

/// Refuses what cannot be one load.
fn check(shards: &[Shard]) -> Result<(), MergeError> {
    let Some((first, others)) = shards.split_first() else { return Ok(()) };
    for other in others {
        let differ = |what: String| MergeError::Different {
            first: first.run.path().to_owned(),
            second: other.run.path().to_owned(),
            what,
        };
        if first.of != other.of {
            return Err(differ("the number of shares".to_owned()));
        }
        if first.start_unix_ns != other.start_unix_ns {
            return Err(differ("the common start".to_owned()));
        }
        let keys = || first.settings.keys().chain(other.settings.keys()).filter(|k| *k != SHARD);
        let value = |s: &Shard, key: &str| s.settings.get(key).map(|v| v.value.clone());
        if let Some(key) = keys().find(|k| value(first, k) != value(other, k)) {
            return Err(differ(format!("setting `{key}`")));
        }
        if model(first) != model(other) {
            return Err(differ("the model".to_owned()));
        }
    }
    if let Some(pair) = shards.windows(2).find(|p| p[0].index == p[1].index) {
        return Err(MergeError::Twice {
            first: pair[0].run.path().to_owned(),
            second: pair[1].run.path().to_owned(),
            index: pair[0].index,
        });
    }
    Ok(())
}

fn model(shard: &Shard) -> Option<&str> {
    shard.run.log().iter().find_map(|event| match &event.fact {
        Fact::EngineProbed { model, .. } => Some(model.as_str()),
        _ => None,
    })
}

/// Puts all stamps on the clock of the shard that began first, and says what that rests on.
fn one_clock(shards: &mut [Shard]) -> (Clock, SharedClock) {
    let clocks: Vec<Clock> = shards.iter().map(|s| s.run.clock()).collect();
    let zero = clocks
        .iter()
        .min_by_key(|c| c.t0_unix_ns)
        .copied()
        .unwrap_or(Clock { t0_monotonic_ns: 0, t0_unix_ns: 0 });
    let same = shards.windows(2).all(|p| p[0].boot.is_some() && p[0].boot == p[1].boot);
    for (shard, clock) in shards.iter_mut().zip(&clocks) {
        shard.shift_ns = if same {
            clock.t0_monotonic_ns - zero.t0_monotonic_ns
        } else {
            clock.t0_unix_ns - zero.t0_unix_ns
        };
    }
    (zero, if same { SharedClock::Monotonic } else { SharedClock::Unix })
}

/// The settings of the whole: those of the shards, which differ in their share alone.
fn lock(shard: &Shard) -> Result<serde_json::Value, RunError> {
    let mut settings = shard.settings.clone();
    if let Some(setting) = settings.get_mut(SHARD) {
        setting.value = serde_json::Value::Null;
    }
    let mut lock = shard.run.config()?;
    let json = |source| RunError::Json { what: "settings", source };
    if let Some(hash) = lock.pointer_mut("/hashes/settings") {
        *hash = settings_hash(&settings).into();
    }
    if let Some(place) = lock.get_mut("settings") {
        *place = serde_json::to_value(settings).map_err(json)?;
    }
    Ok(lock)
}

fn shift(row: &mut stopwatt_core::RequestRecord, by: Nanos) {
    row.intended_ns += by;
    row.end_ns += by;
    for stamp in [&mut row.dispatched_ns, &mut row.connected_ns, &mut row.written_ns, &mut row.first_byte_ns]
    {
        *stamp = stamp.map(|t| t + by);
    }
    for chunk in &mut row.chunks {
        chunk.t_ns += by;
    }
}

/// Whether every share came to its end.
fn status(shards: &[Shard]) -> RunStatus {
    let whole = shards.first().is_some_and(|s| shards.len() == s.of as usize);
    if whole && shards.iter().all(|s| s.run.status() == RunStatus::Complete) {
        RunStatus::Complete
    } else {
        RunStatus::Incomplete
    }
}
