//! Checks the range profiler against `ncu` on one kernel: the same work, counted by both.
//!
//! ```text
//! range            runs both and prints what they say, as JSON
//! range --child    the process in which CUPTI lives (started by the first)
//! range --work     only the kernel (what `ncu` profiles)
//! range --counters GH100 9.0   which counters of the table a chip has; needs no GPU
//! ```
//!
//! The kernel streams 64 MiB and reads a table of 8 MiB again and again, a sixteenth of its accesses to the stream: most
//! sectors hit in L2 whether the cache was warm or cold before. With as many accesses to the stream as to the table the two
//! tools differ by 1.4 percentage points on an H100, since hits then depend on when blocks run beside each other.

#![allow(unsafe_code, reason = "calls the CUDA driver and NVRTC")]
#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::error::Error;
use std::ffi::{CStr, CString, OsString, c_char, c_int, c_uint, c_void};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use serde_json::json;
use stopwatt_sensor::{Unavailable, cupti, ncu};

const SOURCE: &str = r#"
extern "C" __global__ void mixed(const float *stream, const float *table, float *out, unsigned long long n, unsigned m) {
    float sum = 0.0f;
    unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
        sum += table[(unsigned)(i % m)] + (i % 16 == 0 ? stream[i / 16] : 0.0f);
    if (sum == 1234567.0f) out[0] = sum;
}
"#;
const STREAM: u64 = 64 << 20;
const TABLE: u64 = 8 << 20;

#[expect(clippy::disallowed_methods, reason = "an example has no configuration module")]
fn main() -> ExitCode {
    let mode = std::env::args().nth(1);
    let path = std::env::var("PATH").ok().map(OsString::from);
    let folders = stopwatt_nvlib::library_folders(&[], path.as_deref());
    let result = match mode.as_deref() {
        Some("--child") => return child(folders),
        Some("--work") => Work::open(&folders).and_then(|mut work| work.run()).map_err(Into::into),
        Some("--counters") => counters(&folders),
        _ => both(path),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("{}", json!({"error": e.to_string()}));
            ExitCode::FAILURE
        }
    }
}

fn counters(folders: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(2).collect();
    let [chip, capability, extra @ ..] = given.as_slice() else {
        return Err("needs a chip and a capability".into());
    };
    let folders: Vec<PathBuf> = extra.iter().map(PathBuf::from).chain(folders.iter().cloned()).collect();
    let (known, passes) = cupti::counters_of_chip(chip, capability, &folders)?;
    let absent: Vec<_> = known.iter().filter(|(_, known)| !known).map(|(name, _)| name).collect();
    println!(
        "{}",
        json!({"chip": chip, "known": known.len() - absent.len(), "absent": absent, "passes": passes})
    );
    Ok(())
}

fn child(folders: Vec<PathBuf>) -> ExitCode {
    // Opened before the range begins, so that filling the memory is not counted; its context is the one that is profiled.
    let mut work = Work::open(&folders);
    let range = cupti::Range::new("mixed", folders);
    cupti::child_main(&range, &mut || match &mut work {
        Ok(work) => work.run(),
        Err(reason) => Err(reason.clone()),
    })
}

fn both(path: Option<OsString>) -> Result<(), Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let range = cupti::run_child(&own, &["--child".into()], Duration::from_secs(120));
    let program = [own.into_os_string(), "--work".into()];
    let by_ncu = ncu::find(None, path.as_deref()).and_then(|tool| {
        let options = ncu::Options { kernel_regex: Some("mixed".to_owned()), ..ncu::Options::default() };
        ncu::measure(&tool, &options, &program, &std::env::temp_dir())
    });
    let l2 = |doc: &Result<_, Unavailable>| {
        doc.as_ref().ok().and_then(stopwatt_core::cache_counters::NcuDocument::l2_hit_pct).map(|v| v.mean)
    };
    let show = |doc: &Result<stopwatt_core::cache_counters::NcuDocument, Unavailable>| match doc {
        Ok(doc) => json!(doc),
        Err(reason) => json!({"reason": reason.to_string(), "hint": reason.hint()}),
    };
    let difference = l2(&range).zip(l2(&by_ncu)).map(|(a, b)| a - b);
    let answer = json!({"l2_hit_difference_pp": difference, "cupti": show(&range), "ncu": show(&by_ncu)});
    println!("{}", serde_json::to_string_pretty(&answer)?);
    Ok(())
}

/// The kernel and its memory.
struct Work {
    cuda: Library,
    kernel: *mut c_void,
    stream: u64,
    table: u64,
    out: u64,
}

/// Looks a function up and calls it; any code but 0 is an error with the function's name.
macro_rules! call {
    ($library:expr, $name:literal, ($($type:ty),*), $($argument:expr),* $(,)?) => {{
        // SAFETY: the types are those of the function in NVIDIA's headers, and every pointer lives over the call.
        unsafe {
            let function = $library
                .get::<unsafe extern "C" fn($($type),*) -> c_int>($name.as_bytes())
                .map_err(|e| format!("{}: {e}", $name))?;
            match function($($argument),*) {
                0 => Ok(()),
                code => Err(format!("{} failed with {code}", $name)),
            }
        }
    }};
}

fn open(stem: &str, folders: &[PathBuf]) -> Result<Library, String> {
    let mut last = format!("{stem} not found");
    for path in stopwatt_nvlib::find(stem, folders) {
        // SAFETY: NVIDIA's own library, which stays open.
        match unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(library) => return Ok(library),
            Err(e) => last = e.to_string(),
        }
    }
    Err(last)
}

