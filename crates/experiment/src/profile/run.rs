//! The procedure of a profile.
//!
//! ```text
//! for each device, operator, launch, cache:  known? ─► prepare ─► check ─► time ─► row ─► kernels.parquet
//! ```
//!
//! The table is written anew every two seconds, so that whatever ends the program leaves what was measured.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use stopwatt_core::kernel_table::{CacheState, Clocks, KernelRow, Launch, Op, Outcome};
use stopwatt_core::log::Fact;
use stopwatt_core::verdict::{BY_SIGNAL, Code, Remark};
use stopwatt_kernel::case::{About, CaseError, Device};
use stopwatt_kernel::timing::{Method, measure, monotonic_s};
use stopwatt_load::Stop;
use stopwatt_record::kernel_table;

use super::ProfileError;
use super::grid::launches;
use super::record::{Finished, Recording};

/// Seconds between two writings of the table.
const WRITE_EVERY_S: f64 = 2.0;
/// Share of the rows that may not settle before the run says so.
const UNSETTLED: f64 = 0.05;

/// What is measured on one device.
pub struct Plan<'a> {
    /// Where.
    pub device: &'a mut dyn Device,
    /// The operators, in order.
    pub ops: Vec<Op>,
    /// The device replays graphs.
    pub has_graphs: bool,
}

/// Everything that a profile needs.
pub struct Setup<'a> {
    /// What `config.lock.json` will hold.
    pub lock: serde_json::Value,
    /// How kernels are sampled.
    pub method: Method,
    /// What the caches shall hold.
    pub caches: Vec<CacheState>,
    /// Seed of the operands that results are checked on.
    pub seed: u64,
    /// Longest time, in seconds; what is left then is left out.
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
    let items: Vec<Vec<Item>> = plans.iter().map(|plan| items(plan, &setup.caches)).collect();
    let of: usize = items.iter().map(Vec::len).sum();
    if of == 0 {
        return Err(ProfileError::Nothing { reason: "the grid is empty".to_owned() });
    }
    let recording = Recording::create("profile", &setup.lock, setup.root, setup.out.clone())?;
    let mut table = Table::new(&recording, setup.earlier.as_ref());
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

fn items(plan: &Plan<'_>, caches: &[CacheState]) -> Vec<Item> {
    let mut items = Vec::new();
    for op in &plan.ops {
        for launch in launches(op, plan.has_graphs) {
            // A launch floor has no operands that could be cold.
            let bytes = op.work().is_none_or(|w| w.bytes() > 0.0);
            let caches = if bytes { caches } else { &[CacheState::Warm] };
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
    let begin = monotonic_s();
    let (mut index, mut measured) = (0, 0_usize);
    let fresh = |item: &Item, about: &About| !known.contains(&key(&item.op, item.launch, item.cache, about));
    let todo: usize =
        items.iter().zip(&about).map(|(items, about)| items.iter().filter(|i| fresh(i, about)).count()).sum();
    for ((plan, items), about) in plans.iter_mut().zip(items).zip(&about) {
        for item in items {
            index += 1;
            if !fresh(item, about) {
                continue;
            }
            let spent = monotonic_s() - begin;
            if stop.is_interrupted() {
                return Ok(());
            }
            if setup.limit_s.is_some_and(|limit| spent >= limit) {
                table.left += 1;
                continue;
            }
            let left_s = (measured > 0).then(|| spent / measured as f64 * (todo - measured) as f64);
            watch(Event::Begins { index: index - 1, of, op: &item.op, units: about.units, left_s });
            let row = one(setup, plan.device, item, about)?;
            measured += 1;
            watch(Event::Row(&row));
            table.push(row, recording)?;
        }
        warn_if_shared(plan.device, recording, watch)?;
    }
    Ok(())
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

/// One row. Only the loss of the device is an error.
fn one(
    setup: &Setup<'_>,
    device: &mut dyn Device,
    item: &Item,
    about: &About,
) -> Result<KernelRow, ProfileError> {
    let mut row = KernelRow {
        op: item.op,
        provider: device.provider(),
        kernel: None,
        grid: None,
        block: (about.kind == "cpu").then_some(about.units),
        launch: item.launch,
        cache: item.cache,
        clocks: Clocks::default(),
        outcome: Outcome::Skipped { reason: String::new() },
    };
    let method = Method { sample_s: setup.method.sample_s.max(device.sample_s()), ..setup.method };
    let outcome = device.prepare(&item.op, item.launch, item.cache).and_then(|mut case| {
        let deviation = case.check(setup.seed)?;
        let identity = case.identity();
        row.kernel = identity.kernel;
        row.grid = identity.grid;
        row.block = identity.block.or(row.block);
        if deviation.is_nan() || deviation > 1.0 {
            let reason = format!("wrong result: {deviation:.1} times the deviation that is allowed");
            return Ok(Outcome::Skipped { reason });
        }
        let time = measure(&mut *case, &method, &mut monotonic_s)?;
        row.clocks = case.clocks();
        Ok(Outcome::Measured { time, deviation })
    });
    row.outcome = match outcome {
        Ok(outcome) => outcome,
        Err(CaseError::Lost { reason }) => return Err(ProfileError::Lost { reason }),
        Err(error) => Outcome::Skipped { reason: error.to_string() },
    };
    Ok(row)
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
    fn new(recording: &Recording, earlier: Option<&(String, Vec<KernelRow>)>) -> Self {
        let rows = earlier.map(|(_, rows)| rows.clone()).unwrap_or_default();
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
