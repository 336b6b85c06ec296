//! One device: its context, the stream that everything runs on, and what it is.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::path::PathBuf;
use std::rc::Rc;

use super::Unavailable;
use super::compile::{Compiler, Kernel};
use super::ffi::driver::{Address, Attribute, Driver, Handle, STREAM_NON_BLOCKING};
use super::memory::Reader;
use super::numbers::Mixed;
use super::observe::Watch;
use super::plan::{Source, Target};
use crate::case::CaseError;

/// What a device is, as its driver tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Number in CUDA's order.
    pub index: u32,
    /// Product name.
    pub name: String,
    /// Address on the bus, which the driver's management library knows too, for instance `0000:1B:00.0`.
    pub bus_id: String,
    /// Newest CUDA version that the driver can run, for instance `13.0`.
    pub driver_cuda: String,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Highest clock of the multiprocessors, in kHz.
    pub clock_khz: u32,
    /// Highest clock of the memory, in kHz.
    pub memory_clock_khz: u32,
    /// Width of the memory's bus, in bits.
    pub memory_bus_bits: u32,
    /// Threads that a multiprocessor holds at most.
    pub threads_per_sm: u32,
    /// Shared memory of a multiprocessor, in bytes.
    pub shared_bytes_per_sm: u32,
    /// Registers of a multiprocessor.
    pub registers_per_sm: u32,
    /// What plans need to know.
    pub target: Target,
}

/// A device in use. Everything that belongs to it holds it, so its context outlives them.
pub(super) struct Gpu {
    pub(super) driver: Driver,
    pub(super) facts: Facts,
    pub(super) folders: Vec<PathBuf>,
    pub(super) watch: Watch,
    ordinal: c_int,
    context: Handle,
    stream: Handle,
    /// Where calls are issued now: the stream, or a lane beside it.
    current: Cell<Handle>,
    /// Seed of operands that nothing is checked on.
    variation: Cell<u64>,
    /// Memory that nobody uses, so that operands come to lie elsewhere.
    spacer: Cell<Option<Address>>,
    compiler: RefCell<Option<Rc<Compiler>>>,
    kernels: RefCell<HashMap<String, Rc<Kernel>>>,
    /// Which of a plan's ways was the fastest.
    pub(super) ways: RefCell<HashMap<String, usize>>,
}

/// Kernels that measuring itself needs.
pub(super) const SUPPORT: Source = Source { name: "support.cu", text: include_str!("support.cu") };

impl Gpu {
    pub(super) fn open(index: u32, folders: &[PathBuf]) -> Result<Rc<Self>, Unavailable> {
        // The driver comes with the operating system, never with a toolkit, whose file of that name is a stub.
        let driver = Driver::open(&[])?;
        let unusable = Unavailable::Unusable;
        // SAFETY (all blocks here): the functions have the signatures of cuda.h; places for answers are valid.
        match unsafe { (driver.init)(0) } {
            // CUDA_ERROR_NO_DEVICE
            100 => return Err(Unavailable::NoDevice { index, count: 0 }),
            code => driver.check("cuInit", code).map_err(unusable)?,
        }
        let mut count = 0;
        driver
            .check("cuDeviceGetCount", unsafe { (driver.device_count)(&raw mut count) })
            .map_err(unusable)?;
        let count = u32::try_from(count).unwrap_or(0);
        if index >= count {
            return Err(Unavailable::NoDevice { index, count });
        }
        let mut ordinal = 0;
        driver
            .check("cuDeviceGet", unsafe { (driver.device)(&raw mut ordinal, index as c_int) })
            .map_err(unusable)?;
        let facts = facts(&driver, ordinal, index).map_err(unusable)?;
        let mut context: Handle = std::ptr::null_mut();
        driver
            .check("cuDevicePrimaryCtxRetain", unsafe { (driver.retain)(&raw mut context, ordinal) })
            .map_err(unusable)?;
        driver.check("cuCtxSetCurrent", unsafe { (driver.set_current)(context) }).map_err(unusable)?;
        let mut stream: Handle = std::ptr::null_mut();
        driver
            .check("cuStreamCreate", unsafe { (driver.stream_create)(&raw mut stream, STREAM_NON_BLOCKING) })
            .map_err(unusable)?;
        Ok(Rc::new(Self {
            driver,
            facts,
            folders: folders.to_vec(),
            watch: Watch::default(),
            ordinal,
            context,
            stream,
            current: Cell::new(stream),
            variation: Cell::new(0),
            spacer: Cell::new(None),
            compiler: RefCell::new(None),
            kernels: RefCell::new(HashMap::new()),
            ways: RefCell::new(HashMap::new()),
        }))
    }

    /// The stream that calls are issued on.
    pub(super) fn stream(&self) -> Handle {
        self.current.get()
    }

