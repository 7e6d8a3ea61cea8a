//! Owns the heads of answers that are passed on as they were read: whole in one read, and with a
//! length or without a body.
//!
//! Refuses all others, which Pingora's reader takes: chunks, bodies up to the end of the
//! connection, and whatever is not said plainly. Bound: [`FIELDS_MAX`] fields.

use std::mem::MaybeUninit;

use http::{HeaderName, HeaderValue, StatusCode};

use super::plain::length_of;
use super::write::put;
use crate::cache::{http_date, parse_date};
use crate::route::edit::Headers;

const FIELDS_MAX: usize = 64;

/// The head of an answer, and how long its body is.
pub(super) struct Reply<'a> {
    pub(super) status: StatusCode,
    reason: &'a str,
    fields: &'a [httparse::Header<'a>],
    /// Bytes of the head.
    pub(super) head: usize,
    /// Bytes of the body.
    pub(super) body: usize,
    /// Whether the server keeps the connection.
    pub(super) keeps: bool,
}

/// Room for the fields of one head.
pub(super) type Fields<'a> = [MaybeUninit<httparse::Header<'a>>; FIELDS_MAX];

pub(super) const fn no_fields<'a>() -> Fields<'a> {
    [const { MaybeUninit::uninit() }; FIELDS_MAX]
}

impl<'a> Reply<'a> {
    /// The answer that begins with `bytes`; `to_head` says whether it is one to HEAD.
    pub(super) fn read(bytes: &'a [u8], fields: &'a mut Fields<'a>, to_head: bool) -> Option<Self> {
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let parsed = parser.parse_response_with_uninit_headers(&mut response, bytes, fields);
        let Ok(httparse::Status::Complete(head)) = parsed else { return None };
        let status = StatusCode::from_u16(response.code?).ok()?;
        let reason = response.reason?;
        if response.version != Some(1) || status.is_informational() {
            return None;
        }
        let fields = &*response.headers;
        let (mut length, mut keeps) = (None, true);
        for field in fields {
            if is(field, "content-length") {
                if length.replace(length_of(field.value)?).is_some() {
                    return None;
                }
            } else if is(field, "connection") {
                keeps = !field.value.eq_ignore_ascii_case(b"close");
                if keeps && !field.value.eq_ignore_ascii_case(b"keep-alive") {
                    return None;
                }
            } else if is(field, "transfer-encoding") {
                return None;
            }
        }
        let has_body = !to_head && !matches!(status.as_u16(), 204 | 304);
        let body = if has_body { length? } else { 0 };
        Some(Self { status, reason, fields, head, body, keeps })
    }

    /// Writes the lines of the head as `changes` make them, without what is for one connection
    /// alone; whether they have a date. One that nobody can read is left out.
    pub(super) fn write(&self, changes: &Changes<'_>, now_s: i64, bytes: &mut Vec<u8>) -> bool {
        bytes.extend_from_slice(b"HTTP/1.1 ");
        bytes.extend_from_slice(self.status.as_str().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(self.reason.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        let mut is_dated = false;
        for field in self.fields.iter().filter(|field| !is_of_connection(field)) {
            if changes.hides(field.name) {
                continue;
            }
            if !is(field, "date") {
                put(bytes, field.name.as_bytes(), field.value);
            } else if let Some(at_s) = parse_date(field.value, now_s).filter(|_| !is_dated) {
                put(bytes, field.name.as_bytes(), http_date(at_s).as_bytes());
                is_dated = true;
            }
        }
        for (name, value) in &changes.added {
            is_dated |= *name == http::header::DATE;
            put(bytes, name.as_str().as_bytes(), value.as_bytes());
        }
        is_dated
    }
}

fn is(field: &httparse::Header<'_>, name: &str) -> bool {
    field.name.eq_ignore_ascii_case(name)
}

fn is_of_connection(field: &httparse::Header<'_>) -> bool {
    ["connection", "keep-alive", "proxy-connection", "upgrade"].iter().any(|name| is(field, name))
}

/// What is changed of the fields of an answer.
pub(super) struct Changes<'a> {
    fields: &'a [httparse::Header<'a>],
    hidden: Vec<HeaderName>,
    added: Vec<(HeaderName, HeaderValue)>,
}

