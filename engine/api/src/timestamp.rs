//! Owns times as text: RFC 3339 in UTC with microseconds.
//!
//! Refuses to know other zones and calendars. Bound: the years 1970 to 9999.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serializer;

/// `utc_us` as `2026-11-23T14:00:00.000000Z`; times before 1970 are shown as 1970.
pub(crate) fn format(utc_us: i64) -> String {
    let since = Duration::from_micros(u64::try_from(utc_us).unwrap_or(0));
    humantime::format_rfc3339_micros(UNIX_EPOCH + since).to_string()
}

/// The same for serde.
pub(crate) fn text<S: Serializer>(utc_us: &i64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*utc_us))
}

/// The same for serde, of a time that there may be.
pub(crate) fn text_if_any<S: Serializer>(utc_us: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
    match utc_us {
        Some(utc_us) => text(utc_us, to),
        None => to.serialize_none(),
    }
}

/// Reads what [`format()`] writes, with any number of decimals, or a plain count of microseconds.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if let Ok(utc_us) = text.parse::<i64>() {
        return Some(utc_us);
    }
    let time = humantime::parse_rfc3339(text).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_text() {
        for utc_us in [0, 1, 1_795_442_400_123_456] {
            assert_eq!(parse(&format(utc_us)), Some(utc_us));
        }
        assert_eq!(format(1_000_000), "1970-01-01T00:00:01.000000Z");
        assert_eq!(parse("2026-13-01T00:00:00Z"), None);
    }
}
