//! From source to a kernel on the device.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_int};
use std::path::PathBuf;
use std::rc::Rc;

use super::Unavailable;
use super::ffi::driver::{DYNAMIC_SHARED_BYTES, Driver, Handle};
use super::ffi::nvrtc::{INVALID_OPTION, Nvrtc, Program};
use super::plan::Source;
use crate::case::CaseError;

/// The run-time compiler for one architecture, with what it has compiled.
pub(super) struct Compiler {
    pub(super) nvrtc: Nvrtc,
    architectures: Vec<String>,
    done: RefCell<HashMap<String, Rc<Vec<u8>>>>,
}

/// Names of a device's architecture for the compiler, best first. From Hopper on, instructions of this one architecture
/// (`wgmma`, the tensor copy engine) need the name with an `a`; a compiler older than the device may know neither.
fn architectures((major, minor): (u32, u32)) -> Vec<String> {
    let plain = format!("sm_{major}{minor}");
    if major >= 9 { vec![format!("{plain}a"), plain] } else { vec![plain] }
}

impl Compiler {
    pub(super) fn open(folders: &[PathBuf], capability: (u32, u32)) -> Result<Self, Unavailable> {
        Ok(Self {
            nvrtc: Nvrtc::open(folders)?,
            architectures: architectures(capability),
            done: RefCell::new(HashMap::new()),
        })
    }