impl<'a> Changes<'a> {
    pub(super) fn of(reply: &Reply<'a>) -> Self {
        Self { fields: reply.fields, hidden: Vec::new(), added: Vec::new() }
    }

    fn hides(&self, name: &str) -> bool {
        self.hidden.iter().any(|hidden| name.eq_ignore_ascii_case(hidden.as_str()))
    }
}

impl Headers for Changes<'_> {
    fn has(&self, name: &HeaderName) -> bool {
        let was_read = |field: &httparse::Header<'_>| is(field, name.as_str());
        self.added.iter().any(|(added, _)| added == name)
            || (!self.hidden.contains(name) && self.fields.iter().any(was_read))
    }

    fn remove(&mut self, name: &HeaderName) {
        self.added.retain(|(added, _)| added != name);
        self.hidden.push(name.clone());
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.remove(name);
        self.added.push((name.clone(), value));
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.added.push((name.clone(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str, to_head: bool) -> Option<(u16, usize, bool)> {
        let mut fields = no_fields();
        let reply = Reply::read(head.as_bytes(), &mut fields, to_head)?;
        Some((reply.status.as_u16(), reply.body, reply.keeps))
    }

    #[test]
    fn answers_with_a_length_or_without_a_body_are_read() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n";
        assert_eq!(read(&format!("{ok}\r\nhello"), false), Some((200, 5, true)));
        assert_eq!(read(&format!("{ok}\r\n"), true), Some((200, 0, true)));
        assert_eq!(read(&format!("{ok}connection: Close\r\n\r\n"), false), Some((200, 5, false)));
        assert!(read(&format!("{ok}connection: keep-alive\r\n\r\n"), false).unwrap().2);
        assert_eq!(read("HTTP/1.1 304 Not Modified\r\n\r\n", false), Some((304, 0, true)));
        assert_eq!(read("HTTP/1.1 204 \r\ncontent-length: 3\r\n\r\n", false), Some((204, 0, true)));
    }

    #[test]
    fn all_others_are_not() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n";
        for head in [
            "".to_owned(),
            "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
            ok.to_owned(),
            format!("{ok}transfer-encoding: chunked\r\n\r\n"),
            format!("{ok}content-length: 5\r\n\r\n"),
            format!("{ok}connection: x-a\r\n\r\n"),
            format!("{ok}a: 1\r\n b\r\n\r\n"),
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n".to_owned(),
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n".to_owned(),
            "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
            "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
        ] {
            assert_eq!(read(&head, false), None, "{head:?}");
        }
    }

    #[test]
    fn fields_are_changed_as_in_a_map() {
        let head = "HTTP/1.1 404 Not Found\r\nA: 1\r\na: 2\r\nKeep-Alive: 5\r\nB: 3\r\nC: 4\r\n\
                    content-length: 0\r\n\r\n";
        let mut fields = no_fields();
        let reply = Reply::read(head.as_bytes(), &mut fields, false).unwrap();
        let name = HeaderName::from_static;
        let mut changes = Changes::of(&reply);
        changes.set(&name("a"), HeaderValue::from_static("5"));
        changes.remove(&name("b"));
        changes.add(&name("c"), HeaderValue::from_static("6"));
        changes.set(&name("d"), HeaderValue::from_static("7"));
        changes.remove(&name("d"));
        let mut bytes = Vec::new();
        assert!(!reply.write(&changes, 0, &mut bytes));
        let expected = "HTTP/1.1 404 Not Found\r\nC: 4\r\ncontent-length: 0\r\na: 5\r\nc: 6\r\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
