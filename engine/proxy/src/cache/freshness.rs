//! Owns how old a response is and how long it is fresh (RFC 9111, 4.2).
//!
//! Refuses to know what is stored where. Bound: arithmetic on the headers of one response.

use http::{HeaderMap, StatusCode, header};

use super::date;
use super::directives::{self, Directives};

/// The part of the time since `Last-Modified` that a response is taken to be fresh.
const HEURISTIC_DIVISOR: i64 = 10;
/// The longest freshness that is guessed.
const HEURISTIC_MAX_S: u64 = 86_400;

/// A moment: the time of day, for dates, and one that never goes back, for ages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) utc_s: i64,
    pub(crate) monotonic_ms: u64,
}

/// The value of `Age`: of several the first; what is no number is not there.
fn age_value(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::AGE)?.as_bytes();
    let first = value.split(|&byte| byte == b',' || byte == b';').next()?;
    directives::seconds_of(first.trim_ascii())
}

fn date_of(headers: &HeaderMap, name: &header::HeaderName, now: Now) -> Option<i64> {
    date::parse(headers.get(name)?.as_bytes(), now.utc_s)
}

/// `corrected_initial_age` in milliseconds, for a response asked for at `asked`, here at `now`.
pub(crate) fn initial_age_ms(headers: &HeaderMap, asked: Now, now: Now) -> u64 {
    let apparent = date_of(headers, &header::DATE, now).map_or(0, |date| now.utc_s - date);
    let apparent_ms = u64::try_from(apparent).unwrap_or(0).saturating_mul(1_000);
    let delay_ms = now.monotonic_ms.saturating_sub(asked.monotonic_ms);
    let corrected_ms = age_value(headers).unwrap_or(0) * 1_000 + delay_ms;
    apparent_ms.max(corrected_ms)
}

/// The seconds that a response is fresh from the time when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// As it says itself.
    Explicit(u64),
    /// As is guessed.
    Heuristic(u64),
}

impl Lifetime {
    pub(crate) fn seconds(self) -> u64 {
        match self {
            Self::Explicit(seconds) | Self::Heuristic(seconds) => seconds,
        }
    }
}

/// How long a response is fresh. `is_targeted`: the directives are those of a targeted field,
/// beside which `Expires` does not count.
pub(crate) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    is_targeted: bool,
    now: Now,
) -> Option<Lifetime> {
    if let Some(seconds) = directives.s_maxage_s.or(directives.max_age_s) {
        return Some(Lifetime::Explicit(seconds));
    }
    if let Some(expires) = headers.get(header::EXPIRES).filter(|_| !is_targeted) {
        // Several that differ, or one that is no date, are in the past.
        let is_single = headers.get_all(header::EXPIRES).iter().all(|other| other == expires);
        let expires = date::parse(expires.as_bytes(), now.utc_s).filter(|_| is_single);
        let date = date_of(headers, &header::DATE, now).unwrap_or(now.utc_s);
        let seconds = expires.map_or(0, |expires| u64::try_from(expires - date).unwrap_or(0));
        return Some(Lifetime::Explicit(seconds));
    }
    if !(is_heuristic(status) || directives.public) {
        return None;
    }
    let modified = date_of(headers, &header::LAST_MODIFIED, now)?;
    let date = date_of(headers, &header::DATE, now).unwrap_or(now.utc_s);
    let seconds = u64::try_from((date - modified) / HEURISTIC_DIVISOR).unwrap_or(0);
    Some(Lifetime::Heuristic(seconds.min(HEURISTIC_MAX_S)))
}

/// Statuses that are cacheable without saying so (RFC 9110, 15.1); 206 is never stored.
fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::headers;

    const NOW: Now = Now { utc_s: 784_111_777, monotonic_ms: 10_000 };
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");

    #[test]
    fn ages_are_read_strictly() {
        let check = |values: &[&str], expected_s: u64| {
            let mut lines = vec![DATE];
            lines.extend(values.iter().map(|value| ("age", *value)));
            let age_ms = initial_age_ms(&headers(&lines), NOW, NOW);
            assert_eq!(age_ms, expected_s * 1_000, "{values:?}");
        };
        check(&[], 0);
        check(&["7200"], 7_200);
        check(&["7200", "0"], 7_200);
        check(&["0, 7200"], 0);
        check(&["7200;foo=bar"], 7_200);
        check(&["abc"], 0);
        check(&["-7200"], 0);
        check(&["7200.0"], 0);
        check(&["99999999999999999999"], 1 << 31);
    }

    #[test]
    fn the_older_of_date_and_age_counts_and_the_wait_is_added() {
        let asked = Now { utc_s: NOW.utc_s - 3, monotonic_ms: 7_000 };
        let old = ("date", "Sun, 06 Nov 1994 08:47:57 GMT");
        assert_eq!(initial_age_ms(&headers(&[old]), asked, NOW), 100_000);
        assert_eq!(initial_age_ms(&headers(&[old, ("age", "500")]), asked, NOW), 503_000);
        assert_eq!(initial_age_ms(&headers(&[]), asked, NOW), 3_000);
    }

    #[test]
    fn lifetimes_have_an_order() {
        let check = |status: u16, lines: &[(&str, &str)], expected: Option<Lifetime>| {
            let headers = headers(lines);
            let directives = Directives::of_response(&headers);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(lifetime(status, &headers, &directives, false, NOW), expected, "{lines:?}");
        };
        let old = ("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT");
        let soon = ("expires", "Sun, 06 Nov 1994 08:49:47 GMT");
        let cc = |value: &'static str| ("cache-control", value);
        check(200, &[DATE, soon, cc("max-age=5, s-maxage=7")], Some(Lifetime::Explicit(7)));
        check(200, &[DATE, soon, cc("max-age=5")], Some(Lifetime::Explicit(5)));
        check(200, &[DATE, soon], Some(Lifetime::Explicit(10)));
        check(200, &[DATE, ("expires", "0"), old], Some(Lifetime::Explicit(0)));
        check(200, &[DATE, soon, ("expires", "0")], Some(Lifetime::Explicit(0)));
        check(200, &[DATE, old], Some(Lifetime::Heuristic(100)));
        check(201, &[DATE, old], None);
        check(599, &[DATE, old, cc("public")], Some(Lifetime::Heuristic(100)));
        check(200, &[DATE], None);
    }
}
