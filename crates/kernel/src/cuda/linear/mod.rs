//! Fully connected layers through cuBLASLt, with the algorithm that its heuristic puts first: what frameworks run.
//!
//! `output[m,n] = input[m,k] · weight[n,k]ᵀ`, all row-major, is in the library's column-major words
//! `D[n,m] = A[k,n]ᵀ · B[k,m]` with A the weight and B the input: "TN", the layout of every framework.

mod formats;
mod library;

use std::ffi::c_void;
use std::rc::Rc;

use rayon::prelude::*;
use stopwatt_core::kernel_table::{CacheState, Dtypes};

use self::formats::{Formats, formats, tolerance};
use self::library::Descriptors;
pub(super) use self::library::Lt;
use super::compile::Kernel;
use super::ffi::cublaslt::{ALGORITHM_ATTRIBUTES, Choice, DataType};
use super::gpu::{Gpu, SUPPORT};
use super::issue::{Issue, sets};
use super::memory::{Buffer, Rotating, of_size};
use super::numbers::{Mixed, widen};
use super::plan::Element;
use crate::case::CaseError;

/// Rows and columns whose crossings are checked.
const CHECKED: usize = 16;
/// Scales of 8-bit floating-point operands, input and weight. Not 1, so that forgetting them shows.
const SCALES: [f32; 2] = [0.75, 1.25];
/// Bytes from one scale to the other: at 4, cuBLASLt 13.1 on an H100 refused the product as not supported.
const SCALE_STEP: usize = 256;

/// One product.
pub(in crate::cuda) struct LinearIssue {
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
    pub(in crate::cuda) fn new(
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
        issue.input.fill_uniform(&issue.gpu, issue.gpu.seed(1), formats.magnitude)?;
        issue.weight.fill_uniform(&issue.gpu, issue.gpu.seed(2), formats.magnitude)?;
        if let Some((_, factors, _)) = &issue.scaled {
            factors.fill_uniform(&issue.gpu, issue.gpu.seed(3), 1.0)?;
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