impl Work {
    fn open(folders: &[PathBuf]) -> Result<Self, String> {
        let cuda = open("libcuda", &[])?;
        call!(cuda, "cuInit", (c_uint), 0)?;
        let mut context: *mut c_void = std::ptr::null_mut();
        call!(cuda, "cuCtxGetCurrent", (*mut *mut c_void), &raw mut context)?;
        if context.is_null() {
            call!(cuda, "cuDevicePrimaryCtxRetain", (*mut *mut c_void, c_int), &raw mut context, 0)?;
            call!(cuda, "cuCtxSetCurrent", (*mut c_void), context)?;
        }
        let image = compile(&cuda, folders)?;
        let mut module: *mut c_void = std::ptr::null_mut();
        call!(
            cuda,
            "cuModuleLoadData",
            (*mut *mut c_void, *const c_void),
            &raw mut module,
            image.as_ptr().cast()
        )?;
        let mut kernel: *mut c_void = std::ptr::null_mut();
        call!(
            cuda,
            "cuModuleGetFunction",
            (*mut *mut c_void, *mut c_void, *const c_char),
            &raw mut kernel,
            module,
            c"mixed".as_ptr()
        )?;
        let allocate = |bytes: u64| -> Result<u64, String> {
            let mut pointer = 0u64;
            call!(cuda, "cuMemAlloc_v2", (*mut u64, usize), &raw mut pointer, bytes as usize)?;
            call!(cuda, "cuMemsetD32_v2", (u64, c_uint, usize), pointer, 0, bytes as usize / 4)?;
            Ok(pointer)
        };
        let (stream, table, out) = (allocate(STREAM)?, allocate(TABLE)?, allocate(4)?);
        call!(cuda, "cuCtxSynchronize", (),)?;
        Ok(Self { cuda, kernel, stream, table, out })
    }

    fn run(&mut self) -> Result<(), String> {
        let (mut n, mut m) = (STREAM / 4 * 16, (TABLE / 4) as c_uint);
        let mut arguments: [*mut c_void; 5] = [
            (&raw mut self.stream).cast(),
            (&raw mut self.table).cast(),
            (&raw mut self.out).cast(),
            (&raw mut n).cast(),
            (&raw mut m).cast(),
        ];
        call!(
            self.cuda,
            "cuLaunchKernel",
            (
                *mut c_void,
                c_uint,
                c_uint,
                c_uint,
                c_uint,
                c_uint,
                c_uint,
                c_uint,
                *mut c_void,
                *mut *mut c_void,
                *mut *mut c_void
            ),
            self.kernel,
            1056,
            1,
            1,
            256,
            1,
            1,
            0,
            std::ptr::null_mut(),
            arguments.as_mut_ptr(),
            std::ptr::null_mut(),
        )?;
        call!(self.cuda, "cuCtxSynchronize", (),)
    }
}

/// Compiles the kernel for the GPU at hand, as a CUBIN.
fn compile(cuda: &Library, folders: &[PathBuf]) -> Result<Vec<u8>, String> {
    // Without it by absolute path, every compilation fails where NVRTC came with Python's packages.
    let _builtins = open("libnvrtc-builtins", folders);
    let nvrtc = open("libnvrtc", folders)?;
    let mut capability = [0 as c_int; 2];
    for (value, attribute) in capability.iter_mut().zip([75, 76]) {
        call!(cuda, "cuDeviceGetAttribute", (*mut c_int, c_int, c_int), &raw mut *value, attribute, 0)?;
    }
    let source = CString::new(SOURCE).map_err(|e| e.to_string())?;
    let option = CString::new(format!("--gpu-architecture=sm_{}{}", capability[0], capability[1]))
        .map_err(|e| e.to_string())?;
    let mut program: *mut c_void = std::ptr::null_mut();
    call!(
        nvrtc,
        "nvrtcCreateProgram",
        (*mut *mut c_void, *const c_char, *const c_char, c_int, *const c_void, *const c_void),
        &raw mut program,
        source.as_ptr(),
        c"mixed.cu".as_ptr(),
        0,
        std::ptr::null(),
        std::ptr::null()
    )?;
    let options = [option.as_ptr()];
    let compiled = call!(
        nvrtc,
        "nvrtcCompileProgram",
        (*mut c_void, c_int, *const *const c_char),
        program,
        1,
        options.as_ptr()
    );
    if let Err(e) = compiled {
        let mut size = 0usize;
        call!(nvrtc, "nvrtcGetProgramLogSize", (*mut c_void, *mut usize), program, &raw mut size)?;
        let mut log = vec![0u8; size.max(1)];
        call!(nvrtc, "nvrtcGetProgramLog", (*mut c_void, *mut u8), program, log.as_mut_ptr())?;
        let log =
            CStr::from_bytes_until_nul(&log).map(|l| l.to_string_lossy().into_owned()).unwrap_or_default();
        return Err(format!("{e}: {log}"));
    }
    let mut size = 0usize;
    call!(nvrtc, "nvrtcGetCUBINSize", (*mut c_void, *mut usize), program, &raw mut size)?;
    let mut image = vec![0u8; size];
    call!(nvrtc, "nvrtcGetCUBIN", (*mut c_void, *mut u8), program, image.as_mut_ptr())?;
    Ok(image)
}
