//! Owns the wrapping of processor instructions as methods of lanes, and the sums across them.
//!
//! Refuses to know which instructions. Bound: one expression per method.

use std::arch::x86_64::*;

/// The sum of eight lanes, halves first.
///
/// # Safety
/// The host must have AVX2.
#[inline(always)]
pub(super) unsafe fn sum_of_eight(x: __m256) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

/// The largest of eight lanes.
///
/// # Safety
/// The host must have AVX2.
#[inline(always)]
pub(super) unsafe fn top_of_eight(x: __m256) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
    }
}

/// Methods that only compute.
macro_rules! operations {
    ($($name:ident($($arguments:tt)*) -> $out:ty = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name($($arguments)*) -> $out {
            // SAFETY: values of this type are made only inside `enter`, so the host has the set.
            unsafe { $body }
        })*
    };
}

/// Methods that read or write memory.
macro_rules! accesses {
    ($($name:ident($($arguments:tt)*) $(-> $out:ty)? = $body:expr;)*) => {
        $(#[inline(always)]
        unsafe fn $name($($arguments)*) $(-> $out)? {
            // SAFETY: the host has the set, and the caller promises that the memory is accessible.
            unsafe { $body }
        })*
    };
}

pub(super) use {accesses, operations};
