//! Owns what is asked of a request's head beyond what Pingora asks: one reading of it, by everybody
//! who reads it on the way (RFC 9112 sections 2.2, 3, 5 and 6; RFC 9110 section 7.2).
//!
//! Refuses to know routes and to repair: what two readers could read differently is refused. Bound:
//! one pass over the head.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use pingora_http::RequestHeader;

use crate::byte_set::ByteSet;
use crate::refusal::Refusal;

/// Longest target: the API's own largest one is a filter of 16 KiB, percent-encoded.
const TARGET_BYTES_MAX: usize = 64 << 10;
/// Longest head.
const HEAD_BYTES_MAX: usize = 128 << 10;
const METHOD_BYTES_MAX: usize = 64;

/// Judges a head of HTTP/1, parsed and as it was read.
pub(crate) fn check(head: &RequestHeader, raw: &[u8]) -> Result<(), Refusal> {
    let target = target_of(raw);
    if target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::target_too_long(TARGET_BYTES_MAX));
    }
    if raw.len() > HEAD_BYTES_MAX {
        return Err(Refusal::head_too_large(HEAD_BYTES_MAX));
    }
    if head.method.as_str().len() > METHOD_BYTES_MAX {
        return Err(Refusal::not_implemented("the method is not known"));
    }
    let malformed = |why: &str| Err(Refusal::malformed(why.to_owned()));
    if !lines_end_whole(raw) {
        return malformed("a line ends with a line feed alone");
    }
    if !is_target(target) {
        return malformed("the target is neither a path nor an address of http or https");
    }
    check_host(head)?;
    check_framing(&head.headers, raw)
}

/// Judges what is asked of the host in every version of HTTP.
pub(crate) fn check_host(head: &RequestHeader) -> Result<(), Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let is_valid = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_authority(host.as_bytes()),
        (Some(_), Some(_)) => false,
        (None, _) => match head.uri.authority() {
            Some(authority) => is_authority(authority.as_str().as_bytes()),
            None => head.version == Version::HTTP_10,
        },
    };
    if is_valid {
        return Ok(());
    }
    Err(Refusal::malformed("the request must have one `Host`, such as example.org:80".to_owned()))
}

/// Whether every line feed has a carriage return before it.
fn lines_end_whole(raw: &[u8]) -> bool {
    let mut previous = 0;
    raw.iter().all(|&byte| {
        let is_whole = byte != b'\n' || previous == b'\r';
        previous = byte;
        is_whole
    })
}

/// The target of the first line that is not empty.
fn target_of(raw: &[u8]) -> &[u8] {
    let begins = raw.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(raw.len());
    let line = raw[begins..].split(|&byte| byte == b'\r').next().unwrap_or_default();
    line.split(|&byte| byte == b' ').nth(1).unwrap_or_default()
}

fn is_target(target: &[u8]) -> bool {
    let begins = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let is_form = target.first() == Some(&b'/')
        || target == b"*"
        || begins(b"http://")
        || begins(b"https://");
    is_form && !target.contains(&b'#')
}

/// What a host may have (RFC 3986 section 3.2.2), and the colons of an address.
const OF_NAME: ByteSet = ByteSet::alphanumeric_and(b"-._~!$&'()*+;=%:");

/// Whether this is a host, perhaps with a port (RFC 3986 section 3.2), and nothing else.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(inside) => {
            let Some(end) = inside.iter().position(|&byte| byte == b']') else { return false };
            let is_address = std::str::from_utf8(&inside[..end])
                .is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
            if !is_address {
                return false;
            }
            (&inside[..end], &inside[end + 1..])
        }
        None => text.split_at(text.iter().position(|&byte| byte == b':').unwrap_or(text.len())),
    };
    let is_port = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => std::str::from_utf8(digits)
            .is_ok_and(|digits| !digits.starts_with('+') && digits.parse::<u16>().is_ok()),
        _ => false,
    };
    !host.is_empty() && host.iter().all(|byte| OF_NAME.has(*byte)) && is_port
}

/// One way to find the end of the body.
fn check_framing(headers: &HeaderMap, raw: &[u8]) -> Result<(), Refusal> {
    let malformed = |why: &str| Err(Refusal::malformed(why.to_owned()));
    // Some servers read `_` as `-`.
    if headers.contains_key("transfer_encoding") || headers.contains_key("content_length") {
        return malformed("a field could be taken for the length of the body");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            // Pingora has removed a length from the parsed head.
            return match has_length(raw) {
                true => malformed("both `Content-Length` and `Transfer-Encoding` are given"),
                false => Ok(()),
            };
        }
        _ => return Err(Refusal::not_implemented("of transfer codings `chunked` alone is known")),
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(length), None) if length.as_bytes().iter().all(u8::is_ascii_digit) => Ok(()),
        _ => malformed("`Content-Length` must be one number"),
    }
}

fn has_length(raw: &[u8]) -> bool {
    let name = CONTENT_LENGTH.as_str().as_bytes();
    let mut lines = raw.split(|&byte| byte == b'\n');
    lines.any(|line| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in ["a", "a.test", "a.test:", "a.test:80", "[::1]", "[::1]:65535", "10.0.0.1:1"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        let bad = ["", ":80", "a b", "u@a", "a/b", "a:x", "a:65536", "a:+1", "[::1", "[x]", "a,b"];
        for bad in bad {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn the_target_is_found_behind_empty_lines() {
        assert_eq!(target_of(b"\r\n\r\nGET /a?b HTTP/1.1\r\n\r\n"), b"/a?b");
        assert_eq!(target_of(b"GET"), b"");
        for (target, is_good) in
            [("/a", true), ("*", true), ("HTTP://a/b", true), ("a", false), ("/a#b", false)]
        {
            assert_eq!(is_target(target.as_bytes()), is_good, "{target}");
        }
    }
}
