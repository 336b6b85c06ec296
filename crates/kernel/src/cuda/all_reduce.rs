//! Sums over the GPUs of one host through NCCL, all ranks in this process.
//!
//! Ranks are the first GPUs in CUDA's order, beginning with the measured one, whose clock times the calls.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::rc::Rc;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes};

use super::ffi::driver::Handle;
use super::ffi::nccl::{DataType, Nccl, SUM};
use super::gpu::{Gpu, missing};
use super::issue::{Issue, sets};
use super::memory::{Rotating, of_size};
use super::numbers::{Mixed, rounding, widen};
use super::plan::Element;
use crate::case::CaseError;

/// Elements that are checked.
const CHECKED: usize = 4096;

/// How long a sum may take before the GPUs are taken not to reach each other, in nanoseconds. The first one sets up
/// connections, which takes seconds.
const PATIENCE_NS: i64 = 60_000_000_000;

/// GPUs that add up what each of them has. Setting them up takes seconds, so one is kept for all sums.
pub(super) struct Clique {
    nccl: Nccl,
    gpus: Vec<Rc<Gpu>>,
    communicators: Vec<Handle>,
    /// A sum did not end: then nothing can be asked of the GPUs any more.
    stuck: Cell<bool>,
}

impl Clique {
    /// The measured GPU and the first others, `ranks` in all.
    pub(super) fn open(gpu: &Rc<Gpu>, ranks: u32) -> Result<Self, CaseError> {
        if ranks < 2 {
            return Err(CaseError::Unsupported { reason: format!("a sum over {ranks} ranks") });
        }
        let nccl = Nccl::open(&gpu.folders).map_err(missing)?;
        let own = gpu.facts.index;
        let mut gpus = vec![gpu.clone()];
        for index in (0..).filter(|index| *index != own).take(ranks as usize - 1) {
            gpus.push(Gpu::open(index, &gpu.folders).map_err(missing)?);
        }
        let devices: Vec<c_int> = gpus.iter().map(|g| g.facts.index as c_int).collect();
        let mut communicators: Vec<Handle> = vec![std::ptr::null_mut(); gpus.len()];
        // SAFETY: both arrays are as long as said.
        let begun = nccl.check("ncclCommInitAll", unsafe {
            (nccl.init_all)(communicators.as_mut_ptr(), devices.len() as c_int, devices.as_ptr())
        });
        gpu.enter()?;
        begun?;
        Ok(Self { nccl, gpus, communicators, stuck: Cell::new(false) })
    }

    /// GPUs that take part.
    pub(super) fn ranks(&self) -> u32 {
        self.gpus.len() as u32
    }

    /// Waits for every rank; the measured device's context is current afterwards.
    fn wait(&self) -> Result<(), CaseError> {
        let begin = monotonic_raw();
        for gpu in self.gpus.iter().rev() {
            gpu.enter()?;
            while !gpu.is_idle()? {
                if monotonic_raw() - begin > PATIENCE_NS {
                    self.stuck.set(true);
                    return Err(CaseError::Lost {
                        reason: "a sum over GPUs did not end within a minute: they do not reach each other \
                                 (NCCL_DEBUG=INFO tells how they try; NCCL_P2P_DISABLE=1 takes another way)"
                            .to_owned(),
                    });
                }
                std::thread::yield_now();
            }
        }
        Ok(())
    }
}

impl Drop for Clique {
    fn drop(&mut self) {
        for communicator in self.communicators.iter().filter(|c| !c.is_null()) {
            // SAFETY: created by this, ended once; an error has nobody left to hear it. One that is stuck would wait
            // for ever when destroyed, so it is aborted, or left alone where that cannot be done.
            unsafe {
                match (self.stuck.get(), self.nccl.abort) {
                    (false, _) => (self.nccl.destroy)(*communicator),
                    (true, Some(abort)) => abort(*communicator),
                    (true, None) => 0,
                };
            }
        }
    }
}

/// A GPU's part of a sum.
struct Rank {
    gpu: Rc<Gpu>,
    communicator: Handle,
    message: Rotating,
    sum: Rotating,
}

/// A sum over ranks.
pub(super) struct AllReduceIssue {
    ranks: Vec<Rank>,
    clique: Rc<Clique>,
    element: Element,
    data: DataType,
    len: usize,
    sets: usize,
}

