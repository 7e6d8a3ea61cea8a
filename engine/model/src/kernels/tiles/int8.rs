//! Owns the product of four unsigned by four signed 8-bit numbers, summed in whole numbers.
//!
//! Refuses to know how numbers are quantised. Bound: exact, so the same everywhere; sums of at
//! most [`Int8::INPUTS_MAX`] products cannot overflow.

use std::marker::PhantomData;

use super::product::{Product, ProductKernel, Within, bias};
use super::sweep::Finish;
use crate::kernels::Isa;
use crate::kernels::lanes::{Kernel, Lanes, dispatch};

/// Groups of four 8-bit numbers.
#[derive(Clone, Copy)]
pub struct Int8<L>(PhantomData<L>);

impl Int8<()> {
    /// Most products of one sum: 2^31 / (255 · 128).
    pub const INPUTS_MAX: usize = 65_793;
}

/// `(sum - zero point · sum of the column's weights) · scales + bias`.
///
/// # Safety
/// What `finish` points to must be as large as the job says.
#[inline(always)]
unsafe fn result<L: Lanes>(
    finish: &Finish,
    row: usize,
    column: usize,
    count: usize,
    sum: L::Ints,
) -> L {
    // SAFETY: the caller's promise; the columns' own numbers are padded to whole vectors.
    unsafe {
        let zero = L::splat_ints(*finish.row_zeros.add(row));
        let sums = L::load_ints(finish.column_sums.add(column));
        let value = L::of_ints(L::sub_ints(sum, L::mul_ints(zero, sums)));
        let scale = L::load(finish.column_scales.add(column));
        let scale = scale.mul(L::splat(*finish.row_scales.add(row)));
        value.fma(scale, bias(finish, column, count))
    }
}

impl<L: Lanes> Product for Int8<L> {
    type Lanes = L;
    type Words = L::Ints;
    type Sum = L::Ints;

    #[inline(always)]
    unsafe fn enter<K: ProductKernel>(kernel: K) -> K::Output {
        // SAFETY: the caller's promise.
        unsafe { L::enter(Within(kernel, PhantomData::<Self>)) }
    }

    #[inline(always)]
    fn zero() -> L::Ints {
        L::splat_ints(0)
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
    fn step(x: L::Ints, w: L::Ints, sum: L::Ints) -> L::Ints {
        // Bytes 0 and 2, then 1 and 3, each as halves of a word.
        let mask = L::splat_ints(0x00ff_00ff);
        let even = L::and_ints(x, mask);
        let odd = L::and_ints(L::shift_down::<8>(x), mask);
        let even = L::dot_halves(even, L::low_bytes(w));
        let odd = L::dot_halves(odd, L::high_bytes(w));
        L::add_ints(sum, L::add_ints(even, odd))
    }

    #[inline(always)]
    fn join(a: L::Ints, b: L::Ints) -> L::Ints {
        L::add_ints(a, b)
    }

    #[inline(always)]
    unsafe fn result(finish: &Finish, row: usize, column: usize, count: usize, sum: L::Ints) -> L {
        // SAFETY: the caller's promise.
        unsafe { result::<L>(finish, row, column, count, sum) }
    }
}

#[cfg(target_arch = "x86_64")]
mod native {
    use std::arch::x86_64::*;

    use super::*;
    use crate::kernels::lanes::Avx512;

    /// Groups of four 8-bit numbers by the processor's dot product.
    #[derive(Clone, Copy)]
    pub struct NativeInt8;

    impl Product for NativeInt8 {
        type Lanes = Avx512;
        type Words = __m512i;
        type Sum = __m512i;

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
        unsafe fn enter<K: ProductKernel>(kernel: K) -> K::Output {
            kernel.run::<Self>()
        }

        #[inline(always)]
        fn zero() -> __m512i {
            Avx512::splat_ints(0)
        }

        #[inline(always)]
        unsafe fn load(from: *const u32) -> __m512i {
            // SAFETY: the caller's promise.
            unsafe { Avx512::load_ints(from.cast()) }
        }

        #[inline(always)]
        fn splat(word: u32) -> __m512i {
            Avx512::splat_ints(word as i32)
        }

        #[inline(always)]
        fn step(x: __m512i, w: __m512i, sum: __m512i) -> __m512i {
            // SAFETY: used only inside `enter`.
            unsafe { _mm512_dpbusd_epi32(sum, x, w) }
        }

        #[inline(always)]
        fn join(a: __m512i, b: __m512i) -> __m512i {
            Avx512::add_ints(a, b)
        }

        #[inline(always)]
        unsafe fn result(
            finish: &Finish,
            row: usize,
            column: usize,
            count: usize,
            sum: __m512i,
        ) -> Avx512 {
            // SAFETY: the caller's promise.
            unsafe { result::<Avx512>(finish, row, column, count, sum) }
        }
    }
}

struct Quantised<K>(K);

impl<K: ProductKernel> Kernel for Quantised<K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<L: Lanes>(self) -> K::Output {
        self.0.run::<Int8<L>>()
    }
}

/// Runs a kernel with groups of four 8-bit numbers.
#[inline]
pub fn int8_product<K: ProductKernel>(isa: Isa, kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if let Isa::Avx512 { vnni: true, .. } = isa.or_portable() {
        // SAFETY: `or_portable` gives only what this host has.
        return unsafe { native::NativeInt8::enter(kernel) };
    }
    dispatch(isa, Quantised(kernel))
}
