//! The vector operations that the operators are written in, and their choice at run time.
//!
//! An operator is a [`Kernel`]: a struct with its arguments and one generic body. [`dispatch`] compiles that body once
//! for each instruction set, inside a function for which the compiler may use it. A token type (`Avx512`, …) exists
//! only where its instructions do, so arithmetic on vectors is safe; loads and stores take pointers and are not.

#![expect(unsafe_code, reason = "vector instructions and pointers into slices")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use half::{bf16, f16};

use super::isa::{Isa, Kind};

/// Vectors of `f32` of one instruction set.
pub(crate) trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// Numbers in a vector.
    const LANES: usize;

    /// The same number in every lane.
    fn splat(self, v: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a × b + c`, with one rounding where the machine has it.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// 2 to the power of a whole number in −126 ..= 127.
    fn pow2(self, n: Self::V) -> Self::V;
    /// Sum over the lanes, in an order that is fixed for the instruction set.
    fn sum(self, v: Self::V) -> f32;
    /// Sums of four vectors at once.
    #[inline(always)]
    fn sum4(self, v: [Self::V; 4]) -> [f32; 4] {
        [self.sum(v[0]), self.sum(v[1]), self.sum(v[2]), self.sum(v[3])]
    }
    /// Largest lane.
    fn largest(self, v: Self::V) -> f32;

    /// # Safety
    /// `p` must be good for reading `LANES` numbers.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` must be good for writing `LANES` numbers.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    /// # Safety
    /// `p` must be good for reading `LANES` numbers.
    unsafe fn load_bf16(self, p: *const bf16) -> Self::V;
    /// # Safety
    /// `p` must be good for reading `LANES` numbers.
    unsafe fn load_f16(self, p: *const f16) -> Self::V;

    /// Runs `kernel` as a function of its own, so that its registers are allocated for it alone.
    fn call<K: Kernel>(self, kernel: K) -> K::Out;

    /// Asks for the cache line of `p`, which may lie anywhere.
    #[inline(always)]
    fn prefetch(self, _p: *const u8) {}

    /// Stores past the caches, where the machine can.
    ///
    /// # Safety
    /// `p` must be good for writing `LANES` numbers and aligned to a cache line; [`Simd::fence`] must follow before
    /// another thread reads them.
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: Self::V) {
        // SAFETY: passed on.
        unsafe { self.store(p, v) }
    }

    /// Orders what [`Simd::stream`] stored before what follows.
    #[inline(always)]
    fn fence(self) {}

    /// Zeros.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// e to the power of each lane, to about 2 units in the last place; 0 below −87.3, finite above 88.
    ///
    /// Range reduction to |r| ≤ ln 2 / 2 with ln 2 in two parts, then the polynomial of Cephes' `expf`.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        let x = self.max(self.min(x, self.splat(88.0)), self.splat(-87.336_54));
        // Adding and taking away 1.5 × 2^23 rounds to the nearest whole number.
        let magic = self.splat(12_582_912.0);
        let n = self.sub(self.fma(x, self.splat(std::f32::consts::LOG2_E), magic), magic);
        let r = self.fma(n, self.splat(-0.693_359_4), x);
        let r = self.fma(n, self.splat(2.121_944_4e-4), r);
        let mut p = self.splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = self.fma(p, r, self.splat(c));
        }
        let p = self.fma(self.mul(p, r), r, self.add(r, self.splat(1.0)));
        self.mul(p, self.pow2(n))
    }
}

