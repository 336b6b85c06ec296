//! The processor as an operator sees it: instruction set and threads.

use super::isa::Isa;

/// Instruction set and threads for the operators. Owned by whoever computes; cheap to borrow.
///
/// With one thread there is no pool: operators run in the caller, without any overhead.
#[derive(Debug)]
pub struct Cpu {
    isa: Isa,
    pool: Option<rayon::ThreadPool>,
}

impl Cpu {
    /// A processor with the widest instruction set and `threads` threads (0 counts as 1).
    ///
    /// Threads that cannot be started are an error of the system; the operators then run on the caller alone.
    pub fn new(threads: usize) -> Self {
        Self::with_isa(Isa::best(), threads)
    }

    /// The same with a chosen instruction set, for measurements and tests.
    pub fn with_isa(isa: Isa, threads: usize) -> Self {
        let pool = (threads > 1)
            .then(|| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|i| format!("kernel-{i}"))
                    .build()
                    .ok()
            })
            .flatten();
        Self { isa, pool }
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads in use, the calling one included.
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Runs `work` on a thread of the pool, so that the operators called inside need no hand-over each.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Calls `task` once on each of `units` threads at the same time, with its number; one unit is the caller.
    pub(crate) fn on_units(&self, units: usize, task: impl Fn(usize) + Send + Sync) {
        match &self.pool {
            Some(pool) if units > 1 => {
                pool.broadcast(|thread| {
                    if thread.index() < units {
                        task(thread.index());
                    }
                });
            }
            _ => (0..units).for_each(task),
        }
    }

    /// Calls `task` for every index below `count`, in any order and on any thread.
    pub(crate) fn each(&self, count: usize, task: impl Fn(usize) + Send + Sync) {
        use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
        match &self.pool {
            Some(pool) if count > 1 => {
                pool.install(|| (0..count).into_par_iter().with_max_len(1).for_each(task));
            }
            _ => (0..count).for_each(task),
        }
    }
}

/// A pointer to an output that several tasks fill, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Output<T>(*mut T);

#[expect(unsafe_code, reason = "tasks write disjoint parts of one output")]
// SAFETY: the pointer is only used inside an operator that borrows the output mutably for its whole duration, and each
// task writes only elements that no other task touches.
unsafe impl<T: Send> Send for Output<T> {}
#[expect(unsafe_code, reason = "tasks write disjoint parts of one output")]
// SAFETY: as above.
unsafe impl<T: Send> Sync for Output<T> {}

impl<T> Output<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// The pointer. A method, so that closures capture the whole wrapper, which is `Sync`.
    #[inline(always)]
    pub(crate) fn get(&self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn each_index_is_visited_once_with_any_number_of_threads() {
        for threads in [0, 1, 2, 5] {
            let cpu = Cpu::new(threads);
            let seen: Vec<_> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            cpu.each(100, |i| {
                seen[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1), "{threads} threads");
            assert_eq!(cpu.threads(), threads.max(1));
        }
    }
}
