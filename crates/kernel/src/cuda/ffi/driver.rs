//! The CUDA driver (`cuda.h`).

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::{functions, text};
use crate::case::CaseError;

/// Opaque things of the driver.
pub(in crate::cuda) type Handle = *mut c_void;
/// An address in device memory.
pub(in crate::cuda) type Address = u64;

/// `CUDA_KERNEL_NODE_PARAMS_v2`
#[repr(C)]
pub(in crate::cuda) struct KernelNode {
    pub(in crate::cuda) function: Handle,
    pub(in crate::cuda) grid: [c_uint; 3],
    pub(in crate::cuda) block: [c_uint; 3],
    pub(in crate::cuda) shared_bytes: c_uint,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
    pub(in crate::cuda) kernel: Handle,
    context: Handle,
}

impl KernelNode {
    pub(in crate::cuda) fn empty() -> Self {
        let none = std::ptr::null_mut();
        Self {
            function: none,
            grid: [0; 3],
            block: [0; 3],
            shared_bytes: 0,
            parameters: std::ptr::null_mut(),
            extra: std::ptr::null_mut(),
            kernel: none,
            context: none,
        }
    }
}

/// Attributes of a device (`CU_DEVICE_ATTRIBUTE_…`).
#[derive(Clone, Copy)]
#[repr(i32)]
pub(in crate::cuda) enum Attribute {
    ClockKhz = 13,
    Multiprocessors = 16,
    MemoryClockKhz = 36,
    MemoryBusBits = 37,
    L2Bytes = 38,
    ThreadsPerMultiprocessor = 39,
    CapabilityMajor = 75,
    CapabilityMinor = 76,
    SharedBytesPerMultiprocessor = 81,
    RegistersPerMultiprocessor = 82,
    SharedBytesPerBlock = 97,
}

