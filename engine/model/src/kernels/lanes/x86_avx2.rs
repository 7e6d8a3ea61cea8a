//! Owns the sixteen lanes as two registers of AVX2.
//!
//! Refuses to know kernels. Bound: AVX2 and FMA; made only inside `enter`, whose caller has asked
//! the host.

use std::arch::x86_64::*;

use super::dispatch::Kernel;
use super::lane::Lanes;
use super::x86::{accesses, operations, sum_of_eight, top_of_eight};

/// Sixteen numbers in two registers.
#[derive(Clone, Copy)]
pub struct Avx2(__m256, __m256);

/// Sixteen whole numbers in two registers.
#[derive(Clone, Copy)]
pub struct Avx2Ints(__m256i, __m256i);

/// All bits set in the first `count` of eight lanes.
///
/// # Safety
/// The host must have AVX2.
#[inline(always)]
unsafe fn first(count: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count.min(8) as i32), places)
    }
}

/// `x * 2^power`, see [`Lanes::scale`].
///
/// # Safety
/// The host must have AVX2.
#[inline(always)]
unsafe fn scale(x: __m256, power: __m256) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let power = _mm256_cvttps_epi32(power);
        let half = _mm256_srai_epi32::<1>(power);
        let bias = _mm256_set1_epi32(127);
        let first = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
        let rest = _mm256_add_epi32(_mm256_sub_epi32(power, half), bias);
        let rest = _mm256_slli_epi32::<23>(rest);
        // The first step stays normal where the result is not, so only the second rounds.
        let x = _mm256_mul_ps(x, _mm256_castsi256_ps(first));
        _mm256_mul_ps(x, _mm256_castsi256_ps(rest))
    }
}

/// Where `a < b`, `then`.
///
/// # Safety
/// The host must have AVX2.
#[inline(always)]
unsafe fn if_less(a: __m256, b: __m256, then: __m256, otherwise: __m256) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe { _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
}

/// The lower parts of sixteen whole numbers, one after the other.
#[inline(always)]
fn ints(a: Avx2Ints) -> [i32; 16] {
    let mut out = [0_i32; 16];
    // SAFETY: sixteen numbers fit, and the host has AVX2, for the value exists.
    unsafe {
        _mm256_storeu_si256(out.as_mut_ptr().cast(), a.0);
        _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), a.1);
    }
    out
}

impl Lanes for Avx2 {
    type Ints = Avx2Ints;
    const IS_WIDE: bool = false;

