//! A CUDA device as a [`Device`].

use std::path::PathBuf;
use std::rc::Rc;

use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes, Launch, Op, OpKind, Shape};

use super::Unavailable;
use super::all_reduce::{AllReduceIssue, Clique};
use super::convolution::{ConvolutionIssue, Geometry};
use super::dnn::Dnn;
use super::floor::FloorIssue;
use super::gpu::{Facts, Gpu};
use super::issue::{CudaCase, Issue};
use super::linear::{LinearIssue, Lt};
use super::observe::Observers;
use super::plan::{Plan, Target};
use super::plan_case::PlanIssue;
use super::plans;
use super::recurrent::{Cell, Layers, RecurrentIssue};
use super::sdpa::{Form, Sdpa};
use crate::case::{About, Case, CaseError, Device};

/// A CUDA device and the libraries that were needed so far.
pub struct CudaDevice {
    gpu: Rc<Gpu>,
    lt: Option<Rc<Lt>>,
    dnn: Option<Rc<Dnn>>,
    clique: Option<Rc<Clique>>,
}

/// Opens device `index`, in CUDA's order. `folders` hold the libraries ([`stopwatt_nvlib::library_folders`]); those for
/// some operators only are opened when such an operator is asked for.
///
/// # Errors
///
/// [`Unavailable`] when there is no driver or no such device.
pub fn open(index: u32, folders: &[PathBuf]) -> Result<CudaDevice, Unavailable> {
    Ok(CudaDevice { gpu: Gpu::open(index, folders)?, lt: None, dnn: None, clique: None })
}

impl CudaDevice {
    /// What it is.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.gpu.facts
    }

    /// Lends functions that read the sensors: clocks and power of rows, throttled samples, other work on the device.
    pub fn observe(&self, observers: Observers) {
        self.gpu.watch.set(observers);
    }

    /// What plans need to know of it.
    #[must_use]
    pub fn target(&self) -> Target {
        self.gpu.facts.target
    }

    /// Sets up a plan that is no operator's, for instance one of a memory level.
    ///
    /// # Errors
    ///
    /// See [`CaseError`].
    pub fn prepare_plan(
        &self,
        plan: Plan,
        launch: Launch,
        cache: CacheState,
    ) -> Result<Box<dyn Case + 'static>, CaseError> {
        self.gpu.enter()?;
        self.case(PlanIssue::new(&self.gpu, plan, cache, None)?, launch, cache)
    }

    pub(super) fn gpu(&self) -> &Rc<Gpu> {
        &self.gpu
    }

    fn lt(&mut self) -> Result<Rc<Lt>, CaseError> {
        if let Some(lt) = &self.lt {
            return Ok(lt.clone());
        }
        let lt = Rc::new(Lt::open(&self.gpu)?);
        self.lt = Some(lt.clone());
        Ok(lt)
    }

    /// An operator by itself, with a library handle and scratch memory of its own, so that several may run at once.
    pub(super) fn alone(&self, op: &Op) -> Result<Box<dyn Issue>, CaseError> {
        self.gpu.enter()?;
        Ok(match (op.kind, op.shape) {
            (OpKind::Linear, Shape::Matrix { m, n, k }) => {
                let lt = Rc::new(Lt::open(&self.gpu)?);
                Box::new(LinearIssue::new(&lt, [m, n, k], op.dtypes, CacheState::Warm)?)
            }
            _ => {
                let plan = plans::plan(op, &self.gpu.facts.target)?;
                Box::new(PlanIssue::new(&self.gpu, plan, CacheState::Warm, None)?)
            }
        })
    }

    fn dnn(&mut self) -> Result<Rc<Dnn>, CaseError> {
        if let Some(dnn) = &self.dnn {
            return Ok(dnn.clone());
        }
        let dnn = Rc::new(Dnn::open(&self.gpu)?);
        self.dnn = Some(dnn.clone());
        Ok(dnn)
    }

    fn clique(&mut self, ranks: u32) -> Result<Rc<Clique>, CaseError> {
        if let Some(clique) = self.clique.as_ref().filter(|c| c.ranks() == ranks) {
            return Ok(clique.clone());
        }
        self.clique = None;
        let clique = Rc::new(Clique::open(&self.gpu, ranks)?);
        self.clique = Some(clique.clone());
        Ok(clique)
    }

    fn case<'a, I: Issue + 'a>(
        &self,
        issue: I,
        launch: Launch,
        cache: CacheState,
    ) -> Result<Box<dyn Case + 'a>, CaseError> {
        Ok(Box::new(CudaCase::new(&self.gpu, issue, launch, cache)?))
    }
}

