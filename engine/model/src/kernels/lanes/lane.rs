//! Owns the trait of sixteen lanes and the sums across them.
//!
//! Refuses to know instruction sets. Bound: [`COUNT`] lanes; every operation is one IEEE rounding,
//! so the results are the same bits everywhere.

use super::dispatch::Kernel;

/// How many numbers one value holds.
pub const COUNT: usize = 16;

/// Sixteen `f32`, with sixteen `i32` beside them for the bits.
///
/// Values of the implementations for an instruction set must be made only inside
/// [`Lanes::enter`]; that is what makes their methods sound.
pub trait Lanes: Copy {
    /// Sixteen whole numbers.
    type Ints: Copy;
    /// Whether there are registers for tiles of 24 sums.
    const IS_WIDE: bool;

    /// Runs a kernel compiled for this set.
    ///
    /// # Safety
    /// The host must have the set.
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output;

    /// The same number sixteen times.
    fn splat(value: f32) -> Self;
    /// Reads sixteen numbers.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load(from: *const f32) -> Self;
    /// Reads `count` numbers, at most sixteen; the others are `fill`.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load_part(from: *const f32, count: usize, fill: f32) -> Self;
    /// Writes sixteen numbers.
    ///
    /// # Safety
    /// They must be writable.
    unsafe fn store(self, to: *mut f32);
    /// Writes the first `count` numbers, at most sixteen.
    ///
    /// # Safety
    /// They must be writable.
    unsafe fn store_part(self, to: *mut f32, count: usize);

    /// Sum.
    fn add(self, other: Self) -> Self;
    /// Difference.
    fn sub(self, other: Self) -> Self;
    /// Product.
    fn mul(self, other: Self) -> Self;
    /// Quotient.
    fn div(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once.
    fn fma(self, factor: Self, addend: Self) -> Self;
    /// The smaller; `other` if either is NaN.
    fn min(self, other: Self) -> Self;
    /// The larger; `other` if either is NaN.
    fn max(self, other: Self) -> Self;
    /// The square root, rounded once; NaN below 0.
    fn sqrt(self) -> Self;
    /// Without the sign.
    fn abs(self) -> Self;
    /// To the nearest whole number, halves to the even one.
    fn round(self) -> Self;
    /// Where `self < bound`, `then`, elsewhere and for NaN `otherwise`.
    fn if_less(self, bound: Self, then: Self, otherwise: Self) -> Self;
    /// `self * 2^power`, rounded once; `power` is whole and within ±252.
    fn scale(self, power: Self) -> Self;

    /// The sum of all lanes: of those eight apart first, then four, two and one.
    fn sum(self) -> f32;
    /// The largest of all lanes, if none is NaN.
    fn top(self) -> f32;

    /// Of sixteen rows of sixteen numbers the columns.
    #[inline(always)]
    fn transpose(rows: [Self; COUNT]) -> [Self; COUNT] {
        let mut numbers = [[0.0_f32; COUNT]; COUNT];
        for (row, numbers) in rows.iter().zip(&mut numbers) {
            // SAFETY: there is room for sixteen.
            unsafe { row.store(numbers.as_mut_ptr()) };
        }
        let mut columns = rows;
        for (index, column) in columns.iter_mut().enumerate() {
            let gathered = numbers.map(|row| row[index]);
            // SAFETY: there are sixteen.
            *column = unsafe { Self::load(gathered.as_ptr()) };
        }
        columns
    }

    /// The same number sixteen times.
    fn splat_ints(value: i32) -> Self::Ints;
    /// Reads sixteen whole numbers.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load_ints(from: *const i32) -> Self::Ints;
    /// Sum, modulo 2^32.
    fn add_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Difference, modulo 2^32.
    fn sub_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Product, modulo 2^32.
    fn mul_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Bits that both have.
    fn and_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Of each word the sum of the products of its signed halves.
    fn dot_halves(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// The lower byte of each half of a word, with its sign, as that half.
    fn low_bytes(a: Self::Ints) -> Self::Ints;
    /// The upper byte of each half of a word, with its sign, as that half.
    fn high_bytes(a: Self::Ints) -> Self::Ints;
    /// Moves the bits up.
    fn shift_up<const BITS: u32>(a: Self::Ints) -> Self::Ints;
    /// Moves the bits down and repeats the sign.
    fn shift_down<const BITS: u32>(a: Self::Ints) -> Self::Ints;
    /// The nearest number.
    fn of_ints(ints: Self::Ints) -> Self;
    /// The bits of the numbers.
    fn bits(self) -> Self::Ints;
    /// The numbers with these bits.
    fn of_bits(ints: Self::Ints) -> Self;
    /// Writes the first `count` numbers, which are whole and within 0 and 255, as bytes.
    ///
    /// # Safety
    /// They must be writable.
    unsafe fn store_bytes(self, to: *mut u8, count: usize);
    /// Writes the lower halves of the first `count` whole numbers.
    ///
    /// # Safety
    /// They must be writable, at any address.
    unsafe fn store_halves(ints: Self::Ints, to: *mut u16, count: usize);
}
