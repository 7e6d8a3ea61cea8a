//! Owns the reading of plain requests: GET, HEAD, or POST with a length, in HTTP/1.1, a target in
//! its one form, and no field that asks for more than an answer.
//!
//! Refuses all others without saying what they are: that they are wrong, or ask for more, is for
//! who reads them next. Bound: one pass over a head of at most [`FIELDS_MAX`] fields.

use std::cell::OnceCell;
use std::mem::MaybeUninit;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use pingora_http::RequestHeader;

use super::REQUEST_BYTES_MAX;
use super::write::put;
use crate::authorising::AUTHENTICATED_USER;
use crate::byte_set::ByteSet;
use crate::route::path::normalise;
use crate::strict::is_authority;

const FIELDS_MAX: usize = 32;

/// Room for the fields of one head.
pub(super) type Fields<'a> = [MaybeUninit<httparse::Header<'a>>; FIELDS_MAX];

pub(super) const fn no_fields<'a>() -> Fields<'a> {
    [const { MaybeUninit::uninit() }; FIELDS_MAX]
}

/// Fields that make the request more than a head, are for one connection alone, or are not for
/// clients to say.
const REFUSED: [&str; 10] = [
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    AUTHENTICATED_USER,
];

/// Fields that make the answer another one than that of others.
const SPECIAL: [&str; 10] = [
    "authorization",
    "cache-control",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "range",
    "x-api-key",
];

/// A plain request.
pub(super) struct Plain<'a> {
    pub(super) method: Method,
    /// Path and query as they came, which is their one form.
    pub(super) target: &'a str,
    pub(super) path: &'a str,
    /// What `Host` says.
    pub(super) authority: &'a str,
    /// Whether a field asks for another answer than that of others.
    pub(super) is_special: bool,
    /// Whether a page may have sent it, of this origin or another one.
    pub(super) has_origin: bool,
    /// What there is of its body.
    pub(super) body: &'a [u8],
    /// Bytes of the body that are missing.
    pub(super) missing: usize,
    fields: &'a [httparse::Header<'a>],
    headers: OnceCell<HeaderMap>,
}

impl<'a> Plain<'a> {
    /// The request that `bytes` is, or begins to be: no more than its head and its body.
    pub(super) fn read(bytes: &'a [u8], fields: &'a mut Fields<'a>) -> Option<Self> {
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, fields).ok()?;
        let httparse::Status::Complete(head) = parsed else { return None };
        let (head, body) = bytes.split_at_checked(head)?;
        let method = match (request.method, bytes.first()) {
            (Some("GET"), Some(b'G')) => Method::GET,
            (Some("HEAD"), Some(b'H')) => Method::HEAD,
            (Some("POST"), Some(b'P')) => Method::POST,
            _ => return None,
        };
        let target = request.path?;
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let is_plain = request.version == Some(1)
            && lines_end_whole(head, request.headers.len())
            && target.bytes().all(|byte| OF_TARGET.has(byte))
            && path.starts_with('/')
            && normalise(&method, path) == Ok(None);
        if !is_plain {
            return None;
        }
        let fields = &*request.headers;
        let (mut authority, mut length) = (None, None);
        let (mut is_special, mut has_origin) = (false, false);
        for field in fields {
            if field.name.eq_ignore_ascii_case("host") {
                let host = std::str::from_utf8(field.value).ok()?;
                if authority.replace(host).is_some() {
                    return None;
                }
            } else if field.name.eq_ignore_ascii_case("content-length") {
                if length.replace(length_of(field.value)?).is_some() {
                    return None;
                }
            } else if !is_plain_field(field) {
                return None;
            } else {
                is_special |= is_one_of(&SPECIAL, field.name);
                has_origin |= field.name.eq_ignore_ascii_case("origin");
            }
        }
        let authority = authority.filter(|host| is_authority(host.as_bytes()))?;
        // Only a POST has a body, and it always says how long that is.
        if length.is_some() != (method == Method::POST) {
            return None;
        }
        let missing = length.unwrap_or(0).checked_sub(body.len())?;
        if head.len().checked_add(length.unwrap_or(0))? > REQUEST_BYTES_MAX {
            return None;
        }
        let headers = OnceCell::new();
        Some(Self {
            method,
            target,
            path,
            authority,
            is_special,
            has_origin,
            body,
            missing,
            fields,
            headers,
        })
    }

    /// What stands behind the path.
    pub(super) fn query(&self) -> Option<&'a str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// Whether the body is encoded for its way here.
    pub(super) fn has_encoded_body(&self) -> bool {
        self.fields.iter().any(|field| field.name.eq_ignore_ascii_case("content-encoding"))
    }

    /// All fields.
    pub(super) fn headers(&self) -> &HeaderMap {
        self.headers.get_or_init(|| map_of(self.fields))
    }

    /// Writes the head as it came, without its end, what is for one connection alone, and fields
    /// whose names are not `passed_on`.
    pub(super) fn write(&self, bytes: &mut Vec<u8>, passed_on: impl Fn(&str) -> bool) {
        bytes.extend_from_slice(self.method.as_str().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(self.target.as_bytes());
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        for field in self.fields {
            if !field.name.eq_ignore_ascii_case("connection") && passed_on(field.name) {
                put(bytes, field.name.as_bytes(), field.value);
            }
        }
    }

    /// The same as Pingora would have read it.
    pub(super) fn to_header(&self) -> Option<RequestHeader> {
        let (method, target) = (self.method.clone(), self.target.as_bytes());
        let mut head = RequestHeader::build(method, target, Some(self.fields.len())).ok()?;
        head.set_version(Version::HTTP_11);
        for field in self.fields {
            head.append_header(field.name.to_owned(), field.value).ok()?;
        }
        Some(head)
    }
}