impl Device for CudaDevice {
    fn about(&self) -> About {
        let facts = &self.gpu.facts;
        let (major, minor) = facts.target.capability;
        let mut libraries = vec![("cuda_driver".to_owned(), facts.driver_cuda.clone())];
        if let Ok(compiler) = self.gpu.compiler() {
            libraries.push(("nvrtc".to_owned(), compiler.nvrtc.version()));
        }
        if let Some(dnn) = &self.dnn {
            libraries.push(("cudnn".to_owned(), dnn.table.version()));
        }
        if let Some(lt) = &self.lt {
            libraries.push(("cublaslt".to_owned(), lt.version()));
        }
        About {
            kind: "cuda",
            name: facts.name.clone(),
            units: facts.target.sm_count,
            instructions: format!("sm_{major}{minor}"),
            libraries,
        }
    }

    fn shared(&mut self) -> Option<String> {
        self.gpu.watch.shared()
    }

    fn vary(&mut self, seed: u64) {
        if self.gpu.enter().is_ok() {
            self.gpu.vary(seed);
        }
    }

    /// Products of 8-bit operands come out in bf16, as serving engines have them.
    fn formats(&self, kind: OpKind, dtype: Dtype) -> Dtypes {
        match (kind, dtype) {
            (OpKind::Linear, Dtype::F8E4m3 | Dtype::I8) => {
                Dtypes { output: Dtype::Bf16, ..Dtypes::all(dtype) }
            }
            _ => Dtypes::all(dtype),
        }
    }

    fn prepare(
        &mut self,
        op: &Op,
        launch: Launch,
        cache: CacheState,
    ) -> Result<Box<dyn Case + '_>, CaseError> {
        self.gpu.enter()?;
        match (op.kind, op.shape) {
            (OpKind::Linear, Shape::Matrix { m, n, k }) => {
                let issue = LinearIssue::new(&self.lt()?, [m, n, k], op.dtypes, cache)?;
                self.case(issue, launch, cache)
            }
            (OpKind::EmptyLaunch | OpKind::EmptyGraph, Shape::Launches { kernels }) => {
                let as_graph = op.kind == OpKind::EmptyGraph;
                self.case(FloorIssue::new(&self.gpu, kernels, as_graph)?, launch, CacheState::Warm)
            }
            (OpKind::AllReduce, Shape::Message { .. }) if launch == Launch::Graph => {
                Err(CaseError::Unsupported {
                    reason: "a sum over several GPUs of one process as a graph".to_owned(),
                })
            }
            (OpKind::AllReduce, Shape::Message { elements, ranks }) => {
                let issue = AllReduceIssue::new(&self.clique(ranks)?, elements, op.dtypes, cache)?;
                self.case(issue, launch, cache)
            }
            (
                OpKind::Conv2d,
                Shape::Image { batch, channels, height, width, filters, kernel, stride, padding },
            ) => {
                let [batch, channels, height, width] = [batch, channels, height, width].map(|s| s as usize);
                let [filters, kernel, stride, padding] =
                    [filters, kernel, stride, padding].map(|s| s as usize);
                let geometry = Geometry { batch, channels, height, width, filters, kernel, stride, padding };
                let issue = ConvolutionIssue::new(&self.dnn()?, geometry, op.dtypes, cache)?;
                self.case(issue, launch, cache)
            }
            (OpKind::Lstm | OpKind::Gru, Shape::Sequence { batch, steps, input, hidden, layers }) => {
                let cell = if op.kind == OpKind::Lstm { Cell::Lstm } else { Cell::Gru };
                let [batch, steps, input, hidden, layers] =
                    [batch, steps, input, hidden, layers].map(|s| s as usize);
                let size = Layers { batch, steps, input, hidden, layers };
                let issue = RecurrentIssue::new(&self.dnn()?, cell, size, op.dtypes, cache)?;
                self.case(issue, launch, cache)
            }
            _ => {
                let plan = plans::plan(op, &self.gpu.facts.target)?;
                let touched = op.work().map(|w| w.bytes() as u64);
                let mut issue = PlanIssue::new(&self.gpu, plan, cache, touched)?;
                if op.kind == OpKind::AttentionPrefill {
                    let parts = Form::of(op).and_then(|form| Ok((self.dnn()?, form)));
                    issue.beside("cudnn sdpa", cache, |sets, place| {
                        let (dnn, form) = parts?;
                        Sdpa::new(dnn, form, sets, place)
                    })?;
                }
                self.case(issue, launch, cache)
            }
        }
    }
}
