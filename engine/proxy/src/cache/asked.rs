//! Owns a request in the form in which the origin is asked, and what it is found by.
//!
//! Refuses to know what is stored beside its validators. Bound: one copy of the request's head.

use std::sync::Arc;

use http::{HeaderName, Method, header};
use pingora_core::Result;
use pingora_http::RequestHeader;

use super::policy;
use super::rules::CacheRules;
use super::stored::Stored;
use crate::head;

/// What may make the answer to one request another one than that to others.
pub(super) const CONDITIONS: [HeaderName; 4] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
];

/// A request as it is asked of the origin.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(super) head: RequestHeader,
    pub(super) key: Box<str>,
    pub(super) rules: Arc<CacheRules>,
    /// Whether it is not answered by what is stored.
    pub(super) is_bypassing: bool,
    /// Whether its answer is not stored.
    pub(super) is_unkept: bool,
    /// Which request for its key it is, where that was counted.
    pub(super) use_number: Option<u32>,
}

impl Asked {
    /// The request in the form of HTTP/1.1.
    pub(super) fn of(
        scheme: &str,
        request: &RequestHeader,
        rules: Arc<CacheRules>,
    ) -> Result<Self> {
        let host = head::authority(request);
        let mut asked =
            RequestHeader::build(request.method.clone(), path_of(request).as_bytes(), None)?;
        for (name, value) in &policy::end_to_end(&request.headers) {
            asked.append_header(name.clone(), value.clone())?;
        }
        // Not by what the origin does not hear.
        let key = rules.key(scheme, (host, path_of(request)), || &asked.headers);
        asked.insert_header(header::HOST, host)?;
        let (headers, query) = (&request.headers, request.uri.query());
        let is_bypassing = rules.bypasses(|| headers, query);
        let is_unkept = rules.forbids(headers, query);
        Ok(Self { head: asked, key, rules, is_bypassing, is_unkept, use_number: None })
    }

    /// Whether its answer is not stored, since too few have asked for it.
    pub(super) fn is_rare(&self) -> bool {
        self.use_number.is_some_and(|number| number < self.rules.uses_min)
    }

    /// Whether its answer may be another one than that of others: in part, under a condition, or
    /// one that is not stored.
    pub(super) fn is_particular(&self) -> bool {
        let mut names = CONDITIONS.iter().chain(&[header::RANGE]);
        let is_other = self.is_unkept || self.is_rare() || self.head.method == Method::HEAD;
        is_other || names.any(|name| self.head.headers.contains_key(name))
    }

    /// The request with the validators of what is stored, and whether it has any of these.
    pub(super) fn conditional(&self, stored: Option<&Arc<Stored>>) -> (RequestHeader, bool) {
        let mut head = self.head.clone();
        let Some(stored) = stored.filter(|_| head.method == Method::GET) else {
            return (head, false);
        };
        let validators = [
            (header::ETAG, header::IF_NONE_MATCH),
            (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE),
        ];
        let found: Vec<_> = validators
            .into_iter()
            .filter_map(|(name, condition)| Some((condition, stored.headers.get(name)?.clone())))
            .collect();
        if found.is_empty() {
            return (head, false);
        }
        for name in
            [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE]
        {
            head.remove_header(&name);
        }
        for (name, value) in found {
            // A legal value stays one.
            let _ = head.insert_header(name, value);
        }
        (head, true)
    }
}

pub(super) fn path_of(head: &RequestHeader) -> &str {
    head.uri.path_and_query().map_or("/", |path| path.as_str())
}
