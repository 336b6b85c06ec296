//! One operator as a [`Case`]: the same way of checking and timing, whoever computes.

use std::collections::HashMap;
use std::rc::Rc;

use stopwatt_core::kernel_table::{CacheState, Clocks, Launch};

use super::gpu::Gpu;
use super::timer::{Graph, Launched, Timer};
use crate::case::{Case, CaseError, Identity};

/// What computes: queues calls, and can say whether they are right.
pub(super) trait Issue {
    /// Queues one call on the device's stream, with the operands of this set (modulo their number).
    fn issue(&self, set: usize) -> Result<(), CaseError>;

    /// Sets of operands that calls rotate through.
    fn sets(&self) -> usize;

    /// Bytes of one set that a call touches.
    fn set_bytes(&self) -> u64;

    /// Fresh operands from `seed`, poisoned results, one call, and the largest deviation in multiples of what is
    /// allowed.
    fn verify(&self, seed: u64) -> Result<f64, CaseError>;

    /// What the library tells of its choice, for when the kernel's name cannot be had.
    fn choice(&self) -> Option<String> {
        None
    }

    /// Which of several ways was found to be the fastest, where there are several.
    fn way(&self) -> Option<&str> {
        None
    }

    /// Whether calls queue kernels on the device's stream and nothing else: only then may the stream be held meanwhile,
    /// and only then can a call be captured.
    fn is_plain(&self) -> bool {
        !self.counts_launching()
    }

    /// Whether the time of launching is part of what is measured.
    fn counts_launching(&self) -> bool {
        false
    }
}

/// Most sets of operands: more would need much memory and bring nothing, since small ones are flushed instead.
const MOST_SETS: usize = 256;

/// Sets of operands that calls rotate through, so that each call finds its own gone from a cache of `l2_bytes`.
pub(super) fn sets(cache: CacheState, set_bytes: u64, l2_bytes: u64) -> usize {
    // A call that touches so much leaves next to nothing of its own beginning behind.
    if cache == CacheState::Warm || set_bytes >= 8 * l2_bytes {
        return 1;
    }
    ((2 * l2_bytes).div_ceil(set_bytes.max(1)) as usize + 1).min(MOST_SETS)
}

/// Launches that are queued at most on a held stream; the driver's queue takes about a thousand.
const QUEUE: usize = 512;
/// Kernels in a graph at most.
const GRAPH: usize = 1024;
/// Graphs of other lengths that are kept at most.
const KEPT_GRAPHS: usize = 4;

/// An operator ready to run.
pub(super) struct CudaCase<I> {
    gpu: Rc<Gpu>,
    issue: I,
    launch: Launch,
    cache: CacheState,
    timer: Timer,
    graphs: HashMap<usize, Graph>,
    next_set: usize,
    kernels: Option<Vec<Launched>>,
    holds: bool,
}

impl<I: Issue> CudaCase<I> {
    pub(super) fn new(gpu: &Rc<Gpu>, issue: I, launch: Launch, cache: CacheState) -> Result<Self, CaseError> {
        let holds = issue.is_plain();
        Ok(Self {
            gpu: gpu.clone(),
            issue,
            launch,
            cache,
            timer: Timer::new(gpu)?,
            graphs: HashMap::new(),
            next_set: 0,
            kernels: None,
            holds,
        })
    }

    /// What computes.
    pub(super) fn issue(&self) -> &I {
        &self.issue
    }

    /// Kernels that one call launches, from capturing one. Of calls that cannot be captured nothing is known.
    fn look(&mut self) -> Result<(), CaseError> {
        if self.kernels.is_some() {
            return Ok(());
        }
        if !self.issue.is_plain() {
            self.kernels = Some(Vec::new());
            return Ok(());
        }
        let captured = Graph::capture(&self.gpu, &mut || self.issue.issue(0)).and_then(|g| g.kernels());
        self.kernels = Some(match captured {
            Ok(kernels) => kernels,
            Err(lost @ CaseError::Lost { .. }) => return Err(lost),
            Err(_) => {
                // How many launches a call queues is not known, so neither is whether the queue would take them.
                self.holds = false;
                Vec::new()
            }
        });
        Ok(())
    }

    fn launches_per_call(&self) -> usize {
        self.kernels.as_ref().map_or(1, Vec::len).max(1)
    }

    /// Calls of one timed batch: as many as the queue takes, and no more than there are sets when small operands must
    /// be flushed before.
    fn batch(&self, calls: usize, room: usize) -> (usize, bool) {
        if self.issue.counts_launching() {
            return (calls, false);
        }
        let sets = self.issue.sets();
        let covered = self.issue.set_bytes() * sets as u64;
        let flush = self.cache == CacheState::Cold && covered < 2 * self.gpu.facts.target.l2_bytes;
        let most = (room / self.launches_per_call()).max(1);
        (calls.min(if flush { most.min(sets) } else { most }), flush)
    }

    fn take_sets(&mut self, calls: usize) -> usize {
        let first = self.next_set;
        self.next_set = (first + calls) % self.issue.sets().max(1);
        first
    }

