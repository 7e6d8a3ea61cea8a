//! Owns one request on its way to a server, and what is told and changed on the way.
//!
//! Refuses to send anything. Bound: one head.

use http::{HeaderValue, Method, StatusCode};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;

use super::admitted::Admitted;
use super::caller::Caller;
use super::plain::{Plain, no_fields};
use super::write::put;
use crate::answering::{X_REQUEST_ID, tell_server};
use crate::context::header_of;
use crate::dressing::dress_plain;
use crate::forwarded;
use crate::limit::LimitHeaders;
use crate::proxying::Proxying;
use crate::route::edit::{Facts, Headers};
use crate::route::table::{HOST_BYTES_MAX, host_of};

/// A request that is passed on.
pub(super) struct Passing {
    pub(super) admitted: Admitted,
    /// What its answer says of limits.
    pub(super) limited: LimitHeaders,
    /// The head as it was read.
    pub(super) read: Box<[u8]>,
    pub(super) method: Method,
    pub(super) proxying: Proxying,
}

impl Passing {
    /// What `with` makes of the request.
    pub(super) fn as_read<T>(&self, with: impl FnOnce(&Plain<'_>) -> T) -> Result<T> {
        let mut fields = no_fields();
        let plain = Plain::read(&self.read, &mut fields);
        // It was read before.
        plain.map(|plain| with(&plain)).ok_or_else(|| Error::new_in(ErrorType::InvalidHTTPHeader))
    }

    /// What variables stand for.
    fn facts(&self) -> Result<Facts> {
        self.as_read(|plain| {
            let mut buffer = [0; HOST_BYTES_MAX];
            Facts {
                host: host_of(plain.authority, &mut buffer).to_owned(),
                scheme: self.admitted.scheme.name(),
                client: Some(self.admitted.client),
                path: plain.path.to_owned(),
                query: plain.query().map(str::to_owned),
                id: self.admitted.id,
            }
        })
    }

    /// What the server gets, as bytes.
    pub(super) fn request(&self, caller: &Caller) -> Result<Vec<u8>> {
        let unreadable = || Error::new_in(ErrorType::InvalidHTTPHeader);
        let has_edits = self.admitted.route().is_some_and(|route| !route.request_edits.is_empty());
        if has_edits || self.proxying.path.is_some() || self.proxying.group.spec.host.is_some() {
            let head = self.edited(caller)?;
            let mut bytes = Vec::with_capacity(self.read.len() + 512);
            bytes.extend_from_slice(self.method.as_str().as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(head.raw_path());
            bytes.extend_from_slice(b" HTTP/1.1\r\n");
            head.header_to_h1_wire(&mut bytes);
            bytes.extend_from_slice(b"\r\n");
            return Ok(bytes);
        }
        self.as_read(|plain| {
            let mut bytes = Vec::with_capacity(self.read.len() + 512);
            plain.write(&mut bytes, |name| {
                !name.eq_ignore_ascii_case(X_REQUEST_ID.as_str()) && !forwarded::tells(name)
            });
            caller.tell(&self.admitted, plain, &mut bytes)?;
            put(&mut bytes, X_REQUEST_ID.as_str().as_bytes(), &self.admitted.id.to_hex());
            bytes.extend_from_slice(b"\r\n");
            Some(bytes)
        })?
        .ok_or_else(unreadable)
    }

    /// The same where the route changes something of it.
    fn edited(&self, caller: &Caller) -> Result<RequestHeader> {
        let made = self.as_read(|plain| {
            let mut head = plain.to_header()?;
            head.remove_header(&http::header::CONNECTION);
            Some((head, HeaderValue::from_str(plain.authority).ok()?))
        })?;
        let (mut head, host) = made.ok_or_else(|| Error::new_in(ErrorType::InvalidHTTPHeader))?;
        let origin = caller.origin(&self.admitted, &host);
        tell_server(&mut head, &self.proxying, origin.as_ref(), header_of(self.admitted.id))?;
        if let Some(route) = self.admitted.route().filter(|route| !route.request_edits.is_empty()) {
            route.request_edits.apply(&mut head, &self.facts()?);
        }
        Ok(head)
    }

    /// What is changed of the answer.
    pub(super) fn change(&self, (status, headers): (StatusCode, &mut impl Headers)) -> Result<()> {
        headers.set(&X_REQUEST_ID, header_of(self.admitted.id));
        dress_plain(&self.admitted.table, self.admitted.scheme, (status, &mut *headers));
        if let Some(route) = self.admitted.route().filter(|route| !route.response_edits.is_empty())
        {
            route.response_edits.apply(headers, &self.facts()?);
        }
        self.limited.write(headers);
        Ok(())
    }
}
