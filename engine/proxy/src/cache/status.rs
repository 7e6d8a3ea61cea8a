//! Owns `Cache-Status` (RFC 9211): how a request was answered.
//!
//! Refuses to decide. Bound: one member in each answer.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request went on to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    UriMiss,
    VaryMiss,
    /// The client's directives asked for it.
    Request,
    Stale,
    /// The route says so.
    Bypass,
}

impl Forward {
    fn name(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Bypass => "bypass",
        }
    }
}

/// How an answer came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handling {
    /// Why the request was forwarded; none: the answer is a stored one.
    pub(crate) forward: Option<Forward>,
    /// What the origin said, where that is not the status of the answer.
    pub(crate) forward_status: Option<StatusCode>,
    pub(crate) time_to_live_s: Option<i64>,
    pub(crate) stored: bool,
    pub(crate) collapsed: bool,
    /// Whether it is not stored because too few have asked for it.
    pub(crate) is_rare: bool,
}

impl Handling {
    /// Adds the member of this cache to those of caches before it.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.to_string()) {
            headers.append(CACHE_STATUS, value);
        }
    }
}

impl fmt::Display for Handling {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("truststram")?;
        match self.forward {
            None => text.write_str("; hit")?,
            Some(forward) => write!(text, "; fwd={}", forward.name())?,
        }
        if let Some(status) = self.forward_status {
            write!(text, "; fwd-status={}", status.as_u16())?;
        }
        if let Some(seconds) = self.time_to_live_s {
            write!(text, "; ttl={seconds}")?;
        }
        let marks = [
            (self.stored, "; stored"),
            (self.collapsed, "; collapsed"),
            (self.is_rare, "; detail=min-uses"),
        ];
        for (holds, name) in marks {
            text.write_str(if holds { name } else { "" })?;
        }
        Ok(())
    }
}

/// What nginx calls the way in which these headers of an answer say that it came to be.
pub(crate) fn word(headers: &HeaderMap) -> Option<&'static str> {
    let line = headers.get_all(CACHE_STATUS).iter().next_back()?.to_str().ok()?;
    let ours = line.rsplit(',').next()?.trim().strip_prefix("truststram;")?;
    let has = |wanted: &str| ours.split(';').any(|part| part.trim() == wanted);
    Some(match () {
        () if has("hit") && ours.contains("ttl=-") => "STALE",
        () if has("hit") => "HIT",
        () if has("fwd-status=304") => "REVALIDATED",
        () if has("fwd=stale") => "EXPIRED",
        () if has("fwd=request") || has("fwd=bypass") => "BYPASS",
        () => "MISS",
    })
}
