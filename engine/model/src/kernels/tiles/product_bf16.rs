//! Owns the product of pairs of bf16, summed in f32.
//!
//! Refuses to know rounding to bf16. Bound: the processor's own dot product flushes numbers below
//! the normal ones and rounds its two steps in another order than the fused products elsewhere, so
//! its bits may differ from theirs.

use std::marker::PhantomData;

use super::product::{Product, ProductKernel, Within, bias};
use super::sweep::Finish;
use crate::kernels::Isa;
use crate::kernels::lanes::{Kernel, Lanes, dispatch};

/// Pairs of bf16, widened to f32.
#[derive(Clone, Copy)]
pub struct Halves<L>(PhantomData<L>);

#[inline(always)]
fn low<L: Lanes>(words: L::Ints) -> L {
    L::of_bits(L::shift_up::<16>(words))
}

#[inline(always)]
fn high<L: Lanes>(words: L::Ints) -> L {
    L::of_bits(L::and_ints(words, L::splat_ints(-65_536)))
}

impl<L: Lanes> Product for Halves<L> {
    type Lanes = L;
    type Words = L::Ints;
    type Sum = L;

    #[inline(always)]
    unsafe fn enter<K: ProductKernel>(kernel: K) -> K::Output {
        // SAFETY: the caller's promise.
        unsafe { L::enter(Within(kernel, PhantomData::<Self>)) }
    }

    #[inline(always)]
    fn zero() -> L {
        L::splat(0.0)
    }

    #[inline(always)]
    unsafe fn load(from: *const u32) -> L::Ints {
        // SAFETY: the caller's promise.
        unsafe { L::load_ints(from.cast()) }
    }

    #[inline(always)]
    fn splat(word: u32) -> L::Ints {
        L::splat_ints(word as i32)
    }

    #[inline(always)]
    fn step(x: L::Ints, w: L::Ints, sum: L) -> L {
        high::<L>(x).fma(high::<L>(w), low::<L>(x).fma(low::<L>(w), sum))
    }

    #[inline(always)]
    fn join(a: L, b: L) -> L {
        a.add(b)
    }

    #[inline(always)]
    unsafe fn result(finish: &Finish, _row: usize, column: usize, count: usize, sum: L) -> L {
        // SAFETY: the caller's promise.
        sum.add(unsafe { bias(finish, column, count) })
    }
}

#[cfg(target_arch = "x86_64")]
mod native {
    use std::arch::x86_64::*;

    use super::*;
    use crate::kernels::lanes::Avx512;

    /// Pairs of bf16 by the processor's dot product.
    #[derive(Clone, Copy)]
    pub struct NativeHalves;

    impl Product for NativeHalves {
        type Lanes = Avx512;
        type Words = __m512bh;
        type Sum = Avx512;

        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma"
        )]
        unsafe fn enter<K: ProductKernel>(kernel: K) -> K::Output {
            kernel.run::<Self>()
        }

        #[inline(always)]
        fn zero() -> Avx512 {
            Avx512::splat(0.0)
        }

        #[inline(always)]
        unsafe fn load(from: *const u32) -> __m512bh {
            // SAFETY: the caller's promise; both are 64 bytes of any content.
            unsafe { std::mem::transmute(_mm512_loadu_si512(from.cast())) }
        }

        #[inline(always)]
        fn splat(word: u32) -> __m512bh {
            // SAFETY: used only inside `enter`; both are 64 bytes of any content.
            unsafe { std::mem::transmute(_mm512_set1_epi32(word as i32)) }
        }

        #[inline(always)]
        fn step(x: __m512bh, w: __m512bh, sum: Avx512) -> Avx512 {
            // SAFETY: used only inside `enter`.
            Avx512(unsafe { _mm512_dpbf16_ps(sum.0, w, x) })
        }

        #[inline(always)]
        fn join(a: Avx512, b: Avx512) -> Avx512 {
            a.add(b)
        }

        #[inline(always)]
        unsafe fn result(
            finish: &Finish,
            _row: usize,
            column: usize,
            count: usize,
            sum: Avx512,
        ) -> Avx512 {
            // SAFETY: the caller's promise.
            sum.add(unsafe { bias(finish, column, count) })
        }
    }
}

struct Halved<K>(K);

impl<K: ProductKernel> Kernel for Halved<K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<L: Lanes>(self) -> K::Output {
        self.0.run::<Halves<L>>()
    }
}

/// Runs a kernel with pairs of bf16.
#[inline]
pub fn halves_product<K: ProductKernel>(isa: Isa, kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if let Isa::Avx512 { bf16: true, vnni: true } = isa.or_portable() {
        // SAFETY: `or_portable` gives only what this host has.
        return unsafe { native::NativeHalves::enter(kernel) };
    }
    dispatch(isa, Halved(kernel))
}
