//! Memory of the device, and operands that rotate.

use std::ffi::{c_uint, c_void};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::ffi::driver::{Address, Driver, HOST_MAPPED, Handle};
use super::gpu::{Gpu, SUPPORT};
use super::plan::Element;
use crate::case::CaseError;

/// A piece of device memory.
pub(super) struct Buffer {
    gpu: Rc<Gpu>,
    address: Address,
    bytes: usize,
}

impl Buffer {
    /// Allocates; [`CaseError::OutOfMemory`] tells how much was asked for.
    pub(super) fn new(gpu: &Rc<Gpu>, bytes: usize) -> Result<Self, CaseError> {
        let bytes = bytes.max(1);
        let mut address = 0;
        // SAFETY: `address` is a valid place for the answer.
        let code = unsafe { (gpu.driver.allocate)(&raw mut address, bytes) };
        gpu.driver.check("cuMemAlloc", code).map_err(|e| of_size(e, bytes as u64))?;
        Ok(Self { gpu: gpu.clone(), address, bytes })
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated by this, freed once; the driver waits for work that uses it.
        unsafe { (self.gpu.driver.free)(self.address) };
    }
}

/// Says how large what did not fit was.
pub(super) fn of_size(error: CaseError, bytes: u64) -> CaseError {
    match error {
        CaseError::OutOfMemory { .. } => CaseError::OutOfMemory { bytes },
        other => other,
    }
}

/// Copies of an operand, one for each call until they repeat.
pub(super) struct Rotating {
    buffer: Buffer,
    element: Element,
    len: usize,
    stride: usize,
    sets: usize,
}

/// Distance of copies: vectorised loads and the libraries want 256 bytes at most.
const ALIGNMENT: usize = 256;

impl Rotating {
    pub(super) fn new(gpu: &Rc<Gpu>, element: Element, len: usize, sets: usize) -> Result<Self, CaseError> {
        let stride = (len * element.bytes()).div_ceil(ALIGNMENT).max(1) * ALIGNMENT;
        Ok(Self { buffer: Buffer::new(gpu, stride * sets)?, element, len, stride, sets })
    }

    /// Address of a copy.
    pub(super) fn at(&self, set: usize) -> Address {
        self.buffer.address() + ((set % self.sets) * self.stride) as u64
    }

    /// Bytes of one copy.
    pub(super) fn bytes(&self) -> usize {
        self.len * self.element.bytes()
    }

    /// Random values in every copy, uniform in `[-scale, scale]`.
    pub(super) fn fill_uniform(&self, gpu: &Gpu, seed: u64, scale: f32) -> Result<(), CaseError> {
        self.uniform(gpu, self.buffer.address(), self.buffer.bytes() / self.element.bytes(), seed, scale)
    }

    /// The same in the first copy alone.
    pub(super) fn refill_first(&self, gpu: &Gpu, seed: u64, scale: f32) -> Result<(), CaseError> {
        self.uniform(gpu, self.buffer.address(), self.len, seed, scale)
    }

    fn uniform(&self, gpu: &Gpu, at: Address, count: usize, seed: u64, scale: f32) -> Result<(), CaseError> {
        let kernel = gpu.kernel(&SUPPORT, "fill_uniform", &[])?;
        let element: u64 = match self.element {
            Element::F32 => 0,
            Element::F16 => 1,
            Element::Bf16 => 2,
            Element::F8E4m3 => 3,
            Element::I8 => 4,
            Element::I32 => 5,
        };
        let arguments = [at, count as u64, seed, u64::from(scale.to_bits()), element];
        gpu.launch(&kernel, gpu.striding_grid(), [256, 1, 1], 0, &arguments)
    }

    /// Random integers in `0 .. limit`, others in every copy, or in the first alone.
    pub(super) fn fill_below(
        &self,
        gpu: &Gpu,
        seed: u64,
        limit: u32,
        first_alone: bool,
    ) -> Result<(), CaseError> {
        let kernel = gpu.kernel(&SUPPORT, "fill_below", &[])?;
        let count = if first_alone { self.len } else { self.buffer.bytes() / self.element.bytes() };
        let arguments = [self.buffer.address(), count as u64, seed, u64::from(limit.max(1))];
        gpu.launch(&kernel, gpu.striding_grid(), [256, 1, 1], 0, &arguments)
    }

