//! Owns the sixteen lanes as an array, for hosts without a set that has a kernel of its own.
//!
//! Refuses to know registers; what the compiler makes of the loops is its business. Bound: the
//! fused product is a call where the target has no such instruction: right, not fast.

use super::dispatch::Kernel;
use super::lane::{COUNT, Lanes};

/// Sixteen numbers in an array.
#[derive(Clone, Copy, Debug)]
pub struct Portable([f32; COUNT]);

#[inline(always)]
fn each(mut compute: impl FnMut(usize) -> f32) -> Portable {
    let mut out = [0.0; COUNT];
    for (index, out) in out.iter_mut().enumerate() {
        *out = compute(index);
    }
    Portable(out)
}

#[inline(always)]
fn each_int(mut compute: impl FnMut(usize) -> i32) -> [i32; COUNT] {
    let mut out = [0; COUNT];
    for (index, out) in out.iter_mut().enumerate() {
        *out = compute(index);
    }
    out
}

/// All lanes joined, halves first.
#[inline(always)]
fn fold(mut lanes: [f32; COUNT], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = COUNT / 2;
    while half > 0 {
        for index in 0..half {
            lanes[index] = join(lanes[index], lanes[index + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// `2^power` for a normal result.
#[inline(always)]
fn power_of_two(power: i32) -> f32 {
    f32::from_bits(((power + 127) as u32) << 23)
}

impl Lanes for Portable {
    type Ints = [i32; COUNT];
    const IS_WIDE: bool = false;

    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Self>()
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; COUNT])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[f32; COUNT]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize, fill: f32) -> Self {
        // SAFETY: the caller's promise, for the first `count`.
        each(|index| if index < count { unsafe { *from.add(index) } } else { fill })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; COUNT]>().write_unaligned(self.0) };
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        for (index, value) in self.0.iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { *to.add(index) = *value };
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        each(|index| self.0[index] + other.0[index])
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        each(|index| self.0[index] - other.0[index])
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        each(|index| self.0[index] * other.0[index])
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        each(|index| self.0[index] / other.0[index])
    }

    #[inline(always)]
    fn fma(self, factor: Self, addend: Self) -> Self {
        each(|index| self.0[index].mul_add(factor.0[index], addend.0[index]))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.if_less(other, self, other)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        other.if_less(self, self, other)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        each(|index| self.0[index].sqrt())
    }

    #[inline(always)]
    fn abs(self) -> Self {
        each(|index| self.0[index].abs())
    }

    #[inline(always)]
    fn round(self) -> Self {
        each(|index| self.0[index].round_ties_even())
    }

    #[inline(always)]
    fn if_less(self, bound: Self, then: Self, otherwise: Self) -> Self {
        each(|index| match self.0[index] < bound.0[index] {
            true => then.0[index],
            false => otherwise.0[index],
        })
    }

    #[inline(always)]
    fn scale(self, power: Self) -> Self {
        // The first step stays normal where the result is not, so only the second rounds.
        each(|index| {
            let power = power.0[index] as i32;
            let half = power >> 1;
            self.0[index] * power_of_two(half) * power_of_two(power - half)
        })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        fold(self.0, |a, b| a + b)
    }

    #[inline(always)]
    fn top(self) -> f32 {
        fold(self.0, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn splat_ints(value: i32) -> Self::Ints {
        [value; COUNT]
    }

    #[inline(always)]
    unsafe fn load_ints(from: *const i32) -> Self::Ints {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[i32; COUNT]>().read_unaligned() }
    }

    #[inline(always)]
    fn add_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        each_int(|index| a[index].wrapping_add(b[index]))
    }

    #[inline(always)]
    fn sub_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        each_int(|index| a[index].wrapping_sub(b[index]))
    }

    #[inline(always)]
    fn mul_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        each_int(|index| a[index].wrapping_mul(b[index]))
    }

    #[inline(always)]
    fn and_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        each_int(|index| a[index] & b[index])
    }

    #[inline(always)]
    fn dot_halves(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        each_int(|index| {
            let high = (a[index] >> 16).wrapping_mul(b[index] >> 16);
            let low = i32::from(a[index] as i16).wrapping_mul(i32::from(b[index] as i16));
            high.wrapping_add(low)
        })
    }

    #[inline(always)]
    fn low_bytes(a: Self::Ints) -> Self::Ints {
        each_int(|index| {
            let high = (a[index] << 8) >> 24;
            high << 16 | i32::from(a[index] as i8) & 0xffff
        })
    }

    #[inline(always)]
    fn high_bytes(a: Self::Ints) -> Self::Ints {
        Self::low_bytes(Self::shift_down::<8>(a))
    }

    #[inline(always)]
    fn shift_up<const BITS: u32>(a: Self::Ints) -> Self::Ints {
        each_int(|index| a[index] << BITS)
    }

    #[inline(always)]
    fn shift_down<const BITS: u32>(a: Self::Ints) -> Self::Ints {
        each_int(|index| a[index] >> BITS)
    }

    #[inline(always)]
    fn of_ints(ints: Self::Ints) -> Self {
        each(|index| ints[index] as f32)
    }

    #[inline(always)]
    fn bits(self) -> Self::Ints {
        each_int(|index| self.0[index].to_bits() as i32)
    }

    #[inline(always)]
    fn of_bits(ints: Self::Ints) -> Self {
        each(|index| f32::from_bits(ints[index] as u32))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, count: usize) {
        for (index, value) in self.0.iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { *to.add(index) = *value as u8 };
        }
    }

    #[inline(always)]
    unsafe fn store_halves(ints: Self::Ints, to: *mut u16, count: usize) {
        for (index, value) in ints.iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { to.add(index).write_unaligned(*value as u16) };
        }
    }
}