/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`
pub(in crate::cuda) const DYNAMIC_SHARED_BYTES: c_int = 8;
/// `CU_STREAM_NON_BLOCKING`
pub(in crate::cuda) const STREAM_NON_BLOCKING: c_uint = 1;
/// `CU_STREAM_CAPTURE_MODE_RELAXED`
pub(in crate::cuda) const CAPTURE_RELAXED: c_uint = 2;
/// `CU_EVENT_DEFAULT`: with timing
pub(in crate::cuda) const EVENT_DEFAULT: c_uint = 0;
/// `CU_MEMHOSTALLOC_DEVICEMAP`
pub(in crate::cuda) const HOST_MAPPED: c_uint = 2;
/// `CU_GRAPH_NODE_TYPE_KERNEL`
pub(in crate::cuda) const NODE_KERNEL: c_uint = 0;

functions! {
    /// The driver.
    Driver from "libcuda" after [];
    required {
        init = "cuInit" (c_uint) -> c_uint;
        driver_version = "cuDriverGetVersion" (*mut c_int) -> c_uint;
        device_count = "cuDeviceGetCount" (*mut c_int) -> c_uint;
        device = "cuDeviceGet" (*mut c_int, c_int) -> c_uint;
        device_name = "cuDeviceGetName" (*mut c_char, c_int, c_int) -> c_uint;
        device_bus_id = "cuDeviceGetPCIBusId" (*mut c_char, c_int, c_int) -> c_uint;
        device_memory = "cuDeviceTotalMem_v2" (*mut usize, c_int) -> c_uint;
        attribute = "cuDeviceGetAttribute" (*mut c_int, c_int, c_int) -> c_uint;
        retain = "cuDevicePrimaryCtxRetain" (*mut Handle, c_int) -> c_uint;
        release = "cuDevicePrimaryCtxRelease_v2" (c_int) -> c_uint;
        set_current = "cuCtxSetCurrent" (Handle) -> c_uint;
        memory_info = "cuMemGetInfo_v2" (*mut usize, *mut usize) -> c_uint;
        allocate = "cuMemAlloc_v2" (*mut Address, usize) -> c_uint;
        free = "cuMemFree_v2" (Address) -> c_uint;
        allocate_host = "cuMemHostAlloc" (*mut *mut c_void, usize, c_uint) -> c_uint;
        free_host = "cuMemFreeHost" (*mut c_void) -> c_uint;
        device_pointer = "cuMemHostGetDevicePointer_v2" (*mut Address, *mut c_void, c_uint) -> c_uint;
        to_device = "cuMemcpyHtoD_v2" (Address, *const c_void, usize) -> c_uint;
        to_host = "cuMemcpyDtoH_v2" (*mut c_void, Address, usize) -> c_uint;
        fill_bytes = "cuMemsetD8Async" (Address, u8, usize, Handle) -> c_uint;
        module_load = "cuModuleLoadData" (*mut Handle, *const c_void) -> c_uint;
        function = "cuModuleGetFunction" (*mut Handle, Handle, *const c_char) -> c_uint;
        function_set = "cuFuncSetAttribute" (Handle, c_int, c_int) -> c_uint;
        launch = "cuLaunchKernel" (
            Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
        ) -> c_uint;
        stream_create = "cuStreamCreate" (*mut Handle, c_uint) -> c_uint;
        stream_destroy = "cuStreamDestroy_v2" (Handle) -> c_uint;
        stream_query = "cuStreamQuery" (Handle) -> c_uint;
        stream_wait = "cuStreamSynchronize" (Handle) -> c_uint;
        stream_wait_event = "cuStreamWaitEvent" (Handle, Handle, c_uint) -> c_uint;
        event_create = "cuEventCreate" (*mut Handle, c_uint) -> c_uint;
        event_destroy = "cuEventDestroy_v2" (Handle) -> c_uint;
        event_record = "cuEventRecord" (Handle, Handle) -> c_uint;
        event_wait = "cuEventSynchronize" (Handle) -> c_uint;
        event_elapsed = "cuEventElapsedTime" (*mut f32, Handle, Handle) -> c_uint;
        capture_begin = "cuStreamBeginCapture_v2" (Handle, c_uint) -> c_uint;
        capture_end = "cuStreamEndCapture" (Handle, *mut Handle) -> c_uint;
        graph_instantiate = "cuGraphInstantiateWithFlags" (*mut Handle, Handle, u64) -> c_uint;
        graph_upload = "cuGraphUpload" (Handle, Handle) -> c_uint;
        graph_launch = "cuGraphLaunch" (Handle, Handle) -> c_uint;
        graph_destroy = "cuGraphDestroy" (Handle) -> c_uint;
        graph_executable_destroy = "cuGraphExecDestroy" (Handle) -> c_uint;
        graph_nodes = "cuGraphGetNodes" (Handle, *mut Handle, *mut usize) -> c_uint;
        node_type = "cuGraphNodeGetType" (Handle, *mut c_uint) -> c_uint;
        kernel_node = "cuGraphKernelNodeGetParams_v2" (Handle, *mut KernelNode) -> c_uint;
        error_name = "cuGetErrorName" (c_uint, *mut *const c_char) -> c_uint;
        error_text = "cuGetErrorString" (c_uint, *mut *const c_char) -> c_uint;
    }
    optional {
        function_name = "cuFuncGetName" (*mut *const c_char, Handle) -> c_uint;
        kernel_name = "cuKernelGetName" (*mut *const c_char, Handle) -> c_uint;
    }
}

impl Driver {
    /// A status as an answer. Out of memory carries no size here; whoever allocates knows it.
    pub(in crate::cuda) fn check(&self, call: &'static str, code: c_uint) -> Result<(), CaseError> {
        if code == 0 {
            return Ok(());
        }
        let reason = format!("{call}: {}", self.words(code));
        Err(match code {
            2 => CaseError::OutOfMemory { bytes: 0 },
            // CUDA_ERROR_NOT_SUPPORTED, …_STREAM_CAPTURE_UNSUPPORTED
            801 | 900 => CaseError::Unsupported { reason },
            // Uncorrectable memory or link errors, illegal addresses and instructions, time-outs, asserts, launch
            // failures, contained errors, unknown: the context answers every later call with the same.
            214 | 220 | 700 | 702 | 710 | 714..=719 | 721 | 999 => CaseError::Lost { reason },
            _ => CaseError::Failed { reason },
        })
    }

    /// A status in words.
    pub(in crate::cuda) fn words(&self, code: c_uint) -> String {
        let lookup = |f: unsafe extern "C" fn(c_uint, *mut *const c_char) -> c_uint| {
            let mut answer: *const c_char = std::ptr::null();
            // SAFETY: `answer` is a valid place for the answer.
            let found = unsafe { f(code, &raw mut answer) } == 0;
            if found { text(answer) } else { String::new() }
        };
        format!("{} ({code}) {}", lookup(self.error_name), lookup(self.error_text)).trim().to_owned()
    }

    /// Name of a captured kernel, as the compiler mangled it; `None` where the driver does not tell (before CUDA 12.3).
    pub(in crate::cuda) fn name_of(&self, node: &KernelNode) -> Option<String> {
        let ask = |f: Option<unsafe extern "C" fn(*mut *const c_char, Handle) -> c_uint>, handle: Handle| {
            let f = f.filter(|_| !handle.is_null())?;
            let mut answer: *const c_char = std::ptr::null();
            // SAFETY: `answer` is a valid place, the handle was given by the driver in the same graph.
            let code = unsafe { f(&raw mut answer, handle) };
            (code == 0 && !answer.is_null()).then(|| text(answer))
        };
        ask(self.function_name, node.function).or_else(|| ask(self.kernel_name, node.kernel))
    }
}
