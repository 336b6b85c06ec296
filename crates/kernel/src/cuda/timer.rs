//! Events, graphs, and a stream that is held until everything is queued.
//!
//! ```text
//! hold ─► [flush] ─► start event ─► calls … ─► end event      the host queues all this, then lets go
//! ```
//!
//! Without holding, the device waits for the host between short kernels, and the time of launching is taken for the
//! kernels' own.

use std::ffi::c_uint;
use std::rc::Rc;

use super::ffi::driver::{
    CAPTURE_RELAXED, EVENT_DEFAULT, Handle, KernelNode, NODE_KERNEL, STREAM_NON_BLOCKING,
};
use super::gpu::{Gpu, SUPPORT};
use super::memory::{Buffer, Shared};
use crate::case::CaseError;

/// How long a held stream waits for the host before it goes on, in nanoseconds.
const HOLD_LIMIT_NS: u64 = 2_000_000_000;

/// A point in the stream whose time the device notes.
struct Event {
    gpu: Rc<Gpu>,
    handle: Handle,
}

impl Event {
    fn new(gpu: &Rc<Gpu>) -> Result<Self, CaseError> {
        let mut handle: Handle = std::ptr::null_mut();
        // SAFETY: a valid place for the answer.
        let code = unsafe { (gpu.driver.event_create)(&raw mut handle, EVENT_DEFAULT) };
        gpu.driver.check("cuEventCreate", code)?;
        Ok(Self { gpu: gpu.clone(), handle })
    }

    fn record(&self) -> Result<(), CaseError> {
        // SAFETY: event and stream live.
        let code = unsafe { (self.gpu.driver.event_record)(self.handle, self.gpu.stream()) };
        self.gpu.driver.check("cuEventRecord", code)
    }

    /// Waits for it and tells the seconds since `start`.
    fn seconds_since(&self, start: &Event) -> Result<f64, CaseError> {
        // SAFETY: the event lives and was recorded.
        let code = unsafe { (self.gpu.driver.event_wait)(self.handle) };
        self.gpu.driver.check("cuEventSynchronize", code)?;
        let mut milliseconds = 0f32;
        // SAFETY: both events were recorded and are done.
        let code =
            unsafe { (self.gpu.driver.event_elapsed)(&raw mut milliseconds, start.handle, self.handle) };
        self.gpu.driver.check("cuEventElapsedTime", code)?;
        Ok(f64::from(milliseconds) / 1e3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: created by this, destroyed once.
        unsafe { (self.gpu.driver.event_destroy)(self.handle) };
    }
}

/// A stream beside the device's own.
pub(super) struct Lane {
    gpu: Rc<Gpu>,
    stream: Handle,
    done: Event,
}

impl Lane {
    pub(super) fn new(gpu: &Rc<Gpu>) -> Result<Self, CaseError> {
        let done = Event::new(gpu)?;
        let mut stream: Handle = std::ptr::null_mut();
        // SAFETY: a valid place for the answer.
        let code = unsafe { (gpu.driver.stream_create)(&raw mut stream, STREAM_NON_BLOCKING) };
        gpu.driver.check("cuStreamCreate", code)?;
        Ok(Self { gpu: gpu.clone(), stream, done })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // SAFETY: created by this, destroyed once; the driver lets queued work end first.
        unsafe { (self.gpu.driver.stream_destroy)(self.stream) };
    }
}

/// Times what is issued between two events.
pub(super) struct Timer {
    gpu: Rc<Gpu>,
    start: Event,
    end: Event,
    flag: Shared,
    evict: Option<Buffer>,
}

impl Timer {
    pub(super) fn new(gpu: &Rc<Gpu>) -> Result<Self, CaseError> {
        Ok(Self {
            gpu: gpu.clone(),
            start: Event::new(gpu)?,
            end: Event::new(gpu)?,
            flag: Shared::new(gpu)?,
            evict: None,
        })
    }

