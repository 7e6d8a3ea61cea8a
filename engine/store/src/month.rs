//! Owns the mapping from a record's time to the UTC month whose file keeps it.
//!
//! Refuses to know files' contents. Bound: times before 1970 belong to the first month and times
//! after 9999 to the last, so that every record has a file.

use std::fmt;

const DAY_US: i64 = 86_400_000_000;
/// 9999-12-31, in days since 1970-01-01.
const DAY_MAX: i64 = 2_932_896;
const PREFIX: &str = "pred-";
const SUFFIX: &str = ".redb";

/// A UTC month; later months compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Month {
    year: u16,
    /// 1 to 12.
    month: u8,
}

impl Month {
    /// The month of a time in microseconds UTC. The date arithmetic is `civil_from_days` of
    /// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years start in March, so
    /// that the leap day comes last, and 400 years always have 146,097 days.
    pub(crate) fn of(timestamp_us: i64) -> Self {
        let days = timestamp_us.div_euclid(DAY_US).clamp(0, DAY_MAX);
        let days = u32::try_from(days).unwrap_or(0) + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + u32::from(month <= 2);
        Self {
            year: u16::try_from(year).unwrap_or(u16::MAX),
            month: u8::try_from(month).unwrap_or(u8::MAX),
        }
    }

    /// The name of the month's file.
    pub(crate) fn file_name(self) -> String {
        format!("{PREFIX}{self}{SUFFIX}")
    }

    /// The first microsecond after the month, UTC. The arithmetic is `days_from_civil` of the same
    /// paper as [`Month::of`].
    pub(crate) fn end_us(self) -> i64 {
        let (year, month) = match self.month {
            12 => (i64::from(self.year) + 1, 1),
            month => (i64::from(self.year), i64::from(month) + 1),
        };
        let year_from_march = if month <= 2 { year - 1 } else { year };
        let era = year_from_march.div_euclid(400);
        let year_of_era = year_from_march.rem_euclid(400);
        let march_month = (month + 9) % 12;
        let day_of_year = (153 * march_month + 2) / 5;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (era * 146_097 + day_of_era - 719_468) * DAY_US
    }

    /// As one number: year * 100 + month.
    pub(crate) fn number(self) -> u32 {
        u32::from(self.year) * 100 + u32::from(self.month)
    }

    /// Reads what [`Month::file_name`] wrote; `None` for anything else.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let month = Self { year: digits[..4].parse().ok()?, month: digits[4..].parse().ok()? };
        (1..=12).contains(&month.month).then_some(month)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_utc_month() {
        let check = |timestamp_us: i64, expected: &str| {
            let month = Month::of(timestamp_us);
            assert_eq!(month.to_string(), expected, "{timestamp_us}");
            assert_eq!(Month::from_file_name(&month.file_name()), Some(month));
            if expected != "999912" {
                assert_eq!(Month::of(month.end_us() - 1), month, "{timestamp_us}");
                assert!(Month::of(month.end_us()) > month, "{timestamp_us}");
            }
        };
        check(i64::MIN, "197001");
        check(-1, "197001");
        check(0, "197001");
        check(951_782_399_999_999, "200002"); // 2000-02-28T23:59:59.999999
        check(951_868_799_999_999, "200002"); // 2000-02-29, the last microsecond
        check(951_868_800_000_000, "200003");
        check(1_796_083_199_999_999, "202611"); // 2026-11-30T23:59:59.999999
        check(1_796_083_200_000_000, "202612");
        check(1_798_761_600_000_000, "202701");
        check(4_107_542_400_000_000, "210003"); // 2100 has no leap day
        check(i64::MAX, "999912");
    }

    #[test]
    fn other_files_are_not_months() {
        for name in ["pred-202613.redb", "pred-2026.redb", "pred-202611", "x", "pred-+20261.redb"] {
            assert_eq!(Month::from_file_name(name), None, "{name}");
        }
    }
}
