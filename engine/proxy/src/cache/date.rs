//! Owns HTTP dates: the three forms that are read and the one that is written (RFC 9110, 5.6.7).
//!
//! Refuses what is not exactly one of these forms, apart from the case of letters. Bound: seconds
//! since the Unix epoch, years 1 to 9999.

use http::{HeaderMap, HeaderValue, header};

const MONTHS: [&[u8; 3]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// When these headers say that the message was made.
pub(crate) fn of(headers: &HeaderMap, now_s: i64) -> Option<i64> {
    parse(headers.get(header::DATE)?.as_bytes(), now_s)
}

/// Brings `Date` into the preferred form; without one that can be read it is that of now (RFC 9110,
/// 6.6.1).
pub(super) fn settle(headers: &mut HeaderMap, now_s: i64) {
    let at_s = of(headers, now_s).unwrap_or(now_s);
    // Writing a date gives a legal value.
    if let Ok(date) = HeaderValue::try_from(write(at_s)) {
        headers.insert(header::DATE, date);
    }
}

/// Seconds since the epoch; `now_s` chooses the century of a year of two digits.
pub(crate) fn parse(text: &[u8], now_s: i64) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let text = std::str::from_utf8(&lower).ok()?;
    if let Some((day, rest)) = text.split_once(", ") {
        let is_short = DAYS.iter().any(|name| name.eq_ignore_ascii_case(day));
        return if is_short { fixdate(rest) } else { rfc850(day, rest, now_s) };
    }
    asctime(text)
}

/// `06 nov 1994 08:49:37 gmt`
fn fixdate(rest: &str) -> Option<i64> {
    let rest = exact::<24>(rest.strip_suffix(" gmt").map(|_| rest)?)?;
    separated(rest, &[(2, b' '), (6, b' '), (11, b' ')])?;
    seconds(number(&rest[7..11])?, month(&rest[3..6])?, number(&rest[..2])?, &rest[12..20])
}

/// `06-nov-94 08:49:37 gmt` behind the whole name of a day
fn rfc850(day: &str, rest: &str, now_s: i64) -> Option<i64> {
    if !LONG_DAYS.contains(&day) || !rest.ends_with(" gmt") {
        return None;
    }
    let rest = exact::<22>(rest)?;
    separated(rest, &[(2, b'-'), (6, b'-'), (9, b' ')])?;
    let short = number(&rest[7..9])?;
    let at = |year| seconds(year, month(&rest[3..6])?, number(&rest[..2])?, &rest[10..18]);
    let this_year = civil_of(now_s.div_euclid(86_400)).0;
    let year = this_year - this_year.rem_euclid(100) + short;
    // More than 50 years ahead means the century before.
    let year = if year > this_year + 50 { year - 100 } else { year };
    at(year)
}

/// `sun nov  6 08:49:37 1994`
fn asctime(text: &str) -> Option<i64> {
    let text = exact::<24>(text)?;
    separated(text, &[(3, b' '), (7, b' '), (10, b' '), (19, b' ')])?;
    let day = if text[8] == b' ' { number(&text[9..10])? } else { number(&text[8..10])? };
    seconds(number(&text[20..])?, month(&text[4..7])?, day, &text[11..19])
}

fn exact<const LENGTH: usize>(text: &str) -> Option<&[u8; LENGTH]> {
    text.as_bytes().try_into().ok()
}

fn separated(text: &[u8], places: &[(usize, u8)]) -> Option<()> {
    places.iter().all(|&(place, byte)| text[place] == byte).then_some(())
}

fn number(digits: &[u8]) -> Option<i64> {
    let digit =
        |sum: i64, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'));
    digits.iter().try_fold(0, digit)
}

fn month(name: &[u8]) -> Option<i64> {
    let index = MONTHS.iter().position(|month| month.as_slice() == name)?;
    Some(index as i64 + 1)
}

fn seconds(year: i64, month: i64, day: i64, time: &[u8]) -> Option<i64> {
    separated(time, &[(2, b':'), (5, b':')])?;
    let (hour, minute, second) = (number(&time[..2])?, number(&time[3..5])?, number(&time[6..])?);
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_of(year, month, day);
    // The 30th of February is no date.
    (civil_of(days) == (year, month, day))
        .then(|| days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days since the epoch of a date of the proleptic Gregorian calendar (Hinnant's algorithm).
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day since the epoch.
fn civil_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The preferred form, `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn write(at_s: i64) -> String {
    let (days, of_day) = (at_s.div_euclid(86_400), at_s.rem_euclid(86_400));
    let (year, month, day) = civil_of(days);
    let name = MONTHS[(month - 1) as usize];
    let (first, rest) = (name[0].to_ascii_uppercase() as char, &name[1..]);
    let rest = String::from_utf8_lossy(rest);
    let weekday = DAYS[(days + 3).rem_euclid(7) as usize];
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{weekday}, {day:02} {first}{rest} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_are_read_and_nothing_else() {
        let now_s = 1_790_000_000;
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(parse(text.as_bytes(), now_s), expected, "{text}");
        };
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("sun, 06 NOV 1994 08:49:37 gmt", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("Thu, 29 Feb 2024 00:00:00 GMT", Some(1_709_164_800));
        check("Thursday, 01-Jan-60 00:00:00 GMT", Some(2_840_140_800));
        for wrong in [
            "",
            "0",
            "-1",
            "Thu, 30 Feb 2024 00:00:00 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, é",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(write(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        for step in 0..20_000 {
            let at_s = step * 1_234_567 - 3_000_000_000;
            assert_eq!(parse(write(at_s).as_bytes(), 0), Some(at_s));
        }
    }
}
