//! Compares `kernel::cpu::linear` with the `gemm` crate (`gemm-f32` 0.19, AVX-512 switched on), on one thread.
//!
//! Shapes are the projections of SmolLM2-135M. Weights lie in huge pages and are larger together than the caches. `gemm`
//! multiplies `f32` only, in panels of 192 outputs. One CSV line a case: the best of the repeats, by CPU time.

use stopwatt_kernel::cpu::{Arena, Buffer, Cpu, Matrix, Precision, linear};

const PANEL: usize = 192;
const REPEATS: usize = 7;

fn main() {
    let cpu = Cpu::new(1);
    println!("implementation,isa,outputs,inputs,precision,rows,weights_gb_per_cpu_s,gflop_per_cpu_s");
    for (n, k) in [(960, 576), (3072, 576), (576, 1536)] {
        for precision in [Precision::F32, Precision::Bf16] {
            let copies = 200_000_000 / (n * k * precision.bytes());
            let values: Vec<f32> = (0..n * k).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect();
            let mut arena = Arena::default();
            let weights: Vec<Matrix> = (0..copies)
                .map(|_| {
                    let mut matrix = Matrix::zeros(&mut arena, n, k, precision).expect("memory");
                    matrix.write_rows(0, &values);
                    matrix
                })
                .collect();
            // The baseline reads the same numbers from a copy of its own, in huge pages too.
            let mut plain =
                Buffer::zeroed(n * k * if precision == Precision::F32 { copies } else { 1 }).expect("memory");
            plain.chunks_exact_mut(n * k).for_each(|copy| copy.copy_from_slice(&values));
            for rows in [1, 4, 8, 32, 128, 512] {
                let x = vec![0.5f32; rows * k];
                let mut y = vec![0f32; rows * n];
                let used = (2048 / rows).clamp(1, copies);
                let report = |name: &str, isa: &str, s: f64| {
                    let bytes = (used * n * k * precision.bytes()) as f64;
                    let flop = 2.0 * (used * n * k * rows) as f64;
                    println!(
                        "{name},{isa},{n},{k},{},{rows},{:.2},{:.1}",
                        precision.name(),
                        bytes / s / 1e9,
                        flop / s / 1e9
                    );
                };
                let s = best(|| weights[..used].iter().for_each(|w| linear(&cpu, &x, w, &mut y)));
                report("stopwatt", cpu.isa().name(), s);
                if precision == Precision::F32 {
                    let s = best(|| {
                        plain.chunks_exact(n * k).take(used).for_each(|w| gemm(&x, w, &mut y, (rows, n, k)))
                    });
                    report("gemm", "avx512", s);
                }
            }
        }
    }
}

fn gemm(x: &[f32], w: &[f32], y: &mut [f32], (rows, n, k): (usize, usize, usize)) {
    for begin in (0..n).step_by(PANEL) {
        let height = PANEL.min(n - begin);
        // SAFETY: the panel is height × k, x is rows × k, and columns begin .. begin + height of y are written as their
        // transpose.
        unsafe {
            gemm_f32::gemm::f32::get_gemm_fn()(
                height,
                rows,
                k,
                y.as_mut_ptr().add(begin),
                n as isize,
                1,
                false,
                w.as_ptr().add(begin * k),
                1,
                k as isize,
                x.as_ptr(),
                k as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm_common::Parallelism::None,
            );
        }
    }
}

fn best(mut work: impl FnMut()) -> f64 {
    let time = || {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
    };
    (0..REPEATS)
        .map(|_| {
            let begin = time();
            work();
            time() - begin
        })
        .fold(f64::INFINITY, f64::min)
}
