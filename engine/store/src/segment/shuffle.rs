//! Owns the splitting of numbers into planes: first the lowest byte of every number, then the
//! next, and so on. Bytes of one plane are alike, so that a general compressor finds more.
//!
//! Refuses to know what the numbers mean. Bound: the bytes given.

/// Appends the planes of `numbers`, each of `N` bytes.
pub(crate) fn split<const N: usize>(
    numbers: impl ExactSizeIterator<Item = [u8; N]>,
    out: &mut Vec<u8>,
) {
    let (start, count) = (out.len(), numbers.len());
    out.resize(start + count * N, 0);
    let planes = &mut out[start..];
    for (at, number) in numbers.enumerate() {
        for (plane, byte) in number.into_iter().enumerate() {
            planes[plane * count + at] = byte;
        }
    }
}

/// The numbers whose planes these are; of bytes that are no multiple of four the rest is left out.
pub(crate) fn join4(planes: &[u8]) -> impl ExactSizeIterator<Item = [u8; 4]> {
    let count = planes.len() / 4;
    let (low, rest) = planes.split_at(count);
    let (second, rest) = rest.split_at(count);
    let (third, high) = rest.split_at(count);
    let high = &high[..count];
    (0..count).map(move |at| [low[at], second[at], third[at], high[at]])
}

/// As [`join4`], for numbers of eight bytes.
pub(crate) fn join8(planes: &[u8]) -> impl ExactSizeIterator<Item = [u8; 8]> {
    let count = planes.len() / 8;
    (0..count).map(move |at| std::array::from_fn(|plane| planes[plane * count + at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_is_what_was_split() {
        for count in [0_u32, 1, 2, 7, 1_000] {
            let numbers: Vec<u32> = (0..count).map(|at| at.wrapping_mul(0x9e37_79b9)).collect();
            let mut planes = vec![9];
            split(numbers.iter().map(|number| number.to_le_bytes()), &mut planes);
            assert!(join4(&planes[1..]).map(u32::from_le_bytes).eq(numbers.iter().copied()));
            let numbers: Vec<u64> = numbers.iter().map(|&n| u64::from(n) << 13).collect();
            planes.clear();
            split(numbers.iter().map(|number| number.to_le_bytes()), &mut planes);
            assert!(join8(&planes).map(u64::from_le_bytes).eq(numbers.iter().copied()));
        }
    }
}