/// Fields of a head that was parsed.
pub(crate) fn map_of(fields: &[httparse::Header<'_>]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        // Both were read as what they are.
        let name = HeaderName::from_bytes(field.name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// Whether every line feed of a head with so many fields has a carriage return before it. In what
/// was parsed a carriage return has a line feed behind it.
fn lines_end_whole(head: &[u8], fields: usize) -> bool {
    // In pieces whose counts fit into a byte, which the processor counts many at a time.
    let count = |piece: &[u8]| piece.iter().fold(0, |sum, byte| sum + u8::from(*byte == b'\r'));
    let returns: usize = head.chunks(u8::MAX.into()).map(|piece| usize::from(count(piece))).sum();
    // The request line and the empty one at the end are lines, too.
    returns == fields + 2
}

/// What a target may have wherever it stands, and nobody reads in two ways.
const OF_TARGET: ByteSet = ByteSet::alphanumeric_and(b"-._~!$&'()*+,;=:@/?%");

fn is_plain_field(field: &httparse::Header<'_>) -> bool {
    let name = field.name;
    if name.eq_ignore_ascii_case("connection") {
        return field.value.eq_ignore_ascii_case(b"keep-alive");
    }
    // Some servers read `_` as `-`.
    !name.bytes().any(|byte| byte == b'_') && !is_one_of(&REFUSED, name)
}

/// A number of bytes as `Content-Length` says it.
pub(super) fn length_of(value: &[u8]) -> Option<usize> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// Whether `bytes` may be the beginning of a head.
pub(super) fn may_become_head(bytes: &[u8]) -> bool {
    let mut fields = no_fields();
    let mut request = httparse::Request::new(&mut []);
    matches!(request.parse_with_uninit_headers(bytes, &mut fields), Ok(httparse::Status::Partial))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_plain(head: &str) -> bool {
        let mut fields = no_fields();
        Plain::read(head.as_bytes(), &mut fields).is_some()
    }

    #[test]
    fn a_plain_head_is_read() {
        let head = "GET /a/b?c=%20 HTTP/1.1\r\nHost: A.test:80\r\nAccept: */*\r\nx-y: 1\r\n\r\n";
        let mut fields = no_fields();
        let plain = Plain::read(head.as_bytes(), &mut fields).unwrap();
        assert_eq!((plain.target, plain.path), ("/a/b?c=%20", "/a/b"));
        assert_eq!((plain.authority, plain.headers().len()), ("A.test:80", 3));
        let header = plain.to_header().unwrap();
        assert_eq!(&header.headers, plain.headers());
        assert!(!plain.is_special && !plain.has_origin);
        assert!(is_plain("HEAD / HTTP/1.1\r\nhost: a\r\nconnection: Keep-Alive\r\n\r\n"));
    }

    #[test]
    fn a_post_may_lack_some_of_its_body() {
        let head = "POST /a HTTP/1.1\r\nhost: a\r\nContent-Length: 5\r\n\r\n";
        for (body, missing) in [("", 5), ("hel", 2), ("hello", 0)] {
            let request = format!("{head}{body}");
            let mut fields = no_fields();
            let plain = Plain::read(request.as_bytes(), &mut fields).unwrap();
            assert_eq!((plain.body, plain.missing), (body.as_bytes(), missing));
        }
    }

    #[test]
    fn a_head_may_come_in_pieces() {
        let head = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        for end in 0..head.len() {
            assert!(may_become_head(&head.as_bytes()[..end]), "{end}");
        }
        for other in [head, "GET / HTTP/2.0", "\x16\x03\x01", "GET / HTTP/1.1\r\nh\x01: a"] {
            assert!(!may_become_head(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn whatever_asks_for_more_is_not_plain() {
        let with = |line: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{line}\r\n\r\n");
        assert!(is_plain(&with("accept: x")));
        for name in REFUSED {
            assert!(!is_plain(&with(&format!("{}: 1", name.to_uppercase()))), "{name}");
        }
        for name in SPECIAL {
            let head = with(&format!("{}: 1", name.to_uppercase()));
            let mut fields = no_fields();
            assert!(Plain::read(head.as_bytes(), &mut fields).unwrap().is_special, "{name}");
        }
        for line in
            ["connection: close", "host: a", "content_length: 1", " x: 1", "x : 1", "a\nb:1"]
        {
            assert!(!is_plain(&with(line)), "{line}");
        }
        for head in [
            "",
            "GET / HTTP/1.1\r\nhost: a\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\r\nx",
            "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\n",
            "GET / HTTP/1.1\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nab",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551615\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\na",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
            "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\na",
            "GET /a/../b HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET //a HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /\u{e4} HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\naccept: x\r\n\r\n",
        ] {
            assert!(!is_plain(head), "{head:?}");
        }
    }
}
