//! The procedure of a profile.
//!
//! ```text
//! for each device, block of (operator, launch, cache):
//!   round 1, 2, 3, … in another order each:  prepare ─► check (once) ─► time
//!   rounds together ─► rows ─► kernels.parquet
//! ```
//!
//! Blocks keep the rounds of an operator seconds apart, and what was measured when a profile is cut off complete.
//! The table is written anew every two seconds, so that whatever ends the program leaves what was measured.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use stopwatt_core::kernel_table::{CacheState, Clocks, KernelRow, Launch, Op, Outcome};
use stopwatt_core::log::Fact;
use stopwatt_core::verdict::{BY_SIGNAL, Code, Remark};
use stopwatt_kernel::case::{About, CaseError, Device, Identity};
use stopwatt_kernel::timing::{Method, measure, monotonic_s};
use stopwatt_load::Stop;
use stopwatt_record::kernel_table;

use super::ProfileError;
use super::grid::launches;
use super::record::{Finished, Recording};
use super::rounds::{Rounds, Visit};

/// Seconds between two writings of the table.
const WRITE_EVERY_S: f64 = 2.0;
/// Share of the rows that may not settle before the run says so.
const UNSETTLED: f64 = 0.05;
/// Operators of a block: with a tenth of a second each, their rounds lie seconds apart.
const BLOCK: usize = 48;
/// Rounds of an operator whose rounds disagree, as a multiple of the ordinary ones.
const FURTHER: u32 = 2;

/// What is measured on one device.
pub struct Plan<'a> {
    /// Where.
    pub device: &'a mut dyn Device,
    /// The operators, in order.
    pub ops: Vec<Op>,
    /// The device replays graphs.
    pub has_graphs: bool,
    /// What the caches shall hold.
    pub caches: Vec<CacheState>,
}

/// Everything that a profile needs.
pub struct Setup<'a> {
    /// What `config.lock.json` will hold.
    pub lock: serde_json::Value,
    /// How kernels are sampled.
    pub method: Method,
    /// Rounds of each kernel; the time limit of a kernel is shared among them.
    pub rounds: u32,
    /// Seed of the operands that results are checked on.
    pub seed: u64,
    /// Longest time, in seconds; what was not visited by then is left out.
    pub limit_s: Option<f64>,
    /// Rows of an earlier run, with its name: they are kept and not measured again.
    pub earlier: Option<(String, Vec<KernelRow>)>,
    /// Where runs live.
    pub root: &'a Path,
    /// The run's own folder, if it has one.
    pub out: Option<PathBuf>,
}

