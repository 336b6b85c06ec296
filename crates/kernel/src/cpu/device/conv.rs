//! Convolutions.

use stopwatt_core::kernel_table::{Op, Shape};

use super::{Operation, Setup, f32_bytes, fill_matrix, multiple, sizes, sum_tolerance, unsupported};
use crate::case::CaseError;
use crate::cpu::random::Random;
use crate::cpu::{Buffer, ConvShape, Cpu, Matrix, conv2d};

pub(super) struct Convolution {
    shape: ConvShape,
    patches: Vec<f32>,
    sets: Vec<(Buffer, Matrix, Buffer)>,
}

impl Convolution {
    pub(super) fn new(op: &Op, setup: &mut Setup) -> Result<Self, CaseError> {
        let Shape::Image { batch, channels, height, width, filters, kernel, stride, padding } = op.shape
        else {
            return unsupported("not the shape of a convolution");
        };
        let [batch, channels, height, width, filters, kernel, stride] =
            sizes([batch, channels, height, width, filters, kernel, stride])?;
        let shape = ConvShape { batch, channels, height, width, kernel, stride, padding: padding as usize };
        let Some((rows, cols)) = shape.output() else {
            return unsupported("the kernel is larger than the padded image");
        };
        let (input, output) = (batch * height * width * channels, batch * rows * cols * filters);
        let patches = rows * cols * shape.taps();
        setup.room(f32_bytes(patches))?;
        let bytes = f32_bytes(input + output) + (filters * shape.taps() * setup.precision.bytes()) as u64;
        let sets = (0..setup.copies(bytes)?)
            .map(|_| {
                Ok((setup.buffer(input)?, setup.matrix(filters, shape.taps(), 1.0)?, setup.buffer(output)?))
            })
            .collect::<Result<_, CaseError>>()?;
        Ok(Self { shape, patches: Vec::new(), sets })
    }
}

impl Operation for Convolution {
    fn kernel(&self) -> &'static str {
        "conv2d (patches × linear)"
    }

    fn copies(&self) -> usize {
        self.sets.len()
    }

    fn refill(&mut self, random: &mut Random) {
        let (x, w, y) = &mut self.sets[0];
        random.fill(x);
        fill_matrix(w, 1.0, random);
        y.fill(f32::NAN);
    }

    fn call(&mut self, cpu: &Cpu, copy: usize) {
        let (x, w, y) = &mut self.sets[copy];
        conv2d(cpu, x, self.shape, w, &mut self.patches, y);
    }

    fn deviation(&self, random: &mut Random) -> f64 {
        let (x, w, y) = &self.sets[0];
        let s = self.shape;
        let (_, cols) = s.output().expect("checked when it was made");
        let filters = w.rows();
        let one = |_| {
            let index = random.below(y.len());
            let (pixel, filter) = (index / filters, index % filters);
            let (row, col) = (pixel / cols, pixel % cols);
            let rows = s.output().expect("checked when it was made").0;
            let (image, row) = (row / rows, row % rows);
            let weights = w.row(filter);
            let (mut exact, mut size) = (0.0, 0.0);
            for (at, weight) in weights.iter().enumerate() {
                let (tap, channel) = (at / s.channels, at % s.channels);
                let (iy, ix) = (row * s.stride + tap / s.kernel, col * s.stride + tap % s.kernel);
                let (Some(iy), Some(ix)) = (iy.checked_sub(s.padding), ix.checked_sub(s.padding)) else {
                    continue;
                };
                if iy < s.height && ix < s.width {
                    let v = x[((image * s.height + iy) * s.width + ix) * s.channels + channel];
                    let product = f64::from(v) * f64::from(*weight);
                    exact += product;
                    size += product.abs();
                }
            }
            multiple(y[index], exact, size * sum_tolerance(weights.len()))
        };
        (0..64).map(one).fold(0.0, f64::max)
    }
}
