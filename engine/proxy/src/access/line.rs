//! Owns the making of one line from what is known when a request is over.
//!
//! Refuses to let a value end the line or leave its quotes, unless the operator wants no escapes.
//! Bound: what the heads of a request and its answer hold.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use pingora_http::RequestHeader;
use serde_json::json;
use truststram_base::{Identity, RequestId};

use super::format::{Access, Escape, Format, Part};
use crate::proxying::Attempt;

/// What is known of a request that is over.
pub(crate) struct Logged<'a> {
    pub(crate) request: &'a RequestHeader,
    /// The target as the client wrote it.
    pub(crate) target: &'a [u8],
    /// The path that was asked for, in its one form.
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    pub(crate) scheme: &'static str,
    /// The fields of the answer.
    pub(crate) answer: Option<&'a HeaderMap>,
    /// 0 where nothing was answered.
    pub(crate) status: u16,
    pub(crate) body_bytes_sent: usize,
    pub(crate) duration_us: u64,
    pub(crate) utc_us: i64,
    pub(crate) now_us: u64,
    pub(crate) client: Option<IpAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) server: Option<SocketAddr>,
    /// Version and cipher.
    pub(crate) tls: Option<(&'a str, &'a str)>,
    pub(crate) id: RequestId,
    /// Who asked, once that was proved.
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) route: Option<&'a str>,
    pub(crate) is_proxied: bool,
    pub(crate) upstream: Option<&'a str>,
    pub(crate) attempts: Vec<(&'a str, Attempt)>,
}

impl Access {
    /// The line without its end.
    pub(crate) fn line(&self, logged: &Logged<'_>) -> String {
        match &self.format {
            Format::Json => logged.json(),
            Format::Template(parts, escape) => {
                let (mut line, mut value) = (Vec::new(), Vec::new());
                for part in parts {
                    value.clear();
                    match part {
                        Part::Text(text) => line.extend_from_slice(text.as_bytes()),
                        _ if logged.write(part, &mut value) => escape.write(&value, &mut line),
                        _ if *escape == Escape::Hex => line.push(b'-'),
                        _ => {}
                    }
                }
                // A line is a line, whatever is in it.
                line.retain(|byte| *byte != b'\n');
                String::from_utf8(line)
                    .unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned())
            }
        }
    }
}

impl Escape {
    fn write(self, value: &[u8], line: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let digits = |byte: u8| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        for &byte in value {
            match (self, byte) {
                (Self::Hex, b'"' | b'\\' | 0..=31 | 127..) => {
                    line.extend_from_slice(b"\\x");
                    line.extend_from_slice(&digits(byte));
                }
                (Self::Json, b'"' | b'\\') => line.extend_from_slice(&[b'\\', byte]),
                (Self::Json, 0..=31) => {
                    line.extend_from_slice(b"\\u00");
                    line.extend_from_slice(&digits(byte));
                }
                _ => line.push(byte),
            }
        }
    }
}

impl Logged<'_> {
    fn json(&self) -> String {
        let mut line = json!({
            "timestamp_us": self.utc_us,
            "remote": self.client,
            "method": self.request.method.as_str(),
            "path": self.path,
            "status": self.status,
            "body_bytes_sent": self.body_bytes_sent,
            "duration_us": self.duration_us,
            "request_id": self.id.to_string(),
        });
        if let Some(route) = self.route {
            line["route"] = route.into();
        }
        if let Some(identity) = self.identity {
            line["user"] = identity.user.as_str().into();
            if let Some(key) = &identity.key {
                line["key"] = (**key).into();
            }
        }
        if self.is_proxied {
            line["upstream"] = self.upstream.into();
        }
        line.to_string()
    }

    /// `GET /path HTTP/1.1`, as the client wrote it.
    pub(super) fn request_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.request.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target);
        out.push(b' ');
        out.extend_from_slice(self.protocol().as_bytes());
    }

    pub(super) fn protocol(&self) -> &'static str {
        match self.request.version {
            http::Version::HTTP_2 => "HTTP/2.0",
            http::Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        }
    }
}

/// All values of a header, as one.
pub(super) fn joined(headers: &HeaderMap, name: &HeaderName, out: &mut Vec<u8>) -> bool {
    let mut has_any = false;
    for value in headers.get_all(name) {
        if has_any {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value.as_bytes());
        has_any = true;
    }
    has_any
}

/// Seconds with milliseconds.
pub(super) fn seconds(us: u64, out: &mut String) {
    // Writing to a `String` cannot fail.
    let _ = write!(out, "{}.{:03}", us / 1_000_000, us / 1_000 % 1_000);
}
