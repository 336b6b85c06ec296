//! Fully connected layers through cuBLASLt, with the algorithm that its heuristic puts first: what frameworks run.
//!
//! `output[m,n] = input[m,k] · weight[n,k]ᵀ`, all row-major, is in the library's column-major words
//! `D[n,m] = A[k,n]ᵀ · B[k,m]` with A the weight and B the input: "TN", the layout of every framework.

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use rayon::prelude::*;
use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes};

use super::Unavailable;
use super::compile::Kernel;
use super::ffi::cublaslt::{
    ALGORITHM_ATTRIBUTES, Choice, Compute, CublasLt, DataType, Setting, TRANSPOSED, WORKSPACE_BYTES,
};
use super::ffi::driver::Handle;
use super::gpu::{Gpu, SUPPORT};
use super::issue::{Issue, sets};
use super::memory::{Buffer, Rotating, of_size};
use super::numbers::{Mixed, rounding, widen};
use super::plan::Element;
use crate::case::CaseError;

/// Scratch memory that the heuristic may count on, in bytes: what PyTorch gives it on Hopper and newer.
const WORKSPACE: usize = 32 << 20;
/// Rows and columns whose crossings are checked.
const CHECKED: usize = 16;
/// Scales of 8-bit floating-point operands, input and weight. Not 1, so that forgetting them shows.
const SCALES: [f32; 2] = [0.75, 1.25];
/// Bytes from one scale to the other: at 4, cuBLASLt 13.1 on an H100 refused the product as not supported.
const SCALE_STEP: usize = 256;

/// The library, open on a device.
pub(super) struct Lt {
    gpu: Rc<Gpu>,
    table: CublasLt,
    handle: Handle,
    workspace: Buffer,
}

impl Lt {
    pub(super) fn open(gpu: &Rc<Gpu>) -> Result<Self, CaseError> {
        let table = CublasLt::open(&gpu.folders).map_err(super::gpu::missing)?;
        let workspace = Buffer::new(gpu, WORKSPACE)?;
        let mut handle: Handle = std::ptr::null_mut();
        // SAFETY: a valid place for the answer.
        table.check("cublasLtCreate", unsafe { (table.create)(&raw mut handle) })?;
        Ok(Self { gpu: gpu.clone(), table, handle, workspace })
    }

    /// Version and file, without a device.
    pub(super) fn probe(folders: &[std::path::PathBuf]) -> Result<String, Unavailable> {
        let table = CublasLt::open(folders)?;
        Ok(format!("{} ({})", version(&table), table.path.display()))
    }

