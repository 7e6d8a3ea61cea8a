//! Owns times as text: RFC 3339 in UTC with microseconds, or plain microseconds since 1970.
//!
//! Refuses to know time zones by name, leap seconds and other calendars. Bound: text has the years
//! 0 to 9999; a time outside them is written as microseconds, so that every `i64` survives.

use std::fmt::Write;

const DAY_SECONDS: i64 = 86_400;
const SECOND_US: i64 = 1_000_000;

/// Appends `utc_us` as `2026-11-23T14:00:00.000000Z`.
pub fn write(out: &mut String, utc_us: i64) {
    let seconds = utc_us.div_euclid(SECOND_US);
    let (year, month, day) = date_of(seconds.div_euclid(DAY_SECONDS));
    let of_day = seconds.rem_euclid(DAY_SECONDS);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let fraction = utc_us.rem_euclid(SECOND_US);
    // Writing to a String does not fail.
    let _ = if (0..=9999).contains(&year) {
        write!(
            out,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z"
        )
    } else {
        write!(out, "{utc_us}")
    };
}

/// Reads what [`write()`] writes; also a space for `T`, an offset such as `+02:00` for `Z`, no zone
/// at all for UTC, and any decimals of a second that are whole microseconds.
pub fn parse(text: &str) -> Option<i64> {
    if let Ok(utc_us) = text.parse::<i64>() {
        return Some(utc_us);
    }
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| digits(bytes.get(from..to)?);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let are_separated = bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
        && bytes[13] == b':'
        && bytes[16] == b':';
    let day_count = days_of(year, month, day);
    // The way back finds days that a month does not have.
    let is_date = (1..=12).contains(&month) && date_of(day_count) == (year, month, day);
    if !(are_separated && is_date && hour < 24 && minute < 60 && second < 60) {
        return None;
    }
    let (fraction, zone) = split_fraction(&bytes[19..])?;
    let seconds = day_count * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(seconds * SECOND_US + fraction)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    let are_digits = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    are_digits.then(|| bytes.iter().fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0')))
}

/// The microseconds that `.123456` at the start of `rest` says, and what follows.
fn split_fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (decimals, zone) = rest.split_at(count);
    let (kept, dropped) = decimals.split_at(count.min(6));
    let is_whole = dropped.iter().all(|&byte| byte == b'0');
    let scale = 10_i64.pow(6 - u32::try_from(kept.len()).ok()?);
    is_whole.then_some((digits(kept)? * scale, zone))
}

/// The seconds that a clock of this zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        [] | b"Z" | b"z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [_, _] => (digits(rest)?, 0),
        [_, _, b':', _, _] => (digits(&rest[..2])?, digits(&rest[3..])?),
        [_, _, _, _] => (digits(&rest[..2])?, digits(&rest[2..])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// The days from 1970-01-01 to a date of the Gregorian calendar, counted in eras of 400 years that
/// begin in March. Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date that is so many days from 1970-01-01; the way back of [`days_of`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(utc_us: i64) -> String {
        let mut out = String::new();
        write(&mut out, utc_us);
        out
    }

    #[test]
    fn times_survive_text() {
        let check = |utc_us: i64, expected: &str| {
            assert_eq!(text(utc_us), expected);
            assert_eq!(parse(expected), Some(utc_us), "{expected}");
        };
        check(0, "1970-01-01T00:00:00.000000Z");
        check(-1, "1969-12-31T23:59:59.999999Z");
        check(951_782_400_000_000, "2000-02-29T00:00:00.000000Z");
        check(1_795_442_400_123_456, "2026-11-23T14:00:00.123456Z");
        check(-62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z");
        check(253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z");
        check(253_402_300_800_000_000, "253402300800000000");
        check(i64::MIN, "-9223372036854775808");
        check(i64::MAX, "9223372036854775807");
        // Every month of 800 years has its first day one after the last of the one before.
        for day in -300_000..300_000 {
            let (year, month, of_month) = date_of(day);
            assert_eq!(days_of(year, month, of_month), day);
        }
    }

    #[test]
    fn other_writings_are_read() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(parse(text), expected, "{text}");
        check("1970-01-01 00:00:01", Some(1_000_000));
        check("1970-01-01t02:00:01.5+02:00", Some(1_500_000));
        check("1970-01-01 00:00:00.000001000-00", Some(1));
        check("1969-12-31T22:30:00-0130", Some(0));
        check("1970-01-01T00:00:00.0000001Z", None);
        check("1970-01-01T00:00:00.Z", None);
        check("2026-02-29T00:00:00Z", None);
        check("2026-13-01T00:00:00Z", None);
        check("2026-01-00T00:00:00Z", None);
        check("2026-01-01T24:00:00Z", None);
        check("2026-01-01T00:00:60Z", None);
        check("2026-01-01T00:00:00+1:00", None);
        check("2026-01-01T00:00", None);
        check("2026-01-01", None);
        check("+026-01-01T00:00:00Z", None);
        check("2026-01-01T00:00:0é", None);
        check("", None);
    }
}
