//! Owns the reading of a request's head: its host, its peer, its scheme, and its path in the one
//! form in which it is matched and forwarded.
//!
//! Refuses to know routes. Bound: one pass over the path.

use std::net::IpAddr;

use http::header::{CONNECTION, COOKIE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::refusal::Refusal;
use crate::route::path::normalise;
use crate::route::spec::Scheme;

/// Brings the target into origin form with a path in its one form.
pub(crate) fn normalise_target(head: &mut RequestHeader) -> Result<(), Refusal> {
    let changed = normalise(&head.method, head.uri.path());
    let changed = changed.map_err(|bad| Refusal::malformed(bad.to_string()))?;
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let is_plain = changed.is_none() && head.raw_path() == target.as_bytes();
    if is_plain || (head.uri.authority().is_some() && changed.is_none()) {
        return Ok(());
    }
    if head.uri.authority().is_none() && !head.headers.contains_key(HOST) {
        // An absolute target names the host that the request is for; without `Host` it is lost.
        return Err(Refusal::malformed("the request has no `Host`".to_owned()));
    }
    let path = changed.unwrap_or_else(|| head.uri.path().to_owned());
    set_path(head, &path)
}

/// Puts another path in the target; the query stays.
pub(crate) fn set_path(head: &mut RequestHeader, path: &str) -> Result<(), Refusal> {
    let refused = || Refusal::malformed("the path cannot be passed on".to_owned());
    let target = match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    if head.uri.authority().is_none() {
        return head.set_raw_path(target.as_bytes()).map_err(|_| refused());
    }
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().map_err(|_| refused())?);
    head.set_uri(Uri::from_parts(parts).map_err(|_| refused())?);
    Ok(())
}

/// The host and port that the request is for.
pub(crate) fn authority(head: &RequestHeader) -> &str {
    let named = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| head.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default()
}

/// The same as a value for headers.
pub(crate) fn authority_header(head: &RequestHeader) -> HeaderValue {
    match head.headers.get(HOST) {
        Some(host) => host.clone(),
        // An authority is made of bytes that a header may have.
        None => HeaderValue::from_str(authority(head)).unwrap_or(HeaderValue::from_static("")),
    }
}

/// The headers that `Connection` says are for one connection alone.
pub(crate) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

/// The first cookie of this name, in any case.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.split_at(pair.iter().position(|&byte| byte == b'=')?);
        let is_name = name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes());
        is_name.then(|| value[1..].trim_ascii_end())
    })
}

/// The first argument of this name in a query.
pub(crate) fn argument<'a>(query: Option<&'a str>, wanted: &str) -> Option<&'a str> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then_some(value))
}

/// Who is at the other end of the connection.
pub(crate) fn peer(session: &Session) -> Option<IpAddr> {
    session.client_addr().and_then(|address| address.as_inet()).map(|inet| inet.ip())
}

pub(crate) fn scheme(session: &Session) -> Scheme {
    let is_tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    if is_tls { Scheme::Https } else { Scheme::Http }
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}
