//! Owns the sixteen lanes as one register of AVX-512.
//!
//! Refuses to know kernels. Bound: F, BW, DQ and VL; made only inside `enter`, whose caller has
//! asked the host.

use std::arch::x86_64::*;

use super::dispatch::Kernel;
use super::lane::{COUNT, Lanes};
use super::x86::{accesses, operations, sum_of_eight, top_of_eight};

/// Sixteen numbers in one register.
#[derive(Clone, Copy)]
pub struct Avx512(pub(in crate::kernels) __m512);

/// The first `count` lanes.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1_u32 << count.min(16)) - 1) as __mmask16
}

impl Lanes for Avx512 {
    type Ints = __m512i;
    const IS_WIDE: bool = true;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Self>()
    }

    accesses! {
        load(from: *const f32) -> Self = Self(_mm512_loadu_ps(from));
        load_part(from: *const f32, count: usize, fill: f32) -> Self =
            Self(_mm512_mask_loadu_ps(_mm512_set1_ps(fill), first(count), from));
        store(self, to: *mut f32) = _mm512_storeu_ps(to, self.0);
        store_part(self, to: *mut f32, count: usize) =
            _mm512_mask_storeu_ps(to, first(count), self.0);
        load_ints(from: *const i32) -> Self::Ints = _mm512_loadu_si512(from.cast());
        store_bytes(self, to: *mut u8, count: usize) = _mm512_mask_cvtepi32_storeu_epi8(
            to.cast(), first(count), _mm512_cvttps_epi32(self.0));
        store_halves(ints: Self::Ints, to: *mut u16, count: usize) =
            _mm512_mask_cvtepi32_storeu_epi16(to.cast(), first(count), ints);
    }

    operations! {
        splat(value: f32) -> Self = Self(_mm512_set1_ps(value));
        add(self, other: Self) -> Self = Self(_mm512_add_ps(self.0, other.0));
        sub(self, other: Self) -> Self = Self(_mm512_sub_ps(self.0, other.0));
        mul(self, other: Self) -> Self = Self(_mm512_mul_ps(self.0, other.0));
        div(self, other: Self) -> Self = Self(_mm512_div_ps(self.0, other.0));
        fma(self, factor: Self, addend: Self) -> Self =
            Self(_mm512_fmadd_ps(self.0, factor.0, addend.0));
        min(self, other: Self) -> Self = Self(_mm512_min_ps(self.0, other.0));
        max(self, other: Self) -> Self = Self(_mm512_max_ps(self.0, other.0));
        sqrt(self) -> Self = Self(_mm512_sqrt_ps(self.0));
        abs(self) -> Self = Self(_mm512_abs_ps(self.0));
        round(self) -> Self = Self(_mm512_roundscale_ps::<0x08>(self.0));
        if_less(self, bound: Self, then: Self, otherwise: Self) -> Self =
            Self(_mm512_mask_blend_ps(
                _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, bound.0), otherwise.0, then.0));
        scale(self, power: Self) -> Self = Self(_mm512_scalef_ps(self.0, power.0));
        sum(self) -> f32 = sum_of_eight(_mm256_add_ps(
            _mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0)));
        top(self) -> f32 = top_of_eight(_mm256_max_ps(
            _mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0)));
        splat_ints(value: i32) -> Self::Ints = _mm512_set1_epi32(value);
        add_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints = _mm512_add_epi32(a, b);
        sub_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints = _mm512_sub_epi32(a, b);
        mul_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints = _mm512_mullo_epi32(a, b);
        and_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints = _mm512_and_si512(a, b);
        dot_halves(a: Self::Ints, b: Self::Ints) -> Self::Ints = _mm512_madd_epi16(a, b);
        low_bytes(a: Self::Ints) -> Self::Ints =
            _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(a));
        high_bytes(a: Self::Ints) -> Self::Ints = _mm512_srai_epi16::<8>(a);
        of_ints(ints: Self::Ints) -> Self = Self(_mm512_cvtepi32_ps(ints));
        bits(self) -> Self::Ints = _mm512_castps_si512(self.0);
        of_bits(ints: Self::Ints) -> Self = Self(_mm512_castsi512_ps(ints));
    }

    #[inline(always)]
    fn transpose(rows: [Self; COUNT]) -> [Self; COUNT] {
        let mut columns = rows;
        // SAFETY: values of this type are made only inside `enter`, so the host has the set.
        unsafe {
            let mut fours = rows.map(|row| row.0);
            for group in 0..4 {
                // Of four rows: in each quarter of the register one column of them.
                let [a, b, c, d] = [0, 1, 2, 3].map(|row| rows[4 * group + row].0);
                let pair = |low, a, b| match low {
                    true => _mm512_castps_pd(_mm512_unpacklo_ps(a, b)),
                    false => _mm512_castps_pd(_mm512_unpackhi_ps(a, b)),
                };
                let (low, other_low) = (pair(true, a, b), pair(true, c, d));
                let (high, other_high) = (pair(false, a, b), pair(false, c, d));
                fours[4 * group] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, other_low));
                fours[4 * group + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, other_low));
                fours[4 * group + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, other_high));
                fours[4 * group + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, other_high));
            }
            for column in 0..4 {
                let [a, b, c, d] = [0, 4, 8, 12].map(|group| fours[group + column]);
                let even = _mm512_shuffle_f32x4::<0x88>(a, b);
                let other_even = _mm512_shuffle_f32x4::<0x88>(c, d);
                let odd = _mm512_shuffle_f32x4::<0xdd>(a, b);
                let other_odd = _mm512_shuffle_f32x4::<0xdd>(c, d);
                columns[column] = Self(_mm512_shuffle_f32x4::<0x88>(even, other_even));
                columns[4 + column] = Self(_mm512_shuffle_f32x4::<0x88>(odd, other_odd));
                columns[8 + column] = Self(_mm512_shuffle_f32x4::<0xdd>(even, other_even));
                columns[12 + column] = Self(_mm512_shuffle_f32x4::<0xdd>(odd, other_odd));
            }
        }
        columns
    }

    #[inline(always)]
    fn shift_up<const BITS: u32>(a: Self::Ints) -> Self::Ints {
        // SAFETY: values of this type are made only inside `enter`, so the host has the set.
        unsafe { _mm512_slli_epi32::<BITS>(a) }
    }

    #[inline(always)]
    fn shift_down<const BITS: u32>(a: Self::Ints) -> Self::Ints {
        // SAFETY: as above.
        unsafe { _mm512_srai_epi32::<BITS>(a) }
    }
}