/// What is going on.
#[derive(Debug)]
pub enum Event<'a> {
    /// An operator is about to be measured.
    Begins {
        /// Which one, from 0.
        index: usize,
        /// How many there are, the earlier ones included.
        of: usize,
        /// What it is.
        op: &'a Op,
        /// With how many units.
        units: u32,
        /// Seconds left, by what the last ones took; `None` at first.
        left_s: Option<f64>,
    },
    /// A row is there.
    Row(&'a KernelRow),
    /// Something to know.
    Warning(&'a str),
}

/// The rows of an earlier profile.
///
/// # Errors
/// The run has no table, or one that cannot be read.
pub fn load_rows(run: &Path) -> Result<Vec<KernelRow>, ProfileError> {
    kernel_table::read(run)?.ok_or_else(|| ProfileError::NoTable { path: run.to_owned() })
}

/// What tells rows apart: the same work in the same way on as many units.
type Key = (Op, Launch, CacheState, Option<u32>);

/// Units count on a CPU, where they are chosen; the block of a GPU is its library's choice.
fn key(op: &Op, launch: Launch, cache: CacheState, about: &About) -> Key {
    (*op, launch, cache, (about.kind == "cpu").then_some(about.units))
}

struct Item {
    op: Op,
    launch: Launch,
    cache: CacheState,
}

/// Measures and writes a run.
///
/// # Errors
/// There is nothing to measure, the record cannot be written, or a device is lost.
pub fn run(
    setup: Setup<'_>,
    plans: &mut [Plan<'_>],
    stop: &Stop,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Finished, ProfileError> {
    let items: Vec<Vec<Item>> = plans.iter().map(items).collect();
    let of: usize = items.iter().map(Vec::len).sum();
    if of == 0 {
        return Err(ProfileError::Nothing { reason: "the grid is empty".to_owned() });
    }
    let recording = Recording::create("profile", &setup.lock, setup.root, setup.out.clone())?;
    let mut table = Table::new(&recording, setup.earlier.as_ref(), setup.rounds);
    let outcome = stages(&setup, plans, &items, of, &recording, &mut table, stop, watch);
    table.write(&recording)?;
    let cut = match &outcome {
        Err(error) => Some(error.to_string()),
        Ok(()) if stop.is_interrupted() => Some(BY_SIGNAL.to_owned()),
        Ok(()) if table.left > 0 => Some(format!("the time limit left {} kernels out", table.left)),
        Ok(()) => None,
    };
    recording.writer.log(table.fact())?;
    if let Some(remark) = table.remark() {
        recording.warn(&remark)?;
    }
    let finished = recording.close(cut)?;
    outcome.map(|()| finished)
}

fn items(plan: &Plan<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    for op in &plan.ops {
        for launch in launches(op, plan.has_graphs) {
            // A launch floor has no operands that could be cold.
            let bytes = op.work().is_none_or(|w| w.bytes() > 0.0);
            let caches: &[CacheState] = if bytes { &plan.caches } else { &[CacheState::Warm] };
            items.extend(caches.iter().map(|&cache| Item { op: *op, launch, cache }));
        }
    }
    items
}

fn stages(
    setup: &Setup<'_>,
    plans: &mut [Plan<'_>],
    items: &[Vec<Item>],
    of: usize,
    recording: &Recording,
    table: &mut Table,
    stop: &Stop,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<(), ProfileError> {
    recording.stage("fingerprint")?;
    let about: Vec<About> = plans.iter().map(|p| p.device.about()).collect();
    recording.fingerprint(&about)?;
    if let Some((run_id, rows)) = &setup.earlier {
        recording.writer.log(Fact::Resumed { run_id: run_id.clone(), points: rows.len() as u64 })?;
    }
    for plan in &mut *plans {
        warn_if_shared(plan.device, recording, watch)?;
    }
    recording.stage("measure")?;
    let known: HashSet<Key> = table.keys(&about);
    let fresh: Vec<Vec<&Item>> = items
        .iter()
        .zip(&about)
        .map(|(items, about)| {
            let new = |i: &&Item| !known.contains(&key(&i.op, i.launch, i.cache, about));
            items.iter().filter(new).collect()
        })
        .collect();
    let todo: usize = fresh.iter().map(Vec::len).sum();
    let mut progress = Progress { begin: monotonic_s(), of, known: of - todo, todo, done: 0, visits: 0 };
    for ((plan, items), about) in plans.iter_mut().zip(&fresh).zip(&about) {
        for block in items.chunks(BLOCK) {
            let mut visited: Vec<Visited<'_>> =
                block.iter().map(|item| Visited::new(item, plan.device, about)).collect();
            let ended = rounds(setup, plan.device, &mut visited, &mut progress, stop, watch);
            // What was measured stays, whatever ended the rounds.
            for visit in visited {
                match visit.row() {
                    Some(row) => {
                        watch(Event::Row(&row));
                        table.push(row, recording)?;
                    }
                    None if !stop.is_interrupted() && ended.is_ok() => table.left += 1,
                    None => {}
                }
            }
            progress.done += block.len();
            ended?;
            if stop.is_interrupted() {
                return Ok(());
            }
        }
        warn_if_shared(plan.device, recording, watch)?;
    }
    Ok(())
}

/// How far a profile is.
struct Progress {
    begin: f64,
    of: usize,
    known: usize,
    todo: usize,
    /// Operators of the blocks that are done.
    done: usize,
    /// Visits so far.
    visits: usize,
}

/// An operator of the block at hand.
struct Visited<'a> {
    item: &'a Item,
    row: KernelRow,
    rounds: Rounds,
    /// It cannot be measured: the row says why.
    skipped: bool,
}

impl<'a> Visited<'a> {
    fn new(item: &'a Item, device: &dyn Device, about: &About) -> Self {
        let row = KernelRow {
            op: item.op,
            provider: device.provider(),
            kernel: None,
            grid: None,
            block: (about.kind == "cpu").then_some(about.units),
            launch: item.launch,
            cache: item.cache,
            clocks: Clocks::default(),
            outcome: Outcome::Skipped { reason: String::new() },
            unsteady: None,
        };
        Self { item, row, rounds: Rounds::default(), skipped: false }
    }

    fn wants(&self, round: u32, least: u32) -> bool {
        !self.skipped && (round < least || round < FURTHER * least && self.rounds.disagree())
    }

    /// The row, if it was visited at all.
    fn row(mut self) -> Option<KernelRow> {
        if !self.skipped {
            if self.rounds.visits.is_empty() {
                return None;
            }
            self.rounds.fill(&mut self.row);
        }
        Some(self.row)
    }
}

/// All rounds of a block. Ends early when the time is over or somebody asks for it.
fn rounds(
    setup: &Setup<'_>,
    device: &mut dyn Device,
    visited: &mut [Visited<'_>],
    progress: &mut Progress,
    stop: &Stop,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<(), ProfileError> {
    let units = device.about().units;
    let most = if setup.rounds > 1 { FURTHER * setup.rounds } else { 1 };
    for round in 0..most {
        let mut order: Vec<usize> =
            (0..visited.len()).filter(|&i| visited[i].wants(round, setup.rounds)).collect();
        if setup.rounds > 1 {
            shuffle(&mut order, setup.seed ^ (progress.visits as u64) << 16 ^ u64::from(round));
        }
        for index in order {
            let spent = monotonic_s() - progress.begin;
            if stop.is_interrupted() || setup.limit_s.is_some_and(|limit| spent >= limit) {
                return Ok(());
            }
            let visits = f64::from(setup.rounds) * progress.todo as f64;
            let left_s = (progress.visits > 0)
                .then(|| (spent / progress.visits as f64 * (visits - progress.visits as f64)).max(0.0));
            let here = (visited.len() * round as usize) / setup.rounds.max(1) as usize;
            watch(Event::Begins {
                index: (progress.known + progress.done + here.min(visited.len())).min(progress.of - 1),
                of: progress.of,
                op: &visited[index].item.op,
                units,
                left_s,
            });
            progress.visits += 1;
            if setup.rounds > 1 {
                device.vary(setup.seed ^ (progress.visits as u64) << 8);
            }
            visit(setup, device, &mut visited[index])?;
        }
    }
    Ok(())
}

/// Another order of the same numbers, by the seed (Fisher and Yates, with a linear congruential generator).
fn shuffle(order: &mut [usize], seed: u64) {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    for i in (1..order.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(i, (state >> 33) as usize % (i + 1));
    }
}

fn warn_if_shared(
    device: &mut dyn Device,
    recording: &Recording,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<(), ProfileError> {
    if let Some(reason) = device.shared() {
        let remark = Remark::new(Code::DeviceShared, [reason]);
        watch(Event::Warning(&remark.sentence(stopwatt_core::text::Lang::En)));
        recording.warn(&remark)?;
    }
    Ok(())
}

/// One round of an operator. Only the loss of the device is an error.
fn visit(setup: &Setup<'_>, device: &mut dyn Device, visited: &mut Visited<'_>) -> Result<(), ProfileError> {
    let method = Method {
        sample_s: setup.method.sample_s.max(device.sample_s()),
        limit_s: setup.method.limit_s / f64::from(setup.rounds.max(1)),
        ..setup.method
    };
    let Visited { item, row, rounds, skipped } = visited;
    let outcome = device.prepare(&item.op, item.launch, item.cache).and_then(|mut case| {
        if rounds.visits.is_empty() {
            rounds.deviation = case.check(setup.seed)?;
            identify(row, case.identity());
            if rounds.deviation.is_nan() || rounds.deviation > 1.0 {
                let off = rounds.deviation;
                return Ok(Err(format!("wrong result: {off:.1} times the deviation that is allowed")));
            }
        }
        let time = measure(&mut *case, &method, &mut monotonic_s)?;
        identify(row, case.identity());
        Ok(Ok(Visit { time, clocks: case.clocks(), kernel: row.kernel.clone() }))
    });
    let reason = match outcome {
        Ok(Ok(visit)) => {
            rounds.visits.push(visit);
            return Ok(());
        }
        Ok(Err(reason)) => reason,
        Err(CaseError::Lost { reason }) => return Err(ProfileError::Lost { reason }),
        Err(error) => error.to_string(),
    };
    *skipped = true;
    row.outcome = Outcome::Skipped { reason };
    Ok(())
}

fn identify(row: &mut KernelRow, identity: Identity) {
    row.kernel = identity.kernel;
    row.grid = identity.grid;
    row.block = identity.block.or(row.block);
}

/// The rows so far, and when they were last written.
struct Table {
    rows: Vec<KernelRow>,
    written_s: f64,
    run_id: String,
    /// Rows of this run, without those of an earlier one.
    earlier: usize,
    /// Kernels that the time did not suffice for.
    left: usize,
}

impl Table {
    /// Earlier rows with fewer rounds than asked for were cut off, and are measured again.
    fn new(recording: &Recording, earlier: Option<&(String, Vec<KernelRow>)>, rounds: u32) -> Self {
        let complete = |row: &&KernelRow| match &row.outcome {
            Outcome::Measured { time, .. } => time.rounds >= rounds,
            Outcome::Skipped { .. } => true,
        };
        let rows: Vec<KernelRow> =
            earlier.map(|(_, rows)| rows.iter().filter(complete).cloned().collect()).unwrap_or_default();
        let run_id = recording.writer.id().to_string();
        Self { earlier: rows.len(), rows, written_s: f64::NEG_INFINITY, run_id, left: 0 }
    }

    fn keys(&self, about: &[About]) -> HashSet<Key> {
        let cpu = about.iter().any(|a| a.kind == "cpu");
        self.rows.iter().map(|r| (r.op, r.launch, r.cache, r.block.filter(|_| cpu))).collect()
    }

    fn push(&mut self, row: KernelRow, recording: &Recording) -> Result<(), ProfileError> {
        self.rows.push(row);
        if monotonic_s() - self.written_s >= WRITE_EVERY_S {
            self.write(recording)?;
        }
        Ok(())
    }

    fn write(&mut self, recording: &Recording) -> Result<(), ProfileError> {
        let notes = [("stopwatt.run_id", self.run_id.clone())];
        recording.writer.write_file(kernel_table::FILE, &kernel_table::encode(&self.rows, &notes)?)?;
        self.written_s = monotonic_s();
        Ok(())
    }

    fn fact(&self) -> Fact {
        let mut skipped: BTreeMap<String, u64> = BTreeMap::new();
        for row in &self.rows {
            if let Outcome::Skipped { reason } = &row.outcome {
                // Sizes differ from row to row; the kind of reason is what counts.
                let kind = reason.split(':').next().unwrap_or(reason).to_owned();
                *skipped.entry(kind).or_default() += 1;
            }
        }
        Fact::Tabled {
            file: kernel_table::FILE.to_owned(),
            entries: self.rows.len() as u64,
            resumed: self.earlier as u64,
            skipped,
        }
    }

    fn remark(&self) -> Option<Remark> {
        let times = || {
            self.rows.iter().filter_map(|r| match &r.outcome {
                Outcome::Measured { time, .. } => Some(time),
                Outcome::Skipped { .. } => None,
            })
        };
        let (all, unsettled) = (times().count(), times().filter(|t| !t.settled).count());
        (unsettled as f64 > UNSETTLED * all as f64)
            .then(|| Remark::new(Code::KernelsUnsettled, [unsettled.to_string(), all.to_string()]))
    }
}

#[cfg(test)]
mod tests;