    /// Issues what `issue` queues on another stream.
    pub(super) fn on<T>(&self, stream: Handle, issue: impl FnOnce() -> T) -> T {
        let before = self.current.replace(stream);
        let answer = issue();
        self.current.set(before);
        answer
    }

    /// Makes the context current on this thread.
    pub(super) fn enter(&self) -> Result<(), CaseError> {
        // SAFETY: the context is retained for as long as this lives.
        self.driver.check("cuCtxSetCurrent", unsafe { (self.driver.set_current)(self.context) })
    }

    /// Waits until everything issued is done.
    pub(super) fn wait(&self) -> Result<(), CaseError> {
        // SAFETY: the stream lives as long as this.
        self.driver.check("cuStreamSynchronize", unsafe { (self.driver.stream_wait)(self.stream()) })
    }

    /// From now on operands are other random ones and lie elsewhere: behind an unused piece of memory of another size.
    pub(super) fn vary(&self, seed: u64) {
        const PAGE: usize = 2 << 20;
        self.variation.set(seed);
        self.free_spacer();
        let pages = 1 + (Mixed(seed).next() % 64) as usize;
        let mut address = 0;
        // SAFETY: a valid place for the answer. Without memory for it there is no spacer, which is no error.
        if unsafe { (self.driver.allocate)(&raw mut address, pages * PAGE) } == 0 {
            self.spacer.set(Some(address));
        }
    }

    /// `number` as a seed, another one after [`Gpu::vary`].
    pub(super) fn seed(&self, number: u64) -> u64 {
        Mixed(self.variation.get() ^ number << 32).next()
    }

    fn free_spacer(&self) {
        if let Some(address) = self.spacer.take() {
            // SAFETY: allocated by `vary`, freed once, used by nobody.
            unsafe { (self.driver.free)(address) };
        }
    }

    /// Whether everything issued is done.
    pub(super) fn is_idle(&self) -> Result<bool, CaseError> {
        // SAFETY: the stream lives as long as this.
        match unsafe { (self.driver.stream_query)(self.stream()) } {
            // CUDA_ERROR_NOT_READY
            600 => Ok(false),
            code => self.driver.check("cuStreamQuery", code).map(|()| true),
        }
    }