    /// Seconds between the start and the end of what `issue` queues. With `held`, nothing starts before all is queued;
    /// `None` when the device could not wait that long (the queue was full), so that the time would hold gaps.
    pub(super) fn time(
        &self,
        held: bool,
        issue: &mut dyn FnMut() -> Result<(), CaseError>,
    ) -> Result<Option<f64>, CaseError> {
        if held {
            self.flag.write(0, 0);
            self.flag.write(1, 0);
            let kernel = self.gpu.kernel(&SUPPORT, "hold", &[])?;
            self.gpu.launch(&kernel, [1; 3], [1; 3], 0, &[self.flag.address(), HOLD_LIMIT_NS])?;
        }
        let queued = self.start.record().and_then(|()| issue()).and_then(|()| self.end.record());
        // Let go whatever happened: an error must not leave the stream waiting.
        self.flag.write(0, 1);
        if let Err(error) = queued {
            self.gpu.wait()?;
            return Err(error);
        }
        let seconds = self.end.seconds_since(&self.start)?;
        Ok((!held || self.flag.read(1) == 0).then_some(seconds))
    }

    /// Seconds from a common start until all lanes are done, each with what `issue` queues for it.
    pub(super) fn time_beside(
        &self,
        lanes: &[Lane],
        issue: &mut dyn FnMut(usize) -> Result<(), CaseError>,
    ) -> Result<Option<f64>, CaseError> {
        let driver = &self.gpu.driver;
        let wait = |stream: Handle, event: &Event| {
            // SAFETY: stream and event live; the event was recorded before.
            driver.check("cuStreamWaitEvent", unsafe { (driver.stream_wait_event)(stream, event.handle, 0) })
        };
        self.time(true, &mut || {
            for (number, lane) in lanes.iter().enumerate() {
                // The start was recorded behind what holds the stream, so the lanes are held, too.
                wait(lane.stream, &self.start)?;
                self.gpu.on(lane.stream, || issue(number).and_then(|()| lane.done.record()))?;
                wait(self.gpu.stream(), &lane.done)?;
            }
            Ok(())
        })
    }

    /// Fills the last-level cache with something else by reading twice its size.
    pub(super) fn flush(&mut self) -> Result<(), CaseError> {
        if self.evict.is_none() {
            let bytes = (self.gpu.facts.target.l2_bytes * 2).max(1 << 20) as usize;
            let buffer = Buffer::new(&self.gpu, bytes)?;
            self.gpu.set_bytes(buffer.address(), 0, bytes)?;
            self.evict = Some(buffer);
        }
        let Some(buffer) = &self.evict else { return Ok(()) };
        let kernel = self.gpu.kernel(&SUPPORT, "read_all", &[])?;
        let arguments = [buffer.address(), (buffer.bytes() / 16) as u64, buffer.address()];
        self.gpu.launch(&kernel, self.gpu.striding_grid(), [512, 1, 1], 0, &arguments)
    }
}

/// What a captured call launches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Launched {
    /// Name, as the compiler mangled it.
    pub(super) name: Option<String>,
    /// Blocks.
    pub(super) grid: u32,
    /// Threads a block.
    pub(super) block: u32,
}

/// Calls that were captured instead of run.
pub(super) struct Graph {
    gpu: Rc<Gpu>,
    graph: Handle,
    executable: Option<Handle>,
}