    /// Compiles to the device's machine code. The same text with the same macros is compiled once.
    pub(super) fn compile(
        &self,
        source: &Source,
        defines: &[(&'static str, String)],
    ) -> Result<Rc<Vec<u8>>, CaseError> {
        let key = format!("{defines:?}\n{}", source.text);
        if let Some(code) = self.done.borrow().get(&key) {
            return Ok(code.clone());
        }
        let mut result = Err(CaseError::Unsupported { reason: "no architecture to compile for".to_owned() });
        for architecture in &self.architectures {
            let (again, answer) = self.compile_for(source, defines, architecture);
            result = answer;
            if !again {
                break;
            }
        }
        let code = Rc::new(result?);
        self.done.borrow_mut().insert(key, code.clone());
        Ok(code)
    }

    /// Compiles for one architecture; says whether another name of it is worth trying.
    fn compile_for(
        &self,
        source: &Source,
        defines: &[(&'static str, String)],
        architecture: &str,
    ) -> (bool, Result<Vec<u8>, CaseError>) {
        let failed = |call: &str, code: c_int, log: &str| {
            let log = log.trim();
            let end = log.char_indices().nth(1500).map_or(log.len(), |(at, _)| at);
            Err(CaseError::Unsupported {
                reason: format!(
                    "{call} of {} for {architecture}: {}; {}",
                    source.name,
                    self.nvrtc.words(code),
                    &log[..end]
                ),
            })
        };
        let (Ok(text), Ok(name)) = (CString::new(source.text), CString::new(source.name)) else {
            return (false, failed("nvrtcCreateProgram", 0, "the source holds a zero byte"));
        };
        let mut options =
            vec![format!("--gpu-architecture={architecture}"), "--std=c++17".to_owned(), "-w".to_owned()];
        options.extend(defines.iter().map(|(name, value)| format!("-D{name}={value}")));
        let Ok(options) = options.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>() else {
            return (false, failed("nvrtcCompileProgram", 0, "a macro holds a zero byte"));
        };
        let pointers: Vec<_> = options.iter().map(|o| o.as_ptr()).collect();

        let mut program: Program = std::ptr::null_mut();
        // SAFETY: both strings end with zero and live over the call; there are no headers.
        let code = unsafe {
            (self.nvrtc.create)(
                &raw mut program,
                text.as_ptr(),
                name.as_ptr(),
                0,
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        if code != 0 {
            return (false, failed("nvrtcCreateProgram", code, ""));
        }
        // SAFETY: `pointers` are as many strings as said and live over the call.
        let code = unsafe { (self.nvrtc.compile)(program, pointers.len() as c_int, pointers.as_ptr()) };
        let answer = if code == 0 {
            self.machine_code(program).or_else(|code| failed("nvrtcGetCUBIN", code, ""))
        } else {
            failed("nvrtcCompileProgram", code, &self.log(program))
        };
        // SAFETY: the program was created above and is not used afterwards.
        unsafe { (self.nvrtc.destroy)(&raw mut program) };
        (code == INVALID_OPTION, answer)
    }

    fn machine_code(&self, program: Program) -> Result<Vec<u8>, c_int> {
        let mut size = 0;
        // SAFETY: `size` is a valid place for the answer.
        match unsafe { (self.nvrtc.code_size)(program, &raw mut size) } {
            0 => {}
            code => return Err(code),
        }
        let mut code = vec![0_u8; size];
        // SAFETY: `code` is as long as the library asked for.
        match unsafe { (self.nvrtc.code)(program, code.as_mut_ptr().cast()) } {
            0 => Ok(code),
            failed => Err(failed),
        }
    }

    fn log(&self, program: Program) -> String {
        let mut size = 0;
        // SAFETY: `size` is a valid place for the answer.
        if unsafe { (self.nvrtc.log_size)(program, &raw mut size) } != 0 || size == 0 {
            return String::new();
        }
        let mut log = vec![0_u8; size];
        // SAFETY: `log` is as long as the library asked for.
        unsafe { (self.nvrtc.log)(program, log.as_mut_ptr().cast()) };
        String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned()
    }
}

/// A kernel on the device. Its module stays loaded until the context goes.
pub(super) struct Kernel {
    pub(super) function: Handle,
    pub(super) entry: String,
}

impl Kernel {
    pub(super) fn load(driver: &Driver, code: &[u8], file: &str, entry: &str) -> Result<Self, CaseError> {
        let mut module: Handle = std::ptr::null_mut();
        // SAFETY: `code` is a complete image as the compiler gave it; the driver copies it.
        driver.check("cuModuleLoadData", unsafe {
            (driver.module_load)(&raw mut module, code.as_ptr().cast())
        })?;
        let name = CString::new(entry)
            .map_err(|_| CaseError::Failed { reason: format!("`{entry}` is no name of a kernel") })?;
        let mut function: Handle = std::ptr::null_mut();
        // SAFETY: the module was just loaded; the name ends with zero.
        let found = unsafe { (driver.function)(&raw mut function, module, name.as_ptr()) };
        driver.check("cuModuleGetFunction", found).map_err(|e| match e {
            CaseError::Failed { reason } => {
                CaseError::Failed { reason: format!("{reason} (`{entry}` in {file})") }
            }
            other => other,
        })?;
        Ok(Self { function, entry: entry.to_owned() })
    }

    /// Lets a block have this much dynamic shared memory. Unasked, every device grants 48 KiB, what the kernel declares
    /// itself counted in.
    pub(super) fn allow_shared(&self, driver: &Driver, bytes: u32) -> Result<(), CaseError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the function belongs to a loaded module.
        let code = unsafe { (driver.function_set)(self.function, DYNAMIC_SHARED_BYTES, bytes as c_int) };
        driver.check("cuFuncSetAttribute", code).map_err(|e| match e {
            CaseError::Failed { reason } => CaseError::Unsupported {
                reason: format!("{reason}: {} needs {bytes} bytes of shared memory a block", self.entry),
            },
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::cuda::gpu::SUPPORT;

    #[test]
    fn hopper_and_newer_are_compiled_for_their_own_instructions() {
        assert_eq!(architectures((8, 0)), ["sm_80"]);
        assert_eq!(architectures((9, 0)), ["sm_90a", "sm_90"]);
        assert_eq!(architectures((10, 0)), ["sm_100a", "sm_100"]);
    }

    /// Skips where no compiler is installed; CI has one.
    #[test]
    fn the_supporting_kernels_compile_for_every_architecture() {
        let path = std::env::var_os("PATH");
        let folders = stopwatt_nvlib::library_folders(&[], path.as_deref());
        for capability in [(8, 0), (9, 0), (10, 0)] {
            let Ok(compiler) = Compiler::open(&folders, capability) else { return };
            let code = compiler.compile(&SUPPORT, &[]).unwrap();
            assert_eq!(&code[..4], b"\x7fELF");
        }
    }

    #[test]
    fn an_error_in_a_source_is_told_with_its_line() {
        let path = std::env::var_os("PATH");
        let folders = stopwatt_nvlib::library_folders(&[], path.as_deref());
        let Ok(compiler) = Compiler::open(&folders, (9, 0)) else { return };
        let source = Source { name: "wrong.cu", text: "extern \"C\" __global__ void f() {\n  nonsense;\n}" };
        let error = compiler.compile(&source, &[]).unwrap_err();
        assert!(error.to_string().contains("wrong.cu(2)"), "{error}");
    }
}
