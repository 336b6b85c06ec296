//! What launching costs at all: kernels that do nothing.

use std::rc::Rc;

use super::compile::Kernel;
use super::gpu::{Gpu, SUPPORT};
use super::issue::Issue;
use super::timer::Graph;
use crate::case::CaseError;

/// Kernels in a row that do nothing, one by one or as one graph.
pub(super) struct FloorIssue {
    gpu: Rc<Gpu>,
    kernel: Rc<Kernel>,
    kernels: u32,
    graph: Option<Graph>,
}

impl FloorIssue {
    pub(super) fn new(gpu: &Rc<Gpu>, kernels: u32, as_graph: bool) -> Result<Self, CaseError> {
        if kernels == 0 || kernels > 100_000 {
            return Err(CaseError::Unsupported {
                reason: format!("{kernels} kernels in a row (1 to 100000)"),
            });
        }
        let kernel = gpu.kernel(&SUPPORT, "nothing", &[])?;
        let mut issue = Self { gpu: gpu.clone(), kernel, kernels, graph: None };
        issue.launch_all()?;
        if as_graph {
            let mut graph = Graph::capture(gpu, &mut || issue.launch_all())?;
            graph.instantiate()?;
            issue.graph = Some(graph);
        }
        gpu.wait()?;
        Ok(issue)
    }

    fn launch_all(&self) -> Result<(), CaseError> {
        (0..self.kernels).try_for_each(|_| self.gpu.launch(&self.kernel, [1; 3], [32, 1, 1], 0, &[]))
    }
}

impl Issue for FloorIssue {
    fn issue(&self, _set: usize) -> Result<(), CaseError> {
        match &self.graph {
            Some(graph) => graph.launch(),
            None => self.launch_all(),
        }
    }

    fn sets(&self) -> usize {
        1
    }

    fn set_bytes(&self) -> u64 {
        0
    }

    /// There is no result; that they run without an error is all that can be said.
    fn verify(&self, _seed: u64) -> Result<f64, CaseError> {
        self.issue(0)?;
        self.gpu.wait()?;
        Ok(0.0)
    }

    fn choice(&self) -> Option<String> {
        Some("nothing".to_owned())
    }

    fn counts_launching(&self) -> bool {
        true
    }
}
