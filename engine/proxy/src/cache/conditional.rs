//! Owns conditions and ranges of requests answered from what is stored (RFC 9110, 13 and 14).
//!
//! Refuses conditions on writing, which the origin judges. Bound: one range for each answer.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::date;
use super::directives::Items;

/// Whether the client has the response already.
pub(crate) fn is_not_modified(request: &HeaderMap, stored: &HeaderMap, now_s: i64) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let Some(etag) = stored.get(header::ETAG) else {
            let any = request.get_all(header::IF_NONE_MATCH);
            return any.iter().any(|value| value.as_bytes().trim_ascii() == b"*");
        };
        return request.get_all(header::IF_NONE_MATCH).iter().any(|line| {
            tags(line.as_bytes()).any(|tag| tag == b"*" || opaque(tag) == opaque(etag.as_bytes()))
        });
    }
    let Some(since) = request.get(header::IF_MODIFIED_SINCE) else { return false };
    let Some(since) = date::parse(since.as_bytes(), now_s) else { return false };
    let modified = stored.get(header::LAST_MODIFIED).or_else(|| stored.get(header::DATE));
    let modified = modified.and_then(|value| date::parse(value.as_bytes(), now_s));
    modified.is_some_and(|modified| modified <= since)
}

/// The tags of a list; commas inside quotes belong to them.
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut in_quotes = false;
    let parts = line.split(move |&byte| {
        in_quotes ^= byte == b'"';
        byte == b',' && !in_quotes
    });
    parts.map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty())
}

/// The tag without its weakness: the weak comparison.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether a 304 with these headers is about the stored response: not where both have a tag, and
/// not the same (RFC 9111, 4.3.4).
pub(super) fn validates(newer: &HeaderMap, stored: &HeaderMap) -> bool {
    match (newer.get(header::ETAG), stored.get(header::ETAG)) {
        (Some(newer), Some(stored)) => opaque(newer.as_bytes()) == opaque(stored.as_bytes()),
        _ => true,
    }
}

/// Whether the answer to a HEAD is about the stored body of `length` (RFC 9111, 4.3.5).
pub(super) fn describes(newer: &HeaderMap, stored: &HeaderMap, length: usize) -> bool {
    let is_same = |name| newer.get(&name).is_none_or(|value| stored.get(&name) == Some(value));
    let said = newer.get(header::CONTENT_LENGTH);
    let is_as_long = said.is_none_or(|said| said.as_bytes() == length.to_string().as_bytes());
    is_as_long && [header::ETAG, header::LAST_MODIFIED].into_iter().all(is_same)
}

/// Makes of the headers of a stored response those of a 304.
pub(crate) fn not_modified(headers: &mut HeaderMap) {
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_RANGE,
    ] {
        headers.remove(name);
    }
}

/// What part of a body is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// From the first byte to before the last.
    Range(usize, usize),
    Unsatisfiable,
}

/// The range that a request asks for, of a body of `length`. Several ranges, other units and
/// what cannot be read are answered whole.
pub(crate) fn part(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    length: usize,
    now_s: i64,
) -> Part {
    let Some(range) = request.get(header::RANGE) else { return Part::Whole };
    if *method != Method::GET || status != StatusCode::OK || !is_same(request, stored, now_s) {
        return Part::Whole;
    }
    range_of(range.as_bytes(), length)
}

/// Whether `If-Range` names the stored response: its strong tag, or its date.
fn is_same(request: &HeaderMap, stored: &HeaderMap, now_s: i64) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else { return true };
    let condition = condition.as_bytes().trim_ascii();
    if condition.starts_with(b"\"") {
        return stored.get(header::ETAG).is_some_and(|etag| etag.as_bytes() == condition);
    }
    let parse = |text: &[u8]| date::parse(text, now_s);
    let modified = stored.get(header::LAST_MODIFIED).and_then(|value| parse(value.as_bytes()));
    modified.is_some() && parse(condition) == modified
}