    /// One byte in every copy.
    pub(super) fn fill_bytes(&self, gpu: &Gpu, value: u8) -> Result<(), CaseError> {
        gpu.set_bytes(self.buffer.address(), value, self.buffer.bytes())
    }

    /// The same content in every copy.
    pub(super) fn fill_from(&self, gpu: &Gpu, data: &[u8]) -> Result<(), CaseError> {
        if data.len() != self.bytes() {
            return Err(CaseError::Failed {
                reason: format!("{} bytes were given for an operand of {}", data.len(), self.bytes()),
            });
        }
        (0..self.sets).try_for_each(|set| gpu.to_device(self.at(set), data))
    }

    /// Content of the first copy.
    pub(super) fn read_all(&self, gpu: &Gpu) -> Result<Vec<u8>, CaseError> {
        self.read(gpu, 0, self.len)
    }

    /// Content of the first copy from element `from` on.
    pub(super) fn read(&self, gpu: &Gpu, from: usize, len: usize) -> Result<Vec<u8>, CaseError> {
        let size = self.element.bytes();
        if from + len > self.len {
            return Err(CaseError::Failed {
                reason: format!("elements {from}..{} of {} were asked for", from + len, self.len),
            });
        }
        gpu.to_host(self.buffer.address() + (from * size) as u64, len * size)
    }
}

/// Copies pieces of device memory to the host, from any thread. What is read must be written already, and live.
pub(super) struct Reader {
    enter: unsafe extern "C" fn(Handle) -> c_uint,
    copy: unsafe extern "C" fn(*mut c_void, Address, usize) -> c_uint,
    context: Handle,
    /// The first status that was not success, or 0.
    failed: AtomicU32,
}

// SAFETY: the driver's functions may be called from any thread; each call makes the context current on its own thread.
unsafe impl Sync for Reader {}

impl Reader {
    pub(super) fn new(driver: &Driver, context: Handle) -> Self {
        Self { enter: driver.set_current, copy: driver.to_host, context, failed: AtomicU32::new(0) }
    }

    /// `bytes` from `at` on; nothing when that failed, which [`Reader::failure`] then tells.
    pub(super) fn read(&self, at: Address, bytes: usize) -> Vec<u8> {
        let mut data = vec![0_u8; bytes];
        // SAFETY: the context lives as long as the device that made this; `data` holds `bytes`, and callers name memory
        // within a buffer.
        let code = unsafe {
            match (self.enter)(self.context) {
                0 => (self.copy)(data.as_mut_ptr().cast(), at, bytes),
                code => code,
            }
        };
        if code == 0 {
            return data;
        }
        // The first one counts: what follows it often has no other reason.
        let _ = self.failed.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
        Vec::new()
    }

    /// The first failure, if there was one.
    pub(super) fn failure(&self, driver: &Driver) -> Result<(), CaseError> {
        driver.check("cuMemcpyDtoH", self.failed.load(Ordering::Relaxed))
    }
}

/// A few words of host memory that the device sees too.
pub(super) struct Shared {
    gpu: Rc<Gpu>,
    words: *mut c_void,
    address: Address,
}

impl Shared {
    pub(super) fn new(gpu: &Rc<Gpu>) -> Result<Self, CaseError> {
        let mut words: *mut c_void = std::ptr::null_mut();
        // SAFETY: a valid place for the answer.
        let code = unsafe { (gpu.driver.allocate_host)(&raw mut words, 64, HOST_MAPPED) };
        gpu.driver.check("cuMemHostAlloc", code)?;
        let mut shared = Self { gpu: gpu.clone(), words, address: 0 };
        // SAFETY: a valid place for the answer; `words` was just allocated as mapped.
        let code = unsafe { (gpu.driver.device_pointer)(&raw mut shared.address, words, 0) };
        gpu.driver.check("cuMemHostGetDevicePointer", code)?;
        Ok(shared)
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    pub(super) fn write(&self, index: usize, value: u32) {
        assert!(index < 16, "64 bytes are 16 words");
        // SAFETY: within the 64 bytes, aligned; the device reads it at the same time, hence volatile.
        unsafe { self.words.cast::<u32>().add(index).write_volatile(value) };
    }

    pub(super) fn read(&self, index: usize) -> u32 {
        assert!(index < 16, "64 bytes are 16 words");
        // SAFETY: as in `write`.
        unsafe { self.words.cast::<u32>().add(index).read_volatile() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: allocated by this, freed once.
        unsafe { (self.gpu.driver.free_host)(self.words) };
    }
}
