//! The part of CUPTI's C interface that a range needs (cupti_target.h, cupti_profiler_target.h, cupti_profiler_host.h,
//! cupti_range_profiler.h of CUDA 12.6 to 13).
//!
//! Every parameter structure begins with its size, which is the end of its last field (not the size with padding): a
//! library newer than this code reads no further than that.

use std::ffi::{c_char, c_void};
use std::mem::{offset_of, size_of};

use crate::Unavailable;

/// A parameter structure: its fields after `structSize` and `pPriv`, the last behind a semicolon.
macro_rules! parameters {
    ($($name:ident { $($field:ident: $type:ty),* ; $last:ident: $last_type:ty })*) => {$(
        #[repr(C)]
        pub(super) struct $name {
            size: usize,
            private: *mut c_void,
            $(pub(super) $field: $type,)*
            pub(super) $last: $last_type,
        }

        impl $name {
            pub(super) fn new() -> Self {
                // SAFETY: numbers and pointers only, for which zero bytes are a valid value.
                let mut all: Self = unsafe { std::mem::zeroed() };
                all.size = offset_of!(Self, $last) + size_of::<$last_type>();
                all
            }
        }
    )*};
}

/// Parameters without fields of their own.
#[repr(C)]
pub(super) struct Initialize {
    size: usize,
    private: *mut c_void,
}

impl Initialize {
    pub(super) fn new() -> Self {
        Self { size: size_of::<Self>(), private: std::ptr::null_mut() }
    }
}

parameters! {
    ChipName { device: usize; name: *const c_char }
    HostInitialize { profiler_type: u32, chip: *const c_char, availability: *const u8; host: *mut c_void }
    HostDeinitialize { ; host: *mut c_void }
    HostAddMetrics { host: *mut c_void, names: *const *const c_char; count: usize }
    HostConfigSize { host: *mut c_void; size_bytes: usize }
    HostConfig { host: *mut c_void, size_bytes: usize; image: *mut u8 }
    HostPasses { image_bytes: usize, image: *mut u8; passes: usize }
    HostEvaluate {
        host: *mut c_void,
        image: *const u8,
        image_bytes: usize,
        range: usize,
        names: *const *const c_char,
        count: usize;
        values: *mut f64
    }
    RangeEnable { context: *mut c_void; profiler: *mut c_void }
    RangeObject { ; profiler: *mut c_void }
    RangeCounterSize {
        profiler: *mut c_void,
        names: *const *const c_char,
        count: usize,
        max_ranges: usize,
        max_nodes: u32;
        size_bytes: usize
    }
    RangeCounterInitialize { profiler: *mut c_void, size_bytes: usize; image: *mut u8 }
    RangeSetConfig {
        profiler: *mut c_void,
        config_bytes: usize,
        config: *const u8,
        image_bytes: usize,
        image: *mut u8,
        range: u32,
        replay: u32,
        ranges_per_pass: usize,
        nesting_levels: u16,
        min_nesting_level: u16,
        pass: usize;
        target_nesting_level: u16
    }
    RangePush { profiler: *mut c_void; name: *const c_char }
    RangeStop { profiler: *mut c_void, pass: usize, target_nesting_level: usize; all_passes: u8 }
    RangeDecode { profiler: *mut c_void; dropped: usize }
}

/// `CUPTI_PROFILER_TYPE_RANGE_PROFILER`
pub(super) const RANGE_PROFILER: u32 = 0;
/// `CUPTI_UserRange`
pub(super) const USER_RANGE: u32 = 2;
/// `CUPTI_UserReplay`
pub(super) const USER_REPLAY: u32 = 3;

type Call<T> = unsafe extern "C" fn(*mut T) -> u32;

macro_rules! functions {
    ($($field:ident: $symbol:literal ($type:ty),)*) => {
        /// The functions, looked up once. The library stays open for as long as this lives.
        pub(super) struct Cupti {
            $($field: Call<$type>,)*
            result_string: Option<unsafe extern "C" fn(u32, *mut *const c_char) -> u32>,
            _library: libloading::Library,
        }

        impl Cupti {
            pub(super) fn load(library: libloading::Library) -> Result<Self, Unavailable> {
                // SAFETY: each symbol has the signature that NVIDIA's headers give it.
                unsafe {
                    Ok(Self {
                        $($field: *library.get::<Call<$type>>($symbol.as_bytes()).map_err(|_| Unavailable::Symbol {
                            library: "libcupti".to_owned(),
                            symbol: $symbol.to_owned(),
                        })?,)*
                        result_string: library.get(b"cuptiGetResultString").ok().map(|s| *s),
                        _library: library,
                    })
                }
            }

            $(pub(super) fn $field(&self, parameters: &mut $type) -> Result<(), Unavailable> {
                // SAFETY: the structure carries its size and lives over the call; the pointers in it are set by
                // `session`, which keeps what they point to.
                self.check($symbol, unsafe { (self.$field)(&raw mut *parameters) })
            })*
        }
    };
}