    /// Free and total memory, in bytes.
    pub(super) fn memory(&self) -> Result<(u64, u64), CaseError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both are valid places for the answer.
        let code = unsafe { (self.driver.memory_info)(&raw mut free, &raw mut total) };
        self.driver.check("cuMemGetInfo", code)?;
        Ok((free as u64, total as u64))
    }

    /// The compiler, opened on first use.
    pub(super) fn compiler(&self) -> Result<Rc<Compiler>, CaseError> {
        if let Some(compiler) = &*self.compiler.borrow() {
            return Ok(compiler.clone());
        }
        let compiler = Rc::new(Compiler::open(&self.folders, self.facts.target.capability).map_err(missing)?);
        *self.compiler.borrow_mut() = Some(compiler.clone());
        Ok(compiler)
    }

    /// A kernel, compiled and loaded on first use.
    pub(super) fn kernel(
        &self,
        source: &Source,
        entry: &str,
        defines: &[(&'static str, String)],
    ) -> Result<Rc<Kernel>, CaseError> {
        let key = format!("{}\n{entry}\n{defines:?}", source.name);
        if let Some(kernel) = self.kernels.borrow().get(&key) {
            return Ok(kernel.clone());
        }
        let code = self.compiler()?.compile(source, defines)?;
        let kernel = Rc::new(Kernel::load(&self.driver, &code, source.name, entry)?);
        self.kernels.borrow_mut().insert(key, kernel.clone());
        Ok(kernel)
    }

    /// Issues a kernel. Each argument is given in the lowest bytes of a word.
    pub(super) fn launch(
        &self,
        kernel: &Kernel,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        arguments: &[u64],
    ) -> Result<(), CaseError> {
        let mut places: Vec<*mut c_void> =
            arguments.iter().map(|a| std::ptr::from_ref(a).cast_mut().cast()).collect();
        // SAFETY: the driver copies the arguments before it returns; their number and sizes are the kernel's, which
        // plans state beside its source; the machine is little-endian, so a word's lowest bytes come first.
        let code = unsafe {
            (self.driver.launch)(
                kernel.function,
                grid[0],
                grid[1],
                grid[2],
                block[0],
                block[1],
                block[2],
                shared_bytes,
                self.stream(),
                places.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        match code {
            // CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: registers or shared memory, not a fault of the device
            701 => Err(CaseError::Unsupported {
                reason: format!("cuLaunchKernel of {}: {}", kernel.entry, self.driver.words(code)),
            }),
            code => self.driver.check("cuLaunchKernel", code),
        }
    }

    /// Sets bytes of device memory, in the stream.
    pub(super) fn set_bytes(&self, at: Address, value: u8, bytes: usize) -> Result<(), CaseError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: `at` and `bytes` lie within a buffer of ours, which callers hold.
        let code = unsafe { (self.driver.fill_bytes)(at, value, bytes, self.stream()) };
        self.driver.check("cuMemsetD8Async", code)
    }

    /// Copies to the device, after everything issued so far.
    pub(super) fn to_device(&self, at: Address, data: &[u8]) -> Result<(), CaseError> {
        if data.is_empty() {
            return Ok(());
        }
        self.wait()?;
        // SAFETY: callers give an address within a buffer that holds `data`.
        let code = unsafe { (self.driver.to_device)(at, data.as_ptr().cast(), data.len()) };
        self.driver.check("cuMemcpyHtoD", code)
    }

    /// Copies from the device, after everything issued so far.
    pub(super) fn to_host(&self, at: Address, bytes: usize) -> Result<Vec<u8>, CaseError> {
        let mut data = vec![0_u8; bytes];
        if bytes > 0 {
            self.wait()?;
            // SAFETY: `data` holds `bytes`, which callers give within a buffer.
            let code = unsafe { (self.driver.to_host)(data.as_mut_ptr().cast(), at, bytes) };
            self.driver.check("cuMemcpyDtoH", code)?;
        }
        Ok(data)
    }

    /// Reads device memory from any thread, after everything issued so far is done.
    pub(super) fn reader(&self) -> Reader {
        Reader::new(&self.driver, self.context)
    }

    /// Blocks for a kernel that strides over as much as there is.
    pub(super) fn striding_grid(&self) -> [u32; 3] {
        [self.facts.target.sm_count * 8, 1, 1]
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.kernels.borrow_mut().clear();
        self.free_spacer();
        // SAFETY: nothing that belongs to the context is left: each holds this.
        unsafe {
            (self.driver.stream_destroy)(self.stream);
            (self.driver.release)(self.ordinal);
        }
    }
}

/// A library that is missing, as a reason for not running an operator.
pub(super) fn missing(reason: Unavailable) -> CaseError {
    CaseError::Unsupported { reason: reason.to_string() }
}

fn facts(driver: &Driver, device: c_int, index: u32) -> Result<Facts, CaseError> {
    let attribute = |attribute: Attribute| {
        let mut value = 0;
        // SAFETY: `value` is a valid place for the answer.
        let code = unsafe { (driver.attribute)(&raw mut value, attribute as c_int, device) };
        driver.check("cuDeviceGetAttribute", code)?;
        Ok(u32::try_from(value).unwrap_or(0))
    };
    let words = |call, f: unsafe extern "C" fn(*mut std::ffi::c_char, c_int, c_int) -> u32| {
        let mut letters = [0 as std::ffi::c_char; 128];
        // SAFETY: the length given is one less than the array's, so a zero follows whatever is written.
        driver.check(call, unsafe { f(letters.as_mut_ptr(), letters.len() as c_int - 1, device) })?;
        Ok::<_, CaseError>(letters.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect())
    };
    let (mut memory, mut version) = (0, 0);
    // SAFETY: valid places for the answers.
    driver.check("cuDeviceTotalMem", unsafe { (driver.device_memory)(&raw mut memory, device) })?;
    // SAFETY: the same.
    driver.check("cuDriverGetVersion", unsafe { (driver.driver_version)(&raw mut version) })?;
    Ok(Facts {
        index,
        name: words("cuDeviceGetName", driver.device_name)?,
        bus_id: words("cuDeviceGetPCIBusId", driver.device_bus_id)?,
        driver_cuda: format!("{}.{}", version / 1000, version % 1000 / 10),
        memory_bytes: memory as u64,
        clock_khz: attribute(Attribute::ClockKhz)?,
        memory_clock_khz: attribute(Attribute::MemoryClockKhz)?,
        memory_bus_bits: attribute(Attribute::MemoryBusBits)?,
        threads_per_sm: attribute(Attribute::ThreadsPerMultiprocessor)?,
        shared_bytes_per_sm: attribute(Attribute::SharedBytesPerMultiprocessor)?,
        registers_per_sm: attribute(Attribute::RegistersPerMultiprocessor)?,
        target: Target {
            sm_count: attribute(Attribute::Multiprocessors)?,
            capability: (attribute(Attribute::CapabilityMajor)?, attribute(Attribute::CapabilityMinor)?),
            shared_bytes_per_block: attribute(Attribute::SharedBytesPerBlock)?,
            l2_bytes: u64::from(attribute(Attribute::L2Bytes)?),
        },
    })
}