fn range_of(range: &[u8], length: usize) -> Part {
    let number = |digits: &[u8]| -> Option<usize> {
        let is_number = digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
    };
    let Some((unit, set)) = Items(range).next().and_then(|(unit, set)| Some((unit, set?))) else {
        return Part::Whole;
    };
    if !unit.eq_ignore_ascii_case(b"bytes") || range.contains(&b',') {
        return Part::Whole;
    }
    let Some(dash) = set.iter().position(|&byte| byte == b'-') else { return Part::Whole };
    let (first, last) = (&set[..dash], &set[dash + 1..]);
    match (first, last) {
        (b"", last) => match number(last) {
            Some(0) => Part::Unsatisfiable,
            Some(_) if length == 0 => Part::Unsatisfiable,
            Some(count) if !last.is_empty() => Part::Range(length - count.min(length), length),
            _ => Part::Whole,
        },
        (first, last) => {
            let (Some(first), last) = (number(first), number(last).filter(|_| !last.is_empty()))
            else {
                return Part::Whole;
            };
            match last {
                Some(last) if last < first => Part::Whole,
                None if !set[dash + 1..].is_empty() => Part::Whole,
                _ if first >= length => Part::Unsatisfiable,
                Some(last) => Part::Range(first, length.min(last.saturating_add(1))),
                None => Part::Range(first, length),
            }
        }
    }
}

/// `Content-Range` of a part.
pub(crate) fn content_range(part: Part, length: usize) -> Option<HeaderValue> {
    let text = match part {
        Part::Whole => return None,
        Part::Range(from, to) => format!("bytes {from}-{}/{length}", to - 1),
        Part::Unsatisfiable => format!("bytes */{length}"),
    };
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(header::HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_client_that_has_it_is_told_so() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let check = |condition: (header::HeaderName, &str), etag: &str, expected: bool| {
            let mut stored = headers(&[(header::LAST_MODIFIED, date)]);
            if !etag.is_empty() {
                stored.insert(header::ETAG, etag.parse().unwrap());
            }
            let found = is_not_modified(&headers(std::slice::from_ref(&condition)), &stored, 0);
            assert_eq!(found, expected, "{condition:?} {etag}");
        };
        check((header::IF_NONE_MATCH, "\"a\""), "\"a\"", true);
        check((header::IF_NONE_MATCH, "W/\"a\""), "\"a\"", true);
        check((header::IF_NONE_MATCH, "\"a\""), "W/\"a\"", true);
        check((header::IF_NONE_MATCH, "\"b\", \"x,y\", \"a\""), "\"a\"", true);
        check((header::IF_NONE_MATCH, "\"b,\"a\""), "\"a\"", false);
        check((header::IF_NONE_MATCH, "\"b\""), "\"a\"", false);
        check((header::IF_NONE_MATCH, "a"), "\"a\"", false);
        check((header::IF_NONE_MATCH, "*"), "", true);
        check((header::IF_MODIFIED_SINCE, date), "\"a\"", true);
        check((header::IF_MODIFIED_SINCE, "Sunday, 06-Nov-94 08:49:38 GMT"), "", true);
        check((header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT"), "", false);
        check((header::IF_MODIFIED_SINCE, "yesterday"), "", false);
    }

    #[test]
    fn parts_are_cut_by_the_bytes() {
        let check = |range: &str, expected: Part| {
            assert_eq!(range_of(range.as_bytes(), 10), expected, "{range}");
        };
        check("bytes=0-4", Part::Range(0, 5));
        check("bytes=5-", Part::Range(5, 10));
        check("bytes=-3", Part::Range(7, 10));
        check("bytes=-30", Part::Range(0, 10));
        check("bytes=9-99999999", Part::Range(9, 10));
        check("bytes=10-", Part::Unsatisfiable);
        check("bytes=-0", Part::Unsatisfiable);
        for whole in [
            "bytes=4-2",
            "bytes=0-1,3-4",
            "lines=1-2",
            "bytes=a-b",
            "bytes=-",
            "bytes=",
            "bytes",
            "bytes=1-x",
            "0-4",
        ] {
            check(whole, Part::Whole);
        }
    }

    #[test]
    fn if_range_compares_strongly() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let stored = headers(&[(header::ETAG, "\"a\""), (header::LAST_MODIFIED, date)]);
        for (condition, expected) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            (date, true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", false),
        ] {
            let request = headers(&[(header::RANGE, "bytes=0-1"), (header::IF_RANGE, condition)]);
            let found = part(&Method::GET, &request, StatusCode::OK, &stored, 10, 0);
            assert_eq!(found == Part::Range(0, 2), expected, "{condition}");
        }
    }
}