impl AllReduceIssue {
    pub(super) fn new(
        clique: &Rc<Clique>,
        elements: u32,
        dtypes: Dtypes,
        cache: CacheState,
    ) -> Result<Self, CaseError> {
        let unsupported = |reason: String| CaseError::Unsupported { reason };
        let (element, data) = match dtypes.input {
            _ if dtypes != Dtypes::all(dtypes.input) => {
                return Err(unsupported("a sum of mixed formats".to_owned()));
            }
            Dtype::F32 => (Element::F32, DataType::F32),
            Dtype::F16 => (Element::F16, DataType::F16),
            Dtype::Bf16 => (Element::Bf16, DataType::Bf16),
            other => return Err(unsupported(format!("a sum of {}", other.name()))),
        };
        if elements == 0 {
            return Err(unsupported("a sum of nothing".to_owned()));
        }
        let len = elements as usize;
        let set_bytes = (2 * len * element.bytes()) as u64;
        let measured = &clique.gpus[0];
        let sets = sets(cache, set_bytes, measured.facts.target.l2_bytes);
        let rank = |(number, (gpu, communicator)): (usize, (&Rc<Gpu>, &Handle))| {
            gpu.enter()?;
            let place =
                || Rotating::new(gpu, element, len, sets).map_err(|e| of_size(e, set_bytes * sets as u64));
            let (message, sum) = (place()?, place()?);
            message.fill_uniform(gpu, gpu.seed(number as u64), 1.0)?;
            gpu.wait()?;
            Ok(Rank { gpu: gpu.clone(), communicator: *communicator, message, sum })
        };
        let all = clique.gpus.iter().zip(&clique.communicators).enumerate();
        let ranks = all.map(rank).collect::<Result<Vec<_>, CaseError>>();
        // Whatever failed, what follows is about the measured device.
        measured.enter()?;
        let issue = Self { ranks: ranks?, clique: clique.clone(), element, data, len, sets };
        issue.issue(0)?;
        issue.clique.wait()?;
        Ok(issue)
    }
}

impl Issue for AllReduceIssue {
    fn issue(&self, set: usize) -> Result<(), CaseError> {
        let nccl = &self.clique.nccl;
        // SAFETY (all blocks here): communicators, buffers and streams live; each belongs to its rank.
        nccl.check("ncclGroupStart", unsafe { (nccl.group_start)() })?;
        let mut queued = Ok(());
        for rank in &self.ranks {
            queued = nccl.check("ncclAllReduce", unsafe {
                (nccl.all_reduce)(
                    rank.message.at(set) as *const c_void,
                    rank.sum.at(set) as *mut c_void,
                    self.len,
                    self.data as c_int,
                    SUM,
                    rank.communicator,
                    rank.gpu.stream(),
                )
            });
            if queued.is_err() {
                break;
            }
        }
        // A group that was begun must end, whatever happened in it.
        let ended = nccl.check("ncclGroupEnd", unsafe { (nccl.group_end)() });
        // NCCL goes from device to device.
        self.clique.gpus[0].enter()?;
        queued.and(ended)
    }

    fn sets(&self) -> usize {
        self.sets
    }

    fn set_bytes(&self) -> u64 {
        self.ranks.first().map_or(0, |rank| (rank.message.bytes() + rank.sum.bytes()) as u64)
    }

    fn verify(&self, seed: u64) -> Result<f64, CaseError> {
        for (number, rank) in self.ranks.iter().enumerate() {
            rank.gpu.enter()?;
            rank.message.refill_first(&rank.gpu, Mixed(seed ^ (number as u64) << 40).next(), 1.0)?;
            rank.sum.fill_bytes(&rank.gpu, 0xff)?;
        }
        self.clique.wait()?;
        self.issue(0)?;
        self.clique.wait()?;
        let mut random = Mixed(seed);
        let len = self.len.min(CHECKED);
        let from = (random.next() % (self.len - len + 1) as u64) as usize;
        let mut expected = vec![0.0; len];
        let mut found = Vec::new();
        for rank in &self.ranks {
            rank.gpu.enter()?;
            let message = widen(self.element, &rank.message.read(&rank.gpu, from, len)?);
            expected.iter_mut().zip(message).for_each(|(sum, value)| *sum += value);
            found.push(widen(self.element, &rank.sum.read(&rank.gpu, from, len)?));
        }
        self.clique.gpus[0].enter()?;
        // Each of the additions rounds a sum of at most as many ones as there are ranks.
        let ranks = self.ranks.len() as f64;
        let allowed = (ranks - 1.0) * ranks * rounding(self.element);
        let off = found.iter().flat_map(|sums| {
            sums.iter().zip(&expected).map(|(found, value)| (found - value).abs() / allowed)
        });
        Ok(off.fold(0.0, |worst, off| if off.is_nan() { f64::INFINITY } else { worst.max(off) }))
    }

    fn choice(&self) -> Option<String> {
        Some(format!("nccl {}", self.clique.nccl.version()))
    }

    /// The kernels of the ranks wait for each other: holding or capturing one of them alone would hang the others.
    fn is_plain(&self) -> bool {
        false
    }
}
