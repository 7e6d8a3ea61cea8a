//! Owns the seam between tiles and the numbers they multiply, and the plain product of f32.
//!
//! Refuses to know tiles. Bound: words of 32 bits, whatever they hold.

use std::marker::PhantomData;

use super::sweep::Finish;
use crate::kernels::lanes::{Kernel, Lanes};

/// How words of 32 bits are multiplied and summed, sixteen columns at a time.
pub trait Product: Copy {
    /// The lanes of the results.
    type Lanes: Lanes;
    /// Sixteen words.
    type Words: Copy;
    /// Sixteen sums.
    type Sum: Copy;

    /// Runs a kernel compiled for the instructions of this product.
    ///
    /// # Safety
    /// The host must have them.
    unsafe fn enter<K: ProductKernel>(kernel: K) -> K::Output;
    /// Sums of nothing.
    fn zero() -> Self::Sum;
    /// Reads sixteen words.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load(from: *const u32) -> Self::Words;
    /// The same word sixteen times.
    fn splat(word: u32) -> Self::Words;
    /// `sum + x · w`.
    fn step(x: Self::Words, w: Self::Words, sum: Self::Sum) -> Self::Sum;
    /// Joins the sums of two chains.
    fn join(a: Self::Sum, b: Self::Sum) -> Self::Sum;
    /// The results of a row of the input in `count` columns from `column` on, bias included.
    ///
    /// # Safety
    /// What `finish` points to must be as large as the job says.
    unsafe fn result(
        finish: &Finish,
        row: usize,
        column: usize,
        count: usize,
        sum: Self::Sum,
    ) -> Self::Lanes;
}

/// A loop written once for all products; `run` must be `#[inline(always)]`.
pub trait ProductKernel {
    /// What it gives.
    type Output;
    /// Runs it.
    fn run<P: Product>(self) -> Self::Output;
}

/// Runs a kernel of products as one of lanes.
pub struct Within<P, K>(pub K, pub PhantomData<P>);

impl<P: Product, K: ProductKernel> Kernel for Within<P, K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<L: Lanes>(self) -> K::Output {
        self.0.run::<P>()
    }
}

/// The bias of `count` columns from `column` on; zeros if there is none.
///
/// # Safety
/// The bias must have them.
#[inline(always)]
pub unsafe fn bias<L: Lanes>(finish: &Finish, column: usize, count: usize) -> L {
    match finish.bias.is_null() {
        true => L::splat(0.0),
        // SAFETY: the caller's promise.
        false => unsafe { L::load_part(finish.bias.add(column), count, 0.0) },
    }
}

/// f32 by f32, the product and the sum rounded once.
#[derive(Clone, Copy)]
pub struct Floats<L>(PhantomData<L>);

impl<L: Lanes> Product for Floats<L> {
    type Lanes = L;
    type Words = L;
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
    unsafe fn load(from: *const u32) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load(from.cast()) }
    }

    #[inline(always)]
    fn splat(word: u32) -> L {
        L::splat(f32::from_bits(word))
    }

    #[inline(always)]
    fn step(x: L, w: L, sum: L) -> L {
        w.fma(x, sum)
    }

    #[inline(always)]
    fn join(a: L, b: L) -> L {
        a.add(b)
    }

    #[inline(always)]
    unsafe fn result(finish: &Finish, _row: usize, column: usize, count: usize, sum: L) -> L {
        // SAFETY: the caller's promise.
        sum.fma(L::splat(finish.scale), unsafe { bias(finish, column, count) })
    }
}
