//! Owns times as operators type them: RFC 3339, microseconds, or so long before now.
//!
//! Refuses to know time zones by name. Bound: 64-bit microseconds since 1970, UTC.

use anyhow::anyhow;
use truststram_exchange::time;

/// Reads `7d`, `24h`, `90m` or `30s` before `now_us`, RFC 3339, or microseconds since 1970.
pub(super) fn parse(text: &str, now_us: i64) -> anyhow::Result<i64> {
    let before = length(text).map(|length_us| now_us.saturating_sub(length_us));
    before.or_else(|| time::parse(text)).ok_or_else(|| {
        anyhow!(
            "`{text}` is no time; write 7d, 24h, 90m or 30s before now, or 2026-11-23T14:00:00Z"
        )
    })
}

/// Microseconds of `7d`, `24h`, `90m` or `30s`.
pub(in crate::cli) fn length(text: &str) -> Option<i64> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_s: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let count: i64 = is_number.then(|| count.parse().ok())??;
    count.checked_mul(unit_s * 1_000_000)
}

/// `utc_us` as RFC 3339.
pub(in crate::cli) fn format(utc_us: i64) -> String {
    let mut text = String::new();
    time::write(&mut text, utc_us);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_typed() {
        const DAY_US: i64 = 86_400_000_000;
        let now_us = 10 * DAY_US;
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(parse(text, now_us).ok(), expected, "{text}");
        };
        check("7d", Some(3 * DAY_US));
        check("24h", Some(9 * DAY_US));
        check("90m", Some(now_us - 5_400_000_000));
        check("30s", Some(now_us - 30_000_000));
        check("1970-01-02T00:00:00Z", Some(DAY_US));
        check("1970-01-02T02:00:00+02:00", Some(DAY_US));
        check("17", Some(17));
        check("-7d", None);
        check("+7d", None);
        check("d", None);
        check("", None);
        check("7w", None);
        check("7é", None);
        check("99999999999999999999d", None);
        check("9999999999999d", None);
        check("yesterday", None);
        assert_eq!(parse(&format(now_us), 0).unwrap(), now_us);
    }
}
