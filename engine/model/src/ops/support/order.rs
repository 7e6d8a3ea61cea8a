//! Owns the order of values: ascending, with what is no number behind all numbers.
//!
//! Refuses nothing. Bound: two comparisons.

use std::cmp::Ordering;

/// The order of two values; values that are no numbers are equal to each other and the largest.
pub fn ascending<T: PartialOrd>(left: &T, right: &T) -> Ordering {
    let is_number = |value: &T| value.partial_cmp(value).is_some();
    let by_kind = || is_number(right).cmp(&is_number(left));
    left.partial_cmp(right).unwrap_or_else(by_kind)
}
