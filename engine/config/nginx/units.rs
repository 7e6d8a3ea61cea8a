//! Owns nginx's sizes and times.
//!
//! Refuses what nginx refuses. Bound: 64 bits.

/// Bytes of `1024`, `8k`, `10m` or `1g`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let (digits, shift) = match text.char_indices().last()? {
        (end, 'k') => (&text[..end], 10),
        (end, 'm') => (&text[..end], 20),
        (end, 'g') => (&text[..end], 30),
        _ => (text.as_str(), 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// MiB of a size, rounded up, at least one.
pub(super) fn mib(text: &str) -> Option<usize> {
    usize::try_from(bytes(text)?.div_ceil(1 << 20).max(1)).ok()
}

/// Milliseconds of `30`, `5s`, `100ms`, `1h 30m` or `1h30m`.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let count = rest[..end].parse::<u64>().ok()?;
        rest = &rest[end..];
        let end = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "M" => 30 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit)?)?;
        rest = rest[end..].trim_start();
    }
    Some(total)
}

/// Seconds of a time, rounded up.
pub(super) fn seconds(text: &str) -> Option<u64> {
    milliseconds(text).map(|count| count.div_ceil(1_000))
}