functions! {
    initialize: "cuptiProfilerInitialize" (Initialize),
    deinitialize: "cuptiProfilerDeInitialize" (Initialize),
    chip_name: "cuptiDeviceGetChipName" (ChipName),
    host_initialize: "cuptiProfilerHostInitialize" (HostInitialize),
    host_deinitialize: "cuptiProfilerHostDeinitialize" (HostDeinitialize),
    host_add_metrics: "cuptiProfilerHostConfigAddMetrics" (HostAddMetrics),
    host_config_size: "cuptiProfilerHostGetConfigImageSize" (HostConfigSize),
    host_config: "cuptiProfilerHostGetConfigImage" (HostConfig),
    host_passes: "cuptiProfilerHostGetNumOfPasses" (HostPasses),
    host_evaluate: "cuptiProfilerHostEvaluateToGpuValues" (HostEvaluate),
    range_enable: "cuptiRangeProfilerEnable" (RangeEnable),
    range_disable: "cuptiRangeProfilerDisable" (RangeObject),
    range_counter_size: "cuptiRangeProfilerGetCounterDataSize" (RangeCounterSize),
    range_counter_initialize: "cuptiRangeProfilerCounterDataImageInitialize" (RangeCounterInitialize),
    range_set_config: "cuptiRangeProfilerSetConfig" (RangeSetConfig),
    range_start: "cuptiRangeProfilerStart" (RangeObject),
    range_push: "cuptiRangeProfilerPushRange" (RangePush),
    range_pop: "cuptiRangeProfilerPopRange" (RangeObject),
    range_stop: "cuptiRangeProfilerStop" (RangeStop),
    range_decode: "cuptiRangeProfilerDecodeData" (RangeDecode),
}

impl Cupti {
    fn check(&self, step: &'static str, code: u32) -> Result<(), Unavailable> {
        match code {
            0 => Ok(()),
            // CUPTI_ERROR_INSUFFICIENT_PRIVILEGES and its twin for virtual machines
            35 | 40 => Err(Unavailable::GpuCounterPermission),
            // CUPTI_ERROR_HARDWARE_BUSY
            26 => Err(Unavailable::GpuCountersBusy),
            // CUPTI_ERROR_NOT_SUPPORTED, …_VIRTUALIZED_DEVICE_…, …_CONFIDENTIAL_COMPUTING_…
            27 | 33 | 41 => Err(Unavailable::NotSupported { what: "the range profiler" }),
            code => Err(Unavailable::Step { step, code: self.words(code) }),
        }
    }

    fn words(&self, code: u32) -> String {
        let mut text: *const c_char = std::ptr::null();
        let found = self.result_string.is_some_and(|f| {
            // SAFETY: `text` is a valid place for the answer.
            unsafe { f(code, &raw mut text) == 0 }
        });
        if !found || text.is_null() {
            return code.to_string();
        }
        // SAFETY: a string constant of the library, which is open.
        let words = unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy();
        format!("{words} ({code})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_ends_of_the_last_fields() {
        // By hand from the headers of CUDA 13.0, 64 bits: eight bytes a field, but where noted.
        assert_eq!(Initialize::new().size, 16);
        assert_eq!(ChipName::new().size, 32);
        assert_eq!(HostInitialize::new().size, 48);
        assert_eq!(HostEvaluate::new().size, 72);
        assert_eq!(RangeCounterSize::new().size, 64); // a 32-bit field, padded, before the last
        assert_eq!(RangeStop::new().size, 41); // one byte at the end
        assert_eq!(RangeSetConfig::new().size, 90); // two 32-bit, two 16-bit padded, and two bytes at the end
        assert_eq!(RangeDecode::new().size, 32);
    }
}
