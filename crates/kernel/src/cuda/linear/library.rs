//! cuBLASLt, open on a device, and the descriptors of a product.

use std::ffi::c_int;
use std::rc::Rc;

use super::SCALE_STEP;
use super::formats::Formats;
use crate::case::CaseError;
use crate::cuda::Unavailable;
use crate::cuda::ffi::cublaslt::{Choice, CublasLt, Setting, TRANSPOSED, WORKSPACE_BYTES};
use crate::cuda::ffi::driver::Handle;
use crate::cuda::gpu::Gpu;
use crate::cuda::memory::Buffer;

/// Scratch memory that the heuristic may count on, in bytes: what PyTorch gives it on Hopper and newer.
const WORKSPACE: usize = 32 << 20;

/// The library, open on a device.
pub(in crate::cuda) struct Lt {
    pub(super) gpu: Rc<Gpu>,
    pub(super) table: CublasLt,
    pub(super) handle: Handle,
    pub(super) workspace: Buffer,
}

impl Lt {
    pub(in crate::cuda) fn open(gpu: &Rc<Gpu>) -> Result<Self, CaseError> {
        let table = CublasLt::open(&gpu.folders).map_err(crate::cuda::gpu::missing)?;
        let workspace = Buffer::new(gpu, WORKSPACE)?;
        let mut handle: Handle = std::ptr::null_mut();
        // SAFETY: a valid place for the answer.
        table.check("cublasLtCreate", unsafe { (table.create)(&raw mut handle) })?;
        Ok(Self { gpu: gpu.clone(), table, handle, workspace })
    }

    /// Version and file, without a device.
    pub(in crate::cuda) fn probe(folders: &[std::path::PathBuf]) -> Result<String, Unavailable> {
        let table = CublasLt::open(folders)?;
        Ok(format!("{} ({})", version(&table), table.path.display()))
    }

    pub(in crate::cuda) fn version(&self) -> String {
        version(&self.table)
    }
}

/// Version, for instance `13.1.0`, from a number such as 130100.
fn version(table: &CublasLt) -> String {
    // SAFETY: has no parameters.
    let number = unsafe { (table.version)() };
    format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
}

impl Drop for Lt {
    fn drop(&mut self) {
        // SAFETY: created by this, destroyed once, after the work that uses it.
        unsafe { (self.table.destroy)(self.handle) };
    }
}

/// Descriptors of one product.
pub(super) struct Descriptors {
    pub(super) lt: Rc<Lt>,
    pub(super) operation: Handle,
    pub(super) weight: Handle,
    pub(super) input: Handle,
    pub(super) product: Handle,
    preference: Handle,
}

impl Descriptors {
    pub(super) fn new(
        lt: &Rc<Lt>,
        formats: &Formats,
        [m, n, k]: [u32; 3],
        scales: Option<u64>,
    ) -> Result<Self, CaseError> {
        let null = std::ptr::null_mut();
        let mut all = Self {
            lt: lt.clone(),
            operation: null,
            weight: null,
            input: null,
            product: null,
            preference: null,
        };
        let t = &lt.table;
        // SAFETY (all blocks here): each place for an answer is valid, each buffer as long as said.
        t.check("cublasLtMatmulDescCreate", unsafe {
            (t.description_create)(&raw mut all.operation, formats.compute as c_int, formats.factors as c_int)
        })?;
        all.set(Setting::TransposeA, &TRANSPOSED)?;
        if let Some(scales) = scales {
            // The scale of A is the weight's. Fast accumulation is what serving engines run.
            all.set(Setting::ScaleA, &(scales + SCALE_STEP as u64))?;
            all.set(Setting::ScaleB, &scales)?;
            all.set(Setting::FastAccumulation, &1_i8)?;
        }
        let [rows, columns, length] = [m, n, k].map(u64::from);
        for (place, format, height, width) in [
            (&raw mut all.weight, formats.operand.1, length, columns),
            (&raw mut all.input, formats.operand.1, length, rows),
            (&raw mut all.product, formats.product.1, columns, rows),
        ] {
            t.check("cublasLtMatrixLayoutCreate", unsafe {
                (t.layout_create)(place, format as c_int, height, width, height as i64)
            })?;
        }
        t.check("cublasLtMatmulPreferenceCreate", unsafe { (t.preference_create)(&raw mut all.preference) })?;
        let bytes = WORKSPACE;
        t.check("cublasLtMatmulPreferenceSetAttribute", unsafe {
            (t.preference_set)(
                all.preference,
                WORKSPACE_BYTES,
                (&raw const bytes).cast(),
                size_of_val(&bytes),
            )
        })?;
        Ok(all)
    }

    fn set<T>(&self, setting: Setting, value: &T) -> Result<(), CaseError> {
        let t = &self.lt.table;
        // SAFETY: `value` is as long as said and lives over the call, which copies it.
        t.check("cublasLtMatmulDescSetAttribute", unsafe {
            (t.description_set)(
                self.operation,
                setting as c_int,
                std::ptr::from_ref(value).cast(),
                size_of::<T>(),
            )
        })
    }

    /// The heuristic's first choice.
    pub(super) fn choose(&self) -> Result<Choice, CaseError> {
        let t = &self.lt.table;
        let mut choice = Choice::default();
        let mut found: c_int = 0;
        // SAFETY: the descriptors live; there is room for the one answer that is asked for.
        t.check("cublasLtMatmulAlgoGetHeuristic", unsafe {
            (t.heuristic)(
                self.lt.handle,
                self.operation,
                self.weight,
                self.input,
                self.product,
                self.product,
                self.preference,
                1,
                &raw mut choice,
                &raw mut found,
            )
        })?;
        if found < 1 || choice.state != 0 {
            return Err(CaseError::Unsupported { reason: "cuBLASLt has no algorithm for it".to_owned() });
        }
        Ok(choice)
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        let t = &self.lt.table;
        // SAFETY: each was created by this, or is null and left alone.
        unsafe {
            for layout in [self.weight, self.input, self.product] {
                if !layout.is_null() {
                    (t.layout_destroy)(layout);
                }
            }
            if !self.preference.is_null() {
                (t.preference_destroy)(self.preference);
            }
            if !self.operation.is_null() {
                (t.description_destroy)(self.operation);
            }
        }
    }
}