impl Graph {
    /// Captures what `issue` queues on the device's stream.
    pub(super) fn capture(
        gpu: &Rc<Gpu>,
        issue: &mut dyn FnMut() -> Result<(), CaseError>,
    ) -> Result<Self, CaseError> {
        // SAFETY: the stream lives and is not the default one; relaxed mode lets libraries allocate meanwhile.
        let code = unsafe { (gpu.driver.capture_begin)(gpu.stream(), CAPTURE_RELAXED) };
        gpu.driver.check("cuStreamBeginCapture", code)?;
        let queued = issue();
        let mut graph: Handle = std::ptr::null_mut();
        // SAFETY: ends the capture begun above, also when it was spoiled; then `graph` stays null.
        let code = unsafe { (gpu.driver.capture_end)(gpu.stream(), &raw mut graph) };
        let captured = Self { gpu: gpu.clone(), graph, executable: None };
        queued?;
        gpu.driver.check("cuStreamEndCapture", code)?;
        if captured.graph.is_null() {
            return Err(CaseError::Unsupported {
                reason: "the calls cannot be captured as a graph".to_owned(),
            });
        }
        Ok(captured)
    }

    /// Its kernels, in the order in which the driver keeps them; copies and fills are left out.
    pub(super) fn kernels(&self) -> Result<Vec<Launched>, CaseError> {
        let driver = &self.gpu.driver;
        let mut count = 0;
        // SAFETY: without a place for nodes the driver tells their number.
        let code = unsafe { (driver.graph_nodes)(self.graph, std::ptr::null_mut(), &raw mut count) };
        driver.check("cuGraphGetNodes", code)?;
        let mut nodes: Vec<Handle> = vec![std::ptr::null_mut(); count];
        // SAFETY: `nodes` has room for `count`.
        let code = unsafe { (driver.graph_nodes)(self.graph, nodes.as_mut_ptr(), &raw mut count) };
        driver.check("cuGraphGetNodes", code)?;
        nodes.truncate(count);
        let mut kernels = Vec::new();
        for node in nodes {
            let mut kind: c_uint = 0;
            // SAFETY: the node belongs to the graph; a valid place for the answer.
            driver.check("cuGraphNodeGetType", unsafe { (driver.node_type)(node, &raw mut kind) })?;
            if kind != NODE_KERNEL {
                continue;
            }
            let mut kernel = KernelNode::empty();
            // SAFETY: the node is a kernel; the structure is that of version 2, which the function's name asks for.
            driver.check("cuGraphKernelNodeGetParams", unsafe {
                (driver.kernel_node)(node, &raw mut kernel)
            })?;
            let product =
                |sizes: [c_uint; 3]| sizes.iter().fold(1_u32, |all, size| all.saturating_mul(*size));
            kernels.push(Launched {
                name: driver.name_of(&kernel),
                grid: product(kernel.grid),
                block: product(kernel.block),
            });
        }
        Ok(kernels)
    }

    /// Makes it ready to run, and puts it on the device.
    pub(super) fn instantiate(&mut self) -> Result<(), CaseError> {
        let driver = &self.gpu.driver;
        let mut executable: Handle = std::ptr::null_mut();
        // SAFETY: the graph lives; no flags.
        let code = unsafe { (driver.graph_instantiate)(&raw mut executable, self.graph, 0) };
        driver.check("cuGraphInstantiateWithFlags", code)?;
        self.executable = Some(executable);
        // SAFETY: just instantiated; the stream lives.
        driver.check("cuGraphUpload", unsafe { (driver.graph_upload)(executable, self.gpu.stream()) })?;
        self.gpu.wait()
    }

    /// Queues it.
    pub(super) fn launch(&self) -> Result<(), CaseError> {
        let Some(executable) = self.executable else {
            return Err(CaseError::Failed { reason: "the graph was not instantiated".to_owned() });
        };
        // SAFETY: instantiated and alive.
        let code = unsafe { (self.gpu.driver.graph_launch)(executable, self.gpu.stream()) };
        self.gpu.driver.check("cuGraphLaunch", code)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: each was created by this and is destroyed once; the driver keeps a running one until it is done.
        unsafe {
            if let Some(executable) = self.executable {
                (self.gpu.driver.graph_executable_destroy)(executable);
            }
            if !self.graph.is_null() {
                (self.gpu.driver.graph_destroy)(self.graph);
            }
        }
    }
}