    fn time_eager(&mut self, calls: usize) -> Result<f64, CaseError> {
        let (batch, flush) = self.batch(calls, QUEUE);
        let mut total = 0.0;
        let mut left = calls;
        while left > 0 {
            let now = left.min(batch);
            let first = self.take_sets(now);
            if flush {
                self.timer.flush()?;
            }
            let issue = &self.issue;
            let queue = &mut || (0..now).try_for_each(|call| issue.issue(first + call));
            total += timed(&self.timer, &mut self.holds, queue)?;
            left -= now;
        }
        Ok(total)
    }

    fn time_graph(&mut self, calls: usize) -> Result<f64, CaseError> {
        let (batch, flush) = self.batch(calls, GRAPH);
        let (full, rest) = (calls / batch, calls % batch);
        if self.graphs.len() >= KEPT_GRAPHS {
            self.graphs.retain(|copies, _| [batch, rest].contains(copies));
        }
        self.graph(batch)?;
        if rest > 0 {
            self.graph(rest)?;
        }
        let mut order = vec![batch; full];
        order.extend((rest > 0).then_some(rest));
        let mut total = 0.0;
        // Graphs that need no flush in between go as one batch of few launches.
        let together = if flush { 1 } else { QUEUE / 4 };
        for part in order.chunks(together) {
            if flush {
                self.timer.flush()?;
            }
            let graphs = &self.graphs;
            let queue = &mut || {
                part.iter().try_for_each(|copies| match graphs.get(copies) {
                    Some(graph) => graph.launch(),
                    None => Err(CaseError::Failed { reason: "a graph is missing".to_owned() }),
                })
            };
            total += timed(&self.timer, &mut self.holds, queue)?;
        }
        Ok(total)
    }

    /// Makes a graph of `copies` calls, each with the next set, and runs it once.
    fn graph(&mut self, copies: usize) -> Result<(), CaseError> {
        if self.graphs.contains_key(&copies) {
            return Ok(());
        }
        let issue = &self.issue;
        let mut graph =
            Graph::capture(&self.gpu, &mut || (0..copies).try_for_each(|call| issue.issue(call)))?;
        graph.instantiate()?;
        graph.launch()?;
        self.gpu.wait()?;
        self.graphs.insert(copies, graph);
        Ok(())
    }
}

/// Times a batch; where the device could not be held for so long, once more without holding, now and later.
fn timed(
    timer: &Timer,
    holds: &mut bool,
    queue: &mut dyn FnMut() -> Result<(), CaseError>,
) -> Result<f64, CaseError> {
    if let Some(seconds) = timer.time(*holds, queue)? {
        return Ok(seconds);
    }
    *holds = false;
    timer.time(false, queue)?.ok_or_else(|| CaseError::Failed { reason: "no time was taken".to_owned() })
}

impl<I: Issue> Case for CudaCase<I> {
    fn identity(&self) -> Identity {
        let kernels = self.kernels.as_deref().unwrap_or_default();
        let names: Vec<&str> = kernels.iter().filter_map(|k| k.name.as_deref()).collect();
        let kernel = match names.as_slice() {
            [] => self.issue.choice(),
            [first, .., last] if names.len() > 4 => {
                Some(format!("{first} + … + {last} ({} kernels)", names.len()))
            }
            all => Some(all.join(" + ")),
        };
        let kernel = match (kernel, self.issue.way()) {
            (Some(kernel), Some(way)) => Some(format!("{kernel} ({way})")),
            (kernel, way) => kernel.or_else(|| way.map(str::to_owned)),
        };
        Identity { kernel, grid: kernels.first().map(|k| k.grid), block: kernels.first().map(|k| k.block) }
    }

    fn check(&mut self, seed: u64) -> Result<f64, CaseError> {
        self.gpu.enter()?;
        let deviation = self.issue.verify(seed)?;
        self.look()?;
        Ok(deviation)
    }

    fn throttled(&mut self) -> bool {
        self.gpu.watch.throttled()
    }

    fn limited(&mut self) -> bool {
        self.gpu.watch.read().power_capped
    }

    fn clocks(&mut self) -> Clocks {
        self.gpu.watch.read().clocks
    }

    fn sample(&mut self, calls: u32) -> Result<f64, CaseError> {
        self.gpu.enter()?;
        self.look()?;
        match self.launch {
            Launch::Graph if !self.issue.counts_launching() => self.time_graph(calls.max(1) as usize),
            _ => self.time_eager(calls.max(1) as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn cold_operands_rotate_through_more_than_twice_the_cache() {
        assert_eq!(sets(CacheState::Cold, 30 * MIB, 50 * MIB), 5); // ⌈100/30⌉ + 1
        assert_eq!(sets(CacheState::Cold, 200 * MIB, 50 * MIB), 2);
        assert_eq!(sets(CacheState::Cold, 400 * MIB, 50 * MIB), 1);
        assert_eq!(sets(CacheState::Cold, 1, 50 * MIB), MOST_SETS);
    }

    #[test]
    fn warm_operands_stay_the_same() {
        assert_eq!(sets(CacheState::Warm, 1, 50 * MIB), 1);
    }
}
