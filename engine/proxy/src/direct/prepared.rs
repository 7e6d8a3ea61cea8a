//! Owns answers as bytes: what of a head stays the same from request to request is written once.
//!
//! Refuses to know what the answers say. Bound: one head for each fixed route, each stored response
//! that is used again, and the refusals of [`PARTS_MAX`] first parts of paths for each network
//! thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use pingora_http::ResponseHeader;

use crate::route::spec::Scheme;

const PARTS_MAX: usize = 256;

/// The first lines of an answer, and its body.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) status: u16,
    /// The status line and fields, each with its end; without the empty line.
    pub(crate) head: Box<[u8]>,
    pub(crate) body: Bytes,
}

impl Prepared {
    /// `None` where an answer of this status has no body by definition.
    pub(crate) fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Option<Self> {
        if status.is_informational() || matches!(status.as_u16(), 204 | 205 | 304) {
            return None;
        }
        let reason = status.canonical_reason().unwrap_or_default();
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        ResponseHeader::from(response.into_parts().0).header_to_h1_wire(&mut head);
        head.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        Some(Self { status: status.as_u16(), head: head.into(), body })
    }
}

/// A refusal of a status by a scheme.
type Made = (u16, Scheme, Arc<Prepared>);

/// Refusals by the first part of the path.
type ByPart = BTreeMap<Box<str>, Vec<Made>>;

/// The refusals of one table.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<(u64, ByPart)>);

impl Refusals {
    /// The refusal of this status, path and scheme by the table of this number; `make` makes it.
    pub(crate) fn of(
        &self,
        table: u64,
        (status, path, scheme): (u16, &str, Scheme),
        make: impl FnOnce() -> Option<Prepared>,
    ) -> Option<Arc<Prepared>> {
        let part = path.strip_prefix('/').unwrap_or(path);
        let end = part.bytes().position(|byte| byte == b'/').unwrap_or(part.len());
        let part = &part[..end];
        // A map is whole between any two of its operations.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != table {
            *known = (table, BTreeMap::new());
        }
        let of_part = known.1.get(part).map_or(&[][..], Vec::as_slice);
        let is_it = |made: &&Made| (made.0, made.1) == (status, scheme);
        if let Some((_, _, found)) = of_part.iter().find(is_it) {
            return Some(found.clone());
        }
        let made = Arc::new(make()?);
        if known.1.contains_key(part) || known.1.len() < PARTS_MAX {
            known.1.entry(part.into()).or_default().push((status, scheme, made.clone()));
        }
        Some(made)
    }
}