    pub(super) fn version(&self) -> String {
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

/// What the library is asked for, by the operands' formats.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Formats {
    operand: (Element, DataType),
    product: (Element, DataType),
    compute: Compute,
    /// Format of the factors of the product.
    factors: DataType,
    /// Largest magnitude of random operands.
    magnitude: f32,
    /// A kernel of ours turns 32-bit sums into bf16 afterwards.
    scales_sums: bool,
}

fn formats(dtypes: Dtypes) -> Result<Formats, CaseError> {
    let unsupported = || CaseError::Unsupported {
        reason: format!(
            "a product of {} by {} into {}",
            dtypes.input.name(),
            dtypes.weight.name(),
            dtypes.output.name()
        ),
    };
    if dtypes.input != dtypes.weight {
        return Err(unsupported());
    }
    let output = match dtypes.output {
        Dtype::F32 | Dtype::Tf32 => (Element::F32, DataType::F32),
        Dtype::F16 => (Element::F16, DataType::F16),
        Dtype::Bf16 => (Element::Bf16, DataType::Bf16),
        Dtype::F8E4m3 | Dtype::I8 | Dtype::I4 => return Err(unsupported()),
    };
    let float = |operand: (Element, DataType), compute| Formats {
        operand,
        product: output,
        compute,
        factors: DataType::F32,
        magnitude: 1.0,
        scales_sums: false,
    };
    Ok(match (dtypes.input, dtypes.output) {
        (Dtype::F32, Dtype::F32) => float((Element::F32, DataType::F32), Compute::F32),
        (Dtype::Tf32, Dtype::Tf32 | Dtype::F32) => float((Element::F32, DataType::F32), Compute::Tf32),
        (Dtype::F16, Dtype::F16 | Dtype::F32) => float((Element::F16, DataType::F16), Compute::F32),
        (Dtype::Bf16, Dtype::Bf16 | Dtype::F32) => float((Element::Bf16, DataType::Bf16), Compute::F32),
        (Dtype::F8E4m3, Dtype::Bf16 | Dtype::F16 | Dtype::F32) => {
            float((Element::F8E4m3, DataType::F8E4m3), Compute::F32)
        }
        // Sums of 8-bit integers are 32-bit integers, as wide as f32; into bf16 they are scaled by column.
        (Dtype::I8, Dtype::F32 | Dtype::Bf16) => Formats {
            operand: (Element::I8, DataType::I8),
            product: (Element::I32, DataType::I32),
            compute: Compute::I32,
            factors: DataType::I32,
            magnitude: 127.0,
            scales_sums: dtypes.output == Dtype::Bf16,
        },
        _ => return Err(unsupported()),
    })
}

/// Deviation that is allowed of a product, absolute: `value` is exact, `spread` the root of the sum of its squared
/// terms, `k` their number.
fn tolerance(formats: &Formats, output: Element, value: f64, spread: f64, k: usize) -> f64 {
    // Operands are cut to 10 bits of mantissa in TensorFloat-32.
    let operand = if formats.compute == Compute::Tf32 { 2f64.powi(-10) } else { 0.0 };
    // Relative error of an addition, and how many there are one after the other: tensor cores add blocks of terms and
    // cut the sum off; fast accumulation of 8-bit formats keeps 14 bits or so.
    let (addition, additions) = match formats.operand.0 {
        Element::F8E4m3 => (2f64.powi(-12), k.div_ceil(32)),
        Element::F32 if formats.compute == Compute::F32 => (2f64.powi(-24), k),
        Element::I8 => (0.0, 0),
        _ => (2f64.powi(-22), k.div_ceil(8)),
    };
    let sum =
        value.abs() * 2.0 * operand + 6.0 * spread * operand + (additions as f64 + 4.0) * addition * spread;
    let unit = rounding(output);
    // Partial sums of a split reduction may be rounded to the result's format, which frameworks allow too.
    let split = if matches!(output, Element::F16 | Element::Bf16) { 4.0 * unit * spread } else { 0.0 };
    unit * (value.abs() + sum) + sum + split
}

/// Descriptors of one product.
struct Descriptors {
    lt: Rc<Lt>,
    operation: Handle,
    weight: Handle,
    input: Handle,
    product: Handle,
    preference: Handle,
}

impl Descriptors {
    fn new(
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
    fn choose(&self) -> Result<Choice, CaseError> {
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

/// One product.
pub(super) struct LinearIssue {
    gpu: Rc<Gpu>,
    descriptors: Descriptors,
    choice: Choice,
    formats: Formats,
    size: [usize; 3],
    sets: usize,
    input: Rotating,
    weight: Rotating,
    product: Rotating,
    /// Where sums are scaled: kernel, factors of the columns, result.
    scaled: Option<(Rc<Kernel>, Rotating, Rotating)>,
    /// Factors of 8-bit floating-point operands, which the descriptors point to.
    _scales: Option<Buffer>,
}

impl LinearIssue {
    pub(super) fn new(
        lt: &Rc<Lt>,
        size: [u32; 3],
        dtypes: Dtypes,
        cache: CacheState,
    ) -> Result<Self, CaseError> {
        let gpu = lt.gpu.clone();
        let formats = formats(dtypes)?;
        if size.contains(&0) {
            return Err(CaseError::Unsupported { reason: "an empty matrix".to_owned() });
        }
        let scales = match formats.operand.0 {
            Element::F8E4m3 => {
                let buffer = Buffer::new(&gpu, SCALES.len() * SCALE_STEP)?;
                for (at, scale) in (buffer.address()..).step_by(SCALE_STEP).zip(SCALES) {
                    gpu.to_device(at, &scale.to_le_bytes())?;
                }
                Some(buffer)
            }
            _ => None,
        };
        let descriptors = Descriptors::new(lt, &formats, size, scales.as_ref().map(Buffer::address))?;
        let choice = descriptors.choose()?;

        let size @ [m, n, k] = size.map(|s| s as usize);
        let operand = formats.operand.0.bytes();
        let result = if formats.scales_sums { 4 + 2 } else { formats.product.0.bytes() };
        let set_bytes = (operand * (m * k + n * k) + result * m * n) as u64;
        let sets = sets(cache, set_bytes, gpu.facts.target.l2_bytes);
        let place = |element, len| {
            Rotating::new(&gpu, element, len, sets).map_err(|e| of_size(e, set_bytes * sets as u64))
        };
        let issue = Self {
            input: place(formats.operand.0, m * k)?,
            weight: place(formats.operand.0, n * k)?,
            product: place(formats.product.0, m * n)?,
            scaled: if formats.scales_sums {
                let kernel = gpu.kernel(&SUPPORT, "scale_sums", &[])?;
                Some((kernel, Rotating::new(&gpu, Element::F32, n, 1)?, place(Element::Bf16, m * n)?))
            } else {
                None
            },
            gpu,
            descriptors,
            choice,
            formats,
            size,
            sets,
            _scales: scales,
        };
        issue.input.fill_uniform(&issue.gpu, 1, formats.magnitude)?;
        issue.weight.fill_uniform(&issue.gpu, 2, formats.magnitude)?;
        if let Some((_, factors, _)) = &issue.scaled {
            factors.fill_uniform(&issue.gpu, 3, 1.0)?;
        }
        // The first call loads code.
        issue.issue(0)?;
        issue.gpu.wait()?;
        Ok(issue)
    }

    fn result(&self) -> (&Rotating, Element) {
        match &self.scaled {
            Some((_, _, result)) => (result, Element::Bf16),
            None => (&self.product, self.formats.product.0),
        }
    }

    /// Factor of row-independent scaling, and the columns' own.
    fn factors(&self) -> Result<(f64, Option<Vec<f64>>), CaseError> {
        let columns = match &self.scaled {
            Some((_, factors, _)) => Some(widen(Element::F32, &factors.read(&self.gpu, 0, self.size[1])?)),
            None => None,
        };
        let all = match self.formats.operand.0 {
            Element::F8E4m3 => f64::from(SCALES[0]) * f64::from(SCALES[1]),
            Element::I8 if columns.is_some() => f64::from(SUM_SCALE),
            _ => 1.0,
        };
        Ok((all, columns))
    }
}

/// Factor of all sums of 8-bit integers that are turned into bf16.
const SUM_SCALE: f32 = 1.0 / 4096.0;

impl Issue for LinearIssue {
    fn issue(&self, set: usize) -> Result<(), CaseError> {
        let lt = &self.descriptors.lt;
        let d = &self.descriptors;
        let (one, zero) = (1_f32, 0_f32);
        let (whole_one, whole_zero) = (1_i32, 0_i32);
        let [alpha, beta]: [*const c_void; 2] = match self.formats.factors {
            DataType::I32 => [(&raw const whole_one).cast(), (&raw const whole_zero).cast()],
            _ => [(&raw const one).cast(), (&raw const zero).cast()],
        };
        let product = self.product.at(set);
        // SAFETY: the descriptors describe these operands, which live; the factors are read before the call returns;
        // the workspace is as long as said and the calls that use it run one after the other on one stream.
        lt.table.check("cublasLtMatmul", unsafe {
            (lt.table.multiply)(
                lt.handle,
                d.operation,
                alpha,
                self.weight.at(set) as *const c_void,
                d.weight,
                self.input.at(set) as *const c_void,
                d.input,
                beta,
                product as *const c_void,
                d.product,
                product as *mut c_void,
                d.product,
                &raw const self.choice.algorithm,
                lt.workspace.address() as *mut c_void,
                lt.workspace.bytes().min(self.choice.workspace_bytes.max(1)),
                self.gpu.stream(),
            )
        })?;
        if let Some((kernel, factors, result)) = &self.scaled {
            let [m, n, _] = self.size;
            let arguments = [
                product,
                factors.at(0),
                u64::from(SUM_SCALE.to_bits()),
                result.at(set),
                (m * n) as u64,
                n as u64,
            ];
            let blocks = (m * n).div_ceil(256).min(self.gpu.striding_grid()[0] as usize) as u32;
            self.gpu.launch(kernel, [blocks, 1, 1], [256, 1, 1], 0, &arguments)?;
        }
        Ok(())
    }

    fn sets(&self) -> usize {
        self.sets
    }

    fn set_bytes(&self) -> u64 {
        (self.input.bytes() + self.weight.bytes() + self.result().0.bytes()) as u64
    }

    fn verify(&self, seed: u64) -> Result<f64, CaseError> {
        let gpu = &self.gpu;
        let [m, n, k] = self.size;
        let magnitude = self.formats.magnitude;
        self.input.refill_first(gpu, Mixed(seed).next(), magnitude)?;
        self.weight.refill_first(gpu, Mixed(seed ^ 1 << 40).next(), magnitude)?;
        let (result, output) = self.result();
        result.fill_bytes(gpu, 0xff)?;
        self.issue(0)?;
        gpu.wait()?;

        let mut random = Mixed(seed);
        let (rows, columns) = (random.positions(m, CHECKED), random.positions(n, CHECKED));
        let read = |place: &Rotating, element, row: usize, width| {
            Ok::<_, CaseError>(widen(element, &place.read(gpu, row * width, width)?))
        };
        let operand = self.formats.operand.0;
        let inputs =
            rows.iter().map(|row| read(&self.input, operand, *row, k)).collect::<Result<Vec<_>, _>>()?;
        let weights =
            columns.iter().map(|col| read(&self.weight, operand, *col, k)).collect::<Result<Vec<_>, _>>()?;
        let results = rows.iter().map(|row| read(result, output, *row, n)).collect::<Result<Vec<_>, _>>()?;
        // Whole rows were read: what was not written is still poison.
        if results.iter().flatten().any(|v| !v.is_finite()) {
            return Ok(f64::INFINITY);
        }
        let (factor, column_factors) = self.factors()?;
        let formats = self.formats;
        let crossings: Vec<(usize, usize)> =
            (0..rows.len()).flat_map(|r| (0..columns.len()).map(move |c| (r, c))).collect();
        Ok(crossings
            .par_iter()
            .map(|&(r, c)| {
                let factor = factor * column_factors.as_ref().map_or(1.0, |f| f[columns[c]]);
                let (mut sum, mut squares) = (0.0, 0.0);
                for (a, b) in inputs[r].iter().zip(&weights[c]) {
                    sum += a * b;
                    squares += a * b * a * b;
                }
                let (value, spread) = (sum * factor, squares.sqrt() * factor.abs());
                let found = results[r][columns[c]];
                if found == value {
                    return 0.0;
                }
                (found - value).abs() / tolerance(&formats, output, value, spread, k)
            })
            .reduce(|| 0.0, f64::max))
    }

    fn choice(&self) -> Option<String> {
        let table = &self.descriptors.lt.table;
        let mut words = vec!["cublasLt".to_owned()];
        for (name, attribute, bytes) in ALGORITHM_ATTRIBUTES {
            let mut value = 0_u32;
            let mut written = 0;
            // SAFETY: `value` has room for every attribute asked for; the algorithm lives.
            let code = unsafe {
                (table.attribute)(
                    &raw const self.choice.algorithm,
                    attribute,
                    (&raw mut value).cast(),
                    bytes,
                    &raw mut written,
                )
            };
            if code == 0 {
                words.push(format!("{name}={value}"));
            }
        }
        Some(words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(input: Dtype, output: Dtype) -> Dtypes {
        Dtypes { input, weight: input, output }
    }

    #[test]
    fn every_promised_format_has_a_product() {
        for (dtype, output) in [
            (Dtype::Bf16, Dtype::Bf16),
            (Dtype::F16, Dtype::F16),
            (Dtype::Tf32, Dtype::Tf32),
            (Dtype::F32, Dtype::F32),
            (Dtype::F8E4m3, Dtype::Bf16),
            (Dtype::I8, Dtype::Bf16),
            (Dtype::I8, Dtype::F32),
        ] {
            assert!(formats(of(dtype, output)).is_ok(), "{dtype:?}");
        }
    }

    #[test]
    fn mixed_operands_are_refused_with_their_names() {
        let dtypes = Dtypes { input: Dtype::Bf16, weight: Dtype::I4, output: Dtype::Bf16 };
        assert!(formats(dtypes).unwrap_err().to_string().contains("bf16 by i4"));
    }

    #[test]
    fn an_unrelated_result_is_far_beyond_the_tolerance() {
        // Terms of random signs: a result of other operands is off by about √2 times the spread.
        for (dtype, output) in
            [(Dtype::Bf16, Element::Bf16), (Dtype::Tf32, Element::F32), (Dtype::F8E4m3, Element::Bf16)]
        {
            let formats = formats(of(dtype, if dtype == Dtype::Tf32 { dtype } else { Dtype::Bf16 })).unwrap();
            let allowed = tolerance(&formats, output, 1.0, 1.0, 16_384);
            assert!(allowed < 0.2, "{dtype:?}: {allowed}");
        }
    }
}
