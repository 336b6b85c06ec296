//! The few functions of the CUDA driver that a range needs: a context, and waiting for it.

use std::ffi::{c_int, c_void};

use crate::Unavailable;

type Context = *mut c_void;

/// The driver, opened at run time.
pub(super) struct Driver {
    get_current: unsafe extern "C" fn(*mut Context) -> u32,
    set_current: unsafe extern "C" fn(Context) -> u32,
    get_device: unsafe extern "C" fn(*mut c_int) -> u32,
    retain: unsafe extern "C" fn(*mut Context, c_int) -> u32,
    synchronize: unsafe extern "C" fn() -> u32,
    attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> u32,
    _library: libloading::Library,
}

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`
const CAPABILITY: [c_int; 2] = [75, 76];

impl Driver {
    pub(super) fn open() -> Result<Self, Unavailable> {
        let library = super::open("libcuda", &[])?;
        macro_rules! symbol {
            ($name:literal) => {
                // SAFETY: the symbol has the signature that cuda.h gives it; the field's type is that signature.
                *unsafe { library.get($name.as_bytes()) }.map_err(|_| Unavailable::Symbol {
                    library: "libcuda".to_owned(),
                    symbol: $name.to_owned(),
                })?
            };
        }
        let init: unsafe extern "C" fn(u32) -> u32 = symbol!("cuInit");
        let driver = Self {
            get_current: symbol!("cuCtxGetCurrent"),
            set_current: symbol!("cuCtxSetCurrent"),
            get_device: symbol!("cuCtxGetDevice"),
            retain: symbol!("cuDevicePrimaryCtxRetain"),
            synchronize: symbol!("cuCtxSynchronize"),
            attribute: symbol!("cuDeviceGetAttribute"),
            _library: library,
        };
        // SAFETY: cuInit may be called any number of times with 0.
        check("cuInit", unsafe { init(0) })?;
        Ok(driver)
    }

    /// The current context of this thread; without one, the primary context of `device` becomes it.
    pub(super) fn context(&self, device: i32) -> Result<Context, Unavailable> {
        let mut context: Context = std::ptr::null_mut();
        // SAFETY: `context` is a valid place for the answer.
        check("cuCtxGetCurrent", unsafe { (self.get_current)(&raw mut context) })?;
        if context.is_null() {
            // SAFETY: the same; the primary context lives until the process ends, since it is never released here.
            check("cuDevicePrimaryCtxRetain", unsafe { (self.retain)(&raw mut context, device) })?;
            // SAFETY: the context was just given.
            check("cuCtxSetCurrent", unsafe { (self.set_current)(context) })?;
        }
        Ok(context)
    }

    /// Number of the device of the current context.
    pub(super) fn device(&self) -> Result<i32, Unavailable> {
        let mut device: c_int = 0;
        // SAFETY: `device` is a valid place for the answer.
        check("cuCtxGetDevice", unsafe { (self.get_device)(&raw mut device) })?;
        Ok(device)
    }

    /// Compute capability of a device, for instance `9.0`.
    pub(super) fn compute_capability(&self, device: i32) -> Option<String> {
        let [major, minor] = CAPABILITY.map(|attribute| {
            let mut value: c_int = 0;
            // SAFETY: `value` is a valid place for the answer.
            let code = unsafe { (self.attribute)(&raw mut value, attribute, device) };
            (code == 0).then_some(value)
        });
        Some(format!("{}.{}", major?, minor?))
    }

    /// Waits until all work of the context is done.
    pub(super) fn wait(&self) -> Result<(), Unavailable> {
        // SAFETY: has no parameters.
        check("cuCtxSynchronize", unsafe { (self.synchronize)() })
    }
}

fn check(step: &'static str, code: u32) -> Result<(), Unavailable> {
    match code {
        0 => Ok(()),
        // CUDA_ERROR_NO_DEVICE
        100 => Err(Unavailable::NoDevice { what: "GPU" }),
        code => Err(Unavailable::Step { step, code: code.to_string() }),
    }
}
