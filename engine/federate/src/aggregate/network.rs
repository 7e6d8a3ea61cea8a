//! Owns the networks of exchanges that order the rows of a tile (Batcher's merge exchange, Knuth
//! 5.2.2 M), and that sort every column at once, since no exchange depends on a value.
//!
//! Refuses to know values. Bound: about `n log² n / 4` exchanges; those that the wanted rows do not
//! depend on are left out.

use std::ops::Range;

/// Exchanges after which the rows `wanted` of `count` are those of the order.
pub(super) fn selecting(count: usize, wanted: Range<usize>) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    let top = count.max(2).next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            let lows = (0..count.saturating_sub(d)).filter(|low| low & p == r);
            pairs.extend(lows.map(|low| (low as u32, (low + d) as u32)));
            if q == p {
                break;
            }
            d = q - p;
            q /= 2;
            r = p;
        }
        p /= 2;
    }
    // From the end: an exchange counts if one of its two rows is looked at later.
    let mut is_needed: Vec<bool> = (0..count).map(|row| wanted.contains(&row)).collect();
    let mut kept: Vec<(u32, u32)> = pairs
        .into_iter()
        .rev()
        .filter(|&(low, high)| {
            let (low, high) = (low as usize, high as usize);
            let counts = is_needed[low] || is_needed[high];
            if counts {
                is_needed[low] = true;
                is_needed[high] = true;
            }
            counts
        })
        .collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_in_order() {
        // Every column of zeros and ones is sorted, so every column is (Knuth's 0-1 principle).
        for count in 1..=11_usize {
            for wanted in [0..count, (count - 1) / 2..count / 2 + 1] {
                let network = selecting(count, wanted.clone());
                for bits in 0..1_u32 << count {
                    let mut column: Vec<u32> = (0..count).map(|row| bits >> row & 1).collect();
                    for &(low, high) in &network {
                        let (low, high) = (low as usize, high as usize);
                        if column[low] > column[high] {
                            column.swap(low, high);
                        }
                    }
                    let zeros = count - bits.count_ones() as usize;
                    let sorted = |row: usize| u32::from(row >= zeros);
                    assert!(wanted.clone().all(|row| column[row] == sorted(row)), "{count} {bits}");
                }
            }
        }
        assert!(selecting(50, 24..26).len() < selecting(50, 0..50).len());
    }
}