/// A number that weights are stored in.
pub(crate) trait Element: bytemuck::Pod + Send + Sync {
    /// # Safety
    /// `p` must be good for reading `S::LANES` numbers.
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V;
    /// The number, widened.
    fn widen(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V {
        // SAFETY: passed on.
        unsafe { s.load(p) }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Element for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V {
        // SAFETY: passed on.
        unsafe { s.load_bf16(p) }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Element for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V {
        // SAFETY: passed on.
        unsafe { s.load_f16(p) }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

/// The body of an operator, generic over the instruction set.
///
/// Everything that touches a vector must end up inside the function that [`dispatch`] compiles for the instruction set:
/// `run` and what it calls are `#[inline(always)]`, and no vector goes through a closure, which the compiler may leave
/// as a function of its own, without the instructions.
pub(crate) trait Kernel {
    /// What it returns.
    type Out;
    /// Computes.
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

/// Runs `kernel` with an instruction set.
#[inline]
pub(crate) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Out {
    match isa.kind() {
        // SAFETY: an `Isa` of this kind exists only after the features were detected.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => unsafe { avx512::run(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { avx2::run(kernel) },
        Kind::Portable => kernel.run(portable::Portable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exp<'a>(&'a [f32], &'a mut [f32]);

    impl Kernel for Exp<'_> {
        type Out = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for (x, y) in self.0.chunks_exact(S::LANES).zip(self.1.chunks_exact_mut(S::LANES)) {
                // SAFETY: both chunks hold LANES numbers.
                unsafe { s.store(y.as_mut_ptr(), s.exp(s.load(x.as_ptr()))) };
            }
        }
    }

    #[test]
    fn exp_is_right_to_a_few_units_in_the_last_place() {
        let x: Vec<f32> = (0..16_000).map(|i| -87.0 + i as f32 * 175.0 / 16_000.0).collect();
        for isa in Isa::available() {
            let mut y = vec![0.0; x.len()];
            dispatch(isa, Exp(&x, &mut y));
            for (&x, &y) in x.iter().zip(&y) {
                let exact = f64::from(x).exp();
                assert!((f64::from(y) - exact).abs() <= 3e-7 * exact, "{}: exp({x}) = {y}", isa.name());
            }
            let mut edge = vec![0.0; 16];
            let far = [f32::NEG_INFINITY, -1e30, -100.0, 0.0, 1e30, f32::INFINITY, 88.0, -0.0].repeat(2);
            dispatch(isa, Exp(&far, &mut edge));
            assert!(edge[..3].iter().all(|&v| (0.0..2e-38).contains(&v)), "{edge:?}");
            assert_eq!(edge[3], 1.0);
            assert!(edge[4].is_finite() && edge[5].is_finite());
        }
    }

    struct Sums<'a>(&'a [f32]);

    impl Kernel for Sums<'_> {
        type Out = [f32; 6];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [f32; 6] {
            assert!(self.0.len() >= S::LANES + 3);
            // SAFETY: LANES numbers from each of the four begins are inside the slice.
            let v = [0, 1, 2, 3].map(|i| unsafe { s.load(self.0.as_ptr().add(i)) });
            let [a, b, c, d] = s.sum4(v);
            [a, b, c, d, s.sum(v[0]), s.largest(v[0])]
        }
    }

    #[test]
    fn sums_and_largest_cover_every_lane() {
        for isa in Isa::available() {
            // Powers of two: each lane has its own bit in the sum.
            let x: Vec<f32> = (0..19).map(|i| f32::from(2u8).powi(i)).collect();
            let [a, b, c, d, one, largest] = dispatch(isa, Sums(&x));
            assert_eq!(a, one, "{}", isa.name());
            assert_eq!([b, c, d], [2.0 * a, 4.0 * a, 8.0 * a]);
            let lanes = (a + 1.0).log2();
            assert_eq!(lanes.fract(), 0.0);
            assert_eq!(largest, 2f32.powf(lanes - 1.0));
        }
    }

    #[test]
    fn bf16_and_f16_widen_exactly() {
        struct Wide<'a, T>(&'a [T], &'a mut [f32]);
        impl<T: Element> Kernel for Wide<'_, T> {
            type Out = ();
            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                for (x, y) in self.0.chunks_exact(S::LANES).zip(self.1.chunks_exact_mut(S::LANES)) {
                    // SAFETY: both chunks hold LANES numbers.
                    unsafe { s.store(y.as_mut_ptr(), T::load(s, x.as_ptr())) };
                }
            }
        }
        let finite = |v: &f32| !v.is_nan();
        for isa in Isa::available() {
            let mut wide = vec![0.0; 1 << 16];
            let all: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
            dispatch(isa, Wide(&all, &mut wide));
            assert!(wide.iter().zip(&all).filter(|(w, _)| finite(w)).all(|(w, v)| *w == v.to_f32()));
            let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
            dispatch(isa, Wide(&all, &mut wide));
            assert!(wide.iter().zip(&all).filter(|(w, _)| finite(w)).all(|(w, v)| *w == v.to_f32()));
        }
    }
}