    #[target_feature(enable = "avx2,fma")]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Self>()
    }

    accesses! {
        load(from: *const f32) -> Self =
            Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8)));
        load_part(from: *const f32, count: usize, fill: f32) -> Self = {
            let fill = _mm256_set1_ps(fill);
            let (low, high) = (first(count), first(count.saturating_sub(8)));
            // Lanes that are masked out are not read, wherever the address points.
            Self(
                _mm256_blendv_ps(fill, _mm256_maskload_ps(from, low), _mm256_castsi256_ps(low)),
                _mm256_blendv_ps(
                    fill,
                    _mm256_maskload_ps(from.wrapping_add(8), high),
                    _mm256_castsi256_ps(high),
                ),
            )
        };
        store(self, to: *mut f32) = {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        };
        store_part(self, to: *mut f32, count: usize) = {
            _mm256_maskstore_ps(to, first(count), self.0);
            _mm256_maskstore_ps(to.wrapping_add(8), first(count.saturating_sub(8)), self.1);
        };
        load_ints(from: *const i32) -> Self::Ints = Avx2Ints(
            _mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(8).cast()));
        store_bytes(self, to: *mut u8, count: usize) = {
            let values = Avx2Ints(_mm256_cvttps_epi32(self.0), _mm256_cvttps_epi32(self.1));
            for (index, value) in ints(values).iter().enumerate().take(count) {
                *to.add(index) = *value as u8;
            }
        };
        store_halves(values: Self::Ints, to: *mut u16, count: usize) = {
            for (index, value) in ints(values).iter().enumerate().take(count) {
                to.add(index).write_unaligned(*value as u16);
            }
        };
    }

    operations! {
        splat(value: f32) -> Self = Self(_mm256_set1_ps(value), _mm256_set1_ps(value));
        add(self, other: Self) -> Self =
            Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1));
        sub(self, other: Self) -> Self =
            Self(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1));
        mul(self, other: Self) -> Self =
            Self(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1));
        div(self, other: Self) -> Self =
            Self(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1));
        fma(self, factor: Self, addend: Self) -> Self = Self(
            _mm256_fmadd_ps(self.0, factor.0, addend.0),
            _mm256_fmadd_ps(self.1, factor.1, addend.1),
        );
        min(self, other: Self) -> Self =
            Self(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1));
        max(self, other: Self) -> Self =
            Self(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1));
        sqrt(self) -> Self = Self(_mm256_sqrt_ps(self.0), _mm256_sqrt_ps(self.1));
        abs(self) -> Self = {
            let sign = _mm256_set1_ps(-0.0);
            Self(_mm256_andnot_ps(sign, self.0), _mm256_andnot_ps(sign, self.1))
        };
        round(self) -> Self =
            Self(_mm256_round_ps::<0x08>(self.0), _mm256_round_ps::<0x08>(self.1));
        if_less(self, bound: Self, then: Self, otherwise: Self) -> Self = Self(
            if_less(self.0, bound.0, then.0, otherwise.0),
            if_less(self.1, bound.1, then.1, otherwise.1),
        );
        scale(self, power: Self) -> Self =
            Self(scale(self.0, power.0), scale(self.1, power.1));
        sum(self) -> f32 = sum_of_eight(_mm256_add_ps(self.0, self.1));
        top(self) -> f32 = top_of_eight(_mm256_max_ps(self.0, self.1));
        splat_ints(value: i32) -> Self::Ints =
            Avx2Ints(_mm256_set1_epi32(value), _mm256_set1_epi32(value));
        add_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints =
            Avx2Ints(_mm256_add_epi32(a.0, b.0), _mm256_add_epi32(a.1, b.1));
        sub_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints =
            Avx2Ints(_mm256_sub_epi32(a.0, b.0), _mm256_sub_epi32(a.1, b.1));
        mul_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints =
            Avx2Ints(_mm256_mullo_epi32(a.0, b.0), _mm256_mullo_epi32(a.1, b.1));
        and_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints =
            Avx2Ints(_mm256_and_si256(a.0, b.0), _mm256_and_si256(a.1, b.1));
        dot_halves(a: Self::Ints, b: Self::Ints) -> Self::Ints =
            Avx2Ints(_mm256_madd_epi16(a.0, b.0), _mm256_madd_epi16(a.1, b.1));
        low_bytes(a: Self::Ints) -> Self::Ints = Avx2Ints(
            _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(a.0)),
            _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(a.1)),
        );
        high_bytes(a: Self::Ints) -> Self::Ints =
            Avx2Ints(_mm256_srai_epi16::<8>(a.0), _mm256_srai_epi16::<8>(a.1));
        of_ints(ints: Self::Ints) -> Self =
            Self(_mm256_cvtepi32_ps(ints.0), _mm256_cvtepi32_ps(ints.1));
        bits(self) -> Self::Ints =
            Avx2Ints(_mm256_castps_si256(self.0), _mm256_castps_si256(self.1));
        of_bits(ints: Self::Ints) -> Self =
            Self(_mm256_castsi256_ps(ints.0), _mm256_castsi256_ps(ints.1));
    }

    #[inline(always)]
    fn shift_up<const BITS: u32>(a: Self::Ints) -> Self::Ints {
        // SAFETY: values of this type are made only inside `enter`, so the host has the set.
        unsafe {
            let bits = _mm_cvtsi32_si128(BITS as i32);
            Avx2Ints(_mm256_sll_epi32(a.0, bits), _mm256_sll_epi32(a.1, bits))
        }
    }

    #[inline(always)]
    fn shift_down<const BITS: u32>(a: Self::Ints) -> Self::Ints {
        // SAFETY: as above.
        unsafe {
            let bits = _mm_cvtsi32_si128(BITS as i32);
            Avx2Ints(_mm256_sra_epi32(a.0, bits), _mm256_sra_epi32(a.1, bits))
        }
    }
}
